"""The chart of a watch, as Mermaid's XY chart, which GitHub draws. Nothing but numbers goes into it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import timedelta

from scaler.reporting.trend import Trend

LOWEST = 10
"""The axis reaches that far at least: below it Mermaid writes fractions of jobs."""
# Known to Mermaid since 10.6 as `xychart-beta`, and to GitHub, which had 11.12 in November 2025 (toppair/peek.nvim#90).
# It has no legend, and its own colours cannot be told apart; these can, on white and on black and by the colour-blind.
COLOURS = ("#999999", "#2f81f7", "#e69f00")
_SMALL = {"labelFontSize": 12, "titleFontSize": 12}
_LOOKS = {
    "xyChart": {"width": 860, "height": 220, "xAxis": _SMALL, "yAxis": _SMALL},
    "themeVariables": {"xyChart": {"backgroundColor": "transparent", "plotColorPalette": ", ".join(COLOURS)}},
}


def chart(trend: Trend) -> str:
    """Queue, running jobs and idle runners over the time of a watch; the queue is drawn last, above the others."""
    end = (len(trend.points) - 1) * trend.step / timedelta(minutes=1)
    top = max(LOWEST, *(max(point.queued, point.running, point.idle) for point in trend.points))
    lines = [
        f"%%{{init: {json.dumps(_LOOKS)}}}%%",
        "xychart-beta",
        f'    x-axis "minutes since {trend.began:%H:%M} UTC" 0 --> {end:g}',
        f"    y-axis 0 --> {top}",
        f"    line {_numbers(point.idle for point in trend.points)}",
        f"    line {_numbers(point.running for point in trend.points)}",
        f"    line {_numbers(point.queued for point in trend.points)}",
    ]
    return "Jobs queued (orange) and running (blue), idle runners (grey)\n\n```mermaid\n" + "\n".join(lines) + "\n```"


def _numbers(values: Iterable[int]) -> str:
    return f"[{', '.join(map(str, values))}]"
