"""The rules of `act`, on the simulated world: the effects that a command has, in their order, and what it came to."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from threading import Barrier, Event, get_ident
from typing import Any, cast

import boto3
import pytest

from scaler.act import Acted, Actor
from scaler.acting.attempt import MAX_CALLS_PER_SLOT, Attempt, on_the_way
from scaler.acting.hand_over import TRIES
from scaler.acting.launching import LATE, LAUNCHERS
from scaler.aws.api import AwsApi
from scaler.deciding.memory import decode, encode
from scaler.deciding.offerings import offerings
from scaler.model import (
    Command,
    DeleteParameter,
    Deregister,
    Drain,
    HandOver,
    Launch,
    LaunchAnswer,
    LaunchKind,
    Market,
    Memory,
    Outcome,
    Parameter,
    Plan,
    Reason,
    Rerun,
    Result,
    Runner,
    Snapshot,
    Tag,
    Terminate,
    Terms,
    Unseen,
    View,
)
from scaler.sandbox.aws.settings import Tokens
from scaler.sandbox.github.faults import Fault, FaultKind
from scaler.settings.shard import Shard
from simulation.boxes import Habit
from simulation.wire import DirectGitHub, DirectSession, Tap, VirtualClock
from simulation.world import CONFIG, Simulation

API, WEB = "acme/api", "acme/web"
BOTH = (Terms(Market.SPOT), Terms(Market.ON_DEMAND))
FLEET, MINT, PUT, TAGGED = (
    "ec2:CreateFleet",
    f"POST /repos/{API}/actions/runners/generate-jitconfig",
    "ssm:PutParameter",
    "ec2:CreateTags",
)
UNTAGGED, ENDED, SWEPT = "ec2:DeleteTags", "ec2:TerminateInstances", "ssm:DeleteParameters"
JITCONFIG, REMOVAL = "/generate-jitconfig$", r"/actions/runners/\d+$"


class Bench:
    """A world, and an actor in it whose effects are noted."""

    def __init__(self, config: str = CONFIG) -> None:
        self.sim = Simulation(config)
        self.sim.boxes.manners.always = Habit.HANGS  # machines that do nothing of their own
        self.masked: list[tuple[str, int]] = []
        self.effects: list[str] = []

    def act(
        self,
        *commands: Command,
        late: Callable[[], bool] = lambda: False,
        unseen: tuple[Unseen, ...] = (Unseen(View.STATE, "", "is left alone"),),
        paced: bool = False,
        **seen: Any,
    ) -> Acted:
        """Run these commands in a process of its own, which keeps no memory unless it saw all."""
        sim = self.sim
        tap = Tap(sim.clock, latency=0) if paced else Tap(sim.clock)
        clock = VirtualClock(sim.clock)
        cloud = AwsApi(sim.config, cast("boto3.Session", DirectSession(sim.aws, tap, sim.shown())), clock)
        github = DirectGitHub(sim.server, tap, clock, sim.shown())
        actor = Actor(sim.config, github, cloud, mask=self._mask, clock=clock if paced else None, launchers=1)
        cloud.load_state()
        acted = actor.act(Plan(commands), Snapshot(sim.clock.now(), sim.prefix, unseen=unseen, **seen), late)
        self.effects = tap.effects
        return acted

    def took(self, *commands: Command) -> int:
        """The seconds for which these commands waited for their turns."""
        began = self.sim.clock.now()
        self.act(*commands, paced=True)
        return round((self.sim.clock.now() - began).total_seconds())

    def one(self, command: Command, **more: Any) -> Outcome:
        """What one command came to, without what it taught of EC2's capacity."""
        return replace(self.whole(command, **more), terms=None, refused=frozenset())

    def whole(self, command: Command, **more: Any) -> Outcome:
        """What one command came to."""
        (outcome,) = self.act(command, **more).outcomes
        assert outcome.command is command
        return outcome

    def _mask(self, secret: str) -> None:
        self.masked.append((secret, len(self.parameters)))

    @property
    def parameters(self) -> list[str]:
        """The instances' parameters that there are."""
        return [name for name in self.sim.aws.parameter_names() if not name.endswith("/state")]

    @property
    def runners(self) -> dict[str, int]:
        """The ids of the runners that there are, by instance."""
        return {r.name.removeprefix(self.sim.prefix): r.id for r in self.sim.github.registered()}

    @property
    def ids(self) -> list[str]:
        """The living instances."""
        return [instance.id for instance in self.sim.aws.alive()]

    def tags(self, instance_id: str) -> dict[str, str]:
        """Our tags of an instance, without those that it was launched with."""
        held = self.sim.aws.instance(instance_id)
        assert held is not None
        ours = {
            key.removeprefix("runner-scaler:"): value for key, value in held.tags.items() if "runner-scaler:" in key
        }
        return {key: value for key, value in ours.items() if key not in ("fleet", "pool", "slot")}

    def untag(self, instance_id: str) -> None:
        """Its scope tag could not be written."""
        held = self.sim.aws.instance(instance_id)
        assert held is not None
        with self.sim.clock.lock:
            tags = {key: value for key, value in held.tags.items() if key != "runner-scaler:scope"}
            self.sim.aws.ec2.retag(instance_id, tags, "test")

    def end(self, instance_id: str) -> None:
        """Somebody ends an instance."""
        with self.sim.clock.lock:
            self.sim.aws.ec2.end(instance_id, "api")

    def launched(self, link: int = 5) -> str:
        """An instance that was launched and handed over."""
        assert self.one(launch(link)).result is Result.DONE
        return self.ids[-1]

    def refuse(self, *statuses: int, path: str = REMOVAL) -> None:
        """GitHub answers requests of a path so, one by one."""
        for status in statuses:
            self.sim.github.fault(Fault(FaultKind.STATUS, path=path, value=status))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def launch(link: int = 5, slot: int = 0, **fields: Any) -> Launch:
    """A launch into the first slot of amd64, under a link that the memory knew."""
    base = Launch("amd64", slot, link, True, False, BOTH, API, Reason.LAUNCHING, "wanted")
    return replace(base, **fields)


def drain(bench: Bench, instance_id: str) -> Drain:
    """The end of an instance's idle runner."""
    name = bench.sim.prefix + instance_id
    return Drain(instance_id, API, bench.runners[instance_id], name, Reason.SURPLUS, "idle")


def terminate(bench: Bench, instance_id: str, *, force: bool = False) -> Terminate:
    """The end of an instance and its runner."""
    name = bench.sim.prefix + instance_id
    return Terminate(instance_id, Reason.ASKED, "asked", API, bench.runners[instance_id], name, force)


# --- an attempt ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ended", "terms"),
    [
        pytest.param({"result": Result.DONE, "instance_id": "i-1"}, BOTH[0], id="launched"),
        pytest.param({"result": Result.TAKEN, "instance_id": "i-1"}, BOTH[0], id="another tick handed it over"),
        pytest.param({"result": Result.SKIPPED}, BOTH[0], id="not done in this tick"),
        pytest.param({"result": Result.TAKEN}, None, id="a mismatch: it was asked for on other terms"),
        pytest.param({"result": Result.NO_CAPACITY, "spent": True}, None, id="nothing is behind it, and never will be"),
    ],
)
def test_the_terms_of_a_link_are_told_where_they_are_known(ended: dict[str, Any], terms: Terms | None) -> None:
    assert Attempt(launch(), 5).ended(detail="", **ended).terms == terms


def test_a_link_whose_market_the_pool_has_no_more_is_followed_by_the_first_that_it_has() -> None:
    """The config was edited between two ticks."""
    command = launch(before=Terms(Market.SPOT), terms=(Terms(Market.ON_DEMAND),))
    way = Attempt(command, 5).without_capacity(LaunchAnswer(LaunchKind.NO_CAPACITY))
    assert isinstance(way, Attempt)
    assert (way.link, way.terms) == (6, Terms(Market.ON_DEMAND))


def test_what_ec2_refused_is_told_though_nothing_was_walked() -> None:
    refused = frozenset({"1a2b3c"})
    assert on_the_way(Attempt(launch(), 5, refused=refused), "late").refused == refused


# --- running again -------------------------------------------------------------------------------


def ended_run(bench: Bench) -> tuple[int, tuple[int, ...]]:
    """A run of two jobs that is over, and its jobs."""
    run = bench.sim.push(jobs=2)
    bench.sim.cancel(run.id)
    bench.sim.advance(minutes=6)
    return run.id, tuple(job.id for job in run.jobs)


def rerun(run_id: int, job_id: int | None, attempt: int = 1) -> Rerun:
    """Run it again."""
    return Rerun(API, run_id, attempt, job_id, "job", Reason.RERUN, "lost")


def test_one_lost_job_is_run_again_by_itself_and_more_than_one_with_all_that_failed(bench: Bench) -> None:
    run_id, (first, *_) = ended_run(bench)
    assert bench.one(rerun(run_id, first)).result is Result.DONE
    assert bench.effects == [f"POST /repos/{API}/actions/jobs/{first}/rerun"]
    run_id, _ = ended_run(bench)
    assert bench.one(rerun(run_id, None)).result is Result.DONE
    assert bench.effects == [f"POST /repos/{API}/actions/runs/{run_id}/rerun-failed-jobs"]


def test_what_somebody_ran_again_meanwhile_is_left_alone(bench: Bench) -> None:
    run_id, (first, *_) = ended_run(bench)
    assert bench.one(rerun(run_id, first)).result is Result.DONE
    for attempt in (1, 2):  # the first is over; the second goes on
        command = rerun(run_id, first, attempt)
        assert bench.one(command) == Outcome(command, Result.TAKEN, "it is at attempt 2 by now")
        assert bench.effects == []


# --- launching -----------------------------------------------------------------------------------


def test_a_launch_mints_puts_and_tags_in_that_order_after_the_instance_is_there(bench: Bench) -> None:
    outcome = bench.one(launch())
    assert bench.effects == [FLEET, MINT, PUT, TAGGED]
    (number,) = bench.ids
    name = bench.sim.prefix + number
    assert outcome == Outcome(launch(), Result.DONE, f"handed over to {API}", number, name, 5)
    assert bench.tags(number) == {"scope": API}
    put = bench.sim.aws.ssm.parameters[bench.parameters[0]]
    assert put.description.startswith(f"scope={API} runner={bench.runners[number]} tick=")
    letter = json.loads(put.value)
    assert (letter["name"], letter["group"], letter["registration"]) == (name, None, "jit")
    assert letter["url"] == f"http://github.simulation/{API}"
    assert bench.masked == [(letter["secret"], 0)]
    assert sorted(bench.sim.github.registered()[0].labels) == ["acme", "linux", "self-hosted", "x64"]


def test_a_token_is_minted_for_a_pool_that_registers_by_token(bench: Bench) -> None:
    bench.one(launch(pool="arm64"))
    assert bench.effects[1] == f"POST /repos/{API}/actions/runners/registration-token"
    letter = json.loads(bench.sim.aws.ssm.parameters[bench.parameters[0]].value)
    assert letter["registration"] == "token"
    assert bench.masked == [(letter["secret"], 0)]
    assert bench.runners == {}


def test_a_token_that_github_refuses_is_asked_for_three_times_and_for_no_launch_after_that() -> None:
    bench = Bench(CONFIG.replace("max: 2", "max: 5"))
    bench.sim.github.fault(Fault(FaultKind.STATUS, path="/registration-token$", value=502, times=None))
    outcomes = bench.act(*(launch(pool="arm64", slot=slot) for slot in range(5))).outcomes
    asked = f"POST /repos/{API}/actions/runners/registration-token"
    assert bench.effects.count(asked) == TRIES
    assert all('answered 502, "Server Error"' in outcome.detail for outcome in outcomes), "why, of each"
    assert [outcome.result for outcome in outcomes] == [Result.FAILED] * 5


def test_an_organizations_runner_is_registered_in_its_group() -> None:
    organization = "github: {register_at: organization, organization: acme, runner_group: own}\nrepositories:"
    bench = Bench(CONFIG.replace("repositories:", organization))
    bench.sim.github.add_group("acme", "own")
    bench.one(launch(scope="acme"))
    letter = json.loads(bench.sim.aws.ssm.parameters[bench.parameters[0]].value)
    assert (letter["group"], letter["url"]) == ("own", "http://github.simulation/acme")
    assert bench.sim.github.registered()[0].group.name == "own"


def test_a_repositorys_runner_has_no_group(bench: Bench) -> None:
    bench.sim.config = replace(bench.sim.config, runner_group="own")
    bench.one(launch())
    assert json.loads(bench.sim.aws.ssm.parameters[bench.parameters[0]].value)["group"] is None


def test_several_launches_are_told_in_their_order(bench: Bench) -> None:
    commands = [launch(slot=slot) for slot in (2, 0, 1)]
    tag = Tag("i-0", "hold", "x", Reason.ASKED, "")
    before, after = tag, replace(tag, key="idle-since")
    acted = bench.act(before, commands[0], after, *commands[1:])
    assert [outcome.command for outcome in acted.outcomes] == [before, *commands, after]
    assert len(bench.ids) == 3


@pytest.mark.parametrize("replay", ["error", "dead-id"])
def test_behind_a_link_whose_instance_has_died_the_next_one_is_launched(bench: Bench, replay: str) -> None:
    settings = bench.sim.aws.settings
    bench.sim.aws.settings = replace(settings, tokens=Tokens(replay=replay))
    first = bench.launched()
    bench.end(first)
    outcome = bench.one(launch(asked_before=True))
    assert (outcome.result, outcome.link, outcome.instance_id) == (Result.DONE, 6, bench.ids[0])
    assert outcome.instance_id != first


def test_an_instance_that_was_handed_over_fills_its_slot(bench: Bench) -> None:
    first = bench.launched()
    outcome = bench.one(launch())
    assert outcome == Outcome(launch(), Result.TAKEN, f"{first} fills the slot already, for {API}", first, link=5)
    assert bench.effects == [FLEET]


def test_an_instance_that_nobody_was_told_of_is_handed_over_by_whoever_asks_for_it(bench: Bench) -> None:
    bench.sim.aws.fail(PUT, code="InternalError", status=400)
    assert bench.one(launch()).result is Result.FAILED
    outcome = bench.one(launch(asked_before=True))
    assert (outcome.result, outcome.instance_id) == (Result.DONE, bench.ids[0])
    assert len(bench.ids) == 1


@pytest.mark.parametrize(
    ("link", "asked_before", "result"),
    [(5, False, Result.DONE), (5, True, Result.TAKEN), (6, True, Result.DONE)],
    ids=["new", "asked before", "a link further"],
)
def test_an_instance_that_is_not_listed_yet_is_new_unless_its_link_was_asked_for_before(
    bench: Bench, link: int, asked_before: bool, result: Result
) -> None:
    bench.sim.aws.fail("ec2:DescribeInstances", status=400, times=None)
    if link == 6:
        bench.end(bench.launched())
        bench.sim.advance(minutes=2)  # until EC2's answer to its token says so
    outcome = bench.one(launch(asked_before=asked_before))
    assert (outcome.result, outcome.link) == (result, link)
    if result is Result.TAKEN:
        assert outcome.detail == f"{bench.ids[0]} fills the slot already"


def test_without_spot_capacity_the_next_link_is_asked_for_on_demand(bench: Bench) -> None:
    bench.sim.aws.refuse_capacity(market="spot")
    outcome = bench.one(launch())
    assert (outcome.result, outcome.link, outcome.spent) == (Result.DONE, 6, False)
    assert bench.sim.aws.alive()[0].market == "on-demand"


def test_a_link_is_asked_again_on_the_terms_that_it_was_asked_on(bench: Bench) -> None:
    """On any others EC2 would answer with a mismatch, and the slot be taken for as long as its link is recent."""
    bench.sim.aws.refuse_capacity(market="spot", count=1)
    first = bench.whole(launch())
    assert first.terms == Terms(Market.ON_DEMAND)
    bench.end(bench.ids[0])
    again = bench.whole(launch(6, asked_before=True, before=first.terms))
    assert (again.result, again.link, again.terms) == (Result.DONE, 7, Terms(Market.SPOT))


@pytest.mark.parametrize(("before", "market"), [("spot", "on-demand"), ("on-demand", None), (None, "on-demand")])
def test_behind_a_fleet_of_nothing_that_is_answered_again_come_the_terms_after_its_own(
    bench: Bench, before: str | None, market: str | None
) -> None:
    bench.sim.aws.refuse_capacity(count=1)
    terms = None if before is None else Terms(Market(before))
    assert bench.one(launch(terms=(terms or BOTH[0],))).result is Result.NO_CAPACITY
    outcome = bench.whole(launch(asked_before=True, before=terms))
    assert (outcome.terms.market.value if outcome.terms else None) == market
    assert outcome.refused == frozenset(), "an old answer tells nothing of today"


def test_what_had_no_capacity_is_told_by_its_offering(bench: Bench) -> None:
    bench.sim.aws.refuse_capacity(market="spot")
    pool = bench.sim.config.pools[0]
    assert bench.whole(launch()).refused == set(offerings(pool, Market.SPOT).values())


def test_without_any_capacity_a_known_chain_ends_for_this_tick(bench: Bench) -> None:
    bench.sim.aws.refuse_capacity(message="none left")
    outcome = bench.one(launch())
    detail = "spot: InsufficientInstanceCapacity: none left; on-demand: InsufficientInstanceCapacity: none left"
    assert outcome == Outcome(launch(), Result.NO_CAPACITY, detail, link=6, spent=True)
    assert bench.effects == [FLEET, FLEET]


def test_without_any_capacity_an_unknown_chain_is_walked_to_its_bound(bench: Bench) -> None:
    """Its links may be those of a day's earlier refusals, which answer so for ever (runs-on#251)."""
    bench.sim.aws.refuse_capacity(message="none left")
    command = launch(hinted=False)
    outcome = bench.one(command)
    refused = "spot: InsufficientInstanceCapacity: none left; on-demand: InsufficientInstanceCapacity: none left"
    detail = f"{refused}; 16 links of the slot were spent; the next tick goes on"
    assert outcome == Outcome(command, Result.NO_CAPACITY, detail, link=5 + MAX_CALLS_PER_SLOT - 1, spent=True)
    assert bench.effects == [FLEET] * MAX_CALLS_PER_SLOT


def test_a_chain_of_the_dead_is_walked_to_its_bound(bench: Bench) -> None:
    for link in range(5, 5 + MAX_CALLS_PER_SLOT):
        bench.end(bench.launched(link))
    outcome = bench.one(launch())
    detail = "16 links of the slot were spent; the next tick goes on"
    assert outcome == Outcome(launch(), Result.SKIPPED, detail, link=20, spent=True)
    assert bench.one(launch(21)).result is Result.DONE


def test_a_chain_of_the_dead_whose_last_bounded_link_is_free_is_launched(bench: Bench) -> None:
    settings = bench.sim.aws.settings
    bench.sim.aws.settings = replace(settings, tokens=Tokens(replay="dead-id"))
    for link in range(5, 5 + MAX_CALLS_PER_SLOT - 1):
        bench.end(bench.launched(link))
    assert (bench.one(launch()).result, len(bench.ids)) == (Result.DONE, 1)


def test_a_link_that_was_used_with_other_parameters_is_taken(bench: Bench) -> None:
    bench.launched()
    bench.sim.config = replace(bench.sim.config, tags={"team": "other"})
    outcome = bench.one(launch())
    assert outcome == Outcome(launch(), Result.TAKEN, "its link was used with other launch parameters", link=5)


def test_a_throttled_launch_is_left_to_the_next_tick_under_its_link(bench: Bench) -> None:
    bench.sim.aws.fail(FLEET, code="RequestLimitExceeded", times=None)
    assert bench.one(launch()) == Outcome(launch(), Result.SKIPPED, "EC2 throttles launches")


def test_a_fleet_that_was_throttled_inside_spends_its_link(bench: Bench) -> None:
    """It was made: asked again under the same token, it would answer the same for as long as EC2 remembers it."""
    bench.sim.aws.refuse_capacity(code="RequestLimitExceeded", count=1)
    outcome = bench.one(launch())
    said = "RequestLimitExceeded: Request limit exceeded."
    assert outcome == Outcome(launch(), Result.SKIPPED, said, link=5, spent=True)


def test_a_fleet_that_was_refused_inside_spends_its_link(bench: Bench) -> None:
    bench.sim.aws.refuse_capacity(code="InvalidParameter", message="no such thing")
    assert bench.one(launch()) == Outcome(
        launch(), Result.REFUSED, "InvalidParameter: no such thing", link=5, spent=True
    )


def test_a_fleet_that_was_denied_inside_spends_its_link(bench: Bench) -> None:
    bench.sim.aws.refuse_capacity(code="UnauthorizedOperation", message="not you")
    outcome = bench.one(launch())
    assert (outcome.result, outcome.link, outcome.spent, outcome.remedy != "") == (Result.DENIED, 5, True, True)
    assert "not you" in outcome.detail


def test_a_walk_whose_last_answer_was_lost_is_gone_on_with_at_that_link(bench: Bench) -> None:
    bench.sim.aws.refuse_capacity(market="spot")
    bench.sim.aws.fail(FLEET, kind="drop-after", times=3, skip=1)
    outcome = bench.whole(launch())
    assert (outcome.result, outcome.link, outcome.spent) == (Result.FAILED, 5, True)
    assert outcome.refused == set(offerings(bench.sim.config.pools[0], Market.SPOT).values())
    assert (bench.one(launch(6)).result, len(bench.ids)) == (Result.TAKEN, 1)  # on demand, not spot


def test_a_launch_that_is_throttled_after_a_refusal_tells_both(bench: Bench) -> None:
    bench.sim.aws.refuse_capacity(message="none left")
    bench.sim.aws.fail(FLEET, code="RequestLimitExceeded", times=None, skip=1)
    detail = "spot: InsufficientInstanceCapacity: none left; EC2 throttles launches"
    assert bench.one(launch()) == Outcome(launch(), Result.NO_CAPACITY, detail, link=5, spent=True)


def test_a_launch_that_ec2_rejects_as_a_whole_leaves_its_link_to_the_next_tick(bench: Bench) -> None:
    bench.sim.aws.fail(FLEET, code="InvalidSubnetID.NotFound", message="no such subnet")
    outcome = bench.one(launch())
    detail = "InvalidSubnetID.NotFound: no such subnet"
    assert outcome == Outcome(launch(), Result.REFUSED, detail)


def test_a_launch_whose_answer_was_lost_leaves_its_link_to_the_next_tick(bench: Bench) -> None:
    bench.sim.aws.fail(FLEET, kind="drop-after", times=3)
    outcome = bench.one(launch())
    assert (outcome.result, outcome.link, outcome.spent, outcome.instance_id) == (Result.FAILED, None, False, "")
    assert "no answer" in outcome.detail
    assert bench.one(launch()).instance_id == bench.ids[0]
    assert len(bench.ids) == 1


def test_a_launch_that_is_denied_brings_the_lines_to_paste(bench: Bench) -> None:
    bench.sim.aws.fail(FLEET, code="UnauthorizedOperation", message="not you")
    outcome = bench.one(launch())
    assert (outcome.result, outcome.link) == (Result.DENIED, None)
    assert "not you" in outcome.detail
    assert "aws/stack.yaml" in outcome.remedy


# --- side by side --------------------------------------------------------------------------------


class Watched(AwsApi):
    """AWS, of whose calls a test decides when they are answered."""

    def __init__(self, bench: Bench) -> None:
        clock = VirtualClock(bench.sim.clock)
        session = DirectSession(bench.sim.aws, Tap(bench.sim.clock), bench.sim.shown())
        super().__init__(bench.sim.config, cast("boto3.Session", session), clock)
        self.bench, self.put = bench, Event()
        self.before: Callable[[int], object] = lambda slot: slot
        self.threads: set[int] = set()

    def launch(self, pool: str, slot: int, link: int, terms: Terms) -> LaunchAnswer:
        self.threads.add(get_ident())
        self.before(slot)
        return super().launch(pool, slot, link, terms)

    def put_parameter(self, *arguments: Any) -> bool:
        try:
            return super().put_parameter(*arguments)
        finally:
            self.put.set()

    def act(self, *launches: Launch, launchers: int = LAUNCHERS) -> list[Result]:
        """What these launches came to."""
        sim = self.bench.sim
        github = DirectGitHub(sim.server, Tap(sim.clock), VirtualClock(sim.clock), sim.shown())
        actor = Actor(sim.config, github, self, mask=lambda _: None, launchers=launchers)
        snapshot = Snapshot(sim.clock.now(), sim.prefix, unseen=(Unseen(View.STATE, "", "is left alone"),))
        return [outcome.result for outcome in actor.act(Plan(launches), snapshot, lambda: False).outcomes]


def test_launches_are_asked_for_side_by_side(bench: Bench) -> None:
    aws, both = Watched(bench), Barrier(2, timeout=30)
    aws.before = lambda _: both.wait()
    assert aws.act(launch(), launch(slot=1)) == [Result.DONE, Result.DONE]


def test_what_was_launched_is_handed_over_while_others_launch(bench: Bench) -> None:
    aws = Watched(bench)
    aws.before = lambda slot: slot == 0 or aws.put.wait(30) or pytest.fail("nothing was handed over")
    assert aws.act(launch(), launch(slot=1)) == [Result.DONE, Result.DONE]


def test_with_one_launcher_all_is_done_in_the_callers_thread(bench: Bench) -> None:
    """So that a simulated tick is a function of what it is answered."""
    aws = Watched(bench)
    assert aws.act(launch(), launch(slot=1), launchers=1) == [Result.DONE, Result.DONE]
    assert aws.threads == {get_ident()}


# --- the hand-over -------------------------------------------------------------------------------


def test_a_secret_that_cannot_be_put_is_taken_back(bench: Bench) -> None:
    bench.sim.aws.fail(PUT, code="AccessDeniedException", message="not you", status=400)
    outcome = bench.one(launch())
    (number,) = bench.ids
    assert (outcome.result, outcome.instance_id, outcome.link, outcome.runner_name) == (Result.DENIED, number, 5, "")
    assert outcome.detail.startswith(f"{number} runs, but its secret could not be handed over: AWS: ssm:PutParameter")
    assert outcome.remedy != ""
    assert bench.effects[:3] == [FLEET, MINT, PUT]
    assert (bench.runners, bench.parameters, bench.tags(number)) == ({}, [], {})


def test_a_token_that_cannot_be_put_leaves_nothing_to_take_back(bench: Bench) -> None:
    bench.sim.aws.fail(PUT, code="InternalError", status=400)
    assert bench.one(launch(pool="arm64")).result is Result.FAILED
    assert not [effect for effect in bench.effects if effect.startswith("DELETE")]


def test_a_record_that_cannot_be_taken_back_is_left_to_the_sweep(bench: Bench) -> None:
    bench.sim.aws.fail(PUT, code="InternalError", status=400)
    bench.refuse(403)
    outcome = bench.one(launch())
    assert outcome.result is Result.FAILED
    assert "ssm:PutParameter" in outcome.detail
    assert list(bench.runners) == bench.ids


def test_a_put_whose_answer_was_lost_is_known_for_its_own(bench: Bench) -> None:
    bench.sim.aws.fail(PUT, kind="drop-after")
    assert bench.one(launch()).result is Result.DONE
    assert bench.effects == [FLEET, MINT, PUT, PUT, TAGGED]
    assert (list(bench.runners), len(bench.parameters)) == (bench.ids, 1)


def test_whose_secret_is_there_first_has_handed_over_and_the_other_takes_back_its_own(bench: Bench) -> None:
    number = bench.launched()
    bench.untag(number)
    bench.sim.github.remove_runner(bench.runners[number])
    hand_over = HandOver(number, "amd64", API, Reason.NO_SCOPE, "")
    name = bench.sim.prefix + number
    assert bench.one(hand_over) == Outcome(hand_over, Result.TAKEN, "another tick has handed it over", number, name)
    assert [effect.partition(" ")[0] for effect in bench.effects[:3]] == ["POST", PUT, "DELETE"]
    assert bench.runners == {}


def test_of_one_name_github_mints_one_configuration(bench: Bench) -> None:
    number = bench.launched()
    bench.untag(number)
    hand_over = HandOver(number, "amd64", API, Reason.NO_SCOPE, "")
    name = bench.sim.prefix + number
    assert bench.one(hand_over) == Outcome(hand_over, Result.TAKEN, "another tick is handing it over", number, name)
    assert list(bench.runners) == [number]


def test_what_has_its_scope_by_now_is_not_handed_over_again(bench: Bench) -> None:
    number = bench.launched()
    hand_over = HandOver(number, "amd64", WEB, Reason.NO_SCOPE, "")
    name = bench.sim.prefix + number
    assert bench.one(hand_over) == Outcome(hand_over, Result.TAKEN, "another tick has handed it over", number, name)
    assert bench.effects == []


@pytest.mark.parametrize("known", ["its age", "its runner", "its parameter"])
def test_what_another_tick_launched_and_may_have_handed_over_is_not_introduced(bench: Bench, known: str) -> None:
    """Its tag may have failed, and its parameter may be read and gone: a second secret could name another scope."""
    number = bench.launched()
    bench.untag(number)
    runners = (Runner(7, bench.sim.prefix + number, API, online=True, busy=True, labels=frozenset()),)
    parameters = (Parameter("/p", number, bench.sim.clock.now()),)
    bench.sim.clock.advance(61 if known == "its age" else 6)
    outcome = bench.one(
        launch(scope=WEB),
        runners=runners if known == "its runner" else (),
        parameters=parameters if known == "its parameter" else (),
    )
    assert (outcome.result, outcome.instance_id) == (Result.TAKEN, number)
    assert bench.effects == [FLEET]


def test_a_hand_over_of_a_pool_that_is_gone_is_a_mistake_of_ours(bench: Bench) -> None:
    with pytest.raises(ValueError, match="no pool old"):
        bench.one(HandOver("i-1", "old", API, Reason.NO_SCOPE, ""))


def test_a_scope_tag_that_cannot_be_written_yet_follows(bench: Bench) -> None:
    bench.sim.aws.fail(TAGGED, code="InvalidInstanceID.NotFound", status=400)
    outcome = bench.one(launch())
    assert (outcome.result, outcome.link) == (Result.DONE, 5)
    assert outcome.detail.startswith(f"handed over to {API}; its tag follows (AWS: ec2:CreateTags")
    assert (outcome.instance_id, outcome.runner_name) == (bench.ids[0], bench.sim.prefix + bench.ids[0])
    assert (list(bench.runners), len(bench.parameters)) == (bench.ids, 1)


# --- ending --------------------------------------------------------------------------------------


def test_a_drain_marks_before_it_deletes(bench: Bench) -> None:
    number = bench.launched()
    command = drain(bench, number)
    outcome = bench.one(command)
    assert bench.effects == [TAGGED, f"DELETE /repos/{API}/actions/runners/{command.runner_id}"]
    assert outcome == Outcome(command, Result.DONE, "removed", number, command.runner_name)
    marked = bench.tags(number)["draining-since"]
    assert marked == f"{bench.sim.clock.now():%Y-%m-%dT%H:%M}:{marked[-3:]}"
    assert bench.runners == {}


def test_a_drain_whose_runner_is_gone_is_done(bench: Bench) -> None:
    number = bench.launched()
    command = drain(bench, number)
    bench.sim.github.remove_runner(command.runner_id)
    assert bench.one(command) == Outcome(command, Result.DONE, "gone", number, command.runner_name)


def test_a_drain_that_github_refuses_is_taken_back_with_its_idleness(bench: Bench) -> None:
    number = bench.launched()
    bench.one(Tag(number, "idle-since", "2026-11-24T08:00:00Z", Reason.IDLE, ""))
    command = drain(bench, number)
    bench.refuse(422)
    assert bench.one(command) == Outcome(command, Result.BUSY, "GitHub says it took a job: kept", number)
    assert [effect.partition(" ")[0] for effect in bench.effects] == [TAGGED, "DELETE", UNTAGGED, UNTAGGED]
    assert bench.tags(number) == {"scope": API}


@pytest.mark.parametrize(
    ("status", "result", "detail"),
    [(None, Result.DONE, "removed"), (422, Result.BUSY, "busy"), (404, Result.DONE, "gone")],
)
def test_what_deregistering_came_to(bench: Bench, status: int | None, result: Result, detail: str) -> None:
    number = bench.launched()
    name = bench.sim.prefix + number
    command = Deregister(API, bench.runners[number], name, Reason.GHOST, "")
    if status == 404:
        bench.sim.github.remove_runner(command.runner_id)
    elif status is not None:
        bench.refuse(status)
    assert bench.one(command) == Outcome(command, result, detail, runner_name=name)


def test_an_instance_is_ended_after_its_runner_and_before_its_secret(bench: Bench) -> None:
    number = bench.launched()
    command = terminate(bench, number)
    assert bench.one(command) == Outcome(command, Result.DONE, "", number, command.runner_name)
    assert bench.effects == [f"DELETE /repos/{API}/actions/runners/{command.runner_id}", ENDED, SWEPT]
    assert (bench.ids, bench.runners, bench.parameters) == ([], {}, [])


def test_an_instance_whose_runner_github_calls_busy_is_kept(bench: Bench) -> None:
    number = bench.launched()
    command = terminate(bench, number)
    bench.refuse(422)
    assert bench.one(command) == Outcome(command, Result.BUSY, "GitHub says it runs a job: kept", number)
    assert (bench.ids, len(bench.parameters)) == ([number], 1)


def test_by_force_a_busy_one_is_ended(bench: Bench) -> None:
    number = bench.launched()
    command = terminate(bench, number, force=True)
    bench.refuse(422)
    assert bench.one(command).result is Result.DONE
    assert (bench.ids, bench.parameters) == ([], [])


def test_an_instance_without_a_runner_is_ended_at_once(bench: Bench) -> None:
    number = bench.launched()
    command = Terminate(number, Reason.ORPHAN, "")
    assert bench.one(command) == Outcome(command, Result.DONE, "", number)
    assert bench.effects == [ENDED, SWEPT]


def test_an_instance_that_ec2_lists_as_ended_is_already_gone(bench: Bench) -> None:
    number = bench.launched()
    assert bench.one(Terminate(number, Reason.ORPHAN, "")).detail == ""
    bench.sim.aws.fail("ec2:TerminateInstances", code="InvalidInstanceID.NotFound", status=400)
    command = Terminate(number, Reason.ORPHAN, "")
    assert bench.one(command) == Outcome(command, Result.DONE, "already gone", number)


@pytest.mark.parametrize("seconds", [pytest.param(0, id="and lists"), pytest.param(60, id="and does not list yet")])
def test_an_instance_that_ec2_does_not_know_is_not_said_to_be_gone(bench: Bench, seconds: float) -> None:
    number = bench.launched()
    bench.sim.aws.configure({"consistency": {"instances": seconds}})
    bench.sim.aws.fail("ec2:TerminateInstances", code="InvalidInstanceID.NotFound", status=400)
    outcome = bench.one(Terminate(number, Reason.ORPHAN, ""))
    assert outcome.result is Result.FAILED
    assert f"EC2 says that it knows no {number}, and does not list it as ended" in outcome.detail
    assert bench.ids == [number]


def test_a_parameter_is_swept(bench: Bench) -> None:
    bench.launched()
    command = DeleteParameter(bench.parameters[0], Reason.STALE_PARAMETER, "")
    assert bench.one(command) == Outcome(command, Result.DONE)
    assert (bench.effects, bench.parameters) == ([SWEPT], [])


def test_a_tag_is_written_and_removed(bench: Bench) -> None:
    number = bench.launched()
    written, removed = (Tag(number, "idle-since", value, Reason.IDLE, "") for value in ("x", None))
    assert bench.one(written) == Outcome(written, Result.DONE, instance_id=number)
    assert bench.tags(number) == {"scope": API, "idle-since": "x"}
    bench.one(removed)
    assert bench.tags(number) == {"scope": API}


@pytest.mark.parametrize(("count", "seconds"), [(3, 0), (103, 20)])
def test_secrets_are_swept_no_faster_than_ssm_takes_it(bench: Bench, count: int, seconds: float) -> None:
    """Three at once, five a second."""
    names = [f"/runner-scaler/main/i-{number}" for number in range(count)]
    assert bench.took(*[DeleteParameter(name, Reason.STALE_PARAMETER, "") for name in names]) == seconds


@pytest.mark.parametrize(("count", "seconds"), [(98, 0), (148, 10)])
def test_instances_are_ended_no_faster_than_ec2_takes_it(bench: Bench, count: int, seconds: float) -> None:
    """98 at once, five a second; those that EC2 does not know take a turn, and leave no secret."""
    assert bench.took(*[Terminate(f"i-{number}", Reason.ORPHAN, "") for number in range(count)]) == seconds


def test_what_is_taken_back_waits_for_its_turn_as_what_is_minted(bench: Bench) -> None:
    """A hundred writes at once, eighty a minute."""
    bench.sim.aws.fail(PUT, code="AccessDeniedException", status=400, times=None)
    bench.one(launch())
    (number,) = bench.ids
    assert bench.took(*[HandOver(number, "amd64", API, Reason.LAUNCHING, "")] * 110) == (220 - 100) * 60 / 80


def test_a_command_that_fails_does_not_stop_the_others(bench: Bench) -> None:
    number = bench.launched()
    commands = [Tag(number, "idle-since", value, Reason.IDLE, "") for value in ("x", "y")]
    bench.sim.aws.fail(TAGGED, code="InternalError", message="not now", status=400)
    first, second = bench.act(*commands).outcomes
    assert (first.command, first.result, second.result) == (commands[0], Result.FAILED, Result.DONE)
    assert "ec2:CreateTags" in first.detail


# --- too late ------------------------------------------------------------------------------------


def test_what_is_late_is_not_begun(bench: Bench) -> None:
    tag = Tag("i-1", "idle-since", "x", Reason.IDLE, "")
    acted = bench.act(launch(), tag, late=lambda: True)
    assert acted.outcomes == (Outcome(launch(), Result.SKIPPED, LATE), Outcome(tag, Result.SKIPPED, LATE))
    assert bench.effects == []


def test_a_walk_that_grows_late_is_gone_on_with_by_the_next_tick(bench: Bench) -> None:
    bench.end(bench.launched(5))
    answers = [False, True]
    outcome = bench.one(launch(), late=lambda: answers.pop(0))
    assert outcome == Outcome(launch(), Result.SKIPPED, LATE, link=5, spent=True)
    assert bench.ids == []


def test_a_plan_that_is_older_than_five_minutes_is_not_begun(bench: Bench) -> None:
    bench.sim.push()
    tap = Tap(bench.sim.clock, latency=60)
    tick = bench.sim.tick(tap)
    assert tick is not None
    assert [(type(o.command), o.result, o.detail) for o in tick.outcomes] == [(Launch, Result.SKIPPED, LATE)]
    assert FLEET not in tap.effects


# --- the memory ----------------------------------------------------------------------------------


def test_what_was_learned_is_kept(bench: Bench) -> None:
    acted = bench.act(launch(), unseen=())
    assert [outcome.result for outcome in acted.outcomes] == [Result.DONE]
    assert acted.memory.links["amd64/0"].k == 5
    assert acted.memory.launches != {}
    assert acted.unseen == ()
    assert bench.effects == [PUT, FLEET, MINT, PUT, TAGGED, PUT]
    assert '"amd64":[[0,5,' in bench.sim.aws.ssm.parameters["/runner-scaler/main/state"].value


def test_a_shard_keeps_what_it_counts_in_a_parameter_of_its_own(bench: Bench) -> None:
    bench.sim.config = replace(bench.sim.config, shard=Shard(1, 2))
    bench.act(unseen=())
    names = [name.rpartition("/")[2] for name in bench.sim.aws.parameter_names()]
    assert sorted(names) == ["state", "state-1-of-2"]


def test_a_memory_that_has_not_changed_is_not_written(bench: Bench) -> None:
    bench.act(unseen=())
    assert bench.effects == [PUT]
    bench.act(unseen=())
    assert bench.effects == []


def test_a_memory_that_could_not_be_read_is_not_overwritten(bench: Bench) -> None:
    acted = bench.act(launch())
    assert acted.memory.links["amd64/0"].k == 5
    assert bench.effects == [FLEET, MINT, PUT, TAGGED]
    assert acted.unseen == ()


def test_who_may_not_write_the_state_launches_nothing(bench: Bench) -> None:
    bench.sim.aws.fail(PUT, code="AccessDeniedException", message="not you", status=400, times=None)
    acted = bench.act(launch(), launch(slot=1), unseen=())
    assert [(outcome.command, outcome.result) for outcome in acted.outcomes] == [
        (launch(), Result.DENIED),
        (launch(slot=1), Result.DENIED),
    ]
    assert "not you" in acted.outcomes[0].detail
    assert acted.outcomes[0].remedy != ""
    assert bench.effects == [PUT, PUT]


def test_who_may_no_longer_write_the_state_launches_nothing_though_it_has_not_changed(bench: Bench) -> None:
    bench.act(unseen=())
    bench.sim.aws.fail(PUT, code="AccessDeniedException", message="not you", status=400, times=None)
    acted = bench.act(launch(), unseen=())
    assert [outcome.result for outcome in acted.outcomes] == [Result.DENIED]
    assert FLEET not in bench.effects


def test_a_state_that_could_not_be_written_for_once_stops_no_launch(bench: Bench) -> None:
    bench.sim.aws.fail(PUT, code="InternalError", status=400)
    acted = bench.act(launch(), unseen=())
    assert [outcome.result for outcome in acted.outcomes] == [Result.DONE]
    assert acted.unseen == ()


@pytest.mark.parametrize(("start", "launched"), [(7, 0), (None, 1)], ids=["another start", "the same state"])
def test_of_two_first_ticks_one_waits_if_they_would_begin_their_chains_differently(
    bench: Bench, start: int | None, launched: int
) -> None:
    """Each has read that there is no state; around midnight they do not begin at the same link."""
    aws = bench.sim.aws
    params = {"Name": "/runner-scaler/main/state", "Type": "String", "Value": encode(Memory(start=start))}

    def another_writes() -> None:
        aws.perform("ssm", "PutParameter", params, aws.ambient.principal)

    bench.sim.clock.after(0.15, another_writes)  # between the reading and the writing
    (outcome,) = bench.act(launch(), unseen=()).outcomes
    if not launched:
        assert outcome == Outcome(launch(), Result.TAKEN, "another tick is this fleet's first; the next one goes on")
    assert (outcome.result is Result.DONE, len(bench.ids)) == (launched == 1, launched)


@pytest.mark.parametrize("denied", [True, False])
def test_a_memory_that_cannot_be_kept_is_told(bench: Bench, denied: bool) -> None:
    bench.sim.aws.fail(PUT, code="AccessDeniedException" if denied else "InternalError", status=400, skip=2)
    acted = bench.act(launch(), unseen=())
    (unseen,) = acted.unseen
    assert (unseen.view, unseen.scope, unseen.denied, unseen.remedy != "") == (View.STATE, "", denied, denied)
    assert unseen.why.startswith("could not be kept: AWS: ssm:PutParameter")
    assert acted.outcomes[0].result is Result.DONE
    assert acted.memory.links["amd64/0"].k == 5
    assert decode(bench.sim.aws.ssm.parameters["/runner-scaler/main/state"].value) == Memory()
