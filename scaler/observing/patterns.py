"""
What the config's patterns stand for: by an owner's list of repositories, which a list that fails does not undo.

A pattern of which the list was never seen whole, or that came to nothing, is unseen: an empty list may be an outage's.
Then no repository that it may stand for counts as looked at (`Snapshot.may_be_missing`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from scaler.model import ApiError, Deferred, Repository, Unavailable, matches
from scaler.settings.config import Config
from scaler.text import some

NAMED = 3
"""A sentence names no more repositories than that; the rest is a count."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a pattern stands for: the repositories to serve, those that are left out, and how many the token sees."""

    pattern: str
    served: tuple[str, ...]
    closed: tuple[str, ...]
    public: tuple[str, ...]
    seen: int

    def __str__(self) -> str:
        """`acme/*: 12 repositories; left out: 2 public (acme/site, acme/docs), 1 archived or disabled (acme/old)`."""
        kinds = ((self.public, "public, without allow_public"), (self.closed, "archived or disabled"))
        left = [f"{len(names)} {why} ({some(names, NAMED)})" for names, why in kinds if names]
        count = "1 repository" if len(self.served) == 1 else f"{len(self.served)} repositories"
        return f"{self.pattern}: {count}" + (f"; left out: {', '.join(left)}" if left else "")

    @property
    def is_nothing(self) -> bool:
        """Whether no repository fits it."""
        return not (self.served or self.closed or self.public)


def meaning(pattern: str, repositories: Iterable[Repository], *, allow_public: bool) -> Meaning:
    """What a pattern stands for, by its owner's list."""
    rows = list(repositories)
    fitting = [row for row in rows if matches(pattern, row.name)]
    open_ones = [row for row in fitting if not row.closed]
    return Meaning(
        pattern,
        served=tuple(row.name for row in open_ones if allow_public or not row.public),
        closed=tuple(row.name for row in fitting if row.closed),
        public=tuple(row.name for row in open_ones if row.public and not allow_public),
        seen=len(rows),
    )


class FitsNothing(Unavailable):
    """No repository that the token sees fits a pattern."""


def nothing(found: Meaning) -> FitsNothing:
    """That a pattern came to nothing, and how to mend it."""
    owner = found.pattern.partition("/")[0]
    sees = f"the token sees {found.seen} of {owner}'s" if found.seen else f"the token sees none of {owner}'s"
    return FitsNothing(f"{found.pattern} fits no repository ({sees}); correct the pattern, or what the token may see")


def meanings(config: Config, list_of: Callable[[str], Sequence[Repository]]) -> Mapping[str, Meaning | ApiError]:
    """What each pattern stands for, or why that cannot be told; each owner is asked for once."""
    lists: dict[str, Sequence[Repository] | ApiError] = {}
    found: dict[str, Meaning | ApiError] = {}
    for pattern in config.patterns:
        owner = pattern.partition("/")[0].lower()
        if owner not in lists:
            try:
                lists[owner] = list_of(owner)
            except ApiError as error:
                lists[owner] = error
        rows = lists[owner]
        if isinstance(rows, ApiError):
            found[pattern] = rows
            continue
        told = meaning(pattern, rows, allow_public=config.allow_public)
        found[pattern] = nothing(told) if told.is_nothing else told
    return found


class Patterns:
    """A config's patterns over the looks of a process."""

    def __init__(self, config: Config, list_of: Callable[[str], Sequence[Repository]]) -> None:
        """Nothing was listed yet."""
        self._config = config
        self._list_of = list_of
        self._known: dict[str, Meaning] = {}
        self._again = False

    def resolve(self, *, anew: bool) -> tuple[Config, dict[str, ApiError]]:
        """
        The config with the repositories that its patterns stand for, and the patterns of which that could not be seen.

        These stand for what they stood for. Asks GitHub only `anew`, or when it did not tell last time.
        """
        missing: dict[str, ApiError] = {}
        if self._config.patterns and (anew or self._again):
            found = meanings(self._config, self._list_of)
            self._known |= {pattern: told for pattern, told in found.items() if not isinstance(told, ApiError)}
            errors = {pattern: told for pattern, told in found.items() if isinstance(told, ApiError)}
            self._again = bool(errors)
            # What only waits for its turn within GitHub's limits is as it was.
            missing = {p: e for p, e in errors.items() if p not in self._known or not isinstance(e, Deferred)}
        return self._config.including(name for each in self._known.values() for name in each.served), missing

    @property
    def told(self) -> tuple[str, ...]:
        """What each stands for, in a sentence."""
        return tuple(str(self._known[pattern]) for pattern in self._config.patterns if pattern in self._known)
