"""
YAML with the place of every node, and without its traps.

PyYAML's own constructors lose line numbers, keep the last of two equal keys and read `no` as false (YAML 1.1).
This reads the parser's events instead: anchors, aliases, tags and a second document are refused, a scalar keeps
its text beside the kind that YAML gives it, and the depth is bounded before anything is built.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from scaler.problem import Problem
from scaler.text import quoted, safe

DEEPEST = 32
"""Levels of nesting. A config needs six."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same events, some ten times as fast


@dataclass(frozen=True, slots=True)
class Scalar:
    """
    One value. `kind` is what YAML takes it for: string, integer, boolean or null, or in words one of the odd
    kinds, such as `a boolean` for a bare `no`, on which the versions of YAML disagree.
    """

    text: str
    kind: str
    line: int


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    items: list[Node]
    line: int


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping, by its keys' text, in order; `keys` has the keys themselves."""

    items: dict[str, Node]
    keys: dict[str, Scalar]
    line: int


Node = Scalar | Sequence | Mapping


class Unreadable(Exception):
    """The text is no YAML that is read here. Holds the one problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def parse(text: str, file: str) -> tuple[Node | None, list[Problem]]:
    """The document's root (None if there is nothing in it) and its duplicate keys. Raises `Unreadable`."""
    reader = _Reader(file, _events(text, file))
    return reader.document(), reader.problems


class _Reader:
    """Builds nodes from events, depth-first. Recursion is bounded by `DEEPEST`."""

    def __init__(self, file: str, events: Iterator[Any]) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._events = events

    def document(self) -> Node | None:
        root: Node | None = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise self._unreadable(event, "a second document; keep one, without ---")
                root = self._node(next(self._events), 1)
        empty = isinstance(root, Scalar) and root.kind == "null" and not root.text
        return None if empty else root

    def _node(self, event: Any, depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise self._unreadable(event, f"anchors and aliases ({quoted(event.anchor)}) are refused; write it out")
        if event.tag is not None:
            raise self._unreadable(event, f"tags ({quoted(event.tag)}) are refused; remove it")
        if depth > DEEPEST:
            raise self._unreadable(event, f"nested more than {DEEPEST} levels deep")
        line = event.start_mark.line + 1
        if isinstance(event, yaml.ScalarEvent):
            plain = event.implicit[0]
            return Scalar(event.value, _kind(event.value) if plain else "string", line)
        if isinstance(event, yaml.SequenceStartEvent):
            items = []
            while not isinstance(item := next(self._events), yaml.SequenceEndEvent):
                items.append(self._node(item, depth + 1))
            return Sequence(items, line)
        return self._mapping(line, depth)

    def _mapping(self, line: int, depth: int) -> Mapping:
        mapping = Mapping({}, {}, line)
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            if not isinstance(key, Scalar):
                raise self._unreadable(event, "a key that is a list or a mapping; quote text that begins with [ or {")
            value = self._node(next(self._events), depth + 1)
            if first := mapping.keys.get(key.text):
                message = f"duplicate key {quoted(key.text)}; first at line {first.line}"
                self.problems.append(Problem(self._file, key.line, "", message))
            else:
                mapping.keys[key.text] = key
                mapping.items[key.text] = value
        return mapping

    def _unreadable(self, event: Any, message: str) -> Unreadable:
        return Unreadable(Problem(self._file, event.start_mark.line + 1, "", message))


def _events(text: str, file: str) -> Iterator[Any]:
    try:
        yield from yaml.parse(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise Unreadable(_syntax_problem(_in_words(text, error), file)) from None


def _in_words(text: str, error: yaml.YAMLError) -> yaml.YAMLError:
    """PyYAML's own parser names the offending character, which libyaml does not: ask it once there is an error."""
    try:
        for _ in yaml.parse(text, Loader=yaml.SafeLoader):
            pass
    except yaml.YAMLError as better:
        return better
    return error


def _syntax_problem(error: yaml.YAMLError, file: str) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    what = str(getattr(error, "problem", None) or "no reason given").replace(" that cannot start any token", "")
    remedy = "quote the value"
    if r"'\t'" in what:
        remedy = "indent with spaces"
    elif "alphabetic or numeric" in what:  # * and & begin an alias and an anchor
        remedy = "quote what begins with * or &"
    elif "expected" in what or "not allowed here" in what or "could not find" in what:
        remedy = "check the indentation and the line above"
    line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
    return Problem(file, line, "", f"not valid YAML ({safe(what)}); {remedy}", column=column)


# The first that matches. YAML 1.1 (which PyYAML, Go's yaml.v2 and many editors follow) and 1.2 disagree on
# the odd ones: they are taken for nothing here, and whoever wrote them is told how to be clear.
_KINDS = (
    ("null", re.compile(r"~|null|Null|NULL|")),
    ("boolean", re.compile(r"true|True|TRUE|false|False|FALSE")),
    ("a boolean", re.compile(r"(?i:yes|no|on|off)")),
    ("integer", re.compile(r"[-+]?(0|[1-9][0-9]*)")),
    ("an octal number", re.compile(r"[-+]?0o?[0-7_]+")),
    ("a number with a leading zero", re.compile(r"[-+]?0[0-9]+")),
    ("a hexadecimal or binary number", re.compile(r"[-+]?0(x[0-9A-Fa-f_]+|b[01_]+)")),
    ("a number with underscores", re.compile(r"[-+]?[0-9][0-9]*_[0-9_]*")),
    ("a number in base 60", re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")),
    ("a number with a fraction", re.compile(r"[-+]?(\.[0-9_]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?")),
    ("a number with a fraction", re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")),
    ("a date", re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt \t].*)?")),
    ("the merge key of YAML", re.compile(r"<<")),
    ("the value key of YAML", re.compile(r"=")),
)


def _kind(text: str) -> str:
    return next((kind for kind, pattern in _KINDS if pattern.fullmatch(text)), "string")
