"""Real processes at once: schedule, button and another repository, none of which knows of the others."""

from __future__ import annotations

import threading

import pytest

from scaler.sandbox.aws.server import Call
from tests.conftest import World

AUTO = ("auto", "--json")
UP = ("up", "--pool", "amd64", "--repo", "acme/api", "--json")


def meet(world: World, count: int) -> None:
    """
    Let nobody launch before so many processes have seen the world: all have decided by then.

    A process writes the fleet's state before its first launch; there it waits for the others.
    """
    gate = threading.Barrier(count)
    waiting = iter(range(count))

    def hold(call: Call) -> None:
        first = call.name == "ssm:PutParameter" and str(call.params.get("Name")).endswith("/state")
        if first and next(waiting, None) is not None:
            gate.wait(timeout=30)

    world.box.aws_server.observers.append(hold)


def test_ticks_that_saw_the_same_job_launch_one_instance_and_hand_it_over_once(world: World) -> None:
    world.push("build")
    meet(world, 3)
    ran = [world.end(process) for process in [world.start(*AUTO) for _ in range(3)]]
    assert [each.code for each in ran] == [0, 0, 0]
    (instance,) = world.box.aws.alive()
    assert [name.endswith(instance.id) for name in world.left()["runners"]] == [True]
    assert len(world.left()["parameters"]) == 1
    assert sorted(command for each in ran for command in each.commands()) == [
        "launch done",
        "launch taken by another tick",
        "launch taken by another tick",
    ]


@pytest.mark.parametrize("most", [1, 2])
def test_schedule_and_button_at_once_never_exceed_a_pools_max(world: World, most: int) -> None:
    world.amend("    max: 5\n  arm64", f"    max: {most}\n  arm64")
    world.push(*(f"job {number}" for number in range(4)))
    meet(world, 4)
    processes = [world.start(*command) for command in (AUTO, UP, AUTO, UP)]
    ran = [world.end(process) for process in processes]
    assert len(world.box.aws.alive()) == most
    assert len(world.left()["runners"]) == most
    assert len(world.left()["parameters"]) == most
    assert {each.code for each in ran} <= {0, 5}
