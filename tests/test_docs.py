"""The decisions and the defects that code and documents cite are written down, and so are the tests that hold them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DECISIONS = (ROOT / "docs/decisions.md").read_text()
LINEAGE = (ROOT / "docs/lineage.md").read_text()
WRITTEN = [".py", ".md", ".sh", ".yml", ".yaml", ".hcl", ".toml", ".service", ".timer"]
PLACES = ["", ".github/workflows/", "benchmarks/", "docs/", "examples/", "packer/", "scaler/**/", "scripts/", "search/"]
PLACES += ["simulation/", "tests/"]
FILES = sorted({path for place in PLACES for kind in WRITTEN for path in ROOT.glob(f"{place}*{kind}")})
KINDS = [(r"\bD\d{1,2}\b", re.findall(r"^## (D\d+) ", DECISIONS, re.MULTILINE))]
KINDS += [(r"\bRG-\d+\b", re.findall(r"^\| (RG-\d+) \|", LINEAGE, re.MULTILINE))]


@pytest.mark.parametrize(("cited", "defined"), KINDS, ids=["decisions", "defects"])
def test_every_number_that_is_cited_is_written_down(cited: str, defined: list[str]) -> None:
    assert len(defined) == len(set(defined))
    found = {(number, path.name) for path in FILES for number in re.findall(cited, path.read_text())}
    assert {(number, name) for number, name in found if number not in defined} == set()


def test_every_defect_has_a_row_and_every_decision_a_reason() -> None:
    assert KINDS[1][1] == [f"RG-{number:02}" for number in range(1, 67)]
    assert KINDS[0][1] == [f"D{number}" for number in range(1, 14)]
    rows = [line for line in LINEAGE.splitlines() if line.startswith("| RG-")]
    assert [row[:7] for row in rows if "`tests/" not in row] == []


@pytest.mark.parametrize("document", sorted(ROOT.glob("docs/*.md")), ids=lambda path: path.name)
def test_the_tests_that_a_document_names_exist(document: Path) -> None:
    """A row in brackets is a case of a table: its id stands in the same file, in words."""
    for name, test, row in re.findall(r"`(tests/[\w/.]+)::(\w+)(?:\[([^\]]+)\])?`", document.read_text()):
        assert (ROOT / name).exists(), name
        source = (ROOT / name).read_text()
        assert test in {node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}, test
        assert not row or f'"{row}"' in source or row.replace(" ", "_") in source, row


def test_every_promise_says_what_it_rests_on() -> None:
    promises = re.findall(
        r"^## (\d+)\. (.+?)(?=^## )", (ROOT / "docs/promises.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert [int(number) for number, _ in promises] == list(range(1, 13))
    assert [number for number, text in promises if text.count("\n*Rests on:*") != 1] == []
