"""One HTTP request and its answer, as tests look at it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Self

from scaler.sandbox.github.server import Exchange as Served


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer. `query` is raw, without `?`; bodies are bytes as sent."""

    method: str
    path: str
    query: str = ""
    request_headers: Mapping[str, str] = field(default_factory=dict)
    request_body: bytes = b""
    status: int = 200
    response_headers: Mapping[str, str] = field(default_factory=dict)
    response_body: bytes = b""

    @classmethod
    def of(cls, seen: Served) -> Self:
        """Take over an exchange as the embedded GitHub reports it to its observers."""
        return cls(**{each.name: getattr(seen, each.name) for each in fields(cls)})

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Read a line of the record that an embedded GitHub keeps; bodies stand in it as text, secrets as `***`."""
        kept = json.loads(line)
        bodies = {name: kept[name].encode() for name in ("request_body", "response_body")}
        return cls(**{each.name: kept[each.name] for each in fields(cls)} | bodies)


def header(headers: Mapping[str, str], name: str) -> str | None:
    """A header's value, whatever the case of its name."""
    return next((value for key, value in headers.items() if key.lower() == name.lower()), None)
