"""The schemes of client tokens that are compared: the shipped one, and others that must be found bad."""

from __future__ import annotations

from dataclasses import replace

from scaler.model import Launch, LaunchAnswer, LaunchKind, Plan
from search.ticks import Scheme


def _per_job(plan: Plan) -> Plan:
    """The job's number (its name ends with it) stands for the link, so that the token is the job's."""
    return replace(plan, commands=tuple(_of_job(c) if isinstance(c, Launch) else c for c in plan.commands))


def _of_job(launch: Launch) -> Launch:
    job = int(launch.sentence.partition('"job-')[2].partition('"')[0] or 0)
    return replace(launch, link=job * 1000, asked_before=True)


def _goes_on(answer: LaunchAnswer) -> LaunchAnswer:
    return replace(answer, kind=LaunchKind.DEAD) if answer.kind is LaunchKind.MISMATCH else answer


def _always_next(plan: Plan) -> Plan:
    """However lately a link was used, the next one is asked for."""
    return replace(
        plan,
        commands=tuple(
            replace(c, link=c.link + 1, asked_before=False) if isinstance(c, Launch) and c.asked_before else c
            for c in plan.commands
        ),
    )


SHIPPED = Scheme("slot chain (shipped)")
RANDOM = Scheme("random token per call", token=lambda *_: None)
PER_JOB = Scheme("token per job", token=lambda pool, _slot, link, _: (pool, link), plan=_per_job)
MISMATCH_GOES_ON = Scheme("slot chain, mismatch goes on", hear=_goes_on)
ALWAYS_NEXT = Scheme("slot chain, always the next link", plan=_always_next)
REJECTED_SPENDS = Scheme("slot chain, a rejected call's link is spent", hear=lambda answer: replace(answer, spent=True))
SCHEMES = (SHIPPED, RANDOM, PER_JOB, MISMATCH_GOES_ON, ALWAYS_NEXT, REJECTED_SPENDS)
