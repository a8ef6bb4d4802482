"""
Between a queued job and a runner: sessions, contact, routing, acquiring, working, the end.

Sources: docs.github.com, "Self-hosted runners reference" (routing precedence); actions/runner, the listener
and its broker messages; issues as cited at the line.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from scaler.sandbox.github.runners import Runners
from scaler.sandbox.github.runs import Runs
from scaler.sandbox.github.state import Conclusion, Dispatch, Job, Refused, Runner, State

WorkState = Literal["working", "finished", "cancelled", "lost"]


class Dispatcher:
    """Sends queued jobs to runners, and hears from these."""

    def __init__(self, state: State, runs: Runs, runners: Runners) -> None:
        self._state = state
        self._runs = runs
        self._runners = runners

    # --- routing ---------------------------------------------------------------------------------

    def route(self) -> None:
        """
        Send each queued job to an online idle runner that carries all its labels.

        The oldest job first, a repository's own runners before the organization's (docs of 2021; not stated
        today), and a runner that has missed the job last. No job is bound to a runner otherwise.
        """
        idle = [runner for runner in self._state.runners.values() if runner.available]
        unserved: set[tuple[object, ...]] = set()
        for job in list(self._state.queue.values()):
            if not idle:
                return
            kind = (job.run.repository.id, job.spec.labels, job.spec.group)
            if kind in unserved or not self._runs.may_start(job):
                continue
            matching = [runner for runner in idle if self.matches(runner, job)]
            if not matching:
                unserved.add(kind)
                continue
            runner = min(matching, key=lambda r: (r.id in job.missed, "/" not in r.scope, r.id))
            idle.remove(runner)
            self._send(job, runner)

    @staticmethod
    def matches(runner: Runner, job: Job) -> bool:
        """Whether a runner may run a job: scope, group, and every label of the job, whatever their case."""
        repository = job.run.repository
        wanted = job.spec.group
        if "/" in runner.scope:
            served = runner.scope.lower() == repository.full_name.lower() and wanted is None
        else:
            served = runner.group.serves(repository) and wanted in (None, runner.group.name)
        return served and {label.lower() for label in job.spec.labels} <= {label.lower() for label in runner.labels}

    def _send(self, job: Job, runner: Runner) -> None:
        dispatch = Dispatch(self._state.next_id("message"), job, runner, self._state.now())
        job.dispatch = runner.message = dispatch
        self._state.journal.write("job.dispatched", runner=runner.name, runner_id=runner.id, **job.facts())
        self._state.clock.after(self._state.settings.requeue_after, lambda: self._take_back(dispatch))
        self._state.clock.changed()

    def _take_back(self, dispatch: Dispatch) -> None:
        """Not picked up in 60 s: the job is queued again, for this runner or another."""
        job, runner = dispatch.job, dispatch.runner
        if job.dispatch is not dispatch:
            return
        late = self._state.settings.requeue_after_removal - (self._state.now() - dispatch.at).total_seconds()
        if runner.removed and late > 0:
            self._state.clock.after(late, lambda: self._take_back(dispatch))
            return
        job.dispatch = None
        job.missed.add(runner.id)
        if runner.message is dispatch:
            runner.message = None
        self._state.journal.write("job.requeued", runner=runner.name, **job.facts())
        self.route()

    # --- session and contact ---------------------------------------------------------------------

    def authenticate(self, credential: str) -> Runner:
        """The runner whose credential this is, removed or not; 401 for no one's."""
        runner = self._state.credentials.get(credential)
        if runner is None:
            raise Refused(401, "Bad credentials")
        return runner

    def open_session(self, runner: Runner, version: str) -> str:
        """The listener is up: the runner is online and may get jobs."""
        self._exists(runner)
        self._runners.check_version(version)
        now, settings = self._state.now(), self._state.settings
        if runner.session is not None and runner.online:
            # The real listener tries again for 4 minutes (actions/runner, MessageListener.cs).
            raise Refused(409, f"A session for this runner already exists: {runner.name}")
        if runner.jit and runner.session is None and (now - runner.created_at).total_seconds() > settings.jit_life:
            raise Refused(401, "The JIT configuration has expired")
        runner.session = self._runners.secret("S")
        runner.version = version
        runner.os = "linux"
        self.hear(runner)
        return runner.session

    def close_session(self, runner: Runner) -> None:
        """The listener has ended: offline at once. A job it was sent waits for its 60 s all the same."""
        runner.session = None
        if runner.online:
            self._go_offline(runner)

    def hear(self, runner: Runner) -> None:
        """Any request of a runner is contact: it is online for another lease."""
        if runner.removed or runner.session is None:
            return
        runner.contact, runner.contact_real = self._state.now(), time.monotonic()
        if not runner.online:
            runner.online = True
            self._state.journal.write("runner.online", version=runner.version, **runner.facts())
            if not runner.busy:
                self._become_idle(runner)
        if not runner.watched:
            runner.watched = True
            self._state.clock.after(self._state.settings.lease, lambda: self._watch(runner))

    def _watch(self, runner: Runner) -> None:
        """One event per lease and runner: is it still there, and has it been idle for too long?"""
        runner.watched = False
        if runner.removed:
            self._watch_removed(runner)
        if runner.removed or not runner.online:
            return
        self._remove_if_idle_too_long(runner)
        settings = self._state.settings
        left = settings.lease - (self._state.now() - (runner.contact or runner.created_at)).total_seconds()
        # An open long poll is contact, and so is silence that real time has not confirmed on a fast clock.
        if runner.open_polls or time.monotonic() - runner.contact_real < settings.patience:
            left = settings.lease
        if left > 0 and not runner.removed:
            runner.watched = True
            self._state.clock.after(left, lambda: self._watch(runner))
        elif not runner.removed:
            self._go_offline(runner)

    def _watch_removed(self, runner: Runner) -> None:
        """Its job may go on without a record (actions/runner#4492), but not without a machine."""
        job, settings = runner.job, self._state.settings
        if job is None:
            return
        if runner.open_polls:
            self._state.clock.after(settings.lease, lambda: self._watch_removed(runner))
            return

        def lose() -> None:
            if runner.job is job:
                self._lose(runner, job)

        self._state.clock.after(settings.lost_after, lose)

    def _go_offline(self, runner: Runner) -> None:
        runner.online = False
        runner.idle_since = None
        since = runner.offline_since = self._state.now()
        self._state.journal.write("runner.offline", **runner.facts())
        self._runners.watch_offline(runner)
        job = runner.job

        def lose() -> None:
            if job is not None and runner.job is job and not runner.online and runner.offline_since == since:
                self._lose(runner, job)

        if job is not None:
            self._state.clock.after(self._state.settings.lost_after, lose)
        self._state.clock.changed()

    def _lose(self, runner: Runner, job: Job) -> None:
        """The self-hosted runner lost communication with the server (actions/runner#4309)."""
        runner.job = None
        runner.spent = runner.ephemeral
        if job.status != "completed":
            self._state.journal.write("job.lost", runner=runner.name, why="lost communication", **job.facts())
            self._runs.finish(job, "failure")

    def _become_idle(self, runner: Runner) -> None:
        runner.idle_since = self._state.now()
        limit = self._state.settings.jit_idle_removal
        if limit is not None:
            self._state.clock.after(limit, lambda: self._remove_if_idle_too_long(runner))
        self.route()

    def _remove_if_idle_too_long(self, runner: Runner) -> None:
        """Idle JIT runners have been removed by the service after 2 to 6 minutes (actions/runner#4726)."""
        limit = self._state.settings.jit_idle_removal
        if limit is None or not runner.jit or runner.idle_since is None or not runner.available:
            return
        if (self._state.now() - runner.idle_since).total_seconds() >= limit:
            self._runners.remove(runner, by="service")

    @staticmethod
    def _exists(runner: Runner) -> None:
        if runner.removed:
            raise Refused(404, "The runner no longer exists on the server.")

    # --- messages and work -----------------------------------------------------------------------

    def poll(self, runner: Runner, session: str, seconds: float) -> Dispatch | None:
        """Wait for a job, for so long; 404 as soon as the record is gone."""
        self._exists(runner)
        if runner.session != session:
            raise Refused(401, "No such session")
        self._wait(runner, lambda: runner.removed or runner.message is not None or runner.session != session, seconds)
        self._exists(runner)
        return runner.message

    def _wait(self, runner: Runner, met: Callable[[], bool], seconds: float) -> None:
        self.hear(runner)
        runner.open_polls += 1
        try:
            self._state.clock.wait_for(met, seconds)
        finally:
            runner.open_polls -= 1
        self.hear(runner)

    def acquire(self, runner: Runner, job_id: int) -> Job:
        """Take a job that was sent: from here on the runner is busy. 409 if it is not this runner's any more."""
        self.hear(runner)
        message = runner.message
        if runner.removed or message is None or message.job.id != job_id or message.job.dispatch is not message:
            # A runner whose record is gone meets this too, and has been seen to listen on for ever (actions/runner#4617).
            raise Refused(409, "The job is not available to this runner")
        job, now = message.job, self._state.now()
        runner.message, runner.job, runner.acquired_at, runner.idle_since = None, job, now, None
        job.due_at = None
        self._runs.start(job, runner_id=runner.id, runner_name=runner.name, group=(runner.group.id, runner.group.name))
        self._state.clock.after(job.spec.duration, lambda: self._due(job))
        self.route()
        return job

    def _due(self, job: Job) -> None:
        job.due_at = self._state.now()
        self._state.clock.changed()

    def work(self, runner: Runner, job_id: int, seconds: float) -> tuple[WorkState, Job]:
        """How the job stands; waits for its end for so long. The world's clock times it, not the runner."""
        job = self._state.jobs.get(job_id)
        if job is None or job.runner_id != runner.id:
            raise Refused(404, "No such job")
        self._wait(runner, lambda: self._work_state(runner, job) != "working", seconds)
        return self._work_state(runner, job), job

    @staticmethod
    def _work_state(runner: Runner, job: Job) -> WorkState:
        if runner.job is not job:
            return "cancelled" if job.conclusion == "cancelled" else "lost"
        if job.cancelling:
            return "cancelled"
        return "finished" if job.due_at is not None else "working"

    def complete(self, runner: Runner, job_id: int, conclusion: Conclusion) -> None:
        """
        The runner reports the end of its job.

        Whether the job's own steps succeeded is the scenario's to say, so a reported success means that.
        An ephemeral runner's record goes now: it takes one job only.
        """
        job = runner.job
        if job is None or job.id != job_id:
            raise Refused(404, "No such job")
        runner.job = None
        # Before the job's end lets other jobs be routed: an ephemeral runner must not be sent one of them.
        runner.lingering = runner.ephemeral
        self._runs.finish(
            job, "cancelled" if job.cancelling else job.outcome if conclusion == "success" else conclusion
        )
        self.hear(runner)
        if runner.ephemeral:
            linger = self._state.settings.ephemeral_linger
            if linger > 0:
                self._state.clock.after(linger, lambda: self._runners.remove(runner, by="job"))
            else:
                self._runners.remove(runner, by="job")
        elif not runner.removed:
            self._become_idle(runner)
