"""A world in which every scope holds one of each thing that a tick may end, in virtual time, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from scaler.model import Up
from scaler.sandbox.journal import Entry
from simulation.boxes import Habit
from simulation.oracle import TAG
from simulation.world import CONFIG, Simulation

KINDS = frozenset({"idle", "drained", "offline", "orphan", "stopped", "ghost", "parameter"})
TEXT = CONFIG.replace("max_runners: 5", "max_runners: 40").replace("    max: 3\n", "    max: 20\n")
TEXT = TEXT.replace("    max: 2\n", "    max: 20\n    ephemeral: false\n")
AT_AN_ORGANIZATION = TEXT.replace(
    "repositories:", "github: {register_at: organization, organization: acme}\nrepositories:"
)


@dataclass
class Leftovers:
    """The world; `things` tells the instances and parameters apart: scope and kind by id."""

    sim: Simulation
    things: dict[str, tuple[str, str]] = field(default_factory=dict)
    scopes: tuple[str, ...] = ("acme/api", "acme/web")

    def launched(self, kind: str, pool: str, habit: Habit = Habit.WELL) -> list[str]:
        """One instance more in every scope."""
        self.sim.boxes.manners.always = habit
        before = set(self.sim.oracle.alive())
        for scope in self.scopes:
            self.sim.by_hand(Up(pool, scope, 1))
            (new,) = set(self.sim.oracle.alive()) - before - set(self.things)
            self.things[new] = scope, kind
        self.sim.advance(seconds=30)
        return [number for number in self.sim.oracle.alive() if number not in before]

    def ended(self, since: int) -> dict[str, set[str]]:
        """What the scaler ended, by scope: ground truth from so many journal entries on."""
        found: dict[str, set[str]] = {scope: set() for scope in self.scopes}
        for entry in list(self.sim.journal)[since:]:
            thing = self._ended(entry)
            if thing is not None:
                found[thing[0]].add(thing[1])
        return found

    def _ended(self, entry: Entry) -> tuple[str, str] | None:
        facts = entry.facts
        if entry.what == "instance.ending" and facts["by"] == "api":
            return self.things[facts["id"]]
        if entry.what == "runner.removed" and facts["by"] == "api":
            return self.things[facts["runner"].removeprefix(self.sim.prefix)]
        if entry.what == "parameter.deleted" and facts["principal"] == self.sim.aws.ambient.principal.arn:
            return self.things[facts["name"].rpartition("/")[2]]
        return None


def leftovers(text: str = TEXT) -> Leftovers:
    """
    The world in the moment in which a healthy tick ends everything in it.

    An idle runner past idle_timeout; one that was drained and hangs; one that is offline and one that never came, marked
    for minutes; a stopped one; a ghost; and the parameter of a machine that is gone.
    """
    sim = Simulation(text)
    found = Leftovers(sim)
    if sim.config.organization:
        found.scopes = (sim.config.organization,)
        sim.github.add_group("acme", "Default", visibility="selected", repositories=sim.config.repositories)
    for repository in sim.config.repositories:
        sim.push("gpu", repository=repository)  # nobody serves it; its jobs are looked at
    gone = found.launched("ghost", "amd64", Habit.HANGS)
    found.launched("offline", "amd64", Habit.HANGS)
    found.launched("orphan", "arm64", Habit.HANGS)
    found.launched("idle", "arm64")
    drained, stopped = found.launched("drained", "arm64"), found.launched("stopped", "arm64")
    with sim.clock.lock:
        for number in gone:
            sim.aws.ec2.end(number, "spot")
    sim.advance(minutes=11)
    sim.tick()
    with sim.clock.lock:
        for made_up, scope in enumerate(found.scopes):
            found.things[f"i-{made_up:017x}"] = scope, "parameter"
            _put(sim, f"i-{made_up:017x}", scope)
    sim.advance(minutes=6)
    with sim.clock.lock:
        for number in drained:
            sim.boxes.crash(number)
            (runner,) = [r for r in sim.github.registered() if r.name.endswith(number)]
            sim.github.remove_runner(runner.id)
            held = sim.aws.ec2.get(number)
            assert held is not None
            since = (sim.clock.now() - timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
            sim.aws.ec2.retag(number, {**held.tags, f"{TAG}draining-since": since}, "hand")
        for number in stopped:
            sim.aws.ec2.stop(number)
    sim.advance(seconds=15)
    return found


def _put(sim: Simulation, instance_id: str, scope: str) -> None:
    name, description = f"/runner-scaler/{sim.config.fleet}/{instance_id}", f"scope={scope} runner=- tick=gone"
    params = {"Name": name, "Value": "{}", "Type": "SecureString", "Description": description}
    sim.aws.perform("ssm", "PutParameter", params, sim.aws.ambient.principal)
