"""What each of EC2's error codes means for a launch: every row of the table, and the codes that it does not have."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.retries.standard import ThrottledRetryableChecker, TransientRetryableChecker

from scaler.aws.codes import CODES, Meaning, is_known, mend_of, row_of
from scaler.aws.errors import answer_for, fleet_answer, refusal
from scaler.model import Denied, LaunchAnswer, LaunchKind, Unavailable

CALL: dict[Meaning, LaunchKind | None] = {
    Meaning.THROTTLED: LaunchKind.THROTTLED,
    Meaning.RETRY: None,
    Meaning.NEXT_OVERRIDE: LaunchKind.NO_CAPACITY,
    Meaning.NEXT_MARKET: LaunchKind.NO_CAPACITY,
    Meaning.STOP: LaunchKind.REFUSED,
    Meaning.DENIED: None,
    Meaning.CREDENTIALS: None,
    Meaning.MISMATCH: LaunchKind.MISMATCH,
    Meaning.DEAD: LaunchKind.DEAD,
}
"""What a whole call that is refused with such a code comes to; None: an error, and what was launched is not known."""
FLEET: dict[Meaning, LaunchKind] = {
    Meaning.THROTTLED: LaunchKind.THROTTLED,
    Meaning.RETRY: LaunchKind.THROTTLED,
    Meaning.NEXT_OVERRIDE: LaunchKind.NO_CAPACITY,
    Meaning.NEXT_MARKET: LaunchKind.NO_CAPACITY,
    Meaning.STOP: LaunchKind.REFUSED,
    Meaning.CREDENTIALS: LaunchKind.REFUSED,
    Meaning.MISMATCH: LaunchKind.REFUSED,
    Meaning.DEAD: LaunchKind.REFUSED,
}
"""What a fleet that launched nothing for that code comes to."""
UNLISTED = {
    "InvalidSubnetID.NotFound": Meaning.STOP,
    "InvalidParameterCombination": Meaning.STOP,
    "InsufficientSomethingNew": Meaning.NEXT_OVERRIDE,
    "SomethingNewLimitExceeded": Meaning.STOP,
}


def error(code: str) -> ClientError:
    """A refused CreateFleet call."""
    return ClientError({"Error": {"Code": code, "Message": "EC2's words"}}, "CreateFleet")


def row(code: str, message: str = "EC2's words", kind: str = "") -> dict[str, Any]:
    """An error of a fleet's answer, about an override."""
    overrides = {"Overrides": {"InstanceType": kind}} if kind else {}
    return {"ErrorCode": code, "ErrorMessage": message, "LaunchTemplateAndOverrides": overrides}


@pytest.mark.parametrize("code", [*CODES, *UNLISTED])
def test_a_refused_call_comes_to_what_its_code_means_and_spends_no_link(code: str) -> None:
    answer = answer_for(error(code), "amd64", "us-east-1")
    assert (answer.kind if answer else None) is CALL[row_of(code).meaning]
    if answer and answer.kind not in (LaunchKind.MISMATCH, LaunchKind.DEAD):
        assert not answer.spent


@pytest.mark.parametrize("code", [*CODES, *UNLISTED])
def test_a_fleet_of_nothing_comes_to_what_its_code_means_and_spends_its_link(code: str) -> None:
    if row_of(code).meaning is Meaning.DENIED:
        with pytest.raises(Denied) as denied:
            fleet_answer([row(code)])
        assert denied.value.spent
        return
    answer = fleet_answer([row(code)])
    assert (answer.kind, answer.spent) == (FLEET[row_of(code).meaning], True)
    assert answer.detail.startswith(f"{code}: ")


@pytest.mark.parametrize(("code", "meaning"), UNLISTED.items())
def test_a_code_that_is_not_in_the_table_is_known_by_its_kind(code: str, meaning: Meaning) -> None:
    assert row_of(code).meaning is meaning


def test_an_unknown_code_is_told_in_ec2s_words_and_launches_nothing_more() -> None:
    """Of a whole call nobody knows what it did: the same link is asked for again. A fleet's own answer is final."""
    assert not is_known("Novelty")
    assert answer_for(error("Novelty"), "amd64", "us-east-1") is None
    assert isinstance(refusal("ec2:CreateFleet", error("Novelty")), Unavailable)
    assert fleet_answer([row("Novelty")]) == LaunchAnswer(LaunchKind.REFUSED, detail="Novelty: EC2's words")


def test_every_code_has_a_source() -> None:
    assert all(each.source for each in CODES.values())


def test_what_botocore_repeats_is_never_taken_for_a_refusal() -> None:
    throttled, transient = vars(ThrottledRetryableChecker), vars(TransientRetryableChecker)
    codes = {*throttled["_THROTTLED_ERROR_CODES"], *transient["_TRANSIENT_ERROR_CODES"]}
    assert {row_of(code).meaning for code in codes if code in CODES} == {Meaning.THROTTLED, Meaning.RETRY}
    # Two of other services, which EC2 and SSM do not have.
    assert {code for code in codes if code not in CODES} == {
        "ProvisionedThroughputExceededException",
        "TransactionInProgressException",
    }


def test_capacity_of_one_override_outweighs_what_is_wrong_with_another() -> None:
    answer = fleet_answer([row("InvalidSubnetID.NotFound"), row("InsufficientInstanceCapacity", "none left")])
    assert answer.kind is LaunchKind.NO_CAPACITY
    assert answer.detail == "InvalidSubnetID.NotFound: EC2's words; InsufficientInstanceCapacity: none left"


@pytest.mark.parametrize(
    ("code", "kind", "name"),
    [
        ("VcpuLimitExceeded", "m7i.large", '"Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances"'),
        ("VcpuLimitExceeded", "g6.xlarge", '"Running On-Demand G and VT instances"'),
        ("MaxSpotInstanceCountExceeded", "c7g.large", '"All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests"'),
        ("MaxSpotInstanceCountExceeded", "", "Spot Instance Requests for this instance family"),
        ("VcpuLimitExceeded", "", "vCPUs for this instance family"),
        ("VolumeLimitExceeded", "", "EBS storage"),
    ],
)  # fmt: skip
def test_a_quota_is_named_as_service_quotas_names_it(code: str, kind: str, name: str) -> None:
    assert name in mend_of(code, kind)
    assert name in fleet_answer([row(code, kind=kind)]).detail
