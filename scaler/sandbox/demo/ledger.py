"""
The closing ledger: whether every job and every instance of a finished world is accounted for.

It is made from ground truth alone (the journal, and what the worlds still hold) and from what was declared
beforehand (config and scenario). It balances when

- every queued job was served, or was cancelled by the scenario, or asks for labels that no pool declares and no
  runner ever carried;
- no job was killed: none was lost, and no instance was ended by the scaler while it ran one;
- no more was launched than needed: each instance served a job, or was struck by a declared fault, or is the one
  instance that a job left over which the scenario cancelled before it started;
- no pool ever had more instances than its max;
- no instance, runner or parameter is left. The fleet's memory, `/runner-scaler/<fleet>/state`, is meant to stay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from scaler.sandbox.aws.world import AwsWorld
from scaler.sandbox.demo.history import Declared, History, InstanceLife, JobLife
from scaler.sandbox.github.world import GitHubWorld


class Account(StrEnum):
    """What a job came to."""

    SERVED = "served"
    CANCELLED = "cancelled"
    UNSERVABLE = "servable by nobody"
    LOST = "lost"


class Use(StrEnum):
    """What an instance was good for."""

    SERVED = "served a job"
    STRUCK = "struck by a declared fault"
    SURPLUS = "surplus of cancelled jobs"
    BEYOND = "beyond need"


@dataclass(slots=True)
class Ledger:
    """The accounts. `problems` are the culprits, a sentence each; without one, it balances."""

    jobs: list[tuple[JobLife, Account, str]] = field(default_factory=list)
    instances: list[tuple[InstanceLife, Use]] = field(default_factory=list)
    peaks: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By pool: the most instances at once, and its max."""
    killed: list[JobLife] = field(default_factory=list)
    runners: list[str] = field(default_factory=list)
    parameters: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    billed: float = 0.0
    busy: float = 0.0
    problems: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 if it balances, else 1."""
        return 1 if self.problems else 0

    @property
    def waits(self) -> list[float]:
        """Seconds from queued to started of the jobs that were served, in order."""
        return sorted(
            job.waited for job, account, _ in self.jobs if account is Account.SERVED and job.waited is not None
        )

    def count(self, what: Account | Use) -> int:
        """How many jobs or instances have this account."""
        return sum(what is account for _, account, _ in self.jobs) + sum(what is use for _, use in self.instances)

    @property
    def alive(self) -> list[InstanceLife]:
        """The instances that are still there."""
        return [instance for instance, _ in self.instances if instance.alive]


def close(github: GitHubWorld, aws: AwsWorld, said: Declared) -> Ledger:
    """Make the ledger of a world in which nothing more will happen."""
    with github.clock.lock:
        history = History().read(github.state.journal)
        ledger = Ledger()
        _account_jobs(ledger, github, history, said)
        _account_instances(ledger, history, said)
        _account_rest(ledger, github, aws, said)
        ledger.billed = sum(aws.instance_seconds().values())
        ledger.busy = sum(
            _seconds(job.started_at, job.finished_at or github.clock.now()) for job in history.jobs.values()
        )
    return ledger


def _seconds(begin: datetime | None, end: datetime) -> float:
    return (end - begin).total_seconds() if begin else 0.0


# --- jobs ----------------------------------------------------------------------------------------


def _account_jobs(ledger: Ledger, github: GitHubWorld, history: History, said: Declared) -> None:
    for job in history.jobs.values():
        account, why = _account(job, github.job(job.id).outcome, history, said)
        ledger.jobs.append((job, account, why))
        if account is Account.LOST:
            ledger.problems.append(f"lost job: {job} ({job.id}) {why}")
        instance = history.instances.get(job.instance)
        if job.lost or (instance is not None and _was_killed(job, instance)):
            ledger.killed.append(job)
            how = job.lost or "its instance was ended by the scaler"
            ledger.problems.append(f"killed job: {job} ({job.id}) on {job.instance or job.runner}: {how}")


def _account(job: JobLife, outcome: str, history: History, said: Declared) -> tuple[Account, str]:
    waited = f"after {span((job.finished_at - job.queued_at).total_seconds())}" if job.finished_at else ""
    if job.conclusion == "cancelled" and said.cancelled(job):
        return Account.CANCELLED, f"cancelled by the scenario {waited}, {'running' if job.started_at else 'queued'}"
    if job.finished_at is None and job.started_at is None:
        strange = job.labels - history.labels
        if not said.pool_of(job.labels) and strange:
            return Account.UNSERVABLE, f"no runner ever carried {_quoted(strange)}"
        return Account.LOST, "was queued and never started"
    if job.finished_at is None:
        return Account.LOST, f"was started on {job.runner} and never finished"
    if job.started_at is None:
        return Account.LOST, f"ended as {job.conclusion} {waited} without having started"
    if job.conclusion != outcome:
        return Account.LOST, f"ended as {job.conclusion}, where its own steps would have ended as {outcome}"
    if job.instance not in history.instances:
        return Account.LOST, f"ran on {job.runner}, which is no instance of ours"
    return Account.SERVED, f"{job.conclusion} on {job.instance}"


def _was_killed(job: JobLife, instance: InstanceLife) -> bool:
    if instance.ended_by != "api" or instance.ending_at is None or job.started_at is None:
        return False
    return job.started_at <= instance.ending_at and (job.finished_at is None or instance.ending_at < job.finished_at)


def _quoted(labels: Iterable[str]) -> str:
    return " and ".join(f'"{label}"' for label in sorted(labels))


# --- instances -----------------------------------------------------------------------------------


def _account_instances(ledger: Ledger, history: History, said: Declared) -> None:
    unused = [job for job, account, _ in ledger.jobs if account is Account.CANCELLED and job.started_at is None]
    for instance in history.instances.values():
        use = _use(instance, unused, said)
        ledger.instances.append((instance, use))
        if use is Use.BEYOND:
            where = f"pool {instance.pool or '?'}, for {instance.scope or 'nobody'}, at {instance.launched_at:%H:%M:%S}"
            ledger.problems.append(
                f"double launch: {instance.id} ({where}) served no job, was struck by no declared fault, and no "
                "cancelled job left it over"
            )
        if instance.alive:
            ledger.problems.append(f"leaked instance: {instance.id} of pool {instance.pool or '?'} is {instance.phase}")
    for pool in said.pools:
        most = max(_levels(history.instances.values(), pool.name), default=0)
        ledger.peaks[pool.name] = (most, pool.max)
        if most > pool.max:
            ledger.problems.append(f"pool {pool.name} had {most} instances at once, its max is {pool.max}")


def _use(instance: InstanceLife, unused: list[JobLife], said: Declared) -> Use:
    """`unused` are the cancelled jobs that may still account for an instance: each for one, and is taken out."""
    if instance.jobs:
        return Use.SERVED
    if instance.faults:
        return Use.STRUCK
    for job in unused:
        if instance.serves(job) and said.fits(instance.pool, job.labels):
            unused.remove(job)
            return Use.SURPLUS
    return Use.BEYOND


def _levels(instances: Iterable[InstanceLife], pool: str) -> Iterator[int]:
    """How many of a pool's instances lived, after each launch."""
    steps: Counter[tuple[datetime, int]] = Counter()
    for each in instances:
        if each.pool == pool:
            steps[each.launched_at, 1] += 1
            if each.ending_at is not None:
                steps[each.ending_at, 0] -= 1  # an end and a launch at one moment: the end came first
    level = 0
    for _, change in sorted(steps.items()):
        level += change
        yield level


# --- what is left --------------------------------------------------------------------------------


def _account_rest(ledger: Ledger, github: GitHubWorld, aws: AwsWorld, said: Declared) -> None:
    memory = f"/runner-scaler/{said.fleet}/state"
    ledger.runners = [runner.name for runner in github.registered()]
    names = [name for name in aws.parameter_names() if name.startswith("/runner-scaler/")]
    ledger.parameters = [name for name in names if name != memory]
    ledger.kept = [name for name in names if name == memory]
    ledger.problems += [f"leaked runner: {name} is still registered" for name in ledger.runners]
    ledger.problems += [f"leaked parameter: {name}" for name in ledger.parameters]


# --- for people and programs ---------------------------------------------------------------------


def span(seconds: float) -> str:
    """`45s`, `3m05s`, `1h02m`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    return f"{whole // 60}m{whole % 60:02}s" if whole < 3600 else f"{whole // 3600}h{whole % 3600 // 60:02}m"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed (nearest rank); 0 of none."""
    return values[max(0, -(-len(values) * round(share * 100) // 100) - 1)] if values else 0.0


def lines(ledger: Ledger) -> list[str]:
    """The ledger as text."""
    found = [f"{head:<10} {text}" for head, text in (*_job_rows(ledger), *_instance_rows(ledger), *_left_rows(ledger))]
    if not ledger.problems:
        return [*found, "It balances."]
    return [*found, "It does not balance:", *(f"  {problem}" for problem in ledger.problems)]


_Rows = list[tuple[str, str]]


def _job_rows(ledger: Ledger) -> _Rows:
    counts = [f"{ledger.count(account)} {account}" for account in Account]
    unserved = [f"{job}: {why}" for job, account, why in ledger.jobs if account is not Account.SERVED]
    waits = ledger.waits
    half, most, longest = (span(percentile(waits, share)) for share in (0.5, 0.95, 1))
    return [
        ("jobs", f"{len(ledger.jobs)} queued: {', '.join(counts)}; {len(ledger.killed)} killed"),
        *(("", text) for text in unserved),
        ("waits", f"p50 {half}, p95 {most}, max {longest}, from queued to started"),
    ]


def _instance_rows(ledger: Ledger) -> _Rows:
    lives = [instance for instance, _ in ledger.instances]
    drained = sum(instance.drained_at is not None for instance in lives)
    faults = sorted({fault for instance, use in ledger.instances if use is Use.STRUCK for fault in instance.faults})
    counts = [f"{ledger.count(use)} {use}" for use in Use]
    if faults:
        counts[1] += f" ({', '.join(faults)})"
    enders = {"itself": "by themselves", "api": "by the scaler", "spot": "by EC2"}
    ends = [f"{sum(each.ended_by == by for each in lives)} {words}" for by, words in enders.items()]
    peaks = [f"{pool} {most} of {limit}" for pool, (most, limit) in ledger.peaks.items()]
    share = round(100 * ledger.busy / ledger.billed) if ledger.billed else 0
    return [
        ("instances", f"{len(lives)} launched: {', '.join(counts)}"),
        ("", f"ended: {', '.join(ends)}; {len(ledger.alive)} still there; {drained} drained by the scaler first"),
        ("", f"most at once: {', '.join(peaks)}"),
        ("billed", f"{ledger.billed / 60:.1f} instance-minutes, {ledger.busy / 60:.1f} of them busy ({share} %)"),
    ]


def _left_rows(ledger: Ledger) -> _Rows:
    rows = [("left", f"{len(ledger.runners)} runners, {len(ledger.parameters)} parameters of instances")]
    return [*rows, *(("", f"{name} stays: the fleet's memory") for name in ledger.kept)]


def as_json(ledger: Ledger) -> dict[str, Any]:
    """The ledger as data."""
    return {
        "balances": not ledger.problems,
        "problems": ledger.problems,
        "jobs": [
            {"job": job.id, "name": job.name, "repository": job.repository, "attempt": job.attempt,
             "account": account, "why": why, "waited_seconds": job.waited}
            for job, account, why in ledger.jobs
        ],
        "instances": [
            {"id": each.id, "pool": each.pool, "scope": each.scope, "use": use, "faults": list(each.faults),
             "ended_by": each.ended_by or None}
            for each, use in ledger.instances
        ],
        "killed": [job.id for job in ledger.killed],
        "left": {"instances": [each.id for each in ledger.alive], "runners": ledger.runners,
                 "parameters": ledger.parameters, "kept": ledger.kept},
        "wait_seconds": {"p50": percentile(ledger.waits, 0.5), "p95": percentile(ledger.waits, 0.95),
                         "max": max(ledger.waits, default=0.0)},
        "peaks": {pool: {"most": most, "max": limit} for pool, (most, limit) in ledger.peaks.items()},
        "billed_minutes": ledger.billed / 60,
        "busy_minutes": ledger.busy / 60,
    }  # fmt: skip
