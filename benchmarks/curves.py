"""Growth curves as SVG that follows the reader's light or dark: both axes are logarithmic."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, PANEL, TOP, BOTTOM, LEFT, RIGHT = 980, 250, 96, 52, 56, 26
COLOURS = 6

STYLE = """
.gc { --bg:#fff; --fg:#1f2328; --dim:#656d76; --grid:#e4e8ec; --c0:#2f6fd0; --c1:#1f8a54; --c2:#8c959f; --c3:#b3541e;
  --c4:#cf222e; --c5:#8250df; font:12px system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif; }
@media (prefers-color-scheme: dark) {
.gc { --bg:#0d1117; --fg:#e6edf3; --dim:#8d96a0; --grid:#222831; --c0:#58a6ff; --c1:#3fb950; --c2:#8d96a0; --c3:#db6d28;
  --c4:#f85149; --c5:#a371f7; } }
.gc text { fill:var(--fg); }
.gc .dim { fill:var(--dim); }
.gc .head { font-weight:600; font-size:13px; }
.gc .title { font-weight:600; font-size:16px; }
.gc .end { text-anchor:end; }
.gc .mid { text-anchor:middle; }
"""

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart: curves by name, and words for its axes."""

    title: str
    across: str
    curves: Mapping[str, Points]


@dataclass(frozen=True, slots=True)
class _Axis:
    """Decades to pixels. If there is a nought, it lies at the foot, a decade below the rest."""

    low: int
    high: int
    start: float
    end: float
    nought: bool

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float) -> _Axis:
        some = [value for value in values if value > 0] or [1]
        nought = min(values, default=1) <= 0
        low, high = math.floor(math.log10(min(some))) - nought, math.ceil(math.log10(max(some)))
        return cls(low, max(high, low + 1), start, end, nought)

    def at(self, value: float) -> float:
        share = (math.log10(value) - self.low) / (self.high - self.low) if value > 0 else 0.0
        return round(self.start + share * (self.end - self.start), 1)

    def decades(self) -> Iterator[float]:
        for power in range(self.low, self.high + 1):
            yield 0.0 if self.nought and power == self.low else 10.0**power


def picture(title: str, panels: Sequence[Panel]) -> str:
    """Charts side by side, with one legend."""
    names = list(dict.fromkeys(name for panel in panels for name in panel.curves))
    height = TOP + PANEL + BOTTOM
    share = WIDTH / len(panels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="gc" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="var(--bg)" stroke="var(--grid)"/>',
        _text(16, 26, title, "title"),
    ]
    x = 16.0
    for number, name in enumerate(names):
        parts.append(f'<path d="M{x},42h18" stroke="var(--c{number % COLOURS})" stroke-width="2.5"/>')
        parts.append(_text(x + 24, 46, name, "dim"))
        x += 44 + 6.4 * len(name)
    for number, panel in enumerate(panels):
        parts += _panel(panel, names, number * share + LEFT, (number + 1) * share - RIGHT)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(panel: Panel, names: Sequence[str], left: float, right: float) -> Iterator[str]:
    points = [point for curve in panel.curves.values() for point in curve]
    across = _Axis.over([x for x, _ in points], left, right)
    up = _Axis.over([y for _, y in points], TOP + PANEL, TOP)
    yield _text(left - 40, TOP - 14, panel.title, "head")
    for value in up.decades():
        yield f'<path d="M{left},{up.at(value)}H{right}" stroke="var(--grid)"/>'
        yield _text(left - 6, up.at(value) + 4, f"{value:g}", "dim end")
    for value in across.decades():
        yield f'<path d="M{across.at(value)},{TOP}V{TOP + PANEL}" stroke="var(--grid)"/>'
        yield _text(across.at(value), TOP + PANEL + 18, f"{value:g}", "dim mid")
    yield _text((left + right) / 2, TOP + PANEL + 38, panel.across, "dim mid")
    for name, curve in panel.curves.items():
        colour = f"var(--c{names.index(name) % COLOURS})"
        line = "L".join(f"{across.at(x)},{up.at(y)}" for x, y in sorted(curve))
        yield f'<path d="M{line}" fill="none" stroke="{colour}" stroke-width="2.5"><title>{escape(name)}</title></path>'
        for x, y in curve:
            said = f"{name}: {y:.4g} at {x:g}"
            yield f'<circle cx="{across.at(x)}" cy="{up.at(y)}" r="3" fill="{colour}"><title>{escape(said)}</title></circle>'


def _text(x: float, y: float, words: str, kind: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(words)}</text>'
