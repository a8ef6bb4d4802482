"""What is asked of EC2 when an instance is launched: which type and subnet first, which market, which tags."""

from __future__ import annotations

import pytest

from scaler.sandbox.aws.ec2_world import Instance
from tests.conftest import World

FIRST, SECOND = "subnet-0a1b2c3d4e5f60718", "subnet-0b2c3d4e5f6071829"


def up(world: World) -> Instance | None:
    """What a launch into amd64 came to."""
    before = {instance.id for instance in world.box.aws.alive()}
    ran = world.scaler("up", "-p", "amd64", "--repo", "acme/api")
    launched = [instance for instance in world.box.aws.alive() if instance.id not in before]
    assert (ran.code, len(launched)) in ((0, 1), (5, 0))
    return launched[0] if launched else None


def set_pool(world: World, *lines: str) -> None:
    """Add lines to the pool amd64."""
    world.amend("    max: 5\n", "\n    ".join(["    max: 5", *lines]) + "\n")


@pytest.mark.parametrize("market", ["on-demand", "spot"])
def test_types_and_then_subnets_are_tried_in_the_order_they_stand_in(world: World, market: str) -> None:
    """Left to the price alone, EC2 would take the cheaper m6i.large first."""
    types, subnets = "instance_types: [m7i.large, m6i.large]", f"subnets: [{FIRST}, {SECOND}]"
    set_pool(world, f"market: {market}", types, subnets)
    found = []
    for refused in ("nothing", "m7i.large in the first", "m7i.large", "m6i.large in the first"):
        kind, _, where = refused.partition(" in the ")
        world.box.aws.refuse_capacity(type=kind, subnet=FIRST if where else "*")
        launched = up(world)
        assert launched is not None
        found.append((launched.type, launched.subnet.id))
    assert found == [("m7i.large", FIRST), ("m7i.large", SECOND), ("m6i.large", FIRST), ("m6i.large", SECOND)]
    (config,) = world.box.aws_server.named("ec2:CreateFleet")[0].params["LaunchTemplateConfigs"]
    # EC2 itself promises no order but that of the priorities (AWS docs: FleetLaunchTemplateOverridesRequest).
    assert [each["Priority"] for each in config["Overrides"]] == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("market", "refused", "launched"),
    [
        ("on-demand", "spot", "on-demand"),
        ("on-demand", "on-demand", None),
        ("spot", "on-demand", "spot"),
        ("spot", "spot", None),
        ("spot-then-on-demand", "neither", "spot"),
        ("spot-then-on-demand", "spot", "on-demand"),
        ("spot-then-on-demand", "*", None),
    ],
)
def test_only_the_markets_of_the_pool_are_tried(world: World, market: str, refused: str, launched: str | None) -> None:
    set_pool(world, f"market: {market}")
    world.box.aws.refuse_capacity(market=refused)
    instance = up(world)
    assert (instance.market if instance else None) == launched


def test_the_configs_tags_land_on_the_instance_beside_ours(world: World) -> None:
    world.amend("max_runners", 'tags: {team: platform, "cost:center": "42"}\nmax_runners')
    instance = up(world)
    assert instance is not None
    assert {key: value for key, value in instance.tags.items() if not key.startswith("aws:")} == {
        "team": "platform",
        "cost:center": "42",
        "Name": "main-amd64-0",
        "runner-scaler:fleet": "main",
        "runner-scaler:pool": "amd64",
        "runner-scaler:slot": "0",
        "runner-scaler:scope": "acme/api",
    }
