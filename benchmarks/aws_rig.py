"""
An AWS account in which nothing runs, in a process of its own: the sandbox's, without delays.

Prints what an SDK needs of the environment to reach it, as JSON.
"""

from __future__ import annotations

import json
import signal
import threading

from scaler.sandbox.aws.server import AwsServer
from scaler.sandbox.aws.world import AwsWorld
from scaler.sandbox.clock import Clock
from scaler.sandbox.journal import Journal


def main() -> None:
    """Serve until the process is told to end."""
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    clock = Clock()
    world = AwsWorld(clock, Journal(clock))
    server = AwsServer(world)
    server.start()
    print(json.dumps({**world.env(), "AWS_ENDPOINT_URL": server.url}), flush=True)
    stopped.wait()
    server.stop()


if __name__ == "__main__":
    main()
