"""
`packer build` of the shipped template, with a Debian root behind sshd for its instance.

Packer, sshd, the provisioners and apt's questions to the archive are real. EC2 is moto, since the embedded AWS
launches and ends instances and knows no image building. The downloads of the runner program and of the AWS CLI are
stand-ins of their layout, served over loopback. apt looks up and resolves every package, and then only simulates.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.debian_root import RUNNER_HOME, TOOLS, Image, chrooted, lacking, or_skip, runner_mirror
from tests.stack import policies
from tests.test_packer import copied

pytestmark = pytest.mark.image

AMI = {
    "ami_id": "ami-0123456789abcdef0",
    "name": "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20261101",
    "owner_id": "099720109477",
    "architecture": "x86_64",
    "root_device_name": "/dev/sda1",
    "root_device_type": "ebs",
    "virtualization_type": "hvm",
    "hypervisor": "xen",
    "image_type": "machine",
    "image_location": "amazon/ubuntu",
    "description": "",
    "platform": None,
    "public": True,
    "state": "available",
    "sriov": "simple",
}
CONNECTION = """
  ssh_host             = "127.0.0.1"
  ssh_port             = {port}
  ssh_private_key_file = "{key}"
  custom_endpoint_ec2  = "{ec2}"
"""
PREPARE = """
set -euo pipefail
useradd --create-home --shell /bin/bash --password '*' ubuntu
echo 'ubuntu ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/ubuntu
install -d -m 700 -o ubuntu /home/ubuntu/.ssh
install -m 600 -o ubuntu /tmp/key.pub /home/ubuntu/.ssh/authorized_keys
printf '#!/bin/bash\\necho status: done\\n' >/usr/local/bin/cloud-init
chmod 755 /usr/local/bin/cloud-init
echo 'APT::Get::Simulate "true";' >/etc/apt/apt.conf.d/simulate
mkdir -p /run/sshd
exec /usr/sbin/sshd -D -e -p "$0" -o ListenAddress=127.0.0.1 -o UsePAM=no
"""


UNTAGGED = """
from moto.ec2.models import EC2Backend
tag = EC2Backend.create_tags
def refuse(self, ids, tags):
    if any(each.startswith("ami-") for each in ids):
        raise ValueError("no image is tagged here")
    return tag(self, ids, tags)
EC2Backend.create_tags = refuse
"""


@pytest.fixture
def moto(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """An EC2 that has Canonical's image, as a process of its own: it reads its images when it is imported."""
    amends = getattr(request, "param", "")
    images = tmp_path / "images.json"
    images.write_text(json.dumps([AMI]))
    server = f"{amends}\nfrom moto.server import main; main(['-H', '127.0.0.1', '-p', '0'])"
    process = subprocess.Popen(
        [sys.executable, "-c", server],
        env={
            **os.environ,
            "MOTO_AMIS_PATH": str(images),
            "MOTO_ENABLE_RECORDING": "yes",
            "MOTO_RECORDER_FILEPATH": str(tmp_path / "recorded"),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    with process.stderr as said:
        yield next(found.group() for line in said if (found := re.search(r"http://127\.0\.0\.1:\d+", line)))
        process.kill()
        process.wait()


@dataclass(frozen=True)
class Instance:
    """What packer connects to: an sshd in a Debian root."""

    port: int
    key: Path
    image: Image
    folder: Path


@pytest.fixture
def instance(debian: Path, tmp_path: Path) -> Iterator[Instance]:
    """A machine that has just booted: cloud-init is through, `ubuntu` may do everything."""
    or_skip(lacking({**TOOLS, "packer": "packer", "ssh-keygen": "openssh-client"}))
    folder, key = tmp_path / "instance", tmp_path / "key"
    (folder / "upper/tmp").mkdir(parents=True)
    (folder / "upper/tmp").chmod(0o1777)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    shutil.copy(f"{key}.pub", folder / "upper/tmp/key.pub")
    (folder / "upper/etc").mkdir()
    for name in ("resolv.conf", "hosts"):
        shutil.copy(f"/etc/{name}", folder / "upper/etc")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    sshd = subprocess.Popen(
        chrooted(Image((debian,)), folder, "bash", "-c", PREPARE, str(port)), stderr=subprocess.PIPE, text=True
    )
    assert sshd.stderr is not None
    with sshd.stderr as said:
        assert any("Server listening" in line for line in said)
        yield Instance(port, key, Image((folder / "upper", debian)), folder)
        sshd.kill()
        sshd.wait()


@contextlib.contextmanager
def mirrors(folder: Path) -> Iterator[dict[str, str]]:
    """Where the runner program and the AWS CLI are fetched from, and their checksums: the template's variables."""
    with runner_mirror(folder) as (url, sha256):
        archive = folder / "awscli-exe-linux-x86_64-2.36.7.zip"
        with zipfile.ZipFile(archive, "w") as cli:
            installer = zipfile.ZipInfo("aws/install")
            installer.external_attr = 0o755 << 16
            program = "#!/bin/bash\\necho aws-cli/2.36.7\\n"
            cli.writestr(
                installer, f"#!/bin/bash\nprintf '{program}' >/usr/local/bin/aws\nchmod 755 /usr/local/bin/aws\n"
            )
        yield {
            "runner_mirror": url,
            "runner_sha256": sha256,
            "aws_cli_mirror": url,
            "aws_cli_sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        }


def build(folder: Path, instance: Instance, ec2: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `packer build` on a copy of the template that leads to the instance, and lacks what 1.6.6 does not know."""
    copied(folder, modern=False)
    connection = CONNECTION.format(port=instance.port, key=instance.key, ec2=ec2)
    template = (
        (folder / "runner.pkr.hcl")
        .read_text()
        .replace('source "amazon-ebs" "runner" {\n', f'source "amazon-ebs" "runner" {{{connection}')
    )
    (folder / "runner.pkr.hcl").write_text(template)
    given = [argument for name, value in variables.items() for argument in ("-var", f"{name}={value}")]
    return subprocess.run(
        ["packer", "build", "-color=false", "-var-file=amd64.pkrvars.hcl", *given, "."],
        check=False,
        cwd=folder,
        env={
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "made-up",
            "AWS_POLL_DELAY_SECONDS": "1",
            "CHECKPOINT_DISABLE": "1",
        },
        capture_output=True,
        text=True,
    )


def asked(recorded: Path) -> set[str]:
    """What EC2 was asked to do, as IAM calls it."""
    calls = [json.loads(line) for line in recorded.read_text().splitlines()]
    bodies = [base64.b64decode(call["body"]).decode() if call["body_encoded"] else call["body"] for call in calls]
    return {f"ec2:{found.group(1)}" for body in bodies if (found := re.search(r"Action=(\w+)", body))}


def allowed() -> set[str]:
    """What the role of a build may do at all (`tests/test_policies.py` has on what)."""
    listed = [each["Action"] for policy in policies("runner-scaler-image") for each in policy["Statement"]]
    return {action for actions in listed for action in ([actions] if isinstance(actions, str) else actions)}


def clients(url: str) -> Any:
    """A boto3 client of moto's EC2."""
    return boto3.client(
        "ec2", endpoint_url=url, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )


def inside(instance: Instance, *command: str) -> str:
    """What a command says on the disk that was made, once packer has gone."""
    scratch = instance.folder.with_name("look")
    done = subprocess.run(chrooted(instance.image, scratch, *command), check=False, capture_output=True, text=True)
    return done.stdout.strip()


def test_packer_builds_an_image_that_has_everything(tmp_path: Path, instance: Instance, moto: str) -> None:
    """The shipped provisioners run as root on what packer takes for its instance."""
    with mirrors(tmp_path / "mirror") as variables:
        built = build(tmp_path / "packer", instance, moto, fleet="main", **variables)
    assert built.returncode == 0, built.stdout + built.stderr
    assert {"ec2:RunInstances", "ec2:CreateImage"} <= asked(tmp_path / "recorded") <= allowed()

    ec2 = clients(moto)
    (made,) = ec2.describe_images(Owners=["self"])["Images"]
    tags = {tag["Key"]: tag["Value"] for tag in made["Tags"]}
    assert re.fullmatch(r"runner-scaler-amd64-2\.337\.0-\d{8}-\d{6}", made["Name"])
    assert tags["runner-scaler:runner-version"] == "2.337.0"
    assert tags["runner-scaler:image-of"] == "main"
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", tags["runner-scaler:built"])
    manifest = json.loads((tmp_path / "packer/manifest.json").read_text())
    assert manifest["builds"][0]["artifact_id"] == f"us-east-1:{made['ImageId']}"

    assert inside(instance, "stat", "-c", "%U %a", f"/{RUNNER_HOME}/run.sh") == "runner 755"
    assert inside(instance, "stat", "-c", "%U %a", "/opt/runner-scaler/init-runner.sh") == "root 755"
    assert inside(instance, "aws", "--version") == "aws-cli/2.36.7"
    assert inside(instance, "systemctl", "is-enabled", "runner-scaler.service") == "enabled"
    assert inside(instance, "systemctl", "is-enabled", "apt-daily.timer") == "masked"
    assert inside(instance, "ls", "/tmp/runner-scaler") == ""


def test_packer_leaves_nothing_of_a_build_behind(tmp_path: Path, instance: Instance, moto: str) -> None:
    """A checksum that is wrong ends the build: no image, no instance, no security group (RG-48, RG-58)."""
    ec2 = clients(moto)
    groups = len(ec2.describe_security_groups()["SecurityGroups"])
    with mirrors(tmp_path / "mirror") as variables:
        built = build(tmp_path / "packer", instance, moto, **{**variables, "runner_sha256": "0" * 64})
    assert built.returncode == 1
    assert "FAILED" in built.stdout + built.stderr
    assert ec2.describe_images(Owners=["self"])["Images"] == []
    states = {i["State"]["Name"] for group in ec2.describe_instances()["Reservations"] for i in group["Instances"]}
    assert states == {"terminated"}
    assert len(ec2.describe_security_groups()["SecurityGroups"]) == groups


@pytest.mark.parametrize("moto", [UNTAGGED], indirect=True)
def test_packer_removes_the_image_of_a_build_that_fails_after_it(tmp_path: Path, instance: Instance, moto: str) -> None:
    """With calls that the role of a build is allowed; the tag that it is allowed them by is `test_packer.py`'s."""
    with mirrors(tmp_path / "mirror") as variables:
        built = build(tmp_path / "packer", instance, moto, fleet="main", **variables)
    assert built.returncode == 1, built.stdout + built.stderr
    calls = asked(tmp_path / "recorded")
    assert {"ec2:CreateImage", "ec2:DeregisterImage"} <= calls <= allowed()
    assert clients(moto).describe_images(Owners=["self"])["Images"] == []
