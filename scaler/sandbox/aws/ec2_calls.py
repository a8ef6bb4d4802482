"""CreateFleet, RunInstances, DescribeFleets: the calls that launch, and what a repeated call is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scaler.sandbox.aws.ec2_filters import tag_list, tags_for
from scaler.sandbox.aws.ec2_launch import Launcher, Order, Place, vcpus_of
from scaler.sandbox.aws.ec2_tokens import TokenBook, dead_token
from scaler.sandbox.aws.ec2_views import instance_shown
from scaler.sandbox.aws.ec2_world import DEAD, Ec2World, Instance
from scaler.sandbox.aws.error import AwsError
from scaler.sandbox.aws.iam_world import IamWorld, Principal

Params = Mapping[str, Any]
Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One launch template with one override, in the order in which a fleet tries them."""

    merged: Params
    tags: Mapping[str, str]
    shown: Params
    priority: float
    price: float


@dataclass(frozen=True, slots=True)
class Fleet:
    """A fleet that was made, for DescribeFleets."""

    asked: Params
    answer: Answer
    tags: Mapping[str, str]
    made_at: datetime


class LaunchCalls:
    """The launching operations of EC2."""

    def __init__(self, ec2: Ec2World, launcher: Launcher, iam: IamWorld) -> None:
        self._ec2 = ec2
        self._launcher = launcher
        self._iam = iam
        self.tokens = TokenBook(ec2)
        self.prices: dict[str, float] = {}
        self._fleets: dict[str, Fleet] = {}

    def operations(self) -> dict[str, Callable[[Params, Principal], Answer]]:
        """What this part of EC2 serves."""
        return {
            "CreateFleet": self.create_fleet,
            "RunInstances": self.run,
            "DescribeFleets": self.describe_fleets,
            "DescribeFleetInstances": self.describe_fleet_instances,
        }

    # --- CreateFleet -------------------------------------------------------------------------

    def create_fleet(self, params: Params, caller: Principal) -> Answer:
        """
        CreateFleet with Type=instant: launch what can be launched, answer the rest as Errors per override.

        A fleet that launched nothing is a success without instances, and its token is spent (runs-on#251).
        """
        if params.get("Type", "maintain") != "instant":
            raise AwsError("UnsupportedOperation", "The sandbox serves fleets of type instant.")
        candidates = [each for config in params["LaunchTemplateConfigs"] for each in self._candidates(config)]
        wanted = _wanted(params["TargetCapacitySpecification"])
        tags = tags_for("instance", params)
        _dry_run(params)
        token = params.get("ClientToken", "")
        use = self.tokens.find("CreateFleet", "", token, params)
        if use is not None:
            if self._ec2.settings().tokens.replay == "error" and self.tokens.all_terminated(use):
                raise dead_token()
            return dict(use.answer)
        fleet_id = f"fleet-{self._ec2.ids.uuid()}"
        launched: list[tuple[Candidate, Instance]] = []
        errors: list[Answer] = []
        for market, count in wanted.items():
            option = params.get("SpotOptions" if market == "spot" else "OnDemandOptions", {})
            orders = [(each, self._order(each, market, tags, token, fleet_id)) for each in _ranked(candidates, option)]
            launched += self._fill(orders, count, int(option.get("MinTargetCapacity", 0)), caller, errors)
        answer = {"FleetId": fleet_id, "Errors": errors, "Instances": [_launched(*each) for each in launched]}
        self._fleets[fleet_id] = Fleet(params, answer, tags_for("fleet", params), self._ec2.clock.now())
        ids = tuple(instance.id for _, instance in launched)
        self.tokens.keep("CreateFleet", "", token, params, answer, ids)
        self._ec2.journal.write(
            "fleet.created",
            id=fleet_id,
            instances=list(ids),
            errors=[each["ErrorCode"] for each in errors],
            client_token=token,
        )
        return answer

    def _candidates(self, config: Params) -> Iterator[Candidate]:
        specification = config.get("LaunchTemplateSpecification", {})
        base, tags = self._launcher.merged({"LaunchTemplateSpecification": specification})
        shown = {
            "LaunchTemplateSpecification": {
                "LaunchTemplateId": tags["aws:ec2launchtemplate:id"],
                "Version": tags["aws:ec2launchtemplate:version"],
            }
        }
        for override in config.get("Overrides") or [{}]:
            merged = {**base, **{key: value for key, value in override.items() if key not in {"Priority", "MaxPrice"}}}
            kind = str(merged.get("InstanceType", ""))
            if "SubnetId" not in override and "AvailabilityZone" in override:
                merged.pop("SubnetId", None)
            yield Candidate(
                merged,
                tags,
                {**shown, "Overrides": {key: value for key, value in override.items() if key in _SHOWN}},
                float(override.get("Priority", float("inf"))),
                self.prices.get(kind, float("inf")),
            )

    def _order(self, each: Candidate, market: str, tags: Mapping[str, str], token: str, fleet_id: str) -> Order:
        joined = {**each.tags, **tags, "aws:ec2:fleet-id": fleet_id}
        return Order(each.merged, market, joined, token, fleet_id)

    def _fill(
        self, orders: list[tuple[Candidate, Order]], count: int, least: int, caller: Principal, errors: list[Answer]
    ) -> list[tuple[Candidate, Instance]]:
        """Take capacity for up to `count` instances, going on to the next candidate when one is refused."""
        taken: list[tuple[Candidate, Order, Place]] = []
        ahead = 0
        for candidate, order in orders:
            try:
                self._may_launch(order, caller)
                place = self._launcher.place(order)
                while len(taken) < count:
                    self._launcher.take(order, place, ahead)
                    ahead += vcpus_of(place.type)
                    taken.append((candidate, order, place))
            except AwsError as error:
                errors.append(
                    {
                        "LaunchTemplateAndOverrides": candidate.shown,
                        "Lifecycle": order.market,
                        "ErrorCode": error.code,
                        "ErrorMessage": error.message,
                    }
                )
            if len(taken) >= count:
                break
        if len(taken) < least:
            return []
        return [(candidate, self._launcher.launch(order, place, "CreateFleet")) for candidate, order, place in taken]

    def _may_launch(self, order: Order, caller: Principal) -> None:
        # A fleet launches in its caller's name; what the caller lacks is an error of the override.
        self._iam.authorize(caller, "ec2:RunInstances")
        if any(not key.startswith("aws:") for key in order.tags):
            self._iam.authorize(caller, "ec2:CreateTags")
        if order.data.get("IamInstanceProfile"):
            self._iam.authorize(caller, "iam:PassRole")

    def describe_fleets(self, params: Params, caller: Principal) -> Answer:  # noqa: ARG002 - the operations' one shape
        """DescribeFleets: an instant fleet appears only if it is asked for by id."""
        shown = []
        for fleet_id in params.get("FleetIds", ()):
            fleet = self._fleets.get(fleet_id)
            if fleet is None:
                raise AwsError("InvalidFleetId.NotFound", f"The fleet ID '{fleet_id}' does not exist.")
            shown.append(self._fleet_shown(fleet_id, fleet))
        return {"Fleets": shown}

    def _fleet_shown(self, fleet_id: str, fleet: Fleet) -> Answer:
        ids = [each for group in fleet.answer["Instances"] for each in group["InstanceIds"]]
        fulfilled = float(sum(1 for each in ids if (held := self._ec2.get(each)) and held.state not in DEAD))
        target = {
            key: value
            for key, value in fleet.asked["TargetCapacitySpecification"].items()
            if key != "TargetCapacityUnitType"
        }
        return {
            "ActivityStatus": "fulfilled" if fulfilled else "pending_fulfillment",
            "CreateTime": fleet.made_at.replace(microsecond=0),
            "FleetId": fleet_id,
            "FleetState": "active",
            "ClientToken": fleet.asked.get("ClientToken"),
            "FulfilledCapacity": fulfilled,
            "FulfilledOnDemandCapacity": 0.0,
            "TargetCapacitySpecification": target,
            "TerminateInstancesWithExpiration": False,
            "Type": "instant",
            "Errors": fleet.answer["Errors"],
            "Instances": [
                {key: value for key, value in each.items() if key not in {"SubnetId", "AvailabilityZone"}}
                for each in fleet.answer["Instances"]
            ],
            "Tags": tag_list(fleet.tags),
        }

    def describe_fleet_instances(self, params: Params, caller: Principal) -> Answer:  # noqa: ARG002 - as above
        """DescribeFleetInstances, which does not support instant fleets (EC2 API reference)."""
        if params["FleetId"] not in self._fleets:
            raise AwsError("InvalidFleetId.NotFound", f"The fleet ID '{params['FleetId']}' does not exist.")
        text = "DescribeFleetInstances does not support fleets of type instant. Use DescribeFleets with the fleet ID."
        raise AwsError("UnsupportedOperation", text)

    # --- RunInstances ------------------------------------------------------------------------

    def run(self, params: Params, caller: Principal) -> Answer:
        """RunInstances: as many as there is capacity for up to MaxCount, or none below MinCount."""
        least, most = params["MinCount"], params["MaxCount"]
        if not 1 <= least <= most:
            text = f"Value ({most}) for parameter maxCount is invalid. Expecting a value of at least minCount."
            raise AwsError("InvalidParameterValue", text)
        merged, tags = self._launcher.merged(params)
        market = merged.get("InstanceMarketOptions", {}).get("MarketType", "on-demand")
        token = params.get("ClientToken", "")
        joined = {**tags, **tags_for("instance", params)}
        order = Order(merged, market, joined, token, reservation_id=self._ec2.ids.new("r"))
        self._may_launch(order, caller)
        place = self._launcher.place(order)
        _dry_run(params)
        zone = place.subnet.zone if _zonal(merged) else ""
        use = self.tokens.find("RunInstances", zone, token, params)
        if use is not None:
            if self.tokens.all_terminated(use):
                raise dead_token()
            return self._reservation([held for each in use.instance_ids if (held := self._ec2.get(each))])
        room = self._room(order, place, least, most)
        launched = [self._launcher.launch(order, place, "RunInstances") for _ in range(room)]
        self.tokens.keep("RunInstances", zone, token, params, {}, tuple(each.id for each in launched))
        return self._reservation(launched)

    def _room(self, order: Order, place: Place, least: int, most: int) -> int:
        for taken in range(most):
            try:
                self._launcher.take(order, place, taken * vcpus_of(place.type))
            except AwsError:
                if taken >= least:
                    return taken
                raise
        return most

    def _reservation(self, instances: list[Instance]) -> Answer:
        return {
            "ReservationId": instances[0].reservation_id,
            "OwnerId": self._ec2.settings().account,
            "Groups": [],
            "Instances": [instance_shown(self._ec2, each, index) for index, each in enumerate(instances)],
        }


_SHOWN = {
    "InstanceType", "MaxPrice", "SubnetId", "AvailabilityZone", "WeightedCapacity", "Priority", "Placement", "ImageId",
}  # fmt: skip


def _wanted(target: Params) -> dict[str, int]:
    """How many of each market: what is not asked for by name goes to the default type."""
    total = target["TotalTargetCapacity"]
    counts = {"on-demand": target.get("OnDemandTargetCapacity", 0), "spot": target.get("SpotTargetCapacity", 0)}
    rest = total - sum(counts.values())
    if rest < 0:
        text = "The total target capacity must be at least the sum of the on-demand and Spot target capacities."
        raise AwsError("InvalidTargetCapacitySpecification", text)
    counts[target.get("DefaultTargetCapacityType", "on-demand")] += rest
    return {market: count for market, count in counts.items() if count}


def _ranked(candidates: list[Candidate], option: Params) -> list[Candidate]:
    """The order of tries: by priority where the strategy says so, by price for the cheapest, else as listed."""
    match option.get("AllocationStrategy", "lowest-price"):
        case "prioritized" | "capacity-optimized-prioritized":
            return sorted(candidates, key=lambda each: each.priority)
        case "lowest-price" | "price-capacity-optimized":
            return sorted(candidates, key=lambda each: each.price)
    return candidates


def _launched(candidate: Candidate, instance: Instance) -> Answer:
    return {
        "LaunchTemplateAndOverrides": candidate.shown,
        "Lifecycle": instance.market,
        "InstanceIds": [instance.id],
        "InstanceType": instance.type,
        "SubnetId": instance.subnet.id,
        "AvailabilityZone": instance.subnet.zone,
    }


def _zonal(merged: Params) -> bool:
    interfaces = merged.get("NetworkInterfaces", ())
    placed = merged.get("Placement", {}).get("AvailabilityZone")
    return bool(merged.get("SubnetId") or placed or (interfaces and interfaces[0].get("SubnetId")))


def _dry_run(params: Params) -> None:
    if params.get("DryRun"):
        raise AwsError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
