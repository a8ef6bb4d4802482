"""
Whose turn it is: which repositories a tick looks at, and how deep, when GitHub's limits are too narrow for all. Pure.

Where all fit into the room that a tick has, all are looked at, as deep as the tick is meant to be. Else those with
unfinished jobs or with an instance of ours come first and get up to three quarters of the room, the others get the
rest, each group by turns; every tenth look at a repository is deep. So with room for r reads nobody waits longer than
2.5 N / (r / 4) ticks, and where little goes on 2.5 N / r.

With hints (`scaler/observing/hints.py`) a repository of which one says that something happened comes first too, and those
that are told quiet get s reads a tick, by turns: each has its turn within 2.5 N / s ticks, whatever no hint tells.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

SHALLOW, DEEP = 2, 6
"""Reads: two lists of runs; five, and the list of runners."""
DEEP_EVERY = 10
FIRST = 0.75
"""Of the room, what those may take that have something going on."""
AFTERCARE = 2
"""Deep looks at where nothing goes on any more, before a hint is taken for it: a ghost is swept when seen twice."""
LATE = datetime.max.replace(tzinfo=UTC)


class Hinted(NamedTuple):
    """What hints tell in a tick, the reads that the quiet ones may have in it, and those that were spent on asking."""

    stirred: frozenset[str] = frozenset()
    quiet: frozenset[str] = frozenset()
    sweep: int = 0
    spent: int = 0


NO_HINTS = Hinted()


def fits(count: int, *, deep: bool, room: int | None) -> bool:
    """Whether so many repositories can be looked at in one tick."""
    return room is None or (DEEP if deep else SHALLOW) * count <= room


class Rota:
    """When each repository was looked at. Lives as long as its process."""

    def __init__(self) -> None:
        """Nobody was looked at yet."""
        self._tick = 0
        self._looked: dict[str, int] = {}
        self._shallow_looks: dict[str, int] = {}
        self._aftercare: dict[str, int] = {}

    def turns(
        self,
        repositories: Sequence[str],
        active: Collection[str],
        waits: Mapping[str, datetime],
        *,
        deep: bool,
        room: int | None,
        hints: Hinted = NO_HINTS,
    ) -> dict[str, bool]:
        """
        Who is looked at now, in this order, and how deep.

        `active` have something going on, `waits` says since when the oldest job of a repository waits.
        """
        self._tick += 1
        for number, name in enumerate(repositories):  # not all are deep in the same round
            self._shallow_looks.setdefault(name, number % (DEEP_EVERY - 1))
        self._aftercare |= dict.fromkeys(active, AFTERCARE)
        order = sorted(repositories, key=lambda name: (self._looked.get(name, 0), waits.get(name, LATE)))
        if room is None or fits(len(order), deep=deep, room=room):
            turns = dict.fromkeys(order, deep)
        else:
            turns = self._in_turn(order, active, hints, deep=deep, room=room)
        for name, is_deep in turns.items():
            self._looked[name] = self._tick
            self._shallow_looks[name] = 0 if is_deep else self._shallow_looks[name] + 1
            if is_deep and name in self._aftercare and name not in active:
                self._aftercare[name] -= 1
                if not self._aftercare[name]:
                    del self._aftercare[name]
        return turns

    def _in_turn(
        self, order: Sequence[str], active: Collection[str], hints: Hinted, *, deep: bool, room: int
    ) -> dict[str, bool]:
        turns: dict[str, bool] = {}
        left = room - hints.spent

        def serve(names: Iterable[str], down_to: float, deeply: Collection[str] = ()) -> None:
            nonlocal left
            for name in names:
                is_deep = name in deeply or self._shallow_looks[name] >= DEEP_EVERY - 1
                cost = DEEP if is_deep else SHALLOW
                if name not in turns and left - cost >= down_to:
                    turns[name] = is_deep
                    left -= cost

        urgent = hints.stirred.union(active)
        quiet = hints.quiet.difference(urgent, self._aftercare)
        first = [name for name in order if name in urgent]
        floor = max(left * (1 - FIRST), DEEP)
        serve(first, floor, active if deep else ())
        serve((name for name in order if name in quiet), left - min(max(hints.sweep, DEEP), floor))
        serve((name for name in order if name not in urgent and name not in quiet), 0)
        serve(first, 0)
        return turns
