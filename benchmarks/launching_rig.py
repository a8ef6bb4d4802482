"""
A GitHub and an AWS to launch in, in a process of their own: answers take their time, and the buckets are metered.

Prints what a client needs to reach them as JSON; told to go on (a line on standard input), what they were asked since.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from scaler.sandbox.aws.server import AwsServer
from scaler.sandbox.aws.settings import PUBLISHED_THROTTLES
from scaler.sandbox.aws.world import AwsWorld
from scaler.sandbox.clock import Clock
from scaler.sandbox.github.faults import Fault, FaultKind
from scaler.sandbox.github.server import Exchange, GitHubServer
from scaler.sandbox.github.world import GitHubWorld
from scaler.sandbox.journal import Journal

REPOSITORY, TOKEN = "acme/api", "ghp_" + "launching" * 4
LAUNCH, AWS, GITHUB = 1.2, 0.06, 0.08
"""Seconds that CreateFleet and RunInstances take, any other call to AWS, and any to GitHub."""
THROTTLES = ("RequestLimitExceeded", "ThrottlingException")


def metered(aws: AwsWorld, github: GitHubWorld, puts: int) -> None:
    """Give them their limits and their pace."""
    slow = {"action": "*", "kind": "delay", "delay": AWS, "times": None}
    launches = [{**slow, "action": f"ec2:{name}", "delay": LAUNCH} for name in ("CreateFleet", "RunInstances")]
    # Of two faults of a kind the later one counts.
    aws.configure({"throttle": {**PUBLISHED_THROTTLES, "PutParameter": [puts, puts]}, "faults": [slow, *launches]})
    github.add_repository(REPOSITORY)
    github.add_token(TOKEN)
    github.set(points_a_minute=900, requests_at_once=100)
    github.fault(Fault(FaultKind.SLOW, times=None, value=GITHUB))


def asked(aws: AwsServer, github: Counter[str]) -> dict[str, int]:
    """How often each call was made."""
    return dict(Counter(call.action for call in aws.calls) + github)


def main(arguments: Sequence[str]) -> None:
    """Serve until nobody asks any more."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.launching_rig", description=__doc__)
    parser.add_argument("--puts", type=int, required=True, help="PutParameter calls a second")
    clock = Clock()
    journal = Journal(clock)
    aws, github = AwsWorld(clock, journal), GitHubWorld(clock, journal)
    metered(aws, github, parser.parse_args(arguments).puts)
    aws_server, github_server = AwsServer(aws), GitHubServer(github)
    exchanges: Counter[str] = Counter()

    def count(exchange: Exchange) -> None:
        exchanges[exchange.path.rpartition("/")[2]] += 1

    github_server.observers.append(count)
    for part in (clock, aws_server, github_server):
        part.start()
    print(
        json.dumps({**aws.env(), "AWS_ENDPOINT_URL": aws_server.url, "GITHUB_API_URL": github_server.url}), flush=True
    )
    for _ in sys.stdin:
        told: dict[str, Any] = {
            "calls": asked(aws_server, exchanges),
            "throttles": sum(call.error in THROTTLES for call in aws_server.calls) + github_server.limits.refused,
            "handed_over": sum(name.rpartition("/")[2].startswith("i-") for name in aws.parameter_names()),
        }
        aws_server.calls.clear()
        exchanges.clear()
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
