"""Requests and answers of the embedded GitHub, and what GitHub's REST API does alike everywhere: pages, ETags, errors."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode

from scaler.sandbox.github.state import Refused

T = TypeVar("T")

DOCS = "https://docs.github.com/rest"


@dataclass(frozen=True, slots=True)
class Request:
    """
    One request. Header names are lower-case; `base` is the URL that the client knows the API by.

    `path` names repositories and organizations; `sent` is the path as it came, which may number them.
    """

    method: str
    path: str
    sent: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    base: str = ""

    @property
    def parameters(self) -> dict[str, str]:
        """The query; of a repeated parameter the last."""
        return dict(parse_qsl(self.query, keep_blank_values=True))

    def json(self) -> dict[str, Any]:
        """The body as an object (an empty one is none); 400 if it is no JSON."""
        try:
            value = json.loads(self.body or b"{}")
        except ValueError:
            raise Refused(400, "Problems parsing JSON") from None
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise Refused(400, "Body should be a JSON object")
        return value


@dataclass(frozen=True, slots=True)
class Response:
    """One answer. `body` None is an empty one."""

    status: int
    body: Any = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)

    def payload(self) -> bytes:
        """The body's bytes."""
        if self.body is None:
            return b""
        return json.dumps(self.body, separators=(",", ":")).encode() if not isinstance(self.body, bytes) else self.body


def error(status: int, message: str, **more: Any) -> Response:
    """An error as GitHub words it."""
    return Response(status, {"message": message, "documentation_url": DOCS, "status": str(status), **more})


def _number(text: str | None, default: int, most: int) -> int:
    """A page number or size: what is no positive number is the default, as GitHub takes it."""
    if text is None or not text.isascii() or not text.isdigit() or int(text[:9]) < 1:
        return default
    return min(int(text[:9]), most)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list (docs.github.com: using pagination in the REST API; 30 a page, at most 100)."""

    number: int
    size: int

    @classmethod
    def of(cls, request: Request) -> Page:
        """The page a request asks for."""
        asked = request.parameters
        return cls(_number(asked.get("page"), 1, 10**8), _number(asked.get("per_page"), 30, 100))

    def cut(self, rows: Sequence[T]) -> Sequence[T]:
        """This page's rows."""
        return rows[(self.number - 1) * self.size : self.number * self.size]

    def shifted(self, rows: Sequence[T]) -> Sequence[T]:
        """The rows in the order they have after the first page was read: the second page's first went to the front."""
        if self.number == 1 or len(rows) <= self.size:
            return rows
        return [rows[self.size], *rows[: self.size], *rows[self.size + 1 :]]

    def links(self, request: Request, path: str, total: int) -> dict[str, str]:
        """The Link header, with URLs of this path; none if there is one page only."""
        last = max(math.ceil(total / self.size), 1)
        if last == 1 and self.number == 1:
            return {}
        pages = {}
        if self.number > 1:
            pages["prev"] = min(self.number - 1, last)
        if self.number < last:
            pages["next"] = self.number + 1
            pages["last"] = last
        if self.number > 1:
            pages["first"] = 1

        def link(page: int, rel: str) -> str:
            query = urlencode({**request.parameters, "page": str(page)})
            return f'<{request.base}{path}?{query}>; rel="{rel}"'

        return {"Link": ", ".join(link(page, rel) for rel, page in pages.items())}


def etag(payload: bytes) -> str:
    """GitHub's validators are weak ones: the body may be compressed on its way."""
    return f'W/"{hashlib.sha256(payload).hexdigest()}"'


def matches(if_none_match: str | None, tag: str) -> bool:
    """Whether a client holds this version already (weak comparison, RFC 9110 §13.1.2)."""
    if if_none_match is None:
        return False
    held = {part.strip().removeprefix("W/") for part in if_none_match.split(",")}
    return "*" in held or tag.removeprefix("W/") in held
