"""Jobs whose machines are gone from under them: named, and run again once if EC2 took the machine back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from scaler.decide import decide
from scaler.deciding.losses import LOSS_KEPT, LOSSES, POWERED_OFF, review_losses
from scaler.deciding.memory import LIMIT, decode, encode, remember
from scaler.exits import Exit, exit_code
from scaler.model import (
    EndedJob,
    Instance,
    InstanceState,
    JobStatus,
    Loss,
    Market,
    Memory,
    Outcome,
    Reason,
    Rerun,
    Result,
    RunEnd,
    Snapshot,
    Tick,
    View,
)
from scaler.reporting.report import alerts
from scaler.sandbox.github.faults import Fault, FaultKind
from scaler.sandbox.github.state import Run
from simulation.wire import Tap
from simulation.world import CONFIG, Simulation
from tests.worlds import API, NOW, PREFIX, config, job, pool, span, unseen, world

SPOT = "Server.SpotInstanceTermination"
AGAIN = config(pool(rerun_lost=True))
RERUN = r"/rerun"


# --- what is decided -----------------------------------------------------------------------------


def lost(number: int = 1, *, why: str = SPOT, **fields: Any) -> Snapshot:
    """A job that GitHub calls running, and its machine, which has ended."""
    running = job(number, status=JobStatus.IN_PROGRESS, runner_name=f"{PREFIX}i-{number}")
    machine = Instance(f"i-{number}", "amd64", 0, InstanceState.TERMINATED, NOW - span("20m"), market=Market.SPOT)
    return world(running, gone=(replace(machine, **{"ended_by": why, **fields}),))


def said(snapshot: Snapshot) -> tuple[Reason, str]:
    """The verdict on the job."""
    (verdict,) = decide(AGAIN, snapshot, Memory()).verdicts
    return verdict.reason, verdict.sentence


@pytest.mark.parametrize(
    ("why", "reason", "sentence"),
    [
        (SPOT, Reason.LOST, "its machine i-1 was taken back by EC2 (Server.SpotInstanceTermination)"),
        ("Server.InternalError", Reason.LOST, "its machine i-1 was taken back by EC2 (Server.InternalError)"),
        ("Client.UserInitiatedShutdown", Reason.LOST, "its machine i-1 was ended by a call"),
        ("", Reason.LOST, "its machine i-1 was ended by a call (no reason told)"),
        (POWERED_OFF, Reason.RUNNING, f"runs on {PREFIX}i-1, whose machine has powered itself off"),
    ],
)
def test_a_running_job_whose_machine_has_ended_is_told_so(why: str, reason: Reason, sentence: str) -> None:
    """A machine that powers itself off has done its job, which GitHub's list may call running for a moment longer."""
    found = said(lost(why=why))
    assert (found[0], found[1].partition(";")[0].startswith(sentence)) == (reason, True)


@pytest.mark.parametrize(("why", "kept"), [(SPOT, True), ("Client.UserInitiatedShutdown", False), (POWERED_OFF, False)])
def test_only_what_ec2_took_back_is_remembered(why: str, kept: bool) -> None:
    memory = review_losses(AGAIN, lost(why=why), Memory()).memory
    assert memory.lost == ({f"{API}#1": Loss(101, 1, "amd64", NOW)} if kept else {})
    assert memory.reclaimed == ({"amd64": NOW} if kept else {})


def test_a_machine_that_was_no_spot_machine_leaves_its_pool_on_spot() -> None:
    memory = review_losses(AGAIN, lost(why="Server.InternalError", market=Market.ON_DEMAND), Memory()).memory
    assert (len(memory.lost), memory.reclaimed) == (1, {})


@pytest.mark.parametrize("labels", [("self-hosted", "x64"), ("self-hosted", "linux", "x64")], ids=["some", "all"])
def test_a_dead_machine_without_its_tags_is_of_the_pool_that_fits_its_job(labels: tuple[str, ...]) -> None:
    one = config(replace(pool(), labels=("self-hosted", "linux", "x64")))
    snapshot = lost(pool="")
    snapshot = replace(snapshot, jobs=(replace(snapshot.jobs[0], labels=frozenset(labels)),))
    assert review_losses(one, snapshot, Memory()).memory.lost[f"{API}#1"].pool == "amd64"


def test_a_job_is_lost_when_it_is_first_seen_so_and_not_again_by_every_tick() -> None:
    before = Memory(lost={f"{API}#1": Loss(101, 1, "amd64", NOW - span("5m"))})
    after = review_losses(AGAIN, lost(), before).memory
    assert (after.lost, after.reclaimed) == (before.lost, {})


def test_a_job_that_is_known_to_be_lost_hides_no_other() -> None:
    both_lost = [lost(1), lost(2)]
    snapshot = replace(
        world(),
        jobs=tuple(each for one in both_lost for each in one.jobs),
        gone=tuple(each for one in both_lost for each in one.gone),
    )
    before = Memory(lost={f"{API}#1": Loss(101, 1, "amd64", NOW - span("5m"))})
    assert sorted(review_losses(AGAIN, snapshot, before).memory.lost) == [f"{API}#1", f"{API}#2"]


def test_a_job_that_fits_no_pool_any_more_is_lost_for_none() -> None:
    none_fits = config(replace(pool(), labels=("other",)))
    assert review_losses(none_fits, lost(pool=""), Memory()).memory.lost[f"{API}#1"].pool == ""


def test_many_losses_stay_small() -> None:
    all_lost = [lost(number) for number in range(1, 60)]
    snapshot = replace(
        world(),
        jobs=tuple(each for one in all_lost for each in one.jobs),
        gone=tuple(each for one in all_lost for each in one.gone),
    )
    assert len(review_losses(AGAIN, snapshot, Memory()).memory.lost) == LOSSES
    crowd = {f"acme/a-long-name-{n}#{10**11 + n}": Loss(10**11 + n, 1, "amd64", NOW) for n in range(LOSSES)}
    assert len(encode(Memory(lost=crowd))) < LIMIT / 2
    assert decode(encode(Memory(lost=crowd))).lost == crowd


@pytest.mark.parametrize(
    ("minutes", "first"), [("29m", Market.ON_DEMAND), ("30m", Market.SPOT)], ids=["within", "after"]
)
def test_a_pool_that_lost_a_spot_machine_asks_for_on_demand_first_for_half_an_hour(minutes: str, first: Market) -> None:
    memory = Memory(reclaimed={"amd64": NOW - span(minutes)})
    (launch, *_) = decide(AGAIN, world(job()), memory).commands
    assert launch.terms[0].market is first  # type: ignore[union-attr]
    spot_alone = config(pool(markets=(Market.SPOT,)))
    (launch, *_) = decide(spot_alone, world(job()), memory).commands
    assert [terms.market for terms in launch.terms] == [Market.SPOT]  # type: ignore[union-attr]


def end(*jobs: EndedJob, **fields: Any) -> RunEnd:
    """A run that is over."""
    return replace(RunEnd(API, 101, 1, over=True, conclusion="failure", jobs=jobs), **fields)


def failed(number: int, conclusion: str = "failure") -> EndedJob:
    """A job that has ended."""
    return EndedJob(number, f"job-{number}", conclusion)


KNOWN = Memory(lost={f"{API}#1": Loss(101, 1, "amd64", NOW - span("15m"))})
TWO = Memory(lost={f"{API}#{n}": Loss(101, 1, "amd64", NOW - span("15m")) for n in (1, 2)})


@pytest.mark.parametrize(
    ("memory", "ended", "expected"),
    [
        pytest.param(KNOWN, [end(failed(1))], [1], id="a lost job of a run that is over"),
        pytest.param(KNOWN, [end(failed(1), failed(3))], [1], id="beside one that failed by itself"),
        pytest.param(KNOWN, [end(failed(1), failed(3, "skipped"))], [1], id="with one that needed it"),
        pytest.param(TWO, [end(failed(1), failed(2), failed(3, "success"))], [None], id="all that failed were lost"),
        pytest.param(TWO, [end(failed(1), failed(2), failed(3))], [], id="two were lost, and one failed by itself"),
        pytest.param(KNOWN, [end(over=False)], [], id="the run goes on"),
        pytest.param(KNOWN, [], [], id="GitHub did not tell"),
        pytest.param(KNOWN, [end(failed(1), attempt=2)], [], id="somebody has run it again"),
        pytest.param(KNOWN, [end(failed(1, "cancelled"))], [], id="a cancelled job"),
        pytest.param(KNOWN, [end(failed(1), conclusion="cancelled")], [], id="a cancelled run"),
        pytest.param(KNOWN, [end(failed(1, "success"))], [], id="a job that succeeded after all"),
        pytest.param(
            Memory(lost={f"{API}#1": Loss(101, 2, "amd64", NOW)}), [end(failed(1), attempt=2)], [], id="never twice"
        ),
        pytest.param(
            Memory(lost={f"{API}#1": Loss(101, 1, "amd64", NOW - LOSS_KEPT - span("1m"))}),
            [end(failed(1))], [], id="too long ago",
        ),
        pytest.param(Memory(lost={f"{API}#1": Loss(101, 1, "gone", NOW)}), [end(failed(1))], [], id="its pool is gone"),
    ],
)  # fmt: skip
def test_what_is_run_again(memory: Memory, ended: Sequence[RunEnd], expected: list[int | None]) -> None:
    commands = decide(AGAIN, world(ended=tuple(ended)), memory).commands
    assert [command.job_id for command in commands if isinstance(command, Rerun)] == expected


@pytest.mark.parametrize("how", ["cancelled", "success"])
def test_what_is_not_to_run_again_is_told_once(how: str) -> None:
    plan = decide(AGAIN, world(ended=(end(failed(1, how)),)), KNOWN)
    assert ([verdict.reason for verdict in plan.verdicts], plan.memory.lost) == ([Reason.LOST], {})


def test_lost_jobs_of_several_runs_are_all_told() -> None:
    other = end(failed(2), id=102)
    memory = Memory(lost={**KNOWN.lost, f"{API}#2": Loss(102, 1, "amd64", NOW)})
    plan = decide(AGAIN, world(ended=(end(failed(1)), other)), memory)
    assert [(verdict.id, verdict.reason) for verdict in plan.verdicts] == [("1", Reason.RERUN), ("2", Reason.RERUN)]


def test_nothing_is_run_again_unless_the_pool_says_so() -> None:
    plan = decide(config(), world(ended=(end(failed(1)),)), KNOWN)
    assert (plan.commands, plan.memory.lost) == ((), {})


def test_a_job_whose_queue_was_not_seen_is_not_run_again() -> None:
    plan = decide(AGAIN, world(unseen(View.QUEUE, API), ended=(end(failed(1)),)), KNOWN)
    assert (plan.commands, plan.memory.lost) == ((), KNOWN.lost)


@pytest.mark.parametrize("result", Result)
def test_what_was_run_again_or_never_will_be_is_forgotten(result: Result) -> None:
    command = Rerun(API, 101, 1, 1, "job-1", Reason.RERUN, "")
    kept = remember(KNOWN, [Outcome(command, result)], NOW).lost
    assert bool(kept) is (result in (Result.FAILED, Result.SKIPPED))


def test_losses_are_kept_in_the_state() -> None:
    memory = replace(KNOWN, reclaimed={"amd64": NOW})
    assert decode(encode(memory)) == memory


# --- what comes of it ----------------------------------------------------------------------------


class Fleet:
    """A simulated fleet on spot that runs lost jobs again, and a job of it whose machine EC2 has taken back."""

    def __init__(self, more: str = "    rerun_lost: true\n", jobs: int = 1) -> None:
        pool = "    market: spot-then-on-demand\n"
        self.sim = Simulation(CONFIG.replace(pool, pool + more))
        self.run: Run = self.sim.push(jobs=jobs, minutes=60)
        self.sim.ticks(3)
        for held in self.sim.aws.alive():
            if held.market == "spot":
                self.sim.aws.interrupt(held.id)
        self.sim.advance(minutes=3)  # the notice is of two

    def tick(self, tap: Tap | None = None) -> Tick:
        """One tick."""
        ran = self.sim.tick(tap)
        assert ran is not None
        return ran

    def until_given_up(self) -> None:
        """GitHub gives the job up after ten minutes."""
        self.sim.advance(minutes=11)

    @property
    def attempts(self) -> int:
        """How often the run was run."""
        return self.sim.github.run(self.run.id).attempt


def outcomes(ran: Tick) -> list[Outcome]:
    """What came of running again."""
    return [outcome for outcome in ran.outcomes if isinstance(outcome.command, Rerun)]


def test_a_job_that_spot_took_is_named_and_run_again_once_on_demand() -> None:
    fleet = Fleet()
    ran = fleet.tick()
    (told,) = [text for _, text in alerts(ran) if "taken back by EC2" in text]
    assert told.startswith('"job 0" in acme/api: its machine i-')
    assert exit_code(ran) is Exit.OK
    fleet.until_given_up()
    assert [outcome.result for outcome in outcomes(fleet.tick())] == [Result.DONE]
    assert fleet.attempts == 2
    fleet.tick()
    fleet.sim.advance(minutes=2)
    assert [held.market for held in fleet.sim.aws.alive()] == ["on-demand"]
    fleet.sim.ticks(20)
    assert fleet.attempts == 2
    assert outcomes(fleet.tick()) == []


def test_a_job_that_is_lost_again_is_not_run_a_third_time() -> None:
    fleet = Fleet()
    fleet.tick()
    fleet.until_given_up()
    fleet.tick()
    fleet.sim.ticks(3)
    (held,) = fleet.sim.aws.alive()
    with fleet.sim.clock.lock:
        fleet.sim.aws.ec2.end(held.id, "spot")
    fleet.sim.advance(minutes=1)
    assert Reason.LOST in {verdict.reason for verdict in fleet.tick().plan.verdicts}
    fleet.until_given_up()
    fleet.sim.ticks(5)
    assert fleet.attempts == 2


def test_without_the_key_it_is_named_and_left_to_people() -> None:
    fleet = Fleet(more="")
    assert Reason.LOST in {verdict.reason for verdict in fleet.tick().plan.verdicts}
    fleet.until_given_up()
    fleet.sim.ticks(3)
    assert fleet.attempts == 1


def test_a_run_that_somebody_cancelled_is_not_run_again() -> None:
    fleet = Fleet()
    fleet.tick()
    fleet.sim.cancel(fleet.run.id)
    fleet.until_given_up()
    fleet.sim.ticks(3)
    assert fleet.attempts == 1


def test_two_ticks_at_once_run_it_again_once() -> None:
    fleet = Fleet()
    fleet.tick()
    fleet.until_given_up()
    sim = fleet.sim
    found: list[Outcome] = []
    first = Tap(sim.clock, cut_in={1: lambda: found.extend(outcomes(fleet.tick()))})
    late = outcomes(fleet.tick(first))
    assert [outcome.result for outcome in found] == [Result.DONE]
    assert [(outcome.result, outcome.detail) for outcome in late] == [
        (Result.DECLINED, "This workflow is already running")
    ]
    assert fleet.attempts == 2


def test_all_that_a_run_lost_is_run_again_at_once() -> None:
    fleet = Fleet(jobs=3)
    fleet.tick()
    fleet.until_given_up()
    (outcome,) = outcomes(fleet.tick())
    assert (outcome.result, outcome.command.name) == (Result.DONE, "job 0, job 1, job 2")  # type: ignore[union-attr]
    assert fleet.attempts == 2


@pytest.mark.parametrize(
    ("status", "result", "code"),
    [(403, Result.DENIED, Exit.CREDENTIALS), (502, Result.FAILED, Exit.DEGRADED)],
    ids=["no permission", "GitHub fails"],
)
def test_what_github_answers_to_it_is_told(status: int, result: Result, code: Exit) -> None:
    fleet = Fleet()
    fleet.tick()
    fleet.until_given_up()
    fleet.sim.github.fault(Fault(FaultKind.STATUS, path=RERUN, value=status))
    ran = fleet.tick()
    assert ([outcome.result for outcome in outcomes(ran)], exit_code(ran)) == ([result], code)
    fleet.sim.ticks(2)
    assert fleet.attempts == (2 if result is Result.FAILED else 1), "a missing permission is told once"


def test_the_ghost_of_a_machine_that_was_taken_back_is_removed() -> None:
    fleet = Fleet()
    fleet.tick()
    fleet.until_given_up()
    fleet.sim.ticks(8)
    assert not [r for r in fleet.sim.github.registered() if not r.online and r.name.startswith(fleet.sim.prefix)]
