"""
Workflow runs and their jobs: from the request through needs, approval and concurrency to the end, and again.

Sources: docs.github.com, "Workflow run statuses", "Workflow syntax" (jobs.<id>.needs, strategy.max-parallel,
concurrency), "Re-running workflows and jobs", "Canceling a workflow run".
"""

from __future__ import annotations

from collections.abc import Sequence

from scaler.sandbox.github.concurrency import Concurrency
from scaler.sandbox.github.state import Conclusion, Job, JobSpec, Refused, Repository, Run, State, Workflow


class Runs:
    """What happens to runs and jobs, whoever runs them."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._concurrency = Concurrency(self._let_in, self._cancel_item)

    # --- request ---------------------------------------------------------------------------------

    def request(
        self,
        repository: Repository,
        workflow: Workflow,
        specs: Sequence[JobSpec],
        *,
        event: str,
        branch: str,
        concurrency: str | None,
        cancel_in_progress: bool,
    ) -> Run:
        """Start a run."""
        now = self._state.now()
        run = Run(
            id=self._state.next_id("run", 17_000_000_001),
            number=self._state.next_id(f"run-of-{workflow.id}"),
            repository=repository,
            workflow=workflow,
            event=event,
            branch=branch,
            specs=tuple(specs),
            created_at=now,
            started_at=now,
            updated_at=now,
            concurrency=concurrency,
        )
        self._state.runs[run.id] = run
        self._note(run, "run.requested", event=event)
        self._attempt(run, {spec.name: spec.job_names for spec in run.specs}, cancel_in_progress=cancel_in_progress)
        return run

    def _attempt(self, run: Run, todo: dict[str, tuple[str, ...]], *, cancel_in_progress: bool = False) -> None:
        run.todo = todo
        run.conclusion = None
        if run.concurrency and not self._concurrency.enter(run, run.concurrency, cancel_in_progress=cancel_in_progress):
            run.phase = "held"
            return
        self._open(run)

    def _open(self, run: Run) -> None:
        """The run's jobs come to be: at once, or after `jobs_delay` in which it lists none."""
        run.phase = "fresh"
        attempt = run.attempt

        def unfold() -> None:
            if run.phase == "fresh" and run.attempt == attempt:
                run.phase = "open"
                self._unfold(run)

        if self._state.settings.jobs_delay > 0:
            self._state.clock.after(self._state.settings.jobs_delay, unfold)
        else:
            unfold()

    def _unfold(self, run: Run) -> None:
        """Create every job whose needs have ended: before that it is not listed at all."""
        progress = True
        while progress:
            progress = False
            for spec in run.specs:
                if spec.name not in run.todo or not self._needs_ended(run, spec):
                    continue
                names = run.todo.pop(spec.name)
                progress = True
                if self._needs_met(run, spec):
                    for name in names:
                        self._create(run, spec, name)
                else:  # as GitHub does without `if: always()`: one skipped job, whatever the matrix
                    self._finish(self._add(run, spec, spec.name), "skipped")
        self._close_if_done(run)
        self._state.route()

    def _needed(self, run: Run, spec: JobSpec) -> list[Job]:
        return [job for job in run.current if job.spec.name in spec.needs]

    def _needs_ended(self, run: Run, spec: JobSpec) -> bool:
        return not any(need in run.todo for need in spec.needs) and all(
            job.status == "completed" for job in self._needed(run, spec)
        )

    def _needs_met(self, run: Run, spec: JobSpec) -> bool:
        return all(job.conclusion == "success" for job in self._needed(run, spec))

    # --- a job's way to the queue ----------------------------------------------------------------

    def _add(self, run: Run, spec: JobSpec, name: str) -> Job:
        job = Job(self._state.next_id("job", 48_000_000_001), run, spec, name, run.attempt, self._state.now())
        self._state.jobs[job.id] = job
        run.jobs.append(job)
        run.current.append(job)
        return job

    def _create(self, run: Run, spec: JobSpec, name: str) -> None:
        job = self._add(run, spec, name)
        if spec.environment:
            job.hold = "approval"
            if self._state.settings.approval_lag > 0:
                self._state.clock.after(self._state.settings.approval_lag, lambda: self._wait_for_approval(job))
            else:
                self._wait_for_approval(job)
        else:
            self._after_approval(job)

    @staticmethod
    def _wait_for_approval(job: Job) -> None:
        if job.hold == "approval" and job.status == "queued":
            job.status = "waiting"

    def approve(self, run: Run, environment: str, *, approved: bool = True) -> None:
        """Review a deployment: the jobs that wait for this environment go on, or fail."""
        for job in [job for job in run.current if job.hold == "approval" and job.spec.environment == environment]:
            job.hold = ""
            if approved:
                self._after_approval(job)
            else:
                self._finish(job, "failure")
        self._settle(run)

    def _after_approval(self, job: Job) -> None:
        if job.spec.concurrency and not self._concurrency.enter(job, job.spec.concurrency):
            job.status, job.hold = "pending", "concurrency"
        else:
            self._enqueue(job)

    def _enqueue(self, job: Job) -> None:
        job.status, job.hold = "queued", ""
        job.run.updated_at = self._state.now()
        self._state.journal.write("job.queued", **job.facts())
        if job.spec.hosted:
            self._state.clock.after(self._state.settings.hosted_delay, lambda: self._run_hosted(job))
        else:
            self._state.queue[job.id] = job
            self._state.clock.after(self._state.settings.queue_limit, lambda: self._expire(job))

    def _expire(self, job: Job) -> None:
        if job.status == "queued":
            self._state.journal.write("job.expired", **job.facts())
            self.finish(job, "failure")

    def _run_hosted(self, job: Job) -> None:
        if job.status != "queued":
            return
        if not self.may_start(job):
            self._state.clock.after(self._state.settings.hosted_delay, lambda: self._run_hosted(job))
            return
        number = self._state.next_id("hosted runner")
        self.start(
            job, runner_id=1_000_000 + number, runner_name=f"GitHub Actions {number}", group=(0, "GitHub Actions")
        )
        self._state.clock.after(job.spec.duration, lambda: self.finish(job, job.outcome))

    @staticmethod
    def may_start(job: Job) -> bool:
        """
        Whether the job may be sent to a runner now.

        What `max-parallel` holds back is `queued` all the same (actions/runner#4248): only dispatch knows.
        """
        if job.status != "queued" or job.hold or job.dispatch:
            return False
        limit = job.spec.max_parallel
        if limit is None:
            return True
        siblings = [other for other in job.run.current if other.spec is job.spec and other is not job]
        return sum(other.status == "in_progress" or other.dispatch is not None for other in siblings) < limit

    # --- start and end ---------------------------------------------------------------------------

    def start(self, job: Job, *, runner_id: int, runner_name: str, group: tuple[int, str]) -> None:
        """A runner has acquired the job."""
        job.status = "in_progress"
        job.dispatch = None
        job.started_at = job.run.updated_at = self._state.now()
        job.runner_id, job.runner_name = runner_id, runner_name
        job.group_id, job.group_name = group
        self._state.queue.pop(job.id, None)
        self._state.journal.write("job.started", runner=runner_name, runner_id=runner_id, **job.facts())
        self._state.clock.changed()

    def finish(self, job: Job, conclusion: Conclusion) -> None:
        """End a job, and see what follows in its run. A job that has ended stays as it is."""
        if job.status != "completed":
            self._finish(job, conclusion)
            self._settle(job.run)

    def _finish(self, job: Job, conclusion: Conclusion) -> None:
        now = self._state.now()
        job.status, job.conclusion, job.hold = "completed", conclusion, ""
        job.completed_at = job.run.updated_at = now
        if job.dispatch is not None and job.dispatch.runner.message is job.dispatch:
            job.dispatch.runner.message = None
        job.dispatch = None
        self._state.queue.pop(job.id, None)
        self._state.journal.write("job.finished", conclusion=conclusion, runner=job.runner_name, **job.facts())
        if job.spec.concurrency:
            self._concurrency.leave(job, job.spec.concurrency)

    def _settle(self, run: Run) -> None:
        delay = self._state.settings.needs_delay
        if delay > 0 and run.todo:
            self._state.clock.after(delay, lambda: self._unfold(run) if run.phase == "open" else None)
        elif run.phase == "open":
            self._unfold(run)
        self._state.clock.changed()

    def _close_if_done(self, run: Run) -> None:
        if run.phase == "open" and run.current and not run.todo and all(j.status == "completed" for j in run.current):
            ends = {job.conclusion for job in run.current}
            self._close(
                run,
                "failure" if "failure" in ends else "cancelled" if "cancelled" in ends else
                "skipped" if ends == {"skipped"} else "success",
            )  # fmt: skip

    def _close(self, run: Run, conclusion: Conclusion) -> None:
        run.phase, run.conclusion, run.updated_at = "completed", conclusion, self._state.now()
        self._note(run, "run.finished", conclusion=conclusion)
        if run.concurrency:
            self._concurrency.leave(run, run.concurrency)
        for told in tuple(self._state.run_ended):
            told(run)
        self._state.clock.changed()

    def _note(self, run: Run, what: str, **facts: object) -> None:
        self._state.journal.write(
            what,
            run=run.id,
            repository=run.repository.full_name,
            workflow=run.workflow.name,
            attempt=run.attempt,
            **facts,
        )

    # --- cancel ----------------------------------------------------------------------------------

    def cancel(self, run: Run) -> None:
        """Cancel a run; 409 if it has ended."""
        if run.phase == "completed":
            raise Refused(409, "Cannot cancel a workflow run that is completed.")
        self._note(run, "run.cancelled")
        unborn, run.todo = run.phase != "open" or not run.current, {}
        if unborn:
            self._close(run, "cancelled")
        for job in [job for job in run.current if job.status != "completed"]:
            self.cancel_job(job)
        self._close_if_done(run)

    def cancel_job(self, job: Job) -> None:
        """Cancel a job: at once unless a self-hosted runner is at it, which is told and may take its time."""
        if job.status != "in_progress" or job.spec.hosted:
            self.finish(job, "cancelled")
            return
        job.cancelling = True
        self._state.clock.after(self._state.settings.cancel_limit, lambda: self.finish(job, "cancelled"))
        self._state.clock.changed()

    # --- re-run ----------------------------------------------------------------------------------

    def rerun(self, run: Run, *, failed_only: bool = False, job: Job | None = None) -> None:
        """
        Run all jobs, those that failed, or one, again: and whatever needs them.

        The run keeps its id and `created_at`, its attempt counts up, the jobs are new ones with new ids.
        """
        if run.phase != "completed":
            raise Refused(403, "This workflow is already running")
        if job is not None:
            again = {job.spec.name: job.spec.job_names if job.conclusion == "skipped" else (job.name,)}
        elif failed_only:
            again = self._failed(run)
            if not again:
                raise Refused(403, "The workflow run containing these jobs has no failed jobs")
        else:
            again = {spec.name: spec.job_names for spec in run.specs}
        todo = self._with_dependents(run, again)
        names = {name for of in todo.values() for name in of}
        run.current = [
            old
            for old in run.current
            if old.name not in names and not (old.conclusion == "skipped" and old.spec.name in todo)
        ]
        run.attempt += 1
        run.started_at = run.updated_at = self._state.now()
        self._note(run, "run.rerun", jobs=sorted(names))
        self._attempt(run, todo)

    @staticmethod
    def _failed(run: Run) -> dict[str, tuple[str, ...]]:
        failed: dict[str, tuple[str, ...]] = {}
        for job in run.current:
            if job.conclusion in ("failure", "cancelled"):
                failed[job.spec.name] = (*failed.get(job.spec.name, ()), job.name)
        return failed

    @staticmethod
    def _with_dependents(run: Run, again: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        todo = dict(again)
        grown = True
        while grown:
            grown = False
            for spec in run.specs:
                if spec.name not in todo and any(need in todo for need in spec.needs):
                    todo[spec.name] = spec.job_names
                    grown = True
        return todo

    # --- concurrency -----------------------------------------------------------------------------

    def _let_in(self, item: Run | Job) -> None:
        if isinstance(item, Run):
            if item.phase == "held":
                self._open(item)
        elif item.hold == "concurrency":
            self._enqueue(item)
            self._state.route()

    def _cancel_item(self, item: Run | Job) -> None:
        if isinstance(item, Run):
            self.cancel(item)
        else:
            self.cancel_job(item)
