"""The stand-in's GraphQL: `nodes(ids: …)` of repositories, and workflows with their runs, projected from what it holds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    parse,
)
from graphql.utilities import value_from_ast_untyped

from benchmarks.github_world import World

_parsed = lru_cache(maxsize=64)(parse)


def answer(world: World, body: bytes) -> tuple[dict[str, Any], int]:
    """The answer to a query, and its cost in points (docs.github.com: rate limits for the GraphQL API)."""
    asked = json.loads(body)
    query = _Query(world, _parsed(asked["query"]), asked.get("variables") or {})
    data = query.root()
    return {"data": data}, max(1, round(query.connections / 100))


class _Query:
    """One query being answered. `connections` counts the requests that its connections stand for."""

    def __init__(self, world: World, document: DocumentNode, variables: Mapping[str, Any]) -> None:
        self._world = world
        self._variables = variables
        self._fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
        self._operation = next(d for d in document.definitions if isinstance(d, OperationDefinitionNode))
        self.connections = 1

    def root(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for field in self._fields(self._operation.selection_set, "Query"):
            name = field.alias.value if field.alias else field.name.value
            arguments = self._arguments(field)
            if field.name.value == "nodes":
                found[name] = [self._node(field, str(each)) for each in arguments["ids"]]
            elif field.name.value == "node":
                found[name] = self._node(field, str(arguments["id"]))
            elif field.name.value == "rateLimit":
                limit = {"cost": 1, "limit": 5000, "remaining": 4999, "used": 1, "nodeCount": 0}
                found[name] = self._projected(field.selection_set, limit | {"resetAt": "2030-01-01T00:00:00Z"})
            else:
                raise ValueError(f"the stand-in has no {field.name.value}")
        return found

    def _node(self, field: FieldNode, global_id: str) -> dict[str, Any] | None:
        node = self._world.node(global_id)
        return None if node is None else self._projected(field.selection_set, node)

    def _projected(self, selections: SelectionSetNode | None, value: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if selections is None:
            return found
        for field in self._fields(selections, value.get("__typename", "")):
            inner = value[field.name.value]
            if isinstance(inner, list):
                inner = self._connection(field, inner)
            elif isinstance(inner, dict):
                inner = self._projected(field.selection_set, inner)
            found[field.alias.value if field.alias else field.name.value] = inner
        return found

    def _connection(self, field: FieldNode, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """The first rows of a list, as a connection."""
        self.connections += 1
        first = rows[: int(self._arguments(field)["first"])]
        found: dict[str, Any] = {}
        for inner in self._fields(field.selection_set, "Connection"):
            name = inner.alias.value if inner.alias else inner.name.value
            if inner.name.value == "nodes":
                found[name] = [self._projected(inner.selection_set, row) for row in first]
            elif inner.name.value == "totalCount":
                found[name] = len(rows)
            elif inner.name.value == "pageInfo":
                more = len(first) < len(rows)
                page = {"hasNextPage": more, "hasPreviousPage": False, "startCursor": None, "endCursor": "c"}
                found[name] = self._projected(inner.selection_set, page)
        return found

    def _fields(self, selections: SelectionSetNode | None, kind: str) -> Iterator[FieldNode]:
        """The fields of a selection, those of fragments on this kind of thing included."""
        for each in selections.selections if selections else ():
            if isinstance(each, FieldNode):
                yield each
                continue
            fragment: InlineFragmentNode | FragmentDefinitionNode
            if isinstance(each, FragmentSpreadNode):
                fragment = self._fragments[each.name.value]
            else:
                assert isinstance(each, InlineFragmentNode)
                fragment = each
            if fragment.type_condition is None or fragment.type_condition.name.value in (kind, "Node"):
                yield from self._fields(fragment.selection_set, kind)

    def _arguments(self, field: FieldNode) -> dict[str, Any]:
        variables = dict(self._variables)
        return {each.name.value: value_from_ast_untyped(each.value, variables) for each in field.arguments or ()}
