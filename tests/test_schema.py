"""The published schema and the loader: one description, two readers that may not disagree."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaler.problem import Severity
from scaler.settings import schema_kinds
from scaler.settings.schema import SCHEMA, Schema, schema_text
from tests.configs import problems, read

EXAMPLE = Path(__file__).resolve().parents[1] / "config.example.yaml"
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def test_the_schema_is_a_schema_and_is_what_the_command_prints() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(schema_text()) == SCHEMA
    jsonschema.Draft202012Validator(json.loads(schema_text())).validate(yaml.safe_load(EXAMPLE.read_text()))


def test_every_key_has_a_description() -> None:
    assert [part for part in parts(SCHEMA) if "description" not in part and part.get("type") != "integer"] == [
        part for part in parts(SCHEMA) if part.get("pattern", "").startswith(r"^(\$Default")
    ]


def test_every_example_in_the_schema_is_taken_by_the_schema() -> None:
    for part in parts(SCHEMA):
        for example in part.get("examples", ()):
            jsonschema.Draft202012Validator(part).validate(example)
            assert not isinstance(example, str) or schema_kinds.refusal(example, part) is None


def parts(schema: Schema) -> Iterator[Schema]:
    yield schema
    below = [*schema.get("properties", {}).values(), *schema.get("anyOf", ())]
    below += [schema[key] for key in ("items", "additionalProperties") if isinstance(schema.get(key), dict)]
    for part in below:
        yield from parts(part)


GOOD = yaml.safe_load(EXAMPLE.read_text())
A_POOL = ("pools", "amd64")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        pytest.param(("version",), 2, id="const"),
        pytest.param(("fleet",), 3, id="type of a text"),
        pytest.param(("fleet",), "-main", id="pattern"),
        pytest.param(("fleet",), "main\n", id="pattern, at the very end"),
        pytest.param(("allow_public",), "true", id="type of a flag"),
        pytest.param(("aws",), {}, id="required"),
        pytest.param(("aws", "zone"), "a", id="additionalProperties"),
        pytest.param(("aws",), "us-east-1", id="type of a mapping"),
        pytest.param(("repositories",), "acme/api", id="type of a list"),
        pytest.param(("repositories",), [], id="minItems"),
        pytest.param(("repositories",), [f"acme/{n}" for n in range(1001)], id="maxItems"),
        pytest.param(("repositories", 1), "acme/..", id="pattern of an item"),
        pytest.param(("max_runners",), -1, id="minimum"),
        pytest.param(("max_runners",), 10_001, id="maximum"),
        pytest.param(("max_runners",), 1.5, id="type of a number"),
        pytest.param((*A_POOL, "price_per_hour"), -0.1, id="minimum of a price"),
        pytest.param((*A_POOL, "price_per_hour"), 1000.5, id="maximum of a price"),
        pytest.param((*A_POOL, "price_per_hour"), "0.1", id="type of a price"),
        pytest.param(("pools",), {}, id="minProperties"),
        pytest.param(("pools",), {f"p{n}": GOOD["pools"]["amd64"] for n in range(51)}, id="maxProperties"),
        pytest.param(("pools", "A"), GOOD["pools"]["amd64"], id="propertyNames"),
        pytest.param((*A_POOL, "arch"), "x86", id="enum"),
        pytest.param((*A_POOL, "subnets"), ["subnet-0123abcd"] * 2, id="uniqueItems"),
        pytest.param((*A_POOL, "launch_template"), {"version": 1}, id="oneOf, none"),
        pytest.param((*A_POOL, "launch_template", "id"), "lt-0123abcd", id="oneOf, both"),
        pytest.param((*A_POOL, "launch_template", "version"), "newest", id="anyOf, one pattern"),
        pytest.param((*A_POOL, "launch_template", "version"), 0, id="anyOf, one minimum"),
        pytest.param(("pools", "arm64", "min_idle"), [], id="anyOf, minItems"),
        pytest.param(
            ("pools", "arm64", "min_idle"), [{"cron": "0 8 * * *", "duration": "1h"}], id="anyOf, items, required"
        ),
        pytest.param(("pools", "arm64", "min_idle"), {"count": 1}, id="anyOf, no member"),
        pytest.param(("tags", "aws:x"), "y", id="propertyNames of tags"),
        pytest.param(("tags",), {f"k{n}": "v" for n in range(41)}, id="maxProperties of tags"),
    ],
)
def test_each_keyword_is_held_by_loader_and_schema(place: tuple[str | int, ...], value: Any, tmp_path: Path) -> None:
    document = copy.deepcopy(GOOD)
    *parents, last = place
    node = document
    for key in parents:
        node = node[key]
    assert problems(json.dumps(document), tmp_path) == ()
    node[last] = value
    # Draft 2020-12 means ECMAScript's $, which is the very end; Python's would take a final newline.
    assert list(VALIDATOR.iter_errors(document)) or (place, value) == (("fleet",), "main\n")
    assert len([p for p in problems(json.dumps(document), tmp_path) if p.severity is Severity.ERROR]) == 1


durations = st.sampled_from(["10m", "12m", "600s", "20m"])
labels = st.from_regex(r"\A[a-zA-Z0-9][a-zA-Z0-9._:/=+@-]{0,20}\Z").filter(
    lambda label: not label.lower().startswith(("ubuntu-", "windows-", "macos-"))
)
names = st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?\Z")
schedules = st.fixed_dictionaries(
    {
        "cron": st.sampled_from(["0 8 * * mon-fri", "*/5 * * * *", "0 0 1,15 * 3"]),
        "duration": st.sampled_from(["1h", "30m", "7d"]),
        "count": st.integers(1, 3),
    },
    optional={"timezone": st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata"])},
)
templates = st.one_of(
    st.fixed_dictionaries({"name": st.just("runner.amd64/x")}, optional={"version": st.integers(1, 99)}),
    st.fixed_dictionaries(
        {"id": st.sampled_from(["lt-0123abcd", "lt-0123456789abcdef0"])},
        optional={"version": st.sampled_from(["$Latest", "$Default", "12"])},
    ),
)
pools = st.fixed_dictionaries(
    {
        "arch": st.sampled_from(["amd64", "arm64"]),
        "labels": st.lists(labels, min_size=1, max_size=5).map(lambda some: [*some, "own-label"]),
        "launch_template": templates,
        "max": st.integers(3, 1000),
        "registration": st.just("token"),
    },
    optional={
        "instance_types": st.lists(
            st.sampled_from(["m7i.large", "c6a.xlarge", "u-6tb1.metal"]), min_size=1, unique=True
        ),
        "subnets": st.lists(st.sampled_from(["subnet-0123abcd", "subnet-0123456789abcdef0"]), min_size=1, unique=True),
        "market": st.sampled_from(["spot", "on-demand", "spot-then-on-demand"]),
        "min_idle": st.one_of(st.integers(0, 3), st.lists(schedules, min_size=1, max_size=3)),
        "ephemeral": st.booleans(),
        "boot_timeout": durations,
        "idle_timeout": durations,
        "max_lifetime": st.sampled_from(["1h", "24h", "1d", "90m"]),
        "price_per_hour": st.sampled_from([0, 1, 0.0, 0.1008, 1000]),
    },
)
repositories = st.lists(
    st.from_regex(r"\A[a-z0-9][a-z0-9-]{0,10}/[a-z0-9_-]{1,20}\Z"), min_size=1, max_size=8, unique=True
)
configs = st.fixed_dictionaries(
    {
        "version": st.just(1),
        "fleet": names,
        "aws": st.fixed_dictionaries(
            {"region": st.sampled_from(["us-east-1", "eu-central-1", "us-gov-west-1", "eusc-de-east-1"])},
            optional={"role": st.just("arn:aws-cn:iam::111122223333:role/path/to/role+=,.@-_")},
        ),
        "repositories": repositories,
        "max_runners": st.integers(0, 10_000),
        "pools": st.dictionaries(names, pools, min_size=1, max_size=4),
    },
    optional={
        "github": st.just({"register_at": "repository"}) | st.just({}),
        "allow_public": st.booleans(),
        "tags": st.dictionaries(
            st.from_regex(r"\A[A-Za-z0-9=_:@-][A-Za-z0-9=._:@-]{0,20}\Z").filter(
                lambda key: not key.lower().startswith("aws:")
            ),
            st.from_regex(r"\A[A-Za-z0-9 =._:@/-]{0,20}\Z"),
            max_size=5,
        ),
    },
)
WITH_A_FOLDER = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)


def dumped(document: Any) -> str:
    """As YAML with every text quoted: what YAML makes of bare words is tested above."""
    # JSON escapes a character beyond U+FFFF as two surrogates; YAML has one escape for it.
    return re.sub(r"\\u(d[89ab]..)\\u(d[c-f]..)", _one_escape, json.dumps(document))


def _one_escape(pair: re.Match[str]) -> str:
    high, low = int(pair[1], 16), int(pair[2], 16)
    return f"\\U{0x10000 + ((high - 0xD800) << 10) + low - 0xDC00:08x}"


@WITH_A_FOLDER
@given(configs)
def test_a_valid_config_is_taken_by_loader_and_schema(tmp_path: Path, document: dict[str, Any]) -> None:
    VALIDATOR.validate(document)
    config = read(dumped(document), tmp_path)
    assert list(config.repositories) == document["repositories"]
    assert {pool.name: pool.max for pool in config.pools} == {k: pool["max"] for k, pool in document["pools"].items()}
    assert config.tags == document.get("tags", {})


values = st.one_of(
    st.sampled_from([None, True, False, -1, 0, 1, 1001, 10**30, 1.5, "", "x", "no", "5", "5 min", "0s", "99d", "true"]),
    st.sampled_from(["a/b", "../x", "o/r.git", "a/b\nc", "Ubuntu-Latest", "x" * 300, "lt-1", "us-east1", "aws:x", "é"]),
    st.sampled_from([[], ["a"], ["a", "a"], {}, {"a": 1}, "$Latest", "amd64 ", "AMD64", "2/8", "0/8", "a,b", "::x"]),
    st.text(max_size=5).filter(lambda text: not text.endswith("\n")),  # which Python's $ takes, and ECMAScript's not
)


@settings(WITH_A_FOLDER, max_examples=300)
@given(st.data())
def test_loader_and_schema_agree_on_what_a_schema_can_say(tmp_path: Path, data: st.DataObject) -> None:
    """
    One value of a valid config is exchanged, removed or given another name.

    The loader may refuse more (rules between keys, time zones, cron, a duration's bounds: `x-` keywords), and says so
    with the words of those rules; it may never take what the schema refuses.
    """
    document = copy.deepcopy(data.draw(configs))
    place, key = data.draw(st.sampled_from(list(places(document))))
    match data.draw(st.sampled_from(["exchange", "remove", "rename"])):
        case "exchange":
            place[key] = data.draw(values)
        case "remove":
            del place[key]
        case _:
            if isinstance(place, dict):
                place[data.draw(st.sampled_from(["x", "", "max", "a/b", "aws:x", "A" * 40]))] = place.pop(key)
    refused = [error.message for error in VALIDATOR.iter_errors(document)]
    told = [p for p in problems(dumped(document), tmp_path) if p.severity is Severity.ERROR]
    if refused:
        assert told, refused
    beyond = [p for p in told if not any(words in p.message for words in BEYOND_THE_SCHEMA)]
    if beyond:
        assert refused, [str(p) for p in beyond]


BEYOND_THE_SCHEMA = (
    *("same as [", "only default labels", "needs registration: token", "min_idle ", "must be <", "does not exist"),
    *("is outside 1m..", "is outside 10m..", "is below 2m", "is outside 2m..", "is for register_at", "duplicate key"),
    *("minute ", "hour ", "day of ", "five fields", "never fires", "is not an IANA time zone", "is newer than"),
)


def places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) of a document."""
    for key, value in list(node.items()) if isinstance(node, dict) else list(enumerate(node)):
        yield node, key
        if isinstance(value, dict | list):
            yield from places(value)
