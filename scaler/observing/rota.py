"""
Whose turn it is: which repositories a tick looks at, and how deep, when GitHub's limits are too narrow for all. Pure.

Where all fit into the room that a tick has, all are looked at, as deep as the tick is meant to be. Else those with
unfinished jobs or with an instance of ours come first and get up to three quarters of the room, the others get the
rest, each group by turns; every tenth look at a repository is deep. So with room for r reads nobody waits longer than
2.4 N / (r / 4) ticks, and where little goes on 2.4 N / r.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime

SHALLOW, DEEP = 2, 6
"""Reads: two lists of runs; five, and the list of runners."""
DEEP_EVERY = 10
FIRST = 0.75
"""Of the room, what those may take that have something going on."""
LATE = datetime.max.replace(tzinfo=UTC)


class Rota:
    """When each repository was looked at. Lives as long as its process."""

    def __init__(self) -> None:
        """Nobody was looked at yet."""
        self._tick = 0
        self._looked: dict[str, int] = {}
        self._shallow_looks: dict[str, int] = {}

    def turns(
        self,
        repositories: Sequence[str],
        active: Collection[str],
        waits: Mapping[str, datetime],
        *,
        deep: bool,
        room: int | None,
    ) -> dict[str, bool]:
        """
        Who is looked at now, in this order, and how deep.

        `active` have something going on, `waits` says since when the oldest job of a repository waits.
        """
        self._tick += 1
        order = sorted(repositories, key=lambda name: (self._looked.get(name, 0), waits.get(name, LATE)))
        if room is None or (DEEP if deep else SHALLOW) * len(order) <= room:
            turns = dict.fromkeys(order, deep)
        else:
            turns = self._in_turn(order, active, deep=deep, room=room)
        for name, is_deep in turns.items():
            self._looked[name] = self._tick
            self._shallow_looks[name] = 0 if is_deep else self._shallow_looks.get(name, 0) + 1
        return turns

    def _in_turn(self, order: Sequence[str], active: Collection[str], *, deep: bool, room: int) -> dict[str, bool]:
        turns: dict[str, bool] = {}
        left = room

        def serve(names: Iterable[str], down_to: float, *, deeply: bool) -> None:
            nonlocal left
            for name in names:
                is_deep = deeply or self._shallow_looks.get(name, 0) >= DEEP_EVERY - 1
                cost = DEEP if is_deep else SHALLOW
                if name not in turns and left - cost >= down_to:
                    turns[name] = is_deep
                    left -= cost

        first = [name for name in order if name in active]
        serve(first, room * (1 - FIRST), deeply=deep)
        serve((name for name in order if name not in active), 0, deeply=False)
        serve(first, 0, deeply=False)
        return turns
