"""
The embedded GitHub's bodies have the keys and types of the examples that GitHub publishes with its description.

The description's schemas leave most keys optional and let any others pass; an example is whole. Every difference is
named below with its reason; one that is not named fails, and so does a name without its difference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import requests

from scaler.sandbox.github.rest import ROUTES
from tests.openapi import Description, Operation
from tests.populated import Populated, populated, token_for
from tests.test_recorded_shape import kinds
from tests.watcher import description

__all__ = ["description"]

RECORDED = "newer than the example: in GitHub's recorded answers (tests/test_recorded_shape.py), or in the schema"
NO_FORKS = "the embedded repositories are no forks, and were made from no template"
OF_AN_OWNER = "what an organization's owner sees of its settings and its bill; the token is nobody's"
OTHER_PARTS = "rate limits of other parts of the API; the description requires core and search alone"
UNKEPT = "a setting that nothing here keeps; optional in the schema"

DEVIATIONS: Mapping[str, str] = {
    # --- what the example lacks
    r" has .*/user_view_type$": RECORDED,
    r"/runs has /workflow_runs\[\]/(previous_attempt_url|referenced_workflows)$": RECORDED,
    r"/(jobs|jobs/\{job_id\}) has (/jobs\[\])?/(created_at|run_attempt)$": RECORDED,
    r"/actions/runners has /runners\[\]/runner_group_id$": RECORDED,
    r"/actions/runners/\{runner_id\} has /runner_group_id$": RECORDED,
    r"/generate-jitconfig has /runner/(ephemeral|runner_group_id|version)$": RECORDED,
    r"/downloads has \[\]/sha256_checksum$": RECORDED,
    r"/runner-groups has /runner_groups\[\]/hosted_runners_url$": RECORDED,
    r"\{repo\} has /(language|web_commit_signoff_required)$": RECORDED,
    r" has (\[\]|/repositories\[\])?/permissions/(maintain|triage)$": RECORDED,
    r"/(repos|repositories) has (/repositories)?\[\]/(allow_forking|forks|license|open_issues|watchers)$": RECORDED,
    r"/(repos|repositories) has (/repositories)?\[\]/(has_discussions|web_commit_signoff_required)$": RECORDED,
    r"^GET /orgs/\{org\} has /archived_at$": RECORDED,
    # --- what the embedded GitHub lacks
    r" lacks .*/(parent|source|template_repository)\b": NO_FORKS,
    r" lacks .*/license/\w+$": "the embedded repositories have no licence",
    r" lacks .*/repository/(git_url|ssh_url)$": "a run's repository: in no recorded answer (WorkflowRun.setUp)",
    r" lacks /referenced_workflows\[\]/": "the embedded workflows call no others",
    r"^GET /rate_limit lacks /resources/(code_s|dependency_snapshots|scim|source_import)": OTHER_PARTS,
    r"^GET /orgs/\{org\} lacks /": OF_AN_OWNER,
    r" lacks .*/security_and_analysis": UNKEPT,
    r"/\{runner_group_id\} lacks /network_configuration_id$": UNKEPT,
    r"^GET /installation/repositories lacks .*/custom_properties": UNKEPT,
    r"/contents/\{path\} lacks /entries": "of the media type application/vnd.github.object alone",
    r"/contents/\{path\} lacks /(submodule_git_url|target)$": "the embedded repositories have no submodules and links",
}
"""By the lines that they let pass; all of them occur."""


def served(operation: Operation) -> bool:
    """Whether the embedded GitHub has it: all that the program asks, and some that people do."""
    return any(route.method == operation.method and route.pattern.fullmatch(operation.template) for route in ROUTES)


def asked_of(operation: Operation, world: Populated) -> Iterator[bytes]:
    """The good answers of an embedded GitHub to one operation: of all that its path can name, or of the first."""
    bodies: dict[str, Any] = {
        "generate-jitconfig": {"name": "main-1a2b3c-i-0new", "runner_group_id": 1, "labels": ["acme"]},
        "dispatches": {"ref": "main", "return_run_details": True},
    }
    for names in world.named_by(operation.template):
        answer = requests.request(
            operation.method,
            world.server.url + operation.template.format(**names),
            json=bodies.get(operation.template.rpartition("/")[2]),
            headers={"Authorization": f"Bearer {token_for(operation.template)}"},
            timeout=60,
        )
        if answer.ok:
            yield answer.content
            if operation.method != "GET":
                return


def differences(operation: Operation, examples: list[Any], answers: list[bytes]) -> Iterator[str]:
    """A line for each key that one side alone has, and for each that has a kind of value of its own."""
    at = f"{operation.method} {operation.template}"
    mine, theirs = kinds(*answers), kinds(*(json.dumps(example).encode() for example in examples))
    yield from (f"{at} lacks {path}" for path in sorted(theirs.keys() - mine.keys()))
    yield from (f"{at} has {path}" for path in sorted(mine.keys() - theirs.keys()))
    for path in sorted(mine.keys() & theirs.keys()):
        if theirs[path] and mine[path] - theirs[path]:
            yield f"{at}: {path} is {mine[path]}, not {theirs[path]}"


@pytest.fixture(scope="module")
def lines(description: Description) -> dict[str, list[str]]:
    """By operation, all differences from its examples."""
    examples: dict[int, list[Any]] = {}
    for operation, status, _, body in description.examples():
        if status < 300 and body is not None:  # a null stands for an empty object (tests/test_openapi.py)
            examples.setdefault(id(operation), []).append(body)
    found = {}
    with populated() as world:
        for operation in sorted(description.operations, key=lambda operation: operation.method):
            if id(operation) not in examples or not served(operation):
                continue
            answers = list(asked_of(operation, world))
            assert answers, f"{operation.method} {operation.template}: nothing was answered"
            at = f"{operation.method} {operation.template}"
            found[at] = list(differences(operation, examples[id(operation)], answers))
    return found


def test_what_the_program_asks_is_compared(lines: dict[str, list[str]]) -> None:
    """`GitHubApi`'s calls; a DELETE has no body."""
    runners = [f"{scope}/actions/runners" for scope in ("/repos/{owner}/{repo}", "/orgs/{org}")]
    runs, groups = "/repos/{owner}/{repo}/actions/runs", "/orgs/{org}/actions/runner-groups"
    asked = {f"GET {path}" for path in ("/rate_limit", "/repos/{owner}/{repo}", runs, f"{runs}/{{run_id}}/jobs")}
    asked |= {f"GET {path}" for path in (*runners, groups, f"{groups}/{{runner_group_id}}/repositories")}
    asked |= {f"POST {path}/{made}" for path in runners for made in ("generate-jitconfig", "registration-token")}
    assert asked <= lines.keys()


def test_bodies_differ_from_the_published_examples_in_nothing_unnamed(lines: dict[str, list[str]]) -> None:
    every = [line for found in lines.values() for line in found]
    unnamed = [line for line in every if not any(re.search(pattern, line) for pattern in DEVIATIONS)]
    assert unnamed == [], "\n".join(unnamed)


@pytest.mark.parametrize("pattern", DEVIATIONS)
def test_a_named_difference_is_one(lines: dict[str, list[str]], pattern: str) -> None:
    assert any(re.search(pattern, line) for found in lines.values() for line in found)
