"""A request, from the command line or from the action's inputs: one result, every slip told at once."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler import __version__
from scaler.durations import parse as parse_duration
from scaler.durations import show
from scaler.settings.command_line import COMMANDS, FLAGS
from scaler.settings.inputs import INPUTS, MODES, PREFIX, Answered, Command, InputError, Inputs, parse
from scaler.text import nearest, quoted, safe

TOKEN = "made-up-token-of-the-tests"
ENV = {"GH_TOKEN": TOKEN}
INSTANCE = "i-0123456789abcdef0"
ROLE = "arn:aws:iam::111122223333:role/runner-scaler"


def line(*words: str, **env: str) -> Inputs:
    return parse(words, ENV | env)


def action(**inputs: str) -> Inputs:
    """As action.yml hands inputs over: each of them, what was not given as its default or empty."""
    env = {each.env: each.default for each in INPUTS} | {PREFIX + "GITHUB_TOKEN": TOKEN}
    # GitHub has replaced the expressions.
    env |= {PREFIX + "GITHUB_API_URL": "https://api.github.com", PREFIX + "WORKFLOW_TOKEN": ""}
    return parse(["action"], env | {PREFIX + name.upper(): value for name, value in inputs.items()})


def refused(*words: str, **env: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        line(*words, **env)
    assert caught.value.code == 2
    return [str(problem) for problem in caught.value.problems]


def action_refused(**inputs: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        action(**inputs)
    return [str(problem) for problem in caught.value.problems]


# --- two ways in, one result ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "inputs"),
    [
        pytest.param("auto", {}, id="nothing given is one tick"),
        pytest.param(
            "auto --for 50m --every 20s --linger 6m", {"for": "50m", "every": "20s", "linger": "6m"}, id="a watch"
        ),
        pytest.param("plan --config a/b.yaml", {"mode": "plan", "config": "a/b.yaml"}, id="another config"),
        pytest.param("plan", {"dry_run": "true"}, id="a dry auto is a plan"),
        pytest.param("up -a arm64", {"mode": "up", "arch": "arm64"}, id="up by architecture"),
        pytest.param(
            "up -p big -n 3 --repo acme/api --wait",
            {"mode": "up", "pool": "big", "count": "3", "repository": "acme/api", "wait": "true"},
            id="up by pool, three, for a repository, waiting",
        ),
        pytest.param(
            f"down -i {INSTANCE} --force",
            {"mode": "down", "instance_id": INSTANCE, "force": "true"},
            id="down, whatever it does",
        ),
        pytest.param("status", {"mode": "status"}, id="status"),
    ],
)
def test_the_command_line_and_the_action_ask_for_the_same(words: str, inputs: dict[str, str]) -> None:
    assert line(*words.split()) == action(**inputs)


def test_defaults_are_those_that_the_action_declares() -> None:
    """What action.yml says and what happens without action.yml may not differ."""
    assert action() == line("auto")
    assert action(**{each.name.replace("-", "_"): "" for each in INPUTS if each.name != "github-token"}) == action()
    assert line("auto") == Inputs(Command.AUTO, github_token=TOKEN)


def test_every_value_arrives() -> None:
    assert line(
        "auto", "--for=90s", "--every=1m", "--linger", "0s", "--json", "out.json", "-v", "--config=c.yaml"
    ) == Inputs(
        Command.AUTO,
        config_path=Path("c.yaml"),
        run_for=timedelta(seconds=90),
        every=timedelta(minutes=1),
        linger=timedelta(0),
        json="out.json",
        verbose=True,
        github_token=TOKEN,
    )
    assert line("up", "--arch", "amd64", "--count", "50", "--repo", "Acme/Api", "--wait") == Inputs(
        Command.UP, arch="amd64", count=50, repository="Acme/Api", wait=True, github_token=TOKEN
    )
    assert line("down", "-r", "i-0123abcd") == Inputs(Command.DOWN, instance_id="i-0123abcd", github_token=TOKEN)
    from_action = action(role_to_assume=ROLE, aws_region="eu-west-1", github_api_url="https://ghes.example/api/v3/")
    assert (from_action.role, from_action.region) == (ROLE, "eu-west-1")
    assert from_action.github_api_url == "https://ghes.example/api/v3"


def test_flags_stand_before_or_after_the_command_and_take_their_value_in_any_form() -> None:
    expected = line("up", "-p", "big", "-n", "3")
    for words in ("-p big up -n 3", "up -pbig -n3", "up --pool=big --count=3", "up -p=big -n=3", "-n 3 -p big up"):
        assert line(*words.split()) == expected


@pytest.mark.parametrize(
    ("words", "target"),
    [
        ("plan --json", "-"),
        ("plan --json -", "-"),
        ("--json plan", "-"),
        ("plan --json --verbose", "-"),
        ("plan --json out.json", "out.json"),
        ("plan --json=out.json", "out.json"),
        ("plan", None),
    ],
)
def test_json_goes_to_standard_output_unless_a_file_is_named(words: str, target: str | None) -> None:
    assert line(*words.split()).json == target


def test_what_follows_demo_is_the_demos_own() -> None:
    assert parse(["demo", "--help", "--speed", "10", "plan"], {}).demo_args == ("--help", "--speed", "10", "plan")


def test_schema_and_demo_need_no_token() -> None:
    assert parse(["schema"], {}).command is Command.SCHEMA
    assert parse(["demo"], {"GITHUB_API_URL": "nonsense"}).command is Command.DEMO


# --- the table of inputs -------------------------------------------------------------------------


def test_every_variable_has_the_one_prefix_and_the_name_of_its_input() -> None:
    for each in INPUTS:
        assert each.env == PREFIX + each.name.upper().replace("-", "_")
        assert each.description
        assert set(each.modes) <= set(MODES)
    assert len({each.name for each in INPUTS}) == len(INPUTS)


def test_commands_are_the_same_everywhere() -> None:
    assert [command.value for command in Command] == list(COMMANDS)
    assert set(MODES) == set(COMMANDS) - {"schema", "demo"}


def test_a_flag_and_an_input_of_one_name_are_for_the_same_commands() -> None:
    flags = {flag.name: flag.commands for flag in FLAGS}
    for each in INPUTS:
        assert flags.get(each.name, each.modes) == each.modes, each.name


# --- help ----------------------------------------------------------------------------------------


def test_help_and_version_are_answers() -> None:
    for words in (["--help"], ["-h"], ["up", "--help"], ["--version"]):
        with pytest.raises(Answered):
            parse(words, {})
    with pytest.raises(Answered) as caught:
        parse(["auto", "--version"], {})
    assert caught.value.text == f"runner-scaler {__version__}"


def test_the_help_names_every_command_and_flag_and_of_a_command_its_own() -> None:
    with pytest.raises(Answered) as whole:
        parse(["--help"], {})
    assert all(word in whole.value.text for word in [*COMMANDS, *(s for flag in FLAGS for s in flag.spellings)])
    with pytest.raises(Answered) as down:
        parse(["down", "-h"], {})
    assert "--instance-id" in down.value.text
    assert "--pool" not in down.value.text


# --- slips ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        pytest.param("atuo", ['unknown command "atuo"; did you mean "auto"?'], id="a command misspelt"),
        pytest.param(
            "destroy",
            ['unknown command "destroy"; give one of auto, plan, up, down, kick, status, doctor, lint, schema, demo'],
            id="no such command",
        ),
        pytest.param(
            "",
            ["no command; give one of auto, plan, up, down, kick, status, doctor, lint, schema, demo"],
            id="no command",
        ),
        pytest.param("auto --evry 5s", ['--evry: unknown flag; did you mean "--every"?'], id="a flag misspelt"),
        pytest.param("auto -x", ["-x: unknown flag"], id="a short flag that is none"),
        pytest.param("auto --every", ["--every: needs a value: --every TIME"], id="a flag without its value"),
        pytest.param(
            "auto --every --for 5m", ["--every: needs a value: --every TIME"], id="a flag in place of a value"
        ),
        pytest.param("auto --for 5m --for 6m", ["--for: given twice; give it once"], id="a flag twice"),
        pytest.param(
            "up -a arm64 --wait=no", ['--wait: takes no value, got "no"; leave it out for false'], id="a value"
        ),
        pytest.param("plan --for 5m", ["--for: is for auto, not for plan; remove it"], id="a flag of another command"),
        pytest.param("auto now", ['unexpected "now" after auto; remove it'], id="a word too many"),
        pytest.param(
            f"down {INSTANCE}", [f'unexpected "{INSTANCE}" after down; write -i {INSTANCE}'], id="an id, bare"
        ),
        pytest.param("up arm64", ['unexpected "arm64" after up; write -a arm64'], id="an architecture, bare"),
        pytest.param("up", ["up: what to launch? give -a ARCH or -p POOL"], id="up without what"),
        pytest.param("up -a arm64 -p big", ["up: give -a ARCH or -p POOL, not both"], id="up with both"),
        pytest.param("down", ["down: which instance? give -i INSTANCE_ID"], id="down without which"),
        pytest.param(
            "up -p Big", ['-p: expected a name of 1 to 32 of a-z, 0-9 and -, no - at either end, got "Big"'], id="pool"
        ),
        pytest.param("auto --for 50", ['--for: "50" has no unit; write 50m (1s..5d)'], id="a time without a unit"),
        pytest.param("auto --every 0s", ['--every: "0s" is outside 1s..1h'], id="a time too short"),
        pytest.param(
            "up -a x64 -n 0 --repo acme",
            [
                '-a: "x64" is not amd64 or arm64; use amd64',
                '-n: "0" is not an integer 1..50',
                '--repo: expected owner/name, got "acme"',
            ],
            id="several at once",
        ),
    ],
)
def test_a_slip_is_one_clear_line(words: str, told: list[str]) -> None:
    assert refused(*words.split()) == told


def test_a_line_that_cannot_be_read_comes_with_its_usage() -> None:
    for words, usage in (
        (["atuo"], "usage: python -m scaler COMMAND"),
        (["down", "--pool", "x"], "usage: python -m scaler down [-i ID]"),
    ):
        with pytest.raises(InputError) as caught:
            parse(words, ENV)
        assert caught.value.usage.startswith(usage)
        assert "\n" not in caught.value.usage


def test_the_action_names_its_inputs_as_its_users_do() -> None:
    assert action_refused(mode="up", count="5; rm -rf", wait="yes", arch="arm") == [
        'wait: "yes"; write true or false',
        'arch: "arm" is not amd64 or arm64; use arm64',
        'count: "5; rm -rf" is not an integer 1..50',
    ]
    assert action_refused(mode="up") == ["up: what to launch? give arch or pool"]
    assert action_refused(mode="down") == ["down: which instance? give instance-id"]


def test_a_dry_run_of_what_cannot_be_run_dry_is_refused_not_ignored() -> None:
    for mode, more in (("up", {"arch": "arm64"}), ("down", {"instance_id": INSTANCE})):
        (told,) = action_refused(mode=mode, dry_run="true", **more)
        assert told == f"dry-run: mode {mode} cannot be run dry; use mode plan, or set false"
    assert action(mode="status", dry_run="true").command is Command.STATUS


def test_an_input_that_the_mode_has_no_use_for_does_no_harm() -> None:
    """A dispatch form hands over all of its fields, whichever mode was chosen."""
    assert action(mode="auto", arch="arm64", instance_id=INSTANCE).command is Command.AUTO


def test_nothing_of_the_actions_variables_reaches_a_command_line() -> None:
    assert line("auto", RUNNER_SCALER_FOR="50m", RUNNER_SCALER_GITHUB_TOKEN="x") == line("auto")


# --- the token -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "token"),
    [
        ({"GH_TOKEN": "first", "GITHUB_TOKEN": "second"}, "first"),
        ({"GH_TOKEN": "", "GITHUB_TOKEN": "second"}, "second"),
        ({"GITHUB_TOKEN": "second"}, "second"),
    ],
)
def test_gh_token_comes_before_github_token(env: dict[str, str], token: str) -> None:
    assert parse(["plan"], env).github_token == token


def test_the_actions_own_input_comes_before_the_environment() -> None:
    env = {PREFIX + "GITHUB_TOKEN": "input", "GH_TOKEN": "first"}
    assert parse(["action"], env).github_token == "input"
    assert parse(["action"], {"GH_TOKEN": "first"}).github_token == "first"


@pytest.mark.parametrize(
    ("env", "told"),
    [
        (
            {},
            "GH_TOKEN: empty; in a workflow: is the secret set in this repository or environment? in a shell: export GH_TOKEN",
        ),
        ({"GH_TOKEN": "***"}, "GH_TOKEN: only asterisks: a masked value was copied"),
        ({"GH_TOKEN": "a token"}, "GH_TOKEN: has a space, a line break"),
        ({"GITHUB_TOKEN": "token\n"}, "GITHUB_TOKEN: has a space, a line break"),
        ({"GH_TOKEN": "tök"}, "GH_TOKEN: has a space, a line break"),
    ],
)
def test_a_token_that_can_be_none_is_a_matter_of_credentials(env: dict[str, str], told: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(["plan"], env)
    assert caught.value.code == 3
    (problem,) = caught.value.problems
    assert str(problem).startswith(told)


def test_a_bad_input_beside_a_bad_token_is_still_a_bad_input() -> None:
    with pytest.raises(InputError) as caught:
        parse(["up"], {})
    assert caught.value.code == 2
    assert len(caught.value.problems) == 2


def test_a_token_is_in_no_text_about_the_request() -> None:
    assert TOKEN not in repr(line("plan"))
    assert TOKEN not in str(line("plan"))
    with pytest.raises(InputError) as caught:
        parse(["up", "-n", "0"], {"GH_TOKEN": TOKEN + " "})
    assert TOKEN not in str(caught.value) + repr(caught.value.problems)


# --- where GitHub is, and the repository of `up` ---------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://api.github.com",
        "https://ghes.example:8443/api/v3",
        "http://127.0.0.1:8080",
        "http://localhost:1",
        "http://[::1]:9",
    ],
)
def test_githubs_api_is_https_or_on_this_machine(url: str) -> None:
    assert line("plan", GITHUB_API_URL=url + "/").github_api_url == url


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://api.github.com", "http:// refused; use https"),
        ("http://127.0.0.1.example.com", "http:// refused; use https"),
        ("http://localhost.example.com", "http:// refused; use https"),
        ("http://10.0.0.1", "http:// refused; use https"),
        ("ftp://github.com", "not a URL; write https://HOST"),
        ("api.github.com", "not a URL; write https://HOST"),
        ("https://", "not a URL; write https://HOST"),
        ("https://host:99999", "not a URL; write https://HOST"),
        ("https://[::1", "not a URL; write https://HOST"),
        ("https://host/\n::error::x", "not a URL; write https://HOST"),
        ("https://user:word@host", "a user, a query or a fragment does not belong here"),
        ("https://host?x=1", "a user, a query or a fragment does not belong here"),
    ],
)
def test_a_token_goes_nowhere_in_the_clear(url: str, told: str) -> None:
    (problem,) = refused("plan", GITHUB_API_URL=url)
    assert problem.startswith(f"GITHUB_API_URL: {told}")
    assert "word" not in problem
    (problem,) = action_refused(github_api_url=url)
    assert problem.startswith(f"github-api-url: {told}")


@pytest.mark.parametrize("proxy", ["http://proxy:3128", "proxy:3128", "http://user:word@proxy:3128", "socks5h://p:1"])
def test_a_proxy_is_left_to_the_libraries(proxy: str) -> None:
    assert line("plan", HTTPS_PROXY=proxy) == line("plan")


@pytest.mark.parametrize("proxy", ["http://", "a b", "http://user:word@:1", "htp://proxy", "http://proxy:port"])
def test_what_is_no_proxy_is_told_without_showing_it(proxy: str) -> None:
    for name in ("https_proxy", "ALL_PROXY"):
        (told,) = refused("plan", **{name: proxy})
        assert told == f"{name}: not a proxy's URL (not shown); write http://HOST:PORT, or unset it"


@pytest.mark.parametrize(
    ("words", "env", "repository"),
    [
        ("up -a arm64 --repo acme/api", {"GH_REPOSITORY": "other/one"}, "acme/api"),
        ("up -a arm64", {"GH_REPOSITORY": "acme/api"}, "acme/api"),
        ("up -a arm64", {"GH_REPOSITORY": "api", "GH_OWNER": "acme"}, "acme/api"),
        ("up -a arm64", {"GH_REPOSITORY": "acme/api", "GH_OWNER": "Acme"}, "acme/api"),
        ("up -a arm64", {"GH_OWNER": "acme"}, None),
        ("up -a arm64", {"GH_REPOSITORY": ""}, None),
        ("auto", {"GH_REPOSITORY": "no repository at all"}, None),
    ],
)
def test_up_finds_its_repository_as_the_original_did(words: str, env: dict[str, str], repository: str | None) -> None:
    assert line(*words.split(), **env).repository == repository


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({"GH_REPOSITORY": "api"}, 'GH_REPOSITORY: "api" has no owner; write owner/name, or set GH_OWNER'),
        ({"GH_REPOSITORY": "a/b", "GH_OWNER": "c"}, 'GH_OWNER: "c" is not the owner in GH_REPOSITORY "a/b"; unset one'),
        ({"GH_REPOSITORY": "a/../b"}, 'GH_REPOSITORY: expected owner/name, got "a/../b"'),
    ],
)
def test_a_repository_of_the_environment_is_checked_like_any_other(env: dict[str, str], told: str) -> None:
    assert refused("up", "-a", "arm64", **env) == [told]


# --- durations and texts -------------------------------------------------------------------------


@given(st.integers(0, 10_000_000))
def test_a_duration_is_read_back_as_it_is_shown(seconds: int) -> None:
    span = timedelta(seconds=seconds)
    if len(show(span)) <= 8:
        assert parse_duration(show(span), timedelta(0), timedelta(days=1000)) == span


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("5", '"5" has no unit; write 5m (2m..1d)'),
        ("05m", '"05m" is no duration; write 5m (2m..1d)'),
        ("5 min", '"5 min" is no duration; write 5m (2m..1d)'),
        ("5 Minutes", '"5 Minutes" is no duration; write 5m (2m..1d)'),
        ("2hours", '"2hours" is no duration; write 2h (2m..1d)'),
        ("90 s", '"90 s" is no duration; write 90s (2m..1d)'),
        ("-1m", '"-1m" is no duration; write a whole number and s, m, h or d, such as 10m (2m..1d)'),
        ("1h30m", '"1h30m" is no duration; write a whole number and s, m, h or d, such as 10m (2m..1d)'),
        ("5m\n", '"5m\\n" is no duration; write 5m (2m..1d)'),
        ("٥m", '"٥m" is no duration; write a whole number'),
        ("0s", '"0s" is outside 2m..1d'),
        ("99d", '"99d" is outside 2m..1d'),
        ("9999999d", '"9999999d" is outside 2m..1d'),
        ("99999999999999d", '"99999999999999d" is no duration'),
    ],
)
def test_what_is_no_duration_is_told_how_to_be_one(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        parse_duration(text, timedelta(minutes=2), timedelta(days=1))
    assert str(caught.value).startswith(told)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("ten", '"ten"'),
        (10, "10"),
        (True, "true"),
        (None, "nothing"),
        ('a "b" \\', '"a \\"b\\" \\\\"'),
        ("a\nb\r\tc", r'"a\nb\r\tc"'),
        ("\x1b[31mred\x00", r'"\x1b[31mred\x00"'),
        ("\u202egnp.exe\u2028", r'"\u202egnp.exe\u2028"'),
        ("\udc80", r'"\udc80"'),
        ("::error::x", r'":\x3aerror:\x3ax"'),
        (":::", r'":\x3a:"'),
        ("##[group]x", r'"#\x23[group]x"'),
        ("x" * 41, '"' + "x" * 20 + '..." (41 characters)'),
        ("ümläut", '"ümläut"'),
        ("ghp_" + "a" * 36, "a value that looks like a secret (not shown)"),
        ("x github_pat_" + "a" * 70, "a value that looks like a secret (not shown)"),
        ("AKIA" + "A" * 16, "a value that looks like a secret (not shown)"),
        ("wJalrXUtnFEMI/K7MDENG/bPxRfiCY" + "A" * 10, "a value that looks like a secret (not shown)"),
    ],
)
def test_a_value_is_shown_on_one_line_short_and_without_power(value: object, shown: str) -> None:
    assert quoted(value) == shown


@given(st.text())
def test_no_text_breaks_a_line_or_gives_a_command(text: str) -> None:
    """GitHub's runner obeys `::name::` at the start of a line and `##[name]` anywhere (actions/runner: ActionCommand.cs)."""
    for shown in (safe(text), quoted(text)):
        assert shown.isprintable()
        assert "::" not in shown
        assert "##[" not in shown


def test_the_nearest_word_is_found_in_any_case_and_none_where_none_is_near() -> None:
    assert nearest("US-EAST1", ["us-east-1", "eu-west-1"]) == "us-east-1"
    assert nearest("zzz", ["us-east-1"]) is None
    assert nearest("x" * 100_000, ["us-east-1"]) is None


@given(st.lists(st.text(max_size=12) | st.sampled_from([s for flag in FLAGS for s in flag.spellings] + list(COMMANDS))))
def test_no_command_line_fails_otherwise(words: list[str]) -> None:
    assert answered(words, ENV)


@given(
    st.dictionaries(
        st.sampled_from([each.env for each in INPUTS] + ["GH_TOKEN", "GH_REPOSITORY"]), st.text(max_size=30)
    )
)
def test_no_inputs_of_the_action_fail_otherwise(env: dict[str, str]) -> None:
    assert answered(["action"], env)


def answered(words: list[str], env: dict[str, str]) -> bool:
    """Whether the request was taken, or refused in proper lines."""
    try:
        parse(words, env)
    except InputError as error:
        return bool(error.problems) and all(str(problem).isprintable() for problem in error.problems)
    except Answered as answer:
        return bool(answer.text)
    return True
