"""IAM's calls, as far as a preflight asks: a role with its trust policy, and what it would be allowed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import quote

from scaler.sandbox.aws.error import AwsError
from scaler.sandbox.aws.iam_world import IamWorld, Principal

Params = Mapping[str, Any]


class IamCalls:
    """IAM of one account."""

    def __init__(self, iam: IamWorld) -> None:
        self._iam = iam

    def operations(self) -> dict[str, Callable[[Params, Principal], dict[str, Any]]]:
        """What the sandbox has of IAM."""
        return {"GetRole": self.get_role, "SimulatePrincipalPolicy": self.simulate}

    def get_role(self, params: Params, caller: Principal) -> dict[str, Any]:  # noqa: ARG002 - the operations' one shape
        """GetRole; the document is URL-encoded JSON (botocore's model, policyDocumentType)."""
        arn = f"arn:aws:iam::{self._iam.account}:role/{params['RoleName']}"
        role = self._iam.roles.get(arn)
        if role is None:
            raise AwsError("NoSuchEntity", f"The role with name {params['RoleName']} cannot be found.")
        return {
            "Role": {
                "Path": "/",
                "RoleName": role.name,
                "RoleId": "AROA2SANDBOXSANDBOX00",
                "Arn": arn,
                "CreateDate": self._iam.began,
                "AssumeRolePolicyDocument": quote(json.dumps(role.trust)),
                "MaxSessionDuration": role.max_session,
            }
        }

    def simulate(self, params: Params, caller: Principal) -> dict[str, Any]:  # noqa: ARG002 - as above
        """SimulatePrincipalPolicy: what was denied to the role's sessions here is denied, all else is allowed."""
        role = self._iam.roles.get(params["PolicySourceArn"])
        if role is None:
            raise AwsError("NoSuchEntity", f"The role {params['PolicySourceArn']} cannot be found.")
        session = f"arn:aws:sts::{self._iam.account}:assumed-role/{role.name}/simulated"
        results = []
        for action in params["ActionNames"]:
            for resource in params.get("ResourceArns") or ["*"]:
                denied = any(
                    fnmatchcase(action, each.action)
                    and fnmatchcase(session, each.principal)
                    and fnmatchcase(resource, each.resource)
                    for each in self._iam.denials
                )
                results.append(
                    {
                        "EvalActionName": action,
                        "EvalResourceName": resource,
                        "EvalDecision": "implicitDeny" if denied else "allowed",
                        "MatchedStatements": [],
                        "MissingContextValues": [],
                    }
                )
        return {"EvaluationResults": results, "IsTruncated": False}
