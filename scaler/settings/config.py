"""`config.yaml` as frozen values. `load` finds every problem at once, each with its line and how to mend it."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

from scaler.model import Market
from scaler.problem import Problem, Severity
from scaler.settings import config_rules, yaml_marks
from scaler.settings.schedule import Schedule
from scaler.settings.schema import SCHEMA, VERSION
from scaler.settings.schema_check import Checked
from scaler.settings.shard import WHOLE, Shard, shard
from scaler.text import safe

LARGEST: Final = 256 * 1024
"""Bytes of a config. A thousand repositories and fifty pools need less than a third."""

# What YAML allows in no document (yaml.org/spec/1.2.2: character set); NUL is the sign of UTF-16 without a mark.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARKETS: Final = {
    "on-demand": (Market.ON_DEMAND,),
    "spot": (Market.SPOT,),
    "spot-then-on-demand": (Market.SPOT, Market.ON_DEMAND),
}

Arch = Literal["amd64", "arm64"]


class Registration(StrEnum):
    """How an instance registers its runner: one that GitHub made for it, or by itself with a token."""

    JIT = "jit"
    TOKEN = "token"  # noqa: S105 - the name of a way, no secret


class RegisterAt(StrEnum):
    """Where runners register."""

    REPOSITORY = "repository"
    ORGANIZATION = "organization"


@dataclass(frozen=True, slots=True)
class LaunchTemplate:
    """An EC2 launch template, by id or by name, and its version: a number, `$Default` or `$Latest`."""

    id: str | None
    name: str | None
    version: str


@dataclass(frozen=True, slots=True)
class Pool:
    """
    One entry of `pools`. `labels` are lower-case; `markets` are tried in order; no `subnets`: the template's.

    `price_per_hour` of one instance, in USD; None is unknown.
    """

    name: str
    arch: Arch
    labels: tuple[str, ...]
    launch_template: LaunchTemplate
    instance_types: tuple[str, ...]
    subnets: tuple[str, ...]
    markets: tuple[Market, ...]
    max: int
    min_idle: int | tuple[Schedule, ...]
    ephemeral: bool
    registration: Registration
    boot_timeout: timedelta
    idle_timeout: timedelta
    max_lifetime: timedelta
    price_per_hour: float | None = None
    rerun_lost: bool = False

    def idle_floor(self, now: datetime) -> int:
        """How many runners stay idle per scope at this time: of the schedules that are active, the highest count."""
        if isinstance(self.min_idle, int):
            return self.min_idle
        return max((s.count for s in self.min_idle if s.active(now)), default=0)


@dataclass(frozen=True, slots=True)
class Config:
    """
    The whole file, checked. `path` is the file as given, `warnings` what is allowed but unwise.

    `patterns` (`acme/*`) stand for repositories that GitHub lists; with `including` these, `repositories` are all that
    the `shard` sees to.

    `price_per_minute` of the job that runs this program, in USD; None is unknown.
    """

    path: str
    fleet: str
    region: str
    role: str | None
    register_at: RegisterAt
    organization: str | None
    runner_group: str | None
    repositories: tuple[str, ...]
    max_runners: int
    pools: tuple[Pool, ...]
    allow_public: bool
    tags: Mapping[str, str]
    warnings: tuple[Problem, ...]
    parameter_writes_per_second: int = 3
    price_per_minute: float | None = None
    patterns: tuple[str, ...] = ()
    shard: Shard = WHOLE
    token_per_shard: bool = False

    @property
    def sharers(self) -> int:
        """How many processes divide GitHub's limits among them, since they come with one token."""
        return 1 if self.token_per_shard else self.shard.of

    @property
    def owners(self) -> tuple[str, ...]:
        """The owners of all repositories, lower-case."""
        named = (name.partition("/")[0].lower() for name in (*self.repositories, *self.patterns))
        return tuple(sorted(set(named)))

    @property
    def scopes(self) -> tuple[str, ...]:
        """Where runners register."""
        if self.register_at is RegisterAt.ORGANIZATION and self.organization:
            return (self.organization,)
        return self.repositories

    @property
    def home(self) -> str:
        """One place of the fleet's: a scope, or the owner of a pattern."""
        return next(iter((*self.scopes, *self.owners)))

    def including(self, names: Iterable[str]) -> Config:
        """The same with more repositories, and of them all those of its shard alone."""
        known = {name.lower() for name in self.repositories}
        more = {name.lower(): name for name in names if name.lower() not in known}
        every = (*self.repositories, *(more[name] for name in sorted(more)))
        return replace(self, repositories=tuple(name for name in every if self.shard.has(self.scope_of(name))))

    def pool(self, name: str) -> Pool | None:
        """The pool of that name."""
        return next((pool for pool in self.pools if pool.name == name), None)

    def scope_of(self, repository: str) -> str:
        """Where runners for a repository register: the repository itself, or the organization."""
        if self.register_at is RegisterAt.ORGANIZATION and self.organization:
            return self.organization
        return repository


class ConfigError(Exception):
    """The file cannot be used (exit 2). `problems` holds all errors, and the warnings found beside them."""

    code = 2

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def load(path: Path) -> Config:
    """Read and check a config file. Raises `ConfigError` with everything that is wrong with it."""
    file = str(path)
    try:
        root, problems = yaml_marks.parse(_text(path), file)
    except yaml_marks.Unreadable as unreadable:
        raise ConfigError((unreadable.problem,)) from None
    if not isinstance(root, yaml_marks.Mapping):
        raise ConfigError((_no_mapping(root, file),))
    if newer := _newer(root, file):
        raise ConfigError((newer,))
    found = Checked(root, SCHEMA, file)
    config_rules.check(found)
    problems = sorted([*problems, *found.problems], key=lambda problem: problem.line or 0)
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise ConfigError(tuple(problems))
    return _config(file, found.values, tuple(problems))


def _text(path: Path) -> str:
    """The file's text, or the one problem that stands in its way."""
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
    except FileNotFoundError:
        message = f"not found in {safe(str(Path.cwd()))}; create it (start from config.example.yaml) or set config"
        raise yaml_marks.Unreadable(Problem(str(path), None, "", message)) from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not a file's name"
        raise yaml_marks.Unreadable(Problem(str(path), None, "", f"cannot be read: {why}")) from None
    line = None
    if len(raw) > LARGEST:
        message = f"larger than {LARGEST // 1024} KB; split it into several fleets"
    elif raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        message = "UTF-16; save as UTF-8"
    else:
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            message, line = "not UTF-8; save as UTF-8", raw.count(b"\n", 0, error.start) + 1
        else:
            if not (odd := _UNPRINTABLE.search(text)):
                return text
            message = f"the control character {safe(odd[0])} is no text; remove it, and save as UTF-8"
            line = text.count("\n", 0, odd.start()) + 1
    raise yaml_marks.Unreadable(Problem(str(path), line, "", message))


def _no_mapping(root: yaml_marks.Node | None, file: str) -> Problem:
    needs = ", ".join(SCHEMA["required"])
    if root is None:
        return Problem(file, None, "", f"empty; needs {needs}")
    got = "a list" if isinstance(root, yaml_marks.Sequence) else "a single value"
    return Problem(file, root.line, "", f"expected a mapping, got {got}; needs {needs}")


def _newer(root: yaml_marks.Mapping, file: str) -> Problem | None:
    """A file of a later version is not looked at further: its other keys may be right there."""
    node = root.items.get("version")
    if not isinstance(node, yaml_marks.Scalar) or node.kind != "integer" or int(node.text[:9]) <= VERSION:
        return None
    newer = int(node.text[:9])
    message = f"version {newer} is newer than this program's ({VERSION}); update uses: to a release that knows it"
    return Problem(file, root.keys["version"].line, "version", message)


def _config(file: str, values: dict[str, Any], warnings: tuple[Problem, ...]) -> Config:
    """The checked values as a Config. Nothing can fail here."""
    aws, github = values["aws"], values["github"]
    return Config(
        path=file,
        fleet=values["fleet"],
        region=aws["region"],
        role=aws.get("role"),
        register_at=RegisterAt(github["register_at"]),
        organization=github.get("organization"),
        runner_group=github.get("runner_group"),
        repositories=tuple(name for name in values["repositories"] if "*" not in name),
        patterns=tuple(name for name in values["repositories"] if "*" in name),
        shard=shard(values["shard"]) if "shard" in values else WHOLE,
        token_per_shard=github["token_per_shard"],
        max_runners=values["max_runners"],
        pools=tuple(_pool(name, pool) for name, pool in values["pools"].items()),
        allow_public=values["allow_public"],
        tags=MappingProxyType(values["tags"]),
        warnings=warnings,
        parameter_writes_per_second=aws["parameter_writes_per_second"],
        price_per_minute=github.get("price_per_minute"),
    )


def _pool(name: str, values: dict[str, Any]) -> Pool:
    template, min_idle = values["launch_template"], values["min_idle"]
    return Pool(
        name=name,
        arch=values["arch"],
        labels=tuple(dict.fromkeys(label.lower() for label in values["labels"])),
        launch_template=LaunchTemplate(template.get("id"), template.get("name"), str(template["version"])),
        instance_types=tuple(values.get("instance_types", ())),
        subnets=tuple(values.get("subnets", ())),
        markets=_MARKETS[values["market"]],
        max=values["max"],
        min_idle=min_idle if isinstance(min_idle, int) else tuple(Schedule(**schedule) for schedule in min_idle),
        ephemeral=values["ephemeral"],
        registration=Registration(values["registration"]),
        boot_timeout=values["boot_timeout"],
        idle_timeout=values["idle_timeout"],
        max_lifetime=values["max_lifetime"],
        price_per_hour=values.get("price_per_hour"),
        rerun_lost=values["rerun_lost"],
    )
