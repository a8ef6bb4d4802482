"""
The self-test that GitHub runs daily, run here: its steps by the runner's rules, against the sandbox that they start.

What its jobs show is theirs to say. Here they must succeed as they stand, and the gate must hold.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.expressions import Expressions, expressions
from tests.hosted_runner import Event, JobRan, Site, Workflow, load_yaml, matrix
from tests.hosted_site import checked_out, machine, runner_temp

__all__ = ["expressions", "runner_temp"]

FILE = ROOT / ".github/workflows/selftest.yml"
JOBS = load_yaml(FILE)["jobs"]
PARTS = [name for name in JOBS if name not in ("gate", "report")]


@pytest.fixture
def workflow(expressions: Expressions, runner_temp: Path, tmp_path: Path) -> Workflow:
    """The self-test as the daily schedule starts it, on a machine with nothing of the sandbox in its environment."""
    site = Site(
        checkout=tmp_path,
        work=tmp_path / "_work",
        temp=runner_temp,
        image=machine(tmp_path),
        stubs={"actions/checkout": checked_out},
    )
    return Workflow(load_yaml(FILE), Event(name="schedule"), site, expressions)


@pytest.mark.parametrize("name", [name for name in PARTS if name != "start"])
def test_each_part_succeeds_as_it_stands(workflow: Workflow, name: str) -> None:
    leg = matrix(JOBS[name])[0]
    ran = workflow.job(name, leg=leg).run()
    assert ran.conclusion == "success", ran.log
    assert [step.name for step in ran.steps if step.outcome == "skipped"] == []


def test_it_runs_on_every_kind_of_image_that_the_readme_names() -> None:
    images = JOBS["main-job"]["strategy"]["matrix"]["image"]
    readme = (ROOT / "README.md").read_text()
    assert [image for image in images if f"`{image}`" not in readme] == []
    assert set(JOBS["start"]["strategy"]["matrix"]["image"]) < set(images)


@pytest.mark.parametrize("name", ["selftest", "ci"])
def test_the_gate_needs_every_job(name: str) -> None:
    """A job that is forgotten here could fail unseen; branch protection asks for the gate alone."""
    jobs = load_yaml(ROOT / f".github/workflows/{name}.yml")["jobs"]
    assert set(jobs["gate"]["needs"]) == jobs.keys() - {"gate", "report"}
    assert jobs["gate"]["if"] == "always()"


@pytest.mark.parametrize("conclusion", ["success", "failure", "cancelled", "skipped"])
def test_the_gate_holds_what_did_not_succeed(workflow: Workflow, conclusion: str) -> None:
    needs = {name: JobRan(name) for name in PARTS}
    needs["button"].conclusion = conclusion  # type: ignore[assignment]
    gate = workflow.job("gate", needs).run()
    assert gate.conclusion == ("success" if conclusion == "success" else "failure")


def gh(folder: Path, answer: str) -> Path:
    """A stand-in for GitHub's command line, which writes down what it is asked."""
    program = folder / "bin" / "gh"
    program.parent.mkdir()
    program.write_text(
        f"#!/bin/sh\nprintf '%s\\0' \"$@\" >>{folder}/asked\necho >>{folder}/asked\n"
        f'[ "$2" != list ] || printf %s "{answer}"\n'
    )
    program.chmod(0o755)
    return program.parent


@pytest.mark.parametrize(("open_issue", "expected"), [("", "create"), ("12", "comment")])
def test_a_failed_day_opens_one_issue(workflow: Workflow, tmp_path: Path, open_issue: str, expected: str) -> None:
    path = f"{gh(tmp_path, open_issue)}:{workflow.site.image['PATH']}"
    workflow.site = replace(workflow.site, image={**workflow.site.image, "PATH": path})
    ran = workflow.job("report", {"gate": JobRan("gate", conclusion="failure")}).run()
    assert ran.conclusion == "success", ran.log
    last = (tmp_path / "asked").read_text().splitlines()[-1].split("\0")[:-1]
    assert last[:2] == ["issue", expected]
    assert "/actions/runs/4711" in json.dumps(last)


@pytest.mark.parametrize(("event", "gate"), [("schedule", "success"), ("pull_request", "failure"), ("push", "failure")])
def test_no_issue_is_opened_else(workflow: Workflow, event: str, gate: str) -> None:
    workflow.event = Event(name=event)
    ran = workflow.job("report", {"gate": JobRan("gate", conclusion=gate)}).run()  # type: ignore[arg-type]
    assert ran.conclusion == "skipped"
