"""The world while it runs: a table that is drawn anew on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TextIO

from scaler.sandbox.demo.history import Declared, History, InstanceLife, JobLife, instance_of
from scaler.sandbox.journal import Entry, Journal

STATES = ("queued", "booting", "running", "done")
LATEST = 6
"""Lines of what happened last, below the table."""
LINE_EVERY = 60.0
"""Virtual seconds between two lines where there is no terminal."""

BOLD, DIM, RED, GREEN, YELLOW, CYAN, PLAIN = (
    "\x1b[1m",
    "\x1b[2m",
    "\x1b[31m",
    "\x1b[32m",
    "\x1b[33m",
    "\x1b[36m",
    "\x1b[0m",
)
COLOURS = {"queued": YELLOW, "booting": CYAN, "running": GREEN, "done": DIM}


class Live:
    """Shows a world's ground truth on a stream; call `show` as often as it should look."""

    def __init__(
        self, stream: TextIO, journal: Journal, said: Declared, start: datetime, repositories: list[str]
    ) -> None:
        """`start` is when the world began; the rows are `repositories`."""
        self.history = History()
        self.silent = False
        self._stream, self._journal, self._said, self._start = stream, journal, said, start
        self._repositories = repositories
        self._tty = stream.isatty()
        self._colour = self._tty and not os.environ.get("NO_COLOR")
        self._read = self._drawn = 0
        self._told: list[str] = []
        self._last_line = -LINE_EVERY

    def show(self, now: datetime, real: float) -> None:
        """Draw the world as it is now; `real` is how long it has run, in real seconds."""
        if self.silent:
            return
        self._catch_up()
        age = (now - self._start).total_seconds()
        if self._tty:
            self._draw([self._head(now, age, real), "", *self._table(), "", *self._feed()])
        elif age - self._last_line >= LINE_EVERY:
            self._last_line = age
            print(self._line(age), file=self._stream, flush=True)

    def _catch_up(self) -> None:
        entries = list(self._journal)[self._read :]
        self._read += len(entries)
        for entry in entries:
            self.history.read([entry])
            told = sentence(entry, self.history)
            if told:
                self._told.append(f"{entry.at:%H:%M:%S}  {told}")

    # --- counting --------------------------------------------------------------------------------

    def _count(self) -> Mapping[tuple[str, str], Counter[str]]:
        """By repository and pool ("" is no pool): jobs queued, running, done, and instances booting."""
        found: dict[tuple[str, str], Counter[str]] = {}
        for job in self.history.jobs.values():
            state = "done" if job.finished_at else "running" if job.started_at else "queued"
            found.setdefault((job.repository, self._pool(job)), Counter())[state] += 1
        for instance in self.history.instances.values():
            if instance.phase == "booting":
                found.setdefault((instance.scope, instance.pool), Counter())["booting"] += 1
        return found

    def _pool(self, job: JobLife) -> str:
        instance = self.history.instances.get(job.instance)
        return instance.pool if instance else self._said.pool_of(job.labels)

    def _phases(self, pool: str) -> Counter[str]:
        alive = [each for each in self.history.instances.values() if each.pool == pool and each.alive]
        return Counter(each.phase for each in alive)

    # --- the table -------------------------------------------------------------------------------

    def _head(self, now: datetime, age: float, real: float) -> str:
        minutes, seconds = divmod(int(age), 60)
        done = sum(job.finished_at is not None for job in self.history.jobs.values())
        clock = self._paint(BOLD, f"{now:%H:%M:%S}")
        return f"{clock} in the sandbox, {minutes}m{seconds:02}s in {real:.0f} s · {done} of {len(self.history.jobs)} jobs done"

    def _table(self) -> list[str]:
        counts = self._count()
        names = [pool.name for pool in self._said.pools]
        width = max(map(len, [*self._repositories, "instances"])) + 2
        top = " " * width + "".join(f"── {name} ".ljust(33, "─") + "   " for name in names) + "no pool"
        heads = " " * width + "".join("".join(f"{state:>8}" for state in STATES) + "    " for _ in names) + " queued"
        rows = [self._paint(DIM, top), self._paint(DIM, heads)]
        for repository in self._repositories:
            cells = [self._cells(counts.get((repository, name), Counter())) for name in names]
            stray = counts.get((repository, ""), Counter())["queued"]
            rows.append(f"{repository:<{width}}" + "    ".join(cells) + "    " + self._number(stray, "queued", 7))
        return [*rows, f"{'instances':<{width}}" + "    ".join(self._bar(name) for name in names)]

    def _cells(self, count: Counter[str]) -> str:
        return "".join(self._number(count[state], state, 8) for state in STATES)

    def _number(self, value: int, state: str, width: int) -> str:
        return self._paint(COLOURS[state] if value else DIM, f"{value or '·':>{width}}")

    def _bar(self, name: str) -> str:
        limit = next(pool.max for pool in self._said.pools if pool.name == name)
        phases = self._phases(name)
        marks = [("busy", "█", GREEN), ("idle", "▒", YELLOW), ("booting", "░", CYAN), ("ending", "░", DIM)]
        bar = "".join(self._paint(colour, mark * phases[phase]) for phase, mark, colour in marks)
        alive = sum(phases.values())
        text = f"{alive} of {limit}"
        return f"{text:>8} " + bar + self._paint(DIM, "·" * (limit - alive)) + " " * max(0, 23 - max(limit, alive))

    def _feed(self) -> list[str]:
        told = self._told[-LATEST:]
        return [self._paint(DIM, line) for line in [*told, *[""] * (LATEST - len(told))]]

    def _draw(self, rows: list[str]) -> None:
        columns = shutil.get_terminal_size((100, 24)).columns
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        text = "".join(f"\x1b[2K{_cut(row, columns)}{PLAIN}\n" for row in rows)
        self._stream.write(f"\x1b[?25l{up}\r{text}\x1b[?25h")
        self._stream.flush()
        self._drawn = len(rows)

    def _paint(self, colour: str, text: str) -> str:
        return f"{colour}{text}{PLAIN}" if self._colour and text else text

    # --- one line --------------------------------------------------------------------------------

    def _line(self, age: float) -> str:
        counts = self._count()
        parts = []
        for pool in self._said.pools:
            total: Counter[str] = sum((c for (_, name), c in counts.items() if name == pool.name), Counter())
            alive = sum(self._phases(pool.name).values())
            states = ", ".join(f"{total[state]} {state}" for state in STATES)
            parts.append(f"{pool.name}: {states}, {alive} of {pool.max} instances")
        stray = sum(c["queued"] for (_, name), c in counts.items() if not name)
        parts += [f"no pool: {stray} queued"] if stray else []
        return f"+{int(age) // 60:02}m{int(age) % 60:02}s  " + " | ".join(parts)


def _cut(row: str, columns: int) -> str:
    """The row within the terminal's width: what wraps could not be drawn over."""
    found, seen, index = "", 0, 0
    while index < len(row) and seen < columns - 1:
        if row[index] == "\x1b":
            end = row.index("m", index) + 1
            found, index = found + row[index:end], end
        else:
            found, seen, index = found + row[index], seen + 1, index + 1
    return found


# --- what happened, in words ---------------------------------------------------------------------


def sentence(entry: Entry, history: History) -> str:
    """An entry of the journal for people; nothing for what goes without saying."""
    tell = _SENTENCES.get(entry.what)
    return tell(entry.facts, history) if tell else ""


def _instance(facts: Mapping[str, Any], history: History) -> str:
    found = history.instances.get(facts.get("id") or instance_of(facts.get("runner") or ""))
    return f"{short(found)} ({found.pool})" if found else "?"


def short(instance: InstanceLife) -> str:
    """The beginning of an instance's id: enough to tell it from others."""
    return instance.id[:10]


def _job(facts: Mapping[str, Any]) -> str:
    again = f" (attempt {facts['attempt']})" if facts["attempt"] > 1 else ""
    return f"{facts['name']} of {facts['repository']}{again}"


def _ended(facts: Mapping[str, Any], history: History) -> str:
    how = {"itself": "powered itself off", "api": "was ended by the scaler", "spot": "was taken back by EC2"}
    return f"{_instance(facts, history)} {how[facts['by']]}"


def _removed(facts: Mapping[str, Any], history: History) -> str:
    found = history.instances.get(instance_of(facts["runner"]))
    return f"{_instance(facts, history)} was drained by the scaler" if found and found.drained_at else ""


def _booting(facts: Mapping[str, Any], history: History) -> str:
    return f"{_instance(facts, history)} is struck: {', '.join(facts['faults'])}" if facts["faults"] else ""


_SENTENCES: Mapping[str, Callable[[Mapping[str, Any], History], str]] = {
    "run.requested": lambda facts, _: f"{facts['workflow']} of {facts['repository']} was requested",
    "run.rerun": lambda facts, _: f"{facts['workflow']} of {facts['repository']} is run again",
    "run.cancelled": lambda facts, _: f"{facts['workflow']} of {facts['repository']} was cancelled",
    "instance.launched": lambda facts, history: f"{_instance(facts, history)} was launched",
    "machine.booting": _booting,
    "runner.online": lambda facts, history: f"{_instance(facts, history)} is online",
    "job.started": lambda facts, history: f"{_instance(facts, history)} took {_job(facts)}",
    "job.finished": lambda facts, _: f"{_job(facts)} ended: {facts['conclusion']}",
    "job.lost": lambda facts, _: f"{_job(facts)} was lost: {facts['why']}",
    "runner.removed": _removed,
    "instance.ending": _ended,
}
