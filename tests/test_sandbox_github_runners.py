"""The embedded GitHub's runners against what GitHub documents, or was seen to do."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.github_site import API, Site, job, meanwhile, site
from tests.watcher import Watcher, described

__all__ = ["described"]

ORG = "/orgs/acme"
JIT = "/actions/runners/generate-jitconfig"


@pytest.fixture
def github() -> Iterator[Site]:
    with site() as running:
        yield running


# --- JIT configurations ------------------------------------------------------------------------------


def test_jit_creates_an_offline_record_at_once_with_exactly_the_labels_asked_for(github: Site) -> None:
    """Recorded by PyGithub: os `unknown`, status `offline`, no implicit labels; GitHub keeps them in lower case."""
    asked = {"name": "main-1", "runner_group_id": 1, "labels": ["Acme", "X64"]}
    made = github.rest("POST", API + JIT, asked)
    assert made.status == 201
    runner = made.body["runner"]
    assert (runner["os"], runner["status"], runner["busy"], runner["ephemeral"]) == ("unknown", "offline", False, True)
    assert [label["name"] for label in runner["labels"]] == ["acme", "x64"]
    assert github.runners() == {"main-1": runner}


@pytest.mark.parametrize("scope", [API, ORG])
def test_jit_is_as_long_as_a_real_one_and_names_its_runner(github: Site, scope: str) -> None:
    """4,088 characters were seen at an organization, 8 short of SSM's standard tier."""
    made = github.rest("POST", scope + JIT, {"name": "main-1", "runner_group_id": 1, "labels": ["acme"]})
    encoded = made.body["encoded_jit_config"]
    assert len(encoded) == 4088
    settings = json.loads(base64.b64decode(json.loads(base64.b64decode(encoded))[".runner"]))
    assert (settings["agentName"], settings["ephemeral"]) == ("main-1", True)
    assert settings["serverUrl"] == github.server.url


def test_jit_for_a_name_that_is_taken_is_refused(github: Site) -> None:
    """docs.github.com, REST create configuration for a just-in-time runner: 409 Conflict."""
    github.jit("main-1")
    asked = {"name": "main-1", "runner_group_id": 1, "labels": ["acme"]}
    assert github.rest("POST", API + JIT, asked).status == 409
    assert github.rest("POST", "/repos/acme/web" + JIT, asked).status == 201
    assert github.rest("POST", ORG + JIT, asked).status == 201


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param({"name": None}, id="no name"),
        pytest.param({"runner_group_id": None}, id="no group"),
        pytest.param({"labels": None}, id="no labels"),
        pytest.param({"labels": []}, id="zero labels"),
        pytest.param({"labels": [f"l{n}" for n in range(101)]}, id="101 labels"),
        pytest.param({"name": "x" * 65}, id="a name of 65 characters"),
        pytest.param({"runner_group_id": "1"}, id="a group that is no number"),
        pytest.param({"labels": "linux"}, id="labels that are no list"),
        pytest.param({"labels": [1]}, id="a label that is no text"),
    ],
)
def test_incomplete_jit_request_is_refused(github: Site, described: Watcher, broken: dict[str, Any]) -> None:
    """docs.github.com, REST create configuration for a just-in-time runner: all required, 1 to 100 labels; 422."""
    asked = {"name": "main-1", "runner_group_id": 1, "labels": ["acme"], **broken}
    body = {key: value for key, value in asked.items() if value is not None}
    if broken != {"name": "x" * 65}:  # the description does not say how long a name may be
        described.expect("request body")
    reply = github.rest("POST", API + JIT, body)
    assert (reply.status, github.runners()) == (422, {})


def test_jit_for_a_group_that_is_not_there_is_not_found(github: Site) -> None:
    """A group that may not be used answers 403 or 404 (seen by a runner manager's authors)."""
    asked = {"name": "main-1", "runner_group_id": 7, "labels": ["acme"]}
    assert github.rest("POST", ORG + JIT, asked).status == 404


def test_jit_is_good_for_about_an_hour(github: Site) -> None:
    """actions/runner#4248: users find that a configuration expires after about 60 minutes."""
    early, late = github.jit("early"), github.jit("late")
    github.clock.advance(3600)
    assert early.up().status == 201
    github.clock.advance(1)
    assert (late.up().status, late.up().body["code"]) == (401, "expired")


# --- registration with a token -----------------------------------------------------------------------


def test_registration_token_serves_many_runners_for_an_hour(github: Site) -> None:
    """docs.github.com, REST create a registration token: it expires after one hour."""
    made = github.rest("POST", f"{API}/actions/runners/registration-token")
    assert (made.status, made.body["expires_at"]) == (201, "2026-11-23T10:00:00Z")
    token = made.body["token"]
    assert [github.register(name, token=token).status for name in ("a", "b")] == [200, 200]
    github.clock.advance(3600)
    assert github.register("c", token=token).status == 401
    assert set(github.runners()) == {"a", "b"}


def test_registration_token_is_for_its_scope_and_purpose_alone(github: Site) -> None:
    """docs.github.com, REST self-hosted runners: tokens are made for a repository or organization, to add or remove."""
    registration = github.rest("POST", f"{API}/actions/runners/registration-token").body["token"]
    removal = github.rest("POST", f"{API}/actions/runners/remove-token").body["token"]
    assert github.register("a", at="/repos/acme/web", token=registration).status == 401
    assert github.register("a", token=removal).status == 401
    assert github.register("a", token="made up").status == 401


def test_existing_name_is_refused_unless_it_is_replaced(github: Site) -> None:
    """actions/runner, ConfigurationManager.cs: unattended without --replace, an existing name is an error."""
    old = github.registered("a")
    assert github.register("a").status == 409
    assert github.register("a", replace=True).status == 200
    assert old.poll().status == 404
    assert len(github.runners()) == 1


def test_runner_that_is_too_old_is_refused(github: Site) -> None:
    """docs.github.com, runner software updates: versions below the minimum cannot register and get no jobs."""
    github.world.set(minimum_version="2.329.0")
    refused = github.register("a", version="2.328.0")
    assert (refused.status, refused.body["code"]) == (403, "deprecated")
    assert github.register("a", version="2.329.0").status == 200
    listener = github.jit("b")
    assert (listener.up("2.298.2").status, listener.up("2.337.0").status) == (403, 201)


# --- sessions and contact ----------------------------------------------------------------------------


def test_second_session_of_a_runner_conflicts(github: Site) -> None:
    """actions/runner, MessageListener.cs: a session conflict, which the listener retries for 4 minutes."""
    listener = github.registered("a")
    assert listener.up().status == 409
    github.clock.advance(61)
    assert listener.up().status == 201


def test_runner_without_contact_goes_offline_and_comes_back(github: Site) -> None:
    """docs.github.com, monitoring self-hosted runners: offline when the application is not connected."""
    listener = github.registered("a")
    assert github.runners()["a"]["status"] == "online"
    github.clock.advance(60)
    assert github.runners()["a"]["status"] == "offline"
    github.serve(job())
    assert listener.poll().status == 200
    assert github.runners()["a"]["status"] == "online"


def test_runner_may_come_and_go(github: Site) -> None:
    """Each absence is a new one: it is noticed again, and the fortnight until the removal begins anew."""
    listener = github.registered("a")
    for _ in range(2):
        github.clock.advance(60)
        assert github.runners()["a"]["status"] == "offline"
        github.clock.advance(13 * 86400)
        listener.up()
        assert github.runners()["a"]["status"] == "online"
    assert github.what("runner.online", "runner.offline") == ["runner.online", "runner.offline"] * 2 + ["runner.online"]


def test_closing_the_session_takes_the_runner_offline(github: Site) -> None:
    """actions/runner: the listener deletes its session when it ends."""
    listener = github.registered("a")
    assert listener.down().status == 200
    assert github.runners()["a"]["status"] == "offline"
    assert listener.poll().status == 401
    assert github.runners()["a"]["status"] == "offline"
    assert listener.up().status == 201


def test_listener_learns_that_its_record_is_gone(github: Site) -> None:
    """actions/runner: "The runner no longer exists on the server", and the listener exits."""
    listener = github.listening("a")
    waiting = meanwhile(listener.poll)
    assert github.rest("DELETE", f"{API}/actions/runners/{listener.id}").status == 204
    assert waiting().status == 404
    assert listener.up().status == 404


def test_long_poll_ends_empty_after_50_seconds() -> None:
    """The broker holds a poll for about 50 s; here with a clock that runs, 500 times as fast."""
    with site(speed=500) as github:
        listener = github.listening("a")
        before = github.clock.now()
        assert listener.poll().status == 204
        assert 50 <= (github.clock.now() - before).total_seconds() < 500


def test_offline_ephemeral_runner_is_removed_after_a_day_and_others_after_a_fortnight(github: Site) -> None:
    """docs.github.com, self-hosted runners reference: removed after 1 day if ephemeral, else after 14 days."""
    github.jit("never used")
    github.registered("ephemeral", ephemeral=True).down()
    github.registered("lasting").down()
    github.clock.advance(86399)
    assert len(github.runners()) == 3
    github.clock.advance(1)
    assert set(github.runners()) == {"lasting"}
    github.clock.advance(13 * 86400)
    assert github.runners() == {}


def test_idle_jit_runner_may_be_removed_by_the_service(github: Site) -> None:
    """actions/runner#4726: since September 2026 idle JIT runners have been removed after 2 to 6 minutes."""
    github.world.set(jit_idle_removal=120.0, lease=600.0)
    jit = github.listening("jit")
    github.registered("token", ephemeral=True)
    github.clock.advance(119)
    assert set(github.runners()) == {"jit", "token"}
    github.clock.advance(1)
    assert set(github.runners()) == {"token"}
    assert jit.poll().status == 404
    assert github.journal.of("runner.removed")[-1].facts["by"] == "service"


def test_idle_jit_runner_stays_unless_that_is_switched_on(github: Site) -> None:
    """The removal of actions/runner#4726 is no documented behaviour: off by default."""
    github.world.set(lease=86400.0)
    github.listening("jit")
    github.clock.advance(7200)
    assert set(github.runners()) == {"jit"}


# --- routing -----------------------------------------------------------------------------------------


def test_runner_must_carry_all_labels_whatever_their_case(github: Site) -> None:
    """docs.github.com, choosing the runner: a runner matches if it has all of the labels; they ignore case."""
    github.serve(job("big", "Self-Hosted", "GPU"), job("small", "self-hosted"))
    some, every = github.listening("some", ("self-hosted",)), github.listening("every", ("self-hosted", "gpu", "x64"))
    assert github.world.job(some.acquire()).name == "small"
    assert github.world.job(every.acquire()).name == "big"


def test_job_is_bound_to_no_runner(github: Site) -> None:
    """docs.github.com, self-hosted runners reference: any online idle match gets the job, the oldest job first."""
    first, second = (github.serve(job("build")) for _ in range(2))
    one, two = github.listening("one"), github.listening("two")
    assert github.world.job(one.acquire()).run.id == first
    assert github.world.job(two.acquire()).run.id == second


def test_runner_serves_its_own_repository_only(github: Site) -> None:
    """docs.github.com, about self-hosted runners: a repository-level runner is dedicated to one repository."""
    github.serve(job("build"))
    elsewhere = github.listening("r1", at="/repos/acme/web")
    assert github.world.state.runners[elsewhere.id].message is None


def test_organization_runner_serves_what_its_group_serves(github: Site) -> None:
    """docs.github.com, runner groups: all, private or selected repositories; public ones only if allowed."""
    github.world.add_repository("acme/open", private=False)
    github.world.add_group("acme", "some", visibility="selected", repositories=["acme/web"])
    run = {name: github.world.push(f"acme/{name}", [job("build")]) for name in ("api", "web", "open")}
    asked = {"name": "r1", "runner_group_id": 2, "labels": ["self-hosted", "linux"]}
    made = github.rest("POST", ORG + JIT, asked)
    assert made.body["runner"]["runner_group_id"] == 2
    groups = github.world.state.groups["acme"]
    assert [[group.serves(r.repository) for r in run.values()] for group in groups] == [
        [True, True, False],
        [False, True, False],
    ]
    in_default = github.listening("r2", at=ORG)
    assert github.world.job(in_default.acquire()).run is run["api"]


@pytest.mark.parametrize(
    ("visibility", "allows_public", "served"),
    [
        ("all", False, ["acme/api", "acme/web"]),
        ("all", True, ["acme/api", "acme/open", "acme/web"]),
        ("private", True, ["acme/api", "acme/web"]),
        ("selected", True, ["acme/open", "acme/web"]),
        ("selected", False, ["acme/web"]),
    ],
)
def test_group_serves_public_repositories_only_if_it_is_allowed_to(
    github: Site, visibility: Any, served: list[str], *, allows_public: bool
) -> None:
    """docs.github.com, managing access with groups: by default only private repositories can access a group."""
    github.world.add_repository("acme/open", private=False)
    github.world.add_repository("other/api")
    selected = ["acme/web", "acme/open", "other/api"]
    group = github.world.add_group(
        "ACME", "some", visibility=visibility, repositories=selected, allows_public=allows_public
    )
    repositories = github.world.state.repositories.values()
    assert sorted(r.full_name for r in repositories if group.serves(r)) == served


def test_group_and_labels_must_both_match(github: Site) -> None:
    """docs.github.com, choosing the runner: with group and labels, both requirements must be met."""
    github.serve(job("build", group="Default"))
    own = github.listening("own")
    shared = github.listening("shared", at=ORG)
    assert github.world.state.runners[own.id].message is None
    assert shared.poll().status == 200


def test_job_not_acquired_in_60_seconds_is_requeued_and_may_go_to_another(github: Site) -> None:
    """docs.github.com, self-hosted runners reference: if the runner does not pick it up in 60 s, it is re-queued."""
    github.world.set(lease=3600.0)
    run = github.serve(job("build"))
    deaf, other = github.listening("deaf"), github.listening("other")
    sent = deaf.poll().body["job_id"]
    github.clock.advance(59)
    assert github.world.state.runners[other.id].message is None
    github.clock.advance(1)
    assert (github.jobs(run)["build"]["status"], github.what("job.requeued")) == ("queued", ["job.requeued"])
    assert deaf.try_acquire(sent).status == 409
    assert other.acquire() == sent


def test_runner_is_busy_from_acquiring_not_from_dispatch(github: Site) -> None:
    """actions/runner#4461, #4708: `busy` flips at acquire, so DELETE of an idle listener can take a sent job along."""
    github.serve(job("build"))
    listener = github.listening("r1")
    sent = listener.poll().body["job_id"]
    assert github.runners()["r1"]["busy"] is False
    assert github.rest("DELETE", f"{API}/actions/runners/{listener.id}").status == 204
    assert listener.try_acquire(sent).status == 409


def test_job_sent_to_a_deleted_runner_may_come_back_late(github: Site) -> None:
    """actions/runner#4461, #2582: it took 10 to 15 minutes for some; when it is back, another runner gets it."""
    github.world.set(requeue_after_removal=600.0, lease=3600.0)
    github.serve(job("build"))
    listener = github.listening("r1")
    github.rest("DELETE", f"{API}/actions/runners/{listener.id}")
    other = github.listening("r2")
    github.clock.advance(599)
    assert github.world.state.runners[other.id].message is None
    github.clock.advance(1)
    assert other.poll().status == 200


# --- work --------------------------------------------------------------------------------------------


def test_job_names_its_runner_from_the_start_and_the_ephemeral_record_goes_with_its_end(github: Site) -> None:
    """docs.github.com, self-hosted runners reference: the service removes an ephemeral runner after one job."""
    run = github.serve(job("build", duration=90.0), job("other"))
    listener = github.listening("r1")
    at = listener.acquire()
    listed = github.jobs(run)["build"]
    assert (listed["status"], listed["runner_name"], listed["runner_id"]) == ("in_progress", "r1", listener.id)
    assert github.runners()["r1"]["busy"] is True
    github.clock.advance(90)
    assert listener.work(at) == "finished"
    assert listener.complete(at).status == 200
    assert github.runners() == {}
    assert github.rest("GET", f"{API}/actions/runners/{listener.id}").status == 404
    assert listener.poll().status == 404
    assert github.jobs(run)["build"]["runner_name"] == "r1"
    assert github.jobs(run)["other"]["status"] == "queued"
    assert github.what("runner.registered", "job.dispatched", "job.started", "job.finished", "runner.removed") == [
        "runner.registered",
        "job.dispatched",
        "job.started",
        "job.finished",
        "runner.removed",
    ]


def test_lasting_runner_takes_one_job_after_the_other(github: Site) -> None:
    """docs.github.com, autoscaling with self-hosted runners: without --ephemeral a runner goes on to the next job."""
    github.serve(job("a"), job("b"))
    listener = github.registered("r1")
    assert listener.do(60) != listener.do(60)
    assert set(github.runners()) == {"r1"}


def test_record_of_an_ephemeral_runner_may_stay_busy_for_some_seconds(github: Site) -> None:
    """Seen by a gateway's authors: after the job DELETE still answers 422 and the same name 409 for seconds."""
    github.world.set(ephemeral_linger=20.0)
    github.serve(job())
    listener = github.listening("r1")
    listener.do(60)
    assert github.rest("DELETE", f"{API}/actions/runners/{listener.id}").status == 422
    asked = {"name": "r1", "runner_group_id": 1, "labels": ["acme"]}
    assert github.rest("POST", API + JIT, asked).status == 409
    github.clock.advance(20)
    assert github.runners() == {}


def test_job_whose_runner_stays_away_is_lost(github: Site) -> None:
    """actions/runner#4309: "The self-hosted runner lost communication with the server"; the job fails."""
    run = github.serve(job("build", duration=7200.0))
    listener = github.listening("r1")
    listener.acquire()
    github.clock.advance(60)
    ghost = github.runners()["r1"]
    assert (ghost["status"], ghost["busy"]) == ("offline", True)
    assert github.rest("DELETE", f"{API}/actions/runners/{listener.id}").status == 422
    github.clock.advance(600)
    assert github.jobs(run)["build"]["conclusion"] == "failure"
    assert github.what("job.lost") == ["job.lost"]
    assert github.runners()["r1"]["busy"] is False
    assert github.rest("DELETE", f"{API}/actions/runners/{listener.id}").status == 204


def test_runner_that_is_back_in_time_keeps_its_job(github: Site) -> None:
    """A short partition loses nothing: the lease is renewed by any contact."""
    run = github.serve(job("build", duration=300.0))
    listener = github.listening("r1")
    at = listener.acquire()
    github.clock.advance(300)
    assert listener.work(at) == "finished"
    github.clock.advance(400)
    assert listener.complete(at).status == 200
    assert github.jobs(run)["build"]["conclusion"] == "success"


def test_cancelled_job_of_a_dead_runner_is_not_lost_as_well(github: Site) -> None:
    """It was ended by the service after 5 minutes; that its runner never came back changes nothing."""
    run = github.serve(job("build", duration=7200.0))
    github.listening("r1").acquire()
    github.world.cancel(run)
    github.clock.advance(3600)
    assert github.jobs(run)["build"]["conclusion"] == "cancelled"
    assert github.what("job.lost") == []


def test_job_outlives_its_runners_record_if_that_is_taken_away_by_hand(github: Site) -> None:
    """An administrator may force a removal; the listener at work goes on to the end of its job."""
    run = github.serve(job())
    listener = github.listening("r1")
    at = listener.acquire()
    github.world.remove_runner(listener.id)
    assert github.runners() == {}
    github.clock.advance(60)
    assert (listener.work(at), listener.complete(at).status) == ("finished", 200)
    assert github.jobs(run)["build"]["conclusion"] == "success"


def test_runner_that_reports_failure_fails_its_job(github: Site) -> None:
    """A hook that fails, say: docs.github.com, running scripts before or after a job."""
    run = github.serve(job())
    listener = github.listening("r1")
    at = listener.acquire()
    listener.complete(at, "failure")
    assert github.jobs(run)["build"]["conclusion"] == "failure"


def test_jobs_own_result_is_the_scenarios(github: Site) -> None:
    """The runner reports that it has run the job; whether its steps succeeded the scenario says."""
    run = github.serve(job("build", conclusions=("failure",)))
    github.listening("r1").do(60)
    assert github.jobs(run)["build"]["conclusion"] == "failure"


def test_runner_sees_its_own_jobs_only(github: Site) -> None:
    """Another runner's job is none of its business."""
    github.serve(job())
    one, two = github.listening("one"), github.listening("two")
    at = one.acquire()
    assert two.send("GET", f"jobs/{at}/work").status == 404
    assert two.complete(at).status == 404
    assert two.try_acquire(at).status == 409
    assert one.complete(at, "banana").status == 422


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "session", 401), ("GET", "message?session=x", 401), ("POST", "jobs/1/acquire", 401)],
)
def test_made_up_credential_is_refused(github: Site, method: str, path: str, status: int) -> None:
    """Nothing is told to who is no runner."""
    reply = github.send(method, f"/_runner/{path}", "{}", {"Authorization": "Bearer made-up"})
    assert reply.status == status


def test_odd_requests_of_a_runner_are_refused(github: Site) -> None:
    """What the protocol does not know is 404, what is incomplete 422, an old session 401."""
    listener = github.listening("r1")
    assert listener.send("GET", "nothing").status == 404
    assert listener.send("DELETE", "jobs/1/acquire").status == 404
    assert listener.send("POST", "session", {}).status == 422
    assert listener.send("GET", "message?session=old").status == 401
    assert github.register("", token="x").status == 422
    assert github.register("a", at="/repos/acme/none", token="x").status == 404
    assert github.register("a", at="/orgs/other", token="x").status == 404


def test_records_keep_their_secrets_to_themselves(github: Site) -> None:
    """What is printed of a runner in a failing test holds no credential."""
    listener = github.listening("r1")
    runner = github.world.state.runners[listener.id]
    assert runner.credential == listener.credential
    assert listener.credential not in repr(runner)
    assert listener.credential not in repr(github.world.state)


def test_registration_names_its_group(github: Site) -> None:
    """actions/runner, config.sh --runnergroup: the group must be there; a repository has the default one alone."""
    github.world.add_group("acme", "builders")
    assert github.register("a", at=ORG, group="builders").status == 200
    assert github.runners(ORG)["a"]["runner_group_id"] == 2
    assert github.register("b", at=ORG, group="none").status == 404
    assert github.register("c", group="builders").status == 404


def test_lease_needs_real_silence_too_where_a_fast_clock_asks_for_it(github: Site) -> None:
    """With virtual minutes in real milliseconds a busy machine would look dead: `patience` is real time."""
    github.world.set(patience=3600.0)
    github.registered("a")
    github.clock.advance(3600)
    assert github.runners()["a"]["status"] == "online"
    github.world.set(patience=0.0)
    github.clock.advance(120)
    assert github.runners()["a"]["status"] == "offline"


# --- removal and lies --------------------------------------------------------------------------------


def test_busy_runner_cannot_be_deleted(github: Site) -> None:
    """docs.github.com, REST delete a self-hosted runner: 422 while it runs a job, with these words."""
    github.serve(job())
    listener = github.listening("r1")
    listener.acquire()
    reply = github.rest("DELETE", f"{API}/actions/runners/{listener.id}")
    assert reply.status == 422
    assert reply.body["message"] == ('Bad request - Runner "r1" is currently running a job and cannot be deleted')
    assert github.what("job.lost") == []


def test_idle_runner_is_deleted_once(github: Site) -> None:
    """docs.github.com, REST delete a self-hosted runner: 204; a second time there is none (404)."""
    listener = github.listening("r1")
    path = f"{API}/actions/runners/{listener.id}"
    assert github.rest("DELETE", f"/repos/acme/web/actions/runners/{listener.id}").status == 404
    assert [github.rest("DELETE", path).status for _ in range(2)] == [204, 404]


@pytest.mark.parametrize(("believes", "status"), [(True, 204), (False, 422)])
def test_busy_may_lag_behind_the_start_of_a_job(github: Site, *, believes: bool, status: int) -> None:
    """github-aws-runners/terraform-aws-github-runner#5085: busy:false for 25 to 60 s after a job has started."""
    github.world.set(busy_lag=30.0, delete_believes=believes)
    github.serve(job())
    listener = github.listening("r1")
    listener.acquire()
    github.clock.advance(29)
    assert github.runners()["r1"]["busy"] is False
    assert github.rest("DELETE", f"{API}/actions/runners/{listener.id}").status == status


def test_busy_is_told_after_the_lag(github: Site) -> None:
    """The other side of the same: after the lag the report is true."""
    github.world.set(busy_lag=30.0)
    github.serve(job())
    listener = github.listening("r1")
    listener.acquire()
    github.clock.advance(30)
    assert github.runners()["r1"]["busy"] is True
    assert github.rest("DELETE", f"{API}/actions/runners/{listener.id}").status == 422


@pytest.mark.parametrize(
    ("then", "state", "conclusion"), [("dies", "lost", "failure"), ("continues", "finished", "success")]
)
def test_busy_may_lie_in_mid_job_and_then_delete_succeeds(github: Site, then: str, state: str, conclusion: str) -> None:
    """github-aws-runners/terraform-aws-github-runner#5085: busy:false 12 min into a job, DELETE answers 204 as well."""
    github.world.set(deleted_job=then, lease=86400.0)
    run = github.serve(job("build", duration=1800.0))
    listener = github.listening("r1")
    at = listener.acquire()
    github.clock.advance(720)
    assert github.runners()["r1"]["busy"] is True
    github.world.set(idle_liars={"r1"})
    assert github.runners()["r1"]["busy"] is False
    assert github.rest("DELETE", f"{API}/actions/runners/{listener.id}").status == 204
    github.clock.advance(1080)
    assert listener.work(at) == state
    listener.complete(at)
    assert github.jobs(run)["build"]["conclusion"] == conclusion
    assert len(github.what("job.lost")) == (then == "dies")


def test_runner_list_filters_by_exact_name(github: Site) -> None:
    """docs.github.com, REST list self-hosted runners for a repository: `name` is the name of a runner."""
    github.jit("main-1")
    github.jit("main-10")
    listed = github.get(f"{API}/actions/runners?name=main-1")
    assert (listed["total_count"], [runner["name"] for runner in listed["runners"]]) == (1, ["main-1"])


def test_runner_downloads_carry_checksums(github: Site) -> None:
    """docs.github.com, REST list runner applications: url, filename and sha256_checksum."""
    for scope in (API, ORG):
        packages = github.get(f"{scope}/actions/runners/downloads")
        assert {(package["os"], package["architecture"]) for package in packages} >= {
            ("linux", "x64"),
            ("linux", "arm64"),
        }
        assert all(len(package["sha256_checksum"]) == 64 for package in packages)


def test_runner_groups_of_an_organization(github: Site) -> None:
    """docs.github.com, REST runner groups: id 1 is the default one; selected repositories are listed apart."""
    github.world.add_group("acme", "some", visibility="selected", repositories=["acme/web"])
    groups = github.get(f"{ORG}/actions/runner-groups")["runner_groups"]
    assert [(g["id"], g["name"], g["default"], g["visibility"]) for g in groups] == [
        (1, "Default", True, "all"),
        (2, "some", False, "selected"),
    ]
    assert github.get(f"{ORG}/actions/runner-groups/2")["name"] == "some"
    served = github.get(f"{ORG}/actions/runner-groups/2/repositories")
    assert [repository["full_name"] for repository in served["repositories"]] == ["acme/web"]
    assert github.rest("GET", f"{ORG}/actions/runner-groups/3").status == 404
