"""Demand is exact: over generated worlds no launch too many, none too few, fair in turn, at a cost in proportion."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from benchmarks.growth import KINDS, config_for, parts, snapshot_of
from scaler.decide import decide
from scaler.model import Instance, Job, JobStatus, Launch, Memory, Plan, Reason, Snapshot, Subject
from scaler.settings.config import Config
from tests.worlds import NOW, PREFIX, Piece, both, config, idle, instance, job, pool, runner, working, world

REPOSITORIES = ("acme/api", "acme/web", "acme/docs")
WORDS = ("x64", "arm64", "gpu", "big")
COVERED = {Reason.IDLE_RUNNER, Reason.BOOTING_RUNNER}
FULL = {Reason.POOL_FULL, Reason.FLEET_FULL}

labels = st.sets(st.sampled_from(WORDS), min_size=1, max_size=3)


@st.composite
def configs(draw: st.DrawFn, most: st.SearchStrategy[int]) -> Config:
    """Up to four pools whose labels overlap, all of them proven good."""
    sets = draw(st.lists(labels, min_size=1, max_size=4))
    pools = [pool(f"p{n}", labels=("self-hosted", *sorted(each)), max=draw(most)) for n, each in enumerate(sets)]
    return config(*pools, repositories=REPOSITORIES, max_runners=draw(most))


@st.composite
def snapshots(draw: st.DrawFn, config: Config) -> Snapshot:
    """Queued jobs, some of which nobody serves, and instances of every use: idle, booting here or anywhere, busy."""
    pieces: list[Piece] = []
    scopes = st.sampled_from(REPOSITORIES)
    for number in range(draw(st.integers(0, 8))):
        chosen = draw(st.sampled_from(config.pools))
        name, scope = f"i-{number:x}", draw(scopes)
        common: Any = {"pool": chosen.name, "slot": number}
        bears = " ".join(chosen.labels)
        match draw(st.sampled_from(["idle", "booting", "new", "busy"])):
            case "idle":
                pieces.append(idle(name, scope=scope, labels=bears, **common))
            case "booting":
                record = runner(name, online=False, scope=scope, labels=bears)
                pieces.append(both(instance(name, scope=scope, **common), record))
            case "new":
                pieces.append(instance(name, scope=None, **common))
            case _:
                pieces.append(working(name, scope=scope, **common))
    for number in range(draw(st.integers(0, 12))):
        wanted = " ".join({"self-hosted", *draw(labels)})
        age = f"{draw(st.integers(1, 50))}m"
        pieces.append(job(100 + number, repository=draw(scopes), labels=wanted, age=age))
    return world(*pieces)


def proven(config: Config) -> Memory:
    return Memory(proven={f"{p.name}@{p.launch_template.name}:{p.launch_template.version}": NOW for p in config.pools})


def fitting(config: Config, each: Job) -> list[str]:
    return [p.name for p in config.pools if each.labels <= set(p.labels)]


def truly_needed(config: Config, snapshot: Snapshot) -> int:
    """
    The jobs that some pool serves, but for as many as what is there can take at most: a maximum matching.

    Job by job and machine by machine, by Kuhn's algorithm; it shares nothing with the program but the world.
    """
    taken: dict[str, Job] = {}
    busy = {each.runner_name for each in snapshot.jobs if each.status is JobStatus.IN_PROGRESS}

    def takes(each: Job, machine: Instance) -> bool:
        if PREFIX + machine.id in busy or machine.scope not in (None, each.repository):
            return False
        return machine.pool in fitting(config, each)

    def place(each: Job, seen: set[str]) -> bool:
        for machine in snapshot.instances:
            if machine.id not in seen and takes(each, machine):
                seen.add(machine.id)
                if machine.id not in taken or place(taken[machine.id], seen):
                    taken[machine.id] = each
                    return True
        return False

    servable = [each for each in snapshot.jobs if each.status is JobStatus.QUEUED and fitting(config, each)]
    return len(servable) - sum(place(each, set()) for each in servable)


def launches(plan: Plan) -> list[Launch]:
    return [command for command in plan.commands if isinstance(command, Launch)]


def reasons(plan: Plan) -> dict[str, Reason]:
    return {verdict.id: verdict.reason for verdict in plan.verdicts if verdict.subject is Subject.JOB}


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_launches_are_exactly_what_is_truly_needed(data: st.DataObject) -> None:
    config = data.draw(configs(st.just(50)))
    snapshot = data.draw(snapshots(config))
    plan = decide(config, snapshot, proven(config))
    needed = truly_needed(config, snapshot)
    event(f"{min(needed, 5)} needed")
    assert len(launches(plan)) == needed


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_within_caps_nobody_is_refused_while_there_is_room_and_turns_are_fair(data: st.DataObject) -> None:
    config = data.draw(configs(st.integers(1, 6)))
    snapshot = data.draw(snapshots(config))
    plan = decide(config, snapshot, proven(config))
    alive = Counter(instance.pool for instance in snapshot.instances)
    launched = Counter(launch.pool for launch in launches(plan))
    most = {p.name: p.max for p in config.pools}
    assert all(alive[name] + count <= most[name] for name, count in launched.items())
    fleet_full = len(snapshot.instances) + len(launches(plan)) >= config.max_runners
    assert not launches(plan) or len(snapshot.instances) + len(launches(plan)) <= config.max_runners
    found = reasons(plan)
    for each in snapshot.jobs:
        if found[str(each.id)] in FULL:
            full = all(alive[name] + launched[name] >= most[name] for name in fitting(config, each))
            assert full or fleet_full, each
            event("refused")
    assert_fair(snapshot, plan, lambda each: found[str(each.id)] in FULL | {Reason.LAUNCHING})


def assert_fair(snapshot: Snapshot, plan: Plan, uncovered: Callable[[Job], bool]) -> None:
    """Every repository's oldest job comes before any second oldest, and so on; within a turn, the oldest first."""
    turns: dict[str, int] = defaultdict(int)
    place = {}
    for each in sorted(filter(uncovered, snapshot.jobs), key=age):
        place[f"{each.repository}#{each.id}"] = (turns[each.repository], age(each))
        turns[each.repository] += 1
    order = [place[launch.job] for launch in launches(plan)]
    assert order == sorted(order)


def age(each: Job) -> Any:
    return each.created_at, each.id


def calls(work: Callable[[], object]) -> int:
    """How many functions are called, and generators resumed: a cost that no other process disturbs."""
    counted = 0

    def count(_frame: object, kind: str, _argument: object) -> None:
        nonlocal counted
        counted += kind in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return counted


def grown(kind: str, sizes: Iterable[int]) -> list[dict[str, int]]:
    found = []
    for jobs in sizes:
        config = config_for(jobs)
        work = parts(config, snapshot_of(kind, config, jobs))
        found.append({name: calls(part) for name, part in work.items()})
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_ten_times_the_demand_costs_about_ten_times_as_much(kind: str) -> None:
    """A step that looks at all instances for each job, or at all repositories for each instance, costs a hundred times."""
    small, large = grown(kind, (300, 3000))
    assert {name: round(large[name] / small[name]) for name in small if large[name] > 12 * small[name]} == {}
