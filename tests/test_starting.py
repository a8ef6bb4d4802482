"""
What a start costs before the first request, without a clock: what is loaded, in which order, and what is not at all.

`python -X importtime` tells each module when it has been loaded.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from scaler.sandbox.loopback import HttpAnswer, HttpRequest, LoopbackServer
from tests.conftest import ROLE, World

SDKS = {"boto3", "botocore", "github", "s3transfer", "jwt", "cryptography", "nacl"}
NEVER = {"moto", "scaler.sandbox", "pytest", "hypothesis", "jsonschema"}


def loaded(world: World, *arguments: str, env: Mapping[str, str] | None = None) -> list[str]:
    """The modules that a run loads, in order."""
    process = world.start(*arguments, env={"PYTHONPROFILEIMPORTTIME": "1", **dict(env or {})})
    ran = world.end(process)
    return [line.rpartition("|")[2].strip() for line in ran.err.splitlines() if line.startswith("import time:")]


def first(modules: list[str], names: set[str]) -> int:
    """Where the first of these, or of their parts, is."""
    places = [place for place, module in enumerate(modules) if names & {module, *parents(module)}]
    return min(places, default=len(modules))


def parents(module: str) -> set[str]:
    parts = module.split(".")
    return {".".join(parts[:length]) for length in range(1, len(parts))}


def test_the_jobs_token_is_asked_for_before_any_sdk_is_loaded(world: World) -> None:
    """The token is the first thing that a run with a role asks for; it comes while all else is loaded."""
    modules = loaded(world, "auto")
    asked = modules.index("scaler.aws.job_token")
    assert asked < first(modules, SDKS) < len(modules)
    assert asked < first(modules, {"scaler.decide", "scaler.reporting.report", "scaler.reconcile"})


def test_githubs_sdk_is_loaded_after_awss(world: World) -> None:
    """AWS's is loaded first: its first answer comes while GitHub's is loaded. Two at once would but share one thread."""
    world.oidc = False
    modules = loaded(world, "auto")
    assert modules.index("boto3.session") < first(modules, {"github"}) < len(modules)


@pytest.mark.parametrize("oidc", [True, False], ids=["role by OIDC", "ambient credentials"])
def test_a_tick_loads_nothing_of_the_sandbox_or_the_tests(world: World, *, oidc: bool) -> None:
    world.oidc = oidc
    modules = loaded(world, "auto")
    assert "scaler.decide" in modules
    assert first(modules, NEVER) == len(modules)


@pytest.mark.parametrize(
    ("arguments", "config"),
    [
        pytest.param(("schema",), None, id="schema"),
        pytest.param(("--help",), None, id="help"),
        pytest.param(("auto",), "version: 1\n", id="a config that is wrong"),
        pytest.param(("up", "--count", "many"), None, id="an input that is wrong"),
    ],
)
def test_what_asks_nobody_loads_no_sdk(world: World, arguments: tuple[str, ...], config: str | None) -> None:
    if config is not None:
        world.configure(config)
    modules = loaded(world, *arguments)
    assert "scaler" in modules
    assert first(modules, SDKS | {"requests", "scaler.decide"}) == len(modules)


def test_without_a_role_no_token_is_asked_for(world: World) -> None:
    """A job may have the permission for another step's sake: a token that nobody needs is not made."""
    world.amend(f', role: "{ROLE}"', "")
    asked: list[str] = []

    def respond(request: HttpRequest) -> HttpAnswer:
        asked.append(request.target)
        return HttpAnswer(403)

    server = LoopbackServer(respond, "tokens")
    server.start()
    env = {"ACTIONS_ID_TOKEN_REQUEST_URL": server.url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "made-up"}
    ran = world.scaler("auto", env=env | dict(world.box.aws.env()))
    server.stop()
    assert (ran.code, asked) == (0, []), ran.said
