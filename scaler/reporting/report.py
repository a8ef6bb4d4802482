"""What a tick says to people and to programs: log lines, annotations, JSON, the action's outputs. Pure."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from scaler.deciding.by_hand import FORCE
from scaler.durations import passed
from scaler.exits import Exit, exit_code
from scaler.model import Command, Launch, Outcome, Reason, Result, Subject, Tag, Terminate, Tick, Unseen, Verdict
from scaler.settings.config import Config
from scaler.text import safe, some

URGENCY = (
    Reason.LOST,
    Reason.NO_POOL,
    Reason.PUBLIC,
    Reason.GROUP,
    Reason.TOO_OLD,
    Reason.BREAKER_OPEN,
    Reason.POOL_FULL,
    Reason.FLEET_FULL,
    Reason.BUDGET_SPENT,
    Reason.UNPROVEN,
    Reason.NO_CAPACITY,
    Reason.SUPPLY_UNSEEN,
    Reason.UNKNOWN,
)
"""Verdicts that somebody may have to act on come first."""
UNSERVED = frozenset({Reason.LOST, Reason.NO_POOL, Reason.PUBLIC, Reason.GROUP, Reason.TOO_OLD, Reason.BREAKER_OPEN})
NOT_OURS = frozenset({Reason.HOSTED})
AS_ASKED = frozenset({Reason.ASKED, Reason.LAUNCHING, Reason.GONE})
"""What may be said of what was asked by hand; all else is a refusal."""
IDLE = frozenset({Reason.IDLE, Reason.WANTED, Reason.MIN_IDLE, Reason.SURPLUS})
"""What may be said of an instance whose runner is idle."""
ALERTS = 5
"""Annotations of a tick, at most. GitHub shows ten of a step's warnings and ten of its errors; nobody reads ten."""
NAMED = 3
"""A sentence names no more of many things; the rest is a count."""
WAITING = frozenset({Reason.IDLE_RUNNER, Reason.BOOTING_RUNNER, Reason.LAUNCHING, *URGENCY}) - {Reason.LOST}


def age_of(now: datetime, since: datetime | None) -> str:
    """The age of what began then; empty when unknown or in the future."""
    return "" if since is None or since > now else passed(now - since)


def headline(tick: Tick) -> str:
    """One line: what waits, what runs, what this tick did."""
    jobs = Counter(v.reason for v in tick.plan.verdicts if v.subject is Subject.JOB)
    instances = sum(v.subject is Subject.INSTANCE for v in tick.plan.verdicts)
    queued = sum(count for reason, count in jobs.items() if reason in WAITING)
    parts = [f"{queued} queued", f"{jobs[Reason.RUNNING]} running", counted(instances, "instance")]
    launches = [o for o in tick.outcomes if isinstance(o.command, Launch) and o.instance_id]
    ended = [o for o in tick.outcomes if isinstance(o.command, Terminate) and o.result is Result.DONE]
    if tick.outcomes:
        parts += [f"{len(launches)} launched", f"{len(ended)} ended"]
    if unseen := (*tick.snapshot.unseen, *tick.unseen):
        parts.append(f"{len(unseen)} not seen")
    if deferred := tick.snapshot.deferred:
        parts.append(f"{len(deferred)} repositories not looked at in this tick")
    return ", ".join(parts)


def state(tick: Tick) -> str:
    """One or two words for the whole of it, the most urgent first: as the exit code has it."""
    match exit_code(tick):
        case Exit.CREDENTIALS:
            return "Denied"
        case Exit.INPUT:
            return "Refused"
        case Exit.DEGRADED:
            return "Degraded"
        case Exit.CAPPED:
            stopped = any(v.reason is Reason.BREAKER_OPEN for v in tick.plan.verdicts)
            return "Breaker open" if stopped else "At a cap"
    busy = any(v.subject is Subject.INSTANCE or v.reason in (*WAITING, Reason.RUNNING) for v in tick.plan.verdicts)
    return "Busy" if busy else "Quiet"


@dataclass(frozen=True, slots=True)
class Cause:
    """Why jobs wait and are not being served: one reason, one sentence, and the jobs, the oldest first."""

    reason: Reason
    sentence: str
    jobs: tuple[Verdict, ...]


def causes(tick: Tick) -> list[Cause]:
    """Of all jobs that wait and that no runner, booting instance or launch is for; the most urgent reason first."""
    found: dict[tuple[Reason, str], list[Verdict]] = defaultdict(list)
    for verdict in by_urgency(tick.plan.verdicts):
        if verdict.subject is Subject.JOB and verdict.reason in URGENCY:
            found[verdict.reason, verdict.sentence].append(verdict)
    now = tick.snapshot.now
    return [
        Cause(reason, sentence, tuple(sorted(jobs, key=lambda job: job.since or now)))
        for (reason, sentence), jobs in found.items()
    ]


@dataclass(frozen=True, slots=True)
class Blind:
    """Why something could not be seen, and what."""

    why: str
    remedy: str
    views: tuple[Unseen, ...]

    @property
    def what(self) -> str:
        """The views, cut with a count: `queue acme/api, queue acme/web and 998 more`."""
        return some([f"{each.view.value} {each.scope}".strip() for each in self.views], NAMED)


def blind(tick: Tick) -> list[Blind]:
    """What could not be seen, one for each why; what was denied first."""
    found: dict[tuple[str, str], list[Unseen]] = defaultdict(list)
    for each in sorted((*tick.snapshot.unseen, *tick.unseen), key=lambda each: not each.denied):
        found[each.why, each.remedy].append(each)
    return [Blind(why, remedy, tuple(views)) for (why, remedy), views in found.items()]


def counted(number: int, word: str) -> str:
    """`1 instance`, `2 instances`."""
    return f"{number} {word}{'' if number == 1 else 's'}"


def lines(tick: Tick) -> list[str]:
    """The log: what could not be seen, every verdict, every command with its outcome."""
    found = [f"not seen: {each.view.value} {each.scope}: {safe(each.why)}" for each in _unseen(tick)]
    for verdict in by_urgency(tick.plan.verdicts):
        where = " ".join(filter(None, (verdict.scope, f"[{verdict.pool}]" if verdict.pool else "")))
        age = age_of(tick.snapshot.now, verdict.since)
        what = f"{verdict.subject.value} {safe(verdict.name or verdict.id)}"
        if verdict.subject is Subject.INSTANCE:
            what = f"instance {verdict.id}"
        found.append(" · ".join(filter(None, (what, where, age, f"{verdict.reason.value}: {safe(verdict.sentence)}"))))
    outcomes = {id(outcome.command): outcome for outcome in tick.outcomes}
    for command in tick.plan.commands:
        outcome = outcomes.get(id(command))
        found.append(f"{verb(command)}: {safe(command.sentence)}{came_to(outcome)}")
    return found


def _unseen(tick: Tick) -> Sequence[Unseen]:
    return (*tick.snapshot.unseen, *tick.unseen)


def verb(command: Command) -> str:
    """A command in two or three words: `launch amd64/3 for acme/api`."""
    target = getattr(command, "instance_id", "") or getattr(command, "runner_name", "") or getattr(command, "name", "")
    if isinstance(command, Launch):
        target = f"{command.pool}/{command.slot} for {command.scope}"
    key = f" {command.key}={command.value or 'none'}" if isinstance(command, Tag) else ""
    return f"{type(command).__name__.lower()} {target}{key}"


def came_to(outcome: Outcome | None) -> str:
    """What came of a command: ` -> done (i-0abc)`; empty for a mere plan."""
    if outcome is None:
        return ""
    told = "; ".join(filter(None, (outcome.instance_id, safe(outcome.detail))))
    return f" -> {outcome.result.value}{f' ({told})' if told else ''}"


def by_urgency(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Jobs before the rest, and of them first what somebody may have to act on."""
    rank = {reason: number for number, reason in enumerate(URGENCY)}
    return sorted(verdicts, key=lambda v: (v.subject.value != "job", rank.get(v.reason, len(rank))))


# --- for programs --------------------------------------------------------------------------------


def as_json(tick: Tick) -> str:
    """The whole tick as one JSON document."""
    outcomes = {id(outcome.command): outcome for outcome in tick.outcomes}
    document = {
        "now": tick.snapshot.now,
        "exit_code": int(exit_code(tick)),
        "unseen": [asdict(each) for each in _unseen(tick)],
        "verdicts": [asdict(verdict) for verdict in tick.plan.verdicts],
        "commands": [_command_json(command, outcomes.get(id(command))) for command in tick.plan.commands],
    }
    return json.dumps(document, indent=2, default=_plain)


def _command_json(command: Command, outcome: Outcome | None) -> dict[str, Any]:
    fields = {"command": type(command).__name__.lower(), **asdict(command)}
    if outcome is not None:
        fields["outcome"] = {
            "result": outcome.result,
            "detail": outcome.detail,
            "instance_id": outcome.instance_id,
            "runner_name": outcome.runner_name,
        }
    return fields


def _plain(value: Any) -> str:
    return value.strftime("%Y-%m-%dT%H:%M:%SZ") if isinstance(value, datetime) else str(value)


def outputs(last: Tick, done: Sequence[Outcome], config: Config) -> dict[str, str]:
    """The action's outputs: of the last tick the queue and the plan, of all ticks of a watch what was `done`."""
    launched = [o for o in done if isinstance(o.command, Launch) and o.instance_id and o.result is not Result.TAKEN]
    ended = [o for o in done if isinstance(o.command, Terminate) and o.result is Result.DONE]
    pools = dict.fromkeys(o.command.pool for o in launched if isinstance(o.command, Launch))
    labels = dict.fromkeys(label for name in pools if (pool := config.pool(name)) for label in pool.labels)
    queued = sum(v.subject is Subject.JOB and v.reason in WAITING for v in last.plan.verdicts)
    return {
        "instance-ids": json.dumps([o.instance_id for o in (launched or ended)]),
        "runner-names": json.dumps([o.runner_name for o in (launched or ended) if o.runner_name]),
        "labels": json.dumps(list(labels)),
        "queued": str(queued),
        "launched": str(len(launched)),
        "terminated": str(len(ended)),
        "plan": json.dumps([verb(command) for command in last.plan.commands]),
    }


def alerts(tick: Tick) -> list[tuple[str, str]]:
    """
    What needs a person, as (level, text), at most a handful and one for each cause, errors first.

    What was denied or refused, what was not seen, jobs that nobody serves. A remedy follows below the sentence.
    """
    found: dict[str, list[str]] = defaultdict(list)
    levels: dict[str, str] = {}

    def tell(level: str, cause: str, of: str) -> None:
        found[cause].append(of)
        levels[cause] = level

    for each in blind(tick):
        denied = any(view.denied for view in each.views)
        tell("error" if denied else "warning", _with(each.why, each.remedy), f"not seen: {each.what}")
    for outcome in tick.outcomes:
        if outcome.result in (Result.DENIED, Result.REFUSED, Result.FAILED, Result.NO_CAPACITY):
            level = "error" if outcome.result in (Result.DENIED, Result.REFUSED) else "warning"
            tell(level, _with(outcome.detail, outcome.remedy), verb(outcome.command))
        elif tick.snapshot.asked and outcome.result is Result.BUSY:  # it took a job since it was looked at
            tell("error", f"{outcome.detail}; {FORCE}", f"down {outcome.instance_id}")
    for verdict in by_urgency(tick.plan.verdicts):
        undated = verdict.subject is Subject.JOB and verdict.since is None and verdict.reason in WAITING
        if tick.snapshot.asked:
            if verdict.reason not in AS_ASKED:
                mode = "up" if verdict.subject is Subject.REQUEST else "down"
                tell("error", safe(verdict.sentence), f"{mode} {verdict.id}")
        elif undated or verdict.reason in UNSERVED:
            tell("warning", safe(verdict.sentence), f'"{safe(verdict.name)}" in {verdict.scope}')
        if verdict.reason is Reason.AGING:
            tell("warning", safe(verdict.sentence), f"image {safe(verdict.id)} of pool {verdict.pool}")
    ranked = sorted(found, key=lambda cause: levels[cause] != "error")
    return [(levels[cause], _alert(found[cause], cause)) for cause in ranked[:ALERTS]]


def _alert(of: Sequence[str], cause: str) -> str:
    more = f" and {len(of) - 1} more" if len(of) > 1 else ""
    return f"{of[0]}{more}: {cause}"


def _with(cause: str, remedy: str) -> str:
    return f"{cause}\n{remedy}" if remedy else cause
