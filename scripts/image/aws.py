"""What is done in EC2: an image by packer, new launch template versions, and old images removed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import boto3

from scaler.settings.config import LaunchTemplate, Pool
from scripts.image.release import Release

KEPT = 3
"""Images of an architecture that stay, whatever names them."""

OF_FLEET, ARCH = "runner-scaler:image-of", "runner-scaler:arch"
"""Tags of an image. `runner-scaler:fleet` is for instances alone: the scaler takes what has it for its own."""


class BuildFailed(Exception):
    """Packer made no image; its own words stand above."""


def build(packer: Path, arch: str, fleet: str, release: Release, session: boto3.Session, env: Mapping[str, str]) -> str:
    """Have packer make an image of the template in that folder; its id."""
    manifest = packer / "manifest.json"
    manifest.unlink(missing_ok=True)
    variables = {
        "region": str(session.region_name),
        "fleet": fleet,
        "runner_version": release.version,
        "runner_sha256": release.sha256[arch],
    }
    given = [word for name, value in variables.items() for word in ("-var", f"{name}={value}")]
    command = ["packer", "build", "-color=false", f"-var-file={arch}.pkrvars.hcl", *given, "."]
    done = subprocess.run(command, check=False, cwd=packer, env={**env, **_credentials(session)})
    if done.returncode or not manifest.exists():
        raise BuildFailed(f"packer made no image for {arch} (it ended with {done.returncode})")
    return str(json.loads(manifest.read_text())["builds"][-1]["artifact_id"]).rpartition(":")[2]


def _credentials(session: boto3.Session) -> dict[str, str]:
    held = session.get_credentials()
    if held is None:
        return {}
    now = held.get_frozen_credentials()
    named = {
        "AWS_ACCESS_KEY_ID": now.access_key,
        "AWS_SECRET_ACCESS_KEY": now.secret_key,
        "AWS_SESSION_TOKEN": now.token,
    }
    return {name: value for name, value in named.items() if value}


def new_version(ec2: Any, template: LaunchTemplate, image: str, says: str) -> int:
    """A numbered version of a launch template: the one that the config names, with another image."""
    answer = ec2.create_launch_template_version(
        **_named(template),
        SourceVersion=template.version,
        VersionDescription=says,
        LaunchTemplateData={"ImageId": image},
    )
    return int(answer["LaunchTemplateVersion"]["VersionNumber"])


def in_use(ec2: Any, pools: Collection[Pool]) -> set[str]:
    """The images that the config's launch templates boot from today."""
    found = set()
    for template in {pool.launch_template for pool in pools}:
        asked = {**_named(template), "Versions": [template.version]}
        for version in ec2.describe_launch_template_versions(**asked)["LaunchTemplateVersions"]:
            found.add(str(version["LaunchTemplateData"].get("ImageId", "")))
    return found


def remove_old(ec2: Any, arch: str, fleet: str, spared: Collection[str]) -> list[str]:
    """
    Deregister a fleet's images of an architecture but for the newest and the spared, with their snapshots.

    One whose build ended before its last step is none of the newest: packer removes it only where it sees it complete.
    """
    tagged = [{"Name": f"tag:{tag}", "Values": [value]} for tag, value in ((OF_FLEET, fleet), (ARCH, arch))]
    images = [image for page in _pages(ec2, tagged) for image in page["Images"]]
    images.sort(key=lambda image: str(image["CreationDate"]), reverse=True)
    whole = [image for image in images if not _is_unfinished(image)]
    kept = {*spared, *(image["ImageId"] for image in whole[:KEPT])}
    old = [image for image in images if image["ImageId"] not in kept]
    for image in old:
        ec2.deregister_image(ImageId=image["ImageId"])
        for mapping in image.get("BlockDeviceMappings", []):
            if snapshot := mapping.get("Ebs", {}).get("SnapshotId"):
                ec2.delete_snapshot(SnapshotId=snapshot)
    return [str(image["ImageId"]) for image in old]


def _is_unfinished(image: Mapping[str, Any]) -> bool:
    """Whether it still has the name of what builds it (`run_tags` in packer/runner.pkr.hcl)."""
    return any(tag["Key"] == "Name" and tag["Value"].startswith("packer ") for tag in image.get("Tags", []))


def _pages(ec2: Any, filters: list[dict[str, Any]]) -> Any:
    return ec2.get_paginator("describe_images").paginate(Owners=["self"], Filters=filters)


def _named(template: LaunchTemplate) -> dict[str, str]:
    if template.id:
        return {"LaunchTemplateId": template.id}
    return {"LaunchTemplateName": template.name or ""}
