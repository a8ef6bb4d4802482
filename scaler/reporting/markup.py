"""GitHub's Markdown, as far as the job summary needs it; texts from outside mark up nothing. Pure."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from scaler.text import safe

LONGEST = 400
"""Characters of Markdown that a text from outside may take. The log and the JSON document have all of it."""

# Each would mark something up: emphasis, code, links, cells, headings, formulas, HTML.
_MARKS = frozenset("\\`*_[]|#~$")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# What GFM turns into links by itself (github.github.com/gfm: autolinks).
_LINKS = {"www.": "www\\.", "://": "\\://"}
_PARTS = re.compile(r"www\.|://|.", re.DOTALL)
_ADDRESS = re.compile(r"https://[A-Za-z0-9._~:/?=&%#+-]{1,300}", re.ASCII)


def plain(text: str) -> str:
    """A text from outside: no markup, no link, no new line, no new column, and not longer than `LONGEST`."""
    found: list[str] = []
    length = 0
    for part in _PARTS.findall(safe(text)):
        shown = _LINKS.get(part) or _ENTITIES.get(part) or (f"\\{part}" if part in _MARKS else part)
        length += len(shown)
        if length > LONGEST:
            return "".join(found) + "…"
        found.append(shown)
    return "".join(found)


def link(text: str, url: str) -> str:
    """A text from outside as a link, if the address is one that cannot end the link early."""
    return f"[{plain(text)}]({url})" if _ADDRESS.fullmatch(url) else plain(text)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; its cells are Markdown already."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def cut(head: Sequence[str], rows: Sequence[Sequence[str]], most: int, total: int | None = None) -> str:
    """A table of so many rows at most, and how many more there are (of `total`, where not all rows are given)."""
    left = (len(rows) if total is None else total) - most
    return table(head, rows[:most]) + (f"\n\n{more(left)}" if left > 0 else "")


def more(what: object) -> str:
    """How a list that is cut ends."""
    return f"… and {what} more"


def folded(title: str, body: str) -> str:
    """A part that the reader opens. The title is text: in front of a blank line GitHub reads HTML, no Markdown."""
    return f"<details><summary>{html.escape(safe(title), quote=False)}</summary>\n\n{body}\n\n</details>"


def code(text: str) -> str:
    """Lines to copy, in a fence that none of them can end."""
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"
