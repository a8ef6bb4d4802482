"""
The memory between ticks as one small String parameter, and what a tick's outcomes add to it. Pure.

It must stay below SSM's 4 KB for a standard parameter: times are whole minutes since 1970, links are lists.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from scaler.deciding.breaker import after_failure, after_launch, within_an_hour
from scaler.deciding.offerings import still_refused
from scaler.model import (
    Breaker,
    Deregister,
    Launch,
    Link,
    LinkState,
    Loss,
    Market,
    Memory,
    Outcome,
    Reason,
    Removal,
    Rerun,
    Result,
    Terms,
)

VERSION = 3
LIMIT = 4096
GHOSTS = 30
REFUSED = 150
"""So many offerings without capacity are remembered, those that were refused last."""
NAME = 6
"""Characters of an offering's name."""
TERMS_KEPT = timedelta(hours=1)
"""A link that was used longer ago is never asked for again, and its terms do not matter."""

_STATES = tuple(LinkState)
_MARKETS = tuple(Market)


class StateError(ValueError):
    """The state parameter does not hold what we write."""


def encode(memory: Memory) -> str:
    """
    The memory as JSON, below the limit: the ghosts known longest, then as many of the longest chains as fit.

    A link is a hint: without it the chain is walked from `start`. A ghost that is not
    remembered is deregistered a tick later. Before a link goes, all terms, refusals and lost jobs go.
    """
    # Those least used go first: without its link a slot's chain is walked from the start.
    links = sorted(memory.links.items(), key=lambda item: (item[1].k, item[1].used_at), reverse=True)
    ghosts = sorted(memory.ghosts.items(), key=lambda item: item[1])[:GHOSTS]
    refused = sorted(memory.refused.items(), key=lambda item: (item[1], item[0]), reverse=True)[:REFUSED]
    terms = list(dict.fromkeys(link.terms for _, link in links if link.terms is not None))
    lost = list(memory.lost.items())
    while True:
        text = json.dumps(
            {
                "v": VERSION,
                "links": _packed(links, terms),
                "terms": [[_MARKETS.index(each.market), "".join(sorted(each.skipped))] for each in terms],
                "refused": _by_minute(refused),
                "lost": {job: [each.run_id, each.attempt, each.pool, _minute(each.seen_at)] for job, each in lost},
                "reclaimed": {pool: _minute(when) for pool, when in memory.reclaimed.items()},
                "launches": {str(_minute(when)): count for when, count in memory.launches.items()},
                "breakers": {pool: _breaker(each) for pool, each in memory.breakers.items()},
                "proven": {key: _minute(when) for key, when in memory.proven.items()},
                "ghosts": {name: _minute(when) for name, when in ghosts},
                "start": memory.start,
            },
            separators=(",", ":"),
            sort_keys=True,
        )
        if len(text) <= LIMIT or not (links or ghosts or terms or refused or lost):
            return text
        if terms or refused or lost:
            terms, refused, lost = [], refused[: len(refused) // 2], lost[: len(lost) // 2]
        else:
            links, ghosts = links[: len(links) * 9 // 10], ghosts if links else ghosts[1:]


def counts_of(memory: Memory) -> Memory:
    """What a shard counts for itself, and no other writes."""
    return replace(memory, links={}, start=None, refused={}, reclaimed={}, proven={})


def joined(chains: Memory, counts: Memory) -> Memory:
    """The memory of a shard, of what all share and of what is its own."""
    return replace(
        counts,
        links=chains.links,
        start=chains.start,
        refused=chains.refused,
        reclaimed=chains.reclaimed,
        proven=chains.proven,
    )


def with_chains(there: Memory, memory: Memory) -> Memory:
    """
    What is there, with what a shard learned of what all share: of each the newer.

    Chains never jump, so of two links of a slot the later is the newer; and what makes their terms has to be one for all,
    or two ask for a link on different terms.
    """
    links = dict(there.links)
    for slot, link in memory.links.items():
        if slot not in links or (links[slot].k, links[slot].used_at) <= (link.k, link.used_at):
            links[slot] = link
    return replace(
        there,
        links=links,
        start=memory.start if there.start is None else there.start,
        refused=_newer(there.refused, memory.refused),
        reclaimed=_newer(there.reclaimed, memory.reclaimed),
        proven=_newer(there.proven, memory.proven),
    )


def _newer(one: Mapping[str, datetime], other: Mapping[str, datetime]) -> dict[str, datetime]:
    return {key: max(each[key] for each in (one, other) if key in each) for key in (*one, *other)}


def _breaker(breaker: Breaker) -> list[Any]:
    opened_at = _minute(breaker.opened_at) if breaker.opened_at else None
    return [breaker.failures, _minute(breaker.since), opened_at, breaker.launched, breaker.job]


def _by_minute(refused: list[tuple[str, datetime]]) -> dict[str, str]:
    """The offerings refused in each minute, their names in a row."""
    found: dict[str, str] = {}
    for name, when in sorted(refused):
        found[str(_minute(when))] = found.get(str(_minute(when)), "") + name
    return found


def _names(text: str) -> list[str]:
    return [text[start : start + NAME] for start in range(0, len(text), NAME)]


def _packed(links: list[tuple[str, Link]], terms: list[Terms]) -> dict[str, list[list[int]]]:
    """Per pool, rows of slot, k, minute, state and number of terms; k and minute as differences to the row before."""
    packed: dict[str, list[list[int]]] = {}
    for name, link in sorted(links, key=lambda item: (item[0].rpartition("/")[0], item[1].used_at)):
        pool, _, slot = name.rpartition("/")
        # Rounded up: a link must count as recent for no less than boot_timeout.
        row = [int(slot), link.k, _minute(link.used_at, up=True), _STATES.index(link.state)]
        rows = packed.setdefault(pool, [])
        before = [sum(r[1] for r in rows), sum(r[2] for r in rows)]
        asked = [terms.index(link.terms)] if link.terms in terms else []
        rows.append([row[0], row[1] - before[0], row[2] - before[1], row[3], *asked])
    return packed


def _unpacked(packed: dict[str, list[list[int]]], terms: list[Terms]) -> dict[str, Link]:
    links = {}
    for pool, rows in packed.items():
        k = minute = 0
        for slot, more, later, state, *asked in rows:
            k, minute = k + more, minute + later
            links[f"{pool}/{int(slot)}"] = Link(k, _when(minute), _STATES[state], terms[asked[0]] if asked else None)
    return links


def decode(text: str | None) -> Memory:
    """The memory that `encode` wrote; an absent one is empty. Raises `StateError` for anything else."""
    if text is None:
        return Memory()
    try:
        state = json.loads(text)
        if state["v"] != VERSION:
            raise StateError(f"version {state['v']} is not {VERSION}")
        terms = [Terms(_MARKETS[market], frozenset(_names(skipped))) for market, skipped in state["terms"]]
        return Memory(
            links=_unpacked(state["links"], terms),
            refused={name: _when(minute) for minute, names in state["refused"].items() for name in _names(names)},
            launches={_when(minute): int(count) for minute, count in state["launches"].items()},
            breakers={
                pool: Breaker(
                    int(failures), _when(since), None if opened is None else _when(opened), int(launched), str(job)
                )
                for pool, (failures, since, opened, launched, job) in state["breakers"].items()
            },
            ghosts={name: _when(minute) for name, minute in state["ghosts"].items()},
            lost={
                job: Loss(int(run), int(attempt), str(pool), _when(minute))
                for job, (run, attempt, pool, minute) in state["lost"].items()
            },
            reclaimed={pool: _when(minute) for pool, minute in state["reclaimed"].items()},
            proven={key: _when(minute) for key, minute in state["proven"].items()},
            start=None if state.get("start") is None else int(state["start"]),
        )
    except StateError:
        raise
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        IndexError,
        OSError,
        RecursionError,
    ) as error:
        raise StateError(f"not a state of ours ({type(error).__name__})") from error


def remember(memory: Memory, outcomes: Iterable[Outcome], now: datetime) -> Memory:
    """
    The memory with what this tick's outcomes taught: the links asked for, launches and failures counted.

    `now` is a time after them: a link must count as recent for no less than its instance may be unlisted.

    A link that is taken keeps the time of its first refusal, or its slot would never be free again. Launches of more
    than an hour ago are forgotten when one is added: a tick that does nothing leaves the memory as it is.
    """
    links, breakers = dict(memory.links), dict(memory.breakers)
    refused, lost = memory.refused, memory.lost
    launches: dict[datetime, int] = {}
    minute = _when(_minute(now))
    for outcome in outcomes:
        command = outcome.command
        if isinstance(command, Deregister) and command.failed and outcome.detail == Removal.REMOVED:
            breakers[command.failed] = after_failure(breakers.get(command.failed), now, now)
        if isinstance(command, Rerun) and outcome.result not in (Result.FAILED, Result.SKIPPED):
            # Done, or never to be done: told once, and not asked again.
            lost = {job: loss for job, loss in lost.items() if loss.run_id != command.run_id}
        if outcome.refused:
            refused = still_refused(refused, now) | dict.fromkeys(outcome.refused, now)
        if not isinstance(command, Launch) or outcome.link is None:
            continue
        slot = f"{command.pool}/{command.slot}"
        known = links.get(slot)
        state = LinkState.USED
        if outcome.spent:
            state = LinkState.SPENT
        elif outcome.result is Result.TAKEN and not outcome.instance_id:
            state = LinkState.TAKEN
        again = known is not None and known.k == outcome.link and known.state is state is LinkState.TAKEN
        used_at = known.used_at if known is not None and again else now
        links[slot] = Link(outcome.link, used_at, state, outcome.terms)
        if outcome.instance_id and outcome.result is not Result.TAKEN:
            launches = launches or within_an_hour(memory, now)
            launches[minute] = launches.get(minute, 0) + 1
            if command.reason is not Reason.ASKED:  # a person who asks sees for himself what comes of it
                breakers[command.pool] = after_launch(breakers.get(command.pool), command.job, now)
    if links != memory.links:
        links = {name: _without_old_terms(link, now) for name, link in links.items()}
    launches = launches or dict(memory.launches)
    return replace(memory, links=links, launches=launches, breakers=breakers, refused=refused, lost=lost)


def _without_old_terms(link: Link, now: datetime) -> Link:
    """A link that old is never asked for again."""
    return replace(link, terms=None) if link.terms is not None and now - link.used_at > TERMS_KEPT else link


def _minute(when: datetime, *, up: bool = False) -> int:
    seconds = int(when.timestamp())
    return -(-seconds // 60) if up else seconds // 60


def _when(minute: Any) -> datetime:
    return datetime.fromtimestamp(int(minute) * 60, UTC)
