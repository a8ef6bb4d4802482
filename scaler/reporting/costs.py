"""
What a fleet costs, as far as it is known: the prices are the user's, since AWS tells none without one more permission.

All amounts are in USD. What has no price is counted in hours alone, and a sum without it says `at least`. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from scaler.durations import passed
from scaler.reporting.report import counted
from scaler.reporting.trend import Trend
from scaler.settings.config import Config

HOUR, DAY = timedelta(hours=1), 24.0


@dataclass(frozen=True, slots=True)
class Cost:
    """
    One pool, or the scaler's own job: how many there are `now`, their hours so far and in a day like this.

    `price` is that of an hour, None where nobody told it; `day` is None where nothing tells it.
    """

    what: str
    now: int
    hours: float
    day: float | None
    price: float | None


@dataclass(frozen=True, slots=True)
class Costs:
    """The costs of a tick, or of a watch of this length until its last tick."""

    pools: tuple[Cost, ...]
    scaler: Cost
    length: timedelta

    @property
    def all(self) -> tuple[Cost, ...]:
        """The pools, then the scaler's own job."""
        return (*self.pools, self.scaler)

    @property
    def priced(self) -> bool:
        """Whether any price is known."""
        return any(cost.price is not None for cost in self.all)


def costs_of(config: Config, trend: Trend) -> Costs:
    """
    The costs until now, and of a day like this.

    A day of a pool is 24 hours of the mean number of its instances since the first tick. A day of a watch is 24 hours
    of its job, whose minutes GitHub bills rounded up (docs.github.com: billing for GitHub Actions); how often single
    ticks are started nothing tells here.
    """
    prices = {pool.name: pool.price_per_hour for pool in config.pools}
    pools = (
        Cost(
            f"Pool {name}",
            trend.alive.get(name, 0),
            trend.hours.get(name, 0.0),
            trend.mean(name) * DAY,
            prices.get(name),
        )
        for name in dict.fromkeys((*prices, *trend.alive, *trend.hours))
    )
    watching = trend.length > timedelta()
    minutes = max(1, math.ceil(trend.length / timedelta(minutes=1)))
    price = None if config.price_per_minute is None else config.price_per_minute * 60
    scaler = Cost("The scaler's own job", int(watching), minutes / 60, DAY if watching else None, price)
    return Costs(tuple(pools), scaler, trend.length)


def in_short(costs: Costs) -> str:
    """One line: what an hour costs now and a day like this, or that nothing has a price."""
    if not costs.priced:
        alive = sum(cost.now for cost in costs.pools)
        day = sum(cost.day or 0.0 for cost in costs.pools)
        return f"no price is set; {counted(alive, 'instance')} now, {day:.0f} instance-hours in a day like this"
    told = costs.all if costs.length else costs.pools
    apart = "" if costs.length else ", without the scaler's own job"
    an_hour, a_day = _sum((cost.now, cost.price) for cost in told), _sum((cost.day, cost.price) for cost in told)
    return f"{an_hour} an hour now, {a_day} in a day like this{apart}"


def table_of(costs: Costs) -> list[tuple[str, ...]]:
    """A head, a row for each pool that has or had instances, the scaler's own job, and the sums."""
    watched = costs.length > timedelta()
    head = ("", "Now", "An hour", *([f"So far, in {passed(costs.length)}"] if watched else []), "A day like this")
    found = [head]
    for cost in (cost for cost in costs.pools if cost.now or cost.hours):
        so_far = [f"{cost.hours:.1f} h, {_usd(cost.hours, cost.price)}"] if watched else []
        day = cost.day or 0.0
        found.append(
            (cost.what, f"{cost.now}", _usd(cost.now, cost.price), *so_far, f"{day:.0f} h, {_usd(day, cost.price)}")
        )
    own = costs.scaler
    so_far = [f"{own.hours * 60:.0f} min, {_usd(own.hours, own.price)}"] if watched else []
    a_day = f"24 h, {_usd(DAY, own.price)}" if watched else f"each minute begun, {_usd(1 / 60, own.price)}"
    found.append((own.what, f"{own.now}", _usd(own.now, own.price), *so_far, a_day))
    if costs.priced:
        now = _sum((cost.now, cost.price) for cost in costs.all)
        so_far = [_sum((cost.hours, cost.price) for cost in costs.all)] if watched else []
        found.append(("Together", "", now, *so_far, _sum((cost.day, cost.price) for cost in costs.all)))
    return found


def _usd(hours: float, price: float | None) -> str:
    return ("unknown" if hours else "0") if price is None else _amount(hours * price)


def _sum(parts: Iterable[tuple[float | None, float | None]]) -> str:
    """The sum of hours at their prices; `at least` where hours or a price are unknown."""
    told = list(parts)
    unknown = any(hours is None or (hours and price is None) for hours, price in told)
    known = sum((hours or 0.0) * (price or 0.0) for hours, price in told)
    return f"{'at least ' if unknown else ''}{_amount(known)} USD"


def _amount(usd: float) -> str:
    return f"{usd:.2f}" if usd >= 0.1 or not usd else f"{usd:.3f}".removesuffix("0")
