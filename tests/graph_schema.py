"""
Hold GraphQL queries and their answers to the schema that GitHub publishes (npm: @octokit/graphql-schema, MIT).

An answer, executed as the data of its own query, must come out as it went in: names, kinds, enums, what may be null.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import graphql

from tests.exchange import Exchange
from tests.fetched import Unreachable

PATH = Path(__file__).parents[1] / "node_modules/@octokit/graphql-schema/schema.graphql"
KINDS = {"runs": "Workflow", "pushedAt": "Repository"}
"""By what tells of which kind a node is that does not say so."""


def installed() -> Path:
    """What npm installs with the linters."""
    if not PATH.exists():
        raise Unreachable(f"{PATH.name} is not installed (it comes with npm)")
    return PATH


@functools.cache
def schema() -> graphql.GraphQLSchema:
    """The whole schema."""
    return graphql.build_schema(installed().read_text(), assume_valid=True)


@functools.cache
def refused(query: str) -> list[str]:
    """Why GitHub would not take a query."""
    return [error.message for error in graphql.validate(schema(), graphql.parse(query))]


def misfits(query: str, variables: Any, data: Any) -> list[str]:
    """Where an answer is none to its query."""
    done = graphql.execute_sync(
        schema(),
        graphql.parse(query),
        data,
        variable_values=variables,
        field_resolver=lambda row, info, **_: row[info.path.key],  # by its alias, if it has one
        type_resolver=lambda row, *_: _kind(row),
    )
    lines = [error.message for error in done.errors or ()]
    return lines or ([] if done.data == data else ["the answer has more, or less, than was asked for"])


def _kind(row: Any) -> str:
    return str(row.get("__typename") or next(kind for field, kind in KINDS.items() if field in row))


def violations(exchange: Exchange) -> Iterator[str]:
    """Every violation of an exchange that was answered by 200."""
    asked, answer = json.loads(exchange.request_body), json.loads(exchange.response_body)
    yield from refused(asked["query"])
    for error in answer.get("errors", ()):
        if not isinstance(error.get("message"), str):
            yield f"an error without a message: {error}"
    if "errors" not in answer or answer.get("data") is not None:
        yield from misfits(asked["query"], asked.get("variables"), answer["data"])
