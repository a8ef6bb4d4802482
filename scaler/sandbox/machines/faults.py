"""What can be wrong with a machine."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FaultKind(StrEnum):
    """What can be wrong with a machine."""

    HANG = "hang"  # the kernel hangs: the boot script never starts
    LATE = "late"  # the boot script starts `seconds` later
    IMDS_SLOW = "imds_slow"  # each answer of the metadata service takes `seconds`
    IMDS_DOWN = "imds_down"  # the metadata service refuses
    RUNNER_HANGS = "runner_hangs"  # the listener starts and never gets online
    RUNNER_DEAF = "runner_deaf"  # the listener ignores SIGINT
    RUNNER_STAYS = "runner_stays"  # the listener does not end after its one job (actions/runner#4617)
    REFUSED = "refused"  # config.sh is refused
    CRASHES = "crashes"  # the machine is gone `seconds` after its boot script started, without a word


@dataclass(frozen=True, slots=True)
class MachineFault:
    """Strikes the machines of a pool (of all, without one), or just the `nth` of those (from 1)."""

    kind: FaultKind
    pool: str = ""
    nth: int | None = None
    seconds: float = 0.0

    def strikes(self, pool: str, nth_of_pool: int, nth: int) -> bool:
        """Whether it strikes this launch."""
        return self.pool in {"", pool} and self.nth in {None, nth_of_pool if self.pool else nth}


PROGRAM_FAULTS = {
    FaultKind.RUNNER_HANGS: "hang",
    FaultKind.RUNNER_DEAF: "deaf",
    FaultKind.RUNNER_STAYS: "stays",
    FaultKind.REFUSED: "refused",
}
