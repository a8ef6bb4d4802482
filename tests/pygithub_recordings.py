"""
What GitHub really answered: the exchanges that PyGithub's source distribution carries for its own tests.

The files are LGPL and stay out of the repository: the distribution is fetched by pip, compared with the pinned
hash, and read at test time.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.exchange import Exchange
from tests.fetched import client, kept

VERSION = "2.10.0"
INTEGRITY = "sha256:90ff24ef1cd1bd57124c2a3869cafee9d7b066909129ecdaba2c2d1903bc118d"


@dataclass(frozen=True, slots=True)
class Recording:
    """One exchange, and where PyGithub keeps it: `WorkflowRun.test_jobs` and its number there, from 0."""

    name: str
    number: int
    exchange: Exchange

    def __str__(self) -> str:
        """As test ids and messages name it."""
        return f"{self.name}#{self.number}"


def fetch() -> Path:
    """Return PyGithub's source distribution. Raises `Unreachable`, `Tampered`."""
    return kept(f"pygithub/pygithub-{VERSION}.tar.gz", _write_sdist)


def _write_sdist(path: Path) -> None:
    # pip compares the hash before it opens the file. It then asks the package for its metadata, which takes its
    # build tools in an environment apart; nothing is built and nothing is installed.
    with tempfile.TemporaryDirectory() as scratch:
        wanted = Path(scratch) / "wanted.txt"
        wanted.write_text(f"PyGithub=={VERSION} --hash={INTEGRITY}\n")
        options = ["--no-deps", "--no-binary", ":all:", "--require-hashes", "--retries", "1"]
        # An environment that uv made has no pip of its own.
        python = sys.executable if importlib.util.find_spec("pip") else "python3"
        client(python, "-m", "pip", "download", *options, "--dest", scratch, "-r", str(wanted))
        (found,) = Path(scratch).glob("*.tar.gz")
        path.write_bytes(found.read_bytes())


@functools.cache
def recordings() -> tuple[Recording, ...]:
    """All exchanges with api.github.com, in the order of the files' names."""
    found: list[Recording] = []
    with tarfile.open(fetch(), "r:gz") as archive:
        for member in archive:
            path = Path(member.name)
            if path.parent.name == "ReplayData" and path.suffix == ".txt":
                file = archive.extractfile(member)
                assert file is not None
                found += _read(path.stem, file.read().decode())
    return tuple(sorted(found, key=lambda recording: (recording.name, recording.number)))


def recording(name: str, number: int = 0) -> Exchange:
    """One exchange by its name."""
    (found,) = (r.exchange for r in recordings() if r.name == name and r.number == number)
    return found


def _read(name: str, text: str) -> list[Recording]:
    """Read PyGithub's form: ten lines an exchange, then an empty one (tests/Framework.py there)."""
    found: list[Recording] = []
    lines = text.split("\n")
    for start in range(len(lines) - 9):
        protocol, method, host, _, url, sent, body, status, answered, answer = lines[start : start + 10]
        # Other hosts are enterprise servers and files; a few bodies have lines of their own.
        if protocol != "https" or host != "api.github.com" or not sent.startswith("{"):
            continue
        split = urlsplit(url)
        exchange = Exchange(
            method=method,
            path=split.path,
            query=split.query,
            request_headers=dict(ast.literal_eval(sent)),
            request_body=b"" if body == "None" else body.encode(),
            status=int(status),
            response_headers=dict(ast.literal_eval(answered)),
            response_body=answer.encode(),
        )
        found.append(Recording(name, len(found), exchange))
    return found
