"""The decision: one pure function from config, snapshot and memory to a plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from scaler.deciding.breaker import reconsidered
from scaler.deciding.by_hand import bring_down, bring_up
from scaler.deciding.demand import Demand, bars, weigh
from scaler.deciding.freshness import review_images
from scaler.deciding.lifecycle import review, with_lifecycle
from scaler.deciding.losses import review_losses
from scaler.deciding.room import Room, first_link, why_blind
from scaler.deciding.standing import Phase, Standing, standings
from scaler.durations import passed
from scaler.model import Command, Down, HandOver, Launch, Memory, Plan, Reason, Snapshot, Up
from scaler.settings.config import Config

HAND_OVER_GRACE = timedelta(seconds=90)
"""The tick that launched an instance hands it over in its first minute (`act.INTRODUCTION`); others wait for longer."""


def decide(config: Config, snapshot: Snapshot, memory: Memory) -> Plan:
    """
    Choose what to launch, hand over, tag, drain, deregister, terminate and sweep. Nothing is read or changed here.

    1.  What was not seen whole is unknown. Nothing there is drained, deregistered, terminated or swept; an
        instance there may serve a job; with the instances unseen, or the fleet's state unread or forbidden,
        nothing is launched. So it is with every repository that a pattern may stand for whose list was not seen.
    2.  An instance with a hold tag is never ended, whatever else is true of it.
    3.  Demand is queued jobs. A job fits a pool that carries all of its labels; the pool with the fewest
        labels comes first, then config order. A job that fits none, or whose repository is public, outside the
        runner group or closed to the token, is reported, never launched for.
    4.  Idle, then booting, then unknown instances of its scope cover a job before anything is launched;
        booting ones that have no scope yet cover any, and are handed over to that job's scope.
    5.  What is left is launched for: each repository's oldest job in turn (a date that cannot be counts as new),
        into the lowest free slot of the first fitting pool that has room under its max, max_runners, the budgets
        and the breaker. A pool whose launch template brought no runner that was seen within a day launches
        five, and more as soon as one of them registers.
        What EC2 had no capacity for is not asked for again for three minutes.
    6.  `min_idle` is topped up last: idle and booting instances of a scope that no job counts on.
    7.  A busy instance is left alone: GitHub says so, or a running job names its runner.
    8.  An idle runner is drained when it was idle in two complete observations at least idle_timeout apart
        (tag idle-since), no queued job could be given to it, and min_idle does not keep it. When another
        scope's job waits for the full pool, two minutes of idleness are enough. Draining and ending wait for
        a deep look, one that saw the jobs of waiting runs too.
    9.  An instance whose runner is gone, offline or never came by boot_timeout is marked (tag
        draining-since), and ended when that is still so two minutes later. Without a hand-over it gets half
        of boot_timeout. Three in a row that never registered, or are gone while their job still waits, stop the
        pool: the breaker. It lets one through every half hour, until one registers.
    10. A stopped instance is ended, and one ten minutes past max_lifetime whatever could not be seen.
    11. A ghost, our runner without an instance, is deregistered when two ticks five minutes apart see it.
    12. A parameter is swept when its instance is gone, has registered, or half an hour has passed.
    13. A running job whose machine has ended is told as lost. If EC2 took the machine back, its pool asks for
        on-demand first for half an hour; with `rerun_lost` it is run again, once, when its run is over.
    14. An image whose runner program GitHub stops giving jobs to within ten days is told of.

    With `snapshot.asked`, the plan is what was asked by hand, under the same caps, and nothing else.
    """
    if snapshot.repositories is not None:
        config = replace(config, repositories=snapshot.repositories)
    stands = standings(config, snapshot)
    blind = why_blind(snapshot, memory)
    memory = replace(memory, start=first_link(memory, snapshot.now))
    ups = [ask for ask in snapshot.asked if isinstance(ask, Up)]
    downs = [ask for ask in snapshot.asked if isinstance(ask, Down)]
    if ups or downs:
        up = bring_up(config, snapshot, memory, ups, blind=blind)
        down = bring_down(snapshot, stands, downs)
        return Plan(up.commands + down.commands, up.verdicts + down.verdicts, memory)
    losses = review_losses(config, snapshot, memory)
    memory = reconsidered(config, snapshot, losses.memory, stands)
    room = Room(config, snapshot, memory)
    demand = weigh(config, snapshot, room, stands, blind=blind)
    warm = () if blind else _top_up(config, snapshot, room, stands, demand)
    life = review(config, snapshot, memory, stands, demand)
    hand_overs = _hand_overs(demand)
    # Launches first: a job waits for them; what is ended frees its slot for the next tick's complete view.
    commands: tuple[Command, ...] = (*hand_overs, *demand.launches, *warm, *life.commands, *losses.commands)
    verdicts = (*demand.verdicts, *losses.verdicts, *life.verdicts, *review_images(snapshot))
    return Plan(commands, verdicts, with_lifecycle(memory, life))


def _hand_overs(demand: Demand) -> tuple[HandOver, ...]:
    return tuple(
        HandOver(
            standing.instance.id,
            standing.instance.pool,
            scope,
            Reason.NO_SCOPE,
            f'launched {passed(standing.age)} ago and handed to nobody; job "{job.name}" waits',
        )
        for standing, scope, job in demand.hand_overs
        if standing.age >= HAND_OVER_GRACE
    )


def _top_up(
    config: Config, snapshot: Snapshot, room: Room, stands: Sequence[Standing], demand: Demand
) -> tuple[Launch, ...]:
    """Launches for `min_idle`, which counts per scope: spare instances that no queued job counts on."""
    spare = Counter(
        (standing.scope, standing.instance.pool)
        for standing in stands
        if standing.supply and standing.phase is not Phase.UNKNOWN and standing.instance.id not in demand.claimed
    )
    unknown = {(standing.scope, standing.instance.pool) for standing in stands if standing.phase is Phase.UNKNOWN}
    why_barred = bars(config, snapshot)
    launches = []
    for pool in config.pools:
        floor = pool.idle_floor(snapshot.now)
        for scope in config.scopes:
            if (scope, pool.name) in unknown or why_barred(scope) is not None:
                continue
            for _ in range(floor - spare[scope, pool.name]):
                if room.refusal(pool) is not None:
                    break
                sentence = f"min_idle keeps {floor} of pool {pool.name} ready for {scope}"
                launches.append(room.take(pool, scope, Reason.MIN_IDLE, sentence))
    return tuple(launches)
