"""
The job summary: one page of GitHub's Markdown for one tick, or for all of a watch so far. Pure.

First what somebody may have to act on, open; then everything, folded by repository and pool. It stays far below the
1 MiB over which GitHub drops a summary (docs.github.com: workflow commands): every list is cut, with a count.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from scaler.model import Outcome, Reason, Result, Subject, Tick, Verdict
from scaler.reporting.chart import chart
from scaler.reporting.costs import Costs, costs_of, in_short, table_of
from scaler.reporting.markup import code, cut, folded, link, more, plain
from scaler.reporting.report import (
    NOT_OURS,
    URGENCY,
    WAITING,
    Cause,
    age_of,
    blind,
    by_urgency,
    came_to,
    causes,
    counted,
    headline,
    state,
    verb,
)
from scaler.reporting.trend import Trend, first
from scaler.settings.config import Config

OPEN_ROWS = 20
"""Rows of a list that nobody has to unfold."""
ROWS, ALL_ROWS = 50, 200
"""Rows of one folded table, and of all of them that tell of jobs (or of instances)."""
LINKS = 3
"""Jobs named for one cause."""
WELL = frozenset({Result.DONE, Result.TAKEN, Result.BUSY, Result.DECLINED, Result.SKIPPED})
"""Outcomes that ask nothing of anybody: the next tick goes on from there."""
PRICES = (
    "In USD, from `price_per_hour` of each pool and `github.price_per_minute`. A day like this: 24 hours of the mean"
    " number of instances since the first tick."
)
HOW_TO_STOP = (
    "Keep an instance: tag it `runner-scaler:hold`. Launch no more: `max: 0` in its pool. Stop all: disable the"
    " workflow; instances end themselves."
)

Row = tuple[str, ...]


def markdown(tick: Tick, config: Config, trend: Trend | None = None) -> str:
    """The page of one tick, with the trend of its watch."""
    trend = trend or first(tick)
    parts = [
        f"### runner-scaler: fleet {config.fleet}",
        f"**{state(tick)}**: {headline(tick)} · {tick.snapshot.now:%Y-%m-%d %H:%M:%S} UTC",
        *_not_seen(tick),
        *_asked(tick),
        *_failed(tick),
        *_waits(tick),
        *([chart(trend)] if len(trend.points) > 1 else []),
        *_repositories(tick),
        *_pools(tick, config),
        *_left_behind(tick),
        *_commands(tick),
        *_costs(costs_of(config, trend)),
        HOW_TO_STOP,
    ]
    return "\n\n".join(parts) + "\n"


# --- open: what somebody may have to act on ------------------------------------------------------


def _not_seen(tick: Tick) -> list[str]:
    parts = []
    found = blind(tick)
    for each in found[:OPEN_ROWS]:
        parts.append(f"> **Not seen**: {plain(each.what)}: {plain(each.why)}")
        if each.remedy:
            parts.append(folded("How to mend it", code(each.remedy)))
    if len(found) > OPEN_ROWS:
        parts.append(more(len(found) - OPEN_ROWS))
    return [*parts, "What was not seen is left alone: nothing there is ended."] if parts else []


def _failed(tick: Tick) -> list[str]:
    bad = [outcome for outcome in tick.outcomes if outcome.result not in WELL]
    if not bad:
        return []
    rows = [(plain(verb(each.command)), _outcome(each)) for each in bad]
    remedies = dict.fromkeys(each.remedy for each in bad if each.remedy)
    return [
        "#### Did not work\n\n" + cut(("Command", "Outcome"), rows, OPEN_ROWS),
        *(folded("How to mend it", code(remedy)) for remedy in [*remedies][:LINKS]),
    ]


def _asked(tick: Tick) -> list[str]:
    asked = [v for v in tick.plan.verdicts if v.subject is Subject.REQUEST]
    return ["#### Asked for by hand\n\n" + _verdicts(asked, OPEN_ROWS)] if asked else []


def _waits(tick: Tick) -> list[str]:
    found = causes(tick)
    if not found:
        return []
    rows = [(*_jobs_of(cause, tick.snapshot.now), _why(cause.reason, cause.sentence)) for cause in found]
    total = sum(len(cause.jobs) for cause in found)
    return [f"#### {counted(total, 'job')} not being served\n\n" + cut(("Jobs", "Oldest", "Why"), rows, OPEN_ROWS)]


def _jobs_of(cause: Cause, now: datetime) -> tuple[str, str]:
    named: dict[str, list[str]] = defaultdict(list)
    for job in cause.jobs[:LINKS]:
        named[job.scope].append(link(job.name, job.url))
    told = "; ".join(f"{', '.join(jobs)} in {plain(scope)}" for scope, jobs in named.items())
    more = len(cause.jobs) - LINKS
    return told + (f" and {more} more" if more > 0 else ""), age_of(now, cause.jobs[0].since)


# --- folded: everything --------------------------------------------------------------------------


def _repositories(tick: Tick) -> list[str]:
    by_repository: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in by_urgency(tick.plan.verdicts):
        if verdict.subject is Subject.JOB and verdict.reason not in NOT_OURS:
            by_repository[verdict.scope].append(verdict)
    now = tick.snapshot.now

    def row(v: Verdict) -> Row:
        return (link(v.name, v.url), plain(v.pool), age_of(now, v.since), _why(v.reason, v.sentence))

    titles = {repository: f"{repository}: {_of_jobs(verdicts)}" for repository, verdicts in by_repository.items()}
    return _tables(titles, by_repository, ("Job", "Pool", "Age", "Verdict"), row)


def _of_jobs(verdicts: Sequence[Verdict]) -> str:
    queued = sum(v.reason in WAITING for v in verdicts)
    running = sum(v.reason is Reason.RUNNING for v in verdicts)
    unserved = sum(v.reason in URGENCY for v in verdicts)
    parts = [f"{queued} queued", f"{running} running"]
    return ", ".join(parts) + (f" ({unserved} not being served)" if unserved else "")


def _pools(tick: Tick, config: Config) -> list[str]:
    by_pool: dict[str, list[Verdict]] = {pool.name: [] for pool in config.pools}
    for verdict in tick.plan.verdicts:
        if verdict.subject is Subject.INSTANCE:
            by_pool.setdefault(verdict.pool, []).append(verdict)
    by_pool = {name: verdicts for name, verdicts in by_pool.items() if verdicts}
    now = tick.snapshot.now

    def row(v: Verdict) -> Row:
        return (plain(v.id), plain(v.scope), age_of(now, v.since), _why(v.reason, v.sentence))

    most = {pool.name: f" of {pool.max}" for pool in config.pools}
    titles = {
        name: f"Pool {name or '(unknown)'}: {len(verdicts)}{most.get(name, '')} ({_of_instances(verdicts)})"
        for name, verdicts in by_pool.items()
    }
    return _tables(titles, by_pool, ("Instance", "Scope", "Age", "Verdict"), row)


def _of_instances(verdicts: Sequence[Verdict]) -> str:
    states = Counter(verdict.reason.value for verdict in verdicts)
    return ", ".join(f"{count} {reason}" for reason, count in states.items())


def _left_behind(tick: Tick) -> list[str]:
    rest = [v for v in tick.plan.verdicts if v.subject not in (Subject.JOB, Subject.INSTANCE, Subject.REQUEST)]
    if not rest:
        return []
    told = ", ".join(f"{count} {what}" for what, count in Counter(v.reason.value for v in rest).items())
    return [folded(f"Left behind: {told}", _verdicts(rest, ROWS))]


def _commands(tick: Tick) -> list[str]:
    if not tick.plan.commands:
        return []
    outcomes = {id(outcome.command): outcome for outcome in tick.outcomes}
    rows = [(plain(verb(c)), plain(c.sentence), _outcome(outcomes.get(id(c)))) for c in tick.plan.commands]
    done = Counter(str(o.result.value) for o in tick.outcomes)
    done["planned"] = len(tick.plan.commands) - len(tick.outcomes)
    told = ", ".join(f"{count} {result}" for result, count in done.items() if count > 0)
    title = f"{counted(len(tick.plan.commands), 'command')}: {told}"
    return [folded(title, cut(("Command", "Why", "Outcome"), rows, ALL_ROWS))]


def _costs(costs: Costs) -> list[str]:
    head, *rows = [tuple(map(plain, row)) for row in table_of(costs)]
    if not costs.priced and not any(cost.now or cost.hours for cost in costs.pools):
        return []
    return [folded(f"Costs: {in_short(costs)}", cut(head, rows, ROWS) + f"\n\n{PRICES}")]


# --- parts ---------------------------------------------------------------------------------------


def _tables(
    titles: Mapping[str, str], groups: Mapping[str, Sequence[Verdict]], head: Row, row: Callable[[Verdict], Row]
) -> list[str]:
    """A folded table for each group, until `ALL_ROWS` are told; then one line for the rest."""
    parts: list[str] = []
    left = ALL_ROWS
    for number, (name, verdicts) in enumerate(groups.items()):
        if left <= 0:
            rest = list(groups.values())[number:]
            parts.append(more(f"{sum(map(len, rest))} in {len(rest)}"))
            break
        most = min(ROWS, left, len(verdicts))
        rows = [row(verdict) for verdict in verdicts[:most]]
        parts.append(folded(titles[name], cut(head, rows, most, len(verdicts))))
        left -= most
    return parts


def _verdicts(verdicts: Sequence[Verdict], most: int) -> str:
    rows = [(v.subject.value, plain(v.name), _why(v.reason, v.sentence)) for v in verdicts]
    return cut(("What", "Name", "Verdict"), rows, most)


def _why(reason: Reason, sentence: str) -> str:
    return f"**{reason.value}**: {plain(sentence)}"


def _outcome(outcome: Outcome | None) -> str:
    return plain(came_to(outcome).removeprefix(" -> ")) or "planned"
