"""Runners that are kept ready: by a number, by a schedule in its time zone, and by serving one job after another."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from scaler.model import Reason
from simulation.world import CONFIG, Simulation

ONE_REPOSITORY = CONFIG.replace("[acme/api, acme/web]", "[acme/api]")
BILLED_AT_LEAST = timedelta(seconds=60)
"""EC2 bills Linux by the second, sixty at the least (aws.amazon.com/ec2/pricing/on-demand)."""


def pool(lines: str) -> str:
    """The config with a second pool (by registration token) that says this too."""
    return ONE_REPOSITORY.replace("    max: 2\n", f"    max: 2\n{lines}")


def idle(sim: Simulation) -> int:
    """How many runners are online and at no job."""
    return sum(runner.online and not runner.busy for runner in sim.github.registered())


def test_min_idle_by_number_is_there_before_a_job_is_and_again_after_it() -> None:
    sim = Simulation(pool("    min_idle: 1\n"))
    sim.ticks(2)
    assert idle(sim) == 1
    sim.push("arm64", minutes=3)
    sim.advance(seconds=30)
    assert idle(sim) == 0
    sim.ticks(2)
    assert (idle(sim), len(sim.aws.alive())) == (1, 2)
    sim.ticks(60)
    assert idle(sim) == 1, "it has no idle limit, on the machine or here"


# Berlin: 09:00 UTC in winter, 08:00 in summer; the simulation begins on a Tuesday in November, at 08:00 UTC.
SCHEDULE = '    min_idle: [{cron: "0 10 * * tue", timezone: Europe/Berlin, duration: 2h, count: 2}]\n'


def test_min_idle_by_schedule_is_there_in_its_hours_in_its_time_zone_and_gone_after_them() -> None:
    sim = Simulation(pool(SCHEDULE))
    ready: dict[str, int] = {}
    for _ in range(24):
        sim.ticks(5, every=120.0)
        ready[f"{sim.clock.now():%H:%M}"] = idle(sim)
    assert sim.clock.now() >= datetime(2026, 11, 24, 11, 55, tzinfo=UTC)
    assert {count for at, count in ready.items() if at < "09:00"} == {0}
    assert {count for at, count in ready.items() if "09:10" <= at <= "10:50"} == {2}
    assert ready[max(ready)] == 0
    assert sim.left()["instances"] == []


@pytest.mark.parametrize(("pause", "machines"), [(4, 1), (12, 2)], ids=["within idle_timeout", "after it"])
def test_a_reused_runner_serves_what_comes_within_its_idle_timeout(pause: int, machines: int) -> None:
    sim = Simulation(pool("    ephemeral: false\n"))
    sim.push("arm64", minutes=1)
    sim.ticks(3)
    sim.ticks(pause)
    sim.push("arm64", minutes=1)
    sim.ticks(3)
    assert len(sim.journal.of("instance.launched")) == machines
    assert sim.github.unfinished_jobs() == []


def test_no_machine_is_ended_for_want_of_work_before_the_minute_that_it_is_billed_for_is_over() -> None:
    """Ending it sooner would save nothing, and cost the next job a boot: idle_timeout is two minutes at the least."""
    shortest = "    ephemeral: false\n    idle_timeout: 2m\n    boot_timeout: 1m\n"
    sim = Simulation(pool(shortest))
    sim.boxes.manners.boot_delay, sim.boxes.manners.start_delay = 1.0, 1.0
    sim.push("arm64", minutes=0.1)
    sim.ticks(60, every=10.0)
    (launched,), (ended,) = sim.journal.of("instance.launched"), sim.journal.of("instance.ending")
    assert sim.oracle.broken == []
    assert ended.at - launched.at >= BILLED_AT_LEAST
    assert ended.at - launched.at >= timedelta(minutes=2)


def test_a_warm_runner_is_told_to_be_kept() -> None:
    sim = Simulation(pool("    min_idle: 1\n"))
    sim.ticks(10)
    (ran,) = sim.ticks(1)
    assert Reason.MIN_IDLE in {verdict.reason for verdict in ran.plan.verdicts}
