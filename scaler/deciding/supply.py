"""
Queued jobs covered by instances: as many as can be, so that nothing is launched that is not needed. Pure.

Who asks first takes what is readiest, and moves on to other supply where somebody after it has no choice.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from scaler.deciding.standing import Phase, Standing
from scaler.model import Scope


class Need(NamedTuple):
    """What decides which supply fits a job. Jobs of one need are alike."""

    scope: Scope
    labels: frozenset[str]
    pools: tuple[str, ...]


class Kind(NamedTuple):
    """What decides whom an instance can serve. Without a runner yet, `labels` is None: it will have its pool's."""

    phase: Phase
    scope: Scope | None
    pool: str
    labels: frozenset[str] | None


class Supply:
    """Idle, booting and unknown instances; each can cover one job."""

    def __init__(self, stands: Iterable[Standing]) -> None:
        """Nothing is covered yet."""
        self._instances: dict[Kind, deque[Standing]] = defaultdict(deque)
        self._variants: dict[tuple[Phase, Scope | None, str], dict[Kind, None]] = defaultdict(dict)
        for standing in stands:
            if standing.supply:
                labels = standing.runner.labels if standing.runner else None
                kind = Kind(standing.phase, standing.scope, standing.instance.pool, labels)
                self._instances[kind].append(standing)
                self._variants[kind[:3]][kind] = None
        self._free = {kind: len(instances) for kind, instances in self._instances.items()}
        self._takers: dict[Kind, dict[Need, list[int]]] = defaultdict(lambda: defaultdict(list))
        self._fitting: dict[Need, list[Kind]] = {}
        self._closed: set[Kind] = set()

    def cover(self, job: int, need: Need) -> None:
        """
        Cover one more job, if need be by moving others: along a shortest augmenting path over kinds (Berge, 1957).

        Jobs are numbered as they ask.

        Kinds that a search went through in vain will never be free again, and no later search goes there.
        """
        came: dict[Kind, tuple[Need, Kind | None]] = {}
        ahead: deque[tuple[Need, Kind | None]] = deque([(need, None)])
        while ahead:
            mover, leaves = ahead.popleft()
            for kind in self._kinds(mover):
                if kind in came or kind in self._closed:
                    continue
                came[kind] = mover, leaves
                if self._free[kind]:
                    self._settle(job, kind, came)
                    return
                ahead.extend((other, kind) for other in self._takers[kind])
        self._closed.update(came)

    def _settle(self, job: int, kind: Kind, came: Mapping[Kind, tuple[Need, Kind | None]]) -> None:
        """Walk back from a free instance: everybody on the way moves one on, and the job takes the first place."""
        self._free[kind] -= 1
        while True:
            mover, leaves = came[kind]
            if leaves is None:
                self._takers[kind][mover].append(job)
                return
            self._takers[kind][mover].append(self._takers[leaves][mover].pop())
            if not self._takers[leaves][mover]:
                del self._takers[leaves][mover]
            kind = leaves

    def _kinds(self, need: Need) -> Sequence[Kind]:
        """
        What fits, the readiest first: idle before booting before unknown; without a scope last.

        A runner has the labels that the config gave its pool when it was launched.
        """
        if need not in self._fitting:
            self._fitting[need] = [
                kind
                for phase in (Phase.IDLE, Phase.BOOTING, Phase.UNKNOWN)
                for whose in (need.scope, None)
                for pool in need.pools
                for kind in self._variants.get((phase, whose, pool), ())
                if kind.labels is None or need.labels <= kind.labels
            ]
        return self._fitting[need]

    def given(self) -> dict[int, Standing]:
        """The covered jobs, each with an instance: of those of a kind, who asked first has the oldest."""
        left = {kind: iter(instances) for kind, instances in self._instances.items()}
        kinds = {job: kind for kind, needs in self._takers.items() for jobs in needs.values() for job in jobs}
        return {job: next(left[kinds[job]]) for job in sorted(kinds)}
