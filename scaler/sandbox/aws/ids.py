"""Made-up identifiers of real shapes, the same in every run of one seed."""

from __future__ import annotations

import hashlib
import itertools


class Ids:
    """A source of ids: `i-` and 17 hex digits, and the like."""

    def __init__(self, seed: int = 0) -> None:
        self.reseed(seed)

    def reseed(self, seed: int) -> None:
        """Begin anew with another seed."""
        self._seed = seed
        self._count = itertools.count()

    def hex(self, digits: int) -> str:
        """That many hex digits that were not given before."""
        return hashlib.sha256(f"{self._seed}:{next(self._count)}".encode()).hexdigest()[:digits]

    def new(self, prefix: str) -> str:
        """An id as EC2 writes them: `i-0123456789abcdef0`."""
        return f"{prefix}-0{self.hex(16)}"

    def uuid(self) -> str:
        """A request id."""
        digits = self.hex(32)
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
