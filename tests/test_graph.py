"""The one GraphQL query: GitHub's schema takes it, the embedded GitHub answers it, and the adapter reads the answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from scaler.github import graph
from scaler.github.api import GitHubApi
from scaler.model import Denied, GraphIds, NotAsked, Unavailable
from scaler.sandbox.clock import Clock
from scaler.sandbox.github import graph_api
from scaler.sandbox.github.faults import Fault, FaultKind
from scaler.sandbox.github.server import GitHubServer
from scaler.sandbox.github.state import JobSpec
from scaler.sandbox.github.world import GitHubWorld
from scaler.sandbox.journal import Journal
from simulation.wire import DirectGitHub, Tap, VirtualClock
from simulation.world import Simulation
from tests import graph_schema
from tests.fetched import needed
from tests.test_budget import Hand

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
TOKEN = "ghp_" + "graph000" * 4 + "only"


@pytest.fixture
def server() -> Iterator[GitHubServer]:
    clock = Clock(NOON, speed=0)
    server = GitHubServer(GitHubWorld(clock, Journal(clock)))
    server.world.add_token(TOKEN)
    server.world.add_repository("acme/api")
    server.start()
    yield server
    server.stop()


def api(server: GitHubServer, under: str = "") -> GitHubApi:
    return GitHubApi(TOKEN, server.url + under, Hand())


def push(server: GitHubServer, workflow: str = "CI", **more: Any) -> None:
    server.world.push("acme/api", [JobSpec("job", ("gpu",))], workflow=workflow, **more)


def test_the_query_is_one_that_the_published_schema_takes() -> None:
    needed(graph_schema.installed)
    assert graph_schema.refused(graph.QUERY) == []
    assert graph_schema.refused(graph.QUERY.replace("updatedAt", "status")) != []


def test_the_embedded_github_answers_the_query_that_is_asked() -> None:
    assert graph_api.QUERY == graph.QUERY


def test_an_answer_that_is_none_to_its_query_is_found() -> None:
    needed(graph_schema.installed)
    asked = {"workflows": ["W_1"], "repositories": ["R_1"]}
    right = {"workflows": [{"runs": {"nodes": [{"updatedAt": "2026-11-24T08:00:00Z"}]}}], "repositories": [None]}
    assert graph_schema.misfits(graph.QUERY, asked, right) == []
    for wrong in (
        {"workflows": [{"runs": {"nodes": [{"updatedAt": None}]}}]},
        {"workflows": [{"runs": None}]},
        {"workflows": None},
        {"repositories": [{"pushedAt": None, "more": 1}]},
    ):
        assert graph_schema.misfits(graph.QUERY, asked, right | wrong) != []


def told(github: GitHubApi, ids: GraphIds) -> list[datetime | None]:
    """Of the repository itself, and each of its workflows."""
    found = github.hints(ids.workflows, [ids.repository])
    return [found[each] for each in (ids.repository, *ids.workflows)]


@pytest.mark.parametrize("under", ["", "/api/v3"], ids=["github.com", "GitHub Enterprise Server"])
def test_a_hint_says_when_runs_changed_and_when_something_was_pushed(server: GitHubServer, under: str) -> None:
    github = api(server, under)
    push(server)
    server.world.clock.advance(60)
    push(server, "Release")
    ids = github.graph_ids("acme/api")
    assert told(github, ids) == [minute(1), minute(0), minute(1)]
    server.world.clock.advance(60)
    push(server, event="schedule")
    assert told(github, ids) == [minute(1), minute(2), minute(1)]
    server.world.clock.advance(60)
    server.world.add_workflow("acme/api", "Nightly")
    assert told(github, github.graph_ids("acme/api")) == [minute(3), minute(2), minute(1), None]


def minute(number: int) -> datetime:
    return NOON.replace(minute=number)


def test_of_a_workflow_s_runs_the_ten_newest_count(server: GitHubServer) -> None:
    github = api(server)
    runs = [server.world.push("acme/api", [JobSpec("job", ("ubuntu-latest",), 1)], workflow="CI") for _ in range(11)]
    server.world.clock.advance(60)
    ids = github.graph_ids("acme/api")
    before = told(github, ids)
    for run, differs in ((runs[0], False), (runs[1], True)):
        server.world.clock.advance(60)
        server.world.rerun(run.id)
        assert (told(github, ids) != before) == differs


def test_a_repository_s_own_id_is_asked_for_once(server: GitHubServer) -> None:
    github = api(server)
    push(server)
    assert github.graph_ids("acme/api") == github.graph_ids("acme/api")
    assert server.world.tokens[TOKEN].used == 2, "a list of workflows that has not changed is free"


def test_what_is_not_shown_is_left_out(server: GitHubServer) -> None:
    push(server)
    github = api(server)
    ids = github.graph_ids("acme/api")
    assert set(github.hints([*ids.workflows, "W_nobody"], [])) == set(ids.workflows)
    with pytest.raises(Unavailable, match="Could not resolve to a node with the global id of 'W_nobody'"):
        github.hints(["W_nobody"], [])


def test_without_the_permission_no_workflow_is_shown(server: GitHubServer) -> None:
    push(server)
    ids = api(server).graph_ids("acme/api")
    server.world.add_token(TOKEN, permissions={"metadata": "read"})
    assert set(api(server).hints(ids.workflows, [ids.repository])) == {ids.repository}
    with pytest.raises(Unavailable, match="Resource not accessible by personal access token"):
        api(server).hints(ids.workflows, [])
    with pytest.raises(Denied, match="the token may not do this"):
        api(server).graph_ids("acme/api")


def test_more_than_a_hundred_ids_are_not_taken(server: GitHubServer) -> None:
    with pytest.raises(Unavailable, match="You may not provide more than 100 node ids; you provided 101"):
        api(server).hints(["W_1"] * 101, [])


def test_another_query_is_not_answered(server: GitHubServer) -> None:
    needed(graph_schema.installed)
    for body in ({"query": "{ viewer { login } }"}, {"query": graph.QUERY, "variables": {"workflows": []}}):
        connection = HTTPConnection(urlsplit(server.url).netloc, timeout=20)
        connection.request("POST", "/graphql", json.dumps(body), {"Authorization": f"token {TOKEN}"})
        answer = json.loads(connection.getresponse().read())
        connection.close()
        assert "errors" in answer
        assert "data" not in answer


@pytest.fixture
def ask(server: GitHubServer) -> Callable[[], object]:
    """The same hint again and again, by one client."""
    push(server)
    github = api(server)
    ids = github.graph_ids("acme/api")
    return lambda: github.hints(ids.workflows, [ids.repository])


def test_queries_have_an_hour_of_their_own(server: GitHubServer, ask: Callable[[], object]) -> None:
    token = server.world.tokens[TOKEN]
    token.points, token.queried = 100, 97
    ask()
    with pytest.raises(NotAsked, match="2 of 100"):
        ask()
    assert (token.used, token.queried) == (2, 98)


def test_a_spent_hour_is_an_answer_that_shows_nothing(server: GitHubServer, ask: Callable[[], object]) -> None:
    server.world.tokens[TOKEN].queried = 5000
    with pytest.raises(Unavailable, match="API rate limit exceeded"):
        ask()
    with pytest.raises(NotAsked):
        ask()


def test_queries_take_no_points_of_rest_s(server: GitHubServer, ask: Callable[[], object]) -> None:
    server.world.set(points_a_minute=2)
    for _ in range(3):
        ask()
    assert (server.limits.points(), server.limits.refused) == (2, 0)


def test_after_a_refusal_neither_graphql_nor_rest_is_asked(server: GitHubServer) -> None:
    push(server)
    github = api(server)
    ids = github.graph_ids("acme/api")
    server.world.fault(Fault(FaultKind.SECONDARY, path="/graphql", value=45))
    with pytest.raises(Unavailable, match="ask again in 45 s"):
        github.hints(ids.workflows, [])
    with pytest.raises(NotAsked, match="Retry-After"):
        github.hints(ids.workflows, [])
    with pytest.raises(NotAsked, match="Retry-After"):
        github.runs("acme/api", "queued")


ODD: list[Any] = [None, 3, ["x"], [{}], [{"runs": 7}], [{"runs": {"nodes": [None]}}], [{"runs": {"nodes": []}}] * 2]


@pytest.mark.parametrize("nodes", ODD, ids=str)
def test_an_odd_answer_is_no_answer(nodes: Any) -> None:
    """A run that is withheld may be the one that has changed."""
    sim = Simulation()
    tap = Tap(sim.clock, rewrite=lambda _, answer: answer | {"data": {"workflows": nodes, "repositories": []}})
    github = DirectGitHub(sim.server, tap, VirtualClock(sim.clock))
    with pytest.raises(Unavailable):
        github.hints(["W_1"], [])
