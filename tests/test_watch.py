"""A watch: how often it looks and how deep, when it ends by itself, and how it outlives its credentials."""

from __future__ import annotations

import signal
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qs

import pytest

from scaler.__main__ import main
from scaler.decide import decide
from scaler.model import JobStatus, Memory, Snapshot, Tick
from scaler.reconcile import is_quiet
from scaler.sandbox.aws.iam_world import Credentials
from scaler.sandbox.github.server import Exchange
from scaler.sandbox.github.state import JobSpec
from simulation.wire import VirtualClock
from simulation.world import Simulation
from tests.conftest import World, WorldClock
from tests.worlds import config, ghost, job, working
from tests.worlds import world as seen

Looks = dict[float, set[str]]
Watch = Callable[..., Looks]


@pytest.fixture
def watch(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """Watch on the world's clock: by the second of each tick, the statuses of runs that it asked for."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    env = world.env()
    for name, value in env.items():  # the SDK reads the process's own
        monkeypatch.setenv(name, value)
    clock = WorldClock(world.box.clock)
    monkeypatch.setattr("scaler.__main__.RealClock", lambda: clock)
    looks: defaultdict[float, set[str]] = defaultdict(set)

    def note(exchange: Exchange) -> None:
        if exchange.path.endswith("/actions/runs"):
            looks[clock.monotonic()].update(parse_qs(exchange.query)["status"])

    def run(*arguments: str, **more: str) -> Looks:
        world.box.github_server.observers.append(note)
        assert main(["auto", "--config", str(world.config), *arguments], {**env, **more}) == 0
        return looks

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_every_tenth_tick_looks_into_runs_that_wait_too(watch: Watch) -> None:
    """Such a run may have siblings that are queued or running; to look each time costs three lists a repository."""
    looks = watch("--for", "5m", "--every", "15s", "--linger", "1h")
    active = {"queued", "in_progress"}
    deep = active | {"waiting", "pending", "requested"}
    assert looks == {second: deep if second % 150 == 0 else active for second in range(0, 301, 15)}


def test_a_watch_lingers_for_the_longest_idle_timeout_and_two_looks(world: World, watch: Watch) -> None:
    """So that it still sees to the runners that its last jobs leave idle."""
    world.amend("    max: 5\n  arm64", "    max: 5\n    idle_timeout: 7m\n  arm64")
    looks = watch("--for", "50m", "--every", "20s")
    assert max(looks) == 7 * 60 + 2 * 20


def lone_watch(sim: Simulation, linger: timedelta) -> tuple[list[Tick], bool]:
    """A watch of 50 minutes in virtual time: its ticks, and whether it ended with work left."""
    ticks: list[Tick] = []
    left = sim.reconciler().watch(timedelta(minutes=50), timedelta(seconds=15), linger, ticks.append)
    return ticks, left


def test_a_watch_that_lingers_for_nothing_stays_until_the_last_job_has_run_and_its_machine_is_gone() -> None:
    sim = Simulation()
    sim.push(minutes=20)
    ticks, left = lone_watch(sim, timedelta())
    assert 20 * 60 < (ticks[-1].snapshot.now - ticks[0].snapshot.now).total_seconds() < 25 * 60
    assert [is_quiet(tick) for tick in ticks] == [False] * (len(ticks) - 1) + [True]
    assert (left, sim.left()) == (False, {"instances": [], "runners": [], "parameters": []})


def test_a_second_stage_that_nobody_announces_is_served_by_the_watch_that_served_the_first() -> None:
    sim = Simulation()
    pool = sim.config.pool("amd64")
    assert pool is not None
    first = JobSpec("build", pool.labels, 600)
    run = sim.github.push("acme/api", [first, replace(first, name="test", needs=("build",))])
    _, left = lone_watch(sim, timedelta())
    assert (sim.github.run(run.id).conclusion, left) == ("success", False)


def test_a_watch_whose_time_is_over_while_a_job_runs_has_work_left() -> None:
    sim = Simulation()
    sim.push(minutes=120)
    ticks, left = lone_watch(sim, timedelta())
    assert left
    assert (ticks[-1].snapshot.now - ticks[0].snapshot.now).total_seconds() == 50 * 60


def test_after_its_last_work_a_watch_lingers_for_so_long() -> None:
    sim = Simulation()
    sim.push(minutes=1)
    ticks, _ = lone_watch(sim, timedelta(minutes=3))
    quiet = [tick.snapshot.now for tick in ticks if is_quiet(tick)]
    assert timedelta(minutes=2.5) < quiet[-1] - quiet[0] <= timedelta(minutes=3)


class Quitting(VirtualClock):
    """A clock whose process is asked to stop, in its first sleep at the latest; how often it slept."""

    def __init__(self, sim: Simulation) -> None:
        super().__init__(sim.clock)
        self.slept, self.stopped = 0, False

    def sleep(self, seconds: float) -> None:
        """Somebody asks meanwhile."""
        super().sleep(seconds)
        self.slept, self.stopped = self.slept + 1, True

    def stopping(self) -> bool:
        """Whether somebody did."""
        return self.stopped


@pytest.mark.parametrize("in_a_tick", [True, False], ids=["in a tick", "in the sleep after it"])
def test_a_watch_that_is_stopped_ends_with_the_tick_that_it_is_in(
    monkeypatch: pytest.MonkeyPatch, *, in_a_tick: bool
) -> None:
    """And hands nothing over, though there is work: who stops it means it."""
    sim = Simulation()
    sim.push(minutes=20)
    clock = Quitting(sim)
    monkeypatch.setattr("simulation.world.VirtualClock", lambda _: clock)
    reconciler, ticks = sim.reconciler(), list[Tick]()

    def on_tick(tick: Tick) -> None:
        ticks.append(tick)
        clock.stopped = in_a_tick

    left = reconciler.watch(timedelta(minutes=50), timedelta(seconds=15), timedelta(), on_tick)
    assert (len(ticks), left) == (1, False)
    assert clock.slept == (0 if in_a_tick else 1)


@pytest.mark.parametrize(
    ("snapshot", "stays"),
    [
        pytest.param(seen(working()), True, id="a job at a machine of ours"),
        pytest.param(seen(working(hold=True)), False, id="a job at a machine on hold"),
        pytest.param(seen(job(labels="ubuntu-latest", status=JobStatus.IN_PROGRESS)), False, id="a hosted job"),
    ],
)
def test_a_watch_stays_for_jobs_of_ours_alone(snapshot: Snapshot, *, stays: bool) -> None:
    assert is_quiet(Tick(snapshot, decide(config(), snapshot, Memory()))) is not stays


def test_a_watch_writes_the_page_anew_with_the_chart_of_all_its_ticks(world: World, watch: Watch) -> None:
    page = world.folder / "summary.md"
    world.push("build", duration=60.0)
    watch("--for", "10m", "--every", "15s", "--linger", "1h", GITHUB_STEP_SUMMARY=str(page))
    text = page.read_text()
    assert text.count("### runner-scaler: fleet main") == 1
    queued = text[text.rindex("line [") :].splitlines()[0].split(", ")
    assert queued[0] == "line [1"
    assert 39 <= len(queued) <= 41  # GitHub tells the time in whole seconds


def test_a_watch_that_outlives_its_session_assumes_the_role_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An id-token is good for minutes only, so each exchange asks for a new one: the first in advance, and none twice."""
    iam = world.box.aws.iam
    session = iam.session

    def short(role: str, name: str, _: int, instance_id: str = "") -> Credentials:
        return session(role, name, 3, instance_id)

    monkeypatch.setattr(iam, "session", short)
    ran = world.scaler("auto", "--for", "5s", "--every", "1s", "--linger", "1m")
    assert ran.code == 0, ran.said
    assert ran.out.count("0 queued") > 1
    assert {call.error for call in world.box.aws_server.calls} == {"", "ParameterNotFound"}  # the state's, at first
    assert len(world.box.oidc.requests) == len(world.box.journal.of("role.assumed")) > 1


def test_a_watch_is_not_quiet_while_a_ghost_waits_for_its_removal() -> None:
    """It would end while its log says that the next tick deregisters it."""
    haunted, empty = seen(ghost()), seen()
    assert not is_quiet(Tick(haunted, decide(config(), haunted, Memory())))
    assert is_quiet(Tick(empty, decide(config(), empty, Memory())))
