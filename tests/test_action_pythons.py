"""Every Python that the action says it supports, as far as one is on this machine; CI has the rest."""

from __future__ import annotations

import os
import re
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import ROOT, World
from tests.expressions import expressions
from tests.hosted_site import Hosted, hosted, runner_temp

__all__ = ["expressions", "hosted", "runner_temp"]

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SUPPORTED = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", line)]


def interpreter(version: str) -> str:
    """Where this machine has that Python: in PATH, in the runner's tool cache, or as pyenv keeps it."""
    cache = Path(os.environ.get("RUNNER_TOOL_CACHE", "/opt/hostedtoolcache"))
    kept = [
        *cache.glob(f"Python/{version}.*/*/bin/python3"),
        *Path.home().glob(f".pyenv/versions/{version}.*/bin/python3"),
    ]
    found = [str(path) for path in kept] or [shutil.which(f"python{version}") or ""]
    return found[0] or pytest.skip(f"no Python {version} here")


def only(python: str, folder: Path, path: str) -> str:
    """A PATH on which `python3` is that one."""
    programs = folder / "programs"
    programs.mkdir()
    (programs / "python3").symlink_to(python)
    return f"{programs}:{path}"


def test_the_supported_ones_are_those_that_ci_runs() -> None:
    ci = (ROOT / ".github/workflows/ci.yml").read_text()
    assert PROJECT["requires-python"] == f">={SUPPORTED[0]}"
    assert f'python: ["{SUPPORTED[0]}", "{SUPPORTED[-1]}"]' in ci
    assert f"Python {SUPPORTED[0]}" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("version", SUPPORTED)
def test_the_action_runs_on_each(world: World, hosted: Hosted, tmp_path: Path, version: str) -> None:
    python = interpreter(version)
    image = {**hosted.site.image, "PATH": only(python, tmp_path, hosted.site.image["PATH"])}
    hosted.site = replace(hosted.site, image=image, temp=tmp_path / "temp")
    world.push("build")
    ran = hosted.use()
    assert ran.conclusion == "success", ran.log
    assert len(world.box.aws.alive()) == 1
