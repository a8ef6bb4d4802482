"""
Make an environment of hash-locked wheels, all at once: the fast way of the action's install step.

    python3 -I scripts/wheels.py REQUIREMENTS ENVIRONMENT PROGRAM

pip takes packages one after the other, and thinks longest about versions, which the lock file has settled. Here each
package's file is found in the index by its locked hash, fetched, held against that hash and unpacked, and bytecode is
written on every core while others are still on their way; PROGRAM's bytecode too. What is not plain (an index without
JSON, settings of pip's own, a Python without pip's knowledge of wheels) ends this with one line: pip does it then.
"""

from __future__ import annotations

import compileall
import hashlib
import io
import json
import os
import re
import ssl
import sys
import sysconfig
import urllib.request
import venv
import zipfile
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from pip._internal.models.index import PyPI
from pip._vendor.packaging.markers import Marker
from pip._vendor.packaging.tags import sys_tags
from pip._vendor.packaging.utils import parse_wheel_filename

LATE = 30.0
"""Seconds without a byte after which the index is given up."""
JSON = "application/vnd.pypi.simple.v1+json"
SERVICES = frozenset({"ec2", "iam", "ssm", "sts", "sso", "sso-oidc", "signin"})
"""Of botocore's hundreds of service models, those that the program and botocore's own credentials ask for."""
MODEL = re.compile(r"botocore/data/([^/]+)/.+")
OWN_WAY = re.compile(r"^\s*(index-url|no-index|proxy|client-cert)\b", re.MULTILINE)
"""Settings of pip with which it knows its way to an index better."""


class Unusable(Exception):
    """Why this way is not to be had here."""


@dataclass(frozen=True, slots=True)
class Locked:
    """A package of the lock file, and the hashes of its files."""

    name: str
    hashes: frozenset[str]


def locked(text: str) -> list[Locked]:
    """The packages of a lock file that this machine needs."""
    found = []
    lines = re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    for line in filter(str.strip, lines):
        read = re.fullmatch(r"([\w.-]+)==[^\s;]+(?: *;(.+?))?((?:\s+--hash=sha256:[0-9a-f]{64})+)\s*", line)
        if read is None:
            raise Unusable(f"a line of the lock file is not of the form that is known here: {line[:60]!r}")
        name, marker, hashes = read.groups()
        if marker is None or Marker(marker).evaluate():
            found.append(Locked(name, frozenset(re.findall(r"[0-9a-f]{64}", hashes))))
    return found


def index_url() -> str:
    """Where the index is, unless pip has settings that are its own to follow."""
    home = Path.home()
    configured = [Path("/etc/pip.conf"), Path("/etc/xdg/pip/pip.conf"), Path(sys.prefix, "pip.conf")]
    configured += [home / ".pip/pip.conf", Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config", "pip/pip.conf")]
    configured += [Path(os.environ["PIP_CONFIG_FILE"])] if os.environ.get("PIP_CONFIG_FILE") else []
    for file in filter(Path.is_file, configured):
        if setting := OWN_WAY.search(file.read_text(errors="replace")):
            raise Unusable(f"{file} has {setting[1]}")
    return os.environ.get("PIP_INDEX_URL") or PyPI.simple_url


class Index:
    """A package index, asked in JSON (packaging.python.org: simple repository API)."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/") + "/"
        self._ranks = {tag: rank for rank, tag in enumerate(sys_tags())}
        # One for all: to read the machine's certificates takes longer than to ask.
        context = ssl.create_default_context(cafile=os.environ.get("PIP_CERT") or None)
        self._opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))

    def wheel(self, package: Locked) -> bytes:
        """The locked wheel that fits this machine best."""
        address = f"{self._url}{package.name}/"
        locked = [row for row in self._files(address) if row["hashes"].get("sha256") in package.hashes]
        ranked = [(rank, row["url"]) for row in locked if (rank := self._rank(row["filename"])) is not None]
        if not ranked:
            raise Unusable(f"the index has no wheel of {package.name} that is locked and fits this machine")
        wheel = self._get(urljoin(address, min(ranked)[1]), "*/*")
        if hashlib.sha256(wheel).hexdigest() not in package.hashes:
            raise Unusable(f"what the index gave for {package.name} has none of its locked hashes")
        return wheel

    def _files(self, address: str) -> list[Mapping[str, Any]]:
        try:
            files = json.loads(self._get(address, JSON))["files"]
        except (ValueError, KeyError, TypeError) as error:
            raise Unusable("the index does not speak JSON") from error
        return [row for row in files if row["filename"].endswith(".whl")]

    def _rank(self, filename: str) -> int | None:
        """How well a wheel fits, 0 for best."""
        tags = parse_wheel_filename(filename)[3]
        return min((self._ranks[tag] for tag in tags if tag in self._ranks), default=None)

    def _get(self, url: str, accept: str) -> bytes:
        request = urllib.request.Request(url, headers={"Accept": accept})  # noqa: S310 - the index's, or what it names
        with self._opener.open(request, timeout=LATE) as answer:
            body: bytes = answer.read()
        return body


def unpack(wheel: bytes, folder: Path) -> list[str]:
    """Write a wheel's files, but not the models of services that nobody here asks; those of Python."""
    written, made = [], set()
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        for entry in archive.infolist():
            model = MODEL.fullmatch(entry.filename)
            if entry.is_dir() or (model and model[1] not in SERVICES):
                continue
            path = folder / entry.filename
            if ".." in path.parts or not path.is_relative_to(folder):
                raise Unusable(f"a wheel has a file outside of itself: {entry.filename!r}")
            if path.parent not in made:
                path.parent.mkdir(parents=True, exist_ok=True)
                made.add(path.parent)
            path.write_bytes(archive.read(entry))
            if path.suffix == ".py":
                written.append(str(path))
    return written


def compiled(files: Sequence[str]) -> None:
    """Write bytecode, where it can be written."""
    for file in files:
        compileall.compile_file(file, quiet=2)


class Bytecode:
    """Bytecode, written on every core while other wheels are on their way."""

    AT_ONCE = 16

    def __init__(self, processes: Executor) -> None:
        self._processes = processes
        self._begun: list[Future[None]] = []

    def of(self, files: Sequence[str]) -> None:
        """Begin to write it for these."""
        for start in range(0, len(files), self.AT_ONCE):
            self._begun.append(self._processes.submit(compiled, files[start : start + self.AT_ONCE]))

    def wait(self) -> None:
        """Until all is written."""
        for one in self._begun:
            one.result()


def modules(program: Path) -> list[str]:
    """Return the program's files; the sandbox, which no run loads, left out."""
    return [str(file) for file in program.rglob("*.py") if "sandbox" not in file.relative_to(program).parts]


def install(requirements: Path, environment: Path, program: Path) -> None:
    """All of it."""
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as processes:
        bytecode = Bytecode(processes)
        bytecode.of(modules(program))  # forks the processes, before there are threads
        packages = locked(requirements.read_text(encoding="utf-8"))
        index = Index(index_url())
        base = {"base": str(environment), "platbase": str(environment)}
        folder = Path(sysconfig.get_path("purelib", "venv", base))
        venv.EnvBuilder(clear=True, symlinks=True).create(environment)
        with ThreadPoolExecutor(len(packages)) as threads:
            unpacked = threads.map(lambda package: bytecode.of(unpack(index.wheel(package), folder)), packages)
            list(unpacked)
        bytecode.wait()


def main(arguments: Sequence[str]) -> int:
    """Make it, or say in one line why not."""
    requirements, environment, program = map(Path, arguments)
    try:
        install(requirements, environment, program)
    except (Unusable, OSError, zipfile.BadZipFile) as error:
        print(error if isinstance(error, Unusable) else f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
