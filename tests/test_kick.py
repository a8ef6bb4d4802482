"""A kick from another repository, and what a watch does to its own workflow: hand over, keep alive, tell the clocks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scaler.sandbox.github.faults import Fault, FaultKind
from scaler.sandbox.github.state import JobSpec, Run, Workflow
from scaler.settings.inputs import INPUTS
from tests.conftest import CONFIG, Ran, World

SCALER = "acme/runner-scaler"
TOKEN = "github_pat_" + "kick" * 5
OWN = "ghs_" + "own0" * 9
HOSTED = JobSpec("auto", ("ubuntu-24.04",), duration=3600)
KICK = ("kick", "--scaler", SCALER)


@pytest.fixture
def autoscale(world: World) -> Workflow:
    """The scaler's workflow, with its group; a token that may start it and nothing else, and the workflow's own."""
    github = world.box.github
    github.add_repository(SCALER)
    github.add_token(TOKEN, "pat", {"metadata": "read", "actions": "write"}, [SCALER])
    github.add_token(OWN, "github_token", {"metadata": "read", "actions": "write", "contents": "read"}, [SCALER])
    return github.add_workflow(SCALER, "Autoscale", [HOSTED], ".github/workflows/autoscale.yml", "autoscale")


def runs(world: World, event: str = "workflow_dispatch") -> list[Run]:
    return [run for run in world.box.github.state.runs.values() if run.event == event]


def kicked(world: World, *more: str) -> Ran:
    """Kick with no AWS, no config, and the one permission."""
    (world.folder / "config.yaml").unlink(missing_ok=True)
    return world.scaler(*KICK, *more, env={"GH_TOKEN": TOKEN, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"})


# --- kick ----------------------------------------------------------------------------------------


def test_a_kick_starts_the_scalers_workflow_and_takes_nothing_but_actions(world: World, autoscale: Workflow) -> None:
    ran = kicked(world)
    assert (ran.code, ran.out) == (0, f"autoscale.yml in {SCALER}: started on main\n")
    (run,) = runs(world)
    assert (run.workflow, run.branch) == (autoscale, "main")
    assert world.box.aws_server.calls == []


def test_kicks_come_to_the_run_that_waits(world: World, autoscale: Workflow) -> None:
    """The first runs, the second waits for it in the group; the third would only take the second's place."""
    for _ in range(2):
        assert "started" in kicked(world).out
    ran = kicked(world)
    assert (ran.code, len(runs(world))) == (0, 2)
    assert "a run waits already" in ran.out
    assert autoscale.concurrency == "autoscale"


def test_a_kick_that_cannot_see_what_waits_starts_one(world: World, autoscale: Workflow) -> None:
    world.box.github.fault(Fault(FaultKind.STATUS, path=r".*/runs", value=502, times=3))
    assert kicked(world).code == 0
    assert [run.workflow for run in runs(world)] == [autoscale]


@pytest.mark.parametrize(
    ("more", "change", "code", "told"),
    [
        pytest.param((), {"state": "disabled_inactivity"}, 2, "on a disabled workflow", id="a disabled workflow"),
        pytest.param((), {"jobs": None}, 2, "does not have 'workflow_dispatch' trigger", id="no such trigger"),
        pytest.param(("--workflow", "other.yml"), {}, 3, "no such workflow, or the token does not", id="no such file"),
    ],
)
def test_a_kick_that_github_refuses_says_why_and_what_to_paste(
    world: World, autoscale: Workflow, more: tuple[str, ...], change: dict[str, Any], code: int, told: str
) -> None:
    for name, value in change.items():
        setattr(autoscale, name, value)
    ran = kicked(world, *more)
    assert ran.code == code
    assert told in ran.err
    assert "\n    " in ran.err
    assert runs(world) == []


def test_a_token_without_actions_write_is_told_the_permission(world: World, autoscale: Workflow) -> None:
    world.box.github.add_token(TOKEN, "pat", {"metadata": "read", "actions": "read"}, [SCALER])
    ran = kicked(world)
    assert ran.code == 3
    assert "it needs the permission actions=write" in ran.err
    assert "mode: kick" in ran.err
    assert autoscale.state == "active"
    assert runs(world) == []


def test_a_kick_that_got_no_answer_is_not_repeated(world: World, autoscale: Workflow) -> None:
    """It may have started one; the next kick, or the schedule, heals the other case."""
    world.box.github.fault(Fault(FaultKind.LOST, method="POST"))
    ran = kicked(world)
    assert ran.code == 4
    assert "it may have been started all the same: the next clock goes on" in ran.err
    assert len(runs(world)) == 1
    assert autoscale.state == "active"


# --- what a watch does to its own workflow -------------------------------------------------------


def own(world: World, event: str = "schedule", **inputs: str) -> Ran:
    """The action as a job of the scaler's workflow."""
    world.in_actions = True
    payload = world.folder / "event.json"
    payload.write_text(json.dumps({"inputs": {"mode": "auto", "for": "2s", "wait": False, "pool": ""}}))
    given = {"for": "2s", "every": "1s", "hand-over": "true", "config": str(world.config)} | inputs
    env = {each.env: given.get(each.name, each.default) for each in INPUTS}
    env |= {
        "RUNNER_SCALER_GITHUB_TOKEN": world.env()["GH_TOKEN"],
        "RUNNER_SCALER_WORKFLOW_TOKEN": OWN,
        "RUNNER_SCALER_GITHUB_API_URL": world.box.github_server.url,
        "GITHUB_WORKFLOW_REF": f"{SCALER}/.github/workflows/autoscale.yml@refs/heads/main",
        "GITHUB_EVENT_NAME": event,
        "GITHUB_EVENT_PATH": str(payload),
    }
    return world.scaler("action", env=env)


def test_a_watch_that_ends_with_work_left_hands_over_with_the_workflows_own_token(
    world: World, autoscale: Workflow
) -> None:
    world.push("build")
    ran = own(world)
    assert ran.code == 0, ran.said
    assert f"hand-over: autoscale.yml in {SCALER}: started on main" in ran.out
    assert [run.workflow for run in runs(world)] == [autoscale]


def test_the_next_run_gets_the_inputs_of_this_one(world: World, autoscale: Workflow) -> None:
    sent: list[bytes] = []
    world.box.github_server.observers.append(
        lambda each: sent.append(each.request_body) if each.path.endswith("/dispatches") else None
    )
    world.push("build")
    assert own(world, "workflow_dispatch").code == 0
    assert [json.loads(body) for body in sent] == [
        {"ref": "main", "inputs": {"mode": "auto", "for": "2s", "wait": "false"}}
    ]
    assert autoscale.jobs == (HOSTED,)


def test_a_quiet_watch_hands_nothing_over(world: World, autoscale: Workflow) -> None:
    ran = own(world, linger="0s")
    assert ran.code == 0, ran.said
    assert ran.out.count("0 queued") == 1
    assert runs(world) == []
    assert autoscale.updated_at == autoscale.created_at


def test_a_watch_of_what_cannot_be_seen_is_not_handed_on_for_ever(world: World, autoscale: Workflow) -> None:
    world.amend("acme/web", "acme/gone")
    ran = own(world)
    assert ran.code == 4
    assert runs(world) == []
    assert autoscale.state == "active"


def test_without_actions_write_the_hand_over_says_which_lines_are_missing(world: World, autoscale: Workflow) -> None:
    world.box.github.add_token(OWN, "github_token", {"metadata": "read", "contents": "read"}, [SCALER])
    world.push("build")
    ran = own(world)
    assert ran.code == 3
    assert "actions: write" in ran.said
    assert len(world.box.aws.alive()) == 1
    assert (runs(world), autoscale.state) == ([], "active")


def test_keep_alive_enables_the_workflow_whatever_it_is(world: World, autoscale: Workflow) -> None:
    world.box.clock.advance(60)
    ran = own(world, **{"hand-over": "false", "keep-alive": "true", "linger": "0s"})
    assert ran.code == 0, ran.said
    assert autoscale.updated_at == world.box.clock.now()


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        pytest.param({"for": ""}, "hand-over: there is no watch to hand over; give for", id="no watch"),
        pytest.param({"hand-over": "yes"}, 'hand-over: "yes"; write true or false', id="no boolean"),
    ],
)
def test_a_hand_over_of_nothing_is_refused(world: World, inputs: dict[str, str], told: str) -> None:
    ran = own(world, **inputs)
    assert ran.code == 2
    assert told in ran.err


def test_a_hand_over_outside_of_a_workflow_is_refused(world: World, tmp_path: Path) -> None:
    ran = world.scaler(
        "action",
        env={
            "RUNNER_SCALER_HAND_OVER": "true",
            "RUNNER_SCALER_FOR": "1m",
            "RUNNER_SCALER_GITHUB_TOKEN": TOKEN,
            "RUNNER_SCALER_CONFIG": str(tmp_path / "none.yaml"),
        },
    )
    assert ran.code == 2
    assert "hand-over: is for a workflow on a branch" in ran.err


# --- the clocks in status ------------------------------------------------------------------------


def test_status_tells_when_each_clock_last_ticked(world: World, autoscale: Workflow) -> None:
    github = world.box.github
    github.push(SCALER, [JobSpec("auto", ("ubuntu-24.04",), duration=30)], workflow="Autoscale", event="schedule")
    world.advance(12)
    cancelled = github.push(SCALER, [HOSTED], workflow="Autoscale", event="schedule")
    github.cancel(cancelled.id)
    kicked(world)
    world.configure(CONFIG)
    ran = world.scaler("status", "--scaler", SCALER)
    told = [line for line in ran.out.splitlines() if line.startswith("clock ")]
    assert told[0].startswith("clock schedule: 12m")
    assert told[0].endswith(f"ago, success (autoscale.yml in {SCALER})")
    assert told[1].startswith("clock workflow_dispatch: 0m")
    assert told[2] == f"clock workflow_run: never (autoscale.yml in {SCALER})"
    assert autoscale.state == "active"


def test_clocks_that_cannot_be_seen_take_nothing_from_status(world: World) -> None:
    ran = world.scaler("status", "--scaler", "acme/none")
    assert ran.code == 0
    assert "not seen: clocks of autoscale.yml in acme/none" in ran.out
