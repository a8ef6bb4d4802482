"""A kick of the scaler's workflow: from another repository, from a watch that ends with work left, and to keep it alive."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from scaler.clocks import Workflow, Workflows
from scaler.model import ApiError


def kick(workflows: Workflows, workflow: Workflow, inputs: Mapping[str, str] | None = None) -> str:
    """
    Start the scaler's workflow, unless a run of it waits already; what was done, in a sentence.

    One that waits has counted nothing yet, so it sees what this kick is about. GitHub itself would let the new run
    take the place of that one, and show it as cancelled.
    """
    with suppress(ApiError):  # unseen: one kick too many does no harm
        if workflows.is_waiting(workflow):
            return f"{workflow}: a run waits already, and will see what there is"
    ref = workflow.ref or workflows.default_branch(workflow.repository)
    workflows.dispatch(workflow, ref, inputs or {})
    return f"{workflow}: started on {ref}"


def keep_alive(workflows: Workflows, workflow: Workflow) -> None:
    """Have GitHub take the workflow for one in use: it stops schedules of public repositories after 60 quiet days."""
    workflows.enable(workflow)


def own_inputs(env: Mapping[str, str]) -> dict[str, str]:
    """The inputs that this run was dispatched with, for its next one (docs.github.com: webhook payload, workflow_dispatch)."""
    if env.get("GITHUB_EVENT_NAME") != "workflow_dispatch":
        return {}
    try:
        inputs = json.loads(Path(env["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8")).get("inputs")
    except (KeyError, OSError, ValueError, AttributeError):
        return {}
    given = inputs.items() if isinstance(inputs, dict) else ()
    # A boolean is `true` there, and as text when it is dispatched.
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in given
        if value not in (None, "")
    }
