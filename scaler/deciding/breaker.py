"""
Whether a pool's machines are known to register, and what its launches may cost while they are not. Pure.

A pool is *proven* for a day by a runner of its that was seen registered. An unproven one launches a few and waits for
the first of them; three launches in a row that came to nothing stop a pool. So an image that never registers costs a
few instances, however many jobs wait, and whether its machines hang, are ended here, or end themselves unseen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from scaler.deciding.standing import SETTLED, Phase, Standing, is_ours, own
from scaler.model import Breaker, JobStatus, Memory, Runner, Snapshot, View
from scaler.settings.config import Config, Pool, Registration

BREAKER_FAILURES = 3
BREAKER_PAUSE = timedelta(minutes=30)
BREAKER_MEMORY = timedelta(hours=3)
"""Failures further apart than that are no row."""
UNPROVEN = 5
"""Launches of a pool of which nobody knows yet whether any will register. Small pools start at once."""
PROOF = timedelta(days=1)
PROOF_RENEWED = timedelta(hours=6)
CLOCKS_APART = timedelta(minutes=2)
"""EC2 dates a launch, GitHub's clock a tick; further apart nothing is trusted (observe)."""


def template(pool: Pool) -> str:
    """What a proof is for: a pool whose launch template was changed is unproven again."""
    return f"{pool.name}@{pool.launch_template.id or pool.launch_template.name}:{pool.launch_template.version}"


def is_proven(pool: Pool, memory: Memory, now: datetime) -> bool:
    """Whether a runner of the pool was seen registered within a day, and nothing failed since."""
    breaker = memory.breakers.get(pool.name)
    seen = memory.proven.get(template(pool))
    return seen is not None and now - seen < PROOF and not (breaker and breaker.failures)


def allowance(config: Config, pool: Pool, snapshot: Snapshot, memory: Memory) -> int:
    """
    How many launches a pool has left until one of them registers; with an open breaker one, after each pause.

    A shard has its share of what an unproven pool may cost.
    """
    breaker = memory.breakers.get(pool.name)
    mine = [instance for instance in snapshot.instances if instance.pool == pool.name]
    if breaker is not None and breaker.opened_at is not None:
        tried = any(instance.launched_at > breaker.opened_at for instance in mine)
        return int(not tried and snapshot.now - breaker.opened_at >= BREAKER_PAUSE)
    registered = {runner.name for runner in snapshot.runners if runner.online}
    registered |= {job.runner_name for job in snapshot.jobs if job.is_running and job.runner_name}
    # Those of a tick that died before it could count them; who was seen idle has registered.
    waiting = sum(snapshot.runner_prefix + i.id not in registered and i.idle_since is None for i in mine)
    most = max(config.shard.share(UNPROVEN), pool.max if is_proven(pool, memory, snapshot.now) else 0)
    return most - max(waiting, breaker.launched if breaker else 0)


def is_open(pool: str, memory: Memory) -> bool:
    """Whether the pool is stopped."""
    breaker = memory.breakers.get(pool)
    return breaker is not None and breaker.opened_at is not None


def breaker_sentence(pool: str, memory: Memory) -> str:
    """What the breaker says to people."""
    breaker = memory.breakers[pool]
    return (
        f"pool {pool} is stopped: {max(breaker.failures, breaker.launched)} launches in a row never registered a "
        f"runner; one is tried every {BREAKER_PAUSE.seconds // 60} minutes; look at the console output of an instance"
    )


def reconsidered(config: Config, snapshot: Snapshot, memory: Memory, stands: Sequence[Standing]) -> Memory:
    """The memory with what this snapshot says of each pool's launches: they registered, or came to nothing."""
    snapshot = own(config, snapshot)
    breakers, now = dict(memory.breakers), snapshot.now
    proven = {key: seen for key, seen in memory.proven.items() if now - seen < PROOF}
    for pool in config.pools:
        breaker, latest = breakers.get(pool.name), last_registered(stands, pool.name)
        known = proven.get(template(pool))
        if known is not None and latest is not None and now - known >= PROOF_RENEWED:
            proven[template(pool)] = now
        if breaker is None:
            continue
        if latest is not None and latest > breaker.since - CLOCKS_APART:
            del breakers[pool.name]
            proven[template(pool)] = now
            continue
        after, proof = _weighed(config, snapshot, pool, breaker)
        if after is None:
            del breakers[pool.name]
        else:
            breakers[pool.name] = after
        if proof:
            proven[template(pool)] = now
    return replace(memory, breakers=breakers, proven=proven)


def last_registered(stands: Iterable[Standing], pool: str) -> datetime | None:
    """When the newest of the pool's instances that have registered was launched."""
    registered = (s for s in stands if s.instance.pool == pool and _has_registered(s))
    return max((standing.instance.launched_at for standing in registered), default=None)


def _has_registered(standing: Standing) -> bool:
    """A runner without the pool's labels is online for nobody."""
    wanted = frozenset(standing.pool.labels if standing.pool else ())
    fits = standing.runner is None or wanted <= standing.runner.labels
    return fits and standing.phase in (Phase.IDLE, Phase.BUSY)


def _weighed(config: Config, snapshot: Snapshot, pool: Pool, breaker: Breaker) -> tuple[Breaker | None, bool]:
    """
    What is left of a row of launches none of which was seen registered, and whether it proves the pool.

    Short jobs are done between two ticks: then the job that was launched for tells. While it waits and nothing of the
    pool lives, the launches came to nothing; when it is gone, they did not.
    """
    if not snapshot.sees(View.INSTANCES) or not snapshot.sees(View.CLOCK):
        return breaker, False
    if breaker.opened_at is not None:
        return _tried(config, snapshot, pool, breaker)
    if snapshot.now - breaker.since > BREAKER_MEMORY:
        return None, False
    if any(instance.pool == pool.name for instance in snapshot.instances):
        return breaker, False
    repository, _, number = breaker.job.partition("#")
    if breaker.job and not (
        snapshot.looked_deep(config.scope_of(repository)) and snapshot.sees(View.QUEUE, repository)
    ):
        return breaker, False
    job = next((job for job in snapshot.jobs if job.repository == repository and str(job.id) == number), None)
    if breaker.job and (job is None or job.status is JobStatus.IN_PROGRESS):
        return _not_waiting(config, snapshot, pool, breaker, gone=job is None)
    if breaker.launched >= BREAKER_FAILURES and snapshot.now - breaker.since >= SETTLED:
        return replace(breaker, opened_at=snapshot.now, job=""), False
    return breaker, False


def _tried(config: Config, snapshot: Snapshot, pool: Pool, breaker: Breaker) -> tuple[Breaker | None, bool]:
    """What a stopped pool's trial says, whose machine may have come and gone between two ticks: was its job done?"""
    if not breaker.job or snapshot.now - (breaker.opened_at or snapshot.now) < SETTLED:
        return breaker, False
    if any(instance.pool == pool.name for instance in snapshot.instances):
        return breaker, False
    repository, _, number = breaker.job.partition("#")
    if not (snapshot.looked_deep(config.scope_of(repository)) and snapshot.sees(View.QUEUE, repository)):
        return breaker, False
    if any(job.repository == repository and str(job.id) == number for job in snapshot.jobs):
        return breaker, False
    if pool.registration is Registration.JIT:
        seen = snapshot.sees(View.RUNNERS, config.scope_of(repository))
        return (None, True) if seen and not _leaves_any(snapshot, pool) else (breaker, False)
    # A token's runner leaves no trace: a few launches will tell.
    return None, False


def _leaves_any(snapshot: Snapshot, pool: Pool) -> bool:
    return any(_is_left(snapshot, runner, pool) for runner in snapshot.runners)


def _not_waiting(
    config: Config, snapshot: Snapshot, pool: Pool, breaker: Breaker, *, gone: bool
) -> tuple[Breaker | None, bool]:
    if pool.registration is Registration.JIT and not breaker.failures:
        # A JIT runner's record is there from the minting until its job is done: none is left, so all did theirs.
        seen = snapshot.sees(View.RUNNERS, config.scope_of(breaker.job.partition("#")[0]))
        return (None, True) if seen and not _leaves_any(snapshot, pool) else (breaker, False)
    if not gone:
        return breaker, False  # on a runner of ours it would have been seen; another's says nothing of the launches
    # It may have been cancelled: no failure, and no proof.
    return (replace(breaker, job="", launched=breaker.failures) if breaker.failures else None), False


def _is_left(snapshot: Snapshot, runner: Runner, pool: Pool) -> bool:
    return is_ours(snapshot, runner.name) and not runner.online and runner.labels == frozenset(pool.labels)


def is_of_row(breaker: Breaker | None, ghost_since: datetime) -> bool:
    """
    Whether a ghost that was at no job, first seen then, is of a launch that never registered.

    A JIT runner that came online and got no job (its run was cancelled) leaves its record as well. But with it the row
    of unregistered launches ended: there is none, or one that began later.
    """
    return breaker is not None and breaker.since <= ghost_since


def after_failure(breaker: Breaker | None, launched: datetime, now: datetime) -> Breaker:
    """The breaker after one more launch that is known to have failed."""
    if breaker is not None and breaker.opened_at is None and now - breaker.since > BREAKER_MEMORY:
        breaker = None  # not in a row: a runner that came and went in between need not have been seen
    before = breaker or Breaker(0, launched)
    failures = before.failures + 1
    if failures < BREAKER_FAILURES and before.opened_at is None:
        return replace(before, failures=failures)
    # A trial that failed opens the breaker anew, for another pause; what it was launched for tells no more.
    return replace(before, failures=failures, opened_at=now, job="")


def after_launch(breaker: Breaker | None, job: str, now: datetime) -> Breaker:
    """The breaker after one more launch; that of an open one is its trial, and begins another pause."""
    before = breaker or Breaker(0, now)
    opened_at = now if before.opened_at is not None else None
    return replace(before, launched=before.launched + 1, job=before.job or job, opened_at=opened_at)


def within_an_hour(memory: Memory, now: datetime) -> dict[datetime, int]:
    """The launches of the last hour, by their minute: one is kept as its whole minute, which began up to one earlier."""
    return {minute: count for minute, count in memory.launches.items() if now - minute < timedelta(minutes=61)}
