"""EC2's filters and tags: wildcards, `tag:K`, limits, and the rules of tag keys."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from scaler.sandbox.aws.error import AwsError

Params = Mapping[str, Any]
MAX_TAGS = 50
# What an instance's own metadata service can serve (EC2 user guide, "instance tags in instance metadata").
_METADATA_KEY = re.compile(r"[0-9a-zA-Z\-_+=,.@:]{1,255}")


def wanted(filters: Sequence[Params], facts: Mapping[str, Sequence[str]], tags: Mapping[str, str]) -> bool:
    """Whether something with these facts and tags passes every filter. Raises for a filter that there is not."""
    return all(_passes(each, facts, tags) for each in filters)


def _passes(each: Params, facts: Mapping[str, Sequence[str]], tags: Mapping[str, str]) -> bool:
    name, values = each.get("Name", ""), each.get("Values", ())
    if not values:
        raise AwsError("InvalidParameterValue", f"The filter '{name}' has no values.")
    if len(values) > 200:
        raise AwsError("FilterLimitExceeded", "The maximum number of filter values specified on a single call is 200")
    if name.startswith("tag:"):
        found: Sequence[str] = [tags[name[4:]]] if name[4:] in tags else []
    elif name == "tag-key":
        found = list(tags)
    elif name == "tag-value":
        found = list(tags.values())
    elif name in facts:
        found = facts[name]
    else:
        raise AwsError("InvalidParameterValue", f"The filter '{name}' is invalid")
    return any(_like(value).fullmatch(fact) for value in values for fact in found)


@cache
def _like(pattern: str) -> re.Pattern[str]:
    # EC2's wildcards: * and ?, a backslash before one makes it literal; case matters.
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    known = {"*": ".*", "?": "."}
    return re.compile(
        "".join(known.get(part) or re.escape(part.removeprefix("\\") or "\\") for part in parts), re.DOTALL
    )


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as EC2 writes them."""
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


def tags_for(resource: str, params: Params) -> dict[str, str]:
    """The tags that a TagSpecifications parameter gives to one kind of resource. Raises for a bad key."""
    tags: dict[str, str] = {}
    for specification in params.get("TagSpecifications", ()):
        if specification.get("ResourceType") != resource:
            continue
        for tag in specification.get("Tags", ()):
            if tag["Key"] in tags:
                text = f"Duplicate tag key '{tag['Key']}' specified."
                raise AwsError("InvalidParameterValue", text)
            tags[tag["Key"]] = tag.get("Value", "")
    refuse_reserved(tags)
    check_tags(tags)
    return tags


def check_tags(tags: Mapping[str, str], *, metadata: bool = False) -> None:
    """Raise unless a resource may bear these tags; `metadata` if its own metadata service serves them."""
    if sum(1 for key in tags if not key.startswith("aws:")) > MAX_TAGS:
        raise AwsError("TagLimitExceeded", "More than 50 tags specified")
    for key, value in tags.items():
        if metadata and (not _METADATA_KEY.fullmatch(key) or key in {".", "..", "_index"}):
            raise AwsError(
                "InvalidParameterValue",
                f"'{key}' is not a valid tag key. Tag keys must match pattern ([0-9a-zA-Z\\-_+=,.@:]{{1,255}}), and"
                " must not be a reserved name ('.', '..', '_index')",
            )
        if len(key) > 127 or not key:
            raise AwsError("InvalidParameterValue", "Tag key exceeds the maximum length of 127 characters")
        if len(value) > 255:
            raise AwsError("InvalidParameterValue", "Tag value exceeds the maximum length of 255 characters")


def refuse_reserved(keys: Iterable[str]) -> None:
    """Raise if a caller tries to write a key of AWS's own."""
    for key in keys:
        if key.lower().startswith("aws:"):
            text = f"Tag keys starting with 'aws:' are reserved for internal use: {key}"
            raise AwsError("InvalidParameterValue", text)
