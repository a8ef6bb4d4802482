"""GitHub's limits: what a token may ask in a minute and in an hour is not gone over, and nobody waits for long."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scaler.exits import Exit, exit_code
from scaler.github.api import GitHubApi
from scaler.github.budget import GRAPHQL, LONGEST_WAIT, POINTS, READS, Budget
from scaler.model import Deferred, NotAsked, Plan, Tick
from scaler.observe import Observer
from scaler.sandbox.clock import Clock as WorldClock
from scaler.sandbox.github.faults import Fault, FaultKind
from scaler.sandbox.github.server import GitHubServer
from scaler.sandbox.github.world import GitHubWorld
from scaler.sandbox.journal import Journal
from simulation.wire import TOKEN
from simulation.world import CONFIG, Simulation
from tests.test_observe import Heard, observer

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


class Hand:
    """A clock that is pushed by whoever sleeps."""

    def __init__(self) -> None:
        self.at = 0.0

    def monotonic(self) -> float:
        """Seconds."""
        return self.at

    def sleep(self, seconds: float) -> None:
        """Let them pass."""
        self.at += seconds

    def stopping(self) -> bool:
        """Nobody asks."""
        return False


def told(remaining: int = 4999, limit: int = 5000, reset: datetime = NOON + timedelta(hours=1)) -> dict[str, str]:
    numbers = {"remaining": remaining, "limit": limit, "reset": int(reset.timestamp())}
    return {f"x-ratelimit-{name}": str(number) for name, number in numbers.items()}


def budget(hand: Hand) -> Budget:
    return Budget(hand, lambda: NOON + timedelta(seconds=hand.at))


def ask(asked: Budget, *, read: bool = True, **headers: Any) -> None:
    asked.take(read=read)
    asked.hear(200, told(**headers))


def test_reads_leave_room_for_writes_within_any_minute() -> None:
    hand = Hand()
    asked = budget(hand)
    for _ in range(READS):
        ask(asked)
    with pytest.raises(Deferred):
        ask(asked)
    writes = 0
    while hand.at == 0.0:
        ask(asked, read=False)
        writes += 1
    assert READS + (writes - 1) * 5 <= POINTS < 900
    assert writes > 25


def test_a_read_waits_for_the_minute_to_pass_where_it_may(hand: Hand) -> None:
    asked = budget(hand)
    asked.begin(patience=65)
    for _ in range(2 * READS):
        ask(asked)
    assert 59 <= hand.at <= 61
    with pytest.raises(Deferred):
        ask(asked)


class Stopped(Hand):
    """A clock whose process was asked to stop: no sleep takes any time, and whoever does not look sleeps for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.slept = 0

    def sleep(self, seconds: float) -> None:
        """Nothing passes."""
        self.slept += seconds > 0
        assert self.slept == 1

    def stopping(self) -> bool:
        """Somebody has asked."""
        return True


def test_who_waits_for_a_minutes_points_can_be_stopped() -> None:
    asked = budget(Stopped())
    asked.begin(patience=65)
    for _ in range(READS):
        ask(asked)
    with pytest.raises(NotAsked, match="the process is to stop"):
        ask(asked)


@pytest.fixture
def hand() -> Hand:
    return Hand()


def test_a_tick_plans_for_its_share_of_a_minute(hand: Hand) -> None:
    asked = budget(hand)
    asked.begin(patience=0)
    assert asked.room(15) == READS // 5
    for _ in range(READS - 10):
        ask(asked)
    assert asked.room(15) == 10
    hand.sleep(61)
    assert asked.room(15) == READS // 5
    assert asked.room(60) == READS // 2
    asked.begin(patience=65)
    assert asked.room(None) == 2 * READS


def test_queries_for_hints_are_shared_out_over_graphql_s_own_hour(hand: Hand) -> None:
    asked = budget(hand)
    assert asked.queries(15, READS // 5) == 0, "everything can be looked at"
    assert asked.queries(15, READS // 5 + 1) == 1, "the first one tells the limit"
    asked.take(read=True, resource=GRAPHQL)
    asked.hear(200, told(remaining=4900), GRAPHQL, 0.1)
    assert asked.queries(15, READS) == 4800 * 15 // 3600
    hand.sleep(1800)
    assert asked.queries(15, READS) == 4800 * 15 // 1800
    asked.take(read=True, resource=GRAPHQL)
    asked.hear(200, told(remaining=100), GRAPHQL, 0.1)
    assert asked.queries(15, READS) == 0
    hand.sleep(1801)
    assert asked.queries(15, READS) == 4900 * 15 // 3600, "another hour"
    asked.take(read=True)


def test_queries_are_fewer_where_their_answers_take_long(hand: Hand) -> None:
    """40 seconds of any minute's 60: the fifth of them is a tick's."""
    asked = budget(hand)
    for _ in range(30):
        asked.take(read=True, resource=GRAPHQL)
        asked.hear(200, told(), GRAPHQL, 2.0)
    assert asked.queries(15, READS) == 4
    asked.hear(200, told(), GRAPHQL, 0.1)
    assert asked.queries(15, READS) == 4, "one that was fast says little"


def test_who_names_no_limits_has_none(hand: Hand) -> None:
    """GitHub Enterprise Server, unless somebody switches them on (docs: configuring rate limits)."""
    asked = budget(hand)
    for _ in range(2000):
        asked.take(read=True)
        asked.hear(200, {})
    assert asked.room(15) is None
    assert asked.queries(15, 10_000) == 0, "nor needs hints"


def test_the_last_requests_of_an_hour_are_for_registering_and_removing_runners(hand: Hand) -> None:
    asked = budget(hand)
    ask(asked, remaining=101)
    ask(asked, remaining=100)
    with pytest.raises(NotAsked, match="100 of 5000 requests are left until 13:00:00 UTC") as caught:
        asked.take(read=True)
    assert not isinstance(caught.value, Deferred)
    ask(asked, read=False, remaining=99)
    hand.sleep(3600)
    asked.take(read=True)


def test_answers_that_overtake_each_other_do_not_raise_what_is_left(hand: Hand) -> None:
    asked = budget(hand)
    ask(asked, remaining=100)
    asked.take(read=False)
    asked.hear(200, told(remaining=4000))
    with pytest.raises(NotAsked):
        asked.take(read=True)


def test_another_hour_begins_anew(hand: Hand) -> None:
    asked = budget(hand)
    ask(asked, remaining=100)
    asked.take(read=False)
    asked.hear(200, told(reset=NOON + timedelta(hours=2)))
    asked.take(read=True)


@pytest.mark.parametrize(("seconds", "waited"), [(5, True), (LONGEST_WAIT + 1, False)])
def test_when_github_wants_to_hear_nothing_it_hears_nothing(hand: Hand, seconds: float, *, waited: bool) -> None:
    asked = budget(hand)
    asked.take(read=True)
    asked.hear(403, {"retry-after": str(int(seconds))})
    for read in (True, False):
        if waited:
            asked.take(read=read)
        else:
            with pytest.raises(NotAsked, match="Retry-After"):
                asked.take(read=read)
    assert hand.at == (seconds if waited else 0)


# --- at the embedded GitHub ------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[GitHubServer]:
    clock = WorldClock(NOON, speed=0)
    server = GitHubServer(GitHubWorld(clock, Journal(clock)))
    server.world.set(points_a_minute=900, requests_at_once=100)
    server.world.add_repository("acme/api")
    server.start()
    yield server
    server.stop()


def test_many_threads_stay_within_the_points_and_the_requests_at_once(server: GitHubServer) -> None:
    server.world.add_token(TOKEN, limit=5000)
    github = GitHubApi(TOKEN, server.url, Hand())
    github.room(15, patience=0)

    def look(_: int) -> bool:
        try:
            github.runs("acme/api", "queued")
        except Deferred:
            return False
        return True

    with ThreadPoolExecutor(64) as threads:
        assert sum(threads.map(look, range(1000))) == READS
    assert (server.limits.refused, server.limits.most_at_once <= 64) == (0, True)


def test_the_hour_is_never_spent_to_the_last_request(server: GitHubServer) -> None:
    server.world.add_token(TOKEN, limit=500)
    github = GitHubApi(TOKEN, server.url, Hand())
    github.room(15, patience=0)
    github.runs("acme/api", "queued")
    server.world.tokens[TOKEN].used = 489
    github.runs("acme/api", "in_progress")
    with pytest.raises(NotAsked):
        github.runs("acme/api", "waiting")
    assert server.world.tokens[TOKEN].used == 490
    assert github.token_secret("acme/api").value


MANY = tuple(f"acme/r{number:03}" for number in range(40))
FLEET = CONFIG.replace("[acme/api, acme/web]", f"[{', '.join(MANY)}]")
EVERY = timedelta(seconds=15)


class Watch:
    """A watch of forty repositories by a token that may read so many lists in a tick."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, reads: int) -> None:
        monkeypatch.setattr("scaler.github.budget.READS", reads * 5)
        self.sim = Simulation(FLEET)
        self.tap = Heard(self.sim.clock, latency=0.01)
        self.observer: Observer = observer(self.sim, self.tap)

    def look(self, *, deep: bool = False) -> tuple[set[str], Tick]:
        """One look: the repositories it looked at, and a tick of it."""
        self.tap.heard.clear()
        began = self.sim.clock.now()
        self.snapshot = self.observer.observe(deep=deep, every=EVERY)[0]
        looked = {name.split("/")[2] + "/" + name.split("/")[3] for name in self.tap.heard if name.endswith("/runs")}
        self.sim.clock.advance(15 - (self.sim.clock.now() - began).total_seconds())
        return looked, Tick(self.snapshot, Plan())


def test_who_does_not_fit_into_a_tick_has_its_turn_in_a_later_one(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch, reads=20)
    seen: list[set[str]] = []
    for _ in range(4):
        looked, tick = watch.look()
        seen.append(looked)
        assert watch.snapshot.deferred == set(MANY) - looked
        assert (watch.snapshot.unseen, exit_code(tick)) == ((), Exit.OK)
        assert len([name for name in watch.tap.heard if name.endswith("/runs")]) <= 20
    assert set.union(*seen) == set(MANY)
    assert sum(map(len, seen)) == len(MANY)


def test_where_something_goes_on_is_looked_at_in_every_tick_and_its_jobs_are_kept_if_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watch = Watch(monkeypatch, reads=20)
    watch.sim.push("gpu", repository=MANY[5])
    for _ in range(4):
        watch.look()
    for _ in range(3):
        assert MANY[5] in watch.look()[0]
    for name in MANY[10:20]:
        watch.sim.push("gpu", repository=name)
    for _ in range(8):
        watch.look()
    for _ in range(6):
        watch.look()
        assert len(watch.snapshot.jobs) == 11
        assert watch.snapshot.deferred


def test_nothing_is_older_than_the_stated_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """2.5 N / (r / 4) ticks at the worst: docs/performance.md."""
    watch = Watch(monkeypatch, reads=20)
    for name in MANY[:30]:
        watch.sim.push("gpu", repository=name)
    last, oldest = dict.fromkeys(MANY, 0), 0
    for number in range(60):
        for name in watch.look(deep=number % 10 == 0)[0]:
            last[name] = number
        oldest = max(oldest, *(number - each for each in last.values()))
    assert 4 < oldest <= 2.5 * len(MANY) / (20 / 4)


def test_one_look_alone_waits_for_a_minute_and_tells_what_it_could_not_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scaler.github.budget.READS", 30)
    sim = Simulation(FLEET)
    began = sim.clock.now()
    snapshot = observer(sim, Heard(sim.clock, latency=0.01)).observe(deep=True)[0]
    assert timedelta(seconds=58) < sim.clock.now() - began < timedelta(seconds=65)
    assert (len(snapshot.unseen), snapshot.deferred) == (10, frozenset())
    assert exit_code(Tick(snapshot, Plan())) is Exit.DEGRADED


@pytest.mark.parametrize("kind", [FaultKind.SECONDARY, FaultKind.THROTTLE])
def test_after_a_refusal_nothing_more_is_asked_in_that_tick_nor_before_its_time(kind: FaultKind) -> None:
    sim = Simulation(FLEET)
    tap = Heard(sim.clock, latency=0.01)
    looker = observer(sim, tap)
    sim.github.fault(Fault(kind, path=f"{MANY[3]}/actions/runs", times=1, value=45))
    snapshot = looker.observe(deep=False, every=EVERY)[0]
    assert len(tap.heard) < 20
    assert {unseen.scope for unseen in snapshot.unseen} == set(MANY[3:])
    tap.heard.clear()
    sim.advance(seconds=15)
    assert len(looker.observe(deep=False, every=EVERY)[0].unseen) == len(MANY)
    assert not [name for name in tap.heard if name.startswith("GET")]
    sim.advance(seconds=31)
    assert looker.observe(deep=False, every=EVERY)[0].unseen == ()


def test_near_the_hours_end_the_oldest_waits_come_first() -> None:
    sim = Simulation(FLEET)
    looker = observer(sim, Heard(sim.clock, latency=0.01))
    for number, name in enumerate(reversed(MANY[:5])):
        sim.push("gpu", repository=name)
        sim.advance(seconds=10 + number)
    looker.observe(deep=False, every=EVERY)
    token = sim.github.tokens[TOKEN]
    token.used = token.limit - int(token.limit * 0.02) - 6
    for name in MANY:  # no list is as it was
        sim.push("gpu", repository=name)
    snapshot = looker.observe(deep=False, every=EVERY)[0]
    seen = set(MANY) - {unseen.scope for unseen in snapshot.unseen}
    assert seen <= set(MANY[2:5])
    assert "requests are left until" in snapshot.unseen[0].why
