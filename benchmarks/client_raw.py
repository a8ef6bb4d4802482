"""The bound: bare HTTP over a pool of connections."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import urllib3

from benchmarks.clients import TOKEN, Asked, queued_in, statuses


class RawHttp:
    """A pool of bare connections that asks for the least there is to ask, and conditionally the second time."""

    def __init__(self, asked: Asked) -> None:
        count = asked.connections
        self._asked = asked
        self._threads = ThreadPoolExecutor(count)
        self._pool = urllib3.HTTPConnectionPool(
            asked.url.removeprefix("http://").partition(":")[0],
            int(asked.url.rpartition(":")[2]),
            maxsize=count,
            block=True,
        )
        self._headers = {
            "Authorization": f"token {TOKEN}",
            "Accept": "application/vnd.github+json",
            "Accept-Encoding": "gzip",
            "User-Agent": "bench",
        }
        self._known: dict[str, tuple[str, Any]] = {}

    def _get(self, path: str) -> Any:
        known = self._known.get(path)
        headers = self._headers | ({"If-None-Match": known[0]} if known else {})
        answer = self._pool.request("GET", path, headers=headers)
        if known and answer.status == 304:
            return known[1]
        body = json.loads(answer.data)
        self._known[path] = answer.headers["ETag"], body
        return body

    def tick(self, *, deep: bool) -> list[int]:
        """All run lists at once, then the jobs of all active runs."""
        lists = [
            f"/repos/{repository}/actions/runs?status={status}&per_page=100"
            for repository in self._asked.repositories
            for status in statuses(deep=deep)
        ]
        runs = chain.from_iterable(answer["workflow_runs"] for answer in self._threads.map(self._get, lists))
        paths = [f"/repos/{run['repository']['full_name']}/actions/runs/{run['id']}/jobs?per_page=100" for run in runs]
        return list(chain.from_iterable(map(queued_in, self._threads.map(self._get, paths))))
