"""A GitHub App as credentials: its id and key in, tokens of its installation minted, renewed, refused with a remedy."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from scaler.__main__ import main
from scaler.sandbox.aws.oidc import real_now
from scaler.sandbox.github.apps import App, Installation
from scaler.sandbox.github.faults import Fault, FaultKind
from scaler.sandbox.github.server import Exchange
from tests.conftest import Ran, World, WorldClock

PERMISSIONS = {"metadata": "read", "actions": "read", "administration": "write", "contents": "read"}
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
INSTALLATION = Installation(501, "acme", PERMISSIONS)


def pem(key: rsa.RSAPrivateKey) -> str:
    """As GitHub lets it be downloaded: PKCS#1."""
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    return key.private_bytes(*form).decode()


PEM = pem(KEY)


@pytest.fixture
def app(world: World) -> App:
    """An App of ours, installed for all of acme's repositories."""
    app = App(4711, "Iv23liAppOfTests", KEY.public_key(), installations=[INSTALLATION])
    world.box.github.apps.append(app)
    return app


def with_app(world: World, *words: str, key: str = PEM, app_id: str = "4711", **env: str) -> Ran:
    return world.scaler(*words, env={"GH_TOKEN": "", "GH_APP_ID": app_id, "GH_APP_PRIVATE_KEY": key} | env)


def minted(world: World) -> list[dict[str, Any]]:
    """The bodies by which tokens were asked for, as they come."""
    found: list[dict[str, Any]] = []

    def note(each: Exchange) -> None:
        if each.path.endswith("/access_tokens"):
            found.append(json.loads(each.request_body))

    world.box.github_server.observers.append(note)
    return found


@pytest.mark.parametrize("app_id", [pytest.param("4711", id="id"), pytest.param("Iv23liAppOfTests", id="client id")])
def test_an_app_does_what_a_token_does_with_no_more_than_it_needs(world: World, app: App, app_id: str) -> None:
    asked = minted(world)
    world.push("build")
    ran = with_app(world, "auto", app_id=app_id)
    assert ran.code == 0, ran.said
    assert len(world.box.aws.alive()) == 1
    assert asked == [{"permissions": {"actions": "read", "administration": "write", "metadata": "read"}}]
    assert app.installations == [INSTALLATION]


def test_an_organizations_installation_is_found_by_its_name(world: World, app: App) -> None:
    world.box.github.add_organization("acme")
    for name in ("acme/api", "acme/web"):
        world.box.github.add_repository(name)
    wanted = {"metadata": "read", "actions": "read", "organization_self_hosted_runners": "write"}
    app.installations[:] = [Installation(502, "acme", wanted)]
    world.box.github.add_group("acme", "Default", visibility="selected", repositories=["acme/api", "acme/web"])
    world.amend("repositories:", "github: {register_at: organization, organization: acme}\nrepositories:")
    asked = minted(world)
    ran = with_app(world, "auto")
    assert ran.code == 0, ran.said
    assert asked == [{"permissions": wanted}]


def test_a_key_whose_line_breaks_were_written_out_is_read(world: World, app: App) -> None:
    assert with_app(world, "plan", key=PEM.replace("\n", "\\n")).code == 0
    assert app.id == 4711


def test_a_kick_by_an_app_asks_for_actions_alone(world: World, app: App) -> None:
    app.installations[:] = [Installation(503, "acme", {"metadata": "read", "actions": "write"})]
    world.box.github.add_repository("acme/scaler")
    world.box.github.add_workflow("acme/scaler", "Autoscale", [], ".github/workflows/autoscale.yml")
    asked = minted(world)
    ran = with_app(world, "kick", "--scaler", "acme/scaler")
    assert ran.code == 0, ran.said
    assert asked == [{"permissions": {"actions": "write", "metadata": "read"}}]


@pytest.fixture
def handlers() -> Iterator[None]:
    """The signals' handlers, put back after a `main` in this process."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_a_watch_of_hours_mints_a_new_token_before_the_old_one_ends(
    world: World, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token is good for an hour of GitHub's clock; no request goes out with one that has ended."""
    env = world.env({"GH_TOKEN": "", "GH_APP_ID": "4711", "GH_APP_PRIVATE_KEY": PEM})
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("scaler.__main__.RealClock", lambda: WorldClock(world.box.clock))
    statuses: list[int] = []
    world.box.github_server.observers.append(lambda each: statuses.append(each.status))
    asked = minted(world)
    words = ["auto", "--config", str(world.config), "--for", "3h", "--every", "10m", "--linger", "1d"]
    assert main(words, env) == 0
    assert len(asked) == 4
    assert 401 not in statuses
    assert app.installations == [INSTALLATION]


# --- refusals ------------------------------------------------------------------------------------


def test_an_app_that_is_not_installed_there_is_told_so(world: World, app: App) -> None:
    app.installations[:] = [Installation(504, "acme", PERMISSIONS, frozenset({"acme/web"}))]
    ran = with_app(world, "auto")
    assert ran.code == 3
    assert "GitHub App: not installed for acme/api" in ran.err
    assert "Install App" in ran.err


def test_an_app_that_lacks_a_permission_is_told_which_it_needs(world: World, app: App) -> None:
    app.installations[:] = [Installation(505, "acme", {**PERMISSIONS, "administration": "read"})]
    ran = with_app(world, "auto")
    assert ran.code == 3
    assert "lacks a permission in acme/api" in ran.err
    assert "    administration: write" in ran.err


def test_a_key_of_another_app_and_a_clock_that_is_off_are_told(
    world: World, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = with_app(world, "auto", key=pem(OTHER))
    assert ran.code == 3
    assert "id and private key do not fit, or this clock is off" in ran.err
    monkeypatch.setattr("scaler.sandbox.github.apps_api.real_now", lambda: real_now() - timedelta(minutes=5))
    ran = with_app(world, "auto")
    assert ran.code == 3
    assert "'Issued at' claim" in ran.err
    assert app.installations == [INSTALLATION]


def test_github_without_an_answer_for_a_token_is_no_matter_of_credentials(world: World, app: App) -> None:
    world.box.github.fault(Fault(FaultKind.STATUS, path=r"/app/.*", value=502, times=None))
    world.push("build")
    ran = with_app(world, "auto")
    assert ran.code == 4
    assert world.box.aws.alive() == []
    assert app.installations == [INSTALLATION]


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({"GH_APP_ID": "4711"}, "GH_APP_PRIVATE_KEY: empty; an App takes its id and a private key of it"),
        ({"GH_APP_PRIVATE_KEY": PEM}, "GH_APP_ID: empty; an App takes its id and a private key of it"),
        ({"GH_APP_ID": "my app", "GH_APP_PRIVATE_KEY": PEM}, 'GH_APP_ID: "my app" is no App\'s id; write its number'),
        (
            {"GH_APP_ID": "4711", "GH_APP_PRIVATE_KEY": PEM.replace("\n", " ")},
            "GH_APP_PRIVATE_KEY: not a private key in PEM (not shown)",
        ),
    ],
)
def test_half_an_app_is_a_matter_of_credentials(world: World, env: dict[str, str], told: str) -> None:
    ran = world.scaler("plan", env={"GH_TOKEN": "", **env})
    assert ran.code == 3
    assert told in ran.err
    assert PEM.splitlines()[5] not in ran.said


def test_a_key_that_is_none_inside_is_told_without_showing_it(world: World, app: App) -> None:
    begin, *_, end = PEM.splitlines()
    ran = with_app(world, "plan", key=f"{begin}\n{'QUJD' * 16}\n{end}\n")
    assert ran.code == 3
    assert "the private key is none, or not whole" in ran.err
    assert "QUJD" not in ran.said
    assert app.installations == [INSTALLATION]


def test_an_app_for_two_owners_is_refused_in_one_line(world: World) -> None:
    world.amend("acme/web", "globex/web")
    ran = with_app(world, "auto")
    assert ran.code == 2
    assert "config has repositories of acme, globex; make a fleet for each" in ran.err


def test_key_and_tokens_are_masked_before_they_are_used_and_never_told(world: World, app: App) -> None:
    world.in_actions = True
    ran = with_app(world, "auto", "-v")
    assert ran.code == 0
    masked = {line.partition("::add-mask")[2].lstrip(" :") for line in ran.out.splitlines() if "::add-mask" in line}
    tokens = {value for value, token in world.box.github.tokens.items() if token.kind == "app"}
    assert tokens
    assert set(PEM.splitlines()) | tokens <= masked
    told = "\n".join(line for line in ran.said.splitlines() if "::add-mask" not in line)
    assert not [secret for secret in (*PEM.splitlines()[1:-1], *tokens) if secret in told]
    assert app.installations == [INSTALLATION]
