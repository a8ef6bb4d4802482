"""
Where a machine's `sleep` and `poweroff` come in: a line asks, a line answers.

`sleep` waits in the world's time, so that every limit of the boot script keeps the world's time as well.
"""

from __future__ import annotations

import contextlib
import socketserver
import threading
from collections.abc import Callable
from typing import Protocol


class Host(Protocol):
    """Who answers."""

    def sleep(self, instance_id: str, seconds: float, over: Callable[[bool], None]) -> Callable[[], None]:
        """Call `over` when that time has passed, for ever not if infinite; what it returns calls that off."""

    def power_off(self, instance_id: str) -> None:
        """The machine shuts itself down."""


class Door(socketserver.ThreadingTCPServer):
    """Listens on 127.0.0.1, on a port of its own."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, host: Host) -> None:
        self.host = host
        super().__init__(("127.0.0.1", 0), _Visit)

    def start(self) -> None:
        """Answer in threads of its own."""
        threading.Thread(target=self.serve_forever, name="machine-door", daemon=True).start()

    def stop(self) -> None:
        """Answer no more."""
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """A machine that ends hangs up."""

    def programs(self, instance_id: str) -> dict[str, str]:
        """
        What stands first in a machine's PATH, by name. bash speaks TCP itself, so that nothing else has to start.

        `systemctl` and `shutdown` are among them so that no mistake can turn off the computer the sandbox runs on.
        """
        ask = (
            f"#!/bin/bash\nexec 3<>/dev/tcp/127.0.0.1/{self.server_address[1]} || exit 1\n"
            f'echo "{{}} {instance_id} {{}}" >&3\nread -r answer <&3 && [[ $answer == done ]]\n'
        )
        return {
            "sleep": ask.format("sleep", "$1"),
            "poweroff": ask.format("poweroff", "now"),
            "systemctl": "#!/bin/bash\nexit 1\n",
            "shutdown": "#!/bin/bash\nexit 1\n",
        }


class _Visit(socketserver.StreamRequestHandler):
    server: Door

    def handle(self) -> None:
        verb, instance_id, argument = self.rfile.readline().decode().split()
        if verb == "sleep":
            call_off = self.server.host.sleep(instance_id, float(argument), self._answer)
            self.rfile.read(1)  # nothing more will come, but an end: it has its answer, or was killed
            call_off()
        else:
            self.server.host.power_off(instance_id)
            self._answer(done=True)

    def _answer(self, done: bool) -> None:
        with contextlib.suppress(OSError):
            self.connection.sendall(b"done\n" if done else b"no\n")
