"""The clocks as the preflight judges them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from scaler.checking.checks import Check, ok, unwise
from scaler.clocks import Ran, Workflow
from scaler.durations import passed

QUIET: Final = timedelta(hours=2)
"""With no tick for so long a job that nobody kicked for waits too long, and a mess stays."""


def judged(now: datetime, workflow: Workflow, ran: Sequence[tuple[str, Ran | None]]) -> Iterator[Check]:
    """A line for each clock, and one more if none of them has ticked for long."""
    for event, each in ran:
        told = f"{passed(now - each.at)} ago, {each.state}" if each else "never"
        yield ok(f"clock {event}", f"{told} ({workflow})")
    newest = max((each.at for _, each in ran if each), default=None)
    if newest is None or now - newest > QUIET:
        told = "no clock has ticked yet" if newest is None else f"no clock has ticked for {passed(now - newest)}"
        yield unwise(f"clocks of {workflow}", told, "add one that is prompt: docs/clocks.md")
