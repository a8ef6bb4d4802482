"""
The scheduled rebuild of the image, as its workflow runs it: the real command, boto3, PyGithub, over HTTP.

EC2 is moto; packer is a program that registers an image as packer would (`tests/test_image_build.py` has the real one).
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from moto.server import ThreadedMotoServer

from scaler.sandbox.aws.seed import IMAGES
from scaler.settings.config import LaunchTemplate
from scripts.image.aws import new_version
from tests.embedded_aws import embedded_aws
from tests.fetch_openapi import whole
from tests.fetched import needed
from tests.release_site import CHECKED_OUT, ReleaseSite

ROOT = Path(__file__).parents[1]
CONFIG = """\
version: 1   # the format's
fleet: main
aws: {region: us-east-1}
repositories: [acme/api]
max_runners: 9
pools:
  amd64:
    arch: amd64
    labels: [self-hosted, linux, x64, acme]
    launch_template: {name: runner-amd64, version: 1}  # raised by image.yml
    max: 2
  large:
    arch: amd64
    labels: [self-hosted, linux, x64, acme, large]
    launch_template: {name: runner-amd64, version: "1"}
    max: 2
  arm64:
    arch: arm64
    labels: [self-hosted, linux, arm64, acme]
    launch_template:
      name: runner-arm64
      version: 1
    max: 2
  latest:
    arch: arm64
    labels: [self-hosted, linux, arm64, acme, latest]
    launch_template: {name: runner-latest, version: $Latest}
    max: 2
"""
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "made-up"}
PACKER = f"""\
#!{sys.executable}
import json, os, sys
import boto3
given = dict(word.split("=", 1) for word in sys.argv if "=" in word and not word.startswith("-"))
arch = [word for word in sys.argv if word.startswith("-var-file=")][0][10:15]
with open(os.environ["NOTES"], "a") as notes:
    notes.write(json.dumps([arch, given, os.environ.get("PKR_VAR_subnet_id")]) + "\\n")
if os.environ.get("PACKER_FAILS") == arch:
    sys.exit(1)
ec2 = boto3.client("ec2", region_name=given["region"])
source = ec2.run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
image = ec2.create_image(InstanceId=source, Name=f"{{arch}} {{given['runner_version']}} {{source}}")["ImageId"]
tags = {{"runner-scaler:arch": arch, "runner-scaler:image-of": given["fleet"]}}
ec2.create_tags(Resources=[image], Tags=[{{"Key": key, "Value": value}} for key, value in tags.items()])
json.dump({{"builds": [{{"artifact_id": f"us-east-1:{{image}}"}}]}}, open("manifest.json", "w"))
"""


@dataclass
class Rebuild:
    """A checkout, an account and a GitHub to rebuild in."""

    folder: Path
    ec2: Any
    url: str
    site: ReleaseSite
    images: list[str] = field(default_factory=list)

    def run(self, **env: str) -> subprocess.CompletedProcess[str]:
        """Run what the workflow runs."""
        return subprocess.run(
            [sys.executable, "-P", "-m", "scripts.image"],
            check=False,
            cwd=self.folder,
            env={
                "PATH": f"{self.folder.parent / 'bin'}:{os.environ['PATH']}",
                "PYTHONPATH": str(ROOT),
                "NOTES": str(self.folder.parent / "notes"),
                "AWS_ENDPOINT_URL": self.url,
                "GITHUB_TOKEN": "ghs_made-up",
                "GITHUB_API_URL": self.site.server.url,
                "GITHUB_REPOSITORY": "acme/runners",
                "GITHUB_SHA": CHECKED_OUT,
                "GITHUB_REF_NAME": "main",
                **KEYS,
                **env,
            },
            capture_output=True,
            text=True,
            timeout=120,
        )

    def built(self) -> list[Any]:
        """What packer was told: arch, variables, subnet."""
        return [json.loads(line) for line in (self.folder.parent / "notes").read_text().splitlines()]

    def merge(self) -> None:
        """Take the proposal's files over into the checkout."""
        for path, text in self.site.files.items():
            (self.folder / path).write_text(text)

    def named(self) -> dict[str, Any]:
        """Versions of the proposal's config, by pool, as YAML reads them."""
        pools = yaml.safe_load(self.site.files["config.yaml"])["pools"]
        return {name: pool["launch_template"]["version"] for name, pool in pools.items()}

    def image_of(self, name: str, version: str) -> str:
        """The image of a launch template's version."""
        asked = self.ec2.describe_launch_template_versions(LaunchTemplateName=name, Versions=[version])
        return str(asked["LaunchTemplateVersions"][0]["LaunchTemplateData"]["ImageId"])

    def image(self, fleet: str, arch: str, name: str = "runner-scaler") -> str:
        """Make an image, as an earlier rebuild did."""
        source = self.ec2.run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
        made = str(self.ec2.create_image(InstanceId=source, Name=source)["ImageId"])
        tags = {"runner-scaler:arch": arch, "runner-scaler:image-of": fleet, "Name": f"{name} {arch}"}
        self.ec2.create_tags(Resources=[made], Tags=[{"Key": key, "Value": value} for key, value in tags.items()])
        return made

    def snapshots(self) -> set[str]:
        """The snapshots that rebuilds made and left."""
        found = self.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
        return {each["SnapshotId"] for each in found if "Created by CreateImage" in each["Description"]}

    def left(self) -> list[str]:
        """The images that are left."""
        return [image["ImageId"] for image in self.ec2.describe_images(Owners=["self"])["Images"]]


@pytest.fixture
def rebuild(tmp_path: Path) -> Iterator[Rebuild]:
    """A checkout of the config above, its launch templates at version 1."""
    needed(whole)
    folder, program = tmp_path / "checkout", tmp_path / "bin/packer"
    (folder / "packer").mkdir(parents=True)
    for path in (ROOT / "packer").glob("*.hcl"):
        (folder / "packer" / path.name).write_text(path.read_text())
    (folder / "config.yaml").write_text(CONFIG)
    program.parent.mkdir()
    program.write_text(PACKER)
    program.chmod(0o755)
    server, site = ThreadedMotoServer("127.0.0.1", 0, verbose=False), ReleaseSite()
    server.start()
    site.server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    ec2 = boto3.client(
        "ec2", endpoint_url=url, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    urllib.request.urlopen(f"{url}/moto-api/reset", data=b"").close()  # its memory outlives its servers
    for name in ("runner-amd64", "runner-arm64", "runner-latest"):
        ec2.create_launch_template(
            LaunchTemplateName=name,
            LaunchTemplateData={"ImageId": "ami-0d11111111111111a", "InstanceType": "m7i.large"},
        )
    yield Rebuild(folder, ec2, url, site)
    assert site.violations == []
    site.server.stop()
    server.stop()


def test_a_rebuild_makes_images_versions_and_a_pull_request(rebuild: Rebuild) -> None:
    """One image for each architecture; pools of one launch template get one version of it."""
    done = rebuild.run(PKR_VAR_subnet_id="subnet-1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [
        (arch, given["runner_version"], given["runner_sha256"], subnet) for arch, given, subnet in rebuild.built()
    ] == [
        ("amd64", "2.340.0", "1" * 64, "subnet-1"),
        ("arm64", "2.340.0", "2" * 64, "subnet-1"),
    ]
    assert rebuild.named() == {"amd64": 2, "large": 2, "arm64": 2, "latest": "$Latest"}
    amd64, arm64 = rebuild.left()
    assert [rebuild.image_of(name, "2") for name in ("runner-amd64", "runner-arm64", "runner-latest")] == [
        amd64,
        arm64,
        arm64,
    ]
    (pull,) = rebuild.site.pulls
    assert "runner 2.340.0" in pull["title"]
    assert f"| arm64 | arm64 | {arm64} | 1 | 2 |" in pull["body"]
    assert rebuild.site.branch == "c" * 40


def test_nothing_boots_from_a_new_image_before_it_is_merged(rebuild: Rebuild) -> None:
    """The version that the config names, and the default one, are as before."""
    rebuild.run()
    assert rebuild.image_of("runner-amd64", "1") == "ami-0d11111111111111a"
    assert rebuild.image_of("runner-amd64", "$Default") == "ami-0d11111111111111a"


def test_a_new_version_is_the_named_one_with_another_image() -> None:
    """All that carries promises stays: shutdown, metadata, role (`tests/test_readme.py`). moto knows no SourceVersion."""
    with embedded_aws() as world:
        ec2 = world.client("ec2")
        template = LaunchTemplate(None, "runner-amd64", "3")
        number = str(new_version(ec2, template, IMAGES[1].id, "runner 2.340.0"))
        asked = ec2.describe_launch_template_versions(LaunchTemplateName="runner-amd64", Versions=["3", number])
        before, after = sorted(asked["LaunchTemplateVersions"], key=lambda version: version["VersionNumber"])
    assert after["LaunchTemplateData"] == {**before["LaunchTemplateData"], "ImageId": IMAGES[1].id}
    assert after["LaunchTemplateData"]["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert not after["DefaultVersion"]


def test_the_proposal_changes_numbers_and_pins_and_nothing_else(rebuild: Rebuild) -> None:
    """Comments, quotes and order of config.yaml are its owner's."""
    rebuild.run()
    assert rebuild.site.files["config.yaml"] == CONFIG.replace("version: 1}", "version: 2}").replace(
        'version: "1"', "version: 2"
    ).replace("version: 1\n    max", "version: 2\n    max")
    assert set(rebuild.site.files) == {"config.yaml"} | {
        f"packer/{name}" for name in ("runner.pkr.hcl", "amd64.pkrvars.hcl", "arm64.pkrvars.hcl")
    }
    for path in ("runner.pkr.hcl", "amd64.pkrvars.hcl", "arm64.pkrvars.hcl"):
        before, after = (ROOT / "packer" / path).read_text(), rebuild.site.files[f"packer/{path}"]
        changed = [line for line in after.splitlines() if line not in before.splitlines()]
        assert changed
        assert all(any(new in line for new in ("2.340.0", "1" * 64, "2" * 64)) for line in changed)
        assert "2.337.0" not in after


def test_a_second_rebuild_renews_the_open_pull_request(rebuild: Rebuild) -> None:
    """Nobody merged the first: the branch is made anew upon what is checked out."""
    rebuild.run()
    rebuild.site.version = "2.341.0"
    assert rebuild.run().returncode == 0
    (pull,) = rebuild.site.pulls
    assert "runner 2.341.0" in pull["title"]
    assert rebuild.named()["amd64"] == 3


def test_the_last_three_images_stay_with_those_in_use_and_those_of_others(
    rebuild: Rebuild, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What config.yaml names stays as long as it names it, however old; snapshots go with their images."""
    days = itertools.count(1)
    monkeypatch.setattr(
        "moto.ec2.models.amis.utcnow", lambda: datetime(2026, 10, 1, tzinfo=UTC) + timedelta(days=next(days))
    )
    named, *old = [rebuild.image("main", "amd64") for _ in range(4)]
    others = {rebuild.image("other", "amd64"), rebuild.image("main", "arm64")}
    rebuild.ec2.create_launch_template_version(LaunchTemplateName="runner-amd64", LaunchTemplateData={"ImageId": named})
    (rebuild.folder / "config.yaml").write_text(CONFIG.replace("runner-amd64, version: 1", "runner-amd64, version: 2"))
    before = rebuild.snapshots()
    done = rebuild.run()
    assert done.returncode == 0, done.stderr
    new = [rebuild.image_of("runner-amd64", "3"), rebuild.image_of("runner-arm64", "2")]
    assert set(rebuild.left()) == {named, *old[1:], *others, *new}
    assert f"amd64: removed {old[0]}\n" in done.stdout
    assert len(before - rebuild.snapshots()) == 1


def test_what_a_build_left_that_did_not_end_is_removed_and_is_none_of_the_three(rebuild: Rebuild) -> None:
    """A job that is killed, or an image that packer did not see become ready: packer removes none of these."""
    whole = [rebuild.image("main", "amd64") for _ in range(2)]
    halves = [rebuild.image("main", "amd64", name="packer runner-scaler") for _ in range(3)]
    others = rebuild.image("other", "amd64", name="packer runner-scaler")
    done = rebuild.run()
    assert done.returncode == 0, done.stderr
    assert {*whole, others} < set(rebuild.left())
    assert set(halves).isdisjoint(rebuild.left())


# --- and what goes wrong -------------------------------------------------------------------------


def test_a_build_that_fails_changes_nothing(rebuild: Rebuild) -> None:
    done = rebuild.run(PACKER_FAILS="arm64")
    assert done.returncode == 1
    assert "packer made no image for arm64" in done.stderr
    assert rebuild.site.pulls == []
    assert rebuild.image_of("runner-amd64", "$Latest") == "ami-0d11111111111111a"


@pytest.mark.parametrize(
    ("text", "github"), [("1" * 64, "3" * 64), ("1" * 63, "1" * 63)], ids=["they differ", "it is none"]
)
def test_a_checksum_that_is_not_told_twice_builds_nothing(rebuild: Rebuild, text: str, github: str) -> None:
    """The release's text can be edited; the digest is GitHub's own of the file."""
    rebuild.site.sha256["linux-x64"], rebuild.site.digest["linux-x64"] = text, github
    done = rebuild.run()
    assert done.returncode == 1
    assert "actions-runner-linux-x64-2.340.0.tar.gz" in done.stderr
    assert not (rebuild.folder.parent / "notes").exists()


def test_a_pull_request_that_is_refused_says_how_to_allow_it(rebuild: Rebuild) -> None:
    """And no image is removed, since nobody can take the new one."""
    rebuild.site.refuses = "/pulls"
    done = rebuild.run()
    assert done.returncode == 1
    assert "Allow GitHub Actions to create and approve pull requests" in done.stderr.replace("\n", " ")


def test_a_config_that_is_wrong_builds_nothing(rebuild: Rebuild) -> None:
    (rebuild.folder / "config.yaml").write_text(CONFIG.replace("max: 2", "max: two", 1))
    done = rebuild.run()
    assert done.returncode == 2
    assert "config.yaml:11" in done.stderr


def test_a_job_without_a_token_for_its_role_is_told_so(rebuild: Rebuild) -> None:
    done = rebuild.run(
        IMAGE_ROLE="arn:aws:iam::111122223333:role/runner-scaler-image",
        GITHUB_ACTIONS="true",
        AWS_ACCESS_KEY_ID="",
        AWS_SECRET_ACCESS_KEY="",
        AWS_EC2_METADATA_DISABLED="true",
    )
    assert done.returncode == 3
    assert "no OIDC token to assume arn:aws:iam::111122223333:role/runner-scaler-image" in done.stdout + done.stderr
