"""The bound on CPU time: one thread, no more than a parser in C has to do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from itertools import chain
from typing import Any

import aiohttp

from benchmarks.clients import TOKEN, Asked, queued_in, statuses


class AioHttp:
    """The same in one thread, at the least CPU time there is."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._loop = asyncio.new_event_loop()
        self._known: dict[str, tuple[str, Any]] = {}
        self._session = self._loop.run_until_complete(self._connect())

    async def _connect(self) -> Any:
        headers = {"Authorization": f"token {TOKEN}", "Accept": "application/vnd.github+json"}
        return aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=self._asked.connections))

    async def _get(self, path: str) -> Any:
        known = self._known.get(path)
        headers = {"If-None-Match": known[0]} if known else {}
        async with self._session.get(self._asked.url + path, headers=headers) as answer:
            if known and answer.status == 304:
                return known[1]
            body = json.loads(await answer.read())
            self._known[path] = answer.headers["ETag"], body
            return body

    def tick(self, *, deep: bool) -> list[int]:
        """A repository's lists, then its jobs, all repositories at once."""
        return self._loop.run_until_complete(self._all(deep=deep))

    async def _all(self, *, deep: bool) -> list[int]:
        async def look(repository: str, status: str) -> Iterable[int]:
            runs = f"/repos/{repository}/actions/runs"
            listed = await self._get(f"{runs}?status={status}&per_page=100")
            paths = [f"{runs}/{run['id']}/jobs?per_page=100" for run in listed["workflow_runs"]]
            return chain.from_iterable(map(queued_in, await asyncio.gather(*map(self._get, paths))))

        wanted = [look(name, status) for name in self._asked.repositories for status in statuses(deep=deep)]
        return list(chain.from_iterable(await asyncio.gather(*wanted)))
