"""What the bench measures against behaves as GitHub does, and every client that is measured finds the queue."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from benchmarks import curves
from benchmarks.bench import KEEPING, started
from benchmarks.clients import CLIENTS, environment
from benchmarks.summary import Place, Row, Summary, scaled
from tests import graph_schema
from tests.exchange import Exchange
from tests.fetched import needed
from tests.openapi import Description
from tests.watcher import description

__all__ = ["description"]

CORES = sorted(os.sched_getaffinity(0))


@pytest.fixture(scope="module")
def rig() -> Iterator[str]:
    """Three repositories, all with active runs, that answer at once."""
    with started("benchmarks.github_rig", "--repositories=3", "--world=busy", "--delay=0", cores=CORES) as url:
        yield url


def ask(url: str, target: str, *, method: str = "GET", body: bytes = b"", **headers: str) -> Exchange:
    """One request on a connection of its own."""
    sent = {"Authorization": "token one"} | {name.replace("_", "-"): value for name, value in headers.items()}
    connection = HTTPConnection(urlsplit(url).netloc, timeout=20)
    try:
        connection.request(method, target, body or None, sent)
        answer = connection.getresponse()
        path, _, query = target.partition("?")
        got = answer.read()
        if answer.headers["Content-Encoding"] == "gzip":
            got = gzip.decompress(got)
        return Exchange(method, path, query, sent, body, answer.status, dict(answer.getheaders()), got)
    finally:
        connection.close()


def counters(url: str, method: str = "GET") -> Any:
    return json.loads(ask(url, "/_rig", method=method).response_body)


REPOSITORY = "/repos/acme/repo-0001"
ASKED = [
    "/rate_limit",
    REPOSITORY,
    f"{REPOSITORY}/actions/runs",
    f"{REPOSITORY}/actions/runs?per_page=100&page=2",
    *(f"{REPOSITORY}/actions/runs?status={status}&per_page=100" for status in ("queued", "in_progress", "waiting")),
    f"{REPOSITORY}/actions/runs/2000100101",
    f"{REPOSITORY}/actions/runs/2000100101/jobs?filter=latest&per_page=100",
    f"{REPOSITORY}/actions/runs/2000100102/jobs?per_page=3&page=2",
    f"{REPOSITORY}/actions/runners",
    f"{REPOSITORY}/actions/workflows",
    f"{REPOSITORY}/actions/workflows/1000100002",
    "/orgs/acme/actions/runners",
    "/repos/acme/nobody/actions/runs",
]


@pytest.mark.parametrize("target", ASKED)
def test_answers_are_as_github_describes_them(rig: str, description: Description, target: str) -> None:
    assert description.check(ask(rig, target, Accept_Encoding="gzip")) == []


def test_runs_have_the_size_of_real_ones(rig: str) -> None:
    listed = ask(rig, f"{REPOSITORY}/actions/runs?per_page=100").response_body
    assert 10_000 < len(listed) / 100 < 12_000
    jobs = ask(rig, f"{REPOSITORY}/actions/runs/2000100101/jobs").response_body
    assert 800 < len(jobs) / 8 < 1600


def test_what_is_unchanged_is_free_for_the_token_that_has_it(rig: str) -> None:
    target = f"{REPOSITORY}/actions/runs?status=queued"
    tag = ask(rig, target).response_headers["ETag"]
    counters(rig, "DELETE")
    again = ask(rig, target, If_None_Match=tag)
    assert (again.status, again.response_body) == (304, b"")
    assert (counters(rig)["requests"], counters(rig)["charged"], counters(rig)["points"]) == (1, 0, 1)
    assert ask(rig, target, If_None_Match=tag, Authorization="token two").status == 200
    assert counters(rig)["charged"] == 1


def test_a_job_that_starts_changes_two_lists(rig: str) -> None:
    """The runs in progress and that run's jobs; the queue's list is as it was, and other repositories are."""
    targets = [
        f"/repos/acme/repo-000{number}/actions/runs{list_of}"
        for number in (0, 1)
        for list_of in ("?status=queued", "?status=in_progress", f"/2000{number}00101/jobs")
    ]
    before = [ask(rig, target).response_headers["ETag"] for target in targets]
    queued = json.loads(ask(rig, "/_rig/truth").response_body)
    ask(rig, "/_rig/move", method="POST")
    after = [ask(rig, target).response_headers["ETag"] for target in targets]
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, False, True, True, True]
    moved = json.loads(ask(rig, "/_rig/truth").response_body)
    assert [len(moved[name]) - len(queued[name]) for name in moved] in ([-1, 0, -1], [1, 0, 1])


def test_every_request_tells_what_is_left_of_the_hour(rig: str) -> None:
    counters(rig, "DELETE")
    left = [int(ask(rig, REPOSITORY).response_headers["X-RateLimit-Remaining"]) for _ in range(2)]
    assert left == [4999, 4998]
    assert counters(rig)["points"] == 2
    ask(rig, "/_rig/tick", method="DELETE")
    assert counters(rig)["points"] == 0
    assert int(ask(rig, REPOSITORY).response_headers["X-RateLimit-Remaining"]) == 4997, "the hour goes on"


def test_a_spent_hour_is_refused() -> None:
    with started("benchmarks.github_rig", "--repositories=1", "--delay=0", "--limit=1", cores=CORES) as url:
        answers = [ask(url, "/repos/acme/repo-0000") for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 403]


def test_github_enterprise_server_tells_no_limits_and_has_none() -> None:
    with started("benchmarks.github_rig", "--repositories=1", "--delay=0", "--no-limits", cores=CORES) as url:
        answer = ask(url, "/repos/acme/repo-0000")
    assert not [name for name in answer.response_headers if name.lower().startswith("x-ratelimit")]


def test_graphql_shows_the_newest_runs_of_workflows(rig: str) -> None:
    rows = json.loads(ask(rig, f"{REPOSITORY}/actions/workflows").response_body)["workflows"]
    query = """query($ids: [ID!]!) { nodes(ids: $ids) { ... on Workflow { runs(first: 2) { nodes {
      runNumber checkSuite { status repository { pushedAt } } } } } } }"""
    asked = {"query": query, "variables": {"ids": [*(row["node_id"] for row in rows), "nobody"]}}
    counters(rig, "DELETE")
    answer = json.loads(ask(rig, "/graphql", method="POST", body=json.dumps(asked).encode()).response_body)
    *found, nobody = answer["data"]["nodes"]
    assert nobody is None
    states = {run["runNumber"]: run["checkSuite"]["status"] for each in found for run in each["runs"]["nodes"]}
    busy = {number: state for number, state in states.items() if state != "COMPLETED"}
    assert busy == {101: "IN_PROGRESS", 102: "QUEUED", 103: "QUEUED"}
    assert (counters(rig)["charged"], counters(rig)["graphql"]) == (0, 1)


EVERYTHING = """query($ids: [ID!]!) { nodes(ids: $ids) { __typename ... on Workflow { id databaseId name state
  runs(first: 10) { totalCount pageInfo { hasNextPage } nodes { id databaseId runNumber event createdAt updatedAt
    checkSuite { id status conclusion updatedAt repository { id isPrivate nameWithOwner pushedAt } } } } } } }"""


def test_graphql_answers_are_as_github_publishes_its_schema(rig: str) -> None:
    """The answer, executed as the data of its own query, comes out as it went in: names, kinds, enums, what is null."""
    needed(graph_schema.installed)
    assert graph_schema.refused(EVERYTHING) == []
    rows = json.loads(ask(rig, f"{REPOSITORY}/actions/workflows").response_body)["workflows"]
    ids = {"ids": [row["node_id"] for row in rows]}
    asked = {"query": EVERYTHING, "variables": ids}
    data = json.loads(ask(rig, "/graphql", method="POST", body=json.dumps(asked).encode()).response_body)["data"]
    assert len(data["nodes"]) == 4
    assert graph_schema.misfits(EVERYTHING, ids, data) == []


@pytest.mark.parametrize("client", CLIENTS)
def test_a_measured_client_finds_the_queue(rig: str, client: str) -> None:
    """All but the predecessor's way, which counts runs: two of the three that wait."""
    watches = client in KEEPING
    with started("benchmarks.aws_rig", cores=CORES) as aws:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.measure", client, "--url", rig, "--repositories=2", "--ticks", "cold",
             *(["changed"] if watches else [])],
            env=environment(json.loads(aws)), capture_output=True, text=True, check=True,
        )  # fmt: skip
    first, *later = json.loads(done.stdout)["ticks"]
    assert first["requests"] == first["charged"] > 0
    if client.startswith("original"):
        assert (len(first["queued"]), first["right"]) == (4, False)
    else:
        assert (len(first["queued"]) in {35, 36}, first["right"]) == (True, True)
    for tick in later:
        assert {len(tick["queued"]), len(first["queued"])} == {35, 36}, "one of two repositories has a job that started"
        assert tick["right"]


TEN = Place("mixed", 10)


def row(client: str, number: int, seconds: float) -> Row:
    return Row(client, TEN, number, "cold", seconds, 1.0, 30.0, 20, 20, 20, 1, 1, 18, right=True, rig_cpu=0.0)


def test_ratios_are_taken_within_a_round() -> None:
    """A round in which the machine was slow for all must not look as if one client was."""
    rows = [row("ours", 0, 1.0), row("raw", 0, 1.0), row("ours", 1, 9.0), row("raw", 1, 9.0), row("ours", 2, 2.0)]
    assert Summary([*rows, row("raw", 2, 1.0)]).ratio("ours", "raw", TEN, "cold") == 1.0


def test_what_is_too_slow_grows_in_proportion() -> None:
    grown = scaled(row("pygithub", 0, 14.0), Place("mixed", 500))
    assert (grown.seconds, grown.requests, grown.found, grown.scaled) == (700.0, 1000, 900, True)


def test_a_picture_has_room_for_nought() -> None:
    drawn = curves.picture("Growth", [curves.Panel("charged", "repositories", {"ours": [(1, 5), (10, 50), (100, 0)]})])
    dots = [(float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', drawn)]
    heights = [y for _, y in dots]
    assert [x for x, _ in dots] == sorted(x for x, _ in dots)
    assert heights[2] > heights[0] > heights[1], "SVG counts downwards"
    assert ">0</text>" in drawn
