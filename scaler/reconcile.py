"""The shell around the decision: one tick, a bounded watch of ticks, and a wait for runners to come online."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

from scaler.act import Actor
from scaler.decide import decide
from scaler.model import ApiError, Clock, Down, GitHub, Memory, Reason, Scope, Subject, Tick, Up
from scaler.observe import Observer
from scaler.settings.config import Config

DEEP_EVERY = 10
"""Every tenth tick of a watch, and every single one, also lists waiting, pending and requested runs (D1)."""
PLAN_LIFE = timedelta(minutes=5)
"""A plan older than this is not acted on any more: the next tick sees the world anew (D3)."""
WORK = frozenset(
    {
        Reason.IDLE_RUNNER,
        Reason.BOOTING_RUNNER,
        Reason.LAUNCHING,
        Reason.POOL_FULL,
        Reason.FLEET_FULL,
        Reason.BUDGET_SPENT,
        Reason.BREAKER_OPEN,
        Reason.UNPROVEN,
        Reason.NO_CAPACITY,
        Reason.LOST,
        Reason.RERUN,
        Reason.SUPPLY_UNSEEN,
    }
)
STIRRING = frozenset(
    {
        Reason.BOOTING,
        Reason.NO_SCOPE,
        Reason.BUSY,
        Reason.IDLE,
        Reason.WANTED,
        Reason.SURPLUS,
        Reason.LEAVING,
        Reason.DRAINING,
        Reason.GHOST,
    }
)
"""
What a watch stays for. A running job is of it: what comes after it (a second stage, a reused runner's end) is announced
by nobody. A hosted job is not, for it takes no instance; nor is an instance on hold, which may be so for days.
"""


class Reconciler:
    """Ticks of one fleet. Holds the memory of the last one, in case the state parameter cannot be read."""

    def __init__(self, config: Config, observer: Observer, actor: Actor, clock: Clock) -> None:
        """Everything it needs is built by `__main__`."""
        self._clock = clock
        self._config = config
        self._observer = observer
        self._actor = actor
        self._memory: Memory | None = None

    def plan(self, *, deep: bool = True, every: timedelta | None = None) -> Tick:
        """A tick without its effects; another one follows after `every`, unless that is None."""
        snapshot, memory = self._observer.observe(deep=deep, known=self._memory, every=every)
        return Tick(snapshot, decide(self._config, snapshot, memory))

    def tick(self, *, deep: bool = True, every: timedelta | None = None) -> Tick:
        """Observe, decide, act."""
        began = self._clock.monotonic()
        return self._act(self.plan(deep=deep, every=every), began)

    def by_hand(self, asked: Sequence[Up | Down]) -> Tick:
        """What the button asks for: launches or ends of instances, by the same decision."""
        began = self._clock.monotonic()
        ups = [ask for ask in asked if isinstance(ask, Up)]
        downs = [ask for ask in asked if isinstance(ask, Down)]
        snapshot, memory = self._observer.observe_for_up(ups) if ups else self._observer.observe_for_down(downs)
        return self._act(Tick(snapshot, decide(self._config, snapshot, memory)), began)

    def _act(self, planned: Tick, began: float) -> Tick:
        acted = self._actor.act(planned.plan, planned.snapshot, lambda: is_late(self._clock, began))
        self._memory = acted.memory
        return Tick(planned.snapshot, planned.plan, acted.outcomes, acted.unseen)

    def watch(self, run_for: timedelta, every: timedelta, linger: timedelta, on_tick: Callable[[Tick], None]) -> bool:
        """
        Tick every `every` until `run_for` is over, or there was no work for `linger`; whether some is left.

        The clock starts a tick at a fixed pace; a tick that takes longer than `every` is followed at once.
        """
        clock = self._clock
        start = worked = clock.monotonic()
        number = 0
        while True:
            began = clock.monotonic()
            tick = self.tick(deep=number % DEEP_EVERY == 0, every=every)
            on_tick(tick)
            number += 1
            now = clock.monotonic()
            quiet = is_quiet(tick)
            worked = worked if quiet else now
            over = began + every.total_seconds() > start + run_for.total_seconds()
            if over or (quiet and now - worked >= linger.total_seconds()) or clock.stopping():
                return has_work(tick) and not clock.stopping()
            clock.sleep(began + every.total_seconds() - now)
            if clock.stopping():
                return False


def is_late(clock: Clock, began: float) -> bool:
    """Whether a tick begun at that time may start nothing more: it is to stop, or its plan is too old."""
    return clock.stopping() or clock.monotonic() - began > PLAN_LIFE.total_seconds()


def is_quiet(tick: Tick) -> bool:
    """Whether nothing needs the scaler: no job to serve, no instance that boots, works, idles or leaves, all seen."""
    return not (tick.snapshot.unseen or tick.unseen or has_work(tick))


def has_work(tick: Tick) -> bool:
    """Whether a tick, in what it saw, had something to do or to wait for."""
    reasons = ((WORK if v.subject is Subject.JOB else STIRRING, v.reason) for v in tick.plan.verdicts)
    return bool(tick.outcomes) or any(reason in awaited for awaited, reason in reasons)


def wait_online(
    clock: Clock, github: GitHub, expected: Sequence[tuple[Scope, str]], limit: timedelta
) -> list[tuple[Scope, str]]:
    """Wait until the runners are online, at most `limit`; those that are not by then."""
    deadline = clock.monotonic() + limit.total_seconds()
    missing = list(expected)
    while True:
        try:
            online = {
                runner.name for scope in {s for s, _ in missing} for runner in github.runners(scope) if runner.online
            }
        except ApiError:
            online = set()  # unseen is not offline: look again
        missing = [(scope, name) for scope, name in missing if name not in online]
        if not missing or clock.stopping() or clock.monotonic() >= deadline:
            return missing
        clock.sleep(2)
