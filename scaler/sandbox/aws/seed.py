"""What is in the account before anything happens, and how a scenario says it otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scaler.sandbox.aws.ec2_templates import Templates
from scaler.sandbox.aws.ec2_world import Ec2World
from scaler.sandbox.aws.iam_world import IamWorld, Role
from scaler.sandbox.aws.oidc import GITHUB_ISSUER
from scaler.sandbox.aws.settings import BadSetting, Image, Subnet, known

SUBNETS = (
    Subnet("subnet-0a1b2c3d4e5f60718", "us-east-1a"),  # these two are the example config's
    Subnet("subnet-0b2c3d4e5f6071829", "us-east-1b"),
    Subnet("subnet-0a1b2c3d4e5f60001", "us-east-1a"),  # a second in each zone: a subnet is not its zone
    Subnet("subnet-0b2c3d4e5f6a70002", "us-east-1b"),
)
IMAGES = (
    Image("ami-0a1b2c3d4e5f6a640", "x86_64", "runner-amd64"),
    Image("ami-0b2c3d4e5f6a7a640", "arm64", "runner-arm64"),
)
SECURITY_GROUP = "sg-0a1b2c3d4e5f60003"
PROFILE = "runner-scaler-instance"
SUBJECT = "repo:acme/runner-scaler:ref:refs/heads/main"
# us-east-1, on demand, an hour; what is not here comes last where a fleet asks for the lowest price.
PRICES = {"m6g.large": 0.077, "m7g.large": 0.0816, "m6i.large": 0.096, "m7i.large": 0.1008}


def launch_data(image: str, kind: str, *, volume_size: int = 30, **more: Any) -> dict[str, Any]:
    """Launch template data as our own stack makes it, with a tag for instances besides."""
    return {
        "ImageId": image,
        "InstanceType": kind,
        "SecurityGroupIds": [SECURITY_GROUP],
        "IamInstanceProfile": {"Name": PROFILE},
        "InstanceInitiatedShutdownBehavior": "terminate",
        "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1, "InstanceMetadataTags": "enabled"},
        "BlockDeviceMappings": [
            {
                "DeviceName": "/dev/sda1",
                "Ebs": {
                    "VolumeSize": volume_size,
                    "VolumeType": "gp3",
                    "Encrypted": True,
                    "DeleteOnTermination": True,
                },
            }
        ],
        "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "runner"}]}],
        **more,
    }


def trust(account: str, subjects: list[str], audience: str = "sts.amazonaws.com") -> dict[str, Any]:
    """A trust policy for GitHub's OIDC provider; a subject with a wildcard is compared by StringLike."""
    host = GITHUB_ISSUER.removeprefix("https://")
    exact = [each for each in subjects if "*" not in each and "?" not in each]
    like = [each for each in subjects if each not in exact]
    if exact and like:
        exact, like = [], subjects
    conditions: dict[str, dict[str, Any]] = {"StringEquals": {f"{host}:aud": audience}}
    if exact:
        conditions["StringEquals"][f"{host}:sub"] = exact
    if like:
        conditions["StringLike"] = {f"{host}:sub": like}
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Federated": f"arn:aws:iam::{account}:oidc-provider/{host}"},
                "Action": "sts:AssumeRoleWithWebIdentity",
                "Condition": conditions,
            }
        ],
    }


def plant(ec2: Ec2World, templates: Templates, iam: IamWorld) -> None:
    """The account that `config.example.yaml` speaks of."""
    ec2.subnets = {each.id: each for each in SUBNETS}
    ec2.images = {each.id: each for each in IMAGES}
    ec2.security_groups = {SECURITY_GROUP: "runner-scaler"}
    ec2.profiles = {PROFILE: "runner-scaler-instance"}
    for image, kind, template_id in (
        (IMAGES[0], "m7i.large", "lt-0a1b2c3d4e5f6a640"),
        (IMAGES[1], "m7g.large", "lt-0b2c3d4e5f6a7a640"),
    ):
        data = [launch_data(image.id, kind, volume_size=size) for size in (20, 25, 30)]
        templates.seed(image.name, data, template_id, tags={"runner-scaler:fleet": "main"})
    plant_roles(iam)


def plant_roles(iam: IamWorld) -> None:
    """The role that `config.example.yaml` names, for the repository that holds the config."""
    add_role(iam, f"arn:aws:iam::{iam.account}:role/runner-scaler", trust(iam.account, [SUBJECT]))


def add_role(iam: IamWorld, arn: str, policy: Mapping[str, Any], max_session: int = 3600) -> Role:
    """A role that tokens may be exchanged for."""
    iam.roles[arn] = role = Role(arn, policy, max_session)
    return role


def replant(given: Mapping[str, Any], ec2: Ec2World, templates: Templates, iam: IamWorld) -> None:
    """The things among the keys of an `aws:` mapping; each list that is given replaces the seed's."""
    if "subnets" in given:
        rows = _rows(given, "subnets", {"id", "zone", "vpc"}, "id", "zone")
        ec2.subnets = {row["id"]: Subnet(**row) for row in rows}
    if "images" in given:
        rows = _rows(given, "images", {"id", "architecture", "name", "tags", "created_at"}, "id", "architecture")
        ec2.images = {row["id"]: Image(**row) for row in rows}
    if "security_groups" in given:
        rows = _rows(given, "security_groups", {"id", "name"}, "id")
        ec2.security_groups = {row["id"]: row.get("name", "") for row in rows}
    if "instance_profiles" in given:
        rows = _rows(given, "instance_profiles", {"name", "role"}, "name")
        ec2.profiles = {row["name"]: row.get("role", row["name"]) for row in rows}
    if "launch_templates" in given:
        templates.all.clear()
        for row in _rows(given, "launch_templates", {"id", "name", "default", "versions", "tags"}, "name", "versions"):
            default, tags = row.get("default", 0), row.get("tags", {})
            templates.seed(row["name"], row["versions"], row.get("id", ""), default, tags=tags)
    if "roles" in given:
        iam.roles.clear()
        for row in _rows(given, "roles", {"arn", "subjects", "audience", "trust", "max_session"}, "arn"):
            subjects, audience = row.get("subjects", [SUBJECT]), row.get("audience", "sts.amazonaws.com")
            policy = row.get("trust") or trust(iam.account, subjects, audience)
            add_role(iam, row["arn"], policy, row.get("max_session", 3600))
    for number, action in enumerate(given.get("deny", ())):
        if not isinstance(action, str) or ":" not in action:
            raise BadSetting(f"aws.deny[{number}]: expected service:Action, got {action!r}")
        iam.deny(action)


THINGS = {"subnets", "images", "security_groups", "instance_profiles", "launch_templates", "roles", "deny"}


def _rows(given: Mapping[str, Any], name: str, allowed: set[str], *required: str) -> list[dict[str, Any]]:
    rows = []
    for number, each in enumerate(given[name] or ()):
        row = known(each, f"aws.{name}[{number}]", allowed)
        for key in required:
            if key not in row:
                raise BadSetting(f"aws.{name}[{number}].{key}: missing")
        rows.append(row)
    return rows
