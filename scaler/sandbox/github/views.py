"""
What the REST API reports of the world: bodies with every property that GitHub's published description requires.

Values are made up, sizes are real (about 10 KB a run). All URLs point at the server that answers: PyGithub
refuses those of another host.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from scaler.sandbox.github.accounts import AccountViews, Body, node_id, stamp
from scaler.sandbox.github.state import Group, Job, Repository, Run, Runner, Workflow
from scaler.sandbox.github.world import ApiToken

READ_ONLY_LABELS = {"self-hosted", "linux", "windows", "macos", "x64", "arm", "arm64"}


@dataclass(frozen=True, slots=True)
class Views(AccountViews):
    """All bodies."""

    # --- runs and jobs ---------------------------------------------------------------------------

    def run(self, run: Run) -> Body:
        """A workflow-run."""
        repository = f"{self.api}/repos/{run.repository.full_name}"
        url = f"{repository}/actions/runs/{run.id}"
        sha = hashlib.sha1(f"commit of run {run.id}".encode()).hexdigest()
        suite = run.id + 9_000_000_000
        actor = self.account(f"{run.repository.owner}-dev")
        return {
            "id": run.id,
            "name": run.workflow.name,
            "node_id": node_id("WFR", run.id),
            "head_branch": run.branch,
            "head_sha": sha,
            "path": run.workflow.path,
            "display_title": f"Change {run.number} of {run.repository.name}",
            "run_number": run.number,
            "event": run.event,
            "status": run.status(self.settings),
            "conclusion": run.conclusion,
            "workflow_id": run.workflow.id,
            "check_suite_id": suite,
            "check_suite_node_id": node_id("CS", suite),
            "url": url,
            "html_url": f"{self.html}/{run.repository.full_name}/actions/runs/{run.id}",
            "pull_requests": [],
            "created_at": stamp(run.created_at),
            "updated_at": stamp(run.updated_at),
            "actor": actor,
            "run_attempt": run.attempt,
            "referenced_workflows": [],
            "run_started_at": stamp(run.started_at),
            "triggering_actor": actor,
            **{f"{part}_url": f"{url}/{part}" for part in ("jobs", "logs", "artifacts", "cancel", "rerun")},
            "check_suite_url": f"{repository}/check-suites/{suite}",
            "previous_attempt_url": f"{url}/attempts/{run.attempt - 1}" if run.attempt > 1 else None,
            "workflow_url": f"{repository}/actions/workflows/{run.workflow.id}",
            "head_commit": self._commit(run, sha),
            "repository": self.repository(run.repository),
            "head_repository": self.repository(run.repository),
        }

    def workflow(self, repository: Repository, workflow: Workflow) -> Body:
        """A workflow."""
        url = f"{self.api}/repos/{repository.full_name}/actions/workflows/{workflow.id}"
        file = f"{self.html}/{repository.full_name}/blob/{repository.default_branch}/{workflow.path}"
        return {
            "id": workflow.id,
            "node_id": node_id("W", workflow.id),
            "name": workflow.name,
            "path": workflow.path,
            "state": workflow.state,
            "created_at": stamp(workflow.created_at or repository.created_at),
            "updated_at": stamp(workflow.updated_at or repository.created_at),
            "url": url,
            "html_url": file,
            "badge_url": f"{self.html}/{repository.full_name}/workflows/{quote(workflow.name)}/badge.svg",
        }

    @staticmethod
    def _commit(run: Run, sha: str) -> Body:
        person = {"name": f"{run.repository.owner} developer", "email": "dev@example.com"}
        return {
            "id": sha,
            "tree_id": hashlib.sha1(sha.encode()).hexdigest(),
            "message": f"Change {run.number} of {run.repository.name}",
            "timestamp": stamp(run.created_at),
            "author": person,
            "committer": person,
        }

    def job(self, job: Job) -> Body:
        """A job. `started_at` is never null in the API: before the start it is the time of creation."""
        repository = f"{self.api}/repos/{job.run.repository.full_name}"
        return {
            "id": job.id,
            "run_id": job.run.id,
            "workflow_name": job.run.workflow.name,
            "head_branch": job.run.branch,
            "run_url": f"{repository}/actions/runs/{job.run.id}",
            "run_attempt": job.attempt,
            "node_id": node_id("CR", job.id),
            "head_sha": hashlib.sha1(f"commit of run {job.run.id}".encode()).hexdigest(),
            "url": f"{repository}/actions/jobs/{job.id}",
            "html_url": f"{self.html}/{job.run.repository.full_name}/actions/runs/{job.run.id}/job/{job.id}",
            "status": job.status,
            "conclusion": job.conclusion,
            "created_at": stamp(job.created_at),
            "started_at": stamp(job.started_at or job.created_at),
            "completed_at": stamp(job.completed_at) if job.completed_at else None,
            "name": job.name,
            "steps": self._steps(job),
            "check_run_url": f"{repository}/check-runs/{job.id}",
            "labels": list(job.spec.labels),
            "runner_id": job.runner_id,
            "runner_name": job.runner_name,
            "runner_group_id": job.group_id,
            "runner_group_name": job.group_name,
        }

    @staticmethod
    def _steps(job: Job) -> list[Body]:
        if job.started_at is None:
            return []
        done = job.completed_at is not None
        names = ("Set up job", "Run actions/checkout", f"Run {job.spec.name}", "Complete job")
        return [
            {
                "name": name,
                "status": "completed" if done else "in_progress" if number == 1 else "queued",
                "conclusion": (job.conclusion or "success") if done else None,
                "number": number,
                "started_at": stamp(job.started_at) if done or number == 1 else None,
                "completed_at": stamp(job.completed_at) if job.completed_at else None,
            }
            for number, name in enumerate(names, start=1)
        ]

    # --- runners ---------------------------------------------------------------------------------

    def runner(self, runner: Runner) -> Body:
        """A runner, as busy as it is said to be."""
        return {
            "id": runner.id,
            "name": runner.name,
            "os": runner.os,
            "status": "online" if runner.online else "offline",
            "busy": runner.reports_busy(self.settings, self.now),
            "ephemeral": runner.ephemeral,
            "version": runner.version,
            "runner_group_id": runner.group.id,
            "labels": [self._label(label) for label in runner.labels],
        }

    @staticmethod
    def _label(name: str) -> Body:
        number = int(hashlib.sha1(name.lower().encode()).hexdigest()[:6], 16)
        return {"id": number, "name": name, "type": "read-only" if name.lower() in READ_ONLY_LABELS else "custom"}

    def group(self, group: Group) -> Body:
        """A runner group of an organization."""
        url = f"{self.api}/orgs/{group.organization}/actions/runner-groups/{group.id}"
        body: Body = {
            "id": group.id,
            "name": group.name,
            "visibility": group.visibility,
            "default": group.id == 1,
            "runners_url": f"{url}/runners",
            "hosted_runners_url": f"{url}/hosted-runners",
            "inherited": False,
            "allows_public_repositories": group.allows_public,
            "restricted_to_workflows": False,
            "selected_workflows": [],
            "workflow_restrictions_read_only": False,
        }
        if group.visibility == "selected":
            body["selected_repositories_url"] = f"{url}/repositories"
        return body

    # --- the rest ---------------------------------------------------------------------------------

    def downloads(self, version: str) -> list[Body]:
        """The runner software's packages."""
        body = []
        for os, architecture, suffix in (
            ("linux", "x64", "tar.gz"),
            ("linux", "arm64", "tar.gz"),
            ("osx", "arm64", "tar.gz"),
            ("win", "x64", "zip"),
        ):
            name = f"actions-runner-{os}-{architecture}-{version}.{suffix}"
            body.append(
                {
                    "os": os,
                    "architecture": architecture,
                    "download_url": f"{self.html}/actions/runner/releases/download/v{version}/{name}",
                    "filename": name,
                    "sha256_checksum": hashlib.sha256(name.encode()).hexdigest(),
                }
            )
        return body


def rate_limit_body(token: ApiToken, reset: int) -> Mapping[str, Any]:
    """A rate-limit-overview; everything but the core and GraphQL has its own, untouched, budget."""
    core, graphql = (
        {"limit": limit, "used": taken, "remaining": max(limit - taken, 0), "reset": reset}
        for limit, taken in ((token.limit, token.used), (token.points, token.queried))
    )
    fresh = {"search": 30, "actions_runner_registration": 10000, "integration_manifest": 5000}
    others = {name: {"limit": size, "used": 0, "remaining": size, "reset": reset} for name, size in fresh.items()}
    return {"resources": {"core": core, "graphql": graphql, **others}, "rate": core}
