"""The predecessor's way."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from benchmarks.clients import TOKEN, Asked


class Original:
    """
    The predecessor's algorithm, written anew from its description, without its pauses (docs/lineage.md).

    A client of its own for each repository, a connection for each request, all runs unfiltered and the first 30 of
    them looked at, runs counted in place of jobs. Its client library made objects of all of that, which is not
    copied: the original took more CPU time than this.
    """

    def __init__(self, asked: Asked) -> None:
        self._asked = asked

    def tick(self, *, deep: bool) -> list[int]:  # noqa: ARG002 - it knows one kind
        """The ids of *runs* that it counts as demand: it knows no jobs."""
        found = []
        for repository in self._asked.repositories:
            self._begin()
            base = f"{self._asked.url}/repos/{repository}/actions"
            runs = [run for run in _get(f"{base}/runs")["workflow_runs"] if run["status"] == "queued"]
            for run in runs:
                # It takes the architecture from the workflow's name, and asks for that one by one.
                _get(f"{base}/workflows/{run['workflow_id']}")
            _get(f"{base}/runners")
            found += [run["id"] for run in runs]
        return found

    def _begin(self) -> None:
        """What it does first for each repository."""


def _get(url: str) -> Any:
    headers = {"Authorization": f"token {TOKEN}", "Accept": "application/vnd.github.v3+json"}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
        return json.load(answer)
