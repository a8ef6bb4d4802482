"""GitHub's part of the preflight: the token, the repositories, where runners register, and who else is there."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

from scaler.checking.checks import Check, ok, unseen, unwise, wrong
from scaler.checking.patterns_checked import look_at_patterns
from scaler.exits import Exit
from scaler.model import ApiError, Repository, Runner, Scope
from scaler.settings.config import Config, RegisterAt

SOON = timedelta(days=14)
WRITE = "that it may register and remove them shows when it first does"


@dataclass(frozen=True, slots=True)
class Token:
    """What GitHub says of the token: its kind, a classic one's scopes, requests left of an hour's, its end."""

    kind: str
    scopes: frozenset[str] | None
    left: int
    limit: int
    ends: datetime | None


class GitHubLook(Protocol):
    """What the preflight asks of GitHub. Every call raises `Unavailable` or `Denied`."""

    def now(self) -> datetime:
        """GitHub's clock."""

    def token(self) -> Token:
        """What the token is."""

    def repository(self, name: str) -> Repository:
        """A repository; its name may be a new one."""

    def repositories(self, owner: str) -> tuple[Repository, ...]:
        """All repositories of an owner that the token sees."""

    def run_count(self, name: str) -> int:
        """How many runs a repository has had: seen with Actions: read."""

    def runners(self, scope: Scope) -> tuple[Runner, ...]:
        """All runners registered in a scope."""

    def group_repositories(self, organization: str, group: str) -> frozenset[str] | None:
        """The repositories a runner group serves; None means all of the organization."""


def look_at_github(
    config: Config, github: GitHubLook, prefix: str | None, threads: ThreadPoolExecutor
) -> Iterator[Check]:
    """
    Everything that GitHub can be asked without changing anything, many at once; told in the config's order.

    `prefix` begins our runners' names, if known.
    """
    try:
        token = github.token()
        yield _token(config, token, github.now())
    except ApiError as error:
        yield unseen("token", error)
        return
    config = yield from look_at_patterns(config, github.repositories)
    yield _requests(config, token)
    for checks in threads.map(partial(_repository, config, github), config.repositories):
        yield from checks
    if config.register_at is RegisterAt.ORGANIZATION and config.organization:
        yield _group(config, github, config.organization)
    yield from threads.map(partial(_runners, config, github, prefix), config.scopes)


def _token(config: Config, token: Token, now: datetime) -> Check:
    needed = "admin:org" if config.register_at is RegisterAt.ORGANIZATION else "repo"
    if token.scopes is not None and needed not in token.scopes:
        told = f"{token.kind} with the scopes {', '.join(sorted(token.scopes)) or 'none'}"
        return wrong("token", told, f"give it the scope {needed}", Exit.CREDENTIALS)
    if token.ends is not None and token.ends - now < SOON:
        return unwise("token", f"{token.kind}, which ends on {token.ends:%Y-%m-%d}", "make a new one in time")
    ends = f", until {token.ends:%Y-%m-%d}" if token.ends else ""
    return ok("token", f"{token.kind}{ends}")


def _requests(config: Config, token: Token) -> Check:
    each = 2 * len(config.repositories)
    told = f"{token.left} of {token.limit} requests left in this hour, {each} and more a tick"
    if token.left < each:
        return unwise("requests", told, "wait for the hour's end, or use a GitHub App")
    return ok("requests", told)


def _repository(config: Config, github: GitHubLook, name: str) -> list[Check]:
    what = f"repository {name}"
    try:
        found = github.repository(name)
        runs = github.run_count(name)
    except ApiError as error:
        return [unseen(what, error)]
    checks = []
    if found.name.lower() != name.lower():
        checks.append(unwise(what, f"is {found.name} now", "write that in config.yaml"))
    if found.closed:
        checks.append(unwise(what, "is archived or disabled: no job comes from it", "remove it from config.yaml"))
    if found.public and not config.allow_public:
        mend = "make it private, remove it, or set allow_public: true if that is meant"
        return [*checks, wrong(what, "is public: anyone's pull request could run code on your machines", mend)]
    told = f"{'public' if found.public else 'private'}, its {runs} runs are seen (Actions: read)"
    return [*checks, ok(what, told)]


def _group(config: Config, github: GitHubLook, organization: str) -> Check:
    group = config.runner_group or "Default"
    what = f'runner group "{group}"'
    try:
        served = github.group_repositories(organization, group)
    except ApiError as error:
        return unseen(what, error)
    ours = {name.lower() for name in config.repositories}
    if served is None or served - ours:
        whom = "every repository" if served is None else ", ".join(sorted(served - ours)[:3])
        mend = "let it serve config.yaml's repositories alone: until then nothing is scaled down"
        return wrong(what, f"also serves {whom}", mend)
    if missing := sorted(ours - served):
        return wrong(what, f"does not serve {', '.join(missing[:3])}", "add them to the group")
    return ok(what, f"serves config.yaml's {len(ours)} repositories alone")


def _runners(config: Config, github: GitHubLook, prefix: str | None, scope: Scope) -> Check:
    what = f"runners of {scope}"
    try:
        runners = github.runners(scope)
    except ApiError as error:
        return unseen(what, error)
    foreign = [runner for runner in runners if prefix and not runner.name.startswith(prefix)]
    told = f"{len(runners)} registered" + (f", {len(foreign)} of them not this fleet's" if prefix else "")
    takers = [r.name for r in foreign if any(set(pool.labels) <= r.labels for pool in config.pools)]
    if takers:
        mend = "give the pool a label of its own"
        return unwise(what, f"{told}; {', '.join(takers[:3])} may take a pool's jobs", mend)
    return ok(what, f"{told}; {WRITE}")
