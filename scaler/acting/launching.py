"""
Slots to fill, from the client token to the secret: what was launched is looked at and handed over while others launch.

For each slot the order is: launch, verify, hand over (D4). A replayed token may answer with an instance that has ended
since (undocumented for CreateFleet), so every id is looked at; what is dead goes on to its slot's next link.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from datetime import timedelta

from scaler.acting.attempt import MAX_CALLS_PER_SLOT, Attempt, failed_by, next_step, on_the_way
from scaler.acting.hand_over import HandOvers
from scaler.acting.keeping import Keeper
from scaler.acting.pace import Limit, Pace
from scaler.model import ApiError, Cloud, Denied, Instance, Launch, Memory, Outcome, Result, Snapshot, View
from scaler.workers import workers

LAUNCHERS = 50
"""CreateFleet calls at once: each takes about a second, and EC2 lets so many pass before it meters them."""
HANDS = 16
"""Hand-overs at once: enough for 40 puts a second, each with a minting and a tag; GitHub lets 100 requests run at once."""
LATE = "the tick is being stopped, or its plan is too old; the next one goes on"
INTRODUCTION = timedelta(seconds=60)
"""A tick hands over what was launched within this time; `decide` lets others help some time later (`HAND_OVER_GRACE`)."""


@dataclass(frozen=True, slots=True)
class _Launched:
    """An instance that EC2 named for a slot's link."""

    attempt: Attempt
    instance_id: str


_Step = Attempt | Outcome | _Launched


class Launcher:
    """The launches of one tick."""

    def __init__(
        self,
        cloud: Cloud,
        hands: HandOvers,
        pace: Pace,
        keeper: Keeper,
        snapshot: Snapshot,
        late: Callable[[], bool],
        launchers: int,
    ) -> None:
        """With one launcher everything is done in order. With `late` true nothing more is launched."""
        self._cloud = cloud
        self._hands = hands
        self._pace = pace
        self._keeper = keeper
        self._snapshot = snapshot
        self._late = late
        self._launchers = launchers

    def launch_all(self, launches: Sequence[Launch], memory: Memory) -> list[Outcome]:
        """Fill all slots, and hand over what fills them; the outcomes in the launches' order."""
        if unremembered := self._unremembered(launches, memory):
            return unremembered
        settled: dict[int, Outcome] = {}
        launching, handing = workers(self._launchers), workers(min(HANDS, self._launchers))
        try:
            ahead: dict[Future[_Step], int] = {
                launching.submit(self._step, Attempt(command, command.link)): number
                for number, command in enumerate(launches)
            }
            while ahead:
                done = wait(ahead, return_when=FIRST_COMPLETED).done
                steps = {ahead.pop(future): future.result() for future in list(ahead) if future in done}
                found = self._hands.look(tuple(s.instance_id for s in steps.values() if isinstance(s, _Launched)))
                again: dict[int, Attempt] = {}
                for number, step in steps.items():
                    if isinstance(step, Outcome):
                        settled[number] = step
                    elif isinstance(step, Attempt):
                        again[number] = step
                    elif step.instance_id in found and not found[step.instance_id].state.alive:
                        again[number] = step.attempt.onward
                    else:
                        ahead[handing.submit(self._introduce, step, found.get(step.instance_id))] = number
                ahead |= {launching.submit(self._step, attempt): number for number, attempt in again.items()}
        finally:
            for each in (launching, handing):
                each.shutdown(cancel_futures=True)
        return [settled[number] for number in sorted(settled)]

    def _unremembered(self, launches: Sequence[Launch], memory: Memory) -> list[Outcome]:
        """
        What the launches come to if nobody could remember them; none, if somebody can.

        Who may not write the state may not write a secret either. And of two first ticks that begin their chains
        differently, one has to wait.
        """
        try:
            if not self._snapshot.sees(View.STATE):
                return []
            if self._keeper.keep(memory, always=True):
                return []
        except Denied as error:
            return [failed_by(launch, error) for launch in launches]
        except ApiError:
            return []  # for once; that it was not kept is told when it is written again, after the launches
        return [
            Outcome(launch, Result.TAKEN, "another tick is this fleet's first; the next one goes on")
            for launch in launches
        ]

    def _step(self, attempt: Attempt) -> _Step:
        """One launch call: an instance, an outcome, or how to go on."""
        command, calls = attempt.command, attempt.calls + 1
        self._pace.turn(Limit.CREATE_FLEET)
        if self._late():
            return on_the_way(attempt, LATE)
        if calls > MAX_CALLS_PER_SLOT:
            return on_the_way(attempt, f"{MAX_CALLS_PER_SLOT} links of the slot were spent; the next tick goes on")
        try:
            answer = self._cloud.launch(command.pool, command.slot, attempt.link, attempt.terms)
        except ApiError as error:
            failed, way = failed_by(command, error), on_the_way(attempt, "")
            # Whether it launched is not known; the same link, asked again however much later, will tell. A link left
            # out is a gap, in which a tick that has lost its hint would launch beside the living instance.
            link, spent = (attempt.link, True) if failed.spent else (way.link, way.spent)
            return replace(failed, link=link, spent=spent, refused=attempt.refused)
        attempt = attempt.having_heard(answer)
        step = next_step(attempt, answer)
        return _Launched(attempt, step) if isinstance(step, str) else step

    def _introduce(self, launched: _Launched, found: Instance | None) -> _Step:
        attempt, instance_id = launched.attempt, launched.instance_id
        command = attempt.command
        replayed = command.asked_before and attempt.link == command.link
        if replayed if found is None else self._is_introduced(found):
            # The slot looked free in a stale list; EC2's answer to the token says that it is not.
            whose = f", for {found.scope}" if found and found.scope else ""
            detail = f"{instance_id} fills the slot already{whose}"
            return attempt.ended(Result.TAKEN, detail, instance_id=instance_id)
        try:
            outcome = self._hands.hand_over(command, instance_id)
        except ApiError as error:
            failed = failed_by(command, error)
            detail = f"{instance_id} runs, but its secret could not be handed over: {failed.detail}"
            outcome = replace(failed, detail=detail, instance_id=instance_id)
        return replace(outcome, link=attempt.link, terms=attempt.terms, refused=attempt.refused)

    def _is_introduced(self, found: Instance) -> bool:
        """
        Whether another tick has handed this instance over, or may yet.

        Its scope tag can fail for seconds after the launch, and its parameter is gone as soon as it was read: then a
        second secret, perhaps for another scope, could be put. So a tick introduces only what was launched just now.
        """
        snapshot, name = self._snapshot, self._hands.name(found.id)
        told = any(each.instance_id == found.id for each in snapshot.parameters)
        known = told or any(runner.name == name for runner in snapshot.runners)
        now = self._cloud.now()
        return found.scope is not None or known or (now is not None and now - found.launched_at > INTRODUCTION)
