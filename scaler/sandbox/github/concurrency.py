"""Concurrency groups, of runs and of jobs (docs.github.com: workflow syntax, `concurrency`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from scaler.sandbox.github.state import Job, Run

Item = Run | Job


@dataclass(slots=True)
class _Group:
    holder: Item | None = None
    waiting: Item | None = None


class Concurrency:
    """
    At most one holder per group and one that waits.

    A newer one takes the waiting place, and the older one there is cancelled. Names are case-insensitive.
    """

    def __init__(self, let_in: Callable[[Item], None], cancel: Callable[[Item], None]) -> None:
        self._let_in = let_in
        self._cancel = cancel
        self._groups: dict[tuple[str, str], _Group] = {}

    def _group(self, item: Item, name: str) -> _Group:
        run = item if isinstance(item, Run) else item.run
        return self._groups.setdefault((run.repository.full_name.lower(), name.lower()), _Group())

    def enter(self, item: Item, name: str, *, cancel_in_progress: bool = False) -> bool:
        """Whether it may go on now; if not it waits, and `let_in` is called for it in time."""
        group = self._group(item, name)
        if group.holder in (None, item):
            group.holder = item
            return True
        replaced, group.waiting = group.waiting, item
        if replaced is not None:
            self._cancel(replaced)
        if cancel_in_progress and group.holder is not None:
            self._cancel(group.holder)
        return group.holder is item

    def leave(self, item: Item, name: str) -> None:
        """It has ended, or waits no more."""
        group = self._group(item, name)
        if group.waiting is item:
            group.waiting = None
        if group.holder is item:
            group.holder, group.waiting = group.waiting, None
            if group.holder is not None:
                self._let_in(group.holder)
