"""A request to the embedded GitHub that was let in, with what its path names; and pages of lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scaler.sandbox.github.accounts import account_id
from scaler.sandbox.github.faults import Fault, FaultKind
from scaler.sandbox.github.http import Page, Request, Response
from scaler.sandbox.github.state import Group, Job, Refused, Repository, Run, Runner
from scaler.sandbox.github.views import Views
from scaler.sandbox.github.world import ApiToken, GitHubWorld


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was let in: by whom, to what, and the list faults it meets."""

    world: GitHubWorld
    request: Request
    views: Views
    token: ApiToken
    path: Mapping[str, str] = field(default_factory=dict)
    faults: Sequence[Fault] = ()

    @property
    def repository(self) -> Repository:
        """The repository of the path; 404 as well for those the token cannot see."""
        name = f"{self.path['owner']}/{self.path['repo']}".lower()
        found = self.world.state.repositories.get(name)
        if found is None or not self.token.sees(found):
            raise Refused(404, "Not Found")
        return found

    @property
    def organization(self) -> str:
        """The login of the path's organization; 404."""
        login = self.world.state.organizations.get(self.path["org"].lower())
        if login is None:
            raise Refused(404, "Not Found")
        return login

    @property
    def scope(self) -> str:
        """Where runners register: the path's repository or organization."""
        return self.organization if "org" in self.path else self.repository.full_name

    @property
    def run(self) -> Run:
        """The run of the path; 404."""
        run = self.world.state.runs.get(self._number("run_id"))
        if run is None or run.repository is not self.repository:
            raise Refused(404, "Not Found")
        return run

    @property
    def job(self) -> Job:
        """The job of the path; 404."""
        job = self.world.state.jobs.get(self._number("job_id"))
        if job is None or job.run.repository is not self.repository:
            raise Refused(404, "Not Found")
        return job

    @property
    def runner(self) -> Runner:
        """The runner of the path; 404."""
        runner = self.world.state.runners.get(self._number("runner_id"))
        if runner is None or runner.scope.lower() != self.scope.lower():
            raise Refused(404, "Not Found")
        return runner

    @property
    def group(self) -> Group:
        """The runner group of the path; 404."""
        number = self._number("runner_group_id")
        for group in self.world.runners.groups(self.organization):
            if group.id == number:
                return group
        raise Refused(404, "Not Found")

    @property
    def _numbered_path(self) -> str:
        """The path as Link headers have it: `/repositories/146139403/actions/runs` (seen in recordings)."""
        parts = self.request.path.split("/")
        if "repo" in self.path:
            return "/".join(["", "repositories", str(self.repository.id), *parts[4:]])
        if "org" in self.path:
            return "/".join(["", "organizations", str(account_id(self.organization)), *parts[3:]])
        return self.request.path

    def _number(self, name: str) -> int:
        text = self.path[name]
        return int(text) if text.isascii() and text.isdigit() else -1

    def listed(self, key: str, rows: Sequence[Any], view: Callable[[Any], Any], *, most: int | None = None) -> Response:
        """One page of a list below `key` with its total_count (`key` "": a bare array), as far as no fault lies."""
        page, kinds = Page.of(self.request), {fault.kind: fault for fault in self.faults}
        if FaultKind.EMPTY in kinds:
            rows = []
        if FaultKind.SHIFT in kinds:
            rows = page.shifted(rows)
        total = len(rows)
        if FaultKind.COUNT in kinds:
            total += int(kinds[FaultKind.COUNT].amount)
        seen = rows if most is None else rows[:most]
        odd = kinds[FaultKind.ODD].odd if FaultKind.ODD in kinds else {}
        body = [view(row) | odd for row in page.cut(seen)]
        links = page.links(self.request, self._numbered_path, len(seen))
        return Response(200, {"total_count": total, key: body} if key else body, links)
