"""GitHub Apps: who may sign for one, where it is installed, and what its installation's tokens may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey


@dataclass(frozen=True, slots=True)
class Installation:
    """An App at an account (`owner`, a login): on all of its repositories (None) or on these, lower-case full names."""

    id: int
    owner: str
    permissions: Mapping[str, str]
    repositories: frozenset[str] | None = None


@dataclass(slots=True)
class App:
    """A GitHub App: known by its number or its client id, and by the public half of its key."""

    id: int
    client_id: str
    key: RSAPublicKey = field(repr=False)
    slug: str = "runner-scaler"
    installations: list[Installation] = field(default_factory=list)
