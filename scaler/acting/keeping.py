"""
The memory, written back: by a shard in two parts, so that no shard undoes what another counts.

What all have to agree on is one parameter: the chains of slots, and what their terms depend on. Ticks of several shards
write it at any time, so it is read again just before, and what others learned meanwhile stays. It is a hint all the
same (D3): two writes may still cross.
"""

from __future__ import annotations

from scaler.acting.pace import Limit, Pace
from scaler.deciding.memory import StateError, counts_of, decode, encode, with_chains
from scaler.model import Cloud, Memory


class Keeper:
    """Writes one process's memory; `part` ends the name of a shard's own parameter."""

    def __init__(self, cloud: Cloud, pace: Pace, part: str) -> None:
        """Nothing is written yet."""
        self._cloud = cloud
        self._pace = pace
        self._part = part

    def keep(self, memory: Memory, *, always: bool = False) -> bool:
        """Write what has changed, or `always`; False if another's first state is there, which begins its chains elsewhere."""
        self._pace.turn(Limit.PUT_PARAMETER)
        if not self._part:
            return self._cloud.save_state(encode(memory), always=always)
        own = self._cloud.save_state(encode(counts_of(memory)), self._part, always=always)
        self._pace.turn(Limit.PUT_PARAMETER)
        return self._cloud.save_state(encode(with_chains(self._newest(), memory))) and own

    def _newest(self) -> Memory:
        try:
            return decode(self._cloud.load_state())
        except StateError:
            return Memory()  # a broken hint is a lost hint
