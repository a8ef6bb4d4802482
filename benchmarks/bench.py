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
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import curves, growth
from benchmarks.clients import CLIENTS, environment
from scaler.observe import CONNECTIONS

SIZES = (1, 10, 100, 500)
ROUNDS = 5
CORES = 2
LARGEST = {"pygithub": 10, "original": 100, "original+aws": 100}
"""The largest size at which a client is run, unless it is asked to be run whole; beyond, its time is extrapolated."""
WATCHES = ("ours", "ours+aws", "raw", "aiohttp")
"""Those that keep something from one tick to the next."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one client took at one size in one round; `scaled` if it was taken at a smaller one and multiplied."""

    client: str
    size: int
    round: int
    tick: str
    seconds: float
    cpu_ms: float
    megabytes: float
    requests: float
    charged: float
    points: float
    connections: int
    most_at_once: int
    found: int
    right: bool
    rig_cpu: float
    scaled: bool = False


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

    def __init__(self, world: str, sizes: Sequence[int], clients: Sequence[str], *, whole: bool) -> None:
        self.world, self.sizes, self.clients, self.whole = world, sizes, clients, whole
        cores = sorted(os.sched_getaffinity(0))
        self.ours, self.theirs = cores[:CORES], cores[CORES:] or cores
        self.rows: list[Row] = []

    def run(self, rounds: int) -> None:
        """All rounds: each size in each, and each client at each size."""
        with ExitStack() as stack:
            aws = json.loads(stack.enter_context(started("benchmarks.aws_rig", cores=self.theirs)))
            urls = {}
            for size in self.sizes:
                arguments = ("--repositories", str(size), "--world", self.world)
                urls[size] = stack.enter_context(started("benchmarks.github_rig", *arguments, cores=self.theirs))
            for number in range(rounds):
                for size in self.sizes:
                    for client in self._in_turn(number):
                        if self.whole or size <= LARGEST.get(client, size):
                            self._measure(client, size, number, urls[size], aws)
        self._scale(rounds)

    def _in_turn(self, number: int) -> list[str]:
        """The clients, each round another one first."""
        shift = number % len(self.clients)
        return [*self.clients[shift:], *self.clients[:shift]]

    def _measure(self, client: str, size: int, number: int, url: str, aws: Mapping[str, str]) -> None:
        with urllib.request.urlopen(f"{url}/_rig/truth") as answer:
            truth = sorted(job for jobs in json.load(answer).values() for job in jobs)
        series = (("deep",), ("shallow", "shallow")) if client in WATCHES else (("shallow",),)
        for ticks in series:
            measured = self._process(client, size, url, aws, ticks)
            names = ("single",) if ticks == ("deep",) else ("cold", "warm")
            for name, tick in zip(names, measured["ticks"], strict=False):
                row = Row(
                    client, size, number, name, tick["seconds"], tick["cpu"] * 1000 / size, measured["megabytes"],
                    tick["requests"], tick["charged"], tick["points"], tick["most_connections"], tick["most_at_once"],
                    len(tick["queued"]), tick["queued"] == truth, tick["rig_cpu"],
                )  # fmt: skip
                self.rows.append(row)
                told = f"{row.client} {row.size} {row.tick}: {row.seconds:.2f} s, {row.cpu_ms:.2f} ms a repository"
                print(f"round {number + 1}: {told}", file=sys.stderr, flush=True)

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
        for client in set(self.clients) & LARGEST.keys():
            for number in range(rounds):
                mine = [row for row in self.rows if row.client == client and row.round == number]
                largest = max(mine, key=lambda row: row.size)
                for size in self.sizes:
                    if size > largest.size:
                        self.rows.append(scaled(largest, size))


def scaled(row: Row, size: int) -> Row:
    """What it would be at another size, in proportion."""
    by = size / row.size
    grown = {name: getattr(row, name) * by for name in ("seconds", "requests", "charged", "points")}
    return Row(**{**asdict(row), **grown, "size": size, "found": round(row.found * by), "scaled": True})


# --- what is told --------------------------------------------------------------------------------


class Summary:
    """Medians over the rounds, and ratios taken within each."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.clients = list(dict.fromkeys(row.client for row in rows))
        self.sizes = sorted({row.size for row in rows})

    def of(self, client: str, size: int, tick: str) -> list[Row]:
        """The rows of all rounds."""
        return [row for row in self.rows if (row.client, row.size, row.tick) == (client, size, tick)]

    def ratio(self, of: str, to: str, size: int, tick: str, to_tick: str | None = None) -> float | None:
        """The median of what `of` took over what `to` took in the same round."""
        theirs = {row.round: row.seconds for row in self.of(to, size, to_tick or tick)}
        ratios = [row.seconds / theirs[row.round] for row in self.of(of, size, tick) if row.round in theirs]
        return median(ratios) if ratios else None

    def table(self) -> Iterator[str]:
        """The one table."""
        head = ("repositories", "client", "tick", "seconds", "× raw", "× ours", "CPU ms/repo", "MB", "requests",
                "charged", "points", "connections", "queued jobs found")  # fmt: skip
        yield "| " + " | ".join(head) + " |"
        yield "|" + " --- |" * len(head)
        for size in self.sizes:
            for client in self.clients:
                for tick in ("single", "cold", "warm"):
                    if rows := self.of(client, size, tick):
                        yield "| " + " | ".join(self._cells(rows, client, size, tick)) + " |"

    def _cells(self, rows: Sequence[Row], client: str, size: int, tick: str) -> list[str]:
        def mid(name: str) -> float:
            return float(median(getattr(row, name) for row in rows))

        about = "~" if rows[0].scaled else ""
        exact = "all" if all(row.right for row in rows) else f"{rows[0].found} (not the queue)"
        ratios = [self.ratio(client, to, size, tick) for to in ("raw", "ours")]
        return [
            str(size), client, tick, f"{about}{mid('seconds'):.2f}",
            *(f"{ratio:.2f}" if ratio else "" for ratio in ratios), f"{mid('cpu_ms'):.2f}", f"{mid('megabytes'):.0f}",
            *(f"{about}{mid(name):.0f}" for name in ("requests", "charged", "points")),
            str(max(row.connections for row in rows)), exact,
        ]  # fmt: skip


CURVES = {"ours": "ours", "raw": "raw HTTP", "pygithub": "plain PyGithub", "original": "the original's way"}
PANELS = {"seconds": "seconds a tick", "charged": "charged requests a tick", "points": "points a tick"}


def pictures(summary: Summary, grown: Sequence[growth.Grown]) -> Iterator[tuple[str, str]]:
    """By the ends of their names: growth with the number of repositories, and with demand."""
    yield "", _by_repositories(summary)
    panels = []
    for kind in growth.KINDS:
        mine = [row for row in grown if row.kind == kind]
        parts = dict.fromkeys(row.part for row in mine)
        found = {part: [(float(row.jobs), row.seconds * 1000) for row in mine if row.part == part] for part in parts}
        panels.append(curves.Panel(f"{kind}, ms", "queued jobs", found))
    yield "-demand", curves.picture("What one tick computes, a fifth as many instances as jobs", panels)


def _by_repositories(summary: Summary) -> str:
    """How time, charged requests and points grow with the number of repositories."""
    panels = []
    for measure, title in PANELS.items():
        found = {}
        for client, name in CURVES.items():
            for tick, suffix in (("cold", ""), ("warm", ", later ticks")):
                rows = {size: summary.of(client, size, tick) for size in summary.sizes}
                points = [
                    (float(size), median(getattr(r, measure) for r in each)) for size, each in rows.items() if each
                ]
                if points and (client == "ours" or tick == "cold"):
                    found[name + suffix] = points
        panels.append(curves.Panel(title, "repositories", found))
    return curves.picture("One tick, at 80 ms an answer", panels)


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
    parser.add_argument("--world", choices=("quiet", "mixed", "busy"), default="mixed")
    parser.add_argument("--whole", action="store_true", help="run even what takes minutes a tick, not a part of it")
    parser.add_argument("--json", type=Path, default=Path("build/bench.json"))
    parser.add_argument("--picture", type=Path, default=Path("build/bench.svg"), help="another stands beside it")
    asked = parser.parse_args(arguments)
    told = machine()
    bench = Bench(asked.world, asked.sizes, asked.clients, whole=asked.whole)
    bench.run(asked.rounds)
    told["load_after"] = round(os.getloadavg()[0], 2)
    summary, grown = Summary(bench.rows), list(growth.measure())
    print("\n".join(summary.table()))
    print()
    print("\n".join(growth.table(grown)))
    print(f"\nWorld {asked.world}, {asked.rounds} rounds; {told}")
    asked.json.parent.mkdir(exist_ok=True)
    document = {"machine": told, "world": asked.world, "rounds": asked.rounds}
    document |= {"rows": [asdict(row) for row in bench.rows], "growth": [asdict(row) for row in grown]}
    asked.json.write_text(json.dumps(document, indent=1))
    for suffix, text in pictures(summary, grown):
        asked.picture.with_stem(asked.picture.stem + suffix).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
