"""
Patterns: `acme/*` stands for the repositories that GitHub lists of acme, but for those that are archived, disabled or public.

A list that fails undoes nothing: what it told before holds, and of what it never told nothing is ended.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from scaler.decide import decide
from scaler.exits import Exit, exit_code
from scaler.model import (
    Breaker,
    Deferred,
    Launch,
    Memory,
    Reason,
    Repository,
    Subject,
    Unavailable,
    View,
    matches,
)
from scaler.observing.patterns import Patterns, meaning
from scaler.sandbox.github.apps import App, Installation
from scaler.sandbox.github.faults import Fault, FaultKind
from simulation.world import CONFIG, Simulation
from tests.configs import changed, read
from tests.conftest import World
from tests.leftovers import KINDS, leftovers
from tests.test_doctor import doctor
from tests.test_github_app import KEY, PERMISSIONS, with_app
from tests.test_observe import Heard, observed
from tests.test_watch import Watch, watch
from tests.worlds import API, NOW, WEB, both, config, ghost, idle, instance, job, parameter, span, unseen
from tests.worlds import world as seen

__all__ = ["watch"]

LISTS = r"^/(user|orgs/acme)/repos$"
ALL = CONFIG.replace("[acme/api, acme/web]", "[acme/*]")


# --- what a pattern stands for -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "scope", "expected"),
    [
        ("acme/*", "acme/api", True),
        ("acme/*", "ACME/Api", True),
        ("Acme/API-*", "acme/api-web", True),
        ("acme/api-*", "acme/api", False),
        ("acme/*-api", "acme/web-api", True),
        ("acme/t-*-x", "acme/t-1-x", True),
        ("acme/*", "acme2/api", False),
        ("acme/*", "other/acme", False),
        pytest.param("acme/api-*", "acme", True, id="an organization's scope has repositories of any name"),
        pytest.param("acme/*", "other", False, id="another organization's"),
    ],
)
def test_a_pattern_fits_names_of_its_owner_in_any_case(pattern: str, scope: str, *, expected: bool) -> None:
    assert matches(pattern, scope) is expected


def row(name: str, *, public: bool = False, closed: bool = False) -> Repository:
    return Repository(name, public, closed)


ROWS = (row("acme/web"), row("acme/site", public=True), row("acme/old", closed=True), row("acme/Api"), row("acme/x"))


@pytest.mark.parametrize(
    ("allow_public", "served", "said"),
    [
        pytest.param(
            *(False, ("acme/web", "acme/Api", "acme/x")),
            "acme/*: 3 repositories; left out: 1 public, without allow_public (acme/site), 1 archived or disabled (acme/old)",
            id="public ones are left out",
        ),
        pytest.param(
            *(True, ("acme/web", "acme/site", "acme/Api", "acme/x")),
            "acme/*: 4 repositories; left out: 1 archived or disabled (acme/old)",
            id="with allow_public they are not",
        ),
    ],
)
def test_what_is_left_out_of_a_pattern_is_told(allow_public: bool, served: tuple[str, ...], said: str) -> None:
    found = meaning("acme/*", ROWS, allow_public=allow_public)
    assert (found.served, str(found)) == (served, said)


def test_a_list_of_repositories_and_patterns_is_their_union_each_once_as_the_config_spells_it(tmp_path: Path) -> None:
    given = read(changed(("[acme/api, acme/web]", "[acme/api, acme/*, other/x]")), tmp_path)
    assert (given.repositories, given.patterns) == (("acme/api", "other/x"), ("acme/*",))
    found, missing = Patterns(given, lambda _: ROWS).resolve(anew=True)
    assert missing == {}
    assert found.repositories == ("acme/api", "other/x", "acme/web", "acme/x")


def test_an_owner_is_listed_once_for_all_its_patterns() -> None:
    asked: list[str] = []

    def rows(owner: str) -> Sequence[Repository]:
        asked.append(owner)
        return ROWS

    Patterns(config(patterns=("acme/w*", "ACME/a*", "acme/x")), rows).resolve(anew=True)
    assert asked == ["acme"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (ROWS, "acme/nope-* fits no repository (the token sees 5 of acme's); correct the pattern"),
        ((), "acme/nope-* fits no repository (the token sees none of acme's); correct the pattern"),
    ],
)
def test_a_pattern_that_fits_nothing_is_not_believed_and_says_so_in_one_line(
    rows: tuple[Repository, ...], said: str
) -> None:
    """An empty list may be an outage's."""
    found, missing = Patterns(config(patterns=("acme/nope-*",)), lambda _: rows).resolve(anew=True)
    assert found.repositories == (API, WEB)
    assert str(missing["acme/nope-*"]).startswith(said)


# --- over the looks of a process ---------------------------------------------------------------------


class Lists:
    """An owner's list, answer by answer; the last one is repeated."""

    def __init__(self, *answers: tuple[str, ...] | Exception) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self, owner: str) -> tuple[Repository, ...]:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return tuple(row(f"{owner}/{name}") for name in answer)


@pytest.mark.parametrize(
    ("second", "missing"),
    [
        pytest.param(Unavailable("half"), ["acme/*"], id="a list that failed"),
        pytest.param((), ["acme/*"], id="an empty list"),
        pytest.param(Deferred("later"), [], id="one that waits for its turn is none that failed"),
    ],
)
def test_what_a_pattern_stood_for_holds_while_its_list_cannot_be_seen(second: Any, missing: list[str]) -> None:
    lists = Lists(("a", "b"), second, ("a", "c"))
    patterns = Patterns(config(patterns=("acme/*",), repositories=()), lists)
    found = [patterns.resolve(anew=anew) for anew in (True, True, False, False)]
    assert [sorted(each.repositories) for each, _ in found] == [
        ["acme/a", "acme/b"],
        ["acme/a", "acme/b"],
        ["acme/a", "acme/c"],
        ["acme/a", "acme/c"],
    ]
    assert [list(errors) for _, errors in found] == [[], missing, [], []]
    assert lists.asked == 3  # what was not told is asked for by the next look, however shallow; then no more


def test_a_first_list_that_waits_for_its_turn_is_unseen() -> None:
    _, missing = Patterns(config(patterns=("acme/*",)), Lists(Deferred("later"))).resolve(anew=True)
    assert list(missing) == ["acme/*"]


# --- what is decided of what was not seen --------------------------------------------------------------

NEW = "acme/new"
MISSING = unseen(View.REPOSITORIES, "acme/*")


def listed(*names: str) -> dict[str, Any]:
    return {"repositories": names}


@pytest.mark.parametrize(
    "left",
    [
        pytest.param(idle("i-1", scope=NEW, since="1h", age="2h"), id="an idle runner"),
        pytest.param(instance("i-1", scope=NEW, age="2h", draining_since=NOW - span("1h")), id="an orphan"),
        pytest.param(instance("i-1", scope=None, age="2h", draining_since=NOW - span("1h")), id="one without a scope"),
        pytest.param(ghost("i-9", scope=NEW), id="a ghost"),
        pytest.param(parameter("i-9", scope=NEW, age="2h"), id="a secret"),
    ],
)
def test_nothing_is_ended_where_an_unseen_pattern_may_stand_for_it(left: Any) -> None:
    remembered = Memory(start=0, ghosts={"main-1a2b3c-i-9": NOW - span("1h")})
    fleet = config(patterns=("acme/*",))
    assert decide(fleet, seen(left, MISSING, **listed(API)), remembered).commands == ()
    assert decide(fleet, seen(left, **listed(API)), remembered).commands != ()


def test_what_a_pattern_stood_for_before_is_seen_to_as_ever() -> None:
    left = both(idle("i-1", scope=NEW, since="1h", age="2h"), parameter("i-9", scope=NEW, age="2h"), MISSING)
    plan = decide(config(patterns=("acme/*",)), seen(left, **listed(API, NEW)), Memory(start=0))
    assert {type(command).__name__ for command in plan.commands} == {"Drain", "DeleteParameter"}


def test_jobs_of_a_pattern_that_is_not_seen_have_not_gone() -> None:
    """Else a broken pool would pass for one whose launches did their jobs (D10)."""
    row_of_launches = Breaker(0, NOW - span("20m"), None, 2, f"{NEW}#1")
    memory = Memory(start=0, breakers={"amd64": row_of_launches})
    plan = decide(config(patterns=("acme/*",)), seen(MISSING, **listed(API)), memory)
    assert plan.memory.breakers == {"amd64": row_of_launches}
    assert plan.memory.proven == {}


def test_what_a_pattern_stands_for_is_launched_for() -> None:
    plan = decide(
        config(repositories=(), patterns=("acme/*",)), seen(job(repository=NEW), **listed(NEW)), Memory(start=0)
    )
    assert [command.scope for command in plan.commands if isinstance(command, Launch)] == [NEW]


# --- in a world ----------------------------------------------------------------------------------------


@pytest.fixture
def sim() -> Simulation:
    sim = Simulation(ALL)
    for name in ("acme/api", "acme/web", "acme/new"):
        sim.github.add_repository(name)
    return sim


NO_LIST = Fault(FaultKind.STATUS, path=LISTS, value=502, times=None)


def test_a_repository_that_comes_to_be_is_served_from_the_next_deep_look_on(sim: Simulation) -> None:
    sim.ticks(1)
    sim.github.add_repository("acme/later")
    sim.push(repository="acme/later")
    sim.ticks(3)
    assert [run.conclusion for run in sim.github.state.runs.values()] == [None]
    assert len(sim.oracle.alive()) == 1


@pytest.mark.lies
def test_in_a_first_tick_whose_list_fails_nothing_is_ended_in_what_the_pattern_may_stand_for() -> None:
    """The others go on."""
    world = leftovers()
    world.sim.github.fault(NO_LIST)
    some = replace(world.sim.config, repositories=(WEB,), patterns=("acme/a*",))
    before = len(list(world.sim.journal))
    tick = world.sim.tick(config=some)
    assert tick is not None
    assert world.ended(before) == {WEB: set(KINDS), API: set()}
    assert exit_code(tick) is Exit.DEGRADED
    assert [(each.view, each.scope) for each in tick.snapshot.unseen] == [(View.REPOSITORIES, "acme/a*")]


def test_a_watch_whose_list_fails_goes_on_with_what_it_knew(sim: Simulation) -> None:
    reconciler = sim.reconciler()
    every = timedelta(seconds=15)
    reconciler.tick(every=every)
    sim.github.fault(NO_LIST)
    sim.push(repository="acme/new")
    tick = reconciler.tick(every=every)
    assert exit_code(tick) is Exit.DEGRADED
    assert len(sim.oracle.alive()) == 1
    sim.github.faults.clear()
    assert exit_code(reconciler.tick(deep=False, every=every)) is Exit.OK


@pytest.mark.parametrize("how", ["gone", "archived", "public"])
def test_a_machine_at_work_in_a_repository_that_left_its_pattern_is_left_to_its_job(sim: Simulation, how: str) -> None:
    """As one that config.yaml does not name any more: its own jobs still tell, where GitHub shows them."""
    sim.push(minutes=30, repository="acme/new")
    sim.ticks(4)
    (number,) = sim.oracle.alive()
    repository = sim.github.repository("acme/new")
    if how == "gone":
        del sim.github.state.repositories["acme/new"]
    elif how == "archived":
        repository.archived = True
    else:
        repository.private = False
    ticks = sim.ticks(10)
    assert list(sim.oracle.alive()) == [number]
    reasons = {v.reason for tick in ticks for v in tick.plan.verdicts if v.subject is Subject.INSTANCE}
    assert reasons == ({Reason.UNKNOWN} if how == "gone" else {Reason.BUSY})
    assert {exit_code(tick) for tick in ticks} == {Exit.DEGRADED if how == "gone" else Exit.OK}
    if how != "gone":
        sim.ticks(40)
        assert sim.left() == {"instances": [], "runners": [], "parameters": []}
    assert sim.oracle.broken == []


def test_a_list_of_several_pages_is_believed_when_it_was_read_twice_alike(sim: Simulation) -> None:
    """A row that slips from one page to another between two requests is on neither, and nothing tells."""
    for number in range(150):
        sim.github.add_repository(f"acme/r{number:03}")
    sim.github.fault(Fault(FaultKind.SHIFT, path=LISTS, query="page=2"))
    tap = Heard(sim.clock)
    snapshot = observed(sim, tap=tap)
    assert (snapshot.unseen, len(set(snapshot.repositories or ()))) == ((), 153)
    assert tap.heard.count("GET /user/repos") == 6


def test_a_list_that_changes_whenever_it_is_read_is_not_believed(sim: Simulation) -> None:
    for number in range(150):
        sim.github.add_repository(f"acme/r{number:03}")
    tap = Heard(sim.clock)
    tap.rewrite = lambda call, answer: answer[: -tap.calls] if re.search(r"/user/repos\?.*page=2", call) else answer
    (missing,) = observed(sim, tap=tap).unseen
    assert missing.view is View.REPOSITORIES
    assert "the list changed each of 3 times" in missing.why


# --- real commands -------------------------------------------------------------------------------------


@pytest.fixture
def fleet(world: World) -> World:
    """Two repositories of acme's that are served by a pattern, and three that are left out of it."""
    world.amend("[acme/api, acme/web]", "[acme/*]")
    world.box.github.add_repository("acme/site", private=False)
    world.box.github.add_repository("acme/old").archived = True
    world.box.github.add_repository("acme/held").disabled = True
    return world


STANDS = "acme/*: 2 repositories; left out: 1 public, without allow_public (acme/site), 2 archived or disabled (acme/"


def lists(world: World) -> list[str]:
    """What was asked about repositories, as it comes."""
    found: list[str] = []

    def note(exchange: Any) -> None:
        if exchange.path in ("/user/repos", "/orgs/acme/repos", "/installation/repositories"):
            found.append(f"{exchange.path} {exchange.status}")

    world.box.github_server.observers.append(note)
    return found


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        ("organization", ["/orgs/acme/repos 200"]),
        ("user", ["/orgs/acme/repos 404", "/user/repos 200"]),
        ("app", ["/installation/repositories 200"]),
        ("app of a user", ["/installation/repositories 200"]),
        ("an app's token", ["/installation/repositories 200"]),
    ],
)
def test_a_pattern_is_resolved_by_the_list_that_the_credential_has(fleet: World, kind: str, asked: list[str]) -> None:
    github = fleet.box.github
    if kind in ("organization", "app"):
        github.add_organization("acme")
        for repository in github.state.repositories.values():
            repository.owner_is_organization = True
    found = lists(fleet)
    fleet.push("build", repository="acme/web")
    fleet.push("risky", repository="acme/site")
    if kind.startswith("app"):
        github.apps.append(
            App(4711, "Iv23liAppOfTests", KEY.public_key(), installations=[Installation(5, "acme", PERMISSIONS)])
        )
        ran = with_app(fleet, "auto")
    elif kind.startswith("an app"):
        github.add_token("ghs_" + "x" * 36, "app", repositories=list(github.state.repositories))
        ran = fleet.scaler("auto", env={"GH_TOKEN": "ghs_" + "x" * 36})
    else:
        ran = fleet.scaler("auto")
    assert (ran.code, found) == (0, asked), ran.said
    assert f"repositories: {STANDS}" in ran.out
    assert [each.tags["runner-scaler:scope"] for each in fleet.box.aws.alive()] == ["acme/web"]


def test_a_watch_asks_with_every_tenth_tick_pays_once_and_says_once(fleet: World, watch: Watch, capsys: Any) -> None:
    found = lists(fleet)
    watch("--for", "6m", "--every", "15s", "--linger", "1h")
    assert found == ["/orgs/acme/repos 404", "/user/repos 200", "/user/repos 304", "/user/repos 304"]
    assert capsys.readouterr().out.count("repositories: acme/*: ") == 1


@pytest.mark.parametrize(
    ("repository", "code", "said"),
    [
        ("acme/web", 0, "launching into slot 0"),
        ("ACME/Web", 0, "launching into slot 0"),
        ("acme/site", 2, "acme/site is public"),
        ("acme/old", 4, "is archived or disabled: no runner can be registered"),
        ("acme/none", 4, "not found"),
        ("other/web", 2, 'config has no repository "other/web"'),
    ],
)
def test_up_takes_a_repository_that_a_pattern_stands_for(fleet: World, repository: str, code: int, said: str) -> None:
    found = lists(fleet)
    ran = fleet.scaler("up", "-a", "amd64", "--repo", repository)
    assert (ran.code, said in ran.said) == (code, True), ran.said
    assert len(fleet.box.aws.alive()) == (code == 0)
    assert found == []  # one repository is asked for, not all


def test_up_has_to_name_one_of_them(fleet: World) -> None:
    ran = fleet.scaler("up", "-a", "amd64")
    assert (ran.code, "--repo is needed: runners register at one of acme/*" in ran.said) == (2, True), ran.said
    ran = fleet.scaler("up", "-a", "amd64", "--repo", "acme/*")
    assert (ran.code, '"acme/*" is a pattern; name one repository' in ran.said) == (2, True), ran.said


def test_down_ends_what_runs_for_a_pattern(fleet: World) -> None:
    fleet.push("build", repository="acme/web")
    fleet.tick()
    fleet.boot()
    (machine,) = fleet.box.aws.alive()
    ran = fleet.scaler("down", "-i", machine.id, "--force")
    assert ran.code == 0, ran.said


@pytest.mark.parametrize("command", ["status", "plan"])
def test_a_look_alone_tells_what_each_pattern_stands_for(fleet: World, command: str) -> None:
    fleet.push("build", repository="acme/web")
    ran = fleet.scaler(command)
    assert ran.code == 0, ran.said
    assert ran.out.count(f"repositories: {STANDS}") == 1
    assert "build" in ran.out


def test_lint_and_doctor_look_at_what_the_patterns_stand_for(fleet: World) -> None:
    fleet.amend("[acme/*]", "[acme/*, acme/nope-*]")
    ran = fleet.scaler("lint")
    assert f"ok        pattern acme/*: {STANDS.removeprefix('acme/*: ')}" in ran.out
    assert "wrong     pattern acme/nope-*: acme/nope-* fits no repository (the token sees 5 of acme's)" in ran.out
    assert ran.code == 2
    assert [line for line in ran.out.splitlines() if line.startswith("ok        workflows of")] == [
        "ok        workflows of acme/api: 0 files: every job that can be told has its pool",
        "ok        workflows of acme/web: 0 files: every job that can be told has its pool",
    ]
    assert fleet.scaler("lint", "--offline", env={"GH_TOKEN": ""}).code == 0
    ran = doctor(fleet)
    assert "ok        repository acme/web: private" in ran.out
    assert "pattern acme/nope-*" in ran.out
    assert "requests left in this hour, 4 and more a tick" in ran.out


def test_a_pattern_that_fits_nothing_turns_a_tick_red_in_one_line_and_the_others_go_on(fleet: World) -> None:
    fleet.amend("[acme/*]", "[acme/api, acme/nope-*]")
    fleet.push("build")
    ran = fleet.scaler("auto")
    assert ran.code == 4
    told = [line for line in ran.out.splitlines() if "nope" in line]
    said = "acme/nope-* fits no repository (the token sees 5 of acme's); correct the pattern, or what the token may see"
    assert told == [f"  not seen: repositories acme/nope-*: {said}"]
    assert len(fleet.box.aws.alive()) == 1


def test_with_registration_at_an_organization_a_pattern_names_whom_the_group_may_serve(fleet: World) -> None:
    github = fleet.box.github
    github.add_organization("acme")
    for repository in github.state.repositories.values():
        repository.owner_is_organization = True
    github.add_group("acme", "Default", visibility="selected", repositories=["acme/api", "acme/web"])
    fleet.amend("repositories:", "github: {register_at: organization, organization: acme}\nrepositories:")
    fleet.push("build", repository="acme/web")
    ran = fleet.scaler("auto")
    assert ran.code == 0, ran.said
    assert [each.tags["runner-scaler:scope"] for each in fleet.box.aws.alive()] == ["acme"]
    github.fault(NO_LIST)
    assert fleet.scaler("auto").code == 4
