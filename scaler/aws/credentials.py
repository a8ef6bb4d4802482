"""
AWS credentials: the job's own OIDC token exchanged for the role, or whatever the environment holds.

The exchange is done here rather than by another action, so that a watch can refresh it and action.yml needs
no third party (D12). The token is asked for anew each time, since it lives for minutes only.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

import boto3
import botocore.session
from botocore import UNSIGNED
from botocore.config import Config as BotoConfig
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import BotoCoreError, ClientError

from scaler.aws.errors import code_of, refusal, said
from scaler.aws.job_token import AUDIENCE, PERMISSION_REMEDY, JobToken
from scaler.model import Denied, Unavailable
from scaler.text import safe

SESSION_SECONDS = 3600
OURS = "runner-scaler"
"""Marks the credentials that were exchanged here (botocore's word for where credentials are from is `method`)."""
DISTRUST = frozenset({"AccessDenied", "InvalidIdentityToken", "IDPRejectedClaim", "ExpiredTokenException"})
"""What STS answers when it is the token or the trust policy that does not fit (AWS docs: AssumeRoleWithWebIdentity)."""

SHELL_REMEDY = """\
The config's role is assumed within a workflow alone, where the job has an OIDC token. In a shell, sign in to AWS
(AWS_PROFILE, `aws sso login`, …): the credentials found there are used as they are."""

AMBIENT_REMEDY = """\
Name a role in config.yaml (aws.role) or the input role-to-assume, and give the job id-token: write;
or put aws-actions/configure-aws-credentials before this step; or, in a shell, sign in (AWS_PROFILE, …)."""

SETTINGS_REMEDY = """\
Unset AWS_PROFILE, or mend the file that AWS_CONFIG_FILE names. The role is assumed with the job's own token: no
credentials are taken from there."""

ACCOUNT_REMEDY = "Sign in to the role's account (AWS_PROFILE, …), or correct aws.role in config.yaml."


def session_for(
    role: str | None, region: str, env: Mapping[str, str], token: JobToken | None, *, mask: Callable[[str], None]
) -> boto3.Session:
    """
    A session with the role's credentials where the job has a `token` for it, whatever else there is; else ambient ones.

    `mask` is told every secret that comes to be by the exchange; ambient ones are their giver's to mask.
    """
    core = botocore.session.get_session()
    try:
        core.get_scoped_config()  # read by every client, whoever's its credentials are
        found = bool(role and token) or core.get_credentials() is not None
    except BotoCoreError as error:
        remedy = SETTINGS_REMEDY if role and token else AMBIENT_REMEDY
        raise Denied(f"AWS: the SDK's settings here cannot be used ({safe(str(error))})", remedy) from error
    session = boto3.Session(botocore_session=core, region_name=region)
    if role and token:
        exchange = _Exchange(role, region, token, mask)
        core._credentials = RefreshableCredentials.create_from_metadata(  # type: ignore[attr-defined]  # noqa: SLF001 - botocore's documented way to refresh by own code
            metadata=exchange(), refresh_using=exchange, method=OURS
        )
    if found:
        return session
    if role and env.get("GITHUB_ACTIONS") == "true":
        raise Denied(f"AWS: no OIDC token to assume {role} with", PERMISSION_REMEDY)
    if role:
        raise Denied("AWS: no credentials found", SHELL_REMEDY)
    raise Denied("AWS: no credentials found", AMBIENT_REMEDY)


def account_of(role: str | None, session: boto3.Session, region: str) -> str:
    """
    The account's number: the role's own if it was assumed, else what STS says of the ambient credentials.

    Those of another account than the config's role are refused: the fleet there is not the one that is meant.
    """
    meant = _account_in(role or "")
    held = session.get_credentials()
    if meant and held is not None and held.method == OURS:
        return meant
    try:
        found = str(session.client("sts", region_name=region).get_caller_identity()["Account"])
    except ClientError as error:
        raise refusal("sts:GetCallerIdentity", error) from error
    except BotoCoreError as error:
        raise Unavailable(f"AWS: sts:GetCallerIdentity: no answer ({type(error).__name__})") from error
    if meant and found != meant:
        raise Denied(f"AWS: the credentials here are of account {found}, and aws.role is of {meant}", ACCOUNT_REMEDY)
    return found


def claims_of(env: Mapping[str, str], mask: Callable[[str], None]) -> Mapping[str, Any]:
    """What this job's token says of it; empty where the job can have none."""
    token = JobToken.of(env)
    if token is None:
        return {}
    text = token()
    mask(text)
    return _claims(text)


class _Exchange:
    """Called by botocore whenever the credentials are about to expire."""

    def __init__(self, role: str, region: str, token: JobToken, mask: Callable[[str], None]) -> None:
        self._role, self._region, self._token, self._mask = role, region, token, mask

    def __call__(self) -> dict[str, Any]:
        token = self._token()
        self._mask(token)
        sts = boto3.client("sts", region_name=self._region, config=BotoConfig(signature_version=UNSIGNED))
        try:
            answer = sts.assume_role_with_web_identity(
                RoleArn=self._role,
                RoleSessionName="runner-scaler",
                WebIdentityToken=token,
                DurationSeconds=SESSION_SECONDS,
            )["Credentials"]
        except ClientError as error:
            if code_of(error) not in DISTRUST:
                raise refusal("sts:AssumeRoleWithWebIdentity", error) from error
            raise Denied(
                f"AWS: {self._role} does not trust this workflow ({code_of(error)}: {said(error)})",
                trust_remedy(self._role, _claims(token)),
            ) from error
        except BotoCoreError as error:
            raise Unavailable(f"AWS: sts:AssumeRoleWithWebIdentity: no answer ({type(error).__name__})") from error
        for secret in (answer["AccessKeyId"], answer["SecretAccessKey"], answer["SessionToken"]):
            self._mask(secret)
        return {
            "access_key": answer["AccessKeyId"],
            "secret_key": answer["SecretAccessKey"],
            "token": answer["SessionToken"],
            "expiry_time": answer["Expiration"].isoformat(),
        }


def _claims(token: str) -> dict[str, Any]:
    """The token's claims, for the message alone: nothing is decided by them, so nothing is verified."""
    try:
        body = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (ValueError, IndexError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _account_in(role: str) -> str:
    """The account's number in a role's ARN; empty where it has none."""
    return role.split(":")[4] if role.count(":") > 3 else ""


def trust_remedy(role: str, claims: Mapping[str, Any]) -> str:
    """The trust policy statement that would have let this very job in."""
    issuer = str(claims.get("iss", "https://token.actions.githubusercontent.com")).removeprefix("https://")
    account = _account_in(role) or "<account>"
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": f"arn:aws:iam::{account}:oidc-provider/{issuer}"},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {f"{issuer}:aud": AUDIENCE, f"{issuer}:sub": claims.get("sub", "<sub>")}},
    }
    lines = json.dumps(statement, indent=2)
    return f"This job's token says sub={claims.get('sub', '?')}. The role's trust policy needs this statement:\n{lines}"
