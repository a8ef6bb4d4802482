"""
Does the rig bite? Faults are put into copies of the program, and the tests have to find them. Not part of the tests.

First the faults of `seeded_faults.py`, one a copy, each against the tests that should catch it; then mutmut's, by the
thousand, in the modules that pyproject.toml names. docs/mutants.md says how to read it. `make mutants` runs this.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.seeded_faults import FAULTS, Fault

ROOT = Path(__file__).parents[1]
LEFT_OUT = (".git", ".venv*", ".cache", "node_modules", "build", "mutants", "__pycache__", ".*_cache", ".hypothesis")
LINKED = (".cache", ".git", "node_modules")
"""What tests read beside the tree: GitHub's API description, the names that git knows."""
LIMIT = 600.0
KILLED = frozenset({1, 3, 24, -24, 36, 152, 255})
"""mutmut's exit codes of a failed test run and of one that never ends; 0 survived, 33 met no test."""
LEAST = 90.0
AROUND = 40
"""Characters that are told before and after what a mutant changed."""


@contextmanager
def copied() -> Iterator[Path]:
    """A copy of the tree, so that the working tree is never touched."""
    with TemporaryDirectory(prefix="mutants-") as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*LEFT_OUT))
        for name in LINKED:
            if (ROOT / name).exists():
                (tree / name).symlink_to((ROOT / name).resolve())
        yield tree


def run(tree: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A command of this Python in a tree."""
    # What is imported must be the copy's, never what a path of the caller leads to.
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=tree, env=env, capture_output=True, text=True, timeout=LIMIT, check=False
    )


# --- seeded faults -------------------------------------------------------------------------------


def failing(fault: Fault | None, *tests: str) -> str:
    """The first test that fails in a copy of the tree with this fault, or nothing."""
    with copied() as tree:
        if fault is not None:
            file = tree / fault.file
            file.write_text(fault.applied(file.read_text()))
        try:
            ran = run(tree, "pytest", "-q", "-x", "-p", "no:cacheprovider", "--no-header", "--tb=no", *tests)
        except subprocess.TimeoutExpired:
            return "a test that never ends"
    told = [line for line in ran.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    if ran.returncode == 0:
        return ""
    if ran.returncode != 1 or not told:
        raise SystemExit(f"{' '.join(tests)} did not run:\n{ran.stdout}{ran.stderr}")
    return told[0].partition(" ")[2].partition(" - ")[0]


def seeded(workers: int) -> bool:
    """Whether every seeded fault is caught."""
    tests = sorted({test for fault in FAULTS for test in fault.tests})
    if broken := failing(None, *tests):
        raise SystemExit(f"{broken} fails without any fault")
    with ThreadPoolExecutor(workers) as pool:
        found = list(pool.map(lambda fault: failing(fault, *fault.tests), FAULTS))
    print("| Seeded fault | In | Caught by |\n| --- | --- | --- |")
    for fault, caught in zip(FAULTS, found, strict=True):
        print(f"| {fault.name} | `{fault.file}` | {f'`{caught}`' if caught else '**nothing**'} |")
    print(f"\n{sum(map(bool, found))} of {len(FAULTS)} seeded faults are caught.\n")
    return all(found)


# --- mutmut --------------------------------------------------------------------------------------


def mutated(workers: int) -> bool:
    """Whether at least nine in ten of mutmut's mutants are killed; prints those that are not."""
    with copied() as tree:
        mutmut = [sys.executable, "-m", "mutmut", "run", "--max-children", str(workers)]
        env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        ran = subprocess.run(mutmut, cwd=tree, env=env, capture_output=True, text=True, check=False)
        mutated = tree / "mutants" / "scaler"
        metas = {str(path.relative_to(mutated).with_suffix("")): path for path in sorted(mutated.rglob("*.meta"))}
        codes = {name: json.loads(path.read_text())["exit_code_by_key"] for name, path in metas.items()}
        codes = {name: each for name, each in codes.items() if each}
        if ran.returncode != 0 or not codes or any(code is None for each in codes.values() for code in each.values()):
            raise SystemExit(f"mutmut did not run to its end:\n{ran.stdout[-4000:]}{ran.stderr[-4000:]}")
        alive = [name for each in codes.values() for name, code in each.items() if code not in KILLED]
        with ThreadPoolExecutor(workers) as pool:
            survivors = list(pool.map(lambda name: _survivor(tree, name), alive))
    print("| Where | Instead of | Stood |\n| --- | --- | --- |", *sorted(survivors), sep="\n")
    total, survived = sum(map(len, codes.values())), len(alive)
    print("\n| Module | Mutants | Killed | Survived | Score |\n| --- | --- | --- | --- | --- |")
    for name, each in codes.items():
        print(_row(f"`scaler/{name}`", len(each), sum(code not in KILLED for code in each.values())))
    print(_row("all", total, survived))
    return 100 * (total - survived) / total >= LEAST


def _row(name: str, total: int, survived: int) -> str:
    return f"| {name} | {total} | {total - survived} | {survived} | {100 * (total - survived) / total:.1f} % |"


def _survivor(tree: Path, name: str) -> str:
    """A row of the survivors' table: where, instead of what, and what stood there."""
    shown = run(tree, "mutmut", "show", name).stdout.splitlines()
    changed = [line for line in shown if line.startswith(("-", "+")) and not line.startswith(("---", "+++"))]
    before, after = (" ".join(line[1:].strip() for line in changed if line[0] == sign) for sign in "-+")
    cells = _apart(before, after) if after else (before, "")
    return f"| `{_place(name)}` | " + " | ".join(f"`{cell}`" if cell else "left out" for cell in cells) + " |"


def _place(mutant: str) -> str:
    """`act.Actor._run` for `scaler.act.xǁActorǁ_run__mutmut_8`."""
    module, _, function = mutant.rpartition("__mutmut_")[0].rpartition(".")
    return f"{module.rpartition('.')[2]}.{function.removeprefix('x_').removeprefix('xǁ').replace('ǁ', '.')}"


def _apart(one: str, other: str) -> tuple[str, str]:
    """Two texts, of what they share no more than lies around what they do not."""
    start = _shared(one, other)
    shared = _shared(one[start:][::-1], other[start:][::-1])
    head = one[:start] if start <= AROUND else f"…{one[start - AROUND : start]}"
    tail = one[len(one) - shared :] if shared <= AROUND else f"{one[len(one) - shared :][:AROUND]}…"
    first, second = (f"{head}{text[start : len(text) - shared]}{tail}".replace("|", "\\|") for text in (one, other))
    return first, second


def _shared(one: str, other: str) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def main(arguments: list[str]) -> int:
    """Both parts, or the one that is named: `seeded`, `mutmut`."""
    workers = os.cpu_count() or 1
    parts = {"seeded": seeded, "mutmut": mutated}
    results = [part(workers) for name, part in parts.items() if name in (arguments or parts)]
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
