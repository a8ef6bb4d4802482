"""
The image, made by the shipped provisioner in a Debian root, and what goes wrong in it alone.

`tests/test_boot.py` boots machines in it too: each of its rules is tried beside the sandbox and in the image.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from tests.boot_world import LIMITS, World, boot_world
from tests.certificates import Authority
from tests.debian_root import RUNNER_HOME, Image, chrooted, provision, runner_mirror
from tests.image_machines import ImageMachines, LinkedMachines

pytestmark = pytest.mark.image

Damaged = Callable[[str], AbstractContextManager[World]]
Linked = Callable[..., AbstractContextManager[World]]


@pytest.fixture
def damaged(tmp_path: Path, image: Image, authority: Authority) -> Damaged:
    """A world whose machines have something wrong with them, given as a text for bash."""

    def begin(damage: str) -> AbstractContextManager[World]:
        return boot_world(tmp_path, machines_are=partial(ImageMachines, image, authority, damage=damage))

    return begin


def seen(image: Image, folder: Path, *command: str) -> str:
    """What a command says inside the image."""
    done = subprocess.run(chrooted(image, folder, *command), check=True, capture_output=True, text=True)
    return done.stdout.strip()


# --- what it is ----------------------------------------------------------------------------------


def test_a_runner_program_with_another_checksum_makes_no_image(debian: Path, tmp_path: Path) -> None:
    """And nothing of it is unpacked (RG-48)."""
    with runner_mirror(tmp_path / "mirror") as (url, _), pytest.raises(subprocess.CalledProcessError) as refused:
        provision(debian, tmp_path, RUNNER_MIRROR=url, RUNNER_SHA256="0" * 64)
    assert "FAILED" in refused.value.stdout
    assert not (tmp_path / "upper" / RUNNER_HOME).exists()


def test_the_boot_units_are_enabled(image: Image, tmp_path: Path) -> None:
    """systemd starts them without being asked."""
    for unit in ("runner-scaler.service", "runner-scaler-lifetime.timer"):
        assert seen(image, tmp_path, "systemctl", "is-enabled", unit) == "enabled"


def test_a_job_has_the_runner_programs_directory_and_neither_sudo_nor_docker(image: Image, tmp_path: Path) -> None:
    as_runner = ("setpriv", "--reuid=runner", "--regid=runner", "--init-groups")
    assert seen(image, tmp_path, *as_runner, "id", "-Gn") == "runner"
    assert seen(image, tmp_path, *as_runner, "touch", f"/{RUNNER_HOME}/a") == ""
    assert seen(image, tmp_path, "bash", "-c", "! setpriv --reuid=runner --clear-groups sudo -n true 2>&1") != ""


def test_each_instance_makes_its_own_identity(image: Image, tmp_path: Path) -> None:
    """Else all instances would have one machine id and one host key."""
    assert seen(image, tmp_path, "bash", "-c", "cat /etc/machine-id /etc/ssh/ssh_host_* 2>/dev/null || true") == ""


# --- what goes wrong in it -----------------------------------------------------------------------

FULL = """
mount -t tmpfs -o size=2m tmpfs "$1/mnt"
cp -a "$1/opt/{what}/." "$1/mnt"
cat /dev/zero >"$1/mnt/full" 2>/dev/null || true
mount --move "$1/mnt" "$1/opt/{what}"
"""


def test_a_full_disk_powers_the_machine_off_at_once(damaged: Damaged) -> None:
    """It cannot even start the runner."""
    with damaged(FULL.format(what="actions-runner")) as world:
        instance_id = world.hand_over()
        world.gone(instance_id)
        assert world.said(instance_id, "No space left on device")
        assert world.conclusions() == []


OFF = """
cd "$1"
echo {by} >etc/faketimerc
(cd usr/lib && echo "/usr/lib/$(echo */faketime/libfaketime.so.1)") >etc/ld.so.preload
"""


@pytest.mark.parametrize("by", ["+900", "-900"])
def test_a_clock_that_is_off_costs_15_minutes_and_is_named(damaged: Damaged, by: str) -> None:
    """AWS refuses what was signed more than five minutes from now (docs.aws.amazon.com, "Signature Version 4")."""
    with damaged(OFF.format(by=by)) as world:
        instance_id = world.hand_over()
        world.until(lambda: world.said(instance_id, "waiting: InvalidSignatureException (HTTP 400)"), "named")
        world.clock.advance(900)
        world.gone(instance_id)
        assert world.runner() is not None, "minted, and never used"


def test_a_clock_that_is_put_right_costs_nothing_more(damaged: Damaged) -> None:
    """chrony does it in the first seconds after boot."""
    with damaged(OFF.format(by="+900")) as world:
        world.queue()
        instance_id = world.hand_over()
        world.until(lambda: world.said(instance_id, "waiting: Invalid"), "refused")
        (world.machines.home(instance_id).parents[1] / "etc/ld.so.preload").write_text("")
        world.gone(instance_id)
        assert world.conclusions() == ["success"]


def test_a_network_without_names_costs_15_minutes(damaged: Damaged) -> None:
    """No resolver, no route: the metadata service still answers, it is the host's own."""
    with damaged('echo "127.0.0.1 localhost" >"$1/etc/hosts"') as world:
        instance_id = world.hand_over()
        world.until(lambda: world.said(instance_id, "waiting: no answer"), "named")
        world.clock.advance(900)
        world.gone(instance_id)
        assert world.said(instance_id, "no registration secret in")


# --- and with its link down ----------------------------------------------------------------------


@pytest.fixture
def linked(tmp_path: Path, image: Image, authority: Authority) -> Linked:
    """A world whose machines' link can be taken down."""

    def begin(customize: Callable[[Path], None] = lambda _: None) -> AbstractContextManager[World]:
        return boot_world(tmp_path, machines_are=partial(LinkedMachines, image, authority), customize=customize)

    return begin


GONE = pytest.mark.parametrize("silent", [False, True], ids=["no way", "never answered"])


def cut(world: World, instance_id: str, *, silent: bool) -> None:
    """Take a machine's link down, and see that not even the metadata service can be reached."""
    machines = world.machines
    assert isinstance(machines, LinkedMachines)
    assert machines.reaches(instance_id, "169.254.169.254", 80)
    machines.cut(instance_id, silent=silent)
    assert not machines.reaches(instance_id, "169.254.169.254", 80)


def ends_after(world: World, instance_id: str, seconds: float, of: float) -> None:
    """It is still there just before its limit, and gone with it."""
    world.advance_when_asleep(instance_id, seconds - 10, of=of)
    assert world.state(instance_id) == "running"
    world.clock.advance(10)
    world.gone(instance_id)


@GONE
def test_a_link_that_goes_before_the_secret_costs_15_minutes(linked: Linked, *, silent: bool) -> None:
    refusals = ("waiting: no answer", "waiting: the metadata service has no role credentials")
    with linked() as world:
        instance_id = world.launch()
        world.until(lambda: world.said(instance_id, "waits for"), "waiting")
        cut(world, instance_id, silent=silent)
        world.put(instance_id, world.secret(instance_id))
        world.until(lambda: any(world.said(instance_id, each) for each in refusals), "named")
        ends_after(world, instance_id, 900, of=900.0)
        assert not world.said(instance_id, "registering")


def without_network(home: Path) -> None:
    """The runner program starts when the machine has none any more."""
    program = home / "run.sh"
    wait = "while timeout 1 bash -c '</dev/tcp/169.254.169.254/80' 2>/dev/null; do sleep 0.1; done"
    program.write_text(program.read_text().replace("#!/bin/bash\n", f"#!/bin/bash\n{wait}\n", 1))


@GONE
def test_a_link_that_goes_with_the_secret_costs_boot_timeout(linked: Linked, *, silent: bool) -> None:
    with linked(without_network) as world:
        instance_id = world.hand_over()
        world.until(lambda: world.said(instance_id, "registering main-"), "its secret is read and deleted")
        cut(world, instance_id, silent=silent)
        if not silent:
            world.until(lambda: world.said(instance_id, "Retrying until reconnected"), "trying again")
        ends_after(world, instance_id, 600, of=600.0)
        assert world.said(instance_id, "the runner was not online in 600 s")
        assert not world.happened("runner.online")


@GONE
def test_a_link_that_goes_while_a_runner_is_idle_costs_idle_timeout(linked: Linked, *, silent: bool) -> None:
    """And a minute more, where the listener waits for an answer to its last word."""
    with linked() as world:
        instance_id = world.hand_over()
        world.listens(instance_id)
        cut(world, instance_id, silent=silent)
        world.advance_when_asleep(instance_id, 290.0, of=300.0)
        assert world.state(instance_id) == "running"
        world.clock.advance(10)
        if silent:
            world.advance_when_asleep(instance_id, 60.0)
        world.gone(instance_id)
        assert world.said(instance_id, "no job for 300 s: stopping the runner")


@GONE
def test_a_link_that_goes_while_a_job_runs_costs_max_lifetime_at_most(linked: Linked, *, silent: bool) -> None:
    """The job may well go on without a network."""
    with linked() as world:
        world.queue(duration=86_400)
        instance_id = world.hand_over(limits={**LIMITS, "max_lifetime": 3600})
        world.until(lambda: world.machines.at_a_job(instance_id), "the hook ran")
        world.until(lambda: 600.0 not in world.machines.sleeping(instance_id), "online")
        cut(world, instance_id, silent=silent)
        ends_after(world, instance_id, 3600, of=3600.0)
        assert world.said(instance_id, "has lived for its 3600 s")
