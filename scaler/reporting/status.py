"""`status`: why jobs wait, what runs, and how to stop it, for somebody at a terminal. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from scaler.model import Reason, Subject, Tick, Verdict
from scaler.reporting.costs import costs_of, in_short
from scaler.reporting.report import NOT_OURS, age_of, blind, by_urgency, headline, state
from scaler.reporting.trend import first
from scaler.settings.config import Config
from scaler.text import safe

ROWS = 100
"""A list at a terminal is cut there, with a count; the JSON document has all of it."""
WIDEST = 40
"""Columns are aligned up to this width: one long name should not push the others off the screen."""
HOW_TO_STOP = (
    "end an instance: down -i INSTANCE_ID (with --force even if it runs a job)",
    "keep an instance: tag it runner-scaler:hold",
    "launch no more: max: 0 in its pool",
    "stop all: disable the workflow; instances end themselves",
)


def status(tick: Tick, config: Config, clocks: Sequence[str] = ()) -> list[str]:
    """What could not be seen, why each job waits, what runs in each pool, when the clocks ran, the costs, how to stop."""
    now = tick.snapshot.now
    found = [f"fleet {config.fleet}: {state(tick).lower()}: {headline(tick)} · {now:%Y-%m-%d %H:%M:%S} UTC"]
    for each in blind(tick):
        found += [f"not seen: {each.what}: {safe(each.why)}", *(f"  {line}" for line in each.remedy.splitlines())]
    jobs = [v for v in by_urgency(tick.plan.verdicts) if v.subject is Subject.JOB and v.reason not in NOT_OURS]
    if waiting := [job for job in jobs if job.reason is not Reason.RUNNING]:
        found += ["why jobs wait:", *_rows(tick, waiting)]
    ours = {v.name for v in tick.plan.verdicts if v.subject is Subject.INSTANCE}
    at_ours = {str(job.id) for job in tick.snapshot.jobs if job.runner_name in ours}
    if elsewhere := [job for job in jobs if job.reason is Reason.RUNNING and job.id not in at_ours]:
        found += ["jobs that run elsewhere:", *_rows(tick, elsewhere)]
    for name, most in _pools(tick, config).items():
        mine = [v for v in tick.plan.verdicts if v.subject is Subject.INSTANCE and v.pool == name]
        states = Counter(v.reason.value for v in mine)
        said = ", ".join(f"{count} {reason}" for reason, count in states.items()) or "nothing runs"
        found += [f"pool {safe(name) or '(unknown)'}: {len(mine)}{most} ({said})", *_rows(tick, mine)]
    if images := [v for v in tick.plan.verdicts if v.subject is Subject.IMAGE]:
        found += ["images:", *_rows(tick, images)]
    rest = [v for v in tick.plan.verdicts if v.subject not in (Subject.JOB, Subject.INSTANCE, Subject.IMAGE)]
    if rest:
        found += ["left behind:", *_rows(tick, rest)]
    found += [*clocks, f"costs: {in_short(costs_of(config, first(tick)))}"]
    return [*found, "how to stop:", *(f"  {line}" for line in HOW_TO_STOP)]


def _pools(tick: Tick, config: Config) -> dict[str, str]:
    """The pools of the config, then those that instances alone still name; with the end of `3 of 20`."""
    named = {pool.name: f" of {pool.max}" for pool in config.pools}
    return named | {v.pool: "" for v in tick.plan.verdicts if v.subject is Subject.INSTANCE and v.pool not in named}


def _rows(tick: Tick, verdicts: Sequence[Verdict]) -> list[str]:
    """One aligned line each: age, scope, what it is, reason and sentence."""
    told = [
        (
            age_of(tick.snapshot.now, verdict.since),
            safe(verdict.scope),
            safe(verdict.id if verdict.subject is Subject.INSTANCE else verdict.name),
            f"{verdict.reason.value}: {safe(verdict.sentence)}",
        )
        for verdict in verdicts[:ROWS]
    ]
    widths = [min(max(map(len, column), default=0), WIDEST) for column in list(zip(*told, strict=True))[:3]]
    found = [
        f"  {age:>{widths[0]}}  {scope:<{widths[1]}}  {name:<{widths[2]}}  {why}" for age, scope, name, why in told
    ]
    more = len(verdicts) - ROWS
    return [*found, *([f"  … and {more} more (all: --json)"] if more > 0 else [])]
