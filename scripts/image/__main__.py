"""
Rebuild the images that config.yaml's pools boot from, and propose them in a pull request (.github/workflows/image.yml).

For each architecture of the pools packer builds an image with the newest runner program. Each of their launch templates
gets a new numbered version with it; nothing boots from it yet. The pull request raises `version` in config.yaml, and
the pins below packer/: to merge it is what changes the fleet, to revert it is the way back. Last, images of this fleet
are removed but for the newest three of an architecture and those that config.yaml names today.

Environment: GITHUB_TOKEN (contents and pull requests: write), GITHUB_REPOSITORY, GITHUB_SHA and GITHUB_REF_NAME of the
checkout, GITHUB_API_URL; IMAGE_ROLE, the role to assume with the job's token (else ambient credentials). What begins
with PKR_VAR_ is packer's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError
from github import Auth, Github

from scaler.aws.credentials import session_for
from scaler.aws.job_token import JobToken
from scaler.model import Denied, Unavailable
from scaler.reporting.publish import Publisher
from scaler.settings.config import Config, ConfigError, load
from scripts.image import aws
from scripts.image.files import PINS, with_pins, with_versions
from scripts.image.proposal import Checkout, Refused, propose
from scripts.image.release import NoRelease, Release, newest_release

CONFIG = "config.yaml"


def main(env: Mapping[str, str]) -> int:
    """Rebuild in the checkout that is the working directory; exit codes are the scaler's (2 config, 3 permission)."""
    publisher = Publisher(env)
    try:
        rebuild(load(Path(CONFIG)), env, publisher)
    except ConfigError as error:
        for problem in error.problems:
            publisher.problem(problem)
        return error.code
    except Denied as error:
        publisher.annotate([("error", f"{error}\n{error.remedy}")])
        return 3
    except (Unavailable, NoRelease, Refused, aws.BuildFailed, BotoCoreError, ClientError) as error:
        publisher.annotate([("error", str(error))])
        return 1
    return 0


def rebuild(config: Config, env: Mapping[str, str], publisher: Publisher) -> None:
    """All of it, in order; whatever fails ends it, and the next run begins anew."""
    github = Github(
        auth=Auth.Token(env["GITHUB_TOKEN"]), base_url=env.get("GITHUB_API_URL", "https://api.github.com"), retry=None
    )
    release = newest_release(github)
    session = session_for(env.get("IMAGE_ROLE") or None, config.region, env, JobToken.of(env), mask=publisher.mask)
    ec2 = session.client("ec2")
    images: dict[str, str] = {}
    for arch in sorted({pool.arch for pool in config.pools}):
        images[arch] = aws.build(Path("packer").resolve(), arch, config.fleet, release, session, env)
        publisher.say([f"{arch}: {images[arch]}, runner {release.version}"])
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    versions = new_versions(config, images, f"runner {release.version}, {today}", ec2)
    used = aws.in_use(ec2, config.pools)
    files = changed(versions, release, lambda path: Path(path).read_text(encoding="utf-8"))
    title = f"Runner image of {today}, runner {release.version}"
    checkout = Checkout(env["GITHUB_REPOSITORY"], env["GITHUB_SHA"], env["GITHUB_REF_NAME"])
    address = propose(github, checkout, files, title, letter(config, images, versions, release))
    publisher.say([f"proposed: {address}"])
    for built, image in images.items():
        removed = aws.remove_old(ec2, built, config.fleet, {*used, image})
        publisher.say([f"{built}: removed {', '.join(removed) or 'no image'}"])


def new_versions(config: Config, images: Mapping[str, str], says: str, ec2: object) -> dict[str, int]:
    """A new version of each launch template; the numbers, by the pools that name a version by its number."""
    made = {}
    for template, arch in {(pool.launch_template, pool.arch): None for pool in config.pools}:
        made[template, arch] = aws.new_version(ec2, template, images[arch], says)
    numbered = [pool for pool in config.pools if pool.launch_template.version.isdigit()]
    return {pool.name: made[pool.launch_template, pool.arch] for pool in numbered}


def changed(versions: Mapping[str, int], release: Release, read: Callable[[str], str]) -> dict[str, str]:
    """The files to commit, by path."""
    return {CONFIG: with_versions(read(CONFIG), versions), **with_pins({path: read(path) for path in PINS}, release)}


def letter(config: Config, images: Mapping[str, str], versions: Mapping[str, int], release: Release) -> str:
    """What the pull request says."""
    rows = [
        f"| {pool.name} | {pool.arch} | {images[pool.arch]} | {pool.launch_template.version} "
        f"| {versions.get(pool.name, 'not by number: it may boot from the new image already')} |"
        for pool in config.pools
    ]
    return "\n".join(
        [
            f"New images with [runner {release.version}](https://github.com/actions/runner/releases/tag/v{release.version}).",
            "Merged, new instances boot from them; those that run are left alone. To go back, revert.",
            "",
            "| Pool | Arch | Image | Version | New version |",
            "| --- | --- | --- | --- | --- |",
            *rows,
        ]
    )


if __name__ == "__main__":
    sys.exit(main(os.environ))
