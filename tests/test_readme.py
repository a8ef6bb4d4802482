"""What the README and the docs say is what the program does."""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import subprocess
import textwrap
from datetime import timedelta
from pathlib import Path

import botocore.session
import jsonschema
import pytest
import yaml
from botocore import xform_name
from botocore.validate import ParamValidator

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


@pytest.fixture
def set_up(tmp_path: Path) -> list[list[str]]:
    """Every call of aws, gh, git and packer that the README's set-up makes, in a copy of `aws/`."""
    blocks: list[str] = re.findall(r"```sh\n(.*?)```", README.partition("## Set-up")[2].partition("**4.")[0], re.DOTALL)
    programs = tmp_path / "bin"
    programs.mkdir()
    calls = tmp_path / "calls"
    answers = {"aws": "222233334444", "gh": "umbrella@12/scale@34", "git": "", "packer": ""}
    for name, answer in answers.items():
        (programs / name).write_text(f"#!/bin/bash\nprintf '%s\\0' {name} \"$@\" $'\\n' >>{calls}\necho '{answer}'\n")
        (programs / name).chmod(0o755)
    shutil.copytree(ROOT / "aws", tmp_path / "aws")
    script = "set -eu\n" + "".join(blocks).replace("<sum>", "0" * 64).replace("acme/runner", "umbrella/runner", 1)
    env = {"PATH": f"{programs}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-c", script], cwd=tmp_path, env=env, check=True, capture_output=True)
    return [call.split("\0")[:-1] for call in calls.read_text().split("\n\0")[:-1]]


def test_the_set_up_puts_account_and_repository_into_the_policies(set_up: list[list[str]], tmp_path: Path) -> None:
    assert set_up
    policies = {path.name: path.read_text() for path in tmp_path.glob("aws/*")}
    assert policies.keys() == {path.name for path in ROOT.glob("aws/*")}
    assert not [name for name, text in policies.items() if "111122223333" in text or "acme" in text]
    trust = json.loads(policies["trust-policy.json"])["Statement"][0]["Condition"]["StringEquals"]
    assert trust["token.actions.githubusercontent.com:sub"] == [
        "repo:umbrella@12/scale@34:environment:runner-scaler",
        "repo:umbrella/runner-scaler:environment:runner-scaler",
    ]


def test_the_set_up_calls_what_aws_has(set_up: list[list[str]]) -> None:
    """Of a command of the AWS CLI name and options are the operation's and its parameters', in another spelling."""
    session = botocore.session.get_session()
    for _, service, command, *rest in (call for call in set_up if call[0] == "aws"):
        model = session.get_service_model(service)
        operation = next(o for o in model.operation_names if xform_name(o, "-") == command)
        shape = model.operation_model(operation).input_shape
        known = {xform_name(member, "-"): member for member in getattr(shape, "members", {})}
        given = {known[word[2:]] for word in rest if word.startswith("--") and word not in ("--query", "--output")}
        assert set(getattr(shape, "required_members", ())) <= given


def test_the_launch_templates_of_the_set_up_carry_the_promises(set_up: list[list[str]]) -> None:
    templates = [call for call in set_up if "create-launch-template" in call]
    assert [call[call.index("--launch-template-name") + 1] for call in templates] == ["runner-amd64", "runner-arm64"]
    shape = botocore.session.get_session().get_service_model("ec2").shape_for("RequestLaunchTemplateData")
    for call in templates:
        data = json.loads(call[call.index("--launch-template-data") + 1])
        assert not ParamValidator().validate(data, shape).has_errors()
        assert data["InstanceInitiatedShutdownBehavior"] == "terminate"
        assert (data["MetadataOptions"]["HttpTokens"], data["MetadataOptions"]["InstanceMetadataTags"]) == (
            "required",
            "enabled",
        )
        assert data["IamInstanceProfile"]["Name"] in (ROOT / "aws/scaler-policy.json").read_text()


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
