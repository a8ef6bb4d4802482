"""GitHub as the tick needs it. Knows nothing of policy."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache, partial
from typing import Any
from urllib.parse import quote, urlsplit

from github.Auth import Auth

from scaler.boundary import readable
from scaler.github.graph import GitHubGraph
from scaler.github.repositories import GitHubRepositories
from scaler.github.rest import integer, mapping, message_of, time_of
from scaler.model import (
    Clock,
    Denied,
    EndedJob,
    Job,
    JobStatus,
    NameTaken,
    Removal,
    Run,
    RunEnd,
    Runner,
    Runs,
    Scope,
    Secret,
    Unavailable,
)

SEARCH_LIMIT = 1000
"""A run list filtered by status ends here (docs: List workflow runs for a repository)."""
DECLINES = ("this workflow", "the workflow run", "unable to retry")
"""So GitHub's sentences begin that decline to run something again."""


class GitHubApi(GitHubRepositories, GitHubGraph):
    """The port `model.GitHub`: over REST, but for hints."""

    def __init__(self, credential: str | Auth, api_url: str, clock: Clock, sharers: int = 1) -> None:
        """As `GitHubRest`."""
        super().__init__(credential, api_url, clock, sharers)
        self._groups: dict[tuple[str, str], int] = {}

    @readable("GitHub")
    def runs(self, repository: str, status: str) -> Runs:
        """A repository's runs of one status."""
        path = f"/repos/{repository}/actions/runs"
        rows, whole = self._rows(
            path, "workflow_runs", {"status": status}, partial(_run, repository), limit=SEARCH_LIMIT
        )
        return Runs(tuple(rows.values()), whole)

    @readable("GitHub")
    def jobs(self, run: Run) -> tuple[Job, ...]:
        """A run's unfinished jobs."""
        path = f"/repos/{run.repository}/actions/runs/{run.id}/jobs"
        rows, _ = self._rows(path, "jobs", {"filter": "latest"}, partial(_job, run.repository))
        return tuple(job for job in rows.values() if job is not None)

    @readable("GitHub")
    def runners(self, scope: Scope) -> tuple[Runner, ...]:
        """All runners registered in a scope; foreign ones too."""
        rows, _ = self._rows(f"{_owner_path(scope)}/actions/runners", "runners", {}, partial(_runner, scope))
        return tuple(rows.values())

    @readable("GitHub")
    def group_repositories(self, organization: str, group: str) -> frozenset[str] | None:
        """The repositories a runner group serves, lower-case; None when it serves all of the organization."""
        number, selected = self._group(organization, group)
        if not selected:
            return None
        path = f"/orgs/{organization}/actions/runner-groups/{number}/repositories"
        rows, _ = self._rows(path, "repositories", {}, lambda row: str(row.get("full_name", "")).lower())
        return frozenset(rows.values())

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

    @readable("GitHub")
    def runner_deadline(self, scope: Scope, version: str) -> datetime | None:
        """
        When GitHub stops giving jobs to a version: the earlier of its two dates, null while no newer one is out.

        A version that GitHub does not know, or a server that does not tell, is a 404.
        """
        answer = self._read(f"{_owner_path(scope)}/actions/runners/deprecations/{quote(version, safe='')}", {})
        dates = [time_of(answer.get(f"{kind}_deprecates_at")) for kind in ("runtime", "registration")]
        return min((date for date in dates if date is not None), default=None)

    @readable("GitHub")
    def run_end(self, repository: str, run_id: int) -> RunEnd:
        """Whether a run is over; its jobs are read only then."""
        path = f"/repos/{repository}/actions/runs/{run_id}"
        run = self._read(path, {})
        attempt, over = integer(run, "run_attempt"), run.get("status") == "completed"
        if not over:
            return RunEnd(repository, run_id, attempt, over)
        rows, _ = self._rows(f"{path}/jobs", "jobs", {"filter": "latest"}, _ended)
        return RunEnd(repository, run_id, attempt, over, str(run.get("conclusion") or ""), tuple(rows.values()))

    def rerun(self, repository: str, run_id: int, job_id: int | None) -> str:
        """
        Run one job again, or all that failed, with what needs them: 201. Nothing, or why GitHub declines.

        A run that goes on, or is too old, is a 403 as a missing permission is (seen in cli/cli#9221 and
        metabase/metabase#70916: "This workflow is already running", "This workflow run cannot be retried").
        """
        what = f"jobs/{job_id}/rerun" if job_id is not None else f"runs/{run_id}/rerun-failed-jobs"
        status, headers, text = self._once("POST", f"/repos/{repository}/actions/{what}", {})
        said = message_of(text)
        if status == 403 and said.lower().startswith(DECLINES):
            return said
        self._accept((status, headers, text), 201, f"to run {what.removesuffix('/rerun')} of {repository} again")
        return ""

    # --- reading -------------------------------------------------------------------------------

    def _group(self, organization: str, group: str) -> tuple[int, bool]:
        """A runner group's id, and whether it serves selected repositories alone."""
        path = f"/orgs/{organization}/actions/runner-groups"
        rows, _ = self._rows(path, "runner_groups", {}, lambda row: (str(row.get("name", "")), row.get("visibility")))
        for number, (name, visibility) in rows.items():
            if name.lower() == group.lower():
                return number, visibility == "selected"
        names = ", ".join(f'"{name}"' for name, _ in rows.values())
        raise Denied(f'GitHub: {organization} has no runner group "{group}" that this token sees (it sees {names})')

    def _group_id(self, organization: str, group: str) -> int:
        key = (organization, group)
        if key not in self._groups:
            self._groups[key] = self._group(organization, group)[0]
        return self._groups[key]


def _owner_path(scope: Scope) -> str:
    return f"/repos/{scope}" if "/" in scope else f"/orgs/{scope}"


def _run(repository: str, row: dict[str, Any]) -> Run:
    private = mapping(row.get("repository")).get("private")
    return Run(
        integer(row, "id"),
        repository,
        str(row.get("status")),
        str(row.get("run_attempt")),
        time_of(row.get("updated_at")),
        not private if isinstance(private, bool) else None,
    )


def _labels(row: dict[str, Any]) -> frozenset[str]:
    names = [label.get("name") if isinstance(label, dict) else label for label in row.get("labels") or ()]
    return _lower_case(tuple(map(str, names)))


@lru_cache(maxsize=1024)
def _lower_case(names: tuple[str, ...]) -> frozenset[str]:
    """One object for all jobs that ask for the same: ten thousand of them are kept at once."""
    return frozenset(name.lower() for name in names)


def _job(repository: str, row: dict[str, Any]) -> Job | None:
    """A job; None for one that is over."""
    try:
        status = JobStatus(str(row.get("status")))
    except ValueError as error:
        raise Unavailable(f"GitHub: {repository}: a job that cannot be read ({error})") from error
    if status is JobStatus.COMPLETED:
        return None
    return Job(
        integer(row, "id"),
        repository,
        integer(row, "run_id"),
        str(row.get("name", "")),
        _labels(row),
        status,
        time_of(row.get("created_at") or row.get("started_at")),
        str(row["runner_name"]) if row.get("runner_name") else None,
        str(row.get("workflow_name") or ""),
        str(row.get("html_url") or ""),
        integer(row, "run_attempt") if "run_attempt" in row else 1,
    )


def _ended(row: dict[str, Any]) -> EndedJob:
    return EndedJob(integer(row, "id"), str(row.get("name", "")), str(row.get("conclusion") or ""))


def _runner(scope: Scope, row: dict[str, Any]) -> Runner:
    status, busy = row.get("status"), row.get("busy")
    if status not in ("online", "offline") or not isinstance(busy, bool):
        raise Unavailable(f"GitHub: {scope}: a runner whose status is {status!r} and busy {busy!r}")
    return Runner(integer(row, "id"), str(row.get("name", "")), scope, status == "online", busy, _labels(row))
