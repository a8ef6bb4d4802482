"""
Watch an embedded GitHub through a test, and fail the test where an exchange left GitHub's description.

`described` is the fixture to use: `server.observers.append(described)`; the check is its teardown.
"""

from __future__ import annotations

import functools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scaler.sandbox.github.server import Exchange as Served
from tests import fetch_openapi
from tests.exchange import Exchange
from tests.fetched import Unreachable, needed, once
from tests.openapi import Description

_SHOWN = 20


class Watcher:
    """
    Checks each exchange that it is called with and keeps the violations for `assert_clean`.

    It is called by the server's threads and never raises there. Without a description it only counts;
    with `answers_only` requests may be as bad as they like, with `lies` the answers that a fault had its part in.
    """

    def __init__(self, description: Description | None, *, answers_only: bool = False, lies: bool = False) -> None:
        self.seen = 0
        self._description = description
        self._answers_only = answers_only
        self._lies = lies
        self._lock = threading.Lock()
        self._violations: Counter[str] = Counter()
        self._expected: list[str] = []

    def __call__(self, seen: Served) -> None:
        """Take note of an exchange, as `GitHubServer.observers` are told of it."""
        if not (self._lies and seen.faulted):
            self._take(lambda: Exchange.of(seen))

    def read(self, path: Path) -> None:
        """Take note of the exchanges that a server of another process recorded (`GitHubServer(record=...)`)."""
        for line in path.read_text().splitlines():
            self._take(functools.partial(Exchange.from_json, line))

    def _take(self, seen: Callable[[], Exchange]) -> None:
        try:
            lines = self._checked(seen())
        except Exception as error:  # noqa: BLE001  the server's thread must live; the test fails below
            lines = [f"the check itself failed: {error!r}"]
        with self._lock:
            self._violations.update(lines)

    def _checked(self, exchange: Exchange) -> list[str]:
        if exchange.path.startswith("/_"):  # the runner's stand-in has a protocol of its own there
            return []
        with self._lock:
            self.seen += 1
        if self._description is None:
            return []
        return (self._description.check_answer if self._answers_only else self._description.check)(exchange)

    def expect(self, part: str) -> None:
        """Name a violation that this test makes on purpose, by a part of its line; it must occur."""
        self._expected.append(part)

    def assert_clean(self) -> None:
        """Fail if there was a violation that nobody expected, or none where one was."""
        with self._lock:
            found = Counter(self._violations)
        unmet = [part for part in self._expected if not any(part in line for line in found)]
        bad = [f"{n}x {line}" for line, n in found.items() if not any(part in line for part in self._expected)]
        if bad:
            more = [f"... and {len(bad) - _SHOWN} more"] if len(bad) > _SHOWN else []
            raise AssertionError("\n  ".join(["not as GitHub describes its API:", *bad[:_SHOWN], *more]))
        if unmet and self._description is not None:
            raise AssertionError(f"expected violations that did not occur: {unmet}")


@pytest.fixture(scope="session")
def description() -> Description:
    """GitHub's description; without it the test fails on CI and is skipped elsewhere."""
    needed(fetch_openapi.fetch)
    return Description.load()


@functools.cache
def _description_if_any() -> Description | None:
    try:
        once(fetch_openapi.fetch)
        return Description.load()
    except Unreachable:
        return None


@pytest.fixture
def described(request: pytest.FixtureRequest) -> Iterator[Watcher]:
    """Watch through a test. Where the description cannot be had, the test runs and is then reported unchecked."""
    watcher = Watcher(_description_if_any(), lies=request.node.get_closest_marker("lies") is not None)
    yield watcher
    watcher.assert_clean()
    if _description_if_any() is None:
        needed(fetch_openapi.fetch)
