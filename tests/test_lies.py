"""
GitHub and EC2 lie plausibly: what a complete and wrong answer can do to a job, and under exactly which lies.

What is left is counted here, and stands in docs/promises.md. The judge is the oracle: ground truth.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from scaler.exits import Exit, exit_code
from scaler.sandbox.aws.settings import Consistency
from scaler.sandbox.github.faults import Fault, FaultKind
from simulation.oracle import KILLED
from simulation.wire import Tap
from simulation.world import CONFIG, Simulation

JIT, TOKEN = "amd64", "arm64"
REUSED = CONFIG.replace("    max: 2\n", "    max: 2\n    ephemeral: false\n")
RUNNERS, RUNS, JOBS = r"/actions/runners$", r"/actions/runs$", r"/jobs$"

pytestmark = pytest.mark.lies


def busy(pool: str) -> Simulation:
    """A runner that has been at its job for a quarter of an hour, past boot_timeout, and was never seen idle."""
    sim = Simulation()
    sim.push(pool, minutes=300)
    sim.ticks(15)
    assert all(sim.boxes.working(number) for number in sim.oracle.alive())
    return sim


def killed(sim: Simulation) -> bool:
    """Whether the scaler ended a job."""
    return bool(sim.journal.of("job.lost")) or any(broken.promise == KILLED for broken in sim.oracle.broken)


def lie(sim: Simulation, *paths: str, runner: str = "") -> Tap:
    """From now on these lists are empty, or the list of runners lacks one, its count with it."""
    for path in paths:
        sim.github.fault(Fault(FaultKind.EMPTY, path=path, times=None))

    def without(call: str, answer: Any) -> Any:
        if not runner or "/actions/runners?" not in call:
            return answer
        rows = [row for row in answer["runners"] if row["name"] != runner]
        return {**answer, "total_count": len(rows), "runners": rows}

    return Tap(sim.clock, rewrite=without)


@pytest.mark.parametrize("pool", [JIT, TOKEN])
@pytest.mark.parametrize(
    "paths",
    [(RUNNERS,), (RUNS,), (JOBS,), (RUNS, JOBS), (RUNNERS, RUNS), (RUNNERS, JOBS), (RUNNERS, RUNS, JOBS)],
    ids=lambda paths: " and ".join(path.rpartition("/")[2].strip("$") for path in paths),
)
def test_empty_lists_kill_nothing_but_where_two_lie_about_a_token_runner(paths: tuple[str, ...], pool: str) -> None:
    """
    An outage may answer 200 with nothing in it. One list alone is outweighed by the other.

    With both empty for two minutes a JIT runner is saved by its record, which must be there until its job is done.
    A token's runner that was never seen idle leaves nothing to tell it from one that never came.
    """
    sim = busy(pool)
    tap = lie(sim, *paths)
    codes = []
    for _ in range(10):
        tick = sim.tick(tap)
        assert tick is not None
        codes.append(exit_code(tick))
        sim.advance(minutes=1)
    both = RUNNERS in paths and len(paths) > 1
    assert killed(sim) == (both and pool == TOKEN)
    if both and pool == JIT:
        assert codes[-1] is Exit.DEGRADED


@pytest.mark.parametrize("minutes", [1, 5])
def test_a_token_runner_is_killed_by_two_empty_lists_only_if_they_last_for_the_drain_window(minutes: int) -> None:
    sim = busy(TOKEN)
    tap = lie(sim, RUNNERS, RUNS)
    for _ in range(minutes * 4):
        sim.tick(tap)
        sim.advance(seconds=15)
    sim.heal()
    sim.ticks(5)
    assert killed(sim) == (minutes > 2)


@pytest.mark.parametrize("pool", [JIT, TOKEN])
@pytest.mark.parametrize(("paths", "dies"), [((), False), ((JOBS,), True)], ids=["jobs seen", "jobs unlisted"])
def test_a_runner_that_is_missing_from_a_list_that_adds_up_is_saved_by_its_job_alone(
    pool: str, paths: tuple[str, ...], *, dies: bool
) -> None:
    """A row that GitHub leaves out and does not count either is a lie that nothing contradicts but the job."""
    sim = busy(pool)
    with sim.clock.lock:
        group = sim.github.runners.groups("acme/api")[0]
        sim.github.runners.mint_jit("acme/api", "macbook", ["self-hosted"], group, "http://x")
    (number,) = sim.oracle.alive()
    tap = lie(sim, *paths, runner=sim.prefix + number)
    for _ in range(5):
        sim.tick(tap)
        sim.advance(minutes=1)
    assert killed(sim) == dies


def drained_after(seconds: float, *, jobs_lag: float, busy_lag: float) -> bool:
    """
    An idle runner past its time takes a job that came so many seconds before the tick that would drain it.

    GitHub lists the new run's job late, says idle for a while, and believes itself when asked to remove the runner.
    """
    sim = Simulation(REUSED)
    run = sim.push(TOKEN, minutes=1)
    sim.ticks(4)
    assert run.phase == "completed"
    sim.ticks(2)
    sim.advance(minutes=5)
    sim.github.set(busy_lag=busy_lag)
    sim.push(TOKEN, minutes=60)
    sim.clock.advance(seconds)

    def late(call: str, answer: Any) -> Any:
        """The list of jobs as it was."""
        if "/jobs?" not in call:
            return answer
        before = sim.clock.now() - timedelta(seconds=jobs_lag)
        rows = [row for row in answer["jobs"] if datetime.fromisoformat(row["created_at"]) < before]
        return {"total_count": len(rows), "jobs": rows}

    sim.tick(Tap(sim.clock, rewrite=late))
    return killed(sim)


@pytest.mark.parametrize(
    ("seconds", "jobs_lag", "busy_lag", "dies"),
    [
        pytest.param(5, 0, 60, False, id="a busy flag that lags is outweighed by the job"),
        pytest.param(30, 0, 60, False, id="all through its minute"),
        pytest.param(5, 60, 0, False, id="a job that is listed late is outweighed by the flag"),
        pytest.param(90, 60, 60, False, id="both lags are over"),
        pytest.param(20, 60, 60, True, id="both at once: GitHub hides the job, calls its runner idle, and removes it"),
    ],
)
def test_a_job_that_a_runner_took_just_before_it_would_be_drained(
    seconds: float, jobs_lag: float, busy_lag: float, *, dies: bool
) -> None:
    assert drained_after(seconds, jobs_lag=jobs_lag, busy_lag=busy_lag) == dies


@pytest.mark.parametrize("states", [0, 60, 240])
def test_what_ec2_shows_late_ends_no_job(states: int) -> None:
    """Tags and states of minutes ago: an idle-since that was taken back, an instance that is not listed yet."""
    sim = Simulation(REUSED)
    sim.aws.settings = replace(sim.aws.settings, consistency=Consistency(instances=states, tags=states, states=states))
    for _ in range(12):
        sim.push(TOKEN, minutes=3)
        sim.push(JIT, jobs=2, minutes=3)
        sim.ticks(8, every=75)
    assert not killed(sim)
    assert sim.oracle.broken == []
