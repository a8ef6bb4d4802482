"""
Runs a plan's commands, each on its own, and says what came of each. All effects are here and in its parts.

The orders that matter: launch, verify, mint, put, tag (`launching`, `hand_over`); tag, then DELETE (a crash between
leaves a mark, not a loss); DELETE, then terminate (GitHub's 422 is the lock against a job that was just taken).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

from scaler.acting.attempt import failed_by
from scaler.acting.hand_over import HandOvers
from scaler.acting.keeping import Keeper
from scaler.acting.launching import LATE, LAUNCHERS, Launcher
from scaler.acting.pace import Limit, Pace
from scaler.deciding.memory import remember
from scaler.model import (
    ApiError,
    Clock,
    Cloud,
    Command,
    DeleteParameter,
    Denied,
    Deregister,
    Drain,
    GitHub,
    HandOver,
    Launch,
    Memory,
    Outcome,
    Plan,
    Removal,
    Rerun,
    Result,
    Scope,
    Snapshot,
    Tag,
    Terminate,
    Unseen,
    View,
)
from scaler.settings.config import Config


@dataclass(frozen=True, slots=True)
class Acted:
    """What a plan came to. `unseen` says if the memory could not be kept."""

    outcomes: tuple[Outcome, ...]
    memory: Memory
    unseen: tuple[Unseen, ...] = ()


class Actor:
    """Runs plans against GitHub and AWS."""

    def __init__(
        self,
        config: Config,
        github: GitHub,
        cloud: Cloud,
        *,
        mask: Callable[[str], None],
        clock: Clock | None = None,
        launchers: int = LAUNCHERS,
    ) -> None:
        """`mask` is told every secret before its first use; without `clock` no call waits for its turn."""
        self._config = config
        self._github = github
        self._cloud = cloud
        self._mask = mask
        self._launchers = launchers
        self._pace = Pace(clock, config.parameter_writes_per_second)
        self._keeper = Keeper(cloud, self._pace, config.shard.part)

    def act(self, plan: Plan, snapshot: Snapshot, late: Callable[[], bool]) -> Acted:
        """
        Run every command of the plan in order; the launches, which come as a block, side by side.

        With `late` true no new command is begun: the process is to stop, or the plan has grown old.
        """
        hands = HandOvers(self._config, self._github, self._cloud, self._pace, self._mask, snapshot.runner_prefix)
        launcher = Launcher(self._cloud, hands, self._pace, self._keeper, snapshot, late, self._launchers)
        outcomes: list[Outcome] = []
        launches = [command for command in plan.commands if isinstance(command, Launch)]
        pending = list(plan.commands)
        while pending:
            command = pending.pop(0)
            if isinstance(command, Launch):
                pending = [c for c in pending if not isinstance(c, Launch)]
                outcomes += launcher.launch_all(launches, plan.memory)
            elif late():
                outcomes.append(Outcome(command, Result.SKIPPED, LATE))
            else:
                outcomes.append(self._guarded(command, hands))
        return self._keep(plan.memory, tuple(outcomes), snapshot)

    def _keep(self, memory: Memory, outcomes: tuple[Outcome, ...], snapshot: Snapshot) -> Acted:
        memory = remember(memory, outcomes, self._github.now())
        if not snapshot.sees(View.STATE):
            # What could not be read is not overwritten: the other tick's links are worth more than ours alone.
            return Acted(outcomes, memory)
        try:
            self._keeper.keep(memory)
        except ApiError as error:
            remedy = error.remedy if isinstance(error, Denied) else ""
            unseen = Unseen(View.STATE, "", f"could not be kept: {error}", isinstance(error, Denied), remedy)
            return Acted(outcomes, memory, (unseen,))
        return Acted(outcomes, memory)

    def _guarded(self, command: Command, hands: HandOvers) -> Outcome:
        try:
            return self._run(command, hands)
        except ApiError as error:
            return failed_by(command, error)

    def _run(self, command: Command, hands: HandOvers) -> Outcome:
        match command:
            case HandOver():
                return hands.help(command)
            case Tag():
                self._tag(command.instance_id, command.key, command.value)
                return Outcome(command, Result.DONE, instance_id=command.instance_id)
            case Drain():
                return self._drain(command)
            case Deregister():
                removal = self._remove_runner(command.scope, command.runner_id)
                result = Result.BUSY if removal is Removal.BUSY else Result.DONE
                return Outcome(command, result, removal.value, runner_name=command.runner_name)
            case Terminate():
                return self._terminate(command)
            case DeleteParameter():
                self._delete_parameter(command.name)
                return Outcome(command, Result.DONE)
            case Rerun():
                return self._rerun(command)
            case Launch():
                raise AssertionError("launches run as a block")
            case _:
                assert_never(command)

    # --- ending --------------------------------------------------------------------------------

    def _drain(self, command: Drain) -> Outcome:
        self._tag(command.instance_id, "draining-since", _stamp(self._github))
        removal = self._remove_runner(command.scope, command.runner_id)
        if removal is not Removal.BUSY:
            return Outcome(command, Result.DONE, removal.value, command.instance_id, command.runner_name)
        self._tag(command.instance_id, "draining-since", None)
        self._tag(command.instance_id, "idle-since", None)
        return Outcome(command, Result.BUSY, "GitHub says it took a job: kept", command.instance_id)

    def _terminate(self, command: Terminate) -> Outcome:
        if command.runner_id is not None:
            removal = self._remove_runner(command.scope, command.runner_id)
            if removal is Removal.BUSY and not command.force:
                return Outcome(command, Result.BUSY, "GitHub says it runs a job: kept", command.instance_id)
        self._pace.turn(Limit.TERMINATE)
        there = self._cloud.terminate(command.instance_id)
        self._delete_parameter(self._cloud.parameter_name(command.instance_id))
        detail = "" if there else "already gone"
        return Outcome(command, Result.DONE, detail, command.instance_id, command.runner_name)

    # --- running again -------------------------------------------------------------------------

    def _rerun(self, command: Rerun) -> Outcome:
        end = self._github.run_end(command.repository, command.run_id)
        if not end.over or end.attempt != command.attempt:
            return Outcome(command, Result.TAKEN, f"it is at attempt {end.attempt} by now")
        self._pace.turn(Limit.GITHUB_WRITE)
        declined = self._github.rerun(command.repository, command.run_id, command.job_id)
        return Outcome(command, Result.DECLINED if declined else Result.DONE, declined)

    # --- single effects, each in its turn ------------------------------------------------------

    def _tag(self, instance_id: str, key: str, value: str | None) -> None:
        self._pace.turn(Limit.TAG)
        self._cloud.tag(instance_id, key, value)

    def _remove_runner(self, scope: Scope, runner_id: int) -> Removal:
        self._pace.turn(Limit.GITHUB_WRITE)
        return self._github.remove_runner(scope, runner_id)

    def _delete_parameter(self, name: str) -> None:
        self._pace.turn(Limit.DELETE_PARAMETERS)
        self._cloud.delete_parameters((name,))


def _stamp(github: GitHub) -> str:
    return github.now().strftime("%Y-%m-%dT%H:%M:%SZ")
