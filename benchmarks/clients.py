"""
What is measured: our own observation and decision, and others that find the same queue in ways of their own.

Each stands in a module of its own, so that a process loads what its client needs and nothing else.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

TOKEN = "ghp_" + "bench000" * 4 + "only"
ACTIVE = ("queued", "in_progress")
HELD = ("waiting", "pending", "requested")

CLIENTS = {
    "ours": "client_ours:Ours",
    "ours+aws": "client_ours:OursWithAws",
    "raw": "client_raw:RawHttp",
    "aiohttp": "client_aiohttp:AioHttp",
    "pygithub": "client_pygithub:PlainPyGithub",
    "original": "client_original:Original",
    "original+aws": "client_original_aws:OriginalWithAws",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client is given: where GitHub is, the repositories to look at, the connections it may have."""

    url: str
    repositories: tuple[str, ...]
    connections: int


class Client(Protocol):
    """One that can be measured."""

    def tick(self, *, deep: bool) -> list[int]:
        """
        Look once; the ids of the queued jobs that it found.

        `deep` asks for waiting, pending and requested runs too, as a single tick does (D1); who knows no such
        difference ignores it.
        """


def client(name: str, asked: Asked) -> Client:
    """One that has not looked yet."""
    module, _, kind = CLIENTS[name].partition(":")
    made: Client = getattr(import_module(f"benchmarks.{module}"), kind)(asked)
    return made


def statuses(*, deep: bool) -> tuple[str, ...]:
    """The statuses to list runs of."""
    return ACTIVE + (HELD if deep else ())


def queued_in(jobs: dict[str, Any]) -> list[int]:
    """The queued jobs of a list."""
    return [job["id"] for job in jobs["jobs"] if job["status"] == "queued"]


def environment(aws: dict[str, str]) -> dict[str, str]:
    """What a client's process finds: nothing of this machine's own, and no proxy between."""
    ambient = {
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "made-up",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[1]), **ambient, **aws}
