"""
Schemathesis asks the embedded GitHub whatever GitHub's description allows, and what it does not.

No question may bring it down (5xx), and every answer must be one that GitHub would give.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from tests.fetch_openapi import OPERATIONS
from tests.openapi import Description
from tests.populated import populated, token_for
from tests.watcher import Watcher, description

__all__ = ["description"]

QUESTIONS = 30
"""Drawn ones for each operation, besides those that Schemathesis lists."""

METHODS = frozenset({"GET", "POST", "PUT", "DELETE"})
"""Schemathesis also tries those that no client of GitHub's API uses (TRACE, QUERY)."""

UNSERVED = frozenset(
    {
        "/repos/{owner}/{repo}/actions/runs/{run_id}/attempts/{attempt_number}",
        "/repos/{owner}/{repo}/actions/runs/{run_id}/attempts/{attempt_number}/jobs",
        "/repos/{owner}/{repo}/actions/runs/{run_id}/force-cancel",
        "/orgs/{org}/installation",
        "/users/{username}/installation",
        "/repos/{owner}/{repo}/installation",
        "/app/installations/{installation_id}/access_tokens",
    }
)
"""What the embedded GitHub answers with 404, as nothing asks it that yet; or, where an App alone may ask, with 401."""


@pytest.fixture(autouse=True)
def every_exchange_is_described() -> None:
    """Not here: the questions are meant to be bad, and the watchers below look at the answers."""


@functools.cache
def schema() -> Any:
    """The description as Schemathesis sees it."""
    return schemathesis.openapi.from_dict(Description.load().document)


def drawn(operation: Any, things: list[dict[str, Any]]) -> st.SearchStrategy[Any]:
    """Draw a question, allowed or not: three of four about something that exists, nearly all with a good token."""
    names = st.from_regex(r"main-1a2b3c-i-0[0-9a-f]{8}", fullmatch=True)

    @st.composite
    def question(draw: st.DrawFn) -> Any:
        mode = draw(st.sampled_from([GenerationMode.POSITIVE, GenerationMode.NEGATIVE]))
        case = draw(operation.as_strategy(generation_mode=mode))
        if things and draw(st.integers(0, 3)) < 3:
            case.path_parameters = draw(st.sampled_from(things))
        if operation.path.endswith("/generate-jitconfig") and isinstance(case.body, dict) and draw(st.booleans()):
            case.body = {**case.body, "name": draw(names), "runner_group_id": 1, "labels": ["acme"]}
        token = token_for(operation.path) if draw(st.integers(0, 19)) < 19 else "wrong"
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {token}"}
        return case

    return question()


def listed(operation: Any) -> Iterator[Any]:
    """Go through Schemathesis' own list: each parameter at and beyond its bounds, wrong types, missing bodies."""
    modes = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
    generation = schema().config.generation
    for case in schema().iter_coverage_cases(operation, generation_modes=modes, generation_config=generation):
        if case.method.upper() in METHODS:
            case.headers = {**(case.headers or {}), "Authorization": f"Bearer {token_for(operation.path)}"}
            yield case


@pytest.mark.parametrize(
    ("method", "template"), [(m, template) for template, methods in OPERATIONS.items() for m in methods.split()]
)
def test_no_question_brings_the_embedded_github_down(description: Description, method: str, template: str) -> None:
    operation = schema()[template][method.upper()]
    watcher, answers = Watcher(description, answers_only=True), Counter[int]()
    with populated() as world, requests.Session() as session:
        world.server.observers.append(watcher)
        things = world.named_by(template)

        def ask(case: Any) -> None:
            answer = case.call(base_url=world.server.url, session=session)
            answers[answer.status_code] += 1
            assert answer.status_code < 500, case.as_curl_command()

        for case in listed(operation):
            ask(case)

        @seed(20261123)
        @settings(
            max_examples=QUESTIONS,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=drawn(operation, things))
        def ask_drawn(case: Any) -> None:
            ask(case)

        ask_drawn()
    watcher.assert_clean()
    # Were nothing ever found, nothing much would have been asked. A run that is under way is found, and not run again.
    found = {*range(300), *({403} if "/rerun" in template else ())}
    assert any(status in found for status in answers) == (template not in UNSERVED), answers
