"""The machine's clock, the one place that sleeps. Apart from all that uses it: signals are heard before that is loaded."""

from __future__ import annotations

import os
import select
import time


class RealClock:
    """The machine's clock. The only place that sleeps."""

    def __init__(self) -> None:
        """Not stopping yet."""
        self._stopping = False
        self._awake, self.wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait that long, or until `stop`."""
        if not self._stopping:
            select.select([self._awake], [], [], max(seconds, 0))

    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping

    def stop(self) -> None:
        """
        End every sleep, now and later; for a signal handler, with `wakeup` as the signals' wake-up file.

        Python runs a handler between two of its own steps, so a signal in the moment before a sleep would else be heard
        after it; and an Event's `set` would wait for ever for a lock that the interrupted `wait` holds.
        """
        self._stopping = True
