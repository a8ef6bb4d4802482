"""
GitHub's server as PyGithub's requester asks it, over urllib3 itself.

PyGithub's own connections are `requests` sessions, which weigh proxies, certificates, cookies and redirects anew with
every request. Here `requests` settles proxy and certificates once.
"""

from __future__ import annotations

from collections.abc import Iterable

import requests
from requests.adapters import HTTPAdapter
from urllib3.response import BaseHTTPResponse

AT_ONCE = 100
"""Connections that are kept: GitHub lets no more than 100 requests be on their way (docs: rate limits for the REST API)."""
TIMEOUT = 20.0
"""Seconds until a server that says nothing is given up."""
HEADERS = {"Accept": "application/vnd.github+json", "Accept-Encoding": "gzip"}


class Server(HTTPAdapter):
    """
    One server, through the proxy and with the certificates that the environment names. For several threads.

    Raises `OSError`, or urllib3's `HTTPError`, for a proxy or certificates that cannot be used.
    """

    def __init__(self, url: str) -> None:
        """Nothing is asked yet."""
        super().__init__(pool_maxsize=AT_ONCE)
        found = requests.Session().merge_environment_settings(url, {}, None, None, None)
        request = requests.Request("GET", url).prepare()
        self.pool = self.get_connection_with_tls_context(request, found["verify"], found["proxies"])
        self.cert_verify(self.pool, url, found["verify"], None)
        # A proxy that is no tunnel is asked for whole addresses.
        self.before = self.request_url(request, found["proxies"]).removesuffix(request.path_url)


class Call:
    """One request and its answer, by the names that PyGithub's requester has for them."""

    def __init__(self, server: Server) -> None:
        """To this server."""
        self._server = server
        self._answer: BaseHTTPResponse | None = None

    def request(self, verb: str, url: str, input: str | None, headers: dict[str, str], stream: bool = False) -> None:  # noqa: A002, ARG002 - PyGithub's names
        """Ask, once; `url` is a path. Raises urllib3's `HTTPError`, or `OSError`, where no answer comes."""
        self._answer = self._server.pool.urlopen(
            verb,
            self._server.before + url,
            input,
            HEADERS | headers,
            retries=False,
            assert_same_host=False,
            timeout=TIMEOUT,
        )

    def getresponse(self) -> Call:
        """The answer."""
        return self

    @property
    def answer(self) -> BaseHTTPResponse:
        """What came."""
        assert self._answer is not None  # noqa: S101 - asked before
        return self._answer

    @property
    def status(self) -> int:
        """Its status."""
        return self.answer.status

    def getheaders(self) -> Iterable[tuple[str, str]]:
        """Its headers."""
        return self.answer.headers.items()

    def read(self) -> str:
        """Its body, of which a byte that is no UTF-8 is told as such."""
        return self.answer.data.decode(errors="replace")
