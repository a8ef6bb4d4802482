"""
`make soak`: a month under fault weather in virtual time. Prints what came of every promise; fails if one is broken.

The tick is the shipped one, adapters included, without the wire; every `SAMPLE`th plan is also made over HTTP, and
must be the same.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from statistics import quantiles

from benchmarks.weather import Weather
from scaler.model import Tick
from scaler.reporting import report
from scaler.reporting.page import markdown
from simulation.play import Play
from simulation.world import CONFIG, Simulation

SAMPLE = 400
RECENT = 100
"""So many of the newest secrets are looked for after each tick."""
FLEET = (
    CONFIG.replace("max_runners: 5", "max_runners: 20")
    .replace("max: 3", "max: 12")
    .replace("max: 2", "max: 8\n    min_idle: 1\n    ephemeral: false")
)
"""Two pools: one job one instance, and reused ones of which each repository keeps an idle one."""


class Soak:
    """One run of it."""

    def __init__(self, days: int, seed: int) -> None:
        """Nothing has happened yet."""
        self.days = days
        self.sim = Simulation(FLEET, seed)
        self.play = Play(self.sim)
        self.weather = Weather(self.play, seed)
        self.ticks = 0
        self.compared = 0
        self.immortal: set[str] = set()
        self.leaked: set[str] = set()
        self.sim.told = self._look_for_secrets
        self._last_tick = self.sim.clock.now()
        self._longest_gap = timedelta()

    def run(self) -> None:
        """All days, then healing and the end."""
        for minute in range(self.days * 1440):
            self.weather.minute(self.sim.clock.now().hour)
            if minute % 5 == 0 and self.weather.tick():
                self._note_tick()
            self.sim.advance(minutes=1)
            if minute % 720 == 0:
                self.sim.forget(timedelta(hours=6))
                self.play.moves.clear()
            left_on_this_day = 5 * SAMPLE - minute % (5 * SAMPLE)
            if left_on_this_day == 1:
                self._compare()

    def _note_tick(self) -> None:
        self.ticks += 1
        now = self.sim.clock.now()
        self._longest_gap = max(self._longest_gap, now - self._last_tick)
        self._last_tick = now
        # The machine's own end at max_lifetime, the scaler's ten minutes later, and a tick that sees it.
        oracle, lifetime = self.sim.oracle, timedelta(hours=6, minutes=10)
        for number, launched in oracle.alive().items():
            due = max(launched.at + lifetime, oracle.released.get(number, launched.at))
            if now > due + 2 * self._longest_gap and number not in oracle.held:
                self.immortal.add(number)

    def _look_for_secrets(self, tick: Tick) -> None:
        """In all that a tick tells people, GitHub, EC2's tags and SSM's names and descriptions, and the state."""
        del self.sim.secrets[:-RECENT]
        parameters = self.sim.aws.ssm.parameters.values()
        told = [
            *report.lines(tick),
            markdown(tick, self.sim.config),
            report.as_json(tick),
            *(f"{held.name} {held.description}" for held in parameters),
            *(held.value for held in parameters if held.type == "String"),
            *(str(each.tags) for each in self.sim.aws.ec2.all_seen()),
        ]
        text = "\n".join(told)
        self.leaked.update(secret for secret in self.sim.secrets if secret in text)

    def _compare(self) -> None:
        """A plan over HTTP must be the plan without the wire."""
        if list(self.sim.github.faults) or self.sim.aws.faults:
            self.sim.heal()
        direct, over_http = self.sim.plan(), self.sim.plan_over_http()
        for what in ("snapshot", "plan"):
            ours, theirs = asdict(getattr(direct, what)), asdict(getattr(over_http, what))
            if ours != theirs:
                differing = {key: (ours[key], theirs[key]) for key in ours if ours[key] != theirs[key]}
                raise AssertionError(f"over HTTP another {what}: {str(differing)[:2000]}")
        self.compared += 1

    def table(self, seconds: float) -> list[tuple[str, str]]:
        """What to print."""
        oracle = self.sim.oracle
        counts = oracle.counts
        percentiles = quantiles(oracle.waits, n=100)
        hours = counts.machine_time.total_seconds() / 3600
        return [
            ("virtual days", str(self.days)),
            ("ticks that ran to their end", str(self.ticks)),
            ("plans also made over HTTP, all the same", str(self.compared)),
            ("jobs queued / started", f"{counts.jobs} / {counts.served}"),
            ("instances launched, instance-hours", f"{counts.launched}, {hours:.0f}"),
            ("**jobs killed**", str(counts.killed)),
            ("**instances immortal**", str(len(self.immortal))),
            ("**cap overruns**", str(counts.over_caps)),
            ("**secrets told**", str(len(self.leaked))),
            ("**other promises broken**", str(len(oracle.broken) - counts.killed - counts.over_caps)),
            ("oldest instance at its end, held ones apart", str(counts.oldest).partition(".")[0]),
            ("most instances at once, of 20", str(counts.most_alive)),
            ("live runners removed by the scaler", str(counts.removed_alive)),
            ("residue: jobs taken within the minute before their runner's removal, GitHub saying idle",
             str(counts.removed_before_it_was_seen)),
            ("residue: jobs sent to a runner at the moment of its removal, and queued again",
             str(counts.sent_to_a_removed_runner)),
            ("jobs sent to a machine that had just ended or hung, and queued again", str(counts.sent_to_a_lost_machine)),
            ("jobs lost with an instance that was interrupted, stopped, forced, or hung", str(counts.lost_with_their_machine)),
            ("jobs ended at max_lifetime", str(counts.ended_at_max_lifetime)),
            ("wait for a runner: p50, p95, p99",
             ", ".join(f"{percentiles[n - 1]:.0f} s" for n in (50, 95, 99))),
            ("seconds it took", f"{seconds:.0f}"),
        ]  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Print the table; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(arguments)
    began = time.monotonic()
    soak = Soak(asked.days, asked.seed)
    soak.run()
    wrong = soak.play.settle(warm=2)
    print("| measure | value |\n|---|---|")
    for name, value in soak.table(time.monotonic() - began):
        print(f"| {name} | {value} |")
    for broken in soak.sim.oracle.broken:
        print(f"BROKEN {broken.at:%d %H:%M:%S} {broken.promise}: {broken.what}")
    for line in wrong:
        print(f"AT THE END {line}")
    return 1 if soak.sim.oracle.broken or soak.immortal or soak.leaked or wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
