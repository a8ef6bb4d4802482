"""GitHub's secondary limits, which no header tells of (docs.github.com: rate limits for the REST API)."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from scaler.sandbox.clock import Clock
from scaler.sandbox.github.settings import MINUTE, Settings
from scaler.sandbox.github.state import Refused

READ, WRITE = 1, 5
"""Points of a GET, HEAD or OPTIONS request, and of any other."""
QUERY, QUERIES = 1, 2000
"""Points of a GraphQL query, and those of a minute, which are counted apart (docs.github.com: rate limits for GraphQL)."""


class _Minute:
    """The points of the last sixty seconds."""

    def __init__(self) -> None:
        self.spent: deque[tuple[datetime, int]] = deque()
        self.points = 0

    def at(self, now: datetime) -> int:
        while self.spent and self.spent[0][0] <= now - timedelta(seconds=MINUTE):
            self.points -= self.spent.popleft()[1]
        return self.points

    def spend(self, now: datetime, points: int) -> None:
        self.spent.append((now, points))
        self.points += points


class SecondaryLimits:
    """Points in any minute, a 304's too, and requests at once; `refused` counts what was over either."""

    def __init__(self, clock: Clock, settings: Settings) -> None:
        self._clock = clock
        self._settings = settings
        self._rest, self._graphql = _Minute(), _Minute()
        self._running = 0
        self.most_at_once = 0
        self.refused = 0

    @contextmanager
    def one(self, method: str, path: str = "") -> Iterator[Refused | None]:
        """One request from its beginning to its end: the refusal that it meets, if it is one too many."""
        with self._clock.lock:
            self._running += 1
            self.most_at_once = max(self.most_at_once, self._running)
            most = self._settings.points_a_minute
            if path == "/graphql":
                refusal = self._refusal(self._graphql, QUERY, most and QUERIES)
            else:
                refusal = self._refusal(self._rest, READ if method in ("GET", "HEAD", "OPTIONS") else WRITE, most)
            self.refused += refusal is not None
        try:
            yield refusal
        finally:
            with self._clock.lock:
                self._running -= 1

    def points(self) -> int:
        """What was spent of REST's within the last minute."""
        return self._rest.at(self._clock.now())

    def _refusal(self, minute: _Minute, points: int, most: int | None) -> Refused | None:
        at_once, now = self._settings.requests_at_once, self._clock.now()
        over = most is not None and minute.at(now) + points > most
        if over or (at_once is not None and self._running > at_once):
            wait = MINUTE
            if over and minute.spent:
                wait -= (now - minute.spent[0][0]).total_seconds()
            headers = {"Retry-After": str(max(math.ceil(wait), 1))}
            message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
            return Refused(403, message, headers)
        minute.at(now)
        minute.spend(now, points)
        return None
