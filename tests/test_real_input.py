"""
What GitHub really answered, given to the program: recorded exchanges and GitHub's own published examples.

Every verdict of every plan is asserted. What was changed of an answer stands where it is changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scaler.clock import RealClock
from scaler.github.api import GitHubApi
from scaler.model import JobStatus
from scaler.sandbox.sandbox import Sandbox
from tests import looking, pygithub_recordings
from tests.conftest import Ran, World
from tests.exchange import Exchange
from tests.fetched import needed
from tests.openapi import Description
from tests.pygithub_recordings import recording, recordings
from tests.recorded_github import RecordedGitHub
from tests.watcher import description

__all__ = ["description"]

MATRIX = "PyGithub/PyGithub"
FOREIGN = "ReDASers/Phishing-Detection"
EXAMPLE = "octo-org/octo-repo"
OURS = ("self-hosted", "acme")

CONFIG = """\
version: 1
fleet: main
aws: {{region: us-east-1, role: "arn:aws:iam::111122223333:role/runner-scaler"}}
{github}
repositories: [{repository}]
allow_public: {public}
max_runners: 10
pools:
  amd64:
    arch: amd64
    labels: [{labels}]
    launch_template: {{name: runner-amd64, version: 3}}
    max: 3
"""


@pytest.fixture(scope="module", autouse=True)
def _recordings() -> None:
    needed(pygithub_recordings.fetch)


# --- the answers ---------------------------------------------------------------------------------


def recorded(*names: str) -> list[Exchange]:
    """Exchanges by their names, such as `WorkflowRun.setUp#1`."""
    split = [name.partition("#") for name in names]
    return [recording(file, int(number)) for file, _, number in split]


def matrix() -> list[Exchange]:
    """
    Run 3881497935 of 10 January 2023: five jobs, created from 08:24:21, begun from 08:24:28, the last one
    finished at 08:28:18; and an older run in the list. Nobody recorded that repository's runners: it has none.
    """
    none = Exchange("GET", f"/repos/{MATRIX}/actions/runners", response_body=b'{"total_count":0,"runners":[]}')
    names = ("WorkflowRun.setUp#0", "WorkflowRun.setUp#1", "WorkflowRun.test_jobs#0")
    return [*recorded(*names, "Repository.testGetWorkflowRunsCreated#1"), none]


def foreign() -> list[Exchange]:
    """A private repository of 2020: 30 finished runs, 19 self-hosted runners that are not ours."""
    return recorded(
        "SelfHostedActionsRunner.setUp#1", "PullRequest1682.test_no_parameters#0", "PullRequest1684.testGetRunners#1"
    )


def examples(description: Description) -> list[Exchange]:
    """
    GitHub's published examples as one repository and its organization: a queued run, a job for
    [self-hosted, foo, bar], two runners, three runner groups.

    The example of a run's jobs is of another run, two days older, and lacks `created_at`: it is put below the
    example run, created with it and, as in the example, worked on for two minutes, from a minute later on.
    """
    bodies = {
        operation.template: example
        for operation, status, _, example in description.examples()
        if operation.method == "GET" and status == 200
    }
    repository, groups = "/repos/{owner}/{repo}", "/orgs/{org}/actions/runner-groups"
    (run,) = bodies[repository + "/actions/runs"]["workflow_runs"]
    (job,) = bodies[repository + "/actions/runs/{run_id}/jobs"]["jobs"]
    assert run["created_at"] == "2020-01-22T19:33:08Z"
    times = {"started_at": "2020-01-22T19:34:08Z", "completed_at": "2020-01-22T19:36:07Z"}
    job = {**job, "run_id": run["id"], "created_at": run["created_at"], **times}
    answers = {
        f"/repos/{EXAMPLE}": bodies[repository],
        f"/repos/{EXAMPLE}/actions/runs": bodies[repository + "/actions/runs"],
        f"/repos/{EXAMPLE}/actions/runs/{run['id']}/jobs": {"total_count": 1, "jobs": [job]},
        f"/repos/{EXAMPLE}/actions/runners": bodies[repository + "/actions/runners"],
        "/orgs/octo-org/actions/runners": bodies["/orgs/{org}/actions/runners"],
        "/orgs/octo-org/actions/runner-groups": bodies[groups],
        "/orgs/octo-org/actions/runner-groups/2/repositories": bodies[groups + "/{runner_group_id}/repositories"],
    }
    return [Exchange("GET", path, response_body=json.dumps(body).encode()) for path, body in answers.items()]


# --- the plans -----------------------------------------------------------------------------------


@dataclass
class Case:
    """A moment of the past, what config.yaml says, and what `plan` must say of it."""

    moment: str
    jobs: dict[str, str]
    launches: int = 0
    code: int = 0
    unseen: Sequence[str] = ()
    repository: str = MATRIX
    pool: Sequence[str] = OURS
    github: str = ""
    public: bool = True
    labels: list[str] | None = None
    announced: Mapping[str, int] = field(default_factory=dict)


def plan(case: Case, exchanges: list[Exchange], folder: Path) -> tuple[Ran, RecordedGitHub]:
    """Run `python -m scaler plan --json` on recorded answers and an AWS account in which nothing runs."""
    with (
        RecordedGitHub(exchanges, at(case.moment), case.labels, case.announced) as github,
        Sandbox(folder / "world", start=at(case.moment), speed=0) as box,
    ):
        checkout = folder / "checkout"
        checkout.mkdir()
        world = World(box, checkout)
        names = {"repository": case.repository, "labels": ", ".join(case.pool), "github": case.github}
        world.configure(CONFIG.format(**names, public=str(case.public).lower()))
        ran = world.scaler("plan", "--json", env={"GITHUB_API_URL": github.url})
        assert box.aws.alive() == []
    return ran, github


def holds(case: Case, ran: Ran, github: RecordedGitHub, description: Description) -> None:
    """Every verdict and every command, and that the program asked as the description has it."""
    assert ran.code == case.code, ran.said
    found = {verdict["name"]: verdict["reason"] for verdict in ran.document["verdicts"]}
    assert found == case.jobs
    assert {verdict["subject"] for verdict in ran.document["verdicts"]} <= {"job"}
    assert ran.commands() == ["launch"] * case.launches
    assert [each["view"] for each in ran.document["unseen"]] == list(case.unseen)
    asked = [line for exchange in github.served for line in description.check(exchange)]
    assert [line for line in asked if ": request " in line or ": unknown " in line] == []
    assert {exchange.method for exchange in github.served} == {"GET"}


def at(text: str) -> datetime:
    """A moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def matrix_jobs(*reasons: str) -> dict[str, str]:
    """The verdicts of the matrix's jobs, in the order of their Pythons; "" for one that is done."""
    names = [f"test (Python {version})" for version in ("3.7", "3.8", "3.9", "3.10", "3.11-dev")]
    return {name: reason for name, reason in zip(names, reasons, strict=True) if reason}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(Case("2023-01-10T08:24:00", {}), id="before the push there is nothing to do"),
        pytest.param(
            Case("2023-01-10T08:24:25", matrix_jobs(*["GitHub-hosted"] * 5)), id="jobs for ubuntu-latest are GitHub's"
        ),
        pytest.param(
            Case(
                "2023-01-10T08:24:25",
                matrix_jobs(*["launching"] * 3, *["pool at max"] * 2),
                launches=3,
                labels=list(OURS),
            ),
            id="five jobs for us meet a pool of three",
        ),
        pytest.param(
            Case(
                "2023-01-10T08:24:29",
                matrix_jobs("running", "launching", "launching", "running", "launching"),
                launches=3,
                labels=list(OURS),
            ),
            id="jobs that have begun ask for nothing more",
        ),
        pytest.param(
            Case("2023-01-10T08:26:00", matrix_jobs("", "running", "", "", ""), labels=list(OURS)),
            id="finished jobs are forgotten",
        ),
        pytest.param(
            Case("2023-01-10T08:24:25", matrix_jobs(*["public repository"] * 5), public=False, labels=list(OURS)),
            id="a public repository is not served unasked",
        ),
        pytest.param(
            Case("2023-01-10T08:24:25", matrix_jobs(*["no pool"] * 5), labels=["Self-Hosted", "ACME", "gpu"]),
            id="jobs that no pool serves are said",
        ),
    ],
)
def test_plans_for_a_recorded_matrix(case: Case, description: Description, tmp_path: Path) -> None:
    ran, github = plan(case, matrix(), tmp_path)
    holds(case, ran, github, description)
    assert github.missed == []


def test_the_runners_of_others_are_no_business_of_ours(description: Description, tmp_path: Path) -> None:
    """19 recorded runners, all offline, none of our name: no verdict, no command, though none has an instance."""
    case = Case("2020-10-27T20:00:00", {}, repository=FOREIGN)
    ran, github = plan(case, foreign(), tmp_path)
    holds(case, ran, github, description)
    assert github.missed == []
    (runners,) = [json.loads(x.response_body) for x in github.served if x.path.endswith("/actions/runners")]
    assert runners["total_count"] == len(runners["runners"]) == 19


def test_a_list_that_announces_more_than_it_shows_is_not_believed(description: Description, tmp_path: Path) -> None:
    """
    The recorded page holds 1 of an organization's 602 runners. The other 601 exist and are not shown.

    Neither its groups nor a repository of it were recorded: these are not seen either. Nothing is done.
    """
    page = recording("Organization.testGetSelfHostedRunners")
    case = Case(
        "2025-03-27T14:46:00",
        {},
        code=4,
        unseen=["runners", "runner group", "queue"],
        repository="BeaverSoftware/app",
        github="github: {register_at: organization, organization: BeaverSoftware}",
        announced={page.path: json.loads(page.response_body)["total_count"]},
    )
    ran, github = plan(case, [page], tmp_path)
    holds(case, ran, github, description)
    assert "1 rows where total_count says 602" in ran.said


FOO_BAR = ("self-hosted", "foo", "bar")
IN_GROUP = "github: {register_at: organization, organization: octo-org, runner_group: octo-runner-group}"


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            Case("2020-01-22T19:33:30", {"build": "launching"}, launches=1, pool=FOO_BAR), id="the queued job is served"
        ),
        pytest.param(Case("2020-01-22T19:35:00", {"build": "running"}, pool=FOO_BAR), id="the running job is left"),
        pytest.param(
            Case("2020-01-22T19:33:30", {"build": "no pool"}, pool=("self-hosted", "foo")), id="a label is missing"
        ),
        pytest.param(
            Case("2020-01-22T19:33:30", {"build": "public repository"}, public=False, pool=FOO_BAR), id="it is public"
        ),
    ],
)
def test_plans_for_githubs_published_examples(case: Case, description: Description, tmp_path: Path) -> None:
    """The two example runners, one of them busy, are not ours, and neither is idle."""
    case.repository = EXAMPLE
    ran, github = plan(case, examples(description), tmp_path)
    holds(case, ran, github, description)
    assert github.missed == []


def test_the_example_runner_group_serves_somebody_else(description: Description, tmp_path: Path) -> None:
    """The example's selected repository is octocat/Hello-World: its jobs are not seen, so nothing may be ended."""
    case = Case("2020-01-22T19:36:30", {}, code=4, unseen=["runner group"], repository=EXAMPLE, github=IN_GROUP)
    ran, github = plan(case, examples(description), tmp_path)
    holds(case, ran, github, description)
    assert "also serves octocat/hello-world" in ran.said


# --- the reader alone ----------------------------------------------------------------------------


def test_hosted_runners_without_labels_are_read(description: Description) -> None:
    """GitHub-hosted larger runners stand in an organization's list: 15 recorded, all but one without labels."""
    exchanges = recorded("Organization.testSelfHostedRunnerJitConfig#1")
    with RecordedGitHub(exchanges, at("2025-02-17T06:13:40")) as server:
        runners = GitHubApi("made-up", server.url, RealClock()).runners("BeaverSoftware")
        assert [line for exchange in server.served for line in description.check(exchange)] == []
    assert len(runners) == 15
    assert [runner.name for runner in runners if runner.labels] == ["self_hosted"]


def test_what_is_served_again_is_what_github_describes(description: Description) -> None:
    """Turning the clock back leaves the description in nothing."""
    with RecordedGitHub(matrix(), at("2023-01-10T08:24:29")) as server:
        github = GitHubApi("made-up", server.url, RealClock())
        jobs = looking.queue(github, MATRIX, deep=True).jobs
        assert at("2023-01-10T08:24:29") <= github.now() < at("2023-01-10T08:24:59")
    states: dict[JobStatus, int] = {state: sum(job.status is state for job in jobs) for state in JobStatus}
    assert {state: count for state, count in states.items() if count} == {
        JobStatus.QUEUED: 3,
        JobStatus.IN_PROGRESS: 2,
    }
    assert len(server.served) > 5
    assert [line for exchange in server.served for line in description.check(exchange)] == []


def test_the_recordings_are_read_in_full() -> None:
    assert len(recordings()) > 1000
