"""Every input of the action, through a workflow's `with:` to what it does; defaults, bad values, failures."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from scaler.sandbox.github.apps import App
from scaler.sandbox.github.faults import Fault, FaultKind
from scaler.sandbox.github.state import JobSpec, Run
from scaler.sandbox.github.state import Workflow as GitHubWorkflow
from scaler.sandbox.sandbox import TOKEN
from scaler.settings.inputs import INPUTS
from scaler.settings.shard import Shard
from tests.conftest import NOTHING, ROLE, ROOT, World
from tests.expressions import expressions
from tests.hosted_runner import SUMMARY_LIMIT, JobRan, load_yaml
from tests.hosted_site import Hosted, hosted, runner_temp
from tests.test_github_app import INSTALLATION, KEY, PEM

__all__ = ["expressions", "hosted", "runner_temp"]

F = TypeVar("F", bound=Callable[..., Any])
ACTION = load_yaml(ROOT / "action.yml")
SHOWN: set[str] = set()
"""The inputs of which a test below shows what they do."""


def shows(*names: str) -> Callable[[F], F]:
    """Note that a test shows what inputs do."""
    SHOWN.update(names)
    return lambda test: test


def alive(world: World) -> list[str]:
    return [instance.id for instance in world.box.aws.alive()]


def code(ran: JobRan) -> int | None:
    """What the program ended with."""
    return ran.step("Scale / Scale").code


def test_every_input_has_a_test_of_what_it_does() -> None:
    assert {known.name for known in INPUTS} == SHOWN


# --- what they do --------------------------------------------------------------------------------


@shows("mode", "github-token", "github-api-url")
def test_a_token_is_all_that_must_be_given(world: World, hosted: Hosted) -> None:
    """By default: one tick, of config.yaml in the workspace, at the GitHub that the workflow runs on."""
    world.push("build")
    ran = hosted.use()
    assert (ran.conclusion, code(ran)) == ("success", 0), ran.log
    assert len(alive(world)) == 1
    assert ran.told("warning", by="runner") == []


def test_empty_texts_are_inputs_not_given(world: World, hosted: Hosted) -> None:
    """A dispatch hands on every input it has, and an expression that found nothing is an empty text."""
    world.push("build")
    ran = hosted.use(
        None, **{known.name: "" for known in INPUTS if known.name not in ("github-token", "github-api-url")}
    )
    assert (ran.conclusion, code(ran)) == ("success", 0), ran.log
    assert len(alive(world)) == 1


@shows("config")
def test_the_config_is_found_in_the_workspace(world: World, hosted: Hosted) -> None:
    (world.folder / "deploy").mkdir()
    world.config.rename(world.folder / "deploy" / "fleet one.yaml")
    world.push("build")
    ran = hosted.use(config="deploy/fleet one.yaml")
    assert code(ran) == 0, ran.log
    assert len(alive(world)) == 1
    ran = hosted.use()
    assert code(ran) == 2
    assert "config.yaml" in ran.told()[0]


@shows("arch", "pool", "repository", "count", "wait")
def test_up_takes_what_is_launched_and_where(world: World, hosted: Hosted) -> None:
    ran = hosted.use(mode="up", arch="arm64", repository="acme/web", count=2)  # YAML's number is a text on the runner
    assert code(ran) == 0, ran.log
    found = ran.step("scale").outputs
    assert sorted(json.loads(found["instance-ids"])) == sorted(alive(world))
    assert json.loads(found["labels"]) == ["self-hosted", "linux", "arm64", "acme"]
    assert {r.scope for r in world.box.github.registered()} == {"acme/web"}
    ran = hosted.use(mode="up", pool="amd64", repository="acme/api")
    assert code(ran) == 0, ran.log
    assert len(alive(world)) == 3
    world.amend("    max: 5\n  arm64", "    max: 5\n    boot_timeout: 1m\n  arm64")

    workflow = hosted.using(mode="up", pool="amd64", repository="acme/api", wait=True)
    job = workflow.job("scale")
    world.box.github_server.observers.append(lambda _: world.box.clock.advance(5))  # each look is later
    ran = job.run()
    assert code(ran) == 0, ran.log
    assert ": online" in ran.log


@shows("instance-id", "force")
def test_down_takes_the_instance_and_force(world: World, hosted: Hosted) -> None:
    world.push("build", duration=7200)
    world.tick()
    world.boot()
    world.until(lambda: world.box.journal.of("job.started") != [])
    (instance,) = alive(world)
    ran = hosted.use(mode="down", instance_id=instance)
    assert (ran.conclusion, code(ran), alive(world)) == ("failure", 2, [instance])
    assert "busy" in ran.log
    ran = hosted.use(mode="down", instance_id=instance, force="true")
    assert (code(ran), alive(world)) == (0, []), ran.log
    assert ran.step("scale").outputs["terminated"] == "1"


@shows("for", "every", "linger")
def test_a_watch_looks_as_often_as_told_and_ends_when_quiet(hosted: Hosted) -> None:
    ran = hosted.use(for_="50m", every="1s", linger="5s")
    assert code(ran) == 0, ran.log
    assert ran.log.count("0 queued") >= 2


@shows("dry-run")
def test_dry_run_makes_a_plan_of_auto(world: World, hosted: Hosted) -> None:
    world.push("build")
    ran = hosted.use(dry_run=True)  # YAML's boolean is a text on the runner
    assert code(ran) == 0, ran.log
    assert world.left() == NOTHING
    assert len(json.loads(ran.step("scale").outputs["plan"])) == 1


@shows("role-to-assume", "aws-region")
def test_role_and_region_go_before_the_configs(world: World, hosted: Hosted) -> None:
    world.amend(ROLE, "arn:aws:iam::111122223333:role/another")
    world.amend("us-east-1", "eu-central-1")
    world.push("build")
    assert code(hosted.use()) != 0
    ran = hosted.use(role_to_assume=ROLE, aws_region="us-east-1")
    assert code(ran) == 0, ran.log
    assert len(alive(world)) == 1


@shows("shard")
def test_a_shard_sees_to_its_part_of_the_repositories(world: World, hosted: Hosted) -> None:
    for name in ("acme/api", "acme/web"):
        world.push("build", repository=name)
    numbers = {name: next(n for n in range(1, 65) if Shard(n, 64).has(name)) for name in ("acme/api", "acme/web")}
    assert len(set(numbers.values())) == 2
    ran = hosted.use(shard=f"{numbers['acme/web']}/64")
    assert code(ran) == 0, ran.log
    assert [each.tags["runner-scaler:scope"] for each in world.box.aws.alive()] == ["acme/web"]


@pytest.fixture
def autoscale(world: World) -> GitHubWorkflow:
    """The workflow that the jobs are of, as GitHub knows it, with the token that its jobs have."""
    github = world.box.github
    github.add_repository("acme/runner-scaler")
    may = {"metadata": "read", "actions": "write", "contents": "read"}
    github.add_token("ghs_of_the_workflow", "github_token", may, ["acme/runner-scaler"])
    steps = [JobSpec("auto", ("ubuntu-24.04",))]
    return github.add_workflow("acme/runner-scaler", "Autoscale", steps, ".github/workflows/autoscale.yml")


@shows("hand-over", "keep-alive", "workflow-token")
def test_a_watch_hands_over_and_keeps_its_schedule_alive_with_the_workflows_token(
    world: World, hosted: Hosted, autoscale: GitHubWorkflow
) -> None:
    world.push("build")
    world.box.clock.advance(30)
    ran = hosted.use(for_="1s", every="1s", hand_over=True, keep_alive=True)
    assert code(ran) == 0, ran.log
    assert [run.workflow for run in dispatched(world)] == [autoscale]
    assert autoscale.updated_at == world.box.clock.now()


def dispatched(world: World) -> list[Run]:
    return [run for run in world.box.github.state.runs.values() if run.event == "workflow_dispatch"]


@shows("github-app-id", "github-app-private-key")
def test_an_app_stands_in_place_of_a_token_and_its_key_is_starred(world: World, hosted: Hosted) -> None:
    world.box.github.apps.append(App(4711, "Iv23liAppOfTests", KEY.public_key(), installations=[INSTALLATION]))
    world.push("build")
    hosted.site = replace(hosted.site, secrets={})
    ran = hosted.use(github_app_id=4711, github_app_private_key=PEM)
    assert code(ran) == 0, ran.log
    assert len(alive(world)) == 1
    assert not [line for line in PEM.splitlines()[1:-1] if line in ran.log]


@shows("scaler", "workflow", "ref")
def test_a_kick_starts_the_workflow_that_is_named(world: World, hosted: Hosted, autoscale: GitHubWorkflow) -> None:
    ran = hosted.use(mode="kick", scaler="acme/runner-scaler", workflow="autoscale.yml", ref="next")
    assert code(ran) == 0, ran.log
    assert [(run.workflow, run.branch) for run in dispatched(world)] == [(autoscale, "next")]
    assert world.box.aws_server.calls == []


def test_another_github_is_asked_where_the_input_says_so(world: World, hosted: Hosted) -> None:
    """For a scaler on github.com that serves a GitHub Enterprise Server."""
    hosted.site = replace(hosted.site, api_url="https://github.invalid")
    world.push("build")
    ran = hosted.use(github_api_url=world.box.github_server.url)
    assert code(ran) == 0, ran.log
    assert len(alive(world)) == 1


def test_the_program_hears_nothing_of_the_inputs_but_through_the_actions_own_variables(
    world: World, hosted: Hosted
) -> None:
    """A composite action gets no INPUT_*, and what a workflow sets by that name is not read."""
    world.push("build")
    ran = hosted.use(env={"INPUT_MODE": "status", "INPUT_DRY-RUN": "true", "INPUT_DRY_RUN": "true"})
    assert code(ran) == 0, ran.log
    assert len(alive(world)) == 1


# --- bad values ----------------------------------------------------------------------------------

BAD = {
    "arch": ("x86", "amd64 or arm64"),
    "pool": ("No Such Pool!", "pool"),
    "repository": ("api", "owner/name"),
    "count": ("51", "1..50"),
    "wait": ("yes", "true or false"),
    "instance-id": ("web-1", "hexadecimal"),
    "force": ("True", "true or false"),
    "for": ("50", "50m"),
    "every": ("0s", "1s"),
    "linger": ("soon", "1d"),
    "hand-over": ("yes", "true or false"),
    "keep-alive": ("1", "true or false"),
    "scaler": ("runner-scaler", "owner/name"),
    "workflow": ("autoscale", "autoscale.yml"),
    "ref": ("a b", "such as main"),
    "dry-run": ("no", "true or false"),
    "github-token": ("***", "asterisks"),
    "github-app-id": ("scaler", "client id"),
    "github-app-private-key": ("secret", "PEM"),
    "github-api-url": ("http://github.acme.dev", "https"),
    "role-to-assume": ("runner-scaler", "arn"),
    "aws-region": ("Frankfurt", "region"),
    "shard": ("3/2", "2/8"),
}
# What the others mean; what is read later; what GitHub makes.
ELSEWHERE = {"mode", "config", "workflow-token"}


def test_every_bad_value_is_told_at_once_by_its_inputs_name(world: World, hosted: Hosted) -> None:
    assert BAD.keys() | ELSEWHERE == {known.name for known in INPUTS}
    world.push("build")
    ran = hosted.use(None, **{name: value for name, (value, _) in BAD.items()})
    assert (ran.conclusion, code(ran)) == ("failure", 2)
    told = ran.told()
    assert [name for name, (_, hint) in BAD.items() if not any(name in each and hint in each for each in told)] == []
    assert world.left() == NOTHING


@pytest.mark.parametrize("mode", ["Auto", "scale", "auto; id", "$(id)"])
def test_an_unknown_mode_is_told_with_those_that_there_are(world: World, hosted: Hosted, mode: str) -> None:
    world.push("build")
    ran = hosted.use(mode=mode)
    assert (ran.conclusion, code(ran)) == ("failure", 2)
    assert "auto, plan, up, down, kick, status, doctor, lint" in ran.told()[0]
    assert world.left() == NOTHING


def test_a_bad_config_is_annotated_at_its_line(world: World, hosted: Hosted) -> None:
    world.amend("    max: 5\n  arm64", "    max: many\n  arm64")
    ran = hosted.use()
    assert code(ran) == 2
    (error,) = [each for each in ran.annotations if each.level == "error" and each.by != "runner"]
    line = world.config.read_text().splitlines().index("    max: many") + 1
    assert error.properties == {"file": "config.yaml", "line": str(line)}


def test_an_unknown_input_is_the_runners_warning_and_no_more(world: World, hosted: Hosted) -> None:
    world.push("build")
    ran = hosted.use(instance="i-0", dryrun="true")
    assert code(ran) == 0, ran.log
    assert "Unexpected input(s) 'instance', 'dryrun'" in ran.told("warning", by="runner")[0]


def test_hostile_values_are_texts_and_no_shell(world: World, hosted: Hosted) -> None:
    pwned = world.folder / "pwned"
    hostile = f"$(touch {pwned}); `touch {pwned}`\"'\n::set-output name=x::y\n${{{{ github.token }}}}"
    names = [known.name for known in INPUTS if known.name not in ("github-token", "github-api-url", "mode")]
    ran = hosted.use(None, mode="up", **{name: hostile.replace("${{", "$ {{") for name in names})
    assert code(ran) == 2
    assert not pwned.exists()
    assert not [line for line in ran.log.splitlines() if line.startswith("::")]


# --- what is missing -----------------------------------------------------------------------------


def test_without_a_token_the_secret_is_asked_for(world: World, hosted: Hosted) -> None:
    """`required` is enforced by nobody, and a secret that does not exist is an empty text."""
    hosted.site = replace(hosted.site, secrets={})
    ran = hosted.use()
    assert (ran.conclusion, code(ran)) == ("failure", 3)
    assert "github-token: empty; in a workflow: is the secret set" in ran.told()[0]
    assert world.box.aws_server.calls == []


def test_without_the_id_token_permission_its_lines_are_printed(hosted: Hosted) -> None:
    workflow = hosted.using()
    workflow.document["jobs"]["scale"]["permissions"] = {"contents": "read"}
    ran = workflow.job("scale").run()
    assert (ran.conclusion, code(ran)) == ("failure", 3)
    assert "id-token: write" in "".join(ran.told())


def test_a_failed_tick_still_gives_its_outputs_to_steps_that_run_always(world: World, hosted: Hosted) -> None:
    world.box.github.fault(Fault(FaultKind.STATUS, path="/repos/acme/web/", times=None))
    world.push("build")
    workflow = hosted.using()
    workflow.document["jobs"]["scale"]["steps"] += [
        {"name": "Next", "run": "exit 1"},
        {"name": "Failed", "if": "failure()", "run": "echo it failed"},
        {
            "name": "Always",
            "if": "always()",
            "env": {"LAUNCHED": "${{ steps.scale.outputs.launched }}", "OUTCOME": "${{ steps.scale.outcome }}"},
            "run": 'echo "launched ${LAUNCHED}, ${OUTCOME}"',
        },
    ]
    ran = workflow.job("scale").run()
    assert (ran.conclusion, code(ran)) == ("failure", 4)
    assert [(step.name, step.outcome) for step in ran.steps if step.name in ("Next", "Failed", "Always")] == [
        ("Next", "skipped"),
        ("Failed", "success"),
        ("Always", "success"),
    ]
    assert "launched 1, failure" in ran.log
    assert ran.summaries
    assert len(alive(world)) == 1


# --- what is said --------------------------------------------------------------------------------


def test_secrets_are_starred_and_in_no_output(world: World, hosted: Hosted) -> None:
    """Also those that come to be on the way: the id-token, the role's keys, the runners' secrets."""
    world.push("build")
    said: list[str] = []
    job = hosted.using().job("scale")
    job.on_line = said.append
    ran = job.run()
    assert code(ran) == 0, ran.log
    (instance,) = world.box.aws.alive()
    secret = json.loads(world.box.aws.ssm.parameters[f"/runner-scaler/main/{instance.id}"].value)["secret"]
    shown = "".join([ran.log, *ran.summaries, *ran.step("scale").outputs.values(), *ran.told(), *ran.told("warning")])
    assert TOKEN not in shown
    assert secret not in shown
    assert sum("::add-mask" in line for line in said) >= 5
    assert any("::add-mask" in line and secret in line for line in said)


def test_whatever_a_job_is_called_it_is_no_command_and_no_output(world: World, hosted: Hosted) -> None:
    hostile = "x\n::error::pwned\nlaunched=99\nEOF\n::add-mask::queued"
    world.push(hostile, "${{ secrets.RUNNER_SCALER_TOKEN }}")
    ran = hosted.use()
    assert code(ran) == 0, ran.log
    assert ran.step("scale").outputs["launched"] == "2"
    assert ran.told() == []
    assert ran.step("scale").outputs.keys() == ACTION["outputs"].keys()


def test_the_summary_of_thousands_of_jobs_is_not_dropped(world: World, hosted: Hosted) -> None:
    world.amend("    max: 5\n  arm64", "    max: 1\n  arm64")
    for _ in range(4):
        world.push("a job with quite a name " * 4, matrix=tuple(f"{n:0>90}" for n in range(800)))
    ran = hosted.use(mode="plan")
    assert code(ran) == 0
    assert len(ran.summaries) == 1
    assert len(ran.summaries[0].encode()) < SUMMARY_LIMIT / 2
