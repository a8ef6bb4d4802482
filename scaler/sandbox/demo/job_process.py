"""The scaler as a step of a GitHub Actions job: its environment and files, its log with secrets starred out."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).parents[3]
MASK = re.compile(r"::add-mask(?: [^:]*)?::(.*)")
"""GitHub's runner reads a command's name up to the first space (actions/runner, ActionCommand.cs)."""


class JobProcess:
    """
    `python -m scaler …` in a process group of its own, in an environment of nothing but what it needs.

    As GitHub's runner does, it takes `::add-mask::` lines out of the log and stars what they name.
    """

    def __init__(self, arguments: Sequence[str], env: Mapping[str, str], out: Path) -> None:
        """`env` is the world's; the log, the job summary and the outputs are written below `out`."""
        self.summary, self.outputs, self.log = out / "summary.md", out / "outputs.txt", out / "scaler.log"
        for file in (self.summary, self.outputs):
            file.write_text("")
        job = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(out),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
            "GITHUB_ACTIONS": "true",
            "GITHUB_STEP_SUMMARY": str(self.summary.resolve()),
            "GITHUB_OUTPUT": str(self.outputs.resolve()),
        }
        self._masks: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "scaler", *arguments],
            env={**job, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C is for the demo, which then ends this in order
        )
        self._reader = threading.Thread(target=self._carry, name="scaler-log", daemon=True)
        self._reader.start()

    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def interrupt(self, patience: float) -> None:
        """Ask it to end as Ctrl-C does; kill it if it has not after so many seconds."""
        if self.running():
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def end(self) -> int:
        """Wait for its end; its exit code."""
        code = self._process.wait()
        self._reader.join(timeout=5)
        return code

    def _carry(self) -> None:
        if self._process.stdout is None:
            return
        with self.log.open("w", encoding="utf-8") as log, self._process.stdout as lines:
            for line in lines:
                if mask := MASK.match(line):
                    self._masks.append(unquote(mask[1]))
                    continue
                for secret in filter(None, self._masks):
                    line = line.replace(secret, "***")  # noqa: PLW2901 - every mask in turn
                log.write(line)
                log.flush()
