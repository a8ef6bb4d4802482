"""The embedded AWS speaks the wire formats of botocore's own models."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.model import ListShape, Shape, StringShape, StructureShape
from botocore.parsers import create_parser
from botocore.serialize import create_serializer

from scaler.sandbox.aws import wire
from scaler.sandbox.aws.error import AwsError
from scaler.sandbox.aws.world import AwsWorld
from scaler.sandbox.clock import Clock
from scaler.sandbox.journal import Journal

DEPTH = 7


def sample(shape: Shape | None, depth: int = DEPTH) -> Any:
    """A value with every member of a shape, down to a depth."""
    match shape:
        case StructureShape():
            members = shape.members.items() if depth else ()
            return {name: value for name, member in members if (value := sample(member, depth - 1)) not in ({}, [{}])}
        case ListShape():
            return [sample(shape.member, depth - 1)] * 2 if sample(shape.member, depth - 1) != {} else [{}]
        case StringShape() if shape.enum:
            return shape.enum[-1]
        case None:
            return {}
    values = {
        "string": 'a <b> & "c" é\u2028 d',
        "boolean": True,
        "integer": 7,
        "long": 7_000_000_000,
        "double": 0.5,
        "float": 0.5,
        "timestamp": datetime(2026, 11, 23, 9, 0, 5, 250_000, tzinfo=UTC),
    }
    return values.get(shape.type_name, {})


def served(*services: str) -> list[Any]:
    clock = Clock(speed=0)
    world = AwsWorld(clock, Journal(clock))
    return [
        pytest.param(service, action, id=f"{service}:{action}")
        for service in services or wire.SERVICES
        for action in wire.model(service).operation_names
        if world.serves(service, action)
    ]


@pytest.mark.parametrize(("service", "action"), served("ec2", "sts"))
def test_request_reads_back_as_botocore_wrote_it(service: str, action: str) -> None:
    operation = wire.operation_model(service, action)
    assert operation is not None
    sent = sample(operation.input_shape)
    serializer = create_serializer(wire.model(service).metadata["protocol"], include_validation=False)
    request = serializer.serialize_to_request(sent, operation)
    assert wire.read_form(service, action, urlencode(request["body"])) == sent


@pytest.mark.parametrize(("service", "action"), served())
def test_answer_reads_back_by_botocore_as_written(service: str, action: str) -> None:
    operation = wire.operation_model(service, action)
    assert operation is not None
    result = sample(operation.output_shape)
    if service == "ssm":
        body = wire.write_json(service, action, result)
    else:
        body = wire.write_query(service, action, result, "11111111-2222-3333-4444-555555555555")
    parser: Any = create_parser(wire.model(service).metadata["protocol"])
    parser._timestamp_parser = _time
    parsed = parser.parse({"body": body, "headers": {}, "status_code": 200}, operation.output_shape)
    metadata = parsed.pop("ResponseMetadata", {})
    assert parsed == result
    if service != "ssm":
        assert metadata["RequestId"] == "11111111-2222-3333-4444-555555555555"


def _time(value: Any) -> datetime:
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    return datetime.fromisoformat(value)


@pytest.mark.parametrize(
    ("form", "code"),
    [
        pytest.param("Action=RunInstances&MaxCount=1", "MissingParameter", id="a required parameter is missing"),
        pytest.param("MinCount=one&MaxCount=1", "InvalidParameterValue", id="a number is none"),
        pytest.param("MinCount=1&MaxCount=1&Colour=red", "UnknownParameter", id="a parameter is none of EC2's"),
        pytest.param("MinCount=1&MaxCount=1&InstanceType=m99.huge", "InvalidParameterValue", id="a type is none"),
        pytest.param("MinCount=1&MaxCount=1&SecurityGroupId.x=1", "MalformedQueryString", id="a list has no number"),
        pytest.param("MinCount=1&MinCount.1=1", "MalformedQueryString", id="a value is a structure too"),
    ],
)
def test_ec2_refuses_a_request_that_its_model_does_not_have(form: str, code: str) -> None:
    with pytest.raises(AwsError) as caught:
        wire.read_form("ec2", "RunInstances", form)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        pytest.param(b"{", "SerializationException", "parse", id="no JSON"),
        pytest.param(b"[]", "SerializationException", "structure", id="no object"),
        pytest.param(b'{"Names": "x"}', "SerializationException", "list", id="a list is none"),
        pytest.param(b"{}", "ValidationException", "must not be null", id="a required member is missing"),
        pytest.param(b'{"Names": []}', "ValidationException", "greater than or equal to 1", id="too few names"),
        pytest.param(
            b'{"Names": [%s]}' % b",".join([b'"a"'] * 11),
            "ValidationException",
            "less than or equal to 10",
            id="11 names",
        ),
    ],
)
def test_ssm_refuses_a_request_that_breaks_its_model(body: bytes, code: str, says: str) -> None:
    with pytest.raises(AwsError, match=says) as caught:
        wire.read_json("ssm", "DeleteParameters", body)
    assert caught.value.code == code


def test_sensitive_value_never_stands_in_an_error() -> None:
    """SSM's model marks a parameter's value as sensitive."""
    with pytest.raises(AwsError) as caught:
        wire.read_json("ssm", "PutParameter", b'{"Name": "", "Value": "hush", "Type": "Odd"}')
    assert "hush" not in str(caught.value)
    assert "Odd" in str(caught.value)


def test_answer_with_a_member_that_the_model_lacks_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        wire.write_query("ec2", "DescribeInstances", {"Instances": []}, "id")
