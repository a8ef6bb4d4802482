"""
A process may die before or after any of its effects: the ticks that follow put everything right.

Each life below is lived once to count its effects, then once more for every effect and side of it, with a process
that dies there. The healthy ticks after it know nothing of that.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from scaler.model import Down, Up
from simulation.boxes import Habit
from simulation.wire import Tap
from simulation.world import CONFIG, Simulation

WARM = CONFIG.replace("    max: 2\n", "    max: 2\n    min_idle: 1\n    ephemeral: false\n")
ORGANIZATION = CONFIG.replace("repositories:", "github: {register_at: organization, organization: acme}\nrepositories:")

Life = Callable[[Simulation, Tap], None]


def ticks(sim: Simulation, tap: Tap, count: int, every: float = 120.0) -> None:
    """Ticks of processes of their own, each of which may die."""
    for _ in range(count):
        sim.tick(tap)
        sim.clock.advance(every)


def jobs_of_both_pools(sim: Simulation, tap: Tap) -> None:
    """Three jobs, by JIT and by token, from their queueing to the last instance's end."""
    sim.push(jobs=2)
    sim.push("arm64", repository="acme/web")
    ticks(sim, tap, 10)


def machines_that_fail(sim: Simulation, tap: Tap) -> None:
    """One hangs, one never comes online, one is refused: orphans, ghosts, left-over parameters."""
    sim.boxes.manners.habits = [Habit.HANGS, Habit.NEVER_ONLINE, Habit.REFUSED]
    sim.push(jobs=2)
    sim.push("arm64")
    ticks(sim, tap, 20)


def a_warm_runner(sim: Simulation, tap: Tap) -> None:
    """A pool that keeps one idle runner and reuses it; the surplus is drained."""
    ticks(sim, tap, 2)
    sim.push("arm64", jobs=2)
    ticks(sim, tap, 15)


def spot_is_taken_back(sim: Simulation, tap: Tap) -> None:
    """No spot capacity at first, an interruption later, a cancelled job in between."""
    sim.aws.refuse_capacity(market="spot", count=1)
    run = sim.push(jobs=3, minutes=30)
    ticks(sim, tap, 2)
    for number in sorted(sim.oracle.alive()):
        held = sim.aws.instance(number)
        if held is not None and held.market == "spot" and held.interrupted_at is None:
            sim.aws.interrupt(number)
            break
    ticks(sim, tap, 4)
    sim.cancel(run.id)
    ticks(sim, tap, 12)


def by_hand(sim: Simulation, tap: Tap) -> None:
    """The buttons: two up, one down by force."""
    sim.by_hand(Up("amd64", "acme/api", 2), tap=tap)
    sim.advance(minutes=2)
    for number in sorted(sim.oracle.alive())[:1]:
        sim.oracle.forced.add(number)
        sim.by_hand(Down(number, force=True), tap=tap)
    ticks(sim, tap, 10)


LIVES: dict[str, tuple[Life, str]] = {
    "jobs of both pools": (jobs_of_both_pools, CONFIG),
    "jobs at an organization": (jobs_of_both_pools, ORGANIZATION),
    "machines that fail": (machines_that_fail, CONFIG),
    "a warm runner": (a_warm_runner, WARM),
    "spot is taken back": (spot_is_taken_back, CONFIG),
    "by hand": (by_hand, CONFIG),
}


def lived(life: Life, config: str, crash_at: int = 0, *, late: bool = False) -> tuple[Simulation, Tap]:
    """A life in which the process that has this effect dies."""
    sim = Simulation(config)
    if sim.config.organization:
        sim.github.add_group("acme", "Default", visibility="selected", repositories=sim.config.repositories)
    tap = Tap(sim.clock, crash_at=crash_at, crash_late=late)
    life(sim, tap)
    return sim, tap


def after_healthy_ticks(sim: Simulation, warm: int) -> list[str]:
    """What is wrong when demand has ended and three healthy ticks have run, ten minutes apart."""
    for run in list(sim.github.state.runs.values()):
        if run.phase != "completed":
            sim.cancel(run.id)
    sim.advance(minutes=10)
    sim.ticks(3, every=600)
    wrong = [f"{broken.promise}: {broken.what}" for broken in sim.oracle.broken]
    left = sim.left()
    if len(left["instances"]) != warm or len(left["runners"]) != warm or left["parameters"]:
        wrong.append(f"left: {left}")
    fourth = Tap(sim.clock)
    sim.tick(fourth)
    return wrong + [f"the fourth tick did {effect}" for effect in fourth.effects]


@pytest.mark.parametrize("name", LIVES)
def test_wherever_a_process_dies_three_healthy_ticks_put_it_right_and_a_fourth_changes_nothing(name: str) -> None:
    life, config = LIVES[name]
    warm = 2 if config is WARM else 0  # min_idle counts per repository
    sim, whole = lived(life, config)
    assert after_healthy_ticks(sim, warm) == []
    assert len(whole.effects) >= 8
    wrong = {}
    for number, effect in enumerate(whole.effects, 1):
        for late in (False, True):
            sim, _ = lived(life, config, number, late=late)
            found = after_healthy_ticks(sim, warm)
            if found:
                wrong[f"{'after' if late else 'before'} {number} {effect}"] = found
    assert wrong == {}


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("pool", ["amd64", "arm64"])
def test_wherever_a_launching_process_dies_the_job_is_served_by_the_ticks_that_follow(pool: str, *, late: bool) -> None:
    sim = Simulation()
    sim.push(pool)
    whole = Tap(sim.clock)
    sim.tick(whole)
    for number, effect in enumerate(whole.effects, 1):
        sim = Simulation()
        run = sim.push(pool)
        sim.tick(Tap(sim.clock, crash_at=number, crash_late=late))
        minutes = 0
        while run.current[0].status == "queued":
            minutes += 1
            assert minutes <= (11 if pool == "amd64" else 3), effect
            sim.ticks(1, every=60)
        # Between minting and putting a JIT secret nobody can tell a dead tick from a slow one: the instance gets half
        # of boot_timeout, then another takes its place. Everywhere else nothing is launched twice.
        assert sim.oracle.counts.launched == 1 + (minutes > 3), effect
