"""Holds a YAML document against the schema: types, bounds, patterns, unknown and missing keys, all at once."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping as Map
from functools import lru_cache
from typing import Any

from scaler.problem import Problem, Severity
from scaler.settings import schema_kinds
from scaler.settings.schema import Schema
from scaler.settings.yaml_marks import Mapping, Node, Scalar, Sequence
from scaler.text import nearest, quoted

_JSON = {Scalar: "a single value", Sequence: "a list", Mapping: "a mapping"}
_INVALID: Any = object()
_UNQUOTED = {"integer": r"[0-9]{1,9}", "number": r"[0-9]{1,9}(\.[0-9]{1,9})?", "boolean": "true|false"}


class Checked:
    """
    What came of a document: plain values with defaults filled in, and the problems.

    A value that failed is left out of `values`, so that the rules that tie keys together can still look at the
    rest. `lines` knows the line of every key path, `items` the valid items of every list with their own paths.
    """

    def __init__(self, root: Mapping, schema: Schema, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.lines: dict[str, int] = {"": root.line}
        self.items: dict[str, list[tuple[str, Any]]] = {}
        self.values: dict[str, Any] = self._object(root, schema, "")

    def error(self, path: str, message: str) -> None:
        """Report an error at a key path."""
        self._report(path, message, Severity.ERROR)

    def warn(self, path: str, message: str) -> None:
        """Report what is allowed, but unwise."""
        self._report(path, message, Severity.WARNING)

    def failed(self, path: str) -> bool:
        """Whether an error was reported at a key path or below it."""
        return any(p.severity is Severity.ERROR and p.path.startswith(path) for p in self.problems)

    def _report(self, path: str, message: str, severity: Severity) -> None:
        self.problems.append(Problem(self.file, self._line(path), path, message, severity))

    def _line(self, path: str) -> int | None:
        """The line of the path, or of what it would stand in."""
        while path and path not in self.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.lines.get(path)

    # --- the walk ------------------------------------------------------------------------------

    def _value(self, node: Node, schema: Schema, path: str) -> Any:
        self.lines.setdefault(path, node.line)
        if "anyOf" in schema:
            return self._any_of(node, schema, path)
        if schema["type"] == "object" and isinstance(node, Mapping):
            return self._object(node, schema, path)
        if schema["type"] == "array" and isinstance(node, Sequence):
            return self._array(node, schema, path)
        if schema["type"] not in ("object", "array") and isinstance(node, Scalar):
            return self._scalar(node, schema, path)
        return self._wrong_type(node, schema, path)

    def _any_of(self, node: Node, schema: Schema, path: str) -> Any:
        """The member that the node's own kind points at decides, with the words of the whole."""
        if isinstance(node, Scalar):
            words: Schema = {key: schema[key] for key in ("x-expected", "x-remedy") if key in schema}
            members = [m for m in schema["anyOf"] if m["type"] not in ("object", "array")]
            chosen = next((m for m in members if m["type"] == node.kind), members[0])
            return self._scalar(node, {**chosen, **words}, path)
        if isinstance(node, Sequence):
            for member in schema["anyOf"]:
                if member["type"] == "array":
                    return self._array(node, member, path)
        return self._wrong_type(node, schema, path)

    def _object(self, node: Mapping, schema: Schema, path: str) -> dict[str, Any]:
        known: Map[str, Schema] = schema.get("properties", {})
        other = schema["additionalProperties"]
        values: dict[str, Any] = {}
        for key, item in node.items.items():
            place = join(path, key)
            self.lines[place] = node.keys[key].line
            if key in known:
                value = self._value(item, known[key], place)
            elif other is False:
                self.error(place, _unknown(key, known))
                continue
            else:
                self._key(node.keys[key], schema["propertyNames"], place)
                value = self._value(item, other, place)
            if value is not _INVALID:
                values[key] = value
        self._size(len(node.items), schema, path, "Properties")
        self._missing(node, schema, path)
        for key, part in known.items():
            if key not in node.items and "default" in part:
                values[key] = self._default(part)
        return values

    def _missing(self, node: Mapping, schema: Schema, path: str) -> None:
        for key in schema.get("required", ()):
            if key not in node.items:
                example = schema["properties"][key].get("examples")
                how = f"; write for example {key}: {_flow(example[0])}" if example else ""
                self.error(join(path, key), f"missing{how}")
        if choices := [member["required"][0] for member in schema.get("oneOf", ())]:
            given = [key for key in choices if key in node.items]
            if len(given) != 1:
                self.error(path, f"give {' or '.join(choices)}, " + ("not both" if given else "got neither"))

    def _key(self, key: Scalar, schema: Schema, place: str) -> None:
        if key.kind != "string":
            self.error(place, f"the name {quoted(key.text)} is {_kind(key)} to YAML; quote it")
        elif why := refusal(key.text, schema):
            self.error(place, why)

    def _array(self, node: Sequence, schema: Schema, path: str) -> Any:
        self._size(len(node.items), schema, path, "Items")
        values: list[Any] = []
        valid = self.items.setdefault(path, [])
        for index, item in enumerate(node.items):
            place = f"{path}[{index}]"
            self.lines[place] = item.line
            value = self._value(item, schema["items"], place)
            if value is _INVALID:
                continue
            if schema.get("uniqueItems") and value in values:
                self.error(place, f"same as [{values.index(value)}]; remove one")
            values.append(value)
            valid.append((place, value))
        return values or _INVALID

    def _size(self, size: int, schema: Schema, path: str, what: str) -> None:
        if size < schema.get(f"min{what}", 0):
            self.error(path, f"empty; {schema.get('x-empty') or schema.get('x-remedy') or 'give one'}")
        elif size > (most := schema.get(f"max{what}", size)):
            self.error(path, f"{size} entries, more than {most}; {schema.get('x-too-many', 'remove some')}")

    def _scalar(self, node: Scalar, schema: Schema, path: str) -> Any:
        kind = _number(node) if schema["type"] == "number" else node.kind
        if kind != schema["type"]:
            return self._wrong_type(node, schema, path)
        value: Any = node.text
        if kind == "number":
            value = float(node.text[:20])
        elif kind == "integer":
            value = int(node.text[:20])  # enough to know that it is too large; int() refuses thousands of digits
        elif node.kind == "boolean":
            value = node.text.lower() == "true"
        elif why := refusal(value, schema):
            self.error(path, why)
            return _INVALID
        if "const" in schema and value != schema["const"]:
            self.error(path, f"expected {schema['const']}, got {quoted(value)}")
            return _INVALID
        low, high = schema.get("minimum", value), schema.get("maximum", value)
        if kind in ("integer", "number") and not low <= value <= high:
            self.error(path, f"{quoted(value)} is outside {low}..{high}")
            return _INVALID
        if why := schema_kinds.doubt(value, schema):
            self.warn(path, why)
        return schema_kinds.convert(value, schema)

    def _wrong_type(self, node: Node, schema: Schema, path: str) -> Any:
        kind = schema.get("type")
        got, remedy = _JSON[type(node)], schema.get("x-remedy")
        if isinstance(node, Scalar):
            got = quoted(node.text)
            if node.kind == "integer" and schema.get("x-kind") == "duration":
                self.error(path, refusal(node.text, schema) or "")  # a number without a unit: it says which to write
                return _INVALID
            if node.kind == "null":
                got, remedy = "nothing", "give a value, or remove the key" if "default" in schema else remedy
            elif node.kind != "string":
                got, remedy = f"{got}, which is {_kind(node)} to YAML", "quote it" if kind == "string" else remedy
            elif kind in ("integer", "number", "boolean") and re.fullmatch(_UNQUOTED[kind], node.text):
                got, remedy = f"the text {got}", "remove the quotes"
        self.error(path, f"expected {schema['x-expected']}, got {got}" + (f"; {remedy}" if remedy else ""))
        return _INVALID

    @staticmethod
    def _default(schema: Schema) -> Any:
        if schema["default"] == {}:
            return {key: part["default"] for key, part in schema.get("properties", {}).items() if "default" in part}
        return schema_kinds.convert(schema["default"], schema)


def refusal(text: str, schema: Schema) -> str | None:
    """Why a text does not fit its part of the schema; None if it does."""
    return schema_kinds.refusal(text, schema) or _mismatch(text, schema)


def _mismatch(text: str, schema: Schema) -> str | None:
    """What is wrong with a text, for the schema's own keywords."""
    if "enum" in schema and text not in schema["enum"]:
        allowed = " or ".join(schema["enum"])
        meant = schema.get("x-aliases", {}).get(text.strip().lower()) or nearest(text, schema["enum"])
        return f"{quoted(text)} is not {allowed}" + (f"; use {meant}" if meant else "")
    if "pattern" in schema and not _pattern(schema["pattern"]).search(text):
        hint = "; a file is not a workflow: ${{ }} is not expanded here" if "${{" in text else ""
        remedy = f"; {schema['x-remedy']}" if "x-remedy" in schema and not hint else ""
        return f"expected {schema['x-expected']}, got {quoted(text)}{hint or remedy}"
    return None


@lru_cache(maxsize=64)
def _pattern(pattern: str) -> re.Pattern[str]:
    """JSON Schema's `$` is the end of the text; Python's would let a final newline pass."""
    return re.compile(pattern.replace("$)", r"\Z)").removesuffix("$") + (r"\Z" if pattern.endswith("$") else ""))


def _number(node: Scalar) -> str:
    """`number` for a whole number or a plain fraction; YAML has more ways to write one, which nobody should need."""
    plain = node.kind in ("integer", "a number with a fraction") and re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", node.text)
    return "number" if plain else node.kind


def _unknown(key: str, known: Map[str, Schema]) -> str:
    meant = nearest(key, known)
    return "unknown key; " + (f'did you mean "{meant}"?' if meant else f"allowed here: {', '.join(known)}")


def _kind(node: Scalar) -> str:
    return {"integer": "a number", "boolean": "a boolean", "null": "nothing"}.get(node.kind, node.kind)


def join(path: str, key: str) -> str:
    """The key path of an entry, as people see it."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", key):
        return f"{path}[{quoted(key)}]"
    return f"{path}.{key}" if path else key


def _flow(value: Any) -> str:
    """A value as YAML writes it on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    return value if isinstance(value, str) and "*" not in value else json.dumps(value)
