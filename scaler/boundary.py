"""Where the outside comes in: an answer of an odd shape is no answer, for both adapters alike."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import wraps
from threading import Lock
from typing import ParamSpec, TypeVar

from scaler.model import Clock, Unavailable

P = ParamSpec("P")
T = TypeVar("T")


def readable(party: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Turn what reading an odd answer raises into `Unavailable`: one bad row must not end a tick."""

    def decorate(call: Callable[P, T]) -> Callable[P, T]:
        @wraps(call)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return call(*args, **kwargs)
            except (
                KeyError,
                TypeError,
                ValueError,
                AttributeError,
                IndexError,
                OverflowError,
                RecursionError,
            ) as error:
                what = call.__name__.replace("_", " ")
                raise Unavailable(f"{party}: {what}: an answer that cannot be read ({error!r:.80})") from error

        return guarded

    return decorate


class ServerClock:
    """A server's time: its newest `Date` header, and what has passed since by the machine's own clock."""

    def __init__(self, clock: Clock) -> None:
        """Nothing was heard yet."""
        self._clock = clock
        self._lock = Lock()
        self._heard: tuple[datetime, float] | None = None

    def hear(self, header: str | None) -> None:
        """Take note of a `Date` header."""
        try:
            date = parsedate_to_datetime(header or "")
        except ValueError:
            return
        # RFC 5322's -0000 is UTC without a zone.
        date = date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
        with self._lock:
            if self._heard is None or date > self._heard[0]:
                self._heard = date, self._clock.monotonic()

    def now(self) -> datetime | None:
        """The server's time now, None before the first answer."""
        with self._lock:
            if self._heard is None:
                return None
            date, at = self._heard
            return date + timedelta(seconds=self._clock.monotonic() - at)
