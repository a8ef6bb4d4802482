"""How the embedded EC2 launches: client tokens, fleets with errors per override, templates, capacity, quotas."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from scaler.sandbox.aws.ec2_launch import architecture_of, vcpus_of
from scaler.sandbox.aws.settings import BadSetting
from tests.embedded_aws import AMD64, FLEET_TAG, ON_DEMAND, SUBNET_A, SUBNET_B, Aws, embedded_aws, refused

RUN = {"LaunchTemplate": {"LaunchTemplateName": "runner-amd64", "Version": "3"}, "MinCount": 1, "MaxCount": 1}


@pytest.fixture
def aws() -> Iterator[Aws]:
    with embedded_aws() as rig:
        yield rig


def run(aws: Aws, **changes: Any) -> list[str]:
    answer = aws.client("ec2").run_instances(**{**RUN, **changes})
    return [each["InstanceId"] for each in answer["Instances"]]


def end(aws: Aws, *instance_ids: str, after: float = 10) -> None:
    aws.client("ec2").terminate_instances(InstanceIds=list(instance_ids))
    aws.clock.advance(after)


# --- client tokens (EC2 developer guide: "Ensuring idempotency in Amazon EC2 API requests") -----


def test_same_token_and_parameters_launch_once(aws: Aws) -> None:
    first = aws.launch("t1")
    aws.clock.advance(3600)
    again = aws.launch("t1")
    for answer in (first, again):
        answer.pop("ResponseMetadata")
    assert again == first
    assert len(aws.world.instances()) == 1


def test_other_token_launches_again(aws: Aws) -> None:
    assert aws.launched("t1") != aws.launched("t2")


def test_call_without_a_token_gets_one_of_its_own_from_the_sdk(aws: Aws) -> None:
    """botocore fills a random token per call, so only an explicit one survives a restart."""
    assert aws.launched() != aws.launched()
    assert all(each.client_token for each in aws.world.instances())


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"TargetCapacitySpecification": ON_DEMAND}, id="market"),
        pytest.param({"TagSpecifications": []}, id="tags"),
        pytest.param({"SpotOptions": {"AllocationStrategy": "lowest-price"}}, id="strategy"),
    ],
)
def test_same_token_with_other_parameters_is_a_mismatch(aws: Aws, change: dict[str, Any]) -> None:
    aws.launch("t1")
    with refused("IdempotentParameterMismatch"):
        aws.launch("t1", **change)
    assert len(aws.world.instances()) == 1


def test_fleet_that_launched_nothing_has_spent_its_token(aws: Aws) -> None:
    """runs-on/runs-on#251: the same token answers the same errors when there is capacity again."""
    rule = aws.world.refuse_capacity()
    first = aws.launch("t1")
    assert first["Instances"] == []
    assert {each["ErrorCode"] for each in first["Errors"]} == {"InsufficientInstanceCapacity"}
    aws.world.ec2.capacity.remove(rule)
    assert aws.launch("t1")["Instances"] == []
    assert aws.launched("t2")


@pytest.mark.parametrize("replay", ["error", "dead-id"])
def test_replayed_fleet_whose_instance_is_terminated_answers_one_of_two_ways(replay: str) -> None:
    """Undocumented for CreateFleet, so both run: RunInstances' error (boto/boto3#4406), or the old answer."""
    with embedded_aws({"tokens": {"replay": replay}}) as aws:
        instance_id = aws.launched("t1")
        end(aws, instance_id)
        if replay == "error":
            with refused("IdempotentInstanceTerminated"):
                aws.launch("t1")
        else:
            assert aws.launched("t1") == instance_id
        assert len(aws.world.instances()) == 1


def test_replayed_fleet_whose_instance_is_shutting_down_answers_its_id(aws: Aws) -> None:
    """So an id in an answer is no proof of life."""
    instance_id = aws.launched("t1")
    end(aws, instance_id, after=1)
    assert aws.launched("t1") == instance_id
    assert aws.state(instance_id) == "shutting-down"


def test_token_is_remembered_for_a_day_after_the_instance_ended(aws: Aws) -> None:
    """The token is valid for at least 24 hours after termination (EC2 API reference, RunInstances)."""
    instance_id = aws.launched("t1")
    aws.clock.advance(timedelta(days=3).total_seconds())
    assert aws.launched("t1") == instance_id
    end(aws, instance_id)
    aws.clock.advance(timedelta(hours=23).total_seconds())
    with refused("IdempotentInstanceTerminated"):
        aws.launch("t1")
    aws.clock.advance(timedelta(hours=2).total_seconds())
    assert aws.launched("t1") != instance_id


def test_memory_of_tokens_can_be_short_or_lost() -> None:
    with embedded_aws({"tokens": {"memory": "10m"}}) as aws:
        first = aws.launched("t1")
        end(aws, first)
        aws.clock.advance(601)
        second = aws.launched("t1")
        assert second != first
        aws.world.forget_tokens()
        assert aws.launched("t1") != second


def test_token_is_at_most_64_characters(aws: Aws) -> None:
    aws.launch("t" * 64)
    with refused("InvalidParameterValue"):
        aws.launch("t" * 65)


def test_run_instances_with_a_dead_token_is_an_error(aws: Aws) -> None:
    """Since January 2025 (boto/boto3#4406)."""
    (instance_id,) = run(aws, ClientToken="t1")
    assert run(aws, ClientToken="t1") == [instance_id]
    end(aws, instance_id)
    with refused("IdempotentInstanceTerminated", "associated with a terminated instance"):
        run(aws, ClientToken="t1")


def test_run_instances_token_is_zonal_where_a_subnet_is_given(aws: Aws) -> None:
    """The same token with a subnet of another zone launches again; without a place it is regional."""
    (first,) = run(aws, ClientToken="t1", SubnetId=SUBNET_A)
    (second,) = run(aws, ClientToken="t1", SubnetId=SUBNET_B)
    assert first != second
    assert run(aws, ClientToken="t1", SubnetId=SUBNET_A) == [first]
    (regional,) = run(aws, ClientToken="t2")
    assert run(aws, ClientToken="t2") == [regional]
    with refused("IdempotentParameterMismatch"):
        run(aws, ClientToken="t2", InstanceType="m6i.large")


def test_run_instances_that_failed_has_not_spent_its_token(aws: Aws) -> None:
    aws.world.refuse_capacity(count=1)
    with refused("InsufficientInstanceCapacity") as caught:
        run(aws, ClientToken="t1")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert run(aws, ClientToken="t1")


# --- fleets --------------------------------------------------------------------------------------


def test_fleet_falls_through_to_the_next_override_and_says_why(aws: Aws) -> None:
    aws.world.refuse_capacity(type="m7i.*", market="spot")
    answer = aws.launch()
    (error,) = answer["Errors"]
    assert (error["ErrorCode"], error["Lifecycle"]) == ("InsufficientInstanceCapacity", "spot")
    assert error["LaunchTemplateAndOverrides"]["Overrides"]["InstanceType"] == "m7i.large"
    (launched,) = answer["Instances"]
    assert (launched["InstanceType"], launched["Lifecycle"]) == ("m6i.large", "spot")
    (instance,) = aws.world.instances()
    assert (instance.type, instance.subnet.id) == ("m6i.large", SUBNET_B)


def test_partial_success_is_a_success(aws: Aws) -> None:
    aws.world.configure({"quotas": {"spot": 5}})  # vCPUs: two instances, with one left over
    capacity = {"TotalTargetCapacity": 3, "DefaultTargetCapacityType": "spot"}
    answer = aws.launch(TargetCapacitySpecification=capacity)
    assert sum(len(each["InstanceIds"]) for each in answer["Instances"]) == 2
    assert {each["ErrorCode"] for each in answer["Errors"]} == {"MaxSpotInstanceCountExceeded"}


def test_fleet_below_its_minimum_launches_nothing(aws: Aws) -> None:
    aws.world.configure({"quotas": {"spot": 4}})
    answer = aws.launch(
        TargetCapacitySpecification={"TotalTargetCapacity": 3, "DefaultTargetCapacityType": "spot"},
        SpotOptions={"MinTargetCapacity": 3},
    )
    assert answer["Instances"] == []
    assert aws.world.instances() == []


def test_fleet_asks_for_both_markets_at_once(aws: Aws) -> None:
    aws.launch(
        TargetCapacitySpecification={
            "TotalTargetCapacity": 3,
            "OnDemandTargetCapacity": 1,
            "DefaultTargetCapacityType": "spot",
        }
    )
    assert sorted(each.market for each in aws.world.instances()) == ["on-demand", "spot", "spot"]


@pytest.mark.parametrize(("strategy", "expected"), [("prioritized", "m7i.large"), ("lowest-price", "m6i.large")])
def test_on_demand_strategy_chooses_the_first_try(aws: Aws, strategy: str, expected: str) -> None:
    aws.launch(TargetCapacitySpecification=ON_DEMAND, OnDemandOptions={"AllocationStrategy": strategy})
    assert aws.world.instances()[0].type == expected


def test_capacity_comes_and_goes_with_the_worlds_time() -> None:
    rules = [{"market": "spot", "zone": "us-east-1?", "from": "1m", "until": "5m", "code": "UnfulfillableCapacity"}]
    with embedded_aws({"capacity": rules}) as aws:
        assert aws.launched()
        aws.clock.advance(120)
        assert {each["ErrorCode"] for each in aws.launch()["Errors"]} == {"UnfulfillableCapacity"}
        assert aws.launch(TargetCapacitySpecification=ON_DEMAND)["Instances"] != []
        aws.clock.advance(180)
        assert aws.launched()


@pytest.mark.parametrize(
    ("override", "code"),
    [
        pytest.param({"SubnetId": "subnet-00000000000000000"}, "InvalidSubnetID.NotFound", id="unknown subnet"),
        pytest.param(
            {"InstanceType": "m7g.large"}, "InvalidParameterValue", id="another architecture than the image's"
        ),
        pytest.param({"ImageId": "ami-00000000000000000"}, "InvalidAMIID.NotFound", id="unknown image"),
        pytest.param({"AvailabilityZone": "us-east-1z"}, "InvalidParameterValue", id="unknown zone"),
    ],
)
def test_override_that_cannot_be_is_an_error_of_its_own(aws: Aws, override: dict[str, str], code: str) -> None:
    template = {"LaunchTemplateName": "runner-amd64", "Version": "$Latest"}
    good = {"InstanceType": "m6i.large", "SubnetId": SUBNET_B}
    answer = aws.launch(
        LaunchTemplateConfigs=[{"LaunchTemplateSpecification": template, "Overrides": [override, good]}]
    )
    assert [each["ErrorCode"] for each in answer["Errors"]] == [code]
    assert len(answer["Instances"]) == 1


@pytest.mark.parametrize(
    ("template", "code"),
    [
        ({"LaunchTemplateName": "nope", "Version": "1"}, "InvalidLaunchTemplateName.NotFoundException"),
        ({"LaunchTemplateId": "lt-00000000000000000", "Version": "1"}, "InvalidLaunchTemplateId.NotFound"),
        ({"LaunchTemplateId": "lt-xyz", "Version": "1"}, "InvalidLaunchTemplateId.Malformed"),
        ({"LaunchTemplateName": "runner-amd64", "Version": "9"}, "InvalidLaunchTemplateId.VersionNotFound"),
    ],
)
def test_launch_template_that_is_not_there_fails_the_call(aws: Aws, template: dict[str, str], code: str) -> None:
    with refused(code):
        aws.launch("t1", LaunchTemplateConfigs=[{"LaunchTemplateSpecification": template}])
    assert aws.launched("t1"), "a call that failed has not spent its token"


def test_fleet_is_read_back_by_its_id_alone(aws: Aws) -> None:
    """An instant fleet does not appear in a list (EC2 API reference, DescribeFleets)."""
    tags = [{"ResourceType": "fleet", "Tags": [{"Key": "a", "Value": "b"}]}]
    answer = aws.launch("t1", TagSpecifications=tags)
    ec2 = aws.client("ec2")
    assert ec2.describe_fleets()["Fleets"] == []
    (fleet,) = ec2.describe_fleets(FleetIds=[answer["FleetId"]])["Fleets"]
    assert [each["InstanceIds"] for each in fleet["Instances"]] == [each["InstanceIds"] for each in answer["Instances"]]
    assert (fleet["ClientToken"], fleet["Type"], fleet["FulfilledCapacity"]) == ("t1", "instant", 1.0)
    assert fleet["Tags"] == [{"Key": "a", "Value": "b"}]
    with refused("InvalidFleetId.NotFound"):
        ec2.describe_fleets(FleetIds=["fleet-00000000-0000-0000-0000-000000000000"])
    with refused("UnsupportedOperation", "instant"):
        ec2.describe_fleet_instances(FleetId=answer["FleetId"])


def test_fleet_of_another_type_is_refused(aws: Aws) -> None:
    with refused("UnsupportedOperation"):
        aws.launch(Type="maintain")


@pytest.mark.parametrize(
    ("call", "code"),
    [
        pytest.param({}, "MissingParameter", id="neither id nor name"),
        pytest.param(
            {"LaunchTemplateId": "lt-0a1b2c3d4e5f6a640", "LaunchTemplateName": "runner-amd64"},
            "InvalidParameterCombination",
            id="both",
        ),
        pytest.param({"LaunchTemplateName": "runner-amd64", "DefaultVersion": "new"}, "InvalidLaunchTemplateId.VersionNotFound", id="no version"),
    ],
)  # fmt: skip
def test_template_is_named_one_way(aws: Aws, call: dict[str, str], code: str) -> None:
    with refused(code):
        aws.client("ec2").modify_launch_template(**{"DefaultVersion": "1", **call})


def test_new_version_may_start_from_another(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    ec2.create_launch_template_version(
        LaunchTemplateName="runner-amd64", SourceVersion="2", LaunchTemplateData={"InstanceType": "m6i.large"}
    )
    (newest,) = ec2.describe_launch_template_versions(Versions=["$Latest"], LaunchTemplateName="runner-amd64")[
        "LaunchTemplateVersions"
    ]
    data = newest["LaunchTemplateData"]
    assert (newest["VersionNumber"], newest["DefaultVersion"]) == (4, False)
    assert (data["InstanceType"], data["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"]) == ("m6i.large", 25)


def test_fleet_wants_no_more_than_its_total(aws: Aws) -> None:
    with refused("InvalidTargetCapacitySpecification"):
        aws.launch(TargetCapacitySpecification={"TotalTargetCapacity": 1, "OnDemandTargetCapacity": 2})


def test_strategy_without_an_order_tries_as_listed(aws: Aws) -> None:
    aws.launch(SpotOptions={"AllocationStrategy": "capacity-optimized"})
    assert aws.world.instances()[0].type == "m7i.large"


def test_override_by_zone_finds_a_subnet_there(aws: Aws) -> None:
    template = {"LaunchTemplateName": "runner-amd64", "Version": "1"}
    override = {"AvailabilityZone": "us-east-1b"}
    aws.launch(LaunchTemplateConfigs=[{"LaunchTemplateSpecification": template, "Overrides": [override]}])
    assert aws.world.instances()[0].subnet.id == SUBNET_B


# --- what an instance is made of -----------------------------------------------------------------


@pytest.mark.parametrize("how", ["fleet", "run"])
def test_launch_template_is_merged_whole(aws: Aws, how: str) -> None:
    instance_id = aws.launched() if how == "fleet" else run(aws)[0]
    found = aws.client("ec2").describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    assert found["ImageId"] == AMD64
    assert found["MetadataOptions"]["HttpTokens"] == "required"
    assert found["MetadataOptions"]["InstanceMetadataTags"] == "enabled"
    assert found["IamInstanceProfile"]["Arn"].endswith(":instance-profile/runner-scaler-instance")
    assert [each["GroupName"] for each in found["SecurityGroups"]] == ["runner-scaler"]
    tags = {each["Key"]: each["Value"] for each in found["Tags"]}
    assert tags["Name"] == "runner"
    assert tags["aws:ec2launchtemplate:version"] == "3"
    held = aws.world.instance(instance_id)
    assert held is not None
    assert held.shutdown_behavior == "terminate"
    assert held.options["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] == 30


def test_request_overrides_the_template_and_joins_its_tags(aws: Aws) -> None:
    (instance_id,) = run(
        aws,
        InstanceType="m6i.large",
        InstanceInitiatedShutdownBehavior="stop",
        InstanceMarketOptions={"MarketType": "spot"},
        TagSpecifications=[
            {"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "mine"}, {"Key": FLEET_TAG, "Value": "x"}]}
        ],
    )
    held = aws.world.instance(instance_id)
    assert held is not None
    assert (held.type, held.shutdown_behavior, held.market) == ("m6i.large", "stop", "spot")
    assert (held.tags["Name"], held.tags[FLEET_TAG]) == ("mine", "x")
    found = aws.client("ec2").describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    assert found["InstanceLifecycle"] == "spot"
    assert found["SpotInstanceRequestId"].startswith("sir-")


@pytest.mark.parametrize(("version", "size"), [("$Latest", 30), ("$Default", 20), ("2", 25)])
def test_version_of_a_template_is_a_number_or_a_name(aws: Aws, version: str, size: int) -> None:
    aws.client("ec2").modify_launch_template(LaunchTemplateName="runner-amd64", DefaultVersion="1")
    (instance_id,) = run(aws, LaunchTemplate={"LaunchTemplateName": "runner-amd64", "Version": version})
    held = aws.world.instance(instance_id)
    assert held is not None
    assert held.options["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] == size


def test_subnet_and_groups_of_a_network_interface_count(aws: Aws) -> None:
    group = next(iter(aws.world.ec2.security_groups))
    interface = {"DeviceIndex": 0, "SubnetId": SUBNET_B, "Groups": [group]}
    (instance_id,) = run(aws, NetworkInterfaces=[interface])
    held = aws.world.instance(instance_id)
    assert held is not None
    assert (held.subnet.id, held.options["SecurityGroupIds"]) == (SUBNET_B, [group])


def test_image_may_be_named_by_a_parameter(aws: Aws) -> None:
    aws.client("ssm").put_parameter(Name="/images/runner", Value=AMD64, Type="String")
    (instance_id,) = run(aws, ImageId="resolve:ssm:/images/runner")
    held = aws.world.instance(instance_id)
    assert held is not None
    assert held.image_id == AMD64
    with refused("InvalidParameterValue"):
        run(aws, ImageId="resolve:ssm:/images/none")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param({"SubnetId": "subnet-00000000000000000"}, "InvalidSubnetID.NotFound", id="subnet"),
        pytest.param({"SecurityGroupIds": ["sg-00000000000000000"]}, "InvalidGroup.NotFound", id="security group"),
        pytest.param({"ImageId": "ami-00000000000000000"}, "InvalidAMIID.NotFound", id="image"),
        pytest.param({"ImageId": "ami-x"}, "InvalidAMIID.Malformed", id="image id"),
        pytest.param({"IamInstanceProfile": {"Name": "none"}}, "InvalidParameterValue", id="profile"),
        pytest.param({"MinCount": 2}, "InvalidParameterValue", id="MaxCount below MinCount"),
        pytest.param({"UserData": "x" * 20_000}, "InvalidParameterValue", id="user data over 16 KB"),
        pytest.param({"DryRun": True}, "DryRunOperation", id="dry run"),
    ],
)
def test_launch_that_cannot_be_is_refused(aws: Aws, change: dict[str, Any], code: str) -> None:
    with refused(code):
        run(aws, **change)
    assert aws.world.instances() == []


def tags(count: int, key: str = "k") -> list[dict[str, Any]]:
    return [{"ResourceType": "instance", "Tags": [{"Key": f"{key}{number}", "Value": "v"} for number in range(count)]}]


def test_at_most_50_tags_apart_from_awss_own(aws: Aws) -> None:
    assert aws.launched(TagSpecifications=tags(49))  # and the template's Name
    answer = aws.launch(TagSpecifications=tags(50))
    assert {each["ErrorCode"] for each in answer["Errors"]} == {"TagLimitExceeded"}
    with refused("TagLimitExceeded"):
        aws.launch(TagSpecifications=tags(51))


@pytest.mark.parametrize("key", ["aws:x", "AWS:x"])
def test_tag_keys_of_awss_own_are_refused(aws: Aws, key: str) -> None:
    with refused("InvalidParameterValue", "aws:"):
        aws.launch(TagSpecifications=tags(1, key))


def test_tag_keys_that_the_metadata_service_cannot_serve_are_refused(aws: Aws) -> None:
    """With InstanceMetadataTags=enabled a key may hold letters, digits and -_+=,.@: alone (EC2 user guide)."""
    answer = aws.launch(TagSpecifications=tags(1, "a/b"))
    assert {each["ErrorCode"] for each in answer["Errors"]} == {"InvalidParameterValue"}


def test_user_data_is_kept_and_never_recorded(aws: Aws) -> None:
    (instance_id,) = run(aws, UserData="#!/bin/sh\necho hush")
    held = aws.world.instance(instance_id)
    assert held is not None
    assert base64.b64decode(held.options["UserData"]) == b"#!/bin/sh\necho hush"
    assert aws.server.calls[-1].params["UserData"] == "***"


# --- counts and quotas ---------------------------------------------------------------------------


def test_run_instances_launches_up_to_max_count(aws: Aws) -> None:
    assert len(run(aws, MinCount=1, MaxCount=3)) == 3


def test_run_instances_launches_what_there_is_capacity_for(aws: Aws) -> None:
    aws.world.configure({"quotas": {"on-demand": 5}})  # vCPUs: two of m7i.large, with one left over
    assert len(run(aws, MinCount=1, MaxCount=3)) == 2
    with refused("VcpuLimitExceeded", "current vCPU limit of 5"):
        run(aws)


def test_run_instances_launches_nothing_below_min_count(aws: Aws) -> None:
    aws.world.configure({"quotas": {"on-demand": 4}})
    with refused("VcpuLimitExceeded"):
        run(aws, MinCount=3, MaxCount=3)
    assert aws.world.instances() == []


def test_ended_instance_gives_its_quota_back(aws: Aws) -> None:
    aws.world.configure({"quotas": {"spot": 2}})
    instance_id = aws.launched()
    assert aws.launch()["Instances"] == []
    end(aws, instance_id)
    assert aws.launched()


@pytest.mark.parametrize(
    ("kind", "architecture", "vcpus"),
    [
        ("m7i.large", "x86_64", 2),
        ("m7g.large", "arm64", 2),
        ("c6gd.4xlarge", "arm64", 16),
        ("t4g.nano", "arm64", 2),
        ("a1.xlarge", "arm64", 4),
        ("g5.xlarge", "x86_64", 4),
        ("g5g.xlarge", "arm64", 4),
        ("im4gn.large", "arm64", 2),
        ("m7i-flex.large", "x86_64", 2),
        ("m8g.metal-24xl", "arm64", 96),
    ],
)
def test_type_says_its_architecture_and_size(kind: str, architecture: str, vcpus: int) -> None:
    assert (architecture_of(kind), vcpus_of(kind)) == (architecture, vcpus)


def test_capacity_rule_with_an_unknown_key_is_an_error(aws: Aws) -> None:
    with pytest.raises(BadSetting, match=r"aws\.capacity\[0\]\.colour: unknown key"):
        aws.world.configure({"capacity": [{"colour": "red"}]})
