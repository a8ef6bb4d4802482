"""
A hundred runners launched, each with its secret: ours, the bound that the buckets set, and the original's way.

Ours runs the shipped `act` over HTTP, in threads and real time. The original did one thing after the other, so its time
is the sum of its waits: it is played in virtual time, without the CPU time that it took beside.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import boto3

from benchmarks.launching_rig import AWS, GITHUB, LAUNCH, REPOSITORY, TOKEN, metered
from scaler.act import Actor
from scaler.aws.api import AwsApi
from scaler.clock import RealClock
from scaler.github.api import GitHubApi
from scaler.model import Launch, Market, Memory, Plan, Reason, Snapshot, Terms
from scaler.sandbox.aws.settings import PUBLISHED_THROTTLES
from scaler.sandbox.aws.world import AwsWorld
from scaler.sandbox.github.server import GitHubServer
from scaler.sandbox.github.world import GitHubWorld
from scaler.sandbox.journal import Journal
from scaler.settings.config import Config, load
from simulation.wire import TOKEN as DIRECT_TOKEN
from simulation.wire import DirectGitHub, DirectSession, LoneClock, Tap, VirtualClock

RUNNERS, ROUNDS = 100, 1
PUTS = (3, 40)
REGISTRATIONS = ("jit", "token")
PAUSE = 10.0
"""Seconds that the original slept after each launch."""
CONFIG = """\
version: 1
fleet: main
aws: {{region: us-east-1, parameter_writes_per_second: {puts}}}
repositories: [{repository}]
max_runners: 1000
pools:
  amd64:
    arch: amd64
    labels: [self-hosted, linux, x64, acme]
    launch_template: {{name: runner-amd64, version: 3}}
    registration: {registration}
    max: 1000
"""


@dataclass(frozen=True, slots=True)
class Row:
    """What launching came to, one way of registering at one rate of PutParameter."""

    registration: str
    puts: int
    runners: int
    round: int
    seconds: float
    bound: float
    original: float
    original_as_shipped: float
    throttles: int
    handed_over: int
    calls: Mapping[str, int]

    @property
    def ratio(self) -> float:
        """Of ours to the bound."""
        return self.seconds / self.bound


# --- the bound -----------------------------------------------------------------------------------


def bound(registration: str, puts: int, runners: int) -> float:
    """
    Seconds that nobody can be faster than: the longest wait for a bucket, and one runner's own way before and after it.

    The states that ours writes, its looks and its tags are not in it; GitHub takes 180 mintings a minute.
    """
    at_once, a_second = PUBLISHED_THROTTLES["CreateFleet"]
    waits = ((runners - at_once) / a_second, (runners - puts) / puts, 0.0)
    return LAUNCH + (GITHUB if registration == "jit" else 0.0) + max(waits) + AWS


# --- ours ----------------------------------------------------------------------------------------


@contextmanager
def _rig(puts: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "benchmarks.launching_rig", "--puts", str(puts)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def _told(rig: subprocess.Popen[str], word: str = "") -> Any:
    assert rig.stdin is not None
    assert rig.stdout is not None
    if word:
        print(word, file=rig.stdin, flush=True)
    return json.loads(rig.stdout.readline())


def _config(registration: str, puts: int) -> Config:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(CONFIG.format(repository=REPOSITORY, registration=registration, puts=puts))
        return load(path)


def ours(registration: str, puts: int, runners: int) -> tuple[float, Any]:
    """Seconds of `act`, and what the servers were asked meanwhile."""
    with _rig(puts) as rig:
        env = _told(rig)
        with patch.dict(os.environ, env):
            return _acted(rig, env["GITHUB_API_URL"], registration, puts, runners)


def _acted(
    rig: subprocess.Popen[str], github_url: str, registration: str, puts: int, runners: int
) -> tuple[float, Any]:
    clock, config = RealClock(), _config(registration, puts)
    github, cloud = GitHubApi(TOKEN, github_url, clock), AwsApi(config, boto3.Session(), clock)
    actor = Actor(config, github, cloud, mask=lambda _: None, clock=clock)
    # A tick has looked before it acts: its clients are there.
    snapshot = Snapshot(github.now(), "main-1a2b3c-", instances=cloud.instances())
    cloud.load_state()
    launches = [
        Launch("amd64", slot, 1, True, False, (Terms(Market.ON_DEMAND),), REPOSITORY, Reason.LAUNCHING, "")
        for slot in range(runners)
    ]
    _told(rig, "forget")
    began = time.perf_counter()
    actor.act(Plan(tuple(launches), memory=Memory(start=0)), snapshot, lambda: False)
    return time.perf_counter() - began, _told(rig, "tell")


# --- the original --------------------------------------------------------------------------------


def original(puts: int, runners: int, pause: float) -> float:
    """
    The predecessor's way, written anew from its description (docs/lineage.md), in virtual seconds.

    One runner after the other: a token, one RunInstances, three parameters, a pause.
    """
    clock = LoneClock(datetime(2026, 11, 24, 12, tzinfo=UTC))
    journal = Journal(clock)
    world, hub = AwsWorld(clock, journal), GitHubWorld(clock, journal)
    metered(world, hub, puts)
    server, tap, own = GitHubServer(hub), Tap(clock, latency=0.0), VirtualClock(clock)
    hub.add_token(DIRECT_TOKEN)
    github = DirectGitHub(server, tap, own)
    session = DirectSession(world, tap)
    ec2, ssm = session.client("ec2"), session.client("ssm")
    for _ in range(runners):
        token = github.token_secret(REPOSITORY).value
        template = {"LaunchTemplateName": "runner-amd64", "Version": "3"}
        launched = ec2.run_instances(LaunchTemplate=template, MinCount=1, MaxCount=1)
        number = launched["Instances"][0]["InstanceId"]
        for name, value in (("token", token), ("url", github.registration_url(REPOSITORY)), ("name", number)):
            ssm.put_parameter(Name=f"/{number}/{name}", Value=value, Type="String")
        own.sleep(pause)
    server.stop()
    return own.monotonic()


# --- all of it -----------------------------------------------------------------------------------


def measured(rounds: int = ROUNDS, runners: int = RUNNERS, puts: Sequence[int] = PUTS) -> list[Row]:
    """Every way of registering at every rate, so many times over."""
    rows = []
    slow = {rate: (original(rate, runners, 0.0), original(rate, runners, PAUSE)) for rate in puts}
    for number in range(rounds):
        for rate in puts:
            for registration in REGISTRATIONS:
                seconds, told = ours(registration, rate, runners)
                best = bound(registration, rate, runners)
                row = Row(registration, rate, runners, number, seconds, best, *slow[rate], **told)
                rows.append(row)
                said = f"{registration} at {rate} puts a second: {seconds:.1f} s, {row.ratio:.2f} x the bound"
                print(f"round {number + 1}: {said}", file=sys.stderr, flush=True)
    return rows


def document(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows as JSON has them."""
    return [{**asdict(row), "ratio": row.ratio} for row in rows]


HEAD = ("registration", "PutParameter/s", "seconds", "bound", "× bound", "calls", "throttles", "handed over",
        "the original's way", "… as shipped", "times faster", "… than as shipped")  # fmt: skip


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Medians over the rounds."""
    yield "| " + " | ".join(HEAD) + " |"
    yield "|" + " --- |" * len(HEAD)
    for registration, puts in dict.fromkeys((row.registration, row.puts) for row in rows):
        mine = [row for row in rows if (row.registration, row.puts) == (registration, puts)]
        seconds, first = median(row.seconds for row in mine), mine[0]
        calls = median(sum(row.calls.values()) for row in mine)
        cells = (
            registration, puts, f"{seconds:.1f}", f"{first.bound:.1f}", f"{median(row.ratio for row in mine):.2f}",
            f"{calls:.0f}", sum(row.throttles for row in mine), min(row.handed_over for row in mine),
            f"{first.original:.0f}", f"{first.original_as_shipped:.0f}",
            f"{first.original / seconds:.1f}", f"{first.original_as_shipped / seconds:.0f}",
        )  # fmt: skip
        yield "| " + " | ".join(map(str, cells)) + " |"


def main(arguments: Sequence[str]) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.launching", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--runners", type=int, default=RUNNERS)
    parser.add_argument("--json", type=Path, default=Path("build/launching.json"))
    asked = parser.parse_args(arguments)
    rows = measured(asked.rounds, asked.runners)
    print("\n".join(table(rows)))
    for row in rows[: len(PUTS) * len(REGISTRATIONS)]:
        print(f"{row.registration} at {row.puts}: " + ", ".join(f"{name} {n}" for name, n in sorted(row.calls.items())))
    asked.json.parent.mkdir(exist_ok=True)
    asked.json.write_text(json.dumps(document(rows), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
