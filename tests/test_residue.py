"""What the soak counts can be more than nothing: a small play for each number, so that a zero says something."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

from benchmarks.soak import Soak
from scaler.model import Down, Unavailable
from scaler.sandbox.github.faults import Fault, FaultKind
from simulation.boxes import Habit
from simulation.oracle import BUDGET, FOREIGN, HELD, KILLED, UNSEEN_TOUCHED, Counts
from simulation.wire import DirectGitHub, Tap, VirtualClock
from simulation.world import CONFIG, Simulation
from tests import looking

REUSED = CONFIG.replace("    max: 2\n", "    max: 2\n    ephemeral: false\n")

pytestmark = pytest.mark.lies


def working(minutes: float = 300, pool: str = "amd64") -> tuple[Simulation, str]:
    """A machine at a job."""
    sim = Simulation()
    sim.push(pool, minutes=minutes)
    sim.ticks(2)
    (number,) = sim.oracle.alive()
    assert sim.boxes.working(number)
    return sim, number


def idle_for_long() -> tuple[Simulation, str]:
    """A runner that the next tick drains."""
    sim = Simulation(REUSED)
    sim.push("arm64", minutes=1)
    sim.ticks(6)
    sim.advance(minutes=5)
    (number,) = sim.oracle.alive()
    return sim, number


def drained_while(sim: Simulation, what: Callable[[], Any]) -> Simulation:
    """Something happens between the drain's tag and its DELETE."""
    tap = Tap(sim.clock, cut_in={2: what})
    sim.tick(tap)
    assert [effect.partition(" ")[0] for effect in tap.effects[:2]] == ["ec2:CreateTags", "DELETE"]
    sim.advance(minutes=15)
    return sim


def a_job_well_done() -> Simulation:
    sim = Simulation()
    sim.push(minutes=1)
    sim.ticks(4)
    return sim


def drained() -> Simulation:
    sim, _ = idle_for_long()
    sim.tick()
    return sim


def taken_just_before_its_runner_is_removed() -> Simulation:
    sim, _ = idle_for_long()
    sim.github.set(busy_lag=60.0)

    def push() -> None:
        sim.push("arm64", minutes=30)
        sim.advance(seconds=10)

    return drained_while(sim, push)


def sent_to_a_runner_as_it_is_removed() -> Simulation:
    sim, _ = idle_for_long()
    return drained_while(sim, lambda: sim.push("arm64"))


def sent_to_a_machine_that_has_just_hung() -> Simulation:
    sim, number = idle_for_long()
    sim.boxes.crash(number)
    sim.push("arm64")
    sim.advance(minutes=2)
    return sim


def interrupted() -> Simulation:
    sim, number = working()
    sim.aws.interrupt(number)
    sim.advance(minutes=3)
    return sim


def forced() -> Simulation:
    sim, number = working()
    sim.oracle.forced.add(number)
    sim.by_hand(Down(number, force=True))
    return sim


def stopped() -> Simulation:
    sim, number = working()
    with sim.clock.lock:
        sim.aws.ec2.stop(number)
    sim.advance(minutes=15)
    return sim


def hung() -> Simulation:
    sim, number = working()
    sim.boxes.crash(number)
    sim.advance(minutes=15)
    return sim


def longer_than_a_machine_lives() -> Simulation:
    sim, _ = working(minutes=420)
    sim.advance(hours=6)
    return sim


def ended_on_two_lies() -> Simulation:
    """As `test_lies.py` has it: a token's runner that was never seen idle, and GitHub lists neither it nor its job."""
    sim, _ = working(pool="arm64")
    sim.ticks(12)
    for path in (r"/actions/runners$", r"/actions/runs$"):
        sim.github.fault(Fault(FaultKind.EMPTY, path=path, times=None))
    sim.ticks(5)
    return sim


def launched_by_somebody(count: int) -> Simulation:
    """Who copies the fleet's tags launches for it."""
    sim = Simulation()
    tags = [{"Key": f"runner-scaler:{key}", "Value": value} for key, value in (("fleet", "main"), ("pool", "amd64"))]
    params = {
        "LaunchTemplate": {"LaunchTemplateName": "runner-amd64", "Version": "3"},
        "MinCount": 1,
        "MaxCount": 1,
        "TagSpecifications": [{"ResourceType": "instance", "Tags": tags}],
    }
    with sim.clock.lock:
        for _ in range(count):
            (launched,) = sim.aws.perform("ec2", "RunInstances", params, sim.aws.ambient.principal)["Instances"]
            if count > 4:
                sim.aws.ec2.end(launched["InstanceId"], "itself")
    return sim


PLAYS: list[tuple[str, Callable[[], Simulation]]] = [
    *((name, a_job_well_done) for name in ("launched", "jobs", "served", "most_alive", "oldest", "machine_time")),
    ("killed", ended_on_two_lies),
    ("over_caps", lambda: launched_by_somebody(4)),
    ("ended_at_max_lifetime", longer_than_a_machine_lives),
    ("removed_alive", drained),
    ("removed_before_it_was_seen", taken_just_before_its_runner_is_removed),
    ("sent_to_a_removed_runner", sent_to_a_runner_as_it_is_removed),
    ("sent_to_a_lost_machine", sent_to_a_machine_that_has_just_hung),
    *(("lost_with_their_machine", play) for play in (interrupted, forced, stopped, hung)),
]
SCALERS = {"killed", "over_caps"}


@pytest.mark.parametrize(("count", "play"), PLAYS, ids=lambda each: each if isinstance(each, str) else each.__name__)
def test_what_the_soak_counts_can_be_more_than_nothing(count: str, play: Callable[[], Simulation]) -> None:
    sim = play()
    assert getattr(sim.oracle.counts, count)
    assert bool(sim.oracle.broken) == (count in SCALERS)


def test_every_count_has_its_play() -> None:
    assert {each.name for each in fields(Counts)} == {count for count, _ in PLAYS}


def a_strangers_machine_is_ended() -> Simulation:
    sim = Simulation()
    params = {"LaunchTemplate": {"LaunchTemplateName": "runner-amd64"}, "MinCount": 1, "MaxCount": 1}
    with sim.clock.lock:
        answer = sim.aws.perform("ec2", "RunInstances", params, sim.aws.ambient.principal)
        sim.aws.ec2.end(answer["Instances"][0]["InstanceId"], "api")
    return sim


def a_held_machine_is_ended() -> Simulation:
    sim, number = working()
    sim.oracle.held[number] = sim.clock.now()
    sim.oracle.forced.add(number)
    sim.advance(minutes=3)
    with sim.clock.lock:
        sim.aws.ec2.end(number, "api")
    return sim


def a_runner_is_removed_in_the_dark() -> Simulation:
    sim, _ = working()
    sim.github.fault(Fault(FaultKind.STATUS, path=r"/actions/runners$"))
    github = DirectGitHub(sim.server, tap := Tap(sim.clock), VirtualClock(sim.clock), sim.shown())
    (runner,) = sim.github.registered()
    assert github.runners("acme/api")  # asked again, GitHub shows it
    sim.github.fault(Fault(FaultKind.STATUS, path=r"/actions/runs$", times=None))
    with pytest.raises(Unavailable):
        looking.queue(github, "acme/api", deep=True)
    assert sim.oracle.broken == []
    github.remove_runner("acme/api", runner.id)
    assert tap.effects
    return sim


@pytest.mark.parametrize(
    ("promise", "play"),
    [
        (KILLED, ended_on_two_lies),
        (BUDGET, lambda: launched_by_somebody(101)),
        (FOREIGN, a_strangers_machine_is_ended),
        (HELD, a_held_machine_is_ended),
        (UNSEEN_TOUCHED, a_runner_is_removed_in_the_dark),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_each_promise_that_is_watched_can_be_found_broken(promise: str, play: Callable[[], Simulation]) -> None:
    assert promise in {broken.promise for broken in play().oracle.broken}


def test_an_instance_that_outlives_its_time_is_noticed_as_immortal() -> None:
    soak = Soak(1, 1)
    soak.sim.boxes.manners.always = Habit.HANGS
    soak.sim.push()
    soak.sim.tick()
    for _ in range(7 * 12):
        soak.sim.advance(minutes=5)
        soak._note_tick()
    assert soak.immortal == set(soak.sim.oracle.alive()) != set()


def test_a_secret_in_a_tag_is_noticed_as_told() -> None:
    soak = Soak(1, 1)
    soak.sim.push()
    soak.sim.tick()
    assert not soak.leaked
    number = next(iter(soak.sim.oracle.alive()))
    with soak.sim.clock.lock:
        soak.sim.aws.ec2.retag(number, {"note": f"its secret is {soak.sim.secrets[-1]}"}, "hand")
    soak.sim.tick()
    assert soak.leaked
