"""
AWS Signature Version 4, the checking side: recompute what the caller signed.

Source: docs.aws.amazon.com, "Create a signed AWS API request". Nothing here knows keys or services; whoever
holds the secret asks for the signature that the request should bear, and compares.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from scaler.sandbox.loopback import HttpRequest

ALGORITHM = "AWS4-HMAC-SHA256"
DATE = "%Y%m%dT%H%M%SZ"


class Malformed(ValueError):
    """The Authorization header or the date cannot be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Signed:
    """What a request says of its signature: who, when, for which region and service, over which headers."""

    access_key: str
    day: str
    region: str
    service: str
    headers: tuple[str, ...]
    signature: str
    date: datetime

    @property
    def scope(self) -> str:
        """The credential scope, without the access key."""
        return f"{self.day}/{self.region}/{self.service}/aws4_request"


def read(request: HttpRequest) -> Signed | None:
    """Take the Authorization header apart; None if there is none. Raises `Malformed`."""
    header = request.headers.get("authorization")
    if header is None:
        return None
    algorithm, _, rest = header.partition(" ")
    if algorithm != ALGORITHM:
        raise Malformed(f"Unsupported AWS 'algorithm': '{algorithm}'")
    fields = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    for name in ("Credential", "Signature", "SignedHeaders"):
        if not fields.get(name):
            raise Malformed(f"Authorization header requires '{name}' parameter.")
    scope = fields["Credential"].split("/")
    if len(scope) != 5 or scope[4] != "aws4_request":
        raise Malformed("Credential must have exactly 5 slash-delimited elements.")
    return Signed(
        access_key=scope[0],
        day=scope[1],
        region=scope[2],
        service=scope[3],
        headers=tuple(fields["SignedHeaders"].split(";")),
        signature=fields["Signature"],
        date=_date(request.headers.get("x-amz-date", ""), scope[1]),
    )


def _date(text: str, day: str) -> datetime:
    try:
        date = datetime.strptime(text, DATE).replace(tzinfo=UTC)
    except ValueError:
        raise Malformed("Date must be in ISO-8601 'basic format' in the X-Amz-Date header.") from None
    if text[:8] != day:
        raise Malformed(f"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date: {text}")
    return date


def signature(request: HttpRequest, signed: Signed, secret: str) -> str:
    """The signature that the holder of `secret` would have put on this request."""
    to_sign = "\n".join(
        (
            ALGORITHM,
            signed.date.strftime(DATE),
            signed.scope,
            hashlib.sha256(_canonical(request, signed.headers).encode()).hexdigest(),
        )
    )
    key = f"AWS4{secret}".encode()
    for part in signed.scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, to_sign.encode(), "sha256").hex()


def matches(request: HttpRequest, signed: Signed, secret: str) -> bool:
    """Whether the request bears the right signature."""
    return hmac.compare_digest(signature(request, signed, secret), signed.signature)


def _canonical(request: HttpRequest, names: tuple[str, ...]) -> str:
    url = urlsplit(request.target)
    query = sorted(
        (quote(key, safe="-_.~"), quote(value, safe="-_.~"))
        for key, value in parse_qsl(url.query, keep_blank_values=True)
    )
    headers = "".join(f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in names)
    return "\n".join(
        (
            request.method,
            quote(unquote(url.path) or "/", safe="/-_.~"),
            "&".join(f"{key}={value}" for key, value in query),
            headers,
            ";".join(names),
            hashlib.sha256(request.body).hexdigest(),
        )
    )
