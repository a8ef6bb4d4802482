"""
The boot script that the image holds, run for real: one process tree per machine, its own metadata service, curl
against the embedded AWS, the runner program's stand-in against the embedded GitHub.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from scaler.sandbox.aws.seed import IMAGES, launch_data
from scaler.sandbox.aws.server import Call
from scaler.sandbox.machines.faults import FaultKind, MachineFault
from tests.boot_world import LIMITS, World, boot_world
from tests.image_machines import ImageMachines

ROOT = Path(__file__).parents[1]


Boot = Callable[..., AbstractContextManager[World]]


@pytest.fixture(params=["process", pytest.param("image", marks=pytest.mark.image)])
def boot(request: pytest.FixtureRequest) -> Boot:
    """`boot_world`, whose machines are the sandbox's processes, or boot in the image."""
    if request.param == "process":
        return boot_world
    image, authority = request.getfixturevalue("image"), request.getfixturevalue("authority")
    return partial(boot_world, machines_are=partial(ImageMachines, image, authority))


@pytest.fixture
def world(tmp_path: Path, boot: Boot) -> Iterator[World]:
    """A world whose machines are well."""
    with boot(tmp_path) as found:
        yield found


# --- what it is for ------------------------------------------------------------------------------


@pytest.mark.parametrize("registration", ["jit", "token"])
def test_a_machine_boots_does_one_job_and_ends_itself(world: World, registration: str) -> None:
    """Design D6; docs.github.com: an ephemeral runner is de-registered by the service after one job."""
    world.queue()
    instance_id = world.hand_over(registration)
    world.gone(instance_id)
    assert world.conclusions() == ["success"]
    assert world.runner() is None
    assert world.aws.parameter_names() == []
    assert world.happened("machine.powered_off")[0].facts["by"] == "script"
    assert world.said(instance_id, "runner-scaler: the runner ended after 1 job(s)")


def test_the_runner_registers_with_exactly_what_the_parameter_says(world: World) -> None:
    """No implicit labels with a token either (actions/runner: --no-default-labels)."""
    world.github.add_group("acme", "builders")
    instance_id = world.hand_over("token", scope="acme", group="builders", ephemeral=False)
    world.until(world.online, "online")
    runner = world.runner()
    assert runner is not None
    assert runner.name == f"main-1a2b3c-{instance_id}"
    assert [label.lower() for label in runner.labels] == ["self-hosted", "linux", "x64", "acme"]
    assert runner.group.name == "builders"
    assert runner.scope == "acme"
    assert not runner.ephemeral


def test_the_runner_program_is_told_not_to_update_itself_and_to_take_nobodys_place(boot: Boot, tmp_path: Path) -> None:
    """
    An update costs the only job of an ephemeral runner its time; the image is what is renewed (RG-19).

    And `--replace` would take the registration of a runner that may be at a job.
    """

    def note_arguments(home: Path) -> None:
        (home / "config.sh").rename(home / "config-itself.sh")
        noting = '#!/bin/bash\nprintf "%s\\n" "$@" >arguments\nexec "${0%/*}/config-itself.sh" "$@"\n'
        (home / "config.sh").write_text(noting)
        (home / "config.sh").chmod(0o755)

    with boot(tmp_path / "machines", customize=note_arguments) as world:
        instance_id = world.hand_over("token")
        world.until(world.online, "online")
        arguments = (world.machines.home(instance_id) / "arguments").read_text().splitlines()
    assert {"--disableupdate", "--unattended", "--ephemeral", "--no-default-labels"} <= set(arguments)
    assert "--replace" not in arguments


def test_a_machine_finds_its_parameter_in_its_own_region(boot: Boot, tmp_path: Path) -> None:
    """The metadata service names the region; SSM refuses a signature for another."""
    subnets = [{"id": "subnet-0a1b2c3d4e5f60718", "zone": "eu-central-1a"}]
    with boot(tmp_path, region="eu-central-1", subnets=subnets) as world:
        world.queue()
        world.gone(world.hand_over())
        assert world.conclusions() == ["success"]


@pytest.mark.parametrize("missing", ["denied", "not-found"])
def test_a_parameter_that_comes_late_is_found_within_two_seconds(world: World, missing: str) -> None:
    """
    GetParameter is asked once a second: the id is known only after the launch, so the parameter comes later.

    What a role with a condition on the parameter's tags hears before there is one is not documented.
    """
    world.aws.configure({"parameters": {"missing": missing}})
    instance_id = world.launch()
    world.until(lambda: world.said(instance_id, "waits for"), "waiting")
    world.clock.advance(20)
    put = world.clock.now()
    world.put(instance_id, world.secret(instance_id))
    world.until(world.online, "online")
    online = world.happened("runner.online")[0].at
    assert (online - put).total_seconds() < 2


def test_a_reused_runner_does_job_after_job_then_goes_when_idle(world: World) -> None:
    """Without `ephemeral` the listener goes on after a job; idle time counts from the last one."""
    world.queue("first")
    instance_id = world.hand_over("token", ephemeral=False)
    world.until(lambda: len(world.conclusions()) == 1, "first job")
    world.until(lambda: 300.0 in world.machines.sleeping(instance_id), "idle")
    world.clock.advance(200)
    world.queue("second", duration=50)
    world.until(lambda: 300.0 not in world.machines.sleeping(instance_id), "no longer idle")
    world.clock.advance(50)
    world.until(lambda: len(world.conclusions()) == 2, "second job")
    world.advance_when_asleep(instance_id, 299.0, of=300.0)  # 549 s after it came online
    world.until(world.online, "still online")
    world.clock.advance(1)
    world.gone(instance_id)
    assert world.said(instance_id, "the runner ended after 2 job(s)")


# --- secrets -------------------------------------------------------------------------------------


@pytest.mark.parametrize("registration", ["jit", "token"])
def test_no_secret_is_ever_in_argv_in_a_jobs_environment_or_on_the_console(
    boot: Boot, tmp_path: Path, registration: str
) -> None:
    """
    Every user of the machine can read argv, and a job its own environment.

    The runner program reads ACTIONS_RUNNER_INPUT_* and takes them out of its environment before any job
    (actions/runner, CommandSettings.cs).
    """

    def dump_what_a_job_sees(home: Path) -> None:
        (home / "dump.sh").write_text("env >job-env\ntr '\\0' '\\n' </proc/$PPID/environ >listener-env\n")
        (home / ".env").write_text("ACTIONS_RUNNER_HOOK_JOB_COMPLETED=dump.sh\n")

    with boot(tmp_path / "machines", customize=dump_what_a_job_sees) as world:
        instance_id = world.launch()
        value = world.secret(instance_id, registration)
        credentials = world.aws.instance_credentials(instance_id)
        assert credentials is not None
        secrets = {value["secret"], credentials["SecretAccessKey"], credentials["Token"]}
        seen: set[str] = set()
        over = threading.Event()

        def watch() -> None:
            while not over.is_set():
                for pid in world.machines.pids(instance_id):
                    try:
                        seen.add(Path(f"/proc/{pid}/cmdline").read_text())
                    except OSError:
                        continue

        for action in ("GetParameter", "DeleteParameter"):  # long enough to be looked at
            world.aws.fail(f"ssm:{action}", kind="delay", delay=0.3)
        watcher = threading.Thread(target=watch)
        watcher.start()
        world.queue()
        world.put(instance_id, value)
        world.gone(instance_id)
        over.set()
        watcher.join()
        job_sees = (world.machines.home(instance_id) / "job-env").read_text()
        listener_has = (world.machines.home(instance_id) / "listener-env").read_text()
        console = world.console(instance_id)

    assert any("aws-sigv4" in argv for argv in seen), "no curl was seen: the watcher saw nothing"
    assert any("Runner.Listener" in argv for argv in seen)
    for secret in secrets:
        assert not [argv for argv in seen if secret in argv]
        assert secret not in job_sees
        assert secret not in console
    assert "ACTIONS_RUNNER_INPUT" not in job_sees
    assert not re.search("^(IMDS_ENDPOINT|AWS_ENDPOINT_URL|POWEROFF_COMMAND|AWS_[A-Z_]+)=", job_sees, re.MULTILINE)
    if registration == "token":  # a token would register more runners; a JIT configuration is this runner's own
        assert value["secret"] not in listener_has


def test_the_parameter_is_gone_before_the_runner_registers(world: World) -> None:
    """A job can read whatever its instance's role can."""
    world.queue()
    world.gone(world.hand_over("token"))
    order = [entry.what for entry in world.journal]
    assert order.index("parameter.deleted") < order.index("runner.registered") < order.index("job.started")


def test_a_parameter_that_cannot_be_deleted_means_no_job(boot: Boot, tmp_path: Path) -> None:
    """A registration token that a job could read would let it register runners of its own."""
    with boot(tmp_path, deny=["ssm:DeleteParameter"]) as world:
        world.queue()
        instance_id = world.hand_over("token")
        for _ in range(10):
            world.advance_when_asleep(instance_id, 1.0)
        world.gone(instance_id)
        assert world.runner() is None
        assert world.said(instance_id, f"could not delete /runner-scaler/main/{instance_id}: AccessDenied")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        pytest.param({"v": 2}, "v is not 1", id="another version"),
        pytest.param({"registration": "pat"}, "registration is not jit or token", id="another registration"),
        pytest.param({"url": "http://github.example/acme/api"}, "url is not https", id="plain http"),
        pytest.param({"name": "one\n"}, "name is not a runner name", id="a line too many"),
        pytest.param({"name": "$(touch /tmp/owned)"}, "name is not a runner name", id="a command as name"),
        pytest.param({"labels": ["--token"]}, "labels", id="an option as label"),
        pytest.param({"labels": []}, "labels", id="no labels"),
        pytest.param({"group": "-x"}, "group is not a name", id="an option as group"),
        pytest.param({"ephemeral": "yes"}, "ephemeral is not true or false", id="a word for true"),
        pytest.param({"limits": {**LIMITS, "max_lifetime": -1}}, "limits.max_lifetime", id="a negative limit"),
        pytest.param({"limits": {**LIMITS, "boot_timeout": "9"}}, "limits.boot_timeout", id="a text as limit"),
        pytest.param({"secret": "two\nlines"}, "secret is not a line of text", id="a secret of two lines"),
    ],
)
def test_a_parameter_of_another_form_is_refused_without_quoting_it(
    world: World, changes: dict[str, object], complaint: str
) -> None:
    """What does not fit is named by its field; a value could be a secret."""
    instance_id = world.launch()
    value = {**world.secret(instance_id, "token"), **changes}
    world.put(instance_id, value)
    world.gone(instance_id)
    assert world.said(instance_id, f"is not for this image: {complaint}")
    assert value["secret"] not in world.console(instance_id)
    assert world.runner() is None


def test_a_parameter_that_is_no_json_is_refused_without_quoting_it(world: World) -> None:
    """Parsers like to quote what they could not parse."""
    instance_id = world.launch()
    world.put(instance_id, "AABBCC-secret")
    world.gone(instance_id)
    assert world.said(instance_id, "is not for this image: it is not a JSON object")
    assert "AABBCC" not in world.console(instance_id)


def test_values_are_data_never_commands(world: World) -> None:
    """No value of the parameter is expanded by a shell on its way to the runner program."""
    labels = ["$(touch owned)", "`touch owned`", "a; touch owned", "*", "${HOME}"]
    instance_id = world.hand_over("token", labels=labels, group=None)
    world.until(world.online, "online")
    runner = world.runner()
    assert runner is not None
    assert list(runner.labels) == labels
    assert not (world.machines.home(instance_id) / "owned").exists()


# --- it ends itself ------------------------------------------------------------------------------


def test_without_a_parameter_it_powers_off_after_15_minutes(world: World) -> None:
    """The limit is the image's own: it holds with the scaler gone for ever."""
    instance_id = world.launch()
    world.until(lambda: 900.0 in world.machines.sleeping(instance_id), "the limit is armed")
    world.until(lambda: world.said(instance_id, "waits for"), "waiting")
    world.clock.advance(899)
    assert world.state(instance_id) == "running"
    world.clock.advance(1)
    world.gone(instance_id)
    assert re.search(r"runner-scaler: no registration secret in ", world.console(instance_id))


def test_the_lifetime_is_armed_before_anything_else(boot: Boot, tmp_path: Path) -> None:
    """With a metadata service that never answers, the machine still ends."""
    with boot(tmp_path, [MachineFault(FaultKind.IMDS_SLOW, seconds=1e9)]) as world:
        instance_id = world.launch()
        world.until(lambda: {900.0, 86_400.0} <= set(world.machines.sleeping(instance_id)), "both limits are armed")
        world.clock.advance(900)
        world.gone(instance_id)


def test_a_metadata_service_that_refuses_is_asked_for_a_minute(boot: Boot, tmp_path: Path) -> None:
    """It may be late; it may not be late for ever."""
    with boot(tmp_path, [MachineFault(FaultKind.IMDS_DOWN)]) as world:
        instance_id = world.launch()
        for _ in range(60):
            world.advance_when_asleep(instance_id, 1.0)
        world.gone(instance_id)
        assert world.said(instance_id, "the metadata service did not answer 60 times")


@pytest.mark.parametrize(
    ("missing", "complaint"),
    [
        pytest.param("MetadataOptions", "must enable InstanceMetadataTags", id="no tags"),
        pytest.param("IamInstanceProfile", "give the launch template an instance profile", id="no role"),
    ],
)
def test_a_launch_template_that_lacks_something_is_named(
    boot: Boot, tmp_path: Path, missing: str, complaint: str
) -> None:
    """What the script needs of the launch template: tags in the metadata, and a role."""
    data = launch_data(IMAGES[0].id, "m7i.large")
    del data[missing]
    templates = [{"name": "runner-amd64", "versions": [data]}]
    with boot(tmp_path, launch_templates=templates) as world:
        instance_id = world.launch(template="1")
        for _ in range(60):
            world.advance_when_asleep(instance_id, 1.0)
        world.gone(instance_id)
        assert world.said(instance_id, complaint)


def test_a_registration_that_is_refused_powers_off(world: World) -> None:
    """A token that has expired, or is not for this scope: config.sh ends with 1."""
    instance_id = world.hand_over("token", secret="AEXPIRED000000000000000000000")
    world.gone(instance_id)
    assert world.said(instance_id, "runner-scaler: the registration failed")


def test_a_jit_runner_that_is_gone_from_github_powers_off(world: World) -> None:
    """GitHub has been removing idle JIT runners (actions/runner#4726); this one before it was online."""
    instance_id = world.launch()
    value = world.secret(instance_id)
    runner = world.runner()
    assert runner is not None
    world.github.remove_runner(runner.id)
    world.put(instance_id, value)
    world.gone(instance_id)
    assert world.said(instance_id, "the runner ended before it was online")


def test_an_idle_jit_runner_that_github_removes_powers_off(world: World) -> None:
    """actions/runner#4726: the listener ends with 0 and no job was done."""
    instance_id = world.hand_over()
    world.listens(instance_id)
    runner = world.runner()
    assert runner is not None
    world.github.remove_runner(runner.id)
    world.gone(instance_id)
    assert world.said(instance_id, "the runner ended without a job")


def test_a_runner_version_that_github_refuses_has_a_line_of_its_own(world: World) -> None:
    """actions/runner: exit code 7, "is deprecated and cannot receive messages"."""
    world.github.set(minimum_version="2.338.0")
    instance_id = world.hand_over()
    world.gone(instance_id)
    assert world.said(instance_id, "GitHub refuses this version of the runner program: build a new image")


def test_a_listener_that_never_gets_online_is_ended_at_boot_timeout(boot: Boot, tmp_path: Path) -> None:
    """boot_timeout counts from the script's start."""
    with boot(tmp_path, [MachineFault(FaultKind.RUNNER_HANGS)]) as world:
        instance_id = world.hand_over()
        world.advance_when_asleep(instance_id, 600.0)
        world.gone(instance_id)
        assert world.said(instance_id, "the runner was not online in 600 s")


def test_an_idle_runner_is_stopped_by_sigint_then_the_machine_powers_off(world: World) -> None:
    """The listener closes its session before the machine goes, so that GitHub sends it nothing more."""
    instance_id = world.hand_over()
    world.listens(instance_id)
    world.advance_when_asleep(instance_id, 300.0)
    world.gone(instance_id)
    assert world.said(instance_id, "no job for 300 s: stopping the runner")
    assert world.said(instance_id, "runner: Exiting...")
    order = [entry.what for entry in world.journal]
    assert order.index("runner.offline") < order.index("machine.powered_off")


def test_a_listener_that_ignores_sigint_does_not_keep_the_machine(boot: Boot, tmp_path: Path) -> None:
    """Seen to end within a minute, or ended with the machine."""
    with boot(tmp_path, [MachineFault(FaultKind.RUNNER_DEAF)]) as world:
        instance_id = world.hand_over()
        world.listens(instance_id)
        world.advance_when_asleep(instance_id, 300.0)
        world.advance_when_asleep(instance_id, 60.0)
        world.gone(instance_id)
        assert world.said(instance_id, "the listener hangs")


def test_a_listener_that_stays_after_its_only_job_does_not_keep_the_machine(boot: Boot, tmp_path: Path) -> None:
    """actions/runner#4617: it says that it listens, and no job can come any more. Not even an idle limit is needed."""
    with boot(tmp_path, [MachineFault(FaultKind.RUNNER_STAYS)]) as world:
        world.queue()
        instance_id = world.hand_over("token", limits={**LIMITS, "idle_timeout": None})
        world.until(world.conclusions, "done")
        world.advance_when_asleep(instance_id, 60.0)
        world.gone(instance_id)
        assert world.said(instance_id, "the listener hangs: it did not end within 60 s of its only job")


def test_a_job_ends_every_watchdog_but_the_lifetime(world: World) -> None:
    """A job may take longer than idle_timeout, boot_timeout and the time to get a secret."""
    world.queue(duration=1000)
    instance_id = world.hand_over()
    world.until(lambda: world.machines.at_a_job(instance_id), "the hook ran")
    world.until(lambda: [s > 21_000 for s in world.machines.sleeping(instance_id)] == [True], "just the lifetime")
    for _ in range(20):
        world.clock.advance(50)
        world.until(world.online, "online")
    world.gone(instance_id)
    assert world.conclusions() == ["success"]


def test_without_an_idle_limit_a_machine_waits_for_its_job(world: World) -> None:
    """Pools with min_idle have no idle limit on the machine."""
    instance_id = world.hand_over("token", limits={**LIMITS, "idle_timeout": None})
    world.listens(instance_id)
    for _ in range(80):
        world.clock.advance(45)
    world.until(world.online, "still online")
    world.queue()
    world.gone(instance_id)
    assert world.conclusions() == ["success"]


def test_max_lifetime_ends_a_machine_in_mid_job_whatever_the_listener_does(boot: Boot, tmp_path: Path) -> None:
    """Nothing lives past max_lifetime once its boot unit has started; the parameter shortens it."""
    with boot(tmp_path, [MachineFault(FaultKind.RUNNER_DEAF)]) as world:
        world.queue(duration=86_400)
        instance_id = world.hand_over(limits={**LIMITS, "max_lifetime": 3600})
        world.until(lambda: world.happened("job.started"), "job started")
        world.advance_when_asleep(instance_id, 3600.0)
        world.gone(instance_id)
        assert world.said(instance_id, "has lived for its 3600 s")


def test_the_parameter_cannot_lengthen_the_lifetime(world: World) -> None:
    """A day is the image's own limit."""
    instance_id = world.hand_over(limits={**LIMITS, "max_lifetime": 10**7})
    world.listens(instance_id)
    assert 86_400.0 in world.machines.sleeping(instance_id)
    assert max(world.machines.sleeping(instance_id)) == 86_400


def test_a_script_that_is_killed_still_ends_the_machine(world: World) -> None:
    """The image's unit does it: SuccessAction and FailureAction power off."""
    instance_id = world.hand_over()
    world.listens(instance_id)
    leader = min(world.machines.pids(instance_id))
    os.kill(leader, signal.SIGKILL)
    world.gone(instance_id)
    assert world.happened("machine.powered_off")[0].facts["by"] == "unit"


def test_a_signal_to_the_script_powers_off(world: World) -> None:
    """Every way out of the script leads through its trap."""
    instance_id = world.launch()
    world.until(lambda: world.said(instance_id, "waits for"), "waiting")
    os.kill(min(world.machines.pids(instance_id)), signal.SIGTERM)
    world.clock.advance(1)
    world.gone(instance_id)
    assert world.happened("machine.powered_off")[0].facts["by"] == "script"
    assert world.said(instance_id, "stopped by a signal")


def test_a_machine_boots_a_runner_only_once(boot: Boot, tmp_path: Path) -> None:
    """A stopped instance that somebody starts again keeps its disk, with another job's leavings."""
    with boot(tmp_path) as world:
        ec2 = world.client("ec2")
        instance_id = world.hand_over()
        world.listens(instance_id)
        ec2.stop_instances(InstanceIds=[instance_id])
        world.until(lambda: world.state(instance_id) == "stopped", "stopped")
        world.until(lambda: not world.machines.pids(instance_id), "processes ended")
        ec2.start_instances(InstanceIds=[instance_id])
        world.gone(instance_id)
        assert world.said(instance_id, "a runner boots only once")


# --- and with the network gone -------------------------------------------------------------------

GONE = pytest.mark.parametrize("silent", [False, True], ids=["refused", "never answered"])
"""The metadata service goes on: it is the host's own, and no packet to it leaves the machine."""


@GONE
def test_a_network_that_goes_before_the_secret_costs_15_minutes(world: World, *, silent: bool) -> None:
    instance_id = world.launch()
    world.until(lambda: world.said(instance_id, "waits for"), "waiting")
    world.unplug(silent=silent)
    world.advance_when_asleep(instance_id, 890.0, of=900.0)
    assert world.state(instance_id) == "running"
    world.clock.advance(10)
    world.gone(instance_id)
    assert world.said(instance_id, "no registration secret in ")


def test_a_network_that_goes_with_the_secret_read_and_not_deleted_means_no_job(world: World) -> None:
    """The secret may still be there, but not for this machine any more."""

    def hear(call: Call) -> None:
        if call.action == "GetParameter" and not call.error:
            world.aws.fail("ssm:*", kind="drop-before", times=None)

    world.aws_server.observers.append(hear)
    instance_id = world.hand_over()
    for _ in range(10):
        world.advance_when_asleep(instance_id, 1.0)
    world.gone(instance_id)
    assert world.said(instance_id, "could not delete /runner-scaler/main/")
    assert not world.happened("runner.online")


@GONE
def test_a_network_that_goes_with_the_secret_costs_boot_timeout_by_jit(world: World, *, silent: bool) -> None:
    """The listener tries again for ever (actions/runner, MessageListener.cs: CreateSessionAsync)."""
    world.unplug_after("DeleteParameter", silent=silent)
    instance_id = world.hand_over("jit")
    if not silent:
        world.until(lambda: world.said(instance_id, "Retrying until reconnected"), "trying again")
    world.advance_when_asleep(instance_id, 590.0, of=600.0)
    assert world.state(instance_id) == "running"
    world.clock.advance(10)
    world.gone(instance_id)
    assert world.said(instance_id, "the runner was not online in 600 s")


def test_a_network_that_refuses_the_registration_by_token_powers_off_at_once(world: World) -> None:
    world.unplug_after("DeleteParameter", silent=False)
    instance_id = world.hand_over("token")
    world.gone(instance_id)
    assert world.said(instance_id, "runner-scaler: the registration failed")


def test_a_registration_by_token_that_nobody_answers_costs_boot_timeout(world: World) -> None:
    """config.sh hangs; the limit was armed before it."""
    world.unplug_after("DeleteParameter", silent=True)
    instance_id = world.hand_over("token")
    world.advance_when_asleep(instance_id, 600.0)
    world.gone(instance_id)
    assert world.said(instance_id, "the runner was not online in 600 s")


@GONE
def test_a_network_that_goes_while_a_runner_is_idle_costs_idle_timeout(world: World, *, silent: bool) -> None:
    """The listener cannot say good-bye: it ends without, or is ended a minute later with its machine."""
    instance_id = world.hand_over()
    world.listens(instance_id)
    world.unplug(silent=silent)
    world.advance_when_asleep(instance_id, 300.0)
    if silent:
        world.advance_when_asleep(instance_id, 60.0)
    world.gone(instance_id)
    assert world.said(instance_id, "no job for 300 s: stopping the runner")


@GONE
def test_a_network_that_goes_and_no_idle_limit_cost_max_lifetime(world: World, *, silent: bool) -> None:
    """Pools with min_idle have no idle limit on the machine."""
    instance_id = world.hand_over("token", limits={**LIMITS, "idle_timeout": None, "max_lifetime": 3600})
    world.listens(instance_id)
    world.unplug(silent=silent)
    world.advance_when_asleep(instance_id, 3590.0, of=3600.0)
    assert world.state(instance_id) == "running"
    world.clock.advance(10)
    world.gone(instance_id)
    assert world.said(instance_id, "has lived for its 3600 s")


@GONE
def test_a_network_that_goes_in_mid_job_costs_max_lifetime_at_most(world: World, *, silent: bool) -> None:
    world.queue(duration=86_400)
    instance_id = world.hand_over(limits={**LIMITS, "max_lifetime": 3600})
    world.until(lambda: world.machines.at_a_job(instance_id), "the hook ran")
    world.until(lambda: 600.0 not in world.machines.sleeping(instance_id), "online")
    world.unplug(silent=silent)
    if silent:
        world.advance_when_asleep(instance_id, 3600.0)
    world.gone(instance_id)


# --- AWS has bad days ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"kind": "http500"}, id="500"),
        pytest.param({"kind": "drop-before"}, id="no answer"),
        pytest.param({"code": "ThrottlingException", "status": 400}, id="throttled"),
        pytest.param({"code": "AccessDeniedException", "status": 400}, id="denied: the role may come later"),
        pytest.param({"code": "ExpiredTokenException", "status": 400}, id="credentials expired"),
    ],
)
def test_a_failing_get_parameter_is_tried_again(boot: Boot, tmp_path: Path, fault: dict[str, object]) -> None:
    """Whatever SSM answers, only time ends the wait."""
    with boot(tmp_path, speed=20) as world:
        world.aws.fail("ssm:GetParameter", times=2, **fault)
        world.queue()
        world.gone(world.hand_over())
        assert world.conclusions() == ["success"]


def test_expired_credentials_are_fetched_anew(world: World) -> None:
    """Role credentials end after hours; a machine that waits must not wait with dead ones."""
    instance_id = world.launch()
    world.until(lambda: world.said(instance_id, "waits for"), "waiting")
    credentials = world.aws.instance_credentials(instance_id)
    assert credentials is not None
    world.until(lambda: 1.0 in world.machines.sleeping(instance_id), "has asked once")
    world.aws.iam.revoke(credentials["AccessKeyId"])
    world.aws.iam._of_instance.clear()
    world.put(instance_id, world.secret(instance_id))
    world.until(world.online, "online")


def test_a_delete_whose_answer_was_lost_is_no_obstacle(world: World) -> None:
    """The second attempt finds nothing to delete."""
    world.aws.fail("ssm:DeleteParameter", kind="drop-after")
    world.queue()
    world.gone(world.hand_over())
    assert world.conclusions() == ["success"]


# --- the sandbox's own ---------------------------------------------------------------------------


def test_terminating_an_instance_leaves_no_process(world: World) -> None:
    """The listener hears SIGTERM first, as in any shutdown, and reports its job as cancelled."""
    world.queue(duration=1000)
    instance_id = world.hand_over()
    world.until(lambda: world.machines.at_a_job(instance_id), "the hook ran")
    world.client("ec2").terminate_instances(InstanceIds=[instance_id])
    world.until(lambda: world.happened("machine.ended"), "ended")
    assert world.machines.pids(instance_id) == []
    assert world.conclusions() == ["cancelled"]


def test_a_crashed_machine_says_nothing_more(boot: Boot, tmp_path: Path) -> None:
    """Its runner stays online until its lease lapses, its job runs on in GitHub's books."""
    with boot(tmp_path, [MachineFault(FaultKind.CRASHES, seconds=5)]) as world:
        world.queue(duration=1000)
        instance_id = world.hand_over()
        world.until(lambda: world.happened("job.started"), "job started")
        world.clock.advance(5)
        world.until(lambda: not world.machines.pids(instance_id), "dead")
        assert world.online()
        assert world.conclusions() == []


def test_a_hanging_machine_never_starts_the_script(boot: Boot, tmp_path: Path) -> None:
    """What never started its boot unit is for a later tick to end."""
    faults = [MachineFault(FaultKind.HANG, pool="amd64", nth=2)]
    with boot(tmp_path, faults) as world:
        first, second = world.launch(), world.launch()
        world.until(lambda: world.said(first, "waits for"), "the first boots")
        world.clock.advance(3600)
        world.until(lambda: world.state(first) == "terminated", "the first has ended")
        assert world.state(second) == "running"
        assert world.machines.pids(second) == []


def test_no_machine_outlives_a_sandbox_that_was_killed(tmp_path: Path) -> None:
    """Not even by SIGKILL."""
    program = textwrap.dedent("""
        import os, sys
        from pathlib import Path
        from tests.boot_world import boot_world

        with boot_world(Path(sys.argv[1])) as world:
            instance_id = world.hand_over()
            world.until(world.online)
            print(*world.machines.pids(instance_id), flush=True)
            os.kill(os.getpid(), 9)
    """)
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        check=False,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    assert ended.returncode == -signal.SIGKILL
    pids = [int(pid) for pid in ended.stdout.split()]
    assert len(pids) > 4
    deadline = time.monotonic() + 10
    while any(_alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
