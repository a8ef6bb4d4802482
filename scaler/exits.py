"""The exit code of a tick: the most urgent thing that a person should know. Pure."""

from __future__ import annotations

from datetime import timedelta
from enum import IntEnum

from scaler.model import Launch, Reason, Result, Subject, Tick

PATIENCE = timedelta(minutes=10)
"""A job may wait that long for a full pool or for EC2's capacity before the run turns red."""
CAPS = frozenset({Reason.POOL_FULL, Reason.FLEET_FULL, Reason.BUDGET_SPENT, Reason.UNPROVEN, Reason.NO_CAPACITY})
REFUSALS = frozenset({Reason.REFUSED, Reason.BUSY, Reason.HELD, Reason.PUBLIC})


class Exit(IntEnum):
    """What a process says at its end."""

    OK = 0
    UNEXPECTED = 1
    INPUT = 2
    CREDENTIALS = 3
    DEGRADED = 4
    CAPPED = 5
    INTERRUPTED = 130
    TERMINATED = 143


def exit_code(tick: Tick) -> Exit:
    """
    Credentials before refusals before what was unseen before caps; 0 when demand is served or being served.

    A cap turns a scheduled tick red only when a job has waited ten minutes for it; asked for by hand, at once.
    """
    results = {outcome.result for outcome in tick.outcomes}
    unseen = (*tick.snapshot.unseen, *tick.unseen)
    if Result.DENIED in results or any(each.denied for each in unseen):
        return Exit.CREDENTIALS
    if Result.REFUSED in results or _refused(tick):
        return Exit.INPUT
    if unseen or Result.FAILED in results or (tick.snapshot.asked and _has(tick, Reason.UNKNOWN)):
        return Exit.DEGRADED
    if _has(tick, Reason.BREAKER_OPEN) or _capped(tick):
        return Exit.CAPPED
    return Exit.OK


def _has(tick: Tick, reason: Reason) -> bool:
    return any(verdict.reason is reason for verdict in tick.plan.verdicts)


def _refused(tick: Tick) -> bool:
    if not tick.snapshot.asked:
        return False
    by_verdict = any(v.reason in REFUSALS for v in tick.plan.verdicts)
    return by_verdict or any(outcome.result is Result.BUSY for outcome in tick.outcomes)


def _capped(tick: Tick) -> bool:
    no_capacity = any(outcome.result is Result.NO_CAPACITY for outcome in tick.outcomes)
    if tick.snapshot.asked and any(isinstance(o.command, Launch) and not o.instance_id for o in tick.outcomes):
        return True
    for verdict in tick.plan.verdicts:
        if verdict.subject is Subject.REQUEST and verdict.reason in CAPS:
            return True
        waited = verdict.since is not None and tick.snapshot.now - verdict.since > PATIENCE
        stuck = verdict.reason in CAPS or (no_capacity and verdict.reason is Reason.LAUNCHING)
        if verdict.subject is Subject.JOB and waited and stuck:
            return True
    return False
