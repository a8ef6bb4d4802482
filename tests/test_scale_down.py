"""What is ended, and what is not: idle runners, orphans, ghosts, left-over parameters, on the sandbox."""

from __future__ import annotations

import pytest

from scaler.sandbox.github.faults import Fault, FaultKind
from scaler.sandbox.journal import Entry
from scaler.sandbox.machines.faults import FaultKind as MachineFaultKind
from scaler.sandbox.machines.faults import MachineFault
from tests.conftest import NOTHING, World

REUSED = "    max: 5\n    registration: token\n    ephemeral: false\n  arm64"


def idle_world(world: World) -> str:
    """A runner without an idle limit of its own, which found its job cancelled."""
    world.amend("    max: 5\n  arm64", REUSED)
    run = world.push("build")
    world.tick()
    world.box.github.cancel(run.id)
    world.boot()
    (instance,) = world.box.aws.alive()
    return instance.id


def test_an_idle_runner_goes_after_two_observations_idle_timeout_apart(world: World) -> None:
    idle = idle_world(world)
    assert world.tick().verdicts("instance") == {idle: "idle"}
    world.advance(4)
    assert world.tick().verdicts("instance") == {idle: "idle"}
    world.advance(1)
    assert world.tick().commands() == ["drain done"]
    world.until(lambda: not world.box.aws.alive())
    assert world.left() == NOTHING
    assert world.box.journal.of("instance.ending")[0].facts["by"] == "itself"


def test_an_idle_runner_that_takes_a_job_is_kept(world: World) -> None:
    idle = idle_world(world)
    world.tick()
    world.push("again", duration=3600)
    world.until(lambda: world.box.journal.of("job.started") != [])
    world.advance(6)
    assert world.tick().verdicts("instance") == {idle: "busy"}


def test_a_busy_runner_that_github_calls_idle_is_kept(world: World) -> None:
    """The `busy` flag lies in mid-job (terraform-aws-github-runner#5085); the job that names the runner tells."""
    idle = idle_world(world)
    world.push("long", duration=7200)
    world.until(lambda: world.box.journal.of("job.started") != [])
    (runner,) = world.online()
    world.box.github.set(idle_liars={runner.name})
    for _ in range(3):
        assert world.tick().verdicts("instance") == {idle: "busy"}
        world.advance(6)
    assert world.box.aws.alive() != []


def test_a_runner_that_took_a_job_since_it_was_seen_is_kept_by_the_422(world: World) -> None:
    """DELETE is the lock: GitHub refuses it for a busy runner (docs: REST, self-hosted runners)."""
    idle = idle_world(world)
    world.tick()
    world.advance(6)
    world.box.github.fault(Fault(FaultKind.STATUS, path="/actions/runners/", method="DELETE", value=422))
    assert world.tick().commands() == ["drain busy"]
    tags = world.box.aws.instance(idle).tags  # type: ignore[union-attr]
    assert "runner-scaler:draining-since" not in tags
    assert "runner-scaler:idle-since" not in tags


def test_a_machine_that_hangs_at_boot_is_ended_and_its_job_served_by_another(world: World) -> None:
    world.box.machines.faults.append(MachineFault(MachineFaultKind.HANG, nth=1))
    world.push("build", duration=30)
    world.tick()
    (hung,) = world.box.aws.alive()
    world.advance(10)
    marked = world.tick()
    assert marked.verdicts("instance") == {hung.id: "offline"}
    world.advance(2)
    ended = world.tick()
    assert "terminate done" in ended.commands()
    world.advance(1)
    world.tick()
    world.boot()
    world.until(lambda: world.box.journal.of("job.started") != [])
    world.box.clock.advance(30)
    world.until(lambda: not world.box.aws.alive())
    world.advance(6)
    for _ in range(2):
        world.tick()
        world.advance(1)
    assert world.left() == NOTHING


@pytest.mark.parametrize("code", ["InvalidInstanceID.NotFound", "InternalError"])
def test_an_end_that_ec2_did_not_carry_out_is_asked_for_again(world: World, code: str) -> None:
    """EC2 may not know what it listed a moment ago (AWS docs: eventual consistency)."""
    world.box.machines.faults.append(MachineFault(MachineFaultKind.HANG))
    world.push("build")
    world.tick()
    (hung,) = world.box.aws.alive()
    world.advance(10)
    world.tick()
    world.advance(2)
    world.box.aws.fail("ec2:TerminateInstances", code=code, status=400)
    assert world.tick().document["exit_code"] in (0, 4)
    assert hung.id in world.left()["instances"]
    assert "terminate done" in world.tick().commands()
    assert hung.id not in world.left()["instances"]


def test_a_ghost_is_deregistered_when_two_ticks_saw_it(world: World) -> None:
    run = world.push("build")
    world.tick()
    (instance,) = world.box.aws.alive()
    world.kill(instance.id)
    world.box.github.cancel(run.id)
    world.box.clock.advance(60)
    assert world.tick().verdicts("runner") != {}
    world.box.clock.advance(180)  # and the seconds that this takes: not yet the five minutes that a ghost waits
    assert world.tick().commands() == []
    world.box.clock.advance(120)
    assert "deregister done" in world.tick().commands()
    assert world.left()["runners"] == []


def test_a_parameter_whose_instance_is_gone_is_swept(world: World) -> None:
    run = world.push("build")
    world.tick()
    (instance,) = world.box.aws.alive()
    world.box.github.cancel(run.id)
    world.kill(instance.id)
    world.advance(4)
    world.tick()
    assert world.left()["parameters"] != []
    world.advance(2)
    world.tick()
    assert world.left()["parameters"] == []
    world.advance(4)
    world.tick()
    assert world.left() == NOTHING


@pytest.mark.another_fleet
def test_a_foreign_runner_and_a_foreign_instance_are_never_touched(world: World) -> None:
    world.box.machines.faults.append(MachineFault(MachineFaultKind.HANG))
    world.push("build")
    world.amend("fleet: main", "fleet: other")
    world.tick()
    world.amend("fleet: other", "fleet: main")
    before = world.left()
    world.advance(9)
    ran = world.tick()
    assert not [c for c in ran.commands() if not c.startswith("launch")]
    after = world.left()
    assert all(set(before[kind]) <= set(after[kind]) for kind in before)


def test_a_hold_tag_keeps_an_instance(world: World) -> None:
    idle = idle_world(world)
    world.tick()
    world.tag(idle, "runner-scaler:hold", "debugging")
    world.advance(30)
    assert world.tick().verdicts("instance") == {idle: "held"}
    assert world.box.aws.alive() != []
    refused = world.scaler("down", "-i", idle, "--force")
    assert refused.code == 2
    assert "hold tag" in refused.out


def stop(world: World, instance_id: str) -> None:
    """Somebody stops an instance in the console."""
    with world.box.clock.lock:
        world.box.aws.ec2.stop(instance_id)
    world.box.clock.advance(10)


def test_a_stopped_instance_is_ended_and_counted(world: World) -> None:
    idle = idle_world(world)
    stop(world, idle)
    world.in_actions = True
    ran = world.scaler("auto")
    assert "1 ended" in ran.out
    assert ran.outputs["terminated"] == "1"
    assert ran.outputs["instance-ids"] == f'["{idle}"]'
    assert world.box.aws.alive() == []


def changes(world: World) -> list[Entry]:
    """What a tick could have changed so far; machines act by themselves meanwhile."""
    return world.box.journal.of(
        *("fleet.created", "instance.ending", "tags.changed", "parameter.put", "parameter.deleted"),
        *("secret.minted", "runner.removed"),
    )


def test_a_plan_is_what_auto_then_does_and_reads_alone(world: World) -> None:
    """One thing of each kind that a tick does besides launching: tag, drain, deregister, terminate, sweep."""
    idle_world(world)
    world.tick()
    run = world.push("never", labels=("self-hosted", "arm64", "acme"))
    world.tick()
    world.kill(next(i.id for i in world.box.aws.alive() if i.tags["runner-scaler:pool"] == "arm64"))
    world.box.github.cancel(run.id)
    world.tick()
    world.advance(6)
    world.scaler("up", "-p", "amd64", "-n", "2", "--repo", "acme/api")
    world.boot()
    stop(world, world.box.aws.alive()[-1].id)

    methods: set[str] = set()
    world.box.github_server.observers.append(lambda exchange: methods.add(exchange.method))
    calls, before = len(world.box.aws_server.calls), changes(world)
    planned = world.scaler("plan", "--json").document["commands"]
    assert methods == {"GET"}
    actions = [call.action for call in world.box.aws_server.calls[calls:]]
    assert all(action.startswith(("AssumeRole", "Describe", "Get")) for action in actions)
    assert changes(world) == before

    done = world.tick().document["commands"]
    assert {command.pop("outcome")["result"] for command in done} == {"done"}
    assert planned == done
    kinds = {command["command"] for command in done}
    assert kinds == {"tag", "drain", "deregister", "terminate", "deleteparameter"}
