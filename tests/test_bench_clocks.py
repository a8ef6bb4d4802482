"""The benchmark of clocks: the same runs for each, kicks that come to one, minutes as GitHub bills them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.clocks import CLOCKS, Day, Scaler, billed, measured, table

DOCUMENT = (Path(__file__).parents[1] / "docs/clocks.md").read_text()


@pytest.mark.parametrize(("seconds", "minutes"), [(0, 1), (47, 1), (49, 2), (3000, 51)])
def test_a_job_is_billed_in_whole_minutes(seconds: float, minutes: int) -> None:
    assert billed(seconds) == minutes


def test_what_is_asked_for_while_one_runs_comes_to_one_run() -> None:
    day = Day(0, 1)
    scaler = Scaler(day, None)
    for _ in range(5):
        scaler.ask()
    day.play()
    assert scaler.minutes == 2


def test_every_clock_meets_the_same_runs_and_the_prompt_ones_serve_them() -> None:
    prompt = ("workflow_run that begins a watch, and the schedule", "watch without end")
    rows = [measured(name, 1, 1) for name in prompt]
    assert rows[0].jobs >= 12
    assert rows[1].unserved == 0
    assert all(45 < row.p50 < 300 for row in rows)
    assert len(table(rows)) == 4


def test_the_document_has_every_clock() -> None:
    assert [name for name in CLOCKS if f"\n| {name} |" not in DOCUMENT] == []
