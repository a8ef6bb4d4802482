"""
The memory between ticks as one small String parameter, and what a tick's outcomes add to it. Pure.

It must stay below SSM's 4 KB for a standard parameter: times are whole minutes since 1970, links are lists.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from scaler.model import Breaker, Launch, Link, Memory, Outcome, Result

VERSION = 1
LIMIT = 4096


class StateError(ValueError):
    """The state parameter does not hold what we write."""


def encode(memory: Memory) -> str:
    """
    The memory as JSON. When it grows past the limit, the oldest links are dropped.

    A link is a hint: without it the chain is walked from the day's first link.
    """
    links = sorted(memory.links.items(), key=lambda item: item[1].used_at, reverse=True)
    while True:
        text = json.dumps(
            {
                "v": VERSION,
                "links": {slot: [link.k, _minute(link.used_at), int(link.taken)] for slot, link in links},
                "launches": {str(_minute(when)): count for when, count in memory.launches.items()},
                "breakers": {
                    pool: [b.failures, _minute(b.since), _minute(b.opened_at) if b.opened_at else None]
                    for pool, b in memory.breakers.items()
                },
                "ghosts": {name: _minute(when) for name, when in memory.ghosts.items()},
            },
            separators=(",", ":"),
            sort_keys=True,
        )
        if len(text) <= LIMIT or not links:
            return text
        links = links[: len(links) * 9 // 10]


def decode(text: str | None) -> Memory:
    """The memory that `encode` wrote; an absent one is empty. Raises `StateError` for anything else."""
    if text is None:
        return Memory()
    try:
        state = json.loads(text)
        if state["v"] != VERSION:
            raise StateError(f"version {state['v']} is not {VERSION}")
        return Memory(
            links={slot: Link(int(k), _when(used), bool(taken)) for slot, (k, used, taken) in state["links"].items()},
            launches={_when(minute): int(count) for minute, count in state["launches"].items()},
            breakers={
                pool: Breaker(int(failures), _when(since), None if opened is None else _when(opened))
                for pool, (failures, since, opened) in state["breakers"].items()
            },
            ghosts={name: _when(minute) for name, minute in state["ghosts"].items()},
        )
    except StateError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise StateError(f"not a state of ours ({type(error).__name__})") from error


def remember(memory: Memory, outcomes: Iterable[Outcome], now: datetime) -> Memory:
    """
    The memory with what this tick's launches taught: links used, launches counted.

    A link that was known before keeps the time of its first use, or a slot that answers with a mismatch
    would never come free again.
    """
    links, launches = dict(memory.links), dict(memory.launches)
    minute = _when(_minute(now))
    for outcome in outcomes:
        if not isinstance(outcome.command, Launch) or outcome.link is None:
            continue
        slot = f"{outcome.command.pool}/{outcome.command.slot}"
        known = links.get(slot)
        used_at = known.used_at if known and known.k == outcome.link else now
        links[slot] = Link(outcome.link, used_at, taken=outcome.result is Result.TAKEN)
        if outcome.result is Result.DONE:
            launches[minute] = launches.get(minute, 0) + 1
    return replace(memory, links=links, launches=launches)


def _minute(when: datetime) -> int:
    return int(when.timestamp()) // 60


def _when(minute: Any) -> datetime:
    return datetime.fromtimestamp(int(minute) * 60, UTC)
