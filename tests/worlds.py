"""Small worlds in few words, for the tables of `decide`: `world(queued("amd64"), booting("i-1", age="1m"))`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from scaler.durations import parse
from scaler.model import (
    Instance,
    InstanceState,
    Job,
    JobStatus,
    Market,
    Parameter,
    Runner,
    Snapshot,
    Unseen,
    View,
)
from scaler.settings.config import Config, LaunchTemplate, Pool, RegisterAt, Registration

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
PREFIX = "main-1a2b3c-"
API, WEB = "acme/api", "acme/web"


def span(text: str) -> timedelta:
    """A duration as the config writes it."""
    return parse(text, timedelta(), timedelta(days=1000))


def pool(name: str = "amd64", **fields: Any) -> Pool:
    """A pool of the design's config, with other fields."""
    base = Pool(
        name=name,
        arch="arm64" if "arm64" in name else "amd64",
        labels=("self-hosted", "linux", "arm64" if "arm64" in name else "x64"),
        launch_template=LaunchTemplate(None, f"runner-{name}", "3"),
        instance_types=(),
        subnets=(),
        markets=(Market.SPOT, Market.ON_DEMAND),
        max=4,
        min_idle=0,
        ephemeral=True,
        registration=Registration.JIT,
        boot_timeout=span("10m"),
        idle_timeout=span("5m"),
        max_lifetime=span("6h"),
    )
    return replace(base, **fields)


def config(*pools: Pool, **fields: Any) -> Config:
    """A config of two repositories and (unless given) the pools amd64 and arm64."""
    base = Config(
        path="config.yaml",
        fleet="main",
        region="us-east-1",
        role=None,
        register_at=RegisterAt.REPOSITORY,
        organization=None,
        runner_group=None,
        repositories=(API, WEB),
        max_runners=40,
        pools=pools or (pool("amd64"), pool("arm64")),
        allow_public=False,
        tags={},
        warnings=(),
    )
    return replace(base, **fields)


@dataclass(frozen=True)
class Piece:
    """Something to put into a world."""

    jobs: tuple[Job, ...] = ()
    runners: tuple[Runner, ...] = ()
    instances: tuple[Instance, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    unseen: tuple[Unseen, ...] = ()


def job(
    number: int = 1, *, repository: str = API, labels: str = "self-hosted x64", age: str = "1m", **fields: Any
) -> Piece:
    """A queued job."""
    base = Job(
        id=number,
        repository=repository,
        run_id=100 + number,
        name=f"job-{number}",
        labels=frozenset(labels.split()),
        status=JobStatus.QUEUED,
        created_at=NOW - span(age),
    )
    return Piece(jobs=(replace(base, **fields),))


def jobs(count: int, *, start: int = 1, **fields: Any) -> Piece:
    """Several queued jobs."""
    return Piece(jobs=tuple(each for n in range(start, start + count) for each in job(n, **fields).jobs))


def instance(
    name: str = "i-1", *, age: str = "1m", scope: str | None = API, slot: int | None = 0, **fields: Any
) -> Piece:
    """An instance without a runner."""
    base = Instance(name, "amd64", slot, InstanceState.RUNNING, NOW - span(age), scope=scope)
    return Piece(instances=(replace(base, **fields),))


def runner(
    name: str,
    *,
    online: bool = True,
    busy: bool = False,
    scope: str = API,
    number: int = 7,
    labels: str = "self-hosted linux x64",
) -> Piece:
    """The runner of an instance."""
    return Piece(runners=(Runner(number, PREFIX + name, scope, online, busy, frozenset(labels.split())),))


def booting(name: str = "i-1", *, scope: str | None = API, **fields: Any) -> Piece:
    """An instance that was handed over (with a scope), so that GitHub has the record of its runner, offline."""
    alone = instance(name, scope=scope, **fields)
    return alone if scope is None else both(alone, runner(name, online=False, scope=scope))


def idle(
    name: str = "i-1",
    *,
    since: str | None = None,
    age: str = "20m",
    scope: str = API,
    labels: str = "self-hosted linux x64",
    **fields: Any,
) -> Piece:
    """An instance whose runner is online and not busy; `since` is its idle-since tag's age."""
    piece = instance(name, age=age, scope=scope, idle_since=None if since is None else NOW - span(since), **fields)
    number = int(name.rsplit("-", maxsplit=1)[-1])
    return both(piece, runner(name, scope=scope, number=number, labels=labels))


def working(name: str = "i-1", *, age: str = "20m", busy: bool = True, **fields: Any) -> Piece:
    """An instance whose runner is named by a running job; `busy` is what GitHub's flag says."""
    running = job(900, status=JobStatus.IN_PROGRESS, runner_name=PREFIX + name)
    return both(instance(name, age=age, **fields), runner(name, busy=busy), running)


def ghost(name: str = "i-9", *, scope: str = API) -> Piece:
    """A runner of ours, offline, without an instance."""
    return runner(name, online=False, scope=scope, number=9)


def parameter(name: str = "i-1", *, age: str = "1m", scope: str = API) -> Piece:
    """An instance's registration secret that is still there."""
    return Piece(parameters=(Parameter(f"/runner-scaler/main/{name}", name, NOW - span(age), scope),))


def unseen(view: View, scope: str = "", *, denied: bool = False) -> Piece:
    """A view that could not be seen whole."""
    return Piece(unseen=(Unseen(view, scope, "said no", denied=denied),))


def both(*pieces: Piece) -> Piece:
    """Several pieces as one."""
    return Piece(
        tuple(j for p in pieces for j in p.jobs),
        tuple(r for p in pieces for r in p.runners),
        tuple(i for p in pieces for i in p.instances),
        tuple(x for p in pieces for x in p.parameters),
        tuple(u for p in pieces for u in p.unseen),
    )


def world(*pieces: Piece, **fields: Any) -> Snapshot:
    """A snapshot of these pieces."""
    whole = both(*pieces)
    return Snapshot(NOW, PREFIX, whole.jobs, whole.runners, whole.instances, whole.parameters, whole.unseen, **fields)
