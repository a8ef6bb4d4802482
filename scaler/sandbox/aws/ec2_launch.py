"""
How EC2 launches: RunInstances and CreateFleet `instant`, launch templates merged, capacity and quotas applied.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scaler.sandbox.aws.ec2_filters import check_tags, tags_for
from scaler.sandbox.aws.ec2_templates import Templates
from scaler.sandbox.aws.ec2_world import PENDING, Ec2World, Instance
from scaler.sandbox.aws.error import AwsError
from scaler.sandbox.aws.settings import Image, Subnet

Params = Mapping[str, Any]
USER_DATA_BYTES = 16_384

_CAPACITY_TEXT = {
    "InsufficientInstanceCapacity": "We currently do not have sufficient {type} capacity in the Availability Zone you"
    " requested ({zone}). Our system will be working on provisioning additional capacity.",
    "UnfulfillableCapacity": "Unable to fulfill capacity due to your request configuration. Please adjust your request"
    " and try again.",
    "SpotMaxPriceTooLow": "Your Spot request price is lower than the minimum required Spot request fulfillment price.",
    "MaxSpotInstanceCountExceeded": "Max spot instance count exceeded",
    "InsufficientFreeAddressesInSubnet": "There are not enough free addresses in subnet '{subnet}' to satisfy the"
    " requested number of instances.",
    "Unsupported": "Your requested instance type ({type}) is not supported in your requested Availability Zone ({zone}).",
    "RequestLimitExceeded": "Request limit exceeded.",
}


@dataclass(frozen=True, slots=True)
class Order:
    """One instance to launch: the merged launch data, and who asked how."""

    data: Params
    market: str
    tags: Mapping[str, str]
    client_token: str = ""
    fleet_id: str = ""
    reservation_id: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """What an order resolves to."""

    type: str
    image: Image
    subnet: Subnet


class Launcher:
    """Checks and launches orders, one instance each."""

    def __init__(self, ec2: Ec2World, templates: Templates, ami_parameter: Callable[[str], str | None]) -> None:
        self._ec2 = ec2
        self._templates = templates
        self._ami_parameter = ami_parameter
        self._addresses = 10

    def merged(self, params: Params) -> tuple[dict[str, Any], dict[str, str]]:
        """
        Launch data of a request over those of its launch template, and the tags that the template brings.

        What the request names replaces the template's whole member; instance tags are joined.
        """
        given = params.get("LaunchTemplate") or params.get("LaunchTemplateSpecification")
        if given is None:
            return dict(params), {}
        template, number, data = self._templates.resolve(given)
        own = {"aws:ec2launchtemplate:id": template.id, "aws:ec2launchtemplate:version": str(number)}
        return {**data, **params}, {**tags_for("instance", data), **own}

    def place(self, order: Order) -> Place:
        """Where and what an order would be. Raises the launch's own errors; takes no capacity."""
        data = order.data
        image = self._image(str(data.get("ImageId", "")))
        kind = str(data.get("InstanceType", "m1.small"))
        architecture = architecture_of(kind)
        if architecture != image.architecture:
            raise AwsError(
                "InvalidParameterValue",
                f"The architecture '{architecture}' of the specified instance type does not match the architecture"
                f" '{image.architecture}' of the specified AMI. Specify an instance type and an AMI that have matching"
                " architectures, and try again.",
            )
        subnet = self._subnet(data)
        for group in _groups(data):
            if group not in self._ec2.security_groups:
                raise AwsError("InvalidGroup.NotFound", f"The security group '{group}' does not exist")
        self._check_profile(data.get("IamInstanceProfile"))
        _check_user_data(str(data.get("UserData", "")))
        metadata = data.get("MetadataOptions", {}).get("InstanceMetadataTags") == "enabled"
        shown = {key: value for key, value in order.tags.items() if not key.startswith("aws:")}
        check_tags(shown, metadata=metadata)
        return Place(kind, image, subnet)

    def take(self, order: Order, place: Place, ahead: int = 0) -> None:
        """
        Take quota and capacity for an order. Raises what EC2 refuses a launch with.

        `ahead` is the vCPUs that the same call took in this market and has not launched yet.
        """
        self._check_quota(order.market, place.type, ahead)
        now = self._ec2.clock.now()
        for rule in self._ec2.capacity:
            if rule.refuses(now, place.type, place.subnet, order.market):
                text = rule.message or _CAPACITY_TEXT.get(rule.code, "The launch was refused.")
                zone, subnet = place.subnet.zone, place.subnet.id
                raise AwsError(rule.code, text.format(type=place.type, zone=zone, subnet=subnet))

    def launch(self, order: Order, place: Place, action: str) -> Instance:
        """Launch one instance whose capacity was taken."""
        ids, data = self._ec2.ids, order.data
        self._addresses += 1
        third, fourth = divmod(self._addresses, 256)
        instance = Instance(
            id=ids.new("i"),
            type=place.type,
            architecture=place.image.architecture,
            image_id=place.image.id,
            subnet=place.subnet,
            market=order.market,
            launched_at=self._ec2.clock.now(),
            state=PENDING,
            tags=dict(order.tags),
            client_token=order.client_token,
            fleet_id=order.fleet_id,
            reservation_id=order.reservation_id or ids.new("r"),
            private_ip=f"10.0.{third % 256}.{fourth}",
            spot_request_id=f"sir-{ids.hex(8)}" if order.market == "spot" else "",
            shutdown_behavior=str(data.get("InstanceInitiatedShutdownBehavior", "stop")),
            protected=bool(data.get("DisableApiTermination", False)),
            options={**data, "SecurityGroupIds": _groups(data)},
        )
        self._ec2.add(instance, action=action)
        return instance

    def _image(self, image_id: str) -> Image:
        if not image_id:
            raise AwsError("MissingParameter", "The request must contain the parameter ImageId")
        if image_id.startswith("resolve:ssm:"):
            found = self._ami_parameter(image_id.removeprefix("resolve:ssm:"))
            if found is None:
                text = f"Invalid value '{image_id}' for imageId. The parameter does not exist."
                raise AwsError("InvalidParameterValue", text)
            image_id = found
        if not re.fullmatch(r"ami-([0-9a-f]{8}|[0-9a-f]{17})", image_id):
            raise AwsError("InvalidAMIID.Malformed", f'Invalid id: "{image_id}" (expecting "ami-...")')
        if image_id not in self._ec2.images:
            raise AwsError("InvalidAMIID.NotFound", f"The image id '[{image_id}]' does not exist")
        return self._ec2.images[image_id]

    def _subnet(self, data: Params) -> Subnet:
        interfaces = data.get("NetworkInterfaces", ())
        subnet_id = data.get("SubnetId") or (interfaces[0].get("SubnetId") if interfaces else "")
        zone = data.get("AvailabilityZone") or data.get("Placement", {}).get("AvailabilityZone")
        if subnet_id:
            if subnet_id not in self._ec2.subnets:
                raise AwsError("InvalidSubnetID.NotFound", f"The subnet ID '{subnet_id}' does not exist")
            return self._ec2.subnets[subnet_id]
        for subnet in self._ec2.subnets.values():
            if zone in (None, subnet.zone):
                return subnet
        region = self._ec2.settings().region
        raise AwsError("InvalidParameterValue", f"Invalid availability zone: [{zone}] in region {region}")

    def _check_profile(self, given: Params | None) -> None:
        if not given:
            return
        name = given.get("Name") or given.get("Arn", "").rpartition("/")[2]
        if name not in self._ec2.profiles:
            where = "name" if "Name" in given else "arn"
            text = (
                f"Value ({given.get('Name') or given.get('Arn')}) for parameter iamInstanceProfile.{where} is invalid."
            )
            raise AwsError("InvalidParameterValue", f"{text} Invalid IAM Instance Profile {where}")

    def _check_quota(self, market: str, kind: str, ahead: int) -> None:
        quotas = self._ec2.settings().quotas
        most = quotas.spot if market == "spot" else quotas.on_demand
        if most is None:
            return
        running = sum(vcpus_of(each.type) for each in self._ec2.alive() if each.market == market)
        if running + ahead + vcpus_of(kind) > most:
            if market == "spot":
                raise AwsError("MaxSpotInstanceCountExceeded", "Max spot instance count exceeded")
            raise AwsError(
                "VcpuLimitExceeded",
                f"You have requested more vCPU capacity than your current vCPU limit of {most} allows for the instance"
                " bucket that the specified instance type belongs to. Please visit"
                " http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit.",
            )


def _groups(data: Params) -> Sequence[str]:
    interfaces = data.get("NetworkInterfaces", ())
    nested = interfaces[0].get("Groups", ()) if interfaces else ()
    return list(data.get("SecurityGroupIds", ()) or nested)


def _check_user_data(text: str) -> None:
    if not text:
        return
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise AwsError("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data.") from None
    if len(raw) > USER_DATA_BYTES:
        raise AwsError("InvalidParameterValue", "User data is limited to 16384 bytes")


def architecture_of(kind: str) -> str:
    """The architecture of an instance type: a `g` after the generation means Graviton (m7g, c6gd, t4g)."""
    family = kind.partition(".")[0]
    return "arm64" if re.match(r"[a-z]+\d+[a-z]*g", family) or family == "a1" else "x86_64"


def vcpus_of(kind: str) -> int:
    """How many vCPUs an instance type has, by its size."""
    size = kind.partition(".")[2]
    known = {"nano": 2, "micro": 2, "small": 2, "medium": 2, "large": 2, "xlarge": 4}
    times = re.match(r"(?:metal-)?(\d+)xl", size)
    return int(times[1]) * 4 if times else known.get(size, 96)
