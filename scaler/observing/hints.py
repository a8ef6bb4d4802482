"""
Which repositories are worth a look now: hints through GraphQL, where not all fit into a tick. Nothing rests on them.

A hint says when a repository's runs last changed, or it was last pushed to. One that is younger than the last look has
the repository looked at in this very tick; it is no observation, nothing is launched or ended for it. Of those that are
told quiet a few are looked at in each tick all the same, by turns, since a hint knows little: runs that are older than
their workflow's ten newest may be run again unseen.

With N repositories that have W workflows together, W no less than N, of which a tick may ask q queries for hints:

- what a hint tells is seen in the next tick, or in one of the next W / (100 q), if that is more;
- all else within 2.5 N / s ticks, where s = 30 - W / 100, even and no less than 10, are the reads of a tick.

Every 15 s with 5,000 points an hour q is 20. So of 500 repositories with four workflows each, all is seen within 125 ticks
(31 minutes), in 30 requests a tick; with one each within 52 (13 minutes).

Where GitHub gives no hints there are none for a while, and the rota has the whole room.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from datetime import datetime, timedelta
from itertools import zip_longest

from scaler.model import ApiError, GitHub, GraphIds, NotAsked
from scaler.observing.rota import DEEP, NO_HINTS, SHALLOW, Hinted, fits

BATCH = 100
"""Ids of a kind in a query; of more GitHub says "You may not provide more than 100 node ids" (sourcecred/sourcecred#908)."""
REQUESTS, LEAST = 30, 10
"""Of a tick in which nothing happens, and the reads among them for those that are told quiet."""
SETTLED = timedelta(seconds=30)
"""What happened so shortly before a look may have been told too late for it."""
FRESH = 4
"""Ticks for which a repository counts as quiet that was told so: fewer points than ids still spare some looks."""
GETTING_TO_KNOW = 2
"""Reads: the repository, which is asked for once, and its workflows."""
PAUSE = 20
"""Ticks until hints are asked for again where none were given."""

Told = Mapping[str, datetime | None] | ApiError
log = logging.getLogger(__name__)


class Hints:
    """Asks for them. Lives as long as its process."""

    def __init__(self, github: GitHub, threads: Executor) -> None:
        """Nobody was looked at, and nothing was told."""
        self._github = github
        self._threads = threads
        self._tick = 0
        self._resume_at = 0
        self._complained = False
        self._now: datetime | None = None
        self._looked: dict[str, datetime] = {}
        self._ids: dict[str, GraphIds | None] = {}
        self._told_quiet: dict[str, int] = {}
        self.last = NO_HINTS

    def ask(
        self, repositories: Sequence[str], active: Collection[str], *, deep: bool, room: int | None, every: float | None
    ) -> Hinted:
        """Hints for this tick, of those that are not active; none where all are looked at, or no other tick follows."""
        self._now, self.last = None, NO_HINTS
        if room is None or every is None or fits(len(repositories), deep=deep, room=room):
            return self.last
        if queries := self._github.hint_queries(every, SHALLOW * len(repositories)):
            self._now = self._github.now()
            self._tick += 1
            for name in set(self._ids).intersection(active):
                self._forget(name)
            if self._tick >= self._resume_at:
                self.last = self._asked([name for name in repositories if name not in active], queries, room)
        return self.last

    def looked(self, repositories: Collection[str]) -> None:
        """These are looked at from now on. Where something happened, another workflow may have come with it."""
        if self._now is None:
            return
        self._looked |= dict.fromkeys(repositories, self._now)
        for name in repositories:
            if name in self.last.stirred or not self._ids.get(name):
                self._forget(name)

    def _forget(self, name: str) -> None:
        self._ids.pop(name, None)
        self._told_quiet.pop(name, None)

    def _asked(self, candidates: Sequence[str], queries: int, room: int) -> Hinted:
        spent = self._get_to_know(candidates, max(room - 2 * DEEP, 0) // 2)
        known = dict(self._in_turn(candidates, queries * BATCH))
        workflows = _batches([each for ids in known.values() for each in ids.workflows])
        repositories = _batches([ids.repository for ids in known.values()])
        batches = list(zip_longest(workflows, repositories, fillvalue=()))
        answers = list(self._threads.map(self._told, batches))
        last = {each: at for told in answers if not isinstance(told, ApiError) for each, at in told.items()}
        if answers and not last:
            self._pause([each for each in answers if isinstance(each, ApiError)])
            return Hinted(spent=spent)
        stirred = frozenset(name for name, ids in known.items() if self._is_stirred(name, ids, last))
        quiet = frozenset(name for name, tick in self._told_quiet.items() if self._tick - tick < FRESH)
        sweep = max(REQUESTS - len(batches), LEAST) // SHALLOW * SHALLOW
        return Hinted(stirred, quiet, sweep, spent)

    def _get_to_know(self, candidates: Sequence[str], most: int) -> int:
        """Ask for the ids of some, once everybody was looked at; the reads that it takes at most."""
        if not all(name in self._looked for name in candidates):
            return 0
        wanted = [name for name in candidates if name not in self._ids][: most // GETTING_TO_KNOW]
        for name, found in zip(wanted, self._threads.map(self._ids_of, wanted), strict=True):
            if not isinstance(found, NotAsked):
                self._ids[name] = None if isinstance(found, ApiError) else found
        return GETTING_TO_KNOW * len(wanted)

    def _ids_of(self, repository: str) -> GraphIds | ApiError:
        try:
            return self._github.graph_ids(repository)
        except ApiError as error:
            return error

    def _in_turn(self, candidates: Sequence[str], most: int) -> Iterator[tuple[str, GraphIds]]:
        """Whom to ask for: those first that were told quiet longest ago, or never. So many of each kind, at most."""
        repositories = workflows = most
        for name in sorted(candidates, key=lambda name: self._told_quiet.get(name, 0)):
            ids = self._ids.get(name)
            if ids is not None and repositories and len(ids.workflows) <= workflows:
                repositories -= 1
                workflows -= len(ids.workflows)
                yield name, ids

    def _told(self, batch: tuple[Sequence[str], Sequence[str]]) -> Told:
        try:
            return self._github.hints(*batch)
        except ApiError as error:
            return error

    def _is_stirred(self, name: str, ids: GraphIds, last: Mapping[str, datetime | None]) -> bool:
        """Whether something happened there since the last look; if not, and that is sure, it is quiet."""
        self._told_quiet.pop(name, None)
        asked = (ids.repository, *ids.workflows)
        if not all(each in last for each in asked):
            self._ids[name] = None
            return False
        if any(at >= self._looked[name] - SETTLED for at in map(last.get, asked) if at is not None):
            return True
        self._told_quiet[name] = self._tick
        return False

    def _pause(self, errors: Sequence[ApiError]) -> None:
        """No hints for a while. That is said once: given or not, all is looked at."""
        refusals = [error for error in errors if not isinstance(error, NotAsked)]
        if refusals:
            self._resume_at = self._tick + PAUSE
        if refusals and not self._complained:
            self._complained = True
            log.warning("no hints where to look first: %s; the repositories have their turns without", refusals[0])


def _batches(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[start : start + BATCH] for start in range(0, len(ids), BATCH)]
