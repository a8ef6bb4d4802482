"""What the preflight reads of EC2 and IAM, through boto3. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from scaler.aws.api import SETTINGS
from scaler.aws.errors import code_of, refusal
from scaler.boundary import readable
from scaler.checking.doctor_aws import Image, Permission
from scaler.model import Unavailable
from scaler.settings.config import Pool

T = TypeVar("T")


class AwsLook:
    """The port `doctor_aws.CloudLook`."""

    def __init__(self, session: boto3.Session, region: str) -> None:
        """With the session's credentials; nothing is asked yet."""
        self._ec2: Any = session.client("ec2", region_name=region, config=SETTINGS)
        self._iam: Any = session.client("iam", region_name=region, config=SETTINGS)

    @readable("AWS")
    def template(self, pool: Pool) -> Mapping[str, Any] | None:
        """The launch template's data."""
        given = pool.launch_template
        named = {"LaunchTemplateId": given.id} if given.id else {"LaunchTemplateName": given.name}
        answer = _asked(
            "ec2:DescribeLaunchTemplateVersions",
            lambda: self._ec2.describe_launch_template_versions(**named, Versions=[given.version]),
            absent=("InvalidLaunchTemplate",),
        )
        rows = answer["LaunchTemplateVersions"] if answer else []
        return dict(rows[0]["LaunchTemplateData"]) if rows else None

    @readable("AWS")
    def image(self, image_id: str) -> Image | None:
        """An AMI."""
        answer = _asked(
            "ec2:DescribeImages",
            lambda: self._ec2.describe_images(ImageIds=[image_id]),
            absent=("InvalidAMIID",),
        )
        if not answer or not answer["Images"]:
            return None
        row = answer["Images"][0]
        made_at = datetime.fromisoformat(row["CreationDate"]).astimezone(UTC) if row.get("CreationDate") else None
        return Image(str(row["Architecture"]), made_at)

    @readable("AWS")
    def architectures(self, types: Sequence[str]) -> Mapping[str, frozenset[str]]:
        """What each type can run; one at a time, since one that the region has not fails the whole call."""

        def describe(kind: str) -> Any:
            return _asked(
                "ec2:DescribeInstanceTypes",
                lambda: self._ec2.describe_instance_types(InstanceTypes=[kind]),
                absent=("InvalidInstanceType",),
            )

        rows = [row for each in types for row in (describe(each) or {"InstanceTypes": ()})["InstanceTypes"]]
        return {row["InstanceType"]: frozenset(row["ProcessorInfo"]["SupportedArchitectures"]) for row in rows}

    @readable("AWS")
    def missing_subnets(self, subnets: Sequence[str]) -> list[str]:
        """Those of the subnets that the region has not."""

        def describe(subnet: str) -> Any:
            return _asked(
                "ec2:DescribeSubnets",
                lambda: self._ec2.describe_subnets(SubnetIds=[subnet]),
                absent=("InvalidSubnetID", "InvalidSubnetId"),
            )

        return [each for each in subnets if describe(each) is None]

    @readable("AWS")
    def trust(self, role: str) -> Mapping[str, Any]:
        """A role's trust policy."""
        answer = _asked("iam:GetRole", lambda: self._iam.get_role(RoleName=role.rpartition("/")[2]))
        return dict(answer["Role"]["AssumeRolePolicyDocument"])

    @readable("AWS")
    def denied(self, role: str, permission: Permission) -> bool:
        """Whether IAM's simulator denies it."""
        entries = [
            {
                "ContextKeyName": key,
                "ContextKeyValues": [value] if isinstance(value, str) else list(value),
                "ContextKeyType": "string" if isinstance(value, str) else "stringList",
            }
            for key, value in permission.context.items()
        ]
        answer = _asked(
            "iam:SimulatePrincipalPolicy",
            lambda: self._iam.simulate_principal_policy(
                PolicySourceArn=role,
                ActionNames=[permission.action],
                ResourceArns=[permission.resource],
                ContextEntries=entries,
            ),
        )
        return any(row["EvalDecision"] != "allowed" for row in answer["EvaluationResults"])


def _asked(action: str, call: Callable[[], Any], absent: Sequence[str] = ()) -> Any:
    """The answer; None where EC2's error code begins with one of `absent`."""
    try:
        return call()
    except ClientError as error:
        if code_of(error).startswith(tuple(absent) or ("\0",)):
            return None
        raise refusal(action, error) from error
    except BotoCoreError as error:
        raise Unavailable(f"AWS: {action}: no answer ({type(error).__name__})") from error
