"""
What the tests read that is neither ours nor committed: fetched once, pinned, checked, kept in `.cache/`.

`python -m tests.fetched` fetches all of it, as the set-up does; the tests fetch what is missing. Needs npm and
pip; what comes from the network is compared with a hash that stands in our files before it is opened.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

CACHE = Path(__file__).resolve().parents[1] / ".cache"


class Unreachable(Exception):
    """The registry or its client cannot be reached, and nothing is kept from an earlier time."""


class Tampered(Exception):
    """What came is not what was pinned."""


def kept(name: str, make: Callable[[Path], None]) -> Path:
    """
    Return a file of the cache; `make` writes it if it is missing.

    Written beside its place and moved there, under a lock: test processes that start together fetch it once,
    and one that is killed leaves nothing half-written.
    """
    target = CACHE / name
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with _locked(target.parent / ".lock"):
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
                made = Path(scratch) / target.name
                make(made)
                made.replace(target)
    return target


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def client(*command: str) -> None:
    """Run a registry's own client. Raises `Unreachable` with its last words, `Tampered` where it found so itself."""
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    except FileNotFoundError:
        raise Unreachable(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise Unreachable(f"{command[0]} did not answer within 300 s") from None
    if done.returncode != 0:
        if "DO NOT MATCH THE HASHES" in done.stderr or "EINTEGRITY" in done.stderr:
            raise Tampered(done.stderr)
        last = " | ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise Unreachable(f"{' '.join(command[:3])} failed: {last}")


def verify(path: Path, integrity: str) -> None:
    """Compare a file with its hash, written as npm writes it: `sha512-<base64>`. Raises `Tampered`."""
    found = "sha512-" + base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
    if found != integrity:
        raise Tampered(f"{path.name}: expected {integrity}, got {found}")


def needed(fetch: Callable[[], Path]) -> Path:
    """
    Fetch for a test. Where it cannot be fetched, the test fails on CI and is skipped, in words, elsewhere.

    CI must never pass by not having looked.
    """
    import pytest

    try:
        return once(fetch)
    except Unreachable as error:
        said = f"NOT CHECKED, since it could not be fetched: {error}"
        if os.environ.get("CI", "").lower() in ("true", "1"):
            pytest.fail(said, pytrace=False)
        pytest.skip(said)


_failed: dict[tuple[Callable[[], Path], Path], Unreachable] = {}


def once(fetch: Callable[[], Path]) -> Path:
    """Fetch, but try what failed in this process no second time: a network that is away takes a minute to say so."""
    key = (fetch, CACHE)
    if key in _failed:
        raise _failed[key]
    try:
        return fetch()
    except Unreachable as error:
        _failed[key] = error
        raise


def main() -> int:
    """Fetch everything; say what could not be had."""
    from tests import fetch_openapi, pygithub_recordings

    failed = 0
    for fetch in (fetch_openapi.fetch, pygithub_recordings.fetch):
        try:
            path = fetch()
            print(f"{path.relative_to(CACHE.parent)}: {path.stat().st_size // 1024} KB")
        except Unreachable as error:
            print(f"not fetched: {error}", file=sys.stderr)
            failed = 1
    return failed


if __name__ == "__main__":
    from tests import fetched  # the module that the others raise errors of, not this run of its text

    sys.exit(fetched.main())
