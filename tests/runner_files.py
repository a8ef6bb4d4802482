"""The grammar of the files by which a step speaks to GitHub's runner (actions/runner, FileCommandManager.cs)."""

from __future__ import annotations

from collections.abc import Iterator


class BadFile(Exception):
    """A file that the runner cannot read: the step fails."""


def key_values(text: str) -> dict[str, str]:
    """GITHUB_OUTPUT, GITHUB_ENV, GITHUB_STATE: `NAME=value`, or `NAME<<END`, lines, `END`. A later value replaces."""
    found: dict[str, str] = {}
    lines = iter(_lines(text))
    for line in lines:
        if not line:
            continue
        equals, heredoc = line.find("="), line.find("<<")
        if equals >= 0 and (heredoc < 0 or equals < heredoc):
            name, _, value = line.partition("=")
        elif heredoc >= 0:
            name, _, end = line.partition("<<")
            if not end:
                raise BadFile(f"Invalid format '{line}'. Name must not be empty and delimiter must not be empty")
            value = _until(lines, end)
        else:
            raise BadFile(f"Invalid format '{line}'")
        if not name:
            raise BadFile(f"Invalid format '{line}'. Name must not be empty")
        found[name] = value
    return found


def _until(lines: Iterator[str], end: str) -> str:
    value: list[str] = []
    for line in lines:
        if line == end:
            return "\n".join(value)
        value.append(line)
    raise BadFile(f"Invalid value. Matching delimiter not found '{end}'")


def _lines(text: str) -> list[str]:
    """Lines end with LF and nothing else."""
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def lines_of(text: str) -> list[str]:
    """GITHUB_PATH: a folder a line."""
    return [line for line in text.splitlines() if line]
