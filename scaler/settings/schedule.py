"""Hours at which a pool keeps runners idle: a cron expression in a time zone, and how long each firing lasts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from scaler.text import quoted


@dataclass(frozen=True, slots=True)
class Schedule:
    """
    `count` idle runners for `duration` after each firing of `cron` in `timezone`.

    Cron speaks of the clock on the wall; `duration` is elapsed time. When daylight saving time begins, a
    firing in the skipped hour comes as much later as the clock jumps. When it ends, a firing in the repeated
    hour comes twice, so that an hourly schedule leaves no gap.
    """

    cron: str
    timezone: str
    duration: timedelta
    count: int

    def active(self, now: datetime) -> bool:
        """Whether a firing lies in the half-open time from `now - duration` (excluded) to `now` (included)."""
        return any(now - self.duration < fired <= now for fired in self._firings(now))

    def _firings(self, now: datetime) -> Iterator[datetime]:
        """The firings of every local day that could matter, the newest day first."""
        cron, zone = parse_cron(self.cron), ZoneInfo(self.timezone)
        local = now.astimezone(zone)
        day, first = local.date() + timedelta(days=1), (local - self.duration).date() - timedelta(days=1)
        while day >= first:
            if cron.on(day):
                yield from cron.times(day, zone)
            day -= timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Cron:
    """The five fields as sets. `either_day` is cron's rule for two restricted day fields: one match is enough."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool

    def on(self, day: date) -> bool:
        """Whether it fires on a date at all."""
        if day.month not in self.months:
            return False
        by_day, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return by_day or by_weekday if self.either_day else by_day and by_weekday

    def times(self, day: date, zone: ZoneInfo) -> Iterator[datetime]:
        """The firings of a date, in UTC."""
        for hour in sorted(self.hours, reverse=True):
            for minute in self.minutes:
                wall = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
                first, second = wall.astimezone(UTC), wall.replace(fold=1).astimezone(UTC)
                yield first
                # In a repeated hour the second reading is later; in a skipped one it is earlier and never shown.
                if second > first:
                    yield second


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, {name: n for n, name in enumerate(_MONTHS, 1)}),
    ("day of week", 0, 7, {name: n for n, name in enumerate(_WEEKDAYS)}),
)
_LONGEST_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@lru_cache(maxsize=256)
def parse_cron(text: str) -> Cron:
    """Five fields: `*`, numbers, names, ranges, lists, steps. A ValueError says in one line what is wrong."""
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(
            f"expected five fields (minute hour day month weekday), got {len(fields)} in {quoted(text)}; "
            'write for example "0 8 * * mon-fri"'
        )
    sets = [_field(field, *spec) for field, spec in zip(fields, _FIELDS, strict=True)]
    weekdays = frozenset(n % 7 for n in sets[4])
    # As in the cron of Paul Vixie, a field that begins with * restricts nothing, even with a step.
    either = not fields[2].startswith("*") and not fields[4].startswith("*")
    if not either and all(_LONGEST_MONTHS[month - 1] < min(sets[2]) for month in sets[3]):
        raise ValueError(f"{quoted(text)} never fires: no such day in these months")
    return Cron(sets[0], sets[1], sets[2], sets[3], weekdays, either)


def _field(field: str, name: str, low: int, high: int, names: dict[str, int]) -> frozenset[int]:
    chosen: set[int] = set()
    for item in field.split(","):
        match = re.fullmatch(r"(\*|[0-9a-z]+)(?:-([0-9a-z]+))?(?:/([0-9]{1,4}))?", item.lower(), re.ASCII)
        if not match or (match[3] and match[1] != "*" and not match[2]) or (match[1] == "*" and match[2]):
            raise ValueError(f"{name} {quoted(item)} is not *, a number, a range a-b or a step */n, a-b/n")
        start, end = (low, high) if match[1] == "*" else (_number(match[1], name, low, high, names),) * 2
        if match[2]:
            end = _number(match[2], name, low, high, names)
            end = 7 if end == 0 and name == "day of week" and start else end  # sat-sun, mon-sun
        step = int(match[3] or 1)
        if end < start:
            raise ValueError(f"{name} {quoted(item)} runs backwards; write it as two ranges with a comma")
        if step == 0:
            raise ValueError(f"{name} {quoted(item)} has a step of 0; write 1 or more")
        chosen.update(range(start, end + 1, step))
    return frozenset(chosen)


def _number(word: str, name: str, low: int, high: int, names: dict[str, int]) -> int:
    if word in names:
        return names[word]
    if not word.isdigit() or len(word) > 2 or not low <= int(word) <= high:
        also = f" or {next(iter(names))}..{list(names)[-1]}" if names else ""
        raise ValueError(f"{name} {quoted(word)} is outside {low}..{high}{also}")
    return int(word)
