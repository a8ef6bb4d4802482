"""
How a tick grows with demand: `decide` and what is said of it, in process, from 100 queued jobs to 10,000.

    python -m benchmarks.growth      # also part of `make bench`

The exponent of growth between two sizes is 1 for a step that looks at everything once. Each part is timed alone, and
its memory is its largest beyond what was there before.
"""

from __future__ import annotations

import math
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

from scaler.decide import decide
from scaler.model import (
    Instance,
    InstanceState,
    Job,
    JobStatus,
    Market,
    Memory,
    Parameter,
    Runner,
    Snapshot,
    Tick,
    Unseen,
    View,
)
from scaler.reporting import report
from scaler.reporting.page import markdown
from scaler.settings.config import Config, LaunchTemplate, Pool, RegisterAt, Registration

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
PREFIX = "main-1a2b3c-"
SIZES = (100, 1_000, 10_000)
JOBS_PER_INSTANCE = 5
LABELS = {
    "amd64": ("self-hosted", "linux", "x64"),
    "gpu": ("self-hosted", "linux", "x64", "gpu"),
    "arm64": ("self-hosted", "linux", "arm64"),
}
KINDS = ("a fleet at work", "nothing registers", "half is unseen")
"""What a snapshot shows: busy, idle and booting machines; machines that all failed to boot; every other scope blind."""


@dataclass(frozen=True, slots=True)
class Grown:
    """One part's time and memory at one size."""

    kind: str
    part: str
    jobs: int
    seconds: float
    megabytes: float


def config_for(jobs: int) -> Config:
    """A repository for every twenty jobs; three pools, of which `gpu` is full and the others have room."""
    instances = jobs // JOBS_PER_INSTANCE
    pools = tuple(
        Pool(name, "arm64" if name == "arm64" else "amd64", labels, LaunchTemplate(None, f"runner-{name}", "1"), (), (),
             (Market.SPOT, Market.ON_DEMAND), instances // len(LABELS) if name == "gpu" else instances, 0, True,
             Registration.JIT, timedelta(minutes=10), timedelta(minutes=5), timedelta(hours=6))
        for name, labels in LABELS.items()
    )  # fmt: skip
    names = tuple(f"acme/repo-{number:04d}" for number in range(max(jobs // 20, 5)))
    return Config("config.yaml", "main", "us-east-1", None, RegisterAt.REPOSITORY, None, None, names,
                  instances + 50, pools, False, {}, ())  # fmt: skip


def snapshot_of(kind: str, config: Config, jobs: int) -> Snapshot:
    """So many queued jobs, and a fifth of that in instances."""
    names, pools = config.repositories, config.pools
    pushed = names[: len(names) * 4 // 5]  # in the others nothing waits, and what is idle there is too much
    queued = [
        _job(number, pushed[number % len(pushed)], pools[number % len(pools)].labels, JobStatus.QUEUED)
        for number in range(jobs)
    ]
    working: list[Job] = []
    instances: list[Instance] = []
    runners: list[Runner] = []
    for number in range(jobs // JOBS_PER_INSTANCE):
        scope, pool = names[number % len(names)], pools[number % len(pools)]
        instance, online, busy = _instance(kind, number, scope, pool)
        instances.append(instance)
        if instance.scope and not (kind == KINDS[1] and number % 2):
            name = PREFIX + instance.id
            runners.append(Runner(number, name, scope, online, busy, frozenset(pool.labels)))
            if busy:
                working.append(_job(jobs + number, scope, pool.labels, JobStatus.IN_PROGRESS, name))
    unseen = [Unseen(view, name, "no answer") for name in names[::2] for view in (View.RUNNERS, View.QUEUE)]
    parameters = tuple(Parameter(f"/{i.id}", i.id, NOW - timedelta(minutes=40), i.scope or "") for i in instances[::3])
    return Snapshot(NOW, PREFIX, (*queued, *working), tuple(runners), tuple(instances), parameters,
                    tuple(unseen) if kind == KINDS[2] else ())  # fmt: skip


def _instance(kind: str, number: int, scope: str, pool: Pool) -> tuple[Instance, bool, bool]:
    """One machine, and whether its runner is online and busy."""
    age = timedelta(minutes=30)
    online, busy, handed, idle = True, number % 4 < 2, True, None
    if number % 4 == 2:
        idle = NOW - timedelta(minutes=20)
    if number % 4 == 3:
        online, age, handed = False, timedelta(minutes=2), number % 8 == 3
    if kind == KINDS[1]:
        online, busy, handed, idle, age = False, False, True, None, timedelta(minutes=30)
    found = Instance(f"i-{number:017x}", pool.name, number // len(LABELS), InstanceState.RUNNING, NOW - age,
                     scope=scope if handed else None, idle_since=idle,
                     draining_since=NOW - timedelta(minutes=5) if kind == KINDS[1] else None)  # fmt: skip
    return found, online, busy


def _job(number: int, repository: str, labels: tuple[str, ...], status: JobStatus, runner: str | None = None) -> Job:
    born = NOW - timedelta(seconds=60 + number % 3600)
    return Job(number + 1, repository, number // 8, f"test ({number})", frozenset(labels), status, born, runner, "CI",
               f"https://github.com/{repository}/actions/runs/{number // 8}/job/{number}")  # fmt: skip


def parts(config: Config, snapshot: Snapshot) -> Mapping[str, Callable[[], Any]]:
    """What a tick does with a snapshot, by name."""
    proven = Memory(
        proven={f"{p.name}@{p.launch_template.name}:{p.launch_template.version}": NOW for p in config.pools}
    )
    tick = Tick(snapshot, decide(config, snapshot, proven))
    return {
        "decide": lambda: decide(config, snapshot, proven),
        "log": lambda: (report.lines(tick), report.headline(tick), report.alerts(tick)),
        "summary": lambda: markdown(tick, config),
        "json": lambda: report.as_json(tick),
        "outputs": lambda: report.outputs(tick, tick.outcomes, config),
    }


def measure(sizes: Sequence[int] = SIZES, rounds: int = 5) -> Iterator[Grown]:
    """Every part at every size: the median time of the rounds, then its memory in one more."""
    for kind in KINDS:
        for jobs in sizes:
            config = config_for(jobs)
            for name, work in parts(config, snapshot_of(kind, config, jobs)).items():
                seconds = median(_timed(work) for _ in range(rounds))
                yield Grown(kind, name, jobs, seconds, _memory(work))


def _timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _memory(work: Callable[[], Any]) -> float:
    tracemalloc.start()
    work()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most / 1e6


def table(rows: Sequence[Grown]) -> Iterator[str]:
    """A line for each part, with the exponent over the last step."""
    sizes = sorted({row.jobs for row in rows})
    yield "| snapshot | part | " + " | ".join(f"{size} jobs, ms" for size in sizes) + " | exponent | MB at most |"
    yield "|" + " --- |" * (len(sizes) + 4)
    for kind, part in dict.fromkeys((row.kind, row.part) for row in rows):
        mine = sorted((row for row in rows if (row.kind, row.part) == (kind, part)), key=lambda row: row.jobs)
        times = " | ".join(f"{row.seconds * 1000:.1f}" for row in mine)
        yield f"| {kind} | {part} | {times} | {exponent(mine):.2f} | {mine[-1].megabytes:.1f} |"


def exponent(rows: Sequence[Grown]) -> float:
    """How time grew over the last step: 1 is in proportion, 2 is quadratic."""
    *_, before, last = rows
    return math.log(last.seconds / before.seconds) / math.log(last.jobs / before.jobs)


if __name__ == "__main__":
    print("\n".join(table(list(measure()))))
    sys.exit(0)
