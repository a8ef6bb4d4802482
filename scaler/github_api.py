"""
GitHub as the tick needs it, through PyGithub's requester. Knows nothing of policy.

PyGithub's own retry is off: it repeats POSTs (a repeated generate-jitconfig answers 409 for a name that is
ours) and sleeps until a rate limit resets. Here only reads and DELETE are repeated, and never for long.
"""

from __future__ import annotations

import json
import logging
import random
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import requests
from github import Auth, Github, GithubException
from github.Requester import Requester

from scaler.boundary import ServerClock, readable
from scaler.github_errors import refusal
from scaler.model import Clock, Denied, Job, JobStatus, NameTaken, Queue, Removal, Runner, Scope, Secret, Unavailable

API_VERSION = "2022-11-28"
PAGE = 100
SEARCH_LIMIT = 1000
"""A run list filtered by status ends here (docs: List workflow runs for a repository)."""
ATTEMPTS = 3
LONGEST_WAIT = 10.0
"""Seconds. A longer Retry-After is the next tick's business."""
ACTIVE = ("queued", "in_progress")
HELD = ("waiting", "pending", "requested")

Answer = tuple[int, dict[str, Any], str]
log = logging.getLogger(__name__)


class GitHubApi:
    """The port `model.GitHub` over REST. Safe to be used by several threads."""

    def __init__(self, token: str, api_url: str, clock: Clock) -> None:
        """Connect to `api_url` (`https://api.github.com`, or GHES's `…/api/v3`)."""
        self._token = token
        self._api_url = api_url.rstrip("/")
        self._clock = clock
        self._server_clock = ServerClock(clock)
        self._local = threading.local()
        self._groups: dict[tuple[str, str], int] = {}

    @property
    def _requester(self) -> Requester:
        """PyGithub's, one a thread: it keeps the request of the moment on its one connection object."""
        if not hasattr(self._local, "requester"):
            self._local.requester = Github(
                auth=Auth.Token(self._token),
                base_url=self._api_url,
                timeout=20,
                per_page=PAGE,
                retry=None,
                seconds_between_requests=None,
                seconds_between_writes=None,
                lazy=True,
                api_version=API_VERSION,
            ).requester
        requester: Requester = self._local.requester
        return requester

    # --- the port ------------------------------------------------------------------------------

    def now(self) -> datetime:
        """GitHub's clock; asks for the rate limit, which is free, if nothing was asked yet."""
        if self._server_clock.now() is None:
            self._read("/rate_limit", {})
        now = self._server_clock.now()
        if now is None:
            raise Unavailable("GitHub: its answers have no Date; is a proxy between?")
        return now

    @readable("GitHub")
    def queue(self, repository: str, *, deep: bool) -> Queue:
        """All unfinished jobs of the repository's active runs, in two run lists (five if `deep`)."""
        jobs: dict[int, Job] = {}
        public: bool | None = None
        complete = True
        runs: dict[int, dict[str, Any]] = {}
        for status in ACTIVE + (HELD if deep else ()):
            rows, whole = self._rows(
                f"/repos/{repository}/actions/runs", "workflow_runs", {"status": status}, limit=SEARCH_LIMIT
            )
            complete = complete and whole
            runs.update((_integer(row, "id"), row) for row in rows)
        for run_id, run in runs.items():
            private = _mapping(run.get("repository")).get("private")
            public = (not private) if isinstance(private, bool) else public
            rows, _ = self._rows(f"/repos/{repository}/actions/runs/{run_id}/jobs", "jobs", {"filter": "latest"})
            for row in rows:
                job = _job(repository, row)
                if job.status is not JobStatus.COMPLETED:
                    jobs[job.id] = job
        return Queue(tuple(jobs.values()), public, complete)

    @readable("GitHub")
    def runners(self, scope: Scope) -> tuple[Runner, ...]:
        """All runners registered in a scope; foreign ones too."""
        rows, _ = self._rows(f"{_owner_path(scope)}/actions/runners", "runners", {})
        return tuple(_runner(scope, row) for row in rows)

    @readable("GitHub")
    def is_public(self, repository: str) -> bool:
        """Whether everybody can see a repository."""
        return self._read(f"/repos/{repository}", {})["private"] is False

    @readable("GitHub")
    def group_repositories(self, organization: str, group: str) -> frozenset[str] | None:
        """The repositories a runner group serves, lower-case; None when it serves all of the organization."""
        row = self._group(organization, group)
        if row.get("visibility") != "selected":
            return None
        path = f"/orgs/{organization}/actions/runner-groups/{_integer(row, 'id')}/repositories"
        rows, _ = self._rows(path, "repositories", {})
        return frozenset(str(repository.get("full_name", "")).lower() for repository in rows)

    @readable("GitHub")
    def jit_secret(self, scope: Scope, name: str, labels: tuple[str, ...], group: str | None) -> Secret:
        """Mint a JIT configuration; GitHub creates the offline runner record with it."""
        group_id = 1  # a repository has only the Default group
        if "/" not in scope and group is not None:
            group_id = self._group_id(scope, group)
        body = {"name": name, "runner_group_id": group_id, "labels": list(labels), "work_folder": "_work"}
        got = self._once("POST", f"{_owner_path(scope)}/actions/runners/generate-jitconfig", body)
        if got[0] == 409:
            raise NameTaken(f"GitHub: {scope} has a runner named {name} already")
        answer = self._accept(got, 201, f"a JIT configuration in {scope}")
        return Secret(str(answer["encoded_jit_config"]), _integer(_mapping(answer.get("runner")), "id"))

    @readable("GitHub")
    def token_secret(self, scope: Scope) -> Secret:
        """Mint a registration token (valid for one hour)."""
        path = f"{_owner_path(scope)}/actions/runners/registration-token"
        answer = self._accept(self._once("POST", path, {}), 201, f"a registration token for {scope}")
        return Secret(str(answer["token"]))

    def remove_runner(self, scope: Scope, runner_id: int) -> Removal:
        """DELETE a runner: 204, 422 for a busy one, 404 for none. PyGithub's own call tells these not apart."""
        answer = self._patiently("DELETE", f"{_owner_path(scope)}/actions/runners/{runner_id}", {}, {})
        if answer[0] == 422:
            return Removal.BUSY
        if answer[0] == 404:
            return Removal.GONE
        if answer[0] != 204:
            self._accept(answer, 204, f"the removal of runner {runner_id} in {scope}")
        return Removal.REMOVED

    def registration_url(self, scope: Scope) -> str:
        """`https://github.com/acme/api`; on GHES and elsewhere the API's own host."""
        parts = urlsplit(self._api_url)
        if parts.hostname == "api.github.com":
            return f"https://github.com/{scope}"
        return f"{parts.scheme}://{parts.netloc}/{scope}"

    # --- reading -------------------------------------------------------------------------------

    def _group(self, organization: str, group: str) -> dict[str, Any]:
        rows, _ = self._rows(f"/orgs/{organization}/actions/runner-groups", "runner_groups", {})
        for row in rows:
            if str(row.get("name", "")).lower() == group.lower():
                return row
        names = ", ".join(f'"{row.get("name")}"' for row in rows)
        raise Denied(f'GitHub: {organization} has no runner group "{group}" that this token sees (it sees {names})')

    def _group_id(self, organization: str, group: str) -> int:
        key = (organization, group)
        if key not in self._groups:
            self._groups[key] = _integer(self._group(organization, group), "id")
        return self._groups[key]

    def _rows(
        self, path: str, key: str, parameters: dict[str, Any], limit: int | None = None
    ) -> tuple[list[dict[str, Any]], bool]:
        """
        All pages of a list, and whether they are all there is (a search ends at `limit`).

        Pages shift while they are read (terraform-aws-github-runner#4584), so the rows must be as many,
        each once, as `total_count` says; a list that fails that twice is not believed.
        """
        rows: dict[int, dict[str, Any]] = {}
        total = 0
        for _ in range(2):
            rows = {}
            for total, page in self._pages(path, key, parameters, limit):  # noqa: B007 - the last one counts
                rows.update((_integer(row, "id"), row) for row in page)
            if len(rows) == total:
                return list(rows.values()), True
            if limit is not None and total > limit and len(rows) == limit:
                return list(rows.values()), False
        raise Unavailable(f"GitHub: {path}: {len(rows)} rows where total_count says {total}")

    def _pages(
        self, path: str, key: str, parameters: dict[str, Any], limit: int | None
    ) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        number, seen = 1, 0
        while True:
            answer = self._read(path, {**parameters, "per_page": PAGE, "page": number})
            total, page = answer.get("total_count"), answer.get(key)
            if type(total) is not int or not isinstance(page, list):
                raise Unavailable(f'GitHub: {path}: the answer has no "{key}" with its "total_count"')
            yield total, page
            seen += len(page)
            if not page or seen >= min(total, limit or total):
                return
            number += 1

    def _read(self, path: str, parameters: dict[str, Any]) -> dict[str, Any]:
        return self._accept(self._patiently("GET", path, parameters, None), 200, path)

    def _accept(self, answered: Answer, expected: int, what: str) -> dict[str, Any]:
        status, headers, text = answered
        if status != expected:
            raise refusal(status, headers, _message(text), what)
        try:
            answer = json.loads(text)
        except ValueError as error:
            raise Unavailable(f"GitHub: {what}: the answer is not JSON") from error
        if not isinstance(answer, dict):
            raise Unavailable(f"GitHub: {what}: expected an object, got {type(answer).__name__}")
        return answer

    def _patiently(self, verb: str, path: str, parameters: dict[str, Any], body: dict[str, Any] | None) -> Answer:
        """Ask again after a broken answer or a short Retry-After. Only for what may be repeated."""
        for attempt in range(1, ATTEMPTS + 1):
            last = attempt == ATTEMPTS
            try:
                status, headers, text = self._once(verb, path, body, parameters)
            except Unavailable:
                if last:
                    raise
                self._clock.sleep(_backoff(attempt))
                continue
            wait = _retry_after(status, headers, attempt)
            if last or wait is None or wait > LONGEST_WAIT:
                return status, headers, text
            self._clock.sleep(wait)
        raise AssertionError("unreachable")

    def _once(
        self, verb: str, path: str, body: dict[str, Any] | None, parameters: dict[str, Any] | None = None
    ) -> Answer:
        try:
            status, headers, text = self._requester.requestJson(
                verb, self._api_url + path, parameters=parameters or None, input=body or None
            )
        except GithubException as error:
            return error.status, dict(error.headers or {}), json.dumps(error.data)
        except (requests.RequestException, OSError) as error:
            raise Unavailable(f"GitHub: {path}: no answer ({type(error).__name__})") from error
        log.info("GitHub %s %s: %s", verb, path, status)
        self._server_clock.hear(headers.get("date"))
        return status, headers, text


def _retry_after(status: int, headers: dict[str, Any], attempt: int) -> float | None:
    """Seconds until it makes sense to ask again, or None if it makes none."""
    if status >= 500:
        return _backoff(attempt)
    after = headers.get("retry-after", "")
    return float(after) if status in (403, 429) and str(after).isdigit() else None


def _backoff(attempt: int) -> float:
    return 0.5 * float(2 ** (attempt - 1)) * random.uniform(0.5, 1.5)  # noqa: S311 - jitter, not a secret


def _owner_path(scope: Scope) -> str:
    return f"/repos/{scope}" if "/" in scope else f"/orgs/{scope}"


def _message(text: str) -> str:
    try:
        return str(_mapping(json.loads(text)).get("message", ""))[:200]
    except ValueError:
        return ""


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _integer(row: dict[str, Any], key: str) -> int:
    value = _mapping(row).get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Unavailable(f'GitHub: a row whose "{key}" is {type(value).__name__}, not a number')
    return value


def _labels(row: dict[str, Any]) -> frozenset[str]:
    names = [label.get("name") if isinstance(label, dict) else label for label in row.get("labels") or ()]
    return frozenset(str(name).lower() for name in names)


def _job(repository: str, row: dict[str, Any]) -> Job:
    try:
        status = JobStatus(str(row.get("status")))
    except ValueError as error:
        raise Unavailable(f"GitHub: {repository}: a job that cannot be read ({error})") from error
    return Job(
        _integer(row, "id"),
        repository,
        _integer(row, "run_id"),
        str(row.get("name", "")),
        _labels(row),
        status,
        _time(row.get("created_at") or row.get("started_at")),
        str(row["runner_name"]) if row.get("runner_name") else None,
        str(row.get("workflow_name") or ""),
        str(row.get("html_url") or ""),
    )


def _time(value: Any) -> datetime | None:
    """A job is a job whatever its date is."""
    try:
        return datetime.fromisoformat(str(value)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _runner(scope: Scope, row: dict[str, Any]) -> Runner:
    status, busy = row.get("status"), row.get("busy")
    if status not in ("online", "offline") or not isinstance(busy, bool):
        raise Unavailable(f"GitHub: {scope}: a runner whose status is {status!r} and busy {busy!r}")
    return Runner(_integer(row, "id"), str(row.get("name", "")), scope, status == "online", busy, _labels(row))
