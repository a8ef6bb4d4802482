"""A release: notes of the CHANGELOG, files, and the workflow's own steps by the runner's rules, with stand-ins for GitHub."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from scaler import __version__
from scripts.release_notes import Unfit, notes
from tests.conftest import ROOT
from tests.expressions import Expressions, expressions
from tests.hosted_runner import Event, Job, JobRan, Site, Workflow, load_yaml
from tests.hosted_site import machine

__all__ = ["expressions"]

FILE = ROOT / ".github/workflows/release.yml"
TAG = f"v{__version__}"
CHANGELOG = """\
# Changelog

## Unreleased

## 1.2.0 - 2026-11-28

### Added

- Something that users notice.

## 1.1.0 - 2026-10-01

- Older.
"""


# --- notes ---------------------------------------------------------------------------------------


def test_the_notes_are_the_section_of_the_version() -> None:
    assert notes("v1.2.0", CHANGELOG, "1.2.0") == "### Added\n\n- Something that users notice.\n"


@pytest.mark.parametrize(
    ("tag", "version", "changelog", "why"),
    [
        ("1.2.0", "1.2.0", CHANGELOG, "is no tag of a release; write vX.Y.Z"),
        ("v1.2", "1.2", CHANGELOG, "is no tag of a release"),
        ("v1.3.0", "1.2.0", CHANGELOG, "the tag is v1.3.0, and pyproject.toml has version 1.2.0"),
        ("v1.3.0", "1.3.0", CHANGELOG, "has no section 1.3.0; rename Unreleased"),
        ("v1.2.0", "1.2.0", CHANGELOG.replace(" - 2026-11-28", ""), 'write "1.2.0 - YYYY-MM-DD"'),
        ("v1.2.0", "1.2.0", CHANGELOG.replace("- Something", "Something"), "says nothing of 1.2.0"),
    ],
)
def test_what_does_not_agree_is_told_and_nothing_is_released(tag: str, version: str, changelog: str, why: str) -> None:
    with pytest.raises(Unfit, match=re.escape(why)):
        notes(tag, changelog, version)


def test_the_version_is_one() -> None:
    assert f'version = "{__version__}"' in (ROOT / "pyproject.toml").read_text()


# --- the workflow --------------------------------------------------------------------------------


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=somebody", "-c", "user.email=somebody@acme.dev", "-c", "init.defaultBranch=main")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def repository(folder: Path, changelog: str) -> None:
    """This repository as a commit of its own, with a tag, on main."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    for name in (".venv-dev", ".cache"):  # what scripts/setup.sh would make
        (folder / name).symlink_to(ROOT / name)
    (folder / "CHANGELOG.md").write_text(changelog)
    git(folder, "init")
    git(folder, "add", "--all")
    git(folder, "commit", "--message", "a release")
    git(folder, "tag", TAG)


def release(expressions: Expressions, folder: Path, *, on_main: bool = True, changelog: str = "") -> JobRan:
    """Run the release job, its needs met; `gh` writes down what it is asked, the attestation is a file."""
    text = changelog or (ROOT / "CHANGELOG.md").read_text().replace("## Unreleased", f"## {__version__} - 2026-11-28")
    bundle = folder / "attestation.json"
    bundle.write_text("{}")
    programs = folder / "bin"
    programs.mkdir()
    (programs / "gh").write_text(f"#!/bin/sh\nprintf '%s\\0' \"$@\" >>{folder}/asked\necho >>{folder}/asked\n")
    (programs / "gh").chmod(0o755)

    def check_out(job: Job, given: Mapping[str, str]) -> Mapping[str, str]:
        assert given["fetch-depth"] == "0"
        repository(job.workspace, text)
        if on_main:
            git(job.workspace, "update-ref", "refs/remotes/origin/main", "HEAD")
        else:
            git(job.workspace, "commit", "--allow-empty", "--message", "what is on main")
            git(job.workspace, "update-ref", "refs/remotes/origin/main", "HEAD")
            git(job.workspace, "commit", "--allow-empty", "--message", "what is not")
            git(job.workspace, "tag", "--force", TAG)
        return {}

    image = machine(folder)
    site = Site(
        checkout=folder,
        work=folder / "_work",
        temp=folder / "_temp",
        image={**image, "PATH": f"{programs}:{image['PATH']}"},
        stubs={"actions/checkout": check_out, "actions/attest": lambda *_: {"bundle-path": str(bundle)}},
    )
    event = Event(name="push", ref=f"refs/tags/{TAG}")
    needs = {name: JobRan(name) for name in ("check", "selftest")}
    return Workflow(load_yaml(FILE), event, site, expressions).job("release", needs).run()


def asked(folder: Path) -> list[list[str]]:
    file = folder / "asked"
    return [line.split("\0")[:-1] for line in file.read_text().splitlines()] if file.exists() else []


def test_a_tag_becomes_a_draft_with_all_files_and_then_a_release(expressions: Expressions, tmp_path: Path) -> None:
    ran = release(expressions, tmp_path)
    assert ran.conclusion == "success", ran.log
    create, publish = asked(tmp_path)
    assert create[:5] == ["release", "create", TAG, "--draft", "--verify-tag"]
    assert publish == ["release", "edit", TAG, "--draft=false"]
    name = f"runner-scaler-{TAG}"
    files = {Path(word).name for word in create if word.startswith("build/release/files/")}
    assert files == {f"{name}.tar.gz", f"{name}.cdx.json", f"{name}.intoto.jsonl"}
    assert ("actions/attest", "build/release/files/*") in [
        (uses.partition("@")[0], given.get("subject-path", "")) for uses, given in ran.used
    ]
    (workspace,) = (tmp_path / "_work").glob("*/*")
    made = workspace / "build/release"
    assert (made / "notes.md").read_text().startswith("### Added")
    with tarfile.open(made / "files" / f"{name}.tar.gz") as archive:
        assert {f"{name}/action.yml", f"{name}/requirements.txt"} <= set(archive.getnames())


def test_the_sbom_has_every_package_that_a_run_installs_with_its_hashes(
    expressions: Expressions, tmp_path: Path
) -> None:
    release(expressions, tmp_path)
    (file,) = (tmp_path / "_work").glob("*/*/build/release/files/*.cdx.json")
    sbom = json.loads(file.read_text())
    text = (ROOT / "requirements.txt").read_text()
    locked = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE))
    assert {each["name"]: each["version"] for each in sbom["components"]} == locked
    hashes = {h["content"] for each in sbom["components"] for r in each["externalReferences"] for h in r["hashes"]}
    assert hashes == set(re.findall(r"--hash=sha256:([0-9a-f]{64})", text))
    assert sbom["metadata"]["component"]["name"] == "runner-scaler"
    assert sbom["metadata"]["component"]["version"] == __version__


def test_a_tag_that_is_not_on_main_is_not_released(expressions: Expressions, tmp_path: Path) -> None:
    ran = release(expressions, tmp_path, on_main=False)
    assert ran.conclusion == "failure"
    assert f"{TAG} is not on main" in ran.log
    assert asked(tmp_path) == []


def test_a_version_without_notes_is_not_released(expressions: Expressions, tmp_path: Path) -> None:
    ran = release(expressions, tmp_path, changelog=CHANGELOG)
    assert ran.conclusion == "failure"
    assert f"CHANGELOG.md has no section {__version__}" in ran.log
    assert asked(tmp_path) == []


def test_nothing_is_released_before_tests_and_self_test() -> None:
    jobs = load_yaml(FILE)["jobs"]
    assert set(jobs["release"]["needs"]) == {"check", "selftest"}
    assert jobs["selftest"]["uses"] == "./.github/workflows/selftest.yml"
    assert "workflow_call" in load_yaml(ROOT / ".github/workflows/selftest.yml")["on"]


def test_no_workflow_moves_a_tag() -> None:
    """v1 is moved by hand (docs/releasing.md)."""
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        assert not re.search(r"git push|git tag|update-ref|/git/refs", path.read_text()), path
