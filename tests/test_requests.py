"""
How many requests a look takes: the formula of docs/performance.md, held at the embedded GitHub and AWS.

A look of a watch: 2N run lists, a list of jobs for each active run that changed, a list of runners for each scope with
an instance of ours that no running job named. A deep look: 5N + N lists and the jobs of every run, and where the
config has patterns a list of their owner's repositories. One DescribeInstances for the fleet, and a process's first look at an image asks for it, and GitHub for its version.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import pytest

from scaler.model import JobStatus, Snapshot
from scaler.observe import Observer
from scaler.sandbox.github.state import JobSpec
from simulation.boxes import Habit
from simulation.world import CONFIG, Simulation
from tests.test_observe import Heard, hung, observer

REPOSITORIES = ("acme/api", *(f"acme/r{number}" for number in range(7)))
FLEET = CONFIG.replace("[acme/api, acme/web]", f"[{', '.join(REPOSITORIES)}]")
AT_ORGANIZATION = FLEET.replace("max_runners", "github: {register_at: organization, organization: acme}\nmax_runners")
KINDS = {
    r"/actions/runs$": "runs",
    r"/jobs$": "jobs",
    r"/actions/runners$": "runners",
    r"/runner-groups": "groups",
    r"/repos$": "lists",
    r"^ec2:DescribeImages": "images",
    r"^ec2:": "ec2",
    r"^ssm:": "ssm",
}


@dataclass
class Looker:
    """A process that looks at a world, look by look."""

    sim: Simulation
    tap: Heard
    observer: Observer
    images: int = 0

    @classmethod
    def at(cls, sim: Simulation) -> Looker:
        """One that has not looked yet."""
        tap = Heard(sim.clock)
        return cls(sim, tap, observer(sim, tap))

    def look(self, *, deep: bool = False) -> Counter[str]:
        """What one look asked for, by kind."""
        self.tap.heard.clear()
        self.seen: Snapshot = self.observer.observe(deep=deep)[0]
        assert self.seen.unseen == ()
        kinds = [next((kind for path, kind in KINDS.items() if re.search(path, name)), name) for name in self.tap.heard]
        found = Counter(kinds)
        self.images = found.pop("images", 0)
        assert (found.pop("ec2"), found.pop("ssm")) == (1, 2)
        return found

    def seconds(self, count: float) -> None:
        """Time passes."""
        self.sim.advance(seconds=count)


@pytest.fixture
def sim() -> Simulation:
    return Simulation(FLEET)


def test_a_quiet_look_asks_for_two_lists_of_runs_a_repository_and_nothing_else(sim: Simulation) -> None:
    looker = Looker.at(sim)
    assert looker.look() == {"runs": 16}


def test_an_image_is_looked_at_once_by_a_process(sim: Simulation) -> None:
    looker = Looker.at(sim)
    looker.look()
    assert looker.images == 0
    sim.push(repository="acme/api")
    sim.ticks(2)
    looked = []
    for _ in range(3):
        looker.look()
        looked.append(looker.images)
    assert looked == [1, 0, 0]


def test_a_deep_look_asks_for_five_and_for_the_runners(sim: Simulation) -> None:
    assert Looker.at(sim).look(deep=True) == {"runs": 40, "runners": 8}


@pytest.mark.parametrize(("more", "pages"), [(0, 1), (150, 2)])
def test_a_pattern_costs_a_page_of_its_owners_list_in_a_deep_look_and_nothing_in_others(more: int, pages: int) -> None:
    """A list of several pages is read twice by a process's first look, and again when it has changed."""
    sim = Simulation(CONFIG.replace("[acme/api, acme/web]", "[acme/r*, acme/api]"))
    sim.github.add_organization("acme")
    for name in (*REPOSITORIES, *(f"acme/other{number}" for number in range(more))):
        sim.github.add_repository(name)
    looker = Looker.at(sim)
    first = looker.look(deep=True)
    assert first == {"runs": 40, "runners": 8, "lists": pages if pages == 1 else 2 * pages}
    assert looker.look() == {"runs": 16}
    assert looker.look(deep=True) == {"runs": 40, "runners": 8, "lists": pages}


def test_with_registration_at_an_organization_there_is_one_list_of_runners_however_many_repositories() -> None:
    sim = Simulation(AT_ORGANIZATION)
    sim.github.add_group("acme", "Default", visibility="selected", repositories=REPOSITORIES)
    looker = Looker.at(sim)
    assert looker.look() == {"runs": 16, "groups": 2}
    assert looker.look(deep=True) == {"runs": 40, "groups": 2, "runners": 1}


def test_a_run_is_asked_for_its_jobs_when_it_has_changed_and_once_a_minute(sim: Simulation) -> None:
    looker = Looker.at(sim)
    for repository in REPOSITORIES[:3]:
        sim.push("gpu", repository=repository)
    looker.seconds(15)
    assert looker.look() == {"runs": 16, "jobs": 3}
    for _ in range(3):
        looker.seconds(12)
        assert looker.look() == {"runs": 16}
        assert len(looker.seen.jobs) == 3
    sim.push("gpu", repository=REPOSITORIES[0])
    assert looker.look() == {"runs": 16, "jobs": 1}
    looker.seconds(60)
    assert looker.look() == {"runs": 16, "jobs": 4}


def test_a_deep_look_asks_every_run_for_its_jobs(sim: Simulation) -> None:
    looker = Looker.at(sim)
    sim.push("gpu", jobs=3, repository=REPOSITORIES[0])
    looker.seconds(15)
    for _ in range(2):
        assert looker.look(deep=True)["jobs"] == 1


def test_a_run_that_changed_a_moment_ago_is_asked_again(sim: Simulation) -> None:
    """Its row tells the change to the second: another one may have followed within it."""
    looker = Looker.at(sim)
    sim.push("gpu", repository=REPOSITORIES[0])
    assert looker.look()["jobs"] == 1
    assert looker.look()["jobs"] == 1


@pytest.mark.parametrize("told", [True, False], ids=["its row tells", "its row does not tell"])
def test_a_job_that_comes_to_be_queued_in_a_run_that_was_seen_is_seen_within_a_minute(
    sim: Simulation, *, told: bool
) -> None:
    """That `updated_at` changes with every job is nowhere documented: here both answers."""
    looker = Looker.at(sim)
    run = sim.push("gpu", repository=REPOSITORIES[0])
    looker.seconds(30)
    looker.look()
    before = run.updated_at
    with sim.clock.lock:
        job = sim.github.runs._add(run, run.specs[0], "late")
        sim.github.runs._enqueue(job)
        if not told:
            run.updated_at = before
    looker.seconds(15)
    looker.look()
    assert ("late" in {each.name for each in looker.seen.jobs}) == told
    looker.seconds(45)
    looker.look()
    assert "late" in {each.name for each in looker.seen.jobs}


@pytest.mark.parametrize("told", [True, False], ids=["its row tells", "its row does not tell"])
def test_a_job_that_has_begun_is_no_demand_in_the_next_look(sim: Simulation, *, told: bool) -> None:
    """Taken for queued, it would be launched for a second time. Its runner is busy, and nothing names it."""
    looker = Looker.at(sim)
    labels = sim.config.pools[0].labels
    # A run is queued as long as one of its jobs is: its status does not tell of the other either.
    with sim.clock.lock:
        run = sim.github.push(REPOSITORIES[0], [JobSpec("ours", labels, 3600), JobSpec("nobody's", ("gpu",), 60)])
    sim.tick()
    looker.seconds(15)
    looker.look()
    before = run.updated_at
    assert [job.status for job in looker.seen.jobs] == [JobStatus.QUEUED] * 2
    looker.seconds(40)
    if not told:
        run.updated_at = before
    looker.look()
    assert {job.name: job.status for job in looker.seen.jobs}["ours"] is JobStatus.IN_PROGRESS


def test_runners_are_listed_where_an_instance_of_ours_is_named_by_no_running_job(sim: Simulation) -> None:
    looker = Looker.at(sim)
    looker.look()
    sim.push(minutes=60, repository=REPOSITORIES[0])
    sim.tick()
    assert looker.look() == {"runs": 16, "jobs": 1, "runners": 1}  # it boots
    sim.advance(minutes=3)
    found = looker.look()
    assert [job.runner_name for job in looker.seen.jobs if job.is_running] == [
        sim.prefix + next(iter(sim.oracle.alive()))
    ]
    assert found == {"runs": 16, "jobs": 1, "runners": 1}  # that it works was not known yet
    looker.seconds(15)
    assert looker.look() == {"runs": 16}
    sim.advance(minutes=5)
    assert looker.look(deep=True)["runners"] == 8


def test_a_machine_whose_job_is_over_is_told_by_its_record_and_again_by_a_later_list_of_jobs(sim: Simulation) -> None:
    """Runners before jobs: a runner that took the next job between would else pass for an idle one."""
    looker = Looker.at(sim)
    run = sim.push("arm64", minutes=60, repository=REPOSITORIES[0])
    sim.ticks(2, every=120)
    looker.look()
    looker.seconds(15)
    assert looker.look()["runners"] == 0
    sim.boxes.manners.always = Habit.HANGS
    with sim.clock.lock:
        sim.github.runs.finish(run.current[0], "success")
    assert looker.look() == {"runs": 18, "runners": 1}
    order = [name.rpartition("/")[2] for name in looker.tap.heard]
    assert order.index("runners") < len(order) - 1 - order[::-1].index("runs")


def test_an_instance_of_which_nobody_knows_where_it_registered_is_looked_for_everywhere(sim: Simulation) -> None:
    looker = Looker.at(sim)
    number = hung(sim, scope="")
    name = f"/runner-scaler/main/{number}"
    sim.aws.ssm.parameters.pop(name)
    assert looker.look()["runners"] == 8


def test_an_empty_list_of_instances_is_contradicted_by_the_runners_of_before() -> None:
    sim = Simulation()
    looker = Looker.at(sim)
    sim.push("arm64", minutes=60)
    sim.ticks(2, every=120)
    looker.look()
    (number,) = sim.oracle.alive()
    held = sim.aws.instance(number)
    assert held is not None
    with sim.clock.lock:
        sim.aws.ec2.retag(number, {**held.tags, "runner-scaler:fleet": "other"}, "somebody")
    snapshot = looker.observer.observe(deep=False)[0]
    why = f"EC2 lists no instance at all, but {sim.prefix + number} is online: not believed"
    assert [unseen.why for unseen in snapshot.unseen] == [why]
