"""The validator bites, and what it holds others to is what GitHub really answers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scaler.sandbox.github.server import Exchange as Served
from tests import fetched, pygithub_recordings
from tests.exchange import Exchange
from tests.openapi import Description, check_file
from tests.pygithub_recordings import recording, recordings
from tests.watcher import Watcher, description

__all__ = ["description"]

JSON = {"Content-Type": "application/json; charset=utf-8"}
RUNNER = {
    "id": 7,
    "runner_group_id": 1,
    "name": "main-1a2b3c-i-0abc",
    "os": "unknown",
    "status": "offline",
    "busy": False,
    "labels": [{"id": 0, "name": "acme", "type": "read-only"}],
}
GOOD_RUNNERS = Exchange(
    method="GET",
    path="/repos/acme/api/actions/runners",
    query="per_page=100",
    response_headers=JSON,
    response_body=json.dumps({"total_count": 1, "runners": [RUNNER]}).encode(),
)
GOOD_JIT = Exchange(
    method="POST",
    path="/orgs/acme/actions/runners/generate-jitconfig",
    request_body=json.dumps({"name": "main-1a2b3c-i-0abc", "runner_group_id": 1, "labels": ["acme"]}).encode(),
    status=201,
    response_headers=JSON,
    response_body=json.dumps({"runner": RUNNER, "encoded_jit_config": "abc123"}).encode(),
)

EXAMPLES_AGAINST_THEIR_SCHEMA = {
    "GET /repos/{owner}/{repo} 200 default-response": "lacks language",
    "GET /repos/{owner}/{repo}/actions/runs/{run_id}/jobs 200 default": "lacks created_at",
    "GET /repos/{owner}/{repo}/actions/runs/{run_id}/attempts/{attempt_number}/jobs 200 default": "lacks created_at",
    "GET /repos/{owner}/{repo}/actions/jobs/{job_id} 200 default": "lacks created_at",
    "GET /orgs/{org} 200 default-response": "lacks archived_at",
    "GET /repos/{owner}/{repo}/contents/{path} 200 response-if-content-is-a-directory-github-object": (
        "is of the media type application/vnd.github.object"
    ),
    "POST /repos/{owner}/{repo}/actions/jobs/{job_id}/rerun 201 default": "is null",
    "POST /repos/{owner}/{repo}/actions/runs/{run_id}/cancel 202 default": "is null",
    "POST /repos/{owner}/{repo}/actions/runs/{run_id}/force-cancel 202 default": "is null",
    "POST /repos/{owner}/{repo}/actions/runs/{run_id}/rerun 201 default": "is null",
    "POST /repos/{owner}/{repo}/actions/runs/{run_id}/rerun-failed-jobs 201 default": "is null",
}
"""Published examples that GitHub's own description refuses, and why. The real answer to those of null is `{}`."""

RECORDINGS_AGAINST_DESCRIPTION = {
    # Recorded before the fields that the description requires existed (`used` 2020, `display_title` 2022).
    "ExposeAllAttributes.testAllClasses#24": "/rate_limit of 2018 has no used",
    "Issue142.testDecodeJson#0": "/rate_limit of 2019 has no used",
    "PullRequest1682.test_no_parameters#0": "runs of 2020 have no display_title",
    "PullRequest1682.test_object_parameters#1": "runs of 2020 have no display_title",
    "PullRequest1682.test_object_parameters#3": "runs of 2020 have no display_title",
    "Repository.testGetWorkflowRuns#1": "runs of 2020 have no display_title",
    "Workflow.testGetRunsWithNoArguments#0": "runs of 2020 have no display_title",
    "Workflow.testGetRunsWithObjects#3": "runs of 2020 have no display_title",
    "Workflow.testGetRunsWithStrings#0": "runs of 2020 have no display_title",
    # PyGithub cut these bodies down by hand.
    "PullRequest1682.test_string_parameters#0": "no total_count",
    "PullRequest1682.test_string_parameters#1": "no total_count",
    "PullRequest1682.test_string_parameters#2": "no total_count",
    "PullRequest1682.test_string_parameters#3": "no total_count",
    # Requests that leave the description; GitHub refused the one and read the other's 1 as true.
    "GithubIntegration.testGetAccessTokenWithInvalidData#0": "permissions is a text, answered 400",
    "PullRequest2408.test_get_workflow_runs#1": "exclude_pull_requests=1 is no boolean",
}
"""Recorded exchanges that do not validate, and why. Every other one of these operations does."""


def body(exchange: Exchange, **changes: Any) -> Exchange:
    """Change keys of the answer's body; None removes one."""
    made = json.loads(exchange.response_body) | changes
    return replace(exchange, response_body=json.dumps({k: v for k, v in made.items() if v is not None}).encode())


def asked(exchange: Exchange, **changes: Any) -> Exchange:
    """Change keys of the request's body; None removes one."""
    made = json.loads(exchange.request_body) | changes
    return replace(exchange, request_body=json.dumps({k: v for k, v in made.items() if v is not None}).encode())


def served(x: Exchange) -> Served:
    """The exchange as an embedded GitHub reports it."""
    request = (x.method, x.path, x.query, x.request_headers, x.request_body)
    return Served(*request, x.status, x.response_headers, x.response_body)


def test_a_faithful_exchange_has_no_violation(description: Description) -> None:
    assert description.check(GOOD_RUNNERS) == []
    assert description.check(GOOD_JIT) == []


def test_the_numeric_aliases_of_link_headers_are_githubs(description: Description) -> None:
    """Recorded Links of both lists lead there."""
    for path in ("/repositories/146139403/actions/runners", "/organizations/21341965/actions/runners"):
        assert description.check(replace(GOOD_RUNNERS, path=path)) == []


@pytest.mark.parametrize(
    ("exchange", "said"),
    [
        pytest.param(
            replace(GOOD_RUNNERS, path="/repos/acme/api/actions/runs", query="status=waitin"),
            'request query status: "waitin" is not one of',
            id="a value outside a parameter's enum",
        ),
        pytest.param(
            body(GOOD_RUNNERS, runners=[{**RUNNER, "busy": "no"}]),
            'body /runners/0/busy: "no" is not of type "boolean"',
            id="a wrong type deep in a body",
        ),
        pytest.param(
            body(GOOD_RUNNERS, runners=[{k: v for k, v in RUNNER.items() if k != "os"}]),
            'body /runners/0: "os" is a required property',
            id="a missing field",
        ),
        pytest.param(replace(GOOD_RUNNERS, status=206), "-> 206: undocumented status", id="an undocumented status"),
        pytest.param(
            replace(GOOD_RUNNERS, path="/repos/acme/api/actions/runnerz"), "unknown path", id="an unknown path"
        ),
        pytest.param(replace(GOOD_RUNNERS, method="PUT"), "unknown method", id="an unknown method"),
        pytest.param(
            replace(GOOD_RUNNERS, path="/repos/acme/api/actions/runners/self"),
            "unknown path",
            id="an id that is no number",
        ),
        pytest.param(
            replace(GOOD_RUNNERS, query="per_page=500"), "query per_page: 500 is not between", id="a page over 100"
        ),
        pytest.param(
            replace(GOOD_RUNNERS, query="perpage=50"), "query perpage: unknown parameter", id="an unknown parameter"
        ),
        pytest.param(
            replace(GOOD_RUNNERS, query="page=two"), 'query page: "two" is not of type', id="a parameter's wrong type"
        ),
        pytest.param(
            replace(GOOD_RUNNERS, request_headers={"x-github-api-version": "2020-01-01"}),
            "no version of the API",
            id="an API version that GitHub has not",
        ),
        pytest.param(
            asked(GOOD_JIT, runner_group_id=None),
            'request body /: "runner_group_id" is a required property',
            id="a JIT request without runner_group_id",
        ),
        pytest.param(
            asked(GOOD_JIT, labels=[str(n) for n in range(101)]), "request body /labels:", id="more than 100 labels"
        ),
        pytest.param(
            asked(GOOD_JIT, runner_group="Default"), "body /runner_group: unknown key", id="an unknown key in a request"
        ),
        pytest.param(replace(GOOD_JIT, request_body=b"name=x"), "request body: no JSON", id="a request not in JSON"),
        pytest.param(replace(GOOD_JIT, request_body=b""), "request body: missing", id="a request without its body"),
        pytest.param(
            replace(GOOD_RUNNERS, request_body=b'{"name":"x"}'), "request body: none", id="a body where none belongs"
        ),
        pytest.param(
            replace(GOOD_RUNNERS, response_headers={"Content-Type": "text/html"}),
            "header Content-Type: 'text/html'",
            id="an answer of another media type",
        ),
        pytest.param(
            replace(GOOD_RUNNERS, method="DELETE", path="/orgs/acme/actions/runners/7", query="", status=204),
            "body: none is documented",
            id="a body with 204",
        ),
        pytest.param(
            replace(GOOD_RUNNERS, status=304, response_body=b""),
            "set no condition",
            id="304 to an unconditional request",
        ),
        pytest.param(
            replace(GOOD_RUNNERS, status=403, response_body=b"{}"), "body /message", id="a refusal without a message"
        ),
        pytest.param(
            body(GOOD_RUNNERS, total_count=101), "lacks a next page", id="a page before the last without Link"
        ),
        pytest.param(
            replace(GOOD_RUNNERS, response_headers={**JSON, "Link": '<http://x/?page=2>; rel="next"'}),
            "has a next page",
            id="a Link beyond the last page",
        ),
        pytest.param(
            replace(body(GOOD_RUNNERS, runners=[RUNNER, RUNNER], total_count=2), query="per_page=1"),
            "2 items on a page of 1",
            id="more items than were asked for",
        ),
    ],
)
def test_a_violation_is_named_in_one_line(description: Description, exchange: Exchange, said: str) -> None:
    lines = description.check(exchange)
    assert [line for line in lines if said in line], lines
    assert all("\n" not in line and line.startswith(f"{exchange.method} {exchange.path}") for line in lines)


def test_a_job_that_runs_may_have_no_conclusion_yet(description: Description) -> None:
    """The description's enum of conclusions lacks the null that its `nullable` promises."""
    real = recording("WorkflowRun.test_jobs")
    answer = json.loads(real.response_body)
    answer["jobs"][0] |= {"conclusion": None, "status": "in_progress", "completed_at": None}
    assert description.check(replace(real, response_body=json.dumps(answer).encode())) == []
    answer["jobs"][0]["conclusion"] = "splendid"
    (line,) = description.check(replace(real, response_body=json.dumps(answer).encode()))
    assert "/jobs/0/conclusion" in line


def test_a_secret_is_never_quoted(description: Description) -> None:
    """Violations end in logs."""
    lines = description.check(body(GOOD_JIT, encoded_jit_config=["s3cr3t"]))
    assert lines
    assert not [line for line in lines if "s3cr3t" in line]


def test_published_examples_validate_but_for_the_listed(description: Description) -> None:
    found = {
        f"{operation.method} {operation.template} {status} {name}": operation.responses[status]
        .bodies["application/json"]
        .errors(example)
        for operation, status, name, example in description.examples()
    }
    assert len(found) > 25
    assert {name for name, errors in found.items() if errors} == set(EXAMPLES_AGAINST_THEIR_SCHEMA)


@pytest.fixture(scope="module")
def checked(description: Description) -> dict[str, tuple[str, list[str]]]:
    """
    Every recording of the operations in use, and its violations.

    Repositories, their files, and organizations themselves apart: hundreds of recordings since 2012, most of them of old forms.
    """
    fetched.needed(pygithub_recordings.fetch)
    return {
        str(recorded): (operation.template, description.check(recorded.exchange))
        for recorded in recordings()
        for operation in description.operations
        if operation.method == recorded.exchange.method
        and operation.pattern.fullmatch(recorded.exchange.path)
        and operation.template
        not in (
            "/repos/{owner}/{repo}",
            "/repos/{owner}/{repo}/contents/{path}",
            "/orgs/{org}",
            "/orgs/{org}/repos",
            "/user/repos",
        )
    }


def test_real_answers_validate_but_for_the_listed(checked: dict[str, tuple[str, list[str]]]) -> None:
    """So the description describes what GitHub does, and holding the embedded GitHub to it means something."""
    assert {name for name, (_, lines) in checked.items() if lines} == set(RECORDINGS_AGAINST_DESCRIPTION)


@pytest.mark.parametrize(
    ("path", "count"),
    [
        pytest.param("/actions/runners", 10, id="lists of runners"),
        pytest.param("/actions/runners/{runner_id}", 6, id="single runners"),
        pytest.param("/jobs", 2, id="jobs of a run"),
        pytest.param("/actions/jobs/{job_id}", 1, id="single jobs"),
        pytest.param("/actions/runs", 2, id="lists of runs"),
        pytest.param("/actions/runs/{run_id}", 9, id="single runs"),
        pytest.param("/generate-jitconfig", 1, id="JIT configurations"),
        pytest.param("/registration-token", 1, id="registration tokens"),
        pytest.param("/remove-token", 1, id="remove tokens"),
        pytest.param("/access_tokens", 11, id="installation tokens"),
        pytest.param("/rate_limit", 4, id="rate limits"),
    ],
)
def test_the_recordings_hold_enough_to_judge_by(
    checked: dict[str, tuple[str, list[str]]], path: str, count: int
) -> None:
    """Were they no longer found, the test above would pass by having nothing to look at."""
    valid = [name for name, (template, lines) in checked.items() if template.endswith(path) and not lines]
    assert len(valid) >= count, valid


def test_the_watcher_fails_a_test_on_a_violation(description: Description) -> None:
    watcher = Watcher(description)
    watcher(served(GOOD_RUNNERS))
    watcher.assert_clean()
    watcher(served(body(GOOD_RUNNERS, runners=None)))
    with pytest.raises(AssertionError, match="GET /repos/acme/api/actions/runners -> 200: body /"):
        watcher.assert_clean()
    assert watcher.seen == 2


def test_the_watcher_wants_the_violations_that_a_test_announces(description: Description) -> None:
    watcher = Watcher(description)
    watcher.expect("unknown path")
    with pytest.raises(AssertionError, match="did not occur"):
        watcher.assert_clean()
    watcher(served(replace(GOOD_RUNNERS, path="/nowhere")))
    watcher.assert_clean()


def test_the_runners_own_protocol_is_not_githubs(description: Description) -> None:
    watcher = Watcher(description)
    watcher(served(Exchange(method="POST", path="/_runner/session", status=201)))
    watcher.assert_clean()
    assert watcher.seen == 0


def test_the_recording_of_another_process_is_checked(description: Description, tmp_path: Path) -> None:
    file = tmp_path / "exchanges.jsonl"
    bad = replace(GOOD_JIT, request_body=b"name=x")
    lines = [served(x).redacted() for x in (GOOD_RUNNERS, GOOD_JIT, replace(GOOD_RUNNERS, query="per_page=500"), bad)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    too_many, no_json = check_file(description, file)
    assert "per_page" in too_many
    assert "request body: no JSON" in no_json
    watcher = Watcher(description)
    watcher.read(file)
    with pytest.raises(AssertionError, match="per_page"):
        watcher.assert_clean()
