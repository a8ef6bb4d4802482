"""On which terms a launch is asked for, by what EC2 refused a short while ago, and what its answers say of that."""

from __future__ import annotations

from typing import Any

import pytest

from scaler.aws.fleet import all_offered, fleet_request, named_refused
from scaler.deciding.offerings import REFUSED_FOR, Override, offerings, terms, why_refused
from scaler.model import Market, Memory, Terms
from tests.worlds import NOW, config, pool, span

SPOT, ON_DEMAND = Market.SPOT, Market.ON_DEMAND
POOL = pool(instance_types=("m7i.large", "m6i.large"), subnets=("subnet-a", "subnet-b"))


def names(*markets: Market, of: Any = POOL, kind: str = "", subnet: str = "") -> frozenset[str]:
    """The offerings of these markets, of a type or in a subnet."""
    return frozenset(
        name
        for market in markets
        for override, name in offerings(of, market).items()
        if kind in ("", override.type) and subnet in ("", override.subnet)
    )


def refused(offered: frozenset[str], age: str = "1m") -> Memory:
    """A memory of them."""
    return Memory(refused=dict.fromkeys(offered, NOW - span(age)))


ALL = names(SPOT, ON_DEMAND)


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        pytest.param(Memory(), [(SPOT, ()), (ON_DEMAND, ())], id="nothing refused"),
        pytest.param(refused(names(SPOT)), [(ON_DEMAND, ())], id="a market of which all was refused is left out"),
        pytest.param(refused(ALL), [], id="all refused"),
        pytest.param(refused(ALL, "3m"), [(SPOT, ()), (ON_DEMAND, ())], id="three minutes later all is asked for"),
        pytest.param(
            refused(names(SPOT, kind="m7i.large")),
            [(SPOT, names(SPOT, kind="m7i.large")), (ON_DEMAND, ())],
            id="an override that was refused is skipped in its market",
        ),
    ],
)
def test_what_was_refused_lately_is_not_asked_for(memory: Memory, expected: list[tuple[Market, Any]]) -> None:
    assert terms(POOL, memory, NOW) == tuple(Terms(market, frozenset(skipped)) for market, skipped in expected)


def test_what_one_pool_was_refused_no_pool_asks_for() -> None:
    other = pool("big", instance_types=("m7i.large",), subnets=("subnet-a", "subnet-b"))
    assert terms(other, refused(names(SPOT, kind="m7i.large")), NOW) == (Terms(ON_DEMAND),)


def test_what_the_template_names_is_another_offering_for_each_template() -> None:
    bare, other = pool("amd64"), pool("arm64")
    assert len(names(SPOT, of=bare) | names(SPOT, of=other)) == 2


def test_a_skipped_override_is_not_in_the_call_and_the_rest_keep_their_order() -> None:
    request = fleet_request(config(POOL), POOL, 0, 7, Terms(SPOT, names(SPOT, kind="m7i.large")))
    assert request["LaunchTemplateConfigs"][0]["Overrides"] == [
        {"InstanceType": "m6i.large", "SubnetId": subnet, "Priority": 1.0} for subnet in ("subnet-a", "subnet-b")
    ]


def error(code: str = "InsufficientInstanceCapacity", **overrides: Any) -> dict[str, Any]:
    """A row of a fleet's errors."""
    return {"ErrorCode": code, "LaunchTemplateAndOverrides": {"Overrides": {"Priority": 0.0, **overrides}}}


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([], frozenset()),
        ([error(InstanceType="m7i.large", SubnetId="subnet-a")], names(SPOT, kind="m7i.large", subnet="subnet-a")),
        ([error(InstanceType="m7i.large", SubnetId="subnet-a", AvailabilityZone="us-east-1a")],
         names(SPOT, kind="m7i.large", subnet="subnet-a")),
        ([error(InstanceType="m7i.large")], frozenset()),
        ([error()], frozenset()),
        ([{"ErrorCode": "InsufficientInstanceCapacity"}], frozenset()),
        ([error("InvalidSubnetID.NotFound", InstanceType="m7i.large", SubnetId="subnet-a")], frozenset()),
    ],
    ids=["none", "one", "with its zone too", "half a name", "no name", "no override", "not for want of capacity"],
)  # fmt: skip
def test_a_fleet_that_launched_tells_by_name_what_it_passed_over(errors: Any, expected: frozenset[str]) -> None:
    assert named_refused(POOL, Terms(SPOT), errors) == expected


def test_what_was_skipped_is_not_refused_anew() -> None:
    skipped = names(SPOT, kind="m7i.large")
    assert all_offered(POOL, Terms(SPOT, skipped)) == names(SPOT, kind="m6i.large")
    told = [error(InstanceType="m7i.large", SubnetId="subnet-a")]
    assert named_refused(POOL, Terms(SPOT, skipped), told) == frozenset()


def test_without_capacity_people_are_told_since_when_and_until_when() -> None:
    memory = Memory(refused={**refused(names(SPOT), "2m").refused, **refused(names(ON_DEMAND)).refused})
    assert why_refused(POOL, memory, NOW) == (
        "EC2 had no capacity for pool amd64 (spot 2m00s ago, on-demand 1m00s ago); asked for again in 1m00s"
    )
    assert terms(POOL, memory, NOW + REFUSED_FOR - span("2m")) != ()


def test_an_override_is_ranked_by_its_type() -> None:
    assert list(offerings(POOL, SPOT))[2] == Override("m6i.large", "subnet-a", 1)


def test_what_leaves_the_subnet_to_its_template_is_another_offering_for_each_template() -> None:
    one, other = (pool(name, instance_types=("m7i.large",)) for name in ("amd64", "arm64"))
    assert not set(offerings(one, SPOT).values()) & set(offerings(other, SPOT).values())
