"""An embedded AWS that serves, and unmodified boto3 clients of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from scaler.sandbox.aws.iam_world import Credentials
from scaler.sandbox.aws.server import AwsServer
from scaler.sandbox.aws.world import AwsWorld
from scaler.sandbox.clock import Clock
from scaler.sandbox.journal import Journal

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
SUBNET_A, SUBNET_B = "subnet-0a1b2c3d4e5f60718", "subnet-0b2c3d4e5f6071829"
AMD64 = "ami-0a1b2c3d4e5f6a640"
FLEET_TAG = "runner-scaler:fleet"


@dataclass(slots=True)
class Aws:
    """The world, its server, its clocks. `ahead` moves the real clock that credentials are checked by."""

    clock: Clock
    journal: Journal
    world: AwsWorld
    server: AwsServer
    ahead: timedelta = field(default_factory=timedelta)

    def client(self, service: str, credentials: Credentials | None = None, **config: Any) -> Any:
        """A boto3 client that tries once."""
        held = credentials or self.world.ambient
        return _session().client(
            service,
            endpoint_url=self.server.url,
            region_name="us-east-1",
            aws_access_key_id=held.access_key,
            aws_secret_access_key=held.secret,
            aws_session_token=held.token,
            config=Config(**{"retries": {"total_max_attempts": 1}, **config}),
        )

    def launch(self, token: str = "", *, client: Any = None, **changes: Any) -> dict[str, Any]:
        """A CreateFleet call for one spot instance, as the scaler makes it, with changes."""
        answer: dict[str, Any] = (client or self.client("ec2")).create_fleet(**fleet(token, **changes))
        return answer

    def launched(self, token: str = "", **changes: Any) -> str:
        """The id of the instance that a fleet call launched."""
        return str(self.launch(token, **changes)["Instances"][0]["InstanceIds"][0])

    def state(self, instance_id: str) -> str:
        """What DescribeInstances says of an instance."""
        found = self.client("ec2").describe_instances(InstanceIds=[instance_id])
        return str(found["Reservations"][0]["Instances"][0]["State"]["Name"])

    def listed(self, **filters: str) -> list[str]:
        """The ids that DescribeInstances lists; filters are given as `name="value"`, `_` for `-`."""
        chosen = [{"Name": name.replace("_", "-"), "Values": [value]} for name, value in filters.items()]
        found = self.client("ec2").describe_instances(Filters=chosen)
        return [each["InstanceId"] for group in found["Reservations"] for each in group["Instances"]]


@contextmanager
def embedded_aws(settings: Mapping[str, Any] | None = None) -> Iterator[Aws]:
    """Serve an AWS whose time stands still; at the end, fail if the sandbox itself made a mistake."""
    clock = Clock(START, speed=0)
    journal = Journal(clock)
    ahead: list[Aws] = []
    world = AwsWorld(clock, journal, now=lambda: datetime.now(UTC) + (ahead[0].ahead if ahead else timedelta()))
    world.configure(settings or {})
    server = AwsServer(world)
    server.start()
    aws = Aws(clock, journal, world, server)
    ahead.append(aws)
    try:
        yield aws
        assert server.mistakes == []
    finally:
        server.stop()
        clock.stop()


def fleet(token: str = "", **changes: Any) -> dict[str, Any]:
    """Parameters of CreateFleet for one spot instance in two zones."""
    overrides = [
        {"InstanceType": "m7i.large", "SubnetId": SUBNET_A, "Priority": 0},
        {"InstanceType": "m6i.large", "SubnetId": SUBNET_B, "Priority": 1},
    ]
    template = {"LaunchTemplateName": "runner-amd64", "Version": "3"}
    tags = [{"Key": FLEET_TAG, "Value": "main"}, {"Key": "runner-scaler:slot", "Value": "amd64/1"}]
    return {
        "Type": "instant",
        "LaunchTemplateConfigs": [{"LaunchTemplateSpecification": template, "Overrides": overrides}],
        "TargetCapacitySpecification": {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "spot"},
        "SpotOptions": {"AllocationStrategy": "capacity-optimized-prioritized"},
        "OnDemandOptions": {"AllocationStrategy": "prioritized"},
        "TagSpecifications": [{"ResourceType": "instance", "Tags": tags}],
        **({"ClientToken": token} if token else {}),
        **changes,
    }


ON_DEMAND = {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "on-demand"}


@contextmanager
def refused(code: str, says: str = "") -> Iterator[pytest.ExceptionInfo[ClientError]]:
    """Expect boto3's error with this code."""
    with pytest.raises(ClientError) as caught:
        yield caught
    error = caught.value.response["Error"]
    assert error["Code"] == code, caught.value
    assert says in error["Message"]


@cache
def _session() -> Any:  # its overloads know service names as literals alone
    return boto3.Session()
