"""
The action as GitHub runs it: from a workflow's `uses:` to the outputs, in the sandbox, by the runner's own rules.

`tests/hosted_runner.py` has the rules and their sources; expressions are evaluated by GitHub's evaluator.
"""

from __future__ import annotations

import json

from tests.conftest import NOTHING, ROOT, World
from tests.expressions import expressions
from tests.hosted_runner import Event, load_yaml
from tests.hosted_site import Hosted, hosted, runner_temp

__all__ = ["expressions", "hosted", "runner_temp"]

ACTION = load_yaml(ROOT / "action.yml")


def alive(world: World) -> list[str]:
    return [instance.id for instance in world.box.aws.alive()]


# --- every mode, from the button of the repository's own workflow -------------------------------


def test_auto_launches_for_what_waits(world: World, hosted: Hosted) -> None:
    world.push("build")
    ran = hosted.button(mode="auto")
    assert ran.conclusion == "success", ran.log
    (instance,) = alive(world)
    found = ran.step("Scale").outputs
    assert json.loads(found["instance-ids"]) == [instance]
    assert json.loads(found["labels"]) == ["self-hosted", "linux", "x64", "acme"]
    assert (found["queued"], found["launched"], found["terminated"]) == ("1", "1", "0")
    assert len(json.loads(found["plan"])) == 1
    assert json.loads(found["runner-names"])[0].endswith(instance)
    assert found.keys() == ACTION["outputs"].keys()
    assert "launching" in ran.summaries[0]


def test_plan_says_what_it_would_do_and_does_nothing(world: World, hosted: Hosted) -> None:
    world.push("build")
    ran = hosted.button(mode="plan")
    assert ran.conclusion == "success", ran.log
    assert world.left() == NOTHING
    assert len(json.loads(ran.step("Scale").outputs["plan"])) == 1
    assert ran.step("Scale").outputs["launched"] == "0"


def test_up_launches_what_the_form_names(world: World, hosted: Hosted) -> None:
    """The form's architecture has a default, which is not in the way of a pool."""
    ran = hosted.button(mode="up", repository="acme/api", count="2")
    assert ran.conclusion == "success", ran.log
    assert sorted(json.loads(ran.step("Scale").outputs["instance-ids"])) == sorted(alive(world))
    ran = hosted.button(mode="up", pool="arm64", repository="acme/web")
    assert ran.conclusion == "success", ran.log
    assert sorted(i.tags["runner-scaler:pool"] for i in world.box.aws.alive()) == ["amd64", "amd64", "arm64"]


def test_down_ends_the_instance_that_the_form_names(world: World, hosted: Hosted) -> None:
    world.scaler("up", "-a", "amd64", "--repo", "acme/api")
    (instance,) = alive(world)
    world.boot()
    ran = hosted.button(mode="down", instance_id=instance)
    assert ran.conclusion == "success", ran.log
    assert (ran.step("Scale").outputs["terminated"], alive(world)) == ("1", [])
    assert json.loads(ran.step("Scale").outputs["instance-ids"]) == [instance]


def test_status_tells_the_state(world: World, hosted: Hosted) -> None:
    world.push("build")
    ran = hosted.button(mode="status")
    assert ran.conclusion == "success", ran.log
    assert "pool amd64: 0 of 5" in ran.log
    assert world.left() == NOTHING


def test_schedule_is_a_tick(world: World, hosted: Hosted) -> None:
    """A schedule gives the workflow no inputs at all, so its expressions give the action's."""
    world.push("build")
    ran = hosted.workflow(".github/workflows/autoscale.yml", Event(name="schedule")).job("scale").run()
    assert ran.conclusion == "success", ran.log
    assert len(alive(world)) == 1


def test_without_a_config_the_workflow_says_so_and_does_nothing(world: World, hosted: Hosted) -> None:
    world.config.unlink()
    ran = hosted.button()
    assert ran.conclusion == "success"
    assert [step.name for step in ran.steps if step.outcome != "skipped"] == [
        "Check out",
        "Say that nothing is configured",
    ]
    assert ran.told("notice") == ["There is no config.yaml, so nothing was done. See README.md."]
