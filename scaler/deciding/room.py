"""
What may still be launched: free slots and their token links, the fleet's cap, the budgets, the breaker. Pure.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

from scaler.deciding.breaker import allowance, breaker_sentence, is_open, within_an_hour
from scaler.deciding.offerings import terms, why_refused
from scaler.deciding.standing import own
from scaler.model import Launch, Link, LinkState, Memory, Reason, Scope, Snapshot, View
from scaler.settings.config import Config, Pool

LAUNCHES_PER_TICK = 100
LAUNCHES_PER_HOUR_AND_SLOT = 20
"""The hour's budget of the fleet is this many times max_runners: a job every three minutes in every slot."""
LINKS_PER_DAY = 10_000
LISTED = timedelta(minutes=10)
"""An instance that old is in every list that a tick still acts on: a plan lives five minutes, and EC2's lists lag less."""


class Room:
    """What may still be launched in this tick: free slots, the fleet's cap, the budgets, the breakers."""

    def __init__(self, config: Config, snapshot: Snapshot, memory: Memory, *, by_hand: bool = False) -> None:
        """
        Count what is alive; every `take` is counted on top.

        Who asks `by_hand` waits neither for a first runner nor for capacity that was lately refused.
        """
        self._snapshot = snapshot
        self._memory = memory
        self._config = config
        self._alive = Counter(instance.pool for instance in snapshot.instances)
        self._free = {pool.name: free_slots(config, pool, snapshot, memory) for pool in config.pools}
        self._fleet = config.max_runners - len(snapshot.instances)
        self._taken: Counter[str] = Counter()
        self._tick = config.shard.share(LAUNCHES_PER_TICK)
        self._hour = config.shard.share(LAUNCHES_PER_HOUR_AND_SLOT * config.max_runners) - sum(
            within_an_hour(memory, snapshot.now).values()
        )
        known = Memory() if by_hand else memory
        self._terms = {pool.name: terms(pool, known, snapshot.now) for pool in config.pools}
        mine = own(config, snapshot)
        self._allowance = {
            pool.name: allowance(config, pool, mine, memory)
            for pool in config.pools
            if not by_hand or is_open(pool.name, memory)
        }

    def refusal(self, pool: Pool) -> tuple[Reason, str] | None:
        """Why nothing more can be launched in a pool, or None."""
        left = self._allowance.get(pool.name, 1)
        if left <= 0 and is_open(pool.name, self._memory):
            return Reason.BREAKER_OPEN, breaker_sentence(pool.name, self._memory)
        if not self._free[pool.name]:
            said = _count(self._alive[pool.name], self._taken[pool.name], pool.max)
            return Reason.POOL_FULL, f"pool {pool.name} is at max ({said})"
        if self._fleet <= 0:
            said = _count(len(self._snapshot.instances), sum(self._taken.values()), self._config.max_runners)
            return Reason.FLEET_FULL, f"the fleet is at max_runners ({said})"
        if self._tick <= 0:
            return (
                Reason.BUDGET_SPENT,
                f"{self._config.shard.share(LAUNCHES_PER_TICK)} launches in one tick are enough; the next tick goes on",
            )
        if self._hour <= 0:
            return Reason.BUDGET_SPENT, (
                f"the hour's launch budget of the fleet is spent ({LAUNCHES_PER_HOUR_AND_SLOT} for each of max_runners)"
            )
        if not self._terms[pool.name]:
            return Reason.NO_CAPACITY, why_refused(pool, self._memory, self._snapshot.now)
        if left <= 0:
            return Reason.UNPROVEN, f"no runner of pool {pool.name} was seen yet; more are launched when one is online"
        return None

    def take(self, pool: Pool, scope: Scope, reason: Reason, sentence: str, job: str = "") -> Launch:
        """The launch into the pool's next free slot. Ask `refusal` first."""
        slot = self._free[pool.name].pop(0)
        self._taken[pool.name] += 1
        self._fleet -= 1
        self._tick -= 1
        self._hour -= 1
        if pool.name in self._allowance:
            self._allowance[pool.name] -= 1
        link = next_link(pool, slot, self._snapshot.now, self._memory)
        known = self._memory.links.get(f"{pool.name}/{slot}")
        again = known is not None and known.k == link
        before = known.terms if known is not None and again else None
        asked = self._terms[pool.name]
        return Launch(pool.name, slot, link, known is not None, again, asked, scope, reason, sentence, job, before)


def _count(alive: int, launching: int, most: int) -> str:
    return f"{alive} alive, {launching} launching, of {most}" if launching else f"{alive} alive of {most}"


def free_slots(config: Config, pool: Pool, snapshot: Snapshot, memory: Memory) -> list[int]:
    """
    The pool's slots without a living instance; those that another launch seems to hold come last.

    A shard's own come first, so that shards that launch at once seldom want the same one; it may fill any.
    """
    mine = [instance for instance in snapshot.instances if instance.pool == pool.name]
    occupied = {instance.slot for instance in mine}
    free = [slot for slot in range(pool.max) if slot not in occupied]
    links = {slot: memory.links.get(f"{pool.name}/{slot}") for slot in free}
    free.sort(key=lambda slot: (_is_taken(links[slot], pool, snapshot.now), not config.shard.has_slot(slot), slot))
    # Two in one slot, or one without a slot, still count: the pool's max is over instances, not over tags.
    return free[: max(0, pool.max - len(mine))]


def _is_taken(link: Link | None, pool: Pool, now: datetime) -> bool:
    return link is not None and link.state is LinkState.TAKEN and _is_recent(link, pool, now)


def _is_recent(link: Link, pool: Pool, now: datetime) -> bool:
    return now - link.used_at < max(pool.boot_timeout, LISTED)


def next_link(pool: Pool, slot: int, now: datetime, memory: Memory) -> int:
    """
    The link of a slot's token chain to try first (D3).

    A link used within boot_timeout is tried again: EC2's answer says whether its instance lives, however
    stale our view is. An older one is spent, since this snapshot shows the slot empty. Two ticks at once must
    choose alike, so a chain never jumps, and a slot never used starts where the memory says.
    """
    link = memory.links.get(f"{pool.name}/{slot}")
    if link is None:
        return first_link(memory, now)
    return link.k if _is_recent(link, pool, now) and link.state is not LinkState.SPENT else link.k + 1


def first_link(memory: Memory, now: datetime) -> int:
    """
    Where the chain of a slot starts that the memory does not know.

    A new or lost memory starts at the UTC day's first link, which no earlier day has used.
    """
    if memory.start is not None:
        return memory.start
    return (now - datetime(1970, 1, 1, tzinfo=UTC)).days * LINKS_PER_DAY


def why_blind(snapshot: Snapshot, memory: Memory) -> str:
    """Why nothing can be launched at all, or nothing."""
    if not snapshot.sees(View.INSTANCES):
        return "the instances could not be seen; nothing is launched blind"
    if not snapshot.sees(View.STATE) and memory.start is None:
        # Its chains may be days old. A launch from today's first link could fill a slot that another tick fills too.
        return "the state parameter could not be read; nothing is launched blind"
    if any(unseen.view is View.STATE and unseen.denied for unseen in snapshot.unseen):
        return "the fleet's state may not be read, and without it neither budget nor breaker holds; nothing is launched"
    return ""
