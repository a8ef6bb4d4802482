"""
Breaker and budget: what a pool that never registers costs, that it stops, says why, and recovers by itself.

Whole days in virtual time; the single decisions are rows of tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from scaler.decide import decide
from scaler.deciding.breaker import UNPROVEN
from scaler.deciding.memory import remember
from scaler.deciding.room import LAUNCHES_PER_HOUR_AND_SLOT, LAUNCHES_PER_TICK
from scaler.exits import Exit, exit_code
from scaler.model import Breaker, Deregister, JobStatus, Launch, Memory, Outcome, Reason, Result, Snapshot, Up, View
from scaler.sandbox.github.faults import Fault, FaultKind
from scaler.settings.config import Registration
from simulation.boxes import Habit
from simulation.world import CONFIG, Simulation
from tests.worlds import (
    API,
    NOW,
    PREFIX,
    WEB,
    Piece,
    booting,
    both,
    config,
    ghost,
    idle,
    instance,
    job,
    jobs,
    pool,
    runner,
    span,
    unseen,
    working,
    world,
)

BIG = CONFIG.replace("max_runners: 5", "max_runners: 40").replace("    max: 3\n", "    max: 20\n")
BIG = BIG.replace("    max: 2\n", "    max: 20\n")
JIT, TOKEN = "amd64", "arm64"

Breakage = Callable[[Simulation], object]


def habit(what: Habit) -> Breakage:
    def breakage(sim: Simulation) -> None:
        sim.boxes.manners.always = what

    return breakage


def misnamed(sim: Simulation) -> None:
    """The image registers under a name of its own, with a registration token that it was given."""
    register = sim.github.runners.register
    sim.github.runners.register = lambda scope, token, name, *more, **kw: register(  # type: ignore[method-assign]
        scope, token, name.replace("main-", "image-"), *more, **kw
    )


def mislabelled(sim: Simulation) -> None:
    """The image registers without the labels that jobs ask for: it is online, and no job is ever sent to it."""
    register = sim.github.runners.register
    sim.github.runners.register = lambda scope, token, name, _, **kw: register(  # type: ignore[method-assign]
        scope, token, name, ["self-hosted"], **kw
    )


def no_jit(sim: Simulation) -> None:
    sim.github.fault(Fault(FaultKind.STATUS, "generate-jitconfig$", times=None, value=403))


def no_token(sim: Simulation) -> None:
    sim.github.fault(Fault(FaultKind.STATUS, "registration-token$", times=None, value=403))


def mend(sim: Simulation) -> None:
    sim.heal()
    sim.boxes.manners.always = Habit.WELL
    vars(sim.github.runners).pop("register", None)
    sim.aws.iam.denials.clear()


BREAKAGES = [
    pytest.param(name, breakage, most, exits, id=f"{what}, by {'JIT' if name == JIT else 'token'}")
    for what, breakage, most, exits, pools in [
        ("the kernel hangs", habit(Habit.HANGS), UNPROVEN, 5, (JIT, TOKEN)),
        ("the listener is never online", habit(Habit.NEVER_ONLINE), UNPROVEN, 5, (JIT, TOKEN)),
        ("registration is refused, and the machine ends itself", habit(Habit.REFUSED), UNPROVEN, 5, (JIT, TOKEN)),
        ("the runner has another name", misnamed, UNPROVEN, 5, (TOKEN,)),
        ("the runner has other labels", mislabelled, UNPROVEN, 5, (TOKEN,)),
        ("minting is denied", no_jit, UNPROVEN, 5, (JIT,)),
        ("minting is denied", no_token, UNPROVEN, 5, (TOKEN,)),
        ("all puts are denied", lambda sim: sim.aws.iam.deny("ssm:PutParameter"), 0, 3, (JIT, TOKEN)),
        (
            "puts of secrets are denied",
            lambda sim: sim.aws.iam.deny("ssm:PutParameter", resource="*/i-*"),
            UNPROVEN,
            5,
            (JIT, TOKEN),
        ),
        (
            "the state may not be read",
            lambda sim: sim.aws.iam.deny("ssm:GetParameter", principal="*user/*"),
            0,
            3,
            (JIT,),
        ),
    ]
    for name in pools
]


@pytest.mark.parametrize("every", [60, 900], ids=["a watch", "a quarter-hourly tick"])
@pytest.mark.parametrize(("name", "breakage", "most", "exits"), BREAKAGES)
def test_machines_that_never_register_cost_a_few_then_one_each_half_hour_until_they_are_mended(
    name: str, breakage: Breakage, most: int, exits: int, every: int
) -> None:
    sim = Simulation(BIG)
    breakage(sim)
    sim.push(name, jobs=20, minutes=60)
    hours = 2
    codes = [exit_code(tick) for tick in sim.ticks(hours * 3600 // every, every)]
    trials = 0 if most == 0 else hours * 2
    assert sim.oracle.counts.launched <= most + trials
    assert max(counted_before(sim, minutes=20), 0) <= most
    assert codes[-1] == exits
    mend(sim)
    sim.ticks(hours * 3600 // every, every)
    assert [job for job in sim.github.unfinished_jobs() if job.status == "queued"] == []
    # Who registers under another name is nobody's: that an instance of ours runs its job cannot be seen.
    assert breakage is misnamed or sim.oracle.broken == []


def counted_before(sim: Simulation, minutes: int) -> int:
    """How many instances were launched within so long of the first."""
    launched = [entry.at for entry in sim.journal.of("instance.launched")]
    return sum((at - launched[0]).total_seconds() <= minutes * 60 for at in launched)


def test_a_pool_that_is_stopped_says_so_in_the_verdicts_of_its_jobs() -> None:
    sim = Simulation(BIG)
    sim.boxes.manners.always = Habit.REFUSED
    sim.push(TOKEN, jobs=20)
    tick = sim.ticks(15)[-1]
    assert {verdict.reason for verdict in tick.plan.verdicts} == {Reason.BREAKER_OPEN}
    (said,) = {verdict.sentence for verdict in tick.plan.verdicts}
    assert said.startswith("pool arm64 is stopped: 5 launches in a row never registered a runner")


# --- what it costs the healthy -------------------------------------------------------------------


@pytest.mark.parametrize("name", [JIT, TOKEN])
def test_a_new_and_healthy_pool_launches_five_then_all_the_rest_within_a_boot(name: str) -> None:
    sim = Simulation(BIG)
    sim.push(name, jobs=20, minutes=30)
    first = sim.tick()
    assert sim.oracle.counts.launched == UNPROVEN
    assert first is not None
    reasons = [verdict.reason for verdict in first.plan.verdicts]
    assert reasons.count(Reason.UNPROVEN) == 15
    assert exit_code(first) is Exit.OK
    sim.advance(seconds=60)
    sim.tick()
    assert sim.oracle.counts.launched == 20


@pytest.mark.parametrize(("name", "second"), [(JIT, 20), (TOKEN, UNPROVEN)])
def test_a_pool_is_proven_by_jobs_that_were_done_between_two_ticks_where_that_can_be_known(
    name: str, second: int
) -> None:
    """A JIT runner leaves a record unless it did its job. A token's leaves none either way: nothing failed, no proof."""
    sim = Simulation(BIG)
    sim.push(name, jobs=5, minutes=1)
    sim.ticks(1, every=900)
    assert sim.left() == {"instances": [], "runners": [], "parameters": []}
    sim.push(name, jobs=20, minutes=30)
    sim.tick()
    assert sim.oracle.counts.launched == 5 + second


def test_a_proof_lasts_a_day_and_belongs_to_the_launch_template() -> None:
    sim = Simulation(BIG)
    sim.push(JIT, minutes=5)
    sim.ticks(4, every=120)
    sim.advance(hours=23)
    sim.push(JIT, jobs=10)
    sim.tick()
    assert sim.oracle.counts.launched == 1 + 10
    sim.ticks(8, every=120)
    sim.push(JIT, jobs=10)
    edited = Simulation(BIG.replace("runner-amd64, version: 3", "runner-amd64, version: 2")).config
    sim.tick(config=edited)
    assert sim.oracle.counts.launched == 1 + 10 + UNPROVEN


def test_a_lost_state_costs_a_healthy_pool_a_boot_and_no_more() -> None:
    sim = Simulation(BIG)
    sim.push(JIT, jobs=5, minutes=60)
    sim.ticks(3)
    sim.aws.ssm.parameters.pop("/runner-scaler/main/state")
    sim.push(JIT, jobs=15, minutes=60)
    sim.ticks(2)
    assert sim.oracle.counts.launched == 20


def test_ticks_between_which_short_jobs_are_done_never_meet_the_breaker() -> None:
    """Quarter-hourly ticks see none of these runners, for hours on end."""
    for name in (JIT, TOKEN):
        sim = Simulation(BIG)
        for _ in range(40):
            sim.push(name, jobs=4, minutes=1)
            tick = sim.ticks(1, every=900)[0]
            assert exit_code(tick) is Exit.OK
        assert sim.oracle.counts.launched == 160


# --- the budget ----------------------------------------------------------------------------------


def test_no_tick_launches_more_than_its_budget() -> None:
    cfg = config(pool(max=400), max_runners=400)
    proven = Memory(proven={"amd64@runner-amd64:3": NOW})
    plan = decide(cfg, world(jobs(LAUNCHES_PER_TICK + 1)), proven)
    assert len(plan.commands) == LAUNCHES_PER_TICK
    assert [v.reason for v in plan.verdicts].count(Reason.BUDGET_SPENT) == 1


@pytest.mark.parametrize(
    ("before", "age", "launched"), [(78, "10m", 2), (79, "10m", 1), (80, "10m", 0), (80, "60m", 0), (80, "61m", 2)]
)
def test_the_hours_budget_holds_to_the_last_launch(before: int, age: str, launched: int) -> None:
    """A launch is kept by its whole minute: one of 9:00:59 is an hour old at 10:00:59, not at 10:00."""
    memory = Memory(launches={NOW - span(age): before})
    assert LAUNCHES_PER_HOUR_AND_SLOT == 20
    plan = decide(config(max_runners=4), world(jobs(2)), memory)
    assert len(plan.commands) == launched


def test_the_hours_budget_holds_at_every_second_even_for_the_button() -> None:
    """Machines that end themselves at once, so that there are always free slots."""
    sim = Simulation(CONFIG)
    sim.boxes.manners.always = Habit.REFUSED
    for _ in range(250):
        sim.by_hand(Up(TOKEN, WEB, 2))
        sim.advance(seconds=37)
    assert sim.oracle.counts.launched >= 2 * LAUNCHES_PER_HOUR_AND_SLOT * sim.config.max_runners
    assert sim.oracle.broken == []


# --- single decisions ----------------------------------------------------------------------------

BEGUN = NOW - span("20m")
ROW = Breaker(0, BEGUN, None, 3, f"{API}#1")
CFG = config(pool(max=12), pool("arm64", max=12, registration=Registration.TOKEN))
PROVEN = {"amd64@runner-amd64:3": NOW}
GONE = both()


def case(
    what: str, memory: Memory, piece: Piece, breakers: Mapping[str, Breaker], *, proven: bool = False, **fields: Any
) -> Any:
    """A row: what the snapshot makes of the memory's breakers, and whether the pool is proven then."""
    return pytest.param(memory, piece, fields, breakers, proven, id=what)


def row(**changes: Any) -> Memory:
    """Three launches for job 1 twenty minutes ago."""
    return Memory(breakers={"amd64": replace(ROW, **changes)})


def trial(ago: str = "6m", job: str = f"{API}#1", pool: str = "amd64") -> Memory:
    """A stopped pool whose trial was launched some minutes ago."""
    return Memory(breakers={pool: Breaker(3, BEGUN, NOW - span(ago), 4, job)})


def token_row() -> Memory:
    """The same of a pool by token."""
    return Memory(breakers={"arm64": ROW})


def elsewhere() -> Piece:
    """The job runs on somebody else's runner."""
    return job(1, status=JobStatus.IN_PROGRESS, runner_name="macbook")


OPEN = {"amd64": replace(ROW, job="", opened_at=NOW)}
SAME = {"amd64": ROW}
ROWS = [
    case("three that are gone while their job waits open the breaker", row(), job(1), OPEN),
    case("two are not enough", row(launched=2), job(1), {"amd64": replace(ROW, launched=2)}),
    case(
        "so soon they may only be missing from EC2's list", row(since=NOW), job(1), {"amd64": replace(ROW, since=NOW)}
    ),
    case("one that lives may yet register", row(), both(job(1), booting()), SAME),
    case("a runner seen closes it, and proves the pool", row(), both(job(1), working(age="5m")), {}, proven=True),
    case("an older runner does neither", row(), both(job(1), working(age="1h")), SAME),
    case(
        "a runner without the pool's labels does neither",
        row(),
        both(job(1), idle(age="5m", labels="self-hosted")),
        SAME,
    ),
    case("a JIT pool whose job is done and that left no record is proven", row(), GONE, {}, proven=True),
    case("a JIT pool whose job runs elsewhere and that left no record is proven", row(), elsewhere(), {}, proven=True),
    case("a record that was left proves nothing", row(), ghost(), SAME),
    case("a shallow look does not tell that a job is gone", row(), GONE, SAME, deep=False),
    case("another queue's shallow look does not matter", row(), GONE, {}, proven=True, shallow=frozenset({WEB})),
    case("a queue that was not seen does not tell that a job is gone", row(), unseen(View.QUEUE, API), SAME),
    case("another queue does not matter", row(), unseen(View.QUEUE, WEB), {}, proven=True),
    case("runners that were not seen prove nothing", row(), unseen(View.RUNNERS, API), SAME),
    case("instances that were not seen tell nothing", row(), both(job(1), unseen(View.INSTANCES)), SAME),
    case("clocks apart tell nothing", row(), both(job(1), unseen(View.CLOCK)), SAME),
    case("a token pool whose job is gone begins anew, unproven", token_row(), GONE, {}),
    case("a token pool whose job runs elsewhere learns nothing", token_row(), elsewhere(), token_row().breakers),
    case(
        "known failures outlive their job",
        row(failures=1),
        GONE,
        {"amd64": replace(ROW, failures=1, launched=1, job="")},
    ),
    case(
        "launches for min_idle have no job to wait for",
        row(job=""),
        GONE,
        {"amd64": replace(ROW, job="", opened_at=NOW)},
    ),
    case("hours later it is no row", row(since=NOW - span("4h")), job(1), {}),
    case("a trial whose job is done and that left no record proves the pool", trial(), GONE, {}, proven=True),
    case("a trial whose job waits has not shown anything", trial(), job(1), trial().breakers),
    case("a trial that lives may yet register", trial(), booting(scope=WEB), trial().breakers),
    case("a trial of just now may only be missing from EC2's list", trial("4m"), GONE, trial("4m").breakers),
    case("a trial without a job says nothing", trial(job=""), GONE, trial(job="").breakers),
    case("a shallow look says nothing of a trial", trial(), GONE, trial().breakers, deep=False),
    case(
        "another queue's shallow look says as much of a trial", trial(), GONE, {}, proven=True, shallow=frozenset({WEB})
    ),
    case("another pool's machine says nothing of a trial", trial(), instance(pool="arm64"), {}, proven=True),
    case("a job of that number elsewhere is not the trial's", trial(), job(1, repository=WEB), {}, proven=True),
    case("another job of the repository is not the trial's", trial(), job(2), {}, proven=True),
    case("a record that was left by a trial proves nothing", trial(), ghost(), trial().breakers),
    case(
        "a record of another pool's was not left by it",
        trial(),
        runner("i-9", online=False, labels="self-hosted", number=9),
        {},
        proven=True,
    ),
    case("a queue unseen says nothing of a trial", trial(), unseen(View.QUEUE, API), trial().breakers),
    case("runners unseen say nothing of a trial by JIT", trial(), unseen(View.RUNNERS, API), trial().breakers),
    case("a token pool whose trial's job is gone begins anew, unproven", trial(pool="arm64"), GONE, {}),
]


@pytest.mark.parametrize(("memory", "piece", "fields", "breakers", "proven"), ROWS)
def test_what_becomes_of_a_row_of_launches(
    memory: Memory, piece: Piece, fields: dict[str, Any], breakers: Mapping[str, Breaker], *, proven: bool
) -> None:
    after = decide(CFG, world(piece, **fields), memory).memory
    assert after.breakers == breakers
    assert bool(after.proven) == proven


def launches(snapshot: Snapshot, memory: Memory = Memory()) -> int:  # noqa: B008 - a frozen value
    """How many instances a tick would launch."""
    return sum(isinstance(command, Launch) for command in decide(CFG, snapshot, memory).commands)


def test_living_instances_that_have_not_registered_count_though_nobody_remembers_them() -> None:
    """Those of ticks that died before they could count, or of another that runs now."""
    waiting = [booting(f"i-{n}", slot=n, scope=WEB) for n in range(1, 4)]
    assert launches(world(jobs(9), *waiting)) == UNPROVEN - 3
    seen = [idle(f"i-{n}", slot=n, scope=WEB, since="1m") for n in range(1, 4)]
    assert launches(world(jobs(9), *seen)) == UNPROVEN


def test_runners_that_are_online_beside_others_at_work_have_registered() -> None:
    """GitHub's flag may lag: the job of one names it, the record of the other is online."""
    pair = both(working("i-1", scope=WEB), booting("i-2", slot=1, scope=WEB), runner("i-2", scope=WEB, number=8))
    assert launches(world(jobs(9), pair)) == UNPROVEN
    assert launches(world(jobs(9), working("i-1", scope=WEB), booting("i-2", slot=1, scope=WEB))) == UNPROVEN - 1


def test_a_queued_job_that_still_names_a_runner_tells_of_no_registration() -> None:
    """GitHub still names the runner of a job that it has queued again."""
    again = job(10, runner_name=PREFIX + "i-1")
    assert launches(world(jobs(9), again, booting("i-1", scope=WEB))) == UNPROVEN - 1


def test_what_one_pool_remembers_hides_no_other() -> None:
    """A runner of each was seen."""
    memory = Memory(breakers={"amd64": ROW, "arm64": ROW})
    seen = [working(age="5m"), idle("i-2", age="5m", pool="arm64", since="1m", labels="self-hosted linux arm64")]
    assert decide(CFG, world(*seen), memory).memory.breakers == {}


def test_a_proven_pool_launches_no_more_than_its_slots_without_another_registration() -> None:
    memory = Memory(proven=PROVEN)
    assert launches(world(jobs(15)), memory) == 12
    spent = Memory(proven=PROVEN, breakers={"amd64": Breaker(0, NOW - span("1m"), None, 10, f"{API}#1")})
    assert launches(world(jobs(15)), spent) == 2
    failed = Memory(proven=PROVEN, breakers={"amd64": Breaker(1, NOW - span("1m"))})
    assert launches(world(jobs(15)), failed) == UNPROVEN


def test_a_trial_is_counted_when_it_is_launched_so_that_one_that_vanishes_is_not_repeated_at_once() -> None:
    memory = Memory(breakers={"amd64": Breaker(3, BEGUN, NOW - span("31m"), 5, f"{API}#1")})
    (command,) = decide(CFG, world(jobs(3)), memory).commands
    after = remember(memory, [Outcome(command, Result.DONE, instance_id="i-1", link=1)], NOW)
    assert after.breakers["amd64"] == Breaker(3, BEGUN, NOW, 6, f"{API}#1")
    assert launches(world(jobs(3)), after) == 0


def test_what_a_person_asks_for_waits_for_no_first_runner_and_counts_for_none() -> None:
    snapshot = replace(world(), asked=(Up("amd64", API, 9),))
    plan = decide(CFG, snapshot, Memory())
    assert len(plan.commands) == 9
    done = [Outcome(command, Result.DONE, instance_id="i-1", link=1) for command in plan.commands]
    assert remember(Memory(), done, NOW).breakers == {}


def test_a_person_is_refused_by_an_open_breaker() -> None:
    memory = Memory(breakers={"amd64": Breaker(3, BEGUN, NOW - span("5m"))})
    plan = decide(CFG, replace(world(), asked=(Up("amd64", API, 1),)), memory)
    assert [verdict.reason for verdict in plan.verdicts] == [Reason.BREAKER_OPEN]


def test_a_proof_is_renewed_while_runners_are_seen_and_forgotten_after_a_day() -> None:
    old = Memory(proven={"amd64@runner-amd64:3": NOW - span("7h"), "gone@runner-gone:1": NOW - span("25h")})
    assert decide(CFG, world(working()), old).memory.proven == PROVEN
    fresh = Memory(proven={"amd64@runner-amd64:3": NOW - span("5h")})
    assert decide(CFG, world(working()), fresh).memory.proven == fresh.proven  # or every tick would write the state


@pytest.mark.parametrize(
    ("labels", "row", "failed"),
    [
        pytest.param("self-hosted linux x64", "5m", "amd64", id="a launch that never registered"),
        pytest.param("self-hosted linux x64", "4m", "", id="seen before the row of launches began"),
        pytest.param("self-hosted linux x64", None, "", id="a runner of its pool was online since"),
        pytest.param("self-hosted linux x64 extra", "5m", "", id="its labels are no pool's"),
    ],
)
def test_a_ghost_is_swept_and_counts_if_nothing_of_its_pool_was_online_since(
    labels: str, row: str | None, failed: str
) -> None:
    breakers = {} if row is None else {"amd64": Breaker(0, NOW - span(row), launched=1)}
    seen = Memory(ghosts={f"{PREFIX}i-9": NOW - span("5m")}, breakers=breakers)
    (command,) = decide(CFG, world(runner("i-9", online=False, number=9, labels=labels)), seen).commands
    assert isinstance(command, Deregister)
    assert command.failed == failed


def test_a_cancelled_run_whose_runners_came_online_for_nothing_stops_no_pool() -> None:
    """
    A JIT runner that got no job leaves its record, offline, when its machine ends itself.

    So does one that never registered: what tells them apart is that nothing of the pool was online since its launch.
    """
    sim = Simulation(BIG)
    run = sim.push(JIT, jobs=4)
    sim.ticks(1, every=30)
    sim.cancel(run.id)
    *_, last = sim.ticks(30, every=30)
    assert sum(isinstance(c, Deregister) for tick in sim.ticks(1) for c in tick.plan.commands) == 0
    assert sim.left() == {"instances": [], "runners": [], "parameters": []}
    assert last.plan.memory.breakers == {}
    run = sim.push(JIT, jobs=1)
    sim.ticks(6, every=30)
    assert run.current[0].status == "in_progress"
