"""
What a run of the action pays before its first request, step by step, on the machine that this runs on.

    python3 scripts/measure_start.py --rounds 3

Runs the two steps of action.yml as they stand, each round as on a fresh machine (an empty RUNNER_TEMP, no cache of a
package manager), until the first byte that the program sends; GitHub and AWS are a listener on loopback that answers
nothing. Needs bash, Python 3.11 and a package index, and no account. Prints a table, and within a job also into its
summary.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory, TemporaryFile
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 120.0
"""Seconds that a program may take to its first request."""
BASH = ("bash", "--noprofile", "--norc", "-e", "-o", "pipefail")
"""How GitHub runs a step with `shell: bash` (docs: workflow syntax, custom shell)."""
FOUND, INSTALLED = "install step: a Python is found", "install step, whole"
FIRST, AGAIN = "scale step, first of a job", "scale step, again"
CONNECT, BYTE = "process start to first connect", "process start to first byte"
BEFORE = "all before the first byte"
CONFIG = """\
version: 1
fleet: main
aws: {region: us-east-1, role: "arn:aws:iam::111122223333:role/runner-scaler"}
repositories: [acme/api]
max_runners: 1
pools:
  amd64:
    arch: amd64
    labels: [self-hosted, acme]
    launch_template: {name: runner-amd64, version: 1}
    max: 1
"""
ROLE = "role by OIDC"
AMBIENT = "ambient credentials"


@dataclass(frozen=True, slots=True)
class Took:
    """What one step took in one round; `cpu` is in seconds too, of the process and of its children that ended."""

    round: int
    step: str
    seconds: float
    cpu: float


class Door:
    """A listener on loopback that notes when it was first connected to, and when the first byte came."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.connected = self.heard = 0.0

    def wait(self) -> bool:
        """Whether a first byte came. Every connection is kept until then: one that is dropped would be tried again."""
        last = time.perf_counter() + LONGEST
        with ExitStack() as stack, selectors.DefaultSelector() as selector:
            selector.register(stack.enter_context(self._listener), selectors.EVENT_READ)
            while not self.heard and (left := last - time.perf_counter()) > 0:
                for key, _ in selector.select(left):
                    if key.fileobj is self._listener:
                        self.connected = self.connected or time.perf_counter()
                        connection = stack.enter_context(self._listener.accept()[0])
                        selector.register(connection, selectors.EVENT_READ)
                    elif isinstance(key.fileobj, socket.socket) and key.fileobj.recv(1):
                        self.heard = time.perf_counter()
                    else:
                        selector.unregister(key.fileobj)
        return bool(self.heard)


class Ran:
    """A process that is measured."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], cwd: Path) -> None:
        self._command = command
        self._output = TemporaryFile()  # noqa: SIM115 - closed when the process has ended
        self.said = ""
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            command, env=dict(env), cwd=cwd, stdout=self._output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )

    def end(self) -> float:
        """Wait for its end; the CPU seconds that it and its children took."""
        _, status, used = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        with self._output as output:
            output.seek(0)
            self.said = output.read().decode(errors="replace")
        return used.ru_utime + used.ru_stime

    def fail(self, how: str) -> NoReturn:
        """End the measuring, and say what the process said."""
        raise SystemExit(f"{' '.join(self._command)} {how}. It said:\n{self.said}")


def to_first_byte(
    command: Sequence[str], env: Mapping[str, str], cwd: Path, door: Door
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Seconds and CPU seconds from a process's start to its first connection, and to its first byte; it is ended."""
    ran = Ran(command, env, cwd)
    came = door.wait()
    os.kill(ran.process.pid, signal.SIGKILL)  # `kill` would take note of its end, and of its CPU time
    used = ran.end()
    if not came:
        ran.fail(f"sent nothing within {LONGEST:.0f} s")
    return (door.connected - ran.began, used), (door.heard - ran.began, used)


def timed(command: Sequence[str], env: Mapping[str, str], cwd: Path) -> tuple[float, float]:
    """Seconds and CPU seconds of a process that has to succeed."""
    ran = Ran(command, env, cwd)
    used = ran.end()
    ended = time.perf_counter()
    if ran.process.returncode:
        ran.fail("failed")
    return ended - ran.began, used


# --- one job ---------------------------------------------------------------------------------------


@contextmanager
def fresh() -> Iterator[tuple[Path, dict[str, str]]]:
    """A workspace with a config, and the environment of a job there: nothing is cached."""
    with TemporaryDirectory(prefix="start-") as name:
        folder = Path(name)
        for part in ("work", "temp", "cache"):
            (folder / part).mkdir()
        (folder / "work" / "config.yaml").write_text(CONFIG)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(OTHERS)}
        yield (
            folder / "work",
            kept
            | {
                "XDG_CACHE_HOME": str(folder / "cache"),
                "GITHUB_ACTIONS": "true",
                "GITHUB_ACTION_PATH": str(ROOT),
                "GITHUB_OUTPUT": str(folder / "output"),
                "RUNNER_TEMP": str(folder / "temp"),
            },
        )


OTHERS = ("GITHUB_", "RUNNER_", "ACTIONS_", "AWS_", "PYTHON", "INPUT_")


def scale_step() -> str:
    """The shell text of action.yml's scale step: the only one of several lines."""
    (text,) = re.findall(r"\n      run: \|\n((?: {8}.*\n)+)", (ROOT / "action.yml").read_text())
    return re.sub(r"^ {8}", "", text, flags=re.MULTILINE)


def environment(door: Door, credentials: str) -> dict[str, str]:
    """What the scale step finds, whose GitHub and AWS are the door."""
    values = {"MODE": "auto", "CONFIG": "config.yaml", "GITHUB_TOKEN": "ghp_" + "start000" * 5}
    inputs = {f"RUNNER_SCALER_{name}": value for name, value in values.items()}
    found = {**inputs, "RUNNER_SCALER_GITHUB_API_URL": door.url, "AWS_ENDPOINT_URL": door.url}
    if credentials == ROLE:
        return found | {"ACTIONS_ID_TOKEN_REQUEST_URL": door.url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "made-up"}
    return found | {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "made-up"}


def job(number: int, credentials: str = ROLE) -> Iterator[Took]:
    """Both steps, as the first of a job and once more."""
    with fresh() as (work, env):
        found = timed((*BASH, "-c", f'source "{ROOT}/scripts/python.sh" && find_python'), env, work)
        yield Took(number, FOUND, *found)
        installed = timed((*BASH, "-c", 'exec bash "${GITHUB_ACTION_PATH}/scripts/install-action.sh"'), env, work)
        yield Took(number, INSTALLED, *installed)
        outputs = dict(line.split("=", 1) for line in Path(env["GITHUB_OUTPUT"]).read_text().splitlines())
        for step in (FIRST, AGAIN):
            door = Door()
            given = env | environment(door, credentials) | {"SCALER_PYTHON": outputs["python"]}
            connect, byte = to_first_byte((*BASH, "-c", scale_step()), given, work, door)
            yield Took(number, f"{step}: {CONNECT}", *connect)
            yield Took(number, f"{step}: {BYTE}", *byte)
            if step == FIRST:
                yield Took(number, BEFORE, *map(sum, zip(installed, byte, strict=True)))


# --- telling ---------------------------------------------------------------------------------------


def table(rows: Sequence[Took]) -> Iterator[str]:
    """Medians over the rounds."""
    yield "| step | seconds | CPU seconds |"
    yield "| --- | --- | --- |"
    for step in dict.fromkeys(row.step for row in rows):
        mine = [row for row in rows if row.step == step]
        yield f"| {step} | {median(row.seconds for row in mine):.2f} | {median(row.cpu for row in mine):.2f} |"


def machine() -> dict[str, str]:
    """What it ran on."""
    release = platform.freedesktop_os_release() if Path("/etc/os-release").exists() else {}
    return {
        "image": os.environ.get("ImageOS", "") or release.get("PRETTY_NAME", platform.system()),  # noqa: SIM112
        "machine": platform.machine(),
        "cores": str(os.cpu_count()),
        "load": f"{os.getloadavg()[0]:.1f}",
    }


def main(arguments: Sequence[str]) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="measure_start.py", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args(arguments)
    if shutil.which("bash") is None:
        raise SystemExit("bash is needed")
    rows = [row for number in range(asked.rounds) for row in job(number)]
    told = [*table(rows), "", f"Medians of {asked.rounds}, on {', '.join(f'{k} {v}' for k, v in machine().items())}."]
    print("\n".join(told))
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("a", encoding="utf-8") as file:
            print("### From the first step to the first request\n", *told, sep="\n", file=file)
    if asked.json:
        document = {"machine": machine(), "rows": [asdict(row) for row in rows]}
        asked.json.write_text(json.dumps(document, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
