"""How the embedded GitHub fails and lies over HTTP: a list of faults, tried in order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class FaultKind(StrEnum):
    """
    What goes wrong with an answer; `Fault.value` says how much.

    Instead of the answer, nothing having been done: `STATUS` (value: 401, 404, 500, 502 …), `HTML` (502 or
    value, as a proxy answers), `PRIMARY` (403, rate limit used up), `SECONDARY` (403 with Retry-After: value),
    `THROTTLE` (429 with Retry-After: value). To the answer, all having been done: `TRUNCATED` (half the JSON),
    `LOST` (the connection ends without one), `SLOW` (it comes value virtual seconds late), `EMPTY` (a list has
    no rows), `COUNT` (total_count is value more than the rows), `SHIFT` (between the first page and the next a
    row moves to the front, so that one is never seen and another twice), `ODD` (every row of a list has the
    values of `Fault.odd` in place of its own).
    """

    STATUS = "status"
    HTML = "html"
    PRIMARY = "primary"
    SECONDARY = "secondary"
    THROTTLE = "throttle"
    TRUNCATED = "truncated"
    LOST = "lost"
    SLOW = "slow"
    EMPTY = "empty"
    COUNT = "count"
    SHIFT = "shift"
    ODD = "odd"

    @property
    def instead(self) -> bool:
        """Whether the request has no effect."""
        return self in _INSTEAD


_INSTEAD = {FaultKind.STATUS, FaultKind.HTML, FaultKind.PRIMARY, FaultKind.SECONDARY, FaultKind.THROTTLE}
_VALUES = {FaultKind.STATUS: 500.0, FaultKind.HTML: 502.0, FaultKind.COUNT: 1.0}


@dataclass(frozen=True, slots=True)
class Fault:
    """
    Requests of `method` ("" for any) whose path matches `path`, and whose query `query`, fail by `kind`.

    After the first `skip` of them, for `times` requests (None: until cleared). Paths below `/_runner/` are
    met only by patterns that name them.
    """

    kind: FaultKind
    path: str = ""
    method: str = ""
    times: int | None = 1
    skip: int = 0
    value: float | None = None
    odd: Mapping[str, Any] = field(default_factory=dict, hash=False)
    query: str = ""

    @property
    def amount(self) -> float:
        """`value`, or the kind's own."""
        return _VALUES.get(self.kind, 60.0) if self.value is None else self.value


@dataclass(slots=True)
class Faults:
    """The faults that are on."""

    _on: list[tuple[Fault, list[int]]] = field(default_factory=list)

    def add(self, fault: Fault) -> None:
        """Switch a fault on."""
        re.compile(fault.path)
        re.compile(fault.query)
        self._on.append((fault, [0]))

    def remove(self, fault: Fault) -> None:
        """Switch a fault off, if it is on."""
        self._on = [entry for entry in self._on if entry[0] is not fault]

    def clear(self) -> None:
        """Switch all faults off."""
        self._on.clear()

    def __iter__(self) -> Iterator[Fault]:
        """The faults that are on."""
        return iter([fault for fault, _ in self._on])

    def hit(self, method: str, path: str, query: str = "") -> list[Fault]:
        """The faults that this request meets; it counts for them."""
        met = []
        for fault, seen in list(self._on):
            runner_protocol = "/_runner/" in path and "_runner" not in fault.path
            if runner_protocol or fault.method not in ("", method) or not re.search(fault.path, path):
                continue
            if not re.search(fault.query, query):
                continue
            seen[0] += 1
            if seen[0] <= fault.skip:
                continue
            met.append(fault)
            if fault.times is not None and seen[0] >= fault.skip + fault.times:
                self._on = [entry for entry in self._on if entry[1] is not seen]
        return met
