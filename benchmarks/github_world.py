"""
What the bench's stand-in for GitHub holds: repositories with a history, and everything it answers as bytes.

One repository is made with the sandbox's own views, as GitHub's bodies are: about 10 KB a run. All others are its copies
with numbers and names of their own, so that five hundred repositories are ready in a moment and cost no time while
somebody measures.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Literal

from scaler.sandbox.github.accounts import node_id, stamp
from scaler.sandbox.github.settings import Settings
from scaler.sandbox.github.state import Job, JobSpec, Repository, Run, Workflow
from scaler.sandbox.github.views import Views

Kind = Literal["quiet", "mixed", "busy"]
OWNER = "acme"
LABELS = ("self-hosted", "linux", "x64", "acme")
HISTORY = 100
ACTIVE_RUNS, JOBS_A_RUN, WORKFLOWS = 3, 8, 4
ONE_ACTIVE_IN = 10
"""One repository in so many has active runs, in a mixed world."""
BODY_KEPT = 64 * 1024
"""Larger bodies are made anew: five hundred unfiltered run lists would be 150 MB."""
HEADINGS = {"runs": "workflow_runs"}
"""What a list is called in its body, where that is not its path's word."""
MODEL = 9753
"""The number of the repository that all others are copies of. It stands in its name and in each of its ids."""
GLOBAL_ID = f"R_k{MODEL}"
MARKS = {"repo-{:04d}": "", "9{:04d}0000": "repository", "2{:04d}0": "run", "3{:04d}0": "job", "1{:04d}0": "workflow"}


def repository_names(count: int) -> list[str]:
    """The world's repositories, in full."""
    return [f"{OWNER}/repo-{number:04d}" for number in range(count)]


def is_active(kind: Kind, number: int) -> bool:
    """Whether a repository has active runs."""
    return kind == "busy" or (kind == "mixed" and number % ONE_ACTIVE_IN == 0)


def _id(what: str, number: int) -> int:
    mark = next(mark for mark, each in MARKS.items() if each == what).format(MODEL)
    return int(f"{mark}{number:04d}")


@dataclass(frozen=True, slots=True)
class Body:
    """An answer's bytes, plain and compressed, and what its validator is made of."""

    plain: bytes = field(repr=False)
    packed: bytes = field(repr=False)
    digest: bytes = field(repr=False)
    link: str = ""

    @classmethod
    def of(cls, plain: bytes, link: str = "") -> Body:
        """A body to be sent as often as one likes."""
        return cls(plain, gzip.compress(plain, 1, mtime=0), hashlib.sha256(plain).digest(), link)


class World:
    """So many repositories of a kind, as a server at `base` tells of them."""

    def __init__(self, count: int, kind: Kind, base: str) -> None:
        self.base = base
        self.kind = kind
        self.names = repository_names(count)
        self._numbers = {name: number for number, name in enumerate(self.names)}
        self._before = Model(base, datetime.now(UTC).replace(microsecond=0))
        self._after = Model(base, self._before.now, moved_on=True)
        self._moved: frozenset[int] = frozenset()
        self._bodies: dict[tuple[str, str, str, int, int], Body] = {}

    def number_of(self, repository: str) -> int | None:
        """The repository's number, None for one that is not there."""
        return self._numbers.get(repository)

    def _model(self, number: int) -> Model:
        return self._after if number in self._moved else self._before

    def queued(self) -> dict[str, list[int]]:
        """The truth: the queued jobs of each repository that has any."""
        return {
            name: sorted(json.loads(renumbered(json.dumps(self._model(number).queued).encode(), number)))
            for number, name in enumerate(self.names)
            if is_active(self.kind, number)
        }

    def move(self) -> None:
        """In every second active repository one queued job starts; or, the next time, has not started after all."""
        active = [number for number in range(len(self.names)) if is_active(self.kind, number)]
        changed = frozenset(active[::2])
        self._moved = frozenset() if self._moved else changed
        names = {self.names[number] for number in changed}
        self._bodies = {key: body for key, body in self._bodies.items() if key[0] not in names}
        self.prepare(sorted(names))

    def prepare(self, names: Iterable[str]) -> None:
        """Make the usual answers beforehand."""
        for name in names:
            for status in ("queued", "in_progress", "waiting", "pending", "requested"):
                for size in (30, 100):
                    self.listed(name, "runs", status, size)
            for what in ("runners", "workflows"):
                self.listed(name, what, "", 100)
            if is_active(self.kind, self._numbers[name]):
                for run in self._before.active:
                    number = int(renumbered(str(run.id).encode(), self._numbers[name]))
                    self.listed(name, "jobs", str(number), 100)

    def repository(self, name: str) -> Body:
        """A repository itself."""
        return Body.of(renumbered(self._before.repository_body, self._numbers[name]))

    def listed(self, name: str, what: str, of: str, size: int, page: int = 1) -> Body:
        """A page of a list: `runs` of a status (or of none), `jobs` of a run, `runners`, `workflows`."""
        key = (name, what, of, size, page)
        if key in self._bodies:
            return self._bodies[key]
        number = self._numbers[name]
        active = is_active(self.kind, number)
        if what == "jobs":
            of = of.replace(f"2{number:04d}0", f"2{MODEL:04d}0", 1)
        rows = self._model(number).rows(what, of, active=active)
        cut = b",".join(rows[(page - 1) * size : page * size])
        plain = b'{"total_count":%d,"%s":[%s]}' % (len(rows), HEADINGS.get(what, what).encode(), cut)
        body = Body.of(renumbered(plain, number), _link(len(rows), size, page))
        if len(plain) <= BODY_KEPT:
            self._bodies[key] = body
        return body

    def one(self, name: str, what: str, number: int) -> Body | None:
        """One row of a list of `runs`, `runners` or `workflows`."""
        rows = json.loads(self.listed(name, what, "", 1000).plain)
        found = next((row for row in rows[HEADINGS.get(what, what)] if row["id"] == number), None)
        return None if found is None else Body.of(_packed(found))

    def node(self, global_id: str) -> dict[str, Any] | None:
        """A repository, or a workflow with its newest runs, as GraphQL shows it."""
        number = self._numbers.get(f"{OWNER}/repo-{global_id[3:7]}") if global_id[1:3] == "_k" else None
        if number is None:
            return None
        active = is_active(self.kind, number)
        found = self._model(number).graph(active=active).get(f"{global_id[:3]}{MODEL}{global_id[7:]}")
        return None if found is None else json.loads(renumbered(found, number))


def _link(total: int, size: int, page: int) -> str:
    """The pages a Link header names, as `next=2,last=4`."""
    last = max(math.ceil(total / size), 1)
    links = {"prev": page - 1, "next": page + 1, "last": last, "first": 1}
    wanted = [*(["prev", "first"] if page > 1 else []), *(["next", "last"] if page < last else [])]
    return ",".join(f"{rel}={links[rel]}" for rel in wanted)


def renumbered(text: bytes, number: int) -> bytes:
    """The model's text as another repository's."""
    for mark in MARKS:
        text = text.replace(mark.format(MODEL).encode(), mark.format(number).encode())
    return text.replace(f"_k{MODEL}".encode(), f"_k{number:04d}".encode())


class Model:
    """The repository that others are copies of: a hundred finished runs and, if it is active, three more."""

    def __init__(self, base: str, now: datetime, *, moved_on: bool = False) -> None:
        self.now = now
        since = self.now - timedelta(days=400)
        self._repository = Repository(_id("repository", 0), OWNER, f"repo-{MODEL}", True, since, True)
        self._views = Views(base, base, self.now, Settings())
        names = ("CI", "Deploy", "Nightly", "Release")
        self._workflows = [
            Workflow(_id("workflow", number), name, f".github/workflows/{name.lower()}.yml")
            for number, name in enumerate(names, start=1)
        ]
        finished = [self._run(number, timedelta(hours=2 * (HISTORY + 1 - number))) for number in range(1, HISTORY + 1)]
        self.active = [self._run(HISTORY + n, timedelta(minutes=9 - 2 * n)) for n in range(1, ACTIVE_RUNS + 1)]
        for run in finished:
            run.phase, run.conclusion = "completed", "success"
        for run in self.active:
            self._fill(run, begun=6 + moved_on if run is self.active[0] else 0)
        if moved_on:
            self.active[0].updated_at = now
        self._finished = finished

    def _run(self, number: int, ago: timedelta) -> Run:
        born = self.now - ago
        workflow = self._workflows[number % WORKFLOWS]
        identity = _id("run", number)
        return Run(identity, number, self._repository, workflow, "push", "main", (), born, born, born, phase="open")

    def _fill(self, run: Run, *, begun: int) -> None:
        """Eight jobs, so many of them begun: three of these are done, the others run on somebody's machines."""
        for number in range(1, JOBS_A_RUN + 1):
            spec = JobSpec("test", LABELS)
            identity = _id("job", (run.number - HISTORY) * JOBS_A_RUN + number)
            job = Job(identity, run, spec, f"test ({number})", 1, run.created_at)
            if number <= begun:
                job.status = "completed" if number <= 3 else "in_progress"
                job.conclusion = "success" if number <= 3 else None
                job.started_at = run.created_at + timedelta(seconds=20)
                job.completed_at = run.created_at + timedelta(minutes=3) if number <= 3 else None
                job.runner_id, job.runner_name = number, f"workbench-{number}"
                job.group_id, job.group_name = 1, "Default"
            run.jobs.append(job)
            run.current.append(job)

    @property
    def queued(self) -> list[int]:
        """The queued jobs."""
        return [job.id for run in self.active for job in run.jobs if job.status == "queued"]

    @property
    def repository_body(self) -> bytes:
        """GET a repository."""
        return _packed(self._views.full_repository(self._repository) | {"node_id": GLOBAL_ID})

    @cached_property
    def _run_rows(self) -> list[tuple[str, bytes]]:
        """Status and body of every run, newest first. A run with a job in progress counts as that."""
        rows = []
        for run in reversed([*self._finished, *self.active]):
            body = self._views.run(run)
            if any(job.status == "in_progress" for job in run.current):
                body["status"] = "in_progress"
            rows.append((str(body["status"]), _packed(body)))
        return rows

    def rows(self, what: str, of: str, *, active: bool) -> Sequence[bytes]:
        """The rows of a list."""
        if what == "runs":
            rows = self._run_rows if active else self._run_rows[ACTIVE_RUNS:]
            return [row for status, row in rows if of in ("", status)]
        if what == "jobs":
            return self._job_rows.get(of, []) if active else []
        if what == "runners":
            return self._runner_rows if active else []
        return [_packed(self._workflow_body(workflow)) for workflow in self._workflows]

    @cached_property
    def _job_rows(self) -> Mapping[str, list[bytes]]:
        return {str(run.id): [_packed(self._views.job(job)) for job in run.jobs] for run in self.active}

    @cached_property
    def _runner_rows(self) -> list[bytes]:
        """The foreign machines that run the jobs in progress."""
        working = [job for run in self.active for job in run.jobs if job.status == "in_progress"]
        labels = [{"id": number, "name": label, "type": "custom"} for number, label in enumerate(LABELS, start=1)]
        return [
            _packed({"id": job.runner_id, "name": job.runner_name, "os": "linux", "status": "online", "busy": True,
                     "ephemeral": False, "runner_group_id": 1, "labels": labels})
            for job in working
        ]  # fmt: skip

    def _workflow_body(self, workflow: Workflow) -> dict[str, Any]:
        repository = f"{self._views.api}/repos/{self._repository.full_name}"
        page = f"{self._views.html}/{self._repository.full_name}"
        return {
            "id": workflow.id,
            "node_id": _global_id(workflow),
            "name": workflow.name,
            "path": workflow.path,
            "state": "active",
            "created_at": stamp(self._repository.created_at),
            "updated_at": stamp(self._repository.created_at),
            "url": f"{repository}/actions/workflows/{workflow.id}",
            "html_url": f"{page}/blob/main/{workflow.path}",
            "badge_url": f"{page}/workflows/{workflow.name}/badge.svg",
        }

    def graph(self, *, active: bool) -> Mapping[str, bytes]:
        """The repository and its workflows by their global ids, these with their runs newest first, as GraphQL's fields."""
        return self._graphs[active]

    @cached_property
    def _graphs(self) -> tuple[Mapping[str, bytes], Mapping[str, bytes]]:
        quiet, busy = ({}, {})  # type: tuple[dict[str, bytes], dict[str, bytes]]
        for into, runs in ((quiet, self._finished), (busy, [*self._finished, *self.active])):
            pushed = stamp(runs[-1].created_at)
            into[GLOBAL_ID] = _packed({"__typename": "Repository", "id": GLOBAL_ID, "pushedAt": pushed})
            for workflow in self._workflows:
                mine = [self._graph_run(run, pushed) for run in reversed(runs) if run.workflow is workflow]
                into[_global_id(workflow)] = _packed(
                    {"__typename": "Workflow", "id": _global_id(workflow), "databaseId": workflow.id,
                     "name": workflow.name, "state": "ACTIVE", "runs": mine}
                )  # fmt: skip
        return quiet, busy

    def _graph_run(self, run: Run, pushed: str) -> dict[str, Any]:
        started = any(job.status == "in_progress" for job in run.current)
        status = "COMPLETED" if run.phase == "completed" else "IN_PROGRESS" if started else "QUEUED"
        repository = {"__typename": "Repository", "id": GLOBAL_ID, "isPrivate": True,
                      "nameWithOwner": self._repository.full_name, "pushedAt": pushed}  # fmt: skip
        suite = {"__typename": "CheckSuite", "id": node_id("CS", run.id), "status": status,
                 "conclusion": run.conclusion and run.conclusion.upper(), "updatedAt": stamp(run.updated_at),
                 "repository": repository}  # fmt: skip
        # GitHub's schema has an Int of 32 bits for `databaseId`, which runs' ids have outgrown.
        return {"__typename": "WorkflowRun", "id": node_id("WFR", run.id), "databaseId": None,
                "runNumber": run.number, "event": run.event, "createdAt": stamp(run.created_at),
                "updatedAt": stamp(run.updated_at), "checkSuite": suite}  # fmt: skip


def _global_id(workflow: Workflow) -> str:
    return f"W_k{MODEL}{workflow.id % 10000:04d}"


def _packed(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
