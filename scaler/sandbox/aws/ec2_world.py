"""
EC2's instances: their states in time, their tags, and what readers see of both.

Every change of an instance is a new version of it, kept with its time. So a read may answer from the past
(eventual consistency) while the truth is already further.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from scaler.sandbox.aws.error import AwsError
from scaler.sandbox.aws.ids import Ids
from scaler.sandbox.aws.settings import CapacityRule, Image, Settings, Subnet
from scaler.sandbox.clock import Clock
from scaler.sandbox.journal import Journal

PENDING, RUNNING, STOPPING, STOPPED = "pending", "running", "stopping", "stopped"
SHUTTING_DOWN, TERMINATED = "shutting-down", "terminated"
STATE_CODES = {PENDING: 0, RUNNING: 16, SHUTTING_DOWN: 32, TERMINATED: 48, STOPPING: 64, STOPPED: 80}
DEAD = frozenset({SHUTTING_DOWN, TERMINATED})
SPOT_NOTICE = 120.0
MINIMUM_BILLED = 60.0

_WHY = {
    "api": ("Client.UserInitiatedShutdown", "User initiated shutdown"),
    "itself": ("Client.InstanceInitiatedShutdown", "Instance initiated shutdown"),
    "spot": ("Server.SpotInstanceTermination", "Spot instance termination"),
}


@dataclass(frozen=True, slots=True)
class Instance:
    """
    One version of an instance. Times are virtual.

    `options` is the merged launch data as EC2 resolved it (MetadataOptions, IamInstanceProfile,
    SecurityGroupIds, UserData, BlockDeviceMappings …). `interrupted_at` is when a spot interruption will hit.
    """

    id: str
    type: str
    architecture: str
    image_id: str
    subnet: Subnet
    market: str
    launched_at: datetime
    state: str
    tags: Mapping[str, str]
    client_token: str = ""
    fleet_id: str = ""
    reservation_id: str = ""
    private_ip: str = ""
    spot_request_id: str = ""
    shutdown_behavior: str = "stop"
    protected: bool = False
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    reason: tuple[str, str] | None = None
    transition: str = ""
    ended_at: datetime | None = None
    interrupted_at: datetime | None = None

    @property
    def profile(self) -> str:
        """The name of its instance profile, or nothing."""
        given = self.options.get("IamInstanceProfile", {})
        return str(given.get("Name") or given.get("Arn", "").rpartition("/")[2])

    @property
    def metadata_options(self) -> dict[str, Any]:
        """What the metadata service was told: HttpTokens, InstanceMetadataTags …, with EC2's defaults."""
        return {
            "State": "applied",
            "HttpTokens": "optional",
            "HttpPutResponseHopLimit": 1,
            "HttpEndpoint": "enabled",
            "HttpProtocolIpv6": "disabled",
            "InstanceMetadataTags": "disabled",
            **self.options.get("MetadataOptions", {}),
        }


class Machines(Protocol):
    """What turns an instance into something that runs. Called with the world's lock held: never wait here."""

    def boot(self, instance: Instance) -> None:
        """An instance turned running."""

    def kill(self, instance_id: str) -> None:
        """An instance is shutting down or stopping, whoever asked for it. May be called for what never booted."""


class NoMachines:
    """Instances that are running and do nothing."""

    def boot(self, instance: Instance) -> None:
        """Nothing boots."""

    def kill(self, instance_id: str) -> None:
        """Nothing to kill."""


class Ec2World:
    """The instances, and the things that launches name: subnets, images, security groups, instance profiles."""

    def __init__(self, clock: Clock, journal: Journal, machines: Machines, settings: Callable[[], Settings]) -> None:
        self.clock = clock
        self.journal = journal
        self.machines = machines
        self.settings = settings
        self.ids = Ids(settings().seed)
        self.subnets: dict[str, Subnet] = {}
        self.images: dict[str, Image] = {}
        self.security_groups: dict[str, str] = {}
        self.profiles: dict[str, str] = {}
        self.capacity: list[CapacityRule] = []
        self._versions: dict[str, list[tuple[datetime, Instance]]] = {}
        self._listed: dict[str, None] = {}
        self._spans: dict[str, list[tuple[datetime, datetime | None]]] = {}
        self._consoles: dict[str, list[str]] = {}

    # --- the truth -----------------------------------------------------------------------------

    def get(self, instance_id: str) -> Instance | None:
        """An instance as it is now, dead ones included for as long as the world lasts."""
        versions = self._versions.get(instance_id)
        return versions[-1][1] if versions else None

    def all(self) -> list[Instance]:
        """Every instance there ever was, oldest first."""
        return [versions[-1][1] for versions in self._versions.values()]

    def alive(self) -> list[Instance]:
        """Those that are neither shutting down nor terminated."""
        return [each for each in self.all() if each.state not in DEAD]

    def spans(self) -> dict[str, list[tuple[datetime, datetime | None]]]:
        """When each instance ran; an open span has no end."""
        return {key: list(spans) for key, spans in self._spans.items()}

    def billed_seconds(self) -> dict[str, float]:
        """Seconds that EC2 bills per instance: running time by the second, 60 at least for each start."""
        now = self.clock.now()
        return {
            key: sum(max(((end or now) - begin).total_seconds(), MINIMUM_BILLED) for begin, end in spans)
            for key, spans in self._spans.items()
        }

    def console(self, instance_id: str, line: str) -> None:
        """Append to what GetConsoleOutput shows."""
        with self.clock.lock:
            self._consoles.setdefault(instance_id, []).append(line)

    def console_text(self, instance_id: str) -> str:
        """The serial console's last 64 KiB."""
        return "\n".join(self._consoles.get(instance_id, ()))[-65_536:]

    # --- changes -------------------------------------------------------------------------------

    def add(self, instance: Instance, **facts: Any) -> None:
        """A launched instance: pending, then running when `boot.pending` has passed."""
        self._listed[instance.id] = None
        self._change(instance)
        self.journal.write(
            "instance.launched",
            id=instance.id,
            type=instance.type,
            market=instance.market,
            subnet=instance.subnet.id,
            zone=instance.subnet.zone,
            client_token=instance.client_token,
            fleet_id=instance.fleet_id,
            tags=dict(instance.tags),
            **facts,
        )
        self.clock.after(self.settings().boot.pending, lambda: self._run(instance.id))

    def _run(self, instance_id: str) -> None:
        held = self._versions[instance_id][-1][1]
        if held.state != PENDING:
            return
        running = self._change(replace(held, state=RUNNING))
        self._spans.setdefault(instance_id, []).append((self.clock.now(), None))
        self.journal.write("instance.running", id=instance_id)
        self.machines.boot(running)

    def end(self, instance_id: str, by: str) -> None:
        """Begin to terminate; `by` is api, itself or spot. Ending what is ending changes nothing."""
        held = self._versions[instance_id][-1][1]
        if held.state in DEAD:
            return
        code, sentence = _WHY[by]
        now = self.clock.now()
        ending = replace(
            held,
            state=SHUTTING_DOWN,
            reason=(code, f"{code}: {sentence}"),
            transition=f"User initiated ({now:%Y-%m-%d %H:%M:%S} GMT)" if by == "api" else sentence,
            ended_at=now,
        )
        self._change(ending)
        self._close_span(instance_id)
        self.journal.write("instance.ending", id=instance_id, by=by)
        self.machines.kill(instance_id)
        self.clock.after(self.settings().boot.shutdown, lambda: self._gone(instance_id, by))

    def _gone(self, instance_id: str, by: str) -> None:
        self._change(replace(self._versions[instance_id][-1][1], state=TERMINATED))
        self.journal.write("instance.terminated", id=instance_id, by=by)

    def stop(self, instance_id: str, by: str = "api") -> None:
        """Stop an instance that may be started again."""
        held = self._versions[instance_id][-1][1]
        if held.state not in {PENDING, RUNNING}:
            return
        code, sentence = _WHY[by]
        self._change(replace(held, state=STOPPING, reason=(code, f"{code}: {sentence}"), transition=sentence))
        self._close_span(instance_id)
        self.machines.kill(instance_id)

        def stopped() -> None:
            now = self._versions[instance_id][-1][1]
            if now.state == STOPPING:
                self._change(replace(now, state=STOPPED))
                self.journal.write("instance.stopped", id=instance_id, by=by)

        self.clock.after(self.settings().boot.shutdown, stopped)

    def start(self, instance_id: str) -> None:
        """Start a stopped instance: pending again."""
        held = self._versions[instance_id][-1][1]
        if held.state == STOPPED:
            self._change(replace(held, state=PENDING, reason=None, transition=""))
            self.clock.after(self.settings().boot.pending, lambda: self._run(instance_id))

    def powered_off(self, instance_id: str) -> None:
        """The machine powered itself off: by its shutdown behaviour it terminates or stops."""
        with self.clock.lock:
            held = self.get(instance_id)
            if held is None or held.state in DEAD or held.state in {STOPPING, STOPPED}:
                return
            # A one-time spot request has no instance to start again: a shutdown ends it.
            if held.shutdown_behavior == "terminate" or held.market == "spot":
                self.end(instance_id, "itself")
            else:
                self.stop(instance_id, "itself")

    def interrupt(self, instance_id: str) -> None:
        """EC2 takes a spot instance back: a notice of two minutes, then the end."""
        with self.clock.lock:
            held = self.get(instance_id)
            if held is None or held.state in DEAD:
                return
            if held.market != "spot":
                raise ValueError(f"{instance_id} is no spot instance")
            when = self.clock.now() + timedelta(seconds=SPOT_NOTICE)
            self._change(replace(held, interrupted_at=when))
            self.journal.write("instance.interrupted", id=instance_id)
            self.clock.at(when, lambda: self.end(instance_id, "spot"))

    def retag(self, instance_id: str, tags: Mapping[str, str], principal: str) -> None:
        """Replace an instance's tags."""
        held = self._versions[instance_id][-1][1]
        self._change(replace(held, tags=dict(tags)))
        self.journal.write("tags.changed", id=instance_id, tags=dict(tags), principal=principal)

    def _change(self, instance: Instance) -> Instance:
        self._versions.setdefault(instance.id, []).append((self.clock.now(), instance))
        self.clock.changed()
        return instance

    def _close_span(self, instance_id: str) -> None:
        spans = self._spans.get(instance_id)
        if spans and spans[-1][1] is None:
            spans[-1] = (spans[-1][0], self.clock.now())

    # --- what readers see ----------------------------------------------------------------------

    def seen(self, instance_id: str) -> Instance | None:
        """An instance as the API shows it now: late, without its tags once dead for long, then not at all."""
        versions = self._versions.get(instance_id)
        if not versions:
            return None
        lag, now = self.settings().consistency, self.clock.now()
        newest = versions[-1][1]
        if now - versions[0][0] < timedelta(seconds=lag.instances):
            return None
        dead_for = (now - newest.ended_at).total_seconds() if newest.ended_at else -1.0
        if newest.state == TERMINATED and dead_for >= lag.dead:
            return None
        tagless = 0 <= lag.dead_tags <= dead_for
        if not (lag.states or lag.tags or tagless):
            return newest
        state = _as_of(versions, now - timedelta(seconds=lag.states))
        tags = {} if tagless else _as_of(versions, now - timedelta(seconds=lag.tags)).tags
        return replace(state, tags=tags)

    def all_seen(self) -> list[Instance]:
        """All instances as the API lists them."""
        found = []
        for key in tuple(self._listed):
            each = self.seen(key)
            if each is not None:
                found.append(each)
            elif self._versions[key][-1][1].state == TERMINATED:
                del self._listed[key]  # the long dead cost nothing any more
        return found

    def named(self, instance_ids: Iterable[str]) -> list[Instance]:
        """The instances of these ids, as seen. One bad id fails the whole call, as EC2 does."""
        ids = list(dict.fromkeys(instance_ids))
        for each in ids:
            if not re.fullmatch(r"i-([0-9a-f]{8}|[0-9a-f]{17})", each):
                raise AwsError("InvalidInstanceID.Malformed", f'Invalid id: "{each}"')
        found = {each: self.seen(each) for each in ids}
        missing = [each for each, held in found.items() if held is None]
        if missing:
            shown = ", ".join(missing)
            noun = f"IDs '{shown}' do" if len(missing) > 1 else f"ID '{shown}' does"
            raise AwsError("InvalidInstanceID.NotFound", f"The instance {noun} not exist")
        return [held for held in found.values() if held is not None]


def _as_of(versions: list[tuple[datetime, Instance]], when: datetime) -> Instance:
    past = [instance for since, instance in versions if since <= when]
    return past[-1] if past else versions[0][1]
