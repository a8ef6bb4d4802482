"""The files that a new image changes, as texts: the versions in config.yaml, the pins below packer/."""

from __future__ import annotations

import re
from collections.abc import Mapping

import yaml

from scripts.image.release import PLATFORMS, Release

PINS = ("packer/runner.pkr.hcl", *(f"packer/{arch}.pkrvars.hcl" for arch in PLATFORMS))


def with_versions(text: str, versions: Mapping[str, int]) -> str:
    """A config's text with new launch template versions, by the pool's name; nothing else in it changes."""
    pools = _value(yaml.compose(text, Loader=yaml.SafeLoader), "pools")
    places = []
    for name, version in versions.items():
        node = _value(_value(_value(pools, name), "launch_template"), "version")
        places.append((node.start_mark.index, node.end_mark.index, str(version)))
    for start, end, number in sorted(places, reverse=True):
        text = text[:start] + number + text[end:]
    return text


def _value(node: yaml.Node | None, key: str) -> yaml.Node:
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if name.value == key:
                return value  # type: ignore[no-any-return]
    raise KeyError(key)


def with_pins(texts: Mapping[str, str], release: Release) -> dict[str, str]:
    """The texts of `PINS`, by path, with this release for the one that they name."""
    template, *files = PINS
    before = _one(r'variable "runner_version" \{[^}]*?default\s*=\s*"([^"]+)"', texts[template])
    made = {template: texts[template].replace(f'"{before}"', f'"{release.version}"', 1)}
    for path, arch in zip(files, PLATFORMS, strict=True):
        pinned = _one(r'^runner_sha256\s*=\s*"([0-9a-f]{64})"', texts[path])
        made[path] = texts[path].replace(f"-{before}.tar.gz", f"-{release.version}.tar.gz")
        made[path] = made[path].replace(pinned, release.sha256[arch])
    return made


def _one(pattern: str, text: str) -> str:
    found = re.findall(pattern, text, re.MULTILINE)
    if len(found) != 1:
        raise ValueError(f"expected {pattern} once, found it {len(found)} times")
    return str(found[0])
