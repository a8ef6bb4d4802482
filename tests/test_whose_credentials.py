"""Whose AWS credentials are used: a job's role before all that is ambient, and of that what the SDK finds first."""

from __future__ import annotations

import pytest

from tests.conftest import ROLE, World

OURS = "arn:aws:sts::111122223333:assumed-role/runner-scaler/runner-scaler"
OTHER_ROLE = "arn:aws:iam::111122223333:role/other"
SECRET = "AWS_SECRET_ACCESS_KEY"


def user(name: str) -> str:
    return f"arn:aws:iam::111122223333:user/{name}"


def written(world: World, **profiles: str) -> dict[str, str]:
    """A shared config file with the keys of a user in each of these profiles, and another role in the default one."""
    lines = ["[default]", f"role_arn = {OTHER_ROLE}", "source_profile = base", "region = eu-west-1"]
    for profile, name in profiles.items():
        held = world.box.aws.iam.user(name)
        lines += [f"[profile {profile}]", f"aws_access_key_id = {held.access_key}"]
        lines += [f"aws_secret_access_key = {held.secret}", "region = eu-west-1"]
    file = world.folder / "aws.config"
    file.write_text("\n".join(lines) + "\n")
    return {"AWS_CONFIG_FILE": str(file)}


def keys(world: World, name: str) -> dict[str, str]:
    held = world.box.aws.iam.user(name)
    return {"AWS_ACCESS_KEY_ID": held.access_key, SECRET: held.secret}


def principals(world: World) -> set[str]:
    """Who has asked AWS for anything, but for the exchange itself, which takes no credentials."""
    return {call.principal for call in world.box.aws_server.calls} - {"anonymous"}


AMBIENT = ["keys", "profile", "keys and a profile", "web identity", "container", "region"]


@pytest.mark.parametrize("beside", AMBIENT)
def test_the_role_by_the_jobs_token_goes_before_all_that_is_ambient(world: World, beside: str) -> None:
    file = written(world, base="based", other="profiled")
    env = {
        "keys": keys(world, "keyed"),
        "profile": {"AWS_PROFILE": "other"},
        "keys and a profile": {**keys(world, "keyed"), "AWS_PROFILE": "other"},
        "web identity": {"AWS_ROLE_ARN": OTHER_ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": str(world.folder / "none")},
        "container": {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/"},
        "region": {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-1"},
    }[beside]
    world.push("build")
    ran = world.scaler("auto", env=file | env)
    assert ran.code == 0, ran.said
    assert principals(world) == {OURS}
    assert len(world.box.aws.alive()) == 1


@pytest.mark.parametrize(
    ("keyed", "profile", "expected"),
    [
        pytest.param(True, "other", "keyed", id="keys go before a profile"),
        pytest.param(False, "other", "profiled", id="a profile goes before the default one"),
        pytest.param(True, "", "keyed", id="keys go before the default profile"),
    ],
)
def test_without_a_token_it_is_what_the_sdk_finds_first_and_the_role_is_not_assumed(
    world: World, profile: str, expected: str, *, keyed: bool
) -> None:
    world.oidc = False
    env = written(world, other="profiled") | {"AWS_PROFILE": profile}
    env |= keys(world, "keyed") if keyed else {"AWS_ACCESS_KEY_ID": "", SECRET: ""}
    ran = world.scaler("auto", env={name: value for name, value in env.items() if value or name != "AWS_PROFILE"})
    assert ran.code == 0, ran.said
    assert principals(world) == {user(expected)}


def test_without_a_role_it_is_what_is_ambient_whatever_token_the_job_may_have(world: World) -> None:
    world.amend(f', role: "{ROLE}"', "")
    ran = world.scaler("auto", env=keys(world, "keyed"))
    assert ran.code == 0, ran.said
    assert principals(world) == {user("keyed")}


@pytest.mark.parametrize("oidc", [True, False], ids=["role by OIDC", "ambient credentials"])
@pytest.mark.parametrize(
    ("env", "told"),
    [
        pytest.param({"AWS_PROFILE": "typo"}, "(The config profile (typo) could not be found)", id="profile"),
        pytest.param({"AWS_CONFIG_FILE": "broken"}, "(Unable to parse config file: ", id="file"),
    ],
)
def test_a_profile_that_is_not_there_or_a_file_that_is_none_is_told_in_a_line(
    world: World, env: dict[str, str], told: str, *, oidc: bool
) -> None:
    """The SDK makes no client then, whoever's the credentials are: it is not passed over."""
    (world.folder / "broken").write_text("no [ini\n")
    world.oidc = oidc
    ran = world.scaler("auto", env={"AWS_ACCESS_KEY_ID": "", SECRET: "", **env})
    assert ran.code == 3
    assert ran.err.startswith(f"error: AWS: the SDK's settings here cannot be used {told}")
    assert ("no\ncredentials are taken from there" in ran.err) is oidc
    assert "Traceback" not in ran.said
