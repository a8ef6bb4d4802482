"""What a tick says to people and to programs: log lines, the job summary, JSON, the action's outputs. Pure."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from scaler.config import Config
from scaler.durations import passed
from scaler.exits import exit_code
from scaler.model import Command, Launch, Outcome, Reason, Result, Subject, Tag, Terminate, Tick, Verdict
from scaler.text import safe

ROWS = 500
"""A table of the summary is cut there, with a count: GitHub drops a summary over 1 MiB whole. Log and JSON have all."""

URGENCY = (
    Reason.NO_POOL,
    Reason.PUBLIC,
    Reason.GROUP,
    Reason.TOO_OLD,
    Reason.BREAKER_OPEN,
    Reason.POOL_FULL,
    Reason.FLEET_FULL,
    Reason.BUDGET_SPENT,
    Reason.UNPROVEN,
    Reason.SUPPLY_UNSEEN,
    Reason.UNKNOWN,
)
"""Verdicts that somebody may have to act on come first."""
UNSERVED = frozenset({Reason.NO_POOL, Reason.PUBLIC, Reason.GROUP, Reason.TOO_OLD, Reason.BREAKER_OPEN})
NOT_OURS = frozenset({Reason.HOSTED})
WAITING = frozenset({Reason.IDLE_RUNNER, Reason.BOOTING_RUNNER, Reason.LAUNCHING, *URGENCY})


def age_of(now: datetime, since: datetime | None) -> str:
    """The age of what began then; empty when unknown or in the future."""
    return "" if since is None or since > now else passed(now - since)


def headline(tick: Tick) -> str:
    """One line: what waits, what runs, what this tick did."""
    jobs = Counter(v.reason for v in tick.plan.verdicts if v.subject is Subject.JOB)
    instances = Counter(v.reason for v in tick.plan.verdicts if v.subject is Subject.INSTANCE)
    queued = sum(count for reason, count in jobs.items() if reason in WAITING)
    parts = [f"{queued} queued", f"{jobs[Reason.RUNNING]} running", f"{sum(instances.values())} instances"]
    launches = [o for o in tick.outcomes if isinstance(o.command, Launch) and o.instance_id]
    ended = [o for o in tick.outcomes if isinstance(o.command, Terminate) and o.result is Result.DONE]
    if tick.outcomes:
        parts += [f"{len(launches)} launched", f"{len(ended)} ended"]
    if unseen := (*tick.snapshot.unseen, *tick.unseen):
        parts.append(f"{len(unseen)} not seen")
    return ", ".join(parts)


def lines(tick: Tick) -> list[str]:
    """The log: what could not be seen, every verdict, every command with its outcome."""
    found = [f"not seen: {each.view.value} {each.scope}: {safe(each.why)}" for each in _unseen(tick)]
    for verdict in _by_urgency(tick.plan.verdicts):
        where = " ".join(filter(None, (verdict.scope, f"[{verdict.pool}]" if verdict.pool else "")))
        age = age_of(tick.snapshot.now, verdict.since)
        what = f"{verdict.subject.value} {safe(verdict.name or verdict.id)}"
        if verdict.subject is Subject.INSTANCE:
            what = f"instance {verdict.id}"
        found.append(" · ".join(filter(None, (what, where, age, f"{verdict.reason.value}: {safe(verdict.sentence)}"))))
    outcomes = {id(outcome.command): outcome for outcome in tick.outcomes}
    for command in tick.plan.commands:
        outcome = outcomes.get(id(command))
        found.append(f"{_verb(command)}: {safe(command.sentence)}{_came_to(outcome)}")
    return found


def _unseen(tick: Tick) -> Sequence[Any]:
    return (*tick.snapshot.unseen, *tick.unseen)


def _verb(command: Command) -> str:
    target = getattr(command, "instance_id", "") or getattr(command, "runner_name", "") or getattr(command, "name", "")
    if isinstance(command, Launch):
        target = f"{command.pool}/{command.slot} for {command.scope}"
    key = f" {command.key}={command.value or 'none'}" if isinstance(command, Tag) else ""
    return f"{type(command).__name__.lower()} {target}{key}"


def _came_to(outcome: Outcome | None) -> str:
    if outcome is None:
        return ""
    told = "; ".join(filter(None, (outcome.instance_id, safe(outcome.detail))))
    return f" -> {outcome.result.value}{f' ({told})' if told else ''}"


def _by_urgency(verdicts: Iterable[Verdict]) -> list[Verdict]:
    rank = {reason: number for number, reason in enumerate(URGENCY)}
    return sorted(verdicts, key=lambda v: (v.subject.value != "job", rank.get(v.reason, len(rank))))


def status(tick: Tick, config: Config) -> list[str]:
    """What runs now: a line per pool, its instances below it, then the jobs that wait or run."""
    found = [headline(tick)]
    for pool in config.pools:
        mine = [v for v in tick.plan.verdicts if v.subject is Subject.INSTANCE and v.pool == pool.name]
        states = Counter(v.reason.value for v in mine)
        said = ", ".join(f"{count} {state}" for state, count in states.items()) or "nothing runs"
        found.append(f"pool {pool.name}: {len(mine)} of {pool.max} ({said})")
        found += [
            f"  {v.id} {v.name or '(no runner)'} {v.scope} {age_of(tick.snapshot.now, v.since)} {v.reason.value}: {v.sentence}"
            for v in mine
        ]
    for verdict in _by_urgency(tick.plan.verdicts):
        if verdict.subject is Subject.JOB and verdict.reason not in NOT_OURS:
            age = age_of(tick.snapshot.now, verdict.since)
            found.append(
                f"job {safe(verdict.name)} in {verdict.scope} {age} {verdict.reason.value}: {verdict.sentence}"
            )
    found += [f"not seen: {each.view.value} {each.scope}: {safe(each.why)}" for each in _unseen(tick)]
    return found


# --- the job summary -----------------------------------------------------------------------------


def markdown(tick: Tick, config: Config) -> str:
    """The job summary: a line of state, what could not be seen, a table per repository and per pool, what was done."""
    parts = [
        f"### runner-scaler: fleet {config.fleet}",
        f"**{headline(tick)}** · {tick.snapshot.now:%Y-%m-%d %H:%M:%S} UTC",
    ]
    parts += [f"> **Not seen**: {each.view.value} {_cell(each.scope)}: {_cell(each.why)}" for each in _unseen(tick)]
    parts += _job_tables(tick)
    parts += _pool_tables(tick, config)
    parts += _rest_table(tick)
    parts += _command_table(tick)
    return "\n\n".join(parts) + "\n"


def _job_tables(tick: Tick) -> list[str]:
    by_repository: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in _by_urgency(tick.plan.verdicts):
        if verdict.subject is Subject.JOB and verdict.reason not in NOT_OURS:
            by_repository[verdict.scope].append(verdict)
    rows = {
        repository: [
            (
                f"[{_cell(v.name)}]({v.url})" if v.url.startswith("https://") else _cell(v.name),
                v.pool,
                age_of(tick.snapshot.now, v.since),
                f"**{v.reason.value}**: {_cell(v.sentence)}",
            )
            for v in verdicts
        ]
        for repository, verdicts in by_repository.items()
    }
    return [
        f"#### {_cell(repository)}\n\n" + _table(("Job", "Pool", "Age", "Verdict"), found)
        for repository, found in rows.items()
    ]


def _pool_tables(tick: Tick, config: Config) -> list[str]:
    by_pool: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in tick.plan.verdicts:
        if verdict.subject is Subject.INSTANCE:
            by_pool[verdict.pool].append(verdict)
    tables = []
    for name, verdicts in by_pool.items():
        pool = config.pool(name)
        title = f"#### Pool {_cell(name or '(unknown)')}: {len(verdicts)} of {pool.max if pool else '?'}"
        found = [
            (v.id, _cell(v.scope), age_of(tick.snapshot.now, v.since), f"**{v.reason.value}**: {_cell(v.sentence)}")
            for v in verdicts
        ]
        tables.append(f"{title}\n\n" + _table(("Instance", "Scope", "Age", "Verdict"), found))
    return tables


def _rest_table(tick: Tick) -> list[str]:
    rest = [v for v in tick.plan.verdicts if v.subject not in (Subject.JOB, Subject.INSTANCE)]
    if not rest:
        return []
    found = [(v.subject.value, _cell(v.name), f"**{v.reason.value}**: {_cell(v.sentence)}") for v in rest]
    return ["#### Also\n\n" + _table(("What", "Name", "Verdict"), found)]


def _command_table(tick: Tick) -> list[str]:
    if not tick.plan.commands:
        return ["Nothing to do."]
    outcomes = {id(outcome.command): outcome for outcome in tick.outcomes}
    found = [
        (_cell(_verb(c)), _cell(c.sentence), _cell(_came_to(outcomes.get(id(c))).removeprefix(" -> ") or "planned"))
        for c in tick.plan.commands
    ]
    return ["#### Commands\n\n" + _table(("Command", "Why", "Outcome"), found)]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    text = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    text += ["| " + " | ".join(row) + " |" for row in rows[:ROWS]]
    if len(rows) > ROWS:
        text.append(f"\n… and {len(rows) - ROWS} more")
    return "\n".join(text)


def _cell(text: str) -> str:
    """Text from outside inside a table cell: no markup, no new line, no new column."""
    escaped = safe(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for mark in "\\`*_[]|#":
        escaped = escaped.replace(mark, f"\\{mark}")
    return escaped


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
        "plan": json.dumps([_verb(command) for command in last.plan.commands]),
    }


def alerts(tick: Tick) -> list[tuple[str, str]]:
    """What needs a person, as (level, text), at most a handful: refusals, what was unseen, jobs nobody serves."""
    found: dict[str, str] = {}
    for each in _unseen(tick):
        found[f"{each.why}{chr(10) + each.remedy if each.remedy else ''}"] = "error" if each.denied else "warning"
    for outcome in tick.outcomes:
        if outcome.result in (Result.DENIED, Result.REFUSED, Result.FAILED, Result.NO_CAPACITY):
            text = f"{_verb(outcome.command)}: {outcome.detail}{chr(10) + outcome.remedy if outcome.remedy else ''}"
            found[text] = "error" if outcome.result in (Result.DENIED, Result.REFUSED) else "warning"
    unserved: dict[str, list[str]] = defaultdict(list)
    for verdict in tick.plan.verdicts:
        undated = verdict.subject is Subject.JOB and verdict.since is None and verdict.reason in WAITING
        if undated or verdict.reason in UNSERVED:
            unserved[safe(verdict.sentence)].append(f'"{safe(verdict.name)}" in {verdict.scope}')
    for sentence, jobs in unserved.items():
        found[f"{jobs[0]}{f' and {len(jobs) - 1} more' if len(jobs) > 1 else ''}: {sentence}"] = "warning"
    ranked = sorted(found.items(), key=lambda item: item[1] != "error")
    return [(level, text) for text, level in ranked[:8]]
