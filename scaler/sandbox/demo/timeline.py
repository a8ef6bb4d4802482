"""The history of a world as a picture: SVG that follows the reader's light or dark, and a page around it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape

from scaler.sandbox.demo.history import Declared, History, InstanceLife, JobLife

WIDTH, LEFT, RIGHT = 980, 172, 28
QUEUE_TOP, QUEUE_HEIGHT = 66, 96
ROW, HEADING = 19, 26
LETTER = 6.1
"""Pixels of a letter in a job's bar, more or less."""

STYLE = """
.rs { --bg:#fff; --fg:#1f2328; --dim:#656d76; --grid:#e4e8ec; --pending:#c9d1d9; --kernel:#d8dee4; --script:#8c959f;
  --idle:#d4a72c; --bad:#cf222e; --j0:#2f6fd0; --j1:#1f8a54; --j2:#b3541e; --j3:#8250df; --j4:#0b7a84;
  --q0:#2f6fd0; --q1:#8250df; --q2:#8c959f; font:12px system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif; }
@media (prefers-color-scheme: dark) {
.rs { --bg:#0d1117; --fg:#e6edf3; --dim:#8d96a0; --grid:#222831; --pending:#3d444d; --kernel:#30363d; --script:#6e7681;
  --idle:#bb8009; --bad:#f85149; --j0:#3b76cf; --j1:#2a8a57; --j2:#b65a24; --j3:#8957e5; --j4:#158790;
  --q0:#58a6ff; --q1:#a371f7; --q2:#8d96a0; } }
.rs text { fill:var(--fg); }
.rs .dim { fill:var(--dim); }
.rs .head { font-weight:600; font-size:13px; }
.rs .title { font-weight:600; font-size:16px; }
.rs .on { fill:#fff; font-size:11px; }
.rs .mono { font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace; font-size:11px; }
.rs .end { text-anchor:end; }
.rs .mid { text-anchor:middle; }
"""

STRUCK = {"hang": "hung at boot", "late": "booted late", "crashes": "crashed", "refused": "was refused"}
"""Faults of machines, as a reader would say."""
HATCH = """
<defs><pattern id="hang" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
<rect width="6" height="6" fill="var(--bg)"/><rect width="3" height="6" fill="var(--bad)"/></pattern></defs>
"""


@dataclass(frozen=True, slots=True)
class Scale:
    """Virtual time to pixels."""

    start: datetime
    seconds: float

    def x(self, when: datetime) -> float:
        """Where a moment lies."""
        share = (when - self.start).total_seconds() / self.seconds
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)


def svg(history: History, said: Declared, start: datetime, end: datetime, title: str) -> str:
    """The picture: queued jobs above, then a row for each instance from launch to end, by pool."""
    minutes = int((end - start).total_seconds() // 60) + 1
    scale = Scale(start, minutes * 60.0)
    repositories = sorted({job.repository for job in history.jobs.values()})
    rows, y = [], QUEUE_TOP + QUEUE_HEIGHT + 30
    for pool in said.pools:
        lives = [each for each in history.instances.values() if each.pool == pool.name]
        rows.append(_text(16, y + 14, f"pool {pool.name}", "head"))
        rows.append(_text(LEFT, y + 14, f"{len(lives)} instances, at most {pool.max} at once", "dim"))
        y += HEADING
        for life in sorted(lives, key=lambda each: (each.launched_at, each.id)):
            rows += _row(life, y, scale, end, repositories)
            y += ROW
        y += 8
    bottom = y + 2
    height = bottom + 68
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="rs" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        HATCH,
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="var(--bg)" stroke="var(--grid)"/>',
        _text(16, 30, title, "title"),
        *_grid(scale, minutes, bottom),
        *_queue(history, said, scale, end),
        *_marks(history, scale, bottom),
        *rows,
        *_legend(repositories, bottom + 30),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


# --- the axis and the queue ----------------------------------------------------------------------


def _grid(scale: Scale, minutes: int, bottom: float) -> Iterator[str]:
    step = max(1, -(-minutes // 16))
    width = (WIDTH - LEFT - RIGHT) / minutes
    for minute in range(0, minutes + 1, step):
        x = round(LEFT + minute * width, 1)
        yield f'<line x1="{x}" y1="{QUEUE_TOP}" x2="{x}" y2="{bottom}" stroke="var(--grid)"/>'
        label = f"{minute} min" if minute else f"{scale.start:%H:%M}"
        yield _text(x, QUEUE_TOP - 8, label, "dim mid mono")


def _queue(history: History, said: Declared, scale: Scale, end: datetime) -> Iterator[str]:
    """Jobs queued, as steps, one pool on top of the other; what no pool serves lies at the bottom."""
    jobs = list(history.jobs.values())
    kinds = ["", *(pool.name for pool in said.pools)]
    moments = sorted({scale.start, end, *(job.queued_at for job in jobs), *(_left_queue(job, end) for job in jobs)})
    levels = [[sum(_queued(job, said, kind, when, end) for job in jobs) for kind in kinds] for when in moments]
    most = max(map(sum, levels), default=0) or 1
    base, unit = QUEUE_TOP + QUEUE_HEIGHT, (QUEUE_HEIGHT - 22) / most
    yield _text(16, QUEUE_TOP + 14, "jobs queued", "head")
    for number in range(len(kinds)):
        tops = [base - unit * sum(row[: number + 1]) for row in levels]
        floors = [base - unit * sum(row[:number]) for row in levels]
        if tops == floors:
            continue
        colour = f"var(--q{(number - 1) % 3})"
        shape = [*_steps(moments, tops, scale), *reversed(_steps(moments, floors, scale))]
        points = " ".join(f"{x},{round(y, 1)}" for x, y in shape)
        name = f"for pool {kinds[number]}" if number else "nobody serves"
        yield f'<polygon points="{points}" fill="{colour}" fill-opacity=".55"><title>{escape(name)}</title></polygon>'
        yield f'<rect x="16" y="{QUEUE_TOP + 24 + 18 * number}" width="10" height="10" rx="2" fill="{colour}" fill-opacity=".55"/>'
        yield _text(32, QUEUE_TOP + 33 + 18 * number, name, "dim")
    for level in sorted({most, most // 2} - {0}):
        yield _text(LEFT - 8, base - unit * level + 4, str(level), "dim end mono")
    yield f'<line x1="{LEFT}" y1="{base}" x2="{WIDTH - RIGHT}" y2="{base}" stroke="var(--dim)"/>'


def _marks(history: History, scale: Scale, bottom: float) -> Iterator[str]:
    """What people did to runs, as lines across."""
    for number, (at, words) in enumerate(history.marks):
        x = scale.x(at)
        yield f'<path d="M{x},{QUEUE_TOP}V{bottom}" stroke="var(--dim)" stroke-dasharray="2 4" fill="none"/>'
        yield _text(x + 5, QUEUE_TOP + 12 + 15 * (number % 2), words, "dim")


def _left_queue(job: JobLife, end: datetime) -> datetime:
    return job.started_at or job.finished_at or end


def _queued(job: JobLife, said: Declared, pool: str, when: datetime, end: datetime) -> bool:
    return job.queued_at <= when < _left_queue(job, end) and said.pool_of(job.labels) == pool


def _steps(moments: Sequence[datetime], heights: Sequence[float], scale: Scale) -> list[tuple[float, float]]:
    points: list[tuple[float, float]] = []
    for moment, height in zip(moments, heights, strict=True):
        if points:
            points.append((scale.x(moment), points[-1][1]))
        points.append((scale.x(moment), height))
    return points


# --- a row ---------------------------------------------------------------------------------------


def _row(life: InstanceLife, y: float, scale: Scale, end: datetime, repositories: list[str]) -> Iterator[str]:
    middle = y + ROW / 2
    over = life.ending_at or end
    yield _text(16, middle + 4, life.id[:10], "mono")
    yield _text(LEFT - 10, middle + 4, life.scope, "dim end")
    running = life.running_at or over
    script = life.script_at or over
    online = life.online_at or over
    yield _bar(scale, life.launched_at, min(running, over), middle, 2, "var(--pending)", "pending at EC2")
    if life.faults and not life.jobs:
        yield _bar(scale, running, over, middle, 9, "url(#hang)", f"struck: {', '.join(life.faults)}")
    else:
        yield _bar(scale, running, min(script, over), middle, 7, "var(--kernel)", "kernel and systemd boot")
        yield _bar(scale, script, min(online, over), middle, 7, "var(--script)", "the boot script runs")
        for begin, until in _idle(life, online, over):
            yield _bar(scale, begin, until, middle, 7, "var(--idle)", "online and idle")
    for job in life.jobs:
        yield from _job(job, scale, middle, end, repositories)
    if life.ending_at is not None:
        yield _bar(scale, life.ending_at, life.ended_at or end, middle, 2, "var(--pending)", "shutting down")
        yield from _end(life, scale.x(life.ending_at), middle)


def _idle(life: InstanceLife, online: datetime, over: datetime) -> Iterator[tuple[datetime, datetime]]:
    since = online
    for job in life.jobs:
        if job.started_at is not None:
            yield since, job.started_at
            since = job.finished_at or over
    if not life.jobs or not life.ephemeral:
        yield since, over


def _job(job: JobLife, scale: Scale, middle: float, end: datetime, repositories: list[str]) -> Iterator[str]:
    begin, over = job.started_at or end, job.finished_at or end
    left, width = scale.x(begin), scale.x(over) - scale.x(begin)
    words = f"{job}: {job.conclusion or 'running'}, waited {round(job.waited or 0)} s"
    colour = f"var(--j{repositories.index(job.repository) % 5})"
    edge = ' stroke="var(--bad)" stroke-width="2"' if job.conclusion == "failure" else ""
    yield (
        f'<rect x="{left}" y="{middle - 7.5}" width="{max(width, 1):.1f}" height="15" rx="3" fill="{colour}"{edge}>'
        f"<title>{escape(words)}</title></rect>"
    )
    name = job.name + (f" · attempt {job.attempt}" if job.attempt > 1 else "")
    if job.conclusion not in {"success", ""}:
        name += f" · {job.conclusion}"
    fitting = [text for text in (name, job.name, f"{job.name[:4]}…") if len(text) * LETTER + 8 <= width]
    if fitting:
        yield _text(left + 5, middle + 4, fitting[0], "on")


def _end(life: InstanceLife, x: float, middle: float) -> Iterator[str]:
    if life.ended_by == "itself":
        yield f'<circle cx="{x}" cy="{middle}" r="3.5" fill="var(--fg)"><title>powered itself off</title></circle>'
    else:
        word = "ended by the scaler" if life.ended_by == "api" else "taken back by EC2"
        yield (
            f'<path d="M{x - 4},{middle - 4}l8,8m0,-8l-8,8" stroke="var(--bad)" stroke-width="2.5" fill="none">'
            f"<title>{word}</title></path>"
        )
    if life.faults and not life.jobs:
        yield _text(x + 18, middle + 4, " and ".join(STRUCK.get(fault, fault) for fault in life.faults), "dim")
    elif life.drained_at is not None:
        yield _text(x + 18, middle + 4, "idle: drained by the scaler", "dim")
    elif not life.jobs:
        yield _text(x + 18, middle + 4, "idle: no job came", "dim")


def _bar(scale: Scale, begin: datetime, over: datetime, middle: float, height: float, fill: str, words: str) -> str:
    width = scale.x(over) - scale.x(begin)
    if width <= 0:
        return ""
    return (
        f'<rect x="{scale.x(begin)}" y="{middle - height / 2}" width="{width:.1f}" height="{height}" fill="{fill}">'
        f"<title>{escape(words)}, {(over - begin).total_seconds():.0f} s</title></rect>"
    )


def _legend(repositories: Iterable[str], y: float) -> Iterator[str]:
    phases = [
        (_swatch("var(--pending)", 2), "pending, shutting down"),
        (_swatch("var(--kernel)", 7), "kernel boots"),
        (_swatch("var(--script)", 7), "boot script runs"),
        (_swatch("var(--idle)", 7), "idle"),
        ('<circle cx="14" r="3.5" fill="var(--fg)"/>', "powered itself off"),
        ('<path d="M10,-4l8,8m0,-8l-8,8" stroke="var(--bad)" stroke-width="2.5"/>', "ended by the scaler"),
    ]
    jobs = [(_swatch(f"var(--j{n % 5})", 13), f"job of {name}") for n, name in enumerate(repositories)]
    for row, entries in enumerate((phases, jobs)):
        x = 16.0
        for shape, words in entries:
            yield f'<g transform="translate({x:.0f},{y + 22 * row})">{shape}{_text(24, 4, words, "dim")}</g>'
            x += 44 + len(words) * LETTER


def _swatch(fill: str, height: float) -> str:
    return f'<rect y="{-height / 2}" width="18" height="{height}" rx="1.5" fill="{fill}"/>'


def _text(x: float, y: float, words: str, kind: str) -> str:
    return f'<text x="{x}" y="{y}" class="{kind}">{escape(words)}</text>'


# --- the page ------------------------------------------------------------------------------------

_PAGE_STYLE = """
:root { color-scheme: light dark; --bg:#f6f8fa; --fg:#1f2328; --dim:#656d76; --card:#fff; --line:#d0d7de; }
@media (prefers-color-scheme: dark) { :root { --bg:#010409; --fg:#e6edf3; --dim:#8d96a0; --card:#0d1117; --line:#30363d; } }
body { margin:0 auto; padding:24px; max-width:980px; background:var(--bg); color:var(--fg);
  font:15px/1.5 system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif; }
h1 { font-size:22px; margin:0 0 4px; } h2 { font-size:16px; margin:28px 0 8px; } p { margin:0 0 16px; color:var(--dim); }
.tiles { display:flex; flex-wrap:wrap; gap:12px; margin:16px 0; }
.tile { flex:1; min-width:108px; background:var(--card); border:1px solid var(--line); border-radius:8px; padding:10px 14px; }
.tile b { display:block; font-size:22px; } .tile span { color:var(--dim); font-size:13px; }
pre { background:var(--card); border:1px solid var(--line); border-radius:8px; padding:14px; overflow-x:auto; font-size:12.5px; }
svg { max-width:100%; height:auto; }
"""


def page(
    picture: str, title: str, subtitle: str, tiles: Sequence[tuple[str, str]], texts: Sequence[tuple[str, str]]
) -> str:
    """One page that needs nothing else: the picture, numbers above it and texts below."""
    cards = "".join(
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span></div>' for name, value in tiles
    )
    blocks = "".join(f"<h2>{escape(name)}</h2>\n<pre>{escape(text)}</pre>\n" for name, text in texts)
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width"><style>{_PAGE_STYLE}</style></head>\n<body>\n'
        f"<h1>{escape(title)}</h1>\n<p>{escape(subtitle)}</p>\n"
        f'<div class="tiles">{cards}</div>\n{picture}{blocks}</body>\n</html>\n'
    )
