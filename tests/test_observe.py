"""What a tick sees of the simulated world, in which order, and what it says it could not see."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, cast

import boto3
import pytest

from scaler.aws.api import AwsApi
from scaler.deciding.memory import encode
from scaler.model import Down, Memory, Snapshot, Unseen, Up, View
from scaler.observe import Observer
from scaler.sandbox.github.faults import Fault, FaultKind
from scaler.sandbox.github.state import JobSpec
from simulation.boxes import Habit
from simulation.wire import DirectGitHub, DirectSession, Tap, VirtualClock
from simulation.world import CONFIG, Simulation

API, WEB = "acme/api", "acme/web"
STATE = "/runner-scaler/main/state"
KNOWN = Memory(ghosts={"main-1a2b3c-i-9": datetime.fromisoformat("2026-11-24T08:00:00+00:00")})
ORGANIZATION = CONFIG.replace("repositories:", "github: {register_at: organization, organization: acme}\nrepositories:")


@dataclass(slots=True)
class Heard(Tap):
    """A tap that notes every call."""

    heard: list[str] = field(default_factory=list)

    @contextmanager
    def passing(self, name: str, *, effect: bool) -> Iterator[None]:
        """One call on its way."""
        self.heard.append(name)
        with Tap.passing(self, name, effect=effect):
            yield


class Elsewhen(AwsApi):
    """AWS whose clock is `ahead` of GitHub's."""

    ahead = timedelta()

    def now(self) -> datetime | None:
        """AWS's clock."""
        now = super().now()
        return now and now + self.ahead


def observer(sim: Simulation, tap: Tap | None = None, ahead: timedelta = timedelta()) -> Observer:
    """The shipped observer over one connection."""
    tap = tap or Tap(sim.clock)
    clock = VirtualClock(sim.clock)
    cloud = Elsewhen(sim.config, cast("boto3.Session", DirectSession(sim.aws, tap, sim.shown())), clock)
    cloud.ahead = ahead
    return Observer(sim.config, DirectGitHub(sim.server, tap, clock, sim.shown()), cloud, sim.prefix, connections=1)


def observed(sim: Simulation, **more: Any) -> Snapshot:
    """A deep look."""
    return observer(sim, **more).observe(deep=True)[0]


def missing(snapshot: Snapshot) -> list[tuple[View, str, bool]]:
    """What could not be seen, and whether it was denied."""
    return [(unseen.view, unseen.scope, unseen.denied) for unseen in snapshot.unseen]


@pytest.fixture
def sim() -> Simulation:
    return Simulation()


def hung(sim: Simulation, **tags: str) -> str:
    """An instance of ours that does nothing, with some of our tags."""
    sim.boxes.manners.always = Habit.HANGS
    sim.push()
    sim.tick()
    (number,) = sim.oracle.alive()
    retag(sim, number, **tags)
    return number


def retag(sim: Simulation, number: str, **tags: str) -> None:
    """Somebody changes an instance's tags."""
    held = sim.aws.instance(number)
    assert held is not None
    ours = {f"runner-scaler:{key.replace('_', '-')}": value for key, value in tags.items()}
    with sim.clock.lock:
        sim.aws.ec2.retag(number, {**held.tags, **ours}, "somebody")


# --- the order, and the whole ----------------------------------------------------------------------


def test_instances_are_read_before_runners_and_runners_before_jobs(sim: Simulation) -> None:
    sim.push()
    tap = Heard(sim.clock)
    assert observed(sim, tap=tap).unseen == ()
    kinds = [name.rpartition("/")[2] for name in tap.heard]
    assert kinds[:3] == ["ec2:DescribeInstances", "ssm:DescribeParameters", "ssm:GetParameter"]
    assert list(dict.fromkeys(kinds[3:])) == ["runners", "runs", "jobs"]
    assert max(n for n, kind in enumerate(kinds) if kind == "runners") < kinds.index("runs")


def test_waiting_runs_are_looked_into_when_the_look_is_deep(sim: Simulation) -> None:
    sim.push()
    deep, shallow = Heard(sim.clock), Heard(sim.clock)
    assert observer(sim, deep).observe(deep=True)[0].deep
    assert not observer(sim, shallow).observe(deep=False)[0].deep
    lists = [tap.heard.count(f"GET /repos/{API}/actions/runs") for tap in (deep, shallow)]
    assert lists == [5, 2]


def test_everything_that_is_there_is_seen(sim: Simulation) -> None:
    number = hung(sim)
    sim.github.add_repository("acme/open", private=False)
    sim.github.push("acme/open", [JobSpec("open", ("self-hosted",), 60.0)])
    sim.config = replace(sim.config, repositories=(API, "acme/open"))
    snapshot = observed(sim)
    assert [instance.id for instance in snapshot.instances] == [number]
    assert [(runner.name, runner.scope) for runner in snapshot.runners] == [(sim.prefix + number, API)]
    assert [parameter.instance_id for parameter in snapshot.parameters] == [number]
    assert [(job.repository, job.name) for job in snapshot.jobs] == [(API, "job 0"), ("acme/open", "open")]
    assert (snapshot.public, snapshot.served) == (frozenset({"acme/open"}), None)
    assert (snapshot.unseen, snapshot.runner_prefix) == ((), sim.prefix)
    assert abs(snapshot.now - sim.clock.now()) < timedelta(seconds=2)


# --- what cannot be seen -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "view"),
    [
        ("ec2:DescribeInstances", View.INSTANCES),
        ("ssm:DescribeParameters", View.PARAMETERS),
        ("ssm:GetParameter", View.STATE),
    ],
)
@pytest.mark.parametrize("denied", [True, False])
def test_what_aws_does_not_show_is_unseen(sim: Simulation, action: str, view: View, *, denied: bool) -> None:
    code = "UnauthorizedOperation" if action.startswith("ec2") else "AccessDeniedException"
    sim.aws.fail(action, code=code if denied else "InternalError", status=400, times=None)
    (unseen,) = observed(sim).unseen
    assert (unseen.view, unseen.scope, unseen.denied) == (view, "", denied)
    assert action in unseen.why
    assert (unseen.remedy != "") is denied


@pytest.mark.parametrize(
    ("path", "view"), [(r"^/repos/acme/api/actions/runs$", View.QUEUE), (r"^/repos/acme/api/.*runners$", View.RUNNERS)]
)
@pytest.mark.parametrize(("status", "denied"), [(404, False), (401, True), (500, False)])
def test_what_github_does_not_show_is_unseen_and_the_rest_is_seen(
    sim: Simulation, path: str, view: View, status: int, *, denied: bool
) -> None:
    sim.push(repository=WEB)
    sim.github.fault(Fault(FaultKind.STATUS, path=path, times=None, value=status))
    snapshot = observed(sim)
    assert missing(snapshot) == [(view, API, denied)]
    assert [job.repository for job in snapshot.jobs] == [WEB]


def test_a_list_that_github_ends_at_a_thousand_is_not_whole(sim: Simulation) -> None:
    for _ in range(1001):
        sim.github.push(API, [JobSpec("one", ("self-hosted",), 60.0)])
    snapshot = observed(sim)
    assert missing(snapshot) == [(View.QUEUE, API, False)]
    assert snapshot.unseen[0].why == "GitHub's run list ends at 1,000 results: there are at least these jobs"
    assert len(snapshot.jobs) == 1000


@pytest.mark.parametrize(("minutes", "apart"), [(0, False), (1.9, False), (2.1, True), (-2.1, True)])
def test_clocks_two_minutes_apart_are_not_believed(sim: Simulation, minutes: float, *, apart: bool) -> None:
    ahead = timedelta(minutes=minutes)
    expected = [(View.CLOCK, "", False)] if apart else []
    assert missing(observed(sim, ahead=ahead)) == expected
    assert missing(observer(sim, ahead=ahead).observe_for_up([Up("amd64", API, 1)])[0]) == expected


def test_no_runner_at_all_where_one_was_seen_idle_is_not_believed(sim: Simulation) -> None:
    number = hung(sim, idle_since="2026-11-24T08:00:00Z")
    assert observed(sim).unseen == ()
    sim.github.fault(Fault(FaultKind.EMPTY, path="/actions/runners$", times=None))
    why = f"GitHub lists no runner at all, but {number} has registered one: not believed"
    assert observed(sim).unseen == (Unseen(View.RUNNERS, API, why),)


def test_no_runner_at_all_is_believed_where_none_was_seen_idle_or_that_one_is_being_drained(sim: Simulation) -> None:
    number = hung(sim)
    sim.github.fault(Fault(FaultKind.EMPTY, path="/actions/runners$", times=None))
    assert observed(sim).unseen == ()
    retag(sim, number, idle_since="2026-11-24T08:00:00Z", draining_since="2026-11-24T08:00:00Z")
    assert observed(sim).unseen == ()


def test_no_runner_at_all_where_a_job_runs_on_one_of_ours_is_not_believed(sim: Simulation) -> None:
    sim.push(minutes=60)
    sim.ticks(2)
    (number,) = sim.oracle.alive()
    sim.github.fault(Fault(FaultKind.EMPTY, path="/actions/runners$", times=None))
    why = f'GitHub lists no runner at all, but "job 0" runs on {sim.prefix + number}: not believed'
    assert observed(sim).unseen == (Unseen(View.RUNNERS, API, why),)


def test_no_instance_at_all_while_a_runner_of_ours_is_online_is_not_believed(sim: Simulation) -> None:
    sim.push(minutes=60)
    sim.ticks(2)
    (number,) = sim.oracle.alive()
    retag(sim, number, fleet="other")
    why = f"EC2 lists no instance at all, but {sim.prefix + number} is online: not believed"
    assert observed(sim).unseen == (Unseen(View.INSTANCES, "", why),)
    sim.aws.fail("ec2:DescribeInstances", status=400, times=None)
    assert missing(observed(sim)) == [(View.INSTANCES, "", False)]


@pytest.mark.parametrize(
    ("pool", "believed"),
    [("amd64", False), ("arm64", True), ("old", True)],
    ids=["JIT", "token", "a pool that is gone"],
)
def test_no_runner_at_all_is_not_believed_where_one_is_marked_that_must_have_a_record(
    sim: Simulation, pool: str, *, believed: bool
) -> None:
    hung(sim, draining_since="2026-11-24T08:00:00Z", pool=pool)
    sim.github.fault(Fault(FaultKind.EMPTY, path="/actions/runners$", times=None))
    assert missing(observed(sim)) == ([] if believed else [(View.RUNNERS, API, False)])


# --- names, and what is outside the config ---------------------------------------------------------


def test_a_scope_is_spelled_as_the_config_spells_it(sim: Simulation) -> None:
    number = hung(sim, scope="ACME/Api")
    sim.config = replace(sim.config, repositories=("Acme/API", WEB))
    snapshot = observed(sim)
    assert [(i.id, i.scope) for i in snapshot.instances] == [(number, "Acme/API")]
    assert [parameter.scope for parameter in snapshot.parameters] == ["Acme/API"]


def test_a_repository_that_an_instance_still_bears_is_looked_at(sim: Simulation) -> None:
    hung(sim)
    sim.config = replace(sim.config, repositories=(WEB,))
    snapshot = observed(sim)
    assert ({runner.scope for runner in snapshot.runners}, {job.repository for job in snapshot.jobs}) == ({API}, {API})
    assert snapshot.unseen == ()


def test_an_organization_that_an_instance_still_bears_is_never_seen_whole(sim: Simulation) -> None:
    hung(sim, scope="acme")
    sim.github.add_organization("acme")
    why = "registered at an organization that config.yaml does not name any more: its jobs are not seen"
    assert observed(sim).unseen == (Unseen(View.RUNNERS, "acme", why),)


# --- the runner group ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("repositories", "served", "why"),
    [
        (None, None, 'runner group "Default" also serves every repository: jobs there are not seen'),
        ((API, WEB), {API, WEB}, ""),
        ((API,), {API}, ""),
        ((API, "acme/x"), {API, "acme/x"}, 'runner group "Default" also serves acme/x: jobs there are not seen'),
    ],
)
def test_a_group_that_serves_strangers_is_told(
    repositories: tuple[str, ...] | None, served: set[str] | None, why: str
) -> None:
    sim = Simulation(ORGANIZATION)
    sim.github.add_repository("acme/x")
    if repositories is not None:
        sim.github.add_group("acme", "Default", visibility="selected", repositories=repositories)
    snapshot = observed(sim)
    assert snapshot.served == (None if served is None else frozenset(served))
    assert [(u.view, u.scope, u.why.removesuffix(", so nothing is scaled down")) for u in snapshot.unseen] == (
        [(View.GROUP, "acme", why)] if why else []
    )


def test_a_group_that_there_is_not_serves_nobody() -> None:
    sim = Simulation(ORGANIZATION.replace("organization: acme}", "organization: acme, runner_group: own}"))
    snapshot = observed(sim)
    assert (snapshot.served, missing(snapshot)) == (frozenset(), [(View.GROUP, "acme", True)])


def test_a_group_that_could_not_be_seen_may_serve_all() -> None:
    sim = Simulation(ORGANIZATION)
    sim.github.fault(Fault(FaultKind.STATUS, path="/runner-groups$", times=None))
    snapshot = observed(sim)
    assert (snapshot.served, missing(snapshot)) == (None, [(View.GROUP, "acme", False)])


# --- the memory ------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [None, KNOWN])
def test_a_state_that_is_none_of_ours_or_unreadable_is_what_is_known(sim: Simulation, known: Memory | None) -> None:
    assert observer(sim).observe(deep=True, known=known)[1] == Memory()
    sim.tick(Tap(sim.clock))
    hung(sim)
    held = sim.aws.ssm.parameters[STATE]
    sim.aws.ssm.parameters[STATE] = replace(held, value="nonsense")
    assert observer(sim).observe(deep=True, known=known)[1] == (known or Memory())
    sim.aws.ssm.parameters[STATE] = replace(held, value=encode(KNOWN))
    assert observer(sim).observe(deep=True)[1] == KNOWN
    sim.aws.fail("ssm:GetParameter", code="InternalError", status=400)
    assert observer(sim).observe(deep=True, known=known)[1] == (known or Memory())


# --- by hand ---------------------------------------------------------------------------------------


def test_up_looks_at_what_a_launch_needs_alone(sim: Simulation) -> None:
    sim.github.add_repository("acme/open", private=False)
    sim.config = replace(sim.config, repositories=(API, "acme/open"))
    tap = Heard(sim.clock)
    asked = (Up("amd64", API, 1), Up("arm64", API, 1), Up("amd64", "acme/open", 1))
    snapshot, memory = observer(sim, tap).observe_for_up(asked)
    assert (snapshot.public, snapshot.asked, snapshot.unseen) == (frozenset({"acme/open"}), asked, ())
    assert (snapshot.runner_prefix, snapshot.instances) == (sim.prefix, ())
    assert memory == Memory()
    assert sorted(name for name in tap.heard if "runners" in name) == [
        "GET /repos/acme/api/actions/runners",
        "GET /repos/acme/open/actions/runners",
    ]
    assert not [name for name in tap.heard if name.endswith(("runs", "jobs"))]


def test_up_at_an_organization_asks_of_no_repository_whether_it_is_public() -> None:
    sim = Simulation(ORGANIZATION)
    tap = Heard(sim.clock)
    snapshot, _ = observer(sim, tap).observe_for_up([Up("amd64", "acme", 1)])
    assert (snapshot.unseen, snapshot.public) == ((), frozenset())
    assert not [name for name in tap.heard if name.startswith("GET /repos/")]


def test_up_says_what_it_could_not_see(sim: Simulation) -> None:
    sim.github.fault(Fault(FaultKind.STATUS, path="/actions/runners$", times=None))
    snapshot, _ = observer(sim).observe_for_up([Up("amd64", API, 1)])
    assert missing(snapshot) == [(View.RUNNERS, API, False)]


def test_down_looks_at_the_instances_that_were_asked_for(sim: Simulation) -> None:
    sim.push(minutes=60)
    sim.ticks(2)
    (number,) = sim.oracle.alive()
    template = {"LaunchTemplateName": "runner-amd64", "Version": "3"}
    params = {"LaunchTemplate": template, "MinCount": 1, "MaxCount": 1}
    with sim.clock.lock:
        answer = sim.aws.perform("ec2", "RunInstances", params, sim.aws.ambient.principal)
    stranger = answer["Instances"][0]["InstanceId"]
    asked = tuple(Down(each) for each in ("i-0123456789abcdef0", number, stranger))  # what is gone ends no list
    snapshot, _ = observer(sim).observe_for_down(asked)
    assert snapshot.runner_prefix == sim.prefix
    assert timedelta() <= sim.clock.now() - snapshot.now < timedelta(minutes=1)
    assert [(i.id, i.scope) for i in snapshot.instances] == [(number, API)]
    assert (snapshot.strangers, snapshot.asked) == (frozenset({stranger}), asked)
    assert [(job.name, job.runner_name) for job in snapshot.jobs] == [("job 0", sim.prefix + number)]
    assert [runner.name for runner in snapshot.runners] == [sim.prefix + number]
    assert snapshot.unseen == ()


def test_down_looks_everywhere_for_one_whose_runner_is_not_where_its_tag_says(sim: Simulation) -> None:
    number = hung(sim)
    tap = Heard(sim.clock)
    snapshot, _ = observer(sim, tap).observe_for_down([Down(number)])
    assert [(i.id, i.scope) for i in snapshot.instances] == [(number, None)]
    assert [name for name in tap.heard if name.endswith("/runners")] == [
        f"GET /repos/{scope}/actions/runners" for scope in (API, WEB)
    ]


def test_down_of_one_that_is_ending_looks_at_nobody(sim: Simulation) -> None:
    number = hung(sim)
    with sim.clock.lock:
        sim.aws.ec2.end(number, "api")
    snapshot, _ = observer(sim).observe_for_down([Down(number)])
    assert (snapshot.instances, snapshot.strangers, snapshot.runners) == ((), frozenset(), ())


def test_down_of_several_keeps_what_it_saw_first_when_it_looks_everywhere(sim: Simulation) -> None:
    """One is at its job in acme/api, and nobody knows where the other's runner is."""
    sim.push(minutes=60)
    sim.ticks(2)
    (working,) = sim.oracle.alive()
    sim.boxes.manners.always = Habit.HANGS
    sim.push()
    sim.tick()
    (lost,) = set(sim.oracle.alive()) - {working}
    snapshot, _ = observer(sim).observe_for_down([Down(working), Down(lost)])
    assert [runner.name for runner in snapshot.runners if runner.busy] == [sim.prefix + working]
    assert {(instance.id, instance.scope) for instance in snapshot.instances} == {(working, API), (lost, None)}


def test_down_looks_into_runs_that_wait(sim: Simulation) -> None:
    """A job of theirs may be at the instance: a look that is not deep would not know of it (D1)."""
    number = hung(sim)
    tap = Heard(sim.clock)
    observer(sim, tap).observe_for_down([Down(number)])
    assert tap.heard.count(f"GET /repos/{API}/actions/runs") == 5, "a list for each status of a run that is not over"


def test_down_says_what_it_could_not_see(sim: Simulation) -> None:
    sim.aws.fail("ec2:DescribeInstances", status=400, times=None)
    snapshot, _ = observer(sim).observe_for_down([Down("i-0123456789abcdef0")])
    assert missing(snapshot) == [(View.INSTANCES, "", False)]
