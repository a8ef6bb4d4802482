"""A day of `make soak`, so that the month's numbers can be made at any time."""

from __future__ import annotations

import pytest

from benchmarks.soak import main

pytestmark = pytest.mark.lies


def test_a_day_under_fault_weather_breaks_no_promise(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--days", "1", "--seed", "3"]) == 0
    table = capsys.readouterr().out
    for none in ("jobs killed", "instances immortal", "cap overruns", "secrets told", "other promises broken"):
        assert f"| **{none}** | 0 |" in table
