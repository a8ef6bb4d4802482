"""
The notes of a release: what CHANGELOG.md says of that version. `python3 -I scripts/release_notes.py v1.2.3`.

Fails with one line where the tag, the package's version and the CHANGELOG do not agree.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TAG = re.compile(r"v(\d+\.\d+\.\d+)")


class Unfit(Exception):
    """Why there is no release to be made of this."""


def notes(tag: str, changelog: str, version: str) -> str:
    """The section of a tag's version, without its heading."""
    read = TAG.fullmatch(tag)
    if read is None:
        raise Unfit(f"{tag} is no tag of a release; write vX.Y.Z")
    if read[1] != version:
        raise Unfit(f"the tag is {tag}, and pyproject.toml has version {version}; they have to be one")
    sections: dict[str, str] = dict(re.findall(r"^## (.+)\n((?:(?!## ).*\n?)*)", changelog, re.MULTILINE))
    headings = [heading for heading in sections if heading.split(" ")[0] == version]
    if not headings:
        raise Unfit(f"CHANGELOG.md has no section {version}; rename Unreleased to it, with the date")
    if re.fullmatch(re.escape(version) + r" - \d{4}-\d\d-\d\d", headings[0]) is None:
        raise Unfit(f'CHANGELOG.md has "{headings[0]}"; write "{version} - YYYY-MM-DD"')
    text = sections[headings[0]].strip()
    if not re.search(r"^- ", text, re.MULTILINE):
        raise Unfit(f"CHANGELOG.md says nothing of {version}")
    return text + "\n"


def main(arguments: Sequence[str]) -> int:
    """Print the notes, or say why not."""
    try:
        (tag,) = arguments
        version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
        print(notes(tag, (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), version), end="")
    except (Unfit, ValueError) as error:
        print(error if isinstance(error, Unfit) else "usage: release_notes.py vX.Y.Z", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
