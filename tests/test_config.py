"""config.yaml: what it becomes, that nothing wrong gets through, and that loader and published schema agree."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaler.model import Market
from scaler.problem import Severity
from scaler.settings.config import LARGEST, ConfigError, LaunchTemplate, RegisterAt, Registration, load
from scaler.settings.schedule import Schedule
from scaler.settings.schema import SCHEMA, Schema
from tests.configs import BASE, changed, lines, problems, read

EXAMPLE = Path(__file__).resolve().parents[1] / "config.example.yaml"


# --- what a good file becomes --------------------------------------------------------------------


def test_the_example_is_a_good_config_without_warnings() -> None:
    config = load(EXAMPLE)
    assert config.warnings == ()
    assert config.fleet == "main"
    assert config.region == "us-east-1"
    assert config.role == "arn:aws:iam::111122223333:role/runner-scaler"
    assert config.repositories == ("acme/api", "acme/web")
    assert [pool.name for pool in config.pools] == ["amd64", "arm64"]
    assert config.tags == {"team": "platform", "cost-center": "4711"}
    assert config.path == str(EXAMPLE)


def test_the_example_shows_every_key_that_there_is() -> None:
    """What a newcomer may write stands in one place: keys that the example lacks are in its comments."""
    text = EXAMPLE.read_text()
    missing = [key for key in keys(SCHEMA) if f"{key}:" not in text]
    assert missing == []


def keys(schema: Schema) -> Iterator[str]:
    for key, part in schema.get("properties", {}).items():
        yield key
        yield from keys(part)
    for part in [schema.get("additionalProperties"), schema.get("items"), *schema.get("anyOf", ())]:
        if isinstance(part, dict):
            yield from keys(part)


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    config = read(BASE, tmp_path)
    pool = config.pools[0]
    assert config.warnings == ()
    assert (config.role, config.organization, config.runner_group) == (None, None, None)
    assert config.register_at is RegisterAt.REPOSITORY
    assert config.allow_public is False
    assert config.tags == {}
    assert pool.launch_template == LaunchTemplate(None, "runner-amd64", "3")
    assert (pool.instance_types, pool.subnets) == ((), ())
    assert pool.markets == (Market.ON_DEMAND,)
    assert pool.min_idle == 0
    assert pool.ephemeral is True
    assert pool.registration is Registration.JIT
    assert pool.boot_timeout == timedelta(minutes=10)
    assert pool.idle_timeout == timedelta(minutes=5)
    assert pool.max_lifetime == timedelta(hours=6)


@pytest.mark.parametrize(
    ("market", "markets"),
    [
        ("spot", (Market.SPOT,)),
        ("on-demand", (Market.ON_DEMAND,)),
        ("spot-then-on-demand", (Market.SPOT, Market.ON_DEMAND)),
    ],
)
def test_a_market_is_the_order_in_which_markets_are_tried(
    market: str, markets: tuple[Market, ...], tmp_path: Path
) -> None:
    assert read(changed(more=f"    market: {market}\n"), tmp_path).pools[0].markets == markets


def test_labels_are_lower_case_and_once(tmp_path: Path) -> None:
    text = changed(("[self-hosted, linux, x64, acme]", "[Self-Hosted, Linux, ACME, acme]"))
    assert read(text, tmp_path).pools[0].labels == ("self-hosted", "linux", "acme")
    assert "the same label twice" in lines(text, tmp_path)[0]


def test_an_organization_is_the_scope_of_its_repositories(tmp_path: Path) -> None:
    at_repository = read(BASE, tmp_path)
    github = "github: {register_at: organization, organization: ACME, runner_group: My group}\n"
    at_organization = read(changed(more=github), tmp_path)
    assert at_repository.scope_of("acme/api") == "acme/api"
    assert at_organization.scope_of("acme/api") == "ACME"
    assert at_organization.runner_group == "My group"


def test_pools_keep_the_order_of_the_file_and_are_found_by_name(tmp_path: Path) -> None:
    second = BASE[BASE.index("  amd64:") :].replace("  amd64:", "  a-first:").replace("acme", "big")
    config = read(BASE + second, tmp_path)
    assert [pool.name for pool in config.pools] == ["amd64", "a-first"]
    assert config.pool("a-first") is config.pools[1]
    assert config.pool("none") is None


@pytest.mark.parametrize(
    ("written", "version"), [("3", "3"), ('"3"', "3"), ("$Latest", "$Latest"), ("$Default", "$Default")]
)
def test_a_template_version_is_a_text_for_ec2(written: str, version: str, tmp_path: Path) -> None:
    config = read(changed(("version: 3", f"version: {written}")), tmp_path)
    assert config.pools[0].launch_template.version == version


def test_a_template_may_be_named_by_its_id(tmp_path: Path) -> None:
    text = changed(("name: runner-amd64", "id: lt-0123456789abcdef0"))
    assert read(text, tmp_path).pools[0].launch_template == LaunchTemplate("lt-0123456789abcdef0", None, "3")


def test_of_active_schedules_the_highest_count_is_the_idle_floor(tmp_path: Path) -> None:
    text = changed(
        more="""\
    registration: token
    min_idle:
      - {cron: "0 8 * * *", duration: 10h, count: 2}
      - {cron: "0 9 * * *", timezone: Europe/Berlin, duration: 1h, count: 5}
"""
    )
    pool = read(text, tmp_path).pools[0]
    assert pool.min_idle == (
        Schedule("0 8 * * *", "UTC", timedelta(hours=10), 2),
        Schedule("0 9 * * *", "Europe/Berlin", timedelta(hours=1), 5),
    )
    floors = {hour: pool.idle_floor(datetime(2026, 11, 23, hour, 30, tzinfo=UTC)) for hour in (7, 8, 9, 18)}
    assert floors == {7: 0, 8: 5, 9: 2, 18: 0}
    assert replace(pool, min_idle=3).idle_floor(datetime(2026, 11, 23, tzinfo=UTC)) == 3


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(BASE.replace("\n", "\r\n"), id="lines end in CRLF"),
        pytest.param(b"\xef\xbb\xbf" + BASE.encode(), id="a byte order mark"),
        pytest.param("---\n" + BASE + "...\n", id="document marks"),
        pytest.param(BASE.replace("fleet: main", 'fleet: "main"'), id="quotes where none are needed"),
        pytest.param(json.dumps(yaml.safe_load(BASE)), id="JSON, which is YAML"),
    ],
)
def test_these_ways_of_writing_change_nothing(text: str | bytes, tmp_path: Path) -> None:
    expected = read(BASE, tmp_path)
    assert read(text, tmp_path) == expected


def test_a_config_cannot_be_changed_by_who_reads_it(tmp_path: Path) -> None:
    config = read(changed(more="tags: {team: a}\n"), tmp_path)
    with pytest.raises(TypeError):
        config.tags["team"] = "b"  # type: ignore[index]


def test_runner_names_of_the_longest_fleet_fit_githubs_64_characters(tmp_path: Path) -> None:
    """A runner is `<fleet>-<six>-<instance-id>`."""
    longest = read(changed(("fleet: main", f"fleet: {'f' * 32}")), tmp_path).fleet
    assert len(f"{longest}-1a2b3c-i-0123456789abcdef0") <= 64
    assert problems(changed(("fleet: main", f"fleet: {'f' * 33}")), tmp_path)


# --- what a bad one says -------------------------------------------------------------------------


def test_all_problems_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = changed(
        ("fleet: main", "fleet: Main"),
        ("us-east-1", "us-east1"),
        ("max: 20", "max: ten"),
        ("arch: amd64", "arch: x86"),
        more="    lables: [a]\nmax_runner: 3\n",
    )
    assert lines(text, tmp_path) == [
        'config.yaml:2: fleet: expected 1 to 32 of a-z, 0-9 and -, no - at either end, got "Main"',
        'config.yaml:3: aws.region: "us-east1" is not an AWS region; did you mean us-east-1?',
        'config.yaml:8: pools.amd64.arch: "x86" is not amd64 or arm64; use amd64',
        'config.yaml:11: pools.amd64.max: expected a whole number 0..1000, got "ten"; write a number',
        'config.yaml:12: pools.amd64.lables: unknown key; did you mean "labels"?',
        'config.yaml:13: max_runner: unknown key; did you mean "max_runners"?',
    ]


def test_rules_between_keys_are_checked_even_where_other_keys_are_wrong(tmp_path: Path) -> None:
    told = lines(changed(("fleet: main", "fleet: ''"), more="    min_idle: 1\nshard: 3/2\n"), tmp_path)
    assert [line.split(": ")[1] for line in told] == ["fleet", "pools.amd64.min_idle", "shard"]


def test_a_key_without_a_close_match_gets_the_keys_that_there_are(tmp_path: Path) -> None:
    told = lines(changed(("region: us-east-1", "region: us-east-1, zone: a")), tmp_path)
    assert told == ["config.yaml:3: aws.zone: unknown key; allowed here: region, role, parameter_writes_per_second"]


def test_missing_keys_are_named_with_an_example_that_would_be_taken(tmp_path: Path) -> None:
    told = lines("version: 1\n", tmp_path)
    assert [line.partition(";")[0].split(": ", 1)[1] for line in told] == [
        "fleet: missing",
        "aws: missing",
        "repositories: missing",
        "max_runners: missing",
        "pools: missing",
    ]
    assert "write for example aws: {region: us-east-1}" in told[1]


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("no", '"no", which is a boolean to YAML'),
        ("on", '"on", which is a boolean to YAML'),
        ("true", '"true", which is a boolean to YAML'),
        ("010", '"010", which is an octal number to YAML'),
        ("0o17", '"0o17", which is an octal number to YAML'),
        ("08", '"08", which is a number with a leading zero to YAML'),
        ("0x1F", '"0x1F", which is a hexadecimal or binary number to YAML'),
        ("1_000", '"1_000", which is a number with underscores to YAML'),
        ("1e3", '"1e3", which is a number with a fraction to YAML'),
        ("1.5", '"1.5", which is a number with a fraction to YAML'),
        ("1:30", '"1:30", which is a number in base 60 to YAML'),
        ("2026-11-23", '"2026-11-23", which is a date to YAML'),
        ("~", "got nothing"),
        ("", "got nothing"),
        ('"20"', 'got the text "20"; remove the quotes'),
        ("ten", 'got "ten"; write a number'),
        ("[1]", "got a list"),
        ("{a: 1}", "got a mapping"),
    ],
)
def test_a_number_that_yaml_may_read_otherwise_is_refused_and_why(written: str, says: str, tmp_path: Path) -> None:
    (told,) = lines(changed(("max: 20", f"max: {written}")), tmp_path)
    assert told.startswith("config.yaml:11: pools.amd64.max: expected a whole number 0..1000, ")
    assert says in told


@pytest.mark.parametrize(
    ("written", "price"), [("0", 0.0), ("1", 1.0), ("0.1008", 0.1008), ("1000.0", 1000.0), ("0.5", 0.5)]
)
def test_a_price_is_a_whole_number_or_a_plain_fraction(written: str, price: float, tmp_path: Path) -> None:
    (pool,) = read(changed(("max: 20", f"max: 20\n    price_per_hour: {written}")), tmp_path).pools
    assert pool.price_per_hour == price


@pytest.mark.parametrize(
    ("written", "says"),
    [
        (
            "1e3",
            'expected a price in USD 0..1000, such as 0.1008, got "1e3", which is a number with a fraction to YAML',
        ),
        (".nan", 'got ".nan", which is a number with a fraction to YAML; write a number'),
        (".5", 'got ".5", which is a number with a fraction to YAML; write a number'),
        ('"0.10"', 'got the text "0.10"; remove the quotes'),
        ("$0.10", 'got "$0.10"; write a number'),
        ("-0.5", ": -0.5 is outside 0..1000"),
        ("1000.01", ": 1000.01 is outside 0..1000"),
    ],
)
def test_a_price_that_is_none_is_refused_and_why(written: str, says: str, tmp_path: Path) -> None:
    (told,) = lines(changed(("max: 20", f"max: 20\n    price_per_hour: {written}")), tmp_path)
    assert told.startswith("config.yaml:12: pools.amd64.price_per_hour: ")
    assert says in told


@pytest.mark.parametrize("written", ["no", "on", "Yes", "true", "123", "1.5", "0x10", "12:30:45", "2026-11-23", "=="])
def test_a_text_that_yaml_may_read_otherwise_wants_quotes(written: str, tmp_path: Path) -> None:
    bare = lines(changed(more=f"tags: {{team: {written}}}\n"), tmp_path)
    assert bare == [] if written == "==" else len(bare) == 1
    assert all("quote it" in line for line in bare)
    assert lines(changed(more=f'tags: {{team: "{written}"}}\n'), tmp_path) == []


def test_a_number_too_large_for_any_machine_is_only_outside_its_bounds(tmp_path: Path) -> None:
    (told,) = lines(changed(("max: 20", f"max: {'9' * 5000}")), tmp_path)
    assert "is outside 0..1000" in told
    assert len(told) < 200


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("a: &x 1", "anchors and aliases"),
        ("a: *x", "anchors and aliases"),
        ("a: !!str 1", "tags"),
        ("a: !include other.yaml", "tags"),
        ("a: !!python/object/apply:os.system [ls]", "tags"),
        ("? [a]\n: 1", "a key that is a list"),
        ("a: 1\n---\nb: 2", "a second document"),
        ("a: " + "[" * 40 + "]" * 40, "nested more than 32 levels"),
        ("a:\n\t- b", "indent with spaces"),
        ("a: @@X@@", "quote the value"),
        ("a: b: c", "not valid YAML"),
        ("a: [1, 2", "not valid YAML"),
        ('a: "b', "not valid YAML"),
        ("%BAD", "not valid YAML"),
        ("a: \x07", "control character"),
        ("a: %b", "not valid YAML"),
        ("a: b\n c: d\n e", "not valid YAML"),
    ],
)
def test_yaml_that_is_broken_or_too_clever_is_one_problem_with_its_line(
    written: str, says: str, tmp_path: Path
) -> None:
    (told,) = problems(written, tmp_path)
    assert says in told.message
    assert told.line is not None
    assert "\n" not in str(told)


@pytest.mark.parametrize("bomb", ["[", "{a: ", "- ", "a: 1\n", "? "])
def test_the_work_grows_no_faster_than_the_file(tmp_path: Path, bomb: str) -> None:
    """Told by the calls it takes, not by a clock; the largest file allowed is read all the same."""

    def work(size: int) -> int:
        return _calls(lambda: problems(bomb * size, tmp_path))

    assert work(4_000) < 9 * work(500)
    assert problems(bomb * (LARGEST // len(bomb)), tmp_path)


def _calls(work: Callable[[], object]) -> int:
    """How many calls of functions a piece of work takes."""
    count = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.one_of(st.text(), st.binary(), st.text(alphabet="{}[]:-,#&*!|>'\"%@`? \n\tabc01")))
def test_no_bytes_make_the_loader_fail_otherwise(tmp_path: Path, raw: str | bytes) -> None:
    text = raw if isinstance(raw, bytes) else raw.encode(errors="surrogatepass")
    for told in problems(text, tmp_path):
        assert "\n" not in str(told)
        assert str(told).isprintable()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_no_damaged_config_makes_the_loader_fail_otherwise(tmp_path: Path, data: st.DataObject) -> None:
    """Words of the example exchanged, doubled, lost."""
    words = EXAMPLE.read_text().split(" ")
    for _ in range(data.draw(st.integers(1, 4))):
        index = data.draw(st.integers(0, len(words) - 1))
        words[index] = data.draw(st.sampled_from(["", "no", "-1", "[", "}", ":", "\n", "1e9", "::error::x", *words]))
    for told in problems(" ".join(words), tmp_path):
        assert str(told).isprintable()


# --- rules between keys --------------------------------------------------------------------------

ORGANIZATION = "github: {register_at: organization, organization: acme}\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(
            changed(more="github: {register_at: organization}\n"),
            "config.yaml:12: github.organization: missing; register_at: organization needs it, such as acme",
            id="an organization is needed to register at one",
        ),
        pytest.param(
            changed(more="github: {organization: acme}\n"),
            "config.yaml:12: github.organization: is for register_at: organization; set that, or remove this key",
            id="an organization that nothing registers at",
        ),
        pytest.param(
            changed(("acme/web", "other/web"), more=ORGANIZATION),
            'config.yaml:4: repositories[1]: "other/web" is not in the organization acme; its runners would not serve it',
            id="a repository outside of the organization",
        ),
        pytest.param(
            changed(more="    ephemeral: false\n"),
            "config.yaml:12: pools.amd64.ephemeral: false needs registration: token; a JIT runner serves one job",
            id="reuse needs a token",
        ),
        pytest.param(
            changed(more="    min_idle: [{cron: 0 8 * * *, duration: 1h, count: 1}]\n"),
            "config.yaml:12: pools.amd64.min_idle: needs registration: token;"
            " GitHub has been removing idle JIT runners after minutes",
            id="idle runners by schedule need a token",
        ),
        pytest.param(
            changed(more="    registration: token\n    min_idle: [{cron: 0 8 * * *, duration: 1h, count: 21}]\n"),
            "config.yaml:13: pools.amd64.min_idle: min_idle 21 > max 20; lower it, or raise max",
            id="a schedule above max",
        ),
        pytest.param(
            changed(more="    registration: token\n    min_idle: 15\n"),
            "config.yaml:13: pools.amd64.min_idle: 15 for each of 2 repositories is 30, more than max 20",
            id="idle runners of all repositories above max (a warning)",
        ),
        pytest.param(
            changed(more="    max_lifetime: 10m\n"),
            "config.yaml:12: pools.amd64.max_lifetime: boot_timeout 10m must be < max_lifetime 10m; change one",
            id="the default boot_timeout against a short life",
        ),
        pytest.param(
            changed(more="    max_lifetime: 1h\n    idle_timeout: 1h\n"),
            "config.yaml:13: pools.amd64.idle_timeout: idle_timeout 1h must be < max_lifetime 1h; change one",
            id="idle for a lifetime",
        ),
        pytest.param(
            changed(("linux, x64", "linux, arm64")),
            'config.yaml:9: pools.amd64.labels: "arm64" on a Linux amd64 pool; is that meant?',
            id="a label of the other architecture (a warning)",
        ),
        pytest.param(
            changed(more="    instance_types: [m7i.large, m7g.large]\n"),
            'config.yaml:12: pools.amd64.instance_types[1]: "m7g.large" looks like arm64, and the pool is amd64;'
            " its launches would fail",
            id="a type of the other architecture (a warning)",
        ),
        pytest.param(
            changed((", version: 3", "")),
            "config.yaml:10: pools.amd64.launch_template.version: $Default: pin a number;"
            " anyone who edits the template owns the fleet",
            id="a template without a version (a warning)",
        ),
        pytest.param(
            changed(("us-east-1", "xx-future-1")),
            'config.yaml:3: aws.region: "xx-future-1" is not a region known here',
            id="a region that may be new (a warning)",
        ),
        pytest.param(
            changed(("max: 20", "max: 41")),
            "config.yaml:5: max_runners: 40 is less than the pools' max together (41): each pool's max is exact, but"
            " this one is held by each tick's own count, and ticks that run at once may exceed it by up to 1",
            id="pools that add up to more than the fleet may have (a warning)",
        ),
    ],
)
def test_keys_that_do_not_go_together(text: str, told: str, tmp_path: Path) -> None:
    assert lines(text, tmp_path) == [told]


def test_a_warning_lets_the_config_through_and_an_error_takes_the_warnings_along(tmp_path: Path) -> None:
    unwise = changed(("version: 3", "version: $Latest"))
    assert [p.severity for p in read(unwise, tmp_path).warnings] == [Severity.WARNING]
    with pytest.raises(ConfigError) as caught:
        read(unwise + "x: 1\n", tmp_path)
    assert [p.severity for p in caught.value.problems] == [Severity.WARNING, Severity.ERROR]
    assert caught.value.code == 2


@pytest.mark.parametrize(
    ("graviton", "types"),
    [
        (True, ["a1.large", "m6g.large", "c7gn.4xlarge", "t4g.micro", "im4gn.large", "is4gen.large", "x2gd.medium"]),
        (True, ["g5g.xlarge", "hpc7g.16xlarge", "r8gd.metal-24xl", "i4g.large", "c8gb.large"]),
        (False, ["m7i.large", "m7i-flex.large", "c6a.large", "t3.micro", "g4dn.xlarge", "g6e.xlarge", "gr6.4xlarge"]),
        (False, ["p4d.24xlarge", "trn1.2xlarge", "inf2.xlarge", "u-6tb1.metal", "u7i-12tb.224xlarge", "x8aedz.large"]),
        (False, ["z1d.large", "d3en.xlarge", "vt1.3xlarge", "f2.6xlarge", "p6-b200.48xlarge"]),
    ],
)
def test_the_processor_is_told_from_the_name_of_the_type(types: list[str], tmp_path: Path, *, graviton: bool) -> None:
    told = lines(changed(more=f"    instance_types: {json.dumps(types)}\n"), tmp_path)
    assert len(told) == (len(types) if graviton else 0)


# --- growth --------------------------------------------------------------------------------------


def test_the_work_grows_with_the_repositories_and_no_faster(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"

    def work(repositories: int) -> int:
        names = ", ".join(f"acme/repository-number-{n}" for n in range(repositories))
        path.write_text(changed(("acme/api, acme/web", names)))
        return _calls(lambda: load(path))

    assert work(1000) < 11 * work(100)
