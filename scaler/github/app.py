"""
A GitHub App as credentials: its installation's tokens, minted when they are needed and renewed while a watch lasts.

A token lives for an hour (docs.github.com: generating an installation access token for a GitHub App). It is asked for
with a JWT that the App's private key signs, which PyGithub makes, and is given no more permissions than the command needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from threading import Lock

from github import Auth
from jwt import PyJWTError

from scaler.boundary import readable
from scaler.github.rest import GitHubRest, integer, message_of
from scaler.model import ApiError, Clock, Denied, Scope
from scaler.settings.config import Config, RegisterAt
from scaler.settings.inputs import AppKey, Inputs

SPARE = timedelta(minutes=5)
"""A token is renewed so long before its end: a call that is on its way then is still let in."""

FAILED_FOR = 30.0
"""Seconds for which a token that could not be had is not asked for again."""

KEY_REMEDY = """\
Give the App's id (or client id), and a private key of it, whole and with its line breaks:
    with:
      github-app-id: ${{ vars.RUNNER_SCALER_APP_ID }}
      github-app-private-key: ${{ secrets.RUNNER_SCALER_APP_PRIVATE_KEY }}
Both are on the App's settings page (Settings, Developer settings, GitHub Apps). A JWT is good for minutes: the clock
of this machine has to be right (NTP)."""

INSTALL_REMEDY = """\
Install the App there: its settings page, Install App, the account, these repositories."""

PERMISSIONS_REMEDY = """\
Give the App these permissions (its settings page, Permissions & events), and accept them where it is installed:
"""


AT_REPOSITORIES = {"actions": "read", "administration": "write", "metadata": "read"}
AT_ORGANIZATION = {"actions": "read", "organization_self_hosted_runners": "write", "metadata": "read"}
CONTENTS = {"contents": "read"}
TO_KICK = {"actions": "write", "metadata": "read"}
"""What a token is asked for with (docs.github.com: permissions required for GitHub Apps)."""


def permissions_for(config: Config) -> Mapping[str, str]:
    """What a tick takes: by where runners register, and more to run lost jobs again."""
    needed = AT_ORGANIZATION if config.register_at is RegisterAt.ORGANIZATION else AT_REPOSITORIES
    return {**needed, "actions": "write"} if any(pool.rerun_lost for pool in config.pools) else needed


class NotInstalled(Denied):
    """The App is not where its token is for."""


class AppTokens(GitHubRest):
    """The tokens of an App's installation for one owner. Safe to be used by several threads."""

    def __init__(
        self,
        app: AppKey,
        scope: Scope,
        permissions: Mapping[str, str],
        api_url: str,
        clock: Clock,
        mask: Callable[[str], None],
    ) -> None:
        """For the installation that serves `scope`; `mask` is told the key, line by line, and every token."""
        for line in app.private_key.splitlines():
            mask(line)
        super().__init__(Auth.AppAuth(app.id, app.private_key), api_url, clock)
        self._scope = scope
        self._permissions = dict(permissions)
        self._mask = mask
        self._lock = Lock()
        self._held: tuple[str, datetime] | None = None
        self._failed: tuple[ApiError, float] | None = None

    def current(self) -> str:
        """A token that is good for some minutes yet. What went wrong is not tried again at once, by each who waits."""
        with self._lock:
            if self._held is not None and self.now() < self._held[1] - SPARE:
                return self._held[0]
            if self._failed is not None and self._clock.monotonic() < self._failed[1] + FAILED_FOR:
                raise self._failed[0]
            try:
                self._held = self._minted()
            except ApiError as error:
                self._failed = error, self._clock.monotonic()
                raise
            self._mask(self._held[0])
            return self._held[0]

    @readable("GitHub")
    def _minted(self) -> tuple[str, datetime]:
        installation = self._installation()
        path = f"/app/installations/{integer(installation, 'id')}/access_tokens"
        answer = self._asked("POST", path, {"permissions": self._permissions}, 201)
        return str(answer["token"]), datetime.fromisoformat(str(answer["expires_at"])).astimezone(UTC)

    def _installation(self) -> dict[str, object]:
        """That of a repository, or of its owner: an organization, or else a user."""
        kind = "repos" if "/" in self._scope else "orgs"
        try:
            return self._asked("GET", f"/{kind}/{self._scope}/installation", {}, 200)
        except NotInstalled:
            if kind == "repos":
                raise
            return self._asked("GET", f"/users/{self._scope}/installation", {}, 200)

    def _asked(self, verb: str, path: str, body: dict[str, object], expected: int) -> dict[str, object]:
        try:
            answer = self._patiently(verb, path, {}, body or None)  # to mint twice does no harm
        except (PyJWTError, ValueError, TypeError) as error:
            why = "the private key is none, or not whole"
            raise Denied(f"GitHub App: {why} ({type(error).__name__})", KEY_REMEDY) from None
        status, _, text = answer
        said = f'{status}, "{message_of(text)}"'
        if status == 401:
            raise Denied(f"GitHub App: id and private key do not fit, or this clock is off ({said})", KEY_REMEDY)
        if status == 404:
            raise NotInstalled(f"GitHub App: not installed for {self._scope} ({said})", INSTALL_REMEDY)
        if status == 422:
            lines = "\n".join(f"    {name}: {level}" for name, level in self._permissions.items())
            raise Denied(f"GitHub App: lacks a permission in {self._scope} ({said})", PERMISSIONS_REMEDY + lines)
        return self._accept(answer, expected, f"the App's token for {self._scope}")


class InstallationAuth(Auth.Auth):
    """PyGithub's place for a token, which asks for the one of the moment."""

    def __init__(self, tokens: AppTokens) -> None:
        """Nothing is asked yet."""
        self._tokens = tokens

    @property
    def token_type(self) -> str:
        """As in `Authorization: token …`."""
        return "token"

    @property
    def token(self) -> str:
        """Minted, if there is none that is good."""
        return self._tokens.current()


def credential_for(
    inputs: Inputs, scope: Scope, permissions: Mapping[str, str], clock: Clock, mask: Callable[[str], None]
) -> str | Auth.Auth:
    """The token that was given, or the App's, which comes to be when it is first needed."""
    if inputs.github_app is None:
        mask(inputs.github_token)
        return inputs.github_token
    tokens = AppTokens(inputs.github_app, scope, permissions, inputs.github_api_url, clock, mask)
    return InstallationAuth(tokens)
