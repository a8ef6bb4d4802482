"""
Ends the sandbox's machines when the sandbox itself has died, however it died.

A process of its own (`python -I -S warden.py`): it reads lines `SID` and `-SID`, the sessions of machines that
began and ended, and at the end of its input, which is the end of the sandbox, it kills what is left.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Collection, Iterator


def members(sessions: Collection[int]) -> Iterator[int]:
    """The living processes of these sessions. A session's number is not given out again while it has members."""
    for entry in os.listdir("/proc"):  # noqa: PTH208  # pathlib is slow to import
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
                state, _parent, _group, session = file.read().rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue  # it has just ended
        if state not in "ZX" and int(session) in sessions:
            yield int(entry)


def send(sessions: Collection[int], number: int) -> bool:
    """Signal every process of these sessions; whether there was one."""
    found = False
    for pid in members(sessions):
        found = True
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
    return found


def end(sessions: Collection[int], grace: float = 0.0) -> None:
    """Ask every process of these sessions to end, as a shutdown does; kill what is left after `grace` seconds."""
    deadline = time.monotonic() + grace
    if grace and not send(sessions, signal.SIGTERM):
        return
    while time.monotonic() < deadline:
        if not any(members(sessions)):
            return
        time.sleep(0.02)
    while send(sessions, signal.SIGKILL):
        time.sleep(0.005)


def main() -> None:
    """Watch standard input."""
    sessions: set[int] = set()
    for line in sys.stdin:
        number = int(line)
        if number > 0:
            sessions.add(number)
        else:
            sessions.discard(-number)
    if sessions:
        end(sessions)


if __name__ == "__main__":
    main()
