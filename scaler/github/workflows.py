"""The scaler's workflow on GitHub: its runs, a dispatch of it. With the token of a job, or any that has Actions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from scaler.boundary import readable
from scaler.clocks import NotStartable, Ran, Workflow
from scaler.github.errors import GITHUB_TOKEN_REMEDY
from scaler.github.rest import GitHubRest, message_of
from scaler.model import Denied, Unavailable

NEWEST = 10
"""Of so many newest runs by an event the first that was not cancelled counts."""

KICK_REMEDY = """\
A kick needs the permission Actions: read and write on the scaler's repository, and no other. In another repository:
a fine-grained personal access token (or a GitHub App) for the scaler's repository alone, as a secret:
    with:
      mode: kick
      github-token: ${{ secrets.RUNNER_SCALER_KICK_TOKEN }}
In the scaler's own workflow (hand-over, keep-alive): its GITHUB_TOKEN, which is workflow-token's default:
    permissions:
      actions: write"""
DISPATCH_REMEDY = """\
The workflow has to be on that branch, enabled, and start by hand too:
    on:
      workflow_dispatch:"""


class GitHubWorkflows(GitHubRest):
    """The port `clocks.Workflows` over REST."""

    @readable("GitHub")
    def default_branch(self, repository: str) -> str:
        """The branch on which schedules run."""
        return str(self._read(f"/repos/{repository}", {})["default_branch"])

    @readable("GitHub")
    def is_waiting(self, workflow: Workflow) -> bool:
        """Whether a run of it is `pending`: held by its concurrency group (docs: workflow run statuses)."""
        total = self._read(f"{_path(workflow)}/runs", {"status": "pending", "per_page": 1})["total_count"]
        return int(total) > 0

    @readable("GitHub")
    def newest(self, workflow: Workflow, event: str) -> Ran | None:
        """Its newest run by an event that was not cancelled."""
        rows = self._read(f"{_path(workflow)}/runs", {"event": event, "per_page": NEWEST})["workflow_runs"]
        for row in rows:
            if row["conclusion"] not in ("cancelled", "skipped"):
                began = datetime.fromisoformat(str(row["created_at"])).astimezone(UTC)
                return Ran(event, began, str(row["conclusion"] or row["status"]).replace("_", " "))
        return None

    def dispatch(self, workflow: Workflow, ref: str, inputs: Mapping[str, str]) -> None:
        """Start a run. Not repeated: a second one would run for nothing."""
        body: dict[str, Any] = {"ref": ref, **({"inputs": dict(inputs)} if inputs else {})}
        self._written("POST", f"{_path(workflow)}/dispatches", body, f"a run of {workflow}")

    def enable(self, workflow: Workflow) -> None:
        """Enable it."""
        self._written("PUT", f"{_path(workflow)}/enable", None, f"the keep-alive of {workflow}")

    def _written(self, verb: str, path: str, body: dict[str, Any] | None, what: str) -> None:
        answer = self._once(verb, path, body)
        status, _, text = answer
        if status in (200, 204):
            return
        if status == 404:
            raise Denied(f"GitHub: {what}: no such workflow, or the token does not see it", KICK_REMEDY)
        if status == 422:
            raise NotStartable(f"GitHub: {what}: refused ({message_of(text)})", DISPATCH_REMEDY)
        try:
            self._accept(answer, 204, what)
        except Denied as error:
            raise Denied(str(error), KICK_REMEDY if error.remedy == GITHUB_TOKEN_REMEDY else error.remedy) from None
        raise Unavailable(f"GitHub: {what}: answered {status}")


def _path(workflow: Workflow) -> str:
    return f"/repos/{workflow.repository}/actions/workflows/{workflow.file}"
