"""One slot's way along its chain of links and the terms to ask on: what each of EC2's answers leads to. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import assert_never

from scaler.model import ApiError, Command, Denied, Launch, LaunchAnswer, LaunchKind, Outcome, Result, Terms

MAX_CALLS_PER_SLOT = 16
"""A bound on the walk along a slot's links when the hint to the last one was lost."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One slot's way along its links and the command's terms; `refused` are the offerings that were refused on it."""

    command: Launch
    link: int
    position: int = 0
    calls: int = 0
    detail: str = ""
    refused: frozenset[str] = frozenset()

    @property
    def again(self) -> Terms | None:
        """The terms on which this very link was asked for before: any others would be a mismatch (D3)."""
        return self.command.before if self.link == self.command.link else None

    @property
    def terms(self) -> Terms:
        """On which the link is asked for."""
        return self.again or self.command.terms[self.position]

    @property
    def onward(self) -> Attempt:
        """At the next link, behind an instance that has ended."""
        return replace(self, link=self.link + 1, calls=self.calls + 1)

    def having_heard(self, answer: LaunchAnswer) -> Attempt:
        """
        The attempt with what the answer taught of EC2's capacity.

        A link that was asked for before answers as it did then, which says nothing of today. Without a hint any may
        have been; a market that is shunned for minutes in vain is a small price.
        """
        old = self.command.asked_before and self.link == self.command.link
        return self if old else replace(self, refused=self.refused | answer.refused)

    def without_capacity(self, answer: LaunchAnswer) -> Attempt | Outcome:
        """
        On to the next link and the next terms.

        An instant fleet that launched nothing leaves its token spent (runs-on#251), and answers so for ever.
        Without a hint this may be such an old answer: on, as far as the bound allows.
        """
        said = f"{self.terms.market.value}: {answer.detail}"
        detail = self.detail if said in self.detail else "; ".join(filter(None, (self.detail, said)))
        choices = self.command.terms
        position = self.position + 1
        if self.again is not None:
            position = next((n for n, terms in enumerate(choices, 1) if terms.market is self.again.market), 0)
        if position < len(choices) or not self.command.hinted:
            position %= len(choices)
            return replace(self.onward, position=position, detail=detail)
        return self.ended(Result.NO_CAPACITY, detail, spent=True)

    def ended(self, result: Result, detail: str, *, spent: bool = False, instance_id: str = "") -> Outcome:
        """The outcome at this link. Of one that answered with a mismatch nobody knows the terms."""
        terms = None if spent or (result is Result.TAKEN and not instance_id) else self.terms
        return Outcome(
            self.command, result, detail, instance_id, link=self.link, spent=spent, terms=terms, refused=self.refused
        )


def next_step(attempt: Attempt, answer: LaunchAnswer) -> Attempt | Outcome | str:
    """An instance's id, an outcome, or how to go on."""
    if not answer.spent:  # another tick may launch under this very link: the next could fill the slot twice
        way = on_the_way(attempt, answer.detail)
        return way if answer.kind is LaunchKind.THROTTLED else replace(way, result=Result(answer.kind.value))
    match answer.kind:
        case LaunchKind.LAUNCHED:
            return answer.instance_id
        case LaunchKind.DEAD:
            return attempt.onward
        case LaunchKind.NO_CAPACITY:
            return attempt.without_capacity(answer)
        case LaunchKind.MISMATCH:
            return attempt.ended(Result.TAKEN, answer.detail)
        case LaunchKind.THROTTLED:
            return attempt.ended(Result.SKIPPED, answer.detail, spent=True)
        case LaunchKind.REFUSED:
            return attempt.ended(Result.REFUSED, answer.detail, spent=True)
        case _:
            assert_never(answer.kind)


def on_the_way(attempt: Attempt, why: str) -> Outcome:
    """Not done in this tick; what was walked of the chain is not walked again."""
    result = Result.NO_CAPACITY if attempt.detail else Result.SKIPPED
    detail = "; ".join(filter(None, (attempt.detail, why)))
    if attempt.calls == 0:
        return Outcome(attempt.command, result, detail, refused=attempt.refused)
    return replace(attempt, link=attempt.link - 1).ended(result, detail, spent=True)


def failed_by(command: Command, error: ApiError) -> Outcome:
    """What a command came to whose call was not answered, or denied."""
    if isinstance(error, Denied):
        return Outcome(command, Result.DENIED, str(error), remedy=error.remedy, spent=error.spent)
    return Outcome(command, Result.FAILED, str(error))
