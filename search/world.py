"""
EC2, SSM and GitHub as one immutable value, and what may happen to it by itself.

A dead instance is gone with its tags, its secret and its runner's record; EC2 remembers its client token alone.
Time is whole minutes.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any, NamedTuple

PREFIX = "main-1a2b3c-"
SCOPE = "acme/api"
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
DAY = 24 * 60
LAG = 2
"""EC2's lists may be this many events old, but not by minutes."""


class Machine(NamedTuple):
    """A living instance. `record` is its runner's id at GitHub, `puts` counts the secrets it was ever given, `where` for."""

    number: int
    pool: str
    slot: int
    born: int
    scope: str | None = None
    puts: int = 0
    secret: bool = False
    record: int | None = None
    online: bool = False
    tags: tuple[tuple[str, str], ...] = ()
    where: str = SCOPE


class Token(NamedTuple):
    """A client token that EC2 remembers: the parameters it was used with, and what it launched, if anything."""

    name: Hashable
    parameters: Hashable
    machine: int | None
    used: int


class Left(NamedTuple):
    """How often each misfortune may still happen."""

    deaths: int = 0
    crashes: int = 0
    hints: int = 0
    losses: int = 0
    empty: int = 0
    refused: int = 0
    lost: int = 0
    edits: int = 0
    forgets: int = 0
    jumps: tuple[int, ...] = ()

    def less(self, name: str) -> Left | None:
        """One less of it; None when there is none left."""
        count = getattr(self, name)
        return self._replace(**{name: count - 1}) if count else None


class World(NamedTuple):
    """Everything outside the ticks. `views` are older lists of instances, the newest first."""

    left: Left
    time: int = 0
    config: int = 0
    machines: tuple[Machine, ...] = ()
    views: tuple[tuple[Machine, ...], ...] = ()
    tokens: tuple[Token, ...] = ()
    state: str | None = None
    before: str | None = None
    serial: int = 1

    def changed(self, machines: tuple[Machine, ...]) -> World:
        """The world with other machines; what was before is what a stale list shows."""
        views = dict.fromkeys((listed(self.machines), *self.views))
        views.pop(listed(machines), None)
        return self._replace(machines=machines, views=tuple(views)[:LAG])

    @property
    def lists(self) -> tuple[tuple[Machine, ...], ...]:
        """What a list of instances may show, the truth first."""
        return (listed(self.machines), *self.views)

    def spent(self, name: str) -> World | None:
        """The world after one of the misfortunes that are left."""
        left = self.left.less(name)
        return None if left is None else self._replace(left=left)

    def machine(self, number: int) -> Machine | None:
        """A living machine."""
        return next((machine for machine in self.machines if machine.number == number), None)

    def with_machine(self, machine: Machine) -> World:
        """The world with one machine's record or secret changed, which no list of instances shows."""
        return self._replace(machines=tuple(machine if m.number == machine.number else m for m in self.machines))


def listed(machines: tuple[Machine, ...]) -> tuple[Machine, ...]:
    """The machines as EC2 lists them: without what SSM and GitHub know."""
    return tuple(machine._replace(puts=0, secret=False, record=None, online=False, where=SCOPE) for machine in machines)


class Call(NamedTuple):
    """One call to a port, by a tick that began with the config of that number."""

    name: str
    arguments: tuple[Any, ...]
    config: int


class Raised(NamedTuple):
    """An answer that is an error of `scaler.model`."""

    kind: str


Answer = Any
"""A hashable value; `look` answers with its instances alone, times are minutes."""


def moment(minute: int) -> datetime:
    """A minute of the search as a time."""
    return NOON + timedelta(minutes=minute)


def name_of(number: int) -> str:
    """A machine's instance id."""
    return f"i-{number:x}"


def number_of(instance_id: str) -> int:
    """The machine of an instance id."""
    return int(instance_id.rpartition("i-")[2], 16)


def died(world: World, number: int) -> World:
    """The world without a machine: its tags, its secret and its runner's record go with it."""
    return world.changed(tuple(machine for machine in world.machines if machine.number != number))


def events(world: World, configs: int) -> Iterator[tuple[str, World]]:
    """Everything that may happen between two calls: a death, time, an edit of the config, a token forgotten."""
    if (fewer := world.spent("deaths")) is not None:
        for machine in world.machines:
            yield f"{name_of(machine.number)} dies", died(fewer, machine.number)
    for jump in dict.fromkeys(world.left.jumps):
        yield from _later(world, jump)
    if world.config + 1 < configs and (fewer := world.spent("edits")) is not None:
        yield "the config is edited", fewer._replace(config=world.config + 1)
    if world.state is not None and (fewer := world.spent("losses")) is not None:
        yield "the state is lost", fewer._replace(state=None, before=None)
    if (fewer := world.spent("forgets")) is not None:
        for token in world.tokens:
            kept = tuple(other for other in world.tokens if other is not token)
            yield f"EC2 forgets a token of {name_of(token.machine or 0)}", fewer._replace(tokens=kept)


def _later(world: World, jump: int) -> Iterator[tuple[str, World]]:
    """
    Minutes later: the lists have caught up, and what has its secret is online; a day-old token may be forgotten.

    A stale read of the state parameter is not minutes old either.
    """
    jumps = list(world.left.jumps)
    jumps.remove(jump)
    machines = tuple(
        machine._replace(online=machine.record is not None and machine.secret) for machine in world.machines
    )
    time = world.time + jump
    old = [token for token in world.tokens if time - token.used >= DAY]
    for forgotten in (set(chosen) for count in range(len(old) + 1) for chosen in combinations(old, count)):
        said = f", {len(forgotten)} old tokens are forgotten" if forgotten else ""
        yield (
            f"{jump} minutes pass{said}",
            world._replace(
                left=world.left._replace(jumps=tuple(jumps)),
                time=time,
                machines=machines,
                views=(),
                tokens=tuple(token for token in world.tokens if token not in forgotten),
                before=world.state,
            ),
        )
