"""
The job's identity: an issuer of id-tokens, and the endpoint at which a runner offers them to a step.

Source: docs.github.com "OpenID Connect reference". A step asks `GET $ACTIONS_ID_TOKEN_REQUEST_URL&audience=…`
with `Authorization: bearer $ACTIONS_ID_TOKEN_REQUEST_TOKEN` and gets `{"count": …, "value": "<jwt>"}`.
All times in tokens are real time, since whoever checks them uses the machine's clock.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from scaler.sandbox.loopback import HttpAnswer, HttpRequest, LoopbackServer

GITHUB_ISSUER = "https://token.actions.githubusercontent.com"


def real_now() -> datetime:
    """The machine's clock."""
    return datetime.now(UTC)


@dataclass(slots=True)
class Job:
    """
    Who asks for tokens: what GitHub writes into the claims.

    `immutable_subject` is the form for repositories made or renamed after July 2026,
    `repo:acme@1001/runner-scaler@2002:…`; `subject` overrides the claim whole.
    """

    repository: str = "acme/runner-scaler"
    repository_id: str = "2002"
    owner_id: str = "1001"
    ref: str = "refs/heads/main"
    environment: str = ""
    immutable_subject: bool = False
    subject: str = ""
    workflow: str = ".github/workflows/autoscale.yml"
    event: str = "schedule"
    extra: Mapping[str, Any] = field(default_factory=dict)

    def sub(self) -> str:
        """The subject claim."""
        if self.subject:
            return self.subject
        owner, _, name = self.repository.partition("/")
        who = f"{owner}@{self.owner_id}/{name}@{self.repository_id}" if self.immutable_subject else self.repository
        return f"repo:{who}:environment:{self.environment}" if self.environment else f"repo:{who}:ref:{self.ref}"

    def claims(self) -> dict[str, Any]:
        """All claims but issuer, audience and times."""
        owner = self.repository.partition("/")[0]
        workflow_ref = f"{self.repository}/{self.workflow}@{self.ref}"
        return {
            "sub": self.sub(),
            "repository": self.repository,
            "repository_id": self.repository_id,
            "repository_owner": owner,
            "repository_owner_id": self.owner_id,
            "repository_visibility": "private",
            "ref": self.ref,
            "ref_type": "branch",
            "event_name": self.event,
            "actor": "octocat",
            "run_id": "1",
            "run_number": "1",
            "run_attempt": "1",
            "runner_environment": "github-hosted",
            "workflow_ref": workflow_ref,
            "job_workflow_ref": workflow_ref,
            **({"environment": self.environment} if self.environment else {}),
            **self.extra,
        }


class Issuer:
    """Holds the signing key and mints id-tokens."""

    def __init__(self, url: str = GITHUB_ISSUER, now: Callable[[], datetime] = real_now) -> None:
        self.url = url
        self.lifetime = 300
        self._now = now

    @cached_property
    def key(self) -> rsa.RSAPrivateKey:
        """The private key, made when it is first needed."""
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @cached_property
    def key_id(self) -> str:
        """Names the key in tokens and in the key set."""
        return secrets.token_hex(20).upper()

    def mint(self, job: Job, audience: str, **overrides: Any) -> str:
        """A signed token; `overrides` replace claims. It holds for `lifetime` seconds."""
        now = int(self._now().timestamp())
        times = {"iat": now, "nbf": now - 600, "exp": now + self.lifetime}
        claims = {"jti": secrets.token_hex(16), "iss": self.url, "aud": audience, **times, **job.claims(), **overrides}
        return jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": self.key_id, "x5t": self.key_id})

    def key_set(self) -> dict[str, Any]:
        """The public key as a JWK set."""
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        return {"keys": [{**public, "kid": self.key_id, "use": "sig", "alg": "RS256"}]}


class OidcServer:
    """
    The runner's id-token endpoint.

    `env()` is what a step with `permissions: id-token: write` finds in its environment. `fail_next` makes the
    endpoint answer with a status some times; `requests` holds the audiences that were asked for.
    """

    def __init__(self, issuer: Issuer, job: Job | None = None) -> None:
        self.issuer = issuer
        self.job = job or Job()
        self.requests: list[str] = []
        self._bearer = secrets.token_urlsafe(48)
        self._failures: list[int] = []
        self._server = LoopbackServer(self._respond, "sandbox-oidc")

    @property
    def url(self) -> str:
        """The server's root; the key set is at `/.well-known/jwks`."""
        return self._server.url

    def start(self) -> None:
        """Serve."""
        self._server.start()

    def stop(self) -> None:
        """Stop serving."""
        self._server.stop()

    def env(self) -> dict[str, str]:
        """The two variables that GitHub's runner sets for a job that may ask for tokens."""
        return {
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{self.url}/idtoken/1/1?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": self._bearer,
        }

    def fail_next(self, status: int, times: int = 1) -> None:
        """Answer the next requests with this status."""
        self._failures += [status] * times

    def _respond(self, request: HttpRequest) -> HttpAnswer:
        url = urlsplit(request.target)
        match url.path:
            case "/.well-known/openid-configuration":
                return _json(200, {"issuer": self.issuer.url, "jwks_uri": f"{self.url}/.well-known/jwks"})
            case "/.well-known/jwks":
                return _json(200, self.issuer.key_set())
            case path if path.startswith("/idtoken/"):
                return self._token(request, parse_qs(url.query))
        return _json(404, {"message": "Not Found"})

    def _token(self, request: HttpRequest, query: Mapping[str, list[str]]) -> HttpAnswer:
        kind, _, bearer = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not secrets.compare_digest(bearer.encode(), self._bearer.encode()):
            return _json(401, {"message": "Unauthorized"})
        if self._failures:
            return _json(self._failures.pop(0), {"message": "try again"})
        audience = query.get("audience", [f"https://github.com/{self.job.repository.partition('/')[0]}"])[0]
        self.requests.append(audience)
        token = self.issuer.mint(self.job, audience)
        return _json(200, {"count": len(token), "value": token})


def _json(status: int, body: Mapping[str, Any]) -> HttpAnswer:
    return HttpAnswer(status, json.dumps(body).encode(), {"Content-Type": "application/json; charset=utf-8"})
