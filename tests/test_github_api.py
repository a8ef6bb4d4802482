"""The adapter to GitHub against answers that no GitHub should give, over HTTP."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from scaler.clock import RealClock
from scaler.github.api import GitHubApi
from scaler.github.connection import TIMEOUT
from scaler.model import ApiError, Denied, Removal, Unavailable
from scaler.sandbox.loopback import HttpAnswer, HttpRequest, LoopbackServer
from tests import looking

RUN = {"id": 1, "repository": {"private": True}}
JOB = {
    "id": 7,
    "run_id": 1,
    "name": "build",
    "labels": ["X64"],
    "status": "queued",
    "created_at": "2026-11-23T09:00:00Z",
}
RUNNER = {"id": 3, "name": "r", "status": "online", "busy": False, "labels": [{"name": "Linux"}]}
DATE = "Mon, 23 Nov 2026 09:00:00 GMT"


class Impatient(RealClock):
    """Waits for nothing."""

    def sleep(self, seconds: float) -> None:
        """Not at all."""


@contextmanager
def github(answer: Callable[[HttpRequest], tuple[int, Any]], date: str = DATE) -> Iterator[GitHubApi]:
    """An adapter to a server that answers everything so."""

    def respond(request: HttpRequest) -> HttpAnswer:
        status, body = answer(request)
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        return HttpAnswer(status, text, {"Content-Type": "application/json", "Date": date})

    server = LoopbackServer(respond, "odd-github")
    server.start()
    try:
        yield GitHubApi("made-up", server.url, Impatient())
    finally:
        server.stop()


def queue(*jobs: Any, runs: Any = None) -> Callable[[HttpRequest], tuple[int, Any]]:
    """One queued run with these jobs."""

    def answer(request: HttpRequest) -> tuple[int, Any]:
        if "/jobs" in request.target:
            return 200, {"total_count": len(jobs), "jobs": list(jobs)}
        rows = [RUN] if "status=queued" in request.target else []
        return 200, {"total_count": len(rows), "workflow_runs": rows} if runs is None else runs

    return answer


ODD_QUEUES = [
    pytest.param(queue({**JOB, "labels": 5}), id="labels are a number"),
    pytest.param(queue({**JOB, "id": "7"}), id="an id is text"),
    pytest.param(queue({**JOB, "id": None}), id="an id is null"),
    pytest.param(queue({**JOB, "status": "frozen"}), id="an unknown status"),
    pytest.param(queue("job"), id="a job is text"),
    pytest.param(queue(JOB, JOB), id="one job twice"),
    pytest.param(queue(runs={}), id="no rows"),
    pytest.param(queue(runs={"total_count": 0, "workflow_runs": None}), id="rows are null"),
    pytest.param(queue(runs={"total_count": "0", "workflow_runs": []}), id="a count is text"),
    pytest.param(queue(runs=[]), id="a list where an object should be"),
    pytest.param(lambda _: (200, b"<html>"), id="HTML"),
    pytest.param(lambda _: (200, b""), id="nothing"),
    pytest.param(lambda _: (502, b"bad gateway"), id="a gateway's error"),
]


@pytest.mark.parametrize("answer", ODD_QUEUES)
def test_an_odd_answer_is_no_answer(answer: Callable[[HttpRequest], tuple[int, Any]]) -> None:
    with github(answer) as api, pytest.raises(Unavailable):
        looking.queue(api, "acme/api", deep=False)


def test_an_even_answer_is_one() -> None:
    with github(queue(JOB)) as api:
        (job,) = looking.queue(api, "acme/api", deep=False).jobs
    assert (job.id, job.labels, job.created_at) == (7, frozenset({"x64"}), datetime(2026, 11, 23, 9, tzinfo=UTC))


@pytest.mark.parametrize("labels", [None, []])
def test_a_job_without_labels_is_data(labels: Any) -> None:
    with github(queue({**JOB, "labels": labels})) as api:
        assert looking.queue(api, "acme/api", deep=False).jobs[0].labels == frozenset()


@pytest.mark.parametrize("date", ["soon", "", None, -1, 0, "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_job_without_a_date_is_data(date: Any) -> None:
    with github(queue({**JOB, "created_at": date})) as api:
        assert looking.queue(api, "acme/api", deep=False).jobs[0].created_at is None


@pytest.mark.parametrize("odd", [{"status": "asleep"}, {"busy": "no"}, {"busy": None}, {"id": True}])
def test_a_runner_of_an_odd_shape_makes_the_list_unseen(odd: Any) -> None:
    with github(lambda _: (200, {"total_count": 1, "runners": [{**RUNNER, **odd}]})) as api, pytest.raises(Unavailable):
        api.runners("acme/api")


@pytest.mark.parametrize("body", [{}, {"encoded_jit_config": "x"}, {"encoded_jit_config": "x", "runner": {"id": "3"}}])
def test_a_minted_secret_of_an_odd_shape_is_none(body: Any) -> None:
    with github(lambda _: (201, body)) as api, pytest.raises(Unavailable):
        api.jit_secret("acme/api", "main-1a2b3c-i-1", ("x64",), None)


REMOVALS = [(204, Removal.REMOVED), (404, Removal.GONE), (422, Removal.BUSY)]


@pytest.mark.parametrize(("status", "removal"), REMOVALS)
def test_the_three_answers_to_a_removal_are_told_apart(status: int, removal: Removal) -> None:
    with github(lambda _: (status, {"message": "so"})) as api:
        assert api.remove_runner("acme/api", 3) is removal


REFUSALS = [
    (401, "Bad credentials", Denied, "the token is not valid"),
    (403, "Resource not accessible by integration", Denied, "may not do this"),
    (403, "Resource protected by organization SAML enforcement", Denied, "SSO"),
    (403, "API rate limit exceeded for user ID 1", Unavailable, "rate limit reached"),
    (429, "slow down", Unavailable, "rate limit reached"),
    (404, "Not Found", Unavailable, "not found"),
    (451, "Unavailable for legal reasons", Unavailable, "451"),
]


@pytest.mark.parametrize(("status", "message", "kind", "words"), REFUSALS)
def test_refusals_are_told_apart(status: int, message: str, kind: type[ApiError], words: str) -> None:
    with github(lambda _: (status, {"message": message})) as api, pytest.raises(kind) as caught:
        api.runners("acme/api")
    assert words in str(caught.value)


def test_a_read_is_tried_three_times_and_a_mint_once() -> None:
    """A repeated generate-jitconfig would meet its own name (409)."""
    seen: list[str] = []

    def answer(request: HttpRequest) -> tuple[int, Any]:
        seen.append(request.method)
        return 502, {}

    with github(answer) as api:
        with pytest.raises(Unavailable):
            api.runners("acme/api")
        with pytest.raises(Unavailable):
            api.jit_secret("acme/api", "main-1a2b3c-i-1", ("x64",), None)
    assert seen == ["GET", "GET", "GET", "POST"]


def test_nobody_is_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stalled connection is no answer; the predecessor's had no timeout at all."""
    assert 0 < TIMEOUT <= 60
    monkeypatch.setattr("scaler.github.connection.TIMEOUT", 0.05)
    over = Event()

    def stalled(_: HttpRequest) -> tuple[int, Any]:
        over.wait()
        return 200, {}

    with github(stalled) as api:
        with pytest.raises(Unavailable, match="no answer"):
            api.now()
        over.set()


@pytest.mark.parametrize(
    "broken",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"",
        b"no HTTP",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n{} ",
    ],
    ids=["half of it", "nothing", "something else", "packed in another way"],
)
def test_an_answer_that_breaks_off_is_none(broken: bytes) -> None:
    def talk() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(1 << 16)
                connection.sendall(broken)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        talking = Thread(target=talk)
        talking.start()
        with pytest.raises(Unavailable, match="no answer"):
            GitHubApi("made-up", f"http://127.0.0.1:{listener.getsockname()[1]}", Impatient()).now()
        listener.shutdown(socket.SHUT_RDWR)
        talking.join()


@pytest.mark.parametrize(("without", "through"), [("", True), ("github.example", False)])
def test_a_proxy_that_the_environment_names_is_used(
    monkeypatch: pytest.MonkeyPatch, without: str, *, through: bool
) -> None:
    seen: list[str] = []

    def answer(request: HttpRequest) -> tuple[int, Any]:
        seen.append(request.target)
        return 200, {}

    with github(answer) as proxy:
        for name in ("HTTP_PROXY", "http_proxy"):
            monkeypatch.setenv(name, proxy._api_url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, without)
        behind = GitHubApi("made-up", "http://github.example", Impatient())
        if through:
            behind.now()
        else:
            with pytest.raises(Unavailable):
                behind.now()
    assert seen == (["http://github.example/rate_limit"] if through else [])


def test_certificates_that_the_environment_names_are_trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """GHES behind a company's own authority."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path))
    pool: Any = GitHubApi("made-up", "https://ghes.example/api/v3", RealClock())._server.pool
    assert pool.ca_cert_dir == str(tmp_path)
    assert pool.cert_reqs == "CERT_REQUIRED"


def test_certificates_that_are_not_there_are_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
    with pytest.raises(Unavailable, match=r"https://ghes.example/api/v3: .*none\.pem"):
        GitHubApi("made-up", "https://ghes.example/api/v3", RealClock())


def test_a_proxy_that_has_no_address_is_one_line_that_does_not_show_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://user:word@h:99999")
    with pytest.raises(Unavailable) as told:
        GitHubApi("made-up", "https://api.github.com", RealClock())
    assert str(told.value) == "GitHub: https://api.github.com: a proxy of the environment has no address"
    assert told.value.__suppress_context__


@pytest.mark.parametrize("date", [DATE, "Mon, 23 Nov 2026 09:00:00 -0000", "Mon, 23 Nov 2026 10:00:00 +0100"])
def test_the_clock_is_githubs(date: str) -> None:
    with github(lambda _: (200, {}), date) as api:
        passed = api.now() - datetime(2026, 11, 23, 9, tzinfo=UTC)
    assert 0 <= passed.total_seconds() < 10


URLS = [
    ("https://api.github.com", "https://github.com/acme/api"),
    ("https://ghes.example/api/v3", "https://ghes.example/acme/api"),
]


@pytest.mark.parametrize(("api_url", "url"), URLS)
def test_runners_register_at_the_web_address(api_url: str, url: str) -> None:
    assert GitHubApi("made-up", api_url, RealClock()).registration_url("acme/api") == url
