"""
The image's systemd units: a machine that systemd boots in a container (systemd-nspawn), and turns off for real.

The script's own rules are in `tests/test_boot.py`; these are systemd's part.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from scaler.sandbox.machines import machines as sandbox_machines
from tests import boot_world as worlds
from tests.boot_world import LIMITS, World, boot_world
from tests.certificates import Authority
from tests.debian_root import TOOLS, Image, lacking, or_skip
from tests.image_machines import BootedMachines

pytestmark = pytest.mark.image

Booted = Callable[..., AbstractContextManager[World]]


@pytest.fixture
def booted(tmp_path: Path, image: Image, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Booted:
    """A world whose machines systemd boots; `damage` is done to them before."""
    or_skip(lacking({**TOOLS, "systemd-nspawn": "systemd-container"}))
    monkeypatch.setattr(worlds, "PATIENCE", 120.0)  # a boot takes seconds, on a busy computer many
    monkeypatch.setattr(sandbox_machines, "SHUTDOWN_GRACE", 60.0)

    def begin(damage: str = "", customize: Callable[[Path], None] = lambda _: None) -> AbstractContextManager[World]:
        machines = partial(BootedMachines, image, authority, damage=damage)
        return boot_world(tmp_path / "machines", machines_are=machines, customize=customize)

    return begin


def test_systemd_boots_a_machine_that_does_its_job_and_powers_off(booted: Booted) -> None:
    """No seam but the clock: the metadata service, SSM and the power-off are where a machine has them."""
    with booted() as world:
        world.queue()
        instance_id = world.hand_over()
        world.gone(instance_id)
        assert world.conclusions() == ["success"]
        assert world.said(instance_id, "runner-scaler: the runner ended after 1 job(s)"), "on the serial console"
        assert world.said(instance_id, "Powering off.")


def test_a_machine_that_still_runs_ends_with_its_world(booted: Booted) -> None:
    """Or each would go on asking, for hours and at nobody's cost but this computer's."""
    with booted() as world:
        instance_id = world.hand_over()
        world.until(world.online, "online")
        machines = world.machines
        assert isinstance(machines, BootedMachines)
        script = Path(f"/proc/{machines.inside(instance_id, 'init-runner.sh')}")
        assert script.exists()
    world.until(lambda: not script.exists(), "ended")


def test_a_script_that_is_killed_still_ends_the_machine(booted: Booted) -> None:
    """FailureAction of the unit: the script's own trap cannot run."""
    with booted() as world:
        instance_id = world.hand_over()
        world.until(world.online, "online")
        machines = world.machines
        assert isinstance(machines, BootedMachines)
        os.kill(machines.inside(instance_id, "init-runner.sh"), signal.SIGKILL)
        world.gone(instance_id)
        assert not world.said(instance_id, "runner-scaler: powering off")


def test_a_script_that_cannot_start_ends_the_machine(booted: Booted) -> None:
    with booted('chmod 644 "$1/opt/runner-scaler/init-runner.sh"') as world:
        instance_id = world.hand_over()
        world.gone(instance_id)
        assert not world.said(instance_id, "runner-scaler: ")


SHORT_LIFE = """
mkdir -p "$1/etc/systemd/system/runner-scaler-lifetime.timer.d"
printf '[Timer]\\nOnBootSec=\\nOnBootSec=2s\\nAccuracySec=100ms\\n' \\
  >"$1/etc/systemd/system/runner-scaler-lifetime.timer.d/short.conf"
"""
NEVER_STARTED = """
printf '[Unit]\\nBefore=runner-scaler.service\\n[Service]\\nType=oneshot\\nTimeoutStartSec=infinity\\nExecStart=%s\\n' \\
  '/bin/sleep infinity' >"$1/etc/systemd/system/never.service"
ln -s ../never.service "$1/etc/systemd/system/multi-user.target.wants/never.service"
"""


def test_systemd_ends_a_machine_whose_script_never_starts_after_its_lifetime(booted: Booted) -> None:
    """Something before it hangs; the image's timer does not wait for that. A day, cut down to two seconds."""
    with booted(NEVER_STARTED + SHORT_LIFE) as world:
        instance_id = world.hand_over()
        world.gone(instance_id)
        assert world.said(instance_id, "runner-scaler: has lived for a day; systemd powers off")
        assert not world.said(instance_id, "waits for")


NEVER_ONLINE = NEVER_STARTED.replace("runner-scaler.service", "network-online.target")


def test_the_script_does_not_wait_for_systemd_to_call_the_network_up(booted: Booted) -> None:
    """What it needs answers before that, and where nothing ever answers its limits run from the first second."""
    with booted(NEVER_ONLINE) as world:
        world.queue()
        instance_id = world.hand_over()
        world.gone(instance_id)
        assert world.conclusions() == ["success"]


def test_a_machine_that_is_shut_down_tells_github_that_its_job_is_cancelled(booted: Booted) -> None:
    """TerminateInstances is an ACPI power button: systemd stops the unit, and the listener hears SIGTERM first."""
    with booted() as world:
        world.queue(duration=100_000)
        instance_id = world.hand_over()
        world.until(lambda: world.machines.at_a_job(instance_id), "the hook ran")
        world.client("ec2").terminate_instances(InstanceIds=[instance_id])
        world.until(lambda: world.happened("machine.ended"), "ended")
        assert world.conclusions() == ["cancelled"]


ATTEMPTS = """\
set +e
{
  id -un
  sudo -n true && echo "sudo!"
  systemctl poweroff --no-ask-password && echo "poweroff!"
  for process in /proc/[0-9]*; do
    [[ $(<$process/comm) == init-runner.sh ]] && echo "$(stat -c %U $process)'s script" && kill "${process#/proc/}" && echo "kill!"
  done | sort -u
  echo x >>/opt/runner-scaler/init-runner.sh && echo "script!"
  mv /opt/runner-scaler /opt/mine && echo "directory!"
  rm -rf /opt/runner-scaler/state && echo "state!"
} >attempts 2>/dev/null
true
"""


def test_a_job_can_neither_stop_its_watchdogs_nor_change_what_boots(booted: Booted) -> None:
    """It is the user `runner`, without sudo; what it changed of the script would run as root at another start."""

    def attempt(home: Path) -> None:
        (home / "attempt.sh").write_text(ATTEMPTS)
        (home / ".env").write_text("ACTIONS_RUNNER_HOOK_JOB_COMPLETED=attempt.sh\n")

    with booted(customize=attempt) as world:
        world.queue()
        instance_id = world.hand_over(limits={**LIMITS})
        world.gone(instance_id)
        assert (world.machines.home(instance_id) / "attempts").read_text() == "runner\nroot's script\n"
        assert world.conclusions() == ["success"]


def test_a_reused_runner_goes_on_under_systemd(booted: Booted) -> None:
    with booted() as world:
        world.queue("first")
        instance_id = world.hand_over("token", ephemeral=False)
        world.until(lambda: len(world.conclusions()) == 1, "first job")
        world.queue("second")
        world.until(lambda: len(world.conclusions()) == 2, "second job")
        world.advance_when_asleep(instance_id, 300.0)
        world.gone(instance_id)
        assert world.said(instance_id, "the runner ended after 2 job(s)")


SHIPS = """
echo LOG_GROUP=runners >"$1/etc/runner-scaler-logs"
ln -s ../runner-scaler-logs.service "$1/etc/systemd/system/multi-user.target.wants/runner-scaler-logs.service"
printf '#!/bin/bash\\necho "$*" >>/opt/calls\\n[[ $2 != put-log-events ]] || cat >>/opt/events\\n' >"$1/usr/local/sbin/aws"
chmod 755 "$1/usr/local/sbin/aws"
"""


def test_a_machine_whose_image_ships_logs_sends_all_that_it_said_before_it_goes(booted: Booted) -> None:
    """The AWS CLI is a stand-in that notes what it is to send."""
    with booted(SHIPS) as world:
        world.queue()
        instance_id = world.launch()
        value = world.secret(instance_id)
        world.put(instance_id, value)
        world.gone(instance_id)
        opt = world.machines.home(instance_id).parent
        calls, events = (opt / "calls").read_text(), (opt / "events").read_text()
    stream = f"--log-group-name runners --log-stream-name {instance_id}"
    assert calls.splitlines()[0] == f"logs create-log-stream {stream}"
    assert f"logs put-log-events {stream} --log-events file:///dev/stdin" in calls
    said = [event["message"] for line in events.splitlines() for event in json.loads(line)]
    assert f"runner-scaler: {instance_id} in us-east-1 waits for /runner-scaler/main/{instance_id}" in said
    assert said[-1] == "runner-scaler: powering off (status 0)"
    assert value["secret"] not in events


def test_logs_stay_on_the_machine_unless_the_image_is_built_to_send_them(image: Image) -> None:
    assert not (image.layers[0] / "etc/systemd/system/multi-user.target.wants/runner-scaler-logs.service").is_symlink()
    assert not (image.layers[0] / "etc/runner-scaler-logs").exists()
