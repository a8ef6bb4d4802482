"""Whose turn it is, as a pure question: what comes first, what hints change, and that nobody waits for ever."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

import pytest

from scaler.observing.rota import DEEP, NO_HINTS, SHALLOW, Hinted, Rota

MANY = tuple(f"acme/r{number:03}" for number in range(500))
QUIET = frozenset(MANY)
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


class Turns:
    """A rota over so many repositories, and when each of them had its last turn."""

    def __init__(self, names: Collection[str] = MANY, room: int = 150) -> None:
        self.rota, self.names, self.room = Rota(), tuple(names), room
        self.tick = self.oldest = 0
        self.last = dict.fromkeys(names, 0)
        self.deep = dict.fromkeys(names, 0)

    def take(self, hints: Hinted = NO_HINTS, active: Collection[str] = (), *, deep: bool = False) -> dict[str, bool]:
        turns = self.rota.turns(self.names, frozenset(active), {}, deep=deep, room=self.room, hints=hints)
        self.tick += 1
        self.last |= dict.fromkeys(turns, self.tick)
        for name, is_deep in turns.items():
            self.deep[name] += is_deep
        self.oldest = max(self.oldest, *(self.tick - each for each in self.last.values()))
        assert sum(DEEP if is_deep else SHALLOW for is_deep in turns.values()) <= self.room - hints.spent
        return turns


@pytest.mark.parametrize("count", [100, 500])
@pytest.mark.parametrize("room", [24, 150])
def test_without_hints_nobody_waits_longer_than_the_bound(count: int, room: int) -> None:
    turns = Turns(MANY[:count], room)
    for _ in range(int(30 * count / room * 2)):
        turns.take()
    assert turns.oldest <= 2.5 * count / room + 1
    assert min(turns.deep.values()) > 0, "and each look in ten is deep"


@pytest.mark.parametrize("sweep", [10, 28])
def test_who_is_told_quiet_has_the_sweep_s_reads_and_waits_no_longer_than_its_bound(sweep: int) -> None:
    turns = Turns()
    for _ in range(int(30 * len(MANY) / sweep)):
        took = turns.take(Hinted(quiet=QUIET, sweep=sweep))
        assert sum(DEEP if is_deep else SHALLOW for is_deep in took.values()) <= sweep
    assert turns.oldest <= 2.5 * len(MANY) / sweep


def test_the_sweep_goes_on_however_much_goes_on_elsewhere() -> None:
    turns = Turns()
    active = MANY[:400]
    for number in range(400):
        turns.take(Hinted(quiet=QUIET - set(active), sweep=10), active, deep=number % 10 == 0)
    assert turns.oldest <= max(2.5 * 100 / 10, 2.5 * 400 / (0.75 * 150) + 10)


def test_who_is_stirred_comes_first_and_at_the_price_of_a_shallow_look() -> None:
    turns = Turns()
    for _ in range(8):
        turns.take()
    stirred = frozenset(turns.take(Hinted(quiet=QUIET, sweep=10)))
    took = turns.take(Hinted(stirred=stirred, quiet=QUIET - stirred, sweep=10), active=MANY[100:120], deep=True)
    assert set(took) >= stirred | set(MANY[100:110])


def test_where_something_went_on_two_deep_looks_follow_before_a_hint_is_taken_for_it() -> None:
    """A ghost that it left is swept when it was seen twice."""
    turns = Turns()
    name = MANY[7]
    turns.take(active=[name])
    deep = 0
    for _ in range(200):
        took = turns.take(Hinted(quiet=QUIET, sweep=10))
        if name not in took:
            break
        deep += took[name]
    assert deep == 2


@pytest.mark.parametrize("room", [12, 20, 24])
def test_however_little_room_there_is_a_deep_look_finds_some(room: int) -> None:
    turns = Turns(MANY[:60], room)
    active = MANY[:5]
    for number in range(300):
        turns.take(active=active, deep=number % 10 == 0)
    assert min(turns.deep.values()) > 0
