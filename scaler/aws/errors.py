"""What AWS's error codes mean for us, and what to do about each. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from botocore.exceptions import ClientError

from scaler.aws.codes import CLOCK, Meaning, is_known, mend_of, row_of
from scaler.model import ApiError, Denied, LaunchAnswer, LaunchKind, Unavailable

POLICY_REMEDY = """\
Allow it in the role's policy: aws/stack.yaml of runner-scaler's repository has all that the scaler asks for, and
docs/security.md what could not be proven of it. Deploy that version of the stack again."""


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
    """
    The launch answer that a refused CreateFleet call stands for, or None if it is no answer at all.

    No fleet was made: its client token is as good as new, whatever the code.
    """
    code = code_of(error)
    match row_of(code).meaning:
        case Meaning.MISMATCH:
            return LaunchAnswer(LaunchKind.MISMATCH, detail="its link was used with other launch parameters")
        case Meaning.DEAD:
            return LaunchAnswer(LaunchKind.DEAD)
        case Meaning.THROTTLED:
            return LaunchAnswer(LaunchKind.THROTTLED, detail="EC2 throttles launches", spent=False)
        case Meaning.NEXT_OVERRIDE | Meaning.NEXT_MARKET:
            return LaunchAnswer(LaunchKind.NO_CAPACITY, detail=_told(code, said(error)), spent=False)
        case Meaning.STOP if is_known(code):
            where = ""
            if code.startswith("InvalidLaunchTemplate"):
                where = f" (looked for in {region}; check pools.{pool}.launch_template and aws.region)"
            return LaunchAnswer(LaunchKind.REFUSED, detail=_told(code, said(error)) + where, spent=False)
    return None  # credentials, permissions, a server that broke down: whether anything was launched is not known


def fleet_answer(errors: Sequence[Any]) -> LaunchAnswer:
    """
    The launch answer of an instant fleet that launched nothing: its token is spent (runs-on#251).

    EC2 tells an error for each override that it tried. If one was for want of capacity, another market may do.
    """
    rows = [(str(row.get("ErrorCode", "")), str(row.get("ErrorMessage", "")), _type_of(row)) for row in errors]
    meanings = {code: row_of(code).meaning for code, _, _ in rows}
    for code, message, _ in rows:
        if meanings[code] is Meaning.DENIED:
            # RunInstances, PassRole and CreateTags are asked for on our behalf, and refused within the answer.
            raise Denied(f"AWS: ec2:CreateFleet: denied ({_short(message)})", POLICY_REMEDY, spent=True)
    first = {code: (message, kind) for code, message, kind in reversed(rows)}
    details = "; ".join(_told(code, *first[code]) for code in meanings)
    found = set(meanings.values())
    if not rows or found & {Meaning.NEXT_OVERRIDE, Meaning.NEXT_MARKET}:
        return LaunchAnswer(LaunchKind.NO_CAPACITY, detail=details or "EC2 launched nothing and gave no error")
    again = found & {Meaning.THROTTLED, Meaning.RETRY}
    return LaunchAnswer(LaunchKind.THROTTLED if again else LaunchKind.REFUSED, detail=details)


def _type_of(row: Any) -> str:
    """The instance type that an error of a fleet's answer is about."""
    return str(row.get("LaunchTemplateAndOverrides", {}).get("Overrides", {}).get("InstanceType", ""))


def _told(code: str, message: str, instance_type: str = "") -> str:
    """The code and how to mend it, or else what EC2 said."""
    return f"{code}: {mend_of(code, instance_type) or _short(message)}"


def refusal(action: str, error: ClientError) -> ApiError:
    """The error for a call that failed: what was asked, what AWS said, how to mend it."""
    code = code_of(error)
    meaning = row_of(code).meaning
    if meaning is Meaning.DENIED:
        return Denied(f"AWS: {action}: denied ({said(error)})", POLICY_REMEDY)
    if meaning is Meaning.CREDENTIALS:
        return Denied(
            f"AWS: {action}: the credentials are not valid ({code}: {said(error)}); {_mend(code, said(error))}"
        )
    return Unavailable(f"AWS: {action}: {code}: {said(error)}")


def _mend(code: str, message: str) -> str:
    """A wrong clock is told by the message alone: its code is that of a wrong signature (SSM, STS)."""
    if message.startswith(("Signature expired", "Signature not yet current")):
        return CLOCK
    return mend_of(code) or "check the access key, its secret key and its session token"
