"""The rules of Parameter Store: names, tiers, sizes, tags, filters, with the errors that the service answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from scaler.sandbox.aws.error import AwsError

Params = Mapping[str, Any]
STANDARD_BYTES, ADVANCED_BYTES = 4096, 8192
MAX_TAGS = 50


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter, its newest version. `modified_at` is virtual time."""

    name: str
    value: str = field(repr=False)
    type: str
    tier: str
    description: str
    version: int
    made_at: datetime
    modified_at: datetime
    modified_by: str
    tags: Mapping[str, str]
    key_id: str = ""
    data_type: str = "text"


def already_exists() -> AwsError:
    """What PutParameter answers where it may not overwrite."""
    text = "The parameter already exists. To overwrite this value, set the overwrite option in the request to true."
    return AwsError("ParameterAlreadyExists", text)


def check_name(name: str) -> None:
    """Raise unless a parameter may bear this name."""
    if not re.fullmatch(r"[a-zA-Z0-9_.\-/]+", name):
        raise AwsError(
            "ValidationException",
            "Invalid parameter name. Please use correct syntax for referencing a version/label  <name>, <name>:version,"
            " <name>:label",
        )
    if "/" in name and not name.startswith("/"):
        raise AwsError("ValidationException", "Parameter name must be a fully qualified name.")
    if re.match(r"/?(aws|ssm)", name, re.IGNORECASE):
        text = 'Parameter name: can\'t be prefixed with "aws" or "ssm" (case-insensitive).'
        code = "AccessDeniedException" if re.match(r"/(aws|ssm)", name, re.IGNORECASE) else "ValidationException"
        raise AwsError(code, f"No access to reserved parameter name: {name}." if code[0] == "A" else text)
    if name.strip("/").count("/") > 14:
        text = "Parameter hierarchies can have a maximum of 15 levels."
        raise AwsError("HierarchyLevelLimitExceededException", text)


def check_tags(tags: Mapping[str, str]) -> None:
    """Raise unless a parameter may bear these tags."""
    if len(tags) > MAX_TAGS:
        raise AwsError("TooManyTagsError", "The number of tags exceeds the limit of 50.")
    for key in tags:
        if key.lower().startswith("aws:"):
            raise AwsError("ValidationException", f"Tag key {key} uses the reserved prefix aws:.")


def tier_of(held: Parameter | None, params: Params) -> str:
    """The tier that a PutParameter comes to. Raises for a downgrade."""
    asked = params.get("Tier") or (held.tier if held else "Standard")
    if asked == "Intelligent-Tiering":
        big = len(params["Value"].encode()) > STANDARD_BYTES or bool(params.get("Policies"))
        return "Advanced" if big or (held is not None and held.tier == "Advanced") else "Standard"
    if held is not None and held.tier == "Advanced" and asked == "Standard":
        raise AwsError(
            "ValidationException",
            "This parameter uses the advanced-parameter tier. You can't downgrade a parameter from the"
            " advanced-parameter tier to the standard-parameter tier. If necessary, you can delete the advanced"
            " parameter and recreate it as a standard parameter.",
        )
    return str(asked)


def check_size(value: str, tier: str) -> None:
    """Raise unless a tier holds a value of this size."""
    most = STANDARD_BYTES if tier == "Standard" else ADVANCED_BYTES
    if not value:
        raise AwsError("ValidationException", "Parameter value can't be empty.")
    if len(value.encode()) > most:
        hint = " To create a larger parameter value, upgrade the parameter to use the advanced-parameter tier."
        raise AwsError(
            "ValidationException",
            f"{tier} tier parameters support a maximum parameter value of {most} characters."
            + (hint if tier == "Standard" else ""),
        )


def below(name: str, path: str, *, recursive: bool) -> bool:
    """Whether a name lies below a path that ends with a slash."""
    if not f"/{name.lstrip('/')}".startswith(path):
        return False
    return recursive or "/" not in name[len(path) :]


def passes(held: Parameter, filters: Iterable[Params]) -> bool:
    """Whether a parameter passes every filter. Raises for a filter that there is not."""
    return all(_meets(held, each) for each in filters)


def _meets(held: Parameter, wanted: Params) -> bool:
    key, values = wanted["Key"], wanted.get("Values", ())
    if key == "Path":
        option = wanted.get("Option", "OneLevel")
        deep = option == "Recursive"
        return any(below(held.name, each.rstrip("/") + "/", recursive=deep) for each in values)
    option = wanted.get("Option", "Equals")
    if key.startswith("tag:"):
        tag = held.tags.get(key[4:])
        return tag is not None and (not values or tag in values)
    fact = {"Name": held.name, "Type": held.type, "Tier": held.tier, "KeyId": held.key_id}.get(key)
    if fact is None:
        raise AwsError("InvalidFilterKey", "The specified key isn't valid.")
    match option:
        case "Equals":
            return fact in values or (key == "Name" and fact in [f"/{each.lstrip('/')}" for each in values])
        case "BeginsWith":
            return any(fact.startswith(each) for each in values)
        case "Contains" if key == "Name":
            return any(each in fact for each in values)
    raise AwsError("InvalidFilterOption", f"The specified filter option isn't valid: {option}")
