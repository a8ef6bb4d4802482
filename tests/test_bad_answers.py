"""
Bad input that comes over the wire: tokens, credentials and rows that are wrong, each told in one line.

Where, what was found, how to mend it; the right exit code; nothing launched or ended on its account.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest

from scaler.sandbox.github.faults import Fault, FaultKind
from tests.conftest import NOTHING, ROLE, Ran, World
from tests.watcher import Watcher

JOBS, RUNNERS = "/jobs$", "/actions/runners$"
TOKEN = "ghp_" + "z" * 36


def told(ran: Ran) -> list[str]:
    """The lines of standard error that are problems."""
    return [line for line in ran.err.splitlines() if line.startswith(("error: ", "warning: "))]


def odd(world: World, path: str, **values: Any) -> None:
    """From now on every row of this list has these values."""
    world.box.github.fault(Fault(FaultKind.ODD, path=path, times=None, odd=values))


# --- 45: the token -------------------------------------------------------------------------------

TOKENS: list[Any] = [
    pytest.param(
        None,
        3,
        r'error: not seen: runners acme/api: GitHub: /repos/acme/api/actions/runners: the token is not valid \(401, "Bad credentials"\); '
        r"it is expired, revoked or not whole: make a new one$",
        id="401",
    ),
    pytest.param(
        {"permissions": {"metadata": "read", "actions": "read"}},
        3,
        r'error: not seen: runners acme/api: GitHub: /repos/acme/api/actions/runners: the token may not do this \(403, "Resource not accessible by '
        r'personal access token"\); it needs the permission administration=read$',
        id="403 for want of a permission",
    ),
    pytest.param(
        {"without_sso": ["acme"]},
        3,
        r"error: not seen: runners acme/api: GitHub: /repos/acme/api/actions/runners: the token is not authorised for SSO \(403, .*\); authorise it "
        r"within the hour: http://127\.0\.0\.1:\d+/orgs/acme/sso\?authorization_request=A1B2C3$",
        id="403 for want of single sign-on",
    ),
    pytest.param(
        {"limit": 0},
        4,
        r'warning: not seen: runners acme/api: GitHub: /repos/acme/api/actions/runners: rate limit reached \(403, "API rate limit exceeded"\); '
        r"0 of 0 requests are left until \d\d:\d\d:\d\d UTC$",
        id="no requests left",
    ),
]


@pytest.mark.parametrize("words", [("auto",), ("up", "-a", "amd64", "--repo", "acme/api")], ids=lambda words: words[0])
@pytest.mark.parametrize(("token", "code", "line"), TOKENS)
def test_a_token_that_github_refuses_is_told_why_in_a_line_of_its_own(
    world: World, token: dict[str, Any] | None, code: int, line: str, words: tuple[str, ...]
) -> None:
    if token is not None:
        world.box.github.add_token(TOKEN, **token)
    world.push("build")
    ran = world.scaler(*words, env={"GH_TOKEN": TOKEN})
    assert ran.code == code
    assert [each for each in told(ran) if re.match(line, each)] != [], ran.err
    assert world.left() == NOTHING


# --- 46: AWS credentials -------------------------------------------------------------------------


@pytest.mark.parametrize(("role", "mend"), [(True, "AWS_PROFILE"), (False, "aws.role")])
def test_without_aws_credentials_a_line_says_how_to_come_by_some(world: World, *, role: bool, mend: str) -> None:
    if not role:
        world.amend(f', role: "{ROLE}"', "")
    world.oidc = False
    ran = world.scaler("auto", env={"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""})
    assert ran.code == 3
    assert told(ran) == ["error: AWS: no credentials found"]
    assert mend in ran.err


def test_ambient_credentials_of_another_account_than_the_roles_are_refused(world: World) -> None:
    """They would launch there, and take this account's fleet for empty."""
    world.amend("111122223333", "444455556666")
    world.oidc = False
    world.push("build")
    ran = world.scaler("auto")
    assert ran.code == 3
    assert told(ran) == [
        "error: AWS: the credentials here are of account 111122223333, and aws.role is of 444455556666"
    ]
    assert "correct aws.role in config.yaml" in ran.err
    assert world.left() == NOTHING


CLOCK = "this machine's clock is off, and AWS refuses what is dated minutes away: set the clock (NTP)"
CLOCKS = [
    # Ambient credentials are first asked whose they are; for a role's, EC2 and SSM are the first to see a signature.
    pytest.param(False, {"sts:GetCallerIdentity: .*SignatureDoesNotMatch: Signature "}, id="STS"),
    pytest.param(
        True, {"ec2:.*RequestExpired: Request has", "ssm:.*InvalidSignatureException: Signature "}, id="EC2, SSM"
    ),
]


@pytest.mark.parametrize("minutes", [20, -20])
@pytest.mark.parametrize(("oidc", "lines"), CLOCKS)
def test_a_clock_that_aws_does_not_share_is_told(world: World, minutes: int, lines: set[str], *, oidc: bool) -> None:
    world.oidc = oidc
    world.push("build")
    world.box.aws_ahead = timedelta(minutes=minutes)
    ran = world.scaler("auto")
    assert ran.code == 3
    for line in lines:
        assert [
            each
            for each in told(ran)
            if re.match(f"error: (not seen: [a-z]+: )?AWS: {line}", each) and each.endswith(CLOCK)
        ], ran.err
    assert world.left() == NOTHING


REFUSED = [
    (
        "ec2:DescribeInstances",
        "RequestExpired",
        "the credentials have expired: sign in to AWS again; or this machine's",
    ),
    ("ec2:DescribeInstances", "AuthFailure", "check the access key, its secret key and its session token"),
    ("sts:GetCallerIdentity", "ExpiredToken", "the credentials have expired: sign in to AWS again"),
    ("sts:GetCallerIdentity", "InvalidClientTokenId", "AWS knows no such access key"),
]


@pytest.mark.parametrize(("action", "code", "words"), REFUSED)
def test_credentials_that_aws_refuses_are_told_how_to_mend(world: World, action: str, code: str, words: str) -> None:
    world.oidc = False
    world.push("build")
    world.box.aws.fail(action, code=code, status=403, times=None)
    ran = world.scaler("auto")
    assert ran.code == 3
    assert [
        line for line in told(ran) if f"{action}: the credentials are not valid ({code}: " in line and words in line
    ]
    assert world.left() == NOTHING


# --- 19: the launch template ---------------------------------------------------------------------


def test_a_launch_template_that_is_not_in_the_region_is_named(world: World) -> None:
    world.amend("{name: runner-amd64, version: 3}", "{name: runner-amd46, version: 3}")
    world.push("build")
    ran = world.scaler("auto")
    assert ran.code == 2
    (line,) = told(ran)
    assert "launch amd64/0 for acme/api" in line
    assert "runner-amd46" in line
    assert "looked for in us-east-1; check pools.amd64.launch_template and aws.region" in line
    assert world.left() == NOTHING


# --- 49, 50: rows --------------------------------------------------------------------------------


@pytest.mark.parametrize("date", ["1970-01-01T00:00:00Z", "2999-01-01T00:00:00Z"])
def test_a_job_whose_date_cannot_be_is_served_with_a_warning(world: World, date: str) -> None:
    world.push("build")
    odd(world, JOBS, created_at=date)
    ran = world.tick()
    assert ran.code == 0
    assert ran.verdicts("job") == {"build": "launching"}
    assert ran.commands() == ["launch done"]
    (line,) = told(ran)
    assert line.startswith('warning: "build" in acme/api: ')
    assert line.endswith(f"; unknown age, taken as new: created_at is {date}")


LABELS: list[Any] = [
    pytest.param(tuple(f"label-{n}" for n in range(300)), "label-108 and 288 more]; nearest: pool", id="300 labels"),
    pytest.param(("self-hosted", "gpu-\N{ROCKET}"), 'lacks "gpu-\N{ROCKET}"', id="an emoji"),
    pytest.param(("self-hosted", "${{ secrets.X }}"), 'lacks "${{ secrets.x }}"', id="an expression"),
    pytest.param(("self-hosted", "::error::x"), r":\x3aerror:\x3ax", id="a workflow command"),
    pytest.param(("self-hosted", "a\nb"), r"a\nb", id="a line break"),
]


@pytest.mark.parametrize(("labels", "words"), LABELS)
def test_odd_labels_are_data(world: World, labels: tuple[str, ...], words: str) -> None:
    world.push("build", labels=labels)
    ran = world.scaler("auto")
    assert ran.code == 0
    (line,) = [line for line in ran.out.splitlines() if "job build" in line]
    assert words in line
    assert len(line) < 600
    assert not [line for line in ran.said.splitlines() if line.lstrip().startswith("::")]
    assert world.left() == NOTHING


def test_labels_that_are_null_fit_no_pool(world: World, described: Watcher) -> None:
    described.expect('null is not of type "array"')
    world.push("build")
    odd(world, JOBS, labels=None)
    ran = world.scaler("auto")
    assert ran.code == 0
    assert "no pool fits a job with no labels" in ran.out
    assert world.left() == NOTHING


# --- 48: lists -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "values", "violation"),
    [
        pytest.param(JOBS, {"status": "frozen"}, '"frozen" is not one of', id="a status nobody knows"),
        pytest.param(JOBS, {"id": "7"}, '"7" is not of type "integer"', id="a job's id is text"),
        pytest.param(RUNNERS, {"id": "7"}, '"7" is not of type "integer"', id="a runner's id is text"),
        pytest.param(RUNNERS, {"busy": None}, 'null is not of type "boolean"', id="busy is null"),
    ],
)
def test_a_row_that_cannot_be_read_makes_its_list_unseen(
    world: World, described: Watcher, path: str, values: dict[str, Any], violation: str
) -> None:
    described.expect(violation)
    world.push("build")
    assert world.tick().code == 0
    odd(world, path, **values)
    ran = world.tick()
    assert ran.code == 4
    assert ran.commands() == []
    assert len(told(ran)) == 1
