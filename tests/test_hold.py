"""A hold tag is respected on every path: whatever else is true of an instance, nothing here ends it."""

from __future__ import annotations

from typing import Any

import pytest

from scaler.decide import decide
from scaler.model import (
    Breaker,
    Command,
    Deregister,
    Down,
    Drain,
    InstanceState,
    Memory,
    Reason,
    Snapshot,
    Terminate,
)
from simulation.oracle import TAG
from tests.leftovers import KINDS, leftovers
from tests.worlds import (
    API,
    NOW,
    PREFIX,
    WEB,
    booting,
    config,
    idle,
    instance,
    job,
    pool,
    span,
    working,
    world,
)

LATE = NOW - span("5m")
OPEN = Memory(breakers={"amd64": Breaker(3, NOW - span("2h"), NOW - span("31m"), 5)})
ONE = config(pool(max=1))


def down(held: bool, *, force: bool) -> Snapshot:
    """Somebody asks for the end of an idle instance."""
    return world(idle(since="1h", hold=held), asked=(Down("i-1", force),))


def path(what: str, make: Any, memory: Memory = Memory(), config: Any = config()) -> Any:  # noqa: B008 - frozen values
    """A row: the world with and without the tag."""
    return pytest.param(make, memory, config, id=what)


PATHS = [
    path("surplus", lambda held: world(idle(since="1h", hold=held))),
    path("starved", lambda held: world(idle(since="3m", hold=held), job(repository=WEB)), config=ONE),
    path("orphan", lambda held: world(instance(age="20m", draining_since=LATE, hold=held))),
    path("offline", lambda held: world(booting(age="20m", draining_since=LATE, hold=held))),
    path("drained", lambda held: world(instance(age="1h", idle_since=LATE, draining_since=LATE, hold=held))),
    path("never handed over", lambda held: world(instance(age="8m", scope=None, draining_since=LATE, hold=held))),
    path("expired", lambda held: world(working(age="7h", hold=held))),
    path("stopped", lambda held: world(instance(state=InstanceState.STOPPED, hold=held))),
    path("of a pool that is gone", lambda held: world(idle(since="1h", pool="gone", hold=held))),
    path("a breaker's trial that failed", lambda held: world(booting(age="20m", draining_since=LATE, hold=held)), OPEN),
    path("down", lambda held: down(held, force=False)),
    path("down --force", lambda held: down(held, force=True)),
]


def ends(commands: tuple[Command, ...]) -> list[Command]:
    """Those that end something."""
    return [command for command in commands if isinstance(command, Drain | Terminate | Deregister)]


@pytest.mark.parametrize(("make", "memory", "cfg"), PATHS)
def test_what_would_end_an_instance_leaves_a_held_one_alone(make: Any, memory: Memory, cfg: Any) -> None:
    assert len(ends(decide(cfg, make(False), memory).commands)) == 1
    held = decide(cfg, make(True), memory)
    assert ends(held.commands) == []
    assert Reason.HELD in {verdict.reason for verdict in held.verdicts}
    # What was not ended has not failed either.
    assert held.memory.breakers == memory.breakers


def test_a_held_instance_that_is_stopped_keeps_its_runners_record() -> None:
    held = world(booting(state=InstanceState.STOPPED, age="1h", hold=True))
    memory = Memory(ghosts={PREFIX + "i-1": NOW - span("1h")})
    assert ends(decide(config(), held, memory).commands) == []


def test_in_a_world_of_leftovers_all_that_is_held_stays() -> None:
    """By the real adapters, on ground truth: what is left to end are the ghost and the parameter of the gone."""
    left = leftovers()
    with left.sim.clock.lock:
        for number in left.sim.oracle.alive():
            held = left.sim.aws.ec2.get(number)
            assert held is not None
            left.sim.aws.ec2.retag(number, {**held.tags, f"{TAG}hold": "mine"}, "hand")
    before = len(list(left.sim.journal))
    left.sim.ticks(2, every=300)
    for number in left.sim.oracle.alive():
        left.sim.by_hand(Down(number, force=True))
    assert left.ended(before) == {API: {"ghost", "parameter"}, WEB: {"ghost", "parameter"}}
    assert {"ghost", "parameter"} < KINDS
    assert left.sim.oracle.broken == []
