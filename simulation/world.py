"""One fleet's whole world in virtual time, and ticks upon it: healthy, crashing, cut in upon, stale."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import boto3

from scaler.act import Actor
from scaler.aws.api import AwsApi
from scaler.github.api import GitHubApi
from scaler.model import Down, Tick, Up
from scaler.names import runner_prefix
from scaler.observe import Observer
from scaler.reconcile import Reconciler
from scaler.sandbox.aws.server import AwsServer
from scaler.sandbox.aws.world import AwsWorld
from scaler.sandbox.github.server import GitHubServer
from scaler.sandbox.github.state import JobSpec, Run
from scaler.sandbox.github.world import GitHubWorld
from scaler.sandbox.journal import Journal
from scaler.settings.config import Config, load
from simulation.boxes import Boxes
from simulation.oracle import Oracle
from simulation.shown import Shown
from simulation.wire import TOKEN, Crashed, DirectGitHub, DirectSession, LoneClock, Tap, VirtualClock

START = datetime(2026, 11, 24, 8, tzinfo=UTC)
CONFIG = """\
version: 1
fleet: main
aws: {region: us-east-1}
repositories: [acme/api, acme/web]
max_runners: 5
pools:
  amd64:
    arch: amd64
    labels: [self-hosted, linux, x64, acme]
    launch_template: {name: runner-amd64, version: 3}
    market: spot-then-on-demand
    max: 3
  arm64:
    arch: arm64
    labels: [self-hosted, linux, arm64, acme]
    launch_template: {name: runner-arm64, version: 3}
    registration: token
    max: 2
"""
"""Two pools, one of each kind of registration, whose caps are small enough to be met."""


def config_from(text: str) -> Config:
    """A config of this text."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(text)
        return load(path)


def _without_urls(tick: Tick) -> Tick:
    """Comparable with another server's: its address is in the jobs' web addresses."""
    jobs = tuple(replace(job, url="") for job in tick.snapshot.jobs)
    verdicts = tuple(replace(verdict, url="") for verdict in tick.plan.verdicts)
    return Tick(replace(tick.snapshot, jobs=jobs), replace(tick.plan, verdicts=verdicts))


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class Simulation:
    """GitHub, AWS, machines and an oracle on one clock that stands still unless it is pushed."""

    def __init__(self, config: str = CONFIG, seed: int = 0) -> None:
        """
        The world of a config; `seed` fixes every made-up id and wait.

        `secrets` are those that were minted, in their order; `told` hears every tick that ran to its end.
        """
        random.seed(seed)
        self.config = config_from(config)
        self.secrets: list[str] = []
        self.told: Callable[[Tick], None] = lambda _: None
        self.clock = LoneClock(START)
        self.journal = Journal(self.clock)
        self.github = GitHubWorld(self.clock, self.journal)
        self.boxes = Boxes(self.clock, self.journal, self.github)
        self.aws = AwsWorld(self.clock, self.journal, self.boxes)
        self.boxes.connect(self.aws)
        self.server = GitHubServer(self.github)
        self.server.stop()  # nothing listens: calls come directly
        self.github.add_token(TOKEN, limit=1_000_000)
        self.prefix = runner_prefix(self.config.fleet, self.aws.settings.account, self.config.region)
        self.oracle = Oracle(self.config, self.clock, self.journal, self.boxes, self.prefix)
        organizations = {r.partition("/")[0] for r in self.config.repositories if self.config.organization}
        for organization in organizations:
            self.github.add_organization(organization)
        for repository in self.config.repositories:
            self.github.add_repository(repository)

    # --- the world -----------------------------------------------------------------------------

    def advance(self, **span: float) -> None:
        """Let the world go on: `advance(minutes=5)`."""
        self.clock.advance(timedelta(**span).total_seconds())

    def push(
        self, pool: str = "amd64", jobs: int = 1, minutes: float = 5, repository: str = "acme/api", **spec: Any
    ) -> Run:
        """A run whose jobs fit a pool."""
        entry = self.config.pool(pool)
        labels = entry.labels if entry else (pool,)
        specs = [JobSpec(f"job {n}", labels, minutes * 60, **spec) for n in range(jobs)]
        return self.github.push(repository, specs)

    def cancel(self, run: int) -> None:
        """Cancel a run; the machines at it are told."""
        self.github.cancel(run)
        self.boxes.tell_cancelled(run)

    # --- ticks ---------------------------------------------------------------------------------

    def reconciler(
        self, tap: Tap | None = None, config: Config | None = None, shown: Shown | None = None
    ) -> Reconciler:
        """The shipped program from adapters to loop, in a process of its own, so to speak; `shown` is what it sees."""
        tap = tap or Tap(self.clock)
        config = config or self.config
        clock = VirtualClock(self.clock)
        shown = shown or self.shown(config)
        github = DirectGitHub(self.server, tap, clock, shown)
        cloud = AwsApi(config, cast("boto3.Session", DirectSession(self.aws, tap, shown)), clock)
        observer = Observer(config, github, cloud, self.prefix, connections=1)
        actor = Actor(config, github, cloud, mask=self.secrets.append, clock=clock, launchers=1)
        return Reconciler(config, observer, actor, clock)

    def shown(self, config: Config | None = None, forced: frozenset[str] = frozenset()) -> Shown:
        """What a new process has seen: nothing yet. The oracle judges what it touches."""
        return Shown((config or self.config).scope_of, self.oracle.touched, forced)

    def tick(self, tap: Tap | None = None, config: Config | None = None) -> Tick | None:
        """One tick of a fresh process; None if it died on the way."""
        return self._run(self.reconciler(tap, config).tick)

    def watch(self, count: int, every: float) -> None:
        """A process that ticks `count` times, `every` seconds apart, and keeps what it knows; every third look is deep."""
        shown = self.shown()
        reconciler = self.reconciler(shown=shown)
        for number in range(count):
            shown.begins()
            tick = self._run(partial(reconciler.tick, deep=number % 3 == 0, every=timedelta(seconds=every)))
            self.clock.advance(every)
            if tick is None:
                return

    def by_hand(self, *asked: Up | Down, tap: Tap | None = None) -> Tick | None:
        """The button."""
        forced = frozenset(ask.instance_id for ask in asked if isinstance(ask, Down) and ask.force)
        return self._run(partial(self.reconciler(tap, shown=self.shown(forced=forced)).by_hand, asked))

    def _run(self, what: Callable[[], Tick]) -> Tick | None:
        try:
            tick = what()
        except Crashed:
            return None
        self.told(tick)
        return tick

    def ticks(self, count: int, every: float = 60.0) -> list[Tick]:
        """Healthy ticks in a row, `every` seconds apart."""
        found = []
        for _ in range(count):
            tick = self.tick()
            assert tick is not None  # noqa: S101 - nothing crashes a healthy tick
            found.append(tick)
            self.clock.advance(every)
        return found

    def plan(self) -> Tick:
        """A plan, while the world stands still."""
        return _without_urls(self.reconciler(Tap(self.clock, latency=0)).plan())

    def plan_over_http(self) -> Tick:
        """The same with PyGithub's own requester and boto3's own clients, over HTTP."""
        github_server, aws_server = GitHubServer(self.github), AwsServer(self.aws)
        with ExitStack() as started:
            for server in (github_server, aws_server):
                server.start()
                started.callback(server.stop)
            clock = VirtualClock(self.clock)
            github = GitHubApi(TOKEN, github_server.url, clock)
            started.enter_context(_environment(AWS_ENDPOINT_URL=aws_server.url, **self.aws.env()))
            cloud = AwsApi(self.config, boto3.Session(), clock)
            observer = Observer(self.config, github, cloud, self.prefix)
            actor = Actor(self.config, github, cloud, mask=lambda _: None)
            return _without_urls(Reconciler(self.config, observer, actor, clock).plan())

    # --- the end -------------------------------------------------------------------------------

    def forget(self, older_than: timedelta) -> None:
        """Let go of runs that ended long ago: nobody asks for them, and a month has thousands."""
        state, limit = self.github.state, self.clock.now() - older_than
        for run in [run for run in state.runs.values() if run.phase == "completed" and run.updated_at < limit]:
            del state.runs[run.id]
            for job in run.jobs:
                state.jobs.pop(job.id, None)

    def heal(self) -> None:
        """Everything works again, and the machines to come are well."""
        self.github.faults.clear()
        self.github.settings.idle_liars.clear()
        self.aws.faults.clear()
        self.aws.ec2.capacity.clear()
        self.boxes.manners.habits.clear()

    def left(self) -> dict[str, Sequence[str]]:
        """What there still is of ours: instances, runners, parameters."""
        path = f"/runner-scaler/{self.config.fleet}/i-"
        return {
            "instances": list(self.oracle.alive()),
            "runners": [r.name for r in self.github.registered() if r.name.startswith(self.prefix)],
            "parameters": [name for name in self.aws.parameter_names() if name.startswith(path)],
        }
