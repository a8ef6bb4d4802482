"""
What a fuzzer finds: config files, inputs, API answers and states that nobody would write.

Each is the same on every run; `FUZZ=5000 make test ARGS="-k fuzz"` looks for more, at random.
"""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaler.decide import decide
from scaler.deciding.memory import StateError, decode, encode
from scaler.exits import Exit, exit_code
from scaler.model import Breaker, Link, Memory, Tick, Unavailable, View
from scaler.reporting import report
from scaler.reporting.page import markdown
from scaler.reporting.status import status
from scaler.sandbox.github.http import Request, Response
from scaler.settings.config import Config, ConfigError
from scaler.settings.inputs import INPUTS, Answered, InputError, Inputs, parse
from simulation.wire import Tap
from tests.configs import BASE, read
from tests.leftovers import Leftovers, leftovers
from tests.worlds import API, NOW, PREFIX, booting, config, ghost, idle, jobs, span, world

FUZZ = os.environ.get("FUZZ")
LONGEST = 300


def tries(count: int) -> settings:
    """So many examples, always the same, unless somebody looks for more."""
    return settings(
        max_examples=int(FUZZ or count),
        derandomize=FUZZ is None,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


pytestmark = pytest.mark.lies


# --- odd values ----------------------------------------------------------------------------------

TEXTS = [
    "",
    " ",
    "x" * 5000,
    "\0",
    "\x1b[31m",
    "::error::x",
    "##[add-mask]x",
    "\u202e",
    "\ud800",
    "null",
    "i-0",
    "é\n",
    "-1",
]
NUMBERS = [0, -1, 1, 2**31, 2**63, 10**400, -(10**400), 1.5, float("inf"), float("nan"), 1e308]
ODD: list[Any] = [None, True, False, [], {}, [None], {"": None}, *TEXTS, *NUMBERS]


def deep(levels: int) -> Any:
    """A value within lists within lists."""
    value: Any = None
    for _ in range(levels):
        value = [value]
    return value


def mutated(random: Random, value: Any, *, odd: list[Any] = ODD) -> Any:
    """A copy with one thing in it dropped, doubled, or made odd."""
    value = copy.deepcopy(value)
    where: Any = value
    while True:
        keys = list(where) if isinstance(where, dict) else list(range(len(where))) if isinstance(where, list) else []
        if not keys:
            return random.choice(odd)
        key = random.choice(keys)
        inner = where[key]
        if isinstance(inner, dict | list) and inner and random.random() < 0.8:
            where = inner
            continue
        match random.randrange(4):
            case 0:
                del where[key]
            case 1 if isinstance(where, list):
                where.append(copy.deepcopy(inner))
            case 2:
                where[key] = deep(60)
            case _:
                where[key] = random.choice(odd)
        return value


def is_one_line(text: str) -> bool:
    """Nothing that breaks out of its line, or fills the screen."""
    return len(text) <= LONGEST and text.isprintable()


# --- config.yaml ---------------------------------------------------------------------------------

WORDS = st.sampled_from(
    ["version", "fleet", "pools", "amd64", "max", "labels", "launch_template", "name", "repositories"]
)
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=5), inner, max_size=5),
    max_leaves=15,
)


def answered(text: str | bytes, folder: Path) -> None:
    """A config or its problems, each on one line."""
    try:
        found: Config | None = read(text, folder)
        problems = found.warnings if found else ()
    except ConfigError as error:
        problems = error.problems
        assert problems
    for problem in problems:
        assert is_one_line(str(problem).removeprefix(str(folder))), str(problem)


@tries(300)
@given(st.randoms(use_true_random=False), st.integers(1, 3))
def test_a_config_with_odd_values_is_read_or_refused_line_by_line(
    tmp_path_factory: pytest.TempPathFactory, random: Random, times: int
) -> None:
    tree = yaml.safe_load(BASE)
    for _ in range(times):
        tree = mutated(random, tree)
    text = json.dumps(tree) if random.random() < 0.5 else yaml.dump(tree, allow_unicode=True)
    answered(text.encode("utf-8", "surrogatepass"), tmp_path_factory.mktemp("fuzz"))


@tries(200)
@given(TREES)
def test_a_tree_of_anything_is_read_or_refused_line_by_line(
    tmp_path_factory: pytest.TempPathFactory, tree: Any
) -> None:
    answered(yaml.dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass"), tmp_path_factory.mktemp("fuzz"))


# --- inputs --------------------------------------------------------------------------------------

FLAGS = ["auto", "plan", "up", "down", "status", "-a", "-p", "-n", "-i", "-r", "--repo", "--force", "--wait", "--for"]
FLAGS += ["--every", "--linger", "--json", "--config", "-v", "--dry-run", "--", "-", "arm64", "i-0123456789abcdef0"]
ARGUMENTS = st.lists(st.sampled_from(FLAGS) | st.text(max_size=12) | st.sampled_from(TEXTS[:-3]), max_size=7)
NAMES = [f"RUNNER_SCALER_{name}" for name in INPUTS] + ["GH_TOKEN", "GITHUB_API_URL", "GITHUB_ACTIONS", "HTTPS_PROXY"]
VALUES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
VALUES |= st.sampled_from(
    ["true", "auto", "up", "5m", "9" * 400, "http://x", "https://x:99999999", "https://[", "1e9h"]
)
ENVIRONMENTS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6)


@tries(500)
@given(st.just(["action"]) | ARGUMENTS, ENVIRONMENTS)
def test_arguments_and_environments_are_read_or_refused_line_by_line(argv: list[str], env: dict[str, str]) -> None:
    try:
        assert isinstance(parse(argv, env), Inputs)
    except Answered:
        return
    except InputError as error:
        refused = error
    else:
        return
    assert refused.problems
    assert refused.code in (Exit.INPUT, Exit.CREDENTIALS)
    for problem in refused.problems:
        assert is_one_line(str(problem)), str(problem)


# --- answers -------------------------------------------------------------------------------------


def told(tick: Tick, scaled: Config) -> None:
    """Whatever was seen, it can be told: an exit code, a log, a summary, a document."""
    assert exit_code(tick) in set(Exit)
    assert all(line.isprintable() for line in report.lines(tick))
    json.loads(report.as_json(tick))
    markdown(tick, scaled).encode("utf-8", "surrogatepass")
    assert status(tick, scaled)
    assert report.alerts(tick) is not None


def unseen_scopes(tick: Tick, left: Leftovers) -> set[str]:
    """The scopes in which something was not seen."""
    unseen = [each for each in tick.snapshot.unseen if each.view in (View.QUEUE, View.RUNNERS, View.GROUP)]
    wholly = any(each.view in (View.INSTANCES, View.CLOCK) for each in tick.snapshot.unseen)
    return {scope for scope in left.scopes if wholly or any(each.scope in ("", scope) for each in unseen)}


@tries(120)
@given(st.randoms(use_true_random=False))
def test_a_tick_on_odd_answers_ends_and_ends_nothing_where_it_could_not_see(random: Random) -> None:
    left = leftovers()
    left.sim.push("amd64", jobs=2)
    whole = Tap(left.sim.clock)
    odd_at = random.randrange(30)

    def rewrite(_: str, answer: Any) -> Any:
        whole.calls += 1
        return mutated(random, answer) if whole.calls == odd_at or random.random() < 0.02 else answer

    before = len(list(left.sim.journal))
    try:
        tick = left.sim.tick(Tap(left.sim.clock, rewrite=rewrite))
    except Unavailable:
        assert left.ended(before) == {scope: set() for scope in left.scopes}
        return
    assert tick is not None
    told(tick, left.sim.config)
    if tick.snapshot.unseen:
        assert exit_code(tick) in (Exit.DEGRADED, Exit.CREDENTIALS)
    for scope in unseen_scopes(tick, left):
        assert left.ended(before)[scope] == set()
    assert left.sim.oracle.broken == []


# --- the state -----------------------------------------------------------------------------------

FULL = Memory(
    links={"amd64/0": Link(207_810_001, NOW)},
    launches={NOW: 3},
    breakers={
        "amd64": Breaker(1, NOW - span("20m"), None, 3, f"{API}#1"),
        "arm64": Breaker(3, NOW - span("2h"), NOW - span("31m"), 5, f"{API}#9"),
    },
    ghosts={f"{PREFIX}i-9": NOW},
    proven={"amd64@runner-amd64:3": NOW},
)


def usable(text: str) -> None:
    """Garbage is refused; what is taken can be decided upon and written again."""
    try:
        memory = decode(text)
    except StateError:
        return
    for snapshot in (world(jobs(3)), world(jobs(3), booting(), ghost()), world(idle(since="1h"))):
        plan = decide(config(), snapshot, memory)
        decode(encode(plan.memory))


@tries(600)
@given(st.randoms(use_true_random=False), st.integers(1, 3))
def test_a_state_with_odd_values_is_used_or_lost(random: Random, times: int) -> None:
    state = json.loads(encode(FULL))
    for _ in range(times):
        state = mutated(random, state)
    usable(json.dumps(state))


@tries(200)
@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")) | TREES.map(repr))
def test_a_state_of_anything_is_used_or_lost(text: str) -> None:
    usable(text)


@pytest.mark.parametrize("text", ["[" * 4096, '{"v":' * 800], ids=["lists", "objects"])
def test_a_state_that_is_nested_deeper_than_can_be_read_is_lost(text: str) -> None:
    with pytest.raises(StateError):
        decode(text)


def test_an_answer_that_is_nested_deeper_than_can_be_read_is_none() -> None:
    left = leftovers()
    answer = left.sim.server.answer

    def nested(request: Request) -> Response | None:
        return Response(200, b"[" * 100_000) if request.path.endswith("acme/api/actions/runners") else answer(request)

    left.sim.server.answer = nested  # type: ignore[method-assign]
    before = len(list(left.sim.journal))
    tick = left.sim.tick()
    assert tick is not None
    assert exit_code(tick) is Exit.DEGRADED
    assert left.ended(before)["acme/api"] == set()
