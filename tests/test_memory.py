"""The memory between ticks: what it keeps, how small it stays, what a broken one means."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.deciding.losses import LOSSES
from scaler.deciding.memory import GHOSTS, LIMIT, REFUSED, VERSION, StateError, decode, encode, remember
from scaler.deciding.offerings import REFUSED_FOR
from scaler.model import (
    Breaker,
    Deregister,
    Launch,
    Link,
    LinkState,
    Loss,
    Market,
    Memory,
    Outcome,
    Reason,
    Result,
    Tag,
    Terms,
)
from tests.worlds import NOW, span

times = st.integers(0, 10**8).map(lambda minutes: NOW.fromtimestamp(minutes * 60, NOW.tzinfo))
offered = st.integers(0, 0xFFFFFF).map("{:06x}".format)
memories = st.builds(
    Memory,
    refused=st.dictionaries(offered, times, max_size=9),
    links=st.dictionaries(
        st.from_regex(r"[a-z0-9-]{1,8}/(0|[1-9][0-9]{0,2})", fullmatch=True),
        st.builds(
            Link,
            st.integers(0),
            times,
            st.sampled_from(LinkState),
            st.none() | st.builds(Terms, st.sampled_from(Market), st.frozensets(offered, max_size=3)),
        ),
        max_size=20,
    ),
    launches=st.dictionaries(times, st.integers(0, 1000), max_size=60),
    breakers=st.dictionaries(
        st.text("abc", max_size=8), st.builds(Breaker, st.integers(0, 9), times, st.none() | times), max_size=4
    ),
    ghosts=st.dictionaries(st.text("abc-", max_size=20), times, max_size=4),
    start=st.none() | st.integers(0),
)
LAUNCH = Launch("amd64", 0, 7, True, False, (Terms(Market.SPOT),), "acme/api", Reason.LAUNCHING, "")


@given(memories)
def test_what_was_kept_comes_back(memory: Memory) -> None:
    assert memory == decode(encode(memory))


def test_it_fits_into_a_standard_parameter_by_forgetting_the_oldest_links() -> None:
    links = {f"pool-of-a-long-name/{n}": Link(207_810_000, NOW - span(f"{n}m")) for n in range(500)}
    text = encode(Memory(links=links))
    assert len(text) <= LIMIT
    kept = decode(text).links
    assert len(kept) > 200
    assert set(kept) == set(list(links)[: len(kept)])


def test_the_links_that_would_be_walked_to_are_kept() -> None:
    """Without its link a slot's chain is asked from the start on, link by link."""
    links = {f"pool-of-a-long-name/{n}": Link(n, NOW - span(f"{n}m")) for n in range(500)}
    assert set(decode(encode(Memory(links=links))).links) == set(
        list(links)[-len(decode(encode(Memory(links=links))).links) :]
    )


def test_refusals_and_terms_go_before_links_do() -> None:
    """Without them a slot waits for minutes; without its link its chain is walked from the start."""
    links = {f"pool/{n}": Link(207_810_000, NOW - span(f"{n}m")) for n in range(300)}
    fits = decode(encode(Memory(links=links))).links
    crowd = frozenset(f"{n:06x}" for n in range(400))
    asked = {name: replace(link, terms=Terms(Market.SPOT, crowd)) for name, link in links.items()}
    kept = decode(encode(Memory(links=asked, refused=dict.fromkeys(crowd, NOW))))
    assert kept.links == fits


def test_lost_jobs_of_the_longest_names_fit_without_anything_else() -> None:
    lost = {f"{'o' * 39}/{'r' * 100}#{10**11 + n}": Loss(10**11 + n, 1, "p" * 32, NOW) for n in range(LOSSES)}
    text = encode(Memory(lost=lost))
    assert len(text) <= LIMIT
    assert set(decode(text).lost) <= set(lost)


def test_of_many_refusals_the_latest_are_kept() -> None:
    refused = {f"{n:06x}": NOW - span(f"{n}m") for n in range(500)}
    kept = decode(encode(Memory(refused=refused))).refused
    assert set(kept) == set(list(refused)[:REFUSED])


def test_a_refusal_is_remembered_with_the_time_of_the_tick_and_an_old_one_goes_then() -> None:
    before = Memory(refused={"aaaaaa": NOW - REFUSED_FOR, "bbbbbb": NOW - span("1m")})
    assert remember(before, [Outcome(LAUNCH, Result.DONE, instance_id="i-1", link=9)], NOW).refused == before.refused
    kept = remember(before, [Outcome(LAUNCH, Result.NO_CAPACITY, refused=frozenset({"cccccc"}))], NOW)
    assert kept.refused == {"bbbbbb": NOW - span("1m"), "cccccc": NOW}


def test_a_link_keeps_the_terms_that_it_was_asked_on_for_as_long_as_it_may_be_asked_again() -> None:
    terms = Terms(Market.SPOT, frozenset({"aaaaaa"}))
    first = remember(Memory(), [Outcome(LAUNCH, Result.DONE, instance_id="i-1", link=9, terms=terms)], NOW)
    assert first.links["amd64/0"].terms == terms
    other = Outcome(replace(LAUNCH, slot=1), Result.DONE, instance_id="i-2", link=9, terms=terms)
    later = remember(first, [other], NOW + span("61m"))
    assert [link.terms for link in later.links.values()] == [None, terms]


def test_many_ghosts_do_not_crowd_out_the_rest() -> None:
    ghosts = {f"main-1a2b3c-i-{n:017x}": NOW - span(f"{n}m") for n in range(500)}
    kept = decode(encode(Memory(ghosts=ghosts, links={"amd64/0": Link(1, NOW)})))
    assert kept.links == {"amd64/0": Link(1, NOW)}
    assert len(kept.ghosts) == GHOSTS


def test_of_many_ghosts_those_seen_first_are_kept() -> None:
    ghosts = {f"main-i-{99 - n:02}": NOW - span("1h") + span(f"{n}m") for n in range(GHOSTS + 5)}
    assert set(decode(encode(Memory(ghosts=ghosts))).ghosts) == set(list(ghosts)[:GHOSTS])


def test_in_whatever_order_it_was_learned_the_same_is_written() -> None:
    """Or each tick would write."""
    rows = {name: Breaker(1, NOW) for name in ("amd64", "arm64")}
    assert encode(Memory(breakers=rows)) == encode(Memory(breakers=dict(reversed(rows.items()))))


def test_a_link_is_remembered_as_used_no_earlier_than_it_was() -> None:
    """Or it would count as old, and the next one be asked for, while its instance may be unlisted yet."""
    used = NOW.replace(second=59)
    assert decode(encode(Memory(links={"amd64/0": Link(1, used)}))).links["amd64/0"].used_at >= used


def test_a_link_that_launched_nothing_is_spent() -> None:
    kept = remember(Memory(), [Outcome(LAUNCH, Result.NO_CAPACITY, link=8, spent=True)], NOW)
    assert kept.links == {"amd64/0": Link(8, NOW, LinkState.SPENT)}
    assert kept.launches == {}


def test_no_parameter_is_no_memory() -> None:
    assert decode(None) == Memory()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"v": 2}', '{"v":1,"links":{"a/0":[1]}}', "null", '{"v":1,"links":7}']
)
def test_what_we_did_not_write_is_no_memory(text: str) -> None:
    with pytest.raises(StateError):
        decode(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (encode(Memory()).replace(f'"v":{VERSION}', '"v":1'), f"version 1 is not {VERSION}"),
        ("[]", "not a state of ours (TypeError)"),
        ("{", "not a state of ours (JSONDecodeError)"),
    ],
)
def test_why_it_is_none_is_said(text: str, why: str) -> None:
    with pytest.raises(StateError) as told:
        decode(text)
    assert str(told.value) == why


def test_links_are_written_by_pool_and_time_so_that_what_differs_stays_small() -> None:
    links = {f"{pool}/{37 * n % 50}": Link(n, NOW + span(f"{n}m")) for pool in ("amd64", "arm64") for n in range(50)}
    for rows in json.loads(encode(Memory(links=links)))["links"].values():
        assert {tuple(row[1:3]) for row in rows[1:]} == {(1, 1)}


def test_a_launch_is_counted_and_its_link_is_kept() -> None:
    kept = remember(Memory(), [Outcome(LAUNCH, Result.DONE, instance_id="i-1", link=9)], NOW)
    assert kept.links == {"amd64/0": Link(9, NOW)}
    assert list(kept.launches.values()) == [1]


def test_a_link_asked_again_keeps_the_time_of_its_first_use() -> None:
    """Or a slot that answers with a mismatch would never be free again."""
    first = Memory(links={"amd64/0": Link(7, NOW - span("9m"), LinkState.TAKEN)})
    again = remember(first, [Outcome(LAUNCH, Result.TAKEN, link=7)], NOW)
    assert again.links == first.links


def test_what_another_tick_launched_is_not_counted_again() -> None:
    kept = remember(Memory(), [Outcome(replace(LAUNCH), Result.TAKEN, link=7)], NOW)
    assert kept.launches == {}


def test_a_link_that_launches_anew_counts_from_now_on() -> None:
    used = Memory(links={"amd64/0": Link(7, NOW - span("9m"))})
    again = remember(used, [Outcome(LAUNCH, Result.DONE, instance_id="i-1", link=7)], NOW)
    assert again.links == {"amd64/0": Link(7, NOW)}


def test_a_launch_that_is_left_to_the_next_tick_leaves_its_link_used() -> None:
    """Something may be behind it; taken is what EC2 said is somebody else's."""
    kept = remember(Memory(), [Outcome(LAUNCH, Result.FAILED, link=7)], NOW)
    assert kept.links == {"amd64/0": Link(7, NOW)}


def test_what_comes_after_another_command_is_remembered_too() -> None:
    tagged = Outcome(Tag("i-9", "hold", None, Reason.HELD, ""), Result.DONE)
    kept = remember(Memory(), [tagged, Outcome(LAUNCH, Result.DONE, instance_id="i-1", link=9)], NOW)
    assert list(kept.links) == ["amd64/0"]


def test_a_ghost_that_is_removed_is_a_failure_of_its_pool_since_then() -> None:
    ghost = Deregister("acme/api", 3, "main-1a2b3c-i-9", Reason.GHOST, "", "amd64")
    kept = remember(Memory(), [Outcome(ghost, Result.DONE, "removed")], NOW)
    assert kept.breakers == {"amd64": Breaker(1, NOW)}
