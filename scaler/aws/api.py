"""EC2 and SSM as the tick needs them, through boto3. Knows nothing of policy."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config as BotoConfig
from botocore.exceptions import BotoCoreError, ClientError

from scaler.aws.errors import answer_for, code_of, fleet_answer, refusal
from scaler.aws.fleet import TAG, all_offered, fleet_request, named_refused
from scaler.boundary import ServerClock, readable
from scaler.model import (
    Clock,
    Image,
    Instance,
    InstanceState,
    LaunchAnswer,
    LaunchKind,
    Market,
    Parameter,
    Scope,
    Terms,
    Unavailable,
)
from scaler.settings.config import Config

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ssm import SSMClient

STANDARD_TIER_BYTES = 4096
"""A standard parameter holds 4 KB, an advanced one 8 KB (AWS docs: parameter tiers); a JIT secret is about 4 KB."""
SETTINGS = BotoConfig(
    connect_timeout=10,
    read_timeout=30,
    retries={"mode": "standard", "total_max_attempts": 3},
    max_pool_connections=64,  # as many as call at once: one more would be closed after its call
)
log = logging.getLogger(__name__)
LIVE = [state.value for state in InstanceState if state.alive]


class AwsApi:
    """The port `model.Cloud` over EC2 and SSM of one region."""

    def __init__(self, config: Config, session: boto3.Session, clock: Clock) -> None:
        """Work for one fleet, with the session's credentials. Nothing is asked yet."""
        self._config = config
        self._session = session
        self._path = f"/runner-scaler/{config.fleet}/"
        self._tick = uuid.uuid4().hex[:12]
        self._server_clock = ServerClock(clock)
        self._loaded: dict[str, str] = {}

    @cached_property
    def _ec2(self) -> EC2Client:
        client: EC2Client = self._client("ec2")
        return client

    @cached_property
    def _ssm(self) -> SSMClient:
        client: SSMClient = self._client("ssm")
        return client

    def _client(self, service: Any) -> Any:
        client = self._session.client(service, region_name=self._config.region, config=SETTINGS)
        client.meta.events.register("after-call", self._note_answer)
        return client

    def _note_answer(self, http_response: Any, model: Any, **_: Any) -> None:
        # The action's name alone: parameters hold secrets (RG-60).
        log.info("AWS %s:%s: %s", model.service_model.service_name, model.name, http_response.status_code)
        self._server_clock.hear(http_response.headers.get("date"))

    # --- EC2 -----------------------------------------------------------------------------------

    def now(self) -> datetime | None:
        """AWS's clock, None before the first answer."""
        return self._server_clock.now()

    @readable("AWS")
    def instances(self) -> tuple[Instance, ...]:
        """Every living instance that bears the fleet's tag, over all pages."""
        filters = [
            {"Name": f"tag:{TAG}fleet", "Values": [self._config.fleet]},
            {"Name": "instance-state-name", "Values": LIVE},
        ]
        return tuple(_instance(row) for row in self._describe(Filters=filters, MaxResults=1000))

    @readable("AWS")
    def instance(self, instance_id: str) -> tuple[Instance, str] | None:
        """One instance, whoever owns it, with the fleet its tag names."""
        rows = list(self._describe(Filters=[{"Name": "instance-id", "Values": [instance_id]}]))
        if not rows:
            return None
        return _instance(rows[0]), _tags(rows[0]).get("fleet", "")

    @readable("AWS")
    def look(self, instance_ids: tuple[str, ...]) -> Mapping[str, Instance]:
        """Instances by id. Asked by filter: an id that is not there yet would fail a call by InstanceIds."""
        if not instance_ids:
            return {}
        rows = self._describe(Filters=[{"Name": "instance-id", "Values": list(instance_ids)}])
        return {row["InstanceId"]: _instance(row) for row in rows}

    @readable("AWS")
    def images(self, image_ids: tuple[str, ...]) -> tuple[Image, ...]:
        """Images by id. Asked by filter: an id that is gone would fail a call by ImageIds."""
        with _translated("ec2:DescribeImages"):
            answer = self._ec2.describe_images(Filters=[{"Name": "image-id", "Values": list(image_ids)}])
        return tuple(_image(row) for row in answer["Images"])

    def _describe(self, **asked: Any) -> Iterator[Any]:
        with _translated("ec2:DescribeInstances"):
            for page in self._ec2.get_paginator("describe_instances").paginate(**asked):
                for reservation in page["Reservations"]:
                    yield from reservation["Instances"]

    @readable("AWS")
    def launch(self, pool: str, slot: int, link: int, terms: Terms) -> LaunchAnswer:
        """One CreateFleet call for one instance."""
        entry = self._config.pool(pool)
        if entry is None:
            raise ValueError(f"no pool {pool}")
        try:
            answer = self._ec2.create_fleet(**fleet_request(self._config, entry, slot, link, terms))
        except ClientError as error:
            known = answer_for(error, pool, self._config.region)
            if known is None:
                raise refusal("ec2:CreateFleet", error) from error
        except BotoCoreError as error:
            raise Unavailable(f"AWS: ec2:CreateFleet: no answer ({type(error).__name__})") from error
        else:
            errors = answer.get("Errors", [])
            ids = [i for row in answer.get("Instances", []) for i in row.get("InstanceIds", [])]
            if ids:
                return LaunchAnswer(LaunchKind.LAUNCHED, ids[0], refused=named_refused(entry, terms, errors))
            known = fleet_answer(errors)
        return replace(known, refused=all_offered(entry, terms)) if known.kind is LaunchKind.NO_CAPACITY else known

    def terminate(self, instance_id: str) -> bool:
        """End one instance; one id a call, since one bad id fails a whole call."""
        with _translated("ec2:TerminateInstances"):
            try:
                self._ec2.terminate_instances(InstanceIds=[instance_id])
            except ClientError as error:
                if code_of(error) != "InvalidInstanceID.NotFound":
                    raise
                found = self.look((instance_id,)).get(instance_id)
                if found is None or found.state.alive:
                    # It was on a list a moment ago, and EC2's views lag behind each other: it may well live.
                    message = f"EC2 says that it knows no {instance_id}, and does not list it as ended"
                    raise Unavailable(f"AWS: ec2:TerminateInstances: {message}") from error
                return False
        return True

    def tag(self, instance_id: str, key: str, value: str | None) -> None:
        """Set or remove `runner-scaler:<key>` on one instance."""
        with _translated("ec2:CreateTags" if value is not None else "ec2:DeleteTags"):
            if value is None:
                self._ec2.delete_tags(Resources=[instance_id], Tags=[{"Key": TAG + key}])
            else:
                self._ec2.create_tags(Resources=[instance_id], Tags=[{"Key": TAG + key, "Value": value}])

    # --- SSM -----------------------------------------------------------------------------------

    def parameter_name(self, instance_id: str) -> str:
        """`/runner-scaler/<fleet>/<instance-id>`."""
        return self._path + instance_id

    @readable("AWS")
    def parameters(self) -> tuple[Parameter, ...]:
        """The instances' parameters below the fleet's path; metadata alone, no values."""
        filters = [{"Key": "Name", "Option": "BeginsWith", "Values": [self._path]}]
        return tuple(
            Parameter(
                row["Name"],
                row["Name"].removeprefix(self._path),
                row["LastModifiedDate"].astimezone(UTC),
                _described(row.get("Description", "")).get("scope", ""),
            )
            for row in self._describe_parameters(filters)
            if row["Name"].startswith(self._path + "i-")
        )

    def _describe_parameters(self, filters: list[Any]) -> Iterator[Any]:
        with _translated("ssm:DescribeParameters"):
            pages = self._ssm.get_paginator("describe_parameters").paginate(
                ParameterFilters=filters, PaginationConfig={"PageSize": 50}
            )
            for page in pages:
                yield from page["Parameters"]

    def put_parameter(self, instance_id: str, value: str, scope: Scope, runner_id: int | None) -> bool:
        """Put once, never overwrite. A put whose answer was lost is known by its description."""
        name = self.parameter_name(instance_id)
        description = f"scope={scope} runner={runner_id or '-'} tick={self._tick}"
        try:
            with _translated("ssm:PutParameter"):
                self._ssm.put_parameter(
                    Name=name,
                    Value=value,
                    Description=description,
                    Type="SecureString",
                    Tier="Advanced" if len(value.encode()) > STANDARD_TIER_BYTES else "Standard",
                    Tags=[
                        {"Key": "InstanceId", "Value": instance_id},
                        {"Key": f"{TAG}fleet", "Value": self._config.fleet},
                    ],
                )
        except _AlreadyExistsError:
            found = self._describe_parameters([{"Key": "Name", "Option": "Equals", "Values": [name]}])
            return any(row.get("Description") == description for row in found)
        return True

    def delete_parameters(self, names: tuple[str, ...]) -> None:
        """Delete by tens; missing names are data in the answer, not errors."""
        for start in range(0, len(names), 10):
            with _translated("ssm:DeleteParameters"):
                self._ssm.delete_parameters(Names=list(names[start : start + 10]))

    @readable("AWS")
    def load_state(self, part: str = "") -> str | None:
        """The state parameter's value, None if there is none yet."""
        try:
            with _translated("ssm:GetParameter"):
                value = self._ssm.get_parameter(Name=f"{self._path}state{part}")["Parameter"].get("Value")
        except _NotThereError:
            return None
        self._loaded[part] = value or ""
        return value

    def save_state(self, value: str, part: str = "", *, always: bool = False) -> bool:
        """
        Write the state parameter, if it changed or `always`; False if there was none and another tick wrote another.

        Two first ticks must not each begin chains of their own.
        """
        if value == self._loaded.get(part) and not always:
            return True
        name, there = f"{self._path}state{part}", part in self._loaded
        try:
            with _translated("ssm:PutParameter"):
                self._ssm.put_parameter(Name=name, Value=value, Type="String", Overwrite=there)
        except _AlreadyExistsError:
            return self.load_state(part) == value
        self._loaded[part] = value
        return True


class _AlreadyExistsError(Exception):
    pass


class _NotThereError(Exception):
    pass


@contextmanager
def _translated(action: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        code = code_of(error)
        if code == "ParameterAlreadyExists":
            raise _AlreadyExistsError from error
        if code == "ParameterNotFound":
            raise _NotThereError from error
        raise refusal(action, error) from error
    except BotoCoreError as error:
        raise Unavailable(f"AWS: {action}: no answer ({type(error).__name__})") from error


def _tags(row: Any) -> dict[str, str]:
    return {tag["Key"].removeprefix(TAG): tag["Value"] for tag in row.get("Tags", []) if tag["Key"].startswith(TAG)}


def _described(description: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in description.split() if "=" in part)


def _time(value: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(value).astimezone(UTC) if value else None
    except (ValueError, OverflowError):
        return None


def _image(row: Any) -> Image:
    tags = _tags(row)
    built_at = _time(tags.get("built")) or _time(row.get("CreationDate"))
    return Image(row["ImageId"], tags.get("runner-version", ""), built_at)


def _instance(row: Any) -> Instance:
    tags = _tags(row)
    return Instance(
        id=row["InstanceId"],
        pool=tags.get("pool", ""),
        slot=int(slot) if (slot := tags.get("slot", "")).isascii() and slot.isdigit() else None,
        state=InstanceState(row["State"]["Name"]),
        launched_at=row["LaunchTime"].astimezone(UTC),
        type=row.get("InstanceType", ""),
        market=Market.SPOT if row.get("InstanceLifecycle") == "spot" else Market.ON_DEMAND,
        scope=tags.get("scope"),
        idle_since=_time(tags.get("idle-since")),
        draining_since=_time(tags.get("draining-since")),
        hold="hold" in tags,
        image=row.get("ImageId", ""),
        ended_by=row.get("StateReason", {}).get("Code", ""),
    )
