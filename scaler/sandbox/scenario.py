"""
Scenarios: a world without a fleet, and what happens in it, as a YAML file.

```yaml
name: two pushes
organizations: [acme]
repositories: [acme/api, {name: acme/web, private: false}]
groups: [{organization: acme, name: builders, visibility: selected, repositories: [acme/api]}]
github: {busy_lag: 30s}                # any of github_settings.Settings
events:
  - at: 0s
    push:
      id: first                        # what later events call this run
      repository: acme/api
      jobs:
        - {name: build, labels: [self-hosted, linux], duration: 2m, conclusion: [failure, success]}
        - {name: test, labels: [self-hosted, linux], count: 12, max_parallel: 4, needs: [build]}
  - {at: 90s, fault: {kind: status, path: /actions/runners, value: 502, times: 3}}
  - {at: 4m, cancel: {run: first, job: test (3)}}
  - {after: first, delay: 10s, rerun: {run: first, failed: true}}   # once that run has ended
aws: {boot: {delay: 40s}}              # handed on as it stands
```
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from scaler.sandbox.github.state import Refused, Run
from scaler.sandbox.github.world import GitHubWorld
from scaler.sandbox.scenario_parts import fault, jobs, settings
from scaler.sandbox.yaml_reader import Place, ScenarioError, read

__all__ = ["Event", "Scenario", "ScenarioError", "load"]

RunIds = dict[str, int]
Action = Callable[[GitHubWorld, RunIds], None]

Visibility = Literal["all", "selected", "private"]


@dataclass(frozen=True, slots=True)
class Event:
    """
    One thing to happen: `at` so many seconds after the start, or so long after a run `after` has ended.

    `do` gets the world and the runs' ids by the names that the file gave them.
    """

    kind: str
    at: float
    after: str | None = None
    do: Action = field(default=lambda _world, _runs: None, repr=False)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A file that was read: `setup` populates a world, `events` follow; `aws` is the other world's configuration."""

    name: str
    setup: tuple[Callable[[GitHubWorld], None], ...]
    events: tuple[Event, ...]
    aws: Mapping[str, Any]

    @property
    def last_event_at(self) -> float:
        """Seconds from the start to the last event that has a time."""
        return max((event.at for event in self.events if event.after is None), default=0.0)

    def schedule(self, world: GitHubWorld) -> RunIds:
        """Populate a world now and plan the events from now on; returns the runs' ids by name, as they come to be."""
        runs: RunIds = {}
        with world.clock.lock:
            for populate in self.setup:
                populate(world)
            for event in self.events:
                if event.after is None:
                    world.clock.after(event.at, partial(_do, event, world, runs))
            waiting = [event for event in self.events if event.after is not None]

            def ended(run: Run) -> None:
                for event in [e for e in waiting if runs.get(e.after or "") == run.id]:
                    waiting.remove(event)
                    world.clock.after(event.at, partial(_do, event, world, runs))

            world.state.run_ended.append(ended)
        return runs


def _do(event: Event, world: GitHubWorld, runs: RunIds) -> None:
    try:
        event.do(world, runs)
    except Refused as refusal:  # as GitHub would: a cancel that comes too late, say
        world.state.journal.write("scenario.refused", event=event.kind, message=refusal.message)


def load(path: str | Path) -> Scenario:
    """Read a scenario. Raises `ScenarioError`, in one line."""
    root = read(Path(path))
    parts = root.mapping(
        required=("events",),
        optional=("name", "organizations", "repositories", "groups", "workflows", "github", "aws"),
    )
    return _Reader().scenario(Path(path).stem, parts)


class _Reader:
    """Reads the parts in order, so that what they refer to is known."""

    def __init__(self) -> None:
        self._organizations: set[str] = set()
        self._repositories: set[str] = set()
        self._runs: dict[str, set[str]] = {}

    def scenario(self, stem: str, parts: dict[str, Place]) -> Scenario:
        setup: list[Callable[[GitHubWorld], None]] = []
        for key, one in (
            ("organizations", self._organization),
            ("repositories", self._repository),
            ("groups", self._group),
            ("workflows", self._workflow),
        ):
            if key in parts:
                setup += [one(item) for item in parts[key].items()]
        if "github" in parts:
            chosen = settings(parts["github"])
            setup.insert(0, lambda world: world.set(**chosen))
        return Scenario(
            name=parts["name"].text() if "name" in parts else stem,
            setup=tuple(setup),
            events=tuple(self._event(item) for item in parts["events"].items()),
            aws=_mapping(parts["aws"]) if "aws" in parts else {},
        )

    # --- the world at the start ------------------------------------------------------------------

    def _organization(self, place: Place) -> Callable[[GitHubWorld], None]:
        login = place.text()
        self._organizations.add(login.lower())
        return lambda world: world.add_organization(login)

    def _repository(self, place: Place) -> Callable[[GitHubWorld], None]:
        parts = place.mapping(required=("name",), optional=("private",)) if place.is_mapping else {"name": place}
        name = parts["name"].text()
        if name.count("/") != 1 or name.startswith("/") or name.endswith("/"):
            raise parts["name"].error(f"expected owner/name, got {name!r}")
        private = parts["private"].flag() if "private" in parts else True
        self._repositories.add(name.lower())

        def add(world: GitHubWorld) -> None:
            world.add_repository(name, private=private)

        return add

    def _known_repository(self, place: Place) -> str:
        name = place.text()
        if name.lower() not in self._repositories:
            raise place.error(f"{name!r} is not among the repositories")
        return name

    def _group(self, place: Place) -> Callable[[GitHubWorld], None]:
        parts = place.mapping(
            required=("organization", "name"), optional=("visibility", "repositories", "allows_public")
        )
        organization = parts["organization"].text()
        if organization.lower() not in self._organizations:
            raise parts["organization"].error(f"{organization!r} is not among the organizations")
        name = parts["name"].text()
        visibility: Visibility = parts["visibility"].one_of(get_args(Visibility)) if "visibility" in parts else "all"
        listed = parts["repositories"].items() if "repositories" in parts else []
        served = tuple(self._known_repository(item) for item in listed)
        public = "allows_public" in parts and parts["allows_public"].flag()

        def add(world: GitHubWorld) -> None:
            world.add_group(organization, name, visibility=visibility, repositories=served, allows_public=public)

        return add

    def _workflow(self, place: Place) -> Callable[[GitHubWorld], None]:
        parts = place.mapping(required=("repository", "name"), optional=("path", "jobs"))
        repository, name = self._known_repository(parts["repository"]), parts["name"].text()
        path = parts["path"].text() if "path" in parts else ""
        dispatched = jobs(parts["jobs"]) if "jobs" in parts else None

        def add(world: GitHubWorld) -> None:
            world.add_workflow(repository, name, dispatched, path)

        return add

    # --- events ----------------------------------------------------------------------------------

    def _event(self, place: Place) -> Event:
        actions = {
            "push": self._push,
            "cancel": self._cancel,
            "rerun": self._rerun,
            "approve": self._approve,
            "fault": _fault,
            "clear_faults": _clear_faults,
            "set": _set,
        }
        parts = place.mapping(optional=("at", "after", "delay", *actions))
        kinds = [key for key in parts if key in actions]
        if len(kinds) != 1:
            raise place.error(f"expected exactly one of {', '.join(actions)}, got {', '.join(kinds) or 'none'}")
        if ("at" in parts) == ("after" in parts):
            raise place.error('expected one of "at" and "after"')
        if "delay" in parts and "after" not in parts:
            raise parts["delay"].error('goes with "after" only')
        when = parts.get("at") or parts.get("delay")
        event = Event(kinds[0], when.duration() if when is not None else 0.0)
        if "after" in parts:
            event = replace(event, after=self._known_run(parts["after"]))
        return replace(event, do=actions[kinds[0]](parts[kinds[0]]))

    def _known_run(self, place: Place) -> str:
        name = place.text()
        if name not in self._runs:
            raise place.error(f"no push above has the id {name!r}")
        return name

    def _push(self, place: Place) -> Action:
        parts = place.mapping(
            required=("repository", "jobs"),
            optional=("id", "workflow", "event", "branch", "concurrency", "cancel_in_progress"),
        )
        repository, specs = self._known_repository(parts["repository"]), jobs(parts["jobs"])
        words = {key: parts[key].text() for key in ("workflow", "event", "branch", "concurrency") if key in parts}
        cancel = "cancel_in_progress" in parts and parts["cancel_in_progress"].flag()
        name = parts["id"].text() if "id" in parts else None
        if name is not None:
            if name in self._runs:
                raise parts["id"].error(f"{name!r} is the id of a push above")
            self._runs[name] = {job for spec in specs for job in spec.job_names}

        def push(world: GitHubWorld, runs: RunIds) -> None:
            run = world.push(repository, specs, cancel_in_progress=cancel, **words)
            if name is not None:
                runs[name] = run.id

        return push

    def _cancel(self, place: Place) -> Action:
        parts = place.mapping(required=("run",), optional=("job",))
        run = self._known_run(parts["run"])
        if "job" not in parts:
            return lambda world, runs: world.cancel(_id(runs, run))
        job = parts["job"].text()
        if job not in self._runs[run]:
            raise parts["job"].error(f"{run!r} has no job {job!r} (it has {', '.join(sorted(self._runs[run]))})")

        def cancel(world: GitHubWorld, runs: RunIds) -> None:
            for found in [found for found in world.run(_id(runs, run)).current if found.name == job]:
                world.cancel_job(found.id)

        return cancel

    def _rerun(self, place: Place) -> Action:
        parts = place.mapping(required=("run",), optional=("failed",))
        run, failed = self._known_run(parts["run"]), "failed" in parts and parts["failed"].flag()
        return lambda world, runs: world.rerun(_id(runs, run), failed_only=failed)

    def _approve(self, place: Place) -> Action:
        parts = place.mapping(required=("run", "environment"), optional=("approved",))
        run, environment = self._known_run(parts["run"]), parts["environment"].text()
        approved = parts["approved"].flag() if "approved" in parts else True
        return lambda world, runs: world.approve(_id(runs, run), environment, approved=approved)


def _id(runs: RunIds, name: str) -> int:
    if name not in runs:
        raise Refused(404, f"the run {name!r} has not been requested yet")
    return runs[name]


def _fault(place: Place) -> Action:
    chosen = fault(place)
    return lambda world, _: world.fault(chosen)


def _clear_faults(place: Place) -> Action:
    if not place.flag():
        raise place.error("expected true")
    return lambda world, _: world.faults.clear()


def _set(place: Place) -> Action:
    chosen = settings(place)
    return lambda world, _: world.set(**chosen)


def _mapping(place: Place) -> dict[str, Any]:
    data = place.data()
    if not isinstance(data, dict):
        raise place.error("expected a mapping")
    return data
