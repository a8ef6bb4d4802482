"""The embedded GitHub over HTTP: REST as the world reports it, and the runners' private protocol."""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from scaler.sandbox.github import apps_api as apps
from scaler.sandbox.github import protocol, rest
from scaler.sandbox.github.accounts import account_id
from scaler.sandbox.github.call import Call
from scaler.sandbox.github.faults import Fault, FaultKind
from scaler.sandbox.github.graph_api import GRAPH, answer_query
from scaler.sandbox.github.http import Request, Response, error, etag, matches
from scaler.sandbox.github.limits import SecondaryLimits
from scaler.sandbox.github.state import Refused
from scaler.sandbox.github.views import Views
from scaler.sandbox.github.world import ApiToken, GitHubWorld
from scaler.sandbox.loopback import HttpAnswer, HttpRequest, LoopbackServer

API_VERSIONS = ("2022-11-28", "2026-03-10")


@dataclass(frozen=True, slots=True)
class Exchange:
    """
    One REST request and its answer, as they went over the wire. Header names of the request are lower-case.

    `faulted`: a fault that somebody switched on had its part in the answer, which is not GitHub's own then.
    """

    method: str
    path: str
    query: str
    request_headers: Mapping[str, str] = field(repr=False)
    request_body: bytes = field(repr=False)
    status: int
    response_headers: Mapping[str, str]
    response_body: bytes = field(repr=False)
    faulted: bool = False

    def redacted(self) -> dict[str, Any]:
        """As JSON, without secrets."""
        return {
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "request_headers": {k: "***" if k == "authorization" else v for k, v in self.request_headers.items()},
            "request_body": _without_secrets(self.request_body),
            "status": self.status,
            "response_headers": dict(self.response_headers),
            "response_body": _without_secrets(self.response_body),
        }


def _without_secrets(body: bytes) -> str:
    text = body.decode("utf-8", "replace")
    return re.sub(r'"(token|encoded_jit_config)":\s*"[^"]*"', r'"\1":"***"', text)


class GitHubServer:
    """A GitHub on 127.0.0.1: `url` is its API, and what it gives out for people and runners."""

    def __init__(self, world: GitHubWorld, *, record: Path | None = None) -> None:
        self.world = world
        self.limits = SecondaryLimits(world.clock, world.settings)
        self.observers: list[Callable[[Exchange], None]] = []
        self.record = record
        self._record_lock = threading.Lock()
        self._serial = itertools.count(1)
        self._http = LoopbackServer(self._respond, "sandbox-github")

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return self._http.url

    def start(self) -> None:
        """Serve in threads of one's own."""
        self._http.start()

    def stop(self) -> None:
        """Serve no more."""
        self._http.stop()

    def _respond(self, arrived: HttpRequest) -> HttpAnswer | None:
        target, _, query = arrived.target.partition("?")
        # GitHub Enterprise Server's: /api/v3/…, and /api/graphql beside it.
        prefix = "/api/v3" if target.startswith("/api/v3/") else "/api" if target == f"/api{GRAPH}" else ""
        base = f"http://{arrived.headers.get('host', '127.0.0.1')}{prefix}"
        sent = unquote(target.removeprefix(prefix))
        request = Request(arrived.method, self._named(sent), sent, query, arrived.headers, arrived.body, base)
        response = self.answer(request)
        return None if response is None else HttpAnswer(response.status, response.payload(), response.headers)

    def _named(self, path: str) -> str:
        """Undo the numbers that Link headers have in place of names."""
        _, kind, number, rest = [*path.split("/", 3), "", "", ""][:4]
        tail = f"/{rest}" if rest else ""
        state = self.world.state
        with self.world.clock.lock:
            if kind == "repositories":
                names = [f"/repos/{r.full_name}" for r in state.repositories.values() if str(r.id) == number]
            elif kind == "organizations":
                names = [f"/orgs/{login}" for login in state.organizations.values() if str(account_id(login)) == number]
            else:
                return path
        return names[0] + tail if names else path

    def answer(self, request: Request) -> Response | None:
        """The whole answer; None where a fault ends the connection instead."""
        if request.path.startswith("/_runner/"):
            return self._answer(request, None)
        with self.limits.one(request.method, request.path) as refusal:
            return self._answer(request, refusal)

    def _answer(self, request: Request, refusal: Refused | None) -> Response | None:
        faults = self._faults(request)
        response = self._instead(faults)
        if refusal is not None:
            refused = error(refusal.status, refusal.message)
            response = Response(refused.status, refused.body, refusal.headers)
        elif response is None and request.path.startswith("/_runner/"):
            with self.world.clock.lock:
                response = protocol.answer(self.world, request)
        elif response is None:
            response = self._rest(request, faults)
        for fault in faults:
            if fault.kind is FaultKind.SLOW:
                self.world.clock.wait_for(lambda: False, fault.amount)
        if any(fault.kind is FaultKind.LOST for fault in faults):
            return None
        response = self._finished(request, response)
        if any(fault.kind is FaultKind.TRUNCATED for fault in faults):
            response = Response(response.status, response.payload()[: len(response.payload()) // 2], response.headers)
        if not request.path.startswith("/_runner/"):
            self._observe(request, response, faulted=bool(faults))
        return response

    # --- REST ------------------------------------------------------------------------------------

    def _rest(self, request: Request, faults: list[Fault]) -> Response:
        with self.world.clock.lock:
            try:
                if apps.has_jwt(request):
                    return apps.answer(self.world, request)
                token = self._token(request)
            except Refused as refusal:
                return error(refusal.status, refusal.message)
            token.window(self.world.clock.now())
            if request.path == GRAPH:
                response = answer_query(self.world, request, token)
                return Response(
                    response.status, response.body, self._rate_headers(token, "graphql", token.points, token.queried)
                )
            try:
                if token.used >= token.limit and request.path != "/rate_limit":
                    raise Refused(403, "API rate limit exceeded")
                response = self._endpoint(request, token, faults)
            except Refused as refusal:
                refused = error(refusal.status, refusal.message)
                response = Response(refused.status, refused.body, refusal.headers)
            response = self._conditional(request, response)
            if response.status != 304 and request.path != "/rate_limit" and token.used < token.limit:
                token.used += 1  # a 304 and GET /rate_limit are free (docs: best practices, rate limits)
            told = self._rate_headers(token, "core", token.limit, token.used)
            return Response(response.status, response.body, {**response.headers, **told})

    def _endpoint(self, request: Request, token: ApiToken, faults: list[Fault]) -> Response:
        if "user-agent" not in request.headers:
            raise Refused(
                403, "Request forbidden by administrative rules. Please make sure your request has a User-Agent header"
            )
        version = request.headers.get("x-github-api-version", API_VERSIONS[0])
        if version not in API_VERSIONS:
            raise Refused(400, f'"{version}" is not a valid API version')
        if apps.is_for_apps(request.path):
            raise Refused(401, "A JSON web token could not be decoded")
        views = Views(request.base, request.base.removesuffix("/api/v3"), self.world.clock.now(), self.world.settings)
        route, path = rest.find(request.method, request.path)
        return rest.answer(Call(self.world, request, views, token, path, faults), route)

    def _token(self, request: Request) -> ApiToken:
        header = request.headers.get("authorization")
        if header is None:
            raise Refused(401, "Requires authentication")
        token = self.world.tokens.get(header.partition(" ")[2].strip())
        now = self.world.clock.now()
        if token is None or (token.expires_at is not None and token.expires_at <= now):
            raise Refused(401, "Bad credentials")
        return token

    def _rate_headers(self, token: ApiToken, resource: str, limit: int, used: int) -> dict[str, str]:
        assert token.reset_at is not None  # noqa: S101  # the window was opened on the way in
        ends = token.expires_at if token.kind == "pat" else None
        limits = {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(max(limit - used, 0)),
            "X-RateLimit-Reset": str(int(token.reset_at.timestamp())),
            "X-RateLimit-Used": str(used),
            "X-RateLimit-Resource": resource,
        }
        return {
            **(limits if self.world.settings.names_limits else {}),
            **({"X-OAuth-Scopes": ", ".join(token.scopes)} if token.scopes is not None else {}),
            # docs.github.com: personal access tokens, "Setting a personal access token to expire".
            **({"GitHub-Authentication-Token-Expiration": f"{ends:%Y-%m-%d %H:%M:%S} UTC"} if ends else {}),
        }

    @staticmethod
    def _conditional(request: Request, response: Response) -> Response:
        if request.method != "GET" or response.status != 200:
            return response
        payload = response.payload()
        tag = etag(payload)
        headers = {**response.headers, "ETag": tag, "Cache-Control": "private, max-age=60, s-maxage=60"}
        if matches(request.headers.get("if-none-match"), tag):
            return Response(304, None, headers)
        return Response(200, payload, headers)

    def _finished(self, request: Request, response: Response) -> Response:
        """Add what every answer carries; the date is the world's, not the machine's."""
        now = self.world.clock.now()
        headers = {
            "Server": "github.com",
            "Date": format_datetime(now.replace(microsecond=0), usegmt=True),
            "X-GitHub-Request-Id": f"5A4D:{next(self._serial):06X}:B0X:{int(now.timestamp()):X}",
            "X-GitHub-Media-Type": "github.v3; format=json",
            "X-GitHub-Api-Version-Selected": request.headers.get("x-github-api-version", API_VERSIONS[0]),
        }
        payload = response.payload()
        if payload:
            headers["Content-Type"] = "application/json; charset=utf-8"
        return Response(response.status, payload, {**headers, **response.headers})

    # --- faults, observers -----------------------------------------------------------------------

    def _faults(self, request: Request) -> list[Fault]:
        with self.world.clock.lock:
            met = self.world.faults.hit(request.method, request.path, request.query)
            for fault in met:
                self.world.state.journal.write(
                    "github.fault", kind=str(fault.kind), method=request.method, path=request.path
                )
            return met

    def _instead(self, faults: list[Fault]) -> Response | None:
        fault = next((fault for fault in faults if fault.kind.instead), None)
        if fault is None:
            return None
        amount = int(fault.amount)
        retry = {"Retry-After": str(amount)}
        match fault.kind:
            case FaultKind.STATUS:
                words = {401: "Bad credentials", 403: "Resource not accessible by integration", 404: "Not Found"}
                return error(amount, words.get(amount, "Server Error"))
            case FaultKind.HTML:
                page = b"<html><body><h1>502 Bad Gateway</h1>The server returned an invalid response.</body></html>"
                return Response(amount, page, {"Content-Type": "text/html"})
            case FaultKind.PRIMARY:
                reset = int(self.world.clock.now().timestamp() + amount)
                return Response(403, error(403, "API rate limit exceeded for user ID 1.").body, {
                    "X-RateLimit-Limit": "5000",
                    "X-RateLimit-Remaining": "0",
                    "X-RateLimit-Used": "5000",
                    "X-RateLimit-Reset": str(reset),
                    "X-RateLimit-Resource": "core",
                })  # fmt: skip
            case FaultKind.SECONDARY:
                return Response(403, error(403, "You have exceeded a secondary rate limit.").body, retry)
            case _:
                return Response(429, error(429, "Too many requests").body, retry)

    def _observe(self, request: Request, response: Response, *, faulted: bool) -> None:
        exchange = Exchange(
            request.method,
            request.sent,
            request.query,
            request.headers,
            request.body,
            response.status,
            response.headers,
            response.payload(),
            faulted,
        )
        for observer in self.observers:
            observer(exchange)
        if self.record is not None:
            with self._record_lock, self.record.open("a") as file:
                file.write(json.dumps(exchange.redacted()) + "\n")
