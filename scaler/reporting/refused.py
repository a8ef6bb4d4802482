"""What a party did not let us do, as people and the exit code are told of it."""

from __future__ import annotations

from scaler.clocks import NotStartable
from scaler.exits import Exit
from scaler.model import ApiError, Denied
from scaler.reporting.publish import Publisher


def refused(publisher: Publisher, error: ApiError, otherwise: str = "nothing was changed") -> Exit:
    """What a party did not let us do: told with the lines to paste; the exit code that stands for it."""
    if isinstance(error, Denied | NotStartable):
        publisher.annotate([("error", "\n".join(filter(None, (str(error), error.remedy))))])
        return Exit.CREDENTIALS if isinstance(error, Denied) else Exit.INPUT
    publisher.annotate([("error", f"{error}; {otherwise}")])
    return Exit.DEGRADED
