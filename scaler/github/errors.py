"""What GitHub's refusals mean, and what to do about each. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from scaler.model import ApiError, Denied, Unavailable

GITHUB_TOKEN_REMEDY = """\
The workflow's own GITHUB_TOKEN cannot manage runners. Use a fine-grained personal access token, or a GitHub App,
with these repository permissions, for each of config.yaml's repositories:
    Administration: Read and write      (registers and removes runners)
    Actions: Read                       (lists queued jobs; Read and write for rerun_lost)
(with register_at: organization: the organization permission Self-hosted runners: Read and write in place of
Administration). Changed permissions of an App have to be accepted where it is installed. Store the token, or the App's
private key, as a secret, and pass it:
    with:
      github-token: ${{ secrets.RUNNER_SCALER_TOKEN }}
or:
    with:
      github-app-id: ${{ vars.RUNNER_SCALER_APP_ID }}
      github-app-private-key: ${{ secrets.RUNNER_SCALER_APP_PRIVATE_KEY }}"""

SSO_REMEDY = "Authorise the token for the organization's SSO: Settings, Developer settings, the token, Configure SSO."


class NotFound(Unavailable):
    """There is none, or the token does not see it: GitHub tells no difference."""


def refusal(status: int, headers: Mapping[str, str], message: str, what: str) -> ApiError:
    """
    The error for an answer that is none: what was asked, what GitHub said, how to mend it.

    Header names are lower-case, as PyGithub has them.
    """
    said = f'{status}, "{message}"' if message else str(status)
    lower = message.lower()
    if status == 401:
        mend = "it is expired, revoked or not whole: make a new one"
        return Denied(f"GitHub: {what}: the token is not valid ({said}); {mend}", GITHUB_TOKEN_REMEDY)
    if "rate limit" in lower or status == 429:
        return Unavailable(f"GitHub: {what}: rate limit reached ({said}); {_again(headers)}")
    if "x-github-sso" in headers or "saml" in lower or "sso" in lower:
        # "required; url=https://github.com/orgs/acme/sso?authorization_request=…" (docs.github.com: authenticating
        # to the REST API, personal access tokens and SAML SSO; the URL is good for an hour).
        url = re.search(r"url=(https?://[^\s;]+)", headers.get("x-github-sso", ""))
        mend = f"; authorise it within the hour: {url[1]}" if url else ""
        return Denied(f"GitHub: {what}: the token is not authorised for SSO ({said}){mend}", SSO_REMEDY)
    if status == 403:
        return Denied(f"GitHub: {what}: the token may not do this ({said}){_needed(headers)}", GITHUB_TOKEN_REMEDY)
    if status == 404:
        return NotFound(f"GitHub: {what}: not found; renamed, deleted, or the token does not see it")
    return Unavailable(f"GitHub: {what}: answered {said}")


def _again(headers: Mapping[str, str]) -> str:
    """When it makes sense to ask again (docs.github.com: rate limits for the REST API)."""
    reset, after = headers.get("x-ratelimit-reset", ""), headers.get("retry-after", "")
    if headers.get("x-ratelimit-remaining") == "0" and reset.isascii() and reset.isdigit() and len(reset) < 12:
        limit = headers.get("x-ratelimit-limit", "?")
        return f"0 of {limit} requests are left until {datetime.fromtimestamp(int(reset), UTC):%H:%M:%S} UTC"
    return f"ask again in {after} s" if after.isascii() and after.isdigit() else "the next tick goes on"


def _needed(headers: Mapping[str, str]) -> str:
    """What GitHub says that the request takes (docs.github.com: troubleshooting the REST API)."""
    permissions, scopes = headers.get("x-accepted-github-permissions"), headers.get("x-accepted-oauth-scopes")
    if permissions:
        return f"; it needs the permission {permissions}"
    return f"; it needs one of the scopes {scopes} and has {headers.get('x-oauth-scopes') or 'none'}" if scopes else ""
