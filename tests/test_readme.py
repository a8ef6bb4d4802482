"""What the README and the docs say is what the program does."""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest
import yaml

from scaler.config import load
from scaler.decide import decide
from scaler.exits import PATIENCE, Exit
from scaler.inputs import Command

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DOCUMENTS = [
    path.relative_to(ROOT) for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("packer/*.md"))
]


def test_the_rules_in_the_readme_are_those_of_decide() -> None:
    doc = inspect.cleandoc(decide.__doc__ or "")
    rules = doc[doc.index("1.  What") : doc.index("With `snapshot.asked`")].strip()
    shown = README.partition("<!-- rules: the docstring of decide -->")[2].partition("<!-- end of rules -->")[0].strip()
    assert shown == textwrap.dedent(rules)


def test_the_config_in_the_readme_is_one(tmp_path: Path) -> None:
    blocks: list[str] = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (config,) = [block for block in blocks if "version: 1" in block]
    file = tmp_path / "config.yaml"
    file.write_text(config)
    assert load(file).fleet == "main"


def test_every_exit_code_is_in_the_readme() -> None:
    table = README.partition("### Exit codes")[2].partition("## ")[0]
    shown = {int(code) for cell in re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE) for code in cell.split(",")}
    assert shown == {int(code) for code in Exit}
    assert timedelta(minutes=10) == PATIENCE


def test_every_command_is_in_the_readme() -> None:
    assert [command for command in Command if command.value not in README] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_lead_to_files(document: Path) -> None:
    text = (ROOT / document).read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert [link for link in links if not (ROOT / document.parent / link).exists()] == []


def test_the_tests_named_by_the_assumptions_exist() -> None:
    named = re.findall(r"`(test_\w+)`", (ROOT / "docs/assumptions.md").read_text())
    source = "".join(path.read_text() for path in ROOT.glob("tests/test_*.py"))
    assert [name for name in named if f"def {name}(" not in source] == []


@pytest.mark.parametrize("name", ["trust-policy", "scaler-policy", "runner-policy"])
def test_the_policies_are_policies(name: str) -> None:
    policy = json.loads((ROOT / f"aws/{name}.json").read_text())
    assert policy["Version"] == "2012-10-17"
    assert all(statement["Effect"] == "Allow" for statement in policy["Statement"])


def test_the_parameters_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads((ROOT / "docs/parameter.schema.json").read_text()))


def test_the_subject_of_the_trust_policy_is_the_workflows() -> None:
    """A job of an environment has that in its subject (docs.github.com: OpenID Connect reference)."""
    workflow = yaml.safe_load((ROOT / "examples/tick.yml").read_text())
    environment = workflow["jobs"]["tick"]["environment"]
    assert f":environment:{environment}" in (ROOT / "aws/trust-policy.json").read_text()
