"""What GitHub need not send again: unchanged lists cost nothing of the hour's requests, and nothing else is believed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from scaler.clock import RealClock
from scaler.github.api import GitHubApi
from scaler.github.kept import Kept, Page
from scaler.model import Job, Unavailable
from scaler.sandbox.clock import Clock
from scaler.sandbox.github.faults import Fault, FaultKind
from scaler.sandbox.github.server import Exchange, GitHubServer
from scaler.sandbox.github.state import JobSpec
from scaler.sandbox.github.world import GitHubWorld
from scaler.sandbox.journal import Journal
from tests import looking

API, TOKEN = "acme/api", "ghp_" + "kept" * 9
JOB = JobSpec("build", ("self-hosted", "x64"), 600.0)


@pytest.fixture
def server() -> Iterator[GitHubServer]:
    clock = Clock(datetime(2026, 11, 23, 9, tzinfo=UTC), speed=0)
    server = GitHubServer(GitHubWorld(clock, Journal(clock)))
    server.world.add_repository(API)
    server.world.add_token(TOKEN)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def github(server: GitHubServer) -> GitHubApi:
    return GitHubApi(TOKEN, server.url, RealClock())


def charged(server: GitHubServer) -> int:
    return server.world.tokens[TOKEN].used


def jobs(github: GitHubApi) -> tuple[Job, ...]:
    return looking.queue(github, API, deep=True).jobs


def test_an_unchanged_list_costs_nothing_the_second_time(server: GitHubServer, github: GitHubApi) -> None:
    server.world.push(API, [JOB])
    first = jobs(github), github.runners(API)
    spent = charged(server)
    assert spent == 5 + 1 + 1
    assert (jobs(github), github.runners(API)) == first
    assert charged(server) == spent


def test_what_has_changed_is_read_anew_and_the_rest_is_not(server: GitHubServer, github: GitHubApi) -> None:
    server.world.push(API, [JOB])
    assert len(jobs(github)) == 1
    spent = charged(server)
    server.world.push(API, [JOB])
    assert len(jobs(github)) == 2
    assert charged(server) - spent == 2  # the list of queued runs, and the new run's jobs


def test_every_page_is_asked_for_by_its_own_validator(server: GitHubServer, github: GitHubApi) -> None:
    server.world.push(API, [JobSpec("many", ("x64",), matrix=tuple(str(number) for number in range(250)))])
    first = jobs(github)
    spent = charged(server)
    assert jobs(github) == first
    assert (len(first), charged(server)) == (250, spent)


def test_what_was_not_believed_is_asked_for_as_if_for_the_first_time(server: GitHubServer, github: GitHubApi) -> None:
    """A list short of its count has a validator too; it must not stand for the whole one later."""
    server.world.push(API, [JOB])
    server.world.fault(fault := Fault(FaultKind.COUNT, path="/jobs$", times=None))
    with pytest.raises(Unavailable):
        jobs(github)
    server.world.faults.remove(fault)
    assert len(jobs(github)) == 1


@pytest.mark.lies
def test_a_304_that_nobody_asked_for_is_no_answer(server: GitHubServer, github: GitHubApi) -> None:
    server.world.fault(Fault(FaultKind.STATUS, path="/runners$", value=304, times=None))
    with pytest.raises(Unavailable):
        github.runners(API)


def test_a_secret_is_never_asked_for_conditionally(server: GitHubServer, github: GitHubApi) -> None:
    seen: list[Exchange] = []
    server.observers.append(seen.append)
    for number in range(2):
        github.jit_secret(API, f"main-1a2b3c-i-{number}", ("x64",), None)
    assert not [each for each in seen if "if-none-match" in each.request_headers]


def page(*rows: int) -> Page:
    return Page(len(rows), dict.fromkeys(rows))


def test_what_is_kept_is_bounded_and_goes_by_when_it_was_last_asked_for() -> None:
    kept = Kept(most_rows=9)
    questions: list[tuple[Any, ...]] = [("a",), ("b",), ("c",)]
    for question in questions:
        kept.put(question, "W/1", page(1, 2))
    assert kept.get(("a",)) == ("W/1", page(1, 2))
    kept.put(("d",), "W/2", page())
    assert [kept.get(question) is not None for question in questions] == [True, False, True]
    kept.put(("e",), "W/3", page(*range(20)))
    assert kept.get(("e",)) is None


def test_what_comes_without_a_validator_takes_the_place_of_what_had_one() -> None:
    kept = Kept()
    kept.put(("a",), "W/1", page(1))
    kept.put(("a",), None, page(2))
    assert kept.get(("a",)) is None
