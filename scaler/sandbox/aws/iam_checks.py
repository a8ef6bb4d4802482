"""
What IAM is asked about a call: each action, on each resource, in which context of condition keys.

Which resources an action takes and which keys go with them: the service authorization reference (pages
list_amazonec2 and list_awssystemsmanager). CreateFleet is asked about what its own parameters name, and launches by
RunInstances in its caller's name, which is asked about what the launch template names as well (the reference, on
CreateFleet; aws/karpenter-provider-aws#1488 and #7370 show both errors). Nothing is denied here: that is for whoever
holds the policies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from scaler.sandbox.aws.ec2_filters import tags_for
from scaler.sandbox.aws.ec2_templates import Template, Templates
from scaler.sandbox.aws.ec2_world import Ec2World
from scaler.sandbox.aws.error import AwsError
from scaler.sandbox.aws.iam_world import Principal
from scaler.sandbox.aws.settings import Subnet
from scaler.sandbox.aws.ssm_world import SsmWorld

Params = Mapping[str, Any]
Context = dict[str, str | list[str]]


@dataclass(frozen=True, slots=True)
class Check:
    """May this principal do `action` on `resource`? A resource that does not exist yet is `instance/*`, as in AWS."""

    action: str
    resource: str
    context: Mapping[str, str | list[str]]


class Checks:
    """Says what IAM is asked about a call, as the world is before it."""

    def __init__(self, ec2: Ec2World, templates: Templates, ssm: SsmWorld) -> None:
        self._ec2 = ec2
        self._templates = templates
        self._ssm = ssm

    def of(self, service: str, action: str, params: Params, caller: Principal) -> tuple[Check, ...]:
        """The checks of one call; as many as there are before something that it names turns out not to exist."""
        found: list[Check] = []
        with suppress(AwsError):
            found.extend(self._asked(service, action, params, caller))
        return tuple(found)

    def _asked(self, service: str, action: str, params: Params, caller: Principal) -> Iterator[Check]:
        if service == "ssm":
            yield from self._parameters(action, params, caller)
        elif action == "CreateFleet":
            yield from self._fleet(params)
        elif action == "RunInstances":
            yield from self._launch(params, params, "RunInstances", _market(params))
        elif action in {"CreateTags", "DeleteTags"}:
            yield from self._tagging(action, params)
        elif action in {"TerminateInstances", "StopInstances", "StartInstances", "GetConsoleOutput"}:
            ids = [*params.get("InstanceIds", ()), *([params["InstanceId"]] if "InstanceId" in params else ())]
            yield from (Check(f"ec2:{action}", self._arn(f"instance/{each}"), self._of(each)) for each in ids)
        elif service == "ec2":
            yield Check(f"ec2:{action}", "*", {"ec2:Region": self._region})

    @property
    def _region(self) -> str:
        return self._ec2.settings().region

    def _arn(self, resource: str, account: str | None = None) -> str:
        owner = self._ec2.settings().account if account is None else account
        return f"arn:aws:ec2:{self._region}:{owner}:{resource}"

    # --- launching -----------------------------------------------------------------------------

    def _fleet(self, params: Params) -> Iterator[Check]:
        region = {"ec2:Region": self._region}
        yield Check("ec2:CreateFleet", self._arn("fleet/*"), {**region, **_requested(tags_for("fleet", params))})
        market = str(params.get("TargetCapacitySpecification", {}).get("DefaultTargetCapacityType", "on-demand"))
        for config in params["LaunchTemplateConfigs"]:
            specification = config.get("LaunchTemplateSpecification", {})
            template, _, data = self._templates.resolve(specification)
            yield Check(
                "ec2:CreateFleet", self._arn(f"launch-template/{template.id}"), {**region, **_tagged(template.tags)}
            )
            for override in config.get("Overrides") or [{}]:
                kind = str(override.get("InstanceType") or data.get("InstanceType", ""))
                asked = {**region, **_requested(tags_for("instance", params)), "ec2:InstanceType": kind}
                yield Check("ec2:CreateFleet", self._arn("instance/*"), asked)
                if "SubnetId" in override:
                    yield from self._subnet("ec2:CreateFleet", override["SubnetId"], region)
                tags = {"TagSpecifications": params.get("TagSpecifications", ())}
                launch = {**override, "LaunchTemplate": specification, **tags}
                yield from self._launch(launch, override, "CreateFleet", market)

    def _launch(self, params: Params, overrides: Params, by: str, market: str) -> Iterator[Check]:
        """RunInstances and what comes with it, for merged launch data. `overrides` is what the request itself names."""
        data, tags = dict(params), tags_for("instance", params)
        common: Context = {"ec2:Region": self._region}
        template: Template | None = None
        if "LaunchTemplate" in params:
            template, _, held = self._templates.resolve(params["LaunchTemplate"])
            data, tags = {**held, **params}, {**tags_for("instance", held), **tags}
            common["ec2:LaunchTemplate"] = self._arn(f"launch-template/{template.id}")

        def ask(resource: str, part: str, context: Mapping[str, str | list[str]]) -> Check:
            own = "true" if template and part not in overrides else "false"
            return Check("ec2:RunInstances", resource, {**common, "ec2:IsLaunchTemplateResource": own, **context})

        if template:
            yield ask(self._arn(f"launch-template/{template.id}"), "LaunchTemplate", _tagged(template.tags))
        yield ask(self._arn("instance/*"), "InstanceType", {**_instance(data, market), **_requested(tags)})
        yield ask(self._arn(f"image/{data['ImageId']}", account=""), "ImageId", self._image())
        yield from self._network(data, ask)
        for mapping in data.get("BlockDeviceMappings") or [{}]:
            yield ask(self._arn("volume/*"), "BlockDeviceMappings", _volume(mapping.get("Ebs", {})))
        if market == "spot":  # EC2 user guide: a spot request is a resource of its own
            yield Check("ec2:RunInstances", self._arn("spot-instances-request/*"), {"ec2:Region": self._region})
        if tags:
            asked = {"ec2:Region": self._region, "ec2:CreateAction": by, **_requested(tags)}
            yield Check("ec2:CreateTags", self._arn("instance/*"), asked)
        yield from self._passed(data)

    def _network(self, data: Params, ask: Callable[[str, str, Params], Check]) -> Iterator[Check]:
        subnet = self._ec2.subnets.get(str(data.get("SubnetId", ""))) or next(iter(self._ec2.subnets.values()))
        vpc = {"ec2:Vpc": self._arn(f"vpc/{subnet.vpc}")}
        for group in data.get("SecurityGroupIds", ()):
            asked = {**vpc, "ec2:SecurityGroupID": group}
            yield ask(self._arn(f"security-group/{group}"), "SecurityGroupIds", asked)
        yield ask(self._arn(f"subnet/{subnet.id}"), "SubnetId", {**vpc, **_place(subnet)})
        where = {**vpc, "ec2:AvailabilityZone": subnet.zone, "ec2:Subnet": self._arn(f"subnet/{subnet.id}")}
        yield ask(self._arn("network-interface/*"), "SubnetId", where)

    def _subnet(self, action: str, subnet_id: str, context: Mapping[str, str]) -> Iterator[Check]:
        subnet = self._ec2.subnets.get(subnet_id)
        if subnet:
            asked = {**context, **_place(subnet), "ec2:Vpc": self._arn(f"vpc/{subnet.vpc}")}
            yield Check(action, self._arn(f"subnet/{subnet_id}"), asked)

    def _image(self) -> Context:
        return {"ec2:Owner": self._ec2.settings().account, "ec2:Public": "false", "ec2:ImageType": "machine"}

    def _passed(self, data: Params) -> Iterator[Check]:
        profile = data.get("IamInstanceProfile", {})
        role = self._ec2.profiles.get(str(profile.get("Name") or profile.get("Arn", "").rpartition("/")[2]))
        if role:
            arn = f"arn:aws:iam::{self._ec2.settings().account}:role/{role}"
            yield Check("iam:PassRole", arn, {"iam:PassedToService": "ec2.amazonaws.com"})

    # --- instances that exist ------------------------------------------------------------------

    def _of(self, instance_id: str) -> Context:
        held = self._ec2.get(instance_id)
        return {"ec2:Region": self._region, **_tagged(held.tags if held else {})}

    def _tagging(self, action: str, params: Params) -> Iterator[Check]:
        keys = {each["Key"]: each.get("Value", "") for each in params.get("Tags", ())}
        asked: Context = _requested(keys) if action == "CreateTags" else {"aws:TagKeys": sorted(keys)}
        for each in params["Resources"]:
            yield Check(f"ec2:{action}", self._arn(f"instance/{each}"), {**self._of(each), **asked})

    # --- parameters ----------------------------------------------------------------------------

    def _parameters(self, action: str, params: Params, caller: Principal) -> Iterator[Check]:
        names = [params[key] for key in ("Name", "ResourceId", "Path") if key in params] + list(params.get("Names", ()))
        asked: Context = {}
        if caller.instance_id:  # IAM user guide: keys of requests that are signed with an instance's role
            asked = {
                "ec2:SourceInstanceARN": self._arn(f"instance/{caller.instance_id}"),
                "ec2:RoleDelivery": "2.0",
            }
        if action == "DescribeParameters":
            yield Check("ssm:DescribeParameters", "*", asked)
            return
        given = _requested({each["Key"]: each["Value"] for each in params.get("Tags", ())})
        for name in names:
            arn = self._ssm.arn(name)
            if action == "PutParameter":
                overwrite = "true" if params.get("Overwrite") else "false"
                yield Check("ssm:PutParameter", arn, {**asked, **given, "ssm:Overwrite": overwrite})
                if given:
                    yield Check("ssm:AddTagsToResource", arn, {**asked, **given})
                continue
            held = self._ssm.parameters.get(name)
            tags = {f"aws:ResourceTag/{key}": value for key, value in (held.tags if held else {}).items()}
            yield Check(f"ssm:{action}", arn, {**asked, **tags, **given})


def _market(params: Params) -> str:
    return str(params.get("InstanceMarketOptions", {}).get("MarketType", "on-demand"))


def _requested(tags: Mapping[str, str]) -> Context:
    """The keys that a request with tags brings; none without."""
    if not tags:
        return {}
    return {"aws:TagKeys": sorted(tags), **{f"aws:RequestTag/{key}": value for key, value in tags.items()}}


def _tagged(tags: Mapping[str, str]) -> Context:
    """The keys of a resource's tags, by both of their names."""
    return {f"{prefix}:ResourceTag/{key}": value for prefix in ("aws", "ec2") for key, value in tags.items()}


def _instance(data: Params, market: str) -> Context:
    options = data.get("MetadataOptions", {})
    return {
        "ec2:InstanceType": str(data.get("InstanceType", "m1.small")),
        "ec2:InstanceMarketType": market,
        "ec2:InstanceMetadataTags": str(options.get("InstanceMetadataTags", "disabled")),
        "ec2:MetadataHttpEndpoint": str(options.get("HttpEndpoint", "enabled")),
        "ec2:MetadataHttpPutResponseHopLimit": str(options.get("HttpPutResponseHopLimit", 1)),
        "ec2:MetadataHttpTokens": str(options.get("HttpTokens", "optional")),
        "ec2:RootDeviceType": "ebs",
        "ec2:Tenancy": "default",
    }


def _volume(ebs: Params) -> Context:
    encrypted = "true" if ebs.get("Encrypted") else "false"
    return {"ec2:Encrypted": encrypted, "ec2:VolumeType": str(ebs.get("VolumeType", "gp2"))}


def _place(subnet: Subnet) -> Context:
    return {"ec2:AvailabilityZone": subnet.zone, "ec2:SubnetID": subnet.id}
