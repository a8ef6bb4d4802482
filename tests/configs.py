"""A small config.yaml to change word by word, for the tests of what is wrong with one."""

from __future__ import annotations

from pathlib import Path

from scaler.problem import Problem
from scaler.settings.config import Config, ConfigError, load

BASE = """\
version: 1
fleet: main
aws: {region: us-east-1}
repositories: [acme/api, acme/web]
max_runners: 40
pools:
  amd64:
    arch: amd64
    labels: [self-hosted, linux, x64, acme]
    launch_template: {name: runner-amd64, version: 3}
    max: 20
"""


def changed(*changes: tuple[str, str], more: str = "") -> str:
    """`BASE` with words replaced and lines added; each word to replace must be there."""
    text = BASE
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text + more


def read(text: str | bytes, folder: Path) -> Config:
    """Load a text as `config.yaml`."""
    path = folder / "config.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load(path)


def problems(text: str | bytes, folder: Path) -> tuple[Problem, ...]:
    """Everything that is wrong or unwise with a text."""
    try:
        return read(text, folder).warnings
    except ConfigError as error:
        return error.problems


def lines(text: str | bytes, folder: Path) -> list[str]:
    """The same as people see it, without the folder."""
    return [str(problem).removeprefix(f"{folder}/") for problem in problems(text, folder)]
