"""The search, on worlds so small that it takes seconds: the shipped scheme holds, and the others are found out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from search import environments
from search.environments import ASSUMED_AWAY, ENVIRONMENTS
from search.explore import Environment, Search
from search.schemes import SCHEMES, SHIPPED
from search.ticks import Scheme
from search.world import Left

ALL = {environment.name: environment for environment in (*ENVIRONMENTS, *ASSUMED_AWAY)}
ENOUGH = 20_000


def small(name: str, *passes: int, **fields: Any) -> Any:
    """An environment of the table with fewer ticks."""
    return pytest.param(replace(ALL[name], passes=passes, asks=((),) * len(passes), **fields), id=name)


@pytest.mark.parametrize(
    "environment",
    [
        small("stale lists, crashes, deaths", 2, 1, left=Left(deaths=1)),
        small("the hint stale or unreadable", 1, 1),
        small("launches are rejected", 2, 1, left=Left(refused=1)),
        small("slow ticks", 2),
        small("slow ticks, boot_timeout 1m", 2),
        small("midnight passes", 1, 1),
        small("midnight, and no state yet", 1, 1),
        small("the config is edited", 1, 1),
        small("no capacity", 1, 1, left=Left(empty=1)),
        small("no capacity, and minutes pass", 1, 1, left=Left(empty=1, jumps=(4,))),
        small("no capacity of one type", 1, 1),
        small("hand-over races", 1, 1),
        small("two shards, one slot", 1, 1),
        small("two shards, the hint stale", 1, 1, left=Left(hints=1)),
    ],
)
def test_no_schedule_exceeds_a_cap(environment: Environment) -> None:
    found = Search(environment, SHIPPED).run(ENOUGH)
    assert found.complete
    assert found.states > 100
    assert (found.over, found.doubled, found.rehanded) == (0, 0, 0)


@pytest.mark.parametrize("scheme", SCHEMES[1:], ids=lambda scheme: scheme.name)
def test_a_bad_scheme_is_found_out(scheme: Scheme) -> None:
    places = (environments.STALE, environments.QUEUES, environments.EDITED, environments.REFUSED)
    assert any(Search(replace(place, passes=(2, 1)), scheme).run(ENOUGH // 4, trace="over").trace for place in places)


def test_two_shards_with_random_tokens_are_found_to_fill_one_slot_twice() -> None:
    environment = replace(ALL["two shards, one slot"], passes=(1, 1))
    assert Search(environment, SCHEMES[1]).run(ENOUGH, trace="over").trace


@pytest.mark.parametrize("name", ["EC2 forgets a token within minutes", "a fleet of nothing leaves its token"])
def test_an_assumption_is_needed(name: str) -> None:
    assert Search(ALL[name], SHIPPED).run(ENOUGH, trace="over").trace


def test_a_trace_tells_the_whole_schedule() -> None:
    trace = Search(environments.STALE, SCHEMES[1]).run(ENOUGH, trace="over").trace
    assert [line.partition(": ")[0] for line in trace][-1] == "alive"
    assert sum("launched" in line for line in trace) == 2
