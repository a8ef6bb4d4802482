"""
Answers that GitHub need not send again: what was made of a page, by the validator (ETag) that it came with.

An unchanged page is answered by 304, which does not count against the hour's limit (docs.github.com: best practices
for using the REST API, conditional requests). Nothing is taken from here unless GitHub said in this very tick that it
still holds. Of a page only what was made of it is kept: a run's row is ten kilobytes, what a tick needs of it is not one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any

MOST_ROWS = 50_000
"""Rows of all pages together, some 500 bytes each. Five times the jobs of a very busy fleet."""

Question = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list: GitHub's count of all its rows, and what was made of each of this page's, by id."""

    total: int
    rows: Mapping[int, Any]


class Kept:
    """Pages by question; those longest unasked go first. Safe to be used by several threads."""

    def __init__(self, most_rows: int = MOST_ROWS) -> None:
        """Nothing is kept yet."""
        self._most = most_rows
        self._weight = 0
        self._pages: OrderedDict[Question, tuple[str, Page]] = OrderedDict()
        self._lock = Lock()

    def get(self, question: Question) -> tuple[str, Page] | None:
        """The validator and the page, if there is one."""
        with self._lock:
            if question in self._pages:
                self._pages.move_to_end(question)
            return self._pages.get(question)

    def put(self, question: Question, etag: str | None, page: Page) -> None:
        """Keep a page, in place of what was kept before; without a validator nothing is."""
        with self._lock:
            if question in self._pages:
                self._weight -= _weight(self._pages.pop(question)[1])
            if etag:
                self._pages[question] = etag, page
                self._weight += _weight(page)
            while self._weight > self._most:
                self._weight -= _weight(self._pages.popitem(last=False)[1][1])


def _weight(page: Page) -> int:
    return 1 + len(page.rows)
