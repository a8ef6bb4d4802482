"""EC2 without capacity, tick by tick: what is asked for, what is left out, and what people are told meanwhile."""

from __future__ import annotations

from datetime import timedelta

import pytest

from scaler.deciding.offerings import REFUSED_FOR
from scaler.exits import Exit, exit_code
from scaler.model import Reason, Tick
from simulation.boxes import Habit
from simulation.wire import Tap
from simulation.world import CONFIG, Simulation

TYPES = CONFIG.replace("max: 3", "max: 3\n    instance_types: [m7i.large, m6i.large]")
MINUTES = REFUSED_FOR.total_seconds() / 60


@pytest.fixture
def sim() -> Simulation:
    """A fleet that has run jobs in all of its slots; from now on its machines do nothing of their own."""
    made = Simulation(TYPES)
    made.push(jobs=3)
    made.ticks(3)
    made.advance(hours=1)
    made.boxes.manners.always = Habit.HANGS
    return made


def tick(sim: Simulation) -> tuple[int, Tick]:
    """One tick: how often it asked EC2 for an instance, and what it said."""
    ran = sim.tick(tap := Tap(sim.clock))
    assert ran is not None
    return tap.effects.count("ec2:CreateFleet"), ran


def launched(sim: Simulation) -> list[tuple[str, str]]:
    """Market and type of each instance, in their order."""
    return [(held.market, held.type) for held in sorted(sim.aws.alive(), key=lambda held: held.launched_at)]


def test_a_market_without_capacity_is_not_asked_again_for_three_minutes(sim: Simulation) -> None:
    sim.aws.refuse_capacity(market="spot")
    sim.push()
    assert tick(sim)[0] == 2, "spot, then on-demand"
    sim.push()
    assert tick(sim)[0] == 1, "on-demand alone"
    sim.aws.ec2.capacity.clear()
    sim.advance(minutes=MINUTES)
    sim.push()
    assert tick(sim)[0] == 1
    assert launched(sim) == [("on-demand", "m7i.large"), ("on-demand", "m7i.large"), ("spot", "m7i.large")]


def test_with_no_capacity_anywhere_nothing_is_asked_and_the_job_is_told_when_it_will_be(sim: Simulation) -> None:
    sim.aws.refuse_capacity()
    sim.push()
    assert tick(sim)[0] == 2
    calls, ran = tick(sim)
    told = [verdict.sentence for verdict in ran.plan.verdicts if verdict.reason is Reason.NO_CAPACITY]
    assert calls == 0
    assert told[0].startswith("EC2 had no capacity for pool amd64 (spot ")
    assert exit_code(ran) is Exit.OK
    sim.advance(minutes=MINUTES)
    assert tick(sim)[0] == 2, "it is asked for again"
    sim.advance(minutes=10 - MINUTES)
    sim.advance(minutes=MINUTES - 1)
    tick(sim)
    assert exit_code(tick(sim)[1]) is Exit.CAPPED, "the job has waited for ten minutes"


def test_a_type_that_ec2_passed_over_is_left_out_of_the_next_tick_s_call(sim: Simulation) -> None:
    """Whether it is back is seen three minutes later, and not by every launch on its way."""
    sim.aws.refuse_capacity(type="m7i.large", market="spot")
    sim.push()
    tick(sim)
    sim.aws.ec2.capacity.clear()
    sim.push()
    tick(sim)
    sim.advance(minutes=MINUTES)
    sim.push()
    tick(sim)
    assert launched(sim) == [("spot", "m6i.large"), ("spot", "m6i.large"), ("spot", "m7i.large")]


def test_a_slot_whose_on_demand_machine_has_ended_is_filled_at_once_though_spot_is_back(sim: Simulation) -> None:
    """Its link is asked again on the terms that it was used with: on others EC2 answers with a mismatch, for minutes."""
    sim.aws.refuse_capacity(market="spot")
    sim.push()
    tick(sim)
    sim.aws.ec2.capacity.clear()
    sim.clock.advance(timedelta(minutes=MINUTES).total_seconds())
    with sim.clock.lock:
        sim.aws.ec2.end(sim.aws.alive()[0].id, "itself")
    sim.advance(minutes=1)
    _, ran = tick(sim)
    assert [outcome.command.slot for outcome in ran.outcomes if outcome.instance_id] == [0]  # type: ignore[union-attr]
    assert launched(sim) == [("spot", "m7i.large")]
