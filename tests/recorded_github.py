"""
GitHub as it was recorded: real answers, served again over HTTP on loopback.

The recordings show finished work. `at` turns the clock back: by a job's own times it is not there yet, queued,
in progress or completed, so one recording shows the queue that there was. Nothing else is changed but the host
in URLs. What was never recorded is answered with 404 and noted in `missed`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from email.utils import format_datetime
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from scaler.sandbox.loopback import HttpAnswer, HttpRequest, LoopbackServer
from tests.exchange import Exchange

_LISTS = {"runs": "workflow_runs", "jobs": "jobs", "runners": "runners"}


class RecordedGitHub:
    """
    Serves recorded answers at one moment of the past.

    With `labels` every job asks for these, as if its workflow's `runs-on` said so. `announced` keeps a list's
    `total_count` as recorded (by path), where the recording holds one page of many.
    """

    def __init__(
        self,
        exchanges: Iterable[Exchange],
        at: datetime,
        labels: list[str] | None = None,
        announced: Mapping[str, int] | None = None,
    ) -> None:
        self.at = at
        self._labels = labels
        self._announced = announced or {}
        self.missed: list[str] = []
        self.served: list[Exchange] = []
        self._single: dict[str, Any] = {}
        self._items: dict[str, dict[int, Any]] = {}
        for exchange in exchanges:
            self._learn(exchange.path, json.loads(exchange.response_body))
        self._server = LoopbackServer(self._respond, "recorded-github")

    @property
    def url(self) -> str:
        """What `GITHUB_API_URL` is set to."""
        return self._server.url

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    def _learn(self, path: str, body: Any) -> None:
        last = path.rpartition("/")[2]
        if last in _LISTS and isinstance(body, dict) and _LISTS[last] in body:
            self._items.setdefault(path, {}).update((item["id"], item) for item in body[_LISTS[last]])
            return
        self._single[path] = body
        # A run that was asked for by its id is in its repository's list too.
        if match := re.fullmatch(r"/repos/[^/]+/[^/]+/actions/runs/(\d+)", path):
            self._items.setdefault(path.rpartition("/")[0], {})[int(match[1])] = body

    def _respond(self, request: HttpRequest) -> HttpAnswer:
        split = urlsplit(request.target)
        query = dict(parse_qsl(split.query))
        headers = {"Content-Type": "application/json; charset=utf-8", "Date": format_datetime(self.at, usegmt=True)}
        status, body = 200, self._body(split.path, query)
        if request.method != "GET" or body is None:
            self.missed.append(f"{request.method} {request.target}")
            status, body = 404, {"message": "Not Found", "documentation_url": "https://docs.github.com/rest"}
        elif isinstance(items := body.get("total_count"), int) and (link := self._link(split.path, query, items)):
            headers["Link"] = link
        answer = json.dumps(body).replace("https://api.github.com", self.url).encode()
        self.served.append(
            Exchange(request.method, split.path, split.query, request.headers, request.body, status, headers, answer)
        )
        return HttpAnswer(status, answer, headers)

    def _body(self, path: str, query: Mapping[str, str]) -> Any:
        if (items := self._items.get(path)) is None:
            return self._single.get(path)
        found = [item for item in self._as_of(path, items.values()) if query.get("status") in (None, item["status"])]
        size, page = _page(query)
        shown = found[(page - 1) * size : page * size]
        return {"total_count": self._announced.get(path, len(found)), _LISTS[path.rpartition("/")[2]]: shown}

    def _as_of(self, path: str, items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            if path.endswith("/runs"):
                jobs = list(self._as_of("/jobs", self._items.get(f"{path}/{item['id']}/jobs", {}).values()))
                yield from run_as_of(item, jobs, self.at)
            elif path.endswith("/jobs"):
                yield from job_as_of({**item, "labels": self._labels or item["labels"]}, self.at)
            else:
                yield item

    def _link(self, path: str, query: Mapping[str, str], total: int) -> str:
        size, page = _page(query)
        if page * size >= total:
            return ""
        rest = "".join(f"&{name}={value}" for name, value in query.items() if name != "page")
        return f'<{self.url}{path}?page={page + 1}{rest}>; rel="next"'


def _page(query: Mapping[str, str]) -> tuple[int, int]:
    return int(query.get("per_page", "30")), int(query.get("page", "1"))


def job_as_of(job: Mapping[str, Any], at: datetime) -> Iterator[dict[str, Any]]:
    """Yield the job as it stood at a time, by its own times; nothing if it did not exist."""
    if at < _time(job["created_at"]):
        return
    if job["completed_at"] is None or at >= _time(job["completed_at"]):
        yield dict(job)
        return
    running = {**job, "status": "in_progress", "conclusion": None, "completed_at": None, "steps": []}
    if at >= _time(job["started_at"]):
        yield running
        return
    nobody = dict.fromkeys(("runner_id", "runner_name", "runner_group_id", "runner_group_name"))
    # GitHub gives a job that has not started its time of creation for a start: the field is never null.
    yield {**running, **nobody, "status": "queued", "started_at": job["created_at"]}


def run_as_of(run: Mapping[str, Any], jobs: list[dict[str, Any]], at: datetime) -> Iterator[dict[str, Any]]:
    """Yield the run as it stood at a time, by its jobs where they are known."""
    if at < _time(run["created_at"]):
        return
    open_jobs = {job["status"] for job in jobs} - {"completed"}
    if not open_jobs:
        yield dict(run)
        return
    begun = any(job["status"] != "queued" for job in jobs)
    yield {**run, "status": "in_progress" if begun else "queued", "conclusion": None}


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
