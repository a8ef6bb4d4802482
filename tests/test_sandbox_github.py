"""The embedded GitHub's REST API as such: pages, validators, limits, tokens, errors, and how it fails on purpose."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from github import Auth, Github, GithubException, GithubRetry, UnknownObjectException

from scaler.sandbox.github.faults import Fault, FaultKind
from scaler.sandbox.github.server import Exchange
from tests.github_site import API, MORNING, Reply, Site, job, site
from tests.watcher import Watcher, described

__all__ = ["described"]

RUNS = f"{API}/actions/runs"
RUNNERS = f"{API}/actions/runners"


@pytest.fixture
def github() -> Iterator[Site]:
    with site() as running:
        yield running


@pytest.fixture
def client(github: Site) -> Iterator[Github]:
    client = Github(
        base_url=github.server.url,
        auth=Auth.Token("pat"),
        per_page=100,
        seconds_between_requests=0,
        seconds_between_writes=0,
        retry=GithubRetry(total=2, backoff_factor=0, max_rate_limit_wait=0),
    )
    yield client
    client.close()


def links(reply: Reply) -> dict[str, str]:
    """The Link header's URLs by rel."""
    return {rel: url for url, rel in re.findall(r'<([^>]+)>; rel="(\w+)"', reply.headers.get("Link", ""))}


# --- through PyGithub --------------------------------------------------------------------------------


def test_pygithub_reads_runs_jobs_and_runners(github: Site, client: Github) -> None:
    """The client that the program uses, unmodified: it refuses URLs of another host, so all are the server's."""
    runs = [github.serve(job("a"), job("b")) for _ in range(3)]
    github.listening("r1")
    repository = client.get_repo("acme/api")
    assert (repository.private, repository.default_branch, repository.owner.login) == (True, "main", "acme")
    found = list(repository.get_workflow_runs(status="queued"))
    assert [run.id for run in found] == runs[::-1]
    assert [listed.name for listed in found[0].jobs()] == ["a", "b"]
    assert [runner.name for runner in repository.get_self_hosted_runners()] == ["r1"]
    assert client.get_organization("acme").login == "acme"


def test_pygithub_follows_pages(github: Site, client: Github) -> None:
    """150 rows come as 100 and 50: PyGithub asks for the URL of the Link header."""
    for number in range(150):
        github.jit(f"r{number}")
    listed = client.get_repo("acme/api").get_self_hosted_runners()
    assert [runner.name for runner in listed] == [f"r{number}" for number in range(150)]
    assert listed.totalCount == 150


def test_pygithub_removes_runners_and_sees_refusals(github: Site, client: Github) -> None:
    """DELETE of an idle runner is 204, of a busy one 422, of none 404."""
    github.serve(job())
    busy, idle = github.listening("busy"), github.listening("idle")
    busy.acquire()
    repository = client.get_repo("acme/api")
    assert repository.remove_self_hosted_runner(idle.id) is True
    with pytest.raises(GithubException) as refused:
        repository.requester.requestJsonAndCheck("DELETE", f"{repository.url}/actions/runners/{busy.id}")
    assert refused.value.status == 422
    with pytest.raises(UnknownObjectException):
        repository.get_self_hosted_runner(idle.id)


def test_pygithub_dispatches_cancels_and_reruns(github: Site, client: Github) -> None:
    """The requests behind these calls, as PyGithub words them."""
    github.world.add_workflow("acme/api", "Nightly", [job()])
    run = client.get_repo("acme/api").get_workflow_run(github.serve(job()))
    assert run.cancel() is True
    assert run.rerun() is True
    assert client.get_repo("acme/api").get_workflow_run(run.id).run_attempt == 2


# --- pages -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [0, 1, 29, 30, 31, 60, 61])
def test_pages_are_30_unless_asked_for(github: Site, rows: int) -> None:
    """docs.github.com, using pagination: 30 by default; Link has next and last, prev and first, as far as there are."""
    for number in range(rows):
        github.jit(f"r{number}")
    seen, url = [], RUNNERS
    while url:
        reply = github.rest("GET", url)
        assert reply.body["total_count"] == rows
        seen += [runner["name"] for runner in reply.body["runners"]]
        url = links(reply).get("next", "").removeprefix(github.server.url)
    assert seen == [f"r{number}" for number in range(rows)]


def test_link_header_names_its_pages(github: Site) -> None:
    """Recorded: `<https://api.github.com/repositories/146139403/actions/runs?page=2>; rel="next"`."""
    for number in range(5):
        github.jit(f"r{number}")
    pages = [github.rest("GET", f"{RUNNERS}?per_page=2&page={page}") for page in (1, 2, 3)]
    assert [set(links(page)) for page in pages] == [
        {"next", "last"},
        {"prev", "next", "last", "first"},
        {"prev", "first"},
    ]
    repository = github.world.repository("acme/api").id
    assert links(pages[0])["last"] == f"{github.server.url}/repositories/{repository}/actions/runners?per_page=2&page=3"
    assert links(pages[2])["prev"].endswith("?per_page=2&page=2")
    assert "Link" not in github.rest("GET", f"{RUNNERS}?per_page=5").headers


def test_pages_of_an_organization_are_numbered_too(github: Site) -> None:
    """Seen in recordings: `https://api.github.com/organizations/1234/actions/runners?page=2`."""
    for number in range(3):
        github.jit(f"r{number}", at="/orgs/acme")
    first = github.rest("GET", "/orgs/acme/actions/runners?per_page=2")
    following = links(first)["next"].removeprefix(github.server.url)
    assert following == f"/organizations/{github.get('/orgs/acme')['id']}/actions/runners?per_page=2&page=2"
    assert [runner["name"] for runner in github.get(following)["runners"]] == ["r2"]


@pytest.mark.parametrize(
    ("query", "rows"),
    [("per_page=1", 1), ("per_page=100", 40), ("per_page=0", 30), ("per_page=x", 30), ("page=0", 30), ("page=9", 0)],
)
def test_odd_page_sizes_are_mended(github: Site, described: Watcher, query: str, rows: int) -> None:
    """What is no positive number is the default, without a word."""
    for number in range(40):
        github.jit(f"r{number}")
    if query in ("per_page=0", "per_page=x", "page=0"):
        described.expect("request query") if query != "page=0" else None
    assert len(github.get(f"{RUNNERS}?{query}")["runners"]) == rows


def test_page_holds_100_rows_at_most(github: Site, described: Watcher) -> None:
    """docs.github.com, using pagination: per_page up to 100."""
    described.expect("per_page: 500")
    for number in range(101):
        github.jit(f"r{number}")
    assert len(github.get(f"{RUNNERS}?per_page=500")["runners"]) == 100


def test_filtered_list_of_runs_ends_after_1000(github: Site) -> None:
    """docs.github.com, REST list workflow runs: up to 1,000 results when a filter is used."""
    for _ in range(1001):
        github.serve()
    filtered = github.rest("GET", f"{RUNS}?status=queued&per_page=100&page=10")
    assert (len(filtered.body["workflow_runs"]), "next" in links(filtered)) == (100, False)
    assert github.get(f"{RUNS}?status=queued&per_page=100&page=11")["workflow_runs"] == []
    assert len(github.get(f"{RUNS}?per_page=100&page=11")["workflow_runs"]) == 1


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("", [3, 2, 1]),
        ("event=push", [3, 1]),
        ("event=schedule", [2]),
        ("branch=dev", [3]),
        ("status=queued", [3, 2, 1]),
        ("status=completed", []),
        ("status=failure", []),
        ("created=>=2026-11-23T10:00:00Z", [3, 2]),
        ("created=<2026-11-23T10:00:00Z", [1]),
        ("created=2026-11-23T10:00:00Z..2026-11-23T10:30:00Z", [2]),
        ("created=2026-11-23", [3, 2, 1]),
        ("created=2026-11-22..2026-11-22", []),
        ("created=2026-11-23T09:00:00Z..*", [3, 2, 1]),
        ("created=*..2026-11-23T10:00:00Z", [2, 1]),
        ("created=>2026-11-23T10:00:00Z", [3]),
        ("created=<=2026-11-23T10:00:00Z", [2, 1]),
        ("created=yesterday", []),
        ("actor=acme-dev", [3, 2, 1]),
        ("actor=someone", []),
        ("exclude_pull_requests=true", [3, 2, 1]),
    ],
)
def test_runs_are_filtered(github: Site, query: str, numbers: list[int]) -> None:
    """docs.github.com, REST list workflow runs for a repository; newest first."""
    github.serve(job())
    github.clock.advance(3600)
    github.serve(job(), event="schedule", workflow="CI")
    github.clock.advance(3600)
    github.serve(job(), branch="dev")
    found = github.get(f"{RUNS}?{query.replace('>', '%3E').replace('<', '%3C')}")
    assert [run["run_number"] for run in found["workflow_runs"]] == numbers


def test_unknown_parameters_are_ignored(github: Site, described: Watcher) -> None:
    """GitHub says nothing about a misspelt parameter: the validator of this project does."""
    described.expect("query stauts: unknown parameter")
    github.serve(job())
    assert github.get(f"{RUNS}?stauts=completed")["total_count"] == 1


# --- validators and limits ---------------------------------------------------------------------------


def test_unchanged_answer_is_304_without_a_body_and_free(github: Site) -> None:
    """docs.github.com, best practices: a 304 to If-None-Match does not count against the primary rate limit."""
    first = github.rest("GET", RUNNERS)
    again = github.rest("GET", RUNNERS, If_None_Match=first.headers["ETag"])
    assert (again.status, again.raw) == (304, b"")
    assert again.headers["X-RateLimit-Remaining"] == first.headers["X-RateLimit-Remaining"]
    github.jit("r1")
    changed = github.rest("GET", RUNNERS, If_None_Match=first.headers["ETag"])
    assert (changed.status, changed.headers["ETag"] == first.headers["ETag"]) == (200, False)


def test_validators_compare_weakly(github: Site) -> None:
    """RFC 9110 §13.1.2: If-None-Match uses the weak comparison, and may list several."""
    tag = github.rest("GET", RUNNERS).headers["ETag"]
    assert tag.startswith('W/"')
    for held in (tag.removeprefix("W/"), f'"other", {tag}', "*"):
        assert github.rest("GET", RUNNERS, If_None_Match=held).status == 304
    assert github.rest("GET", RUNNERS, If_None_Match='"other"').status == 200


def test_every_answer_carries_the_rate_limit(github: Site) -> None:
    """docs.github.com, rate limits: x-ratelimit-limit, -remaining, -used, -reset (epoch seconds), -resource."""
    replies = [github.rest("GET", RUNNERS), github.rest("GET", f"{RUNNERS}/99"), github.rest("GET", RUNNERS)]
    assert [reply.headers["X-RateLimit-Used"] for reply in replies] == ["1", "2", "3"]
    assert replies[2].headers["X-RateLimit-Remaining"] == "4997"
    assert replies[0].headers["X-RateLimit-Limit"] == "5000"
    assert replies[0].headers["X-RateLimit-Resource"] == "core"
    assert int(replies[0].headers["X-RateLimit-Reset"]) == int((MORNING + timedelta(hours=1)).timestamp())


def test_used_up_limit_refuses_until_the_hour_is_over(github: Site) -> None:
    """docs.github.com, rate limits: 403 with x-ratelimit-remaining 0; GITHUB_TOKEN has 1,000 an hour per repository."""
    token = github.world.add_token("ci", kind="github_token", repositories=["acme/api"])
    assert token.limit == 1000
    token.limit = 1
    assert github.rest("GET", RUNS, token="ci").status == 200
    refused = github.rest("GET", RUNS, token="ci")
    assert (refused.status, refused.headers["X-RateLimit-Remaining"]) == (403, "0")
    assert "rate limit exceeded" in refused.body["message"]
    assert github.rest("GET", RUNS).status == 200
    assert github.rest("GET", "/rate_limit", token="ci").body["resources"]["core"]["remaining"] == 0
    github.clock.advance(3600)
    assert github.rest("GET", RUNS, token="ci").status == 200


def test_asking_for_the_rate_limit_is_free(github: Site) -> None:
    """docs.github.com, REST rate limit: this endpoint does not count."""
    assert [github.get("/rate_limit")["rate"]["used"] for _ in range(3)] == [0, 0, 0]


def test_dates_are_the_worlds(github: Site) -> None:
    """The Date header is the clock that the program reads: it is virtual, as all times in bodies are."""
    github.clock.advance(90)
    reply = github.rest("GET", RUNS)
    assert reply.headers["Date"].endswith(" GMT")
    assert parsedate_to_datetime(reply.headers["Date"]) == MORNING + timedelta(seconds=90)
    assert reply.headers["Content-Type"] == "application/json; charset=utf-8"
    run = github.get(f"{RUNS}/{github.serve(job())}")
    assert datetime.fromisoformat(run["created_at"]) == MORNING + timedelta(seconds=90)


def test_run_has_the_size_of_a_real_one(github: Site) -> None:
    """A run with its two repositories is about 10 KB: a full page is a megabyte, and must be read as such."""
    github.serve(job())
    assert 8_000 < len(github.rest("GET", RUNS).raw) < 16_000


# --- who may do what ---------------------------------------------------------------------------------


def test_without_a_good_token_nothing_is_told(github: Site) -> None:
    """docs.github.com, authenticating: 401 "Requires authentication" and "Bad credentials"."""
    none, wrong = github.rest("GET", RUNS, token=None), github.rest("GET", RUNS, token="stolen")
    assert [(reply.status, reply.body["message"]) for reply in (none, wrong)] == [
        (401, "Requires authentication"),
        (401, "Bad credentials"),
    ]
    assert set(wrong.body) == {"message", "documentation_url", "status"}


def test_app_token_expires(github: Site) -> None:
    """docs.github.com, GitHub Apps: an installation access token expires after one hour."""
    github.world.add_token("app", kind="app").expires_at = MORNING + timedelta(hours=1)
    assert github.rest("GET", RUNS, token="app").status == 200
    github.clock.advance(3600)
    assert github.rest("GET", RUNS, token="app").body["message"] == "Bad credentials"


def test_private_repository_out_of_reach_is_not_found(github: Site) -> None:
    """docs.github.com, troubleshooting: 404 instead of 403, so as not to confirm that it exists."""
    github.world.add_token("web", repositories=["acme/web"])
    replies = [github.rest("GET", f"/repos/acme/{name}/actions/runs", token="web") for name in ("api", "none", "web")]
    assert [reply.status for reply in replies] == [404, 404, 200]


@pytest.mark.parametrize(
    ("kind", "words"),
    [("pat", "personal access token"), ("app", "integration"), ("github_token", "integration")],
)
def test_missing_permission_is_403(github: Site, kind: Any, words: str) -> None:
    """docs.github.com, troubleshooting: "Resource not accessible by integration" (or "personal access token")."""
    github.world.add_token("weak", kind=kind, permissions={"metadata": "read", "actions": "read"})
    assert github.rest("GET", RUNS, token="weak").status == 200
    for method, path in (
        ("GET", RUNNERS),
        ("POST", f"{RUNNERS}/registration-token"),
        ("GET", "/orgs/acme/actions/runners"),
    ):
        refused = github.rest(method, path, token="weak")
        assert (refused.status, refused.body["message"]) == (403, f"Resource not accessible by {words}")


def test_reading_runners_does_not_allow_registering(github: Site) -> None:
    """docs.github.com, permissions of fine-grained tokens: Administration read lists, write registers and removes."""
    github.world.add_token("reader", permissions={"administration": "read"})
    assert github.rest("GET", RUNNERS, token="reader").status == 200
    assert github.rest("POST", f"{RUNNERS}/registration-token", token="reader").status == 403
    assert github.rest("DELETE", f"{RUNNERS}/1", token="reader").status == 403


def test_public_repository_can_be_read_by_all_but_not_its_runners(github: Site) -> None:
    """docs.github.com, REST workflow runs: anyone with read access; runners need administration."""
    github.world.add_repository("acme/open", private=False)
    github.world.add_token("web", permissions={"administration": "write"}, repositories=["acme/web"])
    assert github.rest("GET", "/repos/acme/open/actions/runs", token="web").status == 200
    assert github.rest("GET", "/repos/acme/open/actions/runners", token="web").status == 403
    assert [r["name"] for r in github.get("/orgs/acme/repos?type=public")] == ["open"]
    assert [r["name"] for r in github.get("/orgs/acme/repos?type=private")] == ["api", "web"]
    assert github.get("/orgs/acme")["public_repos"] == 1


def test_owner_is_an_organization_or_a_user(github: Site) -> None:
    """docs.github.com, REST get a repository: owner.type, and organization for an organization's alone."""
    github.world.add_repository("someone/tool")
    ours, theirs = github.get(API), github.get("/repos/someone/tool")
    assert (ours["owner"]["type"], theirs["owner"]["type"]) == ("Organization", "User")
    assert ("organization" in ours, "organization" in theirs) == (True, False)


def test_names_in_urls_ignore_case(github: Site) -> None:
    """docs.github.com: repository and owner names are not case sensitive."""
    github.world.add_repository("acme/CamelCase")
    github.jit("r1", at="/repos/acme/camelcase")
    assert set(github.runners("/repos/Acme/CAMELCASE")) == {"r1"}
    assert github.register("r2", at="/repos/acme/camelCase").status == 200
    assert github.world.push("ACME/camelcase", []).repository.full_name == "acme/CamelCase"
    assert github.rest("GET", "/repos/ACME/Api").body["full_name"] == "acme/api"
    assert github.rest("GET", "/orgs/Acme").body["login"] == "acme"


@pytest.mark.parametrize("path", ["/nothing", f"{RUNS}/1", f"{RUNS}/x", f"{API}/actions/jobs/1", "/orgs/none"])
def test_what_is_not_there_is_404(github: Site, described: Watcher, path: str) -> None:
    """docs.github.com, troubleshooting: Not Found, with the fields every error has."""
    if path in ("/nothing", f"{RUNS}/x"):
        described.expect("unknown path")
    reply = github.rest("GET", path)
    assert (reply.status, reply.body["message"], reply.body["status"]) == (404, "Not Found", "404")


def test_jobs_and_runs_belong_to_their_repository(github: Site) -> None:
    """An id of one repository is not found below another."""
    run = github.serve(job())
    number = github.jobs(run)["build"]["id"]
    assert github.rest("GET", f"{API}/actions/jobs/{number}").body["run_id"] == run
    assert github.rest("GET", f"/repos/acme/web/actions/jobs/{number}").status == 404
    assert github.rest("GET", f"/repos/acme/web/actions/runs/{run}").status == 404


def test_request_without_a_user_agent_is_forbidden(github: Site) -> None:
    """docs.github.com, getting started with the REST API: requests without User-Agent are rejected."""
    assert github.send("GET", RUNS, None, {"Authorization": "Bearer pat"}).status == 403


@pytest.mark.parametrize(("version", "status"), [("2022-11-28", 200), ("2026-03-10", 200), ("2099-01-01", 400)])
def test_unknown_api_version_is_refused(github: Site, described: Watcher, version: str, status: int) -> None:
    """docs.github.com, API versions: a version that is not supported answers 400."""
    if status == 400:
        described.expect("header X-GitHub-Api-Version")
    assert github.rest("GET", RUNS, X_GitHub_Api_Version=version).status == status


@pytest.mark.parametrize("body", ["{", "[]"])
def test_broken_json_is_400(github: Site, described: Watcher, body: str) -> None:
    """docs.github.com, troubleshooting: "Problems parsing JSON" and "Body should be a JSON object"."""
    described.expect("request body")
    headers = {"Authorization": "Bearer pat", "User-Agent": "test"}
    assert github.send("POST", f"{RUNNERS}/generate-jitconfig", body, headers).status == 400


def test_enterprise_servers_prefix_is_served_as_well(github: Site) -> None:
    """docs.github.com, GitHub Enterprise Server: the API is below /api/v3, pages for people are not."""
    github.serve(job())
    run = github.get("/api/v3" + RUNS)["workflow_runs"][0]
    assert run["url"].startswith(f"{github.server.url}/api/v3/repos/acme/api/")
    assert run["html_url"].startswith(f"{github.server.url}/acme/api/")


# --- faults ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 404, 500, 502])
def test_fault_answers_for_so_many_requests_and_nothing_is_done(github: Site, status: int) -> None:
    """`times` requests that match fail, the others and the later ones do not."""
    github.world.fault(Fault(FaultKind.STATUS, "/registration-token$", "POST", times=2, value=status))
    replies = [github.rest("POST", f"{RUNNERS}/registration-token").status for _ in range(3)]
    assert replies == [status, status, 201]
    assert github.what("secret.minted", "github.fault") == ["github.fault", "github.fault", "secret.minted"]


def test_fault_may_begin_later_and_last_until_it_is_cleared(github: Site) -> None:
    """`skip` lets the first ones pass; `times` None has no end."""
    github.world.fault(Fault(FaultKind.STATUS, RUNS, skip=1, times=None, value=503))
    assert [github.rest("GET", RUNS).status for _ in range(3)] == [200, 503, 503]
    github.world.faults.clear()
    assert github.rest("GET", RUNS).status == 200


def test_faults_leave_the_runners_protocol_alone_unless_they_name_it(github: Site) -> None:
    """A pattern for everything means the REST API; `_runner` has to be named."""
    listener = github.jit()
    github.world.fault(Fault(FaultKind.STATUS, times=None))
    assert listener.up().status == 201
    github.world.fault(Fault(FaultKind.STATUS, "/_runner/session", value=500))
    assert listener.up().status == 500


def test_proxy_answers_in_html(github: Site) -> None:
    """A 502 of a proxy is a page, not JSON."""
    github.world.fault(Fault(FaultKind.HTML))
    reply = github.rest("GET", RUNS)
    assert (reply.status, reply.headers["Content-Type"], reply.raw[:6]) == (502, "text/html", b"<html>")


def test_truncated_body_is_no_json(github: Site, described: Watcher) -> None:
    """Half an answer under a good status."""
    described.expect("no JSON")
    github.world.fault(Fault(FaultKind.TRUNCATED))
    reply = github.rest("GET", RUNS)
    assert reply.status == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(reply.raw)


def test_lost_answer_leaves_its_effect_behind(github: Site) -> None:
    """runs-on/runs-on#546: the answer to a JIT request is lost, and a second one meets 409."""
    github.world.fault(Fault(FaultKind.LOST, "/generate-jitconfig"))
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        github.jit("r1")
    assert set(github.runners()) == {"r1"}
    asked = {"name": "r1", "runner_group_id": 1, "labels": ["acme"]}
    assert github.rest("POST", f"{RUNNERS}/generate-jitconfig", asked).status == 409


def test_slow_answer_takes_virtual_time() -> None:
    """The answer comes when the world's clock says so; here that clock runs, 500 times as fast."""
    with site(speed=500) as github:
        github.world.fault(Fault(FaultKind.SLOW, value=30))
        before = github.clock.now()
        assert github.rest("GET", RUNS).status == 200
        assert (github.clock.now() - before).total_seconds() >= 30


@pytest.mark.parametrize(
    ("kind", "status", "words"),
    [(FaultKind.SECONDARY, 403, "secondary rate limit"), (FaultKind.THROTTLE, 429, "Too many requests")],
)
def test_secondary_limits_say_when_to_come_back(github: Site, kind: FaultKind, status: int, words: str) -> None:
    """docs.github.com, rate limits: 403 or 429 with Retry-After in seconds."""
    github.world.fault(Fault(kind, value=17))
    reply = github.rest("GET", RUNS)
    assert (reply.status, reply.headers["Retry-After"]) == (status, "17")
    assert words in reply.body["message"]


def test_points_of_a_minute_run_out_and_come_back(github: Site) -> None:
    """Reads cost one, also when nothing has changed, and writes five."""
    token = f"{API}/actions/runners/registration-token"
    github.world.set(points_a_minute=12)
    assert [github.rest("POST", token).status for _ in range(2)] == [201, 201]
    tag = github.rest("GET", RUNS).headers["ETag"]
    github.clock.advance(20)
    assert github.rest("GET", RUNS, If_None_Match=tag).status == 304
    reply = github.rest("GET", RUNS)
    assert (reply.status, reply.headers["Retry-After"]) == (403, "40")
    assert "secondary rate limit" in reply.body["message"]
    github.clock.advance(40)
    assert [github.rest("POST", token).status for _ in range(3)] == [201, 201, 403]
    assert github.server.limits.refused == 2


def test_so_many_requests_run_at_once(github: Site) -> None:
    github.world.set(requests_at_once=2)
    with github.server.limits.one("GET"), github.server.limits.one("GET"):
        reply = github.rest("GET", RUNS)
        assert (reply.status, "secondary rate limit" in reply.body["message"]) == (403, True)
    assert github.rest("GET", RUNS).status == 200
    assert github.server.limits.most_at_once == 3


def test_primary_limit_says_when_it_ends(github: Site) -> None:
    """docs.github.com, rate limits: 403, x-ratelimit-remaining 0, and the reset time."""
    github.world.fault(Fault(FaultKind.PRIMARY, value=600))
    reply = github.rest("GET", RUNS)
    assert (reply.status, reply.headers["X-RateLimit-Remaining"]) == (403, "0")
    assert int(reply.headers["X-RateLimit-Reset"]) == int((MORNING + timedelta(minutes=10)).timestamp())


def test_runners_list_may_be_empty_or_miscounted(github: Site, described: Watcher) -> None:
    """actions/runner#756, #936: runners vanish from the list and return; total_count need not be the rows."""
    described.expect("next page")
    github.jit("r1")
    github.world.fault(Fault(FaultKind.EMPTY, RUNNERS))
    assert github.get(RUNNERS) == {"total_count": 0, "runners": []}
    github.world.fault(Fault(FaultKind.COUNT, RUNNERS, value=40))
    listed = github.get(RUNNERS)
    assert (listed["total_count"], len(listed["runners"])) == (41, 1)
    assert github.get(RUNNERS)["total_count"] == 1


def test_pages_may_shift_while_they_are_read(github: Site) -> None:
    """github-aws-runners/terraform-aws-github-runner#4584: a runner moves between pages and is never seen."""
    for number in range(6):
        github.jit(f"r{number}")
    github.world.fault(Fault(FaultKind.SHIFT, RUNNERS, times=None))
    seen = [
        runner["name"] for page in (1, 2, 3) for runner in github.get(f"{RUNNERS}?per_page=2&page={page}")["runners"]
    ]
    assert seen == ["r0", "r1", "r1", "r3", "r4", "r5"]


def test_retries_of_pygithub_see_the_fault_end(github: Site, client: Github) -> None:
    """The program's client retries a GET after a 502."""
    github.world.fault(Fault(FaultKind.STATUS, times=2, value=502))
    assert client.get_repo("acme/api").full_name == "acme/api"


# --- observers ---------------------------------------------------------------------------------------


def test_observers_see_every_rest_exchange_and_no_other(github: Site) -> None:
    """What the validator is told: method, path, query, headers and bodies as they went over the wire."""
    seen: list[Exchange] = []
    github.server.observers.append(seen.append)
    github.listening("r1")
    github.rest("GET", f"{RUNNERS}?per_page=1")
    assert [(e.method, e.path, e.query, e.status) for e in seen] == [
        ("POST", f"{RUNNERS}/generate-jitconfig", "", 201),
        ("GET", RUNNERS, "per_page=1", 200),
    ]
    assert json.loads(seen[0].request_body)["name"] == "r1"
    assert json.loads(seen[1].response_body)["total_count"] == 1
    assert seen[1].response_headers["X-RateLimit-Resource"] == "core"
    assert "encoded_jit_config" not in repr(seen[0])
    assert "Bearer" not in repr(seen[0])


def test_recording_has_no_secrets(github: Site, tmp_path: Path) -> None:
    """One JSON object a line; tokens and JIT configurations are starred out."""
    github.server.record = tmp_path / "exchanges.jsonl"
    token = github.rest("POST", f"{RUNNERS}/registration-token").body["token"]
    asked = {"name": "r1", "runner_group_id": 1, "labels": ["acme"]}
    encoded = github.rest("POST", f"{RUNNERS}/generate-jitconfig", asked).body["encoded_jit_config"]
    text = github.server.record.read_text()
    assert [json.loads(line)["status"] for line in text.splitlines()] == [201, 201]
    assert token not in text
    assert encoded not in text
    assert "Bearer" not in text
    assert '"token":"***"' in json.loads(text.splitlines()[0])["response_body"]


def test_journal_has_no_secrets(github: Site) -> None:
    """Ground truth says that a secret was made, not which."""
    listener = github.listening("r1")
    token = github.rest("POST", f"{RUNNERS}/registration-token").body["token"]
    text = "\n".join(entry.to_json() for entry in github.journal)
    assert github.what("secret.minted") == ["secret.minted"] * 2
    assert token not in text
    assert listener.credential not in text
