"""
What a plan says of everything, word by word, and all that each of its commands carries: `told.txt`, to be read.

After a change that is meant: `.venv-dev/bin/python -m tests.test_told`, and read the difference.
"""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from scaler.decide import decide
from scaler.deciding.offerings import offerings
from scaler.model import (
    Breaker,
    Command,
    Down,
    EndedJob,
    Image,
    Instance,
    InstanceState,
    JobStatus,
    Link,
    LinkState,
    Loss,
    Market,
    Memory,
    RunEnd,
    Snapshot,
    Terms,
    Up,
    Verdict,
    View,
)
from scaler.settings.config import Config
from tests.worlds import (
    API,
    NOW,
    PREFIX,
    WEB,
    booting,
    both,
    config,
    ghost,
    idle,
    instance,
    job,
    jobs,
    parameter,
    pool,
    runner,
    span,
    unseen,
    working,
    world,
)

TOLD = Path(__file__).with_name("told.txt")
CONFIG = config()
TWELVE = " ".join(f"l{number:02}" for number in range(12))


def told(thing: Verdict | Command) -> str:
    """A verdict or command as one line: every field, and the sentence at its end."""
    names = (each.name for each in fields(thing) if each.name not in ("reason", "sentence"))
    parts = [type(thing).__name__.lower(), *(_shown(getattr(thing, name)) for name in names)]
    return f"{' '.join(parts)}; {thing.reason}: {thing.sentence}"


def _shown(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value:%H:%M:%S}"
    if isinstance(value, tuple):
        return ",".join(map(_shown, value))
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, Terms):
        return f"{value.market.value}{'-' * len(value.skipped)}"
    return "-" if value == "" else str(value).replace(PREFIX, "~")


Row = tuple[str, Config, Snapshot, Memory]


def row(rule: str, snapshot: Snapshot, *, config: Config = CONFIG, memory: Memory | None = None) -> Row:
    """A world, and what is special about it."""
    return rule, config, snapshot, memory or Memory()


def stopped_breaker(minutes: str) -> Memory:
    """Three launches never registered; the pool was stopped so long ago."""
    return Memory(breakers={"amd64": Breaker(3, NOW - span("3h"), NOW - span(minutes))})


def no_capacity(minutes: str, *markets: Market) -> Memory:
    """EC2 refused pool amd64 in these markets (both) so long ago."""
    names = (name for market in markets or Market for name in offerings(CONFIG.pools[0], market).values())
    return Memory(refused=dict.fromkeys(names, NOW - span(minutes)))


def machine_gone(why: str) -> Snapshot:
    """A running job whose machine has ended."""
    running = job(status=JobStatus.IN_PROGRESS, runner_name=f"{PREFIX}i-1")
    return world(running, gone=(Instance("i-1", "amd64", 0, InstanceState.TERMINATED, NOW, ended_by=why),))


LOST = Memory(lost={f"{API}#1": Loss(101, 1, "amd64", NOW - span("15m"))})
JOBS = [
    row("launched for", world(job(workflow="ci", url="https://x/1"))),
    row("launched for under a known link", world(job()), memory=Memory(links={"amd64/0": Link(7, NOW - span("1m"))})),
    row(
        "launched for under the link after a spent one",
        world(job()),
        memory=Memory(links={"amd64/0": Link(7, NOW - span("1m"), LinkState.SPENT)}),
    ),
    row("covered by an idle runner", world(job(), idle(since="1m"))),
    row("covered by a booting runner", world(job(), booting())),
    row("covered by one that cannot be seen", world(job(), booting(), unseen(View.RUNNERS, API))),
    row("running", world(job(status=JobStatus.IN_PROGRESS, runner_name="macbook"))),
    row("running on a machine that EC2 took back", machine_gone("Server.SpotInstanceTermination")),
    row("running on a machine that somebody ended", machine_gone("Client.UserInitiatedShutdown")),
    row("running on a machine that has powered itself off", machine_gone("Client.InstanceInitiatedShutdown")),
    row(
        "lost, and its run goes on",
        world(ended=(RunEnd(API, 101, 1, over=False, jobs=(EndedJob(1, "job-1", "failure"),)),)),
        config=config(pool(rerun_lost=True)),
        memory=LOST,
    ),
    row(
        "lost, and run again",
        world(ended=(RunEnd(API, 101, 1, over=True, jobs=(EndedJob(1, "job-1", "failure"),)),)),
        config=config(pool(rerun_lost=True)),
        memory=LOST,
    ),
    row(
        "lost, and cancelled",
        world(ended=(RunEnd(API, 101, 1, over=True, jobs=(EndedJob(1, "job-1", "cancelled"),)),)),
        config=config(pool(rerun_lost=True)),
        memory=LOST,
    ),
    row(
        "lost beside others that failed",
        world(
            ended=(RunEnd(API, 101, 1, True, "failure", tuple(EndedJob(n, f"job-{n}", "failure") for n in (1, 2, 3))),)
        ),
        config=config(pool(rerun_lost=True)),
        memory=Memory(lost={f"{API}#{n}": Loss(101, 1, "amd64", NOW - span("15m")) for n in (1, 2)}),
    ),
    row("running somewhere", world(job(status=JobStatus.IN_PROGRESS))),
    row("not ready", world(job(status=JobStatus.WAITING))),
    row("hosted", world(job(labels="ubuntu-24.04"))),
    row("self-hosted, whatever else its labels say", world(job(labels="self-hosted ubuntu-latest"))),
    row("no labels", world(job(labels=""))),
    row("twelve labels are told", world(job(labels=TWELVE))),
    row("thirteen labels are not", world(job(labels=TWELVE + " l12"))),
    row("the nearest pool is told", world(job(labels="linux arm64 gpu"))),
    row("public", world(job(), public=frozenset({API}))),
    row("denied", world(job(), unseen(View.RUNNERS, API, denied=True))),
    row("outside the runner group", world(job(), served=frozenset({WEB})), config=config(runner_group="own")),
    row("outside the group that runners are in by default", world(job(), served=frozenset({WEB}))),
    row(
        "in the runner group, whose names are in lower case", world(job(repository="Acme/API"), served=frozenset({API}))
    ),
    row("too old", world(job(age="24h"), job(2, age="1441m"))),
    row("dated at the very first day", world(job(created_at=datetime(2018, 10, 16, tzinfo=UTC)))),
    row("dated just within what a clock may be off", world(job(created_at=NOW + span("5m")))),
    row("dated beyond what a clock may be off", world(job(created_at=NOW + span("301s")))),
    row("the pool is full", world(job(repository=WEB), working()), config=config(pool(max=1))),
    row("the pool is full with this tick's launches", world(jobs(2), working()), config=config(pool(max=2))),
    row("the fleet is full", world(job(), working("i-1", pool="arm64")), config=config(max_runners=1)),
    row("the fleet is full with this tick's launches", world(jobs(2)), config=config(max_runners=1)),
    row("the breaker is open", world(job()), memory=stopped_breaker("5m")),
    row("the breaker's trial is out", world(jobs(2)), memory=stopped_breaker("30m")),
    row("no capacity", world(job(), job(2, age="11m")), memory=no_capacity("1m")),
    row("no capacity on spot", world(job()), memory=no_capacity("1m", Market.SPOT)),
    row("no capacity a while ago", world(job()), memory=no_capacity("3m")),
    row("the hour's budget is spent", world(job()), memory=Memory(launches={NOW - span("59m"): 800})),
    row("the state may not be read", world(job(), unseen(View.STATE, denied=True))),
    row(
        "the state may not be read, but the chains are known",
        world(job(), unseen(View.STATE, denied=True)),
        memory=Memory(start=207800000),
    ),
    row("blind", world(jobs(2), unseen(View.INSTANCES))),
    row("ready for min_idle", world(), config=config(pool(min_idle=1), repositories=(API,))),
]
INSTANCES = [
    row("handed over", world(job(), instance(age="90s", scope=None))),
    row("handed to nobody yet", world(instance(age="89s", scope=None), job())),
    row("booting", world(booting(age="2m"))),
    row("unknown", world(booting(), unseen(View.QUEUE, API))),
    row("runs a job", world(working(idle_since=NOW, draining_since=NOW))),
    row("busy by its flag", world(both(instance(), runner("i-1", busy=True)))),
    row("idle at first", world(idle())),
    row("idle, and taken back from draining", world(idle(since="6m", draining_since=NOW - span("3m")))),
    row("idle", world(idle(since="4m"))),
    row("idle, in a pool that is gone", world(idle(since="4m", pool="old"))),
    row("wanted", world(idle(since="9m"), job())),
    row("kept by min_idle", world(idle(since="9m")), config=config(pool(min_idle=1), repositories=(API,))),
    row("surplus", world(idle(since="5m"))),
    row("surplus where another starves", world(job(repository=WEB), idle(since="2m")), config=config(pool(max=1))),
    row("its runner group serves strangers", world(idle(since="9m"), unseen(View.GROUP, API))),
    row(
        "of an organization, whose group serves strangers",
        world(idle(since="9m", scope="acme"), unseen(View.GROUP, "acme")),
    ),
    row("a look that was not deep", world(idle(since="9m"), deep=False)),
    row("leaving", world(instance())),
    row("stopped, its runner known", world(booting(state=InstanceState.STOPPED))),
    row(
        "stopped, its runner elsewhere",
        world(both(instance(state=InstanceState.STOPPED), runner("i-1", scope=WEB))),
    ),
    row("stopped, its runner gone", world(instance(state=InstanceState.STOPPING))),
    row("expired", world(working(age="370m"))),
    row("orphan at first", world(instance(age="10m"))),
    row("orphan", world(instance(age="12m", draining_since=NOW - span("2m")))),
    row("offline at first", world(booting(age="10m"))),
    row("offline", world(booting(age="20m", draining_since=NOW - span("2m")))),
    row("draining", world(instance(age="1m", draining_since=NOW - span("1m")))),
    row("drained, and still there", world(instance(age="9m", draining_since=NOW - span("3m")))),
    row("held", world(idle(since="9m", hold=True))),
    row("told whose it is", world(both(instance(age="1m", scope=None), runner("i-1", scope=WEB)))),
    row(
        "told whose it is before it is drained",
        world(both(instance(idle_since=NOW - span("9m"), scope=None), runner("i-1"))),
    ),
]
GHOSTS = Memory(ghosts={PREFIX + "i-8": NOW - span("9m"), PREFIX + "i-9": NOW - span("2m")})
OTHERS = [
    row(
        "an image whose runner program ages",
        world(
            idle(since="1m", image="ami-1"), images=(Image("ami-1", "2.336.0", NOW, told=True, until=NOW + span("5d")),)
        ),
    ),
    row(
        "an image that may not be seen", world(idle(since="1m", image="ami-1"), images=(Image("ami-1", why="denied"),))
    ),
    row("a ghost at first", world(ghost())),
    row(
        "a ghost",
        world(ghost()),
        memory=Memory(
            ghosts={PREFIX + "i-9": NOW - span("301s")}, breakers={"amd64": Breaker(0, NOW - span("20m"), launched=1)}
        ),
    ),
    row("a ghost that a shallow look does not look for", world(deep=False), memory=GHOSTS),
    row("a parameter without an instance", world(parameter(age="6m"))),
    row("a parameter that was used", world(booting(age="2m"), parameter(age="1m"), runner("i-1"))),
    row(
        "an old parameter of an instance of nobody",
        world(instance(age="1m", scope=None), parameter(age="30m", scope="")),
    ),
    row("an old parameter", world(booting(), parameter(age="31m"))),
]
BY_HAND = [
    row("up", world(asked=(Up("amd64", API, 3), Up("arm64", WEB, 1))), config=config(pool(max=1), pool("arm64"))),
    row("up, blind", world(unseen(View.INSTANCES), asked=(Up("amd64", API, 1),))),
    row("up, its runners unseen", world(unseen(View.RUNNERS, API), asked=(Up("amd64", API, 1),))),
    row("up, public", world(asked=(Up("amd64", API, 1), Up("amd64", WEB, 1)), public=frozenset({API}))),
    row("down", world(idle(), asked=(Down("i-1"),))),
    row("down of one that is nobody's yet, by force", world(instance(scope=None), asked=(Down("i-1", force=True),))),
    row("down, and one that is busy", world(working(), idle("i-2", slot=1), asked=(Down("i-1"), Down("i-2")))),
    row(
        "down of one that its flag calls busy", world(both(instance(), runner("i-1", busy=True)), asked=(Down("i-1"),))
    ),
    row(
        "down of a stopped one that cannot be seen",
        world(instance(state=InstanceState.STOPPED), unseen(View.QUEUE, API), asked=(Down("i-1"),)),
    ),
    row("down, unknown", world(idle(), unseen(View.QUEUE, API), asked=(Down("i-1"),))),
    row("down, held", world(idle(hold=True), asked=(Down("i-1"),))),
    row("down of a stranger", world(asked=(Down("i-7"),), strangers=frozenset({"i-7"}))),
    row("down of what is gone", world(asked=(Down("i-7"),))),
    row("down, blind", world(unseen(View.INSTANCES), asked=(Down("i-7"),))),
    row("up and down at once", world(idle(), asked=(Up("amd64", API, 1), Down("i-1"))), memory=stopped_breaker("40m")),
]


ROWS = [*JOBS, *INSTANCES, *OTHERS, *BY_HAND]


def plan_told(config: Config, snapshot: Snapshot, memory: Memory) -> str:
    """All that a plan says, a line each."""
    plan = decide(config, snapshot, memory)
    return "".join(f"{told(thing)}\n" for thing in (*plan.verdicts, *plan.commands))


@pytest.mark.parametrize(("rule", "config", "snapshot", "memory"), [pytest.param(*each, id=each[0]) for each in ROWS])
def test_everything_is_told(rule: str, config: Config, snapshot: Snapshot, memory: Memory) -> None:
    expected = dict(part.split("\n", 1) for part in TOLD.read_text().split("## ")[1:])
    assert plan_told(config, snapshot, memory) == expected[rule].rstrip("\n") + "\n"


def test_no_row_is_left_over() -> None:
    rules = [line.removeprefix("## ") for line in TOLD.read_text().splitlines() if line.startswith("## ")]
    assert rules == [each[0] for each in ROWS]


if __name__ == "__main__":
    parts = (f"## {rule}\n{plan_told(config, snapshot, memory)}" for rule, config, snapshot, memory in ROWS)
    TOLD.write_text("\n".join(parts))
