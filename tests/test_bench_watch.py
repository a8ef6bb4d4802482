"""What the bench tells of a watch: minutes, turns, and a clock that leaps over waiting."""

from __future__ import annotations

import time
from datetime import timedelta

from benchmarks.watching import LeapingClock, Watched, dearest_minute, summed_up

EVERY = timedelta(seconds=15)


def tick(began: float, *looked_at: str, requests: int = 2) -> Watched:
    return Watched(began, 0.5, requests, 0, requests, 1, looked_at, 0, ((began, requests),))


def test_the_dearest_minute_is_any_sixty_seconds() -> None:
    assert dearest_minute([(0, 5), (59, 5), (61, 4), (200, 9)]) == 10
    assert dearest_minute([(0, 5), (60, 5)]) == 5
    assert dearest_minute([]) == 0


def test_a_look_grows_old_until_the_next_one_or_the_end() -> None:
    ticks = [tick(0, "a"), tick(15, "b"), tick(30, "a"), tick(45, "a")]
    told = summed_up(ticks, ["a", "b"], EVERY)
    assert told["seconds until all were looked at"] == 15.5
    assert told["oldest look, s"] == 30
    assert summed_up([*ticks, tick(300, "b")], ["a", "b"], EVERY)["oldest look, s"] == 285


def test_the_first_round_is_not_counted_with_later_ticks() -> None:
    ticks = [tick(0, "a", requests=90), tick(15, "b", requests=80), tick(30, requests=7), tick(45, requests=9)]
    assert summed_up(ticks, ["a", "b"], EVERY)["requests a later tick"] == 8


def test_a_leap_takes_no_time_and_is_remembered() -> None:
    clock = LeapingClock()
    before, real = clock.monotonic(), time.monotonic()
    clock.sleep(3600)
    assert clock.monotonic() - before >= 3600
    assert time.monotonic() - real < 60
    assert clock.at(real) - before < 60
    assert clock.at(time.monotonic()) - before >= 3600
