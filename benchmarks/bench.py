"""
`make bench`: one tick over many repositories, ours and others' ways, against a GitHub that takes 80 ms an answer.

Rounds interleave the clients, each a process of its own on two cores, with the servers on the others. Prints one table
of medians, with ratios that are taken within a round; writes all numbers as JSON, and the growth as a picture.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from inspect import signature
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks import growth
from benchmarks.clients import CLIENTS, environment
from benchmarks.github_world import ONE_ACTIVE_IN
from benchmarks.summary import Place, Row, Summary, pictures, scaled
from scaler.observe import Observer
from scaler.observing.views import CONNECTIONS

SIZES = (1, 10, 100, 500)
ROUNDS = 5
CORES = 2
LARGEST = {"pygithub": 10, "original": 100, "original+aws": 100}
"""The largest size at which a client is run, unless it is asked to be run whole; beyond, its time is extrapolated."""
KEEPING = ("ours", "ours+aws", "raw", "aiohttp")
"""Those that keep something from one tick to the next."""


@contextmanager
def started(module: str, *arguments: str, cores: Sequence[int]) -> Iterator[str]:
    """A server in a process of its own; its first line."""
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment({})) as process:
        os.sched_setaffinity(process.pid, cores)
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


class Bench:
    """The rounds."""

    def __init__(self, clients: Mapping[Place, Sequence[str]], *, whole: bool) -> None:
        self.clients, self.whole = clients, whole
        cores = sorted(os.sched_getaffinity(0))
        self.ours, self.theirs = cores[:CORES], cores[CORES:] or cores
        self.rows: list[Row] = []

    def run(self, rounds: int) -> None:
        """All rounds: each place in each, and its clients at each."""
        with ExitStack() as stack:
            aws = json.loads(stack.enter_context(started("benchmarks.aws_rig", cores=self.theirs)))
            urls = {}
            for place in self.clients:
                arguments = ("--repositories", str(place.size), "--world", place.world, "--no-limits")
                urls[place] = stack.enter_context(started("benchmarks.github_rig", *arguments, cores=self.theirs))
            for number in range(rounds):
                for place, clients in self.clients.items():
                    shift = number % len(clients)  # each round another one first
                    for client in (*clients[shift:], *clients[:shift]):
                        if self.whole or place.size <= LARGEST.get(client, place.size):
                            self._measure(client, place, number, urls[place], aws)
        self._scale(rounds)

    def _measure(self, client: str, place: Place, number: int, url: str, aws: Mapping[str, str]) -> None:
        series = (("single",), ("cold", "warm", "changed")) if client in KEEPING else (("cold",),)
        for ticks in series:
            measured = self._process(client, place.size, url, aws, ticks)
            for tick in measured["ticks"]:
                row = Row(
                    client, place, number, tick["name"], tick["seconds"], tick["cpu"] * 1000 / place.size,
                    measured["megabytes"], tick["requests"], tick["charged"], tick["points"],
                    tick["most_connections"], tick["most_at_once"], len(tick["queued"]), tick["right"],
                    tick["rig_cpu"],
                )  # fmt: skip
                self.rows.append(row)
                told = f"{row.seconds:.2f} s, {row.cpu_ms:.2f} ms a repository"
                print(f"round {number + 1}: {client}, {place.size} {place.world}, {row.tick}: {told}", file=sys.stderr)

    def _process(self, client: str, size: int, url: str, aws: Mapping[str, str], ticks: Sequence[str]) -> Any:
        cores = [str(core) for core in self.ours]
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.measure", client, "--url", url, "--repositories", str(size),
             "--connections", str(CONNECTIONS), "--ticks", *ticks, "--cores", *cores],
            env=environment(dict(aws)), stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        return json.loads(done.stdout)

    def _scale(self, rounds: int) -> None:
        """Rows of what was too slow to be run: a sum of waits, so in proportion to its largest size that was run."""
        for place, clients in self.clients.items():
            for client, number in product(clients, range(rounds)):
                mine = [
                    row
                    for row in self.rows
                    if (row.client, row.round, row.place.world) == (client, number, place.world) and not row.scaled
                ]
                largest = max(mine, key=lambda row: row.place.size, default=None)
                # Below ten repositories a mixed world is not mixed as a larger one is.
                if largest is not None and place.size > largest.place.size >= ONE_ACTIVE_IN:
                    self.rows.append(scaled(largest, place))


WATCHED = (Place("quiet", 500), Place("mixed", 100), Place("mixed", 500))
"""Where a watch is played through, within GitHub's limits."""


def watches(cores: Sequence[int]) -> Iterator[tuple[Place, dict[str, float]]]:
    """What a watch of each of these places takes (see `benchmarks.watching`)."""
    if "every" not in signature(Observer.observe).parameters:
        return  # an observer that knows no pace asks for everything in each tick
    for place in WATCHED:
        arguments = ("--repositories", str(place.size))
        with started("benchmarks.github_rig", *arguments, "--world", place.world, cores=cores) as url:
            command = [sys.executable, "-m", "benchmarks.watching", "--url", url, *arguments]
            done = subprocess.run(command, env=environment({}), stdout=subprocess.PIPE, text=True, check=True)
            yield place, json.loads(done.stdout)


def told_of(watched: Mapping[Place, Mapping[str, float]]) -> Iterator[str]:
    """A table of watches."""
    for number, (place, measures) in enumerate(watched.items()):
        if not number:
            yield "\n| a watch of | " + " | ".join(measures) + " |\n|" + " --- |" * (len(measures) + 1)
        yield f"| {place.size} {place.world} | " + " | ".join(f"{value:g}" for value in measures.values()) + " |"


def places(sizes: Sequence[int], clients: Sequence[str], worlds: Sequence[str]) -> dict[Place, list[str]]:
    """Who looks at what: all in the first world, at every size; in the others ours and the bound, at the largest."""
    found = {Place(worlds[0], size): list(clients) for size in sizes}
    others = [client for client in ("ours", "raw") if client in clients]
    return found | {Place(world, max(sizes)): others for world in worlds[1:] if others}


def machine() -> dict[str, Any]:
    """What it ran on."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def main(arguments: Sequence[str]) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--clients", nargs="+", default=tuple(CLIENTS), choices=CLIENTS)
    parser.add_argument("--worlds", nargs="+", choices=("mixed", "quiet", "busy"), default=("mixed", "quiet", "busy"))
    parser.add_argument("--whole", action="store_true", help="run even what takes minutes a tick, not a part of it")
    parser.add_argument("--json", type=Path, default=Path("build/bench.json"))
    parser.add_argument("--picture", type=Path, default=Path("build/bench.svg"), help="another stands beside it")
    asked = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C does, so that no server is left behind
    told = machine()
    bench = Bench(places(asked.sizes, asked.clients, asked.worlds), whole=asked.whole)
    bench.run(asked.rounds)
    watched = dict(watches(bench.theirs))
    told["load_after"] = round(os.getloadavg()[0], 2)
    summary, grown = Summary(bench.rows), list(growth.measure())
    print("\n".join(summary.table()))
    print("\n".join(told_of(watched)))
    print("\n".join(["", *growth.table(grown)]))
    print(f"\n{asked.rounds} rounds; the stand-in worked {summary.rig_share():.0%} of a tick at most; {told}")
    asked.json.parent.mkdir(exist_ok=True)
    document = {"machine": told, "rounds": asked.rounds}
    document |= {"watches": [{"place": place, **measures} for place, measures in watched.items()]}
    document |= {"rows": [asdict(row) for row in bench.rows], "growth": [asdict(row) for row in grown]}
    asked.json.write_text(json.dumps(document, indent=1))
    for suffix, text in pictures(summary, grown):
        asked.picture.with_stem(asked.picture.stem + suffix).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
