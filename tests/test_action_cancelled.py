"""
A job that is cancelled: SIGINT to the process of the step, then SIGTERM, then the kill of its tree.

What the world holds afterwards is what counts: pairs of effects are whole, or the next tick makes them so.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import NOTHING, World
from tests.expressions import expressions
from tests.hosted_runner import JobRan
from tests.hosted_site import Hosted, hosted, runner_temp

__all__ = ["expressions", "hosted", "runner_temp"]


def once(met: Callable[[Any], bool], then: Callable[[], None]) -> Callable[[Any], None]:
    """An observer of a server that does something at the first exchange that fits, before it is answered."""
    left = [then]
    lock = threading.Lock()

    def observe(seen: Any) -> None:
        with lock:
            do = left.pop() if left and met(seen) else None
        if do is not None:
            do()

    return observe


def whole(world: World) -> list[str]:
    """The instances that are alive, each with its secret or its runner: no pair of effects is torn."""
    alive = [instance.id for instance in world.box.aws.alive()]
    runners = {name for name in alive for r in world.box.github.registered() if r.name.endswith(name)}
    secrets = {name.rpartition("/")[2] for name in world.left()["parameters"]}
    assert set(alive) == runners == secrets
    return alive


def until_all_is_done(world: World, jobs: int) -> None:
    """Healthy ticks: every job is done once, by an instance of its own, and nothing is left."""
    for _ in range(40):
        world.tick()
        world.advance(1)
        if len(world.box.journal.of("job.finished")) == jobs and world.left() == NOTHING:
            break
    finished = world.box.journal.of("job.finished")
    assert sorted(entry.facts["conclusion"] for entry in finished) == ["success"] * jobs
    assert world.left() == NOTHING


def test_a_cancelled_tick_finishes_its_pairs_and_begins_no_other(world: World, hosted: Hosted) -> None:
    world.push("a", "b", "c", "d", "e", duration=60)
    job = hosted.using().job("scale")
    # The first launch has been done, and its answer is on the way.
    world.box.aws_server.observers.append(once(lambda call: call.name == "ec2:CreateFleet", job.cancel))
    ran = job.run()
    assert (ran.conclusion, ran.step("Scale / Scale").code) == ("cancelled", 130), ran.log
    assert "stopped by SIGINT" in ran.log
    first = whole(world)
    assert 1 <= len(first) <= 5
    world.tick()
    assert set(first) < set(whole(world)) or len(first) == 5
    assert len(whole(world)) == 5


def test_a_tick_cancelled_between_launch_and_hand_over_hands_over(world: World, hosted: Hosted) -> None:
    world.push("build", duration=60)
    job = hosted.using().job("scale")
    world.box.github_server.observers.append(once(lambda seen: seen.path.endswith("/generate-jitconfig"), job.cancel))
    ran = job.run()
    assert (ran.conclusion, ran.step("Scale / Scale").code) == ("cancelled", 130), ran.log
    assert len(whole(world)) == 1


@pytest.mark.parametrize("at", ["launch", "minting", "put"])
def test_a_tick_that_is_killed_in_the_middle_of_a_pair_is_mended_by_the_next(
    world: World, hosted: Hosted, at: str
) -> None:
    """The answer comes only when the process is gone: SIGINT and SIGTERM were heard, and it still waited."""
    world.push("build", duration=60)
    workflow = hosted.using()
    workflow.site = replace(workflow.site, sigint_timeout=0.2, sigterm_timeout=0.2)
    job = workflow.job("scale")
    gone = threading.Event()

    def hang() -> None:
        job.cancel()
        gone.wait()

    if at == "minting":
        world.box.github_server.observers.append(once(lambda seen: seen.path.endswith("/generate-jitconfig"), hang))
    else:
        name = {"launch": "ec2:CreateFleet", "put": "ssm:PutParameter"}[at]
        world.box.aws_server.observers.append(
            once(lambda call: call.name == name and not str(call.params.get("Name", "")).endswith("/state"), hang)
        )
    ran = job.run()
    gone.set()
    assert (ran.conclusion, ran.step("Scale / Scale").code) == ("cancelled", -9), ran.log
    assert len(world.box.aws.alive()) == 1
    until_all_is_done(world, jobs=1)


def test_a_watch_that_is_cancelled_ends_at_once(world: World, hosted: Hosted) -> None:
    """The shell has become Python, so that SIGINT reaches it; and it sleeps for longer than the runner waits."""
    job = hosted.using(for_="50m", every="10m", linger="1h").job("scale")
    job.on_line = lambda line: job.cancel() if "0 queued" in line else None
    ran = job.run()
    assert (ran.conclusion, ran.step("Scale / Scale").code) == ("cancelled", 130), ran.log
    assert world.left() == NOTHING


def test_steps_after_a_cancelled_one_run_only_if_they_say_so(world: World, hosted: Hosted) -> None:
    workflow = hosted.using(for_="50m", every="10m", linger="1h")
    workflow.document["jobs"]["scale"]["steps"] += [
        {"name": "Next", "run": "exit 1"},
        {"name": "Failed", "if": "failure()", "run": "exit 1"},
        {"name": "Cancelled", "if": "cancelled()", "env": {"CODE": "${{ steps.scale.outcome }}"}, "run": "exit 1"},
    ]
    job = workflow.job("scale")
    job.on_line = lambda line: job.cancel() if "0 queued" in line else None
    ran = job.run()
    assert [step.name for step in ran.steps if step.outcome == "skipped"] == ["Next", "Failed"]
    assert world.left() == NOTHING


def test_a_cancelled_installation_leaves_nothing_that_the_next_job_trips_over(
    world: World, hosted: Hosted, tmp_path: Path
) -> None:
    """A self-hosted runner's folder for temporary files is emptied between jobs; one that is not does no harm either."""
    world.push("build")
    up, programs = tmp_path / "up", tmp_path / "programs"
    os.mkfifo(up)
    programs.mkdir()
    (programs / "python3").write_text(f"#!/bin/sh\necho >{up}\nexec sleep 600\n")
    (programs / "python3").chmod(0o755)
    workflow = hosted.using()
    workflow.site = replace(
        hosted.site,
        image={**hosted.site.image, "PATH": f"{programs}:{hosted.site.image['PATH']}"},
        temp=tmp_path / "temp",
        sigint_timeout=0.2,
        sigterm_timeout=0.2,
        stream_timeout=0.2,
    )
    job = workflow.job("scale")
    done: list[JobRan] = []
    thread = threading.Thread(target=lambda: done.append(job.run()))
    thread.start()
    up.read_text()  # the installation runs
    job.cancel()
    thread.join()
    assert done[0].conclusion == "cancelled"
    assert world.box.aws_server.calls == []
    workflow = hosted.using()
    workflow.site = replace(hosted.site, temp=tmp_path / "temp")
    assert workflow.job("scale").run().conclusion == "success"
    assert len(world.box.aws.alive()) == 1
