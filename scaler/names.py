"""Names that bind processes which know nothing of each other: client tokens and runners' names. Pure."""

from __future__ import annotations

import hashlib


def client_token(fleet: str, pool: str, slot: int, link: int) -> str:
    """`H(fleet, pool, slot, k)`: 64 ASCII characters, EC2's limit."""
    return hashlib.sha256("\0".join((fleet, pool, str(slot), str(link))).encode()).hexdigest()


def runner_prefix(fleet: str, account: str, region: str) -> str:
    """`<fleet>-<h6>-`: two fleets of one name never take each other's runners for ghosts."""
    digest = hashlib.sha256(f"{account}\x00{region}\x00{fleet}".encode()).hexdigest()
    return f"{fleet}-{digest[:6]}-"
