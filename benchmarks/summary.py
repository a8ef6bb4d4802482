"""Rows of measurements as a table of medians with ratios, and as pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import NamedTuple

from benchmarks import curves, growth
from benchmarks.measure import TICKS


class Place(NamedTuple):
    """What a client looks at: so many repositories of a kind of world."""

    world: str
    size: int


@dataclass(frozen=True, slots=True)
class Row:
    """What one client took at one place in one round; `scaled` if it was taken at a smaller one and multiplied."""

    client: str
    place: Place
    round: int
    tick: str
    seconds: float
    cpu_ms: float
    megabytes: float
    requests: float
    charged: float
    points: float
    connections: int
    most_at_once: int
    found: int
    right: bool
    rig_cpu: float
    scaled: bool = False


def scaled(row: Row, place: Place) -> Row:
    """What it would be at another place of the same world, in proportion."""
    by = place.size / row.place.size
    grown = {name: getattr(row, name) * by for name in ("seconds", "requests", "charged", "points", "rig_cpu")}
    return replace(row, **grown, place=place, found=round(row.found * by), scaled=True)


class Summary:
    """Medians over the rounds, and ratios taken within each."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.places = list(dict.fromkeys(row.place for row in rows))

    def of(self, client: str, place: Place, tick: str) -> list[Row]:
        """The rows of all rounds."""
        return [row for row in self.rows if (row.client, row.place, row.tick) == (client, place, tick)]

    def ratio(self, of: str, to: str, place: Place, tick: str) -> float | None:
        """The median of what `of` took over what `to` took in the same round."""
        theirs = {row.round: row.seconds for row in self.of(to, place, tick)}
        ratios = [row.seconds / theirs[row.round] for row in self.of(of, place, tick) if row.round in theirs]
        return median(ratios) if ratios else None

    def table(self) -> Iterator[str]:
        """The one table."""
        head = ("world", "client", "tick", "seconds", "× raw", "× ours", "CPU ms/repo", "MB", "requests",
                "charged", "points", "connections", "queued jobs found")  # fmt: skip
        yield "| " + " | ".join(head) + " |"
        yield "|" + " --- |" * len(head)
        for place in sorted(self.places, key=lambda place: (place.world != "mixed", place.world, place.size)):
            for client in dict.fromkeys(row.client for row in self.rows if row.place == place):
                for tick in TICKS:
                    if rows := self.of(client, place, tick):
                        yield "| " + " | ".join(self._cells(rows, client, place, tick)) + " |"

    def _cells(self, rows: Sequence[Row], client: str, place: Place, tick: str) -> list[str]:
        def mid(name: str) -> float:
            return float(median(getattr(row, name) for row in rows))

        about = "~" if rows[0].scaled else ""
        exact = "all" if all(row.right for row in rows) else f"{rows[0].found} (not the queue)"
        ratios = [self.ratio(client, to, place, tick) for to in ("raw", "ours")]
        return [
            f"{place.size} {place.world}", client, tick, f"{about}{mid('seconds'):.2f}",
            *(f"{ratio:.2f}" if ratio else "" for ratio in ratios), f"{mid('cpu_ms'):.2f}", f"{mid('megabytes'):.0f}",
            *(f"{about}{mid(name):.0f}" for name in ("requests", "charged", "points")),
            str(max(row.connections for row in rows)), exact,
        ]  # fmt: skip

    def rig_share(self) -> float:
        """The largest part of a tick that the stand-in's process worked, of ticks that take long enough to tell."""
        return max((row.rig_cpu / row.seconds for row in self.rows if row.seconds > 0.5), default=0.0)


CURVES = {
    ("ours", "cold"): "ours",
    ("ours", "warm"): "ours, later ticks",
    ("raw", "cold"): "raw HTTP",
    ("pygithub", "cold"): "plain PyGithub",
    ("original", "cold"): "the original's way",
}
PANELS = {"seconds": "seconds a tick", "charged": "charged requests a tick", "points": "points a tick"}


def pictures(summary: Summary, grown: Sequence[growth.Grown]) -> Iterator[tuple[str, str]]:
    """By the ends of their names: growth with the number of repositories, and with demand."""
    yield "", _by_repositories(summary)
    panels = []
    for kind in growth.KINDS:
        mine = [row for row in grown if row.kind == kind]
        parts = dict.fromkeys(row.part for row in mine)
        found = {part: [(float(row.jobs), row.seconds * 1000) for row in mine if row.part == part] for part in parts}
        panels.append(curves.Panel(f"{kind}, ms", "queued jobs", found))
    yield "-demand", curves.picture("What one tick computes, a fifth as many instances as jobs", panels)


def _by_repositories(summary: Summary) -> str:
    """How time, charged requests and points grow with the number of repositories."""
    panels = []
    for measure, title in PANELS.items():
        found = {}
        for (client, tick), name in CURVES.items():
            rows = {place: summary.of(client, place, tick) for place in summary.places if place.world == "mixed"}
            found[name] = [
                (float(place.size), median(getattr(row, measure) for row in each))
                for place, each in rows.items()
                if each
            ]
        panels.append(curves.Panel(title, "repositories", found))
    return curves.picture("One tick, at 80 ms an answer", panels)
