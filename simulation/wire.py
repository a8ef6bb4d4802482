"""
The real adapters without HTTP: what they would send reaches the embedded GitHub and AWS directly.

Only the wire is left out: `GitHubApi` and `AwsApi` are the shipped ones, below them PyGithub's requester and
boto3's clients are replaced. Each call passes a `Tap`, where time passes, crashes strike and other ticks cut in.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import requests
from botocore.exceptions import ClientError, EndpointConnectionError

from scaler.github.api import GitHubApi
from scaler.sandbox.aws.error import AwsError
from scaler.sandbox.aws.world import AwsWorld
from scaler.sandbox.clock import Clock
from scaler.sandbox.github.graph_api import GRAPH
from scaler.sandbox.github.http import Request, etag, matches
from scaler.sandbox.github.server import GitHubServer
from simulation.shown import Shown

API = "http://github.simulation"
TOKEN = "ghp_" + "simulation0" * 3 + "abc"
READS = ("Get", "Describe", "List")
ATTEMPTS = 3
"""boto3's standard retry mode asks this often, as `AwsApi` configures it."""


class Crashed(BaseException):
    """The process is gone: nothing of it runs any more, no `except` of ours helps."""


@dataclass(slots=True)
class Tap:
    """
    What happens between a tick and the world, call by call.

    `latency` are the virtual seconds that each call takes. Effects (calls that change something) are counted from 1:
    at `crash_at` the process dies, before the effect or (`crash_late`) after it; `cut_in` runs something else just
    before one of them: another tick, say. `rewrite` is given each answer, by the call's name, and gives the one that
    arrives: the parsed body of GitHub's 200s and 201s, boto3's of AWS.
    """

    clock: Clock
    latency: float = 0.2
    crash_at: int = 0
    crash_late: bool = False
    cut_in: dict[int, Callable[[], None]] = field(default_factory=dict)
    effects: list[str] = field(default_factory=list)
    calls: int = 0
    rewrite: Callable[[str, Any], Any] = lambda _, answer: answer

    @contextmanager
    def passing(self, name: str, *, effect: bool) -> Iterator[None]:
        """One call on its way, there and back."""
        self.calls += 1
        self.clock.advance(self.latency / 2)
        if effect:
            self.effects.append(name)
            number = len(self.effects)
            if number in self.cut_in:
                self.cut_in.pop(number)()
            if number == self.crash_at and not self.crash_late:
                raise Crashed
        yield
        if effect and len(self.effects) == self.crash_at:
            raise Crashed
        self.clock.advance(self.latency / 2)


# --- time ----------------------------------------------------------------------------------------


class LoneClock(Clock):
    """A clock with nobody else to push it: whoever waits pushes it himself."""

    def __init__(self, start: datetime) -> None:
        """It stands still at `start`."""
        super().__init__(start, speed=0)

    def wait_for(self, met: Callable[[], bool], seconds: float) -> bool:
        """Let that much time pass."""
        self.advance(seconds)
        return met()


class VirtualClock:
    """The scaler's own clock, in the world's time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._start = clock.now()

    def monotonic(self) -> float:
        """Virtual seconds since the start."""
        return (self._clock.now() - self._start).total_seconds()

    def sleep(self, seconds: float) -> None:
        """Let the world go on for so long."""
        self._clock.advance(max(seconds, 0.0))

    def stopping(self) -> bool:
        """Nobody asks."""
        return False


# --- GitHub --------------------------------------------------------------------------------------


class _Requester:
    """What `GitHubApi` uses of PyGithub's requester."""

    def __init__(self, server: GitHubServer, tap: Tap, shown: Shown) -> None:
        self._server = server
        self._tap = tap
        self._shown = shown

    def requestJson(  # noqa: N802 - PyGithub's name
        self,
        verb: str,
        url: str,
        parameters: dict[str, Any] | None,
        headers: dict[str, Any],
        input: Any,  # noqa: A002 - PyGithub's name
        cnx: None,  # noqa: ARG002 - PyGithub's name
    ) -> tuple[int, dict[str, Any], str]:
        path = url.removeprefix(API)
        body = json.dumps(input).encode() if input is not None else b""
        given = {"authorization": f"token {TOKEN}", "accept": "application/vnd.github+json", "user-agent": "PyGithub"}
        request = Request(verb, path, path, urlencode(parameters or {}), given, body, API)
        effect = verb != "GET" and path != GRAPH
        with self._tap.passing(f"{verb} {path}", effect=effect):
            if effect:
                self._shown.acts()
            if verb == "DELETE":
                self._shown.touches("runner", path.rpartition("/")[2])
            answer = self._server.answer(request)
        if answer is None:
            self._note(verb, path, parameters, 0, "")
            raise requests.ConnectionError
        text = answer.payload().decode()
        told = {name.lower(): value for name, value in answer.headers.items()}
        if answer.status in (200, 201):
            with suppress(ValueError):  # half an answer stays half an answer
                text = json.dumps(self._tap.rewrite(f"{verb} {path}?{request.query}", json.loads(text)))
        self._note(verb, path, parameters, answer.status, text)
        if "etag" in told:  # of what arrives, whoever made it up
            told["etag"] = etag(text.encode())
            if matches(headers.get("If-None-Match"), told["etag"]):
                return 304, told, ""
        return answer.status, told, text

    def _note(self, verb: str, path: str, parameters: dict[str, Any] | None, status: int, text: str) -> None:
        if verb == "GET":
            self._shown.read(path, parameters or {}, status, text)
        elif path.endswith("/generate-jitconfig") and status == 201:
            with suppress(ValueError, KeyError):
                self._shown.minted.add(json.loads(text)["runner"]["id"])


class DirectGitHub(GitHubApi):
    """`GitHubApi` whose requests go straight to the embedded GitHub."""

    def __init__(self, server: GitHubServer, tap: Tap, clock: VirtualClock, shown: Shown | None = None) -> None:
        """Over one connection, of which a `Tap` is the wire."""
        super().__init__(TOKEN, API, clock)
        self._direct = _Requester(server, tap, shown or Shown())

    @property
    def _requester(self) -> Any:
        return self._direct

    def _connect(self) -> Any:
        return None


# --- AWS -----------------------------------------------------------------------------------------


class DirectSession:
    """What `AwsApi` uses of a boto3 session."""

    def __init__(self, world: AwsWorld, tap: Tap, shown: Shown | None = None) -> None:
        self._world = world
        self._tap = tap
        self._shown = shown or Shown()

    def client(self, service: str, **_: Any) -> DirectClient:
        """A client of a service."""
        return DirectClient(service, self._world, self._tap, self._shown)


class DirectClient:
    """What `AwsApi` uses of a boto3 client: operations, paginators, retries, the event with the answer's date."""

    def __init__(self, service: str, world: AwsWorld, tap: Tap, shown: Shown) -> None:
        self._service = service
        self._world = world
        self._tap = tap
        self._shown = shown
        self._told: list[Callable[..., None]] = []
        self.meta = SimpleNamespace(events=SimpleNamespace(register=lambda _, told: self._told.append(told)))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """An operation by boto3's name for it: `create_fleet`."""
        action = "".join(part.capitalize() for part in name.split("_"))
        return lambda **params: self._call(action, params)

    def get_paginator(self, name: str) -> Any:
        """All pages of a list."""

        def paginate(PaginationConfig: Any = None, **params: Any) -> Iterator[Any]:  # noqa: N803 - boto3's name
            size = {"MaxResults": PaginationConfig["PageSize"]} if PaginationConfig else {}
            token: dict[str, str] = {}
            while True:
                page = getattr(self, name)(**params, **size, **token)
                yield page
                if not page.get("NextToken"):
                    return
                token = {"NextToken": page["NextToken"]}

        return SimpleNamespace(paginate=paginate)

    def _call(self, action: str, params: dict[str, Any]) -> Any:
        effect = not action.startswith(READS)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self._tap.passing(f"{self._service}:{action}", effect=effect):
                    if effect:
                        self._act(action, params)
                    answer = self._once(action, params)
                self._shown.called(f"{self._service}:{action}", answered=True)
                return answer
            except (AwsError, EndpointConnectionError) as error:
                transient = not isinstance(error, AwsError) or "Limit" in error.code or error.status >= 500
                if transient and attempt < ATTEMPTS:
                    self._world.clock.advance(attempt)
                    continue
                self._shown.called(f"{self._service}:{action}", answered=False)
                if isinstance(error, AwsError):
                    raise _client_error(action, error) from error
                raise
        raise AssertionError("unreachable")

    def _act(self, action: str, params: dict[str, Any]) -> None:
        self._shown.acts()
        for number in params["InstanceIds"] if action == "TerminateInstances" else ():
            self._shown.touches("instance", number)
        for name in params["Names"] if action == "DeleteParameters" else ():
            self._shown.touches("parameter", name)

    def _once(self, action: str, params: dict[str, Any]) -> Any:
        world = self._world
        with world.clock.lock:
            kinds = {fault.kind: fault for fault in world.faults if fault.meets(f"{self._service}:{action}")}
            if "delay" in kinds:
                world.clock.advance(kinds["delay"].delay)
            if "drop-before" in kinds:
                raise EndpointConnectionError(endpoint_url=self._service)
            if "http500" in kinds:
                raise AwsError("500", "Internal Server Error", 500)
            if "error" in kinds:
                raise kinds["error"].error()
            answer = world.perform(self._service, action, params, world.ambient.principal)
            if "drop-after" in kinds:
                raise EndpointConnectionError(endpoint_url=self._service)
            date = format_datetime(world.clock.now().replace(microsecond=0), usegmt=True)
        model = SimpleNamespace(name=action, service_model=SimpleNamespace(service_name=self._service))
        for told in self._told:
            told(http_response=SimpleNamespace(status_code=200, headers={"date": date}), model=model)
        return self._tap.rewrite(f"{self._service}:{action}", _as_received(self._service, answer))


def _client_error(action: str, error: AwsError) -> ClientError:
    response: Any = {
        "Error": {"Code": error.code, "Message": error.message},
        "ResponseMetadata": {"HTTPStatusCode": error.status},
    }
    return ClientError(response, action)


def _as_received(service: str, value: Any) -> Any:
    """An absent member is absent on the wire; times have milliseconds there, cut (XML) or rounded (JSON)."""
    if isinstance(value, dict):
        return {key: _as_received(service, item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_as_received(service, item) for item in value]
    if isinstance(value, datetime) and service == "ssm":
        return datetime.fromtimestamp(round(value.timestamp(), 3), UTC)
    if isinstance(value, datetime):
        return value.replace(microsecond=value.microsecond // 1000 * 1000)
    return value
