"""The embedded GitHub's answers have the keys, types and headers of the real answers that were recorded."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests import pygithub_recordings
from tests.exchange import Exchange
from tests.fetched import needed
from tests.populated import TOKEN, populated
from tests.pygithub_recordings import recording
from tests.watcher import Watcher, described

__all__ = ["described"]

BROWSERS = {
    "access-control-allow-origin",
    "access-control-expose-headers",
    "content-security-policy",
    "referrer-policy",
    "strict-transport-security",
    "x-content-type-options",
    "x-frame-options",
    "x-xss-protection",
}
TRANSPORT = {"accept-ranges", "content-encoding", "transfer-encoding", "vary", "last-modified", "status"}
OF_THE_TOKEN = {
    "github-authentication-token-expiration",
    "x-accepted-github-permissions",
    "x-accepted-oauth-scopes",
    "x-oauth-client-id",
    "x-oauth-scopes",
}
UNREAD = BROWSERS | TRANSPORT | OF_THE_TOKEN | {"cache-control", "etag", "link"}
"""
Headers that are not compared: no program here reads them, or (ETag, Link) they depend on what was asked.
"""

NEWER = {"/ephemeral", "/version", "/runner_group_id", "/user_view_type"}
"""Keys that the description has and that GitHub did not send yet when these were recorded."""

OF_AN_ADMINISTRATOR = {
    "/allow_auto_merge",
    "/allow_merge_commit",
    "/allow_rebase_merge",
    "/allow_squash_merge",
    "/delete_branch_on_merge",
}
"""Keys of a repository that GitHub's published example has; these were recorded by somebody who is none."""

OF_ITS_OWN = {
    "/custom_properties": "an organization's own properties of repositories",
    "/license/": "the embedded repositories have no licence",
    **dict.fromkeys(
        (
            f"/resources/{name}"
            for name in (
                "audit_log",
                "code_scanning_",
                "code_search",
                "dependency_snapshots",
                "scim",
                "source_import",
            )
        ),
        "rate limits of other parts of the API; the description requires core and search alone",
    ),
}
"""Recorded keys that the embedded GitHub leaves out, and why."""

RUN, RUNS = "/repos/acme/api/actions/runs/{run_id}", "/repos/acme/api/actions/runs"
JOB, RUNNER = "/repos/acme/api/actions/jobs/{job_id}", "/repos/acme/api/actions/runners/{runner_id}"
ORGANIZATION = "/orgs/acme/actions/runners"


@pytest.fixture(scope="module", autouse=True)
def _recordings() -> None:
    needed(pygithub_recordings.fetch)


def shape(value: Any, at: str = "") -> Iterator[tuple[str, str]]:
    """Every key's path, items of lists alike, with the kind of its value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield f"{at}/{key}", type(inner).__name__
            yield from shape(inner, f"{at}/{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from shape(inner, f"{at}[]")


def kinds(*bodies: bytes) -> dict[str, set[str]]:
    """The kinds of values that each path was seen with; null says nothing of a kind."""
    found: dict[str, set[str]] = {}
    for body in bodies:
        for path, kind in shape(json.loads(body)):
            found.setdefault(path, set()).update({kind} - {"NoneType"})
    return found


def asked(method: str, template: str, watcher: Watcher) -> tuple[dict[str, str], bytes]:
    """Ask an embedded GitHub; the first thing there that the path can name."""
    jit = b'{"name":"main-1a2b3c-i-0new","runner_group_id":1,"labels":["default"]}'
    with populated() as world:
        world.server.observers.append(watcher)
        keys = set(re.findall(r"{(\w+)}", template))
        names = next(thing for thing in world.things if not keys or (keys <= set(thing) and thing.get("repo") == "api"))
        request = urllib.request.Request(
            world.server.url + template.format(**names),
            method=method,
            data=jit if template.endswith("/generate-jitconfig") else None,
            headers={"Authorization": f"Bearer {TOKEN}"},
        )
        with urllib.request.urlopen(request) as answer:
            return dict(answer.headers), answer.read()


@pytest.mark.parametrize(
    ("method", "template", "names"),
    [
        pytest.param(
            "GET", RUN, ["WorkflowRun.testGetAttempt#1", "WorkflowRun.setUp#1", "WorkflowJob.setUp#1"], id="run"
        ),
        pytest.param(
            "GET",
            RUNS,
            ["Repository.testGetWorkflowRunsCreated#1", "PullRequest2408.test_get_workflow_runs#0"],
            id="runs",
        ),
        pytest.param("GET", RUN + "/jobs", ["WorkflowRun.test_jobs#0", "WorkflowJob.setUp#2"], id="jobs"),
        pytest.param("GET", JOB, ["Repository.testGetWorkflowJob#1"], id="job"),
        pytest.param(
            "GET",
            "/repos/acme/api/actions/runners",
            [
                "Organization.testGetSelfHostedRunners#0",
                "Organization.testSelfHostedRunnerJitConfig#1",
                "PullRequest1684.testGetRunners#1",
            ],
            id="runners",
        ),
        pytest.param("GET", RUNNER, ["Organization.testSelfHostedRunnerJitConfig#2"], id="runner"),
        pytest.param(
            "POST",
            ORGANIZATION + "/generate-jitconfig",
            ["Organization.testSelfHostedRunnerJitConfig#0"],
            id="JIT configuration",
        ),
        pytest.param(
            "POST",
            ORGANIZATION + "/registration-token",
            ["Organization.testSelfHostedRunnerGetRegistrationToken#0"],
            id="registration token",
        ),
        pytest.param(
            "POST",
            ORGANIZATION + "/remove-token",
            ["Organization.testSelfHostedRunnerGetRemoveToken#0"],
            id="remove token",
        ),
        pytest.param(
            "GET", ORGANIZATION + "/downloads", ["Organization.testGetSelfHostedRunnerApplications#0"], id="downloads"
        ),
        pytest.param("GET", "/rate_limit", ["RateLimitOverview.setUp#0"], id="rate limit"),
        pytest.param("GET", "/repos/acme/api", ["Repository.testGetWorkflowRunsCreated#0"], id="repository"),
    ],
)
def test_the_embedded_github_answers_in_the_recorded_shape(
    described: Watcher, method: str, template: str, names: list[str]
) -> None:
    real = [by_name(name) for name in names]
    headers, body = asked(method, template, described)
    mine, theirs = kinds(body), kinds(*(exchange.response_body for exchange in real))
    missing = [path for path in sorted(theirs.keys() - mine.keys()) if not path.startswith(tuple(OF_ITS_OWN))]
    assert missing == []
    explained = NEWER | OF_AN_ADMINISTRATOR
    assert [path for path in mine.keys() - theirs.keys() if "/" + path.rpartition("/")[2] not in explained] == []
    clashes = {path: (mine[path], theirs[path]) for path in mine.keys() & theirs.keys() if mine[path] - theirs[path]}
    assert {path: kind for path, kind in clashes.items() if kind[1]} == {}
    wanted = {name.lower() for exchange in real for name in exchange.response_headers} - UNREAD
    assert wanted - {name.lower() for name in headers} == set()
    assert wanted >= {"date", "content-type", "x-ratelimit-remaining", "x-github-request-id"}


def by_name(name: str) -> Exchange:
    """`WorkflowRun.setUp#1`."""
    file, _, number = name.partition("#")
    return recording(file, int(number))
