"""
A package index on loopback: what PyPI answers, asked once and kept, with the time that an answer of its own takes.

So what is measured is what an installer makes of an index, and not what a network does in the same minute.
"""

from __future__ import annotations

import json
import os
import time
import urllib.request
from concurrent.futures import Future
from threading import Lock
from typing import Self
from urllib.parse import urljoin

from scaler.sandbox.loopback import HttpAnswer, HttpRequest, LoopbackServer
from scripts.wheels import JSON, index_url

LATENCY = 0.030
"""Seconds to an answer's first byte: PyPI's pages and files come from a cache near the machine."""
RATE = 125e6
"""Bytes a second of one answer: one Gbit/s."""
SETTINGS = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_CONFIG_FILE")


class IndexCopy:
    """Within it, installers that this process starts ask the copy alone."""

    def __init__(self) -> None:
        """Copy the index that the install step would ask."""
        self._source = index_url().rstrip("/") + "/"
        self._server = LoopbackServer(self._respond, "index copy")
        self._answers: dict[str, Future[HttpAnswer]] = {}
        self._files: dict[str, str] = {}
        self._lock = Lock()
        self._before: dict[str, str | None] = {}

    @property
    def url(self) -> str:
        """The address for PIP_INDEX_URL."""
        return f"{self._server.url}/simple/"

    def __enter__(self) -> Self:
        self._server.start()
        self._before = {key: os.environ.pop(key, None) for key in SETTINGS}
        os.environ |= {"PIP_INDEX_URL": self.url, "PIP_CONFIG_FILE": os.devnull}
        return self

    def __exit__(self, *_: object) -> None:
        for key, value in self._before.items():
            os.environ.pop(key, None)
            if value is not None:
                os.environ[key] = value
        self._server.stop()

    def _respond(self, request: HttpRequest) -> HttpAnswer:
        answer = self._kept(request.target)
        time.sleep(LATENCY + len(answer.body) / RATE)
        return answer

    def _kept(self, target: str) -> HttpAnswer:
        """The answer, asked for by whoever comes first."""
        with self._lock:
            first = target not in self._answers
            kept = self._answers.setdefault(target, Future())
        if first:
            try:
                kept.set_result(self._page(target) if target.startswith("/simple/") else self._file(target))
            except Exception as error:  # noqa: BLE001 - whoever waits has to hear of it
                kept.set_exception(error)
        return kept.result()

    def _page(self, target: str) -> HttpAnswer:
        """A package's page, its files' addresses those of the copy."""
        address = self._source + target.removeprefix("/simple/")
        page = json.loads(_asked(address, JSON))
        for row in page["files"]:
            self._files[f"/files/{row['filename']}"] = urljoin(address, row["url"])
            row["url"] = f"{self._server.url}/files/{row['filename']}"
        return HttpAnswer(200, json.dumps(page).encode(), {"Content-Type": JSON})

    def _file(self, target: str) -> HttpAnswer:
        """A file, or the metadata beside it (packaging.python.org: simple repository API, metadata files)."""
        name = target.removesuffix(".metadata")
        return HttpAnswer(200, _asked(self._files[name] + target.removeprefix(name), "*/*"))


def _asked(url: str, accept: str) -> bytes:
    request = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=60) as answer:
        body: bytes = answer.read()
    return body
