"""
One client in a process of its own: ticks, each with its time and what GitHub counted meanwhile, as JSON.

    python -m benchmarks.measure ours --url http://127.0.0.1:PORT --repositories 100 --ticks shallow shallow
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


def measured(looker: Client, url: str, ticks: Sequence[str]) -> dict[str, Any]:
    """Every tick's seconds, CPU seconds, queued jobs and GitHub's counters, and the process's largest size."""
    rows = []
    for kind in ticks:
        _control(url, "DELETE")
        before, began = _cpu(), time.perf_counter()
        queued = looker.tick(deep=kind == "deep")
        seconds, cpu = time.perf_counter() - began, _cpu() - before
        counted = _control(url, "GET")
        rows.append({"kind": kind, "seconds": seconds, "cpu": cpu, "queued": sorted(queued), **counted})
    return {"ticks": rows, "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _control(url: str, method: str) -> Any:
    with urllib.request.urlopen(urllib.request.Request(f"{url}/_rig", method=method)) as answer:
        counted = json.load(answer)
    counted["rig_cpu"] = counted.pop("cpu")
    return counted


def main(arguments: Sequence[str]) -> int:
    """Measure one client."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.measure", description=__doc__)
    parser.add_argument("client", choices=CLIENTS)
    parser.add_argument("--url", required=True)
    parser.add_argument("--repositories", type=int, required=True)
    parser.add_argument("--ticks", nargs="+", choices=("shallow", "deep"), default=["shallow", "shallow"])
    parser.add_argument("--connections", type=int, default=32, help="of the bare clients")
    parser.add_argument("--cores", type=int, nargs="+", default=[])
    asked = parser.parse_args(arguments)
    if asked.cores:
        os.sched_setaffinity(0, asked.cores)
    given = Asked(asked.url, tuple(repository_names(asked.repositories)), asked.connections)
    made = client(asked.client, given)
    print(json.dumps(measured(made, asked.url, asked.ticks)), flush=True)
    os._exit(0)  # neither threads nor connections are worth an orderly end


if __name__ == "__main__":
    main(sys.argv[1:])
