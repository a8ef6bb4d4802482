"""
The sandbox's one clock: virtual time that runs at `speed` and can be pushed forward.

Everything that happens later in the world is an event here; events run in the order of their times, each
under the world's lock, so that ground truth never depends on which thread came first. With `speed=0` the
clock stands still but for `advance`.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class Clock:
    """Virtual time, a queue of events, and the lock of the world that they change."""

    def __init__(self, start: datetime | None = None, speed: float = 1.0) -> None:
        """Start at `start` (default: now); `speed` is virtual seconds per real second."""
        self.lock = threading.RLock()
        self._changed = threading.Condition(self.lock)
        self._speed = speed
        self._base = (start or datetime.now(UTC)).astimezone(UTC)
        self._real = time.monotonic()
        self._events: list[tuple[datetime, int, Callable[[], None]]] = []
        self._serial = itertools.count()
        self._stopped = False
        self._horizon: datetime | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Run events as they fall due, in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="sandbox-clock", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Run no more events and wake everyone who waits."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout=5)

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called: waits answer at once from then on."""
        return self._stopped

    def now(self) -> datetime:
        """The world's time. Inside an event it is the event's own."""
        with self.lock:
            if self._horizon is not None:
                return self._horizon
            return self._base + timedelta(seconds=(time.monotonic() - self._real) * self._speed)

    def advance(self, seconds: float) -> None:
        """Push time forward, running every event on the way in order, and wake the waiting."""
        with self._changed:
            target = self.now() + timedelta(seconds=seconds)
            self._run_due(target)
            self._base += timedelta(seconds=seconds)
            self._changed.notify_all()

    def at(self, when: datetime, event: Callable[[], None]) -> None:
        """Run `event` at a time (at once, if that has passed)."""
        with self._changed:
            heapq.heappush(self._events, (when, next(self._serial), event))
            self._changed.notify_all()

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        """Run `event` that many virtual seconds from now."""
        self.at(self.now() + timedelta(seconds=seconds), event)

    def changed(self) -> None:
        """Say that the world changed: whoever waits looks again. Call with the lock held."""
        self._changed.notify_all()

    def wait_for(self, met: Callable[[], bool], seconds: float) -> bool:
        """
        Block until `met()` or until that much virtual time has passed; whether it was met.

        `met` is asked under the lock, after every event and every `changed`.
        """
        with self._changed:
            deadline = self.now() + timedelta(seconds=seconds)
            while not met():
                left = (deadline - self.now()).total_seconds()
                if left <= 0 or self._stopped:
                    return False
                self._changed.wait(timeout=self._real_seconds(left))
            return True

    def _real_seconds(self, virtual: float) -> float | None:
        return max(virtual / self._speed, 0.001) if self._speed > 0 else None

    def _run(self) -> None:
        with self._changed:
            while not self._stopped:
                self._run_due(self.now())
                if self._events:
                    left = (self._events[0][0] - self.now()).total_seconds()
                    self._changed.wait(timeout=self._real_seconds(left))
                else:
                    self._changed.wait()

    def _run_due(self, until: datetime) -> None:
        while self._events and self._events[0][0] <= until:
            when, _, event = heapq.heappop(self._events)
            outer, self._horizon = self._horizon, max(when, self._horizon or when)
            try:
                event()
            finally:
                self._horizon = outer
            self._changed.notify_all()
