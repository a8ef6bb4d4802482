"""One thing that is wrong with what a person gave us: where, what was found, how to mend it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from scaler.text import safe


class Severity(StrEnum):
    """Whether the problem stops the program."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """`str()` is the one line that people see. `file` and `line` place GitHub's annotation; inputs have neither."""

    file: str
    line: int | None
    path: str
    message: str
    severity: Severity = Severity.ERROR
    column: int | None = None

    def __str__(self) -> str:
        """`config.yaml:14: pools.amd64.max: expected …, got …; …`."""
        place = ":".join(str(part) for part in (safe(self.file), self.line, self.column) if part)
        return ": ".join(part for part in (place, safe(self.path), self.message) if part)
