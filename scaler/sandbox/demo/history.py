"""
What became of each job and each instance, read back from the journal: the ground truth as rows.

The ledger, the live table and the timeline all read these, and nothing that the scaler says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from scaler.sandbox.journal import Entry

POOL_TAG = "runner-scaler:pool"
SCOPE_TAG = "runner-scaler:scope"


@dataclass(slots=True)
class JobLife:
    """One attempt of a job that was queued for self-hosted runners."""

    id: int
    run: int
    repository: str
    name: str
    attempt: int
    labels: frozenset[str]
    queued_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    conclusion: str = ""
    runner: str = ""
    instance: str = ""
    lost: str = ""

    @property
    def waited(self) -> float | None:
        """Seconds from queued to started."""
        return (self.started_at - self.queued_at).total_seconds() if self.started_at else None

    def __str__(self) -> str:
        again = f", attempt {self.attempt}" if self.attempt > 1 else ""
        return f'"{self.name}" of {self.repository}{again}'


@dataclass(slots=True)
class InstanceLife:
    """One instance from launch to end; `ended_by` is itself, api or spot, `drained_at` when its idle runner was deleted."""

    id: str
    pool: str
    launched_at: datetime
    scope: str = ""
    ephemeral: bool = True
    faults: tuple[str, ...] = ()
    running_at: datetime | None = None
    script_at: datetime | None = None
    online_at: datetime | None = None
    drained_at: datetime | None = None
    ending_at: datetime | None = None
    ended_at: datetime | None = None
    ended_by: str = ""
    jobs: list[JobLife] = field(default_factory=list)

    @property
    def alive(self) -> bool:
        """Whether it still is, and costs."""
        return self.ending_at is None

    @property
    def phase(self) -> str:
        """What it does now: booting, idle, busy, ending."""
        if not self.alive:
            return "ending"
        if any(job.finished_at is None for job in self.jobs):
            return "busy"
        if self.online_at is None:
            return "booting"
        return "ending" if self.drained_at or (self.jobs and self.ephemeral) else "idle"

    def serves(self, job: JobLife) -> bool:
        """Whether it was launched where the job's repository registers its runners."""
        return job.repository == self.scope or job.repository.startswith(f"{self.scope}/")


class History:
    """The journal's entries as lives; `read` takes the entries since it was last called."""

    def __init__(self) -> None:
        self.jobs: dict[int, JobLife] = {}
        self.instances: dict[str, InstanceLife] = {}
        self.labels: set[str] = set()
        """Every label that a runner ever carried, in lower case."""
        self.marks: list[tuple[datetime, str]] = []
        """What people did: runs cancelled, and run again."""

    def read(self, entries: Iterable[Entry]) -> History:
        """Take note of entries, oldest first."""
        for entry in entries:
            take = getattr(self, "_" + entry.what.replace(".", "_"), None)
            if take is not None:
                take(entry.at, entry.facts)
        return self

    def _run_cancelled(self, at: datetime, facts: Mapping[str, Any]) -> None:
        self.marks.append((at, f"{facts['workflow']} cancelled"))

    def _run_rerun(self, at: datetime, facts: Mapping[str, Any]) -> None:
        self.marks.append((at, f"{facts['workflow']} run again"))

    def _job_queued(self, at: datetime, facts: Mapping[str, Any]) -> None:
        if not facts["hosted"]:
            labels = frozenset(label.lower() for label in facts["labels"])
            where = (facts["job"], facts["run"], facts["repository"], facts["name"], facts["attempt"])
            self.jobs[facts["job"]] = JobLife(*where, labels, at)

    def _job_started(self, at: datetime, facts: Mapping[str, Any]) -> None:
        job = self.jobs.get(facts["job"])
        if job is None:
            return
        job.started_at, job.runner, job.instance = at, facts["runner"], instance_of(facts["runner"])
        if job.instance in self.instances:
            self.instances[job.instance].jobs.append(job)

    def _job_lost(self, _: datetime, facts: Mapping[str, Any]) -> None:
        if facts["job"] in self.jobs:
            self.jobs[facts["job"]].lost = facts["why"]

    def _job_finished(self, at: datetime, facts: Mapping[str, Any]) -> None:
        job = self.jobs.get(facts["job"])
        if job is not None and job.finished_at is None:
            job.finished_at, job.conclusion = at, facts["conclusion"]

    def _runner_registered(self, _: datetime, facts: Mapping[str, Any]) -> None:
        self.labels.update(label.lower() for label in facts["labels"])
        self._note(facts, scope=facts["scope"], ephemeral=facts["ephemeral"])

    def _runner_online(self, at: datetime, facts: Mapping[str, Any]) -> None:
        instance = self.instances.get(instance_of(facts["runner"]))
        if instance is not None and instance.online_at is None:
            instance.online_at = at

    def _runner_removed(self, at: datetime, facts: Mapping[str, Any]) -> None:
        instance = self.instances.get(instance_of(facts["runner"]))
        if facts["by"] == "api" and instance is not None and instance.phase == "idle":
            instance.drained_at = at

    def _instance_launched(self, at: datetime, facts: Mapping[str, Any]) -> None:
        self.instances[facts["id"]] = InstanceLife(facts["id"], facts["tags"].get(POOL_TAG, ""), at)

    def _tags_changed(self, _: datetime, facts: Mapping[str, Any]) -> None:
        if SCOPE_TAG in facts["tags"]:
            self._note(facts, scope=facts["tags"][SCOPE_TAG])

    def _instance_running(self, at: datetime, facts: Mapping[str, Any]) -> None:
        self._note(facts, running_at=at)

    def _instance_interrupted(self, _: datetime, facts: Mapping[str, Any]) -> None:
        self._note(facts, faults=("spot interruption",))

    def _machine_booting(self, _: datetime, facts: Mapping[str, Any]) -> None:
        self._note(facts, faults=tuple(facts["faults"]))

    def _machine_started(self, at: datetime, facts: Mapping[str, Any]) -> None:
        self._note(facts, script_at=at)

    def _instance_ending(self, at: datetime, facts: Mapping[str, Any]) -> None:
        self._note(facts, ending_at=at, ended_by=facts["by"])

    def _instance_terminated(self, at: datetime, facts: Mapping[str, Any]) -> None:
        self._note(facts, ended_at=at)

    def _note(self, facts: Mapping[str, Any], **values: Any) -> None:
        instance = self.instances.get(facts["id"] if "id" in facts else instance_of(facts["runner"]))
        if instance is not None:
            for name, value in values.items():
                setattr(instance, name, value)


def instance_of(runner: str) -> str:
    """The instance that a runner's name names, or nothing."""
    found = re.search(r"-(i-[0-9a-f]+)$", runner)
    return found[1] if found else ""


@dataclass(frozen=True, slots=True)
class Pool:
    """What config.yaml declares of a pool."""

    name: str
    labels: frozenset[str]
    max: int


@dataclass(frozen=True, slots=True)
class Declared:
    """
    What was said before anything happened: the fleet and its pools, and what the scenario cancels.

    A cancel is a run's id and a job's name, or nothing for all of the run's.
    """

    fleet: str
    pools: tuple[Pool, ...]
    cancels: frozenset[tuple[int, str]] = frozenset()

    def pool_of(self, labels: frozenset[str]) -> str:
        """The pool that a job with these labels is for: the one with the fewest labels; nothing if none fits."""
        fitting = [pool for pool in self.pools if labels <= pool.labels]
        return min(fitting, key=lambda pool: len(pool.labels)).name if fitting else ""

    def fits(self, pool: str, labels: frozenset[str]) -> bool:
        """Whether a pool carries all labels of a job."""
        return any(each.name == pool and labels <= each.labels for each in self.pools)

    def cancelled(self, job: JobLife) -> bool:
        """Whether the scenario cancels this job."""
        return not self.cancels.isdisjoint({(job.run, ""), (job.run, job.name)})


def declared(config: Path, scenario: Path | None = None, runs: Mapping[str, int] | None = None) -> Declared:
    """Read from the two files what they declare; `runs` gives the ids of the scenario's runs by name."""
    given = yaml.safe_load(config.read_text(encoding="utf-8"))
    pools = [
        Pool(name, frozenset(label.lower() for label in pool["labels"]), pool["max"])
        for name, pool in given["pools"].items()
    ]
    events: Sequence[Mapping[str, Any]] = []
    if scenario is not None:
        events = yaml.safe_load(scenario.read_text(encoding="utf-8"))["events"]
    cancels = [event["cancel"] for event in events if "cancel" in event]
    ids = runs or {}
    return Declared(
        given["fleet"],
        tuple(pools),
        frozenset((ids[each["run"]], each.get("job", "")) for each in cancels if each["run"] in ids),
    )
