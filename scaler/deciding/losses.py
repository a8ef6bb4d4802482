"""
Jobs whose machines are gone from under them: told, and run again once where the pool says so. Pure.

GitHub calls such a job running until it gives it up, some ten minutes later, and lets it run again only once the
whole run is over. Until then it is remembered.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from scaler.deciding.offerings import SPOT_PAUSE
from scaler.model import (
    Instance,
    Job,
    JobStatus,
    Loss,
    Market,
    Memory,
    Reason,
    Rerun,
    RunEnd,
    Snapshot,
    Subject,
    Verdict,
    View,
)
from scaler.settings.config import Config

LOSS_KEPT = timedelta(hours=24)
"""So long a run may go on before its lost jobs are forgotten."""
LOSSES = 20
"""So many lost jobs are remembered at a time, so that the state stays small."""
POWERED_OFF = "Client.InstanceInitiatedShutdown"
"""The machine ended itself: its job is done, and GitHub's list of jobs lags; or it has reached its max_lifetime."""


@dataclass
class Losses:
    """What is to be done about lost jobs. Lives within one call of `decide`."""

    memory: Memory
    commands: list[Rerun] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)


def is_taken_back(instance: Instance) -> bool:
    """Whether EC2 ended it by itself: no person, no caller, not the machine (AWS docs: StateReason)."""
    return instance.ended_by.startswith("Server.")


def machines_gone(snapshot: Snapshot) -> dict[int, Instance]:
    """By running job the machine that it ran on and that has ended."""
    gone = {snapshot.runner_prefix + instance.id: instance for instance in snapshot.gone}
    return {
        job.id: gone[job.runner_name]
        for job in snapshot.jobs
        if job.status is JobStatus.IN_PROGRESS and job.runner_name in gone
    }


def what_runs(job: Job, gone: Instance | None) -> tuple[Reason, str]:
    """What is said of a running job."""
    runner = job.runner_name or "a runner"
    if gone is None:
        return Reason.RUNNING, f"runs on {runner}"
    if gone.ended_by == POWERED_OFF:
        return Reason.RUNNING, f"runs on {runner}, whose machine has powered itself off"
    who = "taken back by EC2" if is_taken_back(gone) else "ended by a call"
    why = f"its machine {gone.id} was {who} ({gone.ended_by or 'no reason told'})"
    return Reason.LOST, f"{why}; GitHub gives the job up within minutes"


def review_losses(config: Config, snapshot: Snapshot, memory: Memory) -> Losses:
    """Remember what was lost just now, and run again what was lost before and whose run is over."""
    losses = Losses(_with_new(config, snapshot, memory))
    running = {_key(job) for job in snapshot.jobs}
    kept: dict[str, Loss] = {}
    over: dict[tuple[str, int], list[str]] = defaultdict(list)
    ends = {(end.repository, end.id): end for end in snapshot.ended}
    for key, loss in losses.memory.lost.items():
        repository = key.partition("#")[0]
        if key in running or not snapshot.sees(View.QUEUE, repository):
            kept[key] = loss
        elif _is_to_run_again(config, snapshot, loss, ends.get((repository, loss.run_id))):
            kept[key] = loss
            over[repository, loss.run_id].append(key)
    for place, keys in over.items():
        if place in ends and not _review_run(ends[place], keys, losses):
            kept = {key: loss for key, loss in kept.items() if key not in keys}
    losses.memory = replace(losses.memory, lost=kept)
    return losses


def _key(job: Job) -> str:
    return f"{job.repository}#{job.id}"


def _with_new(config: Config, snapshot: Snapshot, memory: Memory) -> Memory:
    """The memory with the jobs whose machines were seen taken back for the first time."""
    lost, reclaimed, gone = dict(memory.lost), dict(memory.reclaimed), machines_gone(snapshot)
    for job in snapshot.jobs:
        instance = gone.get(job.id)
        if instance is None or not is_taken_back(instance) or _key(job) in lost or len(lost) >= LOSSES:
            continue
        # A dead instance loses its tags within minutes; its job tells the pool as well, if but one fits.
        pool = instance.pool or next((p.name for p in config.pools if job.labels <= frozenset(p.labels)), "")
        lost[_key(job)] = Loss(job.run_id, job.attempt, pool, snapshot.now)
        if instance.market is Market.SPOT:
            reclaimed = {name: at for name, at in reclaimed.items() if snapshot.now - at < SPOT_PAUSE}
            reclaimed[pool] = snapshot.now
    return replace(memory, lost=lost, reclaimed=reclaimed)


def _is_to_run_again(config: Config, snapshot: Snapshot, loss: Loss, end: RunEnd | None) -> bool:
    """
    Whether a job that GitHub has given up is to run again: only a run's first attempt, so never twice.

    Somebody who runs it again by hand, before or after, has taken it over.
    """
    pool = config.pool(loss.pool)
    if pool is None or not pool.rerun_lost or loss.attempt != 1 or snapshot.now - loss.seen_at > LOSS_KEPT:
        return False
    return end is None or end.attempt == loss.attempt


def _review_run(end: RunEnd, keys: Sequence[str], losses: Losses) -> bool:
    """What becomes of the lost jobs of one run; whether they are to be remembered any longer."""
    lost = {int(key.partition("#")[2]) for key in keys}
    failed = {job.id for job in end.jobs if job.conclusion == "failure"}
    mine = [job for job in end.jobs if job.id in lost]
    reason, what = Reason.RERUN, "it is run again, once, when its run is over"
    if end.over and (end.conclusion == "cancelled" or not lost <= failed):
        reason, what = Reason.LOST, "GitHub does not call it failed: somebody cancelled it, and it is not run again"
    elif end.over and len(lost) > 1 and lost != failed:
        reason, what = (
            Reason.LOST,
            "so were others of its run, of which more failed by themselves: run them again by hand",
        )
    elif end.over:
        what = "its run is over, and it is run again, once"
    sentence = f"its machine was taken back by EC2; {what}"
    if end.over and reason is Reason.RERUN:
        job_id, names = (mine[0].id if len(lost) == 1 else None), ", ".join(job.name for job in mine)
        losses.commands.append(Rerun(end.repository, end.id, end.attempt, job_id, names, reason, sentence))
    losses.verdicts += [
        Verdict(Subject.JOB, str(job.id), job.name, end.repository, "", reason, sentence) for job in mine
    ]
    return reason is Reason.RERUN
