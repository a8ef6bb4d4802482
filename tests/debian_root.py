"""
A root of this computer's own Debian or Ubuntu, made by debootstrap once, and the image that is built on it.

The root lies in `.cache` and is never written to again: whoever needs one lays an overlay over it. A tarball would
have to be unpacked each time, which takes longer than a test.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import http.server
import os
import re
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from scaler.sandbox.machines.disk import RUNNER_PROGRAM

CHECKOUT = Path(__file__).parents[1]
CACHE = CHECKOUT / ".cache"
PACKER = CHECKOUT / "packer"
RUNNER_VERSION = "2.337.0"
RUNNER_HOME = "opt/actions-runner"

PACKAGES = (
    *("ca-certificates", "curl", "jq"),  # the boot script's, as install-dependencies.sh has them
    *("systemd", "systemd-sysv", "dbus", "sudo", "unzip"),  # a cloud image's own, and what is unpacked with
    "openssh-server",  # through which packer comes
    "python3",  # the runner program's stand-in
    "libfaketime",  # a clock that is off
)
TOOLS = {"debootstrap": "debootstrap", "ip": "iproute2", "nsenter": "util-linux", "unshare": "util-linux"}

OVERLAY = """
set -euo pipefail
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2,workdir=$3" "$4"
mount -t proc proc "$4/proc"
merged=$4
shift 4
exec chroot "$merged" "$@"
"""


def lacking(tools: Mapping[str, str] = TOOLS) -> str:
    """What a test on a Debian root lacks here, as a sentence; empty if it can run."""
    if os.geteuid() != 0:
        return "NOT RUN: the image's tests have to be root (mounts, namespaces, chroot)"
    packages = {package for tool, package in tools.items() if shutil.which(tool) is None}
    return f"NOT RUN: not installed: apt-get install {' '.join(sorted(packages))}" if packages else ""


def or_skip(lacks: str) -> None:
    """Skip the test if something is lacking; on CI fail it."""
    if lacks and os.environ.get("CI") == "true":
        pytest.fail(lacks)
    if lacks:
        pytest.skip(lacks)


def debian_root() -> Path:
    """Make the root, if it is not there yet (a minute); its directory. One process makes it, others wait."""
    release = _release()
    key = hashlib.sha256(" ".join([*release, *PACKAGES]).encode()).hexdigest()[:12]
    root = CACHE / f"{release[1]}-{key}"
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "debian-root.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            _debootstrap(*release, root)
    return root


def _debootstrap(name: str, codename: str, root: Path) -> None:
    making = root.with_suffix(".making")
    shutil.rmtree(making, ignore_errors=True)
    components = ["--components=main,universe"] if name == "ubuntu" else []
    include = f"--include={','.join(PACKAGES)}"
    command = ["debootstrap", "--variant=minbase", include, *components, codename, str(making), apt_mirror(codename)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"debootstrap failed:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
    shutil.rmtree(making / "var/cache/apt/archives", ignore_errors=True)
    making.rename(root)


def _release() -> tuple[str, str]:
    """`debian`, `bookworm`: of this computer, whose mirror is at hand."""
    facts = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return facts["ID"].strip('"'), facts["VERSION_CODENAME"].strip('"')


def apt_mirror(codename: str) -> str:
    """Where this computer's apt has its packages from. debootstrap's default need not be reachable."""
    asked = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages"],
        check=True,
        capture_output=True,
        text=True,
    )
    for line in asked.stdout.splitlines():
        of, _, address = line.partition(" ")
        if of == codename and address.startswith("mirror+file:"):  # GitHub's own runners: a list of mirrors
            address = Path(address.removeprefix("mirror+file:").rstrip("/")).read_text().split()[0]
        if of == codename and re.match("https?://", address):
            return address
    raise RuntimeError(f"apt knows no mirror for {codename}: apt-get update, and look at /etc/apt/sources.list")


@dataclass(frozen=True)
class Image:
    """What a machine boots from: layers of an overlay, the uppermost first."""

    layers: tuple[Path, ...]

    @property
    def lowerdir(self) -> str:
        """As mount(8) wants them."""
        return ":".join(map(str, self.layers))

    def find(self, path: str) -> Path:
        """A file of the image, in whatever layer it is."""
        return next(found for layer in self.layers if (found := layer / path).exists())


def chrooted(image: Image, writable: Path, *command: str) -> list[str | Path]:
    """
    The command that runs another one inside an image, with `/proc` and what it writes in `writable`/upper.

    The mounts are in a namespace of their own, and go with the process.
    """
    for name in ("upper", "work", "merged"):
        (writable / name).mkdir(parents=True, exist_ok=True)
    places = (writable / "upper", writable / "work", writable / "merged")
    return ["unshare", "--mount", "bash", "-c", OVERLAY, "overlay", image.lowerdir, *places, *command]


@contextmanager
def runner_mirror(folder: Path) -> Iterator[tuple[str, str]]:
    """A server that has the stand-in of the runner program as an archive of the real one's layout; and its sha256."""
    release = folder / f"v{RUNNER_VERSION}"
    release.mkdir(parents=True)
    archive = release / f"actions-runner-linux-x64-{RUNNER_VERSION}.tar.gz"
    dependencies = folder / "installdependencies.sh"
    dependencies.write_text("#!/bin/bash\necho 'the real one installs libicu and the like'\n")
    dependencies.chmod(0o755)
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(RUNNER_PROGRAM, ".")
        tar.add(dependencies, "./bin/installdependencies.sh")
    handler = functools.partial(_Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", hashlib.sha256(archive.read_bytes()).hexdigest()
    server.shutdown()
    server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing."""


def provision(root: Path, folder: Path, scripts: Sequence[str] = ("install-runner.sh",), **settings: str) -> Image:
    """
    An image: the shipped provisioners run in the root, for amd64 if `settings` (their variables) do not say otherwise.

    Raises subprocess.CalledProcessError if one of them fails.
    """
    base = Image((root,))
    files = folder / "upper/tmp/runner-scaler"
    files.mkdir(parents=True)
    scripts_of_it = [PACKER / "init-runner.sh", PACKER / "ship-logs.sh"]
    for path in [*scripts_of_it, *PACKER.glob("*.service"), *PACKER.glob("*.timer")]:
        shutil.copy2(path, files)
    variables = {
        "ARCH": "amd64",
        "RUNNER_VERSION": RUNNER_VERSION,
        "DOCKER_GROUP": "false",
        "LOG_GROUP": "",
        **settings,
    }
    for script in scripts:
        subprocess.run(
            chrooted(base, folder, "bash", "-s"),
            input=(PACKER / script).read_text(),
            check=True,
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", **variables},
            capture_output=True,
            text=True,
        )
    return Image((folder / "upper", root))
