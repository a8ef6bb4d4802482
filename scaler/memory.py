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

from scaler.breaker import after_failure, after_launch, within_an_hour
from scaler.model import Breaker, Deregister, Launch, Link, LinkState, Memory, Outcome, Reason, Removal, Result

VERSION = 2
LIMIT = 4096
GHOSTS = 30

_STATES = tuple(LinkState)


class StateError(ValueError):
    """The state parameter does not hold what we write."""


def encode(memory: Memory) -> str:
    """
    The memory as JSON, below the limit: the ghosts known longest, then as many of the longest chains as fit.

    A link is a hint: without it the chain is walked from `start`. A ghost that is not
    remembered is deregistered a tick later.
    """
    # Those least used go first: without its link a slot's chain is walked from the start.
    links = sorted(memory.links.items(), key=lambda item: (item[1].k, item[1].used_at), reverse=True)
    ghosts = sorted(memory.ghosts.items(), key=lambda item: item[1])[:GHOSTS]
    while True:
        text = json.dumps(
            {
                "v": VERSION,
                "links": _packed(links),
                "launches": {str(_minute(when)): count for when, count in memory.launches.items()},
                "breakers": {
                    pool: [
                        b.failures,
                        _minute(b.since),
                        _minute(b.opened_at) if b.opened_at else None,
                        b.launched,
                        b.job,
                    ]
                    for pool, b in memory.breakers.items()
                },
                "proven": {key: _minute(when) for key, when in memory.proven.items()},
                "ghosts": {name: _minute(when) for name, when in ghosts},
                "start": memory.start,
            },
            separators=(",", ":"),
            sort_keys=True,
        )
        if len(text) <= LIMIT or not (links or ghosts):
            return text
        links, ghosts = links[: len(links) * 9 // 10], ghosts if links else ghosts[1:]


def _packed(links: list[tuple[str, Link]]) -> dict[str, list[list[int]]]:
    """Per pool, rows of slot, k, minute and state; k and minute as differences to the row before."""
    packed: dict[str, list[list[int]]] = {}
    for name, link in sorted(links, key=lambda item: (item[0].rpartition("/")[0], item[1].used_at)):
        pool, _, slot = name.rpartition("/")
        # Rounded up: a link must count as recent for no less than boot_timeout.
        row = [int(slot), link.k, _minute(link.used_at, up=True), _STATES.index(link.state)]
        rows = packed.setdefault(pool, [])
        before = [sum(r[1] for r in rows), sum(r[2] for r in rows)]
        rows.append([row[0], row[1] - before[0], row[2] - before[1], row[3]])
    return packed


def _unpacked(packed: dict[str, list[list[int]]]) -> dict[str, Link]:
    links = {}
    for pool, rows in packed.items():
        k = minute = 0
        for slot, more, later, state in rows:
            k, minute = k + more, minute + later
            links[f"{pool}/{int(slot)}"] = Link(k, _when(minute), _STATES[state])
    return links


def decode(text: str | None) -> Memory:
    """The memory that `encode` wrote; an absent one is empty. Raises `StateError` for anything else."""
    if text is None:
        return Memory()
    try:
        state = json.loads(text)
        if state["v"] != VERSION:
            raise StateError(f"version {state['v']} is not {VERSION}")
        return Memory(
            links=_unpacked(state["links"]),
            launches={_when(minute): int(count) for minute, count in state["launches"].items()},
            breakers={
                pool: Breaker(
                    int(failures), _when(since), None if opened is None else _when(opened), int(launched), str(job)
                )
                for pool, (failures, since, opened, launched, job) in state["breakers"].items()
            },
            ghosts={name: _when(minute) for name, minute in state["ghosts"].items()},
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
    launches: dict[datetime, int] = {}
    minute = _when(_minute(now))
    for outcome in outcomes:
        command = outcome.command
        if isinstance(command, Deregister) and command.failed and outcome.detail == Removal.REMOVED:
            breakers[command.failed] = after_failure(breakers.get(command.failed), now, now)
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
        links[slot] = Link(outcome.link, known.used_at if known is not None and again else now, state)
        if outcome.instance_id and outcome.result is not Result.TAKEN:
            launches = launches or within_an_hour(memory, now)
            launches[minute] = launches.get(minute, 0) + 1
            if command.reason is not Reason.ASKED:  # a person who asks sees for himself what comes of it
                breakers[command.pool] = after_launch(breakers.get(command.pool), command.job, now)
    return replace(memory, links=links, launches=launches or memory.launches, breakers=breakers)


def _minute(when: datetime, *, up: bool = False) -> int:
    seconds = int(when.timestamp())
    return -(-seconds // 60) if up else seconds // 60


def _when(minute: Any) -> datetime:
    return datetime.fromtimestamp(int(minute) * 60, UTC)
