"""The rules of `decide`, a row each: the world before, the commands after."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from scaler.decide import decide
from scaler.deciding.lifecycle import GHOST_MEMORY
from scaler.deciding.memory import remember
from scaler.deciding.offerings import offerings
from scaler.deciding.standing import is_ours
from scaler.model import (
    Breaker,
    Down,
    InstanceState,
    JobStatus,
    Launch,
    Link,
    LinkState,
    Market,
    Memory,
    Outcome,
    Plan,
    Reason,
    Removal,
    Result,
    Snapshot,
    Subject,
    Tag,
    Terms,
    Up,
    View,
)
from scaler.settings.config import Config, RegisterAt, Registration
from scaler.settings.schedule import Schedule
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

CONFIG = config()


def brief(plan: Plan) -> list[str]:
    """Each command in a word or two: `launch amd64/0 acme/api`, `drain i-1`."""
    told = []
    for command in plan.commands:
        verb = type(command).__name__.lower()
        if isinstance(command, Launch):
            told.append(f"{verb} {command.pool}/{command.slot} {command.scope}")
            continue
        target = (
            getattr(command, "instance_id", "") or getattr(command, "runner_name", "") or getattr(command, "name", "")
        )
        key = f" {command.key}={'' if command.value is None else 'now'}" if isinstance(command, Tag) else ""
        force = " force" if getattr(command, "force", False) else ""
        told.append(f"{verb} {target}{key}{force}")
    return told


def case(rule: str, snapshot: Snapshot, *expected: str, config: Config = CONFIG, memory: Memory | None = None) -> Any:
    """A row of the table."""
    return pytest.param(config, snapshot, memory or Memory(), list(expected), id=rule)


def refused(age: str, *markets: Market) -> Memory:
    """EC2 had no capacity for pool amd64 in these markets (both), so long ago."""
    names = (name for market in markets or Market for name in offerings(CONFIG.pools[0], market).values())
    return Memory(refused=dict.fromkeys(names, NOW - span(age)))


HELD: Any = {"hold": True}
SEEN = Memory(ghosts={PREFIX + "i-9": NOW - span("5m")})
WORKING_HOURS, AT_NIGHT = ((Schedule(f"0 {hour} * * *", "UTC", span("8h"), 1),) for hour in (8, 22))
ORGANIZATION = config(register_at=RegisterAt.ORGANIZATION, organization="acme")
DEMAND = [
    case("nothing queued, nothing done", world()),
    case("a queued job is launched for", world(job()), "launch amd64/0 acme/api"),
    case("each queued job counts once", world(jobs(3)), *(f"launch amd64/{n} acme/api" for n in range(3))),
    case("a job in progress is no demand", world(job(status=JobStatus.IN_PROGRESS, runner_name="macbook"))),
    case("a job held by GitHub is no demand", world(job(status=JobStatus.WAITING), job(2, status=JobStatus.PENDING))),
    case("labels are a subset of the pool's", world(job(labels="self-hosted arm64")), "launch arm64/0 acme/api"),
    case("a label nobody carries is never launched for", world(job(labels="self-hosted gpu"))),
    case("a GitHub-hosted job is not ours", world(job(labels="ubuntu-latest"))),
    case("a job without labels fits no pool", world(job(labels=""))),
    case("a job of a repository outside the config is no demand", world(job(repository="acme/other"))),
    case(
        "a job of a repository outside the config hides no other",
        world(job(repository="acme/other"), job(2)),
        "launch amd64/0 acme/api",
    ),
    case("a public repository is refused", world(job(), public=frozenset({API}))),
    case(
        "a public repository is served when allowed",
        world(job(), public=frozenset({API})),
        "launch amd64/0 acme/api",
        config=config(allow_public=True),
    ),
    case(
        "a job of a repository that the runner group does not serve is not launched for",
        world(job(), served=frozenset({WEB})),
    ),
    case("a job queued for more than 24 h is given up", world(job(age="25h"))),
    *(
        case(
            f"a job whose date cannot be ({what}) is taken as new",
            world(job(created_at=date)),
            "launch amd64/0 acme/api",
        )
        for what, date in (
            ("none", None),
            ("1970", datetime(1970, 1, 1, tzinfo=UTC)),
            ("the future", NOW + span("1h")),
        )
    ),
    case(
        "a job whose date cannot be comes after one that surely waits",
        world(job(1, labels="arm64", created_at=datetime(1970, 1, 1, tzinfo=UTC)), job(2), job(3, labels="arm64")),
        "launch amd64/0 acme/api",
        "launch arm64/0 acme/api",
        config=config(max_runners=2),
    ),
    case(
        "the pool with the fewest labels comes first",
        world(job(labels="x64")),
        "launch small/0 acme/api",
        config=config(pool("big", labels=("x64", "linux", "big")), pool("small", labels=("x64", "linux"))),
    ),
    case(
        "a full pool spills into the next that fits",
        world(jobs(2, labels="x64")),
        "launch small/0 acme/api",
        "launch big/0 acme/api",
        config=config(pool("big", labels=("x64", "linux", "big")), pool("small", labels=("x64",), max=1)),
    ),
]
SUPPLY = [
    case("a booting instance serves demand first", world(job(), booting())),
    case("an idle runner serves demand first", world(job(), idle(since="1m"))),
    case("a busy runner serves nobody", world(job(), working()), "launch amd64/1 acme/api"),
    case(
        "an idle runner of another scope serves nobody here",
        world(job(repository=WEB), idle(since="1m")),
        "launch amd64/1 acme/web",
    ),
    case(
        "an idle runner of another pool serves nobody here",
        world(job(labels="self-hosted arm64"), idle(since="1m")),
        "launch arm64/0 acme/api",
    ),
    case(
        "the job that no runner covers is launched for, not the newest",
        world(job(1, labels="self-hosted arm64", age="9m"), job(2, age="1m"), idle(since="1m")),
        "launch arm64/0 acme/api",
    ),
    case(
        "of two records of one name the one that is online is the runner",
        world(job(), idle(since="1m"), runner("i-1", online=False, number=8)),
    ),
    case(
        "an idle runner that was launched with fewer labels than its pool has by now is no supply",
        world(job(labels="self-hosted linux x64"), idle(since="1m", labels="self-hosted linux")),
        "launch amd64/1 acme/api",
    ),
    case("an offline ghost is no supply", world(job(), ghost()), "launch amd64/0 acme/api"),
    case(
        "what a pattern stands for is launched for",
        world(job(repository="acme/new"), repositories=(API, "acme/new")),
        "launch amd64/0 acme/new",
        config=config(patterns=("acme/*",)),
    ),
    case("an instance that has its scope is handed to nobody else", world(job(), booting(age="5m"))),
    case(
        "an instance without a scope of which not all was seen is handed to nobody",
        world(job(repository=WEB), instance(scope=None, age="3m"), unseen(View.RUNNERS, API)),
    ),
    case("an instance without a scope yet serves any", world(job(repository=WEB), booting(scope=None, age="89s"))),
    case(
        "an instance handed to nobody is handed over after 90 s",
        world(job(repository=WEB), booting(scope=None, age="90s")),
        "handover i-1",
    ),
    case("an instance that cannot be seen may serve", world(job(), booting(), unseen(View.RUNNERS, API))),
    case(
        "a JIT instance whose runner has come and gone is no supply",
        world(job(), instance()),
        "launch amd64/1 acme/api",
    ),
    case(
        "a token's instance without a runner may yet register",
        world(job(), instance()),
        config=config(pool(registration=Registration.TOKEN)),
    ),
    case("a draining instance is no supply", world(job(), booting(draining_since=NOW)), "launch amd64/1 acme/api"),
    case(
        "a picky job is not robbed by one that has a choice",
        world(
            job(1, labels="x64", age="9m"),
            job(2, labels="x64 big"),
            idle("i-1", since="1m", pool="big", labels="x64 big"),
        ),
        "launch small/0 acme/api",
        config=config(pool("small", labels=("x64",)), pool("big", labels=("x64", "big"))),
    ),
]
CAPS = [
    case("a pool never exceeds its max", world(jobs(9)), *(f"launch amd64/{n} acme/api" for n in range(4))),
    case(
        "the fleet never exceeds max_runners",
        world(jobs(9), booting("i-5", pool="arm64", scope=WEB)),
        "launch amd64/0 acme/api",
        config=config(max_runners=2),
    ),
    case("an occupied slot is not filled", world(jobs(2), booting()), "launch amd64/1 acme/api"),
    case(
        "an instance without a slot still counts against max",
        world(jobs(3), booting(scope=WEB, slot=None)),
        "launch amd64/0 acme/api",
        config=config(pool(max=2)),
    ),
    case(
        "every repository's oldest job comes first",
        world(jobs(3, age="9m"), job(9, repository=WEB, age="1m")),
        "launch amd64/0 acme/api",
        "launch amd64/1 acme/web",
        config=config(pool(max=2)),
    ),
    case(
        "the turn of a repository comes again after every other's",
        world(job(1, age="9m"), job(2, age="8m"), job(3, age="7m"), jobs(2, start=4, repository=WEB)),
        *(f"launch amd64/{slot} {scope}" for slot, scope in enumerate((API, WEB, API, WEB))),
    ),
    case(
        "instances without slots fill a pool",
        world(job(), booting(scope=WEB, slot=None), booting("i-2", scope=WEB, slot=None)),
        config=config(pool(max=2)),
    ),
    case(
        "the hour's budget bounds launches",
        world(job()),
        config=config(max_runners=4),
        memory=Memory(launches={NOW - span("10m"): 80}),
    ),
    case(
        "an hour later the budget is whole again",
        world(job()),
        "launch amd64/0 acme/api",
        config=config(max_runners=4),
        memory=Memory(launches={NOW - span("61m"): 80}),
    ),
    case(
        "an open breaker stops its pool and no other",
        world(job(), job(2, labels="arm64")),
        "launch arm64/0 acme/api",
        memory=Memory(breakers={"amd64": Breaker(3, NOW - span("1h"), NOW - span("5m"))}),
    ),
    case(
        "after the pause an open breaker lets one launch through",
        world(jobs(3)),
        "launch amd64/0 acme/api",
        memory=Memory(breakers={"amd64": Breaker(3, NOW - span("2h"), NOW - span("31m"))}),
    ),
    case(
        "what EC2 refused a short while ago is not asked for again",
        world(job()),
        memory=refused("2m"),
    ),
    case(
        "a job whose pool has no capacity goes to another pool that fits",
        world(job(labels="self-hosted")),
        "launch arm64/0 acme/api",
        memory=refused("2m"),
    ),
    case(
        "three minutes later it is asked for again",
        world(job()),
        "launch amd64/0 acme/api",
        memory=refused("3m"),
    ),
    case(
        "min_idle asks for nothing that was refused either",
        world(),
        config=config(pool(min_idle=1)),
        memory=refused("2m"),
    ),
    case(
        "who asks by hand asks for what was refused too",
        world(asked=(Up("amd64", API, 1),)),
        "launch amd64/0 acme/api",
        memory=refused("2m"),
    ),
    case(
        "a slot that another launch seems to hold comes last",
        world(job()),
        "launch amd64/1 acme/api",
        memory=Memory(links={"amd64/0": Link(7, NOW - span("1m"), LinkState.TAKEN)}),
    ),
    case(
        "a slot that another launch held for boot_timeout is as free as any",
        world(job()),
        "launch amd64/0 acme/api",
        memory=Memory(links={"amd64/0": Link(7, NOW - span("10m"), LinkState.TAKEN)}),
    ),
    case(
        "min_idle of a full pool keeps no other from its own",
        world(),
        *("launch amd64/0 acme/api", "launch arm64/0 acme/api", "launch arm64/1 acme/web"),
        config=config(pool(min_idle=1, max=1), pool("arm64", min_idle=1)),
    ),
    case(
        "min_idle by schedule is kept ready in its hours",
        world(idle(since="1h")),
        "launch amd64/1 acme/web",
        config=config(pool(min_idle=WORKING_HOURS)),
    ),
    case(
        "min_idle by schedule keeps nothing outside its hours",
        world(idle(since="1h")),
        "drain i-1",
        config=config(pool(min_idle=AT_NIGHT)),
    ),
    case(
        "min_idle is topped up per scope",
        world(idle(since="1m")),
        "launch amd64/1 acme/web",
        config=config(pool(min_idle=1)),
    ),
    case(
        "min_idle keeps nothing ready for a public repository",
        world(public=frozenset({API})),
        "launch amd64/0 acme/web",
        config=config(pool(min_idle=1)),
    ),
    case(
        "a runner that a job counts on is not spare for min_idle",
        world(job(), idle(since="1m")),
        "launch amd64/1 acme/api",
        "launch amd64/2 acme/web",
        config=config(pool(min_idle=1)),
    ),
]
DOWN = [
    case("an idle runner is marked when first seen idle", world(idle()), "tag i-1 idle-since=now"),
    case("an idle runner is kept until idle_timeout", world(idle(since="4m"))),
    case("an idle runner goes after idle_timeout", world(idle(since="5m")), "drain i-1"),
    case(
        "every surplus runner goes, not all but one",
        world(*(idle(f"i-{n}", since="5m", slot=n) for n in range(1, 5))),
        *(f"drain i-{n}" for n in range(1, 5)),
        config=config(pool(max=9)),
    ),
    case("a GitHub-hosted job keeps no runner", world(idle(since="5m"), job(labels="ubuntu-latest")), "drain i-1"),
    case("an idle runner that a queued job could use is kept", world(idle(since="1h"), job())),
    case(
        "an idle runner whose labels are just those of a queued job is kept",
        world(idle(since="1h"), job(labels="self-hosted linux x64")),
    ),
    case(
        "a full pool drains nobody of its own scope early",
        world(job(labels="self-hosted linux x64"), idle(since="4m", labels="self-hosted linux")),
        config=config(pool(max=1)),
    ),
    case(
        "a full pool drains nobody of another pool early",
        world(job(repository=WEB, labels="arm64"), booting("i-9", pool="arm64"), idle(since="4m")),
        config=config(pool(), pool("arm64", max=1)),
    ),
    case(
        "a full fleet drains nobody early",
        world(job(repository=WEB), idle(since="4m")),
        config=config(max_runners=1),
    ),
    case(
        "min_idle keeps the runner that became idle last",
        world(idle("i-1", since="1h"), idle("i-2", since="20m", slot=1), idle("i-3", since="1h", scope=WEB, slot=2)),
        "drain i-1",
        config=config(pool(min_idle=1)),
    ),
    case("a busy runner is never touched", world(working(age="5h"))),
    case(
        "a runner named by a running job is busy whatever its flag says",
        world(working(busy=False, idle_since=NOW - span("1h"))),
        "tag i-1 idle-since=",
    ),
    case(
        "a runner that a waiting job names is not busy for that",
        world(idle(since="5m"), job(labels="gpu", status=JobStatus.WAITING, runner_name=PREFIX + "i-1")),
        "drain i-1",
    ),
    case(
        "taking a job clears idle-since",
        world(both(instance(idle_since=NOW - span("1m")), runner("i-1", busy=True))),
        "tag i-1 idle-since=",
    ),
    case(
        "a full pool drains another scope's idle runner after two minutes",
        world(job(repository=WEB), idle(since="2m")),
        "drain i-1",
        config=config(pool(max=1)),
    ),
    case(
        "a full pool leaves another scope's runner its two minutes",
        world(job(repository=WEB), idle(since="119s")),
        config=config(pool(max=1)),
    ),
    case(
        "a drained instance is given two minutes to end itself",
        world(instance(age="1h", draining_since=NOW - span("119s"))),
    ),
    case(
        "a drained instance that stays is ended",
        world(instance(age="1h", draining_since=NOW - span("2m"))),
        "terminate i-1",
    ),
    case(
        "a drained instance whose job runs is left alone",
        world(working(draining_since=NOW - span("1h"))),
        "tag i-1 draining-since=",
    ),
    case(
        "a drained instance whose runner is still there is taken back",
        world(idle(since="1m", draining_since=NOW - span("1h"))),
        "tag i-1 draining-since=",
    ),
    case(
        "an organization's runners stay when their group serves strangers",
        world(idle(since="1h", scope=API), unseen(View.GROUP, API)),
    ),
]
RECONCILE = [
    case("an instance without a runner is left alone until boot_timeout", world(instance(age="599s"))),
    case("an orphan is marked first", world(instance(age="10m")), "tag i-1 draining-since=now"),
    case(
        "an orphan is ended when it is still one",
        world(instance(age="12m", draining_since=NOW - span("2m"))),
        "terminate i-1",
    ),
    case(
        "an orphan that registers after all is taken back",
        world(idle(since="1m", draining_since=NOW - span("5m"))),
        "tag i-1 draining-since=",
    ),
    case(
        "without a hand-over it is an orphan after half the time",
        world(instance(age="5m", scope=None)),
        "tag i-1 draining-since=now",
    ),
    case(
        "a parameter proves the hand-over, which gives it the whole of boot_timeout",
        world(instance(age="5m", scope=None), parameter()),
        "tag i-1 scope=now",
    ),
    case(
        "an offline runner past boot_timeout is marked",
        world(both(instance(age="10m"), runner("i-1", online=False))),
        "tag i-1 draining-since=now",
    ),
    case("an instance past max_lifetime is ended, busy or not", world(working(age="7h")), "terminate i-1 force"),
    case("an instance gets ten minutes to end itself at max_lifetime", world(working(age="369m"))),
    case("a stopped instance is ended", world(instance(state=InstanceState.STOPPED)), "terminate i-1"),
    case(
        "a hold tag is respected by every path",
        world(
            idle("i-1", since="1h", **HELD),
            instance("i-2", age="9h", slot=1, **HELD),
            instance("i-3", state=InstanceState.STOPPED, slot=2, **HELD),
        ),
    ),
    case(
        "a held instance is not ended, but told whose it is",
        world(
            instance("i-1", age="9h", scope=None, **HELD),
            parameter("i-1"),
            idle("i-2", age="9h", since="1h", slot=1, labels="self-hosted linux x64", **HELD),
        ),
        "tag i-1 scope=now",
    ),
    case("a pool gone from the config drains, and is not ended", world(idle(since="4m", pool="old"))),
    case("a ghost is only remembered when first seen", world(ghost())),
    case(
        "a ghost is deregistered when seen five minutes apart",
        world(ghost()),
        f"deregister {PREFIX}i-9",
        memory=Memory(ghosts={PREFIX + "i-9": NOW - span("5m")}),
    ),
    case(
        "a new instance may be missing from EC2's list for minutes: its runner is no ghost yet",
        world(ghost()),
        memory=Memory(ghosts={PREFIX + "i-9": NOW - span("299s")}),
    ),
    case(
        "a runner that a job names is no ghost",
        world(ghost(), job(labels="gpu", status=JobStatus.IN_PROGRESS, runner_name=PREFIX + "i-9")),
        memory=SEEN,
    ),
    case(
        "a runner that a waiting job names is one all the same",
        world(ghost(), job(labels="gpu", status=JobStatus.WAITING, runner_name=PREFIX + "i-9")),
        f"deregister {PREFIX}i-9",
        memory=SEEN,
    ),
    case(
        "a runner that is none of ours hides no ghost",
        world(runner("macbook", online=False), ghost()),
        f"deregister {PREFIX}i-9",
        memory=SEEN,
    ),
    case("an offline runner whose instance lives is no ghost", world(ghost("i-1"), instance("i-1"))),
    case(
        "a parameter without its instance is swept after five minutes",
        world(parameter(age="5m")),
        "deleteparameter /runner-scaler/main/i-1",
    ),
    case(
        "a parameter of a scope that was not seen is left, and hides no other",
        world(parameter("i-2", age="1h", scope=WEB), parameter(age="1h"), unseen(View.RUNNERS, WEB)),
        "deleteparameter /runner-scaler/main/i-1",
    ),
    case(
        "a parameter that is left hides none that is not",
        world(parameter("i-2", age="4m"), parameter(age="5m")),
        "deleteparameter /runner-scaler/main/i-1",
    ),
    case(
        "a parameter of an instance that registered just now is left to it",
        world(idle(since="1m"), parameter(age="59s")),
    ),
    case(
        "a parameter of an instance that registered is swept after a minute",
        world(idle(since="1m"), parameter(age="1m")),
        "deleteparameter /runner-scaler/main/i-1",
    ),
    case("a parameter whose instance may not be listed yet is left", world(parameter(age="4m"))),
    case(
        "a parameter of a registered instance is swept",
        world(idle(since="1m"), parameter(age="2m")),
        "deleteparameter /runner-scaler/main/i-1",
    ),
    case(
        "a parameter older than half an hour is swept",
        world(instance(age="1m"), parameter(age="30m")),
        "deleteparameter /runner-scaler/main/i-1",
    ),
]
SURPLUS = idle(since="1h")
UNSEEN = [
    case(
        "an instance of unknown scope that cannot be seen is handed to nobody",
        world(job(repository=WEB), instance(age="1m", scope=None), unseen(View.RUNNERS, API)),
    ),
    case(
        "an instance of unknown scope that cannot be seen covers jobs for no longer than it may boot",
        world(job(repository=WEB), instance(age="1h", scope=None), unseen(View.RUNNERS, API)),
        "launch amd64/1 acme/web",
    ),
    case(
        "the queue of a repository outside the config unseen: nothing is drained there",
        world(idle(since="1h", scope="acme/old"), unseen(View.QUEUE, "acme/old")),
    ),
    case(
        "the runners of a repository outside the config unseen: nothing is drained there",
        world(idle(since="1h", scope="acme/old"), unseen(View.RUNNERS, "acme/old")),
    ),
    case(
        "an organization's runners are drained when all its queues were seen",
        world(idle(since="1h", scope="acme")),
        "drain i-1",
        config=ORGANIZATION,
    ),
    case(
        "a queue of an organization unseen: none of its runners is drained",
        world(idle(since="1h", scope="acme"), unseen(View.QUEUE, API)),
        config=ORGANIZATION,
    ),
    case("clocks apart: no parameter is swept", world(parameter(age="1h"), unseen(View.CLOCK))),
    case(
        "another scope's shallow look keeps no ghost",
        world(ghost(), shallow=frozenset({WEB})),
        f"deregister {PREFIX}i-9",
        memory=SEEN,
    ),
    case("a shallow look of its own scope keeps a ghost", world(ghost(), shallow=frozenset({API})), memory=SEEN),
    case(
        "a parameter in a scope of a shallow look hides no other",
        world(parameter("i-2", age="1h", scope=WEB), parameter(age="1h"), shallow=frozenset({WEB})),
        "deleteparameter /runner-scaler/main/i-1",
    ),
    case("a shallow look drains nothing", world(SURPLUS, deep=False)),
    case("a shallow look drains nothing in its own scope", world(SURPLUS, shallow=frozenset({API}))),
    case("another scope's shallow look does not matter", world(SURPLUS, shallow=frozenset({WEB})), "drain i-1"),
    case("a shallow look ends no orphan", world(instance(age="1h", draining_since=NOW - span("1h")), deep=False)),
    case(
        "another scope's shallow look keeps no orphan",
        world(instance(age="1h", draining_since=NOW - span("1h")), shallow=frozenset({WEB})),
        "terminate i-1",
    ),
    case(
        "past max_lifetime an instance is ended though its repository cannot be seen",
        world(instance(age="7h"), unseen(View.RUNNERS, API)),
        "terminate i-1 force",
    ),
    case("clocks apart: no age counts, max_lifetime neither", world(instance(age="7h"), unseen(View.CLOCK))),
    case("runners unseen: nothing is drained there", world(SURPLUS, unseen(View.RUNNERS, API))),
    case("a queue unseen: nothing is drained there", world(SURPLUS, unseen(View.QUEUE, API))),
    case("another scope unseen: this one goes on", world(SURPLUS, unseen(View.RUNNERS, WEB)), "drain i-1"),
    case("clocks apart: nothing is drained", world(SURPLUS, unseen(View.CLOCK))),
    case(
        "runners that the token may not see: nothing is launched for them, as none could be registered",
        world(job(), job(2, repository=WEB), unseen(View.RUNNERS, API, denied=True)),
        "launch amd64/0 acme/web",
    ),
    case(
        "runners that the token may not see: min_idle keeps nothing ready for them",
        world(unseen(View.RUNNERS, API, denied=True)),
        "launch amd64/0 acme/web",
        config=config(pool(min_idle=1)),
    ),
    case("instances unseen: nothing is launched", world(job(), unseen(View.INSTANCES))),
    case(
        "instances unseen: min_idle launches nothing",
        world(unseen(View.INSTANCES)),
        config=config(pool(min_idle=1)),
    ),
    case(
        "a ghost in a scope that was not seen hides no other",
        world(ghost("i-8", scope=WEB), ghost(), unseen(View.RUNNERS, WEB)),
        f"deregister {PREFIX}i-9",
        memory=Memory(ghosts={PREFIX + name: NOW - span("1h") for name in ("i-8", "i-9")}),
    ),
    case(
        "instances unseen: no ghost is deregistered",
        world(ghost(), unseen(View.INSTANCES)),
        memory=Memory(ghosts={PREFIX + "i-9": NOW - span("1h")}),
    ),
    case(
        "a group that serves strangers: no ghost is deregistered, and none of another scope's is kept for that",
        world(ghost(), ghost("i-8", scope=WEB), unseen(View.GROUP, API)),
        f"deregister {PREFIX}i-8",
        memory=Memory(ghosts={PREFIX + name: NOW - span("1h") for name in ("i-8", "i-9")}),
    ),
    case(
        "a group that serves strangers: no parameter is swept, and none of another scope's is kept for that",
        world(parameter(age="1h"), parameter("i-2", age="1h", scope=WEB), unseen(View.GROUP, API)),
        "deleteparameter /runner-scaler/main/i-2",
    ),
    case(
        "one queue of an organization was not seen: an idle runner there may be wanted by it",
        world(idle(since="1h", scope="acme"), unseen(View.QUEUE, API)),
        config=ORGANIZATION,
    ),
    case(
        "all of an organization's queues were seen: an idle runner there is drained",
        world(idle(since="1h", scope="acme")),
        "drain i-1",
        config=ORGANIZATION,
    ),
    case("runners of nowhere seen: an idle one is left alone", world(idle(since="1h"), unseen(View.RUNNERS))),
    case(
        "parameters unseen: what has no scope may have been handed over, and has all of boot_timeout",
        world(instance(scope=None, age="6m"), unseen(View.PARAMETERS)),
    ),
    case(
        "a group of which nobody knows whom it serves: no parameter is swept",
        world(parameter(age="1h"), unseen(View.GROUP)),
    ),
    case(
        "a pattern that was not seen: nothing is ended in what it may stand for",
        world(
            idle(scope="acme/new", since="1h", age="2h"),
            parameter(age="1h", scope="acme/new"),
            unseen(View.REPOSITORIES, "acme/*"),
        ),
        config=config(patterns=("acme/*",)),
    ),
    case(
        "clocks that disagree: no parameter is swept, whosever it is",
        world(parameter(age="1h", scope=""), parameter("i-2", age="1h"), unseen(View.CLOCK)),
    ),
    case("instances unseen: no parameter is swept", world(parameter(age="1h"), unseen(View.INSTANCES))),
    case(
        "runners unseen: no ghost is deregistered",
        world(ghost(), unseen(View.RUNNERS, API)),
        memory=Memory(ghosts={PREFIX + "i-9": NOW - span("1h")}),
    ),
    case(
        "runners unseen: no orphan is ended",
        world(instance(age="1h", draining_since=NOW - span("1h")), unseen(View.RUNNERS, API)),
    ),
    case(
        "an unseen scope of an instance that was handed to nobody: left alone",
        world(instance(age="1h", scope=None), unseen(View.RUNNERS, WEB)),
    ),
]


@pytest.mark.parametrize(
    ("config", "snapshot", "memory", "expected"), [*DEMAND, *SUPPLY, *CAPS, *DOWN, *RECONCILE, *UNSEEN]
)
def test_commands(config: Config, snapshot: Snapshot, memory: Memory, expected: list[str]) -> None:
    """The plan holds exactly the commands that the rules ask for."""
    assert expected == brief(decide(config, snapshot, memory))


@pytest.mark.parametrize(
    ("config", "snapshot", "memory", "expected"), [*DEMAND, *SUPPLY, *CAPS, *DOWN, *RECONCILE, *UNSEEN]
)
def test_every_job_and_instance_has_one_verdict(
    config: Config, snapshot: Snapshot, memory: Memory, expected: list[str]
) -> None:
    del expected
    verdicts = decide(config, snapshot, memory).verdicts
    ours = sorted(str(j.id) for j in snapshot.jobs if j.repository in (snapshot.repositories or config.repositories))
    assert ours == sorted(v.id for v in verdicts if v.subject is Subject.JOB)
    assert sorted(i.id for i in snapshot.instances) == sorted(v.id for v in verdicts if v.subject is Subject.INSTANCE)
    assert all(v.sentence for v in verdicts)


REASONS = [
    pytest.param(
        world(job(labels="self-hosted gpu")), Reason.NO_POOL, 'lacks "gpu"', id="no pool: the nearest and what it lacks"
    ),
    pytest.param(world(job(labels="ubuntu-latest")), Reason.HOSTED, "GitHub's own runners", id="hosted"),
    pytest.param(world(job(), booting()), Reason.BOOTING_RUNNER, "i-1 has been booting for 1m00s", id="booting"),
    pytest.param(world(job(), idle(since="1m")), Reason.IDLE_RUNNER, "i-1 is idle", id="idle"),
    pytest.param(
        world(job(), jobs(4, start=2, age="9m")),
        Reason.POOL_FULL,
        "at max (0 alive, 4 launching, of 4)",
        id="pool full",
    ),
    pytest.param(world(job(), public=frozenset({API})), Reason.PUBLIC, "allow_public", id="public"),
    pytest.param(world(job(), unseen(View.INSTANCES)), Reason.SUPPLY_UNSEEN, "nothing is launched blind", id="blind"),
    pytest.param(
        world(job(), unseen(View.RUNNERS, API, denied=True)), Reason.SUPPLY_UNSEEN, "may not manage", id="denied"
    ),
    pytest.param(
        world(job(created_at=datetime(1970, 1, 1, tzinfo=UTC))),
        Reason.LAUNCHING,
        "unknown age, taken as new: created_at is 1970-01-01T00:00:00Z",
        id="an odd date",
    ),
    pytest.param(
        world(job(created_at=None)),
        Reason.LAUNCHING,
        "unknown age, taken as new: created_at is nothing that can be read",
        id="no date",
    ),
]


@pytest.mark.parametrize(("snapshot", "reason", "words"), REASONS)
def test_a_waiting_job_is_told_why(snapshot: Snapshot, reason: Reason, words: str) -> None:
    verdict = next(v for v in decide(CONFIG, snapshot, Memory()).verdicts if v.id == "1")
    assert reason is verdict.reason
    assert words in verdict.sentence


def test_a_market_that_was_refused_is_left_out_and_a_used_link_keeps_its_terms() -> None:
    """A slot that looks free may hold an instance: EC2 tells only on the terms that its link was used with (D3)."""
    used = Terms(Market.SPOT, frozenset({"abcdef"}))
    links = {"amd64/0": Link(7, NOW - span("1m"), terms=used), "amd64/1": Link(7, NOW - span("20m"), terms=used)}
    memory = replace(refused("1m", Market.SPOT), links=links)
    recent, old = (c for c in decide(CONFIG, world(jobs(2)), memory).commands if isinstance(c, Launch))
    assert (recent.link, recent.before, recent.terms) == (7, used, (Terms(Market.ON_DEMAND),))
    assert (old.link, old.before, old.terms) == (8, None, (Terms(Market.ON_DEMAND),))


def test_three_launches_that_never_registered_open_the_breaker() -> None:
    orphans = [booting(f"i-{n}", slot=n, age="20m", draining_since=NOW - span("5m")) for n in range(3)]
    memory = decide(CONFIG, world(*orphans), Memory()).memory
    assert memory.breakers == {"amd64": Breaker(3, NOW - span("20m"), NOW)}


def test_a_jit_runner_that_was_never_online_counts_when_its_machine_ended_itself() -> None:
    """Its record stays; a runner that did its job leaves none."""
    row = {"amd64": Breaker(0, NOW - span("20m"), launched=1)}
    plan = decide(CONFIG, world(ghost()), Memory(ghosts={PREFIX + "i-9": NOW - span("5m")}, breakers=row))
    (command,) = plan.commands
    removed = remember(plan.memory, [Outcome(command, Result.DONE, Removal.REMOVED)], NOW)
    assert removed.breakers == {"amd64": replace(row["amd64"], failures=1)}
    for elsewhere in (Outcome(command, Result.DONE, Removal.GONE), Outcome(command, Result.FAILED, "500")):
        assert remember(plan.memory, [elsewhere], NOW).breakers == row  # another tick counts it, or the next


def test_failures_hours_apart_are_no_row() -> None:
    orphan = booting(age="20m", draining_since=NOW - span("5m"))
    memory = Memory(breakers={"amd64": Breaker(2, NOW - span("3h"))})
    assert decide(CONFIG, world(orphan), memory).memory.breakers["amd64"].failures == 3
    memory = Memory(breakers={"amd64": Breaker(2, NOW - span("181m"))})
    assert decide(CONFIG, world(orphan), memory).memory.breakers == {"amd64": Breaker(1, NOW - span("20m"), None)}


@pytest.mark.parametrize(("age", "failures"), [("19m", None), ("20m", 1), ("21m", 1)])
@pytest.mark.parametrize("name", ["amd64", "old"])
def test_an_orphan_is_no_failure_when_one_that_was_launched_later_registered(
    name: str, age: str, failures: int | None
) -> None:
    """An image that serves some machines is not to blame for one that hangs."""
    orphan = booting(age="20m", pool=name, draining_since=NOW - span("5m"))
    breakers = decide(CONFIG, world(orphan, working("i-2", age=age, slot=1, pool=name)), Memory()).memory.breakers
    assert {key: breaker.failures for key, breaker in breakers.items()} == ({name: failures} if failures else {})


def test_an_orphan_is_no_failure_before_it_is_ended() -> None:
    assert decide(CONFIG, world(booting(age="20m")), Memory()).memory.breakers == {}


def test_a_row_of_failures_began_with_the_oldest_launch() -> None:
    orphans = [booting(f"i-{n}", slot=n, age=f"{20 - n}m", draining_since=NOW - span("5m")) for n in range(3)]
    assert decide(CONFIG, world(*orphans), Memory()).memory.breakers == {"amd64": Breaker(3, NOW - span("20m"), NOW)}


def test_failures_hours_apart_are_no_row_in_a_pool_that_is_gone_either() -> None:
    orphan = booting(age="20m", pool="old", draining_since=NOW - span("5m"))
    memory = Memory(breakers={"old": Breaker(2, NOW - span("181m"))})
    assert decide(CONFIG, world(orphan), memory).memory.breakers == {"old": Breaker(1, NOW - span("20m"))}
    memory = Memory(breakers={"old": Breaker(3, NOW - span("181m"), NOW - span("2h"))})
    assert decide(CONFIG, world(orphan), memory).memory.breakers == {"old": Breaker(4, NOW - span("181m"), NOW)}


def test_a_jit_instance_whose_runner_came_and_went_is_no_failure() -> None:
    leaving = instance(age="20m", draining_since=NOW - span("5m"))
    assert decide(CONFIG, world(leaving), Memory()).memory.breakers == {}


def test_a_later_launch_that_registers_closes_the_breaker() -> None:
    memory = Memory(breakers={"amd64": Breaker(3, NOW - span("1h"), NOW - span("40m"))})
    assert decide(CONFIG, world(working(age="5m")), memory).memory.breakers == {}


def test_an_older_runner_does_not_close_the_breaker() -> None:
    memory = Memory(breakers={"amd64": Breaker(3, NOW - span("1h"), NOW - span("40m"))})
    assert decide(CONFIG, world(working(age="2h")), memory).memory.breakers == memory.breakers


LINKS = [
    pytest.param(None, 20780 * 10_000, id="without a hint the day's first link"),
    pytest.param(Link(41, NOW - span("1m")), 41, id="a link used just now is asked again"),
    pytest.param(
        Link(20780 * 10_000 + 41, NOW - span("10m")),
        20780 * 10_000 + 42,
        id="a link whose slot was seen empty later is spent",
    ),
    pytest.param(Link(41, NOW - span("599s")), 41, id="a link is asked again while a list may lack its instance"),
    pytest.param(Link(41, NOW - span("30h")), 42, id="a new day does not make a chain jump"),
    pytest.param(Link(41, NOW, LinkState.SPENT), 42, id="a link that launched nothing is not asked again"),
    pytest.param(Link(41, NOW, LinkState.TAKEN), 41, id="a link that is taken is asked again for boot_timeout"),
]


@pytest.mark.parametrize(("link", "expected"), LINKS)
def test_the_link_of_a_slot(link: Link | None, expected: int) -> None:
    one = config(pool(max=1, boot_timeout=span("1m")))
    (launch,) = decide(one, world(job()), Memory(links={"amd64/0": link} if link else {})).commands
    assert isinstance(launch, Launch)
    assert expected == launch.link


def test_a_slot_that_the_memory_does_not_know_starts_where_it_says() -> None:
    """Two ticks on either side of midnight choose alike."""
    first = decide(CONFIG, world(), Memory()).memory
    (launch,) = decide(CONFIG, replace(world(job()), now=NOW + span("23h")), first).commands
    assert isinstance(launch, Launch)
    assert launch.link == first.start == 20780 * 10_000


UNREAD = [
    pytest.param(world(job(), unseen(View.STATE)), id="a job"),
    pytest.param(world(unseen(View.STATE), asked=(Up("amd64", API, 1),)), id="up"),
]


@pytest.mark.parametrize("snapshot", UNREAD)
def test_nothing_is_launched_while_nothing_is_known_of_the_slots_links(snapshot: Snapshot) -> None:
    """Another tick may know them, and fill the same slot under another token."""
    unknown = decide(CONFIG, snapshot, Memory())
    assert unknown.commands == ()
    assert [verdict.reason for verdict in unknown.verdicts] == [Reason.SUPPLY_UNSEEN]
    known = decide(CONFIG, snapshot, Memory(start=7))
    assert brief(known) == ["launch amd64/0 acme/api"]


BY_HAND = [
    case(
        "up launches what was asked, whatever is queued",
        world(job(), asked=(Up("arm64", WEB, 2),)),
        "launch arm64/0 acme/web",
        "launch arm64/1 acme/web",
    ),
    case(
        "up launches what fits", world(asked=(Up("amd64", API, 9),)), *(f"launch amd64/{n} acme/api" for n in range(4))
    ),
    case("up launches nothing for a public repository", world(asked=(Up("amd64", API, 1),), public=frozenset({API}))),
    case("down ends an idle instance", world(idle(), asked=(Down("i-1"),)), "terminate i-1"),
    case("down refuses a busy one", world(working(), asked=(Down("i-1"),))),
    case(
        "down refuses one that a job names though its flag says idle", world(working(busy=False), asked=(Down("i-1"),))
    ),
    case("down with force ends a busy one", world(working(), asked=(Down("i-1", force=True),)), "terminate i-1 force"),
    case("down refuses what is not ours", world(asked=(Down("i-7"),), strangers=frozenset({"i-7"}))),
    case("down of what is gone has nothing to do", world(asked=(Down("i-7"),))),
    case("down respects a hold tag, force or not", world(idle(**HELD), asked=(Down("i-1", force=True),))),
    case(
        "up launches nothing where GitHub's runners cannot be seen",
        world(unseen(View.RUNNERS, API), asked=(Up("amd64", API, 1), Up("amd64", WEB, 1))),
        "launch amd64/0 acme/web",
    ),
    case("down does not end what it cannot see", world(idle(), unseen(View.QUEUE, API), asked=(Down("i-1"),))),
]


@pytest.mark.parametrize(("config", "snapshot", "memory", "expected"), BY_HAND)
def test_by_hand(config: Config, snapshot: Snapshot, memory: Memory, expected: list[str]) -> None:
    assert expected == brief(decide(config, snapshot, memory))


def test_up_for_a_pool_that_is_not_there_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="no pool old"):
        decide(CONFIG, world(asked=(Up("old", API, 1),)), Memory())


@pytest.mark.parametrize("turns", [{"shallow": frozenset({API})}, {"deferred": frozenset({API})}], ids=str)
def test_a_ghost_that_may_not_have_been_looked_for_is_kept_for_twenty_minutes(turns: dict[str, Any]) -> None:
    ghosts = {PREFIX + "i-8": NOW - GHOST_MEMORY, PREFIX + "i-9": NOW - GHOST_MEMORY + span("1s")}
    plan = decide(CONFIG, world(**turns), Memory(ghosts=ghosts))
    assert plan.memory.ghosts == {PREFIX + "i-9": NOW - GHOST_MEMORY + span("1s")}


def test_a_ghost_is_remembered_since_it_was_first_seen_and_until_it_is_gone() -> None:
    seen = decide(CONFIG, world(ghost()), Memory()).memory
    assert seen.ghosts == {PREFIX + "i-9": NOW}
    later = replace(world(ghost()), now=NOW + span("1m"))
    assert decide(CONFIG, later, seen).memory.ghosts == seen.ghosts
    assert decide(CONFIG, world(), seen).memory.ghosts == {}


def test_a_job_that_has_a_choice_makes_way_for_one_that_has_none() -> None:
    """The older job likes the first pool best, and that pool's idle runner is all that the younger one can use."""
    ab, ax, by = (pool(name, labels=tuple(name)) for name in ("ab", "ax", "by"))
    choosy, picky = job(1, labels="a", age="9m"), job(2, labels="b")
    there = (idle("i-1", pool="ab", labels="a b"), idle("i-2", pool="ax", slot=1, labels="a x"))
    plan = decide(config(ab, ax, by), world(choosy, picky, *there), Memory())
    assert not any(isinstance(command, Launch) for command in plan.commands)
    told = {verdict.id: verdict.reason for verdict in plan.verdicts if verdict.subject is Subject.JOB}
    assert told == {"1": Reason.IDLE_RUNNER, "2": Reason.IDLE_RUNNER}


def test_of_two_jobs_that_have_a_choice_one_makes_way() -> None:
    ab, ax, by = (pool(name, labels=tuple(name)) for name in ("ab", "ax", "by"))
    choosy, picky = jobs(2, labels="a", age="9m"), job(3, labels="b")
    fits_all = [idle(f"i-{n}", pool="ab", slot=n, labels="a b") for n in (1, 2)]
    there = (*fits_all, idle("i-3", pool="ax", labels="a x"))
    plan = decide(config(ab, ax, by), world(choosy, picky, *there), Memory())
    assert not any(isinstance(command, Launch) for command in plan.commands)


def test_what_is_done_by_hand_leaves_the_memory_as_it_is() -> None:
    memory = Memory(ghosts={PREFIX + "i-9": NOW}, start=7)
    assert decide(CONFIG, world(asked=(Down("i-1"),)), memory).memory == memory


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        (PREFIX + "i-0123456789abcdef", True),
        (PREFIX + "i-9", True),
        (PREFIX + "i-9z", False),
        (PREFIX + "i-z9", False),
        (PREFIX + "i-X", False),
        (PREFIX + "macbook", False),
        (PREFIX + "ab99", False),
        ("other-i-9", False),
        ("i-9", False),
        ("ab99", False),
    ],
)
def test_a_runner_is_ours_by_our_prefix_and_an_instance_id_alone(name: str, *, ours: bool) -> None:
    assert is_ours(world(), name) is ours


def test_the_same_world_gives_the_same_plan() -> None:
    snapshot = world(jobs(5), idle(since="1h", scope=WEB), ghost(), parameter(age="1h"))
    assert decide(CONFIG, snapshot, Memory()) == decide(CONFIG, replace(snapshot), Memory())
