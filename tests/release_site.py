"""
The part of GitHub's REST API that a rebuild of the image speaks: a release, git objects, pull requests.

Its answers are the examples of GitHub's own description with a few values put in, and every exchange is held to that
description. It is no part of the embedded GitHub, which serves runs, jobs and runners.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from scaler.sandbox.loopback import HttpAnswer, HttpRequest, LoopbackServer
from tests.exchange import Exchange
from tests.fetch_openapi import trim, whole
from tests.openapi import Description

_REPOSITORY = "/repos/{owner}/{repo}"
OPERATIONS = {
    f"{_REPOSITORY}/releases/latest": "get",
    f"{_REPOSITORY}/git/commits/{{commit_sha}}": "get",
    f"{_REPOSITORY}/git/commits": "post",
    f"{_REPOSITORY}/git/trees": "post",
    f"{_REPOSITORY}/git/refs": "post",
    f"{_REPOSITORY}/git/refs/{{ref}}": "patch",
    f"{_REPOSITORY}/pulls": "get post",
    f"{_REPOSITORY}/pulls/{{pull_number}}": "patch",
}

REPOSITORY = "/repos/acme/runners"
RELEASE = "/repos/actions/runner/releases/latest"
CHECKED_OUT = "a" * 40


@cache
def described() -> Description:
    """What GitHub's description says of these."""
    return Description(trim(json.loads(whole().read_text()), OPERATIONS))


@dataclass
class ReleaseSite:
    """What it holds, and what was done to it."""

    version: str = "2.340.0"
    sha256: dict[str, str] = field(default_factory=lambda: {"linux-x64": "1" * 64, "linux-arm64": "2" * 64})
    digest: dict[str, str] = field(default_factory=dict)
    """What GitHub says of the files, where it is not what the text says."""

    files: dict[str, str] = field(default_factory=dict)
    """The branch's files that differ from the checkout."""

    branch: str = ""
    pulls: list[dict[str, Any]] = field(default_factory=list)
    refuses: str = ""
    """A path that answers 403."""

    violations: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._examples = {
            (operation.method, operation.template, status): body
            for operation, status, _, body in described().examples()
        }
        self.server = LoopbackServer(self.respond, "release-site")

    def respond(self, request: HttpRequest) -> HttpAnswer:
        """Answer, and check both."""
        path, _, query = request.target.partition("?")
        sent = json.loads(request.body) if request.body else {}
        status, body = self._answer(request.method, path, sent)
        answer = HttpAnswer(status, json.dumps(body).encode(), {"Content-Type": "application/json; charset=utf-8"})
        named = path.replace("heads/runner-image", "heads%2Frunner-image")  # a ref is one parameter, with its slash
        seen = Exchange(
            request.method, named, query, request.headers, request.body, status, answer.headers, answer.body
        )
        self.violations += described().check(seen)
        return answer

    def _answer(self, method: str, path: str, sent: dict[str, Any]) -> tuple[int, Any]:
        if self.refuses and path.endswith(self.refuses):
            return 403, {"message": "Resource not accessible by integration", "documentation_url": "https://docs"}
        for (verb, pattern), answer in self._routes().items():
            if verb == method and (found := re.fullmatch(pattern, path)):
                return answer(sent, *found.groups())
        return 404, {"message": "Not Found", "documentation_url": "https://docs.github.com/rest", "status": "404"}

    def _routes(self) -> dict[tuple[str, str], Callable[..., tuple[int, Any]]]:
        return {
            ("GET", RELEASE): self._release,
            ("GET", f"{REPOSITORY}/git/commits/([0-9a-f]+)"): self._commit,
            ("POST", f"{REPOSITORY}/git/trees"): self._make_tree,
            ("POST", f"{REPOSITORY}/git/commits"): self._make_commit,
            ("POST", f"{REPOSITORY}/git/refs"): self._make_ref,
            ("PATCH", f"{REPOSITORY}/git/refs/heads/runner-image"): self._move_ref,
            ("GET", f"{REPOSITORY}/pulls"): lambda _: (200, self.pulls),
            ("POST", f"{REPOSITORY}/pulls"): self._make_pull,
            ("PATCH", f"{REPOSITORY}/pulls/([0-9]+)"): self._edit_pull,
        }

    def _example(self, method: str, template: str, status: int, **values: Any) -> Any:
        return {**copy.deepcopy(self._examples[method, template, status]), **values}

    def _release(self, _: Any) -> tuple[int, Any]:
        lines = [
            f"- actions-runner-{name}-{self.version}.tar.gz <!-- BEGIN SHA {name} -->{sha}<!-- END SHA {name} -->"
            for name, sha in self.sha256.items()
        ]
        found = self._example("GET", "/repos/{owner}/{repo}/releases/latest", 200, tag_name=f"v{self.version}")
        asset = found["assets"][0]
        found["assets"] = [
            {
                **asset,
                "name": f"actions-runner-{name}-{self.version}.tar.gz",
                "digest": f"sha256:{self.digest.get(name, sha)}",
            }
            for name, sha in self.sha256.items()
        ]
        found["body"] = "## SHA-256 Checksums\n" + "\n".join(lines)
        return 200, found

    def _commit(self, _: Any, sha: str) -> tuple[int, Any]:
        return 200, self._example("GET", "/repos/{owner}/{repo}/git/commits/{commit_sha}", 200, sha=sha)

    def _make_tree(self, sent: Any) -> tuple[int, Any]:
        self.files = {each["path"]: each["content"] for each in sent["tree"]}
        return 201, self._example("POST", "/repos/{owner}/{repo}/git/trees", 201, sha="b" * 40)

    def _make_commit(self, sent: Any) -> tuple[int, Any]:
        assert sent["parents"] == [CHECKED_OUT]
        return 201, self._example("POST", "/repos/{owner}/{repo}/git/commits", 201, sha="c" * 40)

    def _make_ref(self, sent: Any) -> tuple[int, Any]:
        if self.branch:
            return 422, {"message": "Reference already exists", "documentation_url": "https://docs.github.com/rest"}
        self.branch = sent["sha"]
        return 201, self._example("POST", "/repos/{owner}/{repo}/git/refs", 201, ref=sent["ref"])

    def _move_ref(self, sent: Any) -> tuple[int, Any]:
        assert sent["force"] is True
        self.branch = sent["sha"]
        return 200, self._example("PATCH", "/repos/{owner}/{repo}/git/refs/{ref}", 200)

    def _make_pull(self, sent: Any) -> tuple[int, Any]:
        pull = self._example("POST", "/repos/{owner}/{repo}/pulls", 201)
        url = f"{self.server.url}{REPOSITORY}/pulls/{len(self.pulls) + 1}"
        pull |= {
            "title": sent["title"],
            "body": sent["body"],
            "url": url,
            "html_url": "https://github.com/acme/runners/pull/1",
            "requested_teams": [],
        }
        listed = self._examples["GET", "/repos/{owner}/{repo}/pulls", 200][0]
        self.pulls.append({key: value for key, value in pull.items() if key in listed})
        return 201, pull

    def _edit_pull(self, sent: Any, number: str) -> tuple[int, Any]:
        pull = self.pulls[int(number) - 1]
        pull |= {"title": sent["title"], "body": sent["body"]}
        return 200, self._example("PATCH", "/repos/{owner}/{repo}/pulls/{pull_number}", 200, requested_teams=[]) | sent
