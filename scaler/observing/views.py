"""The parts of a reading, each asked on its own, and what of them cannot be believed: contradictions, clocks apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TypeVar

from scaler.deciding.memory import StateError, decode, joined
from scaler.model import (
    ApiError,
    Cloud,
    Denied,
    GitHub,
    Instance,
    Job,
    Memory,
    Parameter,
    Queue,
    Runner,
    Scope,
    Unseen,
    View,
)
from scaler.observing.patterns import Patterns
from scaler.settings.config import Config, RegisterAt, Registration
from scaler.workers import workers

CONNECTIONS = 64
"""Requests to GitHub at once, of the 100 that it allows (docs: rate limits for the REST API)."""
SKEW = timedelta(minutes=2)

T = TypeVar("T")
NO_INSTANCES: tuple[Instance, ...] = ()
NO_RUNNERS: tuple[Runner, ...] = ()
NO_PARAMETERS: tuple[Parameter, ...] = ()


class Views:
    """Reads GitHub and AWS for one fleet, and notes what could not be seen."""

    def __init__(
        self, config: Config, github: GitHub, cloud: Cloud, runner_prefix: str, connections: int = CONNECTIONS
    ) -> None:
        """`runner_prefix` begins the names of the fleet's runners; over one connection, all is asked in order."""
        self._github = github
        self._cloud = cloud
        self._prefix = runner_prefix
        self._unseen: list[Unseen] = []
        self._threads = workers(connections)  # kept over ticks
        self._patterns = Patterns(config, github.repositories)
        self._name(config)

    def _name(self, config: Config) -> None:
        """From now on these are the repositories."""
        self._config = config
        self._spelling = {s.lower(): s for r in config.repositories for s in (config.scope_of(r), r)}

    def _list(self, *, anew: bool) -> set[str]:
        """
        What the config's patterns stand for, asked for `anew`, or where it was not told last time.

        Returns the repositories that they stand for no more.
        """
        before = self._config.repositories
        config, missing = self._patterns.resolve(anew=anew)
        for pattern, error in missing.items():
            self._not_seen(View.REPOSITORIES, pattern, error)
        self._name(config)
        return set(before).difference(config.repositories)

    def _ask(self, view: View, scope: Scope, question: Callable[[], T], otherwise: T) -> T:
        try:
            return question()
        except ApiError as error:
            self._not_seen(view, scope, error)
        return otherwise

    def _not_seen(self, view: View, scope: Scope, error: ApiError) -> None:
        denied = isinstance(error, Denied)
        self._unseen.append(Unseen(view, scope, str(error), denied, error.remedy if isinstance(error, Denied) else ""))

    def _is_unseen(self, view: View) -> bool:
        return any(unseen.view is view for unseen in self._unseen)

    def _instances(self) -> tuple[Instance, ...]:
        found = self._ask(View.INSTANCES, "", self._cloud.instances, NO_INSTANCES)
        return tuple(self._spelled(instance) for instance in found)

    def _spelled(self, instance: Instance) -> Instance:
        """GitHub's names know no case: a scope is spelled as config.yaml spells it now."""
        return replace(instance, scope=instance.scope and self._spelling.get(instance.scope.lower(), instance.scope))

    def _parameters(self) -> tuple[Parameter, ...]:
        found = self._ask(View.PARAMETERS, "", self._cloud.parameters, NO_PARAMETERS)
        return tuple(replace(each, scope=self._spelling.get(each.scope.lower(), each.scope)) for each in found)

    def _memory(self, known: Memory | None) -> Memory:
        parts = dict.fromkeys(("", self._config.shard.part))
        texts = [self._ask(View.STATE, "", partial(self._cloud.load_state, part), None) for part in parts]
        if self._is_unseen(View.STATE):
            return known or Memory()
        try:
            chains, *counts = map(decode, texts)
        except StateError:
            # A broken hint is a lost hint, and is written anew; nothing rests on it (D3).
            return known or Memory()
        return joined(chains, counts[0]) if counts else chains

    def _runners(self, scopes: Sequence[Scope], instances: Iterable[Instance]) -> dict[Scope, tuple[Runner, ...]]:
        def ask(scope: Scope) -> tuple[Runner, ...]:
            return self._ask(View.RUNNERS, scope, partial(self._github.runners, scope), NO_RUNNERS)

        runners = dict(zip(scopes, self._threads.map(ask, scopes), strict=True))
        for scope in scopes:
            registered = [i for i in instances if i.scope == scope and self._has_record(i)]
            if registered and not runners[scope]:
                why = f"GitHub lists no runner at all, but {registered[0].id} has registered one: not believed"
                self._unseen.append(Unseen(View.RUNNERS, scope, why))
            if "/" not in scope and scope not in self._config.scopes:
                why = "registered at an organization that config.yaml does not name any more: its jobs are not seen"
                self._unseen.append(Unseen(View.RUNNERS, scope, why))
        return runners

    def _has_record(self, instance: Instance) -> bool:
        """
        Whether GitHub must have a record of its runner: it was seen idle and not drained, or was made by JIT.

        A JIT runner's goes when its job is done, and the machine with it; one that was marked by an earlier tick for
        having none lives too long for that. Then an empty list, and an empty queue with it, may be an outage's.
        """
        if instance.draining_since is None or instance.idle_since is not None:
            return instance.idle_since is not None and instance.draining_since is None
        pool = self._config.pool(instance.pool)
        return pool is not None and pool.registration is Registration.JIT

    def _served(self) -> frozenset[str] | None:
        """
        The repositories that the runner group serves; none, if the token sees no such group.

        Organization-wide runners may run jobs we do not see, unless their group serves our repositories alone.
        """
        organization = self._config.organization
        if self._config.register_at is not RegisterAt.ORGANIZATION or organization is None:
            return None
        group = self._config.runner_group or "Default"
        nobody: frozenset[str] | None = frozenset()
        served = self._ask(
            View.GROUP, organization, partial(self._github.group_repositories, organization, group), nobody
        )
        if not served and self._is_unseen(View.GROUP):
            return served if any(unseen.denied for unseen in self._unseen if unseen.view is View.GROUP) else None
        strangers = None if served is None else served - {r.lower() for r in self._config.repositories}
        if strangers is None or strangers:
            whom = "every repository" if strangers is None else ", ".join(sorted(strangers)[:3])
            why = f'runner group "{group}" also serves {whom}: jobs there are not seen, so nothing is scaled down'
            self._unseen.append(Unseen(View.GROUP, organization, why))
        return served

    def _told(self, queues: Mapping[str, Queue | ApiError]) -> tuple[tuple[Job, ...], frozenset[str]]:
        """All jobs, and the repositories that are public."""
        jobs: list[Job] = []
        public = set()
        for repository, queue in queues.items():
            if isinstance(queue, ApiError):
                self._not_seen(View.QUEUE, repository, queue)
                continue
            jobs += queue.jobs
            if queue.public:
                public.add(repository)
            if not queue.complete:
                why = "GitHub's run list ends at 1,000 results: there are at least these jobs"
                self._unseen.append(Unseen(View.QUEUE, repository, why))
        return tuple(jobs), frozenset(public)

    def _check_emptiness(
        self, instances: Sequence[Instance], runners: dict[Scope, tuple[Runner, ...]], jobs: Iterable[Job]
    ) -> None:
        """A runner of ours that is online contradicts a list without instances, a job that it runs one without runners."""
        online = [r.name for each in runners.values() for r in each if r.online and r.name.startswith(self._prefix)]
        if online and not instances and not self._is_unseen(View.INSTANCES):
            why = f"EC2 lists no instance at all, but {online[0]} is online: not believed"
            self._unseen.append(Unseen(View.INSTANCES, "", why))
        for job in jobs:
            scope = self._config.scope_of(job.repository)
            named = job.runner_name or ""
            if named.startswith(self._prefix) and scope in runners and not runners[scope]:
                why = f'GitHub lists no runner at all, but "{job.name}" runs on {named}: not believed'
                self._unseen.append(Unseen(View.RUNNERS, scope, why))

    def _check_clocks(self) -> None:
        aws, github = self._cloud.now(), self._github.now()
        if aws is not None and abs(aws - github) > SKEW:
            why = f"GitHub's clock and AWS's are {abs(aws - github)} apart: no age can be trusted"
            self._unseen.append(Unseen(View.CLOCK, "", why))
