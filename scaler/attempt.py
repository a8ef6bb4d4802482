"""One slot's way along its chain of links and its pool's markets: what each of EC2's answers leads to. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import assert_never

from scaler.model import ApiError, Command, Denied, Launch, LaunchAnswer, LaunchKind, Outcome, Result

MAX_CALLS_PER_SLOT = 16
"""A bound on the walk along a slot's links when the hint to the last one was lost."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One slot's way along its links and markets."""

    command: Launch
    link: int
    market: int = 0
    calls: int = 0
    detail: str = ""


def next_step(attempt: Attempt, answer: LaunchAnswer) -> Attempt | Outcome | str:
    """An instance's id, an outcome, or how to go on."""
    command, calls, ahead = attempt.command, attempt.calls + 1, attempt.link + 1
    if not answer.spent:  # another tick may launch under this very link: the next could fill the slot twice
        way = on_the_way(attempt, answer.detail)
        return way if answer.kind is LaunchKind.THROTTLED else replace(way, result=Result(answer.kind.value))
    match answer.kind:
        case LaunchKind.LAUNCHED:
            return answer.instance_id
        case LaunchKind.DEAD:
            return replace(attempt, link=ahead, calls=calls)
        case LaunchKind.NO_CAPACITY:
            market = attempt.market + 1
            said = f"{command.markets[attempt.market].value}: {answer.detail}"
            detail = attempt.detail if said in attempt.detail else "; ".join(filter(None, (attempt.detail, said)))
            if market < len(command.markets) or not command.hinted:
                # An instant fleet that launched nothing leaves its token spent (runs-on#251), and answers so
                # for ever. Without a hint this may be such an old answer: on, as far as the bound allows.
                return replace(attempt, link=ahead, market=market % len(command.markets), calls=calls, detail=detail)
            return Outcome(command, Result.NO_CAPACITY, detail, link=attempt.link, spent=True)
        case LaunchKind.MISMATCH:
            return Outcome(command, Result.TAKEN, answer.detail, link=attempt.link)
        case LaunchKind.THROTTLED:
            return Outcome(command, Result.SKIPPED, answer.detail, link=attempt.link, spent=True)
        case LaunchKind.REFUSED:
            return Outcome(command, Result.REFUSED, answer.detail, link=attempt.link, spent=True)
        case _:
            assert_never(answer.kind)


def on_the_way(attempt: Attempt, why: str) -> Outcome:
    """Not done in this tick; what was walked of the chain is not walked again."""
    result = Result.NO_CAPACITY if attempt.detail else Result.SKIPPED
    detail = "; ".join(filter(None, (attempt.detail, why)))
    if attempt.calls == 0:
        return Outcome(attempt.command, result, detail)
    return Outcome(attempt.command, result, detail, link=attempt.link - 1, spent=True)


def failed_by(command: Command, error: ApiError) -> Outcome:
    """What a command came to whose call was not answered, or denied."""
    if isinstance(error, Denied):
        return Outcome(command, Result.DENIED, str(error), remedy=error.remedy, spent=error.spent)
    return Outcome(command, Result.FAILED, str(error))
