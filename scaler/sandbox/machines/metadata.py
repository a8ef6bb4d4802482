"""An instance's metadata service (IMDS), as far as a boot script asks it; docs.aws.amazon.com, "Instance metadata"."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Protocol
from urllib.parse import unquote

from scaler.sandbox.aws.ec2_world import Instance
from scaler.sandbox.loopback import HttpAnswer, HttpRequest, LoopbackServer

TOKEN_HEADER = "x-aws-ec2-metadata-token"
TTL_HEADER = "x-aws-ec2-metadata-token-ttl-seconds"
LONGEST_TTL = 21_600

NOT_FOUND = HttpAnswer(404)
UNAUTHORIZED = HttpAnswer(401)


class Account(Protocol):
    """What the metadata service asks of AWS."""

    def instance(self, instance_id: str) -> Instance | None:
        """An instance as it is now."""

    def instance_role(self, instance_id: str) -> str | None:
        """The name of an instance's role, if it has one."""

    def instance_credentials(self, instance_id: str) -> Mapping[str, str] | None:
        """The role's credentials, as the metadata service shows them."""


class MetadataService:
    """
    Serves one instance's metadata on a port of its own, to those who have a session token (IMDSv2) if the
    instance requires one.

    `before` is called before each answer: it may wait, and by answering True it makes the service refuse (503).
    """

    def __init__(self, instance_id: str, account: Account, before: Callable[[], bool] | None = None) -> None:
        self._id = instance_id
        self._account = account
        self._before = before
        self._tokens: dict[str, float] = {}
        self._server = LoopbackServer(self._respond, f"imds-{instance_id}")

    @property
    def url(self) -> str:
        """What stands for `http://169.254.169.254`."""
        return self._server.url

    def start(self) -> None:
        """Serve in a thread of its own."""
        self._server.start()

    def stop(self) -> None:
        """Stop serving."""
        self._server.stop()

    def _respond(self, request: HttpRequest) -> HttpAnswer:
        instance = self._account.instance(self._id)
        if instance is None or (self._before is not None and self._before()):
            return HttpAnswer(503)
        options = instance.metadata_options
        if options["HttpEndpoint"] != "enabled" or "x-forwarded-for" in request.headers:
            return HttpAnswer(403)
        if request.target == "/latest/api/token":
            return self._token(request)
        if request.method != "GET":
            return HttpAnswer(405)
        if (options["HttpTokens"] == "required" or TOKEN_HEADER in request.headers) and not self._known(request):
            return UNAUTHORIZED
        text = self._read(instance, unquote(request.target))
        return NOT_FOUND if text is None else HttpAnswer(200, text.encode(), {"Content-Type": "text/plain"})

    def _known(self, request: HttpRequest) -> bool:
        """Whether it brings a valid token. Tokens are cryptography: their time is the real one."""
        return self._tokens.get(request.headers.get(TOKEN_HEADER, ""), 0.0) >= time.monotonic()

    def _token(self, request: HttpRequest) -> HttpAnswer:
        if request.method != "PUT":
            return HttpAnswer(405)
        ttl = request.headers.get(TTL_HEADER, "")
        if not ttl.isdigit() or not 1 <= int(ttl) <= LONGEST_TTL:
            return HttpAnswer(400)
        token = secrets.token_urlsafe(40)
        self._tokens[token] = time.monotonic() + int(ttl)
        return HttpAnswer(200, token.encode(), {TTL_HEADER: ttl})

    def _read(self, instance: Instance, target: str) -> str | None:
        if target == "/latest/dynamic/instance-identity/document":
            return json.dumps(_identity(instance), indent=2)
        path = target.removeprefix("/latest/meta-data/")
        if path.startswith("tags/instance"):
            return _tag(instance, path.removeprefix("tags/instance").removeprefix("/"))
        if path.startswith("iam/security-credentials"):
            return self._role(path.removeprefix("iam/security-credentials").removeprefix("/"))
        return {
            "ami-id": instance.image_id,
            "instance-id": instance.id,
            "instance-life-cycle": instance.market,
            "instance-type": instance.type,
            "local-ipv4": instance.private_ip,
            "placement/availability-zone": instance.subnet.zone,
            "placement/region": _region(instance),
            "services/domain": "amazonaws.com",
        }.get(path)

    def _role(self, name: str) -> str | None:
        role = self._account.instance_role(self._id)
        if role is None or name not in {"", role}:
            return None
        return json.dumps(dict(self._account.instance_credentials(self._id) or {}), indent=2) if name else role


def _tag(instance: Instance, key: str) -> str | None:
    if instance.metadata_options["InstanceMetadataTags"] != "enabled":
        return None
    return instance.tags.get(key) if key else "\n".join(instance.tags)


def _region(instance: Instance) -> str:
    return instance.subnet.zone.rstrip("abcdefghijklmnopqrstuvwxyz")


def _identity(instance: Instance) -> dict[str, str]:
    return {
        "accountId": "111122223333",
        "architecture": instance.architecture,
        "availabilityZone": instance.subnet.zone,
        "imageId": instance.image_id,
        "instanceId": instance.id,
        "instanceType": instance.type,
        "privateIp": instance.private_ip,
        "region": _region(instance),
        "version": "2017-09-30",
    }
