"""
Do the pools serve what workflows ask for? `runs-on` and `timeout-minutes` of the repositories' workflow files.

Read before a job queues, so that a label which nobody has is found by whoever wrote it. What a file computes when it
runs (an expression that is no plain matrix value) cannot be told here, and is passed over.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any, Final, Protocol

import yaml

from scaler.checking.checks import Check, ok, unseen, unwise, wrong
from scaler.checking.patterns_checked import look_at_patterns
from scaler.deciding.demand import fitting_pools, why_no_pool
from scaler.durations import show
from scaler.model import ApiError, Reason, Repository, Runner, Scope
from scaler.settings.config import Config, Pool

DEFAULT_TIMEOUT: Final = timedelta(minutes=360)
"""Of a job that names none (docs.github.com: workflow syntax, jobs.<job_id>.timeout-minutes)."""
_MATRIX = re.compile(r"\$\{\{\s*matrix\.([\w-]+)\s*\}\}")


class Workflows(Protocol):
    """What the lint asks of GitHub. Every call raises `Unavailable` or `Denied`."""

    def workflow_files(self, repository: str) -> Mapping[str, str]:
        """The workflows of the default branch, by path."""

    def repositories(self, owner: str) -> tuple[Repository, ...]:
        """All repositories of an owner that the token sees."""

    def runners(self, scope: Scope) -> tuple[Runner, ...]:
        """All runners registered in a scope."""


def lint(config: Config, github: Workflows, threads: ThreadPoolExecutor) -> Iterator[Check]:
    """Every job of every repository that asks for runners of one's own; many are asked at once."""
    config = yield from look_at_patterns(config, github.repositories)
    for checks in threads.map(partial(_repository, config, github), config.repositories):
        yield from checks


def _repository(config: Config, github: Workflows, repository: str) -> list[Check]:
    try:
        files = github.workflow_files(repository)
    except ApiError as error:
        mend = "the token needs Contents: read for this"
        return [unseen(f"workflows of {repository}", error, mend)]
    found = [check for path, text in files.items() for check in _file(config, repository, path, text)]
    if not found:
        return [ok(f"workflows of {repository}", f"{len(files)} files: every job that can be told has its pool")]
    return [_served_by_others(config, github, repository, check) for check in found]


def _served_by_others(config: Config, github: Workflows, repository: str, check: Check) -> Check:
    """A label that no pool has may be another runner's."""
    labels = frozenset(_asked_for(check))
    if not labels:
        return check
    try:
        runners = github.runners(config.scope_of(repository))
    except ApiError:
        return check
    if any(labels <= runner.labels for runner in runners):
        return ok(check.what, f"[{', '.join(sorted(labels))}] is served by a runner that is not this fleet's")
    return check


def _asked_for(check: Check) -> list[str]:
    found = re.match(r"no pool carries all of \[(.*?)\]", check.told)
    return found[1].split(", ") if found else []


def _file(config: Config, repository: str, path: str, text: str) -> Iterator[Check]:
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        yield unwise(f"{repository} {path}", f"not valid YAML ({str(error).splitlines()[0]})", "GitHub runs it neither")
        return
    jobs = document.get("jobs") if isinstance(document, dict) else None
    for name, job in jobs.items() if isinstance(jobs, dict) else ():
        if isinstance(job, dict) and "uses" not in job:
            for labels in runs_on(job):
                yield from _job(config, f"{repository} {path} job {name}", labels, job)


def _job(config: Config, what: str, labels: frozenset[str], job: Mapping[str, Any]) -> Iterator[Check]:
    pools = fitting_pools(config, labels)
    if not pools:
        reason, sentence = why_no_pool(config, labels)
        if reason is not Reason.HOSTED:
            yield wrong(what, sentence, "correct runs-on, or add a pool")
        return
    yield from _timeout(what, pools[0], job.get("timeout-minutes"))


def _timeout(what: str, pool: Pool, minutes: object) -> Iterator[Check]:
    """A job that may run for longer than its machine lives is ended with it."""
    if minutes is not None and (isinstance(minutes, bool) or not isinstance(minutes, int | float)):
        return  # computed when it runs
    timeout = DEFAULT_TIMEOUT if minutes is None else timedelta(minutes=float(minutes))
    if timeout > pool.max_lifetime:
        said = "no timeout-minutes, so 360" if minutes is None else f"timeout-minutes: {minutes}"
        told = f"{said}, and pool {pool.name} ends its machines after {show(pool.max_lifetime)} (max_lifetime)"
        yield unwise(what, told, "lower the one or raise the other")


def runs_on(job: Mapping[str, Any]) -> Iterator[frozenset[str]]:
    """The sets of labels, lower-case, that a job's runs-on comes to; none where it is computed, or names a group alone."""
    given = job.get("runs-on")
    if isinstance(given, dict):
        given = given.get("labels")
    labels = given if isinstance(given, list) else [given]
    choices = [_values(label, job) for label in labels]
    if all(choices):
        for chosen in itertools.islice(itertools.product(*choices), 256):
            yield frozenset(label.lower() for each in chosen for label in each)


def _values(label: object, job: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """What one entry of runs-on may be: a matrix value may be a list of labels itself. Empty: it cannot be told."""
    if not isinstance(label, str):
        return []
    if "${{" not in label:
        return [(label,)]
    found = _MATRIX.fullmatch(label.strip())
    strategy = job.get("strategy")
    matrix = strategy.get("matrix") if isinstance(strategy, dict) else None
    values = matrix.get(found[1]) if found and isinstance(matrix, dict) else None
    rows = [value if isinstance(value, list) else [value] for value in values] if isinstance(values, list) else []
    plain = all(isinstance(each, str) and "${{" not in each for row in rows for each in row)
    return [tuple(row) for row in rows] if plain else []
