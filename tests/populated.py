"""An embedded GitHub that holds something of everything: runs and jobs in each state, runners, groups."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from scaler.sandbox.clock import Clock
from scaler.sandbox.github.server import GitHubServer
from scaler.sandbox.github.world import GitHubWorld, JobSpec
from scaler.sandbox.journal import Journal

TOKEN = "made-up-token"
APP_TOKEN = "made-up-token-of-an-app"
LABELS = ("self-hosted", "linux", "x64", "acme")


def token_for(template: str) -> str:
    """Whose an operation is: a person's, or an App's."""
    return APP_TOKEN if template.startswith("/installation/") else TOKEN


@dataclass(frozen=True, slots=True)
class Populated:
    """The server, its world, and the things in it by the path parameters that name them."""

    server: GitHubServer
    world: GitHubWorld
    things: list[dict[str, Any]]

    def named_by(self, template: str) -> list[dict[str, Any]]:
        """The things that a path template can name."""
        names = set(re.findall(r"{(\w+)}", template))
        return [{name: thing[name] for name in names} for thing in self.things if names <= set(thing)]


@contextmanager
def populated() -> Iterator[Populated]:
    """Serve `acme/api`, `acme/web` (public) and `octocat/solo`; the clock stands still."""
    clock = Clock(datetime(2026, 11, 23, 9, 0, tzinfo=UTC), speed=0)
    world = GitHubWorld(clock, Journal(clock))
    server = GitHubServer(world)
    server.start()
    try:
        yield Populated(server, world, _fill(server, world))
    finally:
        server.stop()
        clock.stop()


def _fill(server: GitHubServer, world: GitHubWorld) -> list[dict[str, Any]]:
    world.add_organization("acme")
    world.add_repository("acme/api")
    world.add_repository("acme/web", private=False)
    world.add_repository("octocat/solo")
    world.add_group("acme", "fleet", visibility="selected", repositories=["acme/api"])
    world.add_token(TOKEN, limit=10**9)
    world.add_token(APP_TOKEN, "app", repositories=["acme/api", "acme/web"], limit=10**9)
    build = JobSpec("build", LABELS, duration=60)
    workflow = world.add_workflow("acme/api", "Deploy", [build])
    world.add_workflow("acme/api", "Nightly")
    world.repository("acme/api").files[".github/workflows/ci.yml"] = "jobs: {}\n"
    _in_progress(world, "acme/api", build)
    world.push("acme/api", [JobSpec("matrix", LABELS, matrix=("a", "b", "c"), max_parallel=1)])
    world.push("acme/api", [JobSpec("first", LABELS), JobSpec("second", LABELS, needs=("first",))])
    world.push("acme/api", [JobSpec("hosted", ("ubuntu-latest",), duration=5, conclusions=("failure",))])
    world.push("acme/api", [JobSpec("deploy", LABELS, environment="production")])
    world.push("acme/api", [build], concurrency="one")
    world.push("acme/api", [build], concurrency="one")
    world.push("acme/api", [])
    world.push("acme/web", [JobSpec("build", (*LABELS, "gpu"))])
    world.push("octocat/solo", [build])
    cancelled = world.push("acme/api", [build])
    world.clock.advance(30)
    world.cancel(cancelled.id)
    for scope in ("acme/api", "acme"):
        name = f"main-1a2b3c-i-0{len(scope)}"
        group = world.runners.groups(scope)[0]
        with world.clock.lock:
            world.runners.mint_jit(scope, name, LABELS, group, server.url)
    return _things(world, workflow.id)


def _things(world: GitHubWorld, workflow: int) -> list[dict[str, Any]]:
    """What a path can name, each as its path's parameters."""
    found: list[dict[str, Any]] = [{}]
    for repository in world.state.repositories.values():
        place = {"owner": repository.owner, "repo": repository.name}
        found.append(place)
        for run in world.state.runs.values():
            if run.repository is repository:
                found += [place | {"run_id": run.id, "attempt_number": 1}]
                found += [place | {"job_id": job.id} for job in run.jobs]
    found += [
        {"owner": "acme", "repo": "api", "workflow_id": each}
        for each in (workflow, "deploy.yml", "nightly.yml", "ci.yml")
    ]
    files = (".github/workflows", ".github/workflows/ci.yml")
    found += [{"owner": "acme", "repo": "api", "path": path} for path in files]
    for runner in world.state.runners.values():
        owner, _, name = runner.scope.partition("/")
        found.append(({"owner": owner, "repo": name} if name else {"org": owner}) | {"runner_id": runner.id})
    found += [{"org": "acme"}, *({"org": "acme", "runner_group_id": number} for number in (1, 2))]
    return found


def _in_progress(world: GitHubWorld, repository: str, spec: JobSpec) -> None:
    """Push a run and have a registered runner take its job."""
    with world.clock.lock:
        token, _ = world.runners.mint_token(repository)
        runner = world.runners.register(
            repository,
            token,
            "main-1a2b3c-i-0busy",
            LABELS,
            group=None,
            ephemeral=True,
            replace=False,
            version="2.337.0",
        )
        world.dispatcher.open_session(runner, "2.337.0")
        world.push(repository, [spec])
        world.clock.advance(5)
        assert runner.message is not None
        world.dispatcher.acquire(runner, runner.message.job.id)
