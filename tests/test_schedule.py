"""Cron fields, time zones, and what daylight saving time does to them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.settings.schedule import Schedule, parse_cron

WORKDAYS = Schedule("0 8 * * mon-fri", "Europe/Berlin", timedelta(hours=10), 2)


def at(text: str) -> datetime:
    """A time such as `2026-11-23T09:00+01:00`."""
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("schedule", "now", "active"),
    [
        pytest.param(WORKDAYS, "2026-11-23T07:59:59+01:00", False, id="a second before it fires"),
        pytest.param(WORKDAYS, "2026-11-23T08:00:00+01:00", True, id="the moment it fires"),
        pytest.param(WORKDAYS, "2026-11-23T17:59:59+01:00", True, id="the last second"),
        pytest.param(WORKDAYS, "2026-11-23T18:00:00+01:00", False, id="the end is excluded"),
        pytest.param(WORKDAYS, "2026-11-22T12:00:00+01:00", False, id="sunday is no workday"),
        pytest.param(WORKDAYS, "2026-11-23T07:00:00+00:00", True, id="now may be in any zone"),
        pytest.param(WORKDAYS, "2026-07-01T06:00:00+00:00", True, id="in summer it fires an hour earlier in UTC"),
        pytest.param(WORKDAYS, "2026-07-01T16:00:00+00:00", False, id="and ends an hour earlier"),
        pytest.param(
            Schedule("0 22 * * fri", "UTC", timedelta(days=2), 1), "2026-11-29T21:59Z", True, id="across two midnights"
        ),
        pytest.param(
            Schedule("0 22 * * fri", "UTC", timedelta(days=2), 1), "2026-11-29T22:00Z", False, id="and no longer"
        ),
        pytest.param(
            Schedule("30 23 31 12 *", "UTC", timedelta(hours=1), 1), "2027-01-01T00:15Z", True, id="across a year's end"
        ),
        pytest.param(
            Schedule("0 0 29 2 *", "UTC", timedelta(hours=1), 1), "2028-02-29T00:30Z", True, id="a leap day fires"
        ),
        pytest.param(
            Schedule("0 9 * * *", "Pacific/Kiritimati", timedelta(minutes=5), 1),
            "2026-11-22T19:03Z",
            True,
            id="a zone 14 hours ahead, where the day is another",
        ),
    ],
)
def test_a_schedule_is_active_from_its_firing_until_its_duration_is_over(
    schedule: Schedule, now: str, *, active: bool
) -> None:
    assert schedule.active(at(now)) is active


# Berlin: on 2026-03-29 the clock goes from 02:00+01:00 to 03:00+02:00, on 2026-10-25 from 03:00+02:00 to 02:00+01:00.


@pytest.mark.parametrize(
    ("now", "active"),
    [
        pytest.param("2026-03-29T00:59Z", False, id="01:59, before the jump"),
        pytest.param("2026-03-29T01:29Z", False, id="03:29, just before it would be 02:30 by the old clock"),
        pytest.param("2026-03-29T01:30Z", True, id="03:30 stands for the skipped 02:30"),
        pytest.param("2026-03-29T02:30Z", False, id="an elapsed hour later it is over"),
    ],
)
def test_a_firing_in_a_skipped_hour_comes_as_much_later_as_the_clock_jumps(now: str, *, active: bool) -> None:
    assert Schedule("30 2 * * *", "Europe/Berlin", timedelta(hours=1), 1).active(at(now)) is active


@pytest.mark.parametrize(
    ("now", "active"),
    [
        pytest.param("2026-10-25T00:30Z", True, id="02:30 in summer time"),
        pytest.param("2026-10-25T01:00Z", False, id="over after half an hour"),
        pytest.param("2026-10-25T01:30Z", True, id="02:30 again, in winter time"),
        pytest.param("2026-10-25T02:00Z", False, id="over again"),
    ],
)
def test_a_firing_in_a_repeated_hour_comes_twice(now: str, *, active: bool) -> None:
    assert Schedule("30 2 * * *", "Europe/Berlin", timedelta(minutes=30), 1).active(at(now)) is active


def test_an_hourly_schedule_has_no_gap_on_the_days_the_clock_changes() -> None:
    hourly = Schedule("0 * * * *", "America/New_York", timedelta(hours=1), 1)
    for day in ("2026-03-08T00:00Z", "2026-11-01T00:00Z"):
        assert all(hourly.active(at(day) + timedelta(minutes=m)) for m in range(36 * 60))


def test_the_duration_is_elapsed_time_even_across_a_change_of_clocks() -> None:
    night = Schedule("0 22 * * *", "Europe/Berlin", timedelta(hours=8), 1)
    # 22:00+02:00 on the 24th is 20:00Z; eight hours later it is 05:00 by a clock that went back.
    assert night.active(at("2026-10-25T03:59Z"))
    assert not night.active(at("2026-10-25T04:00Z"))


def fired(cron: str, day: str) -> list[str]:
    parsed, date = parse_cron(cron), datetime.fromisoformat(day).date()
    return sorted(f"{t:%H:%M}" for t in parsed.times(date, ZoneInfo("UTC"))) if parsed.on(date) else []


@pytest.mark.parametrize(
    ("cron", "day", "times"),
    [
        pytest.param("15 6,18 * * *", "2026-11-23", ["06:15", "18:15"], id="a list"),
        pytest.param("*/20 9 * * *", "2026-11-23", ["09:00", "09:20", "09:40"], id="a step"),
        pytest.param("10-30/10 9 * * *", "2026-11-23", ["09:10", "09:20", "09:30"], id="a step in a range"),
        pytest.param("0 0 * jan,Nov *", "2026-11-23", ["00:00"], id="months by name, in any case"),
        pytest.param("0 0 * * sat-sun", "2026-11-22", ["00:00"], id="a range of names that ends on sunday"),
        pytest.param("0 0 * * 5-7", "2026-11-22", ["00:00"], id="7 is sunday too"),
        pytest.param("0 0 * * 0", "2026-11-22", ["00:00"], id="0 is sunday"),
        pytest.param("0 0 * * sun-tue", "2026-11-24", ["00:00"], id="a range of names that begins on sunday"),
        pytest.param("0 0 13 * fri", "2026-11-13", ["00:00"], id="both days restricted: one is enough (both)"),
        pytest.param("0 0 13 * fri", "2026-11-20", ["00:00"], id="both days restricted: one is enough (weekday)"),
        pytest.param("0 0 13 * fri", "2026-12-13", ["00:00"], id="both days restricted: one is enough (day)"),
        pytest.param("0 0 13 * fri", "2026-12-14", [], id="both days restricted: neither"),
        pytest.param("0 0 */2 * fri", "2026-11-20", [], id="a day with * and a step restricts beside the other"),
        pytest.param("0 0 */2 * fri", "2026-11-27", ["00:00"], id="an odd day that is a friday"),
    ],
)
def test_the_five_fields_are_those_of_cron(cron: str, day: str, times: list[str]) -> None:
    assert fired(cron, day) == times


@pytest.mark.parametrize(
    ("cron", "says"),
    [
        pytest.param("0 8 * *", "expected five fields", id="four fields"),
        pytest.param("@daily", "expected five fields", id="a nickname"),
        pytest.param("60 8 * * *", 'minute "60" is outside 0..59', id="minute too large"),
        pytest.param("0 24 * * *", 'hour "24" is outside 0..23', id="hour too large"),
        pytest.param("0 0 0 * *", 'day of month "0" is outside 1..31', id="no day 0"),
        pytest.param("0 0 * foo *", 'month "foo" is outside 1..12 or jan..dec', id="no such month"),
        pytest.param("0 0 * * 8", 'day of week "8" is outside 0..7 or sun..sat', id="no such weekday"),
        pytest.param("0 18-8 * * *", "runs backwards", id="a range backwards"),
        pytest.param("*/0 * * * *", "step of 0", id="a step of nothing"),
        pytest.param("5/10 * * * *", "is not *, a number, a range a-b or a step", id="a step without a range"),
        pytest.param("0 0 ? * L", 'day of month "?" is not', id="the signs of another cron"),
        pytest.param("-1 0 * * *", 'minute "-1" is not', id="negative"),
        pytest.param("0 0 ١ * *", "day of month", id="digits of another script"),
        pytest.param("0 0 30 2 *", "never fires", id="a day that February never has"),
        pytest.param("0 0 31 4,6,9,11 *", "never fires", id="a day that these months never have"),
    ],
)
def test_what_is_no_cron_is_refused_in_one_line(cron: str, says: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        parse_cron(cron)
    assert says in str(caught.value)


def test_a_day_that_some_chosen_month_has_is_taken() -> None:
    assert parse_cron("0 0 30 2,3 *").days == {30}
    assert parse_cron("0 0 31 2 mon").either_day  # the weekday alone makes it fire


@settings(deadline=None)
@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)).map(lambda t: t.replace(tzinfo=UTC)),  # noqa: DTZ001
    st.integers(0, 59),
    st.integers(0, 23),
    st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    st.integers(1, 7 * 24 * 60),
)
def test_active_is_what_a_search_of_every_minute_finds(
    now: datetime, minute: int, hour: int, zone: str, minutes: int
) -> None:
    """A second way to the same answer: read the wall clock at each minute that a firing could have been at."""
    schedule = Schedule(f"{minute} {hour} * * *", zone, timedelta(minutes=minutes), 1)
    local = ZoneInfo(zone)
    start = now.replace(second=0, microsecond=0)
    behind = (start - timedelta(minutes=m) for m in range(minutes + 1))
    shown = [t for t in behind if now - schedule.duration < t <= now and same(t.astimezone(local), hour, minute)]
    if shown:
        assert schedule.active(now)
    elif schedule.active(now):
        # Only a firing in a skipped hour is shown by no clock.
        assert any(skipped(now - timedelta(hours=h), hour, minute, local) for h in range(-1, minutes // 60 + 26))


def same(local: datetime, hour: int, minute: int) -> bool:
    return (local.hour, local.minute) == (hour, minute)


def skipped(around: datetime, hour: int, minute: int, zone: ZoneInfo) -> bool:
    wall = around.astimezone(zone).replace(hour=hour, minute=minute, second=0, microsecond=0, fold=0)
    back = wall.astimezone(UTC).astimezone(zone)
    return not same(back, hour, minute)
