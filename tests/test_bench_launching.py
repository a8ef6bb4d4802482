"""The benchmark of launching counts what it says, and its bound is what the buckets set."""

from __future__ import annotations

import pytest

from benchmarks.launching import PAUSE, Row, bound, document, measured, original, table


@pytest.mark.parametrize(
    ("registration", "puts", "runners", "seconds"),
    [
        pytest.param("jit", 3, 1, 1.2 + 0.08 + 0.06, id="one runner waits for no bucket"),
        pytest.param("token", 40, 50, 1.2 + 0.25 + 0.06, id="fifty wait for their parameters"),
        pytest.param("jit", 3, 100, 1.2 + 0.08 + 97 / 3 + 0.06, id="a hundred wait for their parameters"),
        pytest.param("jit", 40, 100, 1.2 + 0.08 + 10 + 0.06, id="or for their launches"),
    ],
)
def test_the_bound_is_the_longest_wait_and_one_runners_way(
    registration: str, puts: int, runners: int, seconds: float
) -> None:
    assert bound(registration, puts, runners) == pytest.approx(seconds)


@pytest.mark.parametrize("pause", [0.0, PAUSE])
def test_the_originals_way_is_a_sum_of_waits(pause: float) -> None:
    assert original(3, 10, pause) == pytest.approx(10 * (0.08 + 1.2 + 3 * 0.06 + pause))


def test_each_way_of_registering_is_measured_and_told() -> None:
    rows = measured(rounds=1, runners=2, puts=(40,))
    assert [(row.registration, row.throttles, row.handed_over) for row in rows] == [("jit", 0, 2), ("token", 0, 2)]
    minted = [row.calls.get("generate-jitconfig", 0) + row.calls.get("registration-token", 0) for row in rows]
    assert minted == [2, 1]
    assert all((row.calls["CreateFleet"], row.calls["PutParameter"]) == (2, 4) for row in rows)
    assert all(row.seconds >= row.bound for row in rows)
    assert len(list(table(rows))) == 4
    assert document(rows)[0]["ratio"] == rows[0].ratio


def test_rounds_are_told_as_their_median_and_their_worst() -> None:
    rows = [Row("jit", 3, 1, number, seconds, 10.0, 20.0, 40.0, int(seconds == 9), 1, {"CreateFleet": 1})
            for number, seconds in enumerate((9.0, 10.0, 15.0))]  # fmt: skip
    *_, told = table(rows)
    assert told == "| jit | 3 | 10.0 | 10.0 | 1.00 | 1 | 1 | 1 | 20 | 40 | 2.0 | 4 |"
