"""
What a scenario may say below its `aws:` key, read strictly: an unknown key is an error with its path.

Durations are seconds or words (`5s`, `10m`, `24h`), all in the world's virtual time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

# docs.aws.amazon.com "Request throttling for the Amazon EC2 API": bucket size, refill per second.
# PutParameter and DeleteParameter: as measured and told by AWS support (terraform-aws-github-runner#2944, #5243).
PUBLISHED_THROTTLES: Mapping[str, tuple[float, float]] = {
    "CreateFleet": (50, 5),
    "RunInstances": (5, 2),
    "TerminateInstances": (100, 5),
    "StartInstances": (5, 2),
    "CreateTags": (100, 10),
    "DeleteTags": (100, 10),
    "DescribeInstances": (100, 20),
    "PutParameter": (3, 3),
    "GetParameter": (40, 40),
    "DeleteParameter": (5, 5),
}


class BadSetting(ValueError):
    """A scenario's `aws:` mapping says something that cannot be."""


@dataclass(frozen=True, slots=True)
class Subnet:
    """A subnet of the seed."""

    id: str
    zone: str
    vpc: str = "vpc-0a1b2c3d4e5f60718"


@dataclass(frozen=True, slots=True)
class Image:
    """An AMI of the seed. `architecture` is EC2's word: x86_64 or arm64; without `created_at` it is new."""

    id: str
    architecture: str
    name: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    created_at: str = ""


@dataclass(slots=True)
class CapacityRule:
    """
    Launches that EC2 refuses: which type (a glob), where, in which market, in which span of the world's time.

    `count` is how many launches it refuses before it is used up; None refuses all.
    """

    type: str = "*"
    subnet: str = "*"
    zone: str = "*"
    market: str = "*"
    code: str = "InsufficientInstanceCapacity"
    message: str = ""
    begins: datetime | None = None
    until: datetime | None = None
    count: int | None = None

    def refuses(self, now: datetime, type_: str, subnet: Subnet, market: str) -> bool:
        """Whether this launch meets the rule; counts it if so."""
        met = (
            fnmatchcase(type_, self.type)
            and fnmatchcase(subnet.id, self.subnet)
            and fnmatchcase(subnet.zone, self.zone)
            and fnmatchcase(market, self.market)
            and (self.begins is None or now >= self.begins)
            and (self.until is None or now < self.until)
            and self.count != 0
        )
        if met and self.count is not None:
            self.count -= 1
        return met


@dataclass(frozen=True, slots=True)
class Boot:
    """How long EC2's states last, in virtual seconds."""

    pending: float = 5.0
    shutdown: float = 5.0


@dataclass(frozen=True, slots=True)
class Consistency:
    """
    How far reads lag behind the truth, and how long the dead are seen.

    A new instance is invisible for `instances` seconds (lists) and unknown by id; tags and states are shown as
    they were `tags` and `states` seconds ago; the dead lose their tags after `dead_tags` and vanish after `dead`.
    """

    instances: float = 0.0
    tags: float = 0.0
    states: float = 0.0
    dead_tags: float = 300.0
    dead: float = 3600.0


@dataclass(frozen=True, slots=True)
class Tokens:
    """
    How long EC2 remembers a client token after its instances ended, and what it answers about dead ones.

    `replay` is CreateFleet's undocumented answer when the instance has died: `error`
    (IdempotentInstanceTerminated, as RunInstances gives since January 2025) or `dead-id` (the old answer again).
    """

    memory: float = 86400.0
    replay: str = "error"


@dataclass(frozen=True, slots=True)
class ParameterRules:
    """
    SSM's undocumented or configurable sides.

    `reuse`: seconds for which a deleted name cannot be made again; `lag`: seconds until a new parameter is
    listed; `short_pages`: lists return fewer than asked with a NextToken, as the API reference allows;
    `missing`: what the instance role hears of a parameter that does not exist (`denied`: a condition on a
    resource tag cannot be met by nothing; or `not-found`).
    """

    reuse: float = 0.0
    lag: float = 0.0
    short_pages: bool = False
    missing: str = "denied"
    limit: int = 10_000


@dataclass(frozen=True, slots=True)
class Quotas:
    """vCPUs that may run at once in each market; None is no limit."""

    spot: int | None = None
    on_demand: int | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything about the embedded AWS that is not a thing in it."""

    region: str = "us-east-1"
    account: str = "111122223333"
    seed: int = 0
    boot: Boot = field(default_factory=Boot)
    consistency: Consistency = field(default_factory=Consistency)
    tokens: Tokens = field(default_factory=Tokens)
    parameters: ParameterRules = field(default_factory=ParameterRules)
    quotas: Quotas = field(default_factory=Quotas)
    throttle: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def seconds(value: Any, path: str) -> float:
    """A duration: a number of seconds, or a number with a unit."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", str(value))
    if match is None:
        raise BadSetting(f"{path}: expected a duration such as 5s or 10m, got {value!r}")
    return float(match[1]) * _UNITS[match[2]]


def known(mapping: Any, path: str, allowed: Mapping[str, Any] | set[str]) -> dict[str, Any]:
    """The mapping itself, if it is one and has no keys but the allowed."""
    if not isinstance(mapping, Mapping):
        raise BadSetting(f"{path}: expected a mapping, got {mapping!r}")
    unknown = sorted(set(mapping) - set(allowed))
    if unknown:
        raise BadSetting(f"{path}.{unknown[0]}: unknown key (allowed: {', '.join(sorted(allowed))})")
    return dict(mapping)


def _group(current: Any, given: Any, path: str) -> Any:
    """One of the small groups above, with the given fields replaced; the field's own type says how it is read."""
    types = {each.name.replace("_", "-" if path.endswith("quotas") else "_"): each for each in fields(current)}
    values: dict[str, Any] = {}
    for key, value in known(given, path, types).items():
        name, where = types[key].name, f"{path}.{key}"
        sample = getattr(current, name)
        values[name] = seconds(value, where) if isinstance(sample, float) else _plain(sample, value, where)
    return replace(current, **values)


def _plain(sample: Any, value: Any, path: str) -> Any:
    kind = int if sample is None else type(sample)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise BadSetting(f"{path}: expected {kind.__name__}, got {value!r}")
    choices = {"replay": ("error", "dead-id"), "missing": ("denied", "not-found")}.get(path.rpartition(".")[2])
    if choices and value not in choices:
        raise BadSetting(f"{path}: expected {' or '.join(choices)}, got {value!r}")
    return value


def settings_from(current: Settings, given: Mapping[str, Any]) -> Settings:
    """The settings among the keys of an `aws:` mapping; other keys are left alone."""
    values: dict[str, Any] = {}
    for name in ("region", "account", "seed"):
        if name in given:
            values[name] = _plain(getattr(current, name), given[name], f"aws.{name}")
    for name in ("boot", "consistency", "tokens", "parameters", "quotas"):
        if name in given:
            values[name] = _group(getattr(current, name), given[name], f"aws.{name}")
    if "throttle" in given:
        values["throttle"] = _throttle(given["throttle"])
    return replace(current, **values)


def _throttle(given: Any) -> Mapping[str, tuple[float, float]]:
    if given in ("published", True):
        return PUBLISHED_THROTTLES
    buckets: dict[str, tuple[float, float]] = {}
    for action, pair in (given or {}).items():
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise BadSetting(f"aws.throttle.{action}: expected [bucket, refill per second], got {pair!r}")
        buckets[action] = (float(pair[0]), float(pair[1]))
    return buckets


def capacity_from(given: Any, start: datetime) -> list[CapacityRule]:
    """Capacity rules; `from` and `until` count from `start`."""

    def when(value: Any, path: str) -> datetime | None:
        return None if value is None else start + timedelta(seconds=seconds(value, path))

    read: dict[str, Callable[[Any, str], Any]] = {
        **dict.fromkeys(("type", "subnet", "zone", "market", "code", "message"), lambda value, _: str(value)),
        "from": when,
        "until": when,
        "count": lambda value, path: _plain(0, value, path),
    }
    rules = []
    for number, each in enumerate(given or []):
        path = f"aws.capacity[{number}]"
        values = {key: read[key](value, f"{path}.{key}") for key, value in known(each, path, read).items()}
        values["begins"] = values.pop("from", None)
        rules.append(CapacityRule(**values))
    return rules
