"""
Where the seconds of a boot go: the boot script in the image, step by step, as root in a Debian root.

Real are the processes, curl, TLS, signatures, setpriv and, with systemd, the units. EC2's own part, the network's way
and the runner program are not: the metadata service and SSM answer from this computer, and a stand-in takes the runner
program's place. The baseline is the predecessor's way to the secret, a fixed sleep of 30 s before it asked once.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from scaler.sandbox.aws.server import Call
from scaler.sandbox.machines.machines import Machines
from tests.boot_world import World, boot_world
from tests.certificates import Authority
from tests.debian_root import TOOLS, Image, debian_root, lacking, provision, runner_mirror
from tests.image_machines import BootedMachines, ImageMachines

ROUNDS = 5
BASELINE = 30.0
WAYS = (
    ("script, jit", ImageMachines, "jit"),
    ("script, token", ImageMachines, "token"),
    ("systemd, jit", BootedMachines, "jit"),
)
STEPS = (
    ("from the start to waiting", "started", "waiting"),
    ("the parameter is there, and read", "put", "read"),
    ("deleted", "read", "deleted"),
    ("checked, limits armed", "deleted", "registering"),
    ("registered, the listener listens", "registering", "listening"),
    ("from the parameter to the listener", "put", "listening"),
)
"""What is told: its name, and the marks that it lies between."""
SAID = {"waits for": "waiting", "registering ": "registering", "Listening for Jobs": "listening"}
ASKED = {"GetParameter": "read", "DeleteParameter": "deleted"}


def watch(world: World) -> dict[str, float]:
    """The moments at which things are said and asked from now on, in seconds of a clock that nobody sets."""
    marks: dict[str, float] = {}
    told = world.aws.console

    def heard(call: Call) -> None:
        if not call.error and call.action in ASKED:
            marks.setdefault(ASKED[call.action], time.monotonic())

    def console(instance_id: str, line: str) -> None:
        told(instance_id, line)
        for words, mark in SAID.items():
            if words in line:
                marks.setdefault(mark, time.monotonic())

    world.aws_server.observers.append(heard)
    world.aws.console = console  # type: ignore[method-assign]  # where the machines' consoles lead
    return marks


def boot(world: World, registration: str) -> dict[str, float]:
    """Boot one machine, and hand over at some moment after it began to wait; its marks."""
    marks = watch(world)
    marks["started"] = time.monotonic()
    instance = world.launch()
    value = world.secret(instance, registration)
    world.until(lambda: "waiting" in marks, "waiting")
    world.clock.wait_for(lambda: False, random.uniform(0, 1))  # it asks once a second
    world.put(instance, value)
    marks["put"] = time.monotonic()
    world.until(lambda: "listening" in marks, "listening")
    return marks


def boots(
    image: Image, folder: Path, machines: Callable[..., Machines], registration: str, rounds: int
) -> Iterator[dict[str, float]]:
    """The marks of some boots, each in a world of its own."""
    authority = Authority(folder)
    for number in range(rounds):
        with boot_world(folder / str(number), machines_are=partial(machines, image, authority)) as world:
            yield boot(world, registration)


def main(arguments: list[str]) -> int:
    """Boot, and print the medians."""
    parser = argparse.ArgumentParser(description="Where the seconds of a boot go.")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="boots of each kind")
    rounds = parser.parse_args(arguments).rounds
    lacks = lacking({**TOOLS, "systemd-nspawn": "systemd-container"})
    if lacks:
        print(lacks, file=sys.stderr)
        return 1
    with TemporaryDirectory() as scratch, runner_mirror(Path(scratch) / "mirror") as (url, sha256):
        image = provision(debian_root(), Path(scratch) / "image", RUNNER_MIRROR=url, RUNNER_SHA256=sha256)
        print(f"seconds, medians of {rounds} boots\n| Step | {' | '.join(name for name, _, _ in WAYS)} |")
        print(f"| --- {'| ---: ' * len(WAYS)}|")
        seen = []
        for number, (_, machines, registration) in enumerate(WAYS):
            (folder := Path(scratch) / f"way-{number}").mkdir()
            seen.append(list(boots(image, folder, machines, registration, rounds)))
        for step, begin, end in STEPS:
            cells = [median(marks[end] - marks[begin] for marks in way) for way in seen]
            print(f"| {step} | {' | '.join(f'{cell:.2f}' for cell in cells)} |")
        ratio = BASELINE / median(marks["listening"] - marks["put"] for marks in seen[0])
    print(f"the predecessor slept {BASELINE:.0f} s before it asked: {ratio:.0f} times the first of the last row")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
