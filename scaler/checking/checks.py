"""What a preflight says: one line for each thing that was looked at, and the exit code of them all. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from scaler.exits import Exit
from scaler.model import ApiError, Denied
from scaler.text import safe


class State(StrEnum):
    """How it is with what was looked at."""

    OK = "ok"
    UNWISE = "unwise"
    WRONG = "wrong"
    UNSEEN = "not seen"


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, how it is, what was found, how to mend it, and the exit code that it stands for."""

    state: State
    what: str
    told: str
    mend: str = ""
    code: Exit = Exit.OK

    def __str__(self) -> str:
        """`wrong     template of pool amd64: InstanceInitiatedShutdownBehavior is stop; set terminate`."""
        told = "; ".join(filter(None, (safe(self.told), safe(self.mend))))
        return f"{self.state.value:<9} {safe(self.what)}: {told}"


def ok(what: str, told: str) -> Check:
    """As it should be."""
    return Check(State.OK, what, told)


def unwise(what: str, told: str, mend: str) -> Check:
    """It works, and may not for ever."""
    return Check(State.UNWISE, what, told, mend)


def wrong(what: str, told: str, mend: str, code: Exit = Exit.INPUT) -> Check:
    """It does not work so."""
    return Check(State.WRONG, what, told, mend, code)


def unseen(what: str, error: ApiError, mend: str = "") -> Check:
    """It could not be looked at: for want of a permission, or of an answer."""
    if isinstance(error, Denied):
        first = error.remedy.partition("\n")[0].rstrip(":")
        return Check(State.WRONG, what, str(error), mend or first, Exit.CREDENTIALS)
    return Check(State.UNSEEN, what, str(error), mend or "look again", Exit.DEGRADED)


def verdict(checks: Iterable[Check]) -> Exit:
    """The most urgent: credentials, then what is wrong, then what could not be seen."""
    found = {check.code for check in checks}
    return next((code for code in (Exit.CREDENTIALS, Exit.INPUT, Exit.DEGRADED) if code in found), Exit.OK)


def closing(checks: Iterable[Check]) -> str:
    """The last line: how many of each."""
    found = [check.state for check in checks]
    return ", ".join(f"{found.count(state)} {state.value}" for state in State) + ". Nothing was changed."
