"""Ours: the shipped observation and decision."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import boto3

from benchmarks.clients import TOKEN, Asked
from scaler.aws.api import AwsApi
from scaler.clock import RealClock
from scaler.decide import decide
from scaler.github.api import GitHubApi
from scaler.model import JobStatus, Memory
from scaler.observe import Observer
from scaler.settings.config import load

PREFIX = "main-1a2b3c-"
CONFIG = """\
version: 1
fleet: main
aws: {{region: us-east-1}}
repositories: [{repositories}]
max_runners: 500
pools:
  amd64:
    arch: amd64
    labels: [self-hosted, linux, x64, acme]
    launch_template: {{name: runner-amd64, version: 3}}
    max: 500
"""


class NothingThere:
    """An AWS account in which the fleet has nothing, as the scaler's port sees it."""

    def now(self) -> None:
        """It tells no time."""

    def instances(self) -> tuple[()]:
        """No instance."""
        return ()

    def parameters(self) -> tuple[()]:
        """No secret."""
        return ()

    def load_state(self, part: str) -> None:
        """No state, of no part."""


class Ours:
    """AWS is an empty account in the same process, at no cost."""

    def __init__(self, asked: Asked, clock: RealClock | None = None, every: timedelta | None = None) -> None:
        """One that ticks `every` so often shares GitHub's limits out among its ticks."""
        with TemporaryDirectory() as folder:
            path = Path(folder) / "config.yaml"
            path.write_text(CONFIG.format(repositories=", ".join(asked.repositories)))
            self._config = load(path)
        self._clock, self._every = clock or RealClock(), every
        github = GitHubApi(TOKEN, asked.url, self._clock)
        self._observer = Observer(self._config, github, self._cloud(), PREFIX)
        self._memory: Memory | None = None

    def _cloud(self) -> Any:
        return NothingThere()

    def tick(self, *, deep: bool) -> list[int]:
        """Observe and decide."""
        pace: dict[str, Any] = {} if self._every is None else {"every": self._every}
        snapshot, memory = self._observer.observe(deep=deep, known=self._memory, **pace)
        self._memory = decide(self._config, snapshot, memory).memory
        for unseen in snapshot.unseen:
            if not getattr(unseen, "deferred", False):
                raise RuntimeError(f"not seen: {unseen}")
        return [job.id for job in snapshot.jobs if job.status is JobStatus.QUEUED]


class OursWithAws(Ours):
    """AWS is asked too: the account of the environment, through boto3."""

    def _cloud(self) -> Any:
        return AwsApi(self._config, boto3.Session(), self._clock)
