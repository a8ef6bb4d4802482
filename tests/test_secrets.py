"""
Canaries: every secret that a run holds, looked for wherever a run may leave words.

The commands run as a job of GitHub Actions would run them, with every call logged, in success and in failure. The lines
that mask a secret are the one place where it may stand; GitHub takes them out of the log.
"""

from __future__ import annotations

import base64
import io
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from scaler.reporting.publish import Publisher
from scaler.sandbox.github.apps import App
from scaler.sandbox.github.faults import Fault, FaultKind
from scaler.sandbox.github.server import Exchange
from tests.conftest import Ran, World
from tests.test_github_app import INSTALLATION, KEY, PEM
from tests.watcher import Watcher

FILES = ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_ENV", "GITHUB_STATE")
TOKEN_POOL = ("    max: 5\n  arm64", "    max: 5\n    registration: token\n  arm64")


class Canaries:
    """The secrets of a world, caught as they come to be."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.held = {"the token": world.env()["GH_TOKEN"], "the ambient key": world.box.aws.ambient.secret}
        self.held["the job's bearer"] = world.box.oidc.env()["ACTIONS_ID_TOKEN_REQUEST_TOKEN"]
        _, *lines, _ = PEM.strip().splitlines()
        self.held |= {f"line {number} of the App's key": line for number, line in enumerate(lines)}
        world.box.github_server.observers.append(self._hear)
        assume = world.box.aws.iam.assume_with_web_identity

        def assumed(params: Any) -> Any:
            held, claims = assume(params)
            self.held["the id-token"] = params["WebIdentityToken"]
            self.held["the session's key"] = held.secret
            self.held["the session's token"] = held.token or ""
            return held, claims

        world.box.aws.iam.assume_with_web_identity = assumed  # type: ignore[method-assign]

    def _hear(self, exchange: Exchange) -> None:
        if exchange.status != 201:
            return
        answer = json.loads(exchange.response_body)
        if "encoded_jit_config" in answer:
            self.held["the JIT configuration"] = answer["encoded_jit_config"]
            members = json.loads(base64.b64decode(answer["encoded_jit_config"]))
            self.held["the runner's credential"] = json.loads(base64.b64decode(members[".credentials"]))["credential"]
        elif "token" in answer:
            minted = "the App's token" if exchange.path.endswith("/access_tokens") else "the registration token"
            self.held[minted] = answer["token"]

    def within(self, text: str) -> list[str]:
        """Which of them a text says, whole or in half."""
        return sorted(name for name, value in self.held.items() if value and value[: max(len(value) // 2, 12)] in text)


def left_by(world: World, ran: Ran) -> Iterator[tuple[str, str]]:
    """Everything that a run said or wrote, without the lines that mask."""
    for name, text in (("standard output", ran.out), ("standard error", ran.err)):
        yield name, "\n".join(line for line in text.splitlines() if not line.startswith("::add-mask "))
    for path in world.folder.iterdir():
        if path.is_file():
            yield path.name, path.read_text(errors="replace")
    aws = world.box.aws
    yield "instances, their tags and user data", repr(aws.instances())
    parameters = [(p.name, p.description, dict(p.tags)) for p in aws.ssm.parameters.values()]
    yield "parameters' names, descriptions and tags", repr(parameters)
    yield "the state", repr([p.value for name, p in aws.ssm.parameters.items() if name.endswith("/state")])
    yield "the journal", "\n".join(entry.to_json() for entry in world.box.journal)
    yield "AWS's audit log", repr([vars_of(call) for call in world.box.aws_server.calls])


def vars_of(call: Any) -> dict[str, Any]:
    """A call with its parameters, which its repr leaves out."""
    return {name: getattr(call, name) for name in call.__dataclass_fields__}


@contextmanager
def command_lines() -> Iterator[list[str]]:
    """The arguments of every process of this machine, looked at again and again."""
    seen: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    seen.add(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            over.wait(0.01)

    thread = threading.Thread(target=look)
    thread.start()
    found: list[str] = []
    try:
        yield found
    finally:
        over.set()
        thread.join()
        found += sorted(seen)


def run(world: World, *arguments: str) -> Ran:
    """A command in a job, with every call logged."""
    return world.scaler(*arguments, "--verbose", env=job_env(world))


def job_env(world: World) -> dict[str, str]:
    """The files that a job's steps write to."""
    return {name: str(world.folder / name) for name in FILES if name not in world.env()}


def healthy(world: World) -> Ran:
    """And its machine boots, whose processes have arguments too."""
    ran = run(world, "auto")
    world.boot()
    return ran


def by_token(world: World) -> Ran:
    world.amend(*TOKEN_POOL)
    return healthy(world)


def by_app(world: World, *arguments: str) -> Ran:
    """By an App's id and key, in place of a token."""
    world.box.github.apps.append(App(4711, "Iv23liAppOfTests", KEY.public_key(), installations=[INSTALLATION]))
    env = {"GH_TOKEN": "", "GH_APP_ID": "4711", "GH_APP_PRIVATE_KEY": PEM}
    return world.scaler(*(arguments or ("auto",)), "--verbose", env=job_env(world) | env)


def by_an_app_that_lacks_a_permission(world: World) -> Ran:
    world.box.github.fault(Fault(FaultKind.STATUS, path="generate-jitconfig", value=403, times=None))
    return by_app(world)


def ambient(world: World) -> Ran:
    world.oidc = False
    return run(world, "auto")


def planned(world: World) -> Ran:
    return run(world, "plan", "--json", str(world.folder / "plan.json"))


def status(world: World) -> Ran:
    run(world, "auto")
    return run(world, "status")


def up_and_down(world: World) -> Ran:
    up = run(world, "up", "-p", "amd64", "--repo", "acme/api")
    (number,) = [instance.id for instance in world.box.aws.alive()]
    down = run(world, "down", "-i", number, "--force")
    return Ran(down.code, up.out + down.out, up.err + down.err, {**up.outputs, **down.outputs}, down.summary)


def watched_and_stopped(world: World) -> Ran:
    process = world.start("auto", "--for", "1h", "--every", "1s", "--verbose", env=job_env(world))
    world.until(lambda: world.box.aws.alive() != [])
    process.send_signal(signal.SIGTERM)
    return world.end(process)


def crashed(world: World) -> Ran:
    """An exception that nobody expects: the disk is full when the document is written."""
    return run(world, "auto", "--json", "/dev/full")


def github(kind: FaultKind, path: str, value: float | None = None) -> Callable[[World], Ran]:
    def failing(world: World) -> Ran:
        world.box.github.fault(Fault(kind, path=path, value=value, times=None))
        return run(world, "auto")

    return failing


def aws(action: str, **fault: Any) -> Callable[[World], Ran]:
    def failing(world: World) -> Ran:
        world.box.aws.fail(action, times=None, **fault)
        return run(world, "auto")

    return failing


def denied(world: World) -> Ran:
    world.box.aws.iam.deny("ssm:PutParameter", resource="*/i-*")
    return run(world, "auto")


def distrusted(world: World) -> Ran:
    world.box.oidc.job = world.box.oidc.job.__class__(repository="acme/other")
    return run(world, "auto")


def refused(world: World) -> Ran:
    world.box.github.tokens.clear()
    return run(world, "auto")


SESSION = {"the token", "the job's bearer", "the id-token", "the session's key", "the session's token"}
JIT = SESSION | {"the JIT configuration", "the runner's credential"}
RUNS: list[Any] = [
    pytest.param(healthy, 0, JIT, id="auto"),
    pytest.param(by_token, 0, SESSION | {"the registration token"}, id="auto by registration token"),
    pytest.param(by_app, 0, JIT - {"the token"} | {"the App's token"}, id="auto by an App"),
    pytest.param(by_an_app_that_lacks_a_permission, 3, {"the App's token"}, id="an App that lacks a permission"),
    pytest.param(ambient, 0, {"the ambient key"}, id="auto with ambient credentials"),
    pytest.param(planned, 0, SESSION, id="plan"),
    pytest.param(status, 0, JIT, id="status"),
    pytest.param(up_and_down, 0, JIT, id="up and down"),
    pytest.param(watched_and_stopped, 143, JIT, id="a watch and SIGTERM"),
    pytest.param(crashed, 1, JIT, id="a crash"),
    pytest.param(github(FaultKind.STATUS, "/repos/", 500), 4, SESSION, id="GitHub answers 500"),
    pytest.param(github(FaultKind.LOST, "generate-jitconfig"), 4, SESSION, id="a minted secret's answer is lost"),
    pytest.param(github(FaultKind.STATUS, "generate-jitconfig", 422), 4, SESSION, id="minting is refused"),
    pytest.param(aws("ssm:PutParameter", kind="http500"), 4, JIT, id="puts answer 500"),
    pytest.param(aws("ssm:PutParameter", code="ValidationException", status=400), 4, JIT, id="puts are invalid"),
    pytest.param(aws("ec2:*", code="InternalError", status=500), 4, SESSION, id="EC2 fails"),
    pytest.param(denied, 3, JIT, id="puts of secrets are denied"),
    pytest.param(distrusted, 3, {"the token", "the job's bearer"}, id="the role does not trust the job"),
    pytest.param(refused, 3, SESSION, id="GitHub refuses the token"),
]


@pytest.mark.parametrize(("what", "code", "held"), RUNS)
def test_no_secret_is_said_or_left_anywhere(
    world: World, described: Watcher, what: Callable[[World], Ran], code: int, held: set[str]
) -> None:
    """The original printed its registration token into the public log (RG-60)."""
    world.in_actions = True
    canaries = Canaries(world)
    world.push("build")
    with command_lines() as lines:
        ran = what(world)
    assert ran.code == code, ran.said
    assert held <= set(canaries.held), "the run did not come to hold what it should not tell"
    found = {where: names for where, text in left_by(world, ran) if (names := canaries.within(text))}
    assert found == {}
    assert [name for line in lines for name in canaries.within(line)] == []
    assert "GitHub GET" in ran.said or code == 3
    assert described is not None


def test_masks_from_several_threads_are_not_torn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that another cuts in on masks nothing."""
    writing, met = threading.Lock(), threading.Event()

    class Stream(io.StringIO):
        def write(self, text: str) -> int:
            if not writing.acquire(blocking=False):
                met.set()
                return 0
            met.wait(0.1)  # time enough for another to come
            writing.release()
            return super().write(text)

    monkeypatch.setattr(sys, "stdout", stream := Stream())
    publisher = Publisher({"GITHUB_ACTIONS": "true"})
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(publisher.mask, ["one", "two"]))
    assert not met.is_set()
    assert sorted(stream.getvalue().splitlines()) == ["::add-mask ::one", "::add-mask ::two"]
