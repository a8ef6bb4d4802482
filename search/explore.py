"""Every schedule of the ticks of two processes, breadth first, and what is true of the world in each state."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from scaler.deciding.offerings import offerings
from scaler.model import Up
from scaler.settings.config import Config, Pool
from search.answers import Rules, answers
from search.ticks import Done, Scheme, Ticks
from search.world import Call, Left, World, events, name_of

POINTS = frozenset({"instances", "load_state", "launch", "look", "save_state", "terminate"})
"""
Calls between which others may come. The rest run together with the next of these: they neither launch nor tell
what lives, and another order of them is no other way over a cap.
"""
LIFE = 6 * 60
"""No process lives for longer: GitHub ends a job after six hours."""
SLOW_POINTS = POINTS | {"date"}
QUIET = {"clock", "parameters", "runners"}
"""What a trace does not tell."""
HAND_OVER_POINTS = POINTS | {"parameters", "runners", "jit_secret", "put_parameter", "tag", "remove_runner"}


@dataclass(frozen=True)
class Environment:
    """
    What two processes run in: the versions of the config, the misfortunes, the ticks of each process.

    `asks` is what each is asked for by hand; nothing: it is `auto`. `time` and `state` are how the search begins:
    the minute after noon, the state parameter. With `shards` each process has a config of its own, in their order.
    """

    name: str
    configs: tuple[Config, ...]
    left: Left
    passes: tuple[int, ...] = (2, 2)
    asks: tuple[tuple[Up, ...], ...] = ((), ())
    queues: tuple[tuple[int, ...], ...] = ((1, 2),)
    points: frozenset[str] = POINTS
    empty_spends: bool = True
    time: int = 0
    state: str | None = None
    shards: bool = False

    def rules(self, scheme: Scheme) -> Rules:
        """The world's rules for this environment."""
        pools = {pool.name: pool for pool in self.configs[0].pools}
        in_turn = list(pools.values())
        return Rules(
            queues=self.queues,
            labels=lambda pool: frozenset(pools[pool].labels),
            token=scheme.token,
            parameters=lambda config, pool, terms: (terms, self._pool(config, pool).launch_template.version),
            offered=lambda config, pool, terms: tuple(
                name for name in offerings(self._pool(config, pool), terms.market).values() if name not in terms.skipped
            ),
            labels_of_job=lambda job: frozenset(in_turn[job % len(in_turn)].labels),
            empty_spends=self.empty_spends,
        )

    def _pool(self, config: int, name: str) -> Pool:
        return next(pool for pool in self.configs[config].pools if pool.name == name)


class Process(NamedTuple):
    """A process between two ticks (`tick` is None) or within one; `known` is its memory of the last."""

    left: int
    asked: tuple[Up, ...]
    known: str | None = None
    tick: int | None = None


class State(NamedTuple):
    """The world, and where each process is."""

    world: World
    processes: tuple[Process, ...]


@dataclass
class Found:
    """What was counted over all states. `trace` leads to the first bad one by the shortest way."""

    states: int = 0
    over: int = 0
    doubled: int = 0
    spare: int = 0
    rehanded: int = 0
    fleet: int = 0
    complete: bool = True
    trace: list[str] = field(default_factory=list)


class Search:
    """One environment under one scheme."""

    def __init__(self, environment: Environment, scheme: Scheme) -> None:
        """Nothing explored yet."""
        self._environment = environment
        self._ticks = Ticks(environment.configs, scheme)
        self._rules = environment.rules(scheme)
        configs = environment.configs
        # Judged by the largest max that stood: who launched under it did no wrong.
        self._max = {
            name: max(pool.max for config in configs for pool in config.pools if pool.name == name)
            for name in {pool.name for pool in configs[0].pools}
        }
        self._fleet = max(config.max_runners for config in configs)
        self._needs = max(len(queue) for queue in environment.queues) + sum(
            ask.count for asks in environment.asks for ask in asks
        )
        # The processes are alike: which of them did what makes no other state.
        self._alike = len(set(environment.asks)) == 1 and not environment.shards

    def run(self, most: int | None = None, *, trace: str = "") -> Found:
        """Explore all states (or `most`); with `trace`, stop at the first that is bad in that respect."""
        environment, found = self._environment, Found()
        processes = tuple(
            Process(passes, asked) for passes, asked in zip(environment.passes, environment.asks, strict=True)
        )
        world = World(environment.left, environment.time, state=environment.state, before=environment.state)
        start = State(world, processes)
        ahead, seen = deque([start]), {hash(start)}
        came: dict[State, tuple[State, str]] = {}
        while ahead:
            state = ahead.popleft()
            bad = self._count(state, found)
            if trace and bad[trace]:
                found.trace = _way(came, state)
                return found
            if most is not None and found.states >= most:
                found.complete = False
                return found
            for label, after in self._successors(state):
                reached = after if trace or not self._alike else _in_order(after)
                number = hash(reached)
                if number not in seen:
                    seen.add(number)
                    ahead.append(reached)
                    if trace:
                        came[reached] = (state, label)
        return found

    def _count(self, state: State, found: Found) -> dict[str, bool]:
        machines = state.world.machines
        pools = Counter(machine.pool for machine in machines)
        slots = Counter((machine.pool, machine.slot) for machine in machines)
        bad = {
            "over": any(count > self._max[pool] for pool, count in pools.items()),
            "doubled": any(count > 1 for count in slots.values()),
            "spare": len(machines) > self._needs,
            "rehanded": any(machine.puts > 1 for machine in machines),
        }
        found.states += 1
        for name, is_bad in bad.items():
            setattr(found, name, getattr(found, name) + is_bad)
        found.fleet = max(found.fleet, len(machines) - self._fleet)
        return bad

    def _successors(self, state: State) -> Iterator[tuple[str, State]]:
        world, processes = state
        if not any(process.left or process.tick is not None for process in processes):
            return
        for number, process in enumerate(processes):
            who = chr(ord("A") + number)
            for said, changed, moved in self._moves(
                world, process, number if self._environment.shards else world.config
            ):
                yield f"{who}: {said}", State(changed, _with(processes, number, moved))
            if process.tick is not None and (fewer := world.spent("crashes")) is not None:
                crashed = process._replace(tick=None, known=None)
                yield f"{who} crashes", State(fewer, _with(processes, number, crashed))
        for what, changed in events(world, len(self._environment.configs)):
            outlived = changed.time - world.time > LIFE
            ended = tuple(process._replace(tick=None, known=None) for process in processes)
            yield what, State(changed, ended if outlived else processes)

    def _moves(self, world: World, process: Process, config: int) -> Iterator[tuple[str, World, Process]]:
        if process.tick is None:
            if not process.left:
                return
            tick = self._ticks.begin(config, process.asked, process.known)
            process = process._replace(left=process.left - 1, known=None, tick=tick)
        assert process.tick is not None  # noqa: S101 - it has just begun
        for said, changed, tick in self._advance(world, process.tick, ""):
            pending = self._ticks.pending(tick)
            if isinstance(pending, Done):
                known = pending.memory if process.left else None
                yield f"{said}; the tick ends", changed, process._replace(tick=None, known=known)
            else:
                yield said, changed, process._replace(tick=tick)

    def _advance(self, world: World, tick: int, said: str) -> Iterator[tuple[str, World, int]]:
        """The calls up to and including the next point, in every way that they may be answered."""
        call = self._ticks.pending(tick)
        if isinstance(call, Done):
            yield said, world, tick
            return
        for note, answer, changed in answers(self._rules, world, call):
            after = self._ticks.after(tick, answer)
            told = said if call.name in QUIET else "; ".join(filter(None, (said, f"{_spoken(call)}: {note}")))
            if call.name in self._environment.points:
                yield told, changed, after
            else:
                yield from self._advance(changed, after, told)


def _spoken(call: Call) -> str:
    return " ".join((call.name, *map(str, call.arguments)))


def _with(processes: tuple[Process, ...], number: int, process: Process) -> tuple[Process, ...]:
    return (*processes[:number], process, *processes[number + 1 :])


def _in_order(state: State) -> State:
    return state._replace(processes=tuple(sorted(state.processes, key=hash)))


def _way(came: dict[State, tuple[State, str]], state: State) -> list[str]:
    way = [f"alive: {', '.join(f'{name_of(m.number)} in {m.pool}/{m.slot}' for m in state.world.machines)}"]
    while state in came:
        state, label = came[state]
        way.append(label)
    return way[::-1]
