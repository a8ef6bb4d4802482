"""What `make bench-start` and the self-test say of a start is what they saw, beside baselines of the same round."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from benchmarks.starting import NODE_CONNECT, PLAIN, against, table
from scripts.measure_start import BEFORE, CONNECT, FIRST, ROOT, Door, Took, scale_step, timed, to_first_byte

CLIENT = """\
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
    {then}
    connection.recv(1)
"""


def test_the_step_that_is_measured_is_the_actions_own() -> None:
    scale = yaml.safe_load((ROOT / "action.yml").read_text())["runs"]["steps"][1]
    assert scale_step() == scale["run"]


def test_a_start_ends_at_the_first_byte(tmp_path: Path) -> None:
    door = Door()
    command = (sys.executable, "-c", CLIENT.format(then="connection.send(b'GET')"), str(urlsplit(door.url).port))
    (connect, used), (byte, _) = to_first_byte(command, {}, tmp_path, door)
    assert 0 < connect <= byte
    assert used > 0


def test_a_connection_alone_is_no_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.measure_start.LONGEST", 0.0)
    door = Door()
    with socket.create_connection(("127.0.0.1", urlsplit(door.url).port or 0)), pytest.raises(SystemExit) as told:
        to_first_byte((sys.executable, "-c", "print('no network'); input()"), {}, tmp_path, door)
    assert "sent nothing" in str(told.value)


def test_a_step_that_fails_is_no_measurement(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no index"):
        timed((sys.executable, "-c", "raise SystemExit('no index')"), {}, tmp_path)


def test_ratios_are_taken_within_a_round() -> None:
    first = f"{FIRST}: {CONNECT}"
    rows = [
        Took(number, step, seconds * slow, 1.0)
        for number, slow in enumerate((1, 10, 2))
        for step, seconds in ((first, 1.0), (NODE_CONNECT, 2.0), (BEFORE, 3.0), (PLAIN, 12.0))
    ]
    assert against(rows, first, NODE_CONNECT) == 0.5
    assert against(rows[:2] + rows[5:], first, NODE_CONNECT, "cpu") == 1.0
    told = {line.split(" | ")[0]: line for line in table(rows)}
    assert told[f"| {first}"] == f"| {first} | 2.000 | 1.00 | 0.50 | 1.00 |  |  |"
    assert told[f"| {BEFORE}"] == f"| {BEFORE} | 6.000 | 1.00 |  |  | 0.25 | 1.00 |"
