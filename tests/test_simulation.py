"""
A fleet's life, played by hypothesis: whatever happens, no promise is broken, and in the end nothing is left.

The moves of a life that fails are written to `.cache/life.json`; a copy below `tests/lives/` is lived again by every
run of the tests. `FLEET_LIVES=2000 make test ARGS="-k fleet"` looks for more, at random.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from simulation import boxes
from simulation.boxes import Habit
from simulation.play import AWS_ACTIONS, AWS_CODES, AWS_FAULTS, GITHUB_FAULTS, GITHUB_PATHS, Play
from simulation.world import CONFIG, Simulation

HERE = Path(__file__).parent
FAILED = HERE.parent / ".cache" / "life.json"
LIVES = os.environ.get("FLEET_LIVES")

pytestmark = pytest.mark.lies


REUSED = CONFIG.replace("    max: 2\n", "    max: 2\n    ephemeral: false\n")
FLEETS = {
    "one job each": (CONFIG, 0),
    "reused": (REUSED, 0),
    "warm": (REUSED.replace("    max: 2\n", "    max: 2\n    min_idle: 1\n"), 2),
}
"""Configs, and how many runners stay when there is nothing to do: min_idle counts per repository."""
HIDING = ["status", "html", "primary", "secondary", "throttle", "truncated", "lost", "count"]
LISTS = ["runs", "jobs", "runners", "all", "one repository"]
POOLS = st.sampled_from(["amd64", "amd64", "arm64"])
REPOSITORIES = st.sampled_from(["acme/api", "acme/web"])
WHICH = st.integers(0, 5)
MOVES: dict[str, tuple[st.SearchStrategy[Any], ...]] = {
    "push": (POOLS, REPOSITORIES, st.integers(1, 4), st.sampled_from([1, 5, 30, 120])),
    "cancel": (WHICH,),
    "rerun": (WHICH,),
    "up": (POOLS, REPOSITORIES, st.integers(1, 3)),
    "down": (WHICH, st.booleans()),
    "hold": (WHICH, st.booleans()),
    "watch": (st.integers(2, 7), st.sampled_from([15.0, 61.0, 130.0])),
    "crash": (st.integers(1, 12), st.booleans()),
    "race": (st.integers(1, 10), st.sampled_from([0.1, 2.0])),
    "meets_a_push": (st.integers(1, 6), POOLS, REPOSITORIES),
    "in_the_dark": (st.sampled_from(HIDING), st.sampled_from(LISTS)),
    "edited": (st.integers(1, 3), st.integers(0, 3)),
    "machines": (st.sampled_from([str(habit) for habit in Habit]),),
    "hang": (WHICH,),
    "interrupt": (WHICH,),
    "stop": (WHICH,),
    "unregister": (WHICH,),
    "github_fails": (
        st.sampled_from([str(kind) for kind in GITHUB_FAULTS]),
        st.sampled_from(sorted(GITHUB_PATHS)),
        st.integers(1, 6),
    ),
    "aws_fails": (
        st.sampled_from(AWS_FAULTS),
        st.sampled_from(AWS_ACTIONS),
        st.sampled_from(AWS_CODES),
        st.integers(1, 4),
    ),
    "no_capacity": (st.sampled_from(["spot", "on-demand", "*"]), st.integers(1, 5)),
    "lags": (st.sampled_from([0, 5, 60]), st.sampled_from([0, 5, 60]), st.sampled_from([0, 60])),
    "lies": (WHICH,),
    "state": (st.sampled_from([None, "{}", "nonsense"]),),
    "heal": (),
}


class FleetLife(RuleBasedStateMachine):
    """Every move is a rule; ticks and time come more often than mishaps."""

    @initialize(fleet=st.sampled_from(sorted(FLEETS)), every=st.sampled_from([60.0, 300.0, 900.0]))
    def begin(self, fleet: str, every: float) -> None:
        """A fleet, and how far apart the two ticks come after which all is served that can be."""
        self.fleet, self.every = fleet, every
        self.play = Play(Simulation(FLEETS[fleet][0]))

    @rule(seconds=st.sampled_from([5.0, 31.0, 61.0, 125.0, 310.0, 610.0, 3600.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.play.move("wait", seconds)

    @rule()
    def tick(self) -> None:
        """A healthy tick."""
        self.play.move("tick")

    @rule(move=st.one_of([st.tuples(st.just(name), *arguments) for name, arguments in MOVES.items()]))
    def happen(self, move: tuple[Any, ...]) -> None:
        """Something happens."""
        self.play.move(*move)

    @invariant()
    def no_promise_is_broken(self) -> None:
        """Judged on ground truth."""
        self._nothing_wrong([str(broken) for broken in self.play.simulation.oracle.broken])

    def teardown(self) -> None:
        """When everything works again, all is served and nothing is left."""
        self._nothing_wrong(self.play.settle(FLEETS[self.fleet][1], self.every))
        self.no_promise_is_broken()

    def _nothing_wrong(self, wrong: list[str]) -> None:
        if wrong:
            FAILED.parent.mkdir(exist_ok=True)
            life = {"fleet": self.fleet, "every": self.every, "moves": self.play.moves}
            FAILED.write_text(json.dumps(life) + "\n")
        assert wrong == []


TestFleetLife = FleetLife.TestCase
TestFleetLife.settings = settings(
    max_examples=int(LIVES or 40),
    derandomize=LIVES is None,
    database=None,
    stateful_step_count=40,
    # A life that fails is told as it was; who looks for them at random has minutes to make it shorter.
    phases=[Phase.generate, Phase.shrink] if LIVES else [Phase.generate],
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)


@pytest.mark.parametrize("life", sorted((HERE / "lives").glob("*.json")), ids=lambda path: path.stem)
def test_a_life_that_failed_once_ends_well(life: Path) -> None:
    told = json.loads(life.read_text())
    config, warm = FLEETS[told["fleet"]]
    play = Play(Simulation(config))
    for move in told["moves"]:
        play.move(*move)
        assert play.simulation.oracle.broken == []
    assert play.settle(warm, told["every"]) == []
    assert play.simulation.oracle.broken == []


def test_a_tick_without_the_wire_sees_and_decides_what_one_over_http_does() -> None:
    play = Play(Simulation())
    moves: list[tuple[Any, ...]] = [
        ("machines", "never online"),
        ("push", "amd64", "acme/api", 3, 30),
        ("push", "arm64", "acme/web", 3, 5),
        ("tick",),
        ("wait", 61.0),
        ("tick",),
        ("hang", 1),
        ("wait", 610.0),
        ("tick",),
        ("push", "ubuntu-latest", "acme/web", 1, 5),
    ]
    for move in moves:
        play.move(*move)
        direct, over_http = play.simulation.plan(), play.simulation.plan_over_http()
        assert direct.snapshot == over_http.snapshot
        assert direct.plan == over_http.plan


def test_simulated_machines_have_the_limits_of_the_boot_script() -> None:
    script = (HERE.parent / "packer/init-runner.sh").read_text()
    limits = dict(re.findall(r"\b([A-Z_]+(?:TIMEOUT|LIFETIME))=(\d+)", script))
    assert len(limits) == 3
    assert {name: float(value) for name, value in limits.items()} == {name: getattr(boxes, name) for name in limits}
