"""What a watch has seen: its series stays bounded and keeps its peaks, its hours are exact; and the chart of it."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from scaler.decide import decide
from scaler.model import Memory, Snapshot, Tick, View
from scaler.reporting.chart import LOWEST, chart
from scaler.reporting.page import markdown
from scaler.reporting.trend import POINTS, STEP, Point, Trend, then
from tests.worlds import NOW, booting, config, idle, job, jobs, span, unseen, working, world

CONFIG = config()


def trend_of(*snapshots: tuple[str, Snapshot]) -> Trend:
    """The trend of ticks that saw these worlds at these times from the start."""
    trend: Trend | None = None
    for at, snapshot in snapshots:
        moved = replace(snapshot, now=NOW + span(at))
        trend = then(trend, Tick(moved, decide(CONFIG, moved, Memory())))
    assert trend is not None
    return trend


def test_a_point_counts_queued_and_running_jobs_and_idle_runners() -> None:
    seen = world(jobs(2), working(), idle("i-2", since="1m", slot=1), booting("i-3", slot=2))
    assert trend_of(("0s", seen)).points == (Point(queued=2, running=1, idle=1),)


def test_ticks_within_one_step_are_one_point_with_the_highest_numbers() -> None:
    found = trend_of(("0s", world()), ("5s", world(jobs(3))), ("14s", world()), ("15s", world()))
    assert [point.queued for point in found.points] == [3, 0]


def test_a_step_without_a_tick_is_as_the_one_before() -> None:
    found = trend_of(("0s", world(jobs(2))), ("46s", world()))
    assert [point.queued for point in found.points] == [2, 2, 2, 0]


def test_a_long_watch_keeps_its_peaks_and_not_its_length() -> None:
    """The chart's time stays true: point n is at n steps from the start."""
    ticks = [(f"{15 * n}s", world(jobs(4) if n == 777 else jobs(0))) for n in range(1500)]
    found = trend_of(*ticks)
    assert len(found.points) <= POINTS
    assert [n for n, point in enumerate(found.points) if point.queued] == [777 * STEP // found.step]
    assert found.points[777 * STEP // found.step].queued == 4
    assert (len(found.points) - 1) * found.step <= found.length < len(found.points) * found.step


def test_instance_hours_count_each_tick_until_the_next() -> None:
    two = world(booting("i-1"), booting("i-2", slot=1))
    found = trend_of(("0s", two), ("30m", world(booting("i-1"))), ("90m", world()), ("10h", world()))
    assert found.hours == {"amd64": pytest.approx(2 * 0.5 + 1 * 1)}
    assert found.mean("amd64") == pytest.approx(2 / 10)


def test_the_mean_of_a_single_tick_is_what_it_saw() -> None:
    assert trend_of(("0s", world(booting()))).mean("amd64") == 1
    assert trend_of(("0s", world())).mean("amd64") == 0


def test_unseen_instances_are_as_they_were() -> None:
    found = trend_of(("0s", world(working(), job())), ("15s", world(unseen(View.INSTANCES))), ("1h", world()))
    assert found.points[1] == found.points[0]
    assert found.hours == {"amd64": pytest.approx(1)}


def test_a_clock_that_is_set_back_takes_nothing_away() -> None:
    back = trend_of(("10m", world(booting())), ("5m", world(booting())))
    assert (back.length, back.hours) == (timedelta(), {"amd64": 0})
    found = trend_of(("10m", world(booting())), ("5m", world(booting())), ("20m", world()))
    assert found.length == timedelta(minutes=10)
    assert found.hours == {"amd64": pytest.approx(1 / 6)}


def test_the_chart_has_a_line_for_each_number_and_only_numbers_in_it() -> None:
    found = chart(trend_of(("0s", world(jobs(12))), ("75s", world(working()))))
    assert 'x-axis "minutes since 09:00 UTC" 0 --> 1.25\n' in found
    assert "y-axis 0 --> 12\n" in found
    assert re.findall(r"    line \[([0-9, ]+)\]", found) == [
        "0, 0, 0, 0, 0, 0",
        "0, 0, 0, 0, 0, 1",
        "12, 12, 12, 12, 12, 0",
    ]
    assert f"0 --> {LOWEST}\n" in chart(trend_of(("0s", world()), ("15s", world())))


def test_only_a_watch_has_a_chart() -> None:
    trend = trend_of(("0s", world()), ("15s", world()))
    tick = Tick(world(), decide(CONFIG, world(), Memory()))
    assert "```mermaid" in markdown(tick, CONFIG, trend)
    assert "```mermaid" not in markdown(tick, CONFIG)
