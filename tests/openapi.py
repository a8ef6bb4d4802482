"""
Hold exchanges with GitHub's REST API, real or embedded, to GitHub's published description.

`Description.check` names every place where a request or its answer leaves the description, one line each. What the
description leaves open or gets wrong is in tables here, each entry with its reason; nothing else is let pass.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

import jsonschema_rs

from tests import fetch_openapi, graph_schema
from tests.exchange import Exchange, header
from tests.openapi_schema import BASE, FORMATS, converted, said, text_errors


@dataclass(frozen=True, slots=True)
class Undocumented:
    """Answers that GitHub gives and the description does not name, with where GitHub says so."""

    statuses: frozenset[int]
    reason: str
    methods: str = "GET POST PUT PATCH DELETE"
    path: str = ""


UNDOCUMENTED = (
    Undocumented(frozenset({304}), "docs.github.com, best practices: conditional requests answer 304", "GET"),
    Undocumented(frozenset({301, 307}), "docs.github.com, best practices: a renamed repository answers a redirect"),
    Undocumented(frozenset({400}), "docs.github.com, troubleshooting: 'Problems parsing JSON' and API versions"),
    Undocumented(frozenset({401}), "docs.github.com, authenticating: bad credentials, on every operation"),
    Undocumented(frozenset({403, 429}), "docs.github.com, rate limits: 403 or 429; a missing permission is 403"),
    Undocumented(frozenset({404}), "docs.github.com, troubleshooting: 404 instead of 403 for what is private or gone"),
    Undocumented(frozenset({500, 502, 503, 504}), "docs.github.com, troubleshooting: 5xx and timeouts happen"),
    Undocumented(
        frozenset({422}), "docs.github.com, list workflow runs: filters search, and a search refuses", "GET", "/runs"
    ),
    Undocumented(frozenset({422}), "seen in recordings: no workflow_dispatch trigger, bad ref", "POST", "/dispatches"),
)

GRAPH = "/graphql"
"""What the description leaves to GraphQL's own schema."""
API_VERSIONS = frozenset({"2022-11-28", "2026-03-10"})
"""docs.github.com, API versions; any other answers 400."""


@dataclass(frozen=True, slots=True)
class _Parameter:
    name: str
    where: str
    required: bool
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Body:
    """What one media type holds: the raw schema, and a validator that is compiled at first use."""

    schema: dict[str, Any]
    errors: Callable[[Any], list[str]]


@dataclass(frozen=True, slots=True)
class _Response:
    bodies: Mapping[str, _Body]
    headers: Mapping[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path template."""

    method: str
    template: str
    pattern: re.Pattern[str]
    parameters: tuple[_Parameter, ...]
    request: _Body | None
    body_required: bool
    responses: Mapping[int, _Response]

    @property
    def pages(self) -> bool:
        """Whether it answers in pages."""
        return any(parameter.name == "per_page" for parameter in self.parameters)


class Description:
    """GitHub's description, ready to check exchanges."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        shared = {"components": {"schemas": converted(document["components"]["schemas"])}}
        self._registry = jsonschema_rs.Registry([(BASE, shared)], draft=jsonschema_rs.Draft4)
        self.operations = tuple(
            self._operation(method.upper(), template, operation)
            for template, methods in document["paths"].items()
            for method, operation in methods.items()
        )

    @classmethod
    def load(cls) -> Self:
        """Read the trimmed description, fetching it if need be. Raises `Unreachable`."""
        return cls(json.loads(fetch_openapi.fetch().read_text()))

    def check(self, exchange: Exchange) -> list[str]:
        """Every violation of one exchange, a line each: method, path, place, what is wrong."""
        at = f"{exchange.method} {exchange.path}"
        if exchange.path == GRAPH:
            return self.check_answer(exchange)
        operation, known = self._find(exchange)
        if operation is None and known:
            return [f"{at}: unknown method; known: {known}"]
        if operation is None:
            return [f"{at}: unknown path (if GitHub has it, add it to OPERATIONS in tests/fetch_openapi.py)"]
        return [*(f"{at}: request {line}" for line in self._request(operation, exchange)), *self.check_answer(exchange)]

    def check_answer(self, exchange: Exchange) -> list[str]:
        """The violations of the answer alone, whatever was asked."""
        operation, _ = self._find(exchange)
        if exchange.path == GRAPH and exchange.status == 200:
            lines = graph_schema.violations(exchange)  # a query and its answer belong together
        elif operation is not None:
            lines = self._response(operation, exchange)
        elif exchange.status in (400, 401, 403, 404):
            lines = _error_body(exchange)
        else:
            lines = iter(["GitHub has no such operation: its answer is 404"])
        return [f"{exchange.method} {exchange.path} -> {exchange.status}: {line}" for line in lines]

    def _find(self, exchange: Exchange) -> tuple[Operation | None, str]:
        path = _by_name(exchange.path)
        found = [operation for operation in self.operations if operation.pattern.fullmatch(path)]
        exact = next((operation for operation in found if operation.method == exchange.method), None)
        return exact, ", ".join(operation.method for operation in found)

    def examples(self) -> Iterator[tuple[Operation, int, str, Any]]:
        """GitHub's own published answers: operation, status, name, body."""
        for operation in self.operations:
            raw = self.document["paths"][operation.template][operation.method.lower()]
            for status, response in raw["responses"].items():
                for content in self._resolved(response).get("content", {}).values():
                    for name, example in content.get("examples", {}).items():
                        yield operation, int(status), name, self._resolved(example)["value"]

    # --- reading ------------------------------------------------------------------------------

    def _operation(self, method: str, template: str, raw: dict[str, Any]) -> Operation:
        content = raw.get("requestBody", {}).get("content", {})
        return Operation(
            method=method,
            template=template,
            # A parameter is one segment, and `/actions/runners/downloads` is no runner's id.
            pattern=re.compile(re.sub(r"\\{(\w+)\\}", _segment, re.escape(template))),
            parameters=tuple(
                _Parameter(p["name"], p["in"], p.get("required", False), converted(self._resolved(p["schema"])))
                for p in map(self._resolved, raw.get("parameters", ()))
            ),
            request=self._body(content["application/json"], template) if content else None,
            body_required=raw.get("requestBody", {}).get("required", False),
            responses={int(s): self._documented(self._resolved(r), template) for s, r in raw["responses"].items()},
        )

    def _documented(self, raw: dict[str, Any], template: str) -> _Response:
        return _Response(
            {media: self._body(content, template) for media, content in raw.get("content", {}).items()},
            {name: self._resolved(promised) for name, promised in raw.get("headers", {}).items()},
        )

    def _body(self, content: dict[str, Any], template: str) -> _Body:
        schema = converted(content["schema"])
        # What a violation quotes ends in logs: not where a body holds a token or a JIT configuration.
        mask = "(hidden)" if re.search(r"token|jitconfig", template) else None
        compiled: list[jsonschema_rs.Draft4Validator] = []

        def errors(value: Any) -> list[str]:
            if not compiled:
                compiled.append(
                    jsonschema_rs.Draft4Validator(
                        schema, registry=self._registry, validate_formats=True, formats=FORMATS, mask=mask
                    )
                )
            return [] if compiled[0].is_valid(value) else [said(e) for e in compiled[0].iter_errors(value)]

        return _Body(self._resolved(content["schema"]), errors)

    def _resolved(self, node: dict[str, Any]) -> dict[str, Any]:
        while isinstance(reference := node.get("$ref"), str):
            _, _, kind, name = reference.split("/")
            node = self.document["components"][kind][name]
        return node

    # --- the request --------------------------------------------------------------------------

    def _request(self, operation: Operation, exchange: Exchange) -> Iterator[str]:
        match = operation.pattern.fullmatch(_by_name(exchange.path))
        assert match is not None
        query = dict(parse_qsl(exchange.query, keep_blank_values=True))
        known = {p.name for p in operation.parameters if p.where == "query"}
        given = {"path": {k: unquote(v) for k, v in match.groupdict().items()}, "query": query, "header": {}}
        yield from (f"query {name}: unknown parameter" for name in query if name not in known)
        for parameter in operation.parameters:
            if (text := given[parameter.where].get(parameter.name)) is not None:
                where = f"{parameter.where} {parameter.name}"
                yield from (f"{where}: {line}" for line in text_errors(text, parameter.schema))
            elif parameter.required:
                yield f"{parameter.where} {parameter.name}: missing"
        # The description says so in prose alone: "(max 100)". GitHub cuts more than that off without a word.
        if query.get("per_page", "1").isdigit() and not 1 <= int(query.get("per_page", "1")) <= 100:
            yield f"query per_page: {query['per_page']} is not between 1 and 100"
        version = header(exchange.request_headers, "X-GitHub-Api-Version")
        if version is not None and version not in API_VERSIONS:
            yield f"header X-GitHub-Api-Version: {version!r} is no version of the API"
        yield from _request_body(operation, exchange)

    # --- the response -------------------------------------------------------------------------

    def _response(self, operation: Operation, exchange: Exchange) -> Iterator[str]:
        documented = operation.responses.get(exchange.status)
        if documented is None:
            yield from _undocumented(operation, exchange)
            return
        for name, promised in documented.headers.items():
            text = header(exchange.response_headers, name)
            if text is not None:
                yield from (f"header {name}: {line}" for line in text_errors(text, converted(promised["schema"])))
            elif promised.get("required"):
                yield f"header {name}: missing"
        if not documented.bodies:
            if exchange.response_body:
                yield "body: none is documented"
            return
        media = (header(exchange.response_headers, "Content-Type") or "").partition(";")[0].strip()
        if media not in documented.bodies:
            yield f"header Content-Type: {media!r} is not one of {', '.join(documented.bodies)}"
            return
        try:
            body = json.loads(exchange.response_body)
        except ValueError as error:
            yield f"body: no JSON: {error}"
            return
        yield from (f"body {line}" for line in documented.bodies[media].errors(body))
        if operation.pages and exchange.status == 200:
            yield from _paging(exchange, body)


def _by_name(path: str) -> str:
    """
    Undo the aliases by number that GitHub's Link headers use and the description does not name.

    Recorded: `<https://api.github.com/repositories/146139403/actions/runs?page=2>; rel="next"`.
    """
    path = re.sub(r"^/repositories/(\d+)(?=/|$)", r"/repos/by-id/\1", path)
    return re.sub(r"^/organizations/(\d+)(?=/|$)", r"/orgs/\1", path)


def _segment(match: re.Match[str]) -> str:
    # All numeric ids of these paths end in _id or are attempt numbers; workflow_id may be a file's name.
    numeric = match[1].endswith(("_id", "_number")) and match[1] != "workflow_id"
    # A file's path has slashes of its own.
    return f"(?P<{match[1]}>{'-?[0-9]+' if numeric else '.+' if match[1] == 'path' else '[^/]+'})"


def _request_body(operation: Operation, exchange: Exchange) -> Iterator[str]:
    if operation.request is None:
        if exchange.request_body not in (b"", b"{}"):
            yield "body: none is documented"
        return
    if not exchange.request_body:
        if operation.body_required:
            yield "body: missing"
        return
    try:
        body = json.loads(exchange.request_body)
    except ValueError as error:
        yield f"body: no JSON: {error}"
        return
    yield from (f"body {line}" for line in operation.request.errors(body))
    # The schemas are open, so a misspelt key would pass, and GitHub ignores it.
    known = operation.request.schema.get("properties")
    if isinstance(body, dict) and known is not None:
        yield from (f"body /{key}: unknown key" for key in body if key not in known)


def _undocumented(operation: Operation, exchange: Exchange) -> Iterator[str]:
    for entry in UNDOCUMENTED:
        if (
            exchange.status in entry.statuses
            and exchange.method in entry.methods
            and operation.template.endswith(entry.path)
        ):
            break
    else:
        yield "undocumented status"
        return
    if exchange.status == 304:
        if header(exchange.request_headers, "If-None-Match") is None and (
            header(exchange.request_headers, "If-Modified-Since") is None
        ):
            yield "not modified, though the request set no condition"
        if exchange.response_body:
            yield "body: a 304 has none"
    elif exchange.status in (301, 307):
        if header(exchange.response_headers, "Location") is None:
            yield "header Location: missing"
    elif exchange.status < 500:
        yield from _error_body(exchange)


def _error_body(exchange: Exchange) -> Iterator[str]:
    """Check the form of an undocumented refusal: GitHub's basic-error, whose schema requires nothing."""
    try:
        body = json.loads(exchange.response_body)
    except ValueError:
        yield "body: an error has a JSON body"
        return
    for key in ("message", "documentation_url"):
        if not isinstance(body, dict) or not isinstance(body.get(key), str):
            yield f"body /{key}: an error has this text"


def _paging(exchange: Exchange, body: Any) -> Iterator[str]:
    """Compare the number of items, `total_count` and the Link header with the page that was asked for."""
    if not isinstance(body, dict) or not isinstance(total := body.get("total_count"), int):
        return
    items = sum(len(value) for value in body.values() if isinstance(value, list))
    query = dict(parse_qsl(exchange.query))
    asked = [query.get("per_page", "30"), query.get("page", "1")]
    if not all(re.fullmatch(r"0*[1-9]\d{0,8}", number) for number in asked):
        return  # what GitHub makes of such numbers is not documented
    size, page = min(int(asked[0]), 100), int(asked[1])
    if items > size:
        yield f"body: {items} items on a page of {size}"
    # docs.github.com, list workflow runs: with a filter "up to 1,000 results for each search".
    last = min(total, 1000) if set(query) - {"per_page", "page"} else total
    link = re.search(r'<([^>]+)>;\s*rel="next"', header(exchange.response_headers, "Link") or "")
    if (link is not None) != (page * size < last):
        yield f"header Link: page {page} of {size} with {total} in all {'has a' if link else 'lacks a'} next page"
    elif link is not None and dict(parse_qsl(urlsplit(link[1]).query)).get("page") != str(page + 1):
        yield f"header Link: next is not page {page + 1}"


def check_file(description: Description, path: Path) -> list[str]:
    """Check a recording that another process wrote: one exchange a line, as `Exchange.from_json` reads it."""
    return [line for text in path.read_text().splitlines() for line in description.check(Exchange.from_json(text))]
