"""From a launched instance to its runner: whose it is, what it is called, who tells it its secret and who hears that."""

from __future__ import annotations

import json
import subprocess
import threading
from queue import SimpleQueue
from typing import Any
from urllib.parse import unquote

import pytest

from scaler.sandbox.aws.iam_world import Credentials
from scaler.sandbox.aws.server import Call
from scaler.sandbox.demo.job_process import MASK
from scaler.sandbox.github.server import Exchange
from scaler.sandbox.machines.faults import FaultKind, MachineFault
from tests.conftest import ROLE, World


def register_by_token(world: World) -> None:
    """Have amd64's runners register by themselves."""
    world.amend("    max: 5\n  arm64", "    max: 5\n    registration: token\n  arm64")


# --- its name ------------------------------------------------------------------------------------


def test_fleets_of_one_name_in_another_account_or_region_name_their_runners_otherwise(world: World) -> None:
    """Else one fleet would take the other's runners in a repository they share for ghosts of its own."""

    def prefix() -> str:
        assert world.scaler("up", "-a", "amd64", "--repo", "acme/api").code == 0
        instance, runner = world.box.aws.alive()[-1], world.box.github.registered()[-1]
        assert runner.name.endswith(f"-{instance.id}")
        return runner.name.removesuffix(instance.id)

    here = prefix()
    assert here.startswith("main-")
    world.oidc = False
    assert prefix() == here  # the account of ambient credentials is asked for, and is the same
    world.amend(f', role: "{ROLE}"', "")  # with it, credentials of another account are refused
    world.box.aws.configure({"account": "444455556666", "seed": 2})
    other_account = prefix()
    world.box.aws.configure({"account": "111122223333", "region": "eu-central-1", "seed": 3})
    world.amend("us-east-1", "eu-central-1")
    other_region = prefix()
    assert all(each.startswith("main-") and len(each) == len("main-1a2b3c-") for each in (other_account, other_region))
    assert len({here, other_account, other_region}) == 3
    world.amend("fleet: main", "fleet: mine")
    assert prefix().removeprefix("mine-") != other_region.removeprefix("main-")


# --- who hands it over ---------------------------------------------------------------------------


@pytest.mark.parametrize("registration", ["jit", "token"])
def test_of_two_hand_overs_the_first_put_counts_and_the_other_takes_back_what_it_minted(
    world: World, registration: str
) -> None:
    """The first one registers by token in either case: of one name no two JIT configurations can be minted."""
    by_jit = world.config.read_text()
    register_by_token(world)
    world.box.machines.faults.append(MachineFault(FaultKind.HANG))  # else it reads and deletes the parameter
    world.push("build")
    asked: list[Exchange] = []
    second: list[subprocess.Popen[str]] = []
    minted = threading.Event()

    def meet(exchange: Exchange) -> None:
        """Both have minted before either puts; then the first one does."""
        asked.append(exchange)
        if exchange.method == "POST" and not second:
            world.box.clock.advance(100)
            if registration == "jit":
                world.configure(by_jit)
            second.append(world.start("auto", "--json"))
            assert minted.wait(20)
        elif exchange.method == "POST":
            minted.set()
            world.until(lambda: world.left()["parameters"] != [])

    world.box.github_server.observers.append(meet)
    assert world.tick().commands() == ["launch done"]
    assert world.end(second[0]).commands() == ["handover taken by another tick"]
    (name,) = world.left()["parameters"]
    assert json.loads(world.box.aws.ssm.parameters[name].value)["registration"] == "token"
    records = [json.loads(each.response_body)["runner"]["id"] for each in asked if each.path.endswith("jitconfig")]
    assert len(records) == (registration == "jit")
    deleted = [each.path for each in asked if each.method == "DELETE"]
    assert deleted == [f"/repos/acme/api/actions/runners/{record}" for record in records]
    assert world.left()["runners"] == []


# --- who hears of it -----------------------------------------------------------------------------


def masked_until(world: World, name: str) -> list[str]:
    """What a tick in Actions has had masked when AWS gets this call of it; there it is killed."""
    world.in_actions = True
    started: SimpleQueue[subprocess.Popen[str]] = SimpleQueue()

    def kill(call: Call) -> None:
        if call.name == name and not str(call.params.get("Name")).endswith("/state"):
            started.get(timeout=20).kill()

    world.box.aws_server.observers.append(kill)
    process = world.start("auto")
    started.put(process)
    return [unquote(mask) for mask in MASK.findall(world.end(process).out)]


@pytest.mark.parametrize("registration", ["jit", "token"])
def test_a_registration_secret_is_masked_before_it_is_put(world: World, registration: str) -> None:
    if registration == "token":
        register_by_token(world)
    world.push("build")
    masked = masked_until(world, "ssm:PutParameter")
    (name,) = world.left()["parameters"]
    assert json.loads(world.box.aws.ssm.parameters[name].value)["secret"] in masked
    assert world.env()["GH_TOKEN"] in masked


def test_what_opens_aws_is_masked_before_it_is_used(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    issuer, iam = world.box.aws.issuer, world.box.aws.iam
    mint, session = issuer.mint, iam.session
    tokens: list[str] = []
    sessions: list[Credentials] = []

    def minted(*args: Any, **more: Any) -> str:
        tokens.append(mint(*args, **more))
        return tokens[-1]

    def begun(*args: Any) -> Credentials:
        sessions.append(session(*args))
        return sessions[-1]

    monkeypatch.setattr(issuer, "mint", minted)
    monkeypatch.setattr(iam, "session", begun)
    assert set(tokens) < set(masked_until(world, "sts:AssumeRoleWithWebIdentity"))
    world.box.aws_server.observers.clear()
    masked = masked_until(world, "ec2:DescribeInstances")
    assert len(tokens) == len(sessions) == 2
    assert {tokens[1], sessions[1].access_key, sessions[1].secret, sessions[1].token} < set(masked)
