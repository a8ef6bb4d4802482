"""
REST endpoints of GitHub Apps, for which a JWT stands in place of a token.

Sources: docs.github.com, "Generating a JSON Web Token (JWT) for a GitHub App" (RS256; iat up to 60 s back against a
clock that drifts; exp at most ten minutes ahead; iss the client id or the App's id), REST "GitHub Apps".
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import jwt

from scaler.sandbox.aws.oidc import real_now
from scaler.sandbox.github.accounts import stamp
from scaler.sandbox.github.apps import App, Installation
from scaler.sandbox.github.http import Request, Response
from scaler.sandbox.github.state import Refused
from scaler.sandbox.github.views import Views
from scaler.sandbox.github.world import GitHubWorld

LONGEST = 600
"""Seconds that a JWT may be good for."""
TOKEN_LIFE = timedelta(hours=1)
_PATHS = re.compile(r"/(repos/[^/]+/[^/]+|orgs/[^/]+|users/[^/]+)/installation|/app/installations/(\d+)/access_tokens")
_LEVELS = ("", "read", "write")


def is_for_apps(path: str) -> bool:
    """Whether a path takes a JWT."""
    return _PATHS.fullmatch(path) is not None


def has_jwt(request: Request) -> bool:
    """Whether a request comes with a JWT in place of a token."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and value.startswith("ey")


def answer(world: GitHubWorld, request: Request) -> Response:
    """Do what an App asks for itself."""
    app = _app(world, request.headers["authorization"].partition(" ")[2])
    found = _PATHS.fullmatch(request.path)
    if found is None:
        raise Refused(401, "Bad credentials")
    views = Views(request.base, request.base.removesuffix("/api/v3"), world.clock.now(), world.settings)
    if found[1] and request.method == "GET":
        return Response(200, _view(views, app, _installation(world, app, found[1])))
    if found[2] and request.method == "POST":
        for installation in app.installations:
            if installation.id == int(found[2]):
                return _token(world, installation, request.json())
    raise Refused(404, "Not Found")


def _app(world: GitHubWorld, token: str) -> App:
    """The App that signed."""
    try:
        issuer = str(jwt.decode(token, options={"verify_signature": False}).get("iss"))
        app = next(app for app in world.apps if issuer in (str(app.id), app.client_id))
        options: Any = {"require": ["iat", "exp", "iss"], "verify_iat": False, "verify_exp": False}
        claims = jwt.decode(token, app.key, algorithms=["RS256"], options=options)
    except StopIteration:
        raise Refused(404, "Integration not found") from None
    except jwt.PyJWTError:
        raise Refused(401, "A JSON web token could not be decoded") from None
    now = real_now().timestamp()
    if claims["iat"] > now:
        raise Refused(
            401, "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
        )
    if claims["exp"] > now + LONGEST:
        raise Refused(401, "'Expiration time' claim ('exp') is too far in the future")
    if claims["exp"] <= now:
        raise Refused(
            401, "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the"
        )
    return app


def _installation(world: GitHubWorld, app: App, path: str) -> Installation:
    kind, _, name = path.partition("/")
    owner = name.partition("/")[0].lower()
    accounts = {repository.owner.lower() for repository in world.state.repositories.values()}
    known = {"orgs": world.state.organizations, "users": accounts}.get(kind, world.state.repositories)
    for installation in app.installations:
        chosen = installation.repositories
        served = kind != "repos" or chosen is None or name.lower() in chosen
        if name.lower() in known and installation.owner.lower() == owner and served:
            return installation
    raise Refused(404, "Not Found")


def _token(world: GitHubWorld, installation: Installation, body: Mapping[str, Any]) -> Response:
    wanted = body.get("permissions") or installation.permissions
    for name, level in wanted.items():
        if _LEVELS.index(installation.permissions.get(name, "")) < _LEVELS.index(level):
            raise Refused(422, "The permissions requested are not granted to this installation.")
    chosen = installation.repositories
    if chosen is None:
        owner = installation.owner.lower()
        chosen = frozenset(name for name in world.state.repositories if name.partition("/")[0] == owner)
    value = "ghs_" + secrets.token_hex(18)
    token = world.add_token(value, "app", wanted, chosen)
    token.expires_at = world.clock.now() + TOKEN_LIFE
    selection = "all" if installation.repositories is None else "selected"
    return Response(
        201,
        {
            "token": value,
            "expires_at": stamp(token.expires_at),
            "permissions": dict(wanted),
            "repository_selection": selection,
        },
    )


def _view(views: Views, app: App, installation: Installation) -> dict[str, Any]:
    url = f"{views.api}/app/installations/{installation.id}"
    account = views.account(installation.owner, "Organization")
    return {
        "id": installation.id,
        "account": account,
        "repository_selection": "all" if installation.repositories is None else "selected",
        "access_tokens_url": f"{url}/access_tokens",
        "repositories_url": f"{views.api}/installation/repositories",
        "html_url": f"{views.html}/organizations/{installation.owner}/settings/installations/{installation.id}",
        "app_id": app.id,
        "client_id": app.client_id,
        "app_slug": app.slug,
        "target_id": account["id"],
        "target_type": "Organization",
        "permissions": dict(installation.permissions),
        "events": [],
        "created_at": stamp(views.now),
        "updated_at": stamp(views.now),
        "single_file_name": None,
        "suspended_by": None,
        "suspended_at": None,
    }
