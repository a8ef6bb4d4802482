"""
Who waits for whom: the workflows' `concurrency`, evaluated by GitHub's evaluator, in the sandbox's GitHub.

Runs are held, let in and cancelled by its concurrency groups; what is let in runs as real processes.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pytest

from scaler.sandbox.github.state import JobSpec, Run
from tests.conftest import NOTHING, ROOT, World
from tests.expressions import expressions
from tests.hosted_runner import Event, Job, JobRan, load_yaml, matrix
from tests.hosted_site import Hosted, dashed, hosted, runner_temp

__all__ = ["expressions", "hosted", "runner_temp"]

AUTOSCALE = ".github/workflows/autoscale.yml"
REPOSITORY = "acme/runner-scaler"


class Actions:
    """The scaler's repository on the sandbox's GitHub: a run's job is carried out when GitHub lets it in."""

    def __init__(self, world: World, hosted: Hosted) -> None:
        self._world, self._hosted = world, hosted
        world.box.github.add_repository(REPOSITORY)
        self._threads: list[threading.Thread] = []

    def dispatch(self, **inputs: Any) -> Started:
        """Somebody presses the button, or kicks."""
        event = Event(inputs=dashed(inputs), run_id=f"run-{len(self._threads)}-{inputs['mode']}")
        workflow = self._hosted.workflow(AUTOSCALE, event)
        group, cancel = workflow.group
        run = self._world.box.github.push(
            REPOSITORY,
            [JobSpec("scale", ("ubuntu-24.04",), duration=7 * 86400)],  # it ends when its process does
            workflow="Autoscale",
            event="workflow_dispatch",
            concurrency=group,
            cancel_in_progress=cancel,
        )
        started = Started(self._world, run, workflow.job("scale"))
        thread = threading.Thread(target=started.carry_out)
        thread.start()
        self._threads.append(thread)
        return started

    def end(self) -> None:
        """Wait until every run has ended."""
        for thread in self._threads:
            thread.join()


class Started:
    """A run and its job."""

    def __init__(self, world: World, run: Run, job: Job) -> None:
        self.run, self.job = run, job
        self.ran: JobRan | None = None
        self.lines: list[str] = []
        job.on_line = self._hear
        self._world = world

    def _hear(self, line: str) -> None:
        with self._world.box.clock.lock:
            self.lines.append(line)
            self._world.box.clock.changed()

    def carry_out(self) -> None:
        """As soon as a hosted runner has the job; never, if the run is cancelled before."""
        clock, github = self._world.box.clock, self._world.box.github
        with clock.lock:
            while self.run.phase != "completed" and not self._running():
                clock._changed.wait()
            if self.run.phase == "completed":
                return
        self.ran = self.job.run()
        with clock.lock:
            github.runs.finish(self.run.current[0], "success" if self.ran.conclusion == "success" else "failure")

    def _running(self) -> bool:
        return any(job.status == "in_progress" for job in self.run.current)


@pytest.fixture
def actions(world: World, hosted: Hosted) -> Actions:
    return Actions(world, hosted)


def test_a_button_works_during_a_watch_with_kicks_waiting(world: World, actions: Actions) -> None:
    watch = actions.dispatch(mode="auto", for_="50m")
    world.box.clock.advance(60)
    world.until(lambda: any("0 queued" in line for line in watch.lines))
    lost, kept = actions.dispatch(mode="auto"), actions.dispatch(mode="auto")
    world.box.clock.advance(60)
    assert [run.run.phase for run in (watch, lost, kept)] == ["open", "completed", "held"]
    assert lost.run.conclusion == "cancelled"

    world.push("build", duration=60)
    button = actions.dispatch(mode="up", repository="acme/api")
    world.box.clock.advance(60)
    world.until(lambda: button.ran is not None, seconds=120)
    assert button.ran is not None
    assert button.ran.conclusion == "success", button.ran.log
    assert (watch.ran, kept.ran) == (None, None)  # neither was waited for, nor cancelled
    # The watch may have launched for the job at the same time, in another slot: never twice in one.
    alive = world.box.aws.alive()
    slots = [(i.tags["runner-scaler:pool"], i.tags["runner-scaler:slot"]) for i in alive]
    assert 1 <= len(alive) <= 2
    assert len(set(slots)) == len(slots)

    watch.job.cancel()
    world.until(lambda: watch.ran is not None, seconds=60)
    world.box.clock.advance(60)
    actions.end()
    assert lost.ran is None
    assert kept.ran is not None
    assert kept.ran.conclusion == "success", kept.ran.log

    def finished() -> list[str]:
        ends = world.box.journal.of("job.finished")
        return [entry.facts["conclusion"] for entry in ends if entry.facts["repository"] == "acme/api"]

    for _ in range(30):
        world.tick()
        world.advance(1)
        if finished() and world.left() == NOTHING:
            break
    assert finished() == ["success"]
    assert world.left() == NOTHING


def group_of(hosted: Hosted, file: str, event: Event) -> str:
    return hosted.workflow(file, event).group[0]


@pytest.mark.parametrize("mode", load_yaml(ROOT / AUTOSCALE)["on"]["workflow_dispatch"]["inputs"]["mode"]["options"])
def test_only_auto_is_in_the_group(hosted: Hosted, mode: str) -> None:
    runs = [group_of(hosted, AUTOSCALE, Event(inputs={"mode": mode}, run_id=number)) for number in ("1", "2")]
    assert runs == (["autoscale", "autoscale"] if mode == "auto" else ["1", "2"])


def events(file: str) -> list[Mapping[str, Any]]:
    """The kinds of events that start a workflow."""
    return list(load_yaml(ROOT / file)["on"])


def test_each_shard_waits_for_itself_alone(hosted: Hosted) -> None:
    """And no leg's failure cancels another, in the middle of a launch say."""
    workflow = hosted.workflow("examples/shards.yml", Event(name="schedule"))
    body = workflow.document["jobs"]["watch"]
    groups = [workflow.job("watch", leg=leg).group for leg in matrix(body)]
    assert groups == [(f"autoscale-{number}/4", False) for number in range(1, 5)]
    assert (workflow.group[0], body["strategy"]["fail-fast"]) == ("", False)


@pytest.mark.parametrize("file", [AUTOSCALE, *(f"examples/{name}.yml" for name in ("tick", "watch", "workflow-run"))])
def test_every_clock_ticks_in_the_group_and_none_ends_a_tick(hosted: Hosted, file: str) -> None:
    for name in events(file):
        workflow = hosted.workflow(file, Event(name=str(name)))
        assert workflow.group == ("autoscale", False)
