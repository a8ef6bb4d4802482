"""REST endpoints of runners, runner groups and organizations."""

from __future__ import annotations

from scaler.sandbox.github.accounts import stamp
from scaler.sandbox.github.call import Call
from scaler.sandbox.github.http import Response
from scaler.sandbox.github.state import Refused, Repository
from scaler.sandbox.github.views import rate_limit_body

RUNNER_VERSION = "2.337.0"


def list_runners(call: Call) -> Response:
    """List a scope's runners; `name` is matched exactly."""
    name = call.request.parameters.get("name")
    rows = [runner for runner in call.world.runners.of(call.scope) if name in (None, runner.name)]
    return call.listed("runners", rows, call.views.runner)


def get_runner(call: Call) -> Response:
    """GET a runner."""
    return Response(200, call.views.runner(call.runner))


def delete_runner(call: Call) -> Response:
    """DELETE a runner: 204, or 422 while it is at a job."""
    call.world.runners.delete(call.runner)
    return Response(204)


def create_token(call: Call) -> Response:
    """Create a registration or removal token."""
    value, token = call.world.runners.mint_token(call.scope, removal=call.request.path.endswith("remove-token"))
    return Response(201, {"token": value, "expires_at": stamp(token.expires_at)})


def generate_jit(call: Call) -> Response:
    """Create a JIT configuration; every one of name, group and labels must be given."""
    body = call.request.json()
    name, number, labels = body.get("name"), body.get("runner_group_id"), body.get("labels")
    for key in ("name", "runner_group_id", "labels"):
        if body.get(key) is None:
            raise Refused(422, f'Invalid request.\n\n"{key}" wasn\'t supplied.')
    if not isinstance(name, str) or not isinstance(number, int) or isinstance(number, bool):
        raise Refused(422, "Invalid request.\n\nFor 'properties/runner_group_id', the value is not an integer.")
    if not isinstance(labels, list) or not all(isinstance(label, str) and label for label in labels):
        raise Refused(422, "Invalid request.\n\nFor 'properties/labels', the value is not an array of strings.")
    if not 1 <= len(labels) <= 100:
        raise Refused(422, f"Invalid request.\n\nFor 'properties/labels', {len(labels)} is not between 1 and 100.")
    group = next((group for group in call.world.runners.groups(call.scope) if group.id == number), None)
    if group is None:
        raise Refused(404, "Not Found")
    runner, encoded = call.world.runners.mint_jit(call.scope, name, labels, group, call.views.html)
    return Response(201, {"runner": call.views.runner(runner), "encoded_jit_config": encoded})


def list_downloads(call: Call) -> Response:
    """List the runner software's packages."""
    _ = call.scope
    return Response(200, call.views.downloads(RUNNER_VERSION))


def get_deprecation(call: Call) -> Response:
    """
    GET when a runner version stops registering and being given jobs: null while no newer one is out.

    docs.github.com: REST API, self-hosted runners, "Get runner version end-of-life schedule for a repository" (and
    organization), of September 2026; 404 for a version that never was.
    """
    _ = call.scope
    version = call.path["version"]
    dates = {known: date for known, _, date in (each.partition("=") for each in call.world.settings.deprecations)}
    if version not in dates and version != RUNNER_VERSION:
        raise Refused(404, "Not Found")
    return Response(200, {"runner_version": version, "runtime_deprecates_at": dates.get(version)})


# --- organizations and the rest ----------------------------------------------------------------------


def get_organization(call: Call) -> Response:
    """GET an organization."""
    login = call.organization
    owned = sum(r.owner == login and not r.private for r in call.world.state.repositories.values())
    return Response(200, call.views.organization(login, owned))


def list_repositories(call: Call) -> Response:
    """List an organization's repositories that the token can see."""
    login = call.organization
    rows = [r for r in call.world.state.repositories.values() if r.owner == login and call.token.sees(r)]
    kind = call.request.parameters.get("type")
    if kind in ("public", "private"):
        rows = [r for r in rows if r.private == (kind == "private")]
    return call.listed("", _in_order(call, rows), lambda r: call.views.full_repository(r, listed=True))


def list_installed(call: Call) -> Response:
    """List what an App's token was installed for."""
    if call.token.kind == "pat":
        raise Refused(403, "You must authenticate with an installation access token in order to list repositories")
    rows = [r for r in call.world.state.repositories.values() if call.token.owns(r)]
    return call.listed("repositories", rows, call.views.installed_repository)


def list_own(call: Call) -> Response:
    """List the repositories of the token's user, and those that it is a collaborator of: here, all users'."""
    if call.token.kind != "pat":
        raise Refused(403, "Resource not accessible by integration")
    rows = [r for r in call.world.state.repositories.values() if not r.owner_is_organization and call.token.owns(r)]
    return call.listed("", _in_order(call, rows), call.views.own_repository)


def _in_order(call: Call, rows: list[Repository]) -> list[Repository]:
    by_name = call.request.parameters.get("sort") == "full_name"
    return sorted(rows, key=lambda r: r.full_name.lower()) if by_name else rows


def list_groups(call: Call) -> Response:
    """List an organization's runner groups."""
    return call.listed("runner_groups", call.world.runners.groups(call.organization), call.views.group)


def get_group(call: Call) -> Response:
    """GET a runner group."""
    return Response(200, call.views.group(call.group))


def list_group_repositories(call: Call) -> Response:
    """List the repositories that are selected for a group."""
    rows = [r for name, r in call.world.state.repositories.items() if name in call.group.repositories]
    return call.listed("repositories", rows, call.views.group_repository)


def get_rate_limit(call: Call) -> Response:
    """GET the rate limit: free of charge."""
    reset = call.token.reset_at or call.views.now
    return Response(200, rate_limit_body(call.token, int(reset.timestamp())))
