"""
The demo's ledger balances for a world in which all went well, and names the culprit of anything else.

The worlds here are finished ones, made through the embedded GitHub's and AWS's own methods; no process runs.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from scaler.sandbox.aws.world import AwsWorld
from scaler.sandbox.clock import Clock
from scaler.sandbox.demo import ledger
from scaler.sandbox.demo.history import Declared, Pool
from scaler.sandbox.demo.ledger import Account, Ledger, Use
from scaler.sandbox.github.state import Job, JobSpec, Run, Runner
from scaler.sandbox.github.world import GitHubWorld
from scaler.sandbox.journal import Journal

API, LABELS = "acme/api", ("self-hosted", "x64")
AMD64 = Pool("amd64", frozenset({"self-hosted", "linux", "x64"}), 2)


class Small:
    """A repository, a pool of two, and hands that do what scaler and machines would do."""

    def __init__(self) -> None:
        """Two jobs were queued; nothing else has happened."""
        self.clock = Clock(datetime(2026, 11, 23, 9, 0, tzinfo=UTC), speed=0)
        self.journal = Journal(self.clock)
        self.github = GitHubWorld(self.clock, self.journal)
        self.aws = AwsWorld(self.clock, self.journal)
        self.github.add_repository(API)
        self.cancels: set[tuple[int, str]] = set()
        self.run = self.push("build", "test")

    def push(self, *names: str, labels: tuple[str, ...] = LABELS) -> Run:
        """Queue jobs."""
        return self.github.push(API, [JobSpec(name=name, labels=labels) for name in names])

    def call(self, action: str, **params: Any) -> Any:
        """What AWS does for the scaler."""
        service = "ssm" if "Parameter" in action else "ec2"
        with self.clock.lock:
            return self.aws.perform(service, action, params, self.aws.ambient.principal)

    def launch(self) -> str:
        """Launch an instance of the pool for the repository; it is running at once."""
        tags = {"runner-scaler:fleet": "main", "runner-scaler:pool": "amd64", "runner-scaler:scope": API}
        given = [{"Key": key, "Value": value} for key, value in tags.items()]
        answer = self.call(
            "RunInstances",
            LaunchTemplate={"LaunchTemplateName": "runner-amd64", "Version": "3"},
            MinCount=1,
            MaxCount=1,
            TagSpecifications=[{"ResourceType": "instance", "Tags": given}],
        )
        instance_id = str(answer["Instances"][0]["InstanceId"])
        self.call("CreateTags", Resources=[instance_id], Tags=given)
        self.clock.advance(10)
        return instance_id

    def online(self, instance_id: str) -> Runner:
        """The instance registers its runner, which GitHub sends the oldest job that fits."""
        with self.clock.lock:
            group = self.github.runners.groups(API)[0]
            name = f"main-1a2b3c-{instance_id}"
            runner, _ = self.github.runners.mint_jit(API, name, sorted(AMD64.labels), group, "http://127.0.0.1")
            self.github.dispatcher.open_session(runner, "2.337.0")
        return runner

    def take(self, runner: Runner) -> Job:
        """The runner takes the job it was sent."""
        assert runner.message is not None
        with self.clock.lock:
            return self.github.dispatcher.acquire(runner, runner.message.job.id)

    def work(self, runner: Runner) -> None:
        """The runner does its job and is gone."""
        job = self.take(runner)
        self.clock.advance(60)
        with self.clock.lock:
            self.github.dispatcher.complete(runner, job.id, "success")

    def serve(self) -> str:
        """An instance comes, does a job, and powers itself off."""
        instance_id = self.launch()
        self.work(self.online(instance_id))
        self.aws.powered_off(instance_id)
        self.clock.advance(10)
        return instance_id

    def close(self) -> Ledger:
        """The demo's ledger of this world."""
        return ledger.close(self.github, self.aws, Declared("main", (AMD64,), frozenset(self.cancels)))


@pytest.fixture
def small() -> Small:
    return Small()


@pytest.fixture
def finished(small: Small) -> Small:
    """A world whose two jobs were served."""
    small.serve()
    small.serve()
    return small


def test_a_world_in_which_all_went_well_balances(finished: Small) -> None:
    books = finished.close()
    assert books.problems == []
    assert books.exit_code == 0
    assert (books.count(Account.SERVED), books.count(Use.SERVED)) == (2, 2)
    assert (books.billed, books.busy) == (130, 120)
    assert ledger.lines(books)[-1] == "It balances."


def test_the_memory_of_the_fleet_may_stay(finished: Small) -> None:
    finished.call("PutParameter", Name="/runner-scaler/main/state", Value="{}", Type="String")
    books = finished.close()
    assert (books.exit_code, books.kept) == (0, ["/runner-scaler/main/state"])


def leak_a_parameter(world: Small) -> str:
    name = "/runner-scaler/main/i-0123456789abcdef0"
    world.call("PutParameter", Name=name, Value="secret", Type="SecureString")
    return f"leaked parameter: {name}"


def leak_the_memory_of_another_fleet(world: Small) -> str:
    world.call("PutParameter", Name="/runner-scaler/other/state", Value="{}", Type="String")
    return "leaked parameter: /runner-scaler/other/state"


def leak_an_instance(world: Small) -> str:
    world.push("late")
    instance_id = world.launch()
    world.work(world.online(instance_id))
    return f"leaked instance: {instance_id} "


def stop_an_instance(world: Small) -> str:
    """A stopped instance costs its disk, and nobody starts it again."""
    world.push("late")
    instance_id = world.launch()
    world.work(world.online(instance_id))
    world.call("StopInstances", InstanceIds=[instance_id])
    world.clock.advance(60)
    return f"leaked instance: {instance_id} "


def leak_a_runner(world: Small) -> str:
    world.push("late")
    instance_id = world.serve()
    with world.clock.lock:
        group = world.github.runners.groups(API)[0]
        world.github.runners.mint_jit(API, f"main-1a2b3c-{instance_id}", ["x64"], group, "http://127.0.0.1")
    return f"leaked runner: main-1a2b3c-{instance_id} "


def lose_a_job_in_the_queue(world: Small) -> str:
    run = world.push("forgotten")
    return f'lost job: "forgotten" of acme/api ({run.jobs[0].id}) was queued and never started'


def lose_a_job_that_runs(world: Small) -> str:
    run = world.push("stuck")
    instance_id = world.launch()
    world.take(world.online(instance_id))
    world.aws.powered_off(instance_id)
    return f'lost job: "stuck" of acme/api ({run.jobs[0].id}) was started on main-1a2b3c-{instance_id} and never'


def expire_a_job(world: Small) -> str:
    """A job queued for more than 24 hours fails (docs.github.com: self-hosted runners reference)."""
    run = world.push("forgotten")
    world.clock.advance(25 * 3600)
    return f'lost job: "forgotten" of acme/api ({run.jobs[0].id}) ended as failure after 24h00m without having started'


def cancel_a_job_that_nobody_said_would_be(world: Small) -> str:
    run = world.push("gone")
    world.github.cancel(run.id)
    return f'lost job: "gone" of acme/api ({run.jobs[0].id}) ended as cancelled'


def fail_a_job_that_was_fine(world: Small) -> str:
    run = world.push("fine")
    instance_id = world.launch()
    runner = world.online(instance_id)
    job = world.take(runner)
    with world.clock.lock:
        world.github.dispatcher.complete(runner, job.id, "failure")
    world.aws.powered_off(instance_id)
    return f'lost job: "fine" of acme/api ({run.jobs[0].id}) ended as failure, where'


def kill_a_job(world: Small) -> str:
    """The scaler ends an instance whose runner is at work: what must never happen."""
    run = world.push("victim")
    instance_id = world.launch()
    world.take(world.online(instance_id))
    world.call("TerminateInstances", InstanceIds=[instance_id])
    return f'killed job: "victim" of acme/api ({run.jobs[0].id}) on {instance_id}: its instance was ended by the scaler'


def launch_twice(world: Small) -> str:
    """Two instances for one job: the second finds nothing to do."""
    world.push("late")
    world.serve()
    instance_id = world.launch()
    world.aws.powered_off(instance_id)
    return f"double launch: {instance_id} (pool amd64, for acme/api, at 09:"


def launch_over_the_cap(world: Small) -> str:
    world.push("a", "b", "c")
    for instance_id in [world.launch() for _ in range(3)]:
        world.work(world.online(instance_id))
        world.aws.powered_off(instance_id)
    return "pool amd64 had 3 instances at once, its max is 2"


SEEDS: tuple[Callable[[Small], str], ...] = (
    leak_a_parameter,
    leak_the_memory_of_another_fleet,
    leak_an_instance,
    stop_an_instance,
    leak_a_runner,
    lose_a_job_in_the_queue,
    lose_a_job_that_runs,
    expire_a_job,
    cancel_a_job_that_nobody_said_would_be,
    fail_a_job_that_was_fine,
    kill_a_job,
    launch_twice,
    launch_over_the_cap,
)


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed.__name__.replace("_", " "))
def test_what_went_wrong_is_named_and_the_exit_code_says_so(finished: Small, seed: Callable[[Small], str]) -> None:
    culprit = seed(finished)
    books = finished.close()
    assert books.exit_code == 1
    assert any(problem.startswith(culprit) for problem in books.problems), books.problems
    assert ledger.lines(books)[-1] != "It balances."


@pytest.mark.parametrize("seed", [leak_a_parameter, leak_an_instance, lose_a_job_in_the_queue, launch_twice])
def test_one_fault_is_one_problem(finished: Small, seed: Callable[[Small], str]) -> None:
    seed(finished)
    assert len(finished.close().problems) == 1


def test_a_cancel_of_the_scenario_accounts_for_its_job_and_for_one_instance(finished: Small) -> None:
    run = finished.push("preview")
    finished.cancels.add((run.id, ""))
    surplus = finished.launch()
    finished.github.cancel(run.id)
    finished.aws.powered_off(surplus)
    books = finished.close()
    assert books.problems == []
    assert (books.count(Account.CANCELLED), books.count(Use.SURPLUS)) == (1, 1)
    another = finished.launch()
    finished.aws.powered_off(another)
    assert [problem.partition(" (")[0] for problem in finished.close().problems] == [f"double launch: {another}"]


def test_a_job_that_was_cancelled_while_it_ran_leaves_no_instance_over(finished: Small) -> None:
    run = finished.push("preview")
    finished.cancels.add((run.id, "preview"))
    instance_id = finished.launch()
    runner = finished.online(instance_id)
    job = finished.take(runner)
    finished.github.cancel(run.id)
    with finished.clock.lock:
        finished.github.dispatcher.complete(runner, job.id, "cancelled")
    finished.aws.powered_off(instance_id)
    assert finished.close().problems == []
    another = finished.launch()
    finished.aws.powered_off(another)
    assert len(finished.close().problems) == 1


def test_a_label_that_no_pool_has_accounts_for_a_job_that_waits(finished: Small) -> None:
    finished.push("train", labels=("self-hosted", "GPU"))
    books = finished.close()
    assert books.problems == []
    assert [why for _, account, why in books.jobs if account is Account.UNSERVABLE] == ['no runner ever carried "gpu"']


def test_a_declared_fault_accounts_for_its_instance(finished: Small) -> None:
    finished.push("late")
    struck = finished.launch()
    finished.journal.write("machine.booting", id=struck, pool="amd64", faults=["hang"])
    finished.call("TerminateInstances", InstanceIds=[struck])
    finished.serve()
    books = finished.close()
    assert books.problems == []
    assert books.count(Use.STRUCK) == 1


def test_waits_are_by_nearest_rank() -> None:
    values = [float(number) for number in range(1, 21)]
    assert [ledger.percentile(values, share) for share in (0.5, 0.95, 1)] == [10, 19, 20]
    assert ledger.percentile([], 0.5) == 0
