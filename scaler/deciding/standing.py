"""Where each instance stands: EC2's machine, GitHub's record of its runner and the job it runs, joined. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum
from typing import NamedTuple

from scaler.model import Instance, InstanceState, Job, JobStatus, Reason, Runner, Scope, Snapshot, Terminate, View
from scaler.settings.config import Config, Pool, Registration
from scaler.settings.shard import Shard

SETTLED = timedelta(minutes=5)
"""AWS lists are eventually consistent: younger things may be missing from one."""


class Limits(NamedTuple):
    """The times that bound an instance's life."""

    boot_timeout: timedelta
    idle_timeout: timedelta
    max_lifetime: timedelta


DEFAULT_LIMITS = Limits(timedelta(minutes=10), timedelta(minutes=5), timedelta(hours=6))
"""For instances of a pool that config.yaml has no more: the schema's defaults."""


class Phase(Enum):
    """What an instance is doing, as far as one snapshot can tell."""

    BOOTING = "booting"
    IDLE = "idle"
    BUSY = "busy"
    LEAVING = "leaving"
    DRAINING = "draining"
    ORPHAN = "orphan"
    OFFLINE = "offline"
    STOPPED = "stopped"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Standing:
    """
    An instance with its pool, runner, job and phase.

    `scope` is None while nothing tells for whom it was launched; `handed_over` says that its secret was
    put (the scope tag is written after the put, and the parameter itself proves it too); `elsewhere`, that it is
    another shard's.
    """

    instance: Instance
    age: timedelta
    scope: str | None
    handed_over: bool
    pool: Pool | None
    runner: Runner | None
    job: Job | None
    phase: Phase = Phase.UNKNOWN
    elsewhere: bool = False

    @property
    def limits(self) -> Limits:
        """The pool's; half of boot_timeout for an instance whose hand-over was lost: no secret will come (D4)."""
        pool = self.pool
        limits = Limits(pool.boot_timeout, pool.idle_timeout, pool.max_lifetime) if pool else DEFAULT_LIMITS
        return limits if self.handed_over else limits._replace(boot_timeout=limits.boot_timeout / 2)

    @property
    def supply(self) -> bool:
        """
        Whether a queued job may count on this instance.

        An unknown one counts: it may be idle, and a launch too few is mended by the next tick. But one that
        nobody knows the scope of may stand for other scopes no longer than it may boot.
        """
        if self.phase is Phase.UNKNOWN and not self.elsewhere:
            return self.scope is not None or self.age < self.limits.boot_timeout
        return self.phase in (Phase.IDLE, Phase.BOOTING)


def standings(config: Config, snapshot: Snapshot) -> tuple[Standing, ...]:
    """One standing for each instance, oldest first."""
    # A second record of one name is a hand-over that lost a race; the one that lives is the runner.
    runners = {runner.name: runner for runner in sorted(snapshot.runners, key=lambda r: (r.online, r.busy))}
    running = {job.runner_name: job for job in snapshot.jobs if job.status is JobStatus.IN_PROGRESS and job.runner_name}
    told = {parameter.instance_id: parameter.scope for parameter in snapshot.parameters}
    all_told = snapshot.sees(View.PARAMETERS)
    sight = Sight(config, snapshot)
    found = []
    for instance in sorted(snapshot.instances, key=lambda i: (i.launched_at, i.id)):
        name = snapshot.runner_prefix + instance.id
        runner = runners.get(name)
        standing = Standing(
            instance,
            age=max(snapshot.now - instance.launched_at, timedelta()),
            # Between the put and the tag, the parameter and GitHub's record know the scope.
            scope=instance.scope or (runner.scope if runner else None) or told.get(instance.id) or None,
            # With the parameters unseen it may have been: it gets all of boot_timeout.
            handed_over=instance.scope is not None or instance.id in told or not all_told,
            pool=config.pool(instance.pool),
            runner=runner,
            job=running.get(name),
        )
        elsewhere = not config.shard.has(standing.scope, instance.slot)
        seen = sight.sees(standing.scope) and not elsewhere
        found.append(replace(standing, phase=_phase(standing, seen=seen), elsewhere=elsewhere))
    return tuple(found)


def own(config: Config, snapshot: Snapshot) -> Snapshot:
    """The snapshot without the instances of other shards, of whose runners nothing is seen here."""
    told = {parameter.instance_id: parameter.scope for parameter in snapshot.parameters}
    return replace(snapshot, instances=instances_of(config.shard, snapshot.instances, told))


def instances_of(shard: Shard, instances: Iterable[Instance], told: Mapping[str, Scope]) -> tuple[Instance, ...]:
    """A shard's instances, by their scope tag, else by what their parameters have `told`, else by their slot."""
    return tuple(each for each in instances if shard.has(each.scope or told.get(each.id), each.slot))


class Sight:
    """
    Of which scopes everything was seen: runners, queues, and whom their runner group serves.

    Where GitHub's clock and AWS's disagree no age can be trusted, and nothing counts as seen.
    """

    def __init__(self, config: Config, snapshot: Snapshot) -> None:
        """Look at everything once, however many scopes are asked for."""
        hidden: dict[View, set[Scope]] = {view: set() for view in View}
        for unseen in snapshot.unseen:
            hidden[unseen.view].add(unseen.scope)
        runners, queues = hidden[View.RUNNERS], hidden[View.QUEUE] | snapshot.deferred
        behind_queues = {config.scope_of(repository) for repository in config.repositories if repository in queues}
        # An instance may bear a scope that config.yaml names no more; it was looked at all the same.
        self._blind = runners | queues | behind_queues
        self._any_blind = bool(behind_queues or runners & set(config.scopes) or hidden[View.REPOSITORIES])
        self._nothing = "" in self._blind or bool(hidden[View.CLOCK])
        self._groups = hidden[View.GROUP]
        self._may_be_missing = snapshot.may_be_missing
        self._shard = config.shard

    def sees(self, scope: Scope | None) -> bool:
        """Whether runners and queues of a scope were all seen whole; without a scope, of every scope."""
        if self._nothing or scope is None:
            return not (self._nothing or self._any_blind)
        return not (scope in self._blind or self._may_be_missing(scope)) and self._shard.has(scope)

    def may_end(self, scope: Scope) -> bool:
        """Whether what is left over in a scope may be removed: all of it was seen, its runners serve nobody unseen."""
        return self.sees(scope) and not self._groups & {"", scope}


def _phase(standing: Standing, *, seen: bool) -> Phase:
    instance, runner = standing.instance, standing.runner
    if standing.job is not None:
        # The jobs API is asked last: a job that names the runner outweighs whatever its record says.
        return Phase.BUSY
    if not seen:
        return Phase.UNKNOWN
    if instance.state in (InstanceState.STOPPING, InstanceState.STOPPED):
        return Phase.STOPPED
    if runner is not None and runner.online:
        return Phase.BUSY if runner.busy else Phase.IDLE
    late = standing.age >= standing.limits.boot_timeout
    if instance.draining_since is not None and (instance.idle_since is not None or not late):
        return Phase.DRAINING
    if not late:
        return Phase.LEAVING if _came_and_went(standing) else Phase.BOOTING
    return Phase.ORPHAN if runner is None else Phase.OFFLINE


def _came_and_went(standing: Standing) -> bool:
    """
    Whether a runner was there and is no more: its job is done, and the instance is about to power off.

    A JIT runner's record exists from the minting on, which comes before the scope tag; so with that tag and
    without a record it is gone. A token's runner cannot be told from one that has yet to register.
    """
    by_jit = standing.pool is not None and standing.pool.registration is Registration.JIT
    return by_jit and standing.instance.scope is not None and standing.runner is None


def never_registered(standing: Standing) -> bool:
    """Whether an instance's time to boot is over and, as far as one can tell, no runner ever came."""
    if standing.instance.idle_since is not None or _came_and_went(standing):
        return False
    return standing.phase in (Phase.ORPHAN, Phase.OFFLINE)


def is_ours(snapshot: Snapshot, runner_name: str) -> bool:
    """Whether a runner's name is our prefix and an instance id, and nothing between."""
    rest = runner_name.removeprefix(snapshot.runner_prefix)
    return rest != runner_name and rest.startswith("i-") and set(rest[2:]) <= set("0123456789abcdef")


def terminate(standing: Standing, reason: Reason, sentence: str, *, force: bool = False) -> Terminate:
    """The command that ends an instance, its runner first."""
    runner = standing.runner
    return Terminate(
        standing.instance.id,
        reason,
        sentence,
        runner.scope if runner else standing.scope or "",
        runner.id if runner else None,
        runner.name if runner else "",
        force,
    )
