"""
What makes ticks happen: the scaler's workflow on GitHub, its newest runs, and what a kick asks for. Pure.

A kick is one `workflow_dispatch` of that workflow, and a tick counts the world anew: so a kick carries nothing, two
are worth one, and one that is lost is healed by the next.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from scaler.durations import passed
from scaler.model import ApiError

EVENTS: Final = ("schedule", "workflow_dispatch", "workflow_run")
"""How a run of the scaler's workflow comes to be: the sweeper; a kick, a hand-over, the button or a rule outside; a run."""
_WORKFLOW_REF = re.compile(r"(?P<repository>[^/]+/[^/]+)/\.github/workflows/(?P<file>[^/@]+)@refs/heads/(?P<branch>.+)")


@dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow's file on a branch of a repository; without `ref`, on its default branch."""

    repository: str
    file: str
    ref: str | None = None

    def __str__(self) -> str:
        """`autoscale.yml in acme/runner-scaler`."""
        return f"{self.file} in {self.repository}"


@dataclass(frozen=True, slots=True)
class Ran:
    """The newest run of a workflow by one event, those that were cancelled while they waited left out."""

    event: str
    at: datetime
    state: str


class NotStartable(ApiError):
    """GitHub will not start that workflow as it stands (exit 2). `remedy` holds the lines to paste."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


class Workflows(Protocol):
    """What is asked of GitHub about the scaler's workflow. Every call raises `Unavailable` or `Denied`, `dispatch` `NotStartable`."""

    def now(self) -> datetime:
        """GitHub's clock."""

    def default_branch(self, repository: str) -> str:
        """The branch on which schedules run."""

    def is_waiting(self, workflow: Workflow) -> bool:
        """Whether a run of it waits for the one before it, so that it will see all that there is to see."""

    def newest(self, workflow: Workflow, event: str) -> Ran | None:
        """Its newest run by an event."""

    def dispatch(self, workflow: Workflow, ref: str, inputs: Mapping[str, str]) -> None:
        """Start a run of it."""

    def enable(self, workflow: Workflow) -> None:
        """Enable it, which is what it mostly is: that counts as activity (docs/assumptions.md)."""


def own_workflow(env: Mapping[str, str]) -> Workflow | None:
    """The workflow that this process is a job of (docs.github.com: variables reference), None outside of one."""
    found = _WORKFLOW_REF.fullmatch(env.get("GITHUB_WORKFLOW_REF", ""))
    return Workflow(found["repository"], found["file"], found["branch"]) if found else None


def shown(now: datetime, workflow: Workflow, ran: Sequence[tuple[str, Ran | None]]) -> list[str]:
    """A line for each clock: when it last made the workflow run, and what came of it."""
    return [
        f"clock {event}: {passed(now - each.at)} ago, {each.state} ({workflow})"
        if each is not None
        else f"clock {event}: never ({workflow})"
        for event, each in ran
    ]
