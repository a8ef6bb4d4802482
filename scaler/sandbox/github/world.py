"""
The embedded GitHub's world: one object to set it up, to make things happen in it, and to ask for the truth.

What it holds is in `github_state`, what it reports in `github_views`; between the two lie `settings` and `faults`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from scaler.sandbox.clock import Clock
from scaler.sandbox.github.apps import App
from scaler.sandbox.github.dispatch import Dispatcher
from scaler.sandbox.github.faults import Fault, Faults
from scaler.sandbox.github.runners import Runners
from scaler.sandbox.github.runs import Runs
from scaler.sandbox.github.settings import Settings
from scaler.sandbox.github.state import (
    Group,
    Job,
    JobSpec,
    Refused,
    Repository,
    Run,
    Runner,
    State,
    Workflow,
)
from scaler.sandbox.journal import Journal

__all__ = ["ApiToken", "Fault", "GitHubWorld", "JobSpec", "Refused", "Settings"]

TokenKind = Literal["pat", "app", "github_token"]

# Requests per hour, and as many points of GraphQL (docs.github.com: rate limits for the REST API, and for the GraphQL
# API); GITHUB_TOKEN's are per repository.
RATE_LIMITS: Mapping[TokenKind, int] = {"pat": 5000, "app": 5000, "github_token": 1000}

EVERYTHING = {
    "metadata": "read",
    "actions": "write",
    "administration": "write",
    "contents": "read",
    "organization_self_hosted_runners": "write",
}


@dataclass(slots=True)
class ApiToken:
    """
    A token that the REST API accepts: what it may do and where, and its rate limit's window.

    `repositories` are lower-case full names, None for all; `without_sso` the lower-case logins of organizations
    whose single sign-on it is not authorised for; `scopes` are a classic token's, which its answers tell. Of GraphQL's
    `points` an hour `queried` are used.
    """

    kind: TokenKind = "pat"
    permissions: Mapping[str, str] = field(default_factory=lambda: dict(EVERYTHING))
    repositories: frozenset[str] | None = None
    without_sso: frozenset[str] = frozenset()
    limit: int = 5000
    used: int = 0
    points: int = 5000
    queried: int = 0
    reset_at: datetime | None = None
    expires_at: datetime | None = None
    scopes: tuple[str, ...] | None = None

    def may(self, permission: str, level: str) -> bool:
        """Whether it has a permission at least at a level (`read`, `write`)."""
        order = ("", "read", "write")
        return order.index(self.permissions.get(permission, "")) >= order.index(level)

    def sees(self, repository: Repository) -> bool:
        """Whether the repository exists for it at all."""
        return not repository.private or self.owns(repository)

    def owns(self, repository: Repository) -> bool:
        """Whether the repository is one of those the token is for."""
        return self.repositories is None or repository.full_name.lower() in self.repositories

    def window(self, now: datetime) -> None:
        """Start a new hour if the old one is over."""
        if self.reset_at is None or self.reset_at <= now:
            self.reset_at, self.used, self.queried = now + timedelta(hours=1), 0, 0


class GitHubWorld:
    """A GitHub of one's own."""

    def __init__(self, clock: Clock, journal: Journal, settings: Settings | None = None) -> None:
        self.clock = clock
        self.settings = settings or Settings()
        self.state = State(clock, journal, self.settings)
        self.faults = Faults()
        self.tokens: dict[str, ApiToken] = {}
        self.apps: list[App] = []
        self.runs = Runs(self.state)
        self.runners = Runners(self.state, self.runs)
        self.dispatcher = Dispatcher(self.state, self.runs, self.runners)
        self.state.route = self.dispatcher.route

    # --- setting up ------------------------------------------------------------------------------

    def add_organization(self, login: str) -> None:
        """An organization, with its default runner group, which serves its private repositories."""
        with self.clock.lock:
            self.state.organizations[login.lower()] = login
            self.state.groups.setdefault(login.lower(), [Group(1, login, "Default")])

    def add_repository(self, full_name: str, *, private: bool = True) -> Repository:
        """A repository; its owner is a user unless there is an organization of that name."""
        with self.clock.lock:
            owner, _, name = full_name.partition("/")
            number = self.state.next_id("repository", 910_000_001)
            organization = owner.lower() in self.state.organizations
            repository = Repository(number, owner, name, private, self.clock.now(), organization)
            self.state.repositories[full_name.lower()] = repository
            return repository

    def add_group(
        self,
        organization: str,
        name: str,
        *,
        visibility: Literal["all", "selected", "private"] = "all",
        repositories: Iterable[str] = (),
        allows_public: bool = False,
    ) -> Group:
        """A runner group of an organization; the name `Default` sets the default one up anew."""
        with self.clock.lock:
            groups = self.state.groups[organization.lower()]
            served = {full_name.lower() for full_name in repositories}
            group = Group(len(groups) + 1, groups[0].organization, name, visibility, served, allows_public)
            if name == groups[0].name:
                group.id = 1
                groups[0] = group
            else:
                groups.append(group)
            return group

    def add_token(
        self,
        value: str,
        kind: TokenKind = "pat",
        permissions: Mapping[str, str] | None = None,
        repositories: Iterable[str] | None = None,
        limit: int | None = None,
        without_sso: Iterable[str] = (),
    ) -> ApiToken:
        """A token the REST API accepts; without `permissions` it may do everything."""
        token = ApiToken(
            kind=kind,
            permissions=dict(EVERYTHING if permissions is None else permissions),
            repositories=None if repositories is None else frozenset(name.lower() for name in repositories),
            limit=RATE_LIMITS[kind] if limit is None else limit,
            points=RATE_LIMITS[kind],
            without_sso=frozenset(login.lower() for login in without_sso),
        )
        with self.clock.lock:
            self.tokens[value] = token
        return token

    def add_workflow(
        self,
        repository: str,
        name: str,
        jobs: Sequence[JobSpec] | None = None,
        path: str = "",
        concurrency: str | None = None,
    ) -> Workflow:
        """A workflow file; with `jobs` it has a `workflow_dispatch` trigger and runs these."""
        with self.clock.lock:
            self.repository(repository).pushed_at = self.clock.now()
            found = self.repository(repository).workflows
            slug = "".join(c if c.isalnum() else "-" for c in name.lower())
            number = found[name].id if name in found else self.state.next_id("workflow", 140_000_001)
            path = path or f".github/workflows/{slug}.yml"
            steps, now = None if jobs is None else tuple(jobs), self.clock.now()
            found[name] = Workflow(number, name, path, steps, concurrency, created_at=now, updated_at=now)
            return found[name]

    # --- making things happen --------------------------------------------------------------------

    def push(
        self,
        repository: str,
        jobs: Sequence[JobSpec],
        *,
        workflow: str = "CI",
        event: str = "push",
        branch: str = "main",
        concurrency: str | None = None,
        cancel_in_progress: bool = False,
    ) -> Run:
        """A run of a workflow of these jobs. Without jobs it is a zombie: queued for ever."""
        with self.clock.lock:
            found = self.repository(repository)
            file = found.workflows.get(workflow) or self.add_workflow(repository, workflow)
            found.pushed_at = self.clock.now() if event == "push" else found.pushed_at
            return self.runs.request(
                found,
                file,
                jobs,
                event=event,
                branch=branch,
                concurrency=concurrency,
                cancel_in_progress=cancel_in_progress,
            )

    def cancel(self, run: int) -> None:
        """Cancel a run."""
        with self.clock.lock:
            self.runs.cancel(self.run(run))

    def cancel_job(self, job: int) -> None:
        """Cancel one job."""
        with self.clock.lock:
            self.runs.cancel_job(self.job(job))

    def rerun(self, run: int, *, failed_only: bool = False) -> None:
        """Run a finished run again: all its jobs, or those that failed."""
        with self.clock.lock:
            self.runs.rerun(self.run(run), failed_only=failed_only)

    def approve(self, run: int, environment: str, *, approved: bool = True) -> None:
        """Review a deployment to an environment."""
        with self.clock.lock:
            self.runs.approve(self.run(run), environment, approved=approved)

    def set(self, **settings: Any) -> None:
        """Change settings in mid-flight."""
        with self.clock.lock:
            for name, value in settings.items():
                if name not in Settings.__dataclass_fields__:
                    raise AttributeError(name)
                setattr(self.settings, name, value)
            self.clock.changed()

    def fault(self, fault: Fault) -> None:
        """Switch a fault on."""
        with self.clock.lock:
            self.faults.add(fault)

    def remove_runner(self, runner: int) -> None:
        """Take a runner away as an administrator may, whatever it is doing."""
        with self.clock.lock:
            self.runners.remove(self.state.runners[runner], by="hand")

    # --- the truth -------------------------------------------------------------------------------

    def repository(self, full_name: str) -> Repository:
        """A repository by name; KeyError."""
        return self.state.repositories[full_name.lower()]

    def run(self, run: int) -> Run:
        """A run by id; KeyError."""
        return self.state.runs[run]

    def job(self, job: int) -> Job:
        """A job by id; KeyError."""
        return self.state.jobs[job]

    def unfinished_jobs(self) -> list[Job]:
        """All jobs that have not ended."""
        with self.clock.lock:
            return [job for job in self.state.jobs.values() if job.status != "completed"]

    def registered(self) -> list[Runner]:
        """All runners there are records of."""
        with self.clock.lock:
            return list(self.state.runners.values())

    def scope_of(self, url: str) -> str:
        """The scope that a registration URL names (`http://host/acme/api`, `http://host/acme`); 404."""
        parts = [part for part in url.partition("://")[2].split("/")[1:] if part]
        name = "/".join(parts).lower()
        if len(parts) == 2 and name in self.state.repositories:
            return self.state.repositories[name].full_name
        if len(parts) == 1 and name in self.state.organizations:
            return self.state.organizations[name]
        raise Refused(404, f"Not Found: {url}")
