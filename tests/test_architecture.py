"""
The shape of the program, as a rule of imports, calls and sizes.

Data flows one way: inputs and config, observe, decide, act, report. Each rule is a function from one module to the
sentences that break it; the tests run the rules over the program, and over planted breaches that each must find.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import pytest

from scaler import clocks, model

ROOT = Path(__file__).resolve().parents[1]

ADAPTERS = {"github", "aws"}
"""The packages that talk to the outside. Nobody else imports them but those who build clients."""
BUILDERS = {
    "session": ADAPTERS,
    "checking.preflight": ADAPTERS,
    "__main__": {"aws.job_token", "github.workflows", "github.app"},
}
"""Who builds clients: `__main__` for the job's token, before all else is loaded, and for a kick, which takes no session."""
ACTING = {"act", "acting.launching", "acting.hand_over", "acting.keeping", "kick"}
CLIENTS = {"boto3", "botocore", "github", "requests", "urllib3", "urllib.request", "http.client", "socket"}
EFFECTFUL = {"os", "time", "random", "logging", "subprocess", "threading", "github_action_utils", *CLIENTS}
# What decide and its parts may import besides our own: nothing that reads, waits, logs or rolls dice.
PURE = {"__future__", "collections", "dataclasses", "datetime", "enum", "functools", "itertools", "math", "typing"}
PURE |= {"difflib", "fnmatch", "hashlib", "json", "re"}
VOCABULARY = {"model", "settings.config", "settings.schedule"}
SANDBOX_PACKAGES = {"botocore", "cryptography", "jwt", "yaml"}
# The ports' methods that only look; every other one changes the world.
READS = {
    "now",
    "runs",
    "jobs",
    "runners",
    "repository",
    "repositories",
    "group_repositories",
    "registration_url",
    "parameter_name",
}
READS |= {"room", "hint_queries", "graph_ids", "hints", "default_branch", "is_waiting", "newest"}
READS |= {"run_end", "runner_deadline", "images"}
READS |= {"instances", "instance", "look", "parameters", "load_state"}

MODULE_LINES = 350
FUNCTION_LINES = 40
LONG_MODULES = {"model": 900}  # the vocabulary: declarations alone, one page of words to read at once


@dataclass(frozen=True)
class Module:
    """One source file: `name` is its path below scaler, as `sandbox.clock`."""

    name: str
    source: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @property
    def in_sandbox(self) -> bool:
        return belongs(self.name, {"sandbox"})

    @property
    def is_adapter(self) -> bool:
        return belongs(self.name, ADAPTERS)

    @cached_property
    def imports(self) -> set[str]:
        """Every imported name in full; `from scaler.model import Job` gives scaler.model and scaler.model.Job."""
        found = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        return found

    @property
    def ours(self) -> set[str]:
        """Names of our own modules that are imported."""
        found = set()
        for name in self.imports:
            if name.startswith("scaler."):
                inner = name.removeprefix("scaler.")
                found |= {known for known in known_modules() if inner == known or inner.startswith(known + ".")}
        return found

    @property
    def adapters(self) -> set[str]:
        """Names of the adapters' modules that are imported."""
        return {name for name in self.ours if "." in name and belongs(name, ADAPTERS)}

    @property
    def foreign(self) -> set[str]:
        """Top-level names of everything imported that is not ours."""
        return {name.split(".")[0] for name in self.imports} - {"scaler"}

    def uses(self, names: set[str]) -> set[str]:
        """Which of these packages or modules it imports, or parts of them."""
        return {name for name in names if any((found + ".").startswith(name + ".") for found in self.imports)}

    def calls(self) -> Iterator[tuple[str, int]]:
        """Every call as it is written, `datetime.now`, with its line."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                yield ast.unparse(node.func), node.lineno


def belongs(name: str, parts: set[str]) -> bool:
    """Is it one of these packages and modules, or inside one?"""
    return any((name + ".").startswith(part + ".") for part in parts)


@cache
def known_modules() -> set[str]:
    files = (path.relative_to(ROOT / "scaler") for path in (ROOT / "scaler").rglob("*.py"))
    return {".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in files} - {"__init__"}


@cache
def program() -> list[Module]:
    return [
        Module(name, path.read_text())
        for name in sorted(known_modules())
        for path in [ROOT / "scaler" / Path(*name.split("."), "__init__.py")]
        for path in [path if path.exists() else path.parent.with_suffix(".py")]
    ]


@cache
def core() -> set[str]:
    """Return decide and the parts it is made of: what it imports of ours, the vocabulary apart."""
    modules = {module.name: module for module in program()}
    found: set[str] = set()
    ahead = {"decide"} & set(modules)
    while ahead:
        name = ahead.pop()
        found.add(name)
        ahead |= modules[name].ours - VOCABULARY - found
    return found


@cache
def effects() -> set[str]:
    """Return the methods of the ports that change the world."""
    methods = {
        name
        for port in (model.GitHub, model.Cloud, clocks.Workflows)
        for name in vars(port)
        if not name.startswith("_")
    }
    assert methods >= READS
    return methods - READS


# --- the rules ---------------------------------------------------------------------------------


def model_imports_nothing_of_ours(module: Module) -> Iterator[str]:
    if module.name == "model" and module.ours:
        yield f"imports {sorted(module.ours)}"


def decide_is_pure(module: Module) -> Iterator[str]:
    if module.name not in core() | {"decide"} and not belongs(module.name, {"deciding"}):
        return
    if module.foreign - PURE:
        yield f"imports {sorted(module.foreign - PURE)}"
    impure = (
        ADAPTERS | ACTING | {"observe", "observing", "reporting", "reconcile", "settings.inputs", "__main__", "sandbox"}
    )
    if any(belongs(name, impure) for name in module.ours):
        yield f"imports {sorted(module.ours)}"
    for call, line in module.calls():
        if call in {"open", "print", "input", "breakpoint"} or call.endswith((".now", ".today", ".utcnow")):
            yield f"line {line} calls {call}"


def the_vocabulary_does_no_work(module: Module) -> Iterator[str]:
    if module.name in VOCABULARY and module.uses(EFFECTFUL):
        yield f"imports {sorted(module.uses(EFFECTFUL))}"


def only_the_session_builds_clients(module: Module) -> Iterator[str]:
    if module.in_sandbox:
        return
    found = {name for name in module.adapters if not belongs(name, BUILDERS.get(module.name, set()))}
    if not module.is_adapter and found:
        yield f"imports {sorted(found)}"
    if not module.is_adapter and module.uses(CLIENTS):
        yield f"imports {sorted(module.uses(CLIENTS))}"
    if module.name != "reporting.publish" and module.uses({"github_action_utils"}):
        yield "imports github_action_utils"


def only_main_knows_the_sandbox(module: Module) -> Iterator[str]:
    if not module.in_sandbox and module.name != "__main__" and any(name.startswith("sandbox") for name in module.ours):
        yield "imports the sandbox"


def only_act_has_effects(module: Module) -> Iterator[str]:
    if module.in_sandbox or module.is_adapter or module.name in ACTING:
        return
    for call, line in module.calls():
        if "." in call and call.rsplit(".", 1)[1] in effects():
            yield f"line {line} calls {call}"


def the_sandbox_is_the_outside_world(module: Module) -> Iterator[str]:
    if not module.in_sandbox:
        return
    inside = {name for name in module.ours if not name.startswith("sandbox")}
    packages = module.foreign - sys.stdlib_module_names - SANDBOX_PACKAGES
    if inside or packages:
        yield f"imports {sorted(inside | packages)}"


def time_comes_from_the_clock(module: Module) -> Iterator[str]:
    if module.in_sandbox:
        return
    clocks = [node for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef) and node.name.endswith("Clock")]
    allowed = {id(part) for clock in clocks for part in ast.walk(clock)}
    for node in ast.walk(module.tree):
        # Not calls alone: `sleep=time.sleep` as a default is the same clock by another door.
        if isinstance(node, ast.Attribute) and id(node) not in allowed:
            name = ast.unparse(node)
            if name in {"time.sleep", "time.time", "time.monotonic"} or name.endswith(
                ("datetime.now", "datetime.utcnow", "date.today")
            ):
                yield f"line {node.lineno} uses {name}"


def errors_are_caught_by_name(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ExceptHandler):
            caught = "BaseException" if node.type is None else ast.unparse(node.type)
            if caught in {"Exception", "BaseException"} and module.name not in {"__main__", "reconcile"}:
                yield f"line {node.lineno} catches {caught}"


def sizes_stay_readable(module: Module) -> Iterator[str]:
    lines = module.source.splitlines()
    if len(lines) > LONG_MODULES.get(module.name, MODULE_LINES):
        yield f"has {len(lines)} lines"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            count = _code_lines(node, lines)
            if count > FUNCTION_LINES:
                yield f"line {node.lineno}: {node.name} has {count} lines of code"


def _code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> int:
    """Count the lines of a function that are neither blank, nor comment, nor its docstring."""
    docstring = range(0)
    if ast.get_docstring(function, clean=False) is not None:
        docstring = range(function.body[0].lineno, (function.body[0].end_lineno or 0) + 1)
    numbers = set(range(function.lineno, (function.end_lineno or 0) + 1)) - set(docstring)
    return sum(1 for number in numbers if (text := lines[number - 1].strip()) and not text.startswith("#"))


Rule = Callable[[Module], Iterator[str]]
RULES: tuple[Rule, ...] = (
    model_imports_nothing_of_ours,
    decide_is_pure,
    the_vocabulary_does_no_work,
    only_the_session_builds_clients,
    only_main_knows_the_sandbox,
    only_act_has_effects,
    the_sandbox_is_the_outside_world,
    time_comes_from_the_clock,
    errors_are_caught_by_name,
    sizes_stay_readable,
)


# --- the tests ---------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__.replace("_", " "))
def test_program_keeps_the_rule(rule: Rule) -> None:
    assert [f"{module.name}: {breach}" for module in program() for breach in rule(module)] == []


@pytest.mark.parametrize("rule", [sizes_stay_readable, errors_are_caught_by_name], ids=lambda rule: rule.__name__)
def test_search_keeps_the_rule(rule: Rule) -> None:
    modules = [Module(path.stem, path.read_text()) for path in (ROOT / "search").glob("*.py")]
    assert len(modules) > 5
    assert [f"{module.name}: {breach}" for module in modules for breach in rule(module)] == []


def test_program_is_read_whole() -> None:
    names = {module.name for module in program()}
    assert names >= {"model", "decide", "settings.config", "sandbox", "sandbox.clock"}
    assert core() >= {"decide", "deciding.demand"}
    assert VOCABULARY.isdisjoint(core())


def test_at_most_one_place_catches_everything() -> None:
    handlers = [
        f"{module.name}:{node.lineno}"
        for module in program()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ExceptHandler) and (node.type is None or ast.unparse(node.type) == "Exception")
    ]
    assert len(handlers) <= 1, handlers


LONG_FUNCTION = "def f():\n" + "    x = 1\n" * FUNCTION_LINES

PLANTED = [
    (model_imports_nothing_of_ours, "model", "from scaler.settings.config import Config"),
    (model_imports_nothing_of_ours, "model", "import scaler.settings.config"),
    (model_imports_nothing_of_ours, "model", "from scaler.settings import config"),
    (decide_is_pure, "decide", "from os import environ"),
    (decide_is_pure, "deciding.new", "from os import environ"),
    (decide_is_pure, "decide", "import random"),
    (decide_is_pure, "decide", "import urllib.request"),
    (decide_is_pure, "decide", "def f():\n    import logging"),
    (decide_is_pure, "decide", "from scaler.github.api import GitHubApi"),
    (decide_is_pure, "decide", "from datetime import datetime, UTC\nnow = datetime.now(UTC)"),
    (decide_is_pure, "decide", "print('x')"),
    (the_vocabulary_does_no_work, "settings.config", "import boto3"),
    (the_vocabulary_does_no_work, "settings.schedule", "from time import time"),
    (only_the_session_builds_clients, "observe", "from scaler.aws.api import Aws"),
    (only_the_session_builds_clients, "observe", "from scaler.github import api"),
    (only_the_session_builds_clients, "observe", "from scaler.aws.job_token import JobToken"),
    (only_the_session_builds_clients, "__main__", "from scaler.github.api import GitHubApi"),
    (only_the_session_builds_clients, "act", "import boto3"),
    (only_the_session_builds_clients, "act", "from botocore.exceptions import ClientError"),
    (only_the_session_builds_clients, "act", "import urllib.request"),
    (only_the_session_builds_clients, "decide", "import github_action_utils"),
    (only_main_knows_the_sandbox, "observe", "from scaler.sandbox.clock import Clock"),
    (only_act_has_effects, "observe", "def f(cloud):\n    cloud.terminate('i-1')"),
    (only_act_has_effects, "report", "def f(tick):\n    tick.github.remove_runner('acme', 1)"),
    (the_sandbox_is_the_outside_world, "sandbox.world", "from scaler.model import Job"),
    (the_sandbox_is_the_outside_world, "sandbox.world", "import moto"),
    (time_comes_from_the_clock, "observe", "from datetime import datetime\nnow = datetime.now()"),
    (time_comes_from_the_clock, "observe", "import datetime\nnow = datetime.datetime.now()"),
    (time_comes_from_the_clock, "act", "import time\ndef f(sleep=time.sleep): ..."),
    (errors_are_caught_by_name, "act", "try:\n    pass\nexcept Exception:\n    pass"),
    (errors_are_caught_by_name, "act", "try:\n    pass\nexcept:\n    pass"),
    (sizes_stay_readable, "act", LONG_FUNCTION),
    (sizes_stay_readable, "act", "\n" * (MODULE_LINES + 1)),
]


@pytest.mark.parametrize(
    ("rule", "name", "source"), [pytest.param(*row, id=f"{row[0].__name__}: {row[2][:40]!r}") for row in PLANTED]
)
def test_planted_breach_is_found(rule: Rule, name: str, source: str) -> None:
    assert list(rule(Module(name, source))) != []


@pytest.mark.parametrize(
    ("rule", "name", "source"),
    [
        pytest.param(
            decide_is_pure, "decide", "from scaler.model import Job\nfrom collections import Counter", id="core"
        ),
        pytest.param(only_the_session_builds_clients, "session", "from scaler.aws.api import Aws", id="session builds"),
        pytest.param(only_act_has_effects, "act", "def f(cloud):\n    cloud.terminate('i-1')", id="act acts"),
        pytest.param(only_act_has_effects, "observe", "def f(cloud):\n    cloud.instances()", id="observe looks"),
        pytest.param(time_comes_from_the_clock, "reconcile", "class Clock:\n    now = datetime.now", id="the clock"),
        pytest.param(sizes_stay_readable, "act", LONG_FUNCTION.replace("x", "# x", 1), id="comments are free"),
    ],
)
def test_rule_lets_the_right_thing_pass(rule: Rule, name: str, source: str) -> None:
    assert list(rule(Module(name, source))) == []
