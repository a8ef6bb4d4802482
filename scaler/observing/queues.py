"""
Each repository's unfinished jobs: from two lists of runs (five when the look is deep), and a list of jobs for each run
in them that is not as it was.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple, TypeVar

from scaler.model import ApiError, GitHub, Job, JobStatus, Queue, Run

ACTIVE = ("queued", "in_progress")
HELD = ("waiting", "pending", "requested")
JOBS_LIFE = timedelta(minutes=1)
"""A run whose row has not changed is asked for its jobs once in so long all the same: that its row changes whenever a
job of its does is nowhere documented."""
ROW_SETTLED = timedelta(seconds=10)
"""A row tells its last change to the second, and may be shown before what changed: a younger one says nothing."""

T = TypeVar("T")


class Known(NamedTuple):
    """A run's jobs, how its row was, and when they were asked for."""

    run: Run
    at: datetime
    jobs: tuple[Job, ...]


class Queues:
    """Reads queues, many at once. Keeps the jobs of the runs that are not over, for looks that are not deep."""

    def __init__(self, github: GitHub, threads: Executor) -> None:
        """Nothing is known yet."""
        self._github = github
        self._threads = threads
        self._known: dict[str, Mapping[int, Known]] = {}

    def look(self, turns: Mapping[str, bool]) -> dict[str, Queue | ApiError]:
        """
        The queue of each of these repositories, deeply for those with True, or why it could not be seen.

        All run lists are asked for before any list of jobs: what runs is read last.
        """
        found: dict[str, Queue | ApiError] = {}
        runs: dict[str, list[Run]] = {}
        complete: dict[str, bool] = {}
        pairs = [(repository, status) for repository, deep in turns.items() for status in _statuses(deep=deep)]
        questions = [partial(self._github.runs, repository, status) for repository, status in pairs]
        answers = zip((repository for repository, _ in pairs), self._all(questions), strict=True)
        for repository, lists in _grouped(answers).items():
            if (error := next((each for each in lists if isinstance(each, ApiError)), None)) is not None:
                found[repository] = error
                continue
            whole = [each for each in lists if not isinstance(each, ApiError)]
            complete[repository] = all(each.complete for each in whole)
            runs[repository] = list({run.id: run for each in whole for run in each.rows}.values())
        known = self._jobs([run for each in runs.values() for run in each], turns)
        for repository, mine in runs.items():
            found[repository] = self._queue(repository, mine, known, complete=complete[repository])
        return {repository: found[repository] for repository in turns}

    def known(self, repository: str) -> Queue:
        """The queue as it was seen last; an empty one, if it never was."""
        runs = self._known.get(repository, {}).values()
        public = next((each.run.public for each in runs if each.run.public is not None), None)
        return Queue(tuple(job for each in runs for job in each.jobs), public)

    def active(self) -> frozenset[str]:
        """The repositories that had a run that was not over."""
        return frozenset(repository for repository, runs in self._known.items() if runs)

    def waits(self) -> dict[str, datetime]:
        """By repository, since when its oldest queued job waits."""
        return {
            repository: min(born)
            for repository, runs in self._known.items()
            if (
                born := [
                    job.created_at
                    for known in runs.values()
                    for job in known.jobs
                    if job.status is JobStatus.QUEUED and job.created_at
                ]
            )
        }

    def forget(self, repositories: Iterable[str]) -> None:
        """Forget what is known of these, so that the next look asks."""
        for repository in repositories:
            self._known.pop(repository, None)

    def working(self) -> frozenset[str]:
        """The names of the runners that ran a job when they were last looked for."""
        return frozenset(
            job.runner_name
            for runs in self._known.values()
            for known in runs.values()
            for job in known.jobs
            if job.is_running and job.runner_name
        )

    def _queue(
        self, repository: str, runs: Sequence[Run], found: Mapping[int, Known | ApiError], *, complete: bool
    ) -> Queue | ApiError:
        mine = {run.id: found[run.id] for run in runs}
        if (error := next((each for each in mine.values() if isinstance(each, ApiError)), None)) is not None:
            return error
        known = {number: each for number, each in mine.items() if not isinstance(each, ApiError)}
        self._known[repository] = known
        public = next((run.public for run in reversed(runs) if run.public is not None), None)
        jobs = {job.id: job for each in known.values() for job in each.jobs}
        return Queue(tuple(jobs.values()), public, complete)

    def _jobs(self, runs: Sequence[Run], turns: Mapping[str, bool]) -> dict[int, Known | ApiError]:
        """Every run's jobs: as they were, where its row is as it was and the look is not deep; else asked for."""
        if not runs:
            return {}
        now = self._github.now()
        found: dict[int, Known | ApiError] = {}
        for run in runs:
            kept = self._known.get(run.repository, {}).get(run.id)
            if kept is not None and not turns[run.repository] and _holds(kept, run, now):
                found[run.id] = kept
        asked = [run for run in runs if run.id not in found]
        answers = self._all([partial(self._github.jobs, run) for run in asked])
        for run, jobs in zip(asked, answers, strict=True):
            found[run.id] = jobs if isinstance(jobs, ApiError) else Known(run, now, jobs)
        return found

    def _all(self, questions: Sequence[Callable[[], T]]) -> Iterable[T | ApiError]:
        return self._threads.map(_answer, questions)


def _statuses(*, deep: bool) -> tuple[str, ...]:
    return ACTIVE + (HELD if deep else ())


def _holds(kept: Known, run: Run, now: datetime) -> bool:
    settled = run.updated_at is not None and kept.at - run.updated_at >= ROW_SETTLED
    return settled and kept.run == run and now - kept.at < JOBS_LIFE


def _answer(question: Callable[[], T]) -> T | ApiError:
    try:
        return question()
    except ApiError as error:
        return error


def _grouped(pairs: Iterable[tuple[str, T]]) -> dict[str, list[T]]:
    found: dict[str, list[T]] = defaultdict(list)
    for name, value in pairs:
        found[name].append(value)
    return found
