"""What ties keys of the config together, beyond the schema. One rule, one function; all run, whatever else failed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from scaler.durations import show
from scaler.settings.schema_check import Checked, join
from scaler.text import quoted

DEFAULT_LABELS = frozenset({"self-hosted", "linux", "windows", "macos", "x64", "x86", "arm", "arm64"})
"""What every self-hosted runner may have (docs.github.com: using labels with self-hosted runners)."""


def check(found: Checked) -> None:
    """Run every rule. A value that the schema refused is absent, and a rule that needs it says nothing."""
    for rule in (_organization, _repositories, _fleet_cap, _same_labels):
        rule(found)
    for path, pool in _pools(found):
        for pool_rule in (_labels, _template, _registration, _idle, _timeouts, _architecture):
            pool_rule(found, path, pool)


def _pools(found: Checked) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, pool in found.values.get("pools", {}).items():
        yield join("pools", name), pool


def _organization(found: Checked) -> None:
    github: dict[str, Any] = found.values.get("github", {})
    if github.get("register_at") == "organization":
        if "organization" not in github and "github.organization" not in found.lines:
            found.error("github.organization", "missing; register_at: organization needs it, such as acme")
    elif github.get("register_at") == "repository":
        for key in ("organization", "runner_group"):
            if key in github:
                found.error(f"github.{key}", "is for register_at: organization; set that, or remove this key")


def _repositories(found: Checked) -> None:
    first: dict[str, int] = {}
    owner = found.values.get("github", {}).get("organization", "")
    for path, repository in found.items.get("repositories", ()):
        index = int(path.rpartition("[")[2][:-1])
        same = first.setdefault(repository.lower(), index)
        if same != index:
            found.error(path, f"same as [{same}] ({repository}); remove one")
        elif owner and repository.partition("/")[0].lower() != owner.lower():
            found.error(
                path, f"{quoted(repository)} is not in the organization {owner}; its runners would not serve it"
            )


def _fleet_cap(found: Checked) -> None:
    total = sum(pool.get("max", 0) for _, pool in _pools(found))
    cap = found.values.get("max_runners", total)
    if cap < total:
        found.warn(
            "max_runners",
            f"{cap} is less than the pools' max together ({total}): each pool's max is exact, but this one is held"
            f" by each tick's own count, and ticks that run at once may exceed it by up to {total - cap}",
        )


def _same_labels(found: Checked) -> None:
    first: dict[frozenset[str], str] = {}
    for path, pool in _pools(found):
        labels = frozenset(label.lower() for label in pool.get("labels", ()))
        if labels and not found.failed(f"{path}.labels") and (other := first.setdefault(labels, path)) != path:
            found.warn(f"{path}.labels", f"the same labels as {other}, which gets the jobs first; make one differ")


def _labels(found: Checked, path: str, pool: dict[str, Any]) -> None:
    labels = [label.lower() for label in pool.get("labels", ())]
    if labels and not found.failed(f"{path}.labels") and DEFAULT_LABELS.issuperset(labels):
        found.error(f"{path}.labels", "only default labels: would serve every self-hosted job; add one of your own")
    if len(set(labels)) < len(labels):
        found.warn(f"{path}.labels", "the same label twice (case does not count); remove one")
    foreign = {"amd64": {"arm", "arm64"}, "arm64": {"x64", "x86"}}.get(pool.get("arch", ""), set())
    for label in labels:
        if label in foreign | {"windows", "macos"}:
            found.warn(f"{path}.labels", f"{quoted(label)} on a Linux {pool.get('arch', '')} pool; is that meant?")


def _template(found: Checked, path: str, pool: dict[str, Any]) -> None:
    version = pool.get("launch_template", {}).get("version", 1)
    if not str(version).isdigit():
        given = f"{path}.launch_template.version"
        found.warn(given, f"{version}: pin a number; anyone who edits the template owns the fleet")


def _registration(found: Checked, path: str, pool: dict[str, Any]) -> None:
    if pool.get("registration") != "jit":
        return
    if pool.get("min_idle"):
        why = "GitHub has been removing idle JIT runners after minutes"
        found.error(f"{path}.min_idle", f"needs registration: token; {why}")
    if pool.get("ephemeral") is False:
        found.error(f"{path}.ephemeral", "false needs registration: token; a JIT runner serves one job")


def _idle(found: Checked, path: str, pool: dict[str, Any]) -> None:
    min_idle, most = pool.get("min_idle", 0), pool.get("max")
    if most is None:
        return
    counts = [s.get("count", 0) for s in min_idle] if isinstance(min_idle, list) else [min_idle]
    highest = max(counts, default=0)
    scopes = len(found.values.get("repositories", ()))
    at_repository = found.values.get("github", {}).get("register_at") == "repository"
    if highest > most:
        found.error(f"{path}.min_idle", f"min_idle {highest} > max {most}; lower it, or raise max")
    elif at_repository and highest and any("*" in name for name in found.values.get("repositories", ())):
        found.warn(f"{path}.min_idle", f"{highest} for each repository that a pattern stands for, up to max {most}")
    elif at_repository and highest * scopes > most:
        found.warn(
            f"{path}.min_idle",
            f"{highest} for each of {scopes} repositories is {highest * scopes}, more than max {most}",
        )


def _timeouts(found: Checked, path: str, pool: dict[str, Any]) -> None:
    lifetime: timedelta | None = pool.get("max_lifetime")
    for key in ("boot_timeout", "idle_timeout"):
        timeout: timedelta | None = pool.get(key)
        if timeout and lifetime and timeout >= lifetime:
            message = f"{key} {show(timeout)} must be < max_lifetime {show(lifetime)}; change one"
            found.error(f"{path}.{key}" if f"{path}.{key}" in found.lines else f"{path}.max_lifetime", message)


def _architecture(found: Checked, path: str, pool: dict[str, Any]) -> None:
    arch = pool.get("arch")
    for place, name in found.items.get(f"{path}.instance_types", ()):
        if arch and (arch == "arm64") != _graviton(name):
            other = "x86_64" if arch == "arm64" else "arm64"
            found.warn(place, f"{quoted(name)} looks like {other}, and the pool is {arch}; its launches would fail")


def _graviton(instance_type: str) -> bool:
    """By AWS's naming: a g after the generation is Graviton (docs.aws.amazon.com: instance type names)."""
    family = instance_type.partition(".")[0]
    return family == "a1" or re.match(r"[a-z]+[0-9]+[a-z]*g", family) is not None
