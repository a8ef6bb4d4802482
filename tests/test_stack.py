"""
What aws/stack.yaml makes, and that the scaler runs with it.

moto's CloudFormation deploys it (`tests.deploy`); who may do what with it is in test_policies.py; cfn-lint runs with
the linters.
"""

from __future__ import annotations

import re
import urllib.request
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from scaler.sandbox.aws.oidc import Job
from scaler.sandbox.aws.seed import IMAGES, SECURITY_GROUP, SUBNETS
from scaler.sandbox.github.state import JobSpec
from scaler.sandbox.sandbox import TOKEN
from tests import iam
from tests.conftest import NOTHING, World
from tests.fetched import needed
from tests.stack import LACKING, ROOT, STACK, deployed

ARCHES = ("amd64", "arm64")


def newest(arch: str) -> dict[str, Any]:
    """Launch template data as the newest version of an architecture's template has it."""
    (template,) = [each for each in deployed()["templates"] if each["name"] == f"runner-{arch}"]
    found: dict[str, Any] = template["versions"][-1]
    return found


def test_without_images_the_stack_has_all_but_launch_templates() -> None:
    first, then = (deployed()[when]["outputs"].keys() for when in ("first", "then"))
    assert first == {"ScalerRole", "ImageRole", "DoctorRole", "SecurityGroup", "SubnetIds"}
    assert then - first == {"TemplateAmd64", "TemplateArm64"}
    assert deployed()["outputs"].keys() == then


@pytest.mark.parametrize("arch", ARCHES)
def test_the_launch_templates_carry_the_promises(arch: str) -> None:
    """A machine ends itself by powering off, knows its fleet by its tags, and gives no credentials to IMDSv1 (RG-55)."""
    data = newest(arch)
    shape = botocore.session.get_session().get_service_model("ec2").shape_for("RequestLaunchTemplateData")
    assert not ParamValidator().validate(data, shape).has_errors()
    assert data["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert data["MetadataOptions"] == {
        "HttpTokens": "required",
        "HttpPutResponseHopLimit": 1,
        "InstanceMetadataTags": "enabled",
    }
    (volume,) = data["BlockDeviceMappings"]
    assert volume["Ebs"] == {"Encrypted": True, "DeleteOnTermination": True, "VolumeSize": 30, "VolumeType": "gp3"}
    assert data["ImageId"] == IMAGES[ARCHES.index(arch)].id
    assert data["SecurityGroupIds"] == [SECURITY_GROUP]
    assert deployed()["profiles"] == {data["IamInstanceProfile"]["Name"]: ["runner-scaler-instance"]}


def test_nothing_comes_in() -> None:
    (group,) = deployed()["groups"]
    assert group["IpPermissions"] == []


def config() -> str:
    """The config of docs/setup.md."""
    blocks: list[str] = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/setup.md").read_text(), re.DOTALL)
    (found,) = [block for block in blocks if "version: 1" in block]
    return found


@pytest.mark.parametrize("immutable", [False, True], ids=["a plain subject", "a subject with ids"])
def test_the_scaler_runs_with_what_the_stack_made(world: World, *, immutable: bool) -> None:
    """From docs/setup.md's config to the first job, with the stack's role, template, group and instance profile."""
    made = deployed()
    world.box.aws.configure(
        {
            "launch_templates": [
                {key: each[key] for key in ("id", "name", "tags", "versions")} for each in made["templates"]
            ],
            "roles": [
                {"arn": made["roles"][name]["arn"], "trust": made["roles"][name]["trust"]} for name in made["roles"]
            ],
            "instance_profiles": [{"name": name, "role": role} for name, (role,) in made["profiles"].items()],
        }
    )
    world.box.oidc.job = Job(environment="runner-scaler", immutable_subject=immutable)
    world.configure(config())
    world.push("first", duration=20)
    ran = world.tick()
    assert ran.code == 0, ran.said
    (instance,) = world.box.aws.alive()
    assert (instance.image_id, instance.shutdown_behavior) == (IMAGES[0].id, "terminate")
    assert instance.profile == "runner-scaler-instance"
    world.boot()
    world.until(lambda: world.box.journal.of("job.started") != [])
    world.box.clock.advance(30)
    world.until(lambda: not world.box.aws.alive())
    assert world.left() == NOTHING


def test_a_job_without_the_environment_is_no_scaler(world: World) -> None:
    trust = deployed()["roles"]["runner-scaler"]
    world.box.aws.configure({"roles": [{"arn": trust["arn"], "trust": trust["trust"]}]})
    world.configure(config())
    ran = world.tick()
    assert ran.code == 3
    assert "sub=repo:acme/runner-scaler:ref:refs/heads/main" in ran.said


def test_the_clock_is_off_unless_it_is_given_a_token() -> None:
    assert deployed()["first"]["rules"] == []
    assert deployed()["first"]["shims"] == ["AWS::IAM::OIDCProvider"]


def test_the_clock_starts_the_scalers_workflow(world: World) -> None:
    """What EventBridge would send is put together here, and sent to the embedded GitHub, which holds it to GitHub's own."""
    (rule,) = deployed()["rules"]
    (target,) = rule["Targets"]
    shims = deployed()["shims"]
    destination, connection = shims["AWS::Events::ApiDestination"], shims["AWS::Events::Connection"]
    assert (rule["ScheduleExpression"], rule["State"]) == ("rate(5 minutes)", "ENABLED")
    assert target["Arn"] == LACKING["AWS::Events::ApiDestination"]["Arn"]
    assert destination["ConnectionArn"] == LACKING["AWS::Events::Connection"]["Arn"]
    world.box.github.add_repository("acme/runner-scaler")
    world.box.github.add_workflow("acme/runner-scaler", "Autoscale", [JobSpec(name="scale", labels=("ubuntu-24.04",))])
    endpoint = destination["InvocationEndpoint"].replace("https://api.github.com", world.box.github_server.url)
    request = urllib.request.Request(endpoint, target["Input"].encode(), method=destination["HttpMethod"])
    for name, value in target["HttpParameters"]["HeaderParameters"].items():
        request.add_header(name, value)
    request.add_header("Content-Type", "application/json; charset=utf-8")
    request.add_header("Authorization", f"Bearer {TOKEN}")
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 204
    (key,) = connection["AuthParameters"].values()
    # CloudFormation puts the secret in; no parameter of the stack, argument or history ever has it.
    assert key == {
        "ApiKeyName": "Authorization",
        "ApiKeyValue": "Bearer {{resolve:secretsmanager:runner-scaler/clock}}",
    }


@pytest.mark.parametrize("command", ["plan", "status"])
def test_the_doctors_role_is_enough_to_look(world: World, command: str) -> None:
    role = deployed()["roles"]["runner-scaler-doctor"]
    world.box.aws.configure({"roles": [{"arn": role["arn"], "trust": role["trust"]}]})
    world.box.oidc.job = Job(environment="runner-scaler")
    world.configure(config().replace(deployed()["outputs"]["ScalerRole"], role["arn"]))
    world.push("build")
    ran = world.scaler(command)
    assert ran.code == 0, ran.said
    calls = [call for call in world.box.aws_server.calls if ":assumed-role/runner-scaler-doctor/" in call.principal]
    asked = [iam.plain(check) for call in calls for check in call.checks]
    assert {check.action for check in asked} >= {"ec2:DescribeInstances", "ssm:DescribeParameters", "ssm:GetParameter"}
    needed(iam.installed)
    assert iam.refused(role["policies"], asked) == []


def test_what_moto_lacks_is_listed_in_the_set_up() -> None:
    text = (ROOT / "docs/setup.md").read_text()
    assert [kind for kind in LACKING if f"`{kind}`" not in text] == []
    types = set(re.findall(r"^    Type: (AWS::\w+::\w+)$", STACK.read_text(), re.MULTILINE))
    assert set(LACKING) <= types
    assert deployed()["shims"].keys() == set(LACKING)


def test_every_action_that_the_stack_allows_is_in_the_security_page() -> None:
    text = (ROOT / "docs/security.md").read_text()
    policies = [policy for role in deployed()["roles"].values() for policy in role["policies"]]
    given = [each["Action"] for policy in policies for each in policy["Statement"] if each["Effect"] == "Allow"]
    named = {action for actions in given for action in ([actions] if isinstance(actions, str) else actions)}
    assert len(named) > 30
    assert [action for action in sorted(named) if f"`{action}`" not in text] == []


def test_the_subnets_are_the_only_ones() -> None:
    (statement,) = [
        each
        for policy in deployed()["roles"]["runner-scaler"]["policies"]
        for each in policy["Statement"]
        if each["Sid"] == "LaunchInOurSubnets"
    ]
    assert statement["Resource"] == [f"arn:aws:ec2:*:*:subnet/{each.id}" for each in SUBNETS]
