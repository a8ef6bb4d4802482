"""
One reading of the world, in the order that makes it safe, as a snapshot that says what it could not see.

Instances first, then runners, then jobs. A machine that registers while we read is seen as an instance and
as a runner, never as an orphan; a runner that takes a job while we read is named by the job, which is read
last and outweighs the runner's idle record.

Runners are listed where somebody has to be told by them: in scopes with an instance of ours that no running job names.
A deep look lists them everywhere, for the sake of ghosts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from scaler.deciding.standing import instances_of
from scaler.durations import passed
from scaler.model import (
    ApiError,
    Cloud,
    Deferred,
    Down,
    GitHub,
    Instance,
    Memory,
    NotAsked,
    Queue,
    Repository,
    Runner,
    Scope,
    Snapshot,
    Unseen,
    Up,
    View,
)
from scaler.observing.details import Details
from scaler.observing.hints import Hints
from scaler.observing.queues import Queues
from scaler.observing.rota import Rota
from scaler.observing.views import CONNECTIONS, NO_RUNNERS, Views
from scaler.settings.config import Config, RegisterAt

PATIENCE = 65.0
"""Seconds that a look may wait for another minute's points, if no look follows soon, or all must be seen in one."""
OVERDUE = timedelta(minutes=10)
"""A repository that had no turn for so long is one that cannot be seen."""


class _Look(NamedTuple):
    """What GitHub told: the repositories of each scope, the scopes looked at deeply, runners, whom they serve, queues."""

    places: Mapping[Scope, Sequence[str]]
    deep: frozenset[Scope]
    runners: dict[Scope, tuple[Runner, ...]]
    served: frozenset[str] | None
    queues: dict[str, Queue | ApiError]


class Observer(Views):
    """Reads GitHub and AWS for one fleet."""

    def __init__(
        self, config: Config, github: GitHub, cloud: Cloud, runner_prefix: str, connections: int = CONNECTIONS
    ) -> None:
        """As `Views`; nothing was looked at yet."""
        super().__init__(config, github, cloud, runner_prefix, connections)
        self._queues = Queues(github, self._threads)
        self._rota = Rota()
        self._hints = Hints(github, self._threads)
        # Since when each repository has had neither a look nor a hint that it is quiet.
        self._due_from: dict[str, datetime] = {}
        self._details = Details(config, github, cloud, runner_prefix)
        self._inhabited: tuple[Scope, ...] = ()

    def observe(
        self, *, deep: bool, known: Memory | None = None, every: timedelta | None = None
    ) -> tuple[Snapshot, Memory]:
        """
        The whole world of the fleet, and the memory (`known`, if the state parameter cannot be read).

        `deep` also looks into runs that wait, for their siblings (D1), and for ghosts. With another look to follow after
        `every`, those that do not fit into GitHub's limits now have their turn then.
        """
        self._unseen = []
        alone = every is None
        patience = PATIENCE if alone or (deep and self._config.register_at is RegisterAt.ORGANIZATION) else 0.0
        pace = every.total_seconds() if every else None
        room = self._github.room(pace, patience=patience)
        self._queues.forget(self._list(anew=deep))
        instances = self._instances()
        parameters = self._parameters()
        memory = self._memory(known)
        told = {each.instance_id: each.scope for each in parameters}
        # Another shard's instances count, and are its own to look after.
        own = instances_of(self._config.shard, instances, told)
        look = self._look(own, told, deep=deep, room=room, pace=pace)
        queues, deferred = self._deferred(look.queues, look.places, alone=alone)
        jobs, public = self._told(queues)
        self._check_emptiness(instances, look.runners, jobs)
        self._check_clocks()
        snapshot = Snapshot(
            now=self._github.now(),
            runner_prefix=self._prefix,
            jobs=jobs,
            runners=tuple(runner for each in look.runners.values() for runner in each),
            instances=instances,
            parameters=parameters,
            unseen=tuple(self._unseen),
            public=public,
            served=look.served,
            deep=deep or bool(look.deep),
            shallow=frozenset(look.places) - look.deep,
            deferred=deferred,
            gone=() if self._is_unseen(View.INSTANCES) else self._details.gone(instances, jobs),
            ended=self._details.ended(memory, jobs),
            images=self._details.images(instances, next(iter(self._config.scopes), None)),
            repositories=self._config.repositories,
            patterns=self._patterns.told,
        )
        return snapshot, memory

    def _look(
        self,
        instances: Sequence[Instance],
        told: Mapping[str, Scope],
        *,
        deep: bool,
        room: int | None,
        pace: float | None,
    ) -> _Look:
        """Runners, then queues; and both again where the queues say of a runner that there is more to know."""
        scopes = self._scopes(instances, told)
        lives_in = partial(self._untold, scopes, instances, told)
        inhabited = lives_in(frozenset())
        places = self._places(scopes)
        turns = self._turns(places, inhabited, deep=deep, room=room, pace=pace)
        whole = {scope for scope in scopes if all(repository in turns for repository in places[scope])}
        deeply = {scope for scope in whole if all(turns[name] for name in places[scope]) and (deep or places[scope])}
        wanted = whole & (deeply | set(lives_in(self._queues.working())))
        runners = self._runners([scope for scope in scopes if scope in wanted], instances)
        served = self._served()
        queues = self._queues.look(turns)
        late = whole & set(lives_in(self._queues.working())) - set(runners)
        # A job was over: what its runner does now is for its record to tell, and again a job has the last word.
        more = [name for scope in scopes if scope in late for name in places[scope]]
        # A deep look has asked every run just now; another has taken some for what they were.
        untold = [name for name in self._untold_work(runners, places) if not turns[name]]
        self._queues.forget(untold)
        more += untold
        if more:
            runners |= self._runners([scope for scope in scopes if scope in late], instances)
            queues |= self._queues.look({name: turns[name] for name in dict.fromkeys(more)})
        self._inhabited = tuple(inhabited) if instances else ()
        return _Look(places, frozenset(deeply), runners, served, queues)

    def _untold_work(self, runners: Mapping[Scope, Sequence[Runner]], places: Mapping[Scope, list[str]]) -> list[str]:
        """
        The repositories of which a queued job may have begun unseen, in a run whose row did not tell: to be asked anew.

        There a runner of ours is busy, and no job names it. A job that has begun is no demand any more.
        """
        working = self._queues.working()
        scopes = {
            scope
            for scope, found in runners.items()
            if any(r.busy and r.name.startswith(self._prefix) and r.name not in working for r in found)
        }
        waits = self._queues.waits()
        return [name for scope in scopes for name in places[scope] if name in waits]

    def observe_for_up(self, asked: Sequence[Up]) -> tuple[Snapshot, Memory]:
        """What a launch by hand needs: the instances, the memory, and whether GitHub shows the runners."""
        self._unseen = []
        instances = self._instances()
        memory = self._memory(None)
        for scope in dict.fromkeys(ask.scope for ask in asked):
            self._ask(View.RUNNERS, scope, partial(self._github.runners, scope), NO_RUNNERS)
        public = frozenset(scope for scope in dict.fromkeys(ask.scope for ask in asked) if self._is_public(scope))
        self._check_clocks()
        snapshot = Snapshot(
            now=self._github.now(),
            runner_prefix=self._prefix,
            instances=instances,
            unseen=tuple(self._unseen),
            public=public,
            asked=tuple(asked),
        )
        return snapshot, memory

    def _is_public(self, scope: Scope) -> bool:
        """Whether it is a public repository. One that is archived can have no runners."""
        nobody: Repository | None = None
        found = self._ask(View.QUEUE, scope, partial(self._github.repository, scope), nobody) if "/" in scope else None
        if found is not None and found.closed:
            self._unseen.append(Unseen(View.RUNNERS, scope, "is archived or disabled: no runner can be registered"))
        return found is not None and found.public

    def observe_for_down(self, asked: Sequence[Down]) -> tuple[Snapshot, Memory]:
        """What an end by hand needs: those instances, whoever owns them, and what their runners do."""
        self._unseen = []
        self._list(anew=True)
        ours, strangers = [], set()
        for ask in asked:
            found = self._ask(View.INSTANCES, "", partial(self._cloud.instance, ask.instance_id), None)
            if found is None or not found[0].state.alive:
                continue  # gone; the dead lose their tags, so whose it was cannot be told any more
            if found[1] == self._config.fleet:
                ours.append(self._spelled(found[0]))
            else:
                strangers.add(ask.instance_id)
        memory = self._memory(None)
        scopes = list(dict.fromkeys(i.scope for i in ours if i.scope))
        runners = self._runners(scopes, ours)
        ours = [self._confirmed(instance, runners) for instance in ours]
        if not all(instance.scope for instance in ours):
            scopes = self._scopes(ours, {})
            runners |= self._runners([scope for scope in scopes if scope not in runners], ours)
            scopes = list(runners)
        names = [name for each in self._places(scopes).values() for name in each]
        jobs, public = self._told(self._queues.look(dict.fromkeys(names, True)))
        snapshot = Snapshot(
            now=self._github.now(),
            runner_prefix=self._prefix,
            jobs=jobs,
            runners=tuple(runner for each in runners.values() for runner in each),
            instances=tuple(ours),
            unseen=tuple(self._unseen),
            public=public,
            asked=tuple(asked),
            strangers=frozenset(strangers),
            repositories=self._config.repositories,
        )
        return snapshot, memory

    def _confirmed(self, instance: Instance, runners: Mapping[Scope, Sequence[Runner]]) -> Instance:
        """
        The instance with its scope tag only if its runner is online there.

        Two ticks that hand one instance over at once may leave the loser's tag on it: its runner may be anywhere.
        """
        online = {runner.name for runner in runners.get(instance.scope or "", ()) if runner.online}
        return instance if self._prefix + instance.id in online else replace(instance, scope=None)

    def _scopes(self, instances: Iterable[Instance], told: Mapping[str, Scope]) -> list[Scope]:
        """Where runners of ours may be: the config's scopes, and those of an instance, by its tag or its parameter."""
        inhabited = (instance.scope or told.get(instance.id) for instance in instances)
        return list(dict.fromkeys([*self._config.scopes, *filter(None, inhabited)]))

    def _places(self, scopes: Iterable[Scope]) -> dict[Scope, list[str]]:
        """The repositories whose queues tell of each scope: the config's, and those that an instance still bears."""
        places: dict[Scope, list[str]] = {scope: [] for scope in scopes}
        for repository in self._config.repositories:
            if (scope := self._config.scope_of(repository)) in places:
                places[scope].append(repository)
        for scope, repositories in places.items():
            if "/" in scope and not repositories:
                repositories.append(scope)
        return places

    def _turns(
        self,
        places: Mapping[Scope, Sequence[str]],
        inhabited: Iterable[Scope],
        *,
        deep: bool,
        room: int | None,
        pace: float | None,
    ) -> dict[str, bool]:
        """Which repositories are looked at now, and how deep."""
        repositories = list(dict.fromkeys(name for each in places.values() for name in each))
        active = self._queues.active()
        if self._config.register_at is RegisterAt.REPOSITORY:
            active |= {name for scope in inhabited for name in places[scope]}
        hints = self._hints.ask(repositories, active, deep=deep, room=room, every=pace)
        turns = self._rota.turns(repositories, active, self._queues.waits(), deep=deep, room=room, hints=hints)
        self._hints.looked(turns)
        return turns

    def _deferred(
        self, queues: dict[str, Queue | ApiError], places: Mapping[Scope, Sequence[str]], *, alone: bool
    ) -> tuple[dict[str, Queue | ApiError], frozenset[str]]:
        """
        What is known of all queues, and the repositories of which that is older than this look.

        Where no other look follows soon, or none came for long, they are not seen at all.
        """
        now, deferred = self._github.now(), set()
        for name in dict.fromkeys(name for each in places.values() for name in each):
            queue = queues.get(name)
            if queue is not None and not isinstance(queue, Deferred):
                self._due_from[name] = now
                continue
            if name in self._hints.last.quiet:
                self._due_from[name] = now
            since = self._due_from.setdefault(name, now)
            if alone or now - since > OVERDUE:
                ago = "" if alone else f" for {passed(now - since)}"
                queues[name] = NotAsked(
                    f"GitHub: not looked at{ago}: its limits leave no room for so many repositories"
                )
            else:
                queues[name] = self._queues.known(name)
                deferred.add(name)
        return queues, frozenset(deferred)

    def _untold(
        self, scopes: Sequence[Scope], instances: Iterable[Instance], told: Mapping[str, Scope], working: frozenset[str]
    ) -> list[Scope]:
        """
        The scopes with an instance of ours that none of these working runners is.

        One of which nobody knows where it registered may have done so anywhere. With no instance at all it is those
        that had one when we last looked, or whose jobs run on ours: a list that is empty has to be contradicted (D8).
        """
        if not instances:
            known = (runner for runner in working if runner.startswith(self._prefix))
            return [scope for scope in scopes if scope in self._inhabited] or (list(scopes) if any(known) else [])
        wanted = {
            instance.scope or told.get(instance.id)
            for instance in instances
            if self._prefix + instance.id not in working
        }
        return [scope for scope in scopes if None in wanted or "" in wanted or scope in wanted]
