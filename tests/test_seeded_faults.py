"""The seeded faults of `make mutants` can still be put in: a list that has rotted would catch nothing."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.seeded_faults import FAULTS, Fault

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_seeded_fault_can_be_put_in_and_its_tests_exist(fault: Fault) -> None:
    source = (ROOT / fault.file).read_text()
    changed = fault.applied(source)
    assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(source))
    for test in fault.tests:
        file, _, function = test.partition("::")
        defined = {node.name for node in ast.parse((ROOT / file).read_text()).body if isinstance(node, ast.FunctionDef)}
        assert not function or function in defined


def test_no_two_seeded_faults_are_one() -> None:
    assert len({fault.name for fault in FAULTS}) == len({(fault.file, fault.old, fault.new) for fault in FAULTS}) >= 24
