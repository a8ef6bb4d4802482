"""
Every answer that EC2, SSM and GitHub may give to a call, and what each did to the world.

The semantics are those of AWS's and GitHub's documentation, and of docs/assumptions.md where that is silent; where
two answers are possible, both are given.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from scaler.model import (
    Instance,
    InstanceState,
    Job,
    JobStatus,
    LaunchAnswer,
    LaunchKind,
    Parameter,
    Removal,
    Runner,
    Secret,
    Terms,
)
from search.world import PREFIX, Answer, Call, Machine, Raised, Token, World, died, moment, name_of, number_of

Answers = Iterator[tuple[str, Answer, World]]


@dataclass(frozen=True)
class Rules:
    """What is fixed for one search. `queues` are the answers that the queue may give: numbers of jobs."""

    queues: tuple[tuple[int, ...], ...]
    labels: Callable[[str], frozenset[str]]
    token: Callable[[str, int, int, int], Hashable]
    parameters: Callable[[int, str, Terms], Hashable]
    offered: Callable[[int, str, Terms], tuple[str, ...]]
    labels_of_job: Callable[[int], frozenset[str]]
    empty_spends: bool = True


def answers(rules: Rules, world: World, call: Call) -> Answers:
    """Every answer that a call may get, with what it did to the world and a word for the trace."""
    return _ANSWERS[call.name](rules, world, call)


@cache
def _instance(machine: Machine) -> Instance:
    tags = dict(machine.tags)
    return Instance(
        id=name_of(machine.number),
        pool=machine.pool,
        slot=machine.slot,
        state=InstanceState.RUNNING,
        launched_at=moment(machine.born),
        scope=machine.scope,
        idle_since=_time(tags.get("idle-since")),
        draining_since=_time(tags.get("draining-since")),
    )


def _time(stamp: str | None) -> datetime | None:
    return None if stamp is None else datetime.fromisoformat(stamp)


# --- EC2 -----------------------------------------------------------------------------------------


def _instances(_rules: Rules, world: World, _call: Call) -> Answers:
    for age, view in enumerate(world.lists):
        shown = ", ".join(name_of(machine.number) for machine in view) or "none"
        yield f"{shown}{' (stale)' if age else ''}", tuple(map(_instance, view)), world


def _look(_rules: Rules, world: World, call: Call) -> Answers:
    """Each id as it is or as a stale list has it; a dead one terminated, without its tags, or not at all."""
    found: list[list[Instance | None]] = []
    for instance_id in call.arguments[0]:
        number = number_of(instance_id)
        options: list[Instance | None] = []
        for view in world.lists:
            seen = next((machine for machine in view if machine.number == number), None)
            options.append(None if seen is None else _instance(seen))
        if world.machine(number) is None:
            options.append(Instance(instance_id, "", None, InstanceState.TERMINATED, moment(0)))
        found.append(list(dict.fromkeys(options)))
    for answer in _choices(found):
        told = ", ".join(i.state.value if i.scope is None else f"for {i.scope}" for i in answer) or "not listed"
        yield told, answer, world


def _choices(found: list[list[Instance | None]]) -> Iterator[tuple[Instance, ...]]:
    if not found:
        yield ()
        return
    for rest in _choices(found[1:]):
        for first in found[0]:
            yield rest if first is None else (first, *rest)


def _launch(rules: Rules, world: World, call: Call) -> Answers:
    pool, slot, link, terms = call.arguments
    name = rules.token(pool, slot, link, world.serial)
    parameters = rules.parameters(call.config, pool, terms)
    offered = rules.offered(call.config, pool, terms)
    known = next((token for token in world.tokens if token.name == name), None)
    if known is not None:
        yield from _replay(world, known, parameters, frozenset(offered))
        return
    number = world.serial
    token = Token(name, parameters, number, world.time)
    machine = Machine(number, pool, slot, world.time)
    after = world.changed((*world.machines, machine))
    tokens = world.tokens if name is None else _in_order((*world.tokens, token))
    after = after._replace(tokens=tokens, serial=number + 1)
    yield f"launched {name_of(number)}", LaunchAnswer(LaunchKind.LAUNCHED, name_of(number)), after
    if (lost := after.spent("lost")) is not None:
        yield f"launched {name_of(number)}, but the answer is lost", Raised("Unavailable"), lost
    if (empty := world.spent("empty")) is not None:
        if rules.empty_spends:
            empty = empty._replace(tokens=_in_order((*world.tokens, token._replace(machine=None))))
        yield "no capacity", LaunchAnswer(LaunchKind.NO_CAPACITY, detail="none", refused=frozenset(offered)), empty
        if len(offered) > 1:
            # The fleet passed over the first override: the second is what was launched.
            launched = LaunchAnswer(LaunchKind.LAUNCHED, name_of(number), refused=frozenset(offered[:1]))
            left = after.spent("empty")
            assert left is not None  # noqa: S101 - it was asked above
            yield f"launched {name_of(number)} as the second choice", launched, left
    if (refused := world.spent("refused")) is not None:
        # Rejected as a whole: no fleet was made, and the token is as good as new.
        yield "refused", LaunchAnswer(LaunchKind.REFUSED, detail="no", spent=False), refused
        full = LaunchAnswer(LaunchKind.NO_CAPACITY, detail="none", spent=False, refused=frozenset(offered))
        yield "rejected for capacity", full, refused


def _replay(world: World, known: Token, parameters: Hashable, offered: frozenset[str]) -> Answers:
    if known.parameters != parameters:
        yield "parameter mismatch", LaunchAnswer(LaunchKind.MISMATCH), world
    elif known.machine is None:
        yield "no capacity, as before", LaunchAnswer(LaunchKind.NO_CAPACITY, detail="none", refused=offered), world
    elif world.machine(known.machine) is not None:
        yield f"{name_of(known.machine)} again", LaunchAnswer(LaunchKind.LAUNCHED, name_of(known.machine)), world
    else:
        gone = name_of(known.machine)
        yield f"{gone}, which is dead", LaunchAnswer(LaunchKind.LAUNCHED, gone), world
        yield f"IdempotentInstanceTerminated ({gone})", LaunchAnswer(LaunchKind.DEAD), world


def _in_order(tokens: tuple[Token, ...]) -> tuple[Token, ...]:
    return tuple(sorted(tokens, key=lambda token: str(token.name)))


def _terminate(_rules: Rules, world: World, call: Call) -> Answers:
    number = number_of(call.arguments[0])
    yield "ended", world.machine(number) is not None, died(world, number)


def _tag(_rules: Rules, world: World, call: Call) -> Answers:
    instance_id, key, value = call.arguments
    machine = world.machine(number_of(instance_id))
    if machine is None:
        yield "not there", Raised("Unavailable"), world
        return
    if key == "scope":
        tagged = machine._replace(scope=value)
    else:
        kept = {k: v for k, v in machine.tags if k != key} | ({} if value is None else {key: value})
        tagged = machine._replace(tags=tuple(sorted(kept.items())))
    others = tuple(tagged if m.number == machine.number else m for m in world.machines)
    yield "tagged", None, world if tagged == machine else world.changed(others)


# --- SSM -----------------------------------------------------------------------------------------


def _parameters(_rules: Rules, world: World, _call: Call) -> Answers:
    there = tuple(
        Parameter(name_of(m.number), name_of(m.number), moment(m.born), m.where) for m in world.machines if m.secret
    )
    yield f"{len(there)} parameters", there, world


def _put_parameter(_rules: Rules, world: World, call: Call) -> Answers:
    machine = world.machine(number_of(call.arguments[0]))
    if machine is None:
        yield "put for a dead one", True, world
    elif machine.secret:
        yield "exists", False, world
    else:
        given = machine._replace(secret=True, puts=machine.puts + 1, where=call.arguments[1])
        after = world.with_machine(given)
        yield "put", True, after
        if (lost := after.spent("lost")) is not None:
            yield "put, but the answer is lost", Raised("Unavailable"), lost


def _delete_parameters(_rules: Rules, world: World, call: Call) -> Answers:
    for name in call.arguments[0]:
        if (machine := world.machine(number_of(name))) is not None:
            world = world.with_machine(machine._replace(secret=False))
    yield "deleted", None, world


def _load_state(_rules: Rules, world: World, _call: Call) -> Answers:
    yield "the state", world.state, world
    stale = world.spent("hints")
    if stale is not None and world.state is not None:
        if world.before != world.state:
            yield "the state before", world.before, stale
        yield "the state cannot be read", Raised("Unavailable"), stale


def _save_state(_rules: Rules, world: World, call: Call) -> Answers:
    value, overwrite = call.arguments
    if world.state is not None and not overwrite:
        yield "another wrote the first", world.state == value, world
        return
    after = world if value == world.state else world._replace(state=value, before=world.state)
    yield "saved", True, after
    if (lost := after.spent("lost")) is not None:
        yield "saved, but the answer is lost", Raised("Unavailable"), lost


# --- GitHub --------------------------------------------------------------------------------------


def _clock(_rules: Rules, world: World, _call: Call) -> Answers:
    yield f"minute {world.time}", world.time, world


def _jobs(rules: Rules, world: World, call: Call) -> Answers:
    for numbers in rules.queues:
        jobs = tuple(
            Job(n, call.arguments[0], n, f"job-{n}", rules.labels_of_job(n), JobStatus.QUEUED, moment(world.time - 1))
            for n in numbers
        )
        yield f"jobs {numbers}", jobs, world


def _runners(rules: Rules, world: World, call: Call) -> Answers:
    there = tuple(
        Runner(m.record, PREFIX + name_of(m.number), m.where, m.online, False, rules.labels(m.pool))
        for m in world.machines
        if m.record is not None and m.where == call.arguments[0]
    )
    yield f"{len(there)} runners", there, world


def _jit_secret(_rules: Rules, world: World, call: Call) -> Answers:
    machine = world.machine(number_of(call.arguments[1]))
    if machine is None:
        yield "minted for a dead one", Secret("secret", 1), world
    elif machine.record is not None:
        yield "409: the name is taken", Raised("NameTaken"), world
    else:
        record = 10 * machine.number
        yield (
            "minted",
            Secret("secret", record),
            world.with_machine(machine._replace(record=record, where=call.arguments[0])),
        )


def _remove_runner(_rules: Rules, world: World, call: Call) -> Answers:
    machine = next((machine for machine in world.machines if machine.record == call.arguments[1]), None)
    if machine is None:
        yield "gone", Removal.GONE, world
    else:
        yield "removed", Removal.REMOVED, world.with_machine(machine._replace(record=None, online=False))


_ANSWERS: dict[str, Callable[[Rules, World, Call], Answers]] = {
    "clock": _clock,
    "date": _clock,
    "instances": _instances,
    "look": _look,
    "launch": _launch,
    "terminate": _terminate,
    "tag": _tag,
    "parameters": _parameters,
    "put_parameter": _put_parameter,
    "delete_parameters": _delete_parameters,
    "load_state": _load_state,
    "save_state": _save_state,
    "jobs": _jobs,
    "runners": _runners,
    "jit_secret": _jit_secret,
    "remove_runner": _remove_runner,
}
