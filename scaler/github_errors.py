"""What GitHub's refusals mean, and what to do about each. Pure."""

from __future__ import annotations

from scaler.model import ApiError, Denied, Unavailable

GITHUB_TOKEN_REMEDY = """\
The workflow's own GITHUB_TOKEN cannot manage runners. Use a fine-grained personal access token (or a token
that actions/create-github-app-token mints in the workflow) with these repository permissions:
    Administration: Read and write      (registers and removes runners)
    Actions: Read                       (lists queued jobs)
(with register_at: organization: the organization permission Self-hosted runners: Read and write),
store it as a secret, and pass it:
    with:
      github-token: ${{ secrets.RUNNER_SCALER_TOKEN }}"""

SSO_REMEDY = "Authorise the token for the organization's SSO: Settings, Developer settings, the token, Configure SSO."


def refusal(status: int, message: str, what: str) -> ApiError:
    """The error for an answer that is none: what was asked, what GitHub said, how to mend it."""
    said = f'{status}, "{message}"' if message else str(status)
    lower = message.lower()
    if status == 401:
        return Denied(f"GitHub: {what}: the token is not valid ({said})", GITHUB_TOKEN_REMEDY)
    if "rate limit" in lower or status == 429:
        return Unavailable(f"GitHub: {what}: rate limit reached ({said}); the next tick goes on")
    if "saml" in lower or "sso" in lower:
        return Denied(f"GitHub: {what}: the token is not authorised for SSO ({said})", SSO_REMEDY)
    if status == 403:
        return Denied(f"GitHub: {what}: the token may not do this ({said})", GITHUB_TOKEN_REMEDY)
    if status == 404:
        return Unavailable(f"GitHub: {what}: not found; renamed, deleted, or the token does not see it")
    return Unavailable(f"GitHub: {what}: answered {said}")
