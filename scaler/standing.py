"""Where each instance stands: EC2's machine, GitHub's record of its runner and the job it runs, joined. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum

from scaler.config import Config, Pool, Registration
from scaler.model import Instance, InstanceState, Job, JobStatus, Runner, Snapshot, View

DEFAULT_BOOT_TIMEOUT = timedelta(minutes=10)
"""For instances of a pool that config.yaml has no more."""
DEFAULT_IDLE_TIMEOUT = timedelta(minutes=5)
DEFAULT_MAX_LIFETIME = timedelta(hours=6)


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
    put (the scope tag is written after the put, and the parameter itself proves it too).
    """

    instance: Instance
    age: timedelta
    scope: str | None
    handed_over: bool
    pool: Pool | None
    runner: Runner | None
    job: Job | None
    phase: Phase = Phase.UNKNOWN

    @property
    def boot_timeout(self) -> timedelta:
        """Half of the pool's for an instance whose hand-over was lost: no secret will come (D4)."""
        whole = self.pool.boot_timeout if self.pool else DEFAULT_BOOT_TIMEOUT
        return whole if self.handed_over else whole / 2

    @property
    def idle_timeout(self) -> timedelta:
        """The pool's, or the default for a pool that is no more."""
        return self.pool.idle_timeout if self.pool else DEFAULT_IDLE_TIMEOUT

    @property
    def max_lifetime(self) -> timedelta:
        """The pool's, or the default for a pool that is no more."""
        return self.pool.max_lifetime if self.pool else DEFAULT_MAX_LIFETIME

    @property
    def supply(self) -> bool:
        """
        Whether a queued job may count on this instance.

        An unknown one counts: it may be idle, and a launch too few is mended by the next tick.
        """
        return self.phase in (Phase.IDLE, Phase.BOOTING, Phase.UNKNOWN)


def standings(config: Config, snapshot: Snapshot) -> tuple[Standing, ...]:
    """One standing for each instance, oldest first."""
    runners = {runner.name: runner for runner in snapshot.runners}
    running = {job.runner_name: job for job in snapshot.jobs if job.status is JobStatus.IN_PROGRESS and job.runner_name}
    told = {parameter.instance_id: parameter.scope for parameter in snapshot.parameters}
    found = []
    for instance in sorted(snapshot.instances, key=lambda i: (i.launched_at, i.id)):
        name = snapshot.runner_prefix + instance.id
        runner = runners.get(name)
        standing = Standing(
            instance,
            age=max(snapshot.now - instance.launched_at, timedelta()),
            # Between the put and the tag, the parameter and GitHub's record know the scope.
            scope=instance.scope or (runner.scope if runner else None) or told.get(instance.id) or None,
            handed_over=instance.scope is not None or instance.id in told,
            pool=config.pool(instance.pool),
            runner=runner,
            job=running.get(name),
        )
        seen = sees_scope(config, snapshot, standing.scope)
        found.append(replace(standing, phase=_phase(standing, seen=seen)))
    return tuple(found)


def sees_scope(config: Config, snapshot: Snapshot, scope: str | None) -> bool:
    """
    Whether runners and queues of a scope were all seen whole; without a scope, of every scope.

    Where GitHub's clock and AWS's disagree no age can be trusted, and nothing counts as seen.
    """
    repositories = [r for r in config.repositories if scope is None or config.scope_of(r).lower() == scope.lower()]
    scopes = {config.scope_of(r) for r in repositories} | ({scope} if scope else set())
    if not snapshot.sees(View.CLOCK):
        return False
    return all(snapshot.sees(View.RUNNERS, s) for s in scopes) and all(
        snapshot.sees(View.QUEUE, r) for r in repositories
    )


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
    late = standing.age >= standing.boot_timeout
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
