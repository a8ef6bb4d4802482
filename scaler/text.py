"""How values from outside are shown: on one line, without control characters, secrets or workflow commands."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

LONGEST = 40
"""A longer value is cut: the place says where it stands, its start is enough to know it by."""

# GitHub's token prefixes (docs.github.com: about authentication to GitHub), AWS access keys and secret keys
# (docs.aws.amazon.com: IAM identifiers), JSON web tokens. A secret pasted into the wrong key is not echoed.
_SECRET = re.compile(
    r"gh[pousr]_\w{10}|github_pat_\w{10}|\b(AKIA|ASIA)[0-9A-Z]{12}|\beyJ[\w-]{10}|-----BEGIN|^[A-Za-z0-9/+]{40}$"
)


def safe(text: str) -> str:
    r"""
    The text on one line, with nothing that a terminal or GitHub's log would obey.

    A control, bidirectional or line-separating character becomes its escape. GitHub's runner takes `::name::`
    at the start of a line and `##[name]` anywhere for a workflow command (actions/runner: ActionCommand.cs).
    """
    shown = "".join(c if c.isprintable() else _escaped(c) for c in text)
    return shown.replace("::", r":\x3a").replace("##[", r"#\x23[")


def harmless(line: str) -> str:
    """A line of ours: `::` may stand within it (in an ARN, say), but not where the runner takes it for a command."""
    whole = line.isprintable() and "##[" not in line and not line.lstrip().startswith("::")
    return line if whole else safe(line)


def quoted(value: object) -> str:
    """A value as messages show it: text in double quotes, cut when long, withheld when it looks like a secret."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "nothing"
    text = str(value)
    if _SECRET.search(text):
        return "a value that looks like a secret (not shown)"
    if len(text) > LONGEST:
        return f'"{_inside(text[: LONGEST // 2])}..." ({len(text)} characters)'
    return f'"{_inside(text)}"' if isinstance(value, str) else text


def some(words: Sequence[str], most: int) -> str:
    """So many of the words, and a count of the rest: `a, b and 7 more`."""
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The one of `words` that was probably meant, or None."""
    by_lower = {w.lower(): w for w in words}
    found = difflib.get_close_matches(word.strip().lower()[:64], by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def _inside(text: str) -> str:
    return safe(text.replace("\\", "\\\\").replace('"', '\\"'))


def _escaped(character: str) -> str:
    code = ord(character)
    named = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}.get(character)
    return named or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
