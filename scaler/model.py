"""
The vocabulary: what a tick sees, what it may do, and what came of it.

This module imports nothing of ours; every other module speaks its words. One word, one meaning:

- a **pool** is one entry of `config.yaml`: labels, a launch template, a number of **slots** (`max`);
- a **job** is GitHub's; it is *queued* until a runner takes it;
- a **runner** is GitHub's record of one; an **instance** is EC2's machine;
- a **scope** is where runners register: a repository (`acme/api`) or an organization (`acme`);
- an **orphan** is an instance without a runner past `boot_timeout`, a **ghost** a runner without an instance;
- a **tick** is one pass: snapshot, plan, outcomes.

All times are aware datetimes in UTC, on GitHub's clock (the `Date` header); all durations are timedeltas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Protocol

Scope = str
"""`owner/name` with registration at repositories, `owner` with registration at an organization."""


def matches(pattern: str, scope: Scope) -> bool:
    """Whether a pattern (`acme/api-*`) may stand for a repository, or for one of an organization. Names know no case."""
    owner = pattern.partition("/")[0]
    return fnmatchcase(scope.lower(), (pattern if "/" in scope else owner).lower())


class Market(StrEnum):
    """How EC2 sells an instance."""

    SPOT = "spot"
    ON_DEMAND = "on-demand"


class JobStatus(StrEnum):
    """GitHub's workflow job states; demand is `queued` alone (docs: workflow-run-statuses)."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    WAITING = "waiting"
    PENDING = "pending"
    REQUESTED = "requested"
    COMPLETED = "completed"


class InstanceState(StrEnum):
    """EC2's instance states."""

    PENDING = "pending"
    RUNNING = "running"
    SHUTTING_DOWN = "shutting-down"
    TERMINATED = "terminated"
    STOPPING = "stopping"
    STOPPED = "stopped"

    @property
    def alive(self) -> bool:
        """Whether the instance still holds its slot: all but shutting-down and terminated."""
        return self not in (InstanceState.SHUTTING_DOWN, InstanceState.TERMINATED)


# --- what is seen ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository; `name` is `owner/name` as GitHub spells it. One that is `closed` is archived or disabled."""

    name: str
    public: bool
    closed: bool


@dataclass(frozen=True, slots=True)
class Run:
    """
    A workflow run that is not over, as a list of runs has it: two that are equal have not changed between.

    `public` tells of its repository, None where the row does not.
    """

    id: int
    repository: str
    status: str
    attempt: str
    updated_at: datetime | None
    public: bool | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """
    A workflow job that is not finished.

    `labels` are lower-case, as GitHub compares them; `created_at` is None where GitHub gives none that can be read.
    """

    id: int
    repository: str
    run_id: int
    name: str
    labels: frozenset[str]
    status: JobStatus
    created_at: datetime | None
    runner_name: str | None = None
    workflow: str = ""
    url: str = ""
    attempt: int = 1

    @property
    def is_running(self) -> bool:
        """Whether a runner is at it."""
        return self.status is JobStatus.IN_PROGRESS


@dataclass(frozen=True, slots=True)
class EndedJob:
    """A job of a run's newest attempt that has ended, and how: `success`, `failure`, `cancelled` …."""

    id: int
    name: str
    conclusion: str


@dataclass(frozen=True, slots=True)
class RunEnd:
    """
    A run as it stands. `over` says that nothing of it runs or waits any more; only then it can be run again.

    `attempt` counts its executions from 1, `jobs` are those of the newest one.
    """

    repository: str
    id: int
    attempt: int
    over: bool
    conclusion: str = ""
    jobs: tuple[EndedJob, ...] = ()


@dataclass(frozen=True, slots=True)
class Runner:
    """GitHub's record. `busy` lags by up to 60 s and lies at times (terraform-aws-github-runner#5085)."""

    id: int
    name: str
    scope: Scope
    online: bool
    busy: bool
    labels: frozenset[str]


@dataclass(frozen=True, slots=True)
class Instance:
    """
    An EC2 instance that bears our fleet's tag, with what its other tags say.

    `ended_by` is EC2's reason once it ends (`Server.SpotInstanceTermination`; AWS docs: StateReason).
    """

    id: str
    pool: str
    slot: int | None
    state: InstanceState
    launched_at: datetime
    type: str = ""
    market: Market = Market.ON_DEMAND
    scope: Scope | None = None
    idle_since: datetime | None = None
    draining_since: datetime | None = None
    hold: bool = False
    ended_by: str = ""
    image: str = ""


@dataclass(frozen=True, slots=True)
class Image:
    """
    A machine image that instances of ours run: the version of its runner program, and when it was built, by its tags.

    `told` says that GitHub knows the version; `until` is then when it stops giving jobs to it, None while no date is
    set. `why` says what kept it from being seen.
    """

    id: str
    version: str = ""
    built_at: datetime | None = None
    told: bool = False
    until: datetime | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Parameter:
    """An SSM parameter below the fleet's path. Its value is never read; its description tells the scope."""

    name: str
    instance_id: str
    modified_at: datetime
    scope: Scope = ""


class View(StrEnum):
    """The parts of the world that are read apart, and can fail apart."""

    REPOSITORIES = "repositories"
    QUEUE = "queue"
    RUNNERS = "runners"
    GROUP = "runner group"
    INSTANCES = "instances"
    PARAMETERS = "parameters"
    STATE = "state"
    CLOCK = "clock"


@dataclass(frozen=True, slots=True)
class Unseen:
    """
    A view that could not be seen whole. On the unseen nothing destructive is done (D8).

    `denied`: for want of a permission or credential; `remedy` has the lines to paste.
    """

    view: View
    scope: Scope
    why: str
    denied: bool = False
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Up:
    """Somebody asks for `count` runners of a pool in a scope."""

    pool: str
    scope: Scope
    count: int


@dataclass(frozen=True, slots=True)
class Down:
    """Somebody asks for an instance's end; `force` even if it runs a job."""

    instance_id: str
    force: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """
    The world as one tick saw it, and what was asked of it by hand.

    `jobs` holds every unfinished job of each repository whose queue was seen whole, `instances` every
    instance of the fleet that is not yet shutting down, `public` the repositories that are public.
    `served` are those that the organization's runner group serves (lower-case; None: all of them).
    `runner_prefix` begins the names of our runners; the instance id is the rest. Not `deep`, or within a scope that is
    `shallow`: runs that wait were not looked into, so a job of theirs may run or be queued unseen (D1), and runners were
    not all listed. The repositories that are `deferred` were not looked at in this tick, so as to stay within GitHub's
    limits: `jobs` holds theirs of the last look, and nothing is ended there. `gone` are the machines that
    have ended though a running job names their runner, `ended` the runs of lost jobs (`Memory.lost`) that are to
    run again, `images` those of the living instances. With `asked`, the plan does that alone; `strangers` are the asked-for instances that exist but are not ours.
    `repositories` are what the config's list came to, patterns and all (None: it has none), `patterns` what each stands for, in a sentence.
    """

    now: datetime
    runner_prefix: str = ""
    jobs: tuple[Job, ...] = ()
    runners: tuple[Runner, ...] = ()
    instances: tuple[Instance, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    unseen: tuple[Unseen, ...] = ()
    public: frozenset[str] = frozenset()
    served: frozenset[str] | None = None
    deep: bool = True
    shallow: frozenset[Scope] = frozenset()
    deferred: frozenset[str] = frozenset()
    asked: tuple[Up | Down, ...] = ()
    strangers: frozenset[str] = frozenset()
    gone: tuple[Instance, ...] = ()
    ended: tuple[RunEnd, ...] = ()
    images: tuple[Image, ...] = ()
    repositories: tuple[str, ...] | None = None
    patterns: tuple[str, ...] = ()

    def sees(self, view: View, scope: Scope = "") -> bool:
        """Whether a view was seen whole (for a scope, or fleet-wide)."""
        if view is View.QUEUE and (scope in self.deferred or self.may_be_missing(scope)):
            return False
        return not any(u.view == view and u.scope in ("", scope) for u in self.unseen)

    def may_be_missing(self, scope: Scope) -> bool:
        """Whether a scope was not looked at that a pattern may stand for, since the pattern's list could not be seen."""
        missing = (each.scope for each in self.unseen if each.view is View.REPOSITORIES)
        return scope not in (self.repositories or ()) and any(matches(pattern, scope) for pattern in missing)

    def looked_deep(self, scope: Scope | None) -> bool:
        """Whether all of a scope (without one: everything) was looked at deeply."""
        return self.deep and not (scope in self.shallow if scope else self.shallow)


# --- what is remembered ------------------------------------------------------------------------


class LinkState(StrEnum):
    """
    What is behind a link of a slot's chain of client tokens.

    `USED`: an instance of ours, when it was last asked. `TAKEN`: EC2 answered with a mismatch, so somebody
    else's instance may be behind it. `SPENT`: nothing, and never will be.
    """

    USED = "used"
    TAKEN = "taken"
    SPENT = "spent"


@dataclass(frozen=True, slots=True)
class Terms:
    """
    What a launch call asks for besides its pool and slot: a market, and which offerings are left out.

    An *offering* is a market, an instance type and a subnet, as a short hash (`scaler/deciding/offerings.py`).
    A client token is good for one set of parameters, so terms belong to a link and are never edited under it (D3).
    """

    market: Market
    skipped: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Link:
    """The last link of a slot's chain that was asked for, when, what came of it, and on which terms if that is known."""

    k: int
    used_at: datetime
    state: LinkState = LinkState.USED
    terms: Terms | None = None


@dataclass(frozen=True, slots=True)
class Breaker:
    """
    Launches of a pool in a row of which none is known to have registered, and how many are known to have failed.

    `since` is when the first of them was launched (a registration of anything launched later closes the
    breaker), `opened_at` when the pool was stopped, `job` what they were launched for (`acme/api#7`): while
    it waits, and nothing of the pool lives, they came to nothing.
    """

    failures: int
    since: datetime
    opened_at: datetime | None = None
    launched: int = 0
    job: str = ""


@dataclass(frozen=True, slots=True)
class Loss:
    """A job whose machine EC2 took back: its run and attempt, the machine's pool, and when that was seen."""

    run_id: int
    attempt: int
    pool: str
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Memory:
    """
    What one tick hands to the next through the fleet's state parameter.

    A hint: it may be stale or lost without breaking a promise. `links` is keyed by `pool/slot`,
    `breakers` by pool; `launches` counts those of the last hour by their minute; `ghosts` says when a
    runner was first seen without an instance, since a ghost has no tags to carry that; `proven` says by pool
    and launch template when a runner was last seen registered; `refused` says when EC2 last had no capacity
    for an offering; `lost` has the jobs (`acme/api#7`) whose machines EC2 took back, until their runs are over;
    `reclaimed` says by pool when EC2 last took a spot machine from a job; `start` is the first link of every slot that `links` does not know, None where nothing
    was ever read.
    """

    links: Mapping[str, Link] = field(default_factory=dict)
    launches: Mapping[datetime, int] = field(default_factory=dict)
    breakers: Mapping[str, Breaker] = field(default_factory=dict)
    ghosts: Mapping[str, datetime] = field(default_factory=dict)
    proven: Mapping[str, datetime] = field(default_factory=dict)
    refused: Mapping[str, datetime] = field(default_factory=dict)
    lost: Mapping[str, Loss] = field(default_factory=dict)
    reclaimed: Mapping[str, datetime] = field(default_factory=dict)
    start: int | None = None


# --- what is decided ---------------------------------------------------------------------------


class Reason(StrEnum):
    """Why a job waits, an instance stays, or a command is given. Each verdict adds a sentence."""

    # jobs
    IDLE_RUNNER = "idle runner"
    BOOTING_RUNNER = "booting runner"
    LAUNCHING = "launching"
    POOL_FULL = "pool at max"
    FLEET_FULL = "fleet at max"
    BUDGET_SPENT = "launch budget spent"
    BREAKER_OPEN = "breaker open"
    UNPROVEN = "first runner awaited"
    NO_CAPACITY = "no capacity"
    NO_POOL = "no pool"
    HOSTED = "GitHub-hosted"
    PUBLIC = "public repository"
    GROUP = "runner group"
    TOO_OLD = "queued too long"
    RUNNING = "running"
    LOST = "machine lost"
    RERUN = "to be run again"
    NOT_READY = "not ready"
    SUPPLY_UNSEEN = "supply unseen"
    # instances
    BUSY = "busy"
    IDLE = "idle"
    BOOTING = "booting"
    HELD = "held"
    WANTED = "wanted"
    MIN_IDLE = "min idle"
    SURPLUS = "surplus"
    LEAVING = "leaving"
    DRAINING = "draining"
    ORPHAN = "orphan"
    OFFLINE = "offline"
    EXPIRED = "past max_lifetime"
    STOPPED = "stopped"
    NO_SCOPE = "no scope yet"
    ELSEWHERE = "another shard's"
    UNKNOWN = "unknown"
    # runners and parameters
    GHOST = "ghost"
    STALE_PARAMETER = "stale parameter"
    # images
    AGING = "image ages"
    UNDATED = "image unseen"
    # by hand
    ASKED = "asked for"
    REFUSED = "refused"
    GONE = "not listed alive"


@dataclass(frozen=True, slots=True)
class Launch:
    """
    Fill one slot: one CreateFleet call for each of the `terms` under the slot's next links, then hand over.

    `scope` and `job` are no launch parameters (D3): they say to whom the new instance is handed, and for which
    job (`acme/api#7`) it is made, if for one. `hinted` says that the memory knew the slot's last link (without
    that the links ahead may be spent), `asked_before` that `link` is that one, so that EC2's answer may be an
    instance that others have long since handed over; `before` are the terms on which it was then asked for, if known.
    """

    pool: str
    slot: int
    link: int
    hinted: bool
    asked_before: bool
    terms: tuple[Terms, ...]
    scope: Scope
    reason: Reason
    sentence: str
    job: str = ""
    before: Terms | None = None


@dataclass(frozen=True, slots=True)
class HandOver:
    """Give a booting instance that nobody was told of its registration secret, in this scope."""

    instance_id: str
    pool: str
    scope: Scope
    reason: Reason
    sentence: str


@dataclass(frozen=True, slots=True)
class Tag:
    """Write (or with `None` remove) one of the tags that carry a fact across ticks."""

    instance_id: str
    key: str
    value: str | None
    reason: Reason
    sentence: str


@dataclass(frozen=True, slots=True)
class Drain:
    """Take an idle runner out: tag `draining-since`, DELETE; busy (422) takes the tag back (D7)."""

    instance_id: str
    scope: Scope
    runner_id: int
    runner_name: str
    reason: Reason
    sentence: str


@dataclass(frozen=True, slots=True)
class Deregister:
    """Delete a ghost's record; with `failed`, it tells of a launch of that pool that never registered."""

    scope: Scope
    runner_id: int
    runner_name: str
    reason: Reason
    sentence: str
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Terminate:
    """
    End an instance. With `runner_id`, DELETE the runner first: busy (422) keeps the instance, unless `force`.
    """

    instance_id: str
    reason: Reason
    sentence: str
    scope: Scope = ""
    runner_id: int | None = None
    runner_name: str = ""
    force: bool = False


@dataclass(frozen=True, slots=True)
class DeleteParameter:
    """Sweep a registration secret that nobody will read any more."""

    name: str
    reason: Reason
    sentence: str


@dataclass(frozen=True, slots=True)
class Rerun:
    """
    Run a job again whose machine was taken back; without a `job_id` all failed jobs of the run, each of which was.

    Only while `attempt` is still the run's newest: nothing is run again twice.
    """

    repository: str
    run_id: int
    attempt: int
    job_id: int | None
    name: str
    reason: Reason
    sentence: str


Command = Launch | HandOver | Tag | Drain | Deregister | Terminate | DeleteParameter | Rerun


class Subject(StrEnum):
    """What a verdict is about."""

    JOB = "job"
    INSTANCE = "instance"
    RUNNER = "runner"
    PARAMETER = "parameter"
    IMAGE = "image"
    REQUEST = "request"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found about one job, instance, ghost or parameter, and why. `since` starts its age."""

    subject: Subject
    id: str
    name: str
    scope: Scope
    pool: str
    reason: Reason
    sentence: str
    since: datetime | None = None
    url: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """The commands, in the order to run them; a verdict for everything; the memory to keep."""

    commands: tuple[Command, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    memory: Memory = field(default_factory=Memory)


# --- what came of it ---------------------------------------------------------------------------


class Result(StrEnum):
    """How a command ended."""

    DONE = "done"
    TAKEN = "taken by another tick"
    BUSY = "busy"
    NO_CAPACITY = "no capacity"
    DECLINED = "declined"
    REFUSED = "refused"
    DENIED = "denied"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What one command did.

    `instance_id` and `runner_name` are set where one came to be or ended; `link` is the last link that a
    launch asked for, `terms` on which, `spent` says that nothing is behind it; `refused` are the offerings for which
    EC2 had no capacity; `remedy` holds the lines to paste when a permission was missing.
    """

    command: Command
    result: Result
    detail: str = ""
    instance_id: str = ""
    runner_name: str = ""
    link: int | None = None
    spent: bool = False
    remedy: str = ""
    terms: Terms | None = None
    refused: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Tick:
    """One pass: what was seen, what was decided, what came of it (nothing, for a mere plan)."""

    snapshot: Snapshot
    plan: Plan
    outcomes: tuple[Outcome, ...] = ()
    unseen: tuple[Unseen, ...] = ()


# --- errors at the ports -----------------------------------------------------------------------


class ApiError(Exception):
    """A call to GitHub or AWS that did not do its work. The message is one line for people."""


class Unavailable(ApiError):
    """The answer is missing, partial or contradictory: the state is unknown (exit 4)."""


class NotAsked(Unavailable):
    """GitHub was not asked, so as to stay within its limits."""


class Deferred(NotAsked):
    """What was not asked has its turn in a later tick, as it should be."""


class Denied(ApiError):
    """
    Credentials or a permission are missing (exit 3). `remedy` holds the lines to paste.

    `spent`: it was said within a fleet's answer, so that the client token will say so for ever.
    """

    def __init__(self, message: str, remedy: str = "", *, spent: bool = False) -> None:
        super().__init__(message)
        self.remedy = remedy
        self.spent = spent


class NameTaken(ApiError):
    """GitHub has a runner of that name already (409): another tick is handing over."""


# --- the ports ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs of one status. Not `complete` where GitHub's list ends at its 1,000 results."""

    rows: tuple[Run, ...]
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Queue:
    """
    One repository's unfinished jobs. `public` is None when no run told.

    Not `complete` where GitHub's run list ends at its 1,000 results: there are at least these jobs.
    """

    jobs: tuple[Job, ...]
    public: bool | None = None
    complete: bool = True


@dataclass(frozen=True, slots=True)
class GraphIds:
    """By which GraphQL knows a repository and its workflows."""

    repository: str
    workflows: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Secret:
    """A registration secret: a JIT configuration (with its runner's id) or a registration token."""

    value: str = field(repr=False)
    runner_id: int | None = None


class Removal(StrEnum):
    """GitHub's answer to DELETE runner: 204, 422, 404."""

    REMOVED = "removed"
    BUSY = "busy"
    GONE = "gone"


class Clock(Protocol):
    """Real time, and a sleep that a signal ends."""

    def monotonic(self) -> float:
        """Seconds that only grow."""

    def sleep(self, seconds: float) -> None:
        """Wait, at most until the process is asked to stop."""

    def stopping(self) -> bool:
        """Whether the process was asked to stop."""


class GitHub(Protocol):
    """What the scaler asks of GitHub. Every call raises `Unavailable` or `Denied`."""

    def now(self) -> datetime:
        """GitHub's clock now: its newest `Date` header and the time since. Asks once if there was none."""

    def room(self, every: float | None, *, patience: float) -> int | None:
        """
        A tick begins: how many reads it should plan for, None for any number.

        Another one follows after `every` seconds, unless that is None. It may wait for `patience` seconds in all.
        """

    def hint_queries(self, every: float, reads: int) -> int:
        """
        How many queries for hints a tick may ask, if another one follows after `every` seconds.

        None where so many reads, what a look at everything takes, have room in a tick anyway.
        """

    def graph_ids(self, repository: str) -> GraphIds:
        """The ids, for `hints`, of a repository and its workflows."""

    def hints(self, workflows: Sequence[str], repositories: Sequence[str]) -> Mapping[str, datetime | None]:
        """By id, when a run of these last changed, or these were last pushed to; None: never. Without what is not shown."""

    def runs(self, repository: str, status: str) -> Runs:
        """A repository's runs of one status: queued, in_progress, waiting, pending or requested."""

    def jobs(self, run: Run) -> tuple[Job, ...]:
        """A run's unfinished jobs."""

    def runners(self, scope: Scope) -> tuple[Runner, ...]:
        """All runners registered in a scope."""

    def repository(self, name: str) -> Repository:
        """One repository."""

    def repositories(self, owner: str) -> tuple[Repository, ...]:
        """All repositories of a user or an organization that the token sees, whole or not at all."""

    def group_repositories(self, organization: str, group: str) -> frozenset[str] | None:
        """The repositories a runner group serves (lower-case names); None means all of the organization."""

    def jit_secret(self, scope: Scope, name: str, labels: tuple[str, ...], group: str | None) -> Secret:
        """Mint a JIT configuration; creates the offline runner record. Raises `NameTaken`."""

    def token_secret(self, scope: Scope) -> Secret:
        """Mint a registration token, good for an hour and any number of runners."""

    def remove_runner(self, scope: Scope, runner_id: int) -> Removal:
        """DELETE a runner."""

    def registration_url(self, scope: Scope) -> str:
        """The web address that a runner registers with."""

    def runner_deadline(self, scope: Scope, version: str) -> datetime | None:
        """When GitHub stops giving jobs to runners of a version; None while no date is set."""

    def run_end(self, repository: str, run_id: int) -> RunEnd:
        """Whether a run is over, and how its jobs ended."""

    def rerun(self, repository: str, run_id: int, job_id: int | None) -> str:
        """Run one job of a run again, or all that failed; what GitHub says where it declines, else nothing."""


@dataclass(frozen=True, slots=True)
class LaunchAnswer:
    """
    EC2's answer to one launch call under one client token.

    Where nothing was launched, `spent` says that a fleet was made all the same: its token answers so for ever.
    `refused` are the offerings for which there was no capacity; an instance may have been launched all the same.
    """

    kind: LaunchKind
    instance_id: str = ""
    detail: str = ""
    spent: bool = True
    refused: frozenset[str] = frozenset()


class LaunchKind(StrEnum):
    """
    What a launch call came to.

    `DEAD`: the token's instance has ended, go on to the next link. `MISMATCH`: the token was used with
    other parameters. `NO_CAPACITY`: nothing was launched, another market may do. `REFUSED`: EC2 will
    not launch this however often it is asked (quota, bad template). `THROTTLED`: ask again later.
    """

    LAUNCHED = "launched"
    DEAD = "dead"
    MISMATCH = "mismatch"
    NO_CAPACITY = "no capacity"
    REFUSED = "refused"
    THROTTLED = "throttled"


class Cloud(Protocol):
    """What the scaler asks of EC2 and SSM. Every call raises `Unavailable` or `Denied`."""

    def now(self) -> datetime | None:
        """AWS's clock: its newest `Date` header and the time since; None before the first answer."""

    def instances(self) -> tuple[Instance, ...]:
        """Every instance of the fleet that is not terminated."""

    def instance(self, instance_id: str) -> tuple[Instance, str] | None:
        """One instance, whoever owns it, with the fleet its tag names ("" for none); None if EC2 knows none."""

    def look(self, instance_ids: tuple[str, ...]) -> Mapping[str, Instance]:
        """These instances, dead ones too; an id that EC2 does not list (yet) is missing."""

    def images(self, image_ids: tuple[str, ...]) -> tuple[Image, ...]:
        """Machine images by id, with what their tags say; those that EC2 does not show are missing."""

    def launch(self, pool: str, slot: int, link: int, terms: Terms) -> LaunchAnswer:
        """Launch one instance into a slot on these terms, under the client token of that link."""

    def terminate(self, instance_id: str) -> bool:
        """End an instance; False if it had ended already, so long ago that EC2 takes no order for it."""

    def tag(self, instance_id: str, key: str, value: str | None) -> None:
        """Set or remove one of our state tags."""

    def parameters(self) -> tuple[Parameter, ...]:
        """The names below the fleet's path, without values."""

    def put_parameter(self, instance_id: str, value: str, scope: Scope, runner_id: int | None) -> bool:
        """Write an instance's secret, once; False if one is there already that this tick did not put."""

    def parameter_name(self, instance_id: str) -> str:
        """Where an instance looks for its secret."""

    def delete_parameters(self, names: tuple[str, ...]) -> None:
        """Delete parameters; missing ones are no error."""

    def load_state(self, part: str = "") -> str | None:
        """The fleet's state parameter, or that of a shard (`part` ends its name); None if there is none."""

    def save_state(self, value: str, part: str = "", *, always: bool = False) -> bool:
        """Write the fleet's state parameter, or a shard's, if the value is new or `always`; False if another wrote the first one."""
