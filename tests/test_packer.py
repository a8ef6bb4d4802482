"""The image's template, provisioners and units, as far as they can be checked without building an image."""

from __future__ import annotations

import functools
import hashlib
import http.server
import os
import re
import shutil
import stat
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.debian_root import or_skip

PACKER = Path(__file__).parents[1] / "packer"
TEMPLATE = (PACKER / "runner.pkr.hcl").read_text()
SCRIPTS = sorted(PACKER.glob("*.sh"))
MODERN = re.compile(r"^.*# modern$\n", re.MULTILINE)
SHA256 = "0" * 64
CHECKSUMS = ["-var", f"runner_sha256={SHA256}", "-var", f"aws_cli_sha256={SHA256}"]

needs_packer = pytest.mark.skipif(
    shutil.which("packer") is None, reason="packer is not installed (`apt-get install packer`): template not validated"
)
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed: units not verified"
)


def packer(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run packer, offline."""
    return subprocess.run(
        ["packer", *arguments],
        check=False,
        cwd=cwd,
        env={**os.environ, "CHECKPOINT_DISABLE": "1", "AWS_EC2_METADATA_DISABLED": "true", "PACKER_NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )


@functools.cache
def bundled() -> bool:
    """Whether packer has its plugins built in, as it had before 1.7, and Debian's has; GitHub's images have a newer one."""
    version = re.search(r"v(\d+)\.(\d+)", packer("version", cwd=PACKER).stdout)
    assert version is not None
    return (int(version[1]), int(version[2])) < (1, 7)


def copied(folder: Path, *, modern: bool) -> Path:
    """A copy of the template with the plugin where packer has none; without `modern` less what 1.6.6 does not know."""
    shutil.copytree(PACKER, folder)
    if not modern:
        (folder / "runner.pkr.hcl").write_text(MODERN.sub("", TEMPLATE))
    if bundled():
        (folder / "plugins.pkr.hcl").unlink()
    else:
        fetched = packer("init", ".", cwd=folder)
        or_skip("" if fetched.returncode == 0 else f"packer's plugin could not be fetched: {fetched.stderr}")
    return folder


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """The template, as far as the packer that is here knows it."""
    return copied(tmp_path / "packer", modern=not bundled())


# --- the template --------------------------------------------------------------------------------


@needs_packer
@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["-var-file=amd64.pkrvars.hcl"], id="amd64"),
        pytest.param(["-var-file=arm64.pkrvars.hcl"], id="arm64"),
        pytest.param(["-var-file=amd64.pkrvars.hcl", "-var", "base=debian-12"], id="Debian"),
        pytest.param(["-var-file=amd64.pkrvars.hcl", "-var", "docker_group=true"], id="with Docker"),
    ],
)
def test_the_template_is_valid(template: Path, arguments: list[str]) -> None:
    """One template; the architecture is a variable."""
    checked = packer("validate", *arguments, ".", cwd=template)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@needs_packer
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        pytest.param(["-var", "arch=arm64"], 'Unset variable "runner_sha256"', id="no checksum"),
        pytest.param([*CHECKSUMS, "-var", "arch=x86"], "amd64 or arm64", id="no such arch"),
        pytest.param(
            [*CHECKSUMS, "-var", "arch=arm64", "-var", "base=arch"], "ubuntu-24.04 or debian-12", id="no base"
        ),
        pytest.param([*CHECKSUMS, "-var", "runner_sha256=abc"], "64 hex digits", id="no such checksum"),
    ],
)
def test_a_build_that_would_be_wrong_does_not_start(template: Path, arguments: list[str], complaint: str) -> None:
    """A checksum that nobody knows is asked for, not invented."""
    checked = packer("validate", *arguments, ".", cwd=template)
    assert checked.returncode != 0
    assert complaint in checked.stdout + checked.stderr


@needs_packer
@pytest.mark.parametrize("name", [path.name for path in sorted(PACKER.glob("*.hcl"))])
def test_the_template_is_formatted(name: str) -> None:
    """`packer fmt` has nothing to change."""
    assert packer("fmt", "-check", "-diff", PACKER / name, cwd=PACKER).returncode == 0


def test_what_old_packer_does_not_know_is_little_and_known() -> None:
    """Everything else is validated."""
    assert [line.split()[0] for line in MODERN.findall(TEMPLATE)] == [
        "temporary_security_group_source_public_ip",  # else everybody may knock while it builds
        "imds_support",
        "metadata_options",
    ]
    assert "required_plugins" not in TEMPLATE


@pytest.mark.parametrize(
    "setting",
    [
        pytest.param(r'^\s*imds_support\s*=\s*"v2.0"', id="instances of the image require IMDSv2"),
        pytest.param(r'http_tokens = "required"', id="the build does too"),
        pytest.param(r'owner = "099720109477" # Canonical', id="the source image is Canonical's"),
        pytest.param(r"owners\s*=\s*\[local\.base\.owner\]", id="and nobody else's of that name"),
        pytest.param(r"^\s*ami_name\s*=.*formatdate\(.*local\.built\)", id="every image has a name of its own"),
        pytest.param(r"cloud-init status --wait", id="provisioners wait for cloud-init"),
        pytest.param(r"^\s*encrypted\s*=\s*true$", id="the build's disk is encrypted, and so the image"),
        pytest.param(r"^\s*tags\s*= merge\(local\.tags, local\.owner\)$", id="a tag has the fleet"),
        pytest.param(
            r"^\s*run_tags\s*= merge\(local\.tags, local\.owner, \{ \"Name\"", id="an image has it from its beginning"
        ),
        pytest.param(r'variable "docker_group" \{\n.*bool\n\s*default\s*= false$', id="jobs are not root unless asked"),
        pytest.param(r'"runner-scaler:runner-version"\s*=\s*var\.runner_version', id="a tag has the runner's version"),
        pytest.param(r'"runner-scaler:built"\s*= local\.built', id="a tag has the build date"),
    ],
)
def test_the_template_says(setting: str) -> None:
    """What must not get lost again."""
    assert re.search(setting, TEMPLATE, re.MULTILINE)


def test_the_plugin_is_hashicorps_and_of_a_version_that_is_known() -> None:
    """The original took any version from 0.0.2 on (RG-57); a new major one may build another image."""
    plugins = (PACKER / "plugins.pkr.hcl").read_text()
    assert re.findall(r'source\s*=\s*"(.*)"', plugins) == ["github.com/hashicorp/amazon"]
    (version,) = re.findall(r'^\s*version\s*=\s*"(.*)"', plugins, re.MULTILINE)
    assert re.fullmatch(r"= [1-9]\d*\.\d+\.\d+|~> [1-9]\d*\.\d+", version)


def test_the_rebuild_fetches_the_plugin_with_a_token_and_gives_it_to_nobody_else() -> None:
    """A newer packer has no plugin of its own; without a token GitHub's address is out of questions (hashicorp/packer#12179)."""
    workflow = yaml.safe_load((PACKER.parent / ".github/workflows/image.yml").read_text())
    steps = workflow["jobs"]["rebuild"]["steps"]
    given = [step["run"] for step in steps if "PACKER_GITHUB_API_TOKEN" in step.get("env", {})]
    assert given == ["packer init packer"]
    order = [step.get("run", "") for step in steps]
    assert order.index("packer init packer") < order.index('exec "${PYTHON}" -P -m scripts.image')


# --- the provisioners ----------------------------------------------------------------------------


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_stop_at_the_first_error(script: Path) -> None:
    """A half-made image must not be published as a good one."""
    assert "\nset -euo pipefail\n" in script.read_text()
    assert script.stat().st_mode & stat.S_IXUSR


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A server that has the runner program's archive, and the archive's checksum."""
    folder = tmp_path / "mirror/v2.337.0"
    folder.mkdir(parents=True)
    archive = folder / "actions-runner-linux-x64-2.337.0.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(PACKER / "README.md", "run.sh")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Nothing."""

    handler = functools.partial(Quiet, directory=str(folder.parent))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", hashlib.sha256(archive.read_bytes()).hexdigest()
    server.shutdown()
    server.server_close()


def install(
    tmp_path: Path, mirror: str, sha256: str, version: str = "2.337.0", docker_group: str = "false", fails: str = "user"
) -> tuple[int, list[str]]:
    """Run install-runner.sh where what would change the machine only notes its call; `fails`, or `fails`…, fails."""
    programs = tmp_path / "programs"
    programs.mkdir()
    calls = tmp_path / "calls"
    calls.touch()
    for name in ("useradd", "usermod", "install", "tar", "chown", "systemctl", "truncate", "rm"):
        (programs / name).write_text(f"#!/bin/bash\necho {name} >>{calls}\n[[ ${{0##*/}} != {fails}* ]] || exit 42\n")
        (programs / name).chmod(0o755)
    ended = subprocess.run(
        ["bash", PACKER / "install-runner.sh"],
        check=False,
        env={
            "PATH": f"{programs}:{os.environ['PATH']}",
            "TMPDIR": str(tmp_path),
            "ARCH": "amd64",
            "RUNNER_VERSION": version,
            "RUNNER_SHA256": sha256,
            "RUNNER_MIRROR": mirror,
            "DOCKER_GROUP": docker_group,
            "LOG_GROUP": "",
        },
        capture_output=True,
        timeout=60,
    )
    return ended.returncode, calls.read_text().split()


@needs_packer
def test_packer_inspects_both_architectures_as_one_template(template: Path) -> None:
    """What differs is the arch, its checksums and its instance type (RG-59)."""
    seen = {
        arch: packer("inspect", f"-var-file={arch}.pkrvars.hcl", ".", cwd=template).stdout
        for arch in ("amd64", "arm64")
    }
    lines = {arch: text.replace(arch, "ARCH").splitlines() for arch, text in seen.items()}
    differ = {one.split(":")[0] for one, other in zip(*lines.values(), strict=True) if one != other}
    assert differ - {"local.built", "local.tags"} == {"var.aws_cli_sha256", "var.runner_sha256", "local.instance_type"}


def provision(tmp_path: Path, fails: str = "nothing") -> tuple[int, list[list[str]]]:
    """Run install-dependencies.sh where the programs that would change the machine only note how they were called."""
    programs = tmp_path / "programs"
    programs.mkdir()
    calls = tmp_path / "calls"
    note = f'echo "${{DEBIAN_FRONTEND-}} ${{0##*/}} $*" >>{calls}\n[[ $1 != {fails} ]]\n'
    for name in ("apt-get", "apt-add-repository", "add-apt-repository", "dpkg", "snap", "systemctl", "curl", "wget"):
        (programs / name).write_text(f"#!/bin/bash\n{note}")
        (programs / name).chmod(0o755)
    ended = subprocess.run(
        ["bash", PACKER / "install-dependencies.sh"],
        check=False,
        env={"PATH": f"{programs}:{os.environ['PATH']}"},
        timeout=60,
    )
    return ended.returncode, [line.split() for line in calls.read_text().splitlines()]


def test_packages_come_from_ubuntu_alone_and_nothing_asks_a_question(tmp_path: Path) -> None:
    """Who would answer, in a build? The original set no DEBIAN_FRONTEND (RG-58)."""
    status, calls = provision(tmp_path)
    assert status == 0
    assert {call[0] for call in calls} == {"noninteractive"}
    assert {call[1] for call in calls} == {"apt-get", "systemctl"}
    changes = [call for call in calls if call[1] == "apt-get" and call[2] not in ("update", "clean")]
    assert [call for call in changes if "--yes" not in call] == []
    assert [call[2] for call in changes] == ["dist-upgrade", "install", "purge", "autoremove"]


@pytest.mark.parametrize("step", ["update", "dist-upgrade", "install", "mask", "purge", "autoremove", "clean"])
def test_a_step_that_fails_ends_the_build(tmp_path: Path, step: str) -> None:
    """The original published what was left of it as an image (RG-58)."""
    status, calls = provision(tmp_path, step)
    assert status != 0
    assert calls[-1][2] == step


def test_the_runner_program_is_installed_if_its_checksum_is_right(tmp_path: Path, mirror: tuple[str, str]) -> None:
    """The first step after the check is reached (and stops the test)."""
    assert install(tmp_path, *mirror) == (42, ["useradd"])


@pytest.mark.parametrize(("asked", "calls"), [("false", []), ("true", ["usermod"])])
def test_a_job_gets_docker_which_makes_it_root_only_if_that_was_asked_for(
    tmp_path: Path, mirror: tuple[str, str], asked: str, calls: list[str]
) -> None:
    assert install(tmp_path, *mirror, docker_group=asked, fails="install") == (42, ["useradd", *calls, "install"])


def test_a_runner_program_with_another_checksum_is_not_even_unpacked(tmp_path: Path, mirror: tuple[str, str]) -> None:
    """What was tampered with must never run."""
    status, calls = install(tmp_path, mirror[0], SHA256)
    assert status not in {0, 42}
    assert calls == []


def test_an_aws_cli_with_another_checksum_is_not_even_unpacked(tmp_path: Path, mirror: tuple[str, str]) -> None:
    """Its checksum is pinned as the runner program's is."""
    folder = Path(tmp_path / "mirror")
    (folder / "awscli-exe-linux-x86_64-2.36.7.zip").write_bytes(b"PK")
    ended = subprocess.run(
        ["bash", PACKER / "install-aws-cli.sh"],
        check=False,
        env={
            "PATH": os.environ["PATH"],
            "TMPDIR": str(tmp_path),
            "ARCH": "amd64",
            "AWS_CLI_VERSION": "2.36.7",
            "AWS_CLI_SHA256": SHA256,
            "AWS_CLI_MIRROR": mirror[0],
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode != 0
    assert "FAILED" in ended.stdout
    assert [path.name for path in tmp_path.glob("tmp*/*")] == ["cli.zip"]


def test_an_error_page_is_not_taken_for_the_runner_program(tmp_path: Path, mirror: tuple[str, str]) -> None:
    """A download that fails ends the build."""
    status, calls = install(tmp_path, *mirror, version="2.0.0")
    assert status not in {0, 42}
    assert calls == []


# --- the boot script and its units ---------------------------------------------------------------


def test_the_boot_script_has_exactly_three_seams() -> None:
    """All that its environment can change: metadata endpoint, AWS endpoint, power-off command."""
    script = (PACKER / "init-runner.sh").read_text()
    code = re.sub(r"^\s*#.*$", "", script, flags=re.MULTILINE)
    own = set(re.findall(r"\b([A-Z][A-Z_]+)=", code))
    bash = {"BASH_REMATCH", "BASH_SOURCE", "EUID", "PWD", "RANDOM", "SECONDS", "SRANDOM"}
    read = set(re.findall(r"\$\{?#?([A-Z][A-Z_]+)", code)) | {"SECONDS"}
    assert read - own - bash == {"IMDS_ENDPOINT", "AWS_ENDPOINT_URL", "POWEROFF_COMMAND"}


@needs_systemd
def test_the_units_are_well_formed(tmp_path: Path) -> None:
    """systemd finds nothing to complain about, but for the script's path."""
    for unit in PACKER.glob("runner-scaler*.*"):
        text = unit.read_text().replace("/opt/runner-scaler/init-runner.sh", "/bin/true")
        text = text.replace("/opt/runner-scaler/ship-logs.sh", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *sorted(tmp_path.glob("runner-scaler*"))],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    ours = [line for line in checked.stderr.splitlines() if "runner-scaler" in line]
    assert ours == []


@pytest.mark.parametrize("action", ["SuccessAction", "FailureAction"])
def test_the_unit_powers_off_whatever_way_the_script_ends(action: str) -> None:
    """The script's own trap cannot run when it is killed."""
    assert f"\n{action}=poweroff-force\n" in (PACKER / "runner-scaler.service").read_text()


def test_systemd_ends_the_machine_after_a_day_without_the_script() -> None:
    """For a script that never starts."""
    assert "\nOnBootSec=24h\n" in (PACKER / "runner-scaler-lifetime.timer").read_text()
    assert "runner-scaler-lifetime.timer" in (PACKER / "install-runner.sh").read_text()
