"""
What one process was shown before it began to act, as far as it came whole: promise 6 is judged by it.

Told by what arrived, whatever the adapters make of it. The last answer to a question counts: what failed at first and
came when it was asked again was seen.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

INSTANCES = "ec2:DescribeInstances"
PAGING = ("page", "per_page")


@dataclass
class _List:
    """A list, page by page. `owner` is whose it is: a repository, an organization, nobody's for EC2's."""

    owner: str = ""
    rows: set[str] = field(default_factory=set)
    whole: bool = False


class Shown:
    """One process's. Whatever it ends or removes is told to `judge`, with what it was shown until then."""

    def __init__(
        self,
        scope_of: Callable[[str], str] = str,
        judge: Callable[[Shown, str, str], None] = lambda *_: None,
        forced: frozenset[str] = frozenset(),
    ) -> None:
        """By default nobody judges. `forced` are the instances that somebody asked it to end at any price."""
        self.forced = forced
        self.minted: set[int] = set()
        self.ended: set[str] = set()
        self._scope_of = scope_of
        self._judge = judge
        self._lists: dict[str, _List] = {}
        self._acting = False

    def hidden(self, scope: str | None) -> str:
        """The first of a scope's lists (None: of all scopes') that did not come whole, or EC2's; else nothing."""
        for question, listed in self._lists.items():
            if not listed.whole and (scope is None or not listed.owner or self._scope_of(listed.owner) == scope):
                return question
        return ""

    def begins(self) -> None:
        """The process looks anew: what it was shown for an earlier tick tells nothing of this one."""
        self._acting = False
        self._lists.clear()

    # --- what the wire tells -------------------------------------------------------------------

    def read(self, path: str, parameters: Mapping[str, Any], status: int, text: str) -> None:
        """GitHub's answer to a GET; status 0 for none."""
        owner, found, _ = path.partition("/actions/")
        if self._acting or not found:
            return
        question = f"{path}?{urlencode({k: v for k, v in parameters.items() if k not in PAGING})}"
        listed = self._lists.setdefault(question, _List(owner.removeprefix("/repos/").removeprefix("/orgs/")))
        if parameters.get("page", 1) == 1:
            listed.rows.clear()
        listed.whole = False
        try:
            answer = json.loads(text) if status == 200 else None
        except ValueError:
            return
        if isinstance(answer, dict):
            rows = [row for value in answer.values() if isinstance(value, list) for row in value]
            listed.rows |= {str(row.get("id") if isinstance(row, dict) else row) for row in rows}
            listed.whole = len(listed.rows) == answer.get("total_count")

    def called(self, name: str, *, answered: bool) -> None:
        """A call of AWS's that only looks, after all its attempts."""
        if name == INSTANCES and not self._acting:
            self._lists.setdefault(name, _List()).whole = answered

    def acts(self) -> None:
        """The first effect: what is looked at from now on is looked at for an effect's own sake."""
        self._acting = True

    def touches(self, kind: str, what: str) -> None:
        """A runner is removed (by id), an instance ended, a parameter deleted (by name)."""
        self._judge(self, kind, what)
