"""Who may call the embedded AWS: every signature is recomputed, and each service refuses in its own words."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.request import Request, urlopen

import botocore.auth
import botocore.credentials
import pytest
from botocore.awsrequest import AWSRequest

from scaler.sandbox.aws.iam_world import Credentials, Principal
from tests.embedded_aws import Aws, embedded_aws, refused

CALLS = {
    "ec2": lambda client: client.describe_instances(),
    "ssm": lambda client: client.describe_parameters(),
    "sts": lambda client: client.get_caller_identity(),
}
SERVICES = pytest.mark.parametrize("service", ["ec2", "ssm", "sts"])
ROLE = "arn:aws:iam::111122223333:role/runner-scaler"


@pytest.fixture
def aws() -> Iterator[Aws]:
    with embedded_aws() as rig:
        yield rig


def call(aws: Aws, service: str, credentials: Credentials) -> Any:
    return CALLS[service](aws.client(service, credentials))


@SERVICES
def test_signed_call_is_served(aws: Aws, service: str) -> None:
    call(aws, service, aws.world.ambient)
    assert aws.server.calls[-1].principal == "arn:aws:iam::111122223333:user/ambient"


@SERVICES
def test_call_with_temporary_credentials_is_served(aws: Aws, service: str) -> None:
    call(aws, service, aws.world.iam.session("runner-scaler", "tick", 900))
    assert aws.server.calls[-1].principal == "arn:aws:sts::111122223333:assumed-role/runner-scaler/tick"


@pytest.mark.parametrize(
    ("service", "code"),
    [("ec2", "AuthFailure"), ("ssm", "InvalidSignatureException"), ("sts", "SignatureDoesNotMatch")],
)
def test_wrong_secret_is_refused(aws: Aws, service: str, code: str) -> None:
    with refused(code):
        call(aws, service, replace(aws.world.ambient, secret="wrong"))


@pytest.mark.parametrize(
    ("service", "code"),
    [("ec2", "AuthFailure"), ("ssm", "UnrecognizedClientException"), ("sts", "InvalidClientTokenId")],
)
class TestUnknownIdentityIsRefused:
    def test_unknown_key(self, aws: Aws, service: str, code: str) -> None:
        with refused(code):
            call(aws, service, Credentials("AKIAUNKNOWN", "x", None, None, Principal("", "", "")))

    def test_temporary_key_without_its_session_token(self, aws: Aws, service: str, code: str) -> None:
        with refused(code):
            call(aws, service, replace(aws.world.iam.session("runner-scaler", "tick", 900), token=None))

    def test_temporary_key_with_another_token(self, aws: Aws, service: str, code: str) -> None:
        with refused(code):
            call(aws, service, replace(aws.world.iam.session("runner-scaler", "tick", 900), token="other"))

    def test_revoked_key(self, aws: Aws, service: str, code: str) -> None:
        aws.world.iam.revoke(aws.world.ambient.access_key)
        with refused(code):
            call(aws, service, aws.world.ambient)


@pytest.mark.parametrize(
    ("service", "code"), [("ec2", "RequestExpired"), ("ssm", "ExpiredTokenException"), ("sts", "ExpiredToken")]
)
def test_expired_credentials_are_refused(aws: Aws, service: str, code: str) -> None:
    """Expiry is real time: the SDK signs by the machine's clock, whatever the world's clock says."""
    session = aws.world.iam.session("runner-scaler", "tick", 60)
    aws.clock.advance(3600)
    call(aws, service, session)
    aws.ahead = timedelta(seconds=61)
    with refused(code):
        call(aws, service, session)


@pytest.mark.parametrize(
    ("service", "code"),
    [("ec2", "RequestExpired"), ("ssm", "InvalidSignatureException"), ("sts", "SignatureDoesNotMatch")],
)
@pytest.mark.parametrize("minutes", [6, -6])
def test_date_more_than_five_minutes_off_is_refused(aws: Aws, service: str, code: str, minutes: int) -> None:
    """docs.aws.amazon.com, "Create a signed AWS API request": a request must arrive within five minutes."""
    aws.ahead = timedelta(minutes=minutes)
    with refused(code):
        call(aws, service, aws.world.ambient)
    aws.ahead = timedelta(minutes=minutes / 2)
    call(aws, service, aws.world.ambient)


@pytest.mark.parametrize(
    ("service", "code"),
    [("ec2", "AuthFailure"), ("ssm", "InvalidSignatureException"), ("sts", "SignatureDoesNotMatch")],
)
class TestTamperedRequestIsRefused:
    """Each request below bears a signature that was right for another one."""

    def send(self, aws: Aws, service: str, *, change: str) -> str:
        body = {"ssm": b"{}", "ec2": b"Action=DescribeInstances&Version=2016-11-15"}.get(
            service, b"Action=GetCallerIdentity&Version=2011-06-15"
        )
        headers = {"X-Amz-Target": "AmazonSSM.DescribeParameters"} if service == "ssm" else {}
        session = aws.world.iam.session("runner-scaler", "tick", 900)
        request = AWSRequest("POST", aws.server.url + "/", headers, body)
        region = "eu-west-1" if change == "region" else "us-east-1"
        keys = botocore.credentials.Credentials(session.access_key, session.secret, session.token)
        if change == "token":
            keys.token = None
        botocore.auth.SigV4Auth(keys, service, region).add_auth(request)
        signed = dict(request.headers.items())
        match change:
            case "body":
                body += b" "
            case "token":  # the token travels, but unsigned
                signed["X-Amz-Security-Token"] = session.token or ""
            case "header":  # the host is signed, but no longer said to be
                signed["Authorization"] = signed["Authorization"].replace("host;", "")
        return raw(aws, body, signed)

    @pytest.mark.parametrize("change", ["body", "token", "region", "header"])
    def test_after_a_change(self, aws: Aws, service: str, code: str, change: str) -> None:
        assert code in self.send(aws, service, change=change)

    def test_but_not_without_one(self, aws: Aws, service: str, code: str) -> None:
        answer = self.send(aws, service, change="")
        assert code not in answer
        assert aws.server.calls[-1].error == ""


@pytest.mark.parametrize(
    ("service", "code", "header"),
    [
        pytest.param("ec2", "MissingParameter", None, id="ec2, unsigned"),
        pytest.param("ssm", "MissingAuthenticationTokenException", None, id="ssm, unsigned"),
        pytest.param("sts", "MissingAuthenticationToken", None, id="sts, unsigned"),
        pytest.param("ec2", "IncompleteSignature", "AWS4-HMAC-SHA256 Credential=AKIA/1/us-east-1/ec2/aws4_request", id="ec2, half a header"),
        pytest.param("ssm", "IncompleteSignatureException", "Basic Zm9v", id="ssm, another algorithm"),
        pytest.param("ec2", "IncompleteSignature", "AWS4-HMAC-SHA256 Credential=AKIA/ec2/aws4_request, SignedHeaders=host, Signature=0", id="ec2, half a scope"),
        pytest.param("sts", "IncompleteSignature", "AWS4-HMAC-SHA256 Credential=AKIA/20261123/us-east-1/sts/aws4_request, SignedHeaders=host, Signature=0", id="sts, no date"),
    ],
)  # fmt: skip
def test_unsigned_or_unreadable_request_is_refused(aws: Aws, service: str, code: str, header: str | None) -> None:
    body = {"ec2": b"Action=DescribeInstances", "ssm": b"{}", "sts": b"Action=GetCallerIdentity"}[service]
    headers = {"Authorization": header} if header else {}
    if service == "ssm":
        headers["X-Amz-Target"] = "AmazonSSM.DescribeParameters"
    assert code in raw(aws, body, headers)


def raw(aws: Aws, body: bytes, headers: dict[str, str]) -> str:
    request = Request(aws.server.url + "/", data=body, headers=headers, method="POST")
    try:
        with urlopen(request) as answer:
            return str(answer.read().decode())
    except OSError as error:
        return str(error.read().decode())  # type: ignore[attr-defined]


# --- curl, as the boot script uses it ----------------------------------------------------------


def curl(aws: Aws, action: str, data: dict[str, Any], keys: dict[str, str]) -> dict[str, Any]:
    config = (
        f'user = "{keys["AccessKeyId"]}:{keys["SecretAccessKey"]}"\nheader = "X-Amz-Security-Token: {keys["Token"]}"\n'
    )
    done = subprocess.run(
        ["curl", "--disable", "--config", "-", "--silent", "--show-error", "--max-time", "20",
         "--aws-sigv4", "aws:amz:us-east-1:ssm",
         "--header", f"X-Amz-Target: AmazonSSM.{action}",
         "--header", "Content-Type: application/x-amz-json-1.1",
         "--data", json.dumps(data), f"{aws.server.url}/"],
        input=config, capture_output=True, text=True, check=True,
    )  # fmt: skip
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def put(aws: Aws, instance_id: str, *, tag: str | None = None) -> str:
    name = f"/runner-scaler/main/{instance_id}"
    tags = [{"Key": "InstanceId", "Value": tag or instance_id}]
    aws.client("ssm").put_parameter(Name=name, Value="hush é", Type="SecureString", Tags=tags)
    return name


def test_curl_signs_for_the_instance_role(aws: Aws) -> None:
    """Curl --aws-sigv4 with the role's credentials from the metadata service reads and deletes the own parameter."""
    instance_id = aws.launched()
    name = put(aws, instance_id)
    keys = aws.world.instance_credentials(instance_id)
    assert curl(aws, "GetParameter", {"Name": name, "WithDecryption": True}, keys)["Parameter"]["Value"] == "hush é"
    assert curl(aws, "DeleteParameter", {"Name": name}, keys) == {}
    assert aws.world.parameter_names() == []


def test_curl_with_a_wrong_secret_is_refused(aws: Aws) -> None:
    instance_id = aws.launched()
    keys = {**aws.world.instance_credentials(instance_id), "SecretAccessKey": "wrong"}
    answer = curl(aws, "GetParameter", {"Name": put(aws, instance_id)}, keys)
    assert answer["__type"] == "InvalidSignatureException"


def test_instance_role_reads_no_other_parameter(aws: Aws) -> None:
    """The policy's condition: ec2:SourceInstanceARN like */${aws:ResourceTag/InstanceId}."""
    mine, other = aws.launched("a"), aws.launched("b")
    keys = aws.world.instance_credentials(mine)
    for name in (put(aws, other), put(aws, mine, tag=other)):
        assert curl(aws, "GetParameter", {"Name": name}, keys)["__type"] == "AccessDeniedException"
        assert curl(aws, "DeleteParameter", {"Name": name}, keys)["__type"] == "AccessDeniedException"
    assert len(aws.world.parameter_names()) == 2


def test_instance_role_may_do_nothing_else(aws: Aws) -> None:
    instance_id = aws.launched()
    name = put(aws, instance_id)
    keys = aws.world.iam.of_instance(instance_id, "runner-scaler-instance")
    ssm, ec2 = aws.client("ssm", keys), aws.client("ec2", keys)
    with refused("AccessDeniedException", "ssm:PutParameter"):
        ssm.put_parameter(Name=name, Value="x", Overwrite=True)
    with refused("AccessDeniedException", "ssm:DescribeParameters"):
        ssm.describe_parameters()
    with refused("UnauthorizedOperation", "ec2:TerminateInstances"):
        ec2.terminate_instances(InstanceIds=[instance_id])
    assert aws.client("sts", keys).get_caller_identity()["Arn"].endswith(f"/{instance_id}")


@pytest.mark.parametrize(("missing", "code"), [("denied", "AccessDeniedException"), ("not-found", "ParameterNotFound")])
def test_instance_role_hears_of_a_missing_parameter_one_way_or_the_other(missing: str, code: str) -> None:
    """A condition on a resource's tag cannot be met by what does not exist; undocumented, so both answers run."""
    with embedded_aws({"parameters": {"missing": missing}}) as aws:
        instance_id = aws.launched()
        keys = aws.world.instance_credentials(instance_id)
        assert curl(aws, "GetParameter", {"Name": f"/runner-scaler/main/{instance_id}"}, keys)["__type"] == code


def test_instance_credentials_look_as_the_metadata_service_serves_them(aws: Aws) -> None:
    keys = aws.world.instance_credentials(aws.launched())
    assert keys["Code"] == "Success"
    assert keys["Type"] == "AWS-HMAC"
    assert keys["AccessKeyId"].startswith("ASIA")
    assert datetime.fromisoformat(keys["Expiration"]) > datetime.fromisoformat(keys["LastUpdated"])


def test_instance_credentials_are_renewed_before_they_expire(aws: Aws) -> None:
    instance_id = aws.launched()
    first = aws.world.instance_credentials(instance_id)
    assert aws.world.instance_credentials(instance_id) == first
    aws.ahead = timedelta(hours=5, minutes=57)
    assert aws.world.instance_credentials(instance_id)["AccessKeyId"] != first["AccessKeyId"]


def test_instance_without_a_profile_has_no_credentials(aws: Aws) -> None:
    template = aws.world.templates.find(None, "runner-amd64")
    made_at, data, text = template.versions[3]
    template.versions[3] = made_at, {key: value for key, value in data.items() if key != "IamInstanceProfile"}, text
    assert aws.world.instance_credentials(aws.launched()) == {}


# --- permissions that are taken away -----------------------------------------------------------


def test_denied_ssm_action_answers_access_denied(aws: Aws) -> None:
    denial = aws.world.iam.deny("ssm:PutParameter")
    with refused("AccessDeniedException", "is not authorized to perform: ssm:PutParameter on resource: arn:aws:ssm"):
        aws.client("ssm").put_parameter(Name="/a", Value="x", Type="String")
    aws.world.iam.allow(denial)
    aws.client("ssm").put_parameter(Name="/a", Value="x", Type="String")


def test_denied_ec2_action_answers_unauthorized_operation(aws: Aws) -> None:
    aws.world.iam.deny("ec2:Describe*", times=1)
    with refused("UnauthorizedOperation", "ec2:DescribeInstances"):
        aws.client("ec2").describe_instances()
    aws.client("ec2").describe_instances()


def test_denial_may_be_of_one_principal_or_one_resource(aws: Aws) -> None:
    aws.world.iam.deny("ssm:*", principal="*assumed-role/somebody/*", resource="*/secret")
    session = aws.world.iam.session("somebody", "tick", 900)
    for name in ("/open", "/secret"):
        aws.client("ssm").put_parameter(Name=name, Value="x", Type="String")
    aws.client("ssm", session).get_parameter(Name="/open")
    with refused("AccessDeniedException"):
        aws.client("ssm", session).get_parameter(Name="/secret")


@pytest.mark.parametrize("action", ["ec2:RunInstances", "ec2:CreateTags", "iam:PassRole"])
def test_fleet_answers_what_its_caller_may_not_launch_as_errors(aws: Aws, action: str) -> None:
    """An instant fleet launches in its caller's name; karpenter shows such errors as "fleet error(s)"."""
    aws.world.iam.deny(action)
    answer = aws.launch()
    assert answer["Instances"] == []
    assert {each["ErrorCode"] for each in answer["Errors"]} == {"UnauthorizedOperation"}


def test_tags_with_a_parameter_need_their_own_permission(aws: Aws) -> None:
    aws.world.iam.deny("ssm:AddTagsToResource")
    with refused("AccessDeniedException", "ssm:AddTagsToResource"):
        put(aws, "i-0123456789abcdef0")
    assert aws.world.parameter_names() == []


def test_denial_comes_before_the_dry_run(aws: Aws) -> None:
    """How a permission is probed: DryRun answers DryRunOperation or UnauthorizedOperation."""
    with refused("DryRunOperation"):
        aws.launch(DryRun=True)
    aws.world.iam.deny("ec2:CreateFleet")
    with refused("UnauthorizedOperation"):
        aws.launch(DryRun=True)
    assert aws.world.instances() == []
