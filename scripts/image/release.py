"""The newest release of the runner program, with its checksums."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from github import Github, GithubException

PLATFORMS = {"amd64": "linux-x64", "arm64": "linux-arm64"}
"""GitHub's words for the architectures."""


class NoRelease(Exception):
    """There is no release whose files can be verified; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Release:
    """A version, as `2.337.0`, and the sha256 of its archive by architecture, as hex digits."""

    version: str
    sha256: dict[str, str]


def newest_release(github: Github) -> Release:
    """
    The newest release of actions/runner, with checksums that are said twice: by its text, and by GitHub of the file.

    The text has them between comments (actions/runner, releaseNote.md: `<!-- BEGIN SHA linux-x64 -->`); the digest of
    an uploaded file is GitHub's own (docs.github.com, REST API, releases: `digest`).
    """
    try:
        found: dict[str, Any] = github.get_repo("actions/runner", lazy=True).get_latest_release().raw_data
    except GithubException as error:
        raise NoRelease(f"GitHub: the newest release of actions/runner: {error.status}") from error
    version = str(found["tag_name"]).removeprefix("v")
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise NoRelease(f"GitHub: the newest release of actions/runner is called {found['tag_name']!r}")
    return Release(version, {arch: _sha256(found, version, platform) for arch, platform in PLATFORMS.items()})


def _sha256(found: dict[str, Any], version: str, platform: str) -> str:
    archive = f"actions-runner-{platform}-{version}.tar.gz"
    told = re.search(rf"<!-- BEGIN SHA {platform} -->([0-9a-f]{{64}})<!-- END SHA {platform} -->", found["body"] or "")
    digest = next((str(asset.get("digest")) for asset in found["assets"] if asset["name"] == archive), "")
    if told is None or digest != f"sha256:{told[1]}":
        said = told[1] if told else "nothing"
        raise NoRelease(
            f"actions/runner {version}: of {archive} its text says {said}, GitHub says {digest or 'nothing'}"
        )
    return told[1]
