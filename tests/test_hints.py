"""
Hints through GraphQL: a watch of very many repositories asks little, sees at once what hints tell, and all else in turn.

Nothing rests on a hint: where none is given, or a wrong one, everything is looked at all the same.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scaler.decide import decide
from scaler.github.budget import READS
from scaler.model import Reason, View
from scaler.observe import Observer
from scaler.observing.hints import BATCH, LEAST, PAUSE, REQUESTS
from scaler.sandbox.github.faults import Fault, FaultKind
from scaler.sandbox.github.graph_api import GRAPH
from scaler.sandbox.github.state import JobSpec, Run
from simulation.wire import TOKEN
from simulation.world import CONFIG, Simulation
from tests.test_observe import Heard, observer

EVERY = timedelta(seconds=15)
HOSTED = ("ubuntu-latest",)


def names(count: int) -> tuple[str, ...]:
    return tuple(f"acme/r{number:03}" for number in range(count))


class Watch:
    """A watch of so many repositories, each with so many workflows that have all run, and nothing going on."""

    def __init__(self, count: int, workflows: int = 1, runs: int = 1) -> None:
        self.names = names(count)
        self.sim = Simulation(CONFIG.replace("[acme/api, acme/web]", f"[{', '.join(self.names)}]"))
        self.token = self.sim.github.tokens[TOKEN]
        self.sim.github.set(points_a_minute=900, requests_at_once=100)
        self.old: dict[str, list[Run]] = {name: [] for name in self.names}
        for name in self.names:
            for workflow in range(workflows):
                self.old[name] += [self.run(name, workflow=f"CI {workflow}", labels=HOSTED) for _ in range(runs)]
        self.sim.advance(hours=2)
        self.tap = Heard(self.sim.clock, latency=0.01)
        self.observer: Observer = observer(self.sim, self.tap)
        self.ticks = 0
        self.asked: list[Counter[str]] = []
        self.points: list[int] = []
        self.last_look: dict[str, int] = {}
        self.oldest = 0

    def run(self, name: str, *, workflow: str = "CI 0", labels: Sequence[str] = ("gpu",), **more: Any) -> Run:
        """A run of one job there; of nobody's labels, it waits."""
        return self.sim.github.push(name, [JobSpec("job", tuple(labels), 60)], workflow=workflow, **more)

    def look(self, ticks: int = 1) -> set[str]:
        """So many ticks; the repositories that the last one looked at."""
        looked: set[str] = set()
        for _ in range(ticks):
            self.tap.heard.clear()
            began = self.sim.clock.now()
            self.snapshot, memory = self.observer.observe(deep=self.ticks % 10 == 0, every=EVERY)
            self.plan = decide(self.sim.config, self.snapshot, memory)
            self.sim.clock.advance(EVERY.total_seconds() - (self.sim.clock.now() - began).total_seconds())
            self.ticks += 1
            asked = [name for name in self.tap.heard if not name.startswith(("ec2:", "ssm:"))]
            self.asked.append(Counter(name.rpartition("/")[2] for name in asked))
            self.points.append(sum(not name.endswith(GRAPH) for name in asked))
            looked = {"/".join(name.split("/")[2:4]) for name in asked if name.endswith("/runs")}
            self.last_look |= dict.fromkeys(looked, self.ticks)
            self.oldest = max(self.oldest, *(self.ticks - self.last_look.get(name, 0) for name in self.names))
        return looked

    def until_warm(self) -> Watch:
        """Until everybody was looked at, and is told of."""
        while not self.asked or self.asked[-1]["workflows"] or not self.asked[-1]["graphql"]:
            self.look()
            assert self.ticks < 60
        self.look(2)
        return self

    @property
    def resting(self) -> list[str]:
        """The repositories that were looked at last: their turn is furthest."""
        return sorted(self.names, key=lambda name: -self.last_look[name])

    @property
    def seen(self) -> set[str]:
        """The repositories of the jobs that were seen."""
        return {job.repository for job in self.snapshot.jobs}

    @property
    def requests(self) -> int:
        """Of the last tick, to GitHub."""
        return self.asked[-1].total()


@pytest.fixture
def little_room(monkeypatch: pytest.MonkeyPatch) -> int:
    """Room for forty reads a tick; that many repositories do not fit."""
    monkeypatch.setattr("scaler.github.budget.READS", 200)
    return 40


def dearest_minute(points: Sequence[int]) -> int:
    """Of ticks every 15 s: the whole ones of a minute, and one more."""
    return max(sum(points[start : start + 5]) for start in range(len(points)))


MANY = 100
BOUND = math.ceil(2.5 * MANY / (REQUESTS - 2))
"""Ticks, of a hundred repositories with a workflow each: one query, and 28 reads."""


def test_a_watch_of_five_hundred_quiet_repositories_asks_thirty_times_a_tick_within_every_limit() -> None:
    watch = Watch(500, workflows=4)
    watch.until_warm()
    warm = watch.ticks
    assert not any(each["workflows"] for each in watch.asked[:7]), "first of all everybody is looked at"
    assert watch.oldest <= 2.5 * 500 / (150 / 3), "getting to know them leaves a third of the room, and more"
    watch.look(10)
    assert max(each.total() for each in watch.asked[warm:]) <= REQUESTS
    assert max(each["graphql"] for each in watch.asked) == 500 * 4 / BATCH
    assert dearest_minute(watch.points) <= READS
    assert dearest_minute(watch.points[warm:]) <= 5 * LEAST
    assert watch.sim.server.limits.refused == 0
    assert watch.token.points * 0.98 >= 500 * 4 / BATCH * 3600 / 15, "an hour's"
    looked = watch.look()
    assert watch.snapshot.deferred == set(watch.names) - looked
    assert watch.snapshot.unseen == ()


def test_a_job_that_is_queued_where_nothing_went_on_is_seen_in_the_next_tick() -> None:
    watch = Watch(MANY).until_warm()
    cold = watch.resting[:4]
    assert not watch.look() & set(cold)
    for name in cold:
        watch.run(name)
    assert watch.look() >= set(cold)
    assert watch.seen == set(cold)


def test_the_first_run_of_a_new_workflow_is_seen_in_the_next_tick_and_so_is_a_later_one() -> None:
    """Its id is not asked for yet, but its file came by a push."""
    watch = Watch(MANY).until_warm()
    name = watch.resting[0]
    watch.run(name, workflow="Release")
    watch.look()
    assert name in watch.seen
    watch.sim.github.cancel(next(iter(watch.sim.github.unfinished_jobs())).run.id)
    watch.look(30)
    assert name not in watch.look() | watch.look(), "it is quiet again"
    watch.run(name, workflow="Release", event="schedule")
    watch.look()
    assert name in watch.seen


def test_a_workflow_that_came_without_a_run_is_asked_for_from_then_on() -> None:
    watch = Watch(MANY).until_warm()
    name = watch.resting[0]
    watch.sim.github.add_workflow(name, "Nightly")
    watch.look(6)
    watch.run(name, workflow="Nightly", event="schedule")
    watch.look()
    assert watch.seen == {name}


def test_a_workflow_that_came_while_something_went_on_is_asked_for_afterwards() -> None:
    """What went on was an old run again, of which no hint told: the repository's workflows were known, and stayed so."""
    watch = Watch(MANY, runs=11).until_warm()
    name = watch.resting[0]
    old = watch.old[name][0]
    old.specs = (JobSpec("job", ("gpu",)),)
    watch.sim.github.rerun(old.id)
    watch.look(BOUND)
    assert watch.seen == {name}
    watch.sim.github.add_workflow(name, "Nightly")
    watch.look(4)
    watch.sim.github.cancel(old.id)
    watch.look(30)
    assert name not in watch.look() | watch.look(), "it is quiet again"
    watch.run(name, workflow="Nightly", event="schedule")
    watch.look()
    assert watch.seen == {name}


def test_where_a_workflow_is_gone_the_others_are_asked_for_and_it_is_quiet_again() -> None:
    watch = Watch(MANY, workflows=2).until_warm()
    name = watch.resting[0]
    del watch.sim.github.repository(name).workflows["CI 1"]
    watch.look(6)
    assert name not in watch.look() | watch.look()


def test_what_happened_just_before_a_look_has_it_repeated_for_half_a_minute() -> None:
    """REST may show later than GraphQL tells, or the other way round."""
    watch = Watch(MANY).until_warm()
    name = watch.resting[0]
    with watch.sim.clock.lock:
        watch.sim.github.repository(name).pushed_at = watch.sim.clock.now()
    assert [name in watch.look() for _ in range(6)] == [True] * 4 + [False] * 2


def test_a_repository_without_workflows_is_asked_for_itself() -> None:
    watch = Watch(MANY, workflows=0).until_warm()
    assert watch.requests <= REQUESTS
    name = watch.resting[0]
    watch.run(name)
    watch.look()
    assert watch.seen == {name}


@pytest.mark.parametrize("newer", [9, 10], ids=["of the ten newest", "older"])
def test_a_rerun_is_seen_in_the_next_tick_or_within_the_stated_bound(newer: int) -> None:
    watch = Watch(MANY, runs=newer + 1).until_warm()
    again = set(watch.resting[:40])
    for name in again:
        old = watch.old[name][0]
        old.specs = (JobSpec("job", ("gpu",)),)
        watch.sim.github.rerun(old.id)
    began = watch.ticks
    watch.look()
    assert (watch.seen == again) == (newer < 10)
    while watch.seen != again:
        watch.look()
    assert watch.ticks - began <= BOUND


def test_no_look_is_older_than_the_stated_bound() -> None:
    """2.5 N / s ticks, deep looks included, whatever the hints say."""
    watch = Watch(MANY).until_warm()
    watch.oldest = 0
    watch.look(10 * 9)
    assert BOUND / 2 < watch.oldest <= BOUND


def test_a_hint_is_no_look_and_a_wrong_one_hides_nothing_for_longer_than_the_bound() -> None:
    """GraphQL says of every run that nothing has happened to it for a day."""
    watch = Watch(MANY)

    def lie(name: str, answer: Any) -> Any:
        if GRAPH in name:
            for node in answer["data"]["workflows"]:
                node["runs"]["nodes"] = [{"updatedAt": "2026-11-23T08:00:00Z"}]
            for node in answer["data"]["repositories"]:
                node["pushedAt"] = "2026-11-23T08:00:00Z"
        return answer

    watch.tap.rewrite = lie
    watch.until_warm()
    name = watch.resting[0]
    watch.run(name)
    watch.look()
    assert name in watch.snapshot.deferred
    assert not watch.snapshot.sees(View.QUEUE, name)
    assert watch.plan.commands == ()
    watch.look(BOUND)
    assert watch.seen == {name}


def test_who_is_said_to_be_busy_and_is_not_is_only_looked_at() -> None:
    watch = Watch(MANY).until_warm()
    for name in watch.names[:30]:
        watch.run(name, labels=HOSTED)
    assert watch.look() >= set(watch.names[:30])
    assert {verdict.reason for verdict in watch.plan.verdicts} == {Reason.HOSTED}
    assert watch.plan.commands == ()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(FaultKind.STATUS, path=GRAPH, value=403, times=None), "the token may not do this (403"),
        (Fault(FaultKind.STATUS, path=GRAPH, value=404, times=None), "/graphql: not found"),
        (Fault(FaultKind.STATUS, path=GRAPH, value=502, times=None), "/graphql: answered 502"),
        (None, 'nothing is shown ("Resource not accessible by personal access token")'),
    ],
    ids=["forbidden", "not there", "failing", "every node withheld"],
)
@pytest.mark.lies
def test_where_graphql_tells_nothing_all_have_their_turns_as_without_and_it_is_said_once(
    fault: Fault | None, said: str, caplog: pytest.LogCaptureFixture, little_room: int
) -> None:
    watch = Watch(little_room)
    if fault is None:
        watch.tap.rewrite = withheld
    else:
        watch.sim.github.fault(fault)
    with caplog.at_level(logging.WARNING):
        watch.look(5 + PAUSE)
        watch.oldest = 0
        watch.look(PAUSE)
    assert [said in record.message for record in caplog.records] == [True]
    assert watch.oldest <= 3
    assert watch.snapshot.unseen == ()
    assert sum(bool(each["graphql"]) for each in watch.asked) == 3, "it is tried again now and then"
    watch.run(watch.names[20])
    watch.look(3)
    assert watch.seen == {watch.names[20]}


def withheld(name: str, answer: Any) -> Any:
    """What GraphQL answers whoever may not see what was asked for."""
    if GRAPH not in name:
        return answer
    said = {"type": "FORBIDDEN", "message": "Resource not accessible by personal access token"}
    return {"data": {kind: [None for _ in nodes] for kind, nodes in answer["data"].items()}, "errors": [said]}


def test_what_graphql_shows_in_part_is_taken_and_the_rest_has_its_turns() -> None:
    watch = Watch(MANY)
    hidden = {"2026-11-24T08:30:00Z"}
    for name in watch.names[::2]:
        watch.sim.github.repository(name).pushed_at = datetime(2026, 11, 24, 8, 30, tzinfo=UTC)

    def some(name: str, answer: Any) -> Any:
        data = answer["data"] if GRAPH in name else {"repositories": []}
        data["repositories"] = [None if node and node["pushedAt"] in hidden else node for node in data["repositories"]]
        return answer

    watch.tap.rewrite = some
    watch.look(20)
    quiet = {name: at for name, at in watch.last_look.items() if name not in watch.names[::2]}
    assert sum(watch.ticks - at > 2 for at in quiet.values()) > 10
    assert all(watch.ticks - watch.last_look[name] <= 2 for name in watch.names[::2])
    for name in watch.names[:20]:
        watch.run(name)
    watch.look(3)
    assert watch.seen == set(watch.names[:20])


def test_when_hints_end_nobody_counts_as_not_seen(little_room: int) -> None:
    """Who was told quiet was not late for a look, however long ago the last one was."""
    watch = Watch(5 * little_room).until_warm()
    watch.look(45)
    assert watch.oldest > 40, "ten minutes"
    watch.sim.github.fault(Fault(FaultKind.STATUS, path=GRAPH, value=404, times=None))
    for _ in range(10):
        watch.look()
        assert watch.snapshot.unseen == ()


def test_where_all_fit_into_a_tick_nothing_is_asked_for_hints() -> None:
    watch = Watch(75)
    watch.look(12)
    assert {kind for each in watch.asked for kind in each} == {"runs", "runners"}


def test_a_single_tick_asks_for_no_hints() -> None:
    watch = Watch(MANY).until_warm()
    watch.tap.heard.clear()
    watch.observer.observe(deep=False)
    assert not [name for name in watch.tap.heard if name.endswith((GRAPH, "/workflows"))]


def test_few_points_an_hour_are_spread_over_it() -> None:
    """A job's own token has a thousand: four queries every 15 s, of which here five would be wanted."""
    watch = Watch(MANY, workflows=5)
    watch.token.points = 1000
    watch.look(30)
    assert {each["graphql"] for each in watch.asked[20:]} == {4}
    assert max(each.total() for each in watch.asked[20:]) <= REQUESTS
    name = watch.resting[0]
    watch.run(name)
    watch.look(2)
    assert watch.seen == {name}
    watch.token.queried = 979  # somebody else's
    watch.look(3)
    assert [each["graphql"] for each in watch.asked[-2:]] == [0, 0]
    assert watch.token.queried <= 983
    assert watch.snapshot.unseen == ()


def test_slow_answers_are_asked_for_less_often() -> None:
    """GraphQL has 60 seconds of processor time in any minute; what its answers take is the measure."""
    watch = Watch(MANY, workflows=10)
    watch.until_warm()
    assert watch.asked[-1]["graphql"] == 10
    watch.sim.github.fault(Fault(FaultKind.SLOW, path=GRAPH, value=2, times=None))
    watch.look(12)
    assert 3 <= watch.asked[-1]["graphql"] <= 4
    assert 4 * watch.asked[-1]["graphql"] * 2 <= 40
