"""The embedded GitHub's runs and jobs against what GitHub documents, or was seen to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.github_site import API, Site, job, site
from tests.watcher import Watcher, described

__all__ = ["described"]


@pytest.fixture
def github() -> Iterator[Site]:
    with site() as running:
        yield running


def test_pushed_job_is_queued_with_its_labels_and_no_runner(github: Site) -> None:
    """docs.github.com, REST workflow jobs: labels as in runs-on; runner_id and runner_name are null until assigned."""
    run = github.serve(job("build", "self-hosted", "Linux", "GPU"))
    listed = github.jobs(run)["build"]
    assert (listed["status"], listed["labels"]) == ("queued", ["self-hosted", "Linux", "GPU"])
    assert (listed["runner_id"], listed["runner_name"], listed["runner_group_id"]) == (None, None, None)
    assert github.status(run) == "queued"


def test_run_is_queued_while_any_of_its_jobs_is_although_another_is_in_progress(github: Site) -> None:
    """Measured by a runner manager's authors: `queued` wins over `in_progress` in all of 44 samples."""
    run = github.serve(job("a"), job("b"))
    github.listening("r1").acquire()
    assert {name: listed["status"] for name, listed in github.jobs(run).items()} == {"a": "in_progress", "b": "queued"}
    assert github.status(run) == "queued"
    assert [r["id"] for r in github.get(f"{API}/actions/runs?status=queued")["workflow_runs"]] == [run]
    assert github.get(f"{API}/actions/runs?status=in_progress")["workflow_runs"] == []


def test_order_of_run_states_is_a_setting_since_it_is_undocumented(github: Site) -> None:
    """Whether a waiting or a queued job shows in the run's status is not documented: both answers can be run."""
    run = github.serve(job("a"), job("b", environment="production"))
    assert github.status(run) == "queued"
    github.world.set(precedence=("waiting", "queued", "in_progress", "pending"))
    assert github.status(run) == "waiting"


def test_job_with_needs_is_not_listed_before_they_end(github: Site) -> None:
    """docs.github.com, workflow syntax, jobs.<job_id>.needs: a job runs after those it needs have completed."""
    run = github.serve(job("build"), job("test", needs=("build",)))
    runner = github.listening("r1")
    assert set(github.jobs(run)) == {"build"}
    runner.do(60)
    jobs = github.jobs(run)
    assert (jobs["build"]["conclusion"], jobs["test"]["status"]) == ("success", "queued")
    assert jobs["test"]["created_at"] == "2026-11-23T09:01:00Z"
    assert github.status(run) == "queued"


def test_run_is_in_progress_with_nothing_queued_while_needs_are_handed_over(github: Site) -> None:
    """How long GitHub takes from the end of `needs` to a queued job is undocumented: it may be a moment without jobs."""
    github.world.set(needs_delay=5.0)
    run = github.serve(job("build"), job("test", needs=("build",)))
    github.listening("r1").do(60)
    assert (github.status(run), set(github.jobs(run))) == ("in_progress", {"build"})
    github.clock.advance(5)
    assert github.jobs(run)["test"]["status"] == "queued"


def test_job_whose_needs_failed_is_skipped_and_the_run_fails(github: Site) -> None:
    """docs.github.com, workflow syntax: if a job fails or is skipped, all jobs that need it are skipped."""
    run = github.serve(
        job("build", conclusions=("failure",)),
        job("test", needs=("build",), matrix=("1", "2")),
        job("deploy", needs=("test",)),
    )
    github.listening("r1").do(60)
    assert {name: listed["conclusion"] for name, listed in github.jobs(run).items()} == {
        "build": "failure",
        "test": "skipped",
        "deploy": "skipped",
    }
    assert github.get(f"{API}/actions/runs/{run}")["conclusion"] == "failure"


def test_jobs_held_by_max_parallel_are_queued_at_once_but_not_sent(github: Site) -> None:
    """actions/runner#4248, runs-on/runs-on#452: 50 matrix jobs with max-parallel 1 are all `queued`."""
    run = github.serve(job("test", matrix=tuple("12345"), max_parallel=2))
    assert [listed["status"] for listed in github.jobs(run).values()] == ["queued"] * 5
    runners = [github.listening(f"r{n}") for n in range(4)]
    assert [runner.site.world.state.runners[runner.id].message is not None for runner in runners] == [
        True,
        True,
        False,
        False,
    ]
    runners[0].do(60)
    assert runners[2].poll().status == 200
    assert runners[3].site.world.state.runners[runners[3].id].message is None


def test_job_that_awaits_approval_is_waiting_and_is_queued_when_approved(github: Site) -> None:
    """docs.github.com, workflow run statuses: `waiting` is held by a deployment protection rule."""
    run = github.serve(job("deploy", environment="production"))
    assert (github.jobs(run)["deploy"]["status"], github.status(run)) == ("waiting", "waiting")
    github.world.approve(run, "staging")
    assert github.jobs(run)["deploy"]["status"] == "waiting"
    github.world.approve(run, "production")
    assert github.jobs(run)["deploy"]["status"] == "queued"


def test_job_that_awaits_approval_may_look_queued_at_first(github: Site) -> None:
    """actions/actions-runner-controller#2723, runs-on/runs-on#429: `waiting` lags by up to some 20 s."""
    github.world.set(approval_lag=20.0)
    run = github.serve(job("deploy", environment="production"))
    runner = github.listening("r1")
    assert github.jobs(run)["deploy"]["status"] == "queued"
    assert github.world.state.runners[runner.id].message is None
    github.clock.advance(20)
    assert github.jobs(run)["deploy"]["status"] == "waiting"


def test_rejected_deployment_fails_its_job(github: Site) -> None:
    """docs.github.com, reviewing deployments: if a job is rejected, the workflow will fail."""
    run = github.serve(job("deploy", environment="production"))
    github.world.approve(run, "production", approved=False)
    assert github.get(f"{API}/actions/runs/{run}")["conclusion"] == "failure"


def test_run_held_by_its_concurrency_group_is_pending_until_the_other_ends(github: Site) -> None:
    """docs.github.com, workflow run statuses: `pending` is at the front of a concurrency group; names ignore case."""
    first = github.serve(job("a"), concurrency="deploy")
    second = github.serve(job("b"), concurrency="DEPLOY")
    assert (github.status(first), github.status(second), github.jobs(second)) == ("queued", "pending", {})
    github.listening("r1").do(60)
    assert (github.status(first), github.status(second)) == ("completed", "queued")
    assert set(github.jobs(second)) == {"b"}


def test_newer_pending_run_cancels_the_older_one(github: Site) -> None:
    """docs.github.com, concurrency: at most one running and one pending; any earlier pending one is canceled."""
    runs = [github.serve(job("a"), concurrency="scale") for _ in range(3)]
    assert [github.status(run) for run in runs] == ["queued", "completed", "pending"]
    assert github.get(f"{API}/actions/runs/{runs[1]}")["conclusion"] == "cancelled"


def test_cancel_in_progress_ends_the_running_one(github: Site) -> None:
    """docs.github.com, concurrency: cancel-in-progress also cancels what runs in the group."""
    first = github.serve(job("a"), concurrency="ci")
    second = github.serve(job("a"), concurrency="ci", cancel_in_progress=True)
    assert (github.status(first), github.status(second)) == ("completed", "queued")


def test_job_held_by_its_own_concurrency_group_is_pending(github: Site) -> None:
    """docs.github.com, workflow syntax: jobs.<job_id>.concurrency holds a job, not its run."""
    run = github.serve(job("a", concurrency="db"), job("b", concurrency="db"), job("c"))
    assert {name: listed["status"] for name, listed in github.jobs(run).items()} == {
        "a": "queued",
        "b": "pending",
        "c": "queued",
    }
    assert github.status(run) == "queued"
    github.listening("r1").do(60)
    assert github.jobs(run)["b"]["status"] == "queued"


def test_newer_pending_job_cancels_the_older_one(github: Site) -> None:
    """docs.github.com, workflow syntax: jobs.<job_id>.concurrency has one pending place as well."""
    run = github.serve(*(job(name, concurrency="db") for name in "abc"))
    listed = github.jobs(run)
    assert [(listed[name]["status"], listed[name]["conclusion"]) for name in "abc"] == [
        ("queued", None),
        ("completed", "cancelled"),
        ("pending", None),
    ]


@pytest.mark.parametrize("fresh", ["requested", "queued"])
def test_fresh_run_lists_no_jobs_for_a_while(github: Site, fresh: str) -> None:
    """actions-runner-controller, autoscaling.go: a run's list of jobs can be empty at first."""
    github.world.set(jobs_delay=10.0, fresh_status=fresh)
    run = github.serve(job())
    assert (github.status(run), github.jobs(run)) == (fresh, {})
    github.clock.advance(10)
    assert (github.status(run), set(github.jobs(run))) == ("queued", {"build"})


def test_run_without_jobs_stays_queued(github: Site) -> None:
    """woocommerce/woocommerce#67640: queued runs with no jobs can persist for months."""
    run = github.serve()
    github.clock.advance(60 * 86400)
    assert (github.status(run), github.jobs(run)) == ("queued", {})


def test_job_queued_for_more_than_a_day_fails(github: Site) -> None:
    """docs.github.com, self-hosted runners reference: a job queued for more than 24 hours fails."""
    run = github.serve(job("build", "nobody-has-this"))
    github.clock.advance(86399)
    assert github.status(run) == "queued"
    github.clock.advance(1)
    assert github.jobs(run)["build"]["conclusion"] == "failure"
    assert github.status(run) == "completed"


def test_hosted_job_needs_no_runner_of_ours(github: Site) -> None:
    """docs.github.com, choosing the runner: ubuntu-latest and its like are GitHub's own."""
    run = github.serve(job("lint", "ubuntu-latest", duration=30.0))
    github.clock.advance(5)
    listed = github.jobs(run)["lint"]
    assert (listed["status"], listed["runner_group_name"]) == ("in_progress", "GitHub Actions")
    github.clock.advance(30)
    assert github.status(run) == "completed"


def test_hosted_jobs_keep_to_max_parallel_too(github: Site) -> None:
    """docs.github.com, workflow syntax, strategy.max-parallel: the most jobs of a matrix that run at a time."""
    run = github.serve(job("lint", "ubuntu-latest", duration=30.0, matrix=("1", "2"), max_parallel=1))
    github.clock.advance(10)
    assert sorted(listed["status"] for listed in github.jobs(run).values()) == ["in_progress", "queued"]
    github.clock.advance(70)
    assert github.status(run) == "completed"


def test_truth_is_there_to_be_asked(github: Site) -> None:
    """Tests and the demo see what REST does not tell at once: jobs that have not ended, runners that are there."""
    run = github.serve(job("a"), job("b", "ubuntu-latest"))
    github.jit("r1")
    github.clock.advance(65)
    assert [(found.name, found.run.id) for found in github.world.unfinished_jobs()] == [("a", run)]
    assert [runner.name for runner in github.world.registered()] == ["r1"]


# --- cancel and re-run -------------------------------------------------------------------------------


def test_cancel_ends_queued_jobs_at_once_and_tells_the_runner_of_the_other(github: Site) -> None:
    """docs.github.com, canceling a workflow run: the runner of a running job gets the message and ends it."""
    run = github.serve(job("a"), job("b"))
    runner = github.listening("r1")
    at = runner.acquire()
    assert github.rest("POST", f"{API}/actions/runs/{run}/cancel").status == 202
    assert {name: listed["conclusion"] for name, listed in github.jobs(run).items()} == {"a": None, "b": "cancelled"}
    assert runner.work(at) == "cancelled"
    assert runner.complete(at, "cancelled").status == 200
    assert github.get(f"{API}/actions/runs/{run}")["conclusion"] == "cancelled"


def test_cancelled_job_sets_the_runner_free_that_it_was_sent_to(github: Site) -> None:
    """The message is withdrawn: to acquire it answers 409, and the next job comes."""
    first, second = github.serve(job("a")), github.serve(job("b"))
    runner = github.listening("r1")
    sent = runner.poll().body["job_id"]
    github.world.cancel(first)
    assert runner.try_acquire(sent).status == 409
    assert github.world.job(runner.acquire()).run.id == second


def test_job_that_does_not_stop_is_ended_by_the_service(github: Site) -> None:
    """docs.github.com, canceling a workflow run: after 5 minutes the server ends what has not stopped."""
    run = github.serve(job("a", duration=3600.0))
    github.listening("r1").acquire()
    github.world.cancel(run)
    github.clock.advance(299)
    assert github.status(run) == "in_progress"
    github.clock.advance(1)
    assert github.get(f"{API}/actions/runs/{run}")["conclusion"] == "cancelled"


def test_cancelling_what_has_ended_is_refused(github: Site) -> None:
    """docs.github.com, REST cancel a workflow run: 409 Conflict."""
    run = github.serve(job("lint", "ubuntu-latest"))
    github.clock.advance(65)
    assert github.rest("POST", f"{API}/actions/runs/{run}/cancel").status == 409


def test_cancelled_run_creates_none_of_the_jobs_that_needed_others(github: Site) -> None:
    """docs.github.com, canceling a workflow run: no job of it starts any more."""
    run = github.serve(job("a"), job("b", needs=("a",)))
    github.rest("POST", f"{API}/actions/runs/{run}/cancel")
    github.clock.advance(60)
    assert (github.status(run), set(github.jobs(run))) == ("completed", {"a"})


def test_one_job_can_be_cancelled(github: Site) -> None:
    """A cancelled job leaves its siblings alone; the run ends as cancelled if none failed."""
    run = github.serve(job("a"), job("b", "ubuntu-latest"))
    github.world.cancel_job(github.jobs(run)["a"]["id"])
    github.clock.advance(65)
    assert github.get(f"{API}/actions/runs/{run}")["conclusion"] == "cancelled"
    assert github.jobs(run)["b"]["conclusion"] == "success"


def test_rerun_keeps_the_run_and_makes_new_jobs(github: Site) -> None:
    """docs.github.com, re-running workflows: same run id and created_at, run_attempt + 1, new run_started_at."""
    run = github.serve(job("a", "ubuntu-latest"), job("b", "ubuntu-latest", needs=("a",)))
    before = github.get(f"{API}/actions/runs/{run}")
    github.clock.advance(600)
    first = github.jobs(run)
    assert github.rest("POST", f"{API}/actions/runs/{run}/rerun").status == 201
    after = github.get(f"{API}/actions/runs/{run}")
    assert (after["id"], after["created_at"]) == (before["id"], before["created_at"])
    assert (after["run_attempt"], after["run_started_at"]) == (2, "2026-11-23T09:10:00Z")
    assert (after["status"], after["conclusion"]) == ("queued", None)
    assert after["previous_attempt_url"].endswith(f"/actions/runs/{run}/attempts/1")
    assert [entry.facts["jobs"] for entry in github.journal.of("run.rerun")] == [["a", "b"]]
    again = github.jobs(run)
    assert set(again) == {"a"}
    assert (again["a"]["run_attempt"], again["a"]["id"] == first["a"]["id"]) == (2, False)


def test_rerun_of_failed_jobs_leaves_the_others(github: Site) -> None:
    """docs.github.com, re-running failed jobs: the failed ones and their dependents run again, no others."""
    run = github.serve(
        job("ok", "ubuntu-latest"),
        job("bad", "ubuntu-latest", conclusions=("failure", "success"), matrix=("1", "2")),
        job("last", "ubuntu-latest", needs=("ok", "bad")),
    )
    github.clock.advance(100)
    first = github.jobs(run)
    assert first["last"]["conclusion"] == "skipped"
    assert github.rest("POST", f"{API}/actions/runs/{run}/rerun-failed-jobs").status == 201
    github.clock.advance(200)
    again = github.jobs(run)
    assert again["ok"]["id"] == first["ok"]["id"]
    assert {again[name]["run_attempt"] for name in ("bad (1)", "bad (2)", "last")} == {2}
    assert github.get(f"{API}/actions/runs/{run}")["conclusion"] == "success"
    everything = github.get(f"{API}/actions/runs/{run}/jobs?filter=all")
    assert everything["total_count"] == 7
    assert github.get(f"{API}/actions/runs/{run}/jobs?filter=latest")["total_count"] == 4


def test_one_job_can_be_rerun_with_what_needs_it(github: Site) -> None:
    """docs.github.com, REST re-run a job from a workflow run: the job and its dependent jobs."""
    run = github.serve(job("a", "ubuntu-latest"), job("b", "ubuntu-latest"), job("c", "ubuntu-latest", needs=("a",)))
    github.clock.advance(200)
    first = github.jobs(run)
    assert github.rest("POST", f"{API}/actions/jobs/{first['a']['id']}/rerun").status == 201
    github.clock.advance(200)
    again = github.jobs(run)
    assert {name for name in again if again[name]["id"] != first[name]["id"]} == {"a", "c"}


def test_rerun_of_failed_jobs_needs_one(github: Site) -> None:
    """docs.github.com, REST re-run failed jobs: there must be some."""
    run = github.serve(job("a", "ubuntu-latest"))
    github.clock.advance(65)
    assert github.rest("POST", f"{API}/actions/runs/{run}/rerun-failed-jobs").status == 403
    assert github.get(f"{API}/actions/runs/{run}")["run_attempt"] == 1


def test_rerun_waits_for_its_concurrency_group_like_any_run(github: Site) -> None:
    """docs.github.com, concurrency: a re-run is in the group as well."""
    first = github.serve(job("a", "ubuntu-latest"), concurrency="ci")
    github.clock.advance(65)
    github.serve(job("a"), concurrency="ci")
    github.rest("POST", f"{API}/actions/runs/{first}/rerun")
    assert github.status(first) == "pending"


def test_skipped_matrix_comes_back_whole_when_it_is_rerun(github: Site) -> None:
    """One skipped job stands for the matrix; re-run, it is the matrix again."""
    run = github.serve(
        job("a", "ubuntu-latest", conclusions=("failure", "success")),
        job("b", "ubuntu-latest", needs=("a",), matrix=("1", "2")),
    )
    github.clock.advance(70)
    assert set(github.jobs(run)) == {"a", "b"}
    github.rest("POST", f"{API}/actions/runs/{run}/rerun")
    github.clock.advance(200)
    assert set(github.jobs(run)) == {"a", "b (1)", "b (2)"}
    assert github.get(f"{API}/actions/runs/{run}")["conclusion"] == "success"


def test_running_run_cannot_be_rerun(github: Site) -> None:
    """docs.github.com, REST re-run: 403 while the workflow is running."""
    run = github.serve(job())
    assert github.rest("POST", f"{API}/actions/runs/{run}/rerun").status == 403
    assert github.rest("POST", f"{API}/actions/runs/{run}/rerun-failed-jobs").status == 403


# --- dispatch ----------------------------------------------------------------------------------------


def test_dispatch_starts_a_workflow_by_its_file_or_id(github: Site) -> None:
    """docs.github.com, REST create a workflow dispatch event: 204, or 200 with the run for return_run_details."""
    workflow = github.world.add_workflow("acme/api", "Autoscale", [job("scale", "ubuntu-latest")])
    dispatches = f"{API}/actions/workflows/{{}}/dispatches"
    assert github.rest("POST", dispatches.format("autoscale.yml"), {"ref": "main"}).status == 204
    detailed = github.rest("POST", dispatches.format(workflow.id), {"ref": "main", "return_run_details": True})
    assert detailed.status == 200
    run = github.get(f"{API}/actions/runs/{detailed.body['workflow_run_id']}")
    assert (run["event"], run["name"], run["run_number"]) == ("workflow_dispatch", "Autoscale", 2)


@pytest.mark.parametrize(
    ("workflow", "body", "status"),
    [
        pytest.param("none.yml", {"ref": "main"}, 404, id="no such workflow"),
        pytest.param("ci.yml", {"ref": "main"}, 422, id="no workflow_dispatch trigger"),
        pytest.param("nightly.yml", {"ref": ""}, 422, id="no ref"),
        pytest.param("nightly.yml", {"ref": "main", "inputs": {str(n): "" for n in range(26)}}, 422, id="26 inputs"),
    ],
)
def test_dispatch_of_what_cannot_be_dispatched_is_refused(
    github: Site, described: Watcher, workflow: str, body: dict[str, Any], status: int
) -> None:
    """docs.github.com, REST create a workflow dispatch event: the workflow needs the trigger; at most 25 inputs."""
    if "inputs" in body:
        described.expect("request body")
    github.world.add_workflow("acme/api", "CI")
    github.world.add_workflow("acme/api", "Nightly", [job()])
    assert github.rest("POST", f"{API}/actions/workflows/{workflow}/dispatches", body).status == status
