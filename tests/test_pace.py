"""Calls wait for their turn: token buckets, and the clock they are kept by."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from scaler.acting.pace import LIMITS, Bucket, Limit, Pace
from simulation.wire import LoneClock, VirtualClock

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def sent(bucket: Bucket, asked: list[float]) -> list[float]:
    """When calls go out that are asked for at these times."""
    return [round(now + bucket.take(now), 6) for now in asked]


@pytest.mark.parametrize(
    ("asked", "times"),
    [
        pytest.param([0.0] * 5, [0, 0, 0, 0.5, 1.0], id="a burst, then evenly"),
        pytest.param([7.0] * 5, [7, 7, 7, 7.5, 8.0], id="whenever it begins"),
        pytest.param([0.0] * 4 + [0.9] * 2, [0, 0, 0, 0.5, 1.0, 1.5], id="those that wait come first"),
        pytest.param([0.0] * 3 + [1.0] * 3, [0, 0, 0, 1.0, 1.0, 1.5], id="it fills again"),
        pytest.param([0.0] * 3 + [99.0] * 4, [0, 0, 0, 99, 99, 99, 99.5], id="and never beyond its size"),
    ],
)
def test_a_bucket_lets_so_many_go_at_once_and_so_many_a_second(asked: list[float], times: list[float]) -> None:
    assert sent(Bucket(3, 2), asked) == times


@pytest.mark.parametrize(
    ("limit", "count", "seconds"),
    [
        # AWS docs: request throttling for the Amazon EC2 API; two of each bucket are left to what is late.
        (Limit.CREATE_FLEET, 48, 0),
        (Limit.CREATE_FLEET, 98, 10),
        (Limit.DESCRIBE, 118, 1),
        (Limit.TAG, 108, 1),
        (Limit.TERMINATE, 103, 1),
        (Limit.DELETE_PARAMETERS, 8, 1),
        (Limit.PUT_PARAMETER, 1, 0),
        (Limit.PUT_PARAMETER, 101, 10),
        # GitHub docs: 900 points a minute at 5 a write, and 100 requests at once.
        (Limit.GITHUB_WRITE, 100, 0),
        (Limit.GITHUB_WRITE, 180, 60),
    ],
)
def test_the_last_of_so_many_calls_goes_out_after(limit: Limit, count: int, seconds: float) -> None:
    clock = VirtualClock(LoneClock(NOON))
    pace = Pace(clock, 10)
    for _ in range(count):
        pace.turn(limit)
    assert clock.monotonic() == pytest.approx(seconds, abs=0.001)


def test_every_limit_is_kept_apart() -> None:
    assert {*LIMITS, Limit.PUT_PARAMETER} == set(Limit)
    clock = VirtualClock(LoneClock(NOON))
    pace = Pace(clock, 3)
    for limit in Limit:
        pace.turn(limit)
    assert clock.monotonic() == 0


def test_without_a_clock_nobody_waits() -> None:
    pace = Pace(None, 0.001)
    for _ in range(1000):
        pace.turn(Limit.PUT_PARAMETER)
