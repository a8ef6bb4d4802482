"""What EC2's Describe calls show, and the calls that end, stop, start and tag instances."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from scaler.sandbox.aws.ec2_filters import check_tags, refuse_reserved, tag_list, wanted
from scaler.sandbox.aws.ec2_launch import architecture_of, vcpus_of
from scaler.sandbox.aws.ec2_world import DEAD, PENDING, STATE_CODES, STOPPED, STOPPING, Ec2World, Instance
from scaler.sandbox.aws.error import AwsError
from scaler.sandbox.aws.iam_world import Principal
from scaler.sandbox.aws.paging import page

Params = Mapping[str, Any]
Answer = dict[str, Any]


class InstanceCalls:
    """The operations of EC2 on instances that exist, and on what they are made of."""

    def __init__(self, ec2: Ec2World) -> None:
        self._ec2 = ec2

    def operations(self) -> dict[str, Callable[[Params, Principal], Answer]]:
        """What this part of EC2 serves."""
        return {
            "DescribeInstances": self.describe,
            "DescribeTags": self.describe_tags,
            "DescribeImages": self.describe_images,
            "DescribeSubnets": self.describe_subnets,
            "DescribeInstanceTypes": self.describe_types,
            "GetConsoleOutput": self.console_output,
            "TerminateInstances": self.terminate,
            "StopInstances": self.stop,
            "StartInstances": self.start,
            "CreateTags": self.create_tags,
            "DeleteTags": self.delete_tags,
        }

    # --- reading -----------------------------------------------------------------------------

    def describe(self, params: Params, caller: Principal) -> Answer:  # noqa: ARG002 - the operations' one shape
        """DescribeInstances, paged by instance."""
        ids, size = params.get("InstanceIds", ()), params.get("MaxResults")
        if ids and size is not None:
            text = "The parameter instancesSet cannot be used with the parameter maxResults"
            raise AwsError("InvalidParameterCombination", text)
        if size is not None and not 5 <= size <= 1000:
            bound = "greater than 5" if size < 5 else "less than 1000"
            text = f"Value ( {size} ) for parameter maxResults is invalid. Expecting a value {bound}."
            raise AwsError("InvalidParameterValue", text)
        found = self._ec2.named(ids) if ids else self._ec2.all_seen()
        filters = params.get("Filters", ())
        found = [each for each in found if wanted(filters, _facts(self._ec2, each), each.tags)]
        found.sort(key=_order)
        shown, token = page(found, _order, size or 1000, params.get("NextToken"), "InvalidNextToken")
        reservations: dict[str, list[Instance]] = {}
        for each in shown:
            reservations.setdefault(each.reservation_id, []).append(each)
        account = self._ec2.settings().account
        return {
            "Reservations": [
                {
                    "ReservationId": key,
                    "OwnerId": account,
                    "Groups": [],
                    "Instances": [instance_shown(self._ec2, each, index) for index, each in enumerate(group)],
                }
                for key, group in reservations.items()
            ],
            "NextToken": token,
        }

    def describe_tags(self, params: Params, caller: Principal) -> Answer:  # noqa: ARG002 - as above
        """DescribeTags of instances."""
        rows = []
        for each in sorted(self._ec2.all_seen(), key=_order):
            for key, value in sorted(each.tags.items()):
                facts = {"resource-id": [each.id], "resource-type": ["instance"], "key": [key], "value": [value]}
                if wanted(params.get("Filters", ()), facts, {key: value}):
                    rows.append({"ResourceId": each.id, "ResourceType": "instance", "Key": key, "Value": value})
        size, token = params.get("MaxResults", 1000), params.get("NextToken")
        shown, token = page(rows, lambda row: f"{row['ResourceId']} {row['Key']}", size, token, "InvalidNextToken")
        return {"Tags": shown, "NextToken": token}

    def describe_images(self, params: Params, caller: Principal) -> Answer:  # noqa: ARG002 - as above
        """DescribeImages of the seed."""
        ids = params.get("ImageIds") or list(self._ec2.images)
        for each in ids:
            if each not in self._ec2.images:
                raise AwsError("InvalidAMIID.NotFound", f"The image id '[{each}]' does not exist")
        images = [self._ec2.images[each] for each in ids]
        filters, now = params.get("Filters", ()), self._ec2.clock.now().strftime("%Y-%m-%dT%H:%M:%S.000Z")
        return {
            "Images": [
                {
                    "ImageId": each.id,
                    "Architecture": each.architecture,
                    "Name": each.name,
                    "State": "available",
                    "OwnerId": self._ec2.settings().account,
                    "CreationDate": each.created_at or now,
                    "Tags": tag_list(each.tags),
                }
                for each in images
                if wanted(
                    filters,
                    {"architecture": [each.architecture], "name": [each.name], "image-id": [each.id]},
                    dict(each.tags),
                )
            ]
        }

    def describe_subnets(self, params: Params, caller: Principal) -> Answer:  # noqa: ARG002 - as above
        """DescribeSubnets of the seed."""
        ids = params.get("SubnetIds") or list(self._ec2.subnets)
        for each in ids:
            if each not in self._ec2.subnets:
                raise AwsError("InvalidSubnetID.NotFound", f"The subnet ID '{each}' does not exist")
        subnets = [self._ec2.subnets[each] for each in ids]
        filters = params.get("Filters", ())
        return {
            "Subnets": [
                {"SubnetId": each.id, "AvailabilityZone": each.zone, "VpcId": each.vpc, "State": "available",
                 "AvailableIpAddressCount": 4091, "CidrBlock": "10.0.0.0/20"}
                for each in subnets
                if wanted(filters, {"vpc-id": [each.vpc], "availability-zone": [each.zone], "subnet-id": [each.id]}, {})
            ]
        }  # fmt: skip

    def describe_types(self, params: Params, caller: Principal) -> Answer:  # noqa: ARG002 - as above
        """DescribeInstanceTypes, for the types that are named."""
        return {
            "InstanceTypes": [
                {
                    "InstanceType": each,
                    "CurrentGeneration": True,
                    "ProcessorInfo": {"SupportedArchitectures": [architecture_of(each)]},
                    "VCpuInfo": {"DefaultVCpus": vcpus_of(each)},
                    "SupportedUsageClasses": ["on-demand", "spot"],
                }
                for each in params.get("InstanceTypes", ())
            ]
        }

    def console_output(self, params: Params, caller: Principal) -> Answer:  # noqa: ARG002 - as above
        """GetConsoleOutput: what the machine wrote to its serial console."""
        instance = self._ec2.named([params["InstanceId"]])[0]
        text = self._ec2.console_text(instance.id)
        # botocore decodes this member for its callers; on the wire it is base64.
        output = base64.b64encode(text.encode()).decode()
        return {"InstanceId": instance.id, "Timestamp": self._ec2.clock.now().replace(microsecond=0), "Output": output}

    # --- changing ----------------------------------------------------------------------------

    def _chosen(self, params: Params) -> list[Instance]:
        instances = self._ec2.named(params["InstanceIds"])
        if params.get("DryRun"):
            raise AwsError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
        return [held for each in instances if (held := self._ec2.get(each.id)) is not None]

    def _changed(self, before: Iterable[Instance]) -> list[Answer]:
        return [
            {
                "InstanceId": each.id,
                "CurrentState": _state(now.state if (now := self._ec2.get(each.id)) else each.state),
                "PreviousState": _state(each.state),
            }
            for each in before
        ]

    def terminate(self, params: Params, caller: Principal) -> Answer:  # noqa: ARG002 - as above
        """TerminateInstances: idempotent; one bad or protected id fails the whole call."""
        before = self._chosen(params)
        for each in before:
            if each.protected and each.state not in DEAD:
                text = f"The instance '{each.id}' may not be terminated. Modify its 'disableApiTermination' instance"
                raise AwsError("OperationNotPermitted", f"{text} attribute and try again.")
        for each in before:
            self._ec2.end(each.id, "api")
        return {"TerminatingInstances": self._changed(before)}

    def stop(self, params: Params, caller: Principal) -> Answer:  # noqa: ARG002 - as above
        """StopInstances; a one-time spot instance cannot be stopped."""
        before = self._chosen(params)
        for each in before:
            if each.market == "spot":
                text = f"You can't stop the Spot Instance '{each.id}' because it is associated with a one-time Spot"
                raise AwsError("UnsupportedOperation", f"{text} Instance request.")
            if each.state in DEAD or each.state == PENDING:
                text = f"This instance '{each.id}' is not in a state from which it can be stopped."
                raise AwsError("IncorrectInstanceState", text)
        for each in before:
            self._ec2.stop(each.id)
        return {"StoppingInstances": self._changed(before)}

    def start(self, params: Params, caller: Principal) -> Answer:  # noqa: ARG002 - as above
        """StartInstances."""
        before = self._chosen(params)
        for each in before:
            if each.state in DEAD or each.state == STOPPING:
                text = f"The instance '{each.id}' is not in a state from which it can be started."
                raise AwsError("IncorrectInstanceState", text)
        for each in before:
            if each.state == STOPPED:
                self._ec2.start(each.id)
        return {"StartingInstances": self._changed(before)}

    def create_tags(self, params: Params, caller: Principal) -> Answer:
        """CreateTags on instances: overwrites; all or nothing."""
        given = {each["Key"]: each.get("Value", "") for each in params["Tags"]}
        refuse_reserved(given)
        joined: dict[str, dict[str, str]] = {}
        for each in self._resources(params):
            joined[each.id] = {**each.tags, **given}
            metadata = each.metadata_options["InstanceMetadataTags"] == "enabled"
            check_tags(
                {key: value for key, value in joined[each.id].items() if not key.startswith("aws:")}, metadata=metadata
            )
        for instance_id, tags in joined.items():
            self._ec2.retag(instance_id, tags, caller.arn)
        return {}

    def delete_tags(self, params: Params, caller: Principal) -> Answer:
        """DeleteTags: a tag goes if its key, and its value where one is given, fits."""
        for each in self._resources(params):
            tags = dict(each.tags)
            for tag in params.get("Tags", [{"Key": key} for key in tags if not key.startswith("aws:")]):
                if tag["Key"] in tags and tag.get("Value", tags[tag["Key"]]) == tags[tag["Key"]]:
                    del tags[tag["Key"]]
            self._ec2.retag(each.id, tags, caller.arn)
        return {}

    def _resources(self, params: Params) -> list[Instance]:
        for each in params["Resources"]:
            if not each.startswith("i-"):
                raise AwsError("InvalidID", f"The ID '{each}' is not valid: the sandbox tags instances.")
        return self._chosen({**params, "InstanceIds": params["Resources"]})


def _order(instance: Instance) -> str:
    return f"{instance.launched_at.isoformat()} {instance.id}"


def _state(name: str) -> Answer:
    return {"Code": STATE_CODES[name], "Name": name}


def _facts(ec2: Ec2World, each: Instance) -> dict[str, list[str]]:
    launched = each.launched_at.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return {
        "instance-id": [each.id],
        "instance-state-name": [each.state],
        "instance-state-code": [str(STATE_CODES[each.state])],
        "instance-type": [each.type],
        "instance-lifecycle": ["spot"] if each.market == "spot" else [],
        "architecture": [each.architecture],
        "availability-zone": [each.subnet.zone],
        "client-token": [each.client_token] if each.client_token else [],
        "iam-instance-profile.name": [each.profile] if each.profile else [],
        "image-id": [each.image_id],
        "instance.group-id": list(each.options.get("SecurityGroupIds", ())),
        "launch-time": [launched],
        "metadata-options.http-tokens": [each.metadata_options["HttpTokens"]],
        "owner-id": [ec2.settings().account],
        "private-ip-address": [each.private_ip],
        "reservation-id": [each.reservation_id],
        "spot-instance-request-id": [each.spot_request_id] if each.spot_request_id else [],
        "subnet-id": [each.subnet.id],
        "vpc-id": [each.subnet.vpc],
    }


_EVERY = {
    "Hypervisor": "xen",
    "RootDeviceType": "ebs",
    "RootDeviceName": "/dev/sda1",
    "VirtualizationType": "hvm",
    "PublicDnsName": "",
    "Monitoring": {"State": "disabled"},
}


def instance_shown(ec2: Ec2World, each: Instance, index: int = 0) -> Answer:
    """An instance as DescribeInstances and RunInstances write it."""
    settings = ec2.settings()
    name = f"ip-{each.private_ip.replace('.', '-')}.ec2.internal"
    alive = each.state not in DEAD
    shown: Answer = {
        "InstanceId": each.id,
        "ImageId": each.image_id,
        "State": _state(each.state),
        "PrivateDnsName": name if alive else "",
        "StateTransitionReason": each.transition,
        "AmiLaunchIndex": index,
        "InstanceType": each.type,
        "LaunchTime": each.launched_at.replace(microsecond=0),
        "Placement": {"AvailabilityZone": each.subnet.zone, "GroupName": "", "Tenancy": "default"},
        "SubnetId": each.subnet.id if alive else None,
        "VpcId": each.subnet.vpc if alive else None,
        "PrivateIpAddress": each.private_ip if alive else None,
        "Architecture": each.architecture,
        "ClientToken": each.client_token,
        **_EVERY,
        "SecurityGroups": [
            {"GroupId": group, "GroupName": ec2.security_groups.get(group, "")}
            for group in each.options.get("SecurityGroupIds", ())
        ],
        "Tags": tag_list(each.tags),
        "MetadataOptions": each.metadata_options,
        "InstanceLifecycle": "spot" if each.market == "spot" else None,
        "SpotInstanceRequestId": each.spot_request_id or None,
        "KeyName": each.options.get("KeyName"),
    }
    if each.profile:
        arn = f"arn:aws:iam::{settings.account}:instance-profile/{each.profile}"
        shown["IamInstanceProfile"] = {"Arn": arn, "Id": "AIPAEXAMPLE0123456789"}
    if each.reason:
        shown["StateReason"] = {"Code": each.reason[0], "Message": each.reason[1]}
    return shown
