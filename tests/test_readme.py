"""What the README and the docs say is what the program does."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import textwrap
from datetime import timedelta
from pathlib import Path

import botocore.session
import jsonschema
import pytest
import yaml
from botocore import xform_name

from scaler.decide import decide
from scaler.exits import PATIENCE, Exit
from scaler.settings.config import load
from scaler.settings.inputs import Command

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


@pytest.mark.parametrize("document", ["README.md", "docs/setup.md"])
def test_the_config_that_is_shown_is_one(document: str, tmp_path: Path) -> None:
    text = (ROOT / document).read_text()
    (config,) = [block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "version: 1" in block]
    file = tmp_path / "config.yaml"
    file.write_text(config)
    assert load(file).fleet == "main"


def commands(document: str) -> str:
    """The shell of a page."""
    blocks: list[str] = re.findall(r"```sh\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)
    return "set -eu\n" + "".join(blocks)


@pytest.fixture
def set_up(tmp_path: Path) -> list[list[str]]:
    """Every call of a program that docs/setup.md makes, in another's repository."""
    programs = tmp_path / "bin"
    programs.mkdir()
    calls = tmp_path / "calls"
    answers = {
        "aws": "subnet-0a\tsubnet-0b",
        "gh": "umbrella@12/scale@34",
        "git": "",
        "packer": "",
        "scripts/setup.sh": "",
    }
    answers[".venv/bin/python"] = ""
    for name, answer in answers.items():
        file = (programs if "/" not in name else tmp_path) / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#!/bin/bash\nprintf '%s\\0' {name} \"$@\" $'\\n' >>{calls}\nprintf '{answer}\\n'\n")
        file.chmod(0o755)
    script = commands("docs/setup.md").replace("acme/runner", "umbrella/runner", 1)
    env = {"PATH": f"{programs}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-c", script], cwd=tmp_path, env=env, check=True, capture_output=True)
    return [call.split("\0")[:-1] for call in calls.read_text().split("\n\0")[:-1]]


def test_the_set_up_gives_the_stack_what_it_asks_for(set_up: list[list[str]]) -> None:
    text = (ROOT / "aws/stack.yaml").read_text().partition("\nConditions:")[0]
    asked = set(re.findall(r"^  (\w+):\n    Type: ", text, re.MULTILINE))
    needed = asked - set(re.findall(r"^  (\w+):\n    Type: .*\n    Default: ", text, re.MULTILINE))
    first, then = [call for call in set_up if call[:3] == ["aws", "cloudformation", "deploy"]]
    given = [dict(word.split("=", 1) for word in call if "=" in word) for call in (first, then)]
    assert needed <= given[0].keys() <= asked
    assert given[1].keys() == {"ImageAmd64", "ImageArm64"}
    assert (given[0]["Repository"], given[0]["RepositoryWithIds"]) == ("umbrella/runner-scaler", "umbrella@12/scale@34")
    assert given[0]["SubnetIds"] == "subnet-0a,subnet-0b"


def test_the_set_up_calls_what_aws_has(set_up: list[list[str]]) -> None:
    """Of a command of the AWS CLI name and options are the operation's and its parameters', in another spelling."""
    session = botocore.session.get_session()
    own = {"--query", "--output"}
    called = [call[1:] for call in set_up if call[0] == "aws" and call[2] != "deploy"]  # deploy is the CLI's own
    assert len(called) > 4
    for service, command, *rest in called:
        model = session.get_service_model(service)
        operation = next(o for o in model.operation_names if xform_name(o, "-") == command)
        shape = model.operation_model(operation).input_shape
        known = {xform_name(member, "-"): member for member in getattr(shape, "members", {})}
        given = {known[word[2:]] for word in rest if word.startswith("--") and word not in own}
        assert set(getattr(shape, "required_members", ())) <= given


def test_the_set_up_runs_our_programs_as_they_are(set_up: list[list[str]]) -> None:
    called = {tuple(call[:3]) for call in set_up}
    assert {("scripts/setup.sh", "run"), (".venv/bin/python", "-m", "scaler")} <= called
    (workflow,) = [call[3] for call in set_up if call[:3] == ["gh", "workflow", "run"]]
    assert (ROOT / ".github/workflows" / workflow).exists()


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


def test_the_parameters_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads((ROOT / "docs/parameter.schema.json").read_text()))


def test_the_environment_that_the_role_trusts_is_the_workflows() -> None:
    """A job of an environment has that in its subject (docs.github.com: OpenID Connect reference)."""
    stack = (ROOT / "aws/stack.yaml").read_text()
    for path in (".github/workflows/autoscale.yml", "examples/tick.yml"):
        jobs = yaml.safe_load((ROOT / path).read_text())["jobs"].values()
        environments = {job["environment"] for job in jobs}
        assert [
            each for each in environments if f"Environment:\n    Type: String\n    Default: {each}\n" not in stack
        ] == []
