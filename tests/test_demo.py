"""The demo as a command: what it writes and says, how it ends, and that it leaves nothing behind."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from scaler.sandbox.clock import Clock
from scaler.sandbox.demo import demo
from scaler.sandbox.demo.history import Declared, Pool, declared
from scaler.sandbox.demo.live import Live
from scaler.sandbox.journal import Journal
from scaler.sandbox.sandbox import TOKEN
from scaler.sandbox.scenario import load
from tests.watcher import Watcher, described

__all__ = ["described"]

ROOT = Path(__file__).parents[1]
SCENARIOS = ROOT / "scaler" / "sandbox" / "demo" / "scenarios"

SVG = "{http://www.w3.org/2000/svg}"

CONFIG = """\
version: 1
fleet: small
aws: {region: us-east-1, role: "arn:aws:iam::111122223333:role/runner-scaler"}
repositories: [acme/api]
max_runners: 2
pools:
  amd64:
    arch: amd64
    labels: [self-hosted, linux, x64, acme]
    launch_template: {name: runner-amd64, version: 3}
    max: 2
"""
SCENARIO = """\
repositories: [acme/api]
events:
  - at: 0s
    push:
      repository: acme/api
      jobs:
        - {name: build, labels: [self-hosted, acme], duration: 60s}
        - {name: train, labels: [self-hosted, gpu]}
"""
HURRY = "github: {queue_limit: 20s}\n"
JOBS = "  - {at: 0s, push: {repository: acme/api, jobs: [{name: long, labels: [self-hosted, acme], duration: 1h}]}}\n"


def start(folder: Path, scenario: str, *arguments: str) -> subprocess.Popen[str]:
    """Start the demo of a scenario, its results below the folder."""
    (folder / "small.yaml").write_text(scenario)
    (folder / "small.config.yaml").write_text(CONFIG)
    return subprocess.Popen(
        [
            sys.executable,
            "-P",
            "-m",
            "scaler",
            "demo",
            "--scenario",
            "small.yaml",
            "--out",
            "out",
            "--record",
            "exchanges.jsonl",
            *arguments,
        ],
        cwd=folder,
        # A proxy of the user's is not for the sandbox, and neither are the user's AWS credentials.
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "HTTP_PROXY": "http://127.0.0.1:9",
            "AWS_PROFILE": "mine",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_demo_serves_what_it_can_and_says_why_not_the_rest(tmp_path: Path, described: Watcher) -> None:
    process = start(tmp_path, SCENARIO, "--speed", "60")
    said, _ = process.communicate(timeout=60)
    out = tmp_path / "out"
    assert process.returncode == 0, said
    assert "It balances." in said
    assert '"train" of acme/api: no runner ever carried "gpu"' in said
    assert re.search(r"^\+\d\dm\d\ds  amd64: \d queued, \d booting", said, re.MULTILINE)
    books = json.loads((out / "ledger.json").read_text())
    assert books["balances"]
    assert [(job["name"], job["account"]) for job in books["jobs"]] == [
        ("build", "served"),
        ("train", "servable by nobody"),
    ]
    assert books["left"] == {
        "instances": [],
        "runners": [],
        "parameters": [],
        "kept": ["/runner-scaler/small/state"],
    }
    assert "### runner-scaler: fleet small" in (out / "summary.md").read_text()
    assert "launched" in (out / "outputs.txt").read_text()
    log = (out / "scaler.log").read_text()
    assert "launch amd64/0" in log
    assert not [secret for secret in ("add-mask", TOKEN, "eyI") if secret in log]
    described.read(tmp_path / "exchanges.jsonl")
    assert described.seen > 10


def test_a_job_that_is_lost_makes_the_command_fail_and_is_named(tmp_path: Path) -> None:
    """GitHub fails a job that was queued for too long; here that is sooner than any machine can boot."""
    process = start(tmp_path, SCENARIO + HURRY, "--speed", "60", "--quiet")
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1, said
    assert re.search(r'lost job: "build" of acme/api \(\d+\) ended as failure after 20s without having started', said)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "terminate"])
def test_a_demo_that_is_stopped_leaves_no_process_behind(tmp_path: Path, number: int, code: int) -> None:
    process = start(tmp_path, SCENARIO.partition("  - at")[0] + JOBS, "--speed", "60")
    assert process.stdout is not None
    for line in process.stdout:
        if "1 running" in line:
            break
    ours = descendants(process.pid)
    assert any("init-runner.sh" in command for command in ours.values())
    assert any("scaler auto" in command for command in ours.values())
    process.send_signal(number)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == code, said
    assert {pid: command for pid, command in ours.items() if lives(pid)} == {}


def lives(pid: int) -> bool:
    """Whether a process has not ended (a zombie has, though nobody has asked for its status yet)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except FileNotFoundError:
        return False


def descendants(pid: int) -> dict[int, str]:
    """The processes below one, with their command lines."""
    found: dict[int, str] = {}
    for child in Path(f"/proc/{pid}/task").glob("*/children"):
        for number in map(int, child.read_text().split()):
            try:
                found[number] = Path(f"/proc/{number}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            except FileNotFoundError:
                continue
            found |= descendants(number)
    return found


@pytest.mark.another_fleet
def test_the_timeline_is_one_file_that_loads_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--scenario", str(tmp_path / "small.yaml"), "--out", str(out), "--speed", "100", "--quiet"]
    (tmp_path / "small.yaml").write_text(SCENARIO)
    (tmp_path / "small.config.yaml").write_text(CONFIG)
    assert demo.run_demo(options) == 0
    page, picture = (out / "timeline.html").read_text(), (out / "timeline.svg").read_text()
    assert picture in page
    assert not re.search(r"<script|<link|<img|src=|href=|url\((?!#)|@import", page)
    texts = ["".join(each.itertext()) for each in ET.fromstring(picture).iter(f"{SVG}text")]  # noqa: S314
    assert {"pool amd64", "build", "nobody serves", "powered itself off"} <= set(texts)


def test_the_picture_of_the_readme_is_of_the_demos_scenario() -> None:
    texts = {"".join(each.itertext()) for each in ET.parse(ROOT / "docs" / "demo.svg").iter(f"{SVG}text")}  # noqa: S314
    assert {"pool amd64", "pool arm64", "test (12)", "e2e · attempt 2", "nobody serves", "hung at boot"} <= texts
    assert {"idle: drained by the scaler", "Preview cancelled", "CI run again"} <= texts


def test_the_demos_own_scenario_serves_every_job_that_can_be_served(tmp_path: Path) -> None:
    """As `make demo` runs it, at its own speed: boots cost real time."""
    command = [sys.executable, "-P", "-m", "scaler", "demo", "--quiet", "--out", str(tmp_path)]
    ran = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=150, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "It balances." in ran.stdout
    books = json.loads((tmp_path / "ledger.json").read_text())
    assert books["balances"]
    accounts = Counter(job["account"] for job in books["jobs"])
    assert accounts == {"served": 23, "cancelled": 2, "servable by nobody": 1}
    uses = Counter(instance["use"] for instance in books["instances"])
    assert uses["served a job"] == 23
    assert uses["struck by a declared fault"] == 1
    assert uses["beyond need"] == 0


def test_the_demos_own_scenario_shows_what_it_promises() -> None:
    """Three repositories, two pools, a matrix of 12, a label nobody serves, a re-run, a cancel, a hang, a surplus."""
    file = SCENARIOS / "main.yaml"
    scenario = load(file)
    said = declared(file.with_suffix(".config.yaml"), file, {"preview": 1})
    text = file.read_text()
    assert len(said.pools) == 2
    assert [len(re.findall(rf"repository: acme/{name}", text)) > 0 for name in ("api", "web", "data")] == [True] * 3
    assert "count: 12" in text
    assert said.pool_of(frozenset({"self-hosted", "x64", "acme", "gpu"})) == ""
    assert {"push", "cancel", "rerun"} == {event.kind for event in scenario.events}
    assert said.cancels == {(1, "")}
    assert [fault["kind"] for fault in scenario.aws["machines"]["faults"]] == ["hang"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--speed", "0"], "expected 1 to 200"),
        (["--speed", "fast"], "--speed"),
        (["--colour"], "--colour"),
        (["--scenario", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_bad_arguments_end_with_2_and_say_which(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo.run_demo(arguments) == 2
    assert says in capsys.readouterr().err


def test_a_scenario_without_a_config_beside_it_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "alone.yaml").write_text(SCENARIO)
    assert demo.run_demo(["--scenario", str(tmp_path / "alone.yaml"), "--out", str(tmp_path)]) == 2
    assert "alone.config.yaml" in capsys.readouterr().err


class Terminal(io.StringIO):
    """A stream that calls itself a terminal."""

    def isatty(self) -> bool:
        return True


def test_the_live_table_is_drawn_over_itself() -> None:
    clock = Clock(demo.START, speed=0)
    journal = Journal(clock)
    said = Declared("main", (Pool("amd64", frozenset({"x64"}), 3),))
    stream = Terminal()
    live = Live(stream, journal, said, demo.START, ["acme/api"])
    live.show(clock.now(), 0)
    rows = stream.getvalue().count("\n")
    facts = {"job": 1, "run": 1, "repository": "acme/api", "name": "build", "attempt": 1, "hosted": False}
    journal.write("job.queued", **facts, labels=["x64"])
    tags = {"runner-scaler:pool": "amd64", "runner-scaler:scope": "acme/api"}
    journal.write("instance.launched", id="i-0123456789abcdef0", tags=tags)
    journal.write("tags.changed", id="i-0123456789abcdef0", tags=tags)
    live.show(clock.now() + timedelta(seconds=1), 1)
    drawn = stream.getvalue()
    assert f"\x1b[{rows}A" in drawn
    second = re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", drawn).splitlines()[rows:]
    (row,) = [line for line in second if line.startswith("acme/api")]
    assert row.split()[1:5] == ["1", "1", "·", "·"]
    (bar,) = [line for line in second if line.startswith("instances")]
    assert "1 of 3 ░··" in bar
    assert any(line.endswith("i-01234567 (amd64) was launched") for line in second)


def test_a_summary_reads_well_on_a_terminal() -> None:
    rows = ["| Job | Verdict |", "| --- | --- |", "| [a\\|b](https://x/y) | **no pool**: lacks \\[gpu\\] &lt;1 |"]
    found = demo.readable("\n".join(["### fleet", "", *rows]))
    assert found.splitlines() == ["fleet", "", "Job  Verdict", "a|b  no pool: lacks [gpu] <1"]


def test_a_summary_on_a_terminal_is_unfolded_and_without_its_chart() -> None:
    page = [
        "Jobs queued (orange)\n\n```mermaid\nxychart-beta\n```",
        "<details><summary>Pool amd64: 1 of 4</summary>\n\n| Instance |\n| --- |\n| i-1 |\n\n</details>",
        "The end.",
    ]
    told = [line for line in demo.readable("\n\n".join(page)).splitlines() if line]
    assert told == ["Pool amd64: 1 of 4", "Instance", "i-1", "The end."]


def serve(folder: Path, scenario: str) -> tuple[subprocess.Popen[str], dict[str, str]]:
    """Start a world for a scaler of one's own; the environment comes when the servers are there."""
    (folder / "small.yaml").write_text(scenario)
    (folder / "small.config.yaml").write_text(CONFIG)
    environment = folder / "environment"
    os.mkfifo(environment)
    served = subprocess.Popen(
        [sys.executable, "-m", "scaler", "demo", "--serve", str(environment), "--scenario", str(folder / "small.yaml")],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    return served, dict(line.split("=", 1) for line in environment.read_text().splitlines())


def stop(served: subprocess.Popen[str]) -> tuple[int, str]:
    """Stop it; its exit code, and what it said."""
    served.send_signal(signal.SIGTERM)
    said, _ = served.communicate(timeout=60)
    return served.returncode, said


def test_a_served_world_waits_for_a_scaler_of_yours_and_closes_its_ledger(tmp_path: Path) -> None:
    served, env = serve(tmp_path, SCENARIO.replace("        - {name: train, labels: [self-hosted, gpu]}\n", ""))
    assert env["SANDBOX_API_URL"] == env["GITHUB_API_URL"]
    watch = ["auto", "--for", "5m", "--every", "1s", "--linger", "8s", "--config", str(tmp_path / "small.config.yaml")]
    path = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    command = [sys.executable, "-m", "scaler", *watch]
    subprocess.run(command, cwd=tmp_path, env={**path, **env}, check=True, capture_output=True)
    code, said = stop(served)
    assert (code, "It balances." in said) == (0, True), said
    assert json.loads((tmp_path / "build/demo/ledger.json").read_text())["balances"]


def test_a_served_world_that_nobody_scaled_does_not_balance(tmp_path: Path) -> None:
    served, _ = serve(tmp_path, SCENARIO)
    assert served.stdout is not None
    assert any("1 queued" in line for line in served.stdout)  # the scenario's push has happened
    code, said = stop(served)
    assert (code, "It balances." in said) == (1, False), said
