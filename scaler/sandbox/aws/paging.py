"""Pages of a list, as AWS cuts them: a token names the last thing seen, so a list may change between pages."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from typing import TypeVar

from scaler.sandbox.aws.error import AwsError

T = TypeVar("T")


def page(
    items: Sequence[T], key: Callable[[T], str], size: int, token: str | None, bad_token: str
) -> tuple[list[T], str | None]:
    """The page after `token` of items that are sorted by `key`, and the next token. Raises `bad_token`."""
    after = _read(token, bad_token) if token else None
    rest = [item for item in items if after is None or key(item) > after]
    if len(rest) <= size:
        return rest, None
    shown = rest[:size]
    return shown, base64.urlsafe_b64encode(json.dumps({"after": key(shown[-1])}).encode()).decode()


def _read(token: str, bad_token: str) -> str:
    try:
        return str(json.loads(base64.urlsafe_b64decode(token.encode()))["after"])
    except (ValueError, KeyError, TypeError):
        raise AwsError(bad_token, "The specified token is not valid.") from None
