"""One tick launches; then no tick ever comes again. What the boot script promises by itself (docs/promises.md, 2)."""

from __future__ import annotations

import pytest

from simulation.boxes import Habit
from simulation.world import CONFIG, Simulation
from tests.test_crash_sweep import WARM

ENDS_ITSELF = [Habit.WELL, Habit.LATE, Habit.NEVER_ONLINE, Habit.REFUSED, Habit.DEAF]
LONGEST_JOB = 5 * 24 * 60
"""Minutes: GitHub's own limit for a job on a self-hosted runner is five days."""


def abandoned(habit: Habit, config: str = CONFIG, *, jobs: bool = True, minutes: float = LONGEST_JOB) -> Simulation:
    """Machines of both pools that were launched by one tick, with or without jobs that are still there for them."""
    sim = Simulation(config)
    sim.boxes.manners.always = habit
    runs = [sim.push(pool, minutes=minutes) for pool in ("amd64", "arm64")]
    sim.tick()
    assert len(sim.oracle.alive()) >= 2
    if not jobs:
        for run in runs:
            sim.cancel(run.id)
    return sim


@pytest.mark.parametrize("jobs", [True, False], ids=["a job for days", "no job"])
@pytest.mark.parametrize("config", [CONFIG, WARM], ids=["one job each", "reused and kept idle"])
@pytest.mark.parametrize("habit", ENDS_ITSELF)
def test_nothing_whose_boot_unit_started_outlives_its_max_lifetime(habit: Habit, config: str, *, jobs: bool) -> None:
    sim = abandoned(habit, config, jobs=jobs)
    late = 10 if habit is Habit.LATE else 0
    sim.advance(hours=6, minutes=2 + late)
    assert sim.oracle.alive() == {}


@pytest.mark.parametrize("habit", [Habit.NEVER_ONLINE, Habit.REFUSED])
def test_nothing_lives_unregistered_past_its_boot_timeout(habit: Habit) -> None:
    sim = abandoned(habit)
    sim.advance(minutes=11)
    assert sim.oracle.alive() == {}


@pytest.mark.parametrize("habit", [Habit.WELL, Habit.DEAF])
def test_nothing_lives_idle_past_its_idle_timeout(habit: Habit) -> None:
    sim = abandoned(habit, jobs=False)
    sim.advance(minutes=1 + 5 + 1 + 1)  # boot, idle_timeout, a listener that ignores SIGINT, power-off
    assert sim.oracle.alive() == {}


def test_without_a_secret_a_machine_lives_for_15_minutes() -> None:
    sim = Simulation()
    sim.aws.fail("ssm:PutParameter", kind="drop-before", times=None)
    sim.push()
    sim.tick()
    sim.advance(minutes=16)
    assert sim.oracle.alive() == {}


def test_what_never_started_its_boot_unit_is_the_residue_and_ended_by_ticks_that_come_at_last() -> None:
    sim = abandoned(Habit.HANGS)
    sim.advance(days=3)
    assert len(sim.oracle.alive()) == 2
    sim.boxes.manners.always = Habit.WELL
    sim.ticks(3, every=180)
    assert not set(sim.oracle.alive()) & {entry.facts["id"] for entry in sim.journal.of("instance.launched")[:2]}
