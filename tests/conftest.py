"""The world that end-to-end tests run the real command in, every exchange with GitHub held to its description."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from scaler.clock import RealClock
from scaler.sandbox.aws.iam_checks import Check
from scaler.sandbox.aws.server import AwsServer, Call
from scaler.sandbox.clock import Clock
from scaler.sandbox.github.server import GitHubServer
from scaler.sandbox.github.state import JobSpec
from scaler.sandbox.sandbox import Sandbox
from tests import iam
from tests.certificates import Authority
from tests.debian_root import Image, debian_root, lacking, or_skip, provision, runner_mirror
from tests.runner_files import key_values
from tests.stack import policies
from tests.watcher import described

__all__ = ["described"]

# What hypothesis tries is new each time at a desk, and the same each time on CI: a red run there is our change's.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI") == "true":
    settings.load_profile("ci")

ROOT = Path(__file__).parents[1]
ROLE = "arn:aws:iam::111122223333:role/runner-scaler"
CONFIG = f"""\
version: 1
fleet: main
aws: {{region: us-east-1, role: "{ROLE}", parameter_writes_per_second: 1000}}
repositories: [acme/api, acme/web]
max_runners: 10
pools:
  amd64:
    arch: amd64
    labels: [self-hosted, linux, x64, acme]
    launch_template: {{name: runner-amd64, version: 3}}
    max: 5
  arm64:
    arch: arm64
    labels: [self-hosted, linux, arm64, acme]
    launch_template: {{name: runner-arm64, version: 3}}
    max: 5
"""


@dataclass(frozen=True)
class Ran:
    """A finished process of the command."""

    code: int
    out: str
    err: str
    outputs: dict[str, str]
    summary: str

    @property
    def said(self) -> str:
        """Everything that it said."""
        return self.out + self.err

    @property
    def document(self) -> Any:
        """What `--json` printed."""
        return json.loads(self.out)

    def verdicts(self, subject: str) -> dict[str, str]:
        """From the JSON document: reason by name (of jobs) or id."""
        rows = [v for v in self.document["verdicts"] if v["subject"] == subject]
        return {(v["name"] if subject == "job" else v["id"]): v["reason"] for v in rows}

    def commands(self) -> list[str]:
        """From the JSON document: `launch done`, `terminate busy`."""
        return [
            f"{c['command']} {c['outcome']['result']}" if "outcome" in c else c["command"]
            for c in self.document["commands"]
        ]


class World:
    """A sandbox and the command that runs in it, as a GitHub-hosted runner would run it."""

    def __init__(self, box: Sandbox, folder: Path) -> None:
        """The config is the tests' own; `configure` writes another."""
        self.box = box
        self.folder = folder
        self.config = folder / "config.yaml"
        self.configure(CONFIG)
        self.oidc = True
        self.in_actions = False

    def configure(self, text: str) -> None:
        """Write config.yaml."""
        self.config.write_text(text)

    def amend(self, before: str, after: str) -> None:
        """Change config.yaml in one place."""
        text = self.config.read_text()
        assert before in text
        self.config.write_text(text.replace(before, after, 1))

    def env(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of the command: nothing of ours but the search path."""
        env = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "PYTHONPATH": str(ROOT)}
        env |= self.box.env(oidc=self.oidc)
        if self.in_actions:
            files = {name: self.folder / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
            for file in files.values():
                file.write_text("")
            env |= {"GITHUB_ACTIONS": "true", **{name: str(file) for name, file in files.items()}}
        return env | dict(extra or {})

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start the command and do not wait for it."""
        given = ["--config", str(self.config)] if arguments[:1] not in ((), ("action",), ("kick",)) else []
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "scaler", *arguments, *given],
            env=self.env(env),
            cwd=self.folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def scaler(self, *arguments: str, env: Mapping[str, str] | None = None) -> Ran:
        """Run the command to its end."""
        process = self.start(*arguments, env=env)
        return self.end(process)

    def end(self, process: subprocess.Popen[str]) -> Ran:
        """What a started command came to."""
        out, err = process.communicate(timeout=60)
        outputs, summary = self.folder / "GITHUB_OUTPUT", self.folder / "GITHUB_STEP_SUMMARY"
        return Ran(
            process.returncode,
            out,
            err,
            key_values(outputs.read_text()) if outputs.exists() else {},
            summary.read_text() if summary.exists() else "",
        )

    def tick(self) -> Ran:
        """One tick, told as JSON."""
        return self.scaler("auto", "--json")

    def push(
        self,
        *names: str,
        repository: str = "acme/api",
        labels: tuple[str, ...] = ("self-hosted", "x64", "acme"),
        **more: Any,
    ) -> Any:
        """Queue jobs as one run."""
        return self.box.github.push(repository, [JobSpec(name=name, labels=labels, **more) for name in names])

    def advance(self, minutes: float) -> None:
        """Push the clock forward in steps of ten seconds, so that machines can act on the way."""
        for _ in range(int(minutes * 6)):
            self.box.clock.advance(10)

    def until(self, met: Callable[[], bool], seconds: float = 30) -> None:
        """Wait, in real time, until the world is so."""
        deadline = time.monotonic() + seconds
        with self.box.clock.lock:
            while not met():
                assert time.monotonic() < deadline, "the world did not get there"
                self.box.clock._changed.wait(0.05)

    def boot(self) -> None:
        """Let everything that was launched boot, until its runners are online."""
        alive = [instance.id for instance in self.box.aws.alive()]
        self.box.clock.advance(5)
        self.box.clock.advance(15)
        self.until(lambda: all(any(r.name.endswith(name) for r in self.online()) for name in alive))

    def kill(self, instance_id: str) -> None:
        """Somebody ends an instance in the console."""
        with self.box.clock.lock:
            self.box.aws.ec2.end(instance_id, "api")

    def tag(self, instance_id: str, key: str, value: str) -> None:
        """Somebody tags an instance in the console."""
        with self.box.clock.lock:
            instance = self.box.aws.instance(instance_id)
            assert instance is not None
            self.box.aws.ec2.retag(instance_id, {**instance.tags, key: value}, "somebody")

    def online(self) -> list[Any]:
        """The runners that are online."""
        return [runner for runner in self.box.github.registered() if runner.online]

    def left(self) -> dict[str, list[str]]:
        """What is left of ours in the world: nothing, when all went well."""
        return {
            "instances": [instance.id for instance in self.box.aws.alive()],
            "runners": [runner.name for runner in self.box.github.registered()],
            "parameters": [name for name in self.box.aws.parameter_names() if "/state" not in name],
        }


class WorldClock(RealClock):
    """The world's clock: to sleep is to push it forward, so that an hour's watch is over in no time."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock, self._start = clock, clock.now()

    def monotonic(self) -> float:
        """Seconds since the start."""
        return (self._clock.now() - self._start).total_seconds()

    def sleep(self, seconds: float) -> None:
        """Let them pass."""
        self._clock.advance(seconds)


NOTHING: dict[str, list[str]] = {"instances": [], "runners": [], "parameters": []}


@pytest.fixture(autouse=True)
def every_exchange_is_described(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold whatever any embedded GitHub of a test is asked and answers to GitHub's description."""
    begin = GitHubServer.__init__

    def begin_watched(server: GitHubServer, *args: Any, **kwargs: Any) -> None:
        begin(server, *args, **kwargs)
        server.observers.append(request.getfixturevalue("described"))

    monkeypatch.setattr(GitHubServer, "__init__", begin_watched)


@pytest.fixture(scope="session")
def debian() -> Path:
    """A Debian root that nobody writes to."""
    or_skip(lacking())
    return debian_root()


@pytest.fixture(scope="session")
def image(debian: Path, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The image: the root, and what the shipped provisioner installs in it."""
    folder = tmp_path_factory.mktemp("image")
    with runner_mirror(folder / "mirror") as (url, sha256):
        return provision(debian, folder, RUNNER_MIRROR=url, RUNNER_SHA256=sha256)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Whose certificates the image's machines trust."""
    return Authority(tmp_path_factory.mktemp("certificates"))


NOT_ALLOWED = """\
The scaler's role in aws/stack.yaml does not allow what this test's scaler did:
{}
Is it a call that the scaler needs? Then allow it there, as narrowly as it is asked for, with its source in
docs/security.md. What IAM is asked about a call stands in scaler/sandbox/aws/iam_checks.py."""


@pytest.fixture(autouse=True)
def every_call_is_allowed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ask a policy simulator whether the shipped role allows what a scaler did under it in this test."""
    held = request.node.get_closest_marker("another_fleet") is None
    asked: set[str] = set()
    checks: list[Check] = []
    begin = AwsServer.__init__

    def hear(call: Call) -> None:
        for check in call.checks if ":assumed-role/runner-scaler/" in call.principal else ():
            shown = iam.plain(check)
            if repr(shown) not in asked:
                asked.add(repr(shown))
                checks.append(shown)

    def begin_watched(server: AwsServer, *args: Any, **kwargs: Any) -> None:
        begin(server, *args, **kwargs)
        server.observers.append(hear)

    monkeypatch.setattr(AwsServer, "__init__", begin_watched)
    yield
    # At a desk without npm test_policies.py says that it is missing; CI must never pass by not having looked.
    if held and checks and (iam.SIMULATOR.exists() or os.environ.get("CI") == "true"):
        wrong = iam.refused(policies(), checks)
        assert not wrong, NOT_ALLOWED.format("\n".join(map(str, wrong)))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world whose clock stands still but for the test."""
    with Sandbox(tmp_path / "world", speed=0) as box:
        box.github.add_repository("acme/api")
        box.github.add_repository("acme/web")
        folder = tmp_path / "checkout"
        folder.mkdir()
        # The clock leaps; a runner process needs real time to say that it is still there.
        box.github.set(patience=10.0)
        yield World(box, folder)
        assert box.aws_server.mistakes == []
