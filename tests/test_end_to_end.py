"""From a queued job to a runner that did it and is gone: the command as a process, over HTTP, on the sandbox."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import jsonschema
import pytest

from scaler.deciding.offerings import REFUSED_FOR
from scaler.sandbox.github.state import JobSpec
from tests.conftest import NOTHING, ROOT, World


def test_a_queued_job_gets_a_runner_that_does_it_and_is_gone(world: World) -> None:
    world.push("build", duration=60)
    assert world.tick().commands() == ["launch done"]
    world.boot()
    world.until(lambda: world.box.journal.of("job.started") != [])
    world.box.clock.advance(60)
    world.until(lambda: not world.box.aws.alive())
    (finished,) = world.box.journal.of("job.finished")
    assert finished.facts["conclusion"] == "success"
    assert world.left() == NOTHING
    assert world.tick().commands() == []


def test_a_second_tick_launches_nothing_for_the_same_job(world: World) -> None:
    world.push("build")
    world.tick()
    again = world.tick()
    assert again.commands() == []
    assert again.verdicts("job") == {"build": "booting runner"}
    assert len(world.box.aws.alive()) == 1


def test_a_token_registration_works_as_well(world: World) -> None:
    world.amend("    max: 5\n  arm64", "    max: 5\n    registration: token\n  arm64")
    world.push("build", duration=30)
    world.tick()
    world.boot()
    world.until(lambda: world.box.journal.of("job.started") != [])
    world.box.clock.advance(30)
    world.until(lambda: not world.box.aws.alive())
    assert world.left() == NOTHING


@pytest.mark.parametrize("registration", ["jit", "token"])
def test_runners_of_an_organization_serve_all_its_repositories_through_their_group(
    world: World, registration: str
) -> None:
    github = world.box.github
    github.add_organization("umbrella")
    for name in ("umbrella/a", "umbrella/b"):
        github.add_repository(name)
    github.add_group("umbrella", "scaled", visibility="selected", repositories=["umbrella/a", "umbrella/b"])
    world.amend("repositories: [acme/api, acme/web]", "repositories: [umbrella/a, umbrella/b]")
    world.amend(
        "max_runners", "github: {register_at: organization, organization: umbrella, runner_group: scaled}\nmax_runners"
    )
    world.amend("    max: 5\n  arm64", f"    max: 5\n    registration: {registration}\n  arm64")
    world.push("one", repository="umbrella/a", duration=30)
    world.push("two", repository="umbrella/b", duration=30)
    ran = world.tick()
    assert (ran.code, ran.commands()) == (0, ["launch done", "launch done"])
    world.boot()
    world.until(lambda: len(world.box.journal.of("job.started")) == 2)
    assert [runner.group.name for runner in world.online()] == ["scaled", "scaled"]
    world.box.clock.advance(30)
    world.until(lambda: not world.box.aws.alive())
    assert world.left() == NOTHING


def test_a_group_that_serves_strangers_is_degraded(world: World) -> None:
    """Jobs of repositories outside the config are not seen, so their runners may not be ended (design D7)."""
    world.box.github.add_organization("umbrella")
    world.box.github.add_repository("umbrella/a")
    world.amend("repositories: [acme/api, acme/web]", "repositories: [umbrella/a]")
    world.amend("max_runners", "github: {register_at: organization, organization: umbrella}\nmax_runners")
    ran = world.scaler("auto")
    assert ran.code == 4
    assert 'runner group "Default" also serves every repository' in ran.out


def test_each_job_of_a_matrix_counts_once_and_the_pool_bounds_them(world: World) -> None:
    world.push("test", matrix=tuple("abcdefg"))
    ran = world.tick()
    assert ran.commands() == ["launch done"] * 5
    assert sorted(ran.verdicts("job").values()) == ["launching"] * 5 + ["pool at max"] * 2
    assert ran.code == 0  # nobody has waited for long
    world.box.clock.advance(601)
    assert "pool at max" in world.tick().verdicts("job").values()


def test_what_stands_behind_the_first_page_of_a_list_is_seen(world: World) -> None:
    """GitHub shows 100 rows a page at most, and the newest runs first."""
    world.push("old")
    for _ in range(101):
        world.box.github.cancel(world.push("newer").id)
    world.push("matrix", matrix=tuple(str(n) for n in range(101)))
    assert len(world.scaler("plan", "--json").document["verdicts"]) == 102


def test_a_runner_behind_the_first_page_is_seen(world: World) -> None:
    with world.box.clock.lock:
        runners = world.box.github.runners
        for n in range(101):
            runners.mint_jit("acme/api", f"macbook-{n}", ["macos"], runners.groups("acme/api")[0], "http://127.0.0.1")
    world.push("build", duration=3600)
    world.tick()
    world.boot()
    world.until(lambda: world.box.journal.of("job.started") != [])
    (ours,) = world.box.aws.alive()
    ran = world.scaler("plan", "--json")
    assert ran.verdicts("instance") == {ours.id: "busy"}
    assert ran.code == 0


def test_a_job_that_waited_ten_minutes_for_a_full_pool_gives_exit_5(world: World) -> None:
    world.amend("    max: 5", "    max: 1")
    world.push("a", "b", duration=7200)
    assert world.scaler("auto").code == 0
    world.advance(11)
    assert world.scaler("auto").code == 5


def test_a_job_that_nobody_serves_is_told_the_nearest_pool(world: World) -> None:
    world.push("train", labels=("self-hosted", "acme", "gpu"))
    ran = world.scaler("auto")
    assert ran.code == 0
    assert 'no pool: no pool carries all of [acme, gpu, self-hosted]; nearest: pool amd64, which lacks "gpu"' in ran.out
    assert world.box.aws.alive() == []


def test_needs_are_not_counted_before_they_are_ready(world: World) -> None:
    labels = ("self-hosted", "x64", "acme")
    jobs = [JobSpec("build", labels, duration=30), JobSpec("deploy", labels, needs=("build",))]
    world.box.github.push("acme/api", jobs)
    assert list(world.tick().verdicts("job")) == ["build"]
    world.boot()
    world.until(lambda: world.box.journal.of("job.started") != [])
    world.box.clock.advance(30)
    world.until(lambda: world.box.journal.of("job.finished") != [])
    assert world.tick().verdicts("job") == {"deploy": "launching"}


def test_a_queued_job_of_a_run_in_progress_is_seen(world: World) -> None:
    """What GitHub calls a run of which one job runs and one is queued is not documented: here, in progress."""
    world.box.github.set(precedence=("in_progress", "queued"))
    world.amend("    max: 5", "    max: 1")
    world.push("first", "second", duration=3600)
    world.tick()
    world.boot()
    world.until(lambda: world.box.journal.of("job.started") != [])
    assert sorted(world.tick().verdicts("job").values()) == ["pool at max", "running"]


def test_spot_falls_through_to_on_demand_when_there_is_no_capacity(world: World) -> None:
    world.amend("    max: 5\n  arm64", "    max: 5\n    market: spot-then-on-demand\n  arm64")
    world.box.aws.refuse_capacity(market="spot")
    world.push("build")
    assert world.tick().commands() == ["launch done"]
    (instance,) = world.box.aws.alive()
    assert instance.market == "on-demand"


def test_without_any_capacity_the_job_waits_and_is_launched_for_three_minutes_later(world: World) -> None:
    rule = world.box.aws.refuse_capacity()
    world.push("build")
    ran = world.tick()
    assert ran.commands() == ["launch no capacity"]
    assert "InsufficientInstanceCapacity" in ran.out
    world.box.aws.ec2.capacity.remove(rule)
    ran = world.tick()
    assert ran.commands() == []
    assert "no capacity: EC2 had no capacity for pool amd64 (" in ran.said
    world.box.clock.advance(REFUSED_FOR.total_seconds())
    assert world.tick().commands() == ["launch done"]


def test_a_launch_whose_answer_was_lost_is_not_launched_again(world: World) -> None:
    world.box.aws.fail("ec2:CreateFleet", kind="drop-after")
    world.push("build")
    assert world.tick().commands() == ["launch done"]
    assert len(world.box.aws.alive()) == 1


def test_a_denial_inside_a_fleets_answer_gives_exit_3_and_names_the_policy(world: World) -> None:
    """RunInstances is asked for on our behalf; its refusal comes as an error of the override."""
    world.box.aws.iam.deny("ec2:RunInstances")
    world.push("build")
    ran = world.scaler("auto")
    assert ran.code == 3
    assert "aws/stack.yaml" in ran.said
    assert world.left() == NOTHING


def test_a_denial_inside_a_fleets_answer_is_over_when_the_policy_is_mended(world: World) -> None:
    """The token of that fleet is spent, and would repeat the denial for ever."""
    rule = world.box.aws.iam.deny("ec2:RunInstances")
    world.push("build")
    world.scaler("auto")
    world.box.aws.iam.denials.remove(rule)
    assert world.tick().commands() == ["launch done"]


@pytest.mark.parametrize(("registration", "tier"), [("jit", "Advanced"), ("token", "Standard")])
def test_the_secret_is_handed_over_once_under_the_instances_id(world: World, registration: str, tier: str) -> None:
    """A JIT configuration is about 4 KB, and a standard parameter holds no more (AWS docs: parameter tiers)."""
    world.amend("    max: 5\n  arm64", f"    max: 5\n    registration: {registration}\n  arm64")
    world.push("build")
    world.tick()
    (instance,) = world.box.aws.alive()
    held = world.box.aws.ssm.parameters[f"/runner-scaler/main/{instance.id}"]
    assert (held.type, held.tier, held.tags["InstanceId"]) == ("SecureString", tier, instance.id)
    assert held.description.startswith("scope=acme/api runner=")
    told = json.loads(held.value)
    jsonschema.validate(told, json.loads((ROOT / "docs/parameter.schema.json").read_text()))
    assert (told["registration"], told["labels"]) == (registration, ["self-hosted", "linux", "x64", "acme"])
    assert told["name"].endswith(instance.id)
    assert told["url"] == f"{world.box.github_server.url}/acme/api"


def test_a_put_whose_answer_was_lost_is_known_for_its_own(world: World) -> None:
    world.box.aws.fail("ssm:PutParameter", kind="drop-after", skip=1)  # the first one is the state's
    world.push("build")
    assert world.tick().commands() == ["launch done"]
    assert len(world.left()["runners"]) == 1


def test_an_instance_that_ec2_does_not_list_yet_is_handed_over_and_tagged_by_the_next_tick(world: World) -> None:
    """A new instance may be unknown for seconds (AWS docs: eventual consistency); its tag can wait."""
    world.box.aws.fail("ec2:CreateTags", code="InvalidInstanceID.NotFound", status=400)
    world.push("build")
    ran = world.tick()
    assert (ran.code, ran.commands()) == (0, ["launch done"])
    (instance,) = world.box.aws.alive()
    assert "runner-scaler:scope" not in instance.tags
    assert world.tick().commands() == ["tag done"]
    (instance,) = world.box.aws.alive()
    assert instance.tags["runner-scaler:scope"] == "acme/api"


def test_a_slot_that_only_looks_free_is_not_handed_over_again(world: World) -> None:
    """EC2's list lags; its answer to the slot's token is the instance that is there, with its scope."""
    world.amend("    max: 5", "    max: 1")
    world.push("long", labels=("self-hosted", "arm64", "acme"), duration=7200)
    world.tick()
    world.boot()
    world.until(lambda: len(world.box.journal.of("job.started")) == 1)
    world.box.clock.advance(400)  # that one is in every list; none at all would not be believed
    world.push("build", duration=3600)
    world.tick()
    world.boot()
    world.until(lambda: len(world.box.journal.of("job.started")) == 2)
    world.box.aws.configure({"consistency": {"instances": "5m"}})
    world.push("other", repository="acme/web")
    assert world.tick().commands() == ["launch taken by another tick"]
    assert len(world.left()["instances"]) == 2
    assert {r.scope for r in world.box.github.registered()} == {"acme/api"}


def test_an_empty_list_of_instances_is_not_believed_while_a_runner_of_ours_is_online(world: World) -> None:
    world.push("build", duration=3600)
    world.tick()
    world.boot()
    world.until(lambda: world.box.journal.of("job.started") != [])
    world.box.aws.configure({"consistency": {"instances": "1h"}})
    world.push("other")
    ran = world.tick()
    assert (ran.code, ran.commands()) == (4, [])
    assert "EC2 lists no instance at all" in ran.said


def test_a_lost_hint_after_an_outage_is_walked_through(world: World) -> None:
    """The spent tokens of the outage go on answering that there is no capacity."""
    rule = world.box.aws.refuse_capacity()
    world.push("build")
    for _ in range(2):
        assert world.tick().commands()[0] == "launch no capacity"
        world.box.clock.advance(REFUSED_FOR.total_seconds())
    world.box.aws.ec2.capacity.remove(rule)
    del world.box.aws.ssm.parameters["/runner-scaler/main/state"]
    for _ in range(3):
        world.tick()
        world.box.clock.advance(REFUSED_FOR.total_seconds())
    assert len(world.box.aws.alive()) == 1


@pytest.mark.parametrize("reply", ["error", "dead-id"])
def test_a_replay_after_the_death_is_a_spent_link(world: World, reply: str) -> None:
    """What CreateFleet answers to the token of a dead instance is not documented; either answer will do."""
    world.box.aws.configure({"tokens": {"replay": reply}})
    world.push("build")
    world.tick()
    (first,) = world.box.aws.alive()
    world.kill(first.id)
    world.box.clock.advance(30)
    assert "launch done" in world.tick().commands()
    (second,) = world.box.aws.alive()
    assert second.id != first.id


@pytest.mark.parametrize("oidc", [True, False], ids=["role by OIDC", "ambient credentials"])
def test_plan_prints_what_auto_would_do_and_touches_nothing(world: World, *, oidc: bool) -> None:
    world.oidc = oidc
    world.push("build")
    planned = world.scaler("plan", "--json")
    assert planned.commands() == ["launch"]
    assert {call.name.partition(":")[2] for call in world.box.aws_server.calls} <= {
        "AssumeRoleWithWebIdentity",
        "GetCallerIdentity",
        "DescribeInstances",
        "DescribeParameters",
        "GetParameter",
    }
    assert world.left() == NOTHING
    done = world.tick()
    assert [c["slot"] for c in planned.document["commands"]] == [c["slot"] for c in done.document["commands"]]
    assert [v["sentence"] for v in planned.document["verdicts"]] == [v["sentence"] for v in done.document["verdicts"]]


def test_status_tells_pools_instances_and_jobs(world: World) -> None:
    world.push("build")
    world.tick()
    ran = world.scaler("status")
    (instance,) = world.box.aws.alive()
    assert ran.code == 0
    assert "pool amd64: 1 of 5 (1 booting)" in ran.out
    assert "pool arm64: 0 of 5 (nothing runs)" in ran.out
    assert f"{instance.id}  booting: " in ran.out
    assert "acme/api  build  booting runner: " in ran.out


def test_status_as_json_is_the_whole_document(world: World) -> None:
    world.push("build")
    ran = world.scaler("status", "--json")
    assert ran.verdicts("job") == {"build": "launching"}
    assert world.left() == NOTHING


def test_status_writes_the_page_in_actions(world: World) -> None:
    world.in_actions = True
    world.push("build")
    ran = world.scaler("status")
    assert "**Busy**: 1 queued" in ran.summary
    assert ran.outputs["queued"] == "1"


def test_the_summary_and_the_outputs_are_written_in_actions(world: World) -> None:
    world.in_actions = True
    world.push("build | <b>", repository="acme/web")
    ran = world.scaler("auto")
    (instance,) = world.box.aws.alive()
    assert ran.outputs["instance-ids"] == f'["{instance.id}"]'
    assert ran.outputs["labels"] == '["self-hosted", "linux", "x64", "acme"]'
    assert (ran.outputs["queued"], ran.outputs["launched"], ran.outputs["terminated"]) == ("1", "1", "0")
    assert "<summary>acme/web: 1 queued" in ran.summary
    assert "build \\| &lt;b&gt;" in ran.summary
    assert "**launching**" in ran.summary


def test_a_json_document_on_standard_output_is_nothing_but_that(world: World) -> None:
    """And the mask commands go where GitHub reads them, not into a file that somebody keeps."""
    world.in_actions = True
    world.push("build")
    ran = world.scaler("auto", "--json")
    assert ran.document["exit_code"] == 0
    assert "::add-mask" in ran.err


def test_a_watch_with_a_job_waiting_for_a_full_pool_is_not_quiet(world: World) -> None:
    world.amend("    max: 5", "    max: 0")
    world.push("build")
    process = world.start("auto", "--for", "50m", "--every", "1s", "--linger", "1s")
    assert process.stdout is not None
    told = [process.stdout.readline() for _ in range(9)]
    process.terminate()
    assert world.end(process).code == 143
    assert sum("1 queued" in line for line in told) >= 3


def test_a_watch_ends_early_when_quiet(world: World) -> None:
    ran = world.scaler("auto", "--for", "50m", "--every", "1s", "--linger", "5s")
    assert ran.code == 0
    assert 2 <= ran.out.count("0 queued") <= 6


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_watch_that_is_stopped_ends_cleanly(world: World, number: signal.Signals, code: int) -> None:
    process = world.start("auto", "--for", "50m", "--every", "10s")
    assert process.stdout is not None
    assert "0 queued" in process.stdout.readline()
    process.send_signal(number)
    ran = world.end(process)
    assert ran.code == code
    assert f"stopped by {number.name}" in ran.err


def test_a_signal_is_heard_in_any_moment_of_a_sleep() -> None:
    """A handler runs between two steps of the main thread: also of one that is about to sleep, or holds a lock."""
    program = """
import random, signal
from scaler.__main__ import _stop_on_signals
from scaler.clock import RealClock
for _ in range(400):
    clock = RealClock()
    _stop_on_signals(clock)
    signal.signal(signal.SIGALRM, signal.getsignal(signal.SIGTERM))
    signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 1e-4))
    clock.sleep(3600)
    assert clock.stopping()
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=30)


def test_the_example_config_is_a_config(world: World) -> None:
    world.configure((ROOT / "config.example.yaml").read_text())
    world.push("build")
    ran = world.tick()
    assert ran.code == 0
    assert ran.commands()[0] == "launch done"
