"""What AWS's error codes mean for us, and what to do about each. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from botocore.exceptions import ClientError

from scaler.model import ApiError, Denied, LaunchAnswer, LaunchKind, Unavailable

CAPACITY = frozenset(
    {
        "InsufficientInstanceCapacity",
        "InsufficientFreeAddressesInSubnet",
        "InsufficientHostCapacity",
        "InsufficientReservedInstanceCapacity",
        "UnfulfillableCapacity",
        "Unsupported",
        "SpotMaxPriceTooLow",
        "MaxSpotInstanceCountExceeded",
        "VcpuLimitExceeded",
        "InstanceLimitExceeded",
    }
)
"""Another type, zone or market may do (AWS docs: EC2 error codes)."""
QUOTA = {
    "MaxSpotInstanceCountExceeded": "raise the quota of Spot Instance Requests for this instance family",
    "VcpuLimitExceeded": "raise the quota of vCPUs for this instance family (Service Quotas, EC2)",
    "InstanceLimitExceeded": "raise the quota of instances for this instance family (Service Quotas, EC2)",
}
THROTTLES = frozenset({"RequestLimitExceeded", "Throttling", "ThrottlingException", "TooManyUpdates"})
DENIALS = frozenset({"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"})
CREDENTIALS = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "RequestExpired",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "SignatureDoesNotMatch",
        "InvalidSignatureException",
        "IncompleteSignature",
        "IncompleteSignatureException",
    }
)
CLOCK = "this machine's clock is off, and AWS refuses what is dated minutes away: set the clock (NTP)"
CREDENTIALS_TOLD = {
    "RequestExpired": f"the credentials have expired: sign in to AWS again; or {CLOCK}",
    "ExpiredToken": "the credentials have expired: sign in to AWS again",
    "ExpiredTokenException": "the credentials have expired: sign in to AWS again",
    "InvalidClientTokenId": "AWS knows no such access key: it was deleted, or its session token is missing",
    "UnrecognizedClientException": "AWS knows no such access key: it was deleted, or its session token is missing",
}
"""What else it may be than a secret key that does not belong to its access key (AWS docs: EC2 error codes, STS errors)."""

POLICY_REMEDY = """\
Allow it in the role's policy: aws/scaler-policy.json of runner-scaler's repository is all that the scaler asks for,
with your account, region and fleet in place of 111122223333, us-east-1 and main."""


def code_of(error: ClientError) -> str:
    """EC2's error code."""
    return str(error.response.get("Error", {}).get("Code", ""))


def said(error: ClientError) -> str:
    """What AWS said, on one short line."""
    return _short(str(error.response.get("Error", {}).get("Message", "")))


def _short(message: str) -> str:
    """Without the encoded half of a denial, which says nothing to people."""
    return " ".join(message.partition("Encoded authorization failure message")[0].split())[:400]


def answer_for(error: ClientError, pool: str, region: str) -> LaunchAnswer | None:
    """The launch answer that a refused CreateFleet call stands for, or None if it is no answer at all."""
    code = code_of(error)
    if code == "IdempotentParameterMismatch":
        return LaunchAnswer(LaunchKind.MISMATCH, detail="its link was used with other launch parameters")
    if code == "IdempotentInstanceTerminated":
        return LaunchAnswer(LaunchKind.DEAD)
    if code in THROTTLES:
        return LaunchAnswer(LaunchKind.THROTTLED, detail="EC2 throttles launches", spent=False)
    if code in CAPACITY:
        return LaunchAnswer(LaunchKind.NO_CAPACITY, detail=_capacity(code, said(error)), spent=False)
    if code.startswith("InvalidLaunchTemplate"):
        mend = f"looked for in {region}; check pools.{pool}.launch_template and aws.region"
        return LaunchAnswer(LaunchKind.REFUSED, detail=f"{code}: {said(error)} ({mend})", spent=False)
    if code.startswith("Invalid") and code not in CREDENTIALS:
        return LaunchAnswer(LaunchKind.REFUSED, detail=f"{code}: {said(error)}", spent=False)
    return None


def fleet_answer(errors: Sequence[Any]) -> LaunchAnswer:
    """The launch answer of an instant fleet that launched nothing: its token is spent (runs-on#251)."""
    for row in errors:
        if row.get("ErrorCode") in DENIALS:
            # RunInstances, PassRole and CreateTags are asked for on our behalf, and refused within the answer.
            message = f"AWS: ec2:CreateFleet: denied ({_short(str(row.get('ErrorMessage', '')))})"
            raise Denied(message, POLICY_REMEDY, spent=True)
    codes = list(dict.fromkeys(str(row.get("ErrorCode", "")) for row in errors))
    details = "; ".join(
        _capacity(code, next(str(r.get("ErrorMessage", "")) for r in errors if r.get("ErrorCode") == code))
        for code in codes
    )
    if not codes or any(code in CAPACITY for code in codes):
        return LaunchAnswer(LaunchKind.NO_CAPACITY, detail=details or "EC2 launched nothing and gave no error")
    if any(code in THROTTLES for code in codes):
        return LaunchAnswer(LaunchKind.THROTTLED, detail=details)
    return LaunchAnswer(LaunchKind.REFUSED, detail=details)


def _capacity(code: str, message: str) -> str:
    return f"{code}: {QUOTA[code]}" if code in QUOTA else f"{code}: {_short(message)}"


def refusal(action: str, error: ClientError) -> ApiError:
    """The error for a call that failed: what was asked, what AWS said, how to mend it."""
    code = code_of(error)
    if code in DENIALS:
        return Denied(f"AWS: {action}: denied ({said(error)})", POLICY_REMEDY)
    if code in CREDENTIALS:
        return Denied(
            f"AWS: {action}: the credentials are not valid ({code}: {said(error)}); {_mend(code, said(error))}"
        )
    return Unavailable(f"AWS: {action}: {code}: {said(error)}")


def _mend(code: str, message: str) -> str:
    """A wrong clock is told by the message alone: its code is that of a wrong signature (SSM, STS)."""
    if message.startswith(("Signature expired", "Signature not yet current")):
        return CLOCK
    return CREDENTIALS_TOLD.get(code, "check the access key, its secret key and its session token")
