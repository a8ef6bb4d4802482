"""
The one description of `config.yaml`: a JSON Schema (draft 2020-12) as data.

`python -m scaler schema` prints it for editors, and the loader walks this same object, so that the two cannot
disagree. Keys that begin with `x-` are for people: what was expected, how to mend it, how a text is read further.
What ties two keys together stands in `config_rules`.
"""

from __future__ import annotations

import json
from typing import Any, Final

from scaler import durations

Schema = dict[str, Any]

VERSION: Final = 1
"""The version of the file's shape. A newer one is refused: its keys may mean what this program does not do."""

REGIONS: Final = (
    *("af-south-1", "ap-east-1", "ap-east-2", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3"),
    *("ap-south-1", "ap-south-2", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4"),
    *("ap-southeast-5", "ap-southeast-6", "ap-southeast-7", "ca-central-1", "ca-west-1", "cn-north-1"),
    *("cn-northwest-1", "eu-central-1", "eu-central-2", "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1"),
    *("eu-west-2", "eu-west-3", "eusc-de-east-1", "il-central-1", "me-central-1", "me-south-1", "mx-central-1"),
    *("sa-east-1", "us-east-1", "us-east-2", "us-gov-east-1", "us-gov-west-1", "us-west-1", "us-west-2"),
)
"""Regions known when this was written. Another one of the same shape is only warned about: AWS opens new ones."""

REGION: Final = r"^[a-z]{2,4}(-[a-z]+){1,2}-[1-9][0-9]?$"
ROLE: Final = r"^arn:aws(-[a-z]+)*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]{1,512}$"
OWNER: Final = r"[A-Za-z0-9][A-Za-z0-9_-]{0,38}"
REPOSITORY: Final = rf"^{OWNER}/(?!\.{{1,2}}$)(?!.*\.[gG][iI][tT]$)[A-Za-z0-9._-]{{1,100}}$"
REPOSITORY_OR_PATTERN: Final = REPOSITORY.replace("[A-Za-z0-9._-]{1,", "[A-Za-z0-9._*-]{1,")
NAME: Final = r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$"
"""Of fleets and pools. A runner is `<fleet>-<6>-<instance-id>`: 32 + 1 + 6 + 1 + 19 is within GitHub's 64."""

# Only letters, digits and + - = . , _ : @ are served by the instance metadata service (docs.aws.amazon.com: work
# with instance tags in instance metadata), and the boot script reads its tags there.
TAG_KEY: Final = r"^(?![aA][wW][sS]:)(?!runner-scaler:)(?!_index$)[A-Za-z0-9+=,_:@-][A-Za-z0-9+=.,_:@-]{0,126}$"
_HOSTED = "|".join("".join(f"[{c}{c.upper()}]" for c in system) for system in ("ubuntu", "windows", "macos"))
LABEL: Final = (
    rf"^(?!({_HOSTED})-([lL][aA][tT][eE][sS][tT]|[sS][lL][iI][mM]|[0-9]))[A-Za-z0-9][A-Za-z0-9._:/=+@-]{{0,99}}$"
)


def _schema(kind: str, description: str, expected: str, **more: Any) -> Schema:
    """A part of the schema. A keyword `x_why_low` becomes the key `x-why-low`."""
    extra = {f"x-{key[2:].replace('_', '-')}" if key.startswith("x_") else key: item for key, item in more.items()}
    return {"type": kind, "description": description, "x-expected": expected, **extra}


def _number(low: int, high: int, description: str, **more: Any) -> Schema:
    bounds: Schema = {"minimum": low, "maximum": high, "x_remedy": "write a number", **more}
    return _schema("integer", description, f"a whole number {low}..{high}", **bounds)


def _price(high: int, description: str, example: float) -> Schema:
    bounds: Schema = {"minimum": 0, "maximum": high, "x_remedy": "write a number", "examples": [example]}
    return _schema("number", description, f"a price in USD 0..{high}, such as {example}", **bounds)


def _text(pattern: str, expected: str, description: str, **more: Any) -> Schema:
    return _schema("string", description, expected, pattern=pattern, **more)


SHARD: Final = _text(
    r"^[1-9][0-9]?/[1-9][0-9]?$",
    "a shard such as 2/8",
    "The part of the repositories that this run sees to, where several share them: the second of eight, say.",
    x_kind="shard",
    examples=["2/8"],
)


def _choice(values: list[str], description: str, **more: Any) -> Schema:
    return _schema("string", description, " or ".join(values), enum=values, **more)


def _flag(description: str, *, default: bool) -> Schema:
    return _schema("boolean", description, "true or false", default=default)


def _duration(low: str, high: str, description: str, **more: Any) -> Schema:
    bounds: Schema = {"x_kind": "duration", "x_low": low, "x_high": high, "examples": ["10m"], **more}
    return _text(durations.PATTERN, f"a duration {low}..{high}", description, **bounds)


def _list(items: Schema, most: int, expected: str, description: str, **more: Any) -> Schema:
    bounds: Schema = {"minItems": 1, "maxItems": most, "items": items, **more}
    return _schema("array", description, expected, **bounds)


def _object(required: list[str], properties: Schema, expected: str, description: str, **more: Any) -> Schema:
    shape: Schema = {"additionalProperties": False, "required": required, "properties": properties, **more}
    return _schema("object", description, expected, **shape)


def _named(names: Schema, items: Schema, most: int, expected: str, description: str, **more: Any) -> Schema:
    shape: Schema = {"propertyNames": names, "additionalProperties": items, "maxProperties": most, **more}
    return _schema("object", description, expected, **shape)


_OPTIONAL_LIST: Schema = {"uniqueItems": True, "x_remedy": "list some, or remove the key"}
_ARCHITECTURES = {
    **dict.fromkeys(("x86", "x86_64", "x86-64", "x64", "intel"), "amd64"),
    **dict.fromkeys(("arm", "aarch64", "graviton"), "arm64"),
}

_LAUNCH_TEMPLATE = _object(
    [],
    {
        "id": _text(r"^lt-([0-9a-f]{8}|[0-9a-f]{17})$", "lt- and 8 or 17 hexadecimal digits", "The template's id."),
        "name": _text(
            r"^[A-Za-z0-9()./_-]{3,128}$", "3 to 128 letters, digits and ( ) . / _ -", "The template's name."
        ),
        "version": {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 1_000_000_000},
                {"type": "string", "pattern": r"^(\$Default|\$Latest|[1-9][0-9]{0,8})$"},
            ],
            "default": "$Default",
            "description": "A number pins it. `$Default` and `$Latest` move whenever someone edits the template.",
            "x-expected": "a version number, $Default or $Latest",
            "x-remedy": "write a number",
        },
    },
    "a mapping with id or name, and version",
    "The EC2 launch template: image, security groups, instance profile. Give its id or its name.",
    oneOf=[{"required": ["id"]}, {"required": ["name"]}],
    examples=[{"name": "runner-amd64", "version": 3}],
)

_CRON = "Five fields: minute, hour, day of month, month, day of week."
_SCHEDULE = _object(
    ["cron", "duration", "count"],
    {
        "cron": _schema("string", _CRON, "a cron expression", x_kind="cron", examples=["0 8 * * mon-fri"]),
        "timezone": _schema(
            *("string", "The time zone of `cron`, by its IANA name, such as Europe/Berlin.", "an IANA time zone"),
            x_kind="timezone",
            default="UTC",
        ),
        "duration": _duration("1m", "7d", "How long each firing lasts.", examples=["10h"]),
        "count": _number(1, 1000, "How many runners stay idle meanwhile, per scope.", examples=[2]),
    },
    "a mapping with cron, duration and count",
    "So many idle runners for so long after each firing.",
)

ARCH: Final = _choice(
    *(["amd64", "arm64"], "The processor of the template's image and of its instance types."),
    x_aliases=_ARCHITECTURES,
    examples=["amd64"],
)
POOL_NAME: Final = {"pattern": NAME, "x-expected": "a name of 1 to 32 of a-z, 0-9 and -, no - at either end"}
REPOSITORY_NAME: Final = _text(REPOSITORY, "owner/name", "A repository.", x_kind="repository")
AWS_REGION: Final = _text(
    *(REGION, "an AWS region", "The AWS region of the instances."), x_kind="region", examples=["us-east-1"]
)
AWS_ROLE: Final = _text(
    *(ROLE, "a role's ARN such as arn:aws:iam::111122223333:role/runner-scaler"),
    "Assumed with the workflow's OIDC token. Without it, ambient credentials are used.",
)

_LABEL_EXPECTED = "a label of 1 to 100 letters, digits and . _ : / = + @ -, a letter or digit first"
_POOL = _object(
    ["arch", "labels", "launch_template", "max"],
    {
        "arch": ARCH,
        "labels": _list(
            _text(LABEL, _LABEL_EXPECTED, "A label.", x_kind="label"),
            *(100, "a list of labels"),
            "The runners' labels, in any case. List all: nothing is added, not even self-hosted.",
            x_remedy="list what the jobs' runs-on asks for, such as [self-hosted, linux, x64, acme]",
            examples=[["self-hosted", "linux", "x64", "acme"]],
        ),
        "launch_template": _LAUNCH_TEMPLATE,
        "instance_types": _list(
            _text(r"^[a-z][a-z0-9-]{0,30}\.[a-z0-9-]{1,30}$", "an instance type such as m7i.large", "A type."),
            *(20, "a list of instance types"),
            "Instance types in order of preference. Without it, the template's.",
            **_OPTIONAL_LIST,
        ),
        "subnets": _list(
            _text(r"^subnet-[0-9a-f]{8,17}$", "subnet- and 8 or 17 hexadecimal digits", "A subnet."),
            *(15, "a list of subnets"),
            "Subnets, one per zone. More zones, more capacity. Without it, the template's.",
            **_OPTIONAL_LIST,
        ),
        "market": _choice(
            ["on-demand", "spot", "spot-then-on-demand"],
            "How instances are bought. Spot is cheaper, and AWS may take it back in the middle of a job.",
            default="on-demand",
            x_aliases={"ondemand": "on-demand", "on_demand": "on-demand"},
        ),
        "max": _number(0, 1000, "The most instances of this pool at any instant. 0 pauses it.", examples=[20]),
        "min_idle": {
            "anyOf": [_number(0, 1000, "At all times."), _list(_SCHEDULE, 50, "a list of schedules", "At times.")],
            "default": 0,
            "description": "Runners kept idle per scope: a number, or schedules of which the highest active one counts."
            " Needs `registration: token`.",
            "x-expected": "a whole number 0..1000, or a list of {cron, timezone, duration, count}",
            "x-remedy": "write a number",
        },
        "ephemeral": _flag(
            "One job, one instance. `false` needs `registration: token`, and jobs see what others left.", default=True
        ),
        "registration": _choice(
            ["jit", "token"],
            "`jit`: a secret for one runner and one job. `token`: good for an hour and any number of runners, for"
            " runners that wait long: GitHub has removed idle JIT runners after minutes.",
            default="jit",
        ),
        "boot_timeout": _duration("1m", "1h", "From launch to registration. Later, it is ended.", default="10m"),
        "idle_timeout": _duration(
            *("2m", "1d", "How long a runner may wait for a job before it is ended."),
            default="5m",
            x_why_low="GitHub's busy flag lags up to 60s",
        ),
        "max_lifetime": _duration("10m", "1d", "No instance lives longer, whatever it does.", default="6h"),
        "price_per_hour": _price(
            1000, "What an hour of one instance costs you, in USD. For the costs in the summary alone.", 0.1008
        ),
        "rerun_lost": _flag(
            "Run a job again, once, whose machine EC2 took back. The token needs Actions: read and write.",
            default=False,
        ),
    },
    "a mapping with arch, labels, launch_template and max",
    "Instances of one kind, for jobs whose labels are all among the pool's.",
)

_AWS = _object(
    ["region"],
    {
        "region": AWS_REGION,
        "role": AWS_ROLE,
        "parameter_writes_per_second": _number(
            *(
                3,
                1000,
                "Secrets written a second, at most. AWS takes 3, and more with Parameter Store's higher throughput.",
            ),
            default=3,
        ),
    },
    "a mapping with region",
    "One account and one region. For more regions, write more configs.",
    examples=[{"region": "us-east-1"}],
)

_GROUP = r"^[A-Za-z0-9]([A-Za-z0-9 ._-]{0,62}[A-Za-z0-9._-])?$"
_GITHUB = _object(
    [],
    {
        "register_at": _choice(
            ["repository", "organization"],
            "A runner serves one repository, or every repository that its runner group serves.",
            default="repository",
            x_aliases={"repo": "repository", "org": "organization"},
        ),
        "organization": _text(
            f"^{OWNER}$", "an organization's login", "The organization, with `register_at: organization`."
        ),
        "runner_group": _text(
            *(_GROUP, "a runner group's name of up to 64 letters, digits, spaces and . _ -"),
            "The runner group, with `register_at: organization`. Without it, Default.",
        ),
        "token_per_shard": _flag(
            "Each shard has a token (or an App) of its own, and with it all of GitHub's limits. Else shards divide one's.",
            default=False,
        ),
        "price_per_minute": _price(
            10, "What a minute of the scaler's own job costs you, in USD. For the costs in the summary alone.", 0.006
        ),
    },
    "a mapping with register_at",
    "Where runners register.",
    default={},
)

SCHEMA: Final[Schema] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "runner-scaler: config.yaml",
    **_object(
        ["version", "fleet", "aws", "repositories", "max_runners", "pools"],
        {
            "version": _schema(
                *("integer", "The version of this file's shape.", f"{VERSION}"), const=VERSION, examples=[VERSION]
            ),
            "fleet": _text(
                *(NAME, "1 to 32 of a-z, 0-9 and -, no - at either end"),
                "Names this scaler in tags, parameters, tokens and runner names.",
                examples=["main"],
            ),
            "aws": _AWS,
            "github": _GITHUB,
            "repositories": _list(
                _text(
                    *(REPOSITORY_OR_PATTERN, "owner/name or owner/*"),
                    "A repository, or those of an owner whose names fit: `*` stands for any number of characters. Archived,"
                    " disabled and (without `allow_public`) public ones are left out of a pattern.",
                    x_kind="repositories",
                ),
                *(1000, "a list of owner/name", "The repositories whose queued jobs are served."),
                x_empty="nothing to scale",
                x_remedy="list repositories as owner/name",
                x_too_many="split them over fleets (GitHub's request budget)",
                examples=[["acme/api", "acme/team-*"]],
            ),
            "max_runners": _number(
                *(0, 10_000, "The most instances of all pools together at any instant."), examples=[40]
            ),
            "pools": _named(
                POOL_NAME,
                *(_POOL, 50, "a mapping from names to pools"),
                "The pools by name, in order of preference where labels fit equally well.",
                minProperties=1,
                x_empty="nothing to launch",
            ),
            "allow_public": _flag(
                "Serve public repositories too: anyone who opens a pull request may run code on an instance.",
                default=False,
            ),
            "shard": SHARD,
            "tags": _named(
                {
                    "pattern": TAG_KEY,
                    "x-kind": "tag key",
                    "x-expected": "a tag key of up to 127 letters, digits and + = . , _ : @ -",
                },
                _text(
                    *(r"^[A-Za-z0-9 +=.,_:@/-]{0,256}$", "up to 256 letters, digits, spaces and + = . , _ : @ / -"),
                    "The tag's value.",
                ),
                *(40, "a mapping from keys to values", "More tags for the instances."),
                default={},
            ),
        },
        "a mapping",
        "GitHub Actions runners on EC2 that come and go.",
    ),
}


def schema_text() -> str:
    """The schema as `python -m scaler schema` prints it."""
    return json.dumps(SCHEMA, indent=2) + "\n"
