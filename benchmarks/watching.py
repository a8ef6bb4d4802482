"""
A watch of many repositories within GitHub's limits: what each of its ticks asks, and how old a look gets.

    python -m benchmarks.watching --url http://127.0.0.1:PORT --repositories 500 --ticks 40 --every 15

Ours alone, in a process of its own. Waiting costs no time: the clock leaps over it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from statistics import median

from benchmarks.client_ours import Ours
from benchmarks.clients import Asked
from benchmarks.github_world import repository_names
from benchmarks.measure import control
from scaler.clock import RealClock
from scaler.reconcile import DEEP_EVERY

MINUTE = 60.0


class LeapingClock(RealClock):
    """The machine's clock, but that all sleep is a leap."""

    def __init__(self) -> None:
        """No leap yet."""
        super().__init__()
        self._leaps = [(0.0, 0.0)]
        self._lock = threading.Lock()

    def monotonic(self) -> float:
        """Seconds that passed or were leapt over."""
        return super().monotonic() + self._leaps[-1][1]

    def sleep(self, seconds: float) -> None:
        """Be there at once. Threads that sleep side by side leap together."""
        until = self.monotonic() + seconds
        with self._lock:
            if (ahead := until - self.monotonic()) > 0:
                self._leaps.append((super().monotonic(), self._leaps[-1][1] + ahead))

    def at(self, moment: float) -> float:
        """What this clock said at a moment of the machine's."""
        return moment + next(leapt for since, leapt in reversed(self._leaps) if since <= moment)


@dataclass(frozen=True, slots=True)
class Watched:
    """One tick of a watch: when it began, how long it took, what it asked of what."""

    began: float
    seconds: float
    requests: int
    charged: int
    points: int
    graphql: int
    looked_at: tuple[str, ...]
    found: int
    spent: tuple[tuple[float, int], ...]


def watched(asked: Asked, ticks: int, every: timedelta) -> Iterator[Watched]:
    """The ticks of a watch that begins now."""
    clock = LeapingClock()
    ours = Ours(asked, clock, every)
    control(asked.url, "/_rig", "DELETE")
    start = clock.monotonic()
    for number in range(ticks):
        control(asked.url, "/_rig/tick", "DELETE")
        began = clock.monotonic()
        found = ours.tick(deep=number % DEEP_EVERY == 0)
        seconds = clock.monotonic() - began
        told = control(asked.url, "/_rig", "GET")
        spent = tuple((clock.at(moment) - start, int(points)) for moment, points in told["spent"])
        yield Watched(
            began - start, seconds, told["requests"], told["charged"], told["points"], told["graphql"],
            tuple(told["looked_at"]), len(found), spent,
        )  # fmt: skip
        clock.sleep(began + every.total_seconds() - clock.monotonic())


def summed_up(ticks: Sequence[Watched], repositories: Sequence[str], every: timedelta) -> dict[str, float]:
    """What a watch took. The ticks until each repository was looked at once are told apart from the later ones."""
    last = dict.fromkeys(repositories, 0.0)
    unseen, first, oldest = set(repositories), 0, 0.0
    for number, tick in enumerate(ticks):
        first = number if unseen else first
        unseen -= set(tick.looked_at)
        for repository in tick.looked_at:
            oldest = max(oldest, tick.began - last[repository])
            last[repository] = tick.began
    oldest = max(oldest, ticks[-1].began - min(last.values()))
    later = ticks[first + 1 :] or ticks[-1:]
    return {
        "seconds until all were looked at": round(ticks[first].began + ticks[first].seconds, 1),
        "longest tick, s": round(max(tick.seconds for tick in ticks), 1),
        "requests a later tick": median(tick.requests for tick in later),
        "charged a later tick": median(tick.charged for tick in later),
        "points in the dearest minute": dearest_minute([each for tick in ticks for each in tick.spent]),
        "GraphQL points an hour": round(median(tick.graphql for tick in later) * 3600 / every.total_seconds()),
        "oldest look, s": round(oldest),
    }


def dearest_minute(spent: Sequence[tuple[float, int]]) -> int:
    """The most points that were spent within sixty seconds."""
    window: deque[tuple[float, int]] = deque()
    inside = most = 0
    for moment, points in sorted(spent):
        window.append((moment, points))
        inside += points
        while window[0][0] <= moment - MINUTE:
            inside -= window.popleft()[1]
        most = max(most, inside)
    return most


def main(arguments: Sequence[str]) -> int:
    """Watch, and print what it took as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.watching", description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--repositories", type=int, required=True)
    parser.add_argument("--ticks", type=int, default=40)
    parser.add_argument("--every", type=float, default=15.0)
    asked = parser.parse_args(arguments)
    names = repository_names(asked.repositories)
    every = timedelta(seconds=asked.every)
    ticks = list(watched(Asked(asked.url, tuple(names), 0), asked.ticks, every))
    for tick in ticks:
        told = f"{tick.requests} requests, {tick.charged} charged, {tick.points} points, {tick.graphql} of GraphQL"
        print(f"{tick.began:6.0f} s: {len(tick.looked_at)} looked at, {told}, {tick.found} jobs", file=sys.stderr)
    print(json.dumps(summed_up(ticks, names, every)), flush=True)
    os._exit(0)  # its threads need no orderly end


if __name__ == "__main__":
    main(sys.argv[1:])
