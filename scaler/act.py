"""
The only caller of effects: runs a plan's commands, each on its own, and says what came of each.

The orders that matter: launch, verify, mint, put, tag (D4: the instance waits for its secret; a minted
secret nobody waits for would be a ghost); tag, then DELETE (a crash between leaves a mark, not a loss);
DELETE, then terminate (GitHub's 422 is the lock against a job that was just taken).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import assert_never

from scaler.attempt import MAX_CALLS_PER_SLOT, Attempt, failed_by, next_step, on_the_way
from scaler.config import Config, Pool, Registration
from scaler.letter import letter
from scaler.memory import encode, remember
from scaler.model import (
    ApiError,
    Cloud,
    Command,
    DeleteParameter,
    Denied,
    Deregister,
    Drain,
    GitHub,
    HandOver,
    Instance,
    Launch,
    Memory,
    NameTaken,
    Outcome,
    Plan,
    Removal,
    Result,
    Scope,
    Secret,
    Snapshot,
    Tag,
    Terminate,
    Unseen,
    View,
)

LAUNCHERS = 8
"""CreateFleet calls at once: each takes about a second, and EC2 lets 50 pass before it meters them at 5 a second."""
LATE = "the tick is being stopped, or its plan is too old; the next one goes on"
INTRODUCTION = timedelta(seconds=60)
"""A tick hands over what was launched within this time; `decide` lets others help some time later (`HAND_OVER_GRACE`)."""


@dataclass(frozen=True, slots=True)
class Acted:
    """What a plan came to. `unseen` says if the memory could not be kept."""

    outcomes: tuple[Outcome, ...]
    memory: Memory
    unseen: tuple[Unseen, ...] = ()


@dataclass(frozen=True, slots=True)
class _Launched:
    """An instance that EC2 named for a slot's link, and what its list says of it."""

    attempt: Attempt
    instance_id: str
    found: Instance | None


class Actor:
    """Runs plans against GitHub and AWS."""

    def __init__(
        self,
        config: Config,
        github: GitHub,
        cloud: Cloud,
        *,
        mask: Callable[[str], None],
        launchers: int = LAUNCHERS,
    ) -> None:
        """`mask` is told every secret before its first use; one launcher launches in order."""
        self._config = config
        self._github = github
        self._cloud = cloud
        self._mask = mask
        self._launchers = launchers

    def act(self, plan: Plan, snapshot: Snapshot, late: Callable[[], bool]) -> Acted:
        """
        Run every command of the plan in order; the launches, which come as a block, side by side.

        With `late` true no new command is begun: the process is to stop, or the plan has grown old.
        """
        outcomes: list[Outcome] = []
        launches = [command for command in plan.commands if isinstance(command, Launch)]
        pending = list(plan.commands)
        while pending:
            command = pending.pop(0)
            if isinstance(command, Launch):
                pending = [c for c in pending if not isinstance(c, Launch)]
                outcomes += self._launch_all(launches, plan.memory, snapshot, late)
            elif late():
                outcomes.append(Outcome(command, Result.SKIPPED, LATE))
            else:
                outcomes.append(self._guarded(command, snapshot.runner_prefix))
        return self._keep(plan.memory, tuple(outcomes), snapshot)

    def _keep(self, memory: Memory, outcomes: tuple[Outcome, ...], snapshot: Snapshot) -> Acted:
        memory = remember(memory, outcomes, self._github.now())
        if not snapshot.sees(View.STATE):
            # What could not be read is not overwritten: the other tick's links are worth more than ours alone.
            return Acted(outcomes, memory)
        try:
            self._cloud.save_state(encode(memory))
        except ApiError as error:
            remedy = error.remedy if isinstance(error, Denied) else ""
            unseen = Unseen(View.STATE, "", f"could not be kept: {error}", isinstance(error, Denied), remedy)
            return Acted(outcomes, memory, (unseen,))
        return Acted(outcomes, memory)

    def _guarded(self, command: Command, prefix: str) -> Outcome:
        try:
            return self._run(command, prefix)
        except ApiError as error:
            return failed_by(command, error)

    def _run(self, command: Command, prefix: str) -> Outcome:
        match command:
            case HandOver():
                found = self._look((command.instance_id,)).get(command.instance_id)
                if found is not None and found.scope is not None:
                    name = prefix + command.instance_id
                    return Outcome(command, Result.TAKEN, "another tick has handed it over", command.instance_id, name)
                return self._hand_over(command, command.instance_id, command.pool, command.scope, prefix)
            case Tag():
                self._cloud.tag(command.instance_id, command.key, command.value)
                return Outcome(command, Result.DONE, instance_id=command.instance_id)
            case Drain():
                return self._drain(command)
            case Deregister():
                removal = self._github.remove_runner(command.scope, command.runner_id)
                result = Result.BUSY if removal is Removal.BUSY else Result.DONE
                return Outcome(command, result, removal.value, runner_name=command.runner_name)
            case Terminate():
                return self._terminate(command)
            case DeleteParameter():
                self._cloud.delete_parameters((command.name,))
                return Outcome(command, Result.DONE)
            case Launch():
                raise AssertionError("launches run as a block")
            case _:
                assert_never(command)

    # --- ending --------------------------------------------------------------------------------

    def _drain(self, command: Drain) -> Outcome:
        self._cloud.tag(command.instance_id, "draining-since", _stamp(self._github))
        removal = self._github.remove_runner(command.scope, command.runner_id)
        if removal is not Removal.BUSY:
            return Outcome(command, Result.DONE, removal.value, command.instance_id, command.runner_name)
        self._cloud.tag(command.instance_id, "draining-since", None)
        self._cloud.tag(command.instance_id, "idle-since", None)
        return Outcome(command, Result.BUSY, "GitHub says it took a job: kept", command.instance_id)

    def _terminate(self, command: Terminate) -> Outcome:
        if command.runner_id is not None:
            removal = self._github.remove_runner(command.scope, command.runner_id)
            if removal is Removal.BUSY and not command.force:
                return Outcome(command, Result.BUSY, "GitHub says it runs a job: kept", command.instance_id)
        there = self._cloud.terminate(command.instance_id)
        self._cloud.delete_parameters((self._cloud.parameter_name(command.instance_id),))
        detail = "" if there else "already gone"
        return Outcome(command, Result.DONE, detail, command.instance_id, command.runner_name)

    # --- launching -----------------------------------------------------------------------------

    def _unremembered(self, launches: Sequence[Launch], memory: Memory, snapshot: Snapshot) -> list[Outcome]:
        """
        What the launches come to if nobody could remember them; none, if somebody can.

        Who may not write the state may not write a secret either. And of two first ticks that begin their chains
        differently, one has to wait.
        """
        try:
            if not snapshot.sees(View.STATE) or self._cloud.save_state(encode(memory), always=True):
                return []
        except Denied as error:
            return [failed_by(launch, error) for launch in launches]
        except ApiError:
            return []  # for once; that it was not kept is told when it is written again, after the launches
        return [
            Outcome(launch, Result.TAKEN, "another tick is this fleet's first; the next one goes on")
            for launch in launches
        ]

    def _launch_all(
        self, launches: Sequence[Launch], memory: Memory, snapshot: Snapshot, late: Callable[[], bool]
    ) -> list[Outcome]:
        """
        Fill all slots, verify that what EC2 answered is alive, then hand over.

        A replayed token may answer with an instance that has ended since (undocumented for CreateFleet), so
        every id is looked at once; what is dead goes on to its slot's next link.
        """
        if unremembered := self._unremembered(launches, memory, snapshot):
            return unremembered
        settled: dict[int, Outcome] = {}
        pending = {number: Attempt(command, command.link) for number, command in enumerate(launches)}
        while pending:
            with ThreadPoolExecutor(self._launchers) as pool:
                taken = pool.map(lambda attempt: self._step(attempt, late), pending.values())
                steps = dict(zip(pending, taken, strict=True))
            found = self._look(tuple(step for step in steps.values() if isinstance(step, str)))
            launched: dict[int, _Launched] = {}
            for number, step in steps.items():
                attempt = pending.pop(number)
                if isinstance(step, Attempt):
                    pending[number] = step
                elif isinstance(step, Outcome):
                    settled[number] = step
                elif step in found and not found[step].state.alive:
                    pending[number] = replace(attempt, link=attempt.link + 1, calls=attempt.calls + 1)
                else:
                    launched[number] = _Launched(attempt, step, found.get(step))
            with ThreadPoolExecutor(self._launchers) as pool:
                introduced = pool.map(lambda each: self._introduce(each, snapshot), launched.values())
                settled.update(zip(launched, introduced, strict=True))
        return [settled[number] for number in sorted(settled)]

    def _step(self, attempt: Attempt, late: Callable[[], bool]) -> Attempt | Outcome | str:
        """One launch call: an instance id, an outcome, or how to go on."""
        command, calls = attempt.command, attempt.calls + 1
        if late():
            return on_the_way(attempt, LATE)
        if calls > MAX_CALLS_PER_SLOT:
            return on_the_way(attempt, f"{MAX_CALLS_PER_SLOT} links of the slot were spent; the next tick goes on")
        try:
            answer = self._cloud.launch(command.pool, command.slot, attempt.link, command.markets[attempt.market])
        except ApiError as error:
            failed, way = failed_by(command, error), on_the_way(attempt, "")
            # Whether it launched is not known; the same link, asked again however much later, will tell. A link left
            # out is a gap, in which a tick that has lost its hint would launch beside the living instance.
            return (
                replace(failed, link=attempt.link) if failed.spent else replace(failed, link=way.link, spent=way.spent)
            )
        return next_step(attempt, answer)

    def _look(self, instance_ids: tuple[str, ...]) -> Mapping[str, Instance]:
        try:
            return self._cloud.look(instance_ids)
        except ApiError:
            return {}  # as if not listed yet: the hand-over is harmless to a dead one, and put once

    def _introduce(self, launched: _Launched, snapshot: Snapshot) -> Outcome:
        attempt, instance_id, found = launched.attempt, launched.instance_id, launched.found
        command, prefix = attempt.command, snapshot.runner_prefix
        replayed = command.asked_before and attempt.link == command.link
        if replayed if found is None else self._is_introduced(found, snapshot):
            # The slot looked free in a stale list; EC2's answer to the token says that it is not.
            whose = f", for {found.scope}" if found and found.scope else ""
            detail = f"{instance_id} fills the slot already{whose}"
            return Outcome(command, Result.TAKEN, detail, instance_id, link=attempt.link)
        try:
            outcome = self._hand_over(command, instance_id, command.pool, command.scope, prefix)
        except ApiError as error:
            failed = failed_by(command, error)
            detail = f"{instance_id} runs, but its secret could not be handed over: {failed.detail}"
            outcome = replace(failed, detail=detail, instance_id=instance_id)
        return replace(outcome, link=attempt.link)

    def _is_introduced(self, found: Instance, snapshot: Snapshot) -> bool:
        """
        Whether another tick has handed this instance over, or may yet.

        Its scope tag can fail for seconds after the launch, and its parameter is gone as soon as it was read: then a
        second secret, perhaps for another scope, could be put. So a tick introduces only what was launched just now.
        """
        name = snapshot.runner_prefix + found.id
        told = any(each.instance_id == found.id for each in snapshot.parameters)
        known = told or any(runner.name == name for runner in snapshot.runners)
        now = self._cloud.now()
        return found.scope is not None or known or (now is not None and now - found.launched_at > INTRODUCTION)

    # --- hand-over -----------------------------------------------------------------------------

    def _hand_over(
        self, command: Launch | HandOver, instance_id: str, pool_name: str, scope: Scope, prefix: str
    ) -> Outcome:
        pool = self._config.pool(pool_name)
        if pool is None:
            raise ValueError(f"no pool {pool_name}")
        name = prefix + instance_id
        group = self._config.runner_group if "/" not in scope else None
        try:
            secret = self._mint(pool, scope, name, group)
        except NameTaken:
            return Outcome(command, Result.TAKEN, "another tick is handing it over", instance_id, name)
        self._mask(secret.value)
        try:
            ours = self._cloud.put_parameter(
                instance_id,
                letter(pool, self._github.registration_url(scope), name, group, secret),
                scope,
                secret.runner_id,
            )
        except ApiError:
            self._take_back(scope, secret)
            raise
        if not ours:
            self._take_back(scope, secret)
            return Outcome(command, Result.TAKEN, "another tick has handed it over", instance_id, name)
        try:
            self._cloud.tag(instance_id, "scope", scope)
        except ApiError as error:
            # EC2 may not know a new instance yet (AWS docs: eventual consistency). The next tick writes it.
            return Outcome(
                command, Result.DONE, f"handed over to {scope}; its tag follows ({error})", instance_id, name
            )
        return Outcome(command, Result.DONE, f"handed over to {scope}", instance_id, name)

    def _mint(self, pool: Pool, scope: Scope, name: str, group: str | None) -> Secret:
        if pool.registration is Registration.JIT:
            return self._github.jit_secret(scope, name, pool.labels, group)
        return self._github.token_secret(scope)

    def _take_back(self, scope: Scope, secret: Secret) -> None:
        """Delete the record that was minted here and will not be used; if that fails it is swept as a ghost."""
        if secret.runner_id is None:
            return
        try:
            self._github.remove_runner(scope, secret.runner_id)
        except ApiError:
            return


def _stamp(github: GitHub) -> str:
    return github.now().strftime("%Y-%m-%dT%H:%M:%SZ")
