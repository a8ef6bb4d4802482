"""
A month of a team's jobs, and of everything that goes wrong meanwhile, at stated rates.

Rates are per day unless said otherwise; they are far above what is usual, so that a month shows what years would.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from simulation.boxes import Habit
from simulation.play import AWS_ACTIONS, AWS_CODES, AWS_FAULTS, GITHUB_FAULTS, GITHUB_PATHS, Play
from simulation.wire import Tap

JOBS_AN_HOUR = [1] * 7 + [4, 8, 12, 12, 10, 8, 10, 12, 12, 10, 6, 4, 3, 2, 2, 1, 1]
"""Runs pushed in each hour of the day; some bring a matrix."""
MACHINES = {
    Habit.HANGS: 0.02,
    Habit.LATE: 0.02,
    Habit.NEVER_ONLINE: 0.01,
    Habit.REFUSED: 0.01,
    Habit.DEAF: 0.02,
    Habit.CRASHES: 0.01,
}
"""The share of machines that are not well."""
A_DAY = {
    "github_fails": 24.0,
    "aws_fails": 24.0,
    "no_capacity": 8.0,
    "interrupt": 12.0,
    "hang": 2.0,
    "stop": 1.0,
    "unregister": 2.0,
    "cancel": 12.0,
    "rerun": 12.0,
    "up": 2.0,
    "down": 2.0,
    "hold": 1.0,
    "lies": 4.0,
    "state": 2.0,
    "edited": 1.0,
    "lags": 4.0,
}
TICK_DROPPED, TICK_DIES, TICK_RACES, TICK_MEETS_A_PUSH = 0.1, 0.02, 0.03, 0.3
"""The share of ticks that never come, die at an effect, meet another tick, or a push between two of their effects."""
REPOSITORIES = ("acme/api", "acme/web")


class Weather:
    """Makes a play's moves, from one seed."""

    def __init__(self, play: Play, seed: int) -> None:
        """Nothing has happened yet."""
        self._play = play
        self._random = random.Random(seed)
        self._held = False

    def minute(self, hour: int) -> None:
        """What happens in a minute of this hour of the day."""
        if self._random.random() < JOBS_AN_HOUR[hour] / 60:
            self._push()
        for name, rate in A_DAY.items():
            if self._random.random() < rate / 1440:
                self._play.move(name, *self._arguments(name))
        self._play.simulation.boxes.manners.always = self._machine()
        if self._random.random() < 1 / 30:
            self._play.simulation.github.faults.clear()
            self._play.simulation.aws.faults.clear()
            self._play.simulation.aws.ec2.capacity.clear()

    def tick(self) -> bool:
        """A scheduled tick, if it comes; whether it did, and lived."""
        chance = self._random.random()
        if chance < TICK_DROPPED:
            return False
        if chance < TICK_DROPPED + TICK_DIES:
            tap = Tap(self._play.simulation.clock, crash_at=self._random.randint(1, 8))
            return self._play.simulation.tick(tap) is not None
        if chance < TICK_DROPPED + TICK_DIES + TICK_RACES:
            self._play.move("race", self._random.randint(1, 6), self._random.choice([0.1, 1.0]))
            return True
        tap = Tap(self._play.simulation.clock)
        if chance < TICK_DROPPED + TICK_DIES + TICK_RACES + TICK_MEETS_A_PUSH:
            # Between the look at the jobs and what is done about them: the moment that a removal can be too late for.
            tap.cut_in[self._random.randint(1, 3)] = self._push
        return self._play.simulation.tick(tap) is not None

    def _push(self) -> None:
        random_ = self._random
        jobs = random_.choice([1, 1, 1, 1, 2, 3, 12])
        minutes = max(1, min(90, round(random_.lognormvariate(1.8, 0.9))))
        pool = random_.choice(["amd64", "amd64", "amd64", "arm64"])
        self._play.push(pool, random_.choice(REPOSITORIES), jobs, minutes)
        del self._play.runs[:-50]

    def _machine(self) -> Habit:
        chance = self._random.random()
        for habit, share in MACHINES.items():
            chance -= share
            if chance < 0:
                return habit
        return Habit.WELL

    def _arguments(self, name: str) -> tuple[object, ...]:
        pick, number = self._random.choice, self._random.randint
        self._held = not self._held if name == "hold" else self._held
        arguments: dict[str, Callable[[], tuple[object, ...]]] = {
            "github_fails": lambda: (str(pick(GITHUB_FAULTS)), pick(sorted(GITHUB_PATHS)), number(1, 10)),
            "aws_fails": lambda: (pick(AWS_FAULTS), pick(AWS_ACTIONS), pick(AWS_CODES), number(1, 6)),
            "no_capacity": lambda: (pick(["spot", "on-demand", "*"]), number(1, 10)),
            "up": lambda: (pick(["amd64", "arm64"]), pick(REPOSITORIES), number(1, 2)),
            "down": lambda: (number(0, 20), pick([True, False])),
            "hold": lambda: (number(0, 20), self._held),
            "state": lambda: (pick([None, "{}", "nonsense"]),),
            "edited": lambda: (number(1, 3), number(1, 3)),
            "lags": lambda: (pick([0, 5, 30]), pick([0, 5, 30]), pick([0, 60])),
        }
        return arguments.get(name, lambda: (number(0, 20),))()
