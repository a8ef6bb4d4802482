"""An embedded GitHub to test: its world, its server, a plain REST client and a runner's stand-in over raw HTTP."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPConnection
from typing import Any

from scaler.sandbox.clock import Clock
from scaler.sandbox.github.server import GitHubServer
from scaler.sandbox.github.world import GitHubWorld, JobSpec
from scaler.sandbox.journal import Journal

MORNING = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
API = "/repos/acme/api"
PAT = "pat"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: `body` is its JSON, or None."""

    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw) if self.raw else None


@dataclass(slots=True)
class Site:
    """The organization acme with the private repositories api and web, and a token that may do everything."""

    clock: Clock
    journal: Journal
    world: GitHubWorld
    server: GitHubServer

    def rest(self, method: str, path: str, body: Any = None, *, token: str | None = PAT, **headers: str) -> Reply:
        """One REST request."""
        sent = {"User-Agent": "test", **{name.replace("_", "-"): value for name, value in headers.items()}}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        return self.send(method, path, None if body is None else json.dumps(body), sent)

    def send(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> Reply:
        """One request as it is."""
        connection = HTTPConnection(self.server.url.removeprefix("http://"), timeout=20)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return Reply(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Any:
        """The body of what must be there."""
        reply = self.rest("GET", path, **headers)
        assert reply.status == 200, reply
        return reply.body

    def jit(self, name: str = "r1", labels: tuple[str, ...] = ("self-hosted", "linux"), at: str = API) -> Listener:
        """A JIT configuration, in the hands of a listener that is not up yet."""
        asked = {"name": name, "runner_group_id": 1, "labels": list(labels)}
        made = self.rest("POST", f"{at}/actions/runners/generate-jitconfig", asked)
        assert made.status == 201, made
        packed = json.loads(base64.b64decode(made.body["encoded_jit_config"]))
        credential = json.loads(base64.b64decode(packed[".credentials"]))["credential"]
        return Listener(self, made.body["runner"]["id"], credential)

    def listening(
        self, name: str = "r1", labels: tuple[str, ...] = ("self-hosted", "linux"), at: str = API
    ) -> Listener:
        """A JIT runner that is online."""
        listener = self.jit(name, labels, at)
        assert listener.up().status == 201
        return listener

    def registered(self, name: str = "t1", *, ephemeral: bool = False, **more: Any) -> Listener:
        """A runner registered with a token, as `config.sh` does, that is online."""
        reply = self.register(name, ephemeral=ephemeral, **more)
        assert reply.status == 200, reply
        listener = Listener(self, reply.body["runner_id"], reply.body["credential"])
        assert listener.up().status == 201
        return listener

    def register(self, name: str, *, at: str = API, token: str | None = None, **more: Any) -> Reply:
        """What `config.sh` sends."""
        if token is None:
            token = self.rest("POST", f"{at}/actions/runners/registration-token").body["token"]
        scope = at.removeprefix("/repos").removeprefix("/orgs")
        asked = {
            "url": self.server.url + scope,
            "token": token,
            "name": name,
            "labels": ["self-hosted", "linux"],
            "group": None,
            "ephemeral": False,
            "replace": False,
            "version": "2.337.0",
            **more,
        }
        return self.send("POST", "/_runner/register", json.dumps(asked), {})

    def runners(self, at: str = API) -> dict[str, Any]:
        """The runners REST lists, by name."""
        return {runner["name"]: runner for runner in self.get(f"{at}/actions/runners?per_page=100")["runners"]}

    def jobs(self, run: int, which: str = "latest", at: str = API) -> dict[str, Any]:
        """A run's jobs REST lists, by name (of several attempts the newest)."""
        listed = self.get(f"{at}/actions/runs/{run}/jobs?filter={which}&per_page=100")["jobs"]
        return {job["name"]: job for job in listed}

    def status(self, run: int, at: str = API) -> str:
        """What REST says of a run."""
        return str(self.get(f"{at}/actions/runs/{run}")["status"])

    def what(self, *kinds: str) -> list[str]:
        """What happened, of these kinds, in order."""
        return [entry.what for entry in self.journal.of(*kinds)]

    def serve(self, *specs: JobSpec, **more: Any) -> int:
        """Push a run to acme/api; its id."""
        return self.world.push("acme/api", specs, **more).id


@dataclass(slots=True)
class Listener:
    """A runner as GitHub meets it."""

    site: Site
    id: int
    credential: str = field(repr=False)
    session: str = ""

    def send(self, method: str, path: str, body: Any = None) -> Reply:
        """One request of the runner's protocol."""
        text = None if body is None else json.dumps(body)
        return self.site.send(method, f"/_runner/{path}", text, {"Authorization": f"Bearer {self.credential}"})

    def up(self, version: str = "2.337.0") -> Reply:
        """Open a session."""
        reply = self.send("POST", "session", {"version": version})
        if reply.status == 201:
            self.session = reply.body["session"]
        return reply

    def down(self) -> Reply:
        """Close the session."""
        return self.send("DELETE", "session")

    def poll(self) -> Reply:
        """Ask for a job; comes back at once if there is one, or none can come."""
        return self.send("GET", f"message?session={self.session}")

    def acquire(self, job: int | None = None) -> int:
        """Take the job that was sent (or this one); its id."""
        number = self.poll().body["job_id"] if job is None else job
        reply = self.try_acquire(number)
        assert reply.status == 200, reply
        return int(number)

    def try_acquire(self, job: int) -> Reply:
        """Take a job, if it can be had."""
        return self.send("POST", f"jobs/{job}/acquire", {})

    def work(self, job: int) -> str:
        """How the job stands; comes back at once if it is at an end."""
        reply = self.send("GET", f"jobs/{job}/work")
        assert reply.status == 200, reply
        return str(reply.body["state"])

    def complete(self, job: int, conclusion: str = "success") -> Reply:
        """Report the end."""
        return self.send("POST", f"jobs/{job}/complete", {"conclusion": conclusion})

    def do(self, seconds: float) -> int:
        """Take the job that was sent and see it through; its id."""
        job = self.acquire()
        self.site.clock.advance(seconds)
        assert self.work(job) == "finished"
        assert self.complete(job).status == 200
        return job


@contextmanager
def site(speed: float = 0.0) -> Iterator[Site]:
    """Such a GitHub, running; its clock stands still unless there is a speed."""
    clock = Clock(MORNING, speed)
    journal = Journal(clock)
    world = GitHubWorld(clock, journal)
    world.add_organization("acme")
    world.add_repository("acme/api")
    world.add_repository("acme/web")
    world.add_token(PAT)
    server = GitHubServer(world)
    clock.start()
    server.start()
    try:
        yield Site(clock, journal, world, server)
    finally:
        clock.stop()
        server.stop()


def meanwhile(task: Callable[[], Reply]) -> Callable[[], Reply]:
    """Start a request that will wait; call the result for its answer."""
    answers: list[Reply] = []
    thread = threading.Thread(target=lambda: answers.append(task()), daemon=True)
    thread.start()

    def answer() -> Reply:
        thread.join(timeout=20)
        return answers[0]

    return answer


def job(name: str = "build", *labels: str, duration: float = 60.0, **more: Any) -> JobSpec:
    """A job for `self-hosted, linux` unless other labels are given."""
    return JobSpec(name, labels or ("self-hosted", "linux"), duration, **more)
