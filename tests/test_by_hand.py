"""The button: `up` and `down` from a shell, on the sandbox."""

from __future__ import annotations

import json
import re
import signal

import pytest

from scaler.sandbox.github.faults import Fault, FaultKind
from tests.conftest import NOTHING, Ran, World


def told(out: str, name: str) -> list[str]:
    """What the command printed at its end as `name: [..]`."""
    (line,) = [line for line in out.splitlines() if line.startswith(f"{name}: ")]
    found: list[str] = json.loads(line.partition(": ")[2])
    return found


FORCE = "--force (in the action, force: true) ends it all the same"


def annotated(ran: Ran) -> list[str]:
    """What GitHub shows of a step, red or yellow."""
    return [line for line in ran.said.splitlines() if line.startswith(("::error", "::warning"))]


def with_a_job(world: World) -> str:
    """The instance of a job that runs."""
    world.push("build", duration=3600)
    world.tick()
    world.boot()
    world.until(lambda: world.box.journal.of("job.started") != [])
    return world.box.aws.alive()[0].id


def test_up_launches_registers_and_prints_ids_and_labels(world: World) -> None:
    ran = world.scaler("up", "-a", "arm64", "-n", "2", "--repo", "acme/web")
    assert ran.code == 0
    assert sorted(told(ran.out, "instance-ids")) == sorted(i.id for i in world.box.aws.alive())
    assert told(ran.out, "labels") == ["self-hosted", "linux", "arm64", "acme"]
    assert {r.scope for r in world.box.github.registered()} == {"acme/web"}


def test_up_with_wait_ends_when_the_runner_is_online(world: World) -> None:
    process = world.start("up", "-p", "amd64", "--repo", "acme/api", "--wait")
    world.until(lambda: world.box.aws.parameter_names() != [] and world.box.aws.alive() != [])
    world.boot()
    ran = world.end(process)
    assert ran.code == 0
    assert ": online" in ran.out


def test_a_wait_for_runners_can_be_stopped(world: World) -> None:
    """Its machine never boots here; it would wait for boot_timeout."""
    process = world.start("up", "-p", "amd64", "--repo", "acme/api", "--wait")
    world.until(lambda: world.left()["parameters"] != [])
    process.send_signal(signal.SIGTERM)
    ran = world.end(process)
    assert ran.code == 143
    assert len(world.box.aws.alive()) == 1


def test_up_beyond_the_cap_launches_what_fits_and_says_so(world: World) -> None:
    ran = world.scaler("up", "-p", "amd64", "-n", "7", "--repo", "acme/api")
    assert ran.code == 5
    assert len(world.box.aws.alive()) == 5
    assert "pool amd64 is at max" in ran.out


def test_up_names_the_repository_by_the_originals_variables(world: World) -> None:
    ran = world.scaler("up", "-a", "amd64", env={"GH_OWNER": "acme", "GH_REPOSITORY": "web"})
    assert ran.code == 0
    assert {r.scope for r in world.box.github.registered()} == {"acme/web"}


def test_up_of_an_arch_that_several_pools_have_names_them(world: World) -> None:
    world.amend("  arm64:\n    arch: arm64", "  big:\n    arch: amd64")
    ran = world.scaler("up", "-a", "amd64", "--repo", "acme/api")
    assert ran.code == 2
    assert "amd64, big" in ran.err
    assert world.box.aws.alive() == []


def test_up_without_a_repository_says_which_there_are(world: World) -> None:
    ran = world.scaler("up", "-a", "amd64")
    assert ran.code == 2
    assert "acme/api, acme/web" in ran.err


def test_down_deregisters_then_terminates(world: World) -> None:
    (instance,) = told(world.scaler("up", "-a", "amd64", "--repo", "acme/api").out, "instance-ids")
    ran = world.scaler("down", "-i", instance)
    assert ran.code == 0
    assert world.left() == NOTHING
    order = [entry.what for entry in world.box.journal if entry.what in ("runner.removed", "instance.ending")]
    assert order == ["runner.removed", "instance.ending"]


def test_down_refuses_a_busy_runner_without_force(world: World) -> None:
    instance = with_a_job(world)
    refused = world.scaler("down", "-i", instance)
    assert refused.code == 2
    assert 'runs "build"' in refused.out
    assert world.box.aws.alive() != []
    forced = world.scaler("down", "-i", instance, "--force")
    assert forced.code == 0
    assert world.box.aws.alive() == []


def test_who_is_refused_reads_in_one_error_why_and_how(world: World) -> None:
    """Whoever pressed the button sees a red run: the reason stands beside it."""
    instance = with_a_job(world)
    world.in_actions = True
    (told,) = annotated(world.scaler("down", "-i", instance))
    assert re.fullmatch(rf'::error ::down {instance}: {instance} runs "build" \(run \d+\); {re.escape(FORCE)}', told)
    world.tag(instance, "runner-scaler:hold", "look")
    ran = world.scaler("down", "-i", instance, "--force")
    assert annotated(ran) == [f"::error ::down {instance}: {instance} has a hold tag; remove the tag first"]


def test_a_runner_that_takes_its_job_at_the_last_moment_is_refused_in_one_error(world: World) -> None:
    (instance,) = told(world.scaler("up", "-a", "amd64", "--repo", "acme/api").out, "instance-ids")
    world.boot()
    world.box.github.fault(Fault(FaultKind.STATUS, path="/actions/runners/", method="DELETE", value=422))
    world.in_actions = True
    ran = world.scaler("down", "-i", instance)
    assert ran.code == 2
    assert annotated(ran) == [f"::error ::down {instance}: GitHub says it runs a job: kept; {FORCE}"]


def test_an_up_beyond_the_cap_says_so_in_one_error(world: World) -> None:
    world.in_actions = True
    (line,) = annotated(world.scaler("up", "-p", "amd64", "-n", "7", "--repo", "acme/api"))
    assert line.startswith("::error ::up amd64 6 of 7 and 1 more: pool amd64 is at max")


@pytest.mark.parametrize("ask", [["down", "-i", "i-0123456789abcdef0"], ["up", "-a", "amd64", "--repo", "acme/api"]])
def test_what_is_served_annotates_nothing(world: World, ask: list[str]) -> None:
    world.in_actions = True
    assert annotated(world.scaler(*ask)) == []


@pytest.mark.another_fleet
def test_down_refuses_what_is_not_ours(world: World) -> None:
    world.amend("fleet: main", "fleet: other")
    (instance,) = told(world.scaler("up", "-a", "amd64", "--repo", "acme/api").out, "instance-ids")
    world.amend("fleet: other", "fleet: main")
    ran = world.scaler("down", "-i", instance, "--force")
    assert ran.code == 2
    assert "not in this fleet" in ran.out
    assert world.box.aws.alive() != []


def test_down_of_what_is_already_gone_succeeds(world: World) -> None:
    assert world.scaler("down", "-i", "i-0123456789abcdef0").code == 0
    (instance,) = told(world.scaler("up", "-a", "amd64", "--repo", "acme/api").out, "instance-ids")
    world.scaler("down", "-i", instance)
    for minutes in (1, 9):  # EC2 lists the dead for an hour, without their tags after some minutes
        world.advance(minutes)
        again = world.scaler("down", "-i", instance)
        assert again.code == 0
        assert f"EC2 lists no living {instance}" in again.out


def test_down_does_not_claim_the_end_of_what_ec2_does_not_list_yet(world: World) -> None:
    """EC2's lists are eventually consistent (AWS docs: EC2 API, eventual consistency): a new instance may be missing."""
    (instance,) = told(world.scaler("up", "-a", "amd64", "--repo", "acme/api").out, "instance-ids")
    world.box.aws.configure({"consistency": {"instances": 300}})
    ran = world.scaler("down", "-i", instance)
    assert world.box.aws.alive() != []
    assert "it has ended, never was, or was launched just now" in ran.out
    assert "gone" not in ran.out


def test_down_that_ec2_says_it_knows_nothing_of_is_degraded(world: World) -> None:
    """It was listed a moment ago: what lives on is not reported as ended."""
    (instance,) = told(world.scaler("up", "-a", "amd64", "--repo", "acme/api").out, "instance-ids")
    world.box.aws.fail("ec2:TerminateInstances", code="InvalidInstanceID.NotFound", status=400)
    ran = world.scaler("down", "-i", instance)
    assert ran.code == 4
    assert "does not list it as ended" in ran.said
    assert world.scaler("down", "-i", instance).code == 0
    assert world.left() == NOTHING


def test_down_leaves_the_memory_of_the_fleet_as_it_was(world: World) -> None:
    world.scaler("up", "-a", "amd64", "--repo", "acme/api")
    before = world.box.aws.ssm.parameters["/runner-scaler/main/state"].value
    world.scaler("down", "-i", "i-0123456789abcdef0")
    assert world.box.aws.ssm.parameters["/runner-scaler/main/state"].value == before


def test_up_that_launched_nothing_is_no_success(world: World) -> None:
    world.box.aws.fail("ec2:CreateFleet", code="RequestLimitExceeded", status=503, times=None)
    ran = world.scaler("up", "-a", "amd64", "--repo", "acme/api")
    assert ran.code == 5


def test_up_launches_nothing_for_a_public_repository(world: World) -> None:
    world.box.github.add_repository("acme/open", private=False)
    world.amend("acme/web]", "acme/open]")
    ran = world.scaler("up", "-a", "amd64", "--repo", "acme/open")
    assert ran.code == 2
    assert "acme/open is public" in ran.out
    assert world.left() == NOTHING
