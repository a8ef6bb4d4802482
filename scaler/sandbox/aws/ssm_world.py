"""
SSM Parameter Store: parameters, their tags, and the rules of PutParameter.

Source: the Systems Manager API reference, and error texts as the service gives them. Values are kept here and
given out to whoever may read them; neither the journal nor the recorded calls ever hold one.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from scaler.sandbox.aws.error import AwsError
from scaler.sandbox.aws.iam_world import IamWorld, Principal, refused
from scaler.sandbox.aws.paging import page
from scaler.sandbox.aws.settings import Settings
from scaler.sandbox.aws.ssm_rules import (
    Parameter,
    already_exists,
    below,
    check_name,
    check_size,
    check_tags,
    passes,
    tier_of,
)
from scaler.sandbox.clock import Clock
from scaler.sandbox.journal import Journal

Params = Mapping[str, Any]


class SsmWorld:
    """The parameters of one account and region."""

    def __init__(self, clock: Clock, journal: Journal, iam: IamWorld, settings: Callable[[], Settings]) -> None:
        self._clock = clock
        self._journal = journal
        self._iam = iam
        self._settings = settings
        self.parameters: dict[str, Parameter] = {}
        self._deleted_at: dict[str, datetime] = {}

    def operations(self) -> dict[str, Callable[[Params, Principal], dict[str, Any]]]:
        """What this service serves."""
        return {
            "PutParameter": self.put,
            "GetParameter": self.get,
            "GetParameters": self.get_many,
            "GetParametersByPath": self.by_path,
            "DescribeParameters": self.describe,
            "DeleteParameter": self.delete,
            "DeleteParameters": self.delete_many,
            "AddTagsToResource": self.add_tags,
            "RemoveTagsFromResource": self.remove_tags,
            "ListTagsForResource": self.list_tags,
        }

    def arn(self, name: str) -> str:
        """A parameter's ARN."""
        settings = self._settings()
        return f"arn:aws:ssm:{settings.region}:{settings.account}:parameter/{name.lstrip('/')}"

    def authorize(self, principal: Principal, action: str, params: Params) -> None:
        """
        Raise AccessDeniedException unless this principal may.

        An instance's role may read and delete the one parameter whose tag InstanceId is its own id. IAM can
        meet a condition on a resource's tag only where there is a resource, so a parameter that does not exist
        (yet) is denied as well; `missing: not-found` runs the other answer.
        """
        names = [params[key] for key in ("Name", "ResourceId", "Path") if key in params] + list(params.get("Names", ()))
        arns = [self.arn(name) for name in names]
        self._iam.authorize(principal, f"ssm:{action}", arns)
        if not principal.instance_id:
            return
        for name in names or ("*",):
            held = self.parameters.get(name)
            if held is None and self._settings().parameters.missing == "not-found" and action == "GetParameter":
                continue
            own = held is not None and held.tags.get("InstanceId") == principal.instance_id
            if action not in {"GetParameter", "DeleteParameter"} or not own:
                raise refused(principal, f"ssm:{action}", self.arn(name))

    # --- writing -----------------------------------------------------------------------------

    def put(self, params: Params, caller: Principal) -> dict[str, Any]:
        """PutParameter."""
        name, value = params["Name"], params["Value"]
        check_name(name)
        tags = {each["Key"]: each["Value"] for each in params.get("Tags", ())}
        if tags:
            self._iam.authorize(caller, "ssm:AddTagsToResource", (self.arn(name),))
        held = self.parameters.get(name)
        if params.get("Overwrite") and tags:
            raise AwsError(
                "ValidationException",
                "Invalid request: tags and overwrite can't be used together. To create a parameter with tags, please"
                " remove overwrite flag. To update tags for an existing parameter, please use AddTagsToResource or"
                " RemoveTagsFromResource.",
            )
        self._check_new(name, held, params)
        check_tags(tags)
        tier = tier_of(held, params)
        check_size(value, tier)
        now = self._clock.now()
        self.parameters[name] = Parameter(
            name=name,
            value=value,
            type=params.get("Type") or (held.type if held else ""),
            tier=tier,
            description=params.get("Description", held.description if held else ""),
            version=held.version + 1 if held else 1,
            made_at=held.made_at if held else now,
            modified_at=now,
            modified_by=caller.arn,
            tags=held.tags if held else tags,
            key_id=params.get("KeyId", "alias/aws/ssm"),
            data_type=params.get("DataType", "text"),
        )
        self._journal.write("parameter.put", name=name, principal=caller.arn, tags=tags, tier=tier, new=held is None)
        self._clock.changed()
        return {"Version": self.parameters[name].version, "Tier": tier}

    def _check_new(self, name: str, held: Parameter | None, params: Params) -> None:
        rules = self._settings().parameters
        if held is not None:
            if not params.get("Overwrite"):
                raise already_exists()
            if params.get("Type", held.type) != held.type:
                text = f"The parameter {name} is of type {held.type}; a parameter's type cannot be changed."
                raise AwsError("HierarchyTypeMismatchException", text)
            return
        if not params.get("Type"):
            raise AwsError("ValidationException", "A parameter type is required when you create a parameter.")
        deleted = self._deleted_at.get(name)
        if deleted is not None and self._clock.now() - deleted < timedelta(seconds=rules.reuse):
            raise already_exists()
        if len(self.parameters) >= rules.limit:
            raise AwsError(
                "ParameterLimitExceeded",
                f"The parameter limit of {rules.limit} for this account and region was reached.",
            )

    def delete(self, params: Params, caller: Principal) -> dict[str, Any]:
        """DeleteParameter."""
        if params["Name"] not in self.parameters:
            raise AwsError("ParameterNotFound", f"Parameter {params['Name']} not found.")
        self._remove(params["Name"], caller)
        return {}

    def delete_many(self, params: Params, caller: Principal) -> dict[str, Any]:
        """DeleteParameters: missing names are data, no error."""
        names = list(dict.fromkeys(params["Names"]))
        deleted = [name for name in names if name in self.parameters]
        for name in deleted:
            self._remove(name, caller)
        return {"DeletedParameters": deleted, "InvalidParameters": [name for name in names if name not in deleted]}

    def _remove(self, name: str, caller: Principal) -> None:
        del self.parameters[name]
        self._deleted_at[name] = self._clock.now()
        self._journal.write("parameter.deleted", name=name, principal=caller.arn)
        self._clock.changed()

    # --- reading -----------------------------------------------------------------------------

    def get(self, params: Params, caller: Principal) -> dict[str, Any]:
        """GetParameter."""
        name, _, version = params["Name"].partition(":") if "arn:" not in params["Name"] else (params["Name"], "", "")
        held = self.parameters.get(name.partition(":parameter")[2] or name)
        if held is None:
            raise AwsError("ParameterNotFound", f"Parameter {name} not found.")
        if version and version != str(held.version):
            raise AwsError("ParameterVersionNotFound", f"Systems Manager could not find version {version} of {name}.")
        return {"Parameter": self._shown(held, params, caller)}

    def get_many(self, params: Params, caller: Principal) -> dict[str, Any]:
        """GetParameters."""
        found = [self.parameters[name] for name in params["Names"] if name in self.parameters]
        missing = [name for name in params["Names"] if name not in self.parameters]
        return {"Parameters": [self._shown(each, params, caller) for each in found], "InvalidParameters": missing}

    def by_path(self, params: Params, caller: Principal) -> dict[str, Any]:
        """GetParametersByPath."""
        path = params["Path"].rstrip("/") + "/"
        found = [each for each in self._listed() if below(each.name, path, recursive=params.get("Recursive", False))]
        found = [each for each in found if passes(each, params.get("ParameterFilters", ()))]
        shown, token = self._page(found, params, most=10)
        return {"Parameters": [self._shown(each, params, caller) for each in shown], "NextToken": token}

    def describe(self, params: Params, caller: Principal) -> dict[str, Any]:  # noqa: ARG002 - the operations' one shape
        """DescribeParameters."""
        found = [each for each in self._listed() if passes(each, params.get("ParameterFilters", ()))]
        shown, token = self._page(found, params, most=50)
        return {
            "Parameters": [
                {
                    "Name": each.name,
                    "ARN": self.arn(each.name),
                    "Type": each.type,
                    "KeyId": each.key_id if each.type == "SecureString" else None,
                    "LastModifiedDate": each.modified_at,
                    "LastModifiedUser": each.modified_by,
                    "Description": each.description or None,
                    "Version": each.version,
                    "Tier": each.tier,
                    "Policies": [],
                    "DataType": each.data_type,
                }
                for each in shown
            ],
            "NextToken": token,
        }

    def _listed(self) -> list[Parameter]:
        seen = self._clock.now() - timedelta(seconds=self._settings().parameters.lag)
        return [each for _, each in sorted(self.parameters.items()) if each.made_at <= seen]

    def _page(self, found: list[Parameter], params: Params, most: int) -> tuple[list[Parameter], str | None]:
        size = params.get("MaxResults", most)
        if self._settings().parameters.short_pages:
            size = max(1, size // 3)
        return page(found, lambda each: each.name, size, params.get("NextToken"), "InvalidNextToken")

    def _shown(self, held: Parameter, params: Params, caller: Principal) -> dict[str, Any]:
        clear = held.type != "SecureString" or params.get("WithDecryption", False)
        self._journal.write("parameter.read", name=held.name, principal=caller.arn, decrypted=clear)
        sealed = base64.b64encode(hashlib.sha512(held.value.encode()).digest()).decode()
        return {
            "Name": held.name,
            "Type": held.type,
            "Value": held.value if clear else f"AQICAH{sealed}",
            "Version": held.version,
            "LastModifiedDate": held.modified_at,
            "ARN": self.arn(held.name),
            "DataType": held.data_type,
        }

    # --- tags --------------------------------------------------------------------------------

    def add_tags(self, params: Params, caller: Principal) -> dict[str, Any]:
        """AddTagsToResource."""
        held = self._tagged(params)
        tags = {**held.tags, **{each["Key"]: each["Value"] for each in params["Tags"]}}
        check_tags(tags)
        self._retag(held, tags, caller)
        return {}

    def remove_tags(self, params: Params, caller: Principal) -> dict[str, Any]:
        """RemoveTagsFromResource."""
        held = self._tagged(params)
        self._retag(held, {key: value for key, value in held.tags.items() if key not in params["TagKeys"]}, caller)
        return {}

    def list_tags(self, params: Params, caller: Principal) -> dict[str, Any]:  # noqa: ARG002 - as above
        """ListTagsForResource."""
        held = self._tagged(params)
        return {"TagList": [{"Key": key, "Value": value} for key, value in sorted(held.tags.items())]}

    def _tagged(self, params: Params) -> Parameter:
        held = self.parameters.get(params["ResourceId"])
        if params["ResourceType"] != "Parameter":
            raise AwsError("InvalidResourceType", "The sandbox has parameters only.")
        if held is None:
            raise AwsError("InvalidResourceId", "The resource ID is not valid. Verify that you entered the correct ID.")
        return held

    def _retag(self, held: Parameter, tags: Mapping[str, str], caller: Principal) -> None:
        self.parameters[held.name] = replace(held, tags=tags)
        self._journal.write("tags.changed", id=held.name, tags=dict(tags), principal=caller.arn)
        self._clock.changed()
