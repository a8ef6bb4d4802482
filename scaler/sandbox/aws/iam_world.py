"""
Who calls: keys, sessions, roles with trust policies; and what is denied to whom.

Secrets of credentials are real to botocore and curl and worth nothing outside this process. Their expiry is
real time; everything else in the world is virtual.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

import jwt

from scaler.sandbox.aws import sigv4
from scaler.sandbox.aws.error import AwsError
from scaler.sandbox.aws.oidc import Issuer, real_now
from scaler.sandbox.aws.settings import BadSetting
from scaler.sandbox.loopback import HttpRequest

SKEW = timedelta(minutes=5)
AUDIENCE = "sts.amazonaws.com"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who made a call. `instance_id` is set for an instance's role."""

    arn: str
    user_id: str
    account: str
    instance_id: str = ""


@dataclass(frozen=True, slots=True)
class Credentials:
    """An access key. `token` and `expires` (real time) are None for a long-lived one."""

    access_key: str
    secret: str = field(repr=False)
    token: str | None = field(repr=False)
    expires: datetime | None
    principal: Principal


@dataclass(frozen=True, slots=True)
class Role:
    """An IAM role: who may assume it (a trust policy document), and for how long at most."""

    arn: str
    trust: Mapping[str, Any]
    max_session: int = 3600

    @property
    def name(self) -> str:
        """The last part of the ARN."""
        return self.arn.rpartition("/")[2]


@dataclass(slots=True)
class Denial:
    """A permission that somebody lacks: `ssm:PutParameter`, for principals and resources by glob, some times."""

    action: str
    principal: str = "*"
    resource: str = "*"
    times: int | None = None


# What each service says: unknown key, wrong signature, stale date, expired credentials, none, unreadable.
_INVALID = "The security token included in the request is invalid."
_EXPIRED = "The security token included in the request is expired"
_WRONG = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access"
    " Key and signing method. Consult the service documentation for details."
)
_EC2 = "AWS was not able to validate the provided access credentials"
_REFUSALS: dict[str, dict[str, tuple[str, str]]] = {
    "ec2": {
        "unknown": ("AuthFailure", _EC2),
        "wrong": ("AuthFailure", _EC2),
        "stale": ("RequestExpired", "Request has expired."),
        "expired": ("RequestExpired", "Request has expired."),
        "unsigned": ("MissingParameter", "The request must contain the parameter AWSAccessKeyId"),
        "malformed": ("IncompleteSignature", ""),
    },
    "ssm": {
        "unknown": ("UnrecognizedClientException", _INVALID),
        "wrong": ("InvalidSignatureException", _WRONG),
        "stale": ("InvalidSignatureException", "Signature expired"),
        "expired": ("ExpiredTokenException", _EXPIRED),
        "unsigned": ("MissingAuthenticationTokenException", "Missing Authentication Token"),
        "malformed": ("IncompleteSignatureException", ""),
    },
    "sts": {
        "unknown": ("InvalidClientTokenId", _INVALID),
        "wrong": ("SignatureDoesNotMatch", _WRONG),
        "stale": ("SignatureDoesNotMatch", "Signature expired"),
        "expired": ("ExpiredToken", _EXPIRED),
        "unsigned": ("MissingAuthenticationToken", "Request is missing Authentication Token"),
        "malformed": ("IncompleteSignature", ""),
    },
}


class IamWorld:
    """Keys, sessions, roles and denials of one account."""

    def __init__(self, account: str, region: str, now: Callable[[], datetime] = real_now) -> None:
        self.account = account
        self.region = region
        self.roles: dict[str, Role] = {}
        self.denials: list[Denial] = []
        self.issuers: dict[str, Issuer] = {}
        self.began = now().replace(microsecond=0)
        self._now = now
        self._keys: dict[str, Credentials] = {}
        self._of_instance: dict[str, Credentials] = {}

    # --- who ---------------------------------------------------------------------------------

    def user(self, name: str = "ambient") -> Credentials:
        """A long-lived access key of an IAM user, for tests and for ambient credentials."""
        principal = Principal(f"arn:aws:iam::{self.account}:user/{name}", f"AIDA{_key()}", self.account)
        return self._add(Credentials(f"AKIA{_key()}", secrets.token_urlsafe(30), None, None, principal))

    def session(self, role: str, name: str, lifetime: int, instance_id: str = "") -> Credentials:
        """Temporary credentials of a role, for `lifetime` real seconds."""
        principal = Principal(
            f"arn:aws:sts::{self.account}:assumed-role/{role}/{name}", f"AROA{_key()}:{name}", self.account, instance_id
        )
        expires = (self._now() + timedelta(seconds=lifetime)).replace(microsecond=0)
        token = secrets.token_urlsafe(240)
        return self._add(Credentials(f"ASIA{_key()}", secrets.token_urlsafe(30), token, expires, principal))

    def of_instance(self, instance_id: str, role: str) -> Credentials:
        """The instance role's credentials, renewed in time as the metadata service does."""
        held = self._of_instance.get(instance_id)
        if held is None or held.expires is None or held.expires - self._now() < SKEW:
            held = self._of_instance[instance_id] = self.session(role, instance_id, 21_600, instance_id)
        return held

    def revoke(self, access_key: str) -> None:
        """Forget a key."""
        self._keys.pop(access_key, None)

    def _add(self, credentials: Credentials) -> Credentials:
        self._keys[credentials.access_key] = credentials
        return credentials

    def authenticate(self, request: HttpRequest, service: str) -> Principal:
        """Who signed this request. Raises the errors that the service in question answers."""
        try:
            signed = sigv4.read(request)
        except sigv4.Malformed as error:
            raise _refusal(service, "malformed", str(error)) from None
        if signed is None:
            raise _refusal(service, "unsigned")
        if signed.service != service or signed.region != self.region:
            raise _refusal(service, "wrong", f"Credential should be scoped to {self.region}/{service}.")
        key = self._keys.get(signed.access_key)
        token = request.headers.get("x-amz-security-token")
        if key is None or token != key.token:
            raise _refusal(service, "unknown")
        needed = {"host", "x-amz-date"} | ({"x-amz-security-token"} if key.token else set())
        if not needed <= set(signed.headers) or not sigv4.matches(request, signed, key.secret):
            raise _refusal(service, "wrong")
        now = self._now()
        if key.expires is not None and now >= key.expires:
            raise _refusal(service, "expired")
        if abs(now - signed.date) > SKEW:
            raise _refusal(service, "stale", _stale(now, signed.date) if service != "ec2" else "")
        return key.principal

    # --- may they ------------------------------------------------------------------------------

    def deny(self, action: str, *, principal: str = "*", resource: str = "*", times: int | None = None) -> Denial:
        """Take a permission away: `deny("ssm:PutParameter")`. Returns what `allow` takes back."""
        denial = Denial(action, principal, resource, times)
        self.denials.append(denial)
        return denial

    def allow(self, denial: Denial) -> None:
        """Give it back."""
        self.denials.remove(denial)

    def authorize(self, principal: Principal, action: str, resources: Sequence[str] = ("*",)) -> None:
        """Raise the service's AccessDenied if this principal lacks `action` (`ssm:PutParameter`) on a resource."""
        for resource in resources or ("*",):
            for denial in self.denials:
                if (
                    fnmatchcase(action, denial.action)
                    and fnmatchcase(principal.arn, denial.principal)
                    and fnmatchcase(resource, denial.resource)
                    and denial.times != 0
                ):
                    if denial.times is not None:
                        denial.times -= 1
                    raise refused(principal, action, resource)

    # --- web identity --------------------------------------------------------------------------

    def assume_with_web_identity(self, params: Mapping[str, Any]) -> tuple[Credentials, Mapping[str, Any]]:
        """
        Exchange an id-token for a session of a role: the credentials and the token's claims.

        Checks the signature, audience and times of the token, then the role's trust policy.
        """
        claims = self._claims(params["WebIdentityToken"])
        role = self.roles.get(params["RoleArn"])
        provider = f"arn:aws:iam::{self.account}:oidc-provider/{claims['iss'].removeprefix('https://')}"
        if role is None or not trusts(role.trust, provider, claims):
            raise AwsError("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
        lifetime = int(params.get("DurationSeconds", 3600))
        if not 900 <= lifetime <= 43_200:
            bound = "greater than or equal to 900" if lifetime < 900 else "less than or equal to 43200"
            raise AwsError(
                "ValidationError",
                f"1 validation error detected: Value '{lifetime}' at 'durationSeconds' failed to satisfy"
                f" constraint: Member must have value {bound}",
            )
        if lifetime > role.max_session:
            text = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
            raise AwsError("ValidationError", text)
        return self.session(role.name, params["RoleSessionName"], lifetime), claims

    def _claims(self, token: str) -> Mapping[str, Any]:
        try:
            loose: Mapping[str, Any] = jwt.decode(token, options={"verify_signature": False})
            issuer_url, audience = str(loose["iss"]), loose["aud"]
        except (jwt.PyJWTError, KeyError):
            raise AwsError("InvalidIdentityToken", "The ID Token provided is not a valid JWT.") from None
        issuer = self.issuers.get(issuer_url)
        if issuer is None:
            raise AwsError("InvalidIdentityToken", f"No OpenIDConnect provider found in your account for {issuer_url}")
        off = {f"verify_{name}": False for name in ("exp", "nbf", "iat", "aud")}
        try:
            jwt.decode(token, issuer.key.public_key(), algorithms=["RS256"], options=off)  # type: ignore[arg-type]
        except jwt.PyJWTError:
            raise AwsError("InvalidIdentityToken", "Provided Token's signature is invalid") from None
        if AUDIENCE not in ([audience] if isinstance(audience, str) else audience):
            raise AwsError("InvalidIdentityToken", "Incorrect token audience")
        now = int(self._now().timestamp())
        if now >= int(loose.get("exp", 0)):
            text = f"Token expired: current date/time {now} must be before the expiration date/time{loose.get('exp')}"
            raise AwsError("ExpiredTokenException", text)
        if now < int(loose.get("nbf", 0)):
            raise AwsError("InvalidIdentityToken", "The ID Token provided is not valid yet.")
        return loose


def trusts(policy: Mapping[str, Any], provider: str, claims: Mapping[str, Any]) -> bool:
    """
    Whether a trust policy lets these claims of this OIDC provider assume its role.

    A condition key is `token.actions.githubusercontent.com:sub`; its claim stands after the last colon. A claim
    that the token lacks meets no positive condition.
    """
    allowed = False
    for statement in _list(policy.get("Statement", ())):
        named = _list(statement.get("Principal", {}).get("Federated", ()))
        actions = _list(statement.get("Action", ()))
        if provider not in named or not any(fnmatchcase("sts:AssumeRoleWithWebIdentity", each) for each in actions):
            continue
        if _conditions_hold(statement.get("Condition", {}), claims):
            if statement.get("Effect") != "Allow":
                return False
            allowed = True
    return allowed


def _conditions_hold(conditions: Mapping[str, Mapping[str, Any]], claims: Mapping[str, Any]) -> bool:
    for operator, keys in conditions.items():
        for key, wanted in keys.items():
            claim = claims.get(key.rpartition(":")[2])
            if not _holds(operator, None if claim is None else str(claim), [str(each) for each in _list(wanted)]):
                return False
    return True


def _holds(operator: str, claim: str | None, wanted: list[str]) -> bool:
    name = operator.removeprefix("ForAnyValue:").removesuffix("IfExists")
    if claim is None:
        return operator.endswith("IfExists") or "Not" in name
    match name:
        case "StringEquals":
            return claim in wanted
        case "StringNotEquals":
            return claim not in wanted
        case "StringEqualsIgnoreCase":
            return claim.lower() in [each.lower() for each in wanted]
        case "StringLike":
            return any(_like(claim, each) for each in wanted)
        case "StringNotLike":
            return not any(_like(claim, each) for each in wanted)
    raise BadSetting(f"trust policy: the sandbox does not know the operator {operator}")


def _like(claim: str, pattern: str) -> bool:
    return fnmatchcase(claim, pattern.replace("[", "[[]"))


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _key() -> str:
    return "".join(secrets.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") for _ in range(16))


def _stale(now: datetime, signed: datetime) -> str:
    """As users quote it: "Signature expired: … is now earlier than … (… - 5 min.)"."""
    late = signed < now
    bound = now - SKEW if late else now + SKEW
    told = (
        "expired: {} is now earlier than {} ({} - 5 min.)"
        if late
        else "not yet current: {} is still later than {} ({} + 5 min.)"
    )
    return "Signature " + told.format(*(f"{when:%Y%m%dT%H%M%SZ}" for when in (signed, bound, now)))


def _refusal(service: str, kind: str, detail: str = "") -> AwsError:
    code, message = _REFUSALS["sts" if service == "iam" else service][kind]
    return AwsError(code, detail or message)


def refused(principal: Principal, action: str, resource: str) -> AwsError:
    """What a service answers to a caller without permission."""
    service, _, _ = action.partition(":")
    who = f"User: {principal.arn} is not authorized to perform: {action} on resource: {resource}"
    text = f"{who} because no identity-based policy allows the {action} action"
    match service:
        case "ssm":
            return AwsError("AccessDeniedException", text)
        case "iam" if action != "iam:PassRole":  # which EC2 asks for, and refuses
            return AwsError("AccessDenied", text)
        case "sts":
            return AwsError("AccessDenied", text)
    text = f"You are not authorized to perform this operation. {text}. Encoded authorization failure message: AQ"
    return AwsError("UnauthorizedOperation", text)
