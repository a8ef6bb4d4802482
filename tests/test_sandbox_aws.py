"""The embedded AWS as a whole: what it records, how it fails and throttles when told to, how it is configured."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
import yaml
from botocore.exceptions import ClientError, ConnectionClosedError

from scaler.sandbox.aws.server import Call
from scaler.sandbox.aws.settings import PUBLISHED_THROTTLES, BadSetting
from tests.embedded_aws import SUBNET_A, Aws, embedded_aws, refused

NAME = "/runner-scaler/main/i-0123456789abcdef0"


@pytest.fixture
def aws() -> Iterator[Aws]:
    with embedded_aws() as rig:
        yield rig


def put(aws: Aws, name: str = NAME, **config: Any) -> None:
    aws.client("ssm", **config).put_parameter(Name=name, Value="hush", Type="SecureString")


# --- records ---------------------------------------------------------------------------------------


def test_every_call_is_recorded_with_who_and_what(aws: Aws) -> None:
    heard: list[Call] = []
    aws.server.observers.append(heard.append)
    aws.launch("t1")
    put(aws)
    with refused("ParameterNotFound"):
        aws.client("ssm").get_parameter(Name="/none")
    assert [(each.name, each.resources, each.error) for each in heard] == [
        ("ec2:CreateFleet", ("runner-amd64",), ""),
        ("ssm:PutParameter", (NAME,), ""),
        ("ssm:GetParameter", ("/none",), "ParameterNotFound"),
    ]
    assert heard == aws.server.calls
    assert {each.principal for each in heard} == {"arn:aws:iam::111122223333:user/ambient"}
    assert heard[0].params["ClientToken"] == "t1"
    assert heard[0].params["TagSpecifications"][0]["Tags"][0]["Value"] == "main"
    assert heard[1].params["Value"] == "***"
    assert aws.server.named("ssm:PutParameter") == [heard[1]]


def test_date_is_the_worlds(aws: Aws) -> None:
    aws.clock.advance(90)
    answer = aws.client("sts").get_caller_identity()
    assert answer["ResponseMetadata"]["HTTPHeaders"]["date"] == "Mon, 23 Nov 2026 09:01:30 GMT"


def test_operation_that_the_sandbox_lacks_says_so(aws: Aws) -> None:
    with refused("InvalidAction", "ec2:DescribeVolumes"):
        aws.client("ec2").describe_volumes()
    with refused("UnknownOperationException"):
        aws.client("ssm").list_commands()


def test_service_that_the_sandbox_lacks_is_a_404(aws: Aws) -> None:
    with pytest.raises(ClientError, match="404"):
        aws.client("sqs").list_queues()


def test_caller_is_who_the_session_says(aws: Aws) -> None:
    session = aws.world.iam.session("runner-scaler", "tick", 900)
    answer = aws.client("sts", session).get_caller_identity()
    assert answer["Arn"] == "arn:aws:sts::111122223333:assumed-role/runner-scaler/tick"
    assert answer["Account"] == "111122223333"
    assert answer["UserId"].endswith(":tick")


def test_unmodified_sdk_finds_it_by_the_environment(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3

    for name, value in {**aws.world.env(), "AWS_ENDPOINT_URL": aws.server.url}.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    assert boto3.Session().client("ssm").describe_parameters()["Parameters"] == []


# --- faults ----------------------------------------------------------------------------------------


def test_error_fault_answers_without_effect(aws: Aws) -> None:
    aws.world.fail("ec2:CreateFleet", code="Unavailable", message="later", times=2)
    with refused("Unavailable"):
        aws.launch()
    with refused("Unavailable") as caught:
        aws.launch()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert aws.world.instances() == []
    assert aws.launched()


def test_server_error_is_no_words_of_the_service(aws: Aws) -> None:
    aws.world.fail("ssm:*", kind="http500")
    with pytest.raises(ClientError, match="500"):
        put(aws)
    put(aws)


def test_sdk_retries_a_server_error_under_one_token(aws: Aws) -> None:
    """botocore's standard mode: the retried call bears the same ClientToken, so nothing is launched twice."""
    aws.world.fail("ec2:CreateFleet", kind="drop-after", times=2)
    client = aws.client("ec2", retries={"total_max_attempts": 3, "mode": "standard"})
    answer = aws.launch(client=client)
    assert len(answer["Instances"]) == 1
    assert len(aws.world.instances()) == 1
    assert len({call.params["ClientToken"] for call in aws.server.named("ec2:CreateFleet")}) == 1
    assert len(aws.server.named("ec2:CreateFleet")) == 3


@pytest.mark.parametrize(("kind", "done"), [("drop-before", []), ("drop-after", [NAME])])
def test_lost_connection_leaves_the_effect_or_not(aws: Aws, kind: str, done: list[str]) -> None:
    aws.world.fail("ssm:PutParameter", kind=kind)
    with pytest.raises(ConnectionClosedError):
        put(aws)
    assert aws.world.parameter_names() == done


def test_put_that_is_retried_after_its_effect_meets_itself(aws: Aws) -> None:
    """PutParameter is not idempotent: the SDK's own retry of a put that was done answers that it exists."""
    aws.world.fail("ssm:PutParameter", kind="drop-after")
    with refused("ParameterAlreadyExists"):
        put(aws, retries={"total_max_attempts": 2, "mode": "standard"})


def test_fault_spares_the_first_calls(aws: Aws) -> None:
    aws.world.fail("ssm:PutParameter", skip=1, code="InternalServerError")
    put(aws, "/a")
    with refused("InternalServerError"):
        put(aws, "/b")
    put(aws, "/c")


def test_delayed_call_waits_in_the_worlds_time(aws: Aws) -> None:
    fault = aws.world.fail("sts:GetCallerIdentity", kind="delay", delay=30)
    client = aws.client("sts")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.get_caller_identity)
        aws.clock.wait_for(lambda: fault.times == 0, 1)
        aws.clock.advance(29)
        assert aws.server.calls == []
        aws.clock.advance(1)
        assert answer.result(timeout=20)["Account"] == "111122223333"


# --- throttling --------------------------------------------------------------------------------------


def test_nothing_is_throttled_unless_told(aws: Aws) -> None:
    for number in range(60):
        put(aws, f"/p{number}")


def test_buckets_empty_and_fill_in_the_worlds_time() -> None:
    with embedded_aws({"throttle": {"CreateFleet": [2, 1], "PutParameter": [1, 3]}}) as aws:
        aws.launch()
        aws.launch()
        with refused("RequestLimitExceeded") as caught:
            aws.launch()
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
        aws.clock.advance(1)
        aws.launch()
        put(aws, "/a")
        with refused("ThrottlingException"):
            put(aws, "/b")


def test_published_buckets_are_awss() -> None:
    """EC2 API, "Request throttling": CreateFleet 50 calls, then 5 a second; RunInstances 5, then 2."""
    with embedded_aws({"throttle": "published"}) as aws:
        assert aws.world.settings.throttle == PUBLISHED_THROTTLES
        for _ in range(50):
            aws.launch()
        with refused("RequestLimitExceeded"):
            aws.launch()
        aws.clock.advance(1)
        for _ in range(5):
            aws.launch()
        with refused("RequestLimitExceeded"):
            aws.launch()


# --- many at once ------------------------------------------------------------------------------------


def test_token_holds_under_many_callers_at_once(aws: Aws) -> None:
    clients = [aws.client("ec2") for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda client: aws.launch("t1", client=client), clients * 4))
    assert len({answer["Instances"][0]["InstanceIds"][0] for answer in answers}) == 1
    assert len(aws.world.instances()) == 1


def test_ids_are_the_same_in_every_run_of_one_seed() -> None:
    def ids(seed: int) -> list[str]:
        with embedded_aws({"seed": seed}) as aws:
            return [aws.launched(f"t{number}") for number in range(3)]

    assert ids(1) == ids(1)
    assert ids(1) != ids(2)


# --- configuration -----------------------------------------------------------------------------------


def test_default_seed_is_what_the_example_config_names(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    found = {each["LaunchTemplateName"]: each for each in ec2.describe_launch_templates()["LaunchTemplates"]}
    assert set(found) == {"runner-amd64", "runner-arm64"}
    assert {each["LatestVersionNumber"] for each in found.values()} == {3}
    (latest,) = ec2.describe_launch_template_versions(LaunchTemplateName="runner-arm64", Versions=["$Latest"])[
        "LaunchTemplateVersions"
    ]
    data = latest["LaunchTemplateData"]
    assert data["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert data["MetadataOptions"]["HttpTokens"] == "required"
    assert "arn:aws:iam::111122223333:role/runner-scaler" in aws.world.iam.roles
    assert SUBNET_A in aws.world.ec2.subnets


def test_every_launch_of_the_shipped_example_is_possible(aws: Aws) -> None:
    example = yaml.safe_load((Path(__file__).parents[1] / "config.example.yaml").read_text())
    assert example["aws"]["role"] in aws.world.iam.roles
    for pool in example["pools"].values():
        template = {
            "LaunchTemplateName": pool["launch_template"]["name"],
            "Version": str(pool["launch_template"]["version"]),
        }
        for kind in pool["instance_types"]:
            for place in [{"SubnetId": each} for each in pool.get("subnets", [])] or [{}]:
                override = {"InstanceType": kind, **place}
                config = {"LaunchTemplateSpecification": template, "Overrides": [override]}
                assert aws.launch(LaunchTemplateConfigs=[config])["Errors"] == []


def test_scenario_says_otherwise() -> None:
    scenario = {
        "region": "us-east-1",
        "account": "999988887777",
        "boot": {"pending": "1m"},
        "subnets": [{"id": "subnet-0c3d4e5f6a7b80003", "zone": "us-east-1c"}],
        "images": [{"id": "ami-0c3d4e5f6a7b80003", "architecture": "arm64"}],
        "security_groups": [{"id": "sg-0c3d4e5f6a7b80003", "name": "sg"}],
        "instance_profiles": [{"name": "p", "role": "r"}],
        "launch_templates": [
            {
                "name": "mine",
                "versions": [
                    {
                        "ImageId": "ami-0c3d4e5f6a7b80003",
                        "InstanceType": "m7g.large",
                        "IamInstanceProfile": {"Name": "p"},
                    }
                ],
            }
        ],
        "roles": [{"arn": "arn:aws:iam::999988887777:role/r", "subjects": ["repo:acme/*"]}],
        "deny": ["ssm:PutParameter"],
        "capacity": [{"type": "m7i.*"}],
        "faults": [{"action": "ec2:StopInstances", "code": "Unavailable", "times": None}],
        "machines": {"anything": "goes to whoever boots them"},
    }
    with embedded_aws(scenario) as aws:
        template = {"LaunchTemplateSpecification": {"LaunchTemplateName": "mine", "Version": "1"}}
        instance_id = aws.launched(LaunchTemplateConfigs=[template])
        held = aws.world.instance(instance_id)
        assert held is not None
        assert (held.subnet.zone, held.architecture) == ("us-east-1c", "arm64")
        assert aws.world.instance_role(instance_id) == "r"
        assert aws.client("sts").get_caller_identity()["Account"] == "999988887777"
        with refused("AccessDeniedException"):
            put(aws)
        for _ in range(2):
            with refused("Unavailable"):
                aws.client("ec2").stop_instances(InstanceIds=[instance_id])


@pytest.mark.parametrize(
    ("scenario", "says"),
    [
        ({"regoin": "x"}, r"aws\.regoin: unknown key"),
        ({"boot": {"pendng": 1}}, r"aws\.boot\.pendng: unknown key"),
        ({"boot": {"pending": "soon"}}, r"aws\.boot\.pending: expected a duration"),
        ({"boot": 5}, r"aws\.boot: expected a mapping"),
        ({"tokens": {"replay": "maybe"}}, r"aws\.tokens\.replay: expected error or dead-id"),
        ({"parameters": {"missing": "maybe"}}, r"aws\.parameters\.missing: expected denied or not-found"),
        ({"parameters": {"short_pages": 1}}, r"aws\.parameters\.short_pages: expected bool"),
        ({"quotas": {"spot": "many"}}, r"aws\.quotas\.spot: expected int"),
        ({"region": 5}, r"aws\.region: expected str"),
        ({"throttle": {"CreateFleet": 5}}, r"aws\.throttle\.CreateFleet: expected \[bucket"),
        ({"capacity": [{"count": "2"}]}, r"aws\.capacity\[0\]\.count: expected int"),
        ({"capacity": [{"from": "noon"}]}, r"aws\.capacity\[0\]\.from: expected a duration"),
        ({"subnets": [{"id": "x"}]}, r"aws\.subnets\[0\]\.zone: missing"),
        ({"launch_templates": [{"name": "x", "versionz": []}]}, r"aws\.launch_templates\[0\]\.versionz: unknown key"),
        ({"deny": ["PutParameter"]}, r"aws\.deny\[0\]: expected service:Action"),
        ({"faults": [{"code": "x"}]}, r"aws\.faults\[0\]\.action: missing"),
        ({"faults": [{"action": "ec2:*", "kind": "odd"}]}, r"aws\.faults\[0\]\.kind: expected one of"),
    ],
)
def test_scenario_that_makes_no_sense_is_an_error_with_its_path(aws: Aws, scenario: dict[str, Any], says: str) -> None:
    with pytest.raises(BadSetting, match=says):
        aws.world.configure(scenario)


def test_server_stops_with_its_connections(aws: Aws) -> None:
    aws.client("sts").get_caller_identity()
    aws.server.stop()
    with pytest.raises(OSError):  # noqa: PT011 - refused or reset, as the machine will have it
        urlopen(Request(aws.server.url, data=b"Action=GetCallerIdentity"), timeout=5).close()
