"""The embedded Parameter Store: tiers, overwriting, tags, lists, as the Systems Manager API reference has them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.embedded_aws import START, Aws, embedded_aws, refused

NAME = "/runner-scaler/main/i-0123456789abcdef0"


@pytest.fixture
def aws() -> Iterator[Aws]:
    with embedded_aws() as rig:
        yield rig


@pytest.fixture
def ssm(aws: Aws) -> Any:
    return aws.client("ssm")


def put(ssm: Any, name: str = NAME, **changes: Any) -> dict[str, Any]:
    answer: dict[str, Any] = ssm.put_parameter(**{"Name": name, "Value": "hush", "Type": "SecureString", **changes})
    return answer


def names(answer: dict[str, Any]) -> list[str]:
    return [each["Name"] for each in answer["Parameters"]]


def test_parameter_is_written_once(ssm: Any) -> None:
    assert put(ssm)["Version"] == 1
    with refused("ParameterAlreadyExists"):
        put(ssm, Value="other")
    assert ssm.get_parameter(Name=NAME, WithDecryption=True)["Parameter"]["Value"] == "hush"


def test_overwriting_makes_a_new_version(ssm: Any) -> None:
    put(ssm, Description="first")
    assert put(ssm, Value="new", Overwrite=True)["Version"] == 2
    assert ssm.get_parameter(Name=f"{NAME}:2", WithDecryption=True)["Parameter"]["Value"] == "new"
    with refused("ParameterVersionNotFound"):
        ssm.get_parameter(Name=f"{NAME}:1")
    assert ssm.describe_parameters()["Parameters"][0]["Description"] == "first"


def test_secure_string_is_sealed_without_decryption(ssm: Any) -> None:
    put(ssm)
    assert "hush" not in ssm.get_parameter(Name=NAME)["Parameter"]["Value"]


@pytest.mark.parametrize(
    ("size", "tier", "comes_to"),
    [
        (4096, None, "Standard"),
        (4097, None, None),
        (4096, "Intelligent-Tiering", "Standard"),
        (4097, "Intelligent-Tiering", "Advanced"),
        (8192, "Advanced", "Advanced"),
        (8193, "Advanced", None),
        (8193, "Intelligent-Tiering", None),
    ],
)
def test_tier_bounds_the_value(ssm: Any, size: int, tier: str | None, comes_to: str | None) -> None:
    """4 KB in the standard tier, 8 KB in the advanced; a JIT configuration has 4,088 characters."""
    changes = {"Value": "é" * (size // 2) + "x" * (size % 2), **({"Tier": tier} if tier else {})}
    if comes_to is None:
        with refused("ValidationException", "maximum parameter value"):
            put(ssm, **changes)
    else:
        assert put(ssm, **changes)["Tier"] == comes_to


def test_advanced_parameter_cannot_be_downgraded(ssm: Any) -> None:
    put(ssm, Tier="Advanced")
    with refused("ValidationException", "downgrade"):
        put(ssm, Tier="Standard", Overwrite=True)
    assert put(ssm, Tier="Intelligent-Tiering", Overwrite=True)["Tier"] == "Advanced"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        pytest.param({"Overwrite": True, "Tags": [{"Key": "a", "Value": "b"}]}, "ValidationException", id="tags with overwrite"),
        pytest.param({"Name": "runner/main"}, "ValidationException", id="a path that does not begin with a slash"),
        pytest.param({"Name": "/a b"}, "ValidationException", id="a space in the name"),
        pytest.param({"Name": "awsome"}, "ValidationException", id="a name that begins with aws"),
        pytest.param({"Name": "/ssm/x"}, "AccessDeniedException", id="a path that begins with ssm"),
        pytest.param({"Name": "/a" * 16}, "HierarchyLevelLimitExceededException", id="16 levels"),
        pytest.param({"Description": "x" * 1025}, "ValidationException", id="a description of 1,025 characters"),
        pytest.param({"Type": "Secret"}, "ValidationException", id="no type of SSM's"),
        pytest.param({"Tags": [{"Key": "aws:x", "Value": ""}]}, "ValidationException", id="a tag of AWS's own"),
        pytest.param({"Tags": [{"Key": f"k{n}", "Value": ""} for n in range(51)]}, "TooManyTagsError", id="51 tags"),
    ],
)  # fmt: skip
def test_parameter_that_cannot_be_is_refused(aws: Aws, ssm: Any, changes: dict[str, Any], code: str) -> None:
    with refused(code):
        put(ssm, **changes)
    assert aws.world.parameter_names() == []


def test_type_is_needed_once_and_kept(ssm: Any) -> None:
    with refused("ValidationException", "type is required"):
        ssm.put_parameter(Name=NAME, Value="x")
    put(ssm)
    ssm.put_parameter(Name=NAME, Value="y", Overwrite=True)
    assert ssm.describe_parameters()["Parameters"][0]["Type"] == "SecureString"
    with refused("HierarchyTypeMismatchException"):
        put(ssm, Type="String", Overwrite=True)


def test_deleting_one_that_is_not_there_is_an_error_and_several_is_not(ssm: Any) -> None:
    put(ssm)
    with refused("ParameterNotFound"):
        ssm.delete_parameter(Name="/none")
    answer = ssm.delete_parameters(Names=[NAME, "/none"])
    assert (answer["DeletedParameters"], answer["InvalidParameters"]) == ([NAME], ["/none"])
    with refused("ParameterNotFound"):
        ssm.get_parameter(Name=NAME)


def test_at_most_ten_are_deleted_at_once(aws: Aws) -> None:
    """boto3 does not check it, the service does."""
    ssm = aws.client("ssm", parameter_validation=False)
    with refused("ValidationException", "less than or equal to 10"):
        ssm.delete_parameters(Names=[f"/p{number}" for number in range(11)])


def test_deleted_name_is_free_after_half_a_minute() -> None:
    """API reference, DeleteParameter: wait at least 30 seconds before creating one of the same name."""
    with embedded_aws({"parameters": {"reuse": "30s"}}) as aws:
        ssm = aws.client("ssm")
        put(ssm)
        ssm.delete_parameter(Name=NAME)
        aws.clock.advance(29)
        with refused("ParameterAlreadyExists"):
            put(ssm)
        aws.clock.advance(1)
        put(ssm)


def test_account_is_full_at_its_limit() -> None:
    with embedded_aws({"parameters": {"limit": 1}}) as aws:
        ssm = aws.client("ssm")
        put(ssm)
        with refused("ParameterLimitExceeded"):
            put(ssm, "/other")
        put(ssm, Overwrite=True)


def test_several_are_read_with_the_missing_named(ssm: Any) -> None:
    put(ssm)
    answer = ssm.get_parameters(Names=[NAME, "/none"], WithDecryption=True)
    assert names(answer) == [NAME]
    assert answer["InvalidParameters"] == ["/none"]


FILTERS = [
    ([{"Key": "Name", "Option": "BeginsWith", "Values": ["/a/b"]}], ["/a/b/1", "/a/b/c/2", "/a/bb"]),
    ([{"Key": "Name", "Option": "Equals", "Values": ["/a/bb"]}], ["/a/bb"]),
    ([{"Key": "Name", "Values": ["/a/bb", "/x"]}], ["/a/bb", "/x"]),
    ([{"Key": "Name", "Option": "Contains", "Values": ["c"]}], ["/a/b/c/2"]),
    ([{"Key": "Path", "Option": "Recursive", "Values": ["/a/b"]}], ["/a/b/1", "/a/b/c/2"]),
    ([{"Key": "Path", "Option": "OneLevel", "Values": ["/a/b/"]}], ["/a/b/1"]),
    ([{"Key": "Path", "Values": ["/a"]}], ["/a/bb"]),
    ([{"Key": "Type", "Values": ["String"]}], ["/x"]),
    ([{"Key": "tag:InstanceId", "Values": ["i-1"]}], ["/a/b/1"]),
    ([{"Key": "Tier", "Values": ["Advanced"]}], []),
    (
        [
            {"Key": "Path", "Option": "Recursive", "Values": ["/a"]},
            {"Key": "Name", "Option": "Contains", "Values": ["1"]},
        ],
        ["/a/b/1"],
    ),
]


@pytest.mark.parametrize(("filters", "expected"), FILTERS, ids=[str(each[0]) for each in FILTERS])
def test_filters_choose(ssm: Any, filters: list[dict[str, Any]], expected: list[str]) -> None:
    put(ssm, "/a/b/1", Tags=[{"Key": "InstanceId", "Value": "i-1"}])
    put(ssm, "/a/b/c/2")
    put(ssm, "/a/bb")
    put(ssm, "/x", Type="String")
    assert names(ssm.describe_parameters(ParameterFilters=filters)) == expected


@pytest.mark.parametrize("short", [False, True])
def test_pages_hold_every_parameter_once(short: bool) -> None:
    """A page may hold fewer than asked for, with a NextToken (API reference, DescribeParameters)."""
    with embedded_aws({"parameters": {"short_pages": short}}) as aws:
        ssm = aws.client("ssm")
        expected = [f"/runner-scaler/main/i-{number:04}" for number in range(120)]
        for name in expected:
            put(ssm, name)
        pages = list(ssm.get_paginator("describe_parameters").paginate(PaginationConfig={"PageSize": 50}))
        assert [name for page in pages for name in names(page)] == expected
        assert len(pages) == (8 if short else 3)
        by_path = ssm.get_paginator("get_parameters_by_path").paginate(Path="/runner-scaler", Recursive=True)
        assert [name for page in by_path for name in names(page)] == expected


@pytest.mark.parametrize(
    ("change", "code"), [({"MaxResults": 51}, "ValidationException"), ({"NextToken": "?"}, "InvalidNextToken")]
)
def test_pages_have_bounds(aws: Aws, change: dict[str, Any], code: str) -> None:
    with refused(code):
        aws.client("ssm", parameter_validation=False).describe_parameters(**change)


def test_new_parameter_may_be_listed_late() -> None:
    with embedded_aws({"parameters": {"lag": "5s"}}) as aws:
        ssm = aws.client("ssm")
        put(ssm)
        assert ssm.describe_parameters()["Parameters"] == []
        assert ssm.get_parameter(Name=NAME)["Parameter"]["Name"] == NAME
        aws.clock.advance(5)
        assert names(ssm.describe_parameters()) == [NAME]


def test_list_shows_when_and_why_in_the_worlds_time(aws: Aws, ssm: Any) -> None:
    aws.clock.advance(90)
    put(ssm, Description='{"tick": 7}')
    (found,) = ssm.describe_parameters()["Parameters"]
    assert (found["LastModifiedDate"] - START).total_seconds() == 90
    assert found["Description"] == '{"tick": 7}'
    assert found["LastModifiedUser"] == "arn:aws:iam::111122223333:user/ambient"
    assert "Value" not in found


def test_tags_are_added_and_taken(ssm: Any) -> None:
    put(ssm, Tags=[{"Key": "InstanceId", "Value": "i-1"}])
    ssm.add_tags_to_resource(ResourceType="Parameter", ResourceId=NAME, Tags=[{"Key": "a", "Value": "b"}])
    ssm.remove_tags_from_resource(ResourceType="Parameter", ResourceId=NAME, TagKeys=["InstanceId"])
    answer = ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId=NAME)
    assert answer["TagList"] == [{"Key": "a", "Value": "b"}]
    with refused("InvalidResourceId"):
        ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId="/none")


def test_value_is_in_no_record_and_no_repr(aws: Aws, ssm: Any) -> None:
    put(ssm, Value="canary-1")
    put(ssm, Value="canary-2", Overwrite=True)
    ssm.get_parameter(Name=NAME, WithDecryption=True)
    ssm.delete_parameter(Name=NAME)
    put(ssm, Value="canary-3")
    records = [entry.to_json() for entry in aws.journal] + [repr(each) + str(each.params) for each in aws.server.calls]
    records += [repr(aws.world.ssm.parameters)]
    assert not [each for each in records if "canary" in each]
    assert [each.what for each in aws.journal.of("parameter.put", "parameter.read", "parameter.deleted")] == [
        "parameter.put", "parameter.put", "parameter.read", "parameter.deleted", "parameter.put",
    ]  # fmt: skip
