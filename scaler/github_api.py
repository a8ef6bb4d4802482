"""GitHub as the tick needs it. Knows nothing of policy."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from scaler.boundary import readable
from scaler.github_rest import GitHubRest, integer, mapping
from scaler.model import Clock, Denied, Job, JobStatus, NameTaken, Queue, Removal, Runner, Scope, Secret, Unavailable

SEARCH_LIMIT = 1000
"""A run list filtered by status ends here (docs: List workflow runs for a repository)."""
ACTIVE = ("queued", "in_progress")
HELD = ("waiting", "pending", "requested")


class GitHubApi(GitHubRest):
    """The port `model.GitHub` over REST."""

    def __init__(self, token: str, api_url: str, clock: Clock) -> None:
        """As `GitHubRest`."""
        super().__init__(token, api_url, clock)
        self._groups: dict[tuple[str, str], int] = {}

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
            runs.update((integer(row, "id"), row) for row in rows)
        for run_id, run in runs.items():
            private = mapping(run.get("repository")).get("private")
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
        path = f"/orgs/{organization}/actions/runner-groups/{integer(row, 'id')}/repositories"
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
        return Secret(str(answer["encoded_jit_config"]), integer(mapping(answer.get("runner")), "id"))

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
            self._groups[key] = integer(self._group(organization, group), "id")
        return self._groups[key]


def _owner_path(scope: Scope) -> str:
    return f"/repos/{scope}" if "/" in scope else f"/orgs/{scope}"


def _labels(row: dict[str, Any]) -> frozenset[str]:
    names = [label.get("name") if isinstance(label, dict) else label for label in row.get("labels") or ()]
    return frozenset(str(name).lower() for name in names)


def _job(repository: str, row: dict[str, Any]) -> Job:
    try:
        status = JobStatus(str(row.get("status")))
    except ValueError as error:
        raise Unavailable(f"GitHub: {repository}: a job that cannot be read ({error})") from error
    return Job(
        integer(row, "id"),
        repository,
        integer(row, "run_id"),
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
    return Runner(integer(row, "id"), str(row.get("name", "")), scope, status == "online", busy, _labels(row))
