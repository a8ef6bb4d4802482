"""
Hints through GraphQL: when a run of many workflows last changed, and when their repositories were last pushed to.

GitHub's GraphQL knows no runs of a repository, but those of a workflow (npm: @octokit/graphql-schema). Their status is
their check suite's, which a fine-grained token may not read ("Checks"); so nothing is asked but the time of the last change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from github.Auth import Auth

from scaler.boundary import readable
from scaler.github.rest import GRAPH, GitHubRest, mapping, time_of
from scaler.model import Clock, GraphIds, Unavailable

QUERY = """\
query($workflows: [ID!]!, $repositories: [ID!]!) {
  workflows: nodes(ids: $workflows) { ... on Workflow { runs(first: 10) { nodes { updatedAt } } } }
  repositories: nodes(ids: $repositories) { ... on Repository { pushedAt } }
}"""
"""
One point for a hundred ids of each kind, of which GitHub takes no more. Runs come newest first: one that was run again is
seen if it is among its workflow's ten newest. A workflow's file comes by a push, which so tells of one that was not there.
"""


class GitHubGraph(GitHubRest):
    """The part of the port `model.GitHub` that is asked for hints."""

    def __init__(self, credential: str | Auth, api_url: str, clock: Clock, sharers: int = 1) -> None:
        """As `GitHubRest`."""
        super().__init__(credential, api_url, clock, sharers)
        self._own_ids: dict[str, str] = {}

    @readable("GitHub")
    def graph_ids(self, repository: str) -> GraphIds:
        """Its own, which never changes, and its workflows'."""
        rows, _ = self._rows(f"/repos/{repository}/actions/workflows", "workflows", {}, lambda row: str(row["node_id"]))
        if repository not in self._own_ids:
            self._own_ids[repository] = str(self._read(f"/repos/{repository}", {})["node_id"])
        return GraphIds(self._own_ids[repository], tuple(rows.values()))

    @readable("GitHub")
    def hints(self, workflows: Sequence[str], repositories: Sequence[str]) -> Mapping[str, datetime | None]:
        """By id, when a run of these last changed, or these were last pushed to; without what GitHub does not show."""
        ids = {"workflows": list(workflows), "repositories": list(repositories)}
        answered = self._patiently("POST", GRAPH, {}, {"query": QUERY, "variables": ids})
        answer = self._accept(answered, 200, GRAPH)
        data = mapping(answer.get("data"))
        found = {number: last for kind in ids if data.get(kind) for number, last in _shown(ids[kind], data[kind])}
        if not found:
            raise Unavailable(f"GitHub: {GRAPH}: {_said(answer)}")
        return found


def _shown(ids: Sequence[str], rows: Sequence[dict[str, Any] | None]) -> Iterator[tuple[str, datetime | None]]:
    """Nodes come in the order in which they were asked for, null where one is withheld."""
    for number, row in zip(ids, rows, strict=True):
        if row is None:
            continue
        stamps = [run["updatedAt"] for run in row["runs"]["nodes"]] if "runs" in row else [row["pushedAt"]]
        # All of them are UTC and written alike.
        yield number, time_of(max(filter(None, stamps), default=None))


def _said(answer: dict[str, Any]) -> str:
    errors = answer.get("errors")
    first = mapping(errors[0]) if isinstance(errors, list) and errors else {}
    return f'nothing is shown ("{str(first.get("message", ""))[:200]}")'
