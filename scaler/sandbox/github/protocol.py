"""
The private protocol between the runner's stand-in and the embedded GitHub, below `/_runner/`.

It stands for the real broker's protocol, which is not public: JSON over HTTP, one credential per runner.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from scaler.sandbox.github.dispatch import Dispatcher
from scaler.sandbox.github.http import Request, Response
from scaler.sandbox.github.state import Conclusion, Refused, Runner
from scaler.sandbox.github.world import GitHubWorld

POLL_SECONDS = 50.0
"""Virtual seconds that a long poll is held, as the real broker holds it."""

_JOB = re.compile(r"/_runner/jobs/(\d+)/(acquire|work|complete)")
_REPORTED: dict[str, Conclusion] = {"success": "success", "failure": "failure", "cancelled": "cancelled"}


def answer(world: GitHubWorld, request: Request) -> Response:
    """Answer a runner. Call with the world's lock held; long polls let go of it."""
    try:
        return _answer(world, request)
    except Refused as refusal:
        return Response(refusal.status, {"message": refusal.message, **_code(refusal)})


def _code(refusal: Refused) -> dict[str, str]:
    if refusal.status == 403:
        return {"code": "deprecated"}
    return {"code": "expired"} if "expired" in refusal.message else {}


def _answer(world: GitHubWorld, request: Request) -> Response:
    dispatcher = world.dispatcher
    if (request.method, request.path) == ("POST", "/_runner/register"):
        return _register(world, request.json())
    scheme, _, credential = request.headers.get("authorization", "").partition(" ")
    runner = dispatcher.authenticate(credential if scheme.lower() == "bearer" else "")
    match (request.method, request.path):
        case ("POST", "/_runner/session"):
            return Response(201, {"session": dispatcher.open_session(runner, _text(request.json(), "version"))})
        case ("DELETE", "/_runner/session"):
            dispatcher.close_session(runner)
            return Response(200, {})
        case ("GET", "/_runner/message"):
            message = dispatcher.poll(runner, request.parameters.get("session", ""), POLL_SECONDS)
            if message is None:
                return Response(204)
            return Response(200, {"job_id": message.job.id, "message_id": message.id})
    found = _JOB.fullmatch(request.path)
    if found is None:
        raise Refused(404, f"No such endpoint: {request.path}")
    number, verb = int(found[1]), found[2]
    steps: dict[tuple[str, str], Callable[[Dispatcher, Runner, int, Request], Response]] = {
        ("POST", "acquire"): _acquire,
        ("GET", "work"): _work,
        ("POST", "complete"): _complete,
    }
    if (request.method, verb) not in steps:
        raise Refused(404, f"No such endpoint: {request.method} {request.path}")
    return steps[request.method, verb](dispatcher, runner, number, request)


def _register(world: GitHubWorld, body: dict[str, Any]) -> Response:
    runner = world.runners.register(
        world.scope_of(_text(body, "url")),
        _text(body, "token"),
        _text(body, "name"),
        [str(label) for label in body.get("labels") or []],
        group=body.get("group"),
        ephemeral=bool(body.get("ephemeral")),
        replace=bool(body.get("replace")),
        version=_text(body, "version"),
    )
    return Response(200, {"runner_id": runner.id, "credential": runner.credential})


def _acquire(dispatcher: Dispatcher, runner: Runner, number: int, _: Request) -> Response:
    job = dispatcher.acquire(runner, number)
    return Response(200, {"name": job.name, "repository": job.run.repository.full_name, "run_id": job.run.id})


def _work(dispatcher: Dispatcher, runner: Runner, number: int, _: Request) -> Response:
    state, _job = dispatcher.work(runner, number, POLL_SECONDS)
    return Response(200, {"state": state})


def _complete(dispatcher: Dispatcher, runner: Runner, number: int, request: Request) -> Response:
    said = _text(request.json(), "conclusion")
    if said not in _REPORTED:
        raise Refused(422, f"conclusion: expected one of {', '.join(_REPORTED)}, got {said!r}")
    dispatcher.complete(runner, number, _REPORTED[said])
    return Response(200, {})


def _text(body: dict[str, Any], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not value:
        raise Refused(422, f"{key}: expected some text")
    return value
