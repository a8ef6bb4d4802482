"""OpenAPI 3.0 schemas as JSON Schema, and their errors in one line."""

from __future__ import annotations

import re
from typing import Any

import jsonschema_rs

BASE = "urn:github"
"""The address of the shared schemas in a validator's registry."""

FORMATS = {"email": lambda _: True}
"""Real answers hold `29139614+renovate[bot]@users.noreply.github.com`, which is no address by the RFC."""

_LONGEST = 240


def converted(node: Any) -> Any:
    """
    Turn OpenAPI 3.0's `nullable` into JSON Schema, and point references at the shared schemas.

    A nullable enum gets its null: OpenAPI asks for it by name and GitHub's file leaves it out (`conclusion: null`
    of a job that runs would be a violation).
    """
    if isinstance(node, list):
        return [converted(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {key: converted(value) for key, value in node.items()}
    if isinstance(made.get("$ref"), str):
        made["$ref"] = BASE + made["$ref"]
    if node.get("nullable") is not True:
        return made
    if not isinstance(made.get("type"), str) or any(key in made for key in ("allOf", "anyOf", "oneOf")):
        return {"anyOf": [made, {"type": "null"}]}
    made["type"] = [made["type"], "null"]
    if isinstance(made.get("enum"), list):
        made["enum"] = [*made["enum"], None]
    return made


def text_errors(text: str, schema: dict[str, Any]) -> list[str]:
    """Check a parameter or header, which is text, against a schema of numbers and booleans."""
    kind = schema.get("type")
    value: Any = text
    if kind in ("integer", "number") and re.fullmatch(r"-?\d+", text):
        value = int(text)
    elif kind == "boolean" and text in ("true", "false"):
        value = text == "true"
    return [error.message[:_LONGEST] for error in jsonschema_rs.iter_errors(schema, value)]


def said(error: jsonschema_rs.ValidationError) -> str:
    """Say one violation; of alternatives, the one that came closest."""
    while alternatives := getattr(error.kind, "context", None):
        branches = [branch for branch in alternatives if branch]
        # The alternative that gets deepest is the one that was meant.
        closest = max((errors[0] for errors in branches), key=lambda e: len(e.instance_path))
        if len(closest.instance_path) <= len(error.instance_path):
            break
        error = closest
    message = error.message if len(error.message) <= _LONGEST else "… " + error.message[-_LONGEST:]
    return "/" + "/".join(str(part) for part in error.instance_path) + ": " + message
