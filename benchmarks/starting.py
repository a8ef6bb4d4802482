"""
`make bench-start`: from the first step of the action to the first byte of its first request, and to the end of a tick.

Beside it, in the same rounds: a plain `python -m venv` with `pip install`, and an action in JavaScript, whose bundle is
built from npm's packages as such actions are. A round takes one of each, each time another one first; ratios are taken
within a round. The package index is a copy on loopback (`--index real` asks the one that pip knows), as all else is.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from math import isnan, nan
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.index_copy import IndexCopy
from benchmarks.launching_rig import AWS, GITHUB
from benchmarks.relay import Relay
from scaler.sandbox.github.faults import Fault, FaultKind
from scaler.sandbox.sandbox import Sandbox
from scripts.measure_start import (
    AGAIN,
    AMBIENT,
    BEFORE,
    CONFIG,
    CONNECT,
    FIRST,
    INSTALLED,
    ROOT,
    Door,
    Took,
    fresh,
    job,
    machine,
    timed,
    to_first_byte,
)

ROUNDS = 5
NODE = ROOT / "benchmarks" / "node_action"
BUNDLE = ROOT / "build" / "node_action.mjs"
BARE_NODE, NODE_CONNECT = "node, nothing loaded", f"node action: {CONNECT}"
PLAIN = "python -m venv and pip install"
TICK = "a whole tick"
ENDED = f"{TICK}: last answer to end of process"
WHOLE = f"{TICK}: process start to end of process"


# --- the JavaScript action -------------------------------------------------------------------------


def bundle() -> None:
    """
    Build the bundle from its lock file: inputs, a GitHub client and an EC2 client, as an action for this job has them.

    Minified, which loads faster than what most actions ship.
    """
    if BUNDLE.exists() and BUNDLE.stat().st_mtime > max(file.stat().st_mtime for file in NODE.glob("*.js*")):
        return
    quiet = ("--silent", "--ignore-scripts", "--no-audit", "--no-fund")
    subprocess.run(["npm", "ci", *quiet], cwd=NODE, check=True)
    required = 'import{createRequire}from"node:module";const require=createRequire(import.meta.url);'
    subprocess.run(
        [NODE / "node_modules/.bin/esbuild", "index.js", "--bundle", "--minify", "--platform=node", "--target=node20",
         "--format=esm", f"--banner:js={required}", f"--outfile={BUNDLE}", "--log-level=warning"],
        cwd=NODE, check=True,
    )  # fmt: skip


def node(number: int) -> Iterator[Took]:
    """From the start of its process to its first connection."""
    with fresh() as (work, env):
        yield Took(number, BARE_NODE, *timed(("node", "-e", "0"), env, work))
        door = Door()
        given = env | {"GITHUB_API_URL": door.url, "AWS_ENDPOINT_URL": door.url, "INPUT_REPOSITORY": "acme/api"}
        given |= {"INPUT_GITHUB-TOKEN": "made-up", "AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "made-up"}
        connect, _ = to_first_byte(("node", str(BUNDLE)), given, work, door)
        yield Took(number, NODE_CONNECT, *connect)


# --- ours and the plain way ------------------------------------------------------------------------


def ours(number: int) -> Iterator[Took]:
    """A job's two steps, and with credentials that the job already has."""
    yield from job(number)
    yield from (
        Took(row.round, f"{row.step}, {AMBIENT}", row.seconds, row.cpu)
        for row in job(number, AMBIENT)
        if row.step.startswith((FIRST, AGAIN))
    )


def plain(number: int) -> Iterator[Took]:
    """What the README of many a Python action does."""
    with fresh() as (work, env):
        pip = "venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes"
        command = f'python3 -m venv venv && {pip} -r "{ROOT}/requirements.txt"'
        yield Took(number, PLAIN, *timed(("bash", "-ec", command), env, work))


def tick(number: int) -> Iterator[Took]:
    """One tick over an empty world whose answers take their time, by the development packages, to its very end."""
    with TemporaryDirectory(prefix="start-") as name, Sandbox(Path(name)) as box:
        slow = {"action": "*", "kind": "delay", "delay": AWS, "times": None}
        box.aws.configure({"faults": [slow]})
        box.github.add_repository("acme/api")
        box.github.fault(Fault(FaultKind.SLOW, times=None, value=GITHUB))
        (Path(name) / "config.yaml").write_text(CONFIG)
        env = {"PATH": os.environ["PATH"], "HOME": name, "PYTHONPATH": str(ROOT), **box.env()}
        relays = {
            key: Relay(env[key]) for key in ("GITHUB_API_URL", "AWS_ENDPOINT_URL", "ACTIONS_ID_TOKEN_REQUEST_URL")
        }
        yield from _ticked(number, env, relays, Path(name))


def _ticked(number: int, env: Mapping[str, str], relays: Mapping[str, Relay], folder: Path) -> Iterator[Took]:
    given = dict(env)
    for key, relay in relays.items():
        _, _, path = given[key].removeprefix("http://").partition("/")
        given[key] = f"{relay.url}/{path}".rstrip("/")
    began = time.perf_counter()
    _, used = timed((sys.executable, "-P", "-m", "scaler", "auto"), given, folder)
    ended = time.perf_counter()
    names = {"ACTIONS_ID_TOKEN_REQUEST_URL": "the job's token", "AWS_ENDPOINT_URL": "AWS", "GITHUB_API_URL": "GitHub"}
    for key, called in names.items():
        yield Took(number, f"{TICK}: process start to first byte to {called}", relays[key].heard - began, nan)
    yield Took(number, ENDED, ended - max(relay.answered for relay in relays.values()), nan)
    yield Took(number, WHOLE, ended - began, used)
    for relay in relays.values():
        relay.close()


WAYS = (ours, plain, node, tick)


# --- telling ---------------------------------------------------------------------------------------


def against(rows: Sequence[Took], step: str, other: str, measure: str = "seconds") -> float:
    """The median of one step over another of the same round."""
    found = {row.round: getattr(row, measure) for row in rows if row.step == other}
    return float(median(getattr(row, measure) / found[row.round] for row in rows if row.step == step))


def table(rows: Sequence[Took]) -> Iterator[str]:
    """Medians, and ratios to what each is to be compared with: of seconds, and of CPU seconds."""
    yield "| step | seconds | CPU seconds | × node action | … in CPU | × venv and pip | … in CPU |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for step in dict.fromkeys(row.step for row in rows):
        mine = [row for row in rows if row.step == step]
        used = median(row.cpu for row in mine)
        cells = [step, f"{median(row.seconds for row in mine):.3f}", "" if isnan(used) else f"{used:.2f}"]
        connects = CONNECT in step and step != NODE_CONNECT
        for other, compared in ((NODE_CONNECT, connects), (PLAIN, step in (INSTALLED, BEFORE))):
            cells += [f"{against(rows, step, other, m):.2f}" if compared else "" for m in ("seconds", "cpu")]
        yield "| " + " | ".join(cells) + " |"


def measured(rounds: int, *, warm_up: bool) -> list[Took]:
    """Every row of every round; a copy has to be asked once for all before it is as fast as it says."""
    if warm_up:
        for way in (ours, plain):
            list(way(-1))
    rows = []
    for number in range(rounds):
        for way in (*WAYS[number % len(WAYS) :], *WAYS[: number % len(WAYS)]):
            for row in way(number):
                rows.append(row)
                print(f"round {number + 1}: {row.step}: {row.seconds:.3f} s", file=sys.stderr, flush=True)
    return rows


def main(arguments: Sequence[str]) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.starting", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--index", choices=("copy", "real"), default="copy")
    parser.add_argument("--json", type=Path, default=Path("build/starting.json"))
    asked = parser.parse_args(arguments)
    for needed in ("node", "npm"):
        if shutil.which(needed) is None:
            raise SystemExit(f"{needed} is needed: scripts/system-packages.sh node npm")
    BUNDLE.parent.mkdir(exist_ok=True)
    bundle()
    before = machine()
    with IndexCopy() if asked.index == "copy" else nullcontext():
        rows = measured(asked.rounds, warm_up=asked.index == "copy")
    print("\n".join(table(rows)))
    megabytes = BUNDLE.stat().st_size / 1e6
    print(f"\n{asked.rounds} rounds; the node action is {megabytes:.1f} MB; before {before}, after {machine()}")
    asked.json.parent.mkdir(exist_ok=True)
    asked.json.write_text(json.dumps({"machine": before, "rows": [asdict(row) for row in rows]}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
