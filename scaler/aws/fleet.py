"""One slot's CreateFleet call: what it asks for, and for which offerings its answer says that there is no capacity. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scaler.aws.codes import Meaning, row_of
from scaler.deciding.offerings import Override, offerings
from scaler.model import Market, Terms
from scaler.names import client_token
from scaler.settings.config import Config, Pool

TAG = "runner-scaler:"
FULL = frozenset({Meaning.NEXT_OVERRIDE, Meaning.NEXT_MARKET})


def fleet_request(config: Config, pool: Pool, slot: int, link: int, terms: Terms) -> dict[str, Any]:
    """
    The call of type instant for one instance, under the client token of the slot's link.

    All launch parameters are the pool's and the terms': nothing of a job is in them, so that two
    ticks that fill one slot ask for the same and get the same instance (D3).
    """
    template = pool.launch_template
    named = {"LaunchTemplateId": template.id} if template.id else {"LaunchTemplateName": template.name}
    asked = [_asked(override) for override in _offered(pool, terms)]
    return {
        "Type": "instant",
        "ClientToken": client_token(config.fleet, pool.name, slot, link),
        "LaunchTemplateConfigs": [
            {
                "LaunchTemplateSpecification": {**named, "Version": template.version},
                **({"Overrides": asked} if any(asked) else {}),
            }
        ],
        "TargetCapacitySpecification": {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": terms.market.value},
        # The instance types stand in order of preference, on either market.
        **(
            {"SpotOptions": {"AllocationStrategy": "capacity-optimized-prioritized"}}
            if terms.market is Market.SPOT
            else {"OnDemandOptions": {"AllocationStrategy": "prioritized"}}
        ),
        "TagSpecifications": [{"ResourceType": "instance", "Tags": _launch_tags(config, pool, slot)}],
    }


def _offered(pool: Pool, terms: Terms) -> dict[Override, str]:
    return {each: name for each, name in offerings(pool, terms.market).items() if name not in terms.skipped}


def _asked(override: Override) -> dict[str, Any]:
    return {
        **({"InstanceType": override.type} if override.type else {}),
        **({"SubnetId": override.subnet} if override.subnet else {}),
        **({"Priority": float(override.rank)} if override.type else {}),
    }


def _launch_tags(config: Config, pool: Pool, slot: int) -> list[dict[str, str]]:
    tags = {
        **config.tags,
        "Name": f"{config.fleet}-{pool.name}-{slot}",
        f"{TAG}fleet": config.fleet,
        f"{TAG}pool": pool.name,
        f"{TAG}slot": str(slot),
    }
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


def all_offered(pool: Pool, terms: Terms) -> frozenset[str]:
    """The offerings that a call asked for. A fleet that launched nothing for want of capacity has tried each."""
    return frozenset(_offered(pool, terms).values())


def named_refused(pool: Pool, terms: Terms, errors: Sequence[Any]) -> frozenset[str]:
    """The offerings that a fleet passed over before it launched, as far as its errors name them."""
    told = [
        row.get("LaunchTemplateAndOverrides", {}).get("Overrides", {})
        for row in errors
        if row_of(str(row.get("ErrorCode", ""))).meaning in FULL
    ]
    return frozenset(name for override, name in _offered(pool, terms).items() if _is_named(override, told))


def _is_named(override: Override, told: Sequence[Any]) -> bool:
    asked = {key: value for key, value in _asked(override).items() if key != "Priority"}
    return bool(asked) and any(asked.items() <= overrides.items() for overrides in told)
