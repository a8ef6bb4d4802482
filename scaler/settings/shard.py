"""
Which part of a fleet one of several runs sees to, where a list of repositories is too long for one. Pure.

A repository belongs to one shard by its name, so that a list may grow without anything changing hands. An instance
belongs to its scope's shard; before it has a scope, to its slot's: each shard fills its own slots first.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from scaler.text import quoted

MOST = 64


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `of` parts; `number` counts from 1."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def part(self) -> str:
        """What ends the name of the parameter with its own counts; nothing for the whole."""
        return "" if self.of == 1 else f"-{self.number}-of-{self.of}"

    def has_slot(self, slot: int | None) -> bool:
        """Whether the slot is among those that it fills first; what has no slot is the first shard's."""
        return (slot or 0) % self.of == self.number - 1

    def has(self, scope: str | None, slot: int | None = None) -> bool:
        """Whether a scope is its own; without one, whether the slot is."""
        if self.of == 1 or not scope:
            return self.has_slot(slot)
        digest = hashlib.sha256(scope.lower().encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.of == self.number - 1

    def share(self, budget: int) -> int:
        """Its part of what all shards together may do; no less than one."""
        return max(1, budget // self.of)


WHOLE = Shard(1, 1)
"""A fleet that is not sharded."""


def shard(text: str) -> Shard:
    """`2/8` as a shard. Raises `ValueError` with how it should be."""
    if found := re.fullmatch(r"([1-9][0-9]?)/([1-9][0-9]?)", text):
        number, of = int(found[1]), int(found[2])
        if number <= of <= MOST:
            return Shard(number, of)
    raise ValueError(f"{quoted(text)} is no shard of at most {MOST}; write 2/8 for the second of eight")
