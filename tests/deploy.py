"""
Deploy aws/stack.yaml with moto's CloudFormation and write what it made as JSON: `python -m tests.deploy FILE`.

A process of its own, since moto takes over boto3. First as the set-up deploys it, without images; then updated with
both images; then anew, with the clock too. What moto's CloudFormation does not have is made by the shims below, which keep the
properties as they come out of the template, and which docs/setup.md lists.
"""

from __future__ import annotations

import ast
import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ACCOUNT = "111122223333"
os.environ |= {"MOTO_ACCOUNT_ID": ACCOUNT, "MOTO_EC2_LOAD_DEFAULT_AMIS": "false"}
os.environ |= {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none", "AWS_DEFAULT_REGION": "us-east-1"}

import boto3  # noqa: E402 - after the settings that are read when they are imported
from moto import mock_aws  # noqa: E402
from moto.core.common_models import CloudFormationModel  # noqa: E402

from scaler.sandbox.aws.seed import IMAGES, SUBNETS  # noqa: E402
from tests.stack import LACKING, STACK  # noqa: E402

NAME = "runner-scaler"
FIRST = {
    "Repository": "acme/runner-scaler",
    "RepositoryWithIds": "acme@1001/runner-scaler@2002",
    "VpcId": SUBNETS[0].vpc,
    "SubnetIds": ",".join(each.id for each in SUBNETS),
    # moto makes a list of what is given, but not of a default.
    "InstanceTypes": re.search(r"Type: CommaDelimitedList\n    Default: (\S+)", STACK.read_text())[1],  # type: ignore[index]
}
SECRET = "runner-scaler/clock"
IMAGES_BUILT = {"ImageAmd64": IMAGES[0].id, "ImageArm64": IMAGES[1].id}
CLOCK = {"ClockTokenSecret": SECRET}
_kept: dict[str, Any] = {}


class Shim:
    """A resource of a type that moto's CloudFormation does not have: its properties, resolved."""

    TYPE = ""

    def __init__(self, name: str) -> None:
        self.physical_resource_id = LACKING[self.TYPE].get("Ref", name)

    @classmethod
    def cloudformation_type(cls) -> str:
        """The type that it stands in for."""
        return cls.TYPE

    @staticmethod
    def cloudformation_name_type() -> str:
        """No property names it."""
        return ""

    @classmethod
    def create_from_cloudformation_json(cls, name: str, given: Mapping[str, Any], *_: Any, **__: Any) -> Shim:
        """Keep what the template says."""
        _kept[cls.TYPE] = given["Properties"]
        return cls(name)

    @classmethod
    def update_from_cloudformation_json(cls, _: Any, name: str, given: Mapping[str, Any], *__: Any) -> Shim:
        """Keep what the template says now."""
        return cls.create_from_cloudformation_json(name, given)

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        """Whether Fn::GetAtt has this."""
        return attr in LACKING[cls.TYPE]

    def get_cfn_attribute(self, attribute_name: str) -> str:
        """What Fn::GetAtt answers."""
        return LACKING[self.TYPE][attribute_name]


def shims() -> list[type]:
    """Make moto know the missing types: it looks among the subclasses of its model, which it files by their module."""
    return [type("Made", (Shim, CloudFormationModel), {"TYPE": kind, "__module__": "tests.deploy"}) for kind in LACKING]


def deploy() -> dict[str, Any]:
    """Create the stack, update it, create it whole, and read everything back by the APIs of the services."""
    cloudformation = boto3.client("cloudformation")
    boto3.client("secretsmanager").create_secret(Name=SECRET, SecretString="github_pat_of_the_clock")
    body = STACK.read_text()

    def given(parameters: Mapping[str, str]) -> dict[str, Any]:
        listed = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
        return {"StackName": NAME, "TemplateBody": body, "Parameters": listed, "Capabilities": ["CAPABILITY_NAMED_IAM"]}

    cloudformation.create_stack(**given(FIRST))
    first = {"outputs": _outputs(cloudformation), "shims": sorted(_kept), "rules": _rules()}
    cloudformation.update_stack(**given(FIRST | IMAGES_BUILT))
    then = {"outputs": _outputs(cloudformation)}
    # moto's update does not make what depends on something that is new itself, as the parts of the clock do.
    cloudformation.delete_stack(StackName=NAME)
    cloudformation.create_stack(**given(FIRST | IMAGES_BUILT | CLOCK))
    iam, ec2 = boto3.client("iam"), boto3.client("ec2")
    roles = iam.list_roles()["Roles"]
    return {
        "first": first,
        "then": then,
        "outputs": _outputs(cloudformation),
        "roles": {
            role["RoleName"]: {
                "arn": role["Arn"],
                "trust": role["AssumeRolePolicyDocument"],
                "policies": [
                    # moto gives back a policy that CloudFormation made in Python's spelling.
                    ast.literal_eval(iam.get_role_policy(RoleName=role["RoleName"], PolicyName=name)["PolicyDocument"])
                    for name in iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]
                ],
            }
            for role in roles
        },
        "profiles": {
            each["InstanceProfileName"]: [role["RoleName"] for role in each["Roles"]]
            for each in iam.list_instance_profiles()["InstanceProfiles"]
        },
        "groups": [each for each in ec2.describe_security_groups()["SecurityGroups"] if each["GroupName"] != "default"],
        "templates": [
            {
                "id": each["LaunchTemplateId"],
                "name": each["LaunchTemplateName"],
                "tags": {tag["Key"]: tag["Value"] for tag in each.get("Tags", ())},
                "versions": [
                    version["LaunchTemplateData"]
                    for version in ec2.describe_launch_template_versions(LaunchTemplateId=each["LaunchTemplateId"])[
                        "LaunchTemplateVersions"
                    ]
                ],
            }
            for each in ec2.describe_launch_templates()["LaunchTemplates"]
        ],
        "shims": _kept,
        "rules": _rules(),
    }


def _rules() -> list[Any]:
    events = boto3.client("events")
    rules: list[Any] = events.list_rules()["Rules"]
    return [{**each, "Targets": events.list_targets_by_rule(Rule=each["Name"])["Targets"]} for each in rules]


def _outputs(cloudformation: Any) -> dict[str, str]:
    (stack,) = cloudformation.describe_stacks(StackName=NAME)["Stacks"]
    return {each["OutputKey"]: each["OutputValue"] for each in stack.get("Outputs", ())}


if __name__ == "__main__":
    made = shims()  # held: a class that nobody holds is no subclass
    with mock_aws():
        Path(sys.argv[1]).write_text(json.dumps(deploy(), indent=1, default=str))
