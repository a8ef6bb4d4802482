"""
The embedded AWS on HTTP: EC2 and STS (query, XML) and SSM (JSON 1.1) on one port, for unmodified clients.

A call is told apart by its X-Amz-Target, else by the service in its credential scope; the one unsigned call,
AssumeRoleWithWebIdentity, by its Action. Dates of the world (`Date`, LaunchTime) are virtual time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from botocore.model import ListShape, Shape, StructureShape

from scaler.sandbox.aws import wire
from scaler.sandbox.aws.error import AwsError
from scaler.sandbox.aws.faults import Fault
from scaler.sandbox.aws.iam_checks import Check
from scaler.sandbox.aws.iam_world import Principal
from scaler.sandbox.aws.ids import Ids
from scaler.sandbox.aws.world import AwsWorld, resource_ids
from scaler.sandbox.loopback import HttpAnswer, HttpRequest, LoopbackServer

ANONYMOUS = Principal("anonymous", "", "")
# Sensitive by AWS's model or in fact: none of these is ever kept.
_MASKED = {"WebIdentityToken", "UserData", "Value"}


@dataclass(frozen=True, slots=True)
class Call:
    """
    A call that arrived, as an audit log would have it: secrets masked. `error` is the code it was answered.

    `checks` is what IAM is asked about it.
    """

    at: datetime
    service: str
    action: str
    principal: str
    resources: tuple[str, ...]
    params: Mapping[str, Any] = field(repr=False)
    error: str = ""
    checks: tuple[Check, ...] = field(default=(), repr=False)

    @property
    def name(self) -> str:
        """`ec2:CreateFleet`."""
        return f"{self.service}:{self.action}"


class AwsServer:
    """Serves an `AwsWorld`. `calls` holds every call since the start; `observers` hear each as it is answered."""

    def __init__(self, world: AwsWorld) -> None:
        self.world = world
        self.calls: list[Call] = []
        self.observers: list[Callable[[Call], None]] = []
        self._ids = Ids(world.settings.seed + 1)
        self._server = LoopbackServer(self._respond, "sandbox-aws")

    @property
    def url(self) -> str:
        """For AWS_ENDPOINT_URL."""
        return self._server.url

    @property
    def mistakes(self) -> list[str]:
        """Tracebacks of the sandbox's own mistakes."""
        return self._server.mistakes

    def start(self) -> None:
        """Serve; the services' models are read first, so that no call waits for them."""
        for service in wire.SERVICES:
            wire.model(service)
        self._server.start()

    def stop(self) -> None:
        """Stop serving."""
        self._server.stop()

    def named(self, *names: str) -> list[Call]:
        """The calls of these names (`ssm:PutParameter`) so far."""
        with self.world.clock.lock:
            return [each for each in self.calls if each.name in names]

    # --- one request ---------------------------------------------------------------------------

    def _respond(self, request: HttpRequest) -> HttpAnswer | None:
        service, action = _route(request)
        if service not in wire.SERVICES:
            return HttpAnswer(404, b"the sandbox has no such service\n", {"Content-Type": "text/plain"})
        kinds = self._faults(f"{service}:{action}")
        for kind in ("drop-before", "http500"):
            if kind in kinds:
                with self.world.clock.lock:
                    self._note(service, action, ANONYMOUS, {}, kind)
                page = HttpAnswer(500, b"<html><body>500</body></html>", {"Content-Type": "text/html"})
                return page if kind == "http500" else None
        asked = None if "error" not in kinds else kinds["error"].error()
        answer = self._perform(request, service, action, asked)
        return None if "drop-after" in kinds else answer

    def _faults(self, action: str) -> dict[str, Fault]:
        """The faults that this call meets, by kind; a delay is over when they are returned."""
        clock = self.world.clock
        with clock.lock:
            kinds = {each.kind: each for each in self.world.faults if each.meets(action)}
            if kinds:
                clock.changed()
            if "delay" in kinds:
                clock.wait_for(lambda: False, kinds["delay"].delay)
        return kinds

    def _perform(self, request: HttpRequest, service: str, action: str, asked: AwsError | None) -> HttpAnswer:
        params: dict[str, Any] = {}
        checks: tuple[Check, ...] = ()
        caller, failure, result = ANONYMOUS, asked, {}
        with self.world.clock.lock:
            try:
                if action != "AssumeRoleWithWebIdentity":
                    caller = self.world.iam.authenticate(request, service)
                if not self.world.serves(service, action):
                    raise _unknown(service, action)
                params = _params(request, service, action)
                checks = self.world.checks.of(service, action, params, caller)
                if failure is None:
                    result = self.world.perform(service, action, params, caller)
            except AwsError as error:
                failure = error
            call = self._note(service, action, caller, params, failure.code if failure else "", checks)
            request_id = self._ids.uuid()
            now = self.world.clock.now()
        for observer in tuple(self.observers):
            observer(call)
        return _answer(service, action, result, failure, request_id, now)

    def _note(
        self,
        service: str,
        action: str,
        caller: Principal,
        params: Mapping[str, Any],
        error: str,
        checks: tuple[Check, ...] = (),
    ) -> Call:
        operation = wire.operation_model(service, action)
        shape = operation.input_shape if operation else None
        masked = {} if shape is None else _masked(shape, params)
        call = Call(self.world.clock.now(), service, action, caller.arn, resource_ids(params), masked, error, checks)
        self.calls.append(call)
        return call


def _answer(
    service: str, action: str, result: dict[str, Any], failure: AwsError | None, request_id: str, now: datetime
) -> HttpAnswer:
    if failure is not None:
        body, kind = wire.write_error(service, failure, request_id)
    elif service == "ssm":
        body, kind = wire.write_json(service, action, result), "application/x-amz-json-1.1"
    else:
        body, kind = wire.write_query(service, action, result, request_id), "text/xml;charset=UTF-8"
    headers = {
        "Content-Type": kind,
        "x-amzn-RequestId": request_id,
        "Date": format_datetime(now.replace(microsecond=0), usegmt=True),
    }
    return HttpAnswer(failure.status if failure else 200, body, headers)


def _route(request: HttpRequest) -> tuple[str, str]:
    """The service and the action of a request, as far as it says."""
    target = request.headers.get("x-amz-target", "")
    if target:
        prefix, _, action = target.partition(".")
        return {"AmazonSSM": "ssm"}.get(prefix, prefix), action
    action = _form(request).get("Action", [""])[0]
    scope = request.headers.get("authorization", "").partition("Credential=")[2].partition(",")[0].split("/")
    if len(scope) == 5:
        return scope[3], action
    return ("sts" if action in {"AssumeRoleWithWebIdentity", "GetCallerIdentity"} else "ec2"), action


def _form(request: HttpRequest) -> dict[str, list[str]]:
    text = request.body.decode("utf-8", "replace") or urlsplit(request.target).query
    return parse_qs(text, keep_blank_values=True)


def _params(request: HttpRequest, service: str, action: str) -> dict[str, Any]:
    if service == "ssm":
        return wire.read_json(service, action, request.body)
    text = request.body.decode("utf-8", "replace") or urlsplit(request.target).query
    return wire.read_form(service, action, text)


def _unknown(service: str, action: str) -> AwsError:
    text = f"The sandbox has no {service}:{action}."
    return AwsError("UnknownOperationException", text) if service == "ssm" else AwsError("InvalidAction", text)


def _masked(shape: Shape, value: Any) -> Any:
    if isinstance(shape, StructureShape):
        return {
            name: "***" if name in _MASKED and not _plain_tag(shape) else _masked(shape.members[name], item)
            for name, item in value.items()
            if name in shape.members
        }
    if isinstance(shape, ListShape):
        return [_masked(shape.member, item) for item in value]
    return "***" if shape.metadata.get("sensitive") else value


def _plain_tag(shape: StructureShape) -> bool:
    return set(shape.members) == {"Key", "Value"}
