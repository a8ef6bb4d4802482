"""
What EC2 offers a pool, and what of it was refused a short while ago: on which terms a launch is asked for. Pure.

An offering is a market, an instance type and a subnet. One fleet's call tries all offerings of a market by itself; what
had no capacity is remembered for minutes, for every pool of the fleet that has the same, and left out meanwhile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from scaler.durations import passed
from scaler.model import Market, Memory, Terms
from scaler.settings.config import Pool

REFUSED_FOR = timedelta(minutes=3)
"""An offering without capacity is not asked for again for so long (as Karpenter has it: cache.UnavailableOfferingsTTL)."""


SPOT_PAUSE = timedelta(minutes=30)
"""
After EC2 took a spot machine from a job, the pool asks for on-demand first for so long.

RunsOn has the same time, after two interruptions within 15 minutes (runs-on.com/docs: spot circuit breaker); here the
first one that costs a job is enough.
"""


class Override(NamedTuple):
    """One of a pool's overrides: an instance type and a subnet; empty where it is the launch template's."""

    type: str
    subnet: str
    rank: int


def overrides(pool: Pool) -> tuple[Override, ...]:
    """Types by subnets; the types stand in order of preference, on either market."""
    return tuple(
        Override(kind, subnet, rank)
        for rank, kind in enumerate(pool.instance_types or ("",))
        for subnet in pool.subnets or ("",)
    )


def offerings(pool: Pool, market: Market) -> dict[Override, str]:
    """All that a pool can be launched as in a market, each by its short name."""
    return {override: _name(pool, market, override) for override in overrides(pool)}


def _name(pool: Pool, market: Market, override: Override) -> str:
    """Six hex digits, so that the memory of many stays small. Two that meet cost a detour of minutes."""
    template = "" if override.type and override.subnet else pool.launch_template.id or pool.launch_template.name or ""
    text = f"{market.value}\0{override.type}\0{override.subnet}\0{template}"
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def terms(pool: Pool, memory: Memory, now: datetime) -> tuple[Terms, ...]:
    """On which terms to ask, in order: the pool's markets without what was refused lately; none where all of it was."""
    refused, markets = still_refused(memory.refused, now), pool.markets
    reclaimed = memory.reclaimed.get(pool.name)
    if reclaimed is not None and now - reclaimed < SPOT_PAUSE:
        markets = tuple(sorted(markets, key=lambda market: market is Market.SPOT))
    found = []
    for market in markets:
        offered = frozenset(offerings(pool, market).values())
        skipped = offered.intersection(refused)
        if skipped != offered:
            found.append(Terms(market, skipped))
    return tuple(found)


def still_refused(refused: Mapping[str, datetime], now: datetime) -> dict[str, datetime]:
    """The offerings that are not asked for yet."""
    return {name: when for name, when in refused.items() if now - when < REFUSED_FOR}


def why_refused(pool: Pool, memory: Memory, now: datetime) -> str:
    """Since when there is no capacity for a pool in any of its markets, and when it is asked for again."""
    latest, first = [], []
    for market in pool.markets:
        times = [memory.refused[name] for name in offerings(pool, market).values()]
        latest.append(f"{market.value} {passed(now - max(times))} ago")
        first.append(min(times))
    again = max(min(first) + REFUSED_FOR - now, timedelta(seconds=1))
    return f"EC2 had no capacity for pool {pool.name} ({', '.join(latest)}); asked for again in {passed(again)}"
