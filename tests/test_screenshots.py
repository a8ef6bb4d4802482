"""The four watches whose pages are shown in docs/summary.md come out as they are called there."""

from __future__ import annotations

import pytest

from tests.screenshots import DOCS, SCENES, play


@pytest.mark.parametrize(
    ("name", "state"),
    [("quiet", "Quiet"), ("busy", "At a cap"), ("degraded", "Degraded"), ("breaker", "Breaker open")],
)
def test_a_scene_is_what_it_is_called(name: str, state: str) -> None:
    page = play(SCENES[name])
    assert page.splitlines()[2].startswith(f"**{state}**: ")
    assert "```mermaid" in page
    assert f"summary-{name}.png" in (DOCS / "summary.md").read_text()
    assert (DOCS / f"summary-{name}.png").stat().st_size < 60_000
