"""The seeded faults of `make mutants` can still be put in: a list that has rotted would catch nothing."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.seeded_faults import FAULTS, Fault

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_seeded_fault_can_be_put_in_and_its_tests_exist(fault: Fault) -> None:
    source = (ROOT / fault.file).read_text()
    changed = fault.applied(source)
    if fault.file.endswith(".py"):
        assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(source))
    elif fault.file.endswith(".sh"):
        assert subprocess.run(["bash", "-n"], input=changed, text=True, check=False).returncode == 0
    else:
        assert yaml.safe_load(changed) != yaml.safe_load(source)
    for test in fault.tests:
        file, _, function = test.partition("::")
        defined = {node.name for node in ast.parse((ROOT / file).read_text()).body if isinstance(node, ast.FunctionDef)}
        assert not function or function in defined


def test_no_two_seeded_faults_are_one() -> None:
    assert len({fault.name for fault in FAULTS}) == len({(fault.file, fault.old, fault.new) for fault in FAULTS}) >= 24
