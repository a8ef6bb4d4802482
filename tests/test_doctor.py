"""The preflight: what it looks at, a line for each thing that is wrong and how to mend it, and nothing changed."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from scaler.checking.doctor_aws import permissions, subjects, trusted
from scaler.sandbox.aws.iam_checks import Check
from scaler.sandbox.aws.oidc import Job
from scaler.sandbox.aws.seed import SUBJECT, add_role, launch_data, trust
from scaler.sandbox.github.faults import Fault, FaultKind
from scaler.sandbox.github.state import JobSpec
from scaler.sandbox.sandbox import TOKEN
from scaler.settings.inputs import INPUTS, PREFIX
from tests import iam
from tests.conftest import ROLE, Ran, World
from tests.fetched import needed
from tests.stack import policies
from tests.worlds import config

ROOT = Path(__file__).parents[1]
ISSUED = {"repository": "acme/scaler", "repository_id": "2", "repository_owner_id": "1"}
LOOKS = {"sts:AssumeRoleWithWebIdentity", "sts:GetCallerIdentity", "iam:GetRole", "iam:SimulatePrincipalPolicy"}
LOOKS |= {f"ec2:Describe{what}" for what in ("LaunchTemplateVersions", "Images", "InstanceTypes", "Subnets")}
CLASSIC, WITH_IDS = "repo:acme/scaler:environment:x", "repo:acme@1/scaler@2:environment:x"


DOCTOR = "arn:aws:iam::111122223333:role/doctor"


def doctor(world: World, scaler: str = "", **env: str) -> Ran:
    """The action as a job, with a role of its own that may look."""
    if DOCTOR not in world.box.aws.iam.roles:
        add_role(world.box.aws.iam, DOCTOR, trust("111122223333", ["repo:acme*"]))
    given = {"mode": "doctor", "config": str(world.config), "scaler": scaler, "role-to-assume": DOCTOR}
    given["github-token"], given["github-api-url"] = TOKEN, world.box.github_server.url
    inputs = {each.env: given.get(each.name, each.default) for each in INPUTS} | {f"{PREFIX}WORKFLOW_TOKEN": ""}
    before = world.left()
    ran = world.scaler("action", env=inputs | env)
    assert world.left() == before
    assert {call.name for call in world.box.aws_server.calls} <= LOOKS
    return ran


def lines(ran: Ran, state: str) -> list[str]:
    return [line for line in ran.out.splitlines() if line.startswith(f"{state} ")]


def test_a_set_up_that_is_whole_is_all_ok(world: World) -> None:
    add_role(world.box.aws.iam, ROLE, trust("111122223333", [SUBJECT, WITH_IDS_OF_THE_SANDBOX]))
    ran = doctor(world)
    assert ran.code == 0, ran.said
    assert (
        ran.out.splitlines()[-1] == f"{len(lines(ran, 'ok'))} ok, 0 unwise, 0 wrong, 0 not seen. Nothing was changed."
    )
    told = "\n".join(lines(ran, "ok"))
    for what in (
        "config: ",
        "AWS: credentials of account 111122223333",
        "token: a classic token",
        "repository acme/api: private",
        "runners of acme/web: 0 registered",
        "role runner-scaler: all 14 permissions",
        f"trust of role runner-scaler: trusts {SUBJECT}",
        "template runner-amd64 of pool amd64: terminate, IMDSv2",
        "instance types of pool arm64: m7g.large: arm64",
        "image of pool amd64: ami-0a1b2c3d4e5f6a640, x86_64",
    ):
        assert what in told


WITH_IDS_OF_THE_SANDBOX = "repo:acme@1001/runner-scaler@2002:ref:refs/heads/main"


def reseed(world: World, **changes: Any) -> None:
    """The template of pool amd64 with other data in all of its versions; None removes a key."""
    data = launch_data("ami-0a1b2c3d4e5f6a640", "m7i.large") | changes
    data = {key: value for key, value in data.items() if value is not None}
    templates = world.box.aws.templates
    (found,) = [each for each in templates.all.values() if each.name == "runner-amd64"]
    del templates.all[found.id]
    templates.seed("runner-amd64", [data] * 3)


def options(**changes: str | None) -> dict[str, Any]:
    given = {"HttpTokens": "required", "InstanceMetadataTags": "enabled"} | changes
    return {"MetadataOptions": {key: value for key, value in given.items() if value}}


TEMPLATE = "template runner-amd64 of pool amd64: "
DAMAGE: list[tuple[str, Callable[[World], object], str]] = [
    (
        "shutdown behaviour",
        lambda w: reseed(w, InstanceInitiatedShutdownBehavior=None),
        f"{TEMPLATE}InstanceInitiatedShutdownBehavior is stop; set terminate",
    ),
    ("IMDSv2", lambda w: reseed(w, **options(HttpTokens=None)), f"{TEMPLATE}HttpTokens is optional; set required"),
    (
        "metadata tags",
        lambda w: reseed(w, **options(InstanceMetadataTags=None)),
        f"{TEMPLATE}InstanceMetadataTags is disabled; set enabled",
    ),
    ("profile", lambda w: reseed(w, IamInstanceProfile=None), f"{TEMPLATE}there is no IamInstanceProfile; set one"),
    ("version", lambda w: w.amend("version: 3", "version: 9"), f"{TEMPLATE}version 9 is not in us-east-1; check pools"),
    (
        "template",
        lambda w: w.amend("runner-amd64", "runner-xyz"),
        "template runner-xyz of pool amd64: version 3 is not",
    ),
    (
        "type of another architecture",
        lambda w: reseed(w, InstanceType="m7g.large"),
        "instance types of pool amd64: m7g.large is arm64, and the pool is amd64",
    ),
    (
        "image of another architecture",
        lambda w: reseed(w, ImageId="ami-0b2c3d4e5f6a7a640"),
        "image of pool amd64: ami-0b2c3d4e5f6a7a640 is arm64, and the pool is amd64",
    ),
    (
        "image gone",
        lambda w: reseed(w, ImageId="ami-0123456789abcdef0"),
        "image of pool amd64: ami-0123456789abcdef0 is not in this region",
    ),
    (
        "subnet gone",
        lambda w: w.amend("    max: 5\n  arm64", "    max: 5\n    subnets: [subnet-0123456789abcdef0]\n  arm64"),
        "subnets of pool amd64: subnet-0123456789abcdef0: not in us-east-1",
    ),
    (
        "public repository",
        lambda w: setattr(w.box.github.repository("acme/web"), "private", False),
        "repository acme/web: is public: anyone's pull request could run code on your machines",
    ),
]


@pytest.mark.parametrize(("damage", "told"), [pytest.param(d, t, id=name) for name, d, t in DAMAGE])
def test_what_is_wrong_is_told_in_a_line_with_how_to_mend_it(
    world: World, damage: Callable[[World], object], told: str
) -> None:
    damage(world)
    ran = doctor(world)
    assert ran.code == 2, ran.said
    found = [line.removeprefix("wrong").strip() for line in lines(ran, "wrong")]
    assert [line for line in found if line.startswith(told)], ran.out
    assert all("; " in line for line in found)


def test_a_permission_that_the_role_lacks_is_named(world: World) -> None:
    world.box.aws.iam.deny("ssm:PutParameter")
    ran = doctor(world)
    assert ran.code == 3
    (line, _) = lines(ran, "wrong")
    assert "may not ssm:PutParameter on arn:aws:ssm:us-east-1:111122223333:parameter/runner-scaler/main/i-" in line
    assert "aws/stack.yaml" in line


def test_what_a_role_may_not_look_at_is_told_and_the_rest_goes_on(world: World) -> None:
    world.box.aws.iam.deny("iam:*")
    ran = doctor(world)
    assert ran.code == 3
    assert len([line for line in lines(ran, "wrong") if "runner-scaler-doctor (role-to-assume)" in line]) == 2
    assert "image of pool arm64" in ran.out


def test_a_role_that_does_not_trust_the_workflow_stops_nothing_else(world: World) -> None:
    add_role(world.box.aws.iam, DOCTOR, trust("111122223333", ["repo:acme/other:ref:refs/heads/main"]))
    ran = doctor(world)
    assert ran.code == 3
    assert "does not trust this workflow" in ran.out
    assert "repository acme/web: private" in ran.out


def test_the_subjects_other_form_is_looked_for_too(world: World) -> None:
    ran = doctor(world)
    assert ran.code == 0
    (line,) = lines(ran, "unwise")
    assert f"does not trust {WITH_IDS_OF_THE_SANDBOX}, which GitHub gives" in line
    world.box.oidc.job = Job(immutable_subject=True)
    add_role(world.box.aws.iam, ROLE, trust("111122223333", [WITH_IDS_OF_THE_SANDBOX]))
    ran = doctor(world)
    assert f"trusts {WITH_IDS_OF_THE_SANDBOX}" in ran.out
    assert f"does not trust {SUBJECT}, which GitHub gives" in ran.out


def test_a_token_that_may_not_read_runs_or_runners_is_told_by_repository(world: World) -> None:
    may = {"metadata": "read", "actions": "read"}
    world.box.github.add_token("github_pat_x", "pat", may, ["acme/api", "acme/web"])
    ran = doctor(world, RUNNER_SCALER_GITHUB_TOKEN="github_pat_x")
    assert ran.code == 3
    assert (
        len([line for line in lines(ran, "wrong") if "runners of acme/" in line and "administration=read" in line]) == 2
    )


def test_a_classic_tokens_scopes_and_any_tokens_end_are_looked_at(world: World) -> None:
    token = world.box.github.add_token("ghp_x", "pat")
    token.scopes = ("read:org", "workflow")
    ran = doctor(world, RUNNER_SCALER_GITHUB_TOKEN="ghp_x")
    assert ran.code == 3
    assert "token: a classic token with the scopes read:org, workflow; give it the scope repo" in ran.out
    token.scopes, token.expires_at = ("repo",), world.box.clock.now() + timedelta(days=3)
    ran = doctor(world, RUNNER_SCALER_GITHUB_TOKEN="ghp_x")
    assert ran.code == 0
    assert "which ends on" in "".join(lines(ran, "unwise"))


def test_an_image_that_ages_and_runners_of_others_are_told(world: World) -> None:
    (image,) = [each for each in world.box.aws.ec2.images.values() if each.architecture == "arm64"]
    old = world.box.clock.now() - timedelta(days=26)
    world.box.aws.ec2.images[image.id] = replace(image, created_at=old.strftime("%Y-%m-%dT%H:%M:%S.000Z"))
    labels = ["self-hosted", "linux", "x64", "acme", "big"]
    runners = world.box.github.runners
    runners.mint_jit("acme/api", "stranger", labels, runners.groups("acme/api")[0], "")
    ran = doctor(world)
    assert ran.code == 0, ran.said
    told = "\n".join(lines(ran, "unwise"))
    assert f"{image.id}, arm64, 26 days old; a runner 30 days behind a release gets no job" in told
    assert "runners of acme/api: 1 registered, 1 of them not this fleet's; stranger may take a pool's jobs" in told


def test_a_runner_group_that_serves_others_is_wrong(world: World) -> None:
    github = world.box.github
    github.add_organization("acme")
    for name in ("acme/api", "acme/web", "acme/other"):
        github.add_repository(name)
    github.add_group("acme", "Default", visibility="selected", repositories=["acme/api", "acme/web", "acme/other"])
    world.amend("repositories:", "github: {register_at: organization, organization: acme}\nrepositories:")
    ran = doctor(world)
    assert ran.code == 2
    assert 'runner group "Default": also serves acme/other; let it serve' in "\n".join(lines(ran, "wrong"))


def test_github_without_answers_leaves_aws_to_be_looked_at(world: World) -> None:
    world.box.github.fault(Fault(FaultKind.STATUS, value=502, times=None))
    ran = doctor(world)
    assert ran.code == 4
    assert len(lines(ran, "not seen")) == 1
    assert "instance types of pool amd64" in ran.out


def test_the_clocks_are_looked_at_when_the_workflow_is_named(world: World) -> None:
    github = world.box.github
    github.add_repository("acme/scaler")
    github.add_workflow("acme/scaler", "Autoscale", [], ".github/workflows/autoscale.yml")
    ran = doctor(world, "acme/scaler")
    assert "no clock has ticked yet; add one that is prompt" in ran.out
    github.push("acme/scaler", [JobSpec("auto", ("ubuntu-24.04",))], workflow="Autoscale", event="schedule")
    ran = doctor(world, "acme/scaler")
    assert "clock schedule: 0m00s ago" in ran.out
    assert "no clock" not in ran.out


# --- pure ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sub", "forms"),
    [(CLASSIC, [CLASSIC, WITH_IDS]), (WITH_IDS, [WITH_IDS, CLASSIC]), ("customised", ["customised"])],
)
def test_a_subject_has_two_forms(sub: str, forms: list[str]) -> None:
    assert subjects({**ISSUED, "sub": sub}) == forms


@pytest.mark.parametrize(
    ("operator", "wanted", "expected"),
    [
        ("StringEquals", CLASSIC, True),
        ("StringEquals", [WITH_IDS, CLASSIC], True),
        ("StringEquals", "repo:acme/*", False),
        ("StringLike", "repo:acme/*", True),
        ("ForAnyValue:StringLike", ["repo:b/*", "repo:acme/scaler:*"], True),
        ("StringNotEquals", CLASSIC, False),
    ],
)
def test_a_trust_policy_is_read_as_iam_reads_it(operator: str, wanted: Any, expected: bool) -> None:
    key = "token.actions.githubusercontent.com:sub"
    policy = {"Statement": [{"Effect": "Allow", "Condition": {operator: {key: wanted}}}]}
    assert trusted(policy, CLASSIC) is expected


def test_the_permissions_that_are_simulated_are_those_of_the_stack() -> None:
    """iam:PassRole is left: its resource is the instances' role, which config.yaml does not name."""
    statements = [statement for policy in policies() for statement in policy["Statement"]]
    allowed: set[str] = set()
    for each in statements:
        allowed |= {each["Action"]} if isinstance(each["Action"], str) else set(each["Action"])
    wanted = permissions(config(), "111122223333")
    assert {each.action for each in wanted} == allowed - {"iam:PassRole"}


def test_the_stack_allows_what_is_simulated() -> None:
    needed(iam.installed)
    wanted = permissions(config(), "111122223333")
    checks = [Check(p.action, p.resource, {k: v if isinstance(v, str) else list(v) for k, v in p.context.items()})
              for p in wanted]  # fmt: skip
    assert iam.refused(policies(), checks) == []


def test_the_doctors_role_may_do_what_it_calls_and_nothing_that_writes() -> None:
    source = (ROOT / "scaler/aws/look.py").read_text()
    called = {
        str(node.value)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and re.fullmatch(r"(ec2|iam):\w+", str(node.value))
    }
    allowed: set[str] = set()
    for statement in (each for policy in policies("runner-scaler-doctor") for each in policy["Statement"]):
        allowed |= {statement["Action"]} if isinstance(statement["Action"], str) else set(statement["Action"])
    assert called <= allowed
    assert all(re.match(r"\w+:(Describe|Get|Simulate)", action) for action in allowed)
