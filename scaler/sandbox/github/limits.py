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


class SecondaryLimits:
    """Points in any minute, a 304's too, and requests at once; `refused` counts what was over either."""

    def __init__(self, clock: Clock, settings: Settings) -> None:
        self._clock = clock
        self._settings = settings
        self._spent: deque[tuple[datetime, int]] = deque()
        self._points = 0
        self._running = 0
        self.most_at_once = 0
        self.refused = 0

    @contextmanager
    def one(self, method: str) -> Iterator[Refused | None]:
        """One request from its beginning to its end: the refusal that it meets, if it is one too many."""
        with self._clock.lock:
            self._running += 1
            self.most_at_once = max(self.most_at_once, self._running)
            refusal = self._refusal(READ if method in ("GET", "HEAD", "OPTIONS") else WRITE)
            self.refused += refusal is not None
        try:
            yield refusal
        finally:
            with self._clock.lock:
                self._running -= 1

    def points(self) -> int:
        """What was spent within the last minute."""
        while self._spent and self._spent[0][0] <= self._clock.now() - timedelta(seconds=MINUTE):
            self._points -= self._spent.popleft()[1]
        return self._points

    def _refusal(self, points: int) -> Refused | None:
        most, at_once = self._settings.points_a_minute, self._settings.requests_at_once
        spent = self.points()
        over = most is not None and spent + points > most
        if over or (at_once is not None and self._running > at_once):
            wait = MINUTE
            if over and self._spent:
                wait -= (self._clock.now() - self._spent[0][0]).total_seconds()
            headers = {"Retry-After": str(max(math.ceil(wait), 1))}
            message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
            return Refused(403, message, headers)
        self._spent.append((self._clock.now(), points))
        self._points += points
        return None
