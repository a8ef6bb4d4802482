"""
A tick as a function of the answers it was given.

The real Observer, decide and Actor run with ports that feed them recorded answers; where these end, the next call
is what the tick asks for. So a tick in the middle of its work is a value, and can be gone on with in every way.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from scaler import model
from scaler.act import Actor
from scaler.decide import decide
from scaler.deciding.memory import decode, encode
from scaler.model import (
    GraphIds,
    Image,
    Instance,
    Job,
    LaunchAnswer,
    Parameter,
    Plan,
    Removal,
    Repository,
    Run,
    RunEnd,
    Runner,
    Runs,
    Scope,
    Secret,
    Snapshot,
    Terms,
    Unseen,
    Up,
)
from scaler.observe import Observer
from scaler.reconcile import is_late
from scaler.settings.config import Config
from search.world import PREFIX, Answer, Call, Raised, moment

RAISED = {"Unavailable": model.Unavailable, "NameTaken": model.NameTaken}


@dataclass(frozen=True)
class Scheme:
    """
    A way to choose client tokens: what the shipped one is, or where another differs from it.

    `token` makes one of pool, slot, link and a number never used before; `plan` may change what was decided,
    `hear` what EC2 answered.
    """

    name: str
    token: Callable[[str, int, int, int], Hashable] = lambda pool, slot, link, _: (pool, slot, link)
    plan: Callable[[Plan], Plan] = lambda plan: plan
    hear: Callable[[LaunchAnswer], LaunchAnswer] = lambda answer: answer


class Asked(BaseException):  # not an Exception: nothing of the program may catch it
    """The recorded answers are used up, and this is the next call."""

    def __init__(self, call: Call) -> None:
        super().__init__(call.name)
        self.call = call


class Ports:
    """GitHub, AWS and the clock: recorded answers, in their order."""

    def __init__(self, scheme: Scheme) -> None:
        """Nothing recorded yet."""
        self._hear = scheme.hear
        self._history: Sequence[Answer] = ()
        self._position = 0
        self._config = 0
        self.loaded: str | None = None

    def rewind(self, history: Sequence[Answer], config: int, loaded: str | None = None) -> None:
        """Begin anew, with these answers, for a tick with the config of that number."""
        self._history, self._position = history, 0
        self._config, self.loaded = config, loaded

    def _ask(self, name: str, *arguments: Hashable) -> Answer:
        if self._position == len(self._history):
            raise Asked(Call(name, arguments, self._config))
        answer = self._history[self._position]
        self._position += 1
        if isinstance(answer, Raised):
            raise RAISED[answer.kind](answer.kind)
        return answer

    def now(self) -> datetime:
        """GitHub's clock and AWS's."""
        return moment(self._ask("date"))

    def monotonic(self) -> float:
        """The tick's own clock in seconds."""
        return float(self._ask("clock") * 60)

    def sleep(self, seconds: float) -> None:
        """No tick sleeps."""
        raise NotImplementedError

    def stopping(self) -> bool:
        """A crash is a tick that is not gone on with."""
        return False

    def room(self, every: float | None, *, patience: float) -> int | None:  # noqa: ARG002 - the port's words
        """No limit."""
        return None

    def hint_queries(self, every: float, reads: int) -> int:  # noqa: ARG002 - the port's words
        """All is looked at."""
        return 0

    def graph_ids(self, repository: str) -> GraphIds:
        """Nobody asks: there are no hints."""
        raise NotImplementedError

    def hints(self, workflows: Sequence[str], repositories: Sequence[str]) -> Mapping[str, datetime | None]:
        """Nobody asks: there are no hints."""
        raise NotImplementedError

    def runs(self, repository: str, status: str) -> Runs:
        """All jobs are of one run."""
        return Runs((Run(1, repository, status, "1", None),) if status == "queued" else ())

    def jobs(self, run: Run) -> tuple[Job, ...]:
        """The jobs."""
        answer: tuple[Job, ...] = self._ask("jobs", run.repository)
        return answer

    def runners(self, scope: Scope) -> tuple[Runner, ...]:
        """The runners' records."""
        answer: tuple[Runner, ...] = self._ask("runners", scope)
        return answer

    def repository(self, name: str) -> Repository:
        """It is private."""
        return Repository(name, public=False, closed=False)

    def repositories(self, owner: str) -> tuple[Repository, ...]:
        """Nobody asks: the config has no pattern."""
        raise NotImplementedError

    def group_repositories(self, organization: str, group: str) -> frozenset[str] | None:
        """Nobody asks: runners register at the repository."""
        raise NotImplementedError

    def jit_secret(self, scope: Scope, name: str, labels: tuple[str, ...], group: str | None) -> Secret:  # noqa: ARG002
        """A record and its secret, or a 409."""
        answer: Secret = self._ask("jit_secret", scope, name)
        return answer

    def token_secret(self, scope: Scope) -> Secret:
        """Nobody asks: the pools register by JIT."""
        raise NotImplementedError

    def remove_runner(self, scope: Scope, runner_id: int) -> Removal:
        """DELETE a record."""
        answer: Removal = self._ask("remove_runner", scope, runner_id)
        return answer

    def runner_deadline(self, scope: Scope, version: str) -> datetime | None:
        """Nobody asks: no machine tells its image."""
        raise NotImplementedError

    def run_end(self, repository: str, run_id: int) -> RunEnd:
        """Nobody asks: no machine is at a job."""
        raise NotImplementedError

    def rerun(self, repository: str, run_id: int, job_id: int | None) -> str:
        """Nobody asks: no machine is at a job."""
        raise NotImplementedError

    def registration_url(self, scope: Scope) -> str:
        """Always the same."""
        return f"https://github.com/{scope}"

    def instances(self) -> tuple[Instance, ...]:
        """A list of instances, maybe a stale one."""
        answer: tuple[Instance, ...] = self._ask("instances")
        return answer

    def instance(self, instance_id: str) -> tuple[Instance, str] | None:
        """Nobody asks: that is for `down`."""
        raise NotImplementedError

    def look(self, instance_ids: tuple[str, ...]) -> Mapping[str, Instance]:
        """Instances by id."""
        if not instance_ids:
            return {}
        return {found.id: found for found in self._ask("look", instance_ids)}

    def images(self, image_ids: tuple[str, ...]) -> tuple[Image, ...]:
        """Nobody asks: no machine tells its image."""
        raise NotImplementedError

    def launch(self, pool: str, slot: int, link: int, terms: Terms) -> LaunchAnswer:
        """CreateFleet, as the scheme understands it."""
        return self._hear(self._ask("launch", pool, slot, link, terms))

    def terminate(self, instance_id: str) -> bool:
        """End an instance."""
        answer: bool = self._ask("terminate", instance_id)
        return answer

    def tag(self, instance_id: str, key: str, value: str | None) -> None:
        """Write a tag."""
        self._ask("tag", instance_id, key, value)

    def parameters(self) -> tuple[Parameter, ...]:
        """The secrets that are there."""
        answer: tuple[Parameter, ...] = self._ask("parameters")
        return answer

    def put_parameter(self, instance_id: str, value: str, scope: Scope, runner_id: int | None) -> bool:  # noqa: ARG002
        """Put a secret once."""
        answer: bool = self._ask("put_parameter", instance_id, scope, runner_id)
        return answer

    def parameter_name(self, instance_id: str) -> str:
        """The id itself."""
        return instance_id

    def delete_parameters(self, names: tuple[str, ...]) -> None:
        """Delete secrets."""
        self._ask("delete_parameters", names)

    def load_state(self, part: str = "") -> str | None:
        """The state parameter, maybe a stale one. What a shard counts for itself is no matter of the caps: it is lost."""
        if part:
            return None
        self.loaded = self._ask("load_state")
        return self.loaded

    def save_state(self, value: str, part: str = "", *, always: bool = False) -> bool:
        """Write it, as AwsApi does: if it changed, or always; the first one without overwriting."""
        if part or (not always and value == self.loaded):
            return True
        written: bool = self._ask("save_state", value, self.loaded is not None)  # or it is there, and the same
        if written:
            self.loaded = value
        return written


class Begun(NamedTuple):
    """How a tick begins: with which config, asked for what by hand, knowing which memory of the tick before."""

    config: int
    asked: tuple[Up, ...]
    known: str | None


class Planned(NamedTuple):
    """What an observation came to: all that acting depends on. The plan is without sentences and verdicts."""

    config: int
    commands: tuple[model.Command, ...]
    memory: str
    now: datetime
    unseen: tuple[Unseen, ...]
    began: float
    loaded: str | None


class Done(NamedTuple):
    """A tick that has ended, with the memory it leaves to the next of its process."""

    memory: str


class Ticks:
    """All ticks of one scheme that were met so far, each as a number."""

    def __init__(self, configs: Sequence[Config], scheme: Scheme) -> None:
        """`configs` are the versions of config.yaml, the oldest first."""
        self._scheme = scheme
        self._ports = Ports(scheme)
        ports = self._ports
        self._observers = [Observer(config, ports, ports, PREFIX, connections=1) for config in configs]
        # One call at a time: the order of what a tick does is then a function of its answers.
        self._actors = [Actor(config, ports, ports, mask=lambda _: None, launchers=1) for config in configs]
        self._configs = configs
        self._numbers: dict[tuple[Begun | Planned, tuple[Answer, ...]], int] = {}
        self._ticks: list[tuple[Begun | Planned, tuple[Answer, ...]]] = []
        self._pending: list[Call | Done] = []
        self._after: dict[tuple[int, Answer], int] = {}

    def begin(self, config: int, asked: tuple[Up, ...], known: str | None) -> int:
        """A tick that has done nothing yet."""
        return self._number(Begun(config, asked, known), ())

    def pending(self, tick: int) -> Call | Done:
        """What a tick asks for next, if it has not ended."""
        return self._pending[tick]

    def after(self, tick: int, answer: Answer) -> int:
        """The tick that was given this answer."""
        known = self._after.get((tick, answer))
        if known is None:
            begin, history = self._ticks[tick]
            known = self._after[tick, answer] = self._number(begin, (*history, answer))
        return known

    def _number(self, begin: Begun | Planned, history: tuple[Answer, ...]) -> int:
        known = self._numbers.get((begin, history))
        if known is not None:
            return known
        try:
            pending: Call | Done | Planned = (
                self._observe(begin, history) if isinstance(begin, Begun) else self._act(begin, history)
            )
        except Asked as asked:
            pending = asked.call
        if isinstance(pending, Planned):
            number = self._number(pending, ())
        else:
            number = len(self._ticks)
            self._ticks.append((begin, history))
            self._pending.append(pending)
        self._numbers[begin, history] = number
        return number

    def _observe(self, begin: Begun, history: tuple[Answer, ...]) -> Planned:
        ports = self._ports
        ports.rewind(history, begin.config)
        observer, config = self._observers[begin.config], self._configs[begin.config]
        began = ports.monotonic()
        if begin.asked:
            snapshot, memory = observer.observe_for_up(begin.asked)
        else:
            known = None if begin.known is None else decode(begin.known)
            snapshot, memory = observer.observe(deep=True, known=known)
        plan = self._scheme.plan(decide(config, snapshot, memory))
        commands = tuple(replace(command, sentence="") for command in plan.commands)
        unseen = tuple(replace(each, why="") for each in snapshot.unseen)
        return Planned(begin.config, commands, encode(plan.memory), snapshot.now, unseen, began, ports.loaded)

    def _act(self, planned: Planned, history: tuple[Answer, ...]) -> Done:
        ports = self._ports
        ports.rewind(history, planned.config, planned.loaded)
        plan = Plan(planned.commands, memory=decode(planned.memory))
        snapshot = Snapshot(planned.now, PREFIX, unseen=planned.unseen)
        acted = self._actors[planned.config].act(plan, snapshot, lambda: is_late(ports, planned.began))
        return Done(encode(acted.memory))
