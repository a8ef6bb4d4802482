"""PyGithub, used plainly."""

from __future__ import annotations

from github import Auth, Github

from benchmarks.clients import ACTIVE, TOKEN, Asked


class PlainPyGithub:
    """PyGithub as its documentation shows it: one call after the other, with its own pauses and page sizes."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._github = Github(auth=Auth.Token(TOKEN), base_url=asked.url)

    def tick(self, *, deep: bool) -> list[int]:  # noqa: ARG002 - it looks at active runs alone
        """Count the queued jobs of each repository, and look at its runners."""
        found = []
        for name in self._asked.repositories:
            repository = self._github.get_repo(name)
            for status in ACTIVE:
                for run in repository.get_workflow_runs(status=status):
                    found += [job.id for job in run.jobs() if job.status == "queued"]
            list(repository.get_self_hosted_runners())
        return found
