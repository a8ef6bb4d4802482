"""The embedded GitHub's REST endpoints: their paths, and who may call them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from scaler.sandbox.github import contents_api as contents
from scaler.sandbox.github import runners_api as runners
from scaler.sandbox.github import runs_api as runs
from scaler.sandbox.github.call import Call
from scaler.sandbox.github.http import Response
from scaler.sandbox.github.state import Refused


@dataclass(frozen=True, slots=True)
class Route:
    """An endpoint, and the permission it takes (docs.github.com: permissions required for GitHub Apps)."""

    method: str
    pattern: re.Pattern[str]
    handler: Callable[[Call], Response]
    permission: str
    level: str


Handler = Callable[[Call], Response]

_REPOSITORY, _ORGANIZATION = "/repos/{owner}/{repo}", "/orgs/{org}"
_ACTIONS = _REPOSITORY + "/actions"
_GROUPS = _ORGANIZATION + "/actions/runner-groups"

# docs.github.com: permissions required for GitHub Apps. To read takes `read`, all else `write`.
_ENDPOINTS: dict[str, list[tuple[str, str, Handler]]] = {
    "": [("GET", "/rate_limit", runners.get_rate_limit)],
    "metadata": [
        ("GET", _REPOSITORY, runs.get_repository),
        ("GET", _ORGANIZATION, runners.get_organization),
        ("GET", _ORGANIZATION + "/repos", runners.list_repositories),
        ("GET", "/installation/repositories", runners.list_installed),
        ("GET", "/user/repos", runners.list_own),
    ],
    "actions": [
        ("GET", _ACTIONS + "/runs", runs.list_runs),
        ("GET", _ACTIONS + "/runs/{run_id}", runs.get_run),
        ("GET", _ACTIONS + "/runs/{run_id}/jobs", runs.list_jobs),
        ("GET", _ACTIONS + "/jobs/{job_id}", runs.get_job),
        ("POST", _ACTIONS + "/runs/{run_id}/cancel", runs.cancel_run),
        ("POST", _ACTIONS + "/runs/{run_id}/rerun", runs.rerun),
        ("POST", _ACTIONS + "/runs/{run_id}/rerun-failed-jobs", runs.rerun),
        ("POST", _ACTIONS + "/jobs/{job_id}/rerun", runs.rerun_job),
        ("GET", _ACTIONS + "/workflows", runs.list_workflows),
        ("GET", _ACTIONS + "/workflows/{workflow_id}", runs.get_workflow),
        ("GET", _ACTIONS + "/workflows/{workflow_id}/runs", runs.list_runs),
        ("PUT", _ACTIONS + "/workflows/{workflow_id}/enable", runs.enable_workflow),
        ("POST", _ACTIONS + "/workflows/{workflow_id}/dispatches", runs.dispatch_workflow),
    ],
    "contents": [("GET", _REPOSITORY + "/contents/{path}", contents.get_contents)],
    "organization_self_hosted_runners": [
        ("GET", _GROUPS, runners.list_groups),
        ("GET", _GROUPS + "/{runner_group_id}", runners.get_group),
        ("GET", _GROUPS + "/{runner_group_id}/repositories", runners.list_group_repositories),
    ],
}

# The same at a repository and at an organization.
_RUNNER_ENDPOINTS: list[tuple[str, str, Handler]] = [
    ("GET", "", runners.list_runners),
    ("GET", "/downloads", runners.list_downloads),
    ("GET", "/deprecations/{version}", runners.get_deprecation),
    ("POST", "/registration-token", runners.create_token),
    ("POST", "/remove-token", runners.create_token),
    ("POST", "/generate-jitconfig", runners.generate_jit),
    ("GET", "/{runner_id}", runners.get_runner),
    ("DELETE", "/{runner_id}", runners.delete_runner),
]


def _routes() -> Iterator[Route]:
    scopes = {"administration": _REPOSITORY, "organization_self_hosted_runners": _ORGANIZATION}
    at_scopes = {
        permission: [(method, f"{scope}/actions/runners{path}", handler) for method, path, handler in _RUNNER_ENDPOINTS]
        for permission, scope in scopes.items()
    }
    for permission, endpoints in [*_ENDPOINTS.items(), *at_scopes.items()]:
        for method, path, handler in endpoints:
            # A file's path has slashes of its own.
            pattern = re.compile(
                re.sub(r"\{(\w+)\}", lambda m: f"(?P<{m[1]}>{'.+' if m[1] == 'path' else '[^/]+'})", path)
            )
            yield Route(method, pattern, handler, permission, "read" if method == "GET" else "write")


ROUTES = tuple(_routes())


def find(method: str, path: str) -> tuple[Route, dict[str, str]]:
    """The endpoint of a request; 404 for what there is none."""
    for route in ROUTES:
        match = route.pattern.fullmatch(path)
        if match is not None and route.method == method:
            return route, match.groupdict()
    raise Refused(404, "Not Found")


def answer(call: Call, route: Route) -> Response:
    """Do what a request asks, if its token may (401 is settled before)."""
    if call.path.get("owner", call.path.get("org", "")).lower() in call.token.without_sso:
        raise _not_signed_on(call)
    if route.permission:
        named = call.repository if "repo" in call.path else None
        allowed = call.token.may(route.permission, route.level)
        if named is not None:
            # What is public may be read without the permission, except for what is the administrators'.
            public = not named.private and route.level == "read" and route.permission != "administration"
            allowed = public or (allowed and call.token.owns(named))
        if not allowed:
            kind = "personal access token" if call.token.kind == "pat" else "integration"
            # docs.github.com: troubleshooting the REST API, insufficient permissions.
            takes = {"X-Accepted-GitHub-Permissions": f"{route.permission}={route.level}"}
            raise Refused(403, f"Resource not accessible by {kind}", takes)
    return route.handler(call)


def _not_signed_on(call: Call) -> Refused:
    """docs.github.com: authenticating to the REST API, "Personal access tokens and SAML SSO"."""
    organization = call.path.get("owner", call.path.get("org", ""))
    url = f"{call.views.html}/orgs/{organization}/sso?authorization_request=A1B2C3"
    message = (
        "Resource protected by organization SAML enforcement. You must grant your Personal Access token access to this"
        " organization."
    )
    return Refused(403, message, {"X-GitHub-SSO": f"required; url={url}"})
