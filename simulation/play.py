"""A fleet's life as a list of moves, chosen by whoever plays: hypothesis, a soak's weather, a replayed file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from scaler.model import Down, Up
from scaler.sandbox.aws.ec2_world import DEAD, RUNNING
from scaler.sandbox.aws.settings import Consistency
from scaler.sandbox.github.faults import Fault, FaultKind
from scaler.settings.config import Config
from simulation.boxes import Habit
from simulation.ending import unrested, unserved
from simulation.oracle import TAG
from simulation.wire import Tap
from simulation.world import Simulation

GITHUB_PATHS = {
    "runs": r"/actions/runs$",
    "jobs": r"/jobs$",
    "runners": r"/actions/runners$",
    "jit": r"/generate-jitconfig$",
    "token": r"/registration-token$",
    "remove": r"/actions/runners/\d+$",
    "all": r"^/repos/",
    "one repository": r"^/repos/acme/api/",
}
GITHUB_FAULTS = tuple(FaultKind)
AWS_ACTIONS = (
    "ec2:DescribeInstances",
    "ec2:CreateFleet",
    "ec2:CreateTags",
    "ec2:DeleteTags",
    "ec2:TerminateInstances",
    "ssm:PutParameter",
    "ssm:GetParameter",
    "ssm:DescribeParameters",
    "ssm:DeleteParameters",
    "*",
)
AWS_FAULTS = ("http500", "drop-before", "drop-after", "error", "delay")
AWS_CODES = ("InternalError", "RequestLimitExceeded", "UnauthorizedOperation", "InsufficientInstanceCapacity")
TICKS = frozenset({"tick", "watch", "crash", "race", "meets_a_push", "in_the_dark", "edited", "up", "down"})


class Play:
    """The moves. Each takes small numbers and names, so that a list of moves is a file."""

    def __init__(self, simulation: Simulation) -> None:
        """Somebody else's runner and instance are there from the start."""
        self.simulation = simulation
        self.runs: list[int] = []
        self.moves: list[list[Any]] = []
        simulation.boxes.manners.habits = []
        self._plant_strangers()

    def _plant_strangers(self) -> None:
        """What is not ours and must be there at the end as it was."""
        sim = self.simulation
        specification = {"LaunchTemplateName": "runner-amd64", "Version": "3"}
        params = {"LaunchTemplate": specification, "MinCount": 1, "MaxCount": 1}
        labels = ["self-hosted", "linux", "x64", "acme"]
        # A colleague's machine, and a runner of another fleet of the same name, in another region.
        names = ("macbook", "main-abcdef-i-0123456789abcdef0")
        with sim.clock.lock:
            answer = sim.aws.perform("ec2", "RunInstances", params, sim.aws.ambient.principal)
            self.foreign = answer["Instances"][0]["InstanceId"]
            group = sim.github.runners.groups("acme/api")[0]
            for name in names:
                sim.github.runners.mint_jit("acme/api", name, labels, group, "http://x")

    def move(self, name: str, *arguments: Any) -> None:
        """Make a move by name, and keep it."""
        self.moves.append([name, *arguments])
        step: Callable[..., None] = getattr(self, name)
        # A tick observes in a thread of its own, which needs the world's lock; whatever else happens, happens at once.
        with nullcontext() if name in TICKS else self.simulation.clock.lock:
            step(*arguments)

    # --- users ---------------------------------------------------------------------------------

    def push(self, pool: str, repository: str, jobs: int, minutes: int) -> None:
        """A run of some jobs."""
        self.runs.append(self.simulation.push(pool, jobs, minutes, repository).id)

    def cancel(self, which: int) -> None:
        """Cancel a run."""
        run = self._run(which)
        if run is not None and self.simulation.github.run(run).phase != "completed":
            self.simulation.cancel(run)

    def rerun(self, which: int) -> None:
        """Run a finished run again."""
        run = self._run(which)
        if run is not None and self.simulation.github.run(run).phase == "completed":
            self.simulation.github.rerun(run)

    def _run(self, which: int) -> int | None:
        known = [run for run in self.runs if run in self.simulation.github.state.runs]
        return known[which % len(known)] if known else None

    def up(self, pool: str, repository: str, count: int) -> None:
        """The button."""
        self.simulation.by_hand(Up(pool, repository, count))

    def down(self, which: int, force: bool) -> None:
        """The other button."""
        number = self._instance(which)
        if number is not None:
            if force:
                self.simulation.oracle.forced.add(number)
            self.simulation.by_hand(Down(number, force))

    def hold(self, which: int, held: bool) -> None:
        """Somebody wants to look at a machine."""
        number = self._instance(which)
        held_now = None if number is None else self.simulation.aws.instance(number)
        if held_now is not None:
            tags = {key: value for key, value in held_now.tags.items() if key != f"{TAG}hold"}
            self.simulation.aws.ec2.retag(held_now.id, {**tags, **({f"{TAG}hold": ""} if held else {})}, "hand")
            if self.simulation.oracle.held.pop(held_now.id, None) is not None:
                self.simulation.oracle.released[held_now.id] = self.simulation.clock.now()
            if held:
                self.simulation.oracle.held[held_now.id] = self.simulation.clock.now()
                self.simulation.oracle.ever_held.add(held_now.id)

    def _instance(self, which: int) -> str | None:
        alive = sorted(self.simulation.oracle.alive())
        return alive[which % len(alive)] if alive else None

    # --- ticks ---------------------------------------------------------------------------------

    def tick(self) -> None:
        """A healthy tick."""
        self.simulation.tick()

    def watch(self, count: int, seconds: float) -> None:
        """A process that ticks several times and keeps what it knows from one to the next."""
        self.simulation.watch(count, seconds)

    def crash(self, number: int, late: bool) -> None:
        """A tick that dies at an effect."""
        self.simulation.tick(Tap(self.simulation.clock, crash_at=number, crash_late=late))

    def race(self, number: int, seconds: float) -> None:
        """Another tick runs while a tick is at an effect, and takes its time."""
        other = Tap(self.simulation.clock, latency=seconds)
        self.simulation.tick(Tap(self.simulation.clock, cut_in={number: lambda: self._other(other)}))

    def _other(self, tap: Tap) -> None:
        self.simulation.tick(tap)

    def meets_a_push(self, number: int, pool: str, repository: str) -> None:
        """Jobs are pushed between two effects of a tick: after it looked, before it has done what it decided."""
        cut_in = {number: lambda: self.push(pool, repository, 2, 5)}
        self.simulation.tick(Tap(self.simulation.clock, cut_in=cut_in))

    def in_the_dark(self, kind: str, where: str) -> None:
        """A tick through all of which GitHub hides some lists."""
        fault = Fault(FaultKind(kind), GITHUB_PATHS[where], method="GET", times=None)
        self.simulation.github.fault(fault)
        self.simulation.tick()
        self.simulation.github.faults.remove(fault)

    def edited(self, version: int, most: int) -> None:
        """A tick with another config.yaml: a new template version, other caps below the true ones."""
        config = self.simulation.config
        self.simulation.tick(config=_edited(config, version, most))

    # --- time, machines, faults ----------------------------------------------------------------

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.simulation.clock.advance(seconds)

    def machines(self, habit: str) -> None:
        """What the next machine is like."""
        self.simulation.boxes.manners.habits.append(Habit(habit))

    def hang(self, which: int) -> None:
        """A machine hangs for good; what it was at is lost."""
        number = self._instance(which)
        if number is not None:
            self.simulation.boxes.crash(number)

    def interrupt(self, which: int) -> None:
        """EC2 takes a spot instance back."""
        number = self._instance(which)
        held = None if number is None else self.simulation.aws.instance(number)
        if held is not None and held.market == "spot" and held.state not in DEAD and held.interrupted_at is None:
            self.simulation.aws.interrupt(held.id)

    def stop(self, which: int) -> None:
        """Somebody stops an instance in the console."""
        number = self._instance(which)
        held = None if number is None else self.simulation.aws.instance(number)
        if held is not None and held.state == RUNNING:
            self.simulation.oracle.forced.add(held.id)
            self.simulation.aws.ec2.stop(held.id)

    def unregister(self, which: int) -> None:
        """Somebody removes a runner in GitHub's settings."""
        ours = [r for r in self.simulation.github.registered() if r.name.startswith(self.simulation.prefix)]
        if ours:
            runner = sorted(ours, key=lambda runner: runner.id)[which % len(ours)]
            # What it runs has no runner that names it any more: whatever becomes of that is this person's doing.
            self.simulation.oracle.forced.add(runner.name.removeprefix(self.simulation.prefix))
            self.simulation.github.remove_runner(runner.id)

    def github_fails(self, kind: str, where: str, times: int) -> None:
        """GitHub fails or lies."""
        self.simulation.github.fault(Fault(FaultKind(kind), GITHUB_PATHS[where], times=times))

    def aws_fails(self, kind: str, action: str, code: str, times: int) -> None:
        """AWS fails."""
        self.simulation.aws.fail(action, kind=kind, code=code, times=times, delay=30.0)

    def no_capacity(self, market: str, count: int) -> None:
        """EC2 has no room."""
        self.simulation.aws.refuse_capacity(market=market, count=count)

    def lags(self, instances: int, tags: int, busy: int) -> None:
        """Lists lag behind the truth from now on."""
        settings = self.simulation.aws.settings
        consistency = Consistency(instances=instances, tags=tags, states=tags)
        self.simulation.aws.settings = replace(settings, consistency=consistency)
        self.simulation.github.set(busy_lag=float(busy))

    def lies(self, which: int) -> None:
        """GitHub calls a runner idle from now on, whatever it does."""
        names = sorted(r.name for r in self.simulation.github.registered())
        self.simulation.github.settings.idle_liars.add(names[which % len(names)])

    def state(self, value: str | None) -> None:
        """The state parameter is lost, or holds something else."""
        name = f"/runner-scaler/{self.simulation.config.fleet}/state"
        parameters = self.simulation.aws.ssm.parameters
        if value is None:
            parameters.pop(name, None)
        elif name in parameters:
            parameters[name] = replace(parameters[name], value=value)

    def heal(self) -> None:
        """Everything works again."""
        self.simulation.heal()

    # --- the end -------------------------------------------------------------------------------

    def settle(self, warm: int = 0, every: float = 300.0) -> list[str]:
        """
        Heal, and say what is not as promises 8 and 9 have it; `warm` instances stay by min_idle.

        `every` so many seconds come the two ticks after which all has to be served that can be; there is a new job
        for each pool.
        """
        sim = self.simulation
        sim.heal()
        for number in list(sim.oracle.alive()):
            held = sim.aws.instance(number)
            if held is not None and f"{TAG}hold" in held.tags:
                with sim.clock.lock:
                    sim.aws.ec2.retag(number, {k: v for k, v in held.tags.items() if k != f"{TAG}hold"}, "hand")
                sim.oracle.held.pop(number, None)
        for pool in sim.config.pools:
            sim.push(pool.name, repository=sim.config.repositories[0])
        wrong = unserved(sim, every)
        for _ in range(480):
            if not self._waiting():
                break
            sim.ticks(1, every=120.0)
        wrong += [f"not served: {name}" for name in self._waiting()]
        wrong += unrested(sim, warm)
        foreign = sim.aws.instance(self.foreign)
        if foreign is None or foreign.state != RUNNING:
            wrong.append("the foreign instance is gone")
        return wrong

    def _waiting(self) -> list[str]:
        labels = [frozenset(pool.labels) for pool in self.simulation.config.pools]
        return [
            f"{job.name} of run {job.run.id} ({job.status})"
            for job in self.simulation.github.unfinished_jobs()
            if any(frozenset(job.spec.labels) <= each for each in labels)
        ]


def _edited(config: Config, version: int, most: int) -> Config:
    pools = tuple(
        replace(
            pool,
            launch_template=replace(pool.launch_template, version=str(version)),
            max=max(0, min(pool.max, most)),
        )
        for pool in config.pools
    )
    return replace(config, pools=pools)
