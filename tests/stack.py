"""What aws/stack.yaml makes, as moto's CloudFormation made it: deployed once for each text of it, kept in `.cache/`."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from scaler.sandbox.aws.seed import SECURITY_GROUP
from tests.fetched import kept
from tests.iam import Policy

ROOT = Path(__file__).parents[1]
STACK = ROOT / "aws/stack.yaml"
LACKING = {
    "AWS::Events::ApiDestination": {
        "Arn": "arn:aws:events:us-east-1:111122223333:api-destination/runner-scaler-ClockDestination/0a1b2c3d",
    },
    "AWS::Events::Connection": {
        "Arn": "arn:aws:events:us-east-1:111122223333:connection/runner-scaler-ClockConnection/0a1b2c3d",
    },
    "AWS::IAM::OIDCProvider": {
        "Ref": "arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com",
    },
}
"""
The stack's resources that moto's CloudFormation does not have, with what their stand-ins in `tests.deploy` answer to
Ref and Fn::GetAtt (CloudFormation's template reference, Return values). docs/setup.md lists them.
"""


@cache
def deployed() -> dict[str, Any]:
    """See `tests.deploy`."""
    texts = b"".join(
        (ROOT / path).read_bytes()
        for path in ("aws/stack.yaml", "tests/deploy.py", "tests/stack.py", "requirements-dev.txt")
    )
    name = f"stack/{hashlib.sha256(texts).hexdigest()[:16]}.json"
    text = kept(name, _deploy).read_text()
    (group,) = json.loads(text)["groups"]
    # The sandbox has made its own group already.
    found: dict[str, Any] = json.loads(text.replace(group["GroupId"], SECURITY_GROUP))
    return found


def _deploy(path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-P", "-m", "tests.deploy", str(path)]
    done = subprocess.run(command, cwd=ROOT, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def policies(role: str = "runner-scaler") -> list[Policy]:
    """The policies of a role."""
    found: list[Policy] = deployed()["roles"][role]["policies"]
    return found
