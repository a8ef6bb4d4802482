"""
Calls no faster than AWS and GitHub take them: a token bucket for each kind, on the machine's clock.

A throttled call costs more than one that waited its turn, and costs others in the account theirs. Others may empty the
same buckets all the same: then the SDK asks again, and the next tick after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from threading import Lock

from scaler.model import Clock


class Limit(StrEnum):
    """What is metered apart."""

    CREATE_FLEET = "ec2:CreateFleet"
    DESCRIBE = "ec2:Describe*"
    TAG = "ec2:CreateTags, ec2:DeleteTags"
    TERMINATE = "ec2:TerminateInstances"
    PUT_PARAMETER = "ssm:PutParameter"
    DELETE_PARAMETERS = "ssm:DeleteParameters"
    GITHUB_WRITE = "GitHub's POST and DELETE"


SPARE = 2
"""Tokens that a burst leaves in each bucket: calls do not arrive in the order and at the distance they were sent in."""
LIMITS: Mapping[Limit, tuple[float, float]] = {
    # Calls at once, and a second from then on (AWS docs: request throttling for the Amazon EC2 API).
    Limit.CREATE_FLEET: (50 - SPARE, 5),
    Limit.DESCRIBE: (100 - SPARE, 20),
    Limit.TAG: (100 - SPARE, 10),
    Limit.TERMINATE: (100 - SPARE, 5),
    # terraform-aws-github-runner#5243, of DeleteParameter.
    Limit.DELETE_PARAMETERS: (5 - SPARE, 5),
    # A write is 5 points of 900 a minute (docs: rate limits for the REST API): 180 in any minute, no more than 100 at once.
    Limit.GITHUB_WRITE: (100, 80 / 60),
}


class Bucket:
    """A token bucket, kept as the time at which it is full again. Pure arithmetic."""

    def __init__(self, size: float, rate: float) -> None:
        """`size` calls at once, `rate` a second from then on."""
        self._size = size
        self._each = 1 / rate
        self._full_at = 0.0

    def take(self, now: float) -> float:
        """Take the next token, and say for how many seconds it is not there yet."""
        self._full_at = max(self._full_at, now) + self._each
        return max(self._full_at - self._size * self._each - now, 0.0)


class Pace:
    """Turns for calls. Safe to be asked by several threads."""

    def __init__(self, clock: Clock | None, parameter_writes: float) -> None:
        """So many parameters may be written a second. Without a clock nobody waits."""
        self._clock = clock
        self._lock = Lock()
        self._buckets = {limit: Bucket(size, rate) for limit, (size, rate) in LIMITS.items()}
        # AWS tells a rate, but not how many calls at once: so there is one at a time, evenly.
        self._buckets[Limit.PUT_PARAMETER] = Bucket(1, parameter_writes)

    def turn(self, limit: Limit) -> None:
        """Wait until a call of this kind may go out; at once, when the process is to stop."""
        if self._clock is None:
            return
        with self._lock:
            wait = self._buckets[limit].take(self._clock.monotonic())
        if wait > 0:
            self._clock.sleep(wait)
