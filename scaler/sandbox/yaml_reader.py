"""Strict reading of a YAML file: every value is asked for by its kind, and an error is one line with its place."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

T = TypeVar("T", bound=str)

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?")


class ScenarioError(ValueError):
    """A file that cannot be used: `file:line: where: what is wrong`."""


@dataclass(frozen=True, slots=True)
class Place:
    """A value in the file, and where it stands."""

    file: str
    path: str
    node: yaml.Node = field(repr=False)
    loader: yaml.SafeLoader = field(repr=False)

    def error(self, message: str) -> ScenarioError:
        """An error about this value."""
        where = f"{self.path}: " if self.path else ""
        return ScenarioError(f"{self.file}:{self.node.start_mark.line + 1}: {where}{message}")

    @property
    def is_mapping(self) -> bool:
        """Whether it is a mapping."""
        return isinstance(self.node, yaml.MappingNode)

    @property
    def is_list(self) -> bool:
        """Whether it is a list."""
        return isinstance(self.node, yaml.SequenceNode)

    @property
    def is_null(self) -> bool:
        """Whether it is null."""
        return isinstance(self.node, yaml.ScalarNode) and self.data() is None

    def data(self) -> Any:
        """The plain value, unchecked."""
        return self.loader.construct_object(self.node, deep=True)

    def _found(self) -> str:
        if isinstance(self.node, yaml.ScalarNode):
            return repr(self.node.value)
        return "a list" if isinstance(self.node, yaml.SequenceNode) else "a mapping"

    def _wrong(self, expected: str) -> ScenarioError:
        return self.error(f"expected {expected}, got {self._found()}")

    def mapping(self, required: Iterable[str] = (), optional: Iterable[str] = ()) -> dict[str, Place]:
        """The values of a mapping by key: unknown, missing and repeated keys are errors."""
        entries = dict(self._entries())
        known = [*required, *optional]
        for key, place in entries.items():
            if key not in known:
                near = difflib.get_close_matches(key, known, 1)
                hint = f'; did you mean "{near[0]}"?' if near else f" (allowed: {', '.join(known)})"
                raise place.error(f"unknown key{hint}")
        for key in required:
            if key not in entries:
                raise self.error(f'"{key}" is missing')
        return entries

    def _entries(self) -> Iterator[tuple[str, Place]]:
        if not isinstance(self.node, yaml.MappingNode):
            raise self._wrong("a mapping")
        seen = set()
        for key_node, node in self.node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self.error("a key is no text")
            key = str(key_node.value)
            place = Place(self.file, f"{self.path}.{key}" if self.path else key, node, self.loader)
            if key in seen:
                raise place.error("stands here twice")
            seen.add(key)
            yield key, place

    def items(self) -> list[Place]:
        """The values of a list."""
        if not isinstance(self.node, yaml.SequenceNode):
            raise self._wrong("a list")
        return [Place(self.file, f"{self.path}[{n}]", node, self.loader) for n, node in enumerate(self.node.value)]

    def text(self) -> str:
        """Some text. What YAML takes for a number is text too: labels and matrix values often look like one."""
        if not isinstance(self.node, yaml.ScalarNode) or not self.node.value:
            raise self._wrong("some text")
        return str(self.node.value)

    def texts(self) -> tuple[str, ...]:
        """A list of texts."""
        return tuple(item.text() for item in self.items())

    def one_of(self, choices: Iterable[T]) -> T:
        """One of these words."""
        text = self.text()
        for choice in choices:
            if choice == text:
                return choice
        raise self._wrong(f"one of {', '.join(choices)}")

    def flag(self) -> bool:
        """True or false."""
        value = self.data() if isinstance(self.node, yaml.ScalarNode) else None
        if not isinstance(value, bool):
            raise self._wrong("true or false")
        return value

    def integer(self, least: int = 0) -> int:
        """A whole number, no smaller than `least`."""
        value = self.data() if isinstance(self.node, yaml.ScalarNode) else None
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self._wrong(f"a whole number of {least} or more")
        return value

    def duration(self) -> float:
        """Seconds: a number, or `90s`, `2m30s`, `1h`, `1d`."""
        if isinstance(self.node, yaml.ScalarNode):
            value = self.data()
            if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
                return float(value)
            parts = _DURATION.fullmatch(str(self.node.value))
            if parts and any(parts.groups()):
                return sum(
                    float(part or 0) * unit for part, unit in zip(parts.groups(), (86400, 3600, 60, 1), strict=True)
                )
        raise self._wrong("a duration such as 90s or 2m30s")


def read(path: Path) -> Place:
    """The whole of a file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: cannot be read: {error}") from None
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise ScenarioError(f"{path}{line}: no YAML: {getattr(error, 'problem', None) or error}") from None
    if node is None:
        raise ScenarioError(f"{path}: is empty")
    return Place(str(path), "", node, loader)
