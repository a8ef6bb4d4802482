"""
One client in a process of its own: ticks, each with its time and what GitHub counted meanwhile, as JSON.

    python -m benchmarks.measure ours --url http://127.0.0.1:PORT --repositories 100 --ticks cold warm
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
import urllib.request
from collections.abc import Sequence
from typing import Any

from benchmarks.clients import CLIENTS, Asked, Client, client
from benchmarks.github_world import repository_names

TICKS = ("single", "cold", "warm", "changed")
"""A process's only tick, which is deep; the first of a watch; a later one; a later one after jobs have started."""


def measured(looker: Client, asked: Asked, ticks: Sequence[str]) -> dict[str, Any]:
    """Every tick's seconds, CPU seconds, queued jobs and GitHub's counters, and the process's largest size."""
    rows = []
    for name in ticks:
        if name == "changed":
            control(asked.url, "/_rig/move", "POST")
        control(asked.url, "/_rig", "DELETE")
        before, began = _cpu(), time.perf_counter()
        queued = sorted(looker.tick(deep=name == "single"))
        seconds, cpu = time.perf_counter() - began, _cpu() - before
        counted = control(asked.url, "/_rig", "GET")
        counted["rig_cpu"] = counted.pop("cpu")
        del counted["spent"]
        right = queued == truth(asked)
        rows.append({"name": name, "seconds": seconds, "cpu": cpu, "queued": queued, "right": right, **counted})
    return {"ticks": rows, "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def truth(asked: Asked) -> list[int]:
    """The ids of the jobs that are queued."""
    queued = control(asked.url, "/_rig/truth", "GET")
    return sorted(job for repository in asked.repositories for job in queued.get(repository, ()))


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def control(url: str, path: str, method: str) -> Any:
    """Ask the stand-in itself."""
    with urllib.request.urlopen(urllib.request.Request(url + path, method=method)) as answer:
        return json.load(answer)


def main(arguments: Sequence[str]) -> int:
    """Measure one client."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.measure", description=__doc__)
    parser.add_argument("client", choices=CLIENTS)
    parser.add_argument("--url", required=True)
    parser.add_argument("--repositories", type=int, required=True)
    parser.add_argument("--ticks", nargs="+", choices=TICKS, default=["cold", "warm"])
    parser.add_argument("--connections", type=int, default=32, help="of the bare clients")
    parser.add_argument("--cores", type=int, nargs="+", default=[])
    asked = parser.parse_args(arguments)
    if asked.cores:
        os.sched_setaffinity(0, asked.cores)
    given = Asked(asked.url, tuple(repository_names(asked.repositories)), asked.connections)
    made = client(asked.client, given)
    print(json.dumps(measured(made, given, asked.ticks)), flush=True)
    os._exit(0)  # neither threads nor connections are worth an orderly end


if __name__ == "__main__":
    main(sys.argv[1:])
