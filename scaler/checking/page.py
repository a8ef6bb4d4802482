"""What a preflight tells beside its lines: the job summary, and annotations for what needs a person. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from scaler.checking.checks import Check, State, closing
from scaler.reporting.markup import cut, folded, plain
from scaler.reporting.report import ALERTS
from scaler.text import safe

ROWS = 100
"""Rows of a table: three columns of 400 characters at most, so that two tables stay far below GitHub's 1 MiB."""
URGENCY = (State.WRONG, State.UNSEEN, State.UNWISE)


def markdown(title: str, checks: Sequence[Check]) -> str:
    """First what is to be mended, the worst first; then, folded, all that is well."""
    bad = by_urgency(checks)
    well = [check for check in checks if check.state is State.OK]
    parts = [f"### runner-scaler: {plain(title)}", f"**{'To mend' if bad else 'All is well'}**: {closing(checks)}"]
    if bad:
        rows = [
            (f"**{each.state.value}**", plain(each.what), plain(each.told), plain(each.mend)) for each in bad[:ROWS]
        ]
        parts.append(cut(("", "What", "Found", "How to mend it"), rows, ROWS, len(bad)))
    if well:
        found = [(plain(each.what), plain(each.told)) for each in well[:ROWS]]
        parts.append(folded(f"{len(well)} ok", cut(("What", "Found"), found, ROWS, len(well))))
    return "\n\n".join(parts) + "\n"


def alerts(checks: Sequence[Check]) -> list[tuple[str, str]]:
    """As (level, text), at most a handful and one for each way to mend it, the worst first."""
    found: dict[tuple[State, str], list[Check]] = defaultdict(list)
    for check in by_urgency(checks):
        found[check.state, check.mend].append(check)
    return [
        ("error" if state is State.WRONG else "warning", _alert(alike))
        for (state, _), alike in [*found.items()][:ALERTS]
    ]


def by_urgency(checks: Sequence[Check]) -> list[Check]:
    """What is not as it should be."""
    return [check for state in URGENCY for check in checks if check.state is state]


def _alert(alike: Sequence[Check]) -> str:
    first, more = alike[0], len(alike) - 1
    told = "; ".join(filter(None, (safe(first.told), safe(first.mend))))
    return f"{safe(first.what)}{f' and {more} more' if more else ''}: {told}"
