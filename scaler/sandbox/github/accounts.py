"""Accounts and repositories as the REST API reports them: most of every body is their URLs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scaler.sandbox.github.settings import Settings
from scaler.sandbox.github.state import Repository

Body = dict[str, Any]

_USER_LINKS = {
    "followers_url": "followers",
    "following_url": "following{/other_user}",
    "gists_url": "gists{/gist_id}",
    "starred_url": "starred{/owner}{/repo}",
    "subscriptions_url": "subscriptions",
    "organizations_url": "orgs",
    "repos_url": "repos",
    "events_url": "events{/privacy}",
    "received_events_url": "received_events",
}

_REPOSITORY_LINKS = {
    "archive_url": "{archive_format}{/ref}",
    "assignees_url": "assignees{/user}",
    "blobs_url": "git/blobs{/sha}",
    "branches_url": "branches{/branch}",
    "collaborators_url": "collaborators{/collaborator}",
    "comments_url": "comments{/number}",
    "commits_url": "commits{/sha}",
    "compare_url": "compare/{base}...{head}",
    "contents_url": "contents/{+path}",
    "contributors_url": "contributors",
    "deployments_url": "deployments",
    "downloads_url": "downloads",
    "events_url": "events",
    "forks_url": "forks",
    "git_commits_url": "git/commits{/sha}",
    "git_refs_url": "git/refs{/sha}",
    "git_tags_url": "git/tags{/sha}",
    "hooks_url": "hooks",
    "issue_comment_url": "issues/comments{/number}",
    "issue_events_url": "issues/events{/number}",
    "issues_url": "issues{/number}",
    "keys_url": "keys{/key_id}",
    "labels_url": "labels{/name}",
    "languages_url": "languages",
    "merges_url": "merges",
    "milestones_url": "milestones{/number}",
    "notifications_url": "notifications{?since,all,participating}",
    "pulls_url": "pulls{/number}",
    "releases_url": "releases{/id}",
    "stargazers_url": "stargazers",
    "statuses_url": "statuses/{sha}",
    "subscribers_url": "subscribers",
    "subscription_url": "subscription",
    "tags_url": "tags",
    "teams_url": "teams",
    "trees_url": "git/trees{/sha}",
}

_DETAILS = {"network_count": 0, "subscribers_count": 0, "temp_clone_token": "", "delete_branch_on_merge": False}
_MERGES = dict.fromkeys(("allow_rebase_merge", "allow_squash_merge", "allow_merge_commit", "allow_auto_merge"), True)


def stamp(when: datetime) -> str:
    """A time as GitHub writes it, in whole seconds."""
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def node_id(kind: str, number: int) -> str:
    """A made-up global id."""
    return f"{kind}_kwDO{hashlib.sha1(f'{kind}{number}'.encode()).hexdigest()[:16]}"


def account_id(login: str) -> int:
    """The made-up id of a user or an organization."""
    return int(hashlib.sha1(login.lower().encode()).hexdigest()[:7], 16)


@dataclass(frozen=True, slots=True)
class AccountViews:
    """Bodies, as one server at `api` (and `html` for people) shows them at one time."""

    api: str
    html: str
    now: datetime
    settings: Settings

    def account(self, login: str, kind: str = "User") -> Body:
        """A simple-user."""
        number = account_id(login)
        url = f"{self.api}/users/{login}"
        return {
            "login": login,
            "id": number,
            "node_id": node_id("U" if kind == "User" else "O", number),
            "avatar_url": f"{self.html}/avatars/u/{number}?v=4",
            "gravatar_id": "",
            "url": url,
            "html_url": f"{self.html}/{login}",
            **{key: f"{url}/{path}" for key, path in _USER_LINKS.items()},
            "type": kind,
            "user_view_type": "public",
            "site_admin": False,
        }

    def _owner(self, repository: Repository) -> Body:
        return self.account(repository.owner, "Organization" if repository.owner_is_organization else "User")

    def repository(self, repository: Repository) -> Body:
        """A minimal-repository."""
        url = f"{self.api}/repos/{repository.full_name}"
        return {
            "id": repository.id,
            "node_id": node_id("R", repository.id),
            "name": repository.name,
            "full_name": repository.full_name,
            "private": repository.private,
            "owner": self._owner(repository),
            "html_url": f"{self.html}/{repository.full_name}",
            "description": f"The {repository.name} of {repository.owner}",
            "fork": False,
            "url": url,
            **{key: f"{url}/{path}" for key, path in _REPOSITORY_LINKS.items()},
        }

    def full_repository(self, repository: Repository, *, listed: bool = False) -> Body:
        """A full-repository; `listed`: as much of it as a minimal-repository in a list of repositories has."""
        page = f"{self.html}/{repository.full_name}"
        flags = ("has_issues", "has_projects", "has_downloads", "has_wiki", "allow_forking")
        body = self.repository(repository) | {
            "created_at": stamp(repository.created_at),
            "updated_at": stamp(repository.created_at),
            "pushed_at": stamp(repository.pushed_at or repository.created_at),
            "git_url": f"git:{page.partition('://')[2]}.git",
            "ssh_url": f"git@{page.partition('://')[2]}.git",
            "clone_url": f"{page}.git",
            "svn_url": page,
            "homepage": None,
            "language": "Python",
            **dict.fromkeys(("size", "stargazers_count", "watchers_count", "forks_count", "open_issues_count"), 0),
            **dict.fromkeys(("forks", "open_issues", "watchers"), 0),
            **dict.fromkeys(flags, True),
            **dict.fromkeys(("has_pages", "has_discussions", "is_template"), False),
            "archived": repository.archived,
            "disabled": repository.disabled,
            "mirror_url": None,
            "license": None,
            "web_commit_signoff_required": False,
            "topics": [],
            "visibility": "private" if repository.private else "public",
            "default_branch": repository.default_branch,
            "permissions": {"admin": True, "maintain": True, "push": True, "triage": True, "pull": True},
        }
        if not listed:
            body |= _DETAILS | _MERGES
            body |= {"organization": self._owner(repository)} if repository.owner_is_organization else {}
        return body

    def group_repository(self, repository: Repository) -> Body:
        """A minimal-repository as a runner group lists it: with more than others do."""
        return self.full_repository(repository, listed=True) | _DETAILS

    def own_repository(self, repository: Repository) -> Body:
        """A repository as the token's user lists it."""
        return self.full_repository(repository, listed=True) | _DETAILS | _MERGES

    def installed_repository(self, repository: Repository) -> Body:
        """A repository as an App's installation lists it: without what a user may do there."""
        return {key: value for key, value in self.own_repository(repository).items() if key != "permissions"}

    def organization(self, login: str, repositories: int) -> Body:
        """An organization-full."""
        account = self.account(login, "Organization")
        url = f"{self.api}/orgs/{login}"
        since = stamp(self.now.replace(year=2020, month=1, day=1, hour=0, minute=0, second=0))
        return {
            **{key: account[key] for key in ("login", "id", "node_id", "avatar_url", "html_url")},
            "url": url,
            **{f"{part}_url": f"{url}/{part}" for part in ("repos", "events", "hooks", "issues")},
            "members_url": f"{url}/members{{/member}}",
            "public_members_url": f"{url}/public_members{{/member}}",
            "description": None,
            "has_organization_projects": True,
            "has_repository_projects": True,
            "public_repos": repositories,
            **dict.fromkeys(("public_gists", "followers", "following"), 0),
            "type": "Organization",
            "created_at": since,
            "updated_at": since,
            "archived_at": None,
        }
