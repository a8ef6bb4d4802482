"""What goes wrong with calls to the embedded AWS: faults that are asked for, and throttling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from scaler.sandbox.aws.error import AwsError
from scaler.sandbox.aws.settings import BadSetting, known, seconds
from scaler.sandbox.clock import Clock

KINDS = ("error", "http500", "drop-before", "drop-after", "delay")


@dataclass(slots=True)
class Fault:
    """
    Something that happens to calls: which (`ec2:CreateFleet`, globs), what, and how many times (None: always).

    `error` answers `code` without effect; `http500` answers no service's words; `drop-before` and `drop-after`
    close the connection before and after the effect; `delay` holds the call for `delay` virtual seconds.
    """

    action: str
    kind: str = "error"
    code: str = "InternalError"
    message: str = "An internal error has occurred"
    status: int = 0
    delay: float = 0.0
    times: int | None = 1
    skip: int = 0

    def meets(self, action: str) -> bool:
        """Whether this call is hit; counts it if so. The first `skip` calls that fit are spared."""
        if self.times == 0 or not fnmatchcase(action, self.action):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True

    def error(self) -> AwsError:
        """What an `error` fault answers."""
        return AwsError(self.code, self.message, self.status)


def faults_from(given: Any) -> list[Fault]:
    """Faults as a scenario lists them."""
    faults = []
    allowed = {"action", "kind", "code", "message", "status", "delay", "times", "skip"}
    for number, each in enumerate(given or ()):
        path = f"aws.faults[{number}]"
        row = known(each, path, allowed)
        if "action" not in row:
            raise BadSetting(f"{path}.action: missing")
        if row.get("kind", "error") not in KINDS:
            raise BadSetting(f"{path}.kind: expected one of {', '.join(KINDS)}, got {row['kind']!r}")
        if "delay" in row:
            row["delay"] = seconds(row["delay"], f"{path}.delay")
        faults.append(Fault(**row))
    return faults


class Throttle:
    """Token buckets per action, filled in virtual time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: dict[str, tuple[float, datetime]] = {}

    def check(self, service: str, action: str, limits: Mapping[str, tuple[float, float]]) -> None:
        """Take one token for a call. Raises the service's throttling error if there is none."""
        if action not in limits:
            return
        size, refill = limits[action]
        now = self._clock.now()
        held, since = self._buckets.get(action, (size, now))
        held = min(size, held + (now - since).total_seconds() * refill)
        if held < 1:
            self._buckets[action] = (held, now)
            raise _throttled(service)
        self._buckets[action] = (held - 1, now)


def _throttled(service: str) -> AwsError:
    if service == "ec2":
        return AwsError("RequestLimitExceeded", "Request limit exceeded.")
    return AwsError("ThrottlingException" if service == "ssm" else "Throttling", "Rate exceeded")
