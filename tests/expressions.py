"""`${{ }}` as GitHub reads it: its own evaluator in a process of its own, and the text around expressions."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

HERE = Path(__file__).parent
EVALUATOR = HERE.parent / "node_modules/@actions/expressions"
STATUS_FUNCTIONS = frozenset({"always", "success", "failure", "cancelled"})


class Wrong(Exception):
    """An expression that GitHub would refuse."""


@dataclass(frozen=True, slots=True)
class Value:
    """What an expression came to: as JSON, as the text that it becomes within other text, and whether it is true."""

    value: Any
    text: str
    truthy: bool


@dataclass(frozen=True, slots=True)
class Status:
    """What `success()`, `failure()` and `cancelled()` answer in a place."""

    success: bool = True
    failure: bool = False
    cancelled: bool = False


class Expressions:
    """Asks the evaluator; as a context manager it has its process."""

    def __enter__(self) -> Self:
        """Start it."""
        self._node = subprocess.Popen(
            ["node", str(HERE / "expressions.mjs")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        with self._node:
            self._node.terminate()

    def evaluate(
        self,
        expression: str,
        contexts: Mapping[str, Any] | None = None,
        status: Status | None = None,
        workspace: Path | None = None,
    ) -> Value:
        """One expression, without its braces."""
        known = status or Status()
        answer = self._ask(
            expression=expression,
            contexts=contexts or {},
            status={"success": known.success, "failure": known.failure, "cancelled": known.cancelled},
            workspace=str(workspace or HERE),
        )
        return Value(answer["value"], answer["text"], answer["truthy"])

    def names(self, expression: str) -> list[tuple[str, ...]]:
        """The names it looks up: `("inputs", "mode")`."""
        return [tuple(path) for path in self._ask(names=expression)["names"]]

    def functions(self, expression: str) -> set[str]:
        """The functions it calls, in lower case."""
        return {name.lower() for name in self._ask(names=expression)["functions"]}

    def fill(self, text: str, contexts: Mapping[str, Any], workspace: Path | None = None) -> Value:
        """A text with its expressions evaluated; one that is nothing but an expression keeps its type."""
        parts = list(split(text))
        if len(parts) == 1 and parts[0][1]:
            return self.evaluate(parts[0][0], contexts, workspace=workspace)
        filled = "".join(
            self.evaluate(part, contexts, workspace=workspace).text if dynamic else part for part, dynamic in parts
        )
        return Value(filled, filled, bool(filled))

    def holds(self, condition: str | bool, contexts: Mapping[str, Any], status: Status, workspace: Path) -> bool:
        """
        Whether an `if` lets its step or job run.

        Without a function that asks for the status, `success()` is asked for first (docs.github.com: Evaluate
        expressions, "Status check functions").
        """
        text = str(condition).lower() if isinstance(condition, bool) else condition
        parts = list(split(text))
        bare = parts[0][0] if len(parts) == 1 else text
        if not STATUS_FUNCTIONS & self.functions(bare):
            bare = f"success() && ({bare})"
        return self.evaluate(bare, contexts, status, workspace).truthy

    def _ask(self, **question: Any) -> Any:
        assert self._node.stdin is not None
        assert self._node.stdout is not None
        self._node.stdin.write(json.dumps(question) + "\n")
        self._node.stdin.flush()
        answer = json.loads(self._node.stdout.readline())
        if "error" in answer:
            raise Wrong(f"{question.get('expression', question.get('names'))}: {answer['error']}")
        return answer


def split(text: str) -> Iterator[tuple[str, bool]]:
    """
    Split a text into plain parts and expressions (True).

    An expression ends at the first `}}` that is in no quotes (actions/runner, TemplateReader.cs).
    """
    at = 0
    while (start := text.find("${{", at)) >= 0:
        if start > at:
            yield text[at:start], False
        quoted, end = False, start + 3
        while quoted or text[end : end + 2] != "}}":
            if end >= len(text):
                raise Wrong(f"an expression is not closed: {text[start:]}")
            quoted ^= text[end] == "'"
            end += 1
        yield text[start + 3 : end].strip(), True
        at = end + 2
    if at < len(text) or not text:
        yield text[at:], False


@pytest.fixture(scope="session")
def expressions() -> Iterator[Expressions]:
    """The evaluator; without it the test fails on CI and is skipped elsewhere."""
    if not (shutil.which("node") and EVALUATOR.is_dir()):
        if os.environ.get("CI") == "true":
            pytest.fail("GitHub's evaluator is not installed: make npm")
        pytest.skip("GitHub's evaluator is not installed: make npm")
    with Expressions() as evaluator:
        yield evaluator
