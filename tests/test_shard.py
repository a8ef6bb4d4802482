"""
Shards: several runs share a fleet's repositories. What one does not see it counts, and leaves alone; caps hold for all.

Real processes at once at the end of the file; what each decides, as tables before it.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from scaler.acting.keeping import Keeper
from scaler.acting.pace import Pace
from scaler.clock import RealClock
from scaler.decide import decide
from scaler.deciding.breaker import UNPROVEN
from scaler.deciding.memory import counts_of, decode, encode, joined, with_chains
from scaler.deciding.room import LAUNCHES_PER_TICK
from scaler.deciding.standing import instances_of
from scaler.github.budget import POINTS, READS, Budget
from scaler.model import (
    Breaker,
    Cloud,
    DeleteParameter,
    Deregister,
    HandOver,
    Launch,
    Link,
    LinkState,
    Memory,
    NotAsked,
    Reason,
    Repository,
    Subject,
)
from scaler.observing.patterns import Patterns
from scaler.sandbox.aws.server import Call
from scaler.settings.asking import of_shard
from scaler.settings.config import Config, RegisterAt, Registration
from scaler.settings.inputs import InputError, parse
from scaler.settings.shard import WHOLE, Shard, shard
from simulation.world import CONFIG as SIMULATED
from simulation.world import Simulation
from tests.configs import changed, lines, read
from tests.conftest import CONFIG, NOTHING, Ran, World
from tests.worlds import NOW, booting, config, ghost, idle, instance, job, jobs, parameter, pool, span, world

NAMES = [f"acme/repository-{number}" for number in range(200)]
FIRST, SECOND = Shard(1, 2), Shard(2, 2)
THEIRS = next(name for name in NAMES if SECOND.has(name))
MINE = next(name for name in NAMES if FIRST.has(name))
ENV = {"GH_TOKEN": "ghp_" + "x" * 36}
KNOWN = Memory(start=0, proven={"amd64@runner-amd64:3": NOW})


def sharded(one: Shard = FIRST, most: int = 20) -> Config:
    return replace(config(pool(max=most), repositories=(MINE, THEIRS), max_runners=40), shard=one).including(())


# --- who has what ------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", [1, 2, 8, 64])
def test_every_repository_has_one_shard_whatever_its_case_and_its_neighbours(of: int) -> None:
    shards = [Shard(number, of) for number in range(1, of + 1)]
    for name in NAMES:
        assert [one.has(name) for one in shards] == [one.has(name.upper()) for one in shards]
        assert sum(one.has(name) for one in shards) == 1
    assert all(sum(one.has_slot(slot) for one in shards) == 1 for slot in range(100))


def test_eight_shards_share_a_long_list_about_evenly() -> None:
    counts = [sum(Shard(number, 8).has(name) for name in NAMES) for number in range(1, 9)]
    assert max(counts) < 2 * min(counts)


def test_a_config_of_a_shard_has_its_repositories_alone() -> None:
    assert sharded().repositories == (MINE,)
    assert sharded(SECOND).repositories == (THEIRS,)
    assert sharded(WHOLE).repositories == (MINE, THEIRS)


def test_a_shard_has_its_part_of_what_a_pattern_stands_for() -> None:
    rows = tuple(Repository(name, public=False, closed=False) for name in NAMES)
    found: list[str] = []
    for number in range(1, 5):
        fleet = replace(config(repositories=(), patterns=("acme/*",)), shard=Shard(number, 4))
        found += Patterns(fleet, lambda _: rows).resolve(anew=True)[0].repositories
    assert sorted(found) == sorted(NAMES)


@pytest.mark.parametrize("text", ["", "2", "0/4", "5/4", "1/65", "2 / 4", "02/4", "-1/4", "2/4/8", "٢/٤"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no shard of at most 64"):
        shard(text)


def test_a_shard_is_read_from_the_line_and_from_the_action() -> None:
    assert parse(("auto", "--shard", "2/8"), ENV).shard == Shard(2, 8)
    with pytest.raises(InputError, match="is no shard"):
        parse(("auto", "--shard", "9/8"), ENV)
    with pytest.raises(InputError, match="--shard"):
        parse(("up", "-a", "arm64", "--shard", "1/2"), ENV)


def test_a_shard_may_stand_in_the_config(tmp_path: Path) -> None:
    assert read(changed(more="shard: 2/8\n"), tmp_path).shard == Shard(2, 8)
    assert lines(changed(more="shard: 9/8\n"), tmp_path) == [
        'config.yaml:12: shard: "9/8" is no shard of at most 64; write 2/8 for the second of eight'
    ]


@pytest.mark.parametrize(
    ("fields", "words", "told"),
    [
        pytest.param(
            {"register_at": RegisterAt.ORGANIZATION, "organization": "acme"},
            *(("auto", "--shard", "1/2"), "shard: needs register_at: repository; an organization's runners serve all"),
            id="at an organization",
        ),
        pytest.param(
            {"max_runners": 7},
            *(("plan", "--shard", "1/2"), "shard: max_runners 7 is less than the pools' max together (8)"),
            id="a cap that no shard can count",
        ),
        pytest.param(
            {"max_runners": 7, "shard": FIRST},
            *(("auto",), "config.yaml: shard: max_runners 7 is less than the pools' max together (8)"),
            id="the config's own",
        ),
    ],
)
def test_a_fleet_that_cannot_be_shared_is_refused_in_one_line(
    fields: dict[str, Any], words: tuple[str, ...], told: str
) -> None:
    with pytest.raises(InputError) as refused:
        of_shard(config(**fields), parse(words, ENV))
    (problem,) = refused.value.problems
    assert str(problem).startswith(told)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("auto",), FIRST),
        (("plan",), FIRST),
        (("auto", "--shard", "2/2"), SECOND),
        (("status",), WHOLE),
        (("status", "--shard", "2/2"), SECOND),
        (("up", "-a", "amd64"), WHOLE),
        (("down", "-i", "i-0a1b2c3d"), WHOLE),
        (("doctor",), WHOLE),
        (("lint",), WHOLE),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_what_is_asked_for_by_hand_and_a_look_are_of_the_whole_fleet(words: tuple[str, ...], expected: Shard) -> None:
    assert of_shard(config(shard=FIRST), parse(words, ENV)).shard == expected


# --- what a shard decides ------------------------------------------------------------------------------


def test_another_shards_instances_count_against_the_caps_and_are_left_alone() -> None:
    """Idle for an hour, or past its boot_timeout: without its runner and its queue nobody can tell."""
    stays = [idle(f"i-{n}", scope=THEIRS, slot=n, since="1h", age="2h") for n in range(1, 4)]
    snapshot = world(job(repository=MINE), *stays, booting("i-9", scope=THEIRS, slot=9, age="40m"))
    plan = decide(sharded(most=4), snapshot, KNOWN)
    assert plan.commands == ()
    said = {(each.reason, each.sentence) for each in plan.verdicts if each.subject is Subject.INSTANCE}
    assert said == {(Reason.ELSEWHERE, "counted here, and left to the shard that sees its repository")}
    (waits,) = [verdict for verdict in plan.verdicts if verdict.subject is Subject.JOB]
    assert waits.reason is Reason.POOL_FULL


def test_another_shards_instance_serves_no_job_here() -> None:
    plan = decide(sharded(), world(job(repository=MINE), idle("i-1", scope=THEIRS, slot=1)), KNOWN)
    assert [type(command) for command in plan.commands] == [Launch]


@pytest.mark.parametrize(("slot", "does"), [(0, HandOver), (1, Launch)], ids=["own slot", "another's slot"])
def test_an_instance_without_a_scope_is_its_slots_shards(slot: int, does: type) -> None:
    snapshot = world(job(repository=MINE), booting("i-1", scope=None, slot=slot, age="2m"))
    assert [type(command) for command in decide(sharded(), snapshot, KNOWN).commands] == [does]


@pytest.mark.parametrize(
    ("scope", "told", "slot", "first"),
    [
        pytest.param(MINE, None, 1, True, id="its tag tells"),
        pytest.param(THEIRS, MINE, 0, False, id="its tag, whatever its parameter tells"),
        pytest.param(None, MINE, 1, True, id="its parameter, where it has no tag"),
        pytest.param(None, THEIRS, 0, False, id="its parameter, not its slot"),
        pytest.param(None, None, 0, True, id="its slot, where nothing else does"),
        pytest.param(None, None, 1, False, id="another's slot"),
    ],
)
def test_whose_an_instance_is(scope: str | None, told: str | None, slot: int, *, first: bool) -> None:
    there = instance("i-1", scope=scope, slot=slot).instances
    by_parameter = {"i-1": told} if told else {}
    assert [bool(instances_of(shard, there, by_parameter)) for shard in (FIRST, SECOND)] == [first, not first]


def test_an_instance_of_another_shards_slot_is_not_ended_for_want_of_a_scope() -> None:
    orphan = instance("i-1", scope=None, slot=1, age="2h", draining_since=NOW - span("1h"))
    assert decide(sharded(), world(orphan), KNOWN).commands == ()
    assert decide(sharded(SECOND), world(orphan), KNOWN).commands != ()


def test_an_instance_past_its_lifetime_is_ended_by_any_shard() -> None:
    """Its own may not be running any more."""
    plan = decide(sharded(), world(instance("i-1", scope=THEIRS, slot=1, age="7h")), KNOWN)
    assert [command.reason for command in plan.commands] == [Reason.EXPIRED]


def test_another_shards_parameters_are_not_swept() -> None:
    left = [parameter("i-1", age="2h", scope=THEIRS), parameter("i-2", age="2h", scope=MINE)]
    plan = decide(sharded(), world(*left), KNOWN)
    assert [c.name for c in plan.commands if isinstance(c, DeleteParameter)] == ["/runner-scaler/main/i-2"]


def test_a_shard_fills_its_own_slots_first_and_then_any() -> None:
    second = next(name for name in NAMES if Shard(2, 4).has(name))
    one = replace(config(pool(max=6), repositories=(second,)), shard=Shard(2, 4))
    plan = decide(one, world(jobs(6, repository=second)), KNOWN)
    assert [command.slot for command in plan.commands if isinstance(command, Launch)] == [1, 5, 0, 2, 3, 4]


def test_shards_share_the_budgets() -> None:
    eight = Shard(1, 8)
    assert eight.share(LAUNCHES_PER_TICK) * 8 <= LAUNCHES_PER_TICK
    name = next(name for name in NAMES if eight.has(name))
    one = replace(config(pool(max=100), repositories=(name,), max_runners=100), shard=eight)
    plan = decide(one, world(jobs(50, repository=name)), KNOWN)
    assert len(plan.commands) == LAUNCHES_PER_TICK // 8


@pytest.mark.parametrize("strangers", [0, 12])
def test_an_unproven_pool_costs_its_share_whatever_other_shards_run(strangers: int) -> None:
    """Of another shard's machines nobody here sees a runner: they are no launches that have yet to register."""
    busy = [instance(f"i-{n}", scope=THEIRS, slot=2 * n + 1) for n in range(strangers)]
    plan = decide(sharded(most=40), world(jobs(9, repository=MINE), *busy), Memory(start=0))
    assert len([command for command in plan.commands if isinstance(command, Launch)]) == UNPROVEN // 2


def test_another_shards_instances_hide_no_failure() -> None:
    """Three launches in a row whose machines are gone while their job waits stop the pool (D10)."""
    failed = Memory(start=0, breakers={"amd64": Breaker(0, NOW - span("20m"), None, 3, f"{MINE}#1")})
    plan = decide(sharded(), world(job(repository=MINE), instance("i-9", scope=THEIRS, slot=1)), failed)
    assert plan.memory.breakers["amd64"].opened_at == NOW


def test_another_shards_ghosts_are_left_to_it() -> None:
    remembered = replace(KNOWN, ghosts={"main-1a2b3c-i-9": NOW - span("1h")})
    assert decide(sharded(), world(ghost("i-9", scope=THEIRS)), remembered).commands == ()
    (command,) = decide(sharded(SECOND), world(ghost("i-9", scope=THEIRS)), remembered).commands
    assert isinstance(command, Deregister)


def test_min_idle_is_kept_by_the_shard_of_its_repository_alone() -> None:
    warm = pool(min_idle=1, registration=Registration.TOKEN, max=8)
    fleet = config(warm, repositories=(MINE, THEIRS), max_runners=40)
    for one, name in ((FIRST, MINE), (SECOND, THEIRS)):
        plan = decide(replace(fleet, shard=one).including(()), world(), KNOWN)
        assert [command.scope for command in plan.commands if isinstance(command, Launch)] == [name]


# --- what is remembered ----------------------------------------------------------------------------------

LEARNED = Memory(
    links={"amd64/1": Link(8, NOW), "amd64/2": Link(3, NOW)},
    launches={NOW.replace(second=0): 3},
    breakers={"amd64": Breaker(1, NOW)},
    refused={"aaaaaa": NOW},
    reclaimed={"amd64": NOW},
    proven={"amd64@runner-amd64:3": NOW},
    start=7,
)


def test_what_shards_agree_on_is_kept_apart_from_what_each_counts() -> None:
    """A breaker or a budget must not be undone by another shard's write."""
    counts, chains = counts_of(LEARNED), with_chains(Memory(), LEARNED)
    assert counts == Memory(breakers=LEARNED.breakers, launches=LEARNED.launches)
    assert chains == replace(LEARNED, breakers={}, launches={})
    assert joined(decode(encode(chains)), decode(encode(counts))) == LEARNED


def test_what_others_wrote_meanwhile_is_kept_and_of_each_chain_the_later_link() -> None:
    theirs = Memory(
        links={"amd64/1": Link(9, NOW - span("5m")), "amd64/2": Link(2, NOW), "amd64/3": Link(1, NOW)},
        launches={NOW.replace(second=0): 5},
        refused={"aaaaaa": NOW - span("2m"), "bbbbbb": NOW},
        reclaimed={"amd64": NOW - span("2m"), "arm64": NOW},
        start=6,
    )
    found = with_chains(theirs, LEARNED)
    assert {slot: link.k for slot, link in found.links.items()} == {"amd64/1": 9, "amd64/2": 3, "amd64/3": 1}
    assert found.refused == {"aaaaaa": NOW, "bbbbbb": NOW}
    assert found.reclaimed == {"amd64": NOW, "arm64": NOW}
    assert (found.start, found.launches) == (6, theirs.launches)


@pytest.mark.parametrize("before", ["1m", "0m"])
def test_a_link_that_is_asked_for_again_keeps_what_came_of_it_last(before: str) -> None:
    there = Memory(links={"amd64/1": Link(8, NOW - span(before), LinkState.TAKEN)}, start=7)
    assert with_chains(there, LEARNED).links["amd64/1"].state is LinkState.USED


class Parameters:
    """The state parameters; another process writes the chains whenever ours are about to be written."""

    def __init__(self, other: Memory) -> None:
        self.other = other
        self.kept: dict[str, str] = {}
        self.refuses: str | None = None
        self.always: dict[str, bool] = {}

    def load_state(self, part: str = "") -> str | None:
        self.kept.setdefault(part, encode(self.other))
        return self.kept[part]

    def save_state(self, value: str, part: str = "", *, always: bool = False) -> bool:
        self.always[part] = always
        self.kept[part] = value
        return part != self.refuses


def test_a_shard_reads_what_all_share_again_before_it_writes_it() -> None:
    cloud = Parameters(Memory(links={"amd64/5": Link(4, NOW)}, launches={NOW.replace(second=0): 9}, start=7))
    Keeper(cast("Cloud", cloud), Pace(None, 3), FIRST.part).keep(LEARNED)
    assert sorted(decode(cloud.kept[""]).links) == ["amd64/1", "amd64/2", "amd64/5"]
    assert list(decode(cloud.kept[""]).launches.values()) == [9]  # those of ticks of the whole
    assert decode(cloud.kept["-1-of-2"]) == counts_of(LEARNED)


@pytest.mark.parametrize(("refuses", "kept"), [(None, True), ("", False), (FIRST.part, False)])
def test_a_shards_memory_is_kept_when_both_its_parts_are(refuses: str | None, *, kept: bool) -> None:
    cloud = Parameters(Memory(start=7))
    cloud.refuses = refuses
    assert Keeper(cast("Cloud", cloud), Pace(None, 3), FIRST.part).keep(LEARNED) is kept


@pytest.mark.parametrize("always", [True, False])
def test_a_shard_writes_what_it_counts_anew_where_it_has_to_show_that_it_may(*, always: bool) -> None:
    cloud = Parameters(Memory(start=7))
    Keeper(cast("Cloud", cloud), Pace(None, 3), FIRST.part).keep(LEARNED, always=always)
    assert cloud.always == {FIRST.part: always, "": False}


def test_a_shard_writes_anew_what_all_share_and_nobody_can_read() -> None:
    cloud = Parameters(Memory())
    cloud.kept[""] = "{broken"
    Keeper(cast("Cloud", cloud), Pace(None, 3), FIRST.part).keep(LEARNED)
    assert decode(cloud.kept[""]) == with_chains(Memory(), LEARNED)


# --- GitHub's limits -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("own_token", "sharers"), [(False, 8), (True, 1)])
def test_shards_divide_a_minutes_points_unless_each_has_a_token(own_token: bool, sharers: int) -> None:
    fleet = config(shard=Shard(3, 8), token_per_shard=own_token)
    assert fleet.sharers == sharers
    budget = Budget(RealClock(), lambda: NOW, fleet.sharers)
    for _ in range(READS // sharers):
        budget.take(read=True)
    with pytest.raises(NotAsked):
        budget.take(read=True)
    assert 8 * (READS // 8) <= READS < POINTS


# --- a fleet's day -------------------------------------------------------------------------------------


@pytest.mark.parametrize("registration", ["jit", "token"])
def test_two_shards_side_by_side_keep_every_promise_and_leave_nothing(registration: str) -> None:
    """Ticks of both in turn, over a pool that is too small for all: the oracle judges each moment."""
    names = f"[{MINE}, {THEIRS}]"
    text = SIMULATED.replace("[acme/api, acme/web]", names).replace(
        "registration: token", f"registration: {registration}"
    )
    sim = Simulation(text)
    shards = [replace(sim.config, shard=one) for one in (FIRST, SECOND)]
    for hour in range(3):
        for number, name in enumerate((MINE, THEIRS)):
            for _ in range(2 + (hour + number) % 2):
                sim.push(minutes=3 + 2 * hour, repository=name)
        for _ in range(30):
            for each in shards:
                sim.tick(config=each)
                sim.advance(seconds=30)
    assert {run.conclusion for run in sim.github.state.runs.values()} == {"success"}
    assert sim.oracle.broken == []
    assert sim.left() == {"instances": [], "runners": [], "parameters": []}


# --- real processes ------------------------------------------------------------------------------------

FOUR = [f"acme/service-{number}" for number in range(12)]
SHARDS = [Shard(number, 4) for number in range(1, 5)]
BUSY = [next(name for name in FOUR if one.has(name)) for one in SHARDS]


@pytest.fixture
def fleet(world: World) -> World:
    """A fleet of a dozen repositories, one pool of eight."""
    text = CONFIG.replace("repositories: [acme/api, acme/web]", f"repositories: {json.dumps(FOUR)}")
    world.configure(
        text.replace("    max: 5\n  arm64", "    max: 8\n  arm64").replace("max_runners: 10", "max_runners: 13")
    )
    for name in FOUR:
        world.box.github.add_repository(name)
    return world


def at_once(world: World) -> list[Ran]:
    """Four shards, none of which launches before all have decided: each waits at its first write of a state."""
    gate = threading.Barrier(4)
    waiting = iter(range(4))

    def hold(call: Call) -> None:
        first = call.name == "ssm:PutParameter" and "/state" in str(call.params.get("Name"))
        if first and next(waiting, None) is not None:
            gate.wait(timeout=60)

    world.box.aws_server.observers.append(hold)
    processes = [world.start("auto", "--json", "--shard", str(one)) for one in SHARDS]
    ran = [world.end(process) for process in processes]
    world.box.aws_server.observers.remove(hold)
    return ran


def launched_for(ran: Sequence[Ran]) -> Counter[str]:
    """By job, how many instances were launched for it."""
    every = [command for each in ran for command in each.document["commands"] if command["command"] == "launch"]
    return Counter(each["job"] for each in every if each["outcome"]["result"] == "done")


def test_four_shards_at_once_serve_every_job_once_within_the_caps_and_touch_nothing_of_each_other(fleet: World) -> None:
    queued = [f"{name}#{each.id}" for name in BUSY for each in fleet.push("a", "b", repository=name).jobs]
    first = at_once(fleet)  # each the fleet's first tick: they agree on where chains begin
    assert [each.code for each in first] == [0, 0, 0, 0], [each.said for each in first]
    assert len(fleet.box.aws.alive()) == 4  # the pool is unproven: a shard launches its share of five, one
    fleet.boot()
    fleet.push("c", "d", repository=BUSY[0])
    second = at_once(fleet)
    alive = fleet.box.aws.alive()
    assert len(alive) == len({each.tags["runner-scaler:slot"] for each in alive}) == 8
    assert len(fleet.left()["runners"]) == 8
    found = launched_for([*first, *second])
    assert set(found.values()) == {1}
    assert set(found) <= {*queued, *(key for key in found if key.startswith(f"{BUSY[0]}#"))}
    for one, rounds in zip(SHARDS, zip(first, second, strict=True), strict=True):
        for ran in rounds:
            scopes = {command["scope"] for command in ran.document["commands"] if command.get("scope")}
            assert all(one.has(scope) for scope in scopes)
            theirs = {each.id for each in alive if not one.has(each.tags["runner-scaler:scope"])}
            assert theirs.isdisjoint(
                command.get("instance_id") for command in ran.document["commands"] if command["command"] != "launch"
            )


def test_a_shard_that_does_not_run_any_more_leaves_nothing_for_ever(fleet: World) -> None:
    """Machines end themselves; its records and secrets wait for it, or for a tick of the whole."""
    for name in BUSY:
        fleet.push("a", repository=name, duration=30)
    at_once(fleet)
    fleet.boot()
    fleet.until(lambda: len(fleet.box.journal.of("job.started")) == 4)
    fleet.box.clock.advance(60)
    fleet.until(lambda: not fleet.box.aws.alive())
    for _ in range(3):
        fleet.scaler("auto")
        fleet.advance(6)
    assert fleet.left() == NOTHING
