"""The examples as a user's repository runs them: `uses:` is ours, a checkout gives config.yaml alone, the rest is stubbed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from scaler.sandbox.github.state import JobSpec
from scaler.sandbox.github.state import Workflow as GitHubWorkflow
from scaler.sandbox.sandbox import TOKEN
from scaler.settings.shard import Shard
from tests.conftest import NOTHING, ROOT, World
from tests.expressions import expressions
from tests.hosted_runner import Event, Job, JobRan, load_yaml
from tests.hosted_site import CHECKOUT, Hosted, hosted, runner_temp

__all__ = ["expressions", "hosted", "runner_temp"]


def config_alone(job: Job, _: Mapping[str, str]) -> Mapping[str, str]:
    """The checkout of a repository that uses the action: no file of ours."""
    (job.workspace / "config.yaml").write_text((job.site.checkout / "config.yaml").read_text())
    return {}


@pytest.fixture
def user(world: World, hosted: Hosted) -> Hosted:
    """A user's repository, whose workflow's own token is as GitHub gives it to these examples."""
    world.box.github.add_repository("acme/runner-scaler")
    may = {"actions": "write", "contents": "read", "metadata": "read"}
    world.box.github.add_token("ghs_of_the_workflow", "github_token", may, ["acme/runner-scaler"])
    secrets = {**hosted.site.secrets, "RUNNER_SCALER_KICK_TOKEN": TOKEN}
    hosted.site = replace(hosted.site, stubs={CHECKOUT: config_alone}, secrets=secrets)
    return hosted


@pytest.fixture
def autoscale(user: Hosted) -> GitHubWorkflow:
    """The scaler's workflow on GitHub, that kicks and hand-overs start."""
    github = user.world.box.github
    jobs = [JobSpec("auto", ("ubuntu-24.04",))]
    return github.add_workflow("acme/runner-scaler", "Autoscale", jobs, ".github/workflows/autoscale.yml")


def succeeded(ran: JobRan) -> JobRan:
    assert ran.conclusion == "success", ran.log
    assert ran.told("warning", by="runner") == []
    return ran


@pytest.mark.parametrize(
    ("file", "event"),
    [
        ("tick.yml", Event(name="schedule")),
        ("tick.yml", Event(name="workflow_dispatch")),
        ("workflow-run.yml", Event(name="workflow_run", payload={"workflow_run": {"id": 1, "head_branch": "x"}})),
    ],
    ids=["a schedule", "a dispatch", "a run that was requested"],
)
def test_a_clock_launches_for_what_waits(world: World, user: Hosted, file: str, event: Event) -> None:
    world.push("build")
    succeeded(user.workflow(f"examples/{file}", event).job("tick").run())
    assert len(world.box.aws.alive()) == 1


@pytest.mark.usefixtures("autoscale")
def test_a_watch_without_work_ends_after_one_look(world: World, user: Hosted) -> None:
    ran = succeeded(user.workflow("examples/watch.yml", Event(name="schedule")).job("watch").run())
    assert ran.log.count("0 queued") == 1
    assert world.left() == NOTHING


@pytest.mark.usefixtures("autoscale")
def test_four_shards_see_to_all_repositories_between_them(world: World, user: Hosted) -> None:
    names = [f"acme/service-{number}" for number in range(8)]
    world.amend("[acme/api, acme/web]", f"[{', '.join(names)}]")
    for name in names:
        world.box.github.add_repository(name)
    busy = {next(name for name in names if Shard(number, 4).has(name)) for number in range(1, 5)}
    for name in sorted(busy):
        world.push("build", repository=name)
    # A watch that looks once: for each leg, a job of its own.
    workflow = user.workflow("examples/shards.yml", Event(name="schedule"))
    step = workflow.document["jobs"]["watch"]["steps"][-1]
    step["with"] |= {"for": "1s", "every": "1s"}
    ran = workflow.run()["watch"]
    assert ran.conclusion == "success", ran.log
    assert {each.tags["runner-scaler:scope"] for each in world.box.aws.alive()} == busy


@pytest.mark.usefixtures("autoscale")
def test_a_kick_starts_the_scalers_workflow(world: World, user: Hosted) -> None:
    event = Event(name="workflow_run", payload={"workflow_run": {"id": 1}})
    succeeded(user.workflow("examples/kick.yml", event, repository="acme/api").job("kick").run())
    runs = [run for run in world.box.github.state.runs.values() if run.repository.name == "runner-scaler"]
    assert [run.event for run in runs] == ["workflow_dispatch"]
    assert world.box.aws_server.calls == []


@pytest.mark.parametrize(
    "mode", load_yaml(ROOT / "examples/button.yml")["on"]["workflow_dispatch"]["inputs"]["mode"]["options"]
)
def test_each_choice_of_the_button_does_what_it_says(world: World, user: Hosted, mode: str) -> None:
    inputs: dict[str, Any] = {"mode": mode, "repository": "acme/api"}
    if mode == "down":
        world.scaler("up", "-a", "amd64", "--repo", "acme/api")
        inputs["instance-id"] = world.box.aws.alive()[0].id
    succeeded(user.workflow("examples/button.yml", Event(inputs=inputs)).job("button").run())
    assert len(world.box.aws.alive()) == (1 if mode == "up" else 0)


def test_up_job_and_down_leave_nothing(world: World, user: Hosted) -> None:
    workflow = user.workflow("examples/up-job-down.yml", repository="acme/api")
    up = succeeded(workflow.job("up").run())
    (instance,) = world.box.aws.alive()
    assert json.loads(up.outputs["instance-ids"]) == [instance.id]
    world.push("Build", labels=tuple(workflow.document["jobs"]["build"]["runs-on"]), duration=60)
    world.boot()
    world.until(lambda: world.box.journal.of("job.started") != [])
    world.box.clock.advance(60)
    world.until(lambda: not world.box.aws.alive())
    succeeded(workflow.job("down", {"up": up, "build": JobRan("build")}).run())
    assert world.left() == NOTHING


def test_down_ends_the_instance_when_the_job_never_came(world: World, user: Hosted) -> None:
    workflow = user.workflow("examples/up-job-down.yml", repository="acme/api")
    up = succeeded(workflow.job("up").run())
    down = workflow.job("down", {"up": up, "build": JobRan("build", conclusion="cancelled")}).run()
    assert succeeded(down).step("Scale").outputs["terminated"] == "1"
    assert world.left() == NOTHING
    # What launched nothing has nothing to end.
    nothing = JobRan("up", conclusion="failure", outputs={"launched": "0", "instance-ids": "[]"})
    assert workflow.job("down", {"up": nothing, "build": JobRan("build")}).run().conclusion == "skipped"


def test_every_example_is_run_here() -> None:
    run = {"tick.yml", "workflow-run.yml", "watch.yml", "kick.yml", "button.yml", "up-job-down.yml", "shards.yml"}
    assert {path.name for path in (ROOT / "examples").glob("*.yml")} == run
