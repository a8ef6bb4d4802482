"""
How a life ends when everything works again: promise 8 after exactly two ticks, promise 9 after three.

Judged on what GitHub and EC2 hold, as the promises are worded: an *idle* instance is one whose runner GitHub has
online and at no job; a *booting* one is young enough to come online yet, as far as their records tell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from scaler.deciding.offerings import REFUSED_FOR
from scaler.deciding.room import LISTED
from scaler.model import Launch, Reason, Result, Tick
from scaler.sandbox.aws.ec2_world import PENDING, RUNNING, Instance
from scaler.sandbox.github.state import Job
from scaler.sandbox.journal import Entry
from scaler.settings.config import Pool, Registration
from simulation.oracle import TAG
from simulation.wire import Tap
from simulation.world import Simulation

Place = tuple[str | None, str]
"""A scope (None: handed to nobody yet) and a pool."""


def unserved(sim: Simulation, every: float) -> list[str]:
    """Promise 8: the queued jobs for which two healthy ticks, `every` seconds apart, have nothing idle or booting."""
    with _nothing_lags(sim):
        sim.tick(Tap(sim.clock, latency=0))
        sim.clock.advance(every)
        before = dict(sim.oracle.alive())
        # The world stands still meanwhile: what the second tick saw is what is judged.
        tick = sim.tick(Tap(sim.clock, latency=0))
        assert tick is not None  # noqa: S101 - nothing crashes a healthy tick
        wanted = Counter(place for job in queued(sim) for place in _places(sim, job))
        wanted -= _supply(sim, wanted)
        return [
            f"{count} jobs of {scope} have nothing idle or booting in pool {pool} after two ticks"
            for (scope, pool), count in wanted.items()
            if not (_may_wait(sim, tick, pool, before | sim.oracle.alive(), count) or _refused(tick, pool, every))
        ]


@contextmanager
def _nothing_lags(sim: Simulation) -> Iterator[None]:
    """Lists show what is: the promise is about what there is to see."""
    settings, busy_lag = sim.aws.settings, sim.github.settings.busy_lag
    sim.aws.settings = replace(settings, consistency=replace(settings.consistency, instances=0, tags=0, states=0))
    sim.github.set(busy_lag=0.0)
    yield
    sim.aws.settings = settings
    sim.github.set(busy_lag=busy_lag)


def queued(sim: Simulation) -> list[Job]:
    """The jobs that wait for a runner of ours."""
    return [job for job in sim.github.unfinished_jobs() if job.status == "queued" and _places(sim, job)]


def _places(sim: Simulation, job: Job) -> list[Place]:
    """The first pool that fits a job; in a simulated fleet no other does."""
    scope = sim.config.scope_of(job.run.repository.full_name)
    fitting = [pool.name for pool in sim.config.pools if set(job.spec.labels) <= set(pool.labels)]
    return [(scope, name) for name in fitting[:1]]


def _supply(sim: Simulation, wanted: Counter[Place]) -> Counter[Place]:
    """What is idle or booting; what nobody was told of serves whoever wants more."""
    found: Counter[Place] = Counter()
    for number in sim.oracle.alive():
        held = sim.aws.instance(number)
        pool = sim.config.pool(held.tags[f"{TAG}pool"]) if held else None
        if held is not None and pool is not None and held.state in (PENDING, RUNNING):
            found.update(_as_supply(sim, held, pool))
    for scope, pool_name in wanted:
        taken = min(found[None, pool_name], max(0, wanted[scope, pool_name] - found[scope, pool_name]))
        found[None, pool_name] -= taken
        found[scope, pool_name] += taken
    return found


def _as_supply(sim: Simulation, held: Instance, pool: Pool) -> list[Place]:
    records = [r for r in sim.github.registered() if r.name == sim.prefix + held.id]
    online = [r for r in records if r.online]
    if online:
        return [(r.scope, pool.name) for r in online if not r.busy]
    handed_over = f"{TAG}scope" in held.tags or any(n.endswith(held.id) for n in sim.aws.parameter_names())
    late = sim.clock.now() - held.launched_at >= pool.boot_timeout / (1 if handed_over else 2)
    drained = f"{TAG}draining-since" in held.tags
    # A JIT runner's record is there until its job is done: without it, it came and went.
    went = pool.registration is Registration.JIT and f"{TAG}scope" in held.tags and not records
    return [] if late or drained or went else [(sim.oracle.scope_of(held.id), pool.name)]


def _may_wait(sim: Simulation, tick: Tick, pool_name: str, alive: Mapping[str, Entry], count: int) -> bool:
    """Whether a cap keeps jobs of a pool waiting, by what was alive as the tick looked or after it; or its breaker."""
    taken = _taken(sim, tick, pool_name)
    pool = sim.config.pool(pool_name)
    mine = [number for number, launched in alive.items() if launched.facts["tags"][f"{TAG}pool"] == pool_name]
    if pool is None or len(mine) + taken >= pool.max or len(alive) + taken >= sim.config.max_runners:
        return True
    if count <= taken:
        return True
    stopped = {v.pool for v in tick.plan.verdicts if v.reason in (Reason.BREAKER_OPEN, Reason.UNPROVEN)}
    breaker = tick.plan.memory.breakers.get(pool_name)
    if pool_name not in stopped or breaker is None:
        return False
    # A breaker is believed as long as nothing that was launched since is online.
    online = {r.name for r in sim.github.registered() if r.online}
    return not any(sim.prefix + number in online and alive[number].at > breaker.since for number in mine)


def _refused(tick: Tick, pool: str, every: float) -> bool:
    """Whether the pool waits for capacity that EC2 refused before everything was healed, less than three minutes ago."""
    refused = {v.pool for v in tick.plan.verdicts if v.reason is Reason.NO_CAPACITY}
    return pool in refused and every < REFUSED_FOR.total_seconds()


def _taken(sim: Simulation, tick: Tick, pool_name: str) -> int:
    """
    Slots in which an instance was launched a short while ago, as another market's or template's, and is gone.

    EC2 answers its token with a mismatch, behind which a living one of another tick's may be.
    """
    pool = sim.config.pool(pool_name)
    since = sim.clock.now() - max(pool.boot_timeout if pool else LISTED, LISTED)
    launched = [entry.facts["tags"] for entry in sim.journal.of("instance.launched") if entry.at > since]
    used = {(tags.get(f"{TAG}pool"), tags.get(f"{TAG}slot")) for tags in launched}
    refused = [o.command for o in tick.outcomes if o.result is Result.TAKEN and isinstance(o.command, Launch)]
    return sum(each.pool == pool_name and (each.pool, str(each.slot)) in used for each in refused)


def unrested(sim: Simulation, warm: int) -> list[str]:
    """Promise 9: what three healthy ticks ten minutes apart leave, but for `warm` runners, and what a fourth does."""
    # A warm runner that hangs is ended by then, and another is to boot in its place and be seen idle.
    sim.ticks(6 if warm else 3, every=600.0)
    wrong = []
    for kind, names in sim.left().items():
        if len(names) != (0 if kind == "parameters" else warm):
            wrong.append(f"left: {kind} {', '.join(names)}")
    # The memory forgets by time: what it forgets in one tick is written once.
    sim.tick(last := Tap(sim.clock))
    if last.effects == ["ssm:PutParameter"]:
        sim.tick(last := Tap(sim.clock))
    return wrong + [f"a tick that should change nothing did {effect}" for effect in last.effects]
