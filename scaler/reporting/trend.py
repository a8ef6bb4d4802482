"""What a watch has seen so far: a bounded series for the chart, and instance-hours for the costs. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Self

from scaler.model import Reason, Subject, Tick, View
from scaler.reporting.report import IDLE, WAITING

POINTS = 60
"""A series has no more: enough for a chart, and a watch of days costs no more memory than one of minutes."""
STEP = timedelta(seconds=15)
"""The step of a young series. Each time it has grown too long, its step is doubled."""


@dataclass(frozen=True, slots=True)
class Point:
    """Jobs that are queued and that run, and idle runners: the highest number within one step."""

    queued: int = 0
    running: int = 0
    idle: int = 0

    def with_(self, other: Self) -> Point:
        """The higher of both: a peak is not lost when two steps become one."""
        return Point(max(self.queued, other.queued), max(self.running, other.running), max(self.idle, other.idle))


@dataclass(frozen=True, slots=True)
class Trend:
    """
    The ticks of a watch until now; of a single tick, that one.

    `points` are `step` apart, the first at `began`. `alive` counts the instances of the last tick by pool, `hours`
    their hours since `began`: each tick's number counts until the next tick.
    """

    began: datetime
    now: datetime
    points: tuple[Point, ...]
    alive: Mapping[str, int]
    hours: Mapping[str, float] = field(default_factory=dict)
    step: timedelta = STEP

    @property
    def length(self) -> timedelta:
        """From the first tick to the last."""
        return self.now - self.began

    def mean(self, pool: str) -> float:
        """How many instances of a pool were alive, on average over time."""
        hours = self.length / timedelta(hours=1)
        return self.hours.get(pool, 0.0) / hours if hours else float(self.alive.get(pool, 0))


def first(tick: Tick) -> Trend:
    """The trend of one tick."""
    return Trend(tick.snapshot.now, tick.snapshot.now, (_point(tick),), _alive(tick))


def then(trend: Trend | None, tick: Tick) -> Trend:
    """The trend with one tick more. What it could not see is as it was."""
    if trend is None:
        return first(tick)
    now = max(tick.snapshot.now, trend.now)  # GitHub's clock may be set back
    passed = (now - trend.now) / timedelta(hours=1)
    pools = dict.fromkeys((*trend.hours, *trend.alive))
    hours = {pool: trend.hours.get(pool, 0.0) + trend.alive.get(pool, 0) * passed for pool in pools}
    seen = tick.snapshot.sees(View.INSTANCES)
    points = _longer(trend, now, _point(tick) if seen else trend.points[-1])
    step = trend.step
    while len(points) > POINTS:
        points, step = _thinned(points), step * 2
    return Trend(trend.began, now, points, _alive(tick) if seen else trend.alive, hours, step)


def _point(tick: Tick) -> Point:
    jobs = Counter(v.reason for v in tick.plan.verdicts if v.subject is Subject.JOB)
    idle = sum(v.subject is Subject.INSTANCE and v.reason in IDLE for v in tick.plan.verdicts)
    return Point(sum(count for reason, count in jobs.items() if reason in WAITING), jobs[Reason.RUNNING], idle)


def _alive(tick: Tick) -> dict[str, int]:
    return dict(Counter(instance.pool for instance in tick.snapshot.instances if instance.state.alive))


def _longer(trend: Trend, now: datetime, point: Point) -> tuple[Point, ...]:
    """The points with one at `now`; a step without a tick is as the one before."""
    place = (now - trend.began) // trend.step
    points = trend.points
    if place < len(points):
        return (*points[:-1], points[-1].with_(point))
    return (*points, *[points[-1]] * (place - len(points)), point)


def _thinned(points: tuple[Point, ...]) -> tuple[Point, ...]:
    pairs = zip(points[::2], (*points[1::2], points[-1]), strict=False)
    return tuple(first.with_(second) for first, second in pairs)
