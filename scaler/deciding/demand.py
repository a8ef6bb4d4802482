"""
Which queued job is served by what: the pools that fit it, the supply that covers it, the launches it needs. Pure.

GitHub binds no job to a runner, so supply is only counted against demand: a job is *covered* by an
instance for the sake of the count, and whoever GitHub picks runs it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial

from scaler.deciding.losses import machines_gone, what_runs
from scaler.deciding.room import Room
from scaler.deciding.standing import Phase, Standing
from scaler.deciding.supply import Need, Supply
from scaler.durations import passed
from scaler.model import Job, JobStatus, Launch, Reason, Scope, Snapshot, Subject, Verdict, View
from scaler.settings.config import Config, Pool
from scaler.text import some

MAX_QUEUE_AGE = timedelta(hours=24)
"""GitHub fails a job that was queued for longer (docs: self-hosted runners, routing precedence)."""

FIRST_DAY = datetime(2018, 10, 16, tzinfo=UTC)
"""GitHub Actions was announced (github.blog); a job dated before is dated wrongly."""
AHEAD = timedelta(minutes=5)
"""A job may be dated a little after the newest `Date` header that was heard; more than that is no date."""

LABELS_TOLD = 12
"""A sentence names no more of a job's labels."""

HOSTED = tuple(
    f"{system}-{kind}" for system in ("ubuntu", "windows", "macos") for kind in ("latest", "slim", *"0123456789")
)


def fitting_pools(config: Config, labels: frozenset[str]) -> tuple[Pool, ...]:
    """The pools that carry all of a job's labels: the one with fewest labels first, then in config order."""
    fitting = [pool for pool in config.pools if labels and labels <= frozenset(pool.labels)]
    return tuple(sorted(fitting, key=lambda pool: len(pool.labels)))


def _born(snapshot: Snapshot, created: datetime | None) -> datetime | None:
    """The date of a job that GitHub gives, or None where it gives none or one that cannot be."""
    return created if created is not None and FIRST_DAY <= created <= snapshot.now + AHEAD else None


def _seniority(snapshot: Snapshot, job: Job) -> tuple[datetime, int]:
    """Sorts jobs by age. One of unknown age is taken as new: it must not come before one that surely waits."""
    return _born(snapshot, job.created_at) or snapshot.now + AHEAD, job.id


def bars(config: Config, snapshot: Snapshot) -> Callable[[str], tuple[Reason, str] | None]:
    """What tells of a repository why no runner may be registered for it, or None."""
    denied = {each.scope for each in snapshot.unseen if each.denied and each.view is View.RUNNERS}

    def why_barred(repository: str) -> tuple[Reason, str] | None:
        if repository in snapshot.public and not config.allow_public:
            return Reason.PUBLIC, (
                f"{repository} is public: anyone's pull request could run code on the instance; "
                "set allow_public: true if that is meant"
            )
        if (scope := config.scope_of(repository)) in denied:
            # Who may not list runners may not register one: an instance would be launched for nobody, tick by tick.
            sentence = f"this token may not manage the runners of {scope}; nothing is launched for them"
            return Reason.SUPPLY_UNSEEN, sentence
        return None

    return why_barred


def _nearest(config: Config, labels: frozenset[str]) -> str:
    told = some(sorted(labels), LABELS_TOLD) or "no labels"
    nearest = max(config.pools, key=lambda pool: len(labels & frozenset(pool.labels)))
    missing = some([f'"{label}"' for label in sorted(labels - frozenset(nearest.labels))], LABELS_TOLD)
    if not missing:
        return f"no pool fits a job with {told}"
    return f"no pool carries all of [{told}]; nearest: pool {nearest.name}, which lacks {missing}"


@dataclass
class Demand:
    """Queued jobs against supply, as far as it was worked out. Lives within one call of `decide`."""

    verdicts: list[Verdict] = field(default_factory=list)
    launches: list[Launch] = field(default_factory=list)
    unserved: list[tuple[Job, tuple[Pool, ...]]] = field(default_factory=list)
    wanted: dict[Scope, set[frozenset[str]]] = field(default_factory=lambda: defaultdict(set))
    """The labels of every queued job, by scope: an idle runner there that has them could still be given one."""
    starving: dict[str, set[Scope]] = field(default_factory=lambda: defaultdict(set))
    """By full pool, the scopes of the jobs for which there was no room."""
    claimed: set[str] = field(default_factory=set)
    """The instances that the count gave to a job."""
    hand_overs: list[tuple[Standing, Scope, Job]] = field(default_factory=list)


def weigh(config: Config, snapshot: Snapshot, room: Room, stands: Sequence[Standing], *, blind: str) -> Demand:
    """
    Cover the queued jobs with supply and launch for the rest.

    Covering takes the jobs with the fewest fitting pools first; launching takes each repository's oldest job in turn.
    """
    demand = Demand()
    queued = _servable(config, snapshot, demand)
    queued.sort(key=lambda pair: (len(pair[1]), _seniority(snapshot, pair[0])))
    supply = Supply(stands)
    for number, (job, pools) in enumerate(queued):
        need = Need(config.scope_of(job.repository), job.labels, tuple(pool.name for pool in pools))
        demand.wanted[need.scope].add(need.labels)
        supply.cover(number, need)
    covered = supply.given()
    for number, standing in covered.items():
        job, _ = queued[number]
        demand.claimed.add(standing.instance.id)
        if standing.scope is None and standing.phase is Phase.BOOTING:
            demand.hand_overs.append((standing, config.scope_of(job.repository), job))
        demand.verdicts.append(_covered(job, standing))
    uncovered = [pair for number, pair in enumerate(queued) if number not in covered]
    _launch(config, room, demand, _in_turn(snapshot, uncovered), blind=blind)
    demand.verdicts = [_dated(snapshot, verdict) for verdict in demand.verdicts]
    return demand


def _servable(config: Config, snapshot: Snapshot, demand: Demand) -> list[tuple[Job, tuple[Pool, ...]]]:
    """The queued jobs that some pool may be launched for; all others get their verdict here."""
    servable = []
    configured = {repository.lower() for repository in config.repositories}
    fitting = cache(partial(fitting_pools, config))
    why_barred, gone = bars(config, snapshot), machines_gone(snapshot)
    for job in snapshot.jobs:
        if job.repository.lower() not in configured:
            continue  # looked at for the sake of an instance that is still registered there
        pools = fitting(job.labels)
        if job.status is JobStatus.IN_PROGRESS:
            demand.verdicts.append(job_verdict(job, "", *what_runs(job, gone.get(job.id))))
        elif job.status is not JobStatus.QUEUED:
            sentence = f"GitHub holds it ({job.status.value}): not ready for a runner yet"
            demand.verdicts.append(job_verdict(job, "", Reason.NOT_READY, sentence))
        elif not pools:
            demand.verdicts.append(job_verdict(job, "", *why_no_pool(config, job.labels)))
        elif (why := why_barred(job.repository) or _why_unserved(config, snapshot, job)) is not None:
            demand.verdicts.append(job_verdict(job, "", *why))
        else:
            servable.append((job, pools))
    return servable


def why_no_pool(config: Config, labels: frozenset[str]) -> tuple[Reason, str]:
    """Why no pool will ever serve a job with these labels."""
    if "self-hosted" not in labels and any(label.startswith(HOSTED) for label in labels):
        return Reason.HOSTED, "runs on GitHub's own runners; nothing to do here"
    return Reason.NO_POOL, _nearest(config, labels)


def _why_unserved(config: Config, snapshot: Snapshot, job: Job) -> tuple[Reason, str] | None:
    """Why a job will never be given a runner of a pool that fits it, or None."""
    if snapshot.served is not None and job.repository.lower() not in snapshot.served:
        group = config.runner_group or "Default"
        return Reason.GROUP, f'runner group "{group}" does not serve {job.repository}; add it to the group'
    created = _born(snapshot, job.created_at)
    if created is not None and snapshot.now - created > MAX_QUEUE_AGE:
        return Reason.TOO_OLD, "queued for more than 24 h: GitHub gives such a job up; cancel and re-run it"
    return None


def _covered(job: Job, standing: Standing) -> Verdict:
    instance, pool = standing.instance, standing.instance.pool
    if standing.phase is Phase.IDLE:
        sentence = f"{instance.id} is idle; GitHub assigns it within a minute"
        return job_verdict(job, pool, Reason.IDLE_RUNNER, sentence)
    sentence = f"{instance.id} has been booting for {passed(standing.age)}"
    return job_verdict(job, pool, Reason.BOOTING_RUNNER, sentence)


def _in_turn(snapshot: Snapshot, uncovered: list[tuple[Job, tuple[Pool, ...]]]) -> list[tuple[Job, tuple[Pool, ...]]]:
    """Every repository's oldest job, then every second oldest, and so on: oldest first, fair across repositories."""
    turn: dict[str, int] = defaultdict(int)
    ranked = []
    for job, pools in sorted(uncovered, key=lambda pair: _seniority(snapshot, pair[0])):
        ranked.append((turn[job.repository], job, pools))
        turn[job.repository] += 1
    ranked.sort(key=lambda row: (row[0], _seniority(snapshot, row[1])))
    return [(job, pools) for _, job, pools in ranked]


def _launch(
    config: Config, room: Room, demand: Demand, jobs: list[tuple[Job, tuple[Pool, ...]]], *, blind: str
) -> None:
    for job, pools in jobs:
        if blind:
            demand.verdicts.append(job_verdict(job, pools[0].name, Reason.SUPPLY_UNSEEN, blind))
            continue
        scope = config.scope_of(job.repository)
        refusals = [(pool, room.refusal(pool)) for pool in pools]
        open_pool = next((pool for pool, refusal in refusals if refusal is None), None)
        if open_pool is not None:
            sentence = f'job "{job.name}" of {job.repository} is queued and no runner is free for it'
            launch = room.take(open_pool, scope, Reason.LAUNCHING, sentence, f"{job.repository}#{job.id}")
            demand.launches.append(launch)
            said = f"launching into slot {launch.slot} of pool {open_pool.name}"
            demand.verdicts.append(job_verdict(job, open_pool.name, Reason.LAUNCHING, said))
            continue
        pool, refusal = refusals[0]
        assert refusal is not None  # noqa: S101 - no pool was open
        for each, why in refusals:
            if why is not None and why[0] is Reason.POOL_FULL:
                demand.starving[each.name].add(scope)
        demand.verdicts.append(job_verdict(job, pool.name, *refusal))


def job_verdict(job: Job, pool: str, reason: Reason, sentence: str) -> Verdict:
    """A verdict on one job; it waits since GitHub created it."""
    return Verdict(Subject.JOB, str(job.id), job.name, job.repository, pool, reason, sentence, job.created_at, job.url)


def _dated(snapshot: Snapshot, verdict: Verdict) -> Verdict:
    """The verdict without an age that cannot be, which it tells instead."""
    if _born(snapshot, verdict.since) is not None:
        return verdict
    found = f"{verdict.since:%Y-%m-%dT%H:%M:%SZ}" if verdict.since else "nothing that can be read"
    return replace(
        verdict, since=None, sentence=f"{verdict.sentence}; unknown age, taken as new: created_at is {found}"
    )
