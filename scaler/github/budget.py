"""
GitHub's limits, respected and not met: what may be asked now, by what GitHub said and what was asked within the minute.

Of an hour a token has so many requests, of a minute 900 points, a GET for one and anything else for five
(docs.github.com: rate limits for the REST API). No header tells of the points. GitHub Enterprise Server has neither
limit unless somebody switches it on, and then says so in its headers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from threading import Lock

from scaler.model import Clock, Deferred, NotAsked

MINUTE = 60.0
POINTS = 900 - 20
"""A minute's, but for what is counted otherwise than here."""
READS = 750
"""Of these, what looking takes at most: the rest is for registering and removing runners, and for others."""
READ, WRITE = 1, 5
KEPT_BACK = 0.02
"""Of an hour's requests, what is left for registering and removing runners: a hundred of 5,000."""
LONGEST_WAIT = 10.0
"""Seconds that are waited for because GitHub says so. What takes longer is the next tick's business."""


class Budget:
    """One token's. Safe to be asked by several threads."""

    def __init__(self, clock: Clock, now: Callable[[], datetime | None]) -> None:
        """Nothing was asked, and nothing was said. `now` is GitHub's clock."""
        self._clock = clock
        self._now = now
        self._lock = Lock()
        self._spent: deque[tuple[float, int]] = deque()
        self._points = 0
        self._metered = True
        self._hour: tuple[int, int, int] | None = None
        self._open_at = 0.0
        self._in_flight = 0
        self._patient_until = 0.0

    def begin(self, *, patience: float) -> None:
        """A tick begins, which may wait so many seconds in all for a minute's points."""
        with self._lock:
            self._patient_until = self._clock.monotonic() + patience

    def room(self, every: float | None) -> int | None:
        """
        The reads that a tick should plan for; None for any number.

        One that is followed by another after `every` seconds takes its share of a minute. A single one, and one that may
        wait, what it can have before it has waited for too long.
        """
        with self._lock:
            if not self._metered:
                return None
            now = self._clock.monotonic()
            left = max(READS - self._within_a_minute(now), 0)
            if self._patient_until > now:
                return left + READS * int((self._patient_until - now) // MINUTE)
            # A minute has the whole ticks of it and one more: what this one asks now counts until the last of them.
            return min(left, int(READS * (every or MINUTE) / (MINUTE + (every or MINUTE))))

    def take(self, *, read: bool) -> None:
        """
        Wait until one more may be asked; raises `NotAsked` if that would take too long.

        `Deferred` where nothing is wrong: this minute's points are spent as they should be.
        """
        while True:
            with self._lock:
                wait = self._wait(read=read)
                if wait <= 0:
                    points = READ if read else WRITE
                    self._spent.append((self._clock.monotonic(), points))
                    self._points += points
                    self._in_flight += 1
                    return
            self._clock.sleep(wait)
            if self._clock.stopping():
                raise NotAsked("GitHub: not asked: the process is to stop")

    def hear(self, status: int, headers: Mapping[str, str]) -> None:
        """What came of it; status 0 for no answer."""
        with self._lock:
            self._in_flight -= 1
            if status in (200, 304):
                self._metered = "x-ratelimit-limit" in headers
            numbers = [headers.get(f"x-ratelimit-{name}", "") for name in ("remaining", "limit", "reset")]
            if headers.get("x-ratelimit-resource", "core") == "core" and all(each.isdigit() for each in numbers):
                remaining, limit, reset = map(int, numbers)
                # Answers overtake each other: of one hour's, the lowest is the newest.
                newer = self._hour is None or reset > self._hour[2] or remaining < self._hour[0]
                self._hour = (remaining, limit, reset) if newer else self._hour
            after = headers.get("retry-after", "")
            if status in (403, 429) and after.isdigit():
                self._open_at = max(self._open_at, self._clock.monotonic() + int(after))

    def _wait(self, *, read: bool) -> float:
        now = self._clock.monotonic()
        if (closed := self._open_at - now) > 0:
            if closed > LONGEST_WAIT:
                raise NotAsked(f"GitHub: not asked: for another {closed:.0f} s it wants to hear nothing (Retry-After)")
            return closed
        if not self._metered:
            return 0.0
        if read and self._hour is not None:
            self._check_hour(*self._hour)
        most, points = (READS, READ) if read else (POINTS, WRITE)
        if self._within_a_minute(now) + points <= most:
            return 0.0
        wait = self._spent[0][0] + MINUTE - now
        if read and now + wait > self._patient_until:
            raise Deferred("GitHub: not asked: this minute's points are spent, its turn comes with a later tick")
        return wait

    def _check_hour(self, remaining: int, limit: int, reset: int) -> None:
        again, now = datetime.fromtimestamp(reset, UTC), self._now()
        if remaining - self._in_flight > limit * KEPT_BACK or (now is not None and now >= again):
            return
        raise NotAsked(
            f"GitHub: not asked: {remaining} of {limit} requests are left until {again:%H:%M:%S} UTC, and kept for"
            " registering and removing runners"
        )

    def _within_a_minute(self, now: float) -> int:
        while self._spent and self._spent[0][0] <= now - MINUTE:
            self._points -= self._spent.popleft()[1]
        return self._points
