"""A quiet threaded HTTP server on 127.0.0.1, with one write per answer."""

from __future__ import annotations

import socket
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What arrived. Header names are lower-case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What goes back."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


Respond = Callable[[HttpRequest], HttpAnswer | None]
"""Answers a request; None drops the connection without a word."""


class LoopbackServer:
    """Serves `respond` on a free port."""

    def __init__(self, respond: Respond, name: str) -> None:
        self._name = name
        self._server = _Server(respond)
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> None:
        """Serve in a thread of its own."""
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name=self._name, daemon=True
        )
        self._thread.start()

    @property
    def mistakes(self) -> list[str]:
        """Tracebacks of what went wrong in `respond`: the sandbox's own mistakes, each of which cost an answer."""
        return list(self._server.mistakes)

    def stop(self) -> None:
        """Stop serving and close every connection."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join(timeout=5)
        self._server.server_close()
        self._server.close_connections()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, respond: Respond) -> None:
        self.respond = respond
        self.open: set[socket.socket] = set()
        self.mistakes: list[str] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    def close_connections(self) -> None:
        for connection in tuple(self.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:  # the other side was faster
                continue

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - the library's method
        """Clients that go away are no news; anything else is a mistake of ours."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            self.mistakes.append(traceback.format_exc())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16  # unbuffered writes meet delayed ACKs: 40 ms a request

    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.open.add(self.connection)

    def finish(self) -> None:
        self.server.open.discard(self.connection)
        super().finish()

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        request = HttpRequest(
            method=self.command,
            target=self.path,
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(length) if length else b"",
        )
        answer = self.server.respond(request)
        if answer is None:
            self.close_connection = True
            return
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    do_GET = _answer
    do_POST = _answer
    do_PUT = _answer
    do_PATCH = _answer
    do_DELETE = _answer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """The journal and the recorded calls say more."""
