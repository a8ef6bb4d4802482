"""
Checkouts and images that have things of their own where ours might look: nothing of theirs is run, and it works.

Environment variables come from images of one's own and from earlier steps, by GITHUB_ENV; files from the checkout.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import World
from tests.expressions import expressions
from tests.hosted_runner import Event, Workflow, read_yaml
from tests.hosted_site import Hosted, hosted, runner_temp

__all__ = ["expressions", "hosted", "runner_temp"]

MODULES = (
    *("yaml", "boto3", "botocore", "github", "github_action_utils", "requests", "jwt", "urllib3"),
    *("pip", "venv", "ensurepip", "json", "logging", "typing", "sitecustomize", "usercustomize", "runpy"),
)
"""A checkout's files of the names of our packages, of what installs them, and of the standard library."""

USE = """
on: {schedule: [{cron: "7 * * * *"}]}
permissions: {}
jobs:
  scale:
    runs-on: self-hosted
    permissions: {contents: read, id-token: write}
    steps:
      - uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1
      - id: scale
        name: Scale
        uses: org/runner-scaler@v1
        with: {github-token: "${{ secrets.RUNNER_SCALER_TOKEN }}"}
"""


def hostile_checkout(folder: Path) -> Path:
    """Fill a checkout; what is run of it says so in a file."""
    pwned = folder.parent / "pwned"
    python = f"open({str(pwned)!r}, 'a').write(__file__ + '\\n')\nraise SystemExit('the checkout was run')\n"
    for name in MODULES:
        (folder / f"{name}.py").write_text(python)
    (folder / "scaler").mkdir()
    (folder / "scaler" / "__init__.py").write_text(python)
    (folder / "scaler" / "__main__.py").write_text(python)
    for name in ("pip.conf", "uv.toml", ".python-version", "pyvenv.cfg", ".env", "requirements.txt", "setup.cfg"):
        (folder / name).write_text("[global]\ntarget = /nowhere\n[install]\nuser = true\nno-index = true\n")
    (folder / "scripts").mkdir()
    for name in ("scripts/python.sh", "scripts/install-action.sh", "python3", "bash", "pip", "cksum"):
        (folder / name).write_text(f"#!/bin/sh\necho {name} >>{pwned}\nexit 1\n")
        (folder / name).chmod(0o755)
    return pwned


def image(hosted: Hosted, checkout: Path) -> dict[str, str]:
    """A machine that has told its own Python and pip much."""
    return {
        **hosted.site.image,
        "PYTHONPATH": str(checkout),
        "PYTHONHOME": "/nowhere",
        "PYTHONUSERBASE": str(checkout),
        "PYTHONSTARTUP": str(checkout / "yaml.py"),
        "PYTHONWARNINGS": "error",
        "PYTHONOPTIMIZE": "2",
        "PYTHONINSPECT": "1",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONIOENCODING": "ascii",
        "LC_ALL": "C",
        "PIP_USER": "1",
        "PIP_TARGET": str(checkout),
        "PIP_PREFIX": str(checkout),
        "PIP_ROOT": str(checkout),
        "PIP_REQUIRE_VIRTUALENV": "1",
        "PIP_NO_BINARY": ":all:",
        "PIP_CONSTRAINT": str(checkout / "requirements.txt"),
        "PIP_DRY_RUN": "1",
        "PIP_PYTHON": "/nowhere",
        "VIRTUAL_ENV": str(checkout),
        "CDPATH": "/",
        "TMPDIR": "/nowhere",
        "GH_TOKEN": "ghp_of_somebody_else",
        "GITHUB_TOKEN": "ghs_of_somebody_else",
        "RUNNER_SCALER_MODE": "down",
        "RUNNER_SCALER_FORCE": "true",
    }


def run(hosted: Hosted) -> Workflow:
    return Workflow(read_yaml(USE), Event(name="schedule"), hosted.site, hosted.expressions)


def test_nothing_of_the_checkout_is_run_and_no_setting_of_the_image_is_followed(
    world: World, hosted: Hosted, tmp_path: Path
) -> None:
    pwned = hostile_checkout(world.folder)
    hosted.site = replace(hosted.site, image=image(hosted, world.folder), temp=tmp_path / "temp of a job")
    world.push("bauen · 構築 – 🚀")
    ran = run(hosted).job("scale").run()
    assert not pwned.exists(), pwned.read_text()
    assert ran.conclusion == "success", ran.log
    assert "構築" in ran.log
    assert len(world.box.aws.alive()) == 1
    assert list(world.folder.rglob("*.dist-info")) == []


def test_a_bare_machine_is_enough(world: World, hosted: Hosted) -> None:
    """A runner started by systemd has neither HOME nor a locale."""
    wanted = ("PATH", "AWS_ENDPOINT_URL", "AWS_EC2_METADATA_DISABLED")
    hosted.site = replace(hosted.site, image={name: hosted.site.image[name] for name in wanted})
    world.push("構築")
    ran = run(hosted).job("scale").run()
    assert ran.conclusion == "success", ran.log
    assert "構築" in ran.log
    assert len(world.box.aws.alive()) == 1


def test_a_job_is_printed_whatever_the_locale_can(world: World, hosted: Hosted, tmp_path: Path) -> None:
    """An image may still have an 8-bit locale; of C alone Python makes UTF-8 by itself (PEP 540)."""
    if not (shutil.which("localedef") and Path("/usr/share/i18n").is_dir()):
        pytest.skip("no locale can be made here (apt-get install locales)")
    made = ["localedef", "-c", "-i", "en_US", "-f", "ISO-8859-1", str(tmp_path / "en_US")]
    subprocess.run(made, check=False, capture_output=True)  # it ends with 1 after mere warnings
    locale = {"LOCPATH": str(tmp_path), "LC_ALL": "en_US", "LANG": "en_US"}
    env = {"PATH": os.environ["PATH"], **locale}
    told = subprocess.run(["locale", "charmap"], env=env, check=True, capture_output=True)
    assert told.stdout == b"ISO-8859-1\n"
    hosted.site = replace(hosted.site, image={**hosted.site.image, **locale})
    world.push("構築")
    ran = run(hosted).job("scale").run()
    assert ran.conclusion == "success", ran.log
    assert "構築" in ran.log
