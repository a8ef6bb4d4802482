"""A door before a server: what passes is noted by its time, and passed on."""

from __future__ import annotations

import socket
import threading
import time
from urllib.parse import urlsplit


class Relay:
    """Listens on loopback for one server; times are the performance counter's, 0 for what never was."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._to = (parts.hostname or "", parts.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.connected = self.heard = self.answered = 0.0
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()

    def _listen(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                self.connected = self.connected or time.perf_counter()
                far = socket.create_connection(self._to)
            except OSError:
                return
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._pump, args=(near, far, False), daemon=True).start()
            threading.Thread(target=self._pump, args=(far, near, True), daemon=True).start()

    def _pump(self, near: socket.socket, far: socket.socket, answers: bool) -> None:
        try:
            while sent := near.recv(1 << 16):
                if answers:
                    self.answered = time.perf_counter()
                else:
                    self.heard = self.heard or time.perf_counter()
                far.sendall(sent)
            far.shutdown(socket.SHUT_WR)
        except OSError:
            return
