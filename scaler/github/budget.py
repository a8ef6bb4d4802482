"""
GitHub's limits, respected and not met: what may be asked now, by what GitHub said and what was asked within the minute.

Of an hour a token has so many requests, of a minute 900 points, a GET for one and anything else for five
(docs.github.com: rate limits for the REST API). No header tells of the points. GitHub Enterprise Server has neither
limit unless somebody switches it on, and then says so in its headers.

GraphQL, which hints are asked through, has limits of its own (docs.github.com: rate limits and query limits for the
GraphQL API): so many points an hour, of which a query of ours takes one; 60 seconds of processor time a minute, "roughly"
the time that its answers take; and 2,000 points a minute, which the hour's never come near. `Retry-After` is for both.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from threading import Lock

from scaler.model import Clock, Deferred, NotAsked

MINUTE, HOUR = 60.0, 3600.0
POINTS = 900 - 20
"""A minute's, but for what is counted otherwise than here."""
READS = 750
"""Of these, what looking takes at most: the rest is for registering and removing runners, and for others."""
READ, WRITE = 1, 5
KEPT_BACK = 0.02
"""Of an hour's requests, what is left for registering and removing runners: a hundred of 5,000."""
CORE, GRAPHQL = "core", "graphql"
"""GitHub's names for what it counts by the hour."""
ANSWERING = 40.0
"""Seconds of a minute's 60 that it may take GraphQL to answer."""
LONGEST_WAIT = 10.0
"""Seconds that are waited for because GitHub says so. What takes longer is the next tick's business."""


class Budget:
    """One token's. Safe to be asked by several threads."""

    def __init__(self, clock: Clock, now: Callable[[], datetime | None], sharers: int = 1) -> None:
        """
        Nothing was asked, and nothing was said. `now` is GitHub's clock.

        Of `sharers` processes with one token each takes its part of a minute's points, and of the queries for hints; an
        hour's requests GitHub counts for all of them.
        """
        self._sharers = sharers
        self._reads, self._most = max(READS // sharers, 1), max(POINTS // sharers, WRITE)
        self._clock = clock
        self._now = now
        self._lock = Lock()
        self._spent: deque[tuple[float, int]] = deque()
        self._points = 0
        self._metered = True
        self._hours: dict[str, tuple[int, int, int]] = {}
        self._open_at = 0.0
        self._in_flight: Counter[str] = Counter()
        self._answers_in = 0.0
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
            left = max(self._reads - self._within_a_minute(now), 0)
            if self._patient_until > now:
                return left + self._reads * int((self._patient_until - now) // MINUTE)
            return min(left, int(_share(self._reads, every or MINUTE)))

    def queries(self, every: float, reads: int) -> int:
        """
        The queries that a tick may ask for hints, if another one follows after `every` seconds.

        None where the reads that a look at everything takes have room anyway; one as long as GitHub has not told its limit.
        """
        with self._lock:
            if not self._metered or reads <= int(_share(self._reads, every)):
                return 0
            if GRAPHQL not in self._hours:
                return 1
            remaining, limit, reset = self._hours[GRAPHQL]
            now = self._now()
            ahead = reset - now.timestamp() if now else HOUR
            left = remaining if ahead > 0 else limit
            by_hour = (left - limit * KEPT_BACK) * every / max(ahead if ahead > 0 else HOUR, every)
            by_time = _share(ANSWERING, every) / max(self._answers_in, 0.01)
            return max(int(min(by_hour, by_time) / self._sharers), 0)

    def take(self, *, read: bool, resource: str = CORE) -> None:
        """
        Wait until one more may be asked; raises `NotAsked` if that would take too long.

        `Deferred` where nothing is wrong: this minute's points are spent as they should be.
        """
        while True:
            with self._lock:
                wait = self._wait(read=read, resource=resource)
                if wait <= 0:
                    self._in_flight[resource] += 1
                    if resource == CORE:
                        points = READ if read else WRITE
                        self._spent.append((self._clock.monotonic(), points))
                        self._points += points
                    return
            self._clock.sleep(wait)
            if self._clock.stopping():
                raise NotAsked("GitHub: not asked: the process is to stop")

    def hear(self, status: int, headers: Mapping[str, str], resource: str = CORE, seconds: float = 0.0) -> None:
        """What came of it, so many seconds later; status 0 for no answer."""
        with self._lock:
            self._in_flight[resource] -= 1
            if resource == GRAPHQL:
                # Smoothed over some ten of them: one that was slow is no reason to ask less.
                self._answers_in += (seconds - self._answers_in) * 0.1 if self._answers_in else seconds
            if status in (200, 304):
                self._metered = "x-ratelimit-limit" in headers
            numbers = [headers.get(f"x-ratelimit-{name}", "") for name in ("remaining", "limit", "reset")]
            if headers.get("x-ratelimit-resource", resource) == resource and all(each.isdigit() for each in numbers):
                remaining, limit, reset = map(int, numbers)
                # Answers overtake each other: of one hour's, the lowest is the newest.
                known = self._hours.get(resource)
                if known is None or reset > known[2] or remaining < known[0]:
                    self._hours[resource] = (remaining, limit, reset)
            after = headers.get("retry-after", "")
            if status in (403, 429) and after.isdigit():
                self._open_at = max(self._open_at, self._clock.monotonic() + int(after))

    def _wait(self, *, read: bool, resource: str) -> float:
        now = self._clock.monotonic()
        if (closed := self._open_at - now) > 0:
            if closed > LONGEST_WAIT:
                raise NotAsked(f"GitHub: not asked: for another {closed:.0f} s it wants to hear nothing (Retry-After)")
            return closed
        if not self._metered:
            return 0.0
        if read and resource in self._hours:
            self._check_hour(resource, *self._hours[resource])
        if resource == GRAPHQL:
            return 0.0
        most, points = (self._reads, READ) if read else (self._most, WRITE)
        if self._within_a_minute(now) + points <= most:
            return 0.0
        wait = self._spent[0][0] + MINUTE - now
        if read and now + wait > self._patient_until:
            raise Deferred("GitHub: not asked: this minute's points are spent, its turn comes with a later tick")
        return wait

    def _check_hour(self, resource: str, remaining: int, limit: int, reset: int) -> None:
        again, now = datetime.fromtimestamp(reset, UTC), self._now()
        if remaining - self._in_flight[resource] > limit * KEPT_BACK or (now is not None and now >= again):
            return
        raise NotAsked(
            f"GitHub: not asked: {remaining} of {limit} requests are left until {again:%H:%M:%S} UTC, and kept for"
            " registering and removing runners"
        )

    def _within_a_minute(self, now: float) -> int:
        while self._spent and self._spent[0][0] <= now - MINUTE:
            self._points -= self._spent.popleft()[1]
        return self._points


def _share(of_a_minute: float, every: float) -> float:
    """
    What one tick may take of what there is for any minute.

    A minute has the whole ticks of it and one more: what this one takes now counts until the last of them.
    """
    return of_a_minute * every / (MINUTE + every)
