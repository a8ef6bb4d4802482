"""Ground truth, written down as it happens: what the ledger and the invariants are judged by."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from scaler.sandbox.clock import Clock


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened: `what` is a dotted word (`job.queued`, `instance.launched`)."""

    at: datetime
    what: str
    facts: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """One line of a journal file."""
        return json.dumps({**asdict(self), "at": self.at.isoformat()}, default=str)


class Journal:
    """An append-only list of entries. `listeners` hear each as it is written, under the clock's lock."""

    def __init__(self, clock: Clock) -> None:
        """Stamp entries with this clock."""
        self._clock = clock
        self._entries: list[Entry] = []
        self.listeners: list[Callable[[Entry], None]] = []

    def write(self, what: str, **facts: Any) -> None:
        """Note what happened now."""
        with self._clock.lock:
            entry = Entry(self._clock.now(), what, facts)
            self._entries.append(entry)
            for listener in self.listeners:
                listener(entry)

    def __iter__(self) -> Iterator[Entry]:
        """All entries so far, oldest first."""
        with self._clock.lock:
            return iter(tuple(self._entries))

    def of(self, *what: str) -> list[Entry]:
        """The entries of these kinds, oldest first."""
        return [entry for entry in self if entry.what in what]
