"""What a text of the config means beyond its pattern: durations, cron, time zones, regions, repositories, labels."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from scaler import durations
from scaler.settings import schedule
from scaler.settings.schema import LABEL, REGION, REGIONS, TAG_KEY, Schema
from scaler.settings.shard import shard
from scaler.text import nearest, quoted


def refusal(text: str, schema: Schema) -> str | None:
    """Why a text cannot be taken, in words that fit its kind; None leaves it to the schema's own keywords."""
    check = _CHECKS.get(schema.get("x-kind", ""))
    return check(text, schema) if check else None


def doubt(value: Any, schema: Schema) -> str | None:
    """Why a value that is taken may still be a mistake."""
    if schema.get("x-kind") == "region" and value not in REGIONS:
        meant = nearest(value, REGIONS)
        return f"{quoted(value)} is not a region known here" + (f"; did you mean {meant}?" if meant else "")
    return None


def convert(value: Any, schema: Schema) -> Any:
    """The value as the program uses it: durations as timedelta."""
    if schema.get("x-kind") == "duration":
        return durations.read(value)
    return value


def _duration(text: str, schema: Schema) -> str | None:
    low, high = durations.read(schema["x-low"]), durations.read(schema["x-high"])
    try:
        durations.parse(text, low, high)
    except ValueError as error:
        short = re.fullmatch(durations.PATTERN, text) and durations.read(text) < low
        return (
            f"{quoted(text)} is below {schema['x-low']}: {why}"
            if (why := schema.get("x-why-low")) and short
            else str(error)
        )
    return None


def _cron(text: str, _: Schema) -> str | None:
    try:
        schedule.parse_cron(text)
    except ValueError as error:
        return str(error)
    return None


def _timezone(text: str, _: Schema) -> str | None:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        meant = nearest(text, available_timezones())
        return f"{quoted(text)} is not an IANA time zone" + (f"; did you mean {meant}?" if meant else "")
    return None


def _region(text: str, _: Schema) -> str | None:
    if re.fullmatch(REGION, text):
        return None
    meant = nearest(text, REGIONS)
    return f"{quoted(text)} is not an AWS region" + (f"; did you mean {meant}?" if meant else "")


def _repository(text: str, _: Schema) -> str | None:
    link = re.fullmatch(r"(?:https?://|ssh://git@|git@)?[\w.-]+\.[a-z]{2,}[:/]+([\w.-]+)/([\w.-]+?)/?", text, re.ASCII)
    plain = re.fullmatch(r"([\w.-]+)/([\w.-]+?)\.git", text, re.ASCII | re.IGNORECASE)
    if found := link or plain:
        return f"{quoted(text)}: write {found[1]}/{found[2].removesuffix('.git')}"
    if "*" in text:
        return f"{quoted(text)} is a pattern; name one repository as owner/name"
    return None


def _repositories(text: str, schema: Schema) -> str | None:
    """A pattern's owner is named: whose repositories are listed."""
    if "*" not in text:
        return _repository(text, schema)
    if "*" in text.partition("/")[0]:
        return f"{quoted(text)} names no owner; write acme/* for all repositories of acme"
    return None


def _label(text: str, _: Schema) -> str | None:
    if re.match(r"(ubuntu|windows|macos)-(latest|slim|[0-9])", text.lower()):
        return f"{quoted(text)} is a GitHub-hosted label: jobs that ask for it never come here; remove it"
    if "," in text:
        return f"{quoted(text)} has a comma; write one list entry per label"
    return None if re.search(LABEL, text) or text.strip() else "empty label; remove it"


def _tag_key(text: str, _: Schema) -> str | None:
    if text.lower().startswith("aws:"):
        return f"{quoted(text)} is reserved by AWS; choose another key"
    if text.startswith("runner-scaler:"):
        return f"{quoted(text)} is reserved: the scaler knows its instances by such tags; choose another key"
    return None if re.search(TAG_KEY, text) or text.strip() else "empty tag key; remove it"


def _shard(text: str, _: Schema) -> str | None:
    try:
        shard(text)
    except ValueError as error:
        return str(error)
    return None


_CHECKS: dict[str, Callable[[str, Schema], str | None]] = {
    "duration": _duration,
    "cron": _cron,
    "timezone": _timezone,
    "region": _region,
    "repository": _repository,
    "repositories": _repositories,
    "label": _label,
    "tag key": _tag_key,
    "shard": _shard,
}
