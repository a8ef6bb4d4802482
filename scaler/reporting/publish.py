"""Where words leave the process: standard output, and GitHub's workflow commands and files when run there."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from threading import Lock

from scaler.problem import Problem
from scaler.text import harmless


class Publisher:
    """Prints for people; inside GitHub Actions also masks, annotates, and writes outputs and the job summary."""

    def __init__(self, env: Mapping[str, str], *, to_stderr: bool = False) -> None:
        """With `to_stderr`, standard output is left to a JSON document."""
        self.in_actions = env.get("GITHUB_ACTIONS") == "true"
        self._outputs = self.in_actions and bool(env.get("GITHUB_OUTPUT"))
        self._summary = env.get("GITHUB_STEP_SUMMARY") or None
        self._stream = sys.stderr if to_stderr else sys.stdout
        self._commanding = Lock()

    def say(self, lines: Sequence[str]) -> None:
        """Print lines, none of which is a workflow command or moves the cursor, whatever a job is called."""
        for line in lines:
            print(harmless(line), file=self._stream, flush=True)

    def mask(self, secret: str) -> None:
        """Have GitHub star a secret in the log from now on. Anywhere else, saying it would be the leak."""
        if self.in_actions and secret:
            self._command("add_mask", secret)

    def problem(self, problem: Problem) -> None:
        """One line on standard error, and the annotation at its place in the file."""
        print(f"{problem.severity.value}: {problem}", file=sys.stderr, flush=True)  # noqa: T201
        if self.in_actions:
            self._command(problem.severity.value, str(problem), file=problem.file or None, line=problem.line or None)

    def annotate(self, annotations: Sequence[tuple[str, str]]) -> None:
        """Annotations for a person; outside of Actions, lines on standard error."""
        for level, text in annotations:
            if self.in_actions:
                self._command(level, text)
            else:
                told = "\n".join(harmless(line) for line in text.split("\n"))
                print(f"{level}: {told}", file=sys.stderr, flush=True)  # noqa: T201

    def _command(self, name: str, text: str, **properties: object) -> None:
        """A workflow command. GitHub reads them from either stream; a JSON document keeps its own clean."""
        import github_action_utils as gha  # noqa: PLC0415 - loaded where it is needed: start-up time

        # Secrets are masked from several threads: a line that is torn masks nothing, and standard output is one for all.
        with self._commanding, redirect_stdout(self._stream):
            getattr(gha, name)(text, **properties)

    def summary(self, markdown: str) -> None:
        """Write the job summary anew: of a watch, the last tick is what counts."""
        if self._summary:
            Path(self._summary).write_text(markdown, encoding="utf-8")

    def outputs(self, values: Mapping[str, str]) -> None:
        """Set the step's outputs."""
        if self._outputs:
            import github_action_utils as gha  # noqa: PLC0415

            for name, value in values.items():
                gha.set_output(name, value)
