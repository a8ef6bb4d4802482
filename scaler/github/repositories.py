"""Repositories: one, or all of an owner's that the token sees."""

from __future__ import annotations

from typing import Any

from github.Auth import Auth

from scaler.boundary import readable
from scaler.github.errors import NotFound
from scaler.github.kept import Page
from scaler.github.rest import PAGE, GitHubRest, integer
from scaler.model import Clock, Repository, Unavailable

READINGS = 3
"""So often a list is read, at most, that changes under the reading."""

Rows = dict[int, Repository]


class GitHubRepositories(GitHubRest):
    """The repositories' part of the port `model.GitHub`."""

    def __init__(self, credential: str | Auth, api_url: str, clock: Clock, sharers: int = 1) -> None:
        """As `GitHubRest`."""
        super().__init__(credential, api_url, clock, sharers)
        self._users: set[str] = set()
        self._last: dict[str, Rows] = {}

    @readable("GitHub")
    def repository(self, name: str) -> Repository:
        """One repository."""
        return _repository(self._read(f"/repos/{name}", {}))

    @readable("GitHub")
    def repositories(self, owner: str) -> tuple[Repository, ...]:
        """
        All repositories of an owner that the token sees.

        An App's token (`ghs_`) lists what it was installed for. Else the owner is asked for as an organization, and if
        there is none as the token's user, whose list alone has private ones (docs.github.com: that of any user
        "lists public repositories").
        """
        if not isinstance(self._credential, str) or self._credential.startswith("ghs_"):
            rows, _ = self._rows("/installation/repositories", "repositories", {}, _repository)
        else:
            rows = self._of_account(owner)
        return tuple(row for row in rows.values() if row.name.partition("/")[0].lower() == owner.lower())

    def _of_account(self, owner: str) -> Rows:
        if owner not in self._users:
            try:
                return self._read_alike(f"/orgs/{owner}/repos", {"sort": "full_name"})
            except NotFound:
                self._users.add(owner)
        return self._read_alike("/user/repos", {"affiliation": "owner,collaborator", "sort": "full_name"})

    def _read_alike(self, path: str, parameters: dict[str, Any]) -> Rows:
        """
        A list that tells no `total_count`.

        A row that slips from one page to another between two requests shows in nothing, so a list of several pages is
        believed when it is what it was, or was read twice alike. What has not changed costs nothing the second time.
        """
        for _ in range(READINGS):
            rows, pages = self._read_once(path, parameters)
            before, self._last[path] = self._last.get(path), rows
            if pages == 1 or rows == before:
                return rows
        raise Unavailable(f"GitHub: {path}: the list changed each of {READINGS} times that it was read")

    def _read_once(self, path: str, parameters: dict[str, Any]) -> tuple[Rows, int]:
        rows: Rows = {}
        number = 1
        while True:
            page = self._bare_page(path, {**parameters, "per_page": PAGE, "page": number}, number)
            rows.update(page.rows)
            if page.total <= number * PAGE:
                return rows, number
            number += 1

    def _bare_page(self, path: str, parameters: dict[str, Any], number: int) -> Page:
        """One page; its total is the least that the list has, by whether GitHub links to a next page."""
        question = (path, *parameters.items())
        kept = self._kept.get(question)
        answered = self._patiently("GET", path, parameters, None, {"If-None-Match": kept[0]} if kept else None)
        if kept and answered[0] == 304:
            return kept[1]
        rows = {integer(row, "id"): _repository(row) for row in self._accept_list(answered, path)}
        more = 'rel="next"' in answered[1].get("link", "")
        page = Page(number * PAGE + 1 if more else 0, rows)
        self._kept.put(question, answered[1].get("etag"), page)
        return page


def _repository(row: dict[str, Any]) -> Repository:
    private = row.get("private")
    if not isinstance(private, bool) or not isinstance(row.get("full_name"), str):
        raise Unavailable("GitHub: a repository without its name, or of which is not said whether it is private")
    # A minimal-repository need not have these two.
    closed = row.get("archived") is True or row.get("disabled") is True
    return Repository(row["full_name"], not private, closed)
