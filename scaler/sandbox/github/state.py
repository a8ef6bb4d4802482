"""
The embedded GitHub's ground truth: repositories, runs, jobs, runners, and how this GitHub behaves.

Records only. What changes them: `github_runs` (runs and jobs), `github_runners` (registration and removal),
`github_dispatch` (sessions, routing, work). All of it happens under the clock's lock.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from scaler.sandbox.clock import Clock
from scaler.sandbox.github.settings import MINUTE, Settings
from scaler.sandbox.journal import Journal

Conclusion = Literal["success", "failure", "cancelled", "skipped"]


class Refused(Exception):
    """What GitHub will not do, with the HTTP status, the message and the headers of its own that it answers."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}


@dataclass(slots=True)
class Repository:
    """A repository; `owner` is an organization's login, or a user's; `files` those of the default branch, by path."""

    id: int
    owner: str
    name: str
    private: bool
    created_at: datetime
    owner_is_organization: bool
    default_branch: str = "main"
    workflows: dict[str, Workflow] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    archived: bool = False
    disabled: bool = False
    pushed_at: datetime | None = None

    @property
    def full_name(self) -> str:
        """`owner/name`."""
        return f"{self.owner}/{self.name}"


@dataclass(frozen=True, slots=True)
class JobSpec:
    """
    A job as a workflow file states it.

    `duration` is in virtual seconds; `conclusions` are by attempt, the last one repeats; `matrix` gives one
    job per value, at most `max_parallel` of them at a time; an `environment` needs approval.
    """

    name: str
    labels: tuple[str, ...]
    duration: float = MINUTE
    conclusions: tuple[Conclusion, ...] = ("success",)
    matrix: tuple[str, ...] = ()
    max_parallel: int | None = None
    needs: tuple[str, ...] = ()
    environment: str | None = None
    concurrency: str | None = None
    group: str | None = None

    @property
    def job_names(self) -> tuple[str, ...]:
        """The names of the jobs that this becomes."""
        return tuple(f"{self.name} ({value})" for value in self.matrix) or (self.name,)

    @property
    def hosted(self) -> bool:
        """Whether GitHub's own runners serve it."""
        return any(label.lower().startswith(("ubuntu-", "windows-", "macos-")) for label in self.labels)


@dataclass(slots=True)
class Workflow:
    """A workflow file; with `jobs` it can be dispatched, and its runs then are in the group `concurrency`."""

    id: int
    name: str
    path: str
    jobs: tuple[JobSpec, ...] | None = None
    concurrency: str | None = None
    state: Literal["active", "disabled_manually", "disabled_inactivity"] = "active"
    created_at: datetime | None = None
    updated_at: datetime | None = None


@dataclass(slots=True, eq=False)
class Run:
    """A workflow run. `current` are the jobs of the newest attempt, `jobs` those of all; `todo` is not created yet."""

    id: int
    number: int
    repository: Repository
    workflow: Workflow
    event: str
    branch: str
    specs: tuple[JobSpec, ...]
    created_at: datetime
    started_at: datetime
    updated_at: datetime
    concurrency: str | None = None
    attempt: int = 1
    jobs: list[Job] = field(default_factory=list)
    current: list[Job] = field(default_factory=list)
    todo: dict[str, tuple[str, ...]] = field(default_factory=dict)
    phase: Literal["held", "fresh", "open", "completed"] = "fresh"
    conclusion: Conclusion | None = None

    def status(self, settings: Settings) -> str:
        """What the API says of the run: the first state in the order of precedence that one of its jobs is in."""
        if self.phase == "completed":
            return "completed"
        if self.phase == "held":  # by the workflow's concurrency group
            return "pending"
        if self.phase == "fresh":
            return settings.fresh_status
        states = {job.status for job in self.current if job.status != "completed"}
        if states:
            return next((state for state in settings.precedence if state in states), min(states))
        return "in_progress" if self.current else "queued"  # a run without jobs stays queued for ever


@dataclass(slots=True, eq=False)
class Job:
    """A workflow job. Who ran it outlives the runner's record."""

    id: int
    run: Run
    spec: JobSpec
    name: str
    attempt: int
    created_at: datetime
    status: Literal["queued", "in_progress", "completed", "waiting", "pending"] = "queued"
    hold: Literal["", "approval", "concurrency"] = ""
    conclusion: Conclusion | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    due_at: datetime | None = None
    dispatch: Dispatch | None = None
    missed: set[int] = field(default_factory=set)
    cancelling: bool = False
    runner_id: int | None = None
    runner_name: str | None = None
    group_id: int | None = None
    group_name: str | None = None

    @property
    def outcome(self) -> Conclusion:
        """How this attempt ends if it is let run."""
        return self.spec.conclusions[min(self.attempt, len(self.spec.conclusions)) - 1]

    def facts(self) -> dict[str, Any]:
        """What the journal says of it."""
        return {
            "job": self.id,
            "run": self.run.id,
            "repository": self.run.repository.full_name,
            "name": self.name,
            "attempt": self.attempt,
            "labels": list(self.spec.labels),
            "hosted": self.spec.hosted,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Dispatch:
    """A job sent to a runner, which has `requeue_after` to acquire it."""

    id: int
    job: Job
    runner: Runner
    at: datetime


@dataclass(slots=True)
class Group:
    """A runner group of an organization; id 1 is the default one."""

    id: int
    organization: str
    name: str
    visibility: Literal["all", "selected", "private"] = "all"
    repositories: set[str] = field(default_factory=set)
    allows_public: bool = False

    def serves(self, repository: Repository) -> bool:
        """Whether a repository of the organization may use the group's runners (public ones only if allowed)."""
        if repository.owner.lower() != self.organization.lower():
            return False
        if not repository.private and (not self.allows_public or self.visibility == "private"):
            return False
        return self.visibility != "selected" or repository.full_name.lower() in self.repositories


@dataclass(slots=True, eq=False)
class Runner:
    """
    A registered runner, and its contact with the service.

    `scope` is `owner/name` or an organization. `offline_since` is the creation of the record until it first
    comes online. A removed runner's record is gone from every list; a job it is in may go on.
    """

    id: int
    scope: str
    name: str
    labels: tuple[str, ...]
    group: Group
    ephemeral: bool
    jit: bool
    credential: str = field(repr=False)
    created_at: datetime
    offline_since: datetime
    os: str = "unknown"
    version: str | None = None
    session: str | None = None
    online: bool = False
    contact: datetime | None = None
    contact_real: float = 0.0
    open_polls: int = 0
    watched: bool = False
    idle_since: datetime | None = None
    message: Dispatch | None = None
    job: Job | None = None
    acquired_at: datetime | None = None
    lingering: bool = False
    spent: bool = False
    removed: bool = False

    @property
    def busy(self) -> bool:
        """The truth, which the API may not tell: from acquiring a job to its end, not from dispatch."""
        return self.job is not None or self.lingering

    @property
    def available(self) -> bool:
        """Whether a job may be sent to it."""
        return self.online and not (self.removed or self.spent or self.busy or self.message)

    def reports_busy(self, settings: Settings, now: datetime) -> bool:
        """What the API says."""
        if not self.busy or self.name in settings.idle_liars:
            return False
        since = (now - self.acquired_at).total_seconds() if self.acquired_at else settings.busy_lag
        return since >= settings.busy_lag

    def facts(self) -> dict[str, Any]:
        """What the journal says of it."""
        return {"runner": self.name, "runner_id": self.id, "scope": self.scope}


@dataclass(frozen=True, slots=True)
class RunnerToken:
    """A registration or removal token of a scope."""

    scope: str
    kind: Literal["registration", "removal"]
    expires_at: datetime


@dataclass(slots=True)
class State:
    """Everything there is, with the clock and the journal it happens by."""

    clock: Clock
    journal: Journal
    settings: Settings = field(default_factory=Settings)
    organizations: dict[str, str] = field(default_factory=dict)
    repositories: dict[str, Repository] = field(default_factory=dict)
    groups: dict[str, list[Group]] = field(default_factory=dict)
    runs: dict[int, Run] = field(default_factory=dict)
    jobs: dict[int, Job] = field(default_factory=dict)
    queue: dict[int, Job] = field(default_factory=dict)
    runners: dict[int, Runner] = field(default_factory=dict)
    credentials: dict[str, Runner] = field(default_factory=dict, repr=False)
    runner_tokens: dict[str, RunnerToken] = field(default_factory=dict, repr=False)
    route: Callable[[], None] = field(default=lambda: None)
    run_ended: list[Callable[[Run], None]] = field(default_factory=list)
    _ids: dict[str, itertools.count[int]] = field(default_factory=dict)

    def next_id(self, kind: str, start: int = 1) -> int:
        """The next number of a kind of thing."""
        return next(self._ids.setdefault(kind, itertools.count(start)))

    def now(self) -> datetime:
        """The world's time."""
        return self.clock.now()
