"""What the role that builds images may do, and what not, decided by the policy simulator."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scaler.sandbox.aws.iam_checks import Check, Context
from tests import iam
from tests.fetched import needed

POLICY = json.loads((Path(__file__).parents[1] / "aws/image-policy.json").read_text())
HERE = "arn:aws:ec2:us-east-1:111122223333"
PUBLIC = "arn:aws:ec2:us-east-1:"
BUILD: Context = {"aws:ResourceTag/runner-scaler:arch": "amd64", "ec2:ResourceTag/runner-scaler:arch": "amd64"}
RUNNER: Context = {"aws:ResourceTag/runner-scaler:fleet": "main", "ec2:ResourceTag/runner-scaler:fleet": "main"}
OURS: Context = {"aws:ResourceTag/runner-scaler:image-of": "main", "ec2:ResourceTag/runner-scaler:image-of": "main"}
OTHERS: Context = {"aws:ResourceTag/runner-scaler:image-of": "other", "ec2:ResourceTag/runner-scaler:image-of": "other"}


@pytest.mark.parametrize(
    ("action", "resource", "context", "may"),
    [
        pytest.param("ec2:TerminateInstances", f"{HERE}:instance/i-1", BUILD, True, id="ends its build"),
        pytest.param("ec2:TerminateInstances", f"{HERE}:instance/i-1", RUNNER, False, id="ends no runner"),
        pytest.param("ec2:DeregisterImage", f"{PUBLIC}:image/ami-1", OURS, True, id="removes this fleet's image"),
        pytest.param("ec2:DeregisterImage", f"{PUBLIC}:image/ami-1", OTHERS, False, id="removes no other fleet's image"),
        pytest.param("ec2:DeregisterImage", f"{PUBLIC}:image/ami-1", {}, False, id="removes no image of others"),
        pytest.param("ec2:DeleteSnapshot", f"{PUBLIC}:snapshot/snap-1", OURS, True, id="deletes its snapshot"),
        pytest.param("ec2:DeleteSnapshot", f"{PUBLIC}:snapshot/snap-1", {}, False, id="deletes no snapshot of others"),
        pytest.param("ec2:CreateLaunchTemplateVersion", f"{HERE}:launch-template/lt-1", {}, True, id="makes a version"),
        pytest.param("ec2:ModifyLaunchTemplate", f"{HERE}:launch-template/lt-1", {}, False, id="changes no default version"),
        pytest.param("ssm:PutParameter", "arn:aws:ssm:us-east-1:111122223333:parameter/runner-scaler/main/i-1", {}, False, id="hands no secret over"),
    ],
)  # fmt: skip
def test_who_builds_images_neither_ends_a_runner_nor_decides_what_boots(
    action: str, resource: str, context: Context, *, may: bool
) -> None:
    """What it makes is used when somebody merges its pull request."""
    needed(iam.installed)
    (answer,) = iam.answers([POLICY], [Check(action, resource, context)])
    assert (answer == "Allowed") is may
