"""
Fail static: every read of a tick, failing in every way, in a world where each scope holds one of each thing to end.

In the scope that could not be seen nothing is ended, and the journal of the world is the judge; the others' work goes
on; the exit code is 4 (3 for a token or a permission), and the summary says what could not be seen. The one exception
is an instance past its max_lifetime.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from scaler.exits import Exit, exit_code
from scaler.model import Tick, Unavailable
from scaler.reporting.page import markdown
from scaler.reporting.report import as_json
from scaler.sandbox.aws.settings import Consistency
from scaler.sandbox.github.faults import Fault, FaultKind
from scaler.sandbox.github.state import JobSpec
from simulation.oracle import TAG
from simulation.wire import Tap
from simulation.world import Simulation
from tests.leftovers import AT_AN_ORGANIZATION, KINDS, Leftovers, leftovers

API, WEB, ORG = "acme/api", "acme/web", "acme"
NOTHING: set[str] = set()

pytestmark = pytest.mark.lies


def judged(world: Leftovers, tap: Tap | None = None) -> tuple[Tick, dict[str, set[str]]]:
    """One tick, and what it ended by scope."""
    before = len(list(world.sim.journal))
    tick = world.sim.tick(tap)
    assert tick is not None
    return tick, world.ended(before)


def says(world: Leftovers, tick: Tick, view: str, scope: str) -> bool:
    """Whether the summary and the document name what could not be seen."""
    escaped = scope.replace("_", "\\_")
    in_summary = f"**Not seen**: {view} {escaped}".rstrip() in markdown(tick, world.sim.config)
    return in_summary and f'"view": "{view}"' in as_json(tick)


@pytest.mark.parametrize(
    ("text", "scopes"), [(None, (API, WEB)), (AT_AN_ORGANIZATION, (ORG,))], ids=["repositories", "organization"]
)
def test_a_healthy_tick_ends_all_of_it(text: str | None, scopes: tuple[str, ...]) -> None:
    world = leftovers(text) if text else leftovers()
    tick, ended = judged(world)
    assert ended == {scope: set(KINDS) for scope in scopes}
    assert exit_code(tick) is Exit.OK
    assert world.sim.oracle.broken == []


# --- GitHub --------------------------------------------------------------------------------------

RUN_LISTS = {
    f"runs {status}": (r"/actions/runs$", f"status={status}(&|$)", "queue")
    for status in ("queued", "in_progress", "waiting", "pending", "requested")
}
READS = {
    **RUN_LISTS,
    "jobs": (r"/actions/runs/\d+/jobs$", "", "queue"),
    "runners": (r"/actions/runners$", "", "runners"),
}
ORG_READS = {
    "runners": (r"^/orgs/acme/actions/runners$", "", "runners"),
    "groups": (r"^/orgs/acme/actions/runner-groups$", "", "runner group"),
    "group repositories": (r"^/orgs/acme/actions/runner-groups/1/repositories$", "", "runner group"),
    "runs queued": (r"^/repos/acme/api/actions/runs$", "status=queued", "queue"),
    "jobs": (r"^/repos/acme/api/actions/runs/\d+/jobs$", "", "queue"),
}
WAYS: dict[str, tuple[Fault | dict[str, Any], int]] = {
    "500": (Fault(FaultKind.STATUS, value=500), 4),
    "502 by a proxy": (Fault(FaultKind.HTML), 4),
    "200 by a proxy": (Fault(FaultKind.HTML, value=200), 4),
    "half an answer": (Fault(FaultKind.TRUNCATED), 4),
    "no answer": (Fault(FaultKind.LOST), 4),
    "the hour's requests are used up": (Fault(FaultKind.PRIMARY), 4),
    "a secondary limit": (Fault(FaultKind.SECONDARY), 4),
    "429": (Fault(FaultKind.THROTTLE), 4),
    "401": (Fault(FaultKind.STATUS, value=401), 3),
    "403": (Fault(FaultKind.STATUS, value=403), 3),
    "404": (Fault(FaultKind.STATUS, value=404), 4),
    "one row too few": (Fault(FaultKind.COUNT, value=1), 4),
    "one row too many": (Fault(FaultKind.COUNT, value=-1), 4),
    "{}": ({}, 4),
    "no rows, but a count": ({"total_count": 1}, 4),
    "rows that are null": ({"total_count": 1, "ROWS": None}, 4),
    "rows that are an object": ({"total_count": 1, "ROWS": {}}, 4),
    "rows that are text": ({"total_count": 1, "ROWS": ["x"]}, 4),
    "a count that is text": ({"total_count": "1", "ROWS": []}, 4),
    "a count that is true": ({"total_count": True, "ROWS": [{"id": 1}]}, 4),
    "a negative count": ({"total_count": -1, "ROWS": []}, 4),
}
LIMITS = {FaultKind.PRIMARY, FaultKind.SECONDARY, FaultKind.THROTTLE}
"""Those are of the token, whatever it asked for: nothing more is asked until they are over."""
KEYS = {
    "queue": "workflow_runs",
    "jobs": "jobs",
    "runners": "runners",
    "groups": "runner_groups",
    "group repositories": "repositories",
}
ODD: dict[str, list[dict[str, Any]]] = {
    "jobs": [{"status": "frozen"}, {"id": "7"}, {"run_id": None}, {"status": None}],
    "runners": [{"status": "sleeping"}, {"busy": None}, {"busy": "no"}, {"id": "7"}, {"status": 1}],
    "groups": [{"id": "7"}],
}


def at(world: Leftovers, read: tuple[str, str, str], name: str, way: Fault | dict[str, Any], scope: str) -> Tap:
    """Have a read fail in a way, in one scope."""
    path = read[0] if read[0].startswith("^") else f"^/repos/{scope}{read[0]}"
    if isinstance(way, Fault):
        world.sim.github.fault(replace(way, path=path, query=read[1], times=None))
        return Tap(world.sim.clock)
    key = KEYS.get(name, "workflow_runs")
    body = {key if part == "ROWS" else part: value for part, value in way.items()}
    asked = re.compile(f"GET {path.strip('^$')}\\?.*{read[1]}")
    return Tap(world.sim.clock, rewrite=lambda call, answer: body if asked.search(call) else answer)


def cases(reads: dict[str, tuple[str, str, str]]) -> list[Any]:
    """Every read in every way."""
    rows = [pytest.param(n, w, code, id=f"{n}: {how}") for n in reads for how, (w, code) in WAYS.items()]
    odd = [(n, each) for n, found in ODD.items() if n in reads for each in found]
    return rows + [pytest.param(n, Fault(FaultKind.ODD, odd=each), 4, id=f"{n}: {each}") for n, each in odd]


@pytest.mark.parametrize(("name", "way", "code"), cases(READS))
def test_what_github_does_not_show_of_a_repository_is_left_alone_there_alone(
    name: str, way: Fault | dict[str, Any], code: int
) -> None:
    world = leftovers()
    tick, ended = judged(world, at(world, READS[name], name, way, API))
    limited = isinstance(way, Fault) and way.kind in LIMITS
    assert ended == {API: NOTHING, WEB: NOTHING if limited else KINDS}
    assert exit_code(tick) == code
    assert says(world, tick, READS[name][2], API)


@pytest.mark.parametrize(("name", "way", "code"), cases(ORG_READS))
def test_what_github_does_not_show_of_an_organization_is_left_alone(
    name: str, way: Fault | dict[str, Any], code: int
) -> None:
    world = leftovers(AT_AN_ORGANIZATION)
    tick, ended = judged(world, at(world, ORG_READS[name], name, way, ORG))
    assert ended == {ORG: NOTHING}
    assert exit_code(tick) == code
    assert says(world, tick, ORG_READS[name][2], API if ORG_READS[name][2] == "queue" else ORG)


def crowded(world: Leftovers, name: str) -> None:
    """More than a page of rows that are no business of ours."""
    github = world.sim.github
    with world.sim.clock.lock:
        if name == "runners":
            group = github.runners.groups(API)[0]
            for number in range(120):
                github.runners.mint_jit(API, f"macbook-{number}", ["self-hosted"], group, "http://x")
        elif name == "jobs":
            github.push(API, [JobSpec("many", ("gpu",), matrix=tuple(str(number) for number in range(120)))])
        else:
            for _ in range(120):
                github.push(API, [])  # a run without jobs is queued for ever
    world.sim.advance(seconds=5)


@pytest.mark.parametrize("name", ["runs queued", "jobs", "runners"])
def test_pages_that_shift_while_they_are_read_are_no_list(name: str) -> None:
    """The row that moved to the front is never seen, another one twice (terraform-aws-github-runner#4584)."""
    world = leftovers()
    crowded(world, name)
    tick, ended = judged(world, at(world, READS[name], name, Fault(FaultKind.SHIFT), API))
    assert ended == {API: NOTHING, WEB: KINDS}
    assert exit_code(tick) is Exit.DEGRADED
    assert says(world, tick, READS[name][2], API)
    world.sim.heal()
    # The ghost was lost sight of, and is watched anew.
    assert judged(world)[1] == {API: KINDS - {"ghost"}, WEB: NOTHING}


def test_an_empty_list_of_runners_is_not_believed_while_one_of_ours_was_seen_idle() -> None:
    world = leftovers()
    tick, ended = judged(world, at(world, READS["runners"], "runners", Fault(FaultKind.EMPTY), API))
    assert ended == {API: NOTHING, WEB: KINDS}
    assert exit_code(tick) is Exit.DEGRADED
    assert says(world, tick, "runners", API)


@pytest.mark.parametrize("serves", [("acme/api",), ("acme/api", "acme/web", "acme/secret")], ids=["fewer", "strangers"])
def test_a_runner_group_that_serves_somebody_else_stops_every_end(serves: tuple[str, ...]) -> None:
    """A stranger's job is not seen: its machine may be offline for a moment, and would pass for an orphan (D7)."""
    world = leftovers(AT_AN_ORGANIZATION)
    world.sim.github.add_repository("acme/secret")
    world.sim.github.add_group("acme", "Default", visibility="selected", repositories=serves)
    tick, ended = judged(world)
    strangers = "acme/secret" in serves
    assert ended == {ORG: NOTHING if strangers else KINDS}
    assert exit_code(tick) == (4 if strangers else 0)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        pytest.param(way, code, id=how)
        for how, (way, code) in WAYS.items()
        if isinstance(way, Fault) and way.kind is not FaultKind.COUNT
    ],
)
def test_with_github_gone_nothing_is_ended_anywhere(fault: Fault, code: int) -> None:
    world = leftovers()
    world.sim.github.fault(replace(fault, times=None))
    before = len(list(world.sim.journal))
    if fault.kind is FaultKind.LOST:
        # No answer at all, so no `Date` either, and the question for the rate limit has none: there is no tick.
        with pytest.raises(Unavailable):
            world.sim.tick()
    else:
        tick = world.sim.tick()
        assert tick is not None
        assert exit_code(tick) == code
    assert world.ended(before) == {API: NOTHING, WEB: NOTHING}


# --- AWS -----------------------------------------------------------------------------------------

AWS_WAYS: dict[str, tuple[dict[str, Any], int]] = {
    "an internal error": ({"code": "InternalError", "status": 500}, 4),
    "unavailable": ({"code": "Unavailable", "status": 503}, 4),
    "a bare 500": ({"kind": "http500"}, 4),
    "no connection": ({"kind": "drop-before"}, 4),
    "an answer that is lost": ({"kind": "drop-after"}, 4),
    "throttled": ({"code": "RequestLimitExceeded", "status": 503}, 4),
    "denied": ({"code": "UnauthorizedOperation", "status": 403}, 3),
    "expired credentials": ({"code": "ExpiredToken", "status": 400}, 3),
}
AWS_ANSWERS: dict[str, list[Any]] = {
    "ec2:DescribeInstances": [
        {},
        {"Reservations": None},
        {"Reservations": [{}]},
        {"Reservations": [{"Instances": [{}]}]},
        {"Reservations": [{"Instances": [{"InstanceId": "i-0", "State": {"Name": "frozen"}}]}]},
    ],
    "ssm:DescribeParameters": [{}, {"Parameters": None}, {"Parameters": [{}]}, {"Parameters": [{"Name": 7}]}],
    "ssm:GetParameter": [{}, {"Parameter": None}],
}
LEFT: dict[str, tuple[str, set[str]]] = {
    # What is unseen, and what of it all is left alone then. A ghost is known by the memory alone.
    "ec2:DescribeInstances": ("instances", set(KINDS)),
    "ssm:DescribeParameters": ("parameters", {"parameter"}),
    "ssm:GetParameter": ("state", {"ghost"}),
}
AWS_CASES = [pytest.param(a, way, code, id=f"{a}: {how}") for a in LEFT for how, (way, code) in AWS_WAYS.items()]
AWS_CASES += [pytest.param(a, each, 4, id=f"{a}: {each}") for a, found in AWS_ANSWERS.items() for each in found]


@pytest.mark.parametrize(("action", "way", "code"), AWS_CASES)
def test_what_aws_does_not_show_is_left_alone(action: str, way: dict[str, Any], code: int) -> None:
    world = leftovers()
    world.sim.push("amd64")
    tap = Tap(world.sim.clock)
    if way.keys() & {"code", "kind"}:
        world.sim.aws.fail(action, times=None, **way)
    else:
        tap.rewrite = lambda call, answer: way if call == action else answer
    launched = world.sim.oracle.counts.launched
    tick, ended = judged(world, tap)
    view, left = LEFT[action]
    assert ended == {API: KINDS - left, WEB: KINDS - left}
    assert exit_code(tick) == code
    assert says(world, tick, view, "")
    if view == "instances":
        assert world.sim.oracle.counts.launched == launched


def test_an_empty_list_of_instances_is_not_believed_while_a_runner_of_ours_is_online() -> None:
    world = leftovers()
    empty: dict[str, Any] = {"Reservations": []}
    tap = Tap(world.sim.clock, rewrite=lambda call, answer: empty if call == "ec2:DescribeInstances" else answer)
    tick, ended = judged(world, tap)
    assert ended == {API: NOTHING, WEB: NOTHING}
    assert exit_code(tick) is Exit.DEGRADED
    assert says(world, tick, "instances", "")


def test_a_new_instance_that_ec2_does_not_list_for_minutes_loses_neither_runner_nor_secret() -> None:
    """Its record looks like a ghost's and its parameter like a stale one's (AWS docs: eventual consistency)."""
    sim = Simulation()
    sim.boxes.manners.boot_delay = 200.0
    sim.aws.settings = replace(sim.aws.settings, consistency=Consistency(instances=270.0))
    run = sim.push(minutes=60)
    sim.ticks(10, every=30)
    assert sim.journal.of("runner.removed") == []
    assert run.current[0].status == "in_progress"
    assert sim.oracle.counts.launched == 1


def test_parameters_unseen_do_not_shorten_the_time_to_boot_of_an_instance_whose_scope_tag_is_late() -> None:
    """The parameter alone tells that it was handed over; without it, it would get half of boot_timeout."""
    sim = Simulation()
    sim.boxes.manners.boot_delay = 480.0
    run = sim.push(minutes=60)
    sim.aws.fail("ec2:CreateTags", code="InternalError", times=None)
    sim.tick()
    sim.aws.faults.clear()
    sim.aws.fail("ssm:DescribeParameters", code="InternalError", times=None)
    sim.aws.fail("ec2:CreateTags", code="InternalError", times=3)
    sim.ticks(20, every=30)
    assert run.current[0].status == "in_progress"
    assert sim.oracle.counts.launched == 1


@pytest.mark.parametrize("tagged", [True, False])
@pytest.mark.parametrize("lag", [0.0, 120.0, 1200.0])
def test_a_parameter_that_ssm_lists_late_is_neither_put_twice_nor_missed(lag: float, *, tagged: bool) -> None:
    """Where its scope tag could not be written, the parameter alone tells whose the instance is, once it is listed."""
    sim = Simulation()
    sim.aws.settings = replace(sim.aws.settings, parameters=replace(sim.aws.settings.parameters, lag=lag))
    if not tagged:
        sim.aws.fail("ec2:CreateTags", code="InternalError", times=1)
    sim.boxes.manners.boot_delay = 100.0
    run = sim.push(minutes=30)
    sim.ticks(6, every=30)
    assert run.current[0].status == "in_progress"
    assert sim.oracle.counts.launched == 1
    puts = [entry for entry in sim.journal.of("parameter.put") if "/i-" in entry.facts["name"]]
    assert len(puts) == 1


# --- the exception -------------------------------------------------------------------------------


@pytest.mark.parametrize("held", [False, True], ids=["", "held"])
@pytest.mark.parametrize(("minutes", "goes"), [(9, False), (11, True)])
def test_an_instance_ten_minutes_past_its_max_lifetime_is_ended_whatever_could_not_be_seen(
    minutes: int, *, goes: bool, held: bool
) -> None:
    """EC2 alone tells its age. The machine's own limit comes first; one that hangs has none."""
    sim = Simulation()
    sim.push(minutes=600)
    sim.ticks(3)
    (number,) = sim.oracle.alive()
    sim.boxes.boxes[number]._disarm("lifetime")
    if held:
        with sim.clock.lock:
            instance = sim.aws.ec2.get(number)
            assert instance is not None
            sim.aws.ec2.retag(number, {**instance.tags, f"{TAG}hold": ""}, "hand")
    launched = sim.oracle.alive()[number].at
    sim.clock.advance((launched + timedelta(hours=6, minutes=minutes) - sim.clock.now()).total_seconds())
    sim.github.fault(Fault(FaultKind.STATUS, path="^/repos/", times=None))
    sim.tick()
    assert (number not in sim.oracle.alive()) == (goes and not held)
    assert sim.oracle.broken == []
