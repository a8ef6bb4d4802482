"""The whole world in one process: GitHub, AWS and the machines between them, on one clock."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from scaler.sandbox.aws.oidc import OidcServer, real_now
from scaler.sandbox.aws.server import AwsServer
from scaler.sandbox.aws.settings import BadSetting, known, seconds
from scaler.sandbox.aws.world import AwsWorld
from scaler.sandbox.clock import Clock
from scaler.sandbox.github.server import GitHubServer
from scaler.sandbox.github.world import GitHubWorld
from scaler.sandbox.journal import Journal
from scaler.sandbox.machines.faults import FaultKind, MachineFault
from scaler.sandbox.machines.machines import Machines
from scaler.sandbox.scenario import RunIds, Scenario

TOKEN = "ghp_" + "sandbox0" * 4 + "only"
"""The token of somebody who may do everything, in a GitHub that holds nothing of worth."""


class Sandbox:
    """
    A GitHub, an AWS account and its machines.

    As a context manager it starts and stops everything. `speed=0` stands still but for `clock.advance`.
    """

    def __init__(
        self, workdir: Path, *, start: datetime | None = None, speed: float = 1.0, record: Path | None = None
    ) -> None:
        """Machines live below `workdir`; with `record`, every exchange with GitHub is written there."""
        self.clock = Clock(start, speed)
        self.journal = Journal(self.clock)
        self.machines = Machines(self.clock, self.journal, workdir / "machines")
        self.github = GitHubWorld(self.clock, self.journal)
        self.aws_ahead = timedelta()
        """How far AWS's clock, by which it checks signatures and credentials, is ahead of this machine's."""
        self.aws = AwsWorld(self.clock, self.journal, self.machines, now=lambda: real_now() + self.aws_ahead)
        self.github_server = GitHubServer(self.github, record=record)
        self.aws_server = AwsServer(self.aws)
        self.oidc = OidcServer(self.aws.issuer)
        self.github.add_token(TOKEN)
        self._started = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Start the clock, the servers and the machines' keeper."""
        for part in (self.clock, self.github_server, self.aws_server, self.oidc):
            part.start()
            self._started.callback(part.stop)
        self.machines.connect(self.aws, self.aws_server.url)
        self.machines.start()
        self._started.callback(self.machines.stop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every process, then the servers, then the clock."""
        self._started.close()

    def play(self, scenario: Scenario) -> RunIds:
        """Be as a scenario says, and let its events come from now on; the runs' ids by name, as they come to be."""
        self.aws.configure(scenario.aws)
        given = known(scenario.aws.get("machines", {}), "aws.machines", {"boot_delay", "faults"})
        if "boot_delay" in given:
            self.machines.boot_delay = seconds(given["boot_delay"], "aws.machines.boot_delay")
        rows = enumerate(given.get("faults", ()))
        self.machines.faults += [_machine_fault(row, f"aws.machines.faults[{number}]") for number, row in rows]
        return scenario.schedule(self.github)

    def env(self, *, oidc: bool = True) -> Mapping[str, str]:
        """
        What a scaler process finds in its environment.

        With `oidc`, the id-token endpoint of a job and no AWS credentials; without, ambient credentials.
        """
        shared = {
            "GH_TOKEN": TOKEN,
            "GITHUB_API_URL": self.github_server.url,
            "AWS_ENDPOINT_URL": self.aws_server.url,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        return {**shared, **(self.oidc.env() if oidc else self.aws.env())}


def _machine_fault(given: Any, path: str) -> MachineFault:
    row = known(given, path, {"kind", "pool", "nth", "seconds"})
    if row.get("kind") not in set(FaultKind):
        raise BadSetting(f"{path}.kind: expected one of {', '.join(FaultKind)}, got {row.get('kind')!r}")
    if "seconds" in row:
        row["seconds"] = seconds(row["seconds"], f"{path}.seconds")
    return MachineFault(**{**row, "kind": FaultKind(row["kind"])})
