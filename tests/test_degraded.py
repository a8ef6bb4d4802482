"""What could not be seen, and who may not do what: exit codes 3 and 4, and nothing destroyed."""

from __future__ import annotations

from typing import Any

import pytest

from scaler.sandbox.github.faults import Fault, FaultKind
from tests.conftest import NOTHING, World
from tests.test_scale_down import REUSED, idle_world
from tests.watcher import Watcher

RUNS, RUNNERS = "/actions/runs$", "/actions/runners$"
FAULTS = [
    pytest.param(Fault(FaultKind.STATUS, path=RUNS, times=None, value=500), id="5xx on the run list"),
    pytest.param(Fault(FaultKind.HTML, path=RUNS, times=None), id="a proxy's HTML"),
    pytest.param(Fault(FaultKind.TRUNCATED, path=RUNS, times=None), id="half an answer"),
    pytest.param(Fault(FaultKind.COUNT, path=RUNNERS, times=None), id="total_count is not the rows"),
    pytest.param(Fault(FaultKind.EMPTY, path=RUNNERS, times=None), id="no runner though one was seen idle"),
    pytest.param(Fault(FaultKind.STATUS, path=RUNNERS, times=None, value=404), id="404 on the runners"),
    pytest.param(Fault(FaultKind.PRIMARY, path=RUNS, times=None), id="rate limit used up"),
    pytest.param(Fault(FaultKind.SECONDARY, path=RUNS, times=None), id="secondary rate limit"),
]


@pytest.mark.parametrize("fault", FAULTS)
def test_what_could_not_be_seen_whole_is_left_alone(world: World, described: Watcher, fault: Fault) -> None:
    if fault.kind is FaultKind.TRUNCATED:
        described.expect("no JSON")
    idle_world(world)
    world.tick()
    world.advance(10)
    world.box.github.fault(fault)
    ran = world.tick()
    assert ran.code == 4
    assert not [c for c in ran.commands() if c.split()[0] in ("drain", "terminate", "deregister", "deleteparameter")]
    assert ran.document["unseen"] != []
    world.box.github.faults.clear()
    assert world.tick().commands() == ["drain done"]


def test_one_missing_repository_does_not_stop_the_others(world: World) -> None:
    world.amend("[acme/api, acme/web]", "[acme/gone, acme/api]")
    world.push("build")
    ran = world.scaler("auto")
    assert ran.code == 4
    assert "acme/gone" in ran.out
    assert "not found; renamed, deleted, or the token does not see it" in ran.out
    assert len(world.box.aws.alive()) == 1


def test_one_command_that_fails_does_not_stop_the_others(world: World) -> None:
    world.amend("    max: 5\n  arm64", REUSED)
    run = world.push("a", "b")
    world.tick()
    world.box.github.cancel(run.id)
    world.boot()
    world.tick()
    world.advance(6)
    world.box.github.fault(Fault(FaultKind.STATUS, path="/actions/runners/", method="DELETE", times=3))
    ran = world.tick()
    assert (ran.code, ran.commands()) == (4, ["drain failed", "drain done"])


def test_a_watch_that_sees_nothing_keeps_its_pace_and_its_end(world: World) -> None:
    """The predecessor skipped its sleep on any error: 1,619 calls more in one run (RG-02)."""
    world.box.github.fault(Fault(FaultKind.STATUS, path=RUNS, times=None, value=404))
    ran = world.scaler("auto", "--for", "3s", "--every", "1s", "--linger", "1h")
    assert ran.code == 4
    assert 2 <= ran.out.count("0 queued") <= 3


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"code": "Throttling", "status": 400}, id="throttled"),
        pytest.param({"kind": "http500"}, id="500"),
        pytest.param({"kind": "drop-before"}, id="no answer"),
    ],
)
def test_an_account_that_sts_does_not_tell_is_degraded_not_denied(world: World, fault: dict[str, Any]) -> None:
    """The credentials may be the best there are: exit 3 would send people to mend what is well."""
    world.oidc = False
    world.push("build")
    world.box.aws.fail("sts:GetCallerIdentity", times=None, **fault)
    ran = world.scaler("auto")
    assert ran.code == 4, ran.said
    assert "sts:GetCallerIdentity" in ran.err
    assert "nothing was changed" in ran.err
    assert world.left() == NOTHING


def test_an_sts_that_is_out_of_reach_is_degraded_not_denied(world: World) -> None:
    world.oidc = False
    ran = world.scaler("auto", env={"AWS_ENDPOINT_URL_STS": "https://sts.invalid"})
    assert ran.code == 4, ran.said
    assert "sts:GetCallerIdentity: no answer" in ran.err


def test_instances_unseen_nothing_is_launched(world: World) -> None:
    world.push("build")
    world.box.aws.fail("ec2:DescribeInstances", code="Unavailable", status=503, times=None)
    ran = world.tick()
    assert ran.code == 4
    assert ran.verdicts("job") == {"build": "supply unseen"}
    assert world.left() == NOTHING


def test_a_role_that_does_not_trust_the_workflow_gives_exit_3_and_the_lines_to_paste(world: World) -> None:
    world.box.oidc.job = world.box.oidc.job.__class__(repository="acme/other")
    world.push("build")
    ran = world.scaler("auto")
    assert ran.code == 3
    assert "does not trust this workflow" in ran.err
    assert '"token.actions.githubusercontent.com:sub": "repo:acme/other:ref:refs/heads/main"' in ran.err
    assert world.left() == NOTHING


def test_without_the_permission_for_a_token_exit_3_names_it(world: World) -> None:
    world.oidc = False
    bare = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "GITHUB_ACTIONS": "true"}
    ran = world.scaler("auto", env=bare)
    assert ran.code == 3
    assert "id-token: write" in ran.said


def test_a_denied_put_ends_in_exit_3_and_no_launch_at_all(world: World) -> None:
    """The original launched 1,619 instances in 54 minutes for one queued run when the put was denied."""
    world.box.aws.iam.deny("ssm:PutParameter")
    world.push("build")
    for _ in range(4):
        ran = world.scaler("auto")
        assert ran.code == 3
        assert "ssm:PutParameter" in ran.said
        world.box.clock.advance(40)
    assert world.box.journal.of("instance.launched") == []
    assert world.left() == NOTHING


def test_a_token_that_github_refuses_gives_exit_3(world: World) -> None:
    ran = world.scaler("auto", env={"GH_TOKEN": "ghp_" + "x" * 36})
    assert ran.code == 3
    assert "Administration: Read and write" in ran.said


def test_the_workflows_own_token_is_told_what_it_cannot_do(world: World) -> None:
    world.box.github.add_token(
        "ghs_" + "y" * 36, kind="github_token", permissions={"actions": "read", "metadata": "read"}
    )
    ran = world.scaler("auto", env={"GH_TOKEN": "ghs_" + "y" * 36})
    assert ran.code == 3
    assert "GITHUB_TOKEN cannot manage runners" in ran.said


def test_the_log_names_calls_and_shows_no_answer(world: World) -> None:
    """The predecessor logged whole API objects: branches, titles, people (RG-65)."""
    seen: list[bytes] = []
    world.box.github_server.observers.append(lambda exchange: seen.append(exchange.response_body))
    world.push("build")
    ran = world.scaler("auto", "--verbose")
    assert "GitHub GET /repos/acme/api/actions/runs: 200" in ran.said
    for private in ("Change 1 of api", "acme-dev", "dev@example.com"):
        assert any(private.encode() in body for body in seen)
        assert private not in ran.said
