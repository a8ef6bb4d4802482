"""The life of the embedded EC2's instances, and what readers see of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from scaler.sandbox.aws.ec2_world import Instance
from tests.embedded_aws import FLEET_TAG, ON_DEMAND, SUBNET_A, Aws, embedded_aws, refused

UNKNOWN = "i-00000000000000000"


@pytest.fixture
def aws() -> Iterator[Aws]:
    with embedded_aws() as rig:
        yield rig


class Recorder:
    """Machines that note what they are told."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []

    def boot(self, instance: Instance) -> None:
        assert instance.state == "running"
        self.heard.append(("boot", instance.id))

    def kill(self, instance_id: str) -> None:
        self.heard.append(("kill", instance_id))


@pytest.fixture
def machines(aws: Aws) -> Recorder:
    recorder = Recorder()
    aws.world.use(recorder)
    return recorder


# --- states in time ------------------------------------------------------------------------------


def test_states_follow_each_other_in_the_worlds_time(aws: Aws) -> None:
    """pending, running, shutting-down, terminated: asynchronous, as in the EC2 user guide's life cycle."""
    instance_id = aws.launched()
    seen = [aws.state(instance_id)]
    aws.clock.advance(5)
    seen.append(aws.state(instance_id))
    (change,) = aws.client("ec2").terminate_instances(InstanceIds=[instance_id])["TerminatingInstances"]
    assert (change["PreviousState"]["Name"], change["CurrentState"]["Name"]) == ("running", "shutting-down")
    seen.append(aws.state(instance_id))
    aws.clock.advance(5)
    seen.append(aws.state(instance_id))
    assert seen == ["pending", "running", "shutting-down", "terminated"]
    assert [each.what for each in aws.journal.of("instance.launched", "instance.running", "instance.terminated")] == [
        "instance.launched", "instance.running", "instance.terminated",
    ]  # fmt: skip


def test_delays_are_the_scenarios() -> None:
    with embedded_aws({"boot": {"pending": "20s", "shutdown": 40}}) as aws:
        instance_id = aws.launched()
        aws.clock.advance(19)
        assert aws.state(instance_id) == "pending"
        aws.clock.advance(1)
        assert aws.state(instance_id) == "running"


def test_machine_boots_when_its_instance_turns_running(aws: Aws, machines: Recorder) -> None:
    instance_id = aws.launched()
    assert machines.heard == []
    aws.clock.advance(5)
    assert machines.heard == [("boot", instance_id)]
    aws.client("ec2").terminate_instances(InstanceIds=[instance_id])
    assert machines.heard[1:] == [("kill", instance_id)]


def test_instance_that_is_terminated_while_pending_never_boots(aws: Aws, machines: Recorder) -> None:
    instance_id = aws.launched()
    aws.client("ec2").terminate_instances(InstanceIds=[instance_id])
    aws.clock.advance(60)
    assert machines.heard == [("kill", instance_id)]
    assert aws.world.instance_seconds() == {}


@pytest.mark.parametrize(
    ("market", "behavior", "ends"),
    [
        ("on-demand", "terminate", "terminated"),
        ("on-demand", "stop", "stopped"),
        pytest.param("spot", "stop", "terminated", id="a one-time spot request has nothing to start again"),
    ],
)
def test_power_off_ends_or_stops_by_the_shutdown_behaviour(aws: Aws, market: str, behavior: str, ends: str) -> None:
    (instance_id,) = (
        each["InstanceId"]
        for each in aws.client("ec2").run_instances(
            LaunchTemplate={"LaunchTemplateName": "runner-amd64"}, MinCount=1, MaxCount=1,
            InstanceInitiatedShutdownBehavior=behavior,
            **({"InstanceMarketOptions": {"MarketType": "spot"}} if market == "spot" else {}),
        )["Instances"]
    )  # fmt: skip
    aws.clock.advance(5)
    aws.world.powered_off(instance_id)
    aws.world.powered_off(instance_id)
    aws.clock.advance(5)
    assert aws.state(instance_id) == ends
    found = aws.client("ec2").describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    assert found["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"


def test_journal_says_by_whom_an_instance_ended(aws: Aws) -> None:
    by_api, by_itself, by_spot = (aws.launched(token) for token in "abc")
    aws.clock.advance(5)
    aws.client("ec2").terminate_instances(InstanceIds=[by_api])
    aws.world.powered_off(by_itself)
    aws.world.interrupt(by_spot)
    aws.clock.advance(200)
    ends = {each.facts["id"]: each.facts["by"] for each in aws.journal.of("instance.terminated")}
    assert ends == {by_api: "api", by_itself: "itself", by_spot: "spot"}


def test_spot_interruption_gives_two_minutes_notice(aws: Aws, machines: Recorder) -> None:
    """EC2 user guide, "Spot Instance interruption notices"."""
    instance_id = aws.launched()
    aws.clock.advance(5)
    aws.world.interrupt(instance_id)
    held = aws.world.instance(instance_id)
    assert held is not None
    assert held.interrupted_at is not None
    assert (held.interrupted_at - aws.clock.now()).total_seconds() == 120
    aws.clock.advance(119)
    assert aws.state(instance_id) == "running"
    aws.clock.advance(10)
    found = aws.client("ec2").describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    assert found["StateReason"]["Code"] == "Server.SpotInstanceTermination"
    assert machines.heard[-1] == ("kill", instance_id)


def test_on_demand_instance_is_not_interrupted(aws: Aws) -> None:
    instance_id = aws.launched(TargetCapacitySpecification=ON_DEMAND)
    with pytest.raises(ValueError, match="no spot instance"):
        aws.world.interrupt(instance_id)


def test_stopped_instance_starts_again(aws: Aws, machines: Recorder) -> None:
    instance_id = aws.launched(TargetCapacitySpecification=ON_DEMAND)
    aws.clock.advance(5)
    ec2 = aws.client("ec2")
    ec2.stop_instances(InstanceIds=[instance_id])
    with refused("IncorrectInstanceState"):
        ec2.start_instances(InstanceIds=[instance_id])
    aws.clock.advance(5)
    assert aws.state(instance_id) == "stopped"
    ec2.start_instances(InstanceIds=[instance_id])
    assert aws.state(instance_id) == "pending"
    aws.clock.advance(5)
    assert [what for what, _ in machines.heard] == ["boot", "kill", "boot"]


@pytest.mark.parametrize("state", ["pending", "terminated"])
def test_instance_that_does_not_run_cannot_be_stopped_or_started(aws: Aws, state: str) -> None:
    instance_id = aws.launched(TargetCapacitySpecification=ON_DEMAND)
    ec2 = aws.client("ec2")
    if state == "terminated":
        ec2.terminate_instances(InstanceIds=[instance_id])
        aws.clock.advance(5)
        with refused("IncorrectInstanceState"):
            ec2.start_instances(InstanceIds=[instance_id])
    with refused("IncorrectInstanceState"):
        ec2.stop_instances(InstanceIds=[instance_id])
    assert aws.state(instance_id) == state


def test_spot_instance_of_a_one_time_request_cannot_be_stopped(aws: Aws) -> None:
    with refused("UnsupportedOperation"):
        aws.client("ec2").stop_instances(InstanceIds=[aws.launched()])


def test_billed_time_is_the_running_time_and_a_minute_at_least(aws: Aws) -> None:
    """EC2 bills Linux by the second, with a minimum of 60 seconds; pending is free."""
    short, long = aws.launched("a"), aws.launched("b")
    aws.clock.advance(5 + 30)
    aws.world.powered_off(short)
    aws.clock.advance(270)
    assert aws.world.instance_seconds() == {short: 60.0, long: 300.0}


# --- terminating -----------------------------------------------------------------------------------


def test_termination_is_idempotent(aws: Aws) -> None:
    instance_id = aws.launched()
    ec2 = aws.client("ec2")
    for _ in range(2):
        ec2.terminate_instances(InstanceIds=[instance_id])
    aws.clock.advance(10)
    (change,) = ec2.terminate_instances(InstanceIds=[instance_id])["TerminatingInstances"]
    assert change["CurrentState"]["Name"] == change["PreviousState"]["Name"] == "terminated"
    assert len(aws.journal.of("instance.terminated")) == 1


@pytest.mark.parametrize(
    ("bad", "code"), [(UNKNOWN, "InvalidInstanceID.NotFound"), ("i-xyz", "InvalidInstanceID.Malformed")]
)
@pytest.mark.parametrize("call", ["terminate_instances", "describe_instances", "stop_instances"])
def test_one_bad_id_fails_the_whole_call(aws: Aws, bad: str, code: str, call: str) -> None:
    instance_id = aws.launched(TargetCapacitySpecification=ON_DEMAND)
    with refused(code, bad):
        getattr(aws.client("ec2"), call)(InstanceIds=[instance_id, bad])
    assert aws.state(instance_id) == "pending"


def test_protected_instance_is_not_terminated(aws: Aws) -> None:
    template = {"LaunchTemplateName": "runner-amd64"}
    ec2 = aws.client("ec2")
    answer = ec2.run_instances(LaunchTemplate=template, MinCount=1, MaxCount=1, DisableApiTermination=True)
    other = aws.launched()
    with refused("OperationNotPermitted", "disableApiTermination"):
        ec2.terminate_instances(InstanceIds=[answer["Instances"][0]["InstanceId"], other])
    assert len(aws.world.alive()) == 2


def test_dry_run_of_a_termination_changes_nothing(aws: Aws) -> None:
    instance_id = aws.launched()
    with refused("DryRunOperation"):
        aws.client("ec2").terminate_instances(InstanceIds=[instance_id], DryRun=True)
    assert aws.state(instance_id) == "pending"


# --- eventual consistency ------------------------------------------------------------------------


def test_new_instance_is_invisible_at_first() -> None:
    """EC2 API, "Eventual consistency": InvalidInstanceID.NotFound right after a launch is normal."""
    with embedded_aws({"consistency": {"instances": "10s"}}) as aws:
        instance_id = aws.launched()
        aws.clock.advance(9)
        assert aws.listed() == []
        ec2 = aws.client("ec2")
        for call in (ec2.describe_instances, ec2.terminate_instances):
            with refused("InvalidInstanceID.NotFound"):
                call(InstanceIds=[instance_id])
        with refused("InvalidInstanceID.NotFound"):
            ec2.create_tags(Resources=[instance_id], Tags=[{"Key": "a", "Value": "b"}])
        aws.clock.advance(1)
        assert aws.listed() == [instance_id]


def test_tags_may_be_stale_but_those_of_the_launch_are_there_at_once() -> None:
    with embedded_aws({"consistency": {"tags": "10s"}}) as aws:
        instance_id = aws.launched()
        assert aws.listed(**{"tag:" + FLEET_TAG: "main"}) == [instance_id]
        aws.clock.advance(60)
        aws.client("ec2").create_tags(Resources=[instance_id], Tags=[{"Key": "idle", "Value": "1"}])
        assert aws.listed(tag_key="idle") == []
        aws.clock.advance(10)
        assert aws.listed(tag_key="idle") == [instance_id]


def test_states_may_be_stale() -> None:
    with embedded_aws({"consistency": {"states": "10s"}}) as aws:
        instance_id = aws.launched()
        aws.clock.advance(60)
        aws.client("ec2").terminate_instances(InstanceIds=[instance_id])
        assert aws.state(instance_id) == "running"
        aws.clock.advance(10)
        assert aws.state(instance_id) == "shutting-down"


def test_dead_instance_loses_its_tags_within_minutes_and_vanishes_within_the_hour(aws: Aws) -> None:
    instance_id = aws.launched()
    aws.client("ec2").terminate_instances(InstanceIds=[instance_id])
    aws.clock.advance(60)
    tag = {"tag:" + FLEET_TAG: "main"}
    assert aws.listed(**tag) == [instance_id]
    aws.clock.advance(300)
    assert aws.listed(**tag) == []
    assert aws.listed(instance_state_name="terminated") == [instance_id]
    aws.clock.advance(3600)
    assert aws.listed() == []
    with refused("InvalidInstanceID.NotFound"):
        aws.state(instance_id)
    assert aws.world.instance(instance_id) is not None, "the truth forgets nothing"


# --- listing ---------------------------------------------------------------------------------------


def test_filters_choose(aws: Aws) -> None:
    spot = aws.launched("t-spot")
    other = aws.launched("t-other", TargetCapacitySpecification=ON_DEMAND, TagSpecifications=[])
    aws.clock.advance(5)
    for filters, expected in (
        ({"tag:" + FLEET_TAG: "main"}, [spot]),
        ({"tag:" + FLEET_TAG: "m?i*"}, [spot]),
        ({"tag:" + FLEET_TAG: "Main"}, []),
        ({"tag_key": FLEET_TAG}, [spot]),
        ({"instance_state_name": "running"}, [spot, other]),
        ({"instance_state_name": "pending"}, []),
        ({"client_token": "t-other"}, [other]),
        ({"instance_lifecycle": "spot"}, [spot]),
        ({"instance_id": other}, [other]),
        ({"subnet_id": SUBNET_A, "instance_type": "m7i.*"}, [spot, other]),
        ({"launch_time": "2026-11-23T09:*"}, [spot, other]),
        ({"launch_time": "2026-11-24*"}, []),
    ):
        assert sorted(aws.listed(**filters)) == sorted(expected), filters


def test_wildcard_after_a_backslash_is_itself(aws: Aws) -> None:
    literal = aws.launched("a", TagSpecifications=[tagged("x", "a*b")])
    aws.launched("b", TagSpecifications=[tagged("x", "aab")])
    assert aws.listed(**{"tag:x": r"a\*b"}) == [literal]
    assert len(aws.listed(**{"tag:x": "a*b"})) == 2


def tagged(key: str, value: str) -> dict[str, Any]:
    return {"ResourceType": "instance", "Tags": [{"Key": key, "Value": value}]}


def test_unknown_filter_is_an_error(aws: Aws) -> None:
    aws.launch()
    with refused("InvalidParameterValue", "The filter 'colour' is invalid"):
        aws.listed(colour="red")


@pytest.mark.parametrize(
    ("values", "code"),
    [([], "InvalidParameterValue"), ([f"v{number}" for number in range(201)], "FilterLimitExceeded")],
)
def test_filter_has_between_1_and_200_values(aws: Aws, values: list[str], code: str) -> None:
    aws.launch()
    with refused(code):
        aws.client("ec2").describe_instances(Filters=[{"Name": "tag-value", "Values": values}])


def test_tag_value_alone_may_choose(aws: Aws) -> None:
    instance_id = aws.launched()
    assert aws.listed(tag_value="main") == [instance_id]
    assert aws.listed(tag_value="other") == []


def test_pages_hold_every_instance_once(aws: Aws) -> None:
    expected = [aws.launched(f"t{number}") for number in range(12)]
    ec2 = aws.client("ec2")
    pages = list(ec2.get_paginator("describe_instances").paginate(PaginationConfig={"PageSize": 5}))
    found = [each["InstanceId"] for page in pages for group in page["Reservations"] for each in group["Instances"]]
    assert len(pages) == 3
    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"MaxResults": 4}, "InvalidParameterValue"),
        ({"MaxResults": 1001}, "InvalidParameterValue"),
        ({"NextToken": "gibberish"}, "InvalidNextToken"),
    ],
)
def test_pages_have_bounds(aws: Aws, change: dict[str, Any], code: str) -> None:
    with refused(code):
        aws.client("ec2").describe_instances(**change)


def test_ids_are_not_paged(aws: Aws) -> None:
    with refused("InvalidParameterCombination"):
        aws.client("ec2").describe_instances(InstanceIds=[aws.launched()], MaxResults=5)


def test_launch_time_is_the_worlds(aws: Aws) -> None:
    aws.clock.advance(90)
    instance_id = aws.launched()
    found = aws.client("ec2").describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    assert found["LaunchTime"].isoformat() == "2026-11-23T09:01:30+00:00"


# --- tags, console ---------------------------------------------------------------------------------


def test_tags_are_written_over_and_deleted(aws: Aws) -> None:
    instance_id = aws.launched()
    ec2 = aws.client("ec2")
    ec2.create_tags(Resources=[instance_id], Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    ec2.create_tags(Resources=[instance_id], Tags=[{"Key": "a", "Value": "3"}])
    ec2.delete_tags(Resources=[instance_id], Tags=[{"Key": "b"}, {"Key": "a", "Value": "other"}])
    held = aws.world.instance(instance_id)
    assert held is not None
    assert held.tags["a"] == "3", "a tag goes only if its value fits"
    assert "b" not in held.tags
    assert held.tags[FLEET_TAG] == "main"
    rows = ec2.describe_tags(
        Filters=[{"Name": "resource-id", "Values": [instance_id]}, {"Name": "key", "Values": ["a"]}]
    )
    assert [(each["Key"], each["Value"]) for each in rows["Tags"]] == [("a", "3")]
    changes = aws.journal.of("tags.changed")
    assert changes[-1].facts["tags"]["a"] == "3"


def test_tags_are_all_or_nothing_and_bounded(aws: Aws) -> None:
    instance_id = aws.launched()
    ec2 = aws.client("ec2")
    many = [{"Key": f"k{number}", "Value": ""} for number in range(48)]
    with refused("TagLimitExceeded"):
        ec2.create_tags(Resources=[instance_id], Tags=many)
    with refused("InvalidInstanceID.NotFound"):
        ec2.create_tags(Resources=[instance_id, UNKNOWN], Tags=many[:1])
    with refused("InvalidParameterValue", "aws:"):
        ec2.create_tags(Resources=[instance_id], Tags=[{"Key": "aws:x", "Value": ""}])
    held = aws.world.instance(instance_id)
    assert held is not None
    assert "k0" not in held.tags


@pytest.mark.parametrize(("key", "value"), [("k" * 128, "v"), ("k", "v" * 256)])
def test_tags_have_lengths(aws: Aws, key: str, value: str) -> None:
    with refused("InvalidParameterValue", "maximum length"):
        aws.client("ec2").create_tags(Resources=[aws.launched()], Tags=[{"Key": key, "Value": value}])


def test_what_is_no_instance_is_not_tagged(aws: Aws) -> None:
    with refused("InvalidID"):
        aws.client("ec2").create_tags(Resources=["vol-00000000000000000"], Tags=[{"Key": "a", "Value": "b"}])


def test_deleting_tags_without_naming_any_leaves_awss_own(aws: Aws) -> None:
    instance_id = aws.launched()
    aws.client("ec2").delete_tags(Resources=[instance_id])
    held = aws.world.instance(instance_id)
    assert held is not None
    assert held.tags
    assert all(key.startswith("aws:") for key in held.tags)


def test_console_shows_what_the_machine_wrote(aws: Aws) -> None:
    instance_id = aws.launched()
    aws.world.console(instance_id, "boot: é")
    aws.world.console(instance_id, "registered")
    assert aws.client("ec2").get_console_output(InstanceId=instance_id)["Output"] == "boot: é\nregistered"


def test_seed_is_described(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    assert {each["Architecture"] for each in ec2.describe_images()["Images"]} == {"x86_64", "arm64"}
    assert len({each["AvailabilityZone"] for each in ec2.describe_subnets()["Subnets"]}) == 2
    (kind,) = ec2.describe_instance_types(InstanceTypes=["m7g.large"])["InstanceTypes"]
    assert kind["ProcessorInfo"]["SupportedArchitectures"] == ["arm64"]
    with refused("InvalidSubnetID.NotFound"):
        ec2.describe_subnets(SubnetIds=["subnet-00000000000000000"])
    with refused("InvalidAMIID.NotFound"):
        ec2.describe_images(ImageIds=["ami-00000000000000000"])


def test_five_thousand_instances_are_listed_in_pages(aws: Aws) -> None:
    for number in range(5):
        capacity = {"TotalTargetCapacity": 1000, "DefaultTargetCapacityType": "spot"}
        aws.launch(f"t{number}", TargetCapacitySpecification=capacity)
    ec2 = aws.client("ec2")
    filters = [{"Name": "tag:" + FLEET_TAG, "Values": ["main"]}]
    pages = list(ec2.get_paginator("describe_instances").paginate(Filters=filters))
    assert [sum(len(group["Instances"]) for group in page["Reservations"]) for page in pages] == [1000] * 5
