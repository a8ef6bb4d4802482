"""
What EC2 remembers of client tokens.

Source: EC2 developer guide, "Ensuring idempotency in EC2 API requests": at most 64 ASCII characters; the same
token with the same parameters does nothing again; with others it is IdempotentParameterMismatch; RunInstances
with a subnet or zone is idempotent in that zone only, everything else in the region.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from scaler.sandbox.aws.ec2_world import TERMINATED, Ec2World
from scaler.sandbox.aws.error import AwsError


@dataclass(frozen=True, slots=True)
class Use:
    """One successful call under a token: its parameters, its answer, and the instances it made."""

    asked: str
    answer: Mapping[str, Any]
    instance_ids: tuple[str, ...]
    at: datetime


class TokenBook:
    """Client tokens by action, place and token."""

    def __init__(self, ec2: Ec2World) -> None:
        self._ec2 = ec2
        self._uses: dict[tuple[str, str, str], Use] = {}

    def find(self, action: str, place: str, token: str, params: Mapping[str, Any]) -> Use | None:
        """The earlier use of this token; raises for a bad token or other parameters."""
        if not token:
            return None
        if len(token) > 64 or not token.isascii():
            raise AwsError("InvalidParameterValue", "Client token must be at most 64 ASCII characters.")
        use = self._uses.get((action, place, token))
        if use is None or self._forgotten(use):
            return None
        if use.asked != _asked(params):
            raise AwsError(
                "IdempotentParameterMismatch",
                "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).",
            )
        return use

    def keep(
        self,
        action: str,
        place: str,
        token: str,
        params: Mapping[str, Any],
        answer: Mapping[str, Any],
        ids: tuple[str, ...],
    ) -> None:
        """Remember a call that succeeded. A fleet that launched nothing succeeded as well (runs-on#251)."""
        if token:
            self._uses[action, place, token] = Use(_asked(params), answer, ids, self._ec2.clock.now())

    def all_terminated(self, use: Use) -> bool:
        """Whether the use launched instances and all of them are terminated by now."""
        return bool(use.instance_ids) and all(self._state(each) == TERMINATED for each in use.instance_ids)

    def forget(self, chosen: Callable[[str], bool] = lambda _: True) -> None:
        """Forget tokens before their time, as EC2 might."""
        self._uses = {key: use for key, use in self._uses.items() if not chosen(key[2])}

    def _forgotten(self, use: Use) -> bool:
        # At least 24 h after the instance's termination; for as long as one of them lives.
        ends = [held.ended_at for each in use.instance_ids if (held := self._ec2.get(each)) is not None]
        if None in ends:
            return False
        last = max([use.at, *(each for each in ends if each is not None)])
        return self._ec2.clock.now() - last >= timedelta(seconds=self._ec2.settings().tokens.memory)

    def _state(self, instance_id: str) -> str:
        held = self._ec2.get(instance_id)
        return held.state if held else TERMINATED


def dead_token() -> AwsError:
    """EC2's answer since January 2025 where a token's instance is terminated (boto/boto3#4406)."""
    return AwsError(
        "IdempotentInstanceTerminated",
        "The client token you have provided is associated with a terminated instance. Please use a different client"
        " token.",
    )


def _asked(params: Mapping[str, Any]) -> str:
    plain = {key: value for key, value in params.items() if key not in {"ClientToken", "DryRun"}}
    return json.dumps(plain, sort_keys=True, default=str)
