"""
What aws/stack.yaml makes, and that the scaler runs with it.

moto's CloudFormation deploys it (`tests.deploy`); who may do what with it is in test_policies.py; cfn-lint runs with
the linters.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from scaler.sandbox.aws.oidc import Job
from scaler.sandbox.aws.seed import IMAGES, SECURITY_GROUP, SUBNETS
from tests.conftest import NOTHING, World
from tests.stack import LACKING, ROOT, STACK, deployed

ARCHES = ("amd64", "arm64")


def newest(arch: str) -> dict[str, Any]:
    """Launch template data as the newest version of an architecture's template has it."""
    (template,) = [each for each in deployed()["templates"] if each["name"] == f"runner-{arch}"]
    found: dict[str, Any] = template["versions"][-1]
    return found


def test_without_images_the_stack_has_all_but_launch_templates() -> None:
    assert deployed()["first"].keys() == {"ScalerRole", "SecurityGroup", "SubnetIds"}
    assert deployed()["outputs"].keys() - deployed()["first"].keys() == {"TemplateAmd64", "TemplateArm64"}


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


def test_what_moto_lacks_is_listed_in_the_set_up() -> None:
    text = (ROOT / "docs/setup.md").read_text()
    assert [kind for kind in LACKING if f"`{kind}`" not in text] == []
    types = set(re.findall(r"^    Type: (AWS::\w+::\w+)$", STACK.read_text(), re.MULTILINE))
    assert set(LACKING) <= types
    assert deployed()["shims"].keys() == set(LACKING)


def test_every_action_that_the_stack_allows_is_in_the_security_page() -> None:
    text = Path(ROOT / "docs/security.md").read_text()
    policies = json.dumps([role["policies"] for role in deployed()["roles"].values()])
    named = set(re.findall(r'"((?:ec2|iam|ssm|events|kms):[A-Z]\w+)"', policies))
    assert len(named) > 10
    assert [action for action in sorted(named) if f"`{action}`" not in text] == []


def test_the_subnets_are_the_only_ones() -> None:
    (statement,) = [
        each
        for policy in deployed()["roles"]["runner-scaler"]["policies"]
        for each in policy["Statement"]
        if each["Sid"] == "LaunchInOurSubnets"
    ]
    assert statement["Resource"] == [f"arn:aws:ec2:*:*:subnet/{each.id}" for each in SUBNETS]
