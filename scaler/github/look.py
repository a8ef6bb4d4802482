"""What the preflight and the lint read of GitHub beyond what a tick reads. Nothing here changes anything."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from scaler.boundary import readable
from scaler.checking.doctor_github import Token
from scaler.github.api import GitHubApi
from scaler.github.rest import integer
from scaler.model import Unavailable

FOLDER = ".github/workflows"
LARGEST = 256 * 1024
"""Bytes of a workflow's file that is read; GitHub gives the content of files up to 1 MB."""
KINDS = {"github_pat_": "a fine-grained token", "ghp_": "a classic token", "gho_": "an OAuth token"}
KINDS |= {"ghs_": "an App's token", "ghu_": "a token of an App for a user"}
"""By prefix (docs.github.com: about authentication to GitHub)."""


class GitHubLooker(GitHubApi):
    """The ports `doctor_github.GitHubLook` and `lint.Workflows`."""

    @readable("GitHub")
    def token(self) -> Token:
        """Asks for the rate limit, which is free, and reads the headers too."""
        answer = self._patiently("GET", "/rate_limit", {}, None)
        core = self._accept(answer, 200, "/rate_limit")["resources"]["core"]
        headers = answer[1]
        scopes = headers.get("x-oauth-scopes")
        kinds = [kind for prefix, kind in KINDS.items() if self._shown().startswith(prefix)]
        return Token(
            kinds[0] if kinds else "a token",
            None if scopes is None else frozenset(scope.strip() for scope in scopes.split(",") if scope.strip()),
            integer(core, "remaining"),
            integer(core, "limit"),
            _end(headers.get("github-authentication-token-expiration", "")),
        )

    def heard(self) -> datetime | None:
        """GitHub's clock, as far as it has answered."""
        return self._server_clock.now()

    def _shown(self) -> str:
        return self._credential if isinstance(self._credential, str) else "ghs_"

    @readable("GitHub")
    def run_count(self, name: str) -> int:
        """How many runs it has had."""
        return integer(self._read(f"/repos/{name}/actions/runs", {"per_page": 1}), "total_count")

    @readable("GitHub")
    def workflow_files(self, repository: str) -> dict[str, str]:
        """The workflows of the default branch, by path. Seen with Contents: read."""
        found = self._listed(f"/repos/{repository}/contents/{FOLDER}")
        names = [str(row["name"]) for row in found if row["type"] == "file"]
        files = [f"{FOLDER}/{name}" for name in names if name.endswith((".yml", ".yaml"))]
        return {path: self._text(repository, path) for path in files}

    def _listed(self, path: str) -> list[dict[str, Any]]:
        """A folder's entries: a bare array, which no other call of ours answers; empty where there is no folder."""
        answered = self._patiently("GET", path, {}, None)
        return [] if answered[0] == 404 else self._accept_list(answered, path)

    def _text(self, repository: str, path: str) -> str:
        row = self._read(f"/repos/{repository}/contents/{quote(path)}", {})
        if integer(row, "size") > LARGEST:
            raise Unavailable(f"GitHub: {repository}: {path} is larger than {LARGEST // 1024} KB: not read")
        return base64.b64decode(str(row["content"])).decode("utf-8")


def _end(header: str) -> datetime | None:
    """`2026-12-31 00:00:00 UTC`, and with an offset in place of UTC (docs.github.com: token expiration)."""
    try:
        return datetime.strptime(header.replace("UTC", "+0000"), "%Y-%m-%d %H:%M:%S %z").astimezone(UTC)
    except ValueError:
        return None
