"""What is told of the costs: the formulas by their numbers, and nothing where a price is unknown."""

from __future__ import annotations

from dataclasses import replace

from scaler.decide import decide
from scaler.model import Memory, Snapshot, Tick
from scaler.reporting.costs import costs_of, in_short, table_of
from scaler.reporting.page import markdown
from scaler.reporting.status import status
from scaler.reporting.trend import Trend, then
from scaler.settings.config import Config
from tests.worlds import NOW, booting, config, pool, span, world

PRICED = config(pool("amd64", price_per_hour=0.1), pool("arm64", price_per_hour=0.08), price_per_minute=0.006)
HALF = config(pool("amd64", price_per_hour=0.1), pool("arm64"))
FREE = config(pool("amd64", price_per_hour=0.0), price_per_minute=0.0)
THREE = world(booting("i-1"), booting("i-2", slot=1), booting("i-3", pool="arm64"))


def trend_of(*snapshots: tuple[str, Snapshot]) -> Trend:
    """The trend of ticks that saw these worlds at these times from the start."""
    trend: Trend | None = None
    for at, snapshot in snapshots:
        moved = replace(snapshot, now=NOW + span(at))
        trend = then(trend, Tick(moved, decide(PRICED, moved, Memory())))
    assert trend is not None
    return trend


ONE = trend_of(("0s", THREE))
WATCH = trend_of(("0s", THREE), ("30m", world(booting("i-1"))), ("119m", world(booting("i-1"))), ("120m", world()))


def rows(config: Config, trend: Trend) -> list[tuple[str, ...]]:
    """The table's rows."""
    return table_of(costs_of(config, trend))


def test_a_watch_costs_its_instance_hours_and_its_own_minutes() -> None:
    """Two instances for half an hour and one for an hour and a half more; another one for half an hour."""
    assert rows(PRICED, WATCH) == [
        ("", "Now", "An hour", "So far, in 2h00m", "A day like this"),
        ("Pool amd64", "0", "0.00", "2.5 h, 0.25", "30 h, 3.00"),
        ("Pool arm64", "0", "0.00", "0.5 h, 0.04", "6 h, 0.48"),
        ("The scaler's own job", "1", "0.36", "120 min, 0.72", "24 h, 8.64"),
        ("Together", "", "0.36 USD", "1.01 USD", "12.12 USD"),
    ]
    assert in_short(costs_of(PRICED, WATCH)) == "0.36 USD an hour now, 12.12 USD in a day like this"


def test_a_single_tick_tells_of_the_day_what_it_sees_and_not_how_often_it_is_started() -> None:
    assert rows(PRICED, ONE) == [
        ("", "Now", "An hour", "A day like this"),
        ("Pool amd64", "2", "0.20", "48 h, 4.80"),
        ("Pool arm64", "1", "0.08", "24 h, 1.92"),
        ("The scaler's own job", "0", "0.00", "each minute begun, 0.006"),
        ("Together", "", "0.28 USD", "at least 6.72 USD"),
    ]
    told = "0.28 USD an hour now, 6.72 USD in a day like this, without the scaler's own job"
    assert in_short(costs_of(PRICED, ONE)) == told


def test_what_has_no_price_is_unknown_and_no_sum_pretends_otherwise() -> None:
    found = rows(HALF, WATCH)
    assert found[2] == ("Pool arm64", "0", "0", "0.5 h, unknown", "6 h, unknown")
    assert found[4] == ("Together", "", "at least 0.00 USD", "at least 0.25 USD", "at least 3.00 USD")


def test_without_any_price_hours_are_told() -> None:
    told = "no price is set; 3 instances now, 72 instance-hours in a day like this"
    assert in_short(costs_of(config(), ONE)) == told
    tick = Tick(THREE, decide(config(), THREE, Memory()))
    assert f"<summary>Costs: {told}</summary>" in markdown(tick, config())
    assert f"costs: {told}" in status(tick, config())


def test_a_price_of_nothing_is_a_price() -> None:
    amd64 = trend_of(("0s", world(booting())), ("1h", world(booting())))
    assert in_short(costs_of(FREE, amd64)) == "0.00 USD an hour now, 0.00 USD in a day like this"


def test_a_pool_that_the_config_no_longer_has_is_counted_without_a_price() -> None:
    old = trend_of(("0s", world(booting(pool="old"))))
    assert ("Pool old", "1", "unknown", "24 h, unknown") in rows(PRICED, old)


def test_nothing_is_told_of_costs_where_nothing_runs_and_nothing_has_a_price() -> None:
    tick = Tick(world(), decide(config(), world(), Memory()))
    assert "Costs" not in markdown(tick, config())
    assert "Costs: 0.00 USD an hour now" in markdown(tick, PRICED)


def test_a_minute_that_was_begun_is_billed_whole() -> None:
    assert rows(PRICED, trend_of(("0s", world()), ("61s", world())))[1][3] == "2 min, 0.012"
