"""The patterns' part of a preflight: what each stands for, and what it leaves out."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

from scaler.checking.checks import Check, ok, unseen, wrong
from scaler.model import ApiError, Repository
from scaler.observing.patterns import FitsNothing, meanings
from scaler.settings.config import Config


def look_at_patterns(config: Config, list_of: Callable[[str], Sequence[Repository]]) -> Generator[Check, None, Config]:
    """A line for each pattern; returns the config with the repositories that they stand for."""
    names: list[str] = []
    for pattern, found in meanings(config, list_of).items():
        what = f"pattern {pattern}"
        if isinstance(found, FitsNothing):
            yield wrong(what, str(found), "until then it counts as not seen")
        elif isinstance(found, ApiError):
            yield unseen(what, found, "the token needs Metadata: read")
        else:
            yield ok(what, str(found).removeprefix(f"{pattern}: "))
            names += found.served
    return config.including(names)
