"""Many launches of one tick: how many calls they take, that none is throttled, and what goes on beside what."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import boto3
import pytest

from scaler.act import Acted, Actor
from scaler.aws.api import AwsApi
from scaler.model import Launch, Market, Outcome, Plan, Reason, Result, Snapshot, Terms
from scaler.sandbox.aws.server import Call
from scaler.sandbox.aws.settings import PUBLISHED_THROTTLES
from scaler.sandbox.github.faults import Fault, FaultKind
from scaler.sandbox.sandbox import Sandbox
from simulation.boxes import Habit
from simulation.wire import DirectGitHub, DirectSession, Tap, VirtualClock
from simulation.world import CONFIG, Simulation
from tests.conftest import World

API, WEB = "acme/api", "acme/web"
LARGE = CONFIG.replace("max_runners: 5", "max_runners: 200").replace("max: 3", "max: 100").replace("max: 2", "max: 100")
POOLS = {"jit": "amd64", "token": "arm64"}
MINTED = {"jit": "generate-jitconfig", "token": "registration-token"}


def launches(count: int, pool: str, scope: str = API, first: int = 0) -> list[Launch]:
    """Launches into the first slots of a pool."""
    return [
        Launch(pool, slot, 5, True, False, (Terms(Market.ON_DEMAND),), scope, Reason.LAUNCHING, "wanted")
        for slot in range(first, first + count)
    ]


def acted(sim: Simulation, commands: list[Launch], latency: float = 0.01) -> tuple[Acted, Counter[str], float]:
    """These launches in a simulated world, one after the other: what came of them, the effects, the seconds."""
    sim.boxes.manners.always = Habit.HANGS
    tap, clock = Tap(sim.clock, latency), VirtualClock(sim.clock)
    cloud = AwsApi(sim.config, cast("boto3.Session", DirectSession(sim.aws, tap)), clock)
    github = DirectGitHub(sim.server, tap, clock)
    actor = Actor(sim.config, github, cloud, mask=sim.secrets.append, clock=clock, launchers=1)
    cloud.load_state()
    done = actor.act(Plan(tuple(commands)), Snapshot(sim.clock.now(), sim.prefix), lambda: False)
    return done, Counter(effect.rpartition("/")[2] for effect in tap.effects), clock.monotonic()


def results(outcomes: tuple[Outcome, ...]) -> set[Result]:
    """How commands ended."""
    return {outcome.result for outcome in outcomes}


# --- in virtual time -----------------------------------------------------------------------------


@pytest.mark.parametrize("registration", ["jit", "token"])
def test_a_hundred_launches_are_a_hundred_hand_overs_and_no_call_is_throttled(registration: str) -> None:
    """The calls are fast enough here to empty every bucket; one that was throttled would be sent again, and count."""
    sim = Simulation(LARGE)
    sim.aws.configure({"throttle": dict(PUBLISHED_THROTTLES)})
    sim.github.set(points_a_minute=900, requests_at_once=100)
    done, effects, seconds = acted(sim, launches(100, POOLS[registration]))
    assert results(done.outcomes) == {Result.DONE}
    ids = [outcome.instance_id for outcome in done.outcomes]
    assert sorted(ids) == sorted(instance.id for instance in sim.aws.alive())
    assert {each.tags["runner-scaler:scope"] for each in sim.aws.alive()} == {API}
    secrets = {name.rpartition("/")[2] for name in sim.aws.parameter_names()} - {"state"}
    assert secrets == set(ids)
    assert effects == {
        "ec2:CreateFleet": 100,
        MINTED[registration]: 100 if registration == "jit" else 1,
        "ssm:PutParameter": 102,  # the fleet's state before and after
        "ec2:CreateTags": 100,
    }
    assert seconds == pytest.approx(101 / 3 + 12, abs=3)  # here launches and puts come after one another


def test_two_ticks_in_a_row_of_one_process_share_the_buckets() -> None:
    """A watch launches every few seconds: its second tick finds what the first has left."""
    sim = Simulation(LARGE)
    sim.aws.configure({"throttle": {"CreateFleet": [50, 5]}})
    tap, clock = Tap(sim.clock, 0.001), VirtualClock(sim.clock)
    cloud = AwsApi(sim.config, cast("boto3.Session", DirectSession(sim.aws, tap)), clock)
    actor = Actor(
        sim.config, DirectGitHub(sim.server, tap, clock), cloud, mask=sim.secrets.append, clock=clock, launchers=1
    )
    for first in (0, 45):
        plan = Plan(tuple(launches(45, "arm64", first=first)))
        acted = actor.act(plan, Snapshot(sim.clock.now(), sim.prefix), lambda: False)
        assert results(acted.outcomes) == {Result.DONE}
    assert tap.effects.count("ec2:CreateFleet") == 90


def test_a_scopes_token_is_minted_once_a_tick_and_masked_once() -> None:
    sim = Simulation(LARGE)
    commands = [*launches(3, "arm64"), *launches(2, "arm64", WEB, first=3)]
    _, effects, _ = acted(sim, commands)
    assert effects["registration-token"] == len(sim.secrets) == len(set(sim.secrets)) == 2
    acted(sim, launches(2, "arm64", first=5))
    assert len(sim.secrets) == 3


def test_a_token_that_github_does_not_give_is_asked_for_three_times_a_tick() -> None:
    sim = Simulation(LARGE)
    sim.github.fault(Fault(FaultKind.STATUS, path="/registration-token$", times=None, value=502))
    done, effects, _ = acted(sim, launches(6, "arm64"))
    assert (results(done.outcomes), effects["registration-token"]) == ({Result.FAILED}, 3)
    assert all("its secret could not be handed over" in outcome.detail for outcome in done.outcomes)
    assert effects["ssm:PutParameter"] == 2


def test_a_token_that_github_gives_when_asked_again_serves_all_that_wait() -> None:
    sim = Simulation(LARGE)
    sim.github.fault(Fault(FaultKind.STATUS, path="/registration-token$", times=2, value=502))
    done, effects, _ = acted(sim, launches(6, "arm64"))
    assert [outcome.result for outcome in done.outcomes] == [Result.FAILED] * 2 + [Result.DONE] * 4
    assert effects["registration-token"] == 3


# --- in threads, over HTTP -----------------------------------------------------------------------


@pytest.fixture
def running(tmp_path: Path) -> Iterator[World]:
    """A world whose clock runs as ours does, with the buckets that AWS and GitHub have."""
    with Sandbox(tmp_path / "world") as box:
        box.github.add_repository(API)
        box.machines.boot_delay = 3600
        box.aws.configure({"throttle": {**PUBLISHED_THROTTLES, "PutParameter": [20, 20]}})
        box.github.set(points_a_minute=900, requests_at_once=100)
        folder = tmp_path / "checkout"
        folder.mkdir()
        world = World(box, folder)
        world.amend("max_runners: 10", "max_runners: 50")
        world.amend("    max: 5\n", "    max: 50\n")
        world.amend("parameter_writes_per_second: 1000", "parameter_writes_per_second: 20")
        yield world
        assert box.aws_server.mistakes == []


@pytest.mark.parametrize("registration", ["jit", "token"])
def test_fifty_launches_side_by_side_meet_no_throttle(running: World, registration: str) -> None:
    running.amend("    max: 50\n", f"    max: 50\n    registration: {registration}\n")
    ran = running.scaler("up", "-p", "amd64", "-n", "50", "--repo", API, "--json")
    assert ran.code == 0, ran.said
    assert Counter(ran.commands()) == {"launch done": 50}
    calls = running.box.aws_server.calls
    assert [call.name for call in calls if call.error] == ["ssm:GetParameter"]  # there is no state yet
    count = Counter(call.action for call in calls)
    assert (count["CreateFleet"], count["PutParameter"], count["CreateTags"]) == (50, 52, 50)
    assert count["DescribeInstances"] <= 52
    limits = running.box.github_server.limits
    assert limits.refused == 0
    assert limits.most_at_once <= 16
    assert len(running.left()["parameters"]) == 50
    assert len(running.left()["runners"]) == (50 if registration == "jit" else 0)


def test_what_was_launched_is_handed_over_while_others_launch(world: World) -> None:
    """A launch whose answer is late holds up no other's secret."""
    handed_over = threading.Event()
    slow: list[bool] = []

    def meet(call: Call) -> None:
        if call.name == "ssm:PutParameter" and not str(call.params["Name"]).endswith("/state"):
            handed_over.set()
        elif call.name == "ec2:CreateFleet" and not slow:
            slow.append(True)
            slow.append(handed_over.wait(20))

    world.box.aws_server.observers.append(meet)
    ran = world.scaler("up", "-p", "amd64", "-n", "3", "--repo", API, "--json")
    assert (ran.commands(), slow) == (["launch done"] * 3, [True, True])


def test_a_stopped_tick_launches_nothing_more_and_hands_over_what_runs(world: World) -> None:
    """Those that wait for their turn are begun by nobody; their wait ends at once."""
    world.amend("max_runners: 10", "max_runners: 50")
    world.amend("    max: 5\n", "    max: 50\n    registration: token\n")
    launched: list[Call] = []
    started: list[subprocess.Popen[str]] = []
    begun = threading.Event()

    def stop(call: Call) -> None:
        if call.name == "ec2:CreateFleet":
            launched.append(call)
            assert begun.wait(20)
            if len(launched) == 1:
                started[0].send_signal(signal.SIGTERM)

    world.box.aws_server.observers.append(stop)
    started.append(world.start("up", "-p", "amd64", "-n", "50", "--repo", API, "--json"))
    begun.set()
    ran = world.end(started[0])
    assert ran.code == 143
    said = Counter(ran.commands())
    assert set(said) == {"launch done", "launch skipped"}
    assert said["launch done"] == len(launched) == len(world.left()["parameters"]) <= 49


def test_a_call_that_aws_does_not_answer_is_made_three_times(world: World) -> None:
    """The same under the same token: EC2 launches no more for it."""
    world.box.aws.fail("ec2:CreateFleet", kind="drop-before", times=None)
    ran = world.scaler("up", "-p", "amd64", "--repo", API, "--json")
    assert ran.commands() == ["launch failed"]
    assert len(world.box.aws_server.named("ec2:CreateFleet")) == 3
