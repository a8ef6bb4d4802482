"""
What OpenSSF Scorecard looks for inside a repository, and what the Marketplace asks of an action.

A test for each check whose name it bears (github.com/ossf/scorecard, docs/checks.md). What depends on the repository's
settings or history on GitHub cannot be seen here: Branch-Protection, CI-Tests, Code-Review, Contributors, Maintained,
Packaging, Signed-Releases, Vulnerabilities, CII-Best-Practices.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import check_jsonschema
import pytest

from tests.conftest import ROOT
from tests.hosted_runner import load_yaml

WORKFLOWS = sorted(ROOT.glob(".github/workflows/*.yml")) + sorted(ROOT.glob("examples/*.yml"))
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = load_yaml(path)["jobs"]
    return found


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_binary_artifacts_there_are_none_but_pictures() -> None:
    binary = [path for path in tracked() if b"\0" in path.read_bytes()]
    assert [path for path in binary if path.suffix not in (".png", ".jpg", ".gif", ".webp")] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=name_of)
def test_dangerous_workflow_no_code_of_strangers_meets_a_secret(path: Path) -> None:
    """A run of `workflow_run` has the secrets of the default branch, and may check out nothing else."""
    document = load_yaml(path)
    triggers = set(document["on"])
    assert "pull_request_target" not in triggers
    for job in document["jobs"].values():
        for step in job.get("steps") or []:
            assert "${{" not in step.get("run", "")
            if "workflow_run" in triggers and str(step.get("uses", "")).startswith("actions/checkout@"):
                assert {"ref", "repository"} & step["with"].keys() == set()


@pytest.mark.parametrize("path", WORKFLOWS, ids=name_of)
def test_token_permissions_are_none_at_the_top_and_each_write_has_its_reason(path: Path) -> None:
    document = load_yaml(path)
    assert document["permissions"] == {}
    for name, job in document["jobs"].items():
        assert isinstance(job["permissions"], dict), name
    granted = re.findall(r"^ +[a-z-]+: write\b.*$", path.read_text(), re.MULTILINE)
    assert [line for line in granted if not re.search(r"write # \w.{5,}", line)] == []
    assert "write-all" not in path.read_text()


def test_pinned_dependencies_actions_by_commit() -> None:
    for path in [ROOT / "action.yml", *WORKFLOWS]:
        for uses in re.findall(r"^\s*(?:- )?uses:\s*(\S+)", path.read_text(), re.MULTILINE):
            assert uses.startswith(("./", "org/runner-scaler@")) or PINNED.fullmatch(uses), f"{name_of(path)}: {uses}"


def test_pinned_dependencies_packages_by_hash() -> None:
    """Of shell, workflows and Python that calls a package manager; packages of a distribution are signed by it."""
    for path in tracked():
        if path.suffix not in (".sh", ".yml", "") or "tests" in path.parts or path.name == "LICENSE":
            continue
        text = path.read_text(errors="replace").replace("\\\n", " ")
        for line in re.findall(r"^.*\bpip3?\b.*\binstall\b.*$", text, re.MULTILINE):
            assert line.lstrip().startswith(("#", "echo")) or "--require-hashes" in line, f"{name_of(path)}: {line}"
        assert not re.search(r"\bnpm (install|i)\b(?!.*--package-lock-only)", text), name_of(path)
        assert not re.search(r"curl[^\n|]*\|\s*(ba)?sh\b", text), name_of(path)


def test_security_policy_says_where_to_report_and_when_there_is_an_answer() -> None:
    text = (ROOT / "SECURITY.md").read_text()
    assert re.search(r"https://\S+/security/advisories/new", text)
    assert re.search(r"\bvulnerability\b", text)
    assert re.search(r"within a week", text)


def test_license_is_one_that_tools_know() -> None:
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")
    assert 'license = "MIT"' in (ROOT / "pyproject.toml").read_text()


def test_sast_codeql_looks_at_each_change_of_program_and_workflows() -> None:
    document = load_yaml(ROOT / ".github/workflows/codeql.yml")
    assert {"push", "pull_request", "schedule"} <= set(document["on"])
    (job,) = document["jobs"].values()
    assert {"python", "actions"} <= set(job["strategy"]["matrix"]["language"])
    uses = [step["uses"].partition("@")[0] for step in job["steps"]]
    assert uses[1:] == ["github/codeql-action/init", "github/codeql-action/analyze"]


def test_dependency_update_tool_covers_every_lock_file_in_groups_and_after_a_week() -> None:
    updates = load_yaml(ROOT / ".github/dependabot.yml")["updates"]
    assert {update["package-ecosystem"] for update in updates} == {"uv", "npm", "github-actions"}
    for update in updates:
        assert update["cooldown"]["default-days"] >= 7
        assert [group["patterns"] for group in update["groups"].values()] == [["*"]]


def test_fuzzing_is_part_of_the_tests() -> None:
    """Scorecard knows property-based testing; hypothesis is Python's."""
    assert "from hypothesis import" in (ROOT / "tests/test_fuzz.py").read_text()


# --- the Marketplace -----------------------------------------------------------------------------


def test_the_marketplace_takes_the_action() -> None:
    """docs.github.com, "Publishing actions in GitHub Marketplace" and "Metadata syntax": names of icons and colours."""
    action = load_yaml(ROOT / "action.yml")
    assert not (ROOT / "action.yaml").exists()
    schema = Path(check_jsonschema.__file__).parent / "builtin_schemas/vendor/github-actions.json"
    branding = json.loads(schema.read_text())["properties"]["branding"]["properties"]
    assert action["branding"]["icon"] in branding["icon"]["enum"]
    assert action["branding"]["color"] in branding["color"]["enum"]
    assert 10 < len(action["description"]) < 125
    assert re.fullmatch(r"[\w -]{3,50}", action["name"])
    assert action["author"]
