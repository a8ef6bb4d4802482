"""
Machines as the boot script makes them, in virtual time: `packer/init-runner.sh` and the runner program as one model.

`tests/test_boot.py` runs the real script; here are its limits and its order of steps, so that thousands of machines
live through months in seconds. The names of the limits are the script's.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from scaler.sandbox.aws.ec2_world import Instance
from scaler.sandbox.aws.error import AwsError
from scaler.sandbox.aws.world import AwsWorld
from scaler.sandbox.clock import Clock
from scaler.sandbox.github.state import Job, Refused, Runner
from scaler.sandbox.github.world import GitHubWorld
from scaler.sandbox.journal import Entry, Journal

SECRET_TIMEOUT, MAX_LIFETIME, STOP_TIMEOUT = 900.0, 86_400.0, 60.0
ASK_EVERY = 5.0
VERSION = "2.330.0"
FLEET = "runner-scaler:fleet"


class Habit(StrEnum):
    """What is wrong with a machine."""

    WELL = "well"
    HANGS = "hangs"  # the kernel hangs: the boot unit never starts
    LATE = "late"  # the boot unit starts ten minutes late
    NEVER_ONLINE = "never online"  # the listener starts and hangs
    REFUSED = "refused"  # config.sh is refused, or the JIT configuration
    DEAF = "deaf"  # the listener ignores SIGINT
    CRASHES = "crashes"  # gone without a word a while after it came online


LATE = 600.0
CRASH_AFTER = 90.0


@dataclass(slots=True)
class Manners:
    """How the next machines behave: `habits` are taken one a boot, then all are well."""

    boot_delay: float = 20.0
    start_delay: float = 4.0
    reaction: float = 1.0
    habits: list[Habit] = field(default_factory=list)
    always: Habit = Habit.WELL

    def next(self) -> Habit:
        """The next machine's."""
        return self.habits.pop(0) if self.habits else self.always


class Boxes:
    """All machines; EC2 boots and kills them through this."""

    def __init__(self, clock: Clock, journal: Journal, github: GitHubWorld) -> None:
        self.manners = Manners()
        self.clock = clock
        self.github = github
        self.boxes: dict[str, Box] = {}
        self._journal = journal
        self._aws: AwsWorld | None = None
        self._by_runner: dict[int, Box] = {}
        journal.listeners.append(self._hear)

    def connect(self, aws: AwsWorld) -> None:
        """The AWS whose instances these are."""
        self._aws = aws

    @property
    def aws(self) -> AwsWorld:
        """The AWS whose instances these are."""
        assert self._aws is not None  # noqa: S101 - connected before the first boot
        return self._aws

    def boot(self, instance: Instance) -> None:
        """An instance is running: its boot unit starts some seconds later. Other people's have none."""
        if FLEET not in instance.tags:
            return
        box = self.boxes[instance.id] = Box(self, instance, self.manners.next())
        if box.habit is Habit.HANGS:
            return
        late = LATE if box.habit is Habit.LATE else 0.0
        box.after(self.manners.boot_delay + late, box.start)

    def kill(self, instance_id: str) -> None:
        """An instance is shutting down: whatever ran on it has ended."""
        box = self.boxes.pop(instance_id, None)
        if box is not None:
            box.vanish()

    def crash(self, instance_id: str) -> None:
        """The machine hangs for good: nothing on it runs any more, EC2 says running."""
        box = self.boxes.get(instance_id)
        if box is not None:
            box.vanish()

    def working(self, instance_id: str) -> Job | None:
        """The job that a machine is at, in truth."""
        box = self.boxes.get(instance_id)
        job = None if box is None or box.dead else box.job
        return job if job is not None and job.status == "in_progress" else None

    def listens(self, instance_id: str) -> bool:
        """Whether a machine's listener was up, whatever it was at."""
        box = self.boxes.get(instance_id)
        return box is not None and not box.dead and box.runner is not None and box.runner.open_polls > 0

    def hides(self, instance_id: str) -> bool:
        """Whether GitHub says of a machine that is at a job that it is idle."""
        runner = self.boxes[instance_id].runner
        return runner is not None and not runner.reports_busy(self.github.settings, self.clock.now())

    def adopt(self, runner: Runner, box: Box) -> None:
        """A box's listener serves this runner from now on."""
        self._by_runner[runner.id] = box

    def tell_cancelled(self, run_id: int) -> None:
        """The runners of a cancelled run's jobs hear of it."""
        for box in list(self.boxes.values()):
            if box.job is not None and box.job.run.id == run_id and box.job.cancelling:
                box.after(3.0, box.finish, box.job)

    def _hear(self, entry: Entry) -> None:
        if entry.what not in ("job.dispatched", "runner.removed"):
            return
        box = self._by_runner.get(entry.facts["runner_id"])
        if box is None or box.dead:
            return
        if entry.what == "job.dispatched":
            box.after(self.manners.reaction, box.acquire, entry.facts["job"])
        else:
            box.after(2.0, box.removed)


class Box:
    """One machine, from the start of its boot unit to its power-off."""

    def __init__(self, boxes: Boxes, instance: Instance, habit: Habit) -> None:
        self.id = instance.id
        self.habit = habit
        self.dead = False
        self.started_at: datetime | None = None
        self.runner: Runner | None = None
        self.job: Job | None = None
        self.letter: dict[str, Any] = {}
        self._boxes = boxes
        self._timers: dict[str, int] = {}
        self._serial = 0

    # --- time ----------------------------------------------------------------------------------

    def after(self, seconds: float, step: Callable[..., None], *arguments: Any) -> None:
        """Do something later, if the machine still lives then."""

        def due() -> None:
            if not self.dead:
                step(*arguments)

        self._boxes.clock.after(seconds, due)

    def _arm(self, name: str, seconds: float, step: Callable[[], None]) -> None:
        self._serial += 1
        serial = self._timers[name] = self._serial

        def due() -> None:
            if self._timers.get(name) == serial:
                step()

        self.after(max(seconds, 1.0), due)

    def _disarm(self, name: str) -> None:
        self._timers.pop(name, None)

    # --- the boot script -----------------------------------------------------------------------

    def start(self) -> None:
        """`main`: the limits that need no secret come first."""
        self.started_at = self._boxes.clock.now()
        self._arm("lifetime", MAX_LIFETIME, self.power_off)
        self._arm("secret", SECRET_TIMEOUT, self.power_off)
        self._await_parameter()

    def _ask(self, action: str, **params: Any) -> dict[str, Any]:
        aws = self._boxes.aws
        role = aws.instance_role(self.id) or ""
        return aws.perform("ssm", action, params, aws.iam.of_instance(self.id, role).principal)

    def _await_parameter(self) -> None:
        name = f"/runner-scaler/{self._fleet}/{self.id}"
        try:
            answer = self._ask("GetParameter", Name=name, WithDecryption=True)
            self._ask("DeleteParameter", Name=name)
        except AwsError:
            self.after(ASK_EVERY, self._await_parameter)
            return
        self.letter = json.loads(answer["Parameter"]["Value"])
        limits = self.letter["limits"]
        assert self.started_at is not None  # noqa: S101 - set by start
        waited = (self._boxes.clock.now() - self.started_at).total_seconds()
        lifetime = min(limits["max_lifetime"], MAX_LIFETIME)
        self._arm("lifetime", lifetime - waited, self.power_off)
        self._arm("boot", min(limits["boot_timeout"] - waited, lifetime), self.power_off)
        self._disarm("secret")
        self.after(self._boxes.manners.start_delay, self._register)

    @property
    def _fleet(self) -> str:
        held = self._boxes.aws.instance(self.id)
        return held.tags.get(FLEET, "") if held else ""

    def _register(self) -> None:
        if self.habit is Habit.REFUSED:
            self.power_off()
            return
        github, letter = self._boxes.github, self.letter
        try:
            if letter["registration"] == "jit":
                members = json.loads(base64.b64decode(letter["secret"]))
                held = json.loads(base64.b64decode(members[".credentials"]))
                self.runner = github.dispatcher.authenticate(held["credential"])
            else:
                self.runner = github.runners.register(
                    github.scope_of(letter["url"]),
                    letter["secret"],
                    letter["name"],
                    letter["labels"],
                    group=letter["group"],
                    ephemeral=letter["ephemeral"],
                    replace=False,
                    version=VERSION,
                )
        except Refused:
            self.power_off()
            return
        if self.habit is not Habit.NEVER_ONLINE:
            self.after(self._boxes.manners.start_delay, self._listen)

    # --- the listener --------------------------------------------------------------------------

    def _listen(self) -> None:
        runner = self._registered
        self._boxes.adopt(runner, self)
        try:
            self._boxes.github.dispatcher.open_session(runner, VERSION)
        except Refused:
            self.power_off()
            return
        runner.open_polls += 1
        self._disarm("boot")
        self._await_job()
        if self.habit is Habit.CRASHES:
            self.after(CRASH_AFTER, self.vanish)

    @property
    def _registered(self) -> Runner:
        assert self.runner is not None  # noqa: S101 - a listener has a runner
        return self.runner

    def _await_job(self) -> None:
        limit = self.letter["limits"]["idle_timeout"]
        if limit is not None:
            self._arm("idle", limit, self._stop_idle)

    def acquire(self, job_id: int) -> None:
        """A message: take the job, unless it is another's by now."""
        dispatcher = self._boxes.github.dispatcher
        try:
            job = dispatcher.acquire(self._registered, job_id)
        except Refused:
            return
        self.job = job
        self._disarm("idle")
        self.after(job.spec.duration + 1.0, self.finish, job)

    def finish(self, job: Job) -> None:
        """The worker has ended: report it; an ephemeral machine's work is done."""
        if self.job is not job:
            return
        self.job = None
        runner = self._registered
        try:
            self._boxes.github.dispatcher.complete(runner, job.id, "success")
        except Refused:
            self.after(2.0, self.power_off)  # the service has given the job up
            return
        if runner.ephemeral or runner.removed:
            self.after(2.0, self.power_off)
        else:
            self._await_job()

    def removed(self) -> None:
        """The record is gone: the listener ends, once its job has."""
        if self.job is None:
            self.power_off()

    def _stop_idle(self) -> None:
        """`stop_idle`: SIGINT; a job that came in that very moment is let end."""
        if self.job is not None:
            return
        if self.habit is Habit.DEAF:
            self._arm("stop", STOP_TIMEOUT, self.power_off)
            return
        self._boxes.github.dispatcher.close_session(self._registered)
        self.after(1.0, self.power_off)

    # --- the end -------------------------------------------------------------------------------

    def power_off(self) -> None:
        """`power_off`: the instance shuts down, and terminates by its shutdown behaviour."""
        if not self.dead:
            runner = self.runner
            if runner is not None and runner.session is not None and self.job is None:
                self._boxes.github.dispatcher.close_session(runner)
            self._boxes.aws.powered_off(self.id)

    def vanish(self) -> None:
        """Nothing here runs any more; GitHub learns of it when the lease is over."""
        if self.dead:
            return
        self.dead = True
        if self.runner is not None and self.runner.open_polls:
            self.runner.open_polls -= 1
