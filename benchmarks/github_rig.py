"""
A stand-in for GitHub's API that takes 80 ms for each answer and counts what it is asked.

    python -m benchmarks.github_rig --repositories 100 --world mixed      # prints its address

It speaks HTTP itself and answers with bytes that were made beforehand, some 40 microseconds an answer: what is
measured against it is the client. `GET /_rig` tells the counters, `DELETE /_rig` sets them back (`DELETE /_rig/tick`:
but not what the hour has taken), `GET /_rig/truth` tells the queued jobs, `POST /_rig/move` has some of them start.
None of these is delayed or counted.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import re
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from urllib.parse import parse_qsl, urlencode

from benchmarks import github_graph
from benchmarks.github_world import Body, Kind, World

DELAY = 0.080
LIMIT = 5000
"""Requests an hour of a token (docs.github.com: rate limits for the REST API)."""
READ_POINTS, WRITE_POINTS = 1, 5
"""What a request costs of the 900 points a minute; that a 304 costs none is nowhere said."""

_REPOSITORY = re.compile(r"/repos/([\w.-]+/[\w.-]+)(?:/actions/(runs|runners|workflows)(?:/(\d+)(/jobs)?)?)?")
_PER_TOKEN = ("authorization", "accept")
_EMPTY = Body.of(b'{"total_count":0,"runners":[]}')
_MISSING = Body.of(b'{"message":"Not Found","documentation_url":"https://docs.github.com/rest","status":"404"}')
_SPENT = Body.of(b'{"message":"API rate limit exceeded","documentation_url":"https://docs.github.com/rest"}')


@dataclass
class Counters:
    """What was asked since the counters were set back."""

    requests: int = 0
    charged: int = 0
    """Requests that count against the hour's limit: all but 304."""
    points: int = 0
    graphql: int = 0
    """Points of GraphQL's own hourly limit."""
    connections: int = 0
    """Connections that something was asked over."""
    most_connections: int = 0
    most_at_once: int = 0
    bytes_sent: int = 0
    cpu: float = 0.0
    asked: dict[str, int] = field(default_factory=dict)
    looked_at: dict[str, None] = field(default_factory=dict)
    """The repositories whose runs were listed."""
    spent: list[tuple[float, int]] = field(default_factory=list)
    """By the machine's clock, when how many points were spent."""


@dataclass(frozen=True, slots=True)
class Request:
    """What arrived; header names are lower-case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class Rig:
    """The world, its counters, and one answer after the other."""

    def __init__(self, world: World, delay: float, limit: int | None) -> None:
        self.delay, self.limit = delay, limit
        self.world = world
        self.world.prepare(world.names)
        self.counters = Counters()
        self.open: set[Connection] = set()
        self.waiting = 0
        self._cpu = time.process_time()
        self._reset = int(time.time()) + 3600
        self._taken = {"core": 0, "graphql": 0}

    def set_back(self, *, hour: bool) -> None:
        """Count anew: of the connections, those that will be asked over. Without `hour`, what it took stays taken."""
        self.counters = Counters()
        if hour:
            self._taken = {"core": 0, "graphql": 0}
        self._cpu = time.process_time()
        for connection in self.open:
            connection.used = False

    def answer(self, request: Request) -> bytes:
        """The whole answer to one counted request."""
        self.counters.requests += 1
        points = READ_POINTS if request.method == "GET" or request.path == "/graphql" else WRITE_POINTS
        self.counters.points += points
        self.counters.spent.append((time.monotonic(), points))
        if request.path == "/graphql":
            return self._graphql(request)
        status, body, kind = self._find(request)
        self.counters.asked[kind] = self.counters.asked.get(kind, 0) + 1
        if kind == "rate_limit":
            return self._written(request, 200, Body.of(json.dumps(self._limits()).encode()), "")
        tag = _validator(request, body)
        if status == 200 and request.headers.get("if-none-match", "").removeprefix("W/") == tag:
            return self._written(request, 304, None, tag)
        if self.limit is not None and self._taken["core"] >= self.limit:
            return self._written(request, 403, _SPENT, "")
        self.counters.charged += 1
        self._taken["core"] += 1
        return self._written(request, status, body, tag)

    def _find(self, request: Request) -> tuple[int, Body, str]:
        """The status, the body and a word for what was asked."""
        if request.path == "/rate_limit":
            return 200, _EMPTY, "rate_limit"
        if re.fullmatch(r"/orgs/[\w.-]+/actions/runners", request.path):
            return 200, _EMPTY, "runners"
        match = _REPOSITORY.fullmatch(request.path)
        if match is None or self.world.number_of(match[1]) is None or request.method != "GET":
            return 404, _MISSING, "missing"
        name, what, number, jobs = match.groups()
        if what is None:
            return 200, self.world.repository(name), "repository"
        size, page = int(request.query.get("per_page", "30")), int(request.query.get("page", "1"))
        if jobs:
            return 200, self.world.listed(name, "jobs", number, size, page), "jobs"
        if number:
            one = self.world.one(name, what, int(number))
            return (404, _MISSING, what) if one is None else (200, one, what)
        status = request.query.get("status", "") if what == "runs" else ""
        if what == "runs":
            self.counters.looked_at[name] = None
        return 200, self.world.listed(name, what, status, size, page), what

    def _graphql(self, request: Request) -> bytes:
        self.counters.asked["graphql"] = self.counters.asked.get("graphql", 0) + 1
        answer, cost = github_graph.answer(self.world, request.body)
        self.counters.graphql += cost
        self._taken["graphql"] += cost
        return self._written(request, 200, Body.of(json.dumps(answer).encode()), "", "graphql")

    def _limits(self) -> dict[str, object]:
        limit = self.limit or 0
        core, graphql = (
            {"limit": limit, "used": taken, "remaining": max(limit - taken, 0), "reset": self._reset}
            for taken in self._taken.values()
        )
        search = {"limit": 30, "used": 0, "remaining": 30, "reset": self._reset}
        return {"resources": {"core": core, "graphql": graphql, "search": search}, "rate": core}

    def _told_limits(self, resource: str) -> list[str]:
        """The headers; GitHub Enterprise Server has none unless somebody switches its limits on."""
        if self.limit is None:
            return []
        used = self._taken[resource]
        return [
            f"X-RateLimit-Limit: {self.limit}",
            f"X-RateLimit-Remaining: {max(self.limit - used, 0)}",
            f"X-RateLimit-Reset: {self._reset}",
            f"X-RateLimit-Used: {used}",
            f"X-RateLimit-Resource: {resource}",
        ]

    def _written(self, request: Request, status: int, body: Body | None, tag: str, resource: str = "core") -> bytes:
        head = [
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            "Server: github.com",
            f"Date: {formatdate(usegmt=True)}",
            "Cache-Control: private, max-age=60, s-maxage=60",
            "Vary: Accept, Authorization, Cookie, X-GitHub-OTP, Accept-Encoding, Accept, X-Requested-With",
            "X-GitHub-Media-Type: github.v3; format=json",
            "x-github-api-version-selected: 2022-11-28",
            *self._told_limits(resource),
        ]
        if tag:
            head.append(f"ETag: W/{tag}")
        payload = b""
        if body is not None:
            packed = "gzip" in request.headers.get("accept-encoding", "") and len(body.plain) > 200
            payload = body.packed if packed else body.plain
            head += ["Content-Type: application/json; charset=utf-8", f"Content-Length: {len(payload)}"]
            head += ["Content-Encoding: gzip"] if packed else []
            head += [self._link(request, body.link)] if body.link else []
        self.counters.bytes_sent += len(payload)
        return "\r\n".join([*head, "", ""]).encode() + payload

    def _link(self, request: Request, link: str) -> str:
        pages = [each.split("=") for each in link.split(",")]
        urls = [
            f'<{self.world.base}{request.path}?{urlencode({**request.query, "page": page})}>; rel="{rel}"'
            for rel, page in pages
        ]
        return f"Link: {', '.join(urls)}"

    def control(self, request: Request) -> bytes:
        """The counters, the truth, a change: neither delayed nor counted."""
        told: object = None
        if request.path == "/_rig/move":
            self.world.move()
        elif request.path == "/_rig/truth":
            told = self.world.queued()
        else:
            self.counters.cpu = time.process_time() - self._cpu
            told = asdict(self.counters)
            if request.method == "DELETE":
                self.set_back(hour=request.path != "/_rig/tick")
        text = json.dumps(told).encode()
        return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(text) + text


def _validator(request: Request, body: Body) -> str:
    """GitHub's differ from token to token (github/docs#34689), and with what is accepted."""
    bound = "\0".join(request.headers.get(name, "") for name in _PER_TOKEN).encode()
    return f'"{hashlib.sha256(bound + body.digest).hexdigest()}"'


class Connection(asyncio.Protocol):
    """One connection: a request, its answer `delay` later, and so on. Nothing is pipelined."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._arrived = b""
        self._transport: asyncio.Transport | None = None
        self.used = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._rig.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the library's method
        """It went away."""
        self._transport = None
        self._rig.open.discard(self)

    def data_received(self, data: bytes) -> None:
        """Answer when the request is whole."""
        self._arrived += data
        head, blank, rest = self._arrived.partition(b"\r\n\r\n")
        if not blank:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        if len(rest) < int(headers.get("content-length", "0")):
            return
        self._arrived = b""
        method, target, _ = first.split(" ")
        path, _, query = target.partition("?")
        self._take(Request(method, path, dict(parse_qsl(query)), headers, rest))

    def _take(self, request: Request) -> None:
        close = request.headers.get("connection", "").lower() == "close"
        if request.path.startswith("/_rig"):
            self._send(self._rig.control(request), close=close)
            return
        counters = self._rig.counters
        if not self.used:
            self.used = True
            counters.connections += 1
            counters.most_connections = max(counters.most_connections, sum(each.used for each in self._rig.open))
        self._rig.waiting += 1
        counters.most_at_once = max(counters.most_at_once, self._rig.waiting)
        asyncio.get_running_loop().call_later(self._rig.delay, self._send_counted, self._rig.answer(request), close)

    def _send_counted(self, answer: bytes, close: bool) -> None:
        self._rig.waiting -= 1
        self._send(answer, close=close)

    def _send(self, answer: bytes, *, close: bool) -> None:
        if self._transport is not None:
            self._transport.write(answer)
            if close:
                self._transport.close()


async def serve(count: int, kind: Kind, delay: float, limit: int | None) -> None:
    """Serve until the process is told to end; the address is the first line that is printed."""
    loop = asyncio.get_running_loop()
    rigs: list[Rig] = []
    server = await loop.create_server(lambda: Connection(rigs[0]), "127.0.0.1", 0, backlog=1024)
    base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    rigs.append(Rig(World(count, kind, base), delay, limit))
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    print(base, flush=True)
    await stopped.wait()
    server.close()


def main(arguments: Sequence[str]) -> int:
    """Serve a world."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.github_rig", description=__doc__)
    parser.add_argument("--repositories", type=int, default=100)
    parser.add_argument("--world", choices=("quiet", "mixed", "busy"), default="mixed")
    parser.add_argument("--delay", type=float, default=DELAY, help="seconds an answer takes")
    parser.add_argument("--limit", type=int, default=LIMIT, help="requests an hour")
    parser.add_argument("--no-limits", dest="limit", action="store_const", const=None, help="no limits, as GHES has it")
    asked = parser.parse_args(arguments)
    asyncio.run(serve(asked.repositories, asked.world, asked.delay, asked.limit))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
