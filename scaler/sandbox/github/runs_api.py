"""REST endpoints of repositories, workflow runs and jobs."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from scaler.sandbox.github.call import Call
from scaler.sandbox.github.http import Response
from scaler.sandbox.github.state import Refused, Run, Workflow

CONCLUSIONS = {"success", "failure", "cancelled", "skipped", "neutral", "timed_out", "action_required", "stale"}


def get_repository(call: Call) -> Response:
    """GET a repository."""
    return Response(200, call.views.full_repository(call.repository))


def list_runs(call: Call) -> Response:
    """
    List a repository's runs, newest first.

    With a filter it is a search that ends after 1,000 results (docs.github.com: list workflow runs for a
    repository), whatever total_count says. Unknown parameters are ignored.
    """
    asked, repository = call.request.parameters, call.repository
    workflow = _workflow(call) if "workflow_id" in call.path else None
    filters = [make(asked[name], call) for name, make in _RUN_FILTERS.items() if name in asked]
    runs = [
        run
        for run in call.world.state.runs.values()
        if run.repository is repository and (workflow is None or run.workflow is workflow)
    ]
    rows = [run for run in reversed(runs) if all(keep(run) for keep in filters)]
    return call.listed("workflow_runs", rows, call.views.run, most=1000 if filters else None)


RunFilter = Callable[[Run], bool]


def _by_status(text: str, call: Call) -> RunFilter:
    if text in CONCLUSIONS:
        return lambda run: run.conclusion == text
    return lambda run: run.status(call.world.settings) == text


def _by_created(text: str, _: Call) -> RunFilter:
    """A date or range as in a search: `>=2026-11-23T09:00:00Z`, `2026-11-01..2026-11-23`, `*..2026-11-23`."""
    if ".." in text:
        low, high = text.split("..", 1)
        after, before = _moment(low), _moment(high, end=True)
        return lambda run: (after is None or run.created_at >= after) and (before is None or run.created_at <= before)
    sign, bare = re.match(r"([<>]=?)?(.*)", text).groups()  # type: ignore[union-attr]  # matches any text
    start, end = _moment(bare), _moment(bare, end=True)
    if start is None or end is None:
        return lambda _: False
    tests: dict[str | None, RunFilter] = {
        ">": lambda run: run.created_at > end,
        ">=": lambda run: run.created_at >= start,
        "<": lambda run: run.created_at < start,
        "<=": lambda run: run.created_at <= end,
        None: lambda run: start <= run.created_at <= end,
    }
    return tests[sign]


def _moment(text: str, *, end: bool = False) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        return None
    if len(text) == 10 and end:
        moment += timedelta(days=1, microseconds=-1)
    elif end:
        moment += timedelta(microseconds=999_999)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


_RUN_FILTERS: dict[str, Callable[[str, Call], RunFilter]] = {
    "status": _by_status,
    "created": _by_created,
    "event": lambda text, _: lambda run: run.event == text,
    "branch": lambda text, _: lambda run: run.branch == text,
    "actor": lambda text, _: lambda run: f"{run.repository.owner}-dev" == text,
    "head_sha": lambda text, call: lambda run: call.views.run(run)["head_sha"] == text,
    "check_suite_id": lambda text, call: lambda run: str(call.views.run(run)["check_suite_id"]) == text,
}


def get_run(call: Call) -> Response:
    """GET a run."""
    return Response(200, call.views.run(call.run))


def list_jobs(call: Call) -> Response:
    """List a run's jobs: of the newest execution, or with `filter=all` of all attempts."""
    everything = call.request.parameters.get("filter") == "all"
    jobs = call.run.jobs if everything else call.run.current
    return call.listed("jobs", sorted(jobs, key=lambda job: job.id), call.views.job)


def get_job(call: Call) -> Response:
    """GET a job."""
    return Response(200, call.views.job(call.job))


def cancel_run(call: Call) -> Response:
    """Cancel a run; it is accepted, and comes about."""
    call.world.runs.cancel(call.run)
    return Response(202, {})


def rerun(call: Call) -> Response:
    """Re-run a run's jobs, all or those that failed."""
    call.request.json()
    call.world.runs.rerun(call.run, failed_only=call.request.path.endswith("-failed-jobs"))
    return Response(201, {})


def rerun_job(call: Call) -> Response:
    """Re-run one job and what needs it."""
    call.request.json()
    call.world.runs.rerun(call.job.run, job=call.job)
    return Response(201, {})


def get_workflow(call: Call) -> Response:
    """GET a workflow."""
    return Response(200, call.views.workflow(call.repository, _workflow(call)))


def list_workflows(call: Call) -> Response:
    """List a repository's workflows."""
    rows = sorted(call.repository.workflows.values(), key=lambda workflow: workflow.id)
    return call.listed("workflows", rows, lambda workflow: call.views.workflow(call.repository, workflow))


def enable_workflow(call: Call) -> Response:
    """Enable a workflow, be it enabled or not; that the schedule's 60 days begin anew is undocumented."""
    workflow = _workflow(call)
    workflow.state, workflow.updated_at = "active", call.world.clock.now()
    return Response(204)


def _workflow(call: Call) -> Workflow:
    """The workflow of the path, by its id or its file's name; 404."""
    wanted = call.path["workflow_id"]
    for workflow in call.repository.workflows.values():
        if wanted in (str(workflow.id), workflow.path.rpartition("/")[2]):
            return workflow
    raise Refused(404, "Not Found")


def dispatch_workflow(call: Call) -> Response:
    """Start a workflow by `workflow_dispatch`: 204, or 200 with the run if that is asked for."""
    workflow, body = _workflow(call), call.request.json()
    ref, inputs = body.get("ref"), body.get("inputs") or {}
    if not isinstance(ref, str) or not ref:
        raise Refused(422, 'Invalid request.\n\n"ref" wasn\'t supplied.')
    if not isinstance(inputs, dict) or len(inputs) > 25:
        raise Refused(422, "Invalid request.\n\nInputs must be an object of at most 25 properties.")
    if workflow.jobs is None:
        raise Refused(422, "Workflow does not have 'workflow_dispatch' trigger")
    if workflow.state != "active":  # seen by users: benc-uk/workflow-dispatch#72
        raise Refused(422, "Cannot trigger a 'workflow_dispatch' on a disabled workflow")
    run = call.world.push(
        call.repository.full_name,
        workflow.jobs,
        workflow=workflow.name,
        event="workflow_dispatch",
        branch=ref.removeprefix("refs/heads/"),
        concurrency=workflow.concurrency,
    )
    if body.get("return_run_details") is not True:
        return Response(204)
    view = call.views.run(run)
    return Response(200, {"workflow_run_id": run.id, "run_url": view["url"], "html_url": view["html_url"]})
