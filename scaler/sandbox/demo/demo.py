"""
`python -m scaler demo`: the main job on the embedded GitHub and AWS, watched, drawn and accounted for.

The scaler runs as the real command in a process of its own, as in a job of GitHub Actions; each instance is a
process that runs the real boot script. The verdict at the end comes from the world's own journal.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from scaler.sandbox.demo import ledger, timeline
from scaler.sandbox.demo.history import Declared, History, declared
from scaler.sandbox.demo.job_process import JobProcess
from scaler.sandbox.demo.ledger import Account, Ledger
from scaler.sandbox.demo.live import Live
from scaler.sandbox.sandbox import Sandbox
from scaler.sandbox.scenario import RunIds, Scenario, load

SCENARIO = Path(__file__).parent / "scenarios" / "main.yaml"
START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
SPEED = 16.0
"""Virtual seconds per real one. A boot costs real CPU time: much faster, and two cores cannot boot six at once."""
WATCH, EVERY, LINGER = 40 * 60, 15, 60
"""The scaler's watch in virtual seconds: at most so long, a tick so often, and so long without work."""
SETTLE = 180
"""Virtual seconds that instances have to end in after the scaler has gone."""
PATIENCE = 5.0
"""Real seconds the scaler has to end in when it is asked to."""
LOOK = 0.2
"""Real seconds between two looks at the world."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asked for."""

    speed: float
    out: Path
    scenario: Path
    record: Path | None
    quiet: bool
    serve: Path | None

    @property
    def config(self) -> Path:
        """The fleet's config lies beside the scenario."""
        return self.scenario.with_suffix(".config.yaml")


@dataclass(frozen=True, slots=True)
class Played:
    """What is left when the world has ended."""

    ledger: Ledger
    history: History
    said: Declared
    end: datetime
    real: float
    code: int
    summary: str


def run_demo(args: Sequence[str]) -> int:
    """
    Run the demo: 0 if the ledger balances and the scaler ended well, 1 if not, 2 if it cannot be run as asked.

    130 or 143 if it was stopped; nothing is left running then either. With --serve there is no scaler but yours, and to
    stop it is how it ends: the ledger alone decides.
    """
    try:
        options = _options(args)
    except SystemExit as answered:  # argparse has said what there was to say
        return int(answered.code or 0)
    try:
        scenario = load(options.scenario)
        options.out.mkdir(parents=True, exist_ok=True)
        declared(options.config)
        with _signals() as stopped:
            played = _play(options, scenario, stopped)
    except (OSError, ValueError, LookupError) as error:
        print(f"demo: {error}", file=sys.stderr)  # noqa: T201 - the demo speaks
        return 2
    if played is None:
        print("\nStopped. The scaler, the machines and the servers have ended.", flush=True)  # noqa: T201
        return 128 + stopped[0]
    _write(played, options, scenario)
    _tell(played, options)
    return played.ledger.exit_code or (1 if played.code else 0)


def _options(args: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser(
        prog="python -m scaler demo",
        description="Run the scaler on an embedded GitHub and AWS. No account, no network, nothing to clean up.",
    )
    parser.add_argument(
        "--speed", type=_speed, default=SPEED, metavar="N", help=f"seconds of the world a second [{SPEED:g}]"
    )
    parser.add_argument("--out", type=Path, default=Path("build/demo"), metavar="DIR", help="for results [build/demo]")
    parser.add_argument("--scenario", type=Path, default=SCENARIO, metavar="FILE", help="what happens; FILE's config"
                        " lies beside it, as NAME.config.yaml [the demo's own]")  # fmt: skip
    parser.add_argument("--record", type=Path, metavar="FILE", help="write every exchange with GitHub there, as JSON")
    parser.add_argument("--quiet", action="store_true", help="print the ledger only")
    parser.add_argument("--serve", type=Path, metavar="FILE", help="run no scaler: write a scaler's environment to"
                        " FILE, NAME=value a line, and be there until stopped")  # fmt: skip
    return Options(**vars(parser.parse_args(args)))


def _speed(text: str) -> float:
    value = float(text)
    if not 1 <= value <= 200:
        raise argparse.ArgumentTypeError("expected 1 to 200")
    return value


@contextmanager
def _signals() -> Iterator[list[int]]:
    """The signals that came: the demo looks now and then, so that it ends in order."""
    came: list[int] = []
    watched = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in watched}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# --- playing -------------------------------------------------------------------------------------


def _play(options: Options, scenario: Scenario, stopped: list[int]) -> Played | None:
    """Let it happen, show it, and close the books; None if it was stopped before it was over."""
    with tempfile.TemporaryDirectory(prefix="runner-scaler-demo-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # the boot script may change to a user of its own
        with Sandbox(Path(folder), start=START, speed=options.speed, record=options.record) as box:
            # The scaler's clock is the machine's: a minute's requests would have to last for twenty of the world's.
            box.github.set(names_limits=False)
            began = time.monotonic()
            runs = box.play(scenario)
            live = _live(box, options)
            scaler = None if options.serve else JobProcess(_command(options), box.env(), options.out)
            if options.serve:
                _hand_out(box, options.serve)
            try:
                while not stopped and (scaler is None or scaler.running()):
                    live.show(box.clock.now(), time.monotonic() - began)
                    time.sleep(LOOK)
                _settle(box, SETTLE / options.speed, [] if options.serve else stopped)
            finally:
                if scaler is not None:
                    scaler.interrupt(PATIENCE)
            if stopped and scaler is not None:
                return None
            live.show(box.clock.now(), time.monotonic() - began)
            return _close(box, scaler, runs, options, time.monotonic() - began)


def _hand_out(box: Sandbox, file: Path) -> None:
    """
    Say where the world is, in one write: whoever waits for the file, a FIFO say, has all of it.

    SANDBOX_API_URL is for the action's input: in a workflow nobody sets GITHUB_API_URL but the runner.
    """
    env = box.env()
    lines = [f"{name}={value}" for name, value in {**env, "SANDBOX_API_URL": env["GITHUB_API_URL"]}.items()]
    with file.open("a") as out:
        out.write("\n".join(lines) + "\n")


def _command(options: Options) -> list[str]:
    def real(virtual: float, least: int) -> str:
        return f"{max(least, math.ceil(virtual / options.speed))}s"

    times = ["--for", real(WATCH, 10), "--every", real(EVERY, 1), "--linger", real(LINGER, 2)]
    return ["auto", "--config", str(options.config.resolve()), *times]


def _live(box: Sandbox, options: Options) -> Live:
    names = [repository.full_name for repository in box.github.state.repositories.values()]
    live = Live(sys.stdout, box.journal, declared(options.config), START, names)
    live.silent = options.quiet
    return live


def _settle(box: Sandbox, seconds: float, stopped: list[int]) -> None:
    """Wait for instances that are about to end themselves; what has not by then, has not."""
    deadline = time.monotonic() + max(seconds, 2.0)
    while time.monotonic() < deadline and not stopped and (box.aws.alive() or box.github.registered()):
        time.sleep(LOOK)


def _close(box: Sandbox, scaler: JobProcess | None, runs: RunIds, options: Options, real: float) -> Played:
    said = declared(options.config, options.scenario, runs)
    with box.clock.lock:
        (options.out / "journal.jsonl").write_text("".join(f"{entry.to_json()}\n" for entry in box.journal))
        (options.out / "consoles.txt").write_text(_consoles(box))
        books = ledger.close(box.github, box.aws, said)
        history = History().read(box.journal)
        end = box.clock.now()
    code, summary = (scaler.end(), scaler.summary.read_text()) if scaler is not None else (0, "")
    return Played(books, history, said, end, real, code, summary)


def _consoles(box: Sandbox) -> str:
    return "".join(f"--- {each.id}\n{box.aws.ec2.console_text(each.id)}\n" for each in box.aws.instances())


# --- telling -------------------------------------------------------------------------------------


def _write(played: Played, options: Options, scenario: Scenario) -> None:
    books = played.ledger
    title = f"runner-scaler: {scenario.name}"
    picture = timeline.svg(played.history, played.said, START, played.end, scenario.name.capitalize())
    (options.out / "timeline.svg").write_text(picture)
    (options.out / "ledger.txt").write_text("\n".join(ledger.lines(books)) + "\n")
    (options.out / "ledger.json").write_text(json.dumps(ledger.as_json(books), indent=2) + "\n")
    tiles = [
        (f"of {len(books.jobs)} jobs served", str(books.count(Account.SERVED))),
        ("median wait in the queue", ledger.span(ledger.percentile(books.waits, 0.5))),
        ("p95 wait in the queue", ledger.span(ledger.percentile(books.waits, 0.95))),
        ("instances launched", str(len(books.instances))),
        ("instance-minutes billed", f"{books.billed / 60:.0f}"),
        ("things left behind", str(len(books.alive) + len(books.runners) + len(books.parameters))),
    ]
    texts = [("Ledger", "\n".join(ledger.lines(books)))]
    texts += [("Job summary of the last tick", readable(played.summary))] if played.summary else []
    subtitle = f"The demo in the sandbox: {played.real:.0f} s, {options.speed:g} times as fast as life."
    (options.out / "timeline.html").write_text(timeline.page(picture, title, subtitle, tiles, texts))


def _tell(played: Played, options: Options) -> None:
    told = bool(played.summary) and not options.quiet
    parts = ["", "Job summary of the last tick", "", readable(played.summary).rstrip(), ""] if told else []
    parts += ["Ledger, from the world's own journal", "", *ledger.lines(played.ledger), ""]
    if played.code:
        parts.append(f"The scaler ended with exit code {played.code}: see {options.out / 'scaler.log'}")
    if not options.quiet:
        parts.append(f"Took {played.real:.0f} s. See {options.out / 'timeline.html'}; beside it the scaler's log, the")
        parts.append("job summary, the ledger as JSON and the world's journal.")
    print("\n".join(parts), flush=True)  # noqa: T201


def readable(markdown: str) -> str:
    """The job summary for a terminal: tables in columns, without marks and charts."""
    markdown = re.sub(r"(?ms)^[^\n]*\n\n```mermaid$.*?^```$\n\n", "", markdown)
    markdown = re.sub(r"(?m)^</details>$\n\n|</?(details|summary)>", "", markdown)
    found: list[str] = []
    table: list[list[str]] = []
    for line in [*markdown.splitlines(), ""]:
        if line.startswith("|"):
            cells = [_plain(cell) for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            table += [] if set("".join(cells)) <= {"-"} else [cells]
            continue
        if table:
            widths = [max(map(len, column)) for column in zip(*table, strict=True)]
            found += ["  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)).rstrip() for row in table]
            table = []
        found.append(_plain(line.lstrip("#")))
    return "\n".join(found)


def _plain(text: str) -> str:
    linked = re.sub(r"(?<!\\)\[([^\]]*)\]\([^)]*\)", r"\1", text.strip().replace("**", ""))
    bare = re.sub(r"\\([\\`*_\[\]|#~$.:])", r"\1", linked)
    return bare.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
