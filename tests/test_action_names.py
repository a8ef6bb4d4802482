"""
Names in `${{ }}`: whatever action.yml, the workflows and the examples look up is there, and may be looked up there.

GitHub evaluates a name that does not exist to an empty text, in silence; linters look into workflows alone. Parsed by
GitHub's own parser. Which context is known where: docs.github.com, "Contexts reference", "Context availability", and
for actions the schema of action.yml (github.com/actions/languageservices, action-v1.0.json).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from scaler.reporting import report
from tests.conftest import ROOT
from tests.expressions import STATUS_FUNCTIONS, Expressions, Wrong, expressions, split
from tests.hosted_runner import load_yaml, read_yaml

__all__ = ["expressions"]

FILES = [
    "action.yml",
    *(
        str(path.relative_to(ROOT))
        for pattern in (".github/workflows/*.yml", "examples/*.yml")
        for path in sorted(ROOT.glob(pattern))
    ),
]
ACTION = load_yaml(ROOT / "action.yml")
TOLD_IN = (ROOT / "README.md", ROOT / "packer/README.md", *sorted((ROOT / "docs").glob("*.md")))
DOCUMENTS = "".join(path.read_text() for path in TOLD_IN)
"""Where a user is told of the secrets and variables that there have to be."""

RUN = "github inputs vars"
JOB = f"{RUN} needs"
LEG = f"{JOB} strategy matrix"
STEP = f"{LEG} job runner env steps"
IN_ACTION = "github inputs steps env job runner strategy matrix"
ALLOWED: Mapping[str, str] = {
    "action.default": "github strategy matrix job runner",
    "action.step": IN_ACTION,
    "action.output": IN_ACTION,
    "workflow": RUN,
    "workflow.env": f"{RUN} secrets",
    "job.if": JOB,
    "job": LEG,
    "job.env": f"{LEG} secrets",
    "job.outputs": f"{STEP} secrets",
    "step.if": STEP,
    "step": f"{STEP} secrets",
}

GITHUB = """
action action_path action_ref action_repository action_status actor actor_id api_url base_ref env event event_name
event_path graphql_url head_ref job path ref ref_name ref_protected ref_type repository repository_id repository_owner
repository_owner_id repositoryUrl retention_days run_id run_number run_attempt secret_source server_url sha token
triggering_actor workflow workflow_ref workflow_sha workspace
"""
"""docs.github.com, "Contexts reference", `github` context."""
FIXED = {
    "github": set(GITHUB.split()),
    "runner": {"name", "os", "arch", "temp", "tool_cache", "debug", "environment"},
    "job": {"check_run_id", "container", "services", "status", "workflow_ref", "workflow_sha", "workflow_repository"},
    "strategy": {"fail-fast", "job-index", "job-total", "max-parallel"},
}
OTHERS = {
    # What actions of others give, by their own action.yml at the commit that is pinned.
    "actions/attest": {"bundle-path", "attestation-id", "attestation-url", "storage-record-ids"},
    "actions/setup-python": {"python-version", "cache-hit", "python-path"},
    "actions/upload-artifact": {"artifact-id", "artifact-url", "artifact-digest"},
}


@dataclass(frozen=True)
class Used:
    """An expression, and where it stands: its place's kind, and the names that can be known there."""

    expression: str
    place: str
    where: str
    known: Mapping[str, Any]


def texts(node: object) -> Iterator[str]:
    """Every text below a node of YAML."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for value in node.values():
            yield from texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from texts(value)


def in_texts(node: object, place: str, where: str, known: Mapping[str, Any]) -> Iterator[Used]:
    for text in texts(node):
        for expression, dynamic in split(text):
            if dynamic:
                yield Used(expression, place, where, known)


def condition(text: object, place: str, where: str, known: Mapping[str, Any]) -> Iterator[Used]:
    """An `if` is an expression also without braces."""
    parts = list(split(str(text)))
    yield Used(parts[0][0] if len(parts) == 1 else str(text), place, where, known)


def outputs_of(step: Mapping[str, Any]) -> set[str] | None:
    """The outputs that a step has; None where its own text does not say."""
    uses = str(step.get("uses", ""))
    if uses.startswith(("./", "org/runner-scaler@")):
        return set(ACTION["outputs"])
    if uses:
        return OTHERS.get(uses.partition("@")[0], set())
    text = str(step["run"])
    if "-m scaler action" in text:
        return set(re.findall(r'"([a-z-]+)":', inspect.getsource(report.outputs)))
    for script in re.findall(r"scripts/[\w-]+\.(?:sh|py)", text):
        text += (ROOT / script).read_text()
    return set(re.findall(r"\b([a-z][\w-]*)(?:=|<<)", text)) if "GITHUB_OUTPUT" in text else set()


def step_names(steps: list[Mapping[str, Any]], own: Mapping[str, Any], place: str, where: str) -> Iterator[Used]:
    """Each step sees those before it, and the variables that they may have set."""
    before: dict[str, set[str] | None] = {}
    variables = set(own["env"])
    for number, step in enumerate(steps):
        at = f"{where}.steps[{number}]"
        known = {**own, "steps": dict(before), "env": variables | set(step.get("env") or {})}
        yield from in_texts({k: v for k, v in step.items() if k not in ("if", "env")}, place, at, known)
        yield from in_texts(step.get("env") or {}, place, at, {**known, "env": variables})
        if "if" in step:
            yield from condition(step["if"], f"{place}.if" if place == "step" else place, at, known)
        if "id" in step:
            assert step["id"] not in before, f"{at}: a second {step['id']}"
            before[step["id"]] = outputs_of(step)
        if "GITHUB_ENV" in str(step.get("run", "")):
            variables |= set(re.findall(r"\b([A-Z][A-Z0-9_]*)=", step["run"])) | {"*"}


def of_action(action: Mapping[str, Any]) -> Iterator[Used]:
    own = {"inputs": set(action["inputs"]), "env": set(), "steps": {}}
    yield from in_texts(
        [body.get("default", "") for body in action["inputs"].values()], "action.default", "inputs", own
    )
    yield from step_names(action["runs"]["steps"], own, "action.step", "runs")
    steps = {step["id"]: outputs_of(step) for step in action["runs"]["steps"] if "id" in step}
    yield from in_texts(action["outputs"], "action.output", "outputs", {**own, "steps": steps})


def of_workflow(workflow: Mapping[str, Any]) -> Iterator[Used]:
    triggers = workflow["on"] if isinstance(workflow["on"], dict) else {}
    declared: dict[str, Any] = {}
    for trigger in ("workflow_dispatch", "workflow_call"):
        declared |= (triggers.get(trigger) or {}).get("inputs") or {}
    own: dict[str, Any] = {
        "inputs": set(declared),
        "triggers": set(workflow["on"]),
        "env": set(workflow.get("env") or {}),
    }
    top = {key: value for key, value in workflow.items() if key not in ("jobs", "env", "on")}
    yield from in_texts(top, "workflow", "workflow", own)
    yield from in_texts(workflow.get("env") or {}, "workflow.env", "env", {**own, "env": set()})
    for name, job in workflow["jobs"].items():
        needs = [job["needs"]] if isinstance(job.get("needs"), str) else job.get("needs") or []
        here = {
            **own,
            "needs": {other: set(workflow["jobs"][other].get("outputs") or {}) for other in needs},
            "matrix": set((job.get("strategy") or {}).get("matrix") or {}),
            "env": own["env"] | set(job.get("env") or {}),
        }
        at = f"jobs.{name}"
        rest = {k: v for k, v in job.items() if k not in ("if", "env", "steps", "outputs", "needs")}
        yield from in_texts(rest, "job", at, here)
        yield from in_texts(job.get("env") or {}, "job.env", at, {**here, "env": own["env"]})
        if "if" in job:
            yield from condition(job["if"], "job.if", at, here)
        yield from step_names(job.get("steps") or [], here, "step", at)
        ended = {step["id"]: outputs_of(step) for step in job.get("steps") or [] if "id" in step}
        yield from in_texts(job.get("outputs") or {}, "job.outputs", at, {**here, "steps": ended})


def problems(document: Mapping[str, Any], expressions: Expressions) -> list[str]:
    """Everything that a document looks up and that is not there."""
    found = []
    for used in of_action(document) if "runs" in document else of_workflow(document):
        try:
            names, functions = expressions.names(used.expression), expressions.functions(used.expression)
        except Wrong as wrong:
            found.append(f"{used.where}: {wrong}")
            continue
        for path in names:
            if path[0] not in ALLOWED[used.place].split():
                found.append(f"{used.where}: {path[0]} is not known in this place")
            elif not exists(path, used.known):
                found.append(f"{used.where}: there is no {'.'.join(path)}")
        if functions & STATUS_FUNCTIONS and not used.place.endswith(".if"):
            found.append(f"{used.where}: {functions & STATUS_FUNCTIONS} is for conditions")
    return found


def exists(path: tuple[str, ...], known: Mapping[str, Any]) -> bool:
    """Whether a name leads to something. A whole context does."""
    context, *rest = path
    if not rest:
        return True
    name = rest[0]
    match context:
        case "steps":
            return name in known["steps"] and part_of_step(rest[1:], known["steps"][name])
        case "needs":
            outputs = known["needs"].get(name)
            return outputs is not None and (rest[1:] == ["result"] or (rest[1:2] == ["outputs"] and rest[2] in outputs))
        case "secrets":
            return name == "GITHUB_TOKEN" or name in DOCUMENTS
        case "vars":
            return name in DOCUMENTS
        case "inputs" | "matrix":
            return name in known.get(context, ())
        case "env":
            return name in known["env"] or "*" in known["env"]
        case "github" if name == "event" and len(rest) > 1:
            return of_event(rest[1:], known)
        case _:
            return name in FIXED[context]


def part_of_step(rest: list[str], outputs: set[str] | None) -> bool:
    if rest in (["outcome"], ["conclusion"]):
        return True
    return len(rest) == 2 and rest[0] == "outputs" and (outputs is None or rest[1] in outputs)


def of_event(rest: list[str], known: Mapping[str, Any]) -> bool:
    """The payload's part is there if the event that has it starts this workflow."""
    if rest[0] == "inputs":
        return len(rest) > 1 and rest[1] in known["inputs"]
    if rest[0] == "repository":
        return True
    return rest[0] in known["triggers"] or (
        rest[0] in ("number", "pull_request") and "pull_request" in known["triggers"]
    )


@pytest.mark.parametrize("name", FILES)
def test_every_name_in_an_expression_exists(name: str, expressions: Expressions) -> None:
    assert problems(load_yaml(ROOT / name), expressions) == []


@pytest.mark.parametrize("name", FILES)
def test_expressions_are_found_everywhere(name: str) -> None:
    """As many as a search for their beginnings finds, and conditions without braces besides."""
    document = load_yaml(ROOT / name)
    used = list(of_action(document) if "runs" in document else of_workflow(document))
    bare = re.sub(r"^\s*#.*$", "", (ROOT / name).read_text(), flags=re.MULTILINE)
    assert len(used) >= bare.count("${{")


WRONG = """
on: {workflow_dispatch: {inputs: {mode: {type: string}}}}
concurrency: "${{ env.GROUP }}"
jobs:
  a:
    name: ${{ inputs.mod }}
    runs-on: ubuntu-24.04
    outputs: {x: "${{ steps.one.outputs.launched }}", y: "${{ steps.one.outputs.lunched }}"}
    steps:
      - {run: 'echo ${{ steps.one.outputs.launched }}'}
      - {id: one, uses: ./, with: {github-token: '${{ secrets.RUNNER_SCALER_TOKEN }}', mode: '${{ github.evnt_name }}'}}
      - {id: two, run: 'echo "sum=1" >>"${GITHUB_OUTPUT}"', if: "steps.one.outputs['queued'] != '0' && secrets.X"}
      - {run: 'echo ${{ steps.two.outputs.sum }} ${{ steps.two.outputs.product }} ${{ matrix.python }}'}
      - {run: 'echo ${{ runner.tmp }} ${{ github.event.workflow_run.id }} ${{ success() }} ${{ foo.bar }}'}
  b:
    runs-on: ubuntu-24.04
    if: needs.a.outputs.x
    steps: [{run: 'echo ${{ env.GROUP }} ${{ inputs.mode == }}'}]
"""


def test_names_that_do_not_exist_are_found(expressions: Expressions) -> None:
    found = problems(read_yaml(WRONG), expressions)
    assert found == [
        "workflow: env is not known in this place",
        "jobs.a: there is no inputs.mod",
        "jobs.a.steps[0]: there is no steps.one.outputs.launched",
        "jobs.a.steps[1]: there is no github.evnt_name",
        "jobs.a.steps[2]: secrets is not known in this place",
        "jobs.a.steps[3]: there is no steps.two.outputs.product",
        "jobs.a.steps[3]: there is no matrix.python",
        "jobs.a.steps[4]: there is no runner.tmp",
        "jobs.a.steps[4]: there is no github.event.workflow_run.id",
        "jobs.a.steps[4]: {'success'} is for conditions",
        "jobs.a.steps[4]: foo.bar: Unrecognized named-value: 'foo'",
        "jobs.a: there is no steps.one.outputs.lunched",
        "jobs.b: there is no needs.a.outputs.x",
        "jobs.b.steps[0]: there is no env.GROUP",
        "jobs.b.steps[0]: inputs.mode ==: Unexpected end of expression: '=='",
    ]


def test_an_action_that_looks_for_secrets_is_found(expressions: Expressions) -> None:
    """Inside of an action there are none: they come as inputs."""
    document = load_yaml(ROOT / "action.yml")
    document["runs"]["steps"][1]["env"]["X"] = "${{ secrets.RUNNER_SCALER_TOKEN }} ${{ steps.install.outputs.pyton }}"
    assert problems(document, expressions) == [
        "runs.steps[1]: secrets is not known in this place",
        "runs.steps[1]: there is no steps.install.outputs.pyton",
    ]
