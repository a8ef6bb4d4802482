"""
GitHub's REST API through PyGithub's requester: one call, patience where it may be repeated, lists to their last page.

PyGithub's own retry is off: it repeats POSTs (a repeated generate-jitconfig answers 409 for a name that is
ours) and sleeps until a rate limit resets. Here only reads and DELETE are repeated, and never for long.
"""

from __future__ import annotations

import json
import logging
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from github import Auth, Github, GithubException
from github.Requester import Requester
from urllib3.exceptions import HTTPError

from scaler.boundary import ServerClock
from scaler.github.budget import CORE, GRAPHQL, LONGEST_WAIT, Budget
from scaler.github.connection import Call, Server
from scaler.github.errors import refusal
from scaler.github.kept import Kept, Page
from scaler.model import Clock, NotAsked, Unavailable

API_VERSION = "2022-11-28"
GRAPH = "/graphql"
PAGE = 100
ATTEMPTS = 3

Answer = tuple[int, dict[str, Any], str]
T = TypeVar("T")
log = logging.getLogger(__name__)


class GitHubRest:
    """How GitHub is asked; what it is asked for is for its subclasses. Safe to be used by several threads."""

    def __init__(self, credential: str | Auth.Auth, api_url: str, clock: Clock, sharers: int = 1) -> None:
        """Connect to `api_url` (`https://api.github.com`, or GHES's `…/api/v3`) with a token, or what comes by some."""
        self._credential = credential
        self._api_url = api_url.rstrip("/")
        self._server = self._connect()
        self._clock = clock
        self._server_clock = ServerClock(clock)
        self._local = threading.local()
        self._kept = Kept()
        self._budget = Budget(clock, self._server_clock.now, sharers)

    @property
    def _requester(self) -> Requester:
        """PyGithub's, one a thread: what it notes of its last requests is not made for more."""
        if not hasattr(self._local, "requester"):
            self._local.requester = Github(
                auth=Auth.Token(self._credential) if isinstance(self._credential, str) else self._credential,
                base_url=self._api_url,
                per_page=PAGE,
                retry=None,
                seconds_between_requests=None,
                seconds_between_writes=None,
                lazy=True,
                api_version=API_VERSION,
            ).requester
        requester: Requester = self._local.requester
        return requester

    def _connect(self) -> Server:
        try:
            return Server(self._api_url)
        except HTTPError:
            # Not chained: its sentence has the proxy's address, and with it a password.
            raise Unavailable(f"GitHub: {self._api_url}: a proxy of the environment has no address") from None
        except OSError as error:
            raise Unavailable(f"GitHub: {self._api_url}: {error}") from error

    def now(self) -> datetime:
        """GitHub's clock; asks for the rate limit, which is free, if nothing was asked yet."""
        if self._server_clock.now() is None:
            self._read("/rate_limit", {})
        now = self._server_clock.now()
        if now is None:
            raise Unavailable("GitHub: its answers have no Date; is a proxy between?")
        return now

    def room(self, every: float | None, *, patience: float) -> int | None:
        """A tick begins: the reads that it should plan for."""
        self._budget.begin(patience=patience)
        return self._budget.room(every)

    def hint_queries(self, every: float, reads: int) -> int:
        """How many queries for hints a tick may ask."""
        return self._budget.queries(every, reads)

    def _rows(
        self,
        path: str,
        key: str,
        parameters: dict[str, Any],
        make: Callable[[dict[str, Any]], T],
        limit: int | None = None,
    ) -> tuple[dict[int, T], bool]:
        """
        What `make` makes of each row of all pages, by id; and whether they are all there is (a search ends at `limit`).

        Pages shift while they are read (terraform-aws-github-runner#4584), so the rows must be as many,
        each once, as `total_count` says; a list that fails that twice is not believed.
        """
        rows: dict[int, T] = {}
        total = 0
        for _ in range(2):
            rows = {}
            for page in self._pages(path, key, parameters, make, limit):
                rows.update(page.rows)
                total = page.total  # the last one counts
            if len(rows) == total:
                return rows, True
            if limit is not None and total > limit and len(rows) == limit:
                return rows, False
        raise Unavailable(f"GitHub: {path}: {len(rows)} rows where total_count says {total}")

    def _pages(
        self,
        path: str,
        key: str,
        parameters: dict[str, Any],
        make: Callable[[dict[str, Any]], Any],
        limit: int | None,
    ) -> Iterator[Page]:
        number, seen = 1, 0
        while True:
            page = self._page(path, key, {**parameters, "per_page": PAGE, "page": number}, make)
            yield page
            seen += len(page.rows)
            if not page.rows or seen >= min(page.total, limit or page.total):
                return
            number += 1

    def _page(self, path: str, key: str, parameters: dict[str, Any], make: Callable[[dict[str, Any]], Any]) -> Page:
        """One page; what GitHub says has not changed (304) is as it was."""
        question = (path, *parameters.items())
        kept = self._kept.get(question)
        condition = {"If-None-Match": kept[0]} if kept else None
        answered = self._patiently("GET", path, parameters, None, condition)
        if kept and answered[0] == 304:
            return kept[1]
        answer = self._accept(answered, 200, path)
        total, rows = answer.get("total_count"), answer.get(key)
        if type(total) is not int or not isinstance(rows, list):
            raise Unavailable(f'GitHub: {path}: the answer has no "{key}" with its "total_count"')
        page = Page(total, {integer(row, "id"): make(row) for row in rows})
        self._kept.put(question, answered[1].get("etag"), page)
        return page

    def _read(self, path: str, parameters: dict[str, Any]) -> dict[str, Any]:
        return self._accept(self._patiently("GET", path, parameters, None), 200, path)

    def _accept(self, answered: Answer, expected: int, what: str) -> dict[str, Any]:
        answer = _told(answered, expected, what)
        if not isinstance(answer, dict):
            raise Unavailable(f"GitHub: {what}: expected an object, got {type(answer).__name__}")
        return answer

    def _accept_list(self, answered: Answer, what: str) -> list[dict[str, Any]]:
        """A bare array, as some lists come."""
        answer = _told(answered, 200, what)
        if not isinstance(answer, list):
            raise Unavailable(f"GitHub: {what}: expected a list, got {type(answer).__name__}")
        return answer

    def _patiently(
        self,
        verb: str,
        path: str,
        parameters: dict[str, Any],
        body: dict[str, Any] | None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Ask again after a broken answer or a short Retry-After. Only for what may be repeated."""
        for attempt in range(1, ATTEMPTS + 1):
            last = attempt == ATTEMPTS
            try:
                answer = self._once(verb, path, body, parameters, headers)
            except NotAsked:
                raise
            except Unavailable:
                if last:
                    raise
                self._clock.sleep(_backoff(attempt))
                continue
            wait = _retry_after(answer[0], answer[1], attempt)
            if last or wait is None or wait > LONGEST_WAIT:
                return answer
            self._clock.sleep(wait)
        raise AssertionError("unreachable")

    def _once(
        self,
        verb: str,
        path: str,
        body: dict[str, Any] | None,
        parameters: dict[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        resource = GRAPHQL if path == GRAPH else CORE
        self._budget.take(read=verb == "GET" or path == GRAPH, resource=resource)
        status, told, text, began = 0, dict[str, Any](), "", self._clock.monotonic()
        # GitHub Enterprise Server: /api/v3 beside /api/graphql (docs: forming calls with GraphQL).
        url = (self._api_url.removesuffix("/v3") if path == GRAPH else self._api_url) + path
        call: Any = Call(self._server)  # PyGithub's type for it is one of two classes of its own
        try:
            status, told, text = self._requester.requestJson(
                verb, url, parameters or None, dict(headers or {}), body or None, call
            )
        except GithubException as error:
            status, told, text = error.status, dict(error.headers or {}), json.dumps(error.data)
        except (HTTPError, OSError) as error:
            raise Unavailable(f"GitHub: {path}: no answer ({type(error).__name__})") from error
        finally:
            self._budget.hear(status, told, resource, self._clock.monotonic() - began)
        log.info("GitHub %s %s: %s", verb, path, status)
        self._server_clock.hear(told.get("date"))
        return status, told, text


def _told(answered: Answer, expected: int, what: str) -> Any:
    status, headers, text = answered
    if status != expected:
        raise refusal(status, headers, message_of(text), what)
    try:
        return json.loads(text)
    except ValueError as error:
        raise Unavailable(f"GitHub: {what}: the answer is not JSON") from error


def _retry_after(status: int, headers: dict[str, Any], attempt: int) -> float | None:
    """Seconds until it makes sense to ask again, or None if it makes none."""
    if status >= 500:
        return _backoff(attempt)
    after = headers.get("retry-after", "")
    return float(after) if status in (403, 429) and str(after).isdigit() else None


def _backoff(attempt: int) -> float:
    return 0.5 * float(2 ** (attempt - 1)) * random.uniform(0.5, 1.5)  # noqa: S311 - jitter, not a secret


def message_of(text: str) -> str:
    """What GitHub says in a body that it refuses with; empty if it is none of GitHub's."""
    try:
        return str(mapping(json.loads(text)).get("message", ""))[:200]
    except ValueError:
        return ""


def mapping(value: Any) -> dict[str, Any]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def integer(row: dict[str, Any], key: str) -> int:
    """A row's number; `Unavailable` if it is none."""
    value = mapping(row).get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Unavailable(f'GitHub: a row whose "{key}" is {type(value).__name__}, not a number')
    return value


def time_of(value: Any) -> datetime | None:
    """None for what is no date: a job is a job whatever its date is."""
    try:
        return datetime.fromisoformat(str(value)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
