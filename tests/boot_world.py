"""A world to boot machines in: the embedded GitHub and AWS, machines, and the scaler's part done by boto3 and REST."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest

from scaler.sandbox.aws.server import AwsServer, Call
from scaler.sandbox.aws.world import AwsWorld
from scaler.sandbox.clock import Clock
from scaler.sandbox.github.server import GitHubServer
from scaler.sandbox.github.state import JobSpec, Runner
from scaler.sandbox.github.world import GitHubWorld
from scaler.sandbox.journal import Entry, Journal
from scaler.sandbox.loopback import HttpRequest
from scaler.sandbox.machines.faults import MachineFault
from scaler.sandbox.machines.machines import Machines
from tests.image_machines import ImageMachines

LABELS = ("self-hosted", "linux", "x64", "acme")
LIMITS = {"boot_timeout": 600, "idle_timeout": 300, "max_lifetime": 21_600}
PATIENCE, GLANCE = 30.0, 0.05
"""Seconds that a test waits for what must happen; the world's clock runs as the real one, but for `advance`."""


@dataclass(slots=True)
class World:
    """What a boot test holds."""

    clock: Clock
    journal: Journal
    github: GitHubWorld
    github_server: GitHubServer
    aws: AwsWorld
    aws_server: AwsServer
    machines: Machines

    # --- the scaler's part -----------------------------------------------------------------------

    def client(self, service: str) -> Any:
        """A boto3 client."""
        held = self.aws.ambient
        return _session().client(  # type: ignore[call-overload]
            service,
            endpoint_url=self.aws_server.url,
            region_name=self.aws.settings.region,
            aws_access_key_id=held.access_key,
            aws_secret_access_key=held.secret,
        )

    def launch(self, fleet: str = "main", template: str = "3") -> str:
        """Launch one instance; its id."""
        tags = [{"Key": "runner-scaler:fleet", "Value": fleet}, {"Key": "runner-scaler:pool", "Value": "amd64"}]
        answer = self.client("ec2").create_fleet(
            Type="instant",
            LaunchTemplateConfigs=[
                {"LaunchTemplateSpecification": {"LaunchTemplateName": "runner-amd64", "Version": template}}
            ],
            TargetCapacitySpecification={"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "on-demand"},
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
        )
        return str(answer["Instances"][0]["InstanceIds"][0])

    def api(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """POST to GitHub's REST API."""
        request = urllib.request.Request(
            self.github_server.url + path,
            data=json.dumps(body or {}).encode(),
            headers={"Authorization": "Bearer pat", "User-Agent": "tests"},
        )
        with urllib.request.urlopen(request) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def secret(self, instance_id: str, registration: str = "jit", scope: str = "acme/api", **changes: Any) -> Any:
        """A parameter's value as the scaler makes it, with a secret freshly minted, and with changes."""
        name = f"main-1a2b3c-{instance_id}"
        at = f"/repos/{scope}" if "/" in scope else f"/orgs/{scope}"
        if registration == "jit":
            body = {"name": name, "runner_group_id": 1, "labels": list(LABELS)}
            minted = self.api(f"{at}/actions/runners/generate-jitconfig", body)["encoded_jit_config"]
        else:
            minted = self.api(f"{at}/actions/runners/registration-token")["token"]
        return {
            "v": 1,
            "registration": registration,
            "url": f"{self.github_server.url}/{scope}",
            "name": name,
            "labels": list(LABELS),
            "group": None,
            "ephemeral": True,
            "secret": minted,
            "limits": LIMITS,
            **changes,
        }

    def put(self, instance_id: str, value: Any) -> None:
        """Put an instance's parameter."""
        self.client("ssm").put_parameter(
            Name=f"/runner-scaler/main/{instance_id}",
            Value=value if isinstance(value, str) else json.dumps(value),
            Type="SecureString",
            Tier="Advanced",
            Tags=[{"Key": "InstanceId", "Value": instance_id}],
        )

    def hand_over(self, registration: str = "jit", **changes: Any) -> str:
        """Launch an instance and put its parameter; its id."""
        instance_id = self.launch()
        self.put(instance_id, self.secret(instance_id, registration, **changes))
        return instance_id

    def queue(self, name: str = "build", duration: float = 0.0) -> None:
        """Queue one job."""
        self.github.push("acme/api", [JobSpec(name=name, labels=LABELS, duration=duration)])

    # --- the network -----------------------------------------------------------------------------

    def unplug(self, *, silent: bool, aws: bool = True) -> None:
        """GitHub, and AWS, are out of reach from now on: they refuse, or (`silent`) nobody ever answers."""
        for server in (self.github_server._http, *([self.aws_server._server] if aws else ())):
            if silent:
                server._server.respond = self._say_nothing
            else:
                server.stop()

    def unplug_after(self, action: str, *, silent: bool) -> None:
        """GitHub is out of reach from AWS's answer to this call on; the machine asks nothing of AWS after it."""

        def hear(call: Call) -> None:
            if call.action == action and not call.error:
                self.unplug(silent=silent, aws=False)

        self.aws_server.observers.append(hear)

    def _say_nothing(self, _request: HttpRequest) -> None:
        self.clock.wait_for(lambda: False, 1e9)  # or until the world ends

    # --- what came of it -------------------------------------------------------------------------

    def until(self, met: Callable[[], object], says: str = "") -> None:
        """Wait for something that must happen; files and processes change without a word, so look often."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self.clock.wait_for(lambda: bool(met()), GLANCE):
                return
        pytest.fail(f"never: {says}\n{self.story()}")

    def advance_when_asleep(self, instance_id: str, seconds: float, of: float | None = None) -> None:
        """Push time forward once the machine is in a sleep of that length (or of another)."""
        length = seconds if of is None else of
        self.until(lambda: length in self.machines.sleeping(instance_id), f"a sleep of {length} s")
        self.clock.advance(seconds)

    def runner(self) -> Runner | None:
        """The runner that is registered."""
        found = self.github.registered()
        return found[0] if found else None

    def online(self) -> bool:
        """Whether there is a runner that listens."""
        found = self.runner()
        return found is not None and found.online

    def listens(self, instance_id: str) -> None:
        """Wait until a machine's runner is online, and its boot watchdog has heard of it."""

        def met() -> bool:
            return self.online() and LIMITS["boot_timeout"] not in self.machines.sleeping(instance_id)

        self.until(lambda: self.said(instance_id, "Listening for Jobs") and met(), "listening")

    def gone(self, instance_id: str) -> None:
        """Wait until an instance has powered itself off and is terminated, with no process left."""
        self.until(lambda: self.state(instance_id) == "terminated", f"{instance_id} terminated")
        assert [entry.facts["by"] for entry in self.journal.of("instance.terminated")] == ["itself"]
        assert self.machines.pids(instance_id) == []

    def state(self, instance_id: str) -> str:
        """The true state of an instance."""
        found = self.aws.instance(instance_id)
        assert found is not None
        return found.state

    def said(self, instance_id: str, words: str) -> bool:
        """Whether the boot script or the runner program said something on the console."""
        return words in self.console(instance_id)

    def console(self, instance_id: str) -> str:
        """All of the console."""
        return self.aws.ec2.console_text(instance_id)

    def conclusions(self) -> list[str]:
        """How the jobs that have finished did so."""
        return [entry.facts["conclusion"] for entry in self.journal.of("job.finished")]

    def happened(self, *what: str) -> list[Entry]:
        """What the journal has of this."""
        return self.journal.of(*what)

    def story(self) -> str:
        """Everything, for a test that failed."""
        consoles = "\n".join(self.console(each.id) for each in self.aws.instances())
        return "\n".join(entry.to_json() for entry in self.journal) + "\n" + consoles


@contextmanager
def boot_world(
    workdir: Path,
    faults: Iterable[MachineFault] = (),
    customize: Callable[[Path], None] = lambda _: None,
    speed: float = 1.0,
    machines_are: Callable[..., Machines] = Machines,
    **aws_settings: Any,
) -> Iterator[World]:
    """An empty repository `acme/api`, an account without instances. EC2's own states take no time."""
    clock = Clock(speed=speed)
    journal = Journal(clock)
    how = {"boot_delay": 0.0, "faults": faults, "customize": customize, "shortest_sleep": 0.0}
    machines = machines_are(clock, journal, workdir, **how)
    github = GitHubWorld(clock, journal)
    github.add_organization("acme")
    github.add_repository("acme/api")
    github.add_token("pat")
    aws = AwsWorld(clock, journal, machines)
    aws.configure({"boot": {"pending": 0, "shutdown": 0}, **aws_settings})
    github_server, aws_server = GitHubServer(github), AwsServer(aws)
    machines.connect(aws, aws_server.url)
    if isinstance(machines, ImageMachines):
        machines.reach(github_server.url)
    for part in (clock, machines, github_server, aws_server):
        part.start()
    try:
        yield World(clock, journal, github, github_server, aws, aws_server, machines)
    finally:
        machines.stop()
        github_server.stop()
        aws_server.stop()
        clock.stop()


@cache
def _session() -> boto3.Session:
    return boto3.Session()
