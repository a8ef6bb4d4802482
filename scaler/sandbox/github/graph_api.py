"""
The embedded GitHub's GraphQL: one query, the one that the scaler asks. Any other is told so; nothing is parsed.

Held to the published schema (npm: @octokit/graphql-schema) by the tests.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

from scaler.sandbox.github.accounts import node_id, stamp
from scaler.sandbox.github.http import Request, Response, error
from scaler.sandbox.github.state import Refused, Repository, Run
from scaler.sandbox.github.world import ApiToken, GitHubWorld

GRAPH = "/graphql"
RUNS, MOST_IDS = 10, 100
KINDS = ("workflows", "repositories")
QUERY = """\
query($workflows: [ID!]!, $repositories: [ID!]!) {
  workflows: nodes(ids: $workflows) { ... on Workflow { runs(first: 10) { nodes { updatedAt } } } }
  repositories: nodes(ids: $repositories) { ... on Repository { pushedAt } }
}"""

Body = dict[str, Any]


def answer_query(world: GitHubWorld, request: Request, token: ApiToken) -> Response:
    """
    The answer to a query. It is 200 for whatever can be told as `errors`, a spent hour included.

    docs.github.com: rate limits and query limits for the GraphQL API; "You may not provide more than 100 node ids" as seen
    in sourcecred/sourcecred#908. It costs a point for a hundred runs-connections.
    """
    if request.method != "POST":
        return error(404, "Not Found")
    try:
        asked = request.json()
    except Refused as refusal:
        return error(refusal.status, refusal.message)
    ids = asked.get("variables") or {}
    if asked.get("query") != QUERY or {type(each) for each in ids.values()} != {list} or ids.keys() != {*KINDS}:
        return _failed("the embedded GitHub answers one query alone, with its ids")
    if token.queried >= token.points:
        return _failed("API rate limit exceeded", type="RATE_LIMITED")
    token.queried += 1
    for kind, each in ids.items():
        if len(each) > MOST_IDS:
            said = f"You may not provide more than {MOST_IDS} node ids; you provided {len(each)}."
            return _failed(said, type="ARGUMENT_LIMIT", path=[kind], data=None)
    data, errors = {}, list[Body]()
    for kind, known in zip(KINDS, (_workflows(world), _repositories(world)), strict=True):
        data[kind] = [_node(known, token, each, [kind, number], errors) for number, each in enumerate(ids[kind])]
    return Response(200, {"data": data, **({"errors": errors} if errors else {})})


def _failed(message: str, data: Any = ..., **more: Any) -> Response:
    return Response(200, {**({} if data is ... else {"data": data}), "errors": [{**more, "message": message}]})


Known = Mapping[str, tuple[Repository, Callable[[], Body]]]
_id = lru_cache(maxsize=None)(node_id)


def _workflows(world: GitHubWorld) -> Known:
    """By id, with their newest runs first."""
    runs = defaultdict(list)
    for run in reversed(world.state.runs.values()):
        runs[run.workflow.id].append(run)
    return {
        _id("W", workflow.id): (repository, partial(_newest, runs[workflow.id]))
        for repository in world.state.repositories.values()
        for workflow in repository.workflows.values()
    }


def _newest(runs: Sequence[Run]) -> Body:
    return {"runs": {"nodes": [{"updatedAt": stamp(run.updated_at)} for run in runs[:RUNS]]}}


def _repositories(world: GitHubWorld) -> Known:
    return {_id("R", each.id): (each, partial(_pushed, each)) for each in world.state.repositories.values()}


def _pushed(repository: Repository) -> Body:
    return {"pushedAt": stamp(repository.pushed_at or repository.created_at)}


def _node(known: Known, token: ApiToken, number: str, path: Sequence[Any], errors: list[Body]) -> Body | None:
    """A node, or null and an error that says what keeps it from being shown."""
    repository, body = known.get(number, (None, dict))
    if repository is None or not token.sees(repository):
        said = f"Could not resolve to a node with the global id of '{number}'"
        errors.append({"type": "NOT_FOUND", "path": path, "message": said})
        return None
    if repository.owner.lower() in token.without_sso:
        said = "Resource protected by organization SAML enforcement. You must grant your Personal Access token access."
        errors.append({"type": "FORBIDDEN", "path": path, "message": said})
        return None
    # As with REST: what is public may be read without the permission.
    if path[0] == "workflows" and repository.private and not token.may("actions", "read"):
        kind = "personal access token" if token.kind == "pat" else "integration"
        errors.append({"type": "FORBIDDEN", "path": path, "message": f"Resource not accessible by {kind}"})
        return None
    return body()
