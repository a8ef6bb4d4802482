"""
The promises, judged on ground truth: what the world's journal says, whatever the scaler believed.

`docs/promises.md` states them for people. The oracle hears every entry as it is written, so that a promise broken
for a second between two steps is broken.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from datetime import datetime, timedelta

from scaler.deciding.room import LAUNCHES_PER_HOUR_AND_SLOT
from scaler.sandbox.clock import Clock
from scaler.sandbox.github.state import Job
from scaler.sandbox.journal import Entry, Journal
from scaler.settings.config import Config
from simulation.boxes import Boxes
from simulation.shown import Shown

TAG = "runner-scaler:"
HOLD_IS_SEEN = timedelta(minutes=2)
"""EC2's lists may lag behind a new tag, and a plan behind the list."""
UNSEEN = timedelta(minutes=1)
"""GitHub may call a runner idle for up to 60 s after it took a job, and let it be removed: what promise 1 leaves."""
KILLED, CAP, FOREIGN, HELD, BUDGET = "job killed", "over a cap", "not ours", "held", "over the budget"
UNSEEN_TOUCHED = "touched unseen"


@dataclass(frozen=True, slots=True)
class Broken:
    """A promise that was broken: which, when, and what happened."""

    promise: str
    at: datetime
    what: str


@dataclass
class Counts:
    """What the soak prints. Residues are what the promises leave open, counted apart."""

    launched: int = 0
    jobs: int = 0
    served: int = 0
    killed: int = 0
    over_caps: int = 0
    most_alive: int = 0
    oldest: timedelta = timedelta()
    machine_time: timedelta = timedelta()
    ended_at_max_lifetime: int = 0
    removed_alive: int = 0
    removed_before_it_was_seen: int = 0
    sent_to_a_removed_runner: int = 0
    sent_to_a_lost_machine: int = 0
    lost_with_their_machine: int = 0


class Oracle:
    """Watches one fleet's world."""

    def __init__(self, config: Config, clock: Clock, journal: Journal, boxes: Boxes, prefix: str) -> None:
        """Broken promises are kept in `broken`; `forced` are instances that somebody wants ended at any price."""
        self.config = config
        self.broken: list[Broken] = []
        self.counts = Counts()
        self.forced: set[str] = set()
        self.held: dict[str, datetime] = {}
        self.ever_held: set[str] = set()
        self.released: dict[str, datetime] = {}
        self.waits: list[float] = []
        self._clock = clock
        self._boxes = boxes
        self._prefix = prefix
        self._alive: dict[str, Entry] = {}
        self._launches: deque[datetime] = deque()
        self._queued: dict[int, datetime] = {}
        self._removed: set[str] = set()
        self._judged: set[int] = set()
        journal.listeners.append(self._hear)

    def alive(self) -> dict[str, Entry]:
        """The fleet's living instances, by id, as they were launched."""
        return self._alive

    def _break(self, promise: str, what: str) -> None:
        self.counts.over_caps += promise == CAP
        self.broken.append(Broken(promise, self._clock.now(), what))

    def _hear(self, entry: Entry) -> None:
        heard = getattr(self, "_" + entry.what.replace(".", "_"), None)
        if heard is not None:
            heard(entry)

    # --- instances -----------------------------------------------------------------------------

    def _instance_launched(self, entry: Entry) -> None:
        tags = entry.facts["tags"]
        if tags.get(f"{TAG}fleet") != self.config.fleet:
            return
        self.counts.launched += 1
        self._alive[entry.facts["id"]] = entry
        self.counts.most_alive = max(self.counts.most_alive, len(self._alive))
        pools = Counter(each.facts["tags"][f"{TAG}pool"] for each in self._alive.values())
        for pool in self.config.pools:
            if pools[pool.name] > pool.max:
                self._break(CAP, f"{pools[pool.name]} instances of pool {pool.name}, whose max is {pool.max}")
        exact = self.config.max_runners >= sum(pool.max for pool in self.config.pools)
        if exact and len(self._alive) > self.config.max_runners:
            self._break(CAP, f"{len(self._alive)} instances of at most {self.config.max_runners}")
        self._launches.append(entry.at)
        while entry.at - self._launches[0] > timedelta(hours=1):
            self._launches.popleft()
        if len(self._launches) > LAUNCHES_PER_HOUR_AND_SLOT * self.config.max_runners:
            self._break(BUDGET, f"{len(self._launches)} launches in an hour")

    def _instance_ending(self, entry: Entry) -> None:
        number, by = entry.facts["id"], entry.facts["by"]
        launched = self._alive.pop(number, None)
        job = self._boxes.working(number)
        if by == "api" and launched is None and number not in self.forced:
            self._break(FOREIGN, f"instance {number} is not of the fleet, and was ended")
        if launched is None:
            return
        age = entry.at - launched.at
        if number not in self.ever_held:
            self.counts.oldest = max(self.counts.oldest, age)
        self.counts.machine_time += age
        since = self.held.get(number)
        if by == "api" and since is not None and entry.at - since >= HOLD_IS_SEEN:
            self._break(HELD, f"instance {number} has a hold tag, and was ended")
        if job is None:
            return
        if by == "spot" or number in self.forced:
            self._judged.add(job.id)
            self.counts.lost_with_their_machine += 1
        else:
            self._judge_loss(job, launched, f'instance {number} was ended while it ran "{job.name}"')

    def _judge_loss(self, job: Job, launched: Entry, what: str) -> None:
        """A job that the scaler ended: allowed past max_lifetime, and counted apart where GitHub hid it."""
        now = self._clock.now()
        self._judged.add(job.id)
        pool = self.config.pool(launched.facts["tags"][f"{TAG}pool"])
        if pool is not None and now - launched.at >= pool.max_lifetime:
            self.counts.ended_at_max_lifetime += 1
        elif job.started_at is not None and now - job.started_at <= UNSEEN and self._boxes.hides(launched.facts["id"]):
            self.counts.removed_before_it_was_seen += 1
        else:
            self.counts.killed += 1
            self._break(KILLED, what)

    # --- runners -------------------------------------------------------------------------------

    def _runner_removed(self, entry: Entry) -> None:
        name, by = entry.facts["runner"], entry.facts["by"]
        if by != "api":
            return
        if not name.startswith(self._prefix):
            self._break(FOREIGN, f"runner {name} is not of the fleet, and was removed")
        self._removed.add(name)
        self.counts.removed_alive += self._boxes.listens(name.removeprefix(self._prefix))
        number = name.removeprefix(self._prefix)
        job, launched = self._boxes.working(number), self._alive.get(number)
        if job is not None and launched is not None and number not in self.forced:
            # GitHub answers 422 to this unless it lies about `busy`, which is when a kill would go unseen.
            self._judge_loss(job, launched, f'runner {name} was removed while it ran "{job.name}"')

    # --- jobs ----------------------------------------------------------------------------------

    def _job_queued(self, entry: Entry) -> None:
        if not entry.facts["hosted"]:
            self.counts.jobs += 1
            self._queued[entry.facts["job"]] = entry.at

    def _job_started(self, entry: Entry) -> None:
        since = self._queued.pop(entry.facts["job"], None)
        if since is not None:
            self.counts.served += 1
            self.waits.append((entry.at - since).total_seconds())

    def _job_requeued(self, entry: Entry) -> None:
        # Sent to a runner that was taken away before it could acquire the job (actions/runner#4461): the residue.
        if entry.facts["runner"] in self._removed:
            self.counts.sent_to_a_removed_runner += 1
        else:
            self.counts.sent_to_a_lost_machine += 1

    def _job_lost(self, entry: Entry) -> None:
        """GitHub gives a job up: if nobody ended its machine, that was stopped, or hung."""
        self.counts.lost_with_their_machine += entry.facts["job"] not in self._judged

    # --- parameters ----------------------------------------------------------------------------

    def _parameter_deleted(self, entry: Entry) -> None:
        if not entry.facts["name"].startswith(f"/runner-scaler/{self.config.fleet}/"):
            self._break(FOREIGN, f"parameter {entry.facts['name']} is not of the fleet, and was deleted")

    # --- what was not seen ---------------------------------------------------------------------

    def touched(self, shown: Shown, kind: str, what: str) -> None:
        """A process ends or removes something: all of its scope must have been shown to it, max_lifetime apart."""
        number, scope = what, self.scope_of(what)
        if kind == "runner":
            runner = self._boxes.github.state.runners.get(int(what))
            if runner is None or runner.id in shown.minted:
                return
            number, scope = runner.name.removeprefix(self._prefix), runner.scope
        elif kind == "parameter":
            number = what.rpartition("/")[2]
            held = self._boxes.aws.ssm.parameters.get(what)
            if held is None or number in shown.ended:
                return
            scope = _described(held.description)
        else:
            shown.ended.add(number)
        launched = self._alive.get(number)
        if number in shown.forced or (kind == "instance" and launched is None) or self._is_expired(launched):
            return
        if hidden := shown.hidden(scope):
            self._break(UNSEEN_TOUCHED, f"{kind} {what} of {scope or 'no scope'}, while {hidden} was not seen whole")

    def scope_of(self, number: str) -> str | None:
        """Where an instance's runner is, as far as anything in the world tells."""
        held = self._boxes.aws.ec2.get(number)
        parameter = self._boxes.aws.ssm.parameters.get(f"/runner-scaler/{self.config.fleet}/{number}")
        records = (r.scope for r in self._boxes.github.state.runners.values() if r.name == self._prefix + number)
        tagged = held.tags.get(f"{TAG}scope") if held else None
        return tagged or (_described(parameter.description) if parameter else None) or next(records, None)

    def _is_expired(self, launched: Entry | None) -> bool:
        pool = self.config.pool(launched.facts["tags"][f"{TAG}pool"]) if launched else None
        return pool is not None and launched is not None and self._clock.now() - launched.at >= pool.max_lifetime


def _described(description: str) -> str | None:
    """The scope that a parameter's description tells."""
    return next((word.removeprefix("scope=") for word in description.split() if word.startswith("scope=")), None)
