"""
The job's own OIDC token, which is exchanged for the AWS role. Loads little: it is the first thing that a run asks for.

It is asked for before the SDKs are loaded, and comes while they are. What is observed does not depend on when it came.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import requests

from scaler.model import Denied, Unavailable

AUDIENCE = "sts.amazonaws.com"
PERMISSION_REMEDY = """\
Give the job the permission to ask for its OIDC token:
    permissions:
      id-token: write
      contents: read"""


class JobToken:
    """Asked for anew each time, since a token lives for minutes only; the first time in advance."""

    def __init__(self, url: str, bearer: str) -> None:
        """Ask now, and wait for nothing."""
        self._url, self._bearer = url, bearer
        thread = ThreadPoolExecutor(1)
        self._first: Future[str] | None = thread.submit(self._ask)
        thread.shutdown(wait=False)

    @classmethod
    def of(cls, env: Mapping[str, str]) -> JobToken | None:
        """The token of the job that this environment is of, None outside of one that may have it."""
        url, bearer = env.get("ACTIONS_ID_TOKEN_REQUEST_URL"), env.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
        return cls(url, bearer) if url and bearer else None

    def __call__(self) -> str:
        """A token. Raises `Unavailable` or `Denied`."""
        first, self._first = self._first, None
        return first.result() if first else self._ask()

    def _ask(self) -> str:
        """How is in docs.github.com: OpenID Connect reference, requesting the JWT."""
        try:
            answer = requests.get(
                self._url,
                params={"audience": AUDIENCE},
                headers={"Authorization": f"bearer {self._bearer}"},
                timeout=20,
            )
            if answer.status_code in (401, 403):
                raise Denied(f"GitHub: no OIDC token for this job ({answer.status_code})", PERMISSION_REMEDY)
            answer.raise_for_status()
            return str(answer.json()["value"])
        except (requests.RequestException, ValueError, KeyError) as error:
            raise Unavailable(f"GitHub: no OIDC token for this job ({type(error).__name__})") from error
