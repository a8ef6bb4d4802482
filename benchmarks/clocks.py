"""
`make bench-clocks`: how long a job waits for its runner under each clock, and how many hosted minutes the clock takes.

A day of a team's runs in virtual time, the same for every clock: the shipped tick (and watch), on the simulation's
GitHub, EC2 and machines. What a clock does to it is a model, with these assumptions:

- A hosted job begins 8 s after it was asked for (median; log-normal, sigma 0.5), and its tick 12 s after that.
- Schedules, asked for every quarter of an hour: as before August 2026 they were seen, 60 % never come and the rest come
  4 minutes late (median; log-normal, sigma 0.8; actions/runner#877 has 2 to 4 an hour of 12); since then, one every 3.5
  to 4.6 hours (inkdrafts/notiongit-template#29; paiml/aprender#3292 has 3 of 138).
- A machine's boot unit starts 40 s after its launch, and its runner is online some seconds later.
- A quarter of the runs have a second stage (`needs`), which no event announces; one in twenty is run again, which
  `workflow_run: requested` does not announce either.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import math
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import quantiles

from scaler.model import Up
from scaler.reconcile import DEEP_EVERY, has_work, is_quiet
from scaler.sandbox.github.state import JobSpec
from simulation.world import CONFIG, Simulation

JOBS_AN_HOUR = [12, 12, 10, 8, 10, 12, 12, 10, 6, 4, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 4, 8]
"""Runs in each hour, from 8 in the morning on."""
SETUP = 12.0
WATCH, EVERY = 50 * 60.0, 15.0
DEFAULT_LINGER, FOR_EVER = 330.0, math.inf
QUARTER = 900.0
PRICE = 0.006
"""Dollars a minute of a 2-core hosted runner (docs.github.com: Actions runner pricing)."""
FLEET = (
    CONFIG.replace("max_runners: 5", "max_runners: 60")
    .replace("max: 3", "max: 40")
    .replace("max: 2", "max: 20")
    .replace("    registration: token\n", "")
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A run: so many jobs for a pool, of so many minutes."""

    pool: str
    count: int
    repository: str
    minutes: float


class Day:
    """A day of runs under one clock: events in their order, on the simulation's time."""

    def __init__(self, hours: int, seed: int) -> None:
        """The runs are the same for every clock of a seed; the clock's own luck has dice of its own."""
        self.sim = Simulation(FLEET, seed)
        self.sim.boxes.manners.boot_delay = 40.0
        self.dice = random.Random(f"clock {seed}")
        self.hours = hours
        self.heard: list[Callable[[Asked], None]] = []
        self._start = self.sim.clock.now()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._plan_runs(random.Random(f"runs {seed}"))

    @property
    def now(self) -> float:
        """Seconds since the day began."""
        return (self.sim.clock.now() - self._start).total_seconds()

    @property
    def end(self) -> float:
        """When no more runs come."""
        return self.hours * 3600.0

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Let something happen then."""
        heapq.heappush(self._events, (when, next(self._order), what))

    def after(self, seconds: float, what: Callable[[], None]) -> None:
        """Let something happen so much later."""
        self.at(self.now + seconds, what)

    def hosted(self, what: Callable[[], None]) -> None:
        """Do something in a job on GitHub's own runner, as soon as it is there."""
        self.after(8 * self.dice.lognormvariate(0, 0.5) + SETUP, what)

    def play(self) -> None:
        """Everything that is to happen, and an hour more for what waits still."""
        while self._events and self._events[0][0] < self.end + 3600:
            when, _, what = heapq.heappop(self._events)
            if when > self.now:
                self.sim.clock.advance(when - self.now)
            what()

    def _plan_runs(self, dice: random.Random) -> None:
        for hour in range(self.hours):
            for _ in range(JOBS_AN_HOUR[hour % 24]):
                count = dice.choices((1, 3, 8), (45, 35, 20))[0]
                pool = dice.choices(("amd64", "arm64"), (75, 25))[0]
                repository = dice.choice(("acme/api", "acme/web"))
                asked = Asked(pool, count, repository, 4 * dice.lognormvariate(0, 0.8))
                staged, again = dice.random() < 0.25, dice.random() < 0.05
                when = hour * 3600 + dice.uniform(0, 3600)
                self.at(when, partial(self._push, asked, staged=staged, again=again))

    def _push(self, asked: Asked, *, staged: bool, again: bool) -> None:
        pool = self.sim.config.pool(asked.pool)
        spec = JobSpec(
            "build", pool.labels if pool else (), asked.minutes * 60, matrix=tuple(map(str, range(asked.count)))
        )
        # What needs the first stage is queued when that has ended, and nobody is told.
        second = [replace(spec, name="test", matrix=(), needs=("build",))] if staged else []
        run = self.sim.github.push(asked.repository, [spec, *second])
        for hear in self.heard:
            hear(asked)
        if again:
            self.after(3600 + asked.minutes * 60, partial(self._rerun, run.id))

    def _rerun(self, run: int) -> None:
        if self.sim.github.run(run).phase == "completed":
            self.sim.github.rerun(run)


class Scaler:
    """The scaler's workflow: one run at a time and one that waits, of single ticks or of watches that hand over."""

    def __init__(self, day: Day, linger: float | None) -> None:
        """It runs when it is asked to. A watch lingers for so many seconds; without them it is a single tick."""
        self.day, self._linger = day, linger
        self.minutes = 0
        self._busy = self._waiting = False
        self._began = 0.0

    def ask(self) -> None:
        """A schedule's fire, a kick, a hand-over: they come to one."""
        if self._busy:
            self._waiting = True
        else:
            self._busy = True
            self.day.hosted(self._begin)

    def _begin(self) -> None:
        self._began = self.day.now
        if self._linger is None:
            self.day.sim.tick()
            self._over()
            return
        self._reconciler, self._number, self._worked = self.day.sim.reconciler(), 0, self._began
        self._look(self._linger)

    def _look(self, linger: float) -> None:
        began = self.day.now
        tick = self._reconciler.tick(deep=self._number % DEEP_EVERY == 0)
        self._number += 1
        quiet = is_quiet(tick)
        self._worked = self._worked if quiet else self.day.now
        if began + EVERY > self._began + WATCH:
            self._waiting = self._waiting or has_work(tick) or linger == FOR_EVER
            self._over()
        elif quiet and self.day.now - self._worked >= linger:
            self._over()
        else:
            self.day.at(max(began + EVERY, self.day.now), partial(self._look, linger))

    def _over(self) -> None:
        self.minutes += billed(self.day.now - self._began)
        self._busy = False
        if self._waiting:
            self._waiting = False
            self.ask()


def billed(seconds: float) -> int:
    """Whole minutes of a job that did something for so long."""
    return math.ceil((SETUP + seconds) / 60)


@dataclass
class Minutes:
    """Minutes of other jobs than the scaler's."""

    count: int = 0


Clock = Callable[[Day, Scaler, Minutes], None]


def before_august(day: Day, scaler: Scaler, _: Minutes) -> None:
    """Schedules as they were seen before August 2026."""
    for number in range(int(day.end / QUARTER)):
        if day.dice.random() >= 0.6:
            day.at(number * QUARTER + 240 * day.dice.lognormvariate(0, 0.8), scaler.ask)


def since_august(day: Day, scaler: Scaler, _: Minutes) -> None:
    """Schedules as they have been seen since."""
    when = day.dice.uniform(0, 4 * 3600)
    while when < day.end:
        day.at(when, scaler.ask)
        when += day.dice.uniform(3.5, 4.6) * 3600


def workflow_run(day: Day, scaler: Scaler, _: Minutes) -> None:
    """A tick when a run is requested."""
    day.heard.append(lambda _: scaler.ask())


def kick(day: Day, scaler: Scaler, others: Minutes) -> None:
    """A job in the run's own repository, which starts the scaler's workflow; it counts its own minute."""

    def hear(_: Asked) -> None:
        others.count += 1
        day.hosted(scaler.ask)

    day.heard.append(hear)


def up_job_down(day: Day, _: Scaler, others: Minutes) -> None:
    """Each run brings its own runners, and sees to their end."""

    def hear(asked: Asked) -> None:
        others.count += 2
        day.hosted(partial(up, asked))

    def up(asked: Asked) -> None:
        day.sim.by_hand(Up(asked.pool, asked.repository, asked.count))

    day.heard.append(hear)


def once(day: Day, scaler: Scaler, _: Minutes) -> None:
    """Somebody starts it."""
    day.at(0.0, scaler.ask)


def every(seconds: float) -> Clock:
    """A rule outside of GitHub."""

    def clock(day: Day, scaler: Scaler, _: Minutes) -> None:
        for number in range(int(day.end / seconds)):
            day.at(number * seconds, scaler.ask)

    return clock


CLOCKS: dict[str, tuple[float | None, tuple[Clock, ...]]] = {
    "schedule alone, as before August 2026": (None, (before_august,)),
    "schedule alone, as since": (None, (since_august,)),
    "schedule that begins a watch, as since": (0.0, (since_august,)),
    "workflow_run, and the schedule": (None, (workflow_run, since_august)),
    "kick from another repository, and the schedule": (None, (kick, since_august)),
    "workflow_run that begins a watch, and the schedule": (0.0, (workflow_run, since_august)),
    "the same with the default `linger`": (DEFAULT_LINGER, (workflow_run, since_august)),
    "up, job, down, and the schedule": (None, (up_job_down, since_august)),
    "outside rule, every five minutes": (None, (every(300),)),
    "outside rule, every minute": (None, (every(60),)),
    "watch without end": (FOR_EVER, (once,)),
}
"""By name: how long a watch lingers (None: a run is a single tick), and what starts one."""


@dataclass(frozen=True, slots=True)
class Row:
    """One clock's day: seconds that jobs waited, hosted minutes, jobs, those that waited still an hour after its end."""

    name: str
    p50: float
    p95: float
    minutes: float
    jobs: int
    unserved: int

    @property
    def dollars(self) -> float:
        """A month of 30 such days."""
        return self.minutes * 30 * PRICE


def measured(name: str, hours: int, seed: int) -> Row:
    """A day under one clock."""
    linger, clocks = CLOCKS[name]
    day = Day(hours, seed)
    scaler, others = Scaler(day, linger), Minutes()
    for clock in clocks:
        clock(day, scaler, others)
    day.play()
    waiting = [job.created_at for job in day.sim.github.unfinished_jobs() if job.status == "queued"]
    # Who waits still has waited so long at least.
    waits = [*day.sim.oracle.waits, *((day.sim.clock.now() - since).total_seconds() for since in waiting)]
    cut = quantiles(waits, n=100) if len(waits) > 1 else [math.nan] * 99
    minutes = (scaler.minutes + others.count) * 24 / hours
    return Row(name, cut[49], cut[94], minutes, day.sim.oracle.counts.jobs, len(waiting))


def table(rows: Sequence[Row]) -> list[str]:
    """As docs/clocks.md has it."""
    told = ["| Clock | Wait p50 | p95 | Minutes a day | A month, 2-core |", "| --- | --- | --- | --- | --- |"]
    told += [f"| {r.name} | {span(r.p50)} | {span(r.p95)} | {r.minutes:.0f} | ${r.dollars:.0f} |" for r in rows]
    return told


def span(seconds: float) -> str:
    """`54 s`, `12 min`, `3.2 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def main(arguments: Sequence[str]) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clocks", description=__doc__)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(arguments)
    rows = []
    for name in CLOCKS:
        rows.append(measured(name, asked.hours, asked.seed))
        print(f"{name}: {rows[-1].jobs} jobs, {rows[-1].unserved} unserved", file=sys.stderr)
    print("\n".join(table(rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
