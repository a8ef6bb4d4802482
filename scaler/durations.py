"""Durations: as the config and the command line write them (`90s`, `10m`, `6h`), and as ages are shown (`12m02s`)."""

from __future__ import annotations

import re
from datetime import timedelta

from scaler.text import quoted

PATTERN = r"^(0|[1-9][0-9]{0,6})(s|m|h|d)$"
"""A whole number and one unit, for the schema and for here."""

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_UNITS = {"sec": "s", "second": "s", "min": "m", "minute": "m", "hr": "h", "hour": "h", "day": "d"}
_UNITS |= {f"{unit}s": letter for unit, letter in _UNITS.items()} | {unit: unit for unit in _SECONDS}


def parse(text: str, low: timedelta, high: timedelta) -> timedelta:
    """A duration within `low`..`high`, both included; a ValueError says in one line how to write it."""
    within = f"{show(low)}..{show(high)}"
    if not re.fullmatch(PATTERN, text, re.ASCII):
        raise ValueError(_why_not(text, within))
    value = read(text)
    if not low <= value <= high:
        raise ValueError(f"{quoted(text)} is outside {within}")
    return value


def read(text: str) -> timedelta:
    """A text that is known to match `PATTERN`."""
    return timedelta(seconds=int(text[:-1]) * _SECONDS[text[-1]])


def show(value: timedelta) -> str:
    """The shortest writing that `parse` takes: 90s, 10m, 6h, 1d."""
    seconds = int(value.total_seconds())
    for unit in ("d", "h", "m"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{seconds // _SECONDS[unit]}{unit}"
    return f"{seconds}s"


def passed(value: timedelta) -> str:
    """An age, which nobody writes and everybody compares: `0m40s`, `12m02s`, `3h05m`."""
    seconds = int(value.total_seconds())
    return f"{seconds // 3600}h{seconds % 3600 // 60:02}m" if seconds >= 3600 else f"{seconds // 60}m{seconds % 60:02}s"


def _why_not(text: str, within: str) -> str:
    tidy = re.fullmatch(r"\s*([0-9]{1,7})\s*([A-Za-z]*)\s*", text, re.ASCII)
    if tidy and not tidy[2]:
        return f"{quoted(text)} has no unit; write {int(tidy[1])}m ({within})"
    if tidy and (unit := _UNITS.get(tidy[2].lower())):
        return f"{quoted(text)} is no duration; write {int(tidy[1])}{unit} ({within})"
    return f"{quoted(text)} is no duration; write a whole number and s, m, h or d, such as 10m ({within})"
