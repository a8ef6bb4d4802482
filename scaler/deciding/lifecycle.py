"""What becomes of each instance, ghost and parameter: scale-down and both-way reconciling. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache, partial

from scaler.deciding.breaker import after_failure, is_of_row, last_registered
from scaler.deciding.demand import Demand
from scaler.deciding.standing import SETTLED, Phase, Sight, Standing, is_ours, never_registered, terminate
from scaler.durations import passed, show
from scaler.model import (
    Breaker,
    Command,
    DeleteParameter,
    Deregister,
    Drain,
    Instance,
    JobStatus,
    Memory,
    Reason,
    Runner,
    Snapshot,
    Subject,
    Tag,
    Terminate,
    Verdict,
    View,
)
from scaler.settings.config import Config

DRAIN_WINDOW = timedelta(minutes=2)
"""How long a drained or orphaned instance may take to end itself; longer than GitHub's `busy` lags (60 s)."""
STARVED_IDLE = timedelta(minutes=2)
"""The floor of idleness at which a runner makes room for another scope's job in a full pool (D2)."""
LIFETIME_GRACE = timedelta(minutes=10)
"""The instance ends itself at max_lifetime; the scaler is the second line."""
TOOK_UP = timedelta(minutes=1)
"""An instance that has been online deletes its parameter within seconds of reading it."""
GHOST_MEMORY = timedelta(minutes=20)
"""How long a ghost is remembered that was not seen again, where not everything is looked at in each tick."""
PARAMETER_AGE = timedelta(minutes=30)
"""A registration secret is good for an hour; nobody may still want one this old."""


@dataclass
class Lifecycle:
    """Commands and verdicts as far as they were worked out. Lives within one call of `decide`."""

    commands: list[Command] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    breakers: dict[str, Breaker] = field(default_factory=dict)
    ghosts: dict[str, datetime] = field(default_factory=dict)


def review(config: Config, snapshot: Snapshot, memory: Memory, stands: Sequence[Standing], demand: Demand) -> Lifecycle:
    """Give every instance, ghost and left-over parameter its verdict, and the commands that follow."""
    life = Lifecycle(breakers=dict(memory.breakers))
    kept = _kept_idle(stands, snapshot.now)
    latest = cache(partial(last_registered, stands))
    for standing in stands:
        ended = _review_instance(snapshot, standing, demand, life, kept=standing.instance.id in kept)
        if ended and never_registered(standing):
            _count_failure(standing.instance, latest(standing.instance.pool), life, snapshot.now)
    sight = Sight(config, snapshot)
    _review_ghosts(config, snapshot, memory, life, sight)
    _review_parameters(snapshot, stands, life, sight)
    return life


def _kept_idle(stands: Sequence[Standing], now: datetime) -> set[str]:
    """The idle instances that `min_idle` keeps, per scope and pool: those that became idle last."""
    idle: dict[tuple[str | None, str], list[Standing]] = defaultdict(list)
    for standing in stands:
        if standing.phase is Phase.IDLE and standing.pool:
            idle[standing.scope, standing.pool.name].append(standing)
    kept: set[str] = set()
    for group in idle.values():
        assert group[0].pool is not None  # noqa: S101 - grouped by it
        group.sort(key=lambda s: s.instance.idle_since or now, reverse=True)
        kept.update(s.instance.id for s in group[: group[0].pool.idle_floor(now)])
    return kept


def _review_instance(snapshot: Snapshot, standing: Standing, demand: Demand, life: Lifecycle, *, kept: bool) -> bool:
    """Its verdict and its commands; whether one of them terminates it."""
    instance = standing.instance
    reason, sentence, commands = _judge(snapshot, standing, demand, kept=kept)
    if instance.scope is None and standing.scope is not None and standing.phase is not Phase.UNKNOWN:
        told = "its parameter or its runner tells whose it is"
        commands.insert(0, _tag(standing, "scope", standing.scope, reason, told))
    ends = [command for command in commands if isinstance(command, Drain | Terminate)]
    if ends and reason is not Reason.EXPIRED and not snapshot.sees(View.GROUP, standing.scope or ""):
        # It may run, unseen, a job of a repository that config.yaml does not name.
        commands = [command for command in commands if command not in ends]
        reason, sentence = Reason.UNKNOWN, f"left alone: whom its runner group serves is not as it must be ({sentence})"
    if instance.hold:
        # A tag ends nothing, and without its scope nobody can tell whose the instance is once its runner is gone.
        commands = [command for command in commands if command not in ends]
        reason, sentence = Reason.HELD, f"hold tag: nobody ends it while that stands (else: {reason.value}, {sentence})"
    life.commands.extend(commands)
    name = standing.runner.name if standing.runner else ""
    life.verdicts.append(
        Verdict(
            Subject.INSTANCE,
            instance.id,
            name,
            standing.scope or "",
            instance.pool,
            reason,
            sentence,
            instance.launched_at,
        )
    )
    return any(isinstance(command, Terminate) for command in commands)


_Judgement = tuple[Reason, str, list[Command]]


def _judge(snapshot: Snapshot, standing: Standing, demand: Demand, *, kept: bool) -> _Judgement:
    if standing.age >= standing.limits.max_lifetime + LIFETIME_GRACE and snapshot.sees(View.CLOCK):
        # EC2 alone knows its age: an instance must not live for ever because GitHub cannot be seen.
        sentence = f"older than its max_lifetime of {show(standing.limits.max_lifetime)} and did not end itself"
        return Reason.EXPIRED, sentence, [terminate(standing, Reason.EXPIRED, sentence, force=True)]
    match standing.phase:
        case Phase.UNKNOWN if standing.elsewhere:
            return Reason.ELSEWHERE, "counted here, and left to the shard that sees its repository", []
        case Phase.UNKNOWN:
            return Reason.UNKNOWN, "its runner or its jobs could not be seen whole; left alone", []
        case Phase.BUSY:
            return _judge_busy(standing)
        case Phase.IDLE:
            return _judge_idle(snapshot, standing, demand, kept=kept)
        case Phase.BOOTING:
            if standing.scope is None:
                return Reason.NO_SCOPE, f"launched {passed(standing.age)} ago, handed to nobody yet", []
            return Reason.BOOTING, f"launched {passed(standing.age)} ago, no runner online yet", []
        case Phase.LEAVING:
            return Reason.LEAVING, "its runner has come and gone; the machine is about to end itself", []
        case Phase.STOPPED:
            sentence = "stopped, by hand or by a wrong shutdown behaviour: a runner never comes back from that"
            return Reason.STOPPED, sentence, [terminate(standing, Reason.STOPPED, sentence)]
        case _:
            return _judge_leaving(snapshot, standing)


def _judge_busy(standing: Standing) -> _Judgement:
    what = f'runs "{standing.job.name}" of {standing.job.repository}' if standing.job else "GitHub says it runs a job"
    commands: list[Command] = []
    if standing.instance.idle_since is not None:
        commands.append(_tag(standing, "idle-since", None, Reason.BUSY, "took a job"))
    if standing.instance.draining_since is not None:
        commands.append(_tag(standing, "draining-since", None, Reason.BUSY, "took a job after all"))
    return Reason.BUSY, what, commands


def _judge_idle(snapshot: Snapshot, standing: Standing, demand: Demand, *, kept: bool) -> _Judgement:
    instance, runner = standing.instance, standing.runner
    assert runner is not None  # noqa: S101 - one that is idle is a runner's
    commands: list[Command] = []
    if instance.draining_since is not None:
        # A tick died between the tag and the DELETE, or GitHub refused: the runner is still ours to use.
        commands.append(_tag(standing, "draining-since", None, Reason.IDLE, "its runner is still registered"))
    if instance.idle_since is None:
        commands.append(_tag(standing, "idle-since", _stamp(snapshot.now), Reason.IDLE, "seen idle for the first time"))
        return Reason.IDLE, "idle since this tick", commands
    idle = snapshot.now - instance.idle_since
    if any(wanted <= runner.labels for wanted in demand.wanted.get(standing.scope or "", ())):
        return Reason.WANTED, f"idle for {passed(idle)}; a queued job could still be given to it", commands
    if kept:
        return Reason.MIN_IDLE, f"idle for {passed(idle)}; kept by min_idle", commands
    others_starve = any(scope != standing.scope for scope in demand.starving.get(instance.pool, ()))
    idle_timeout = standing.limits.idle_timeout
    limit = min(STARVED_IDLE, idle_timeout) if others_starve else idle_timeout
    if idle < limit or not snapshot.looked_deep(standing.scope):
        return Reason.IDLE, f"idle for {passed(idle)} of {show(limit)}", commands
    if commands:
        return Reason.IDLE, f"idle for {passed(idle)}", commands
    why = "and another scope's job waits for the full pool" if others_starve else "and no queued job could use it"
    sentence = f"idle for {passed(idle)}, in two complete observations, {why}"
    drain = Drain(instance.id, runner.scope, runner.id, runner.name, Reason.SURPLUS, sentence)
    return Reason.SURPLUS, sentence, [drain]


def _judge_leaving(snapshot: Snapshot, standing: Standing) -> _Judgement:
    """Draining, orphaned or offline: marked when first seen so, ended when still so after the window."""
    marked = standing.instance.draining_since
    reason, what = {
        Phase.ORPHAN: (Reason.ORPHAN, f"no runner {passed(standing.age)} after its launch"),
        Phase.OFFLINE: (Reason.OFFLINE, f"its runner is offline {passed(standing.age)} after its launch"),
    }.get(standing.phase, (Reason.DRAINING, "its runner is gone from GitHub"))
    if marked is None:
        tag = _tag(standing, "draining-since", _stamp(snapshot.now), reason, what)
        return reason, f"{what}; to be ended if that is still so in {show(DRAIN_WINDOW)}", [tag]
    since = snapshot.now - marked
    if since < DRAIN_WINDOW or not snapshot.looked_deep(standing.scope):
        return Reason.DRAINING, f"draining for {passed(since)}; given {show(DRAIN_WINDOW)} to end itself", []
    sentence = f"still alive {passed(since)} after it was marked: {what}"
    return reason, sentence, [terminate(standing, reason, sentence)]


def _count_failure(instance: Instance, latest: datetime | None, life: Lifecycle, now: datetime) -> None:
    """Count a launch that never registered, unless one of the pool that was launched later did."""
    if latest is None or latest <= instance.launched_at:
        life.breakers[instance.pool] = after_failure(life.breakers.get(instance.pool), instance.launched_at, now)


def _review_ghosts(config: Config, snapshot: Snapshot, memory: Memory, life: Lifecycle, sight: Sight) -> None:
    if not snapshot.sees(View.INSTANCES) or not snapshot.deep:
        life.ghosts.update(memory.ghosts)
        for name, first in memory.ghosts.items():
            sentence = f"first seen {passed(snapshot.now - first)} ago; looked for again by the next deep look"
            life.verdicts.append(Verdict(Subject.RUNNER, name, name, "", "", Reason.GHOST, sentence))
        return
    alive = {snapshot.runner_prefix + instance.id for instance in snapshot.instances}
    pools = {frozenset(pool.labels): pool.name for pool in config.pools}
    working = {job.runner_name for job in snapshot.jobs if job.status is JobStatus.IN_PROGRESS}
    if snapshot.shallow or snapshot.deferred:
        # Its scope may not have had its turn; that of one that is gone has, long before it is forgotten.
        known = memory.ghosts.items()
        life.ghosts.update({name: first for name, first in known if snapshot.now - first < GHOST_MEMORY})
    for runner in snapshot.runners:
        if not is_ours(snapshot, runner.name) or runner.name in alive or runner.online:
            continue
        if runner.name in working or not sight.may_end(runner.scope) or not snapshot.looked_deep(runner.scope):
            continue
        first = memory.ghosts.get(runner.name, snapshot.now)
        life.ghosts[runner.name] = first
        pool = pools.get(runner.labels, "")
        failed = pool if not runner.busy and is_of_row(life.breakers.get(pool), first) else ""
        _judge_ghost(snapshot.now - first, runner, failed, life)


def _judge_ghost(known: timedelta, runner: Runner, failed: str, life: Lifecycle) -> None:
    if known >= SETTLED:
        sentence = f"offline, and its instance is gone; first seen so {passed(known)} ago"
        life.commands.append(Deregister(runner.scope, runner.id, runner.name, Reason.GHOST, sentence, failed))
    else:
        sentence = f"offline, and its instance is gone; deregistered if that is still so in {show(SETTLED)}"
    life.verdicts.append(Verdict(Subject.RUNNER, str(runner.id), runner.name, runner.scope, "", Reason.GHOST, sentence))


def _review_parameters(snapshot: Snapshot, stands: Sequence[Standing], life: Lifecycle, sight: Sight) -> None:
    if not snapshot.sees(View.INSTANCES) or not snapshot.sees(View.CLOCK):
        return
    by_id = {standing.instance.id: standing for standing in stands}
    for parameter in snapshot.parameters:
        standing = by_id.get(parameter.instance_id)
        if parameter.scope and not sight.may_end(parameter.scope):
            continue
        if not snapshot.looked_deep(parameter.scope):
            continue  # an empty list of instances is contradicted by a list of runners
        age = snapshot.now - parameter.modified_at
        if standing is None and age >= SETTLED:
            sentence = f"{passed(age)} old, and its instance is gone"
        elif standing is not None and standing.runner is not None and standing.runner.online and age >= TOOK_UP:
            sentence = "its instance has registered and should have deleted it"
        elif age >= PARAMETER_AGE:
            sentence = f"{passed(age)} old: too old to be used"
        else:
            continue
        life.commands.append(DeleteParameter(parameter.name, Reason.STALE_PARAMETER, sentence))
        life.verdicts.append(
            Verdict(
                Subject.PARAMETER,
                parameter.name,
                parameter.name,
                standing.scope or "" if standing else "",
                "",
                Reason.STALE_PARAMETER,
                sentence,
                parameter.modified_at,
            )
        )


def with_lifecycle(memory: Memory, life: Lifecycle) -> Memory:
    """The memory to keep: breakers and ghosts as reviewed."""
    return replace(memory, breakers=life.breakers, ghosts=life.ghosts)


def _tag(standing: Standing, key: str, value: str | None, reason: Reason, sentence: str) -> Tag:
    return Tag(standing.instance.id, key, value, reason, sentence)


def _stamp(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")
