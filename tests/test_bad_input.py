"""
The table of bad input, 01 to 52: one line, what and where and how to mend it, the right exit code, nothing done.

Each row that file, flags and environment decide runs the real command as a process, with GitHub and AWS at a port
where nobody listens: it has to end before it asks them anything. Rows that need the world are tests of their own in
the sandbox, named here.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from scaler.settings.inputs import INPUTS, PREFIX
from tests.configs import BASE, changed

ROOT = Path(__file__).resolve().parents[1]
INSTANCE = "i-0123456789abcdef0"
NEWLINE = "\n"
NOWHERE = "http://127.0.0.1:1"
LABELS = "[self-hosted, linux, x64, acme]"
TEMPLATE = "{name: runner-amd64, version: 3}"
# A second pool with the labels of the first.
SECOND = BASE[BASE.index("  amd64:") :].replace("  amd64:", "  other:")


@dataclass(frozen=True)
class Row:
    """What is given, and what has to be said: a line of standard error that begins with each of `told`."""

    told: tuple[str, ...]
    config: str | bytes | None = BASE
    words: tuple[str, ...] = ("plan",)
    env: dict[str, str] = field(default_factory=dict)
    code: int = 2


def row(number: int, what: str, row: Row) -> object:
    return pytest.param(row, id=f"{number:02} {what}")


def file(number: int, what: str, config: str | bytes | None, *told: str) -> object:
    """A config.yaml that is refused."""
    return row(number, what, Row(tuple(f"error: config.yaml{line}" for line in told), config))


def unwise(number: int, what: str, config: str, *told: str) -> object:
    """A config.yaml that is only warned about. A second mistake ends the command before it asks anyone."""
    lines = (
        *(f"warning: config.yaml{line}" for line in told),
        f"error: config.yaml:{config.count(NEWLINE) + 1}: zzz: unknown key",
    )
    return row(number, what, Row(lines, config + "zzz: 1\n"))


def words(number: int, what: str, line: str, *told: str) -> object:
    """A command line that is refused."""
    return row(number, what, Row(tuple(f"error: {line}" for line in told), words=tuple(line.split())))


def inputs(number: int, what: str, given: dict[str, str], *told: str) -> object:
    """Inputs of the action that are refused."""
    env = {PREFIX + name.upper().replace("-", "_"): value for name, value in given.items()}
    assert env.keys() <= {each.env for each in INPUTS}
    return row(number, what, Row(tuple(f"error: {line}" for line in told), words=("action",), env=env))


def environment(number: int, what: str, env: dict[str, str], *told: str, code: int = 2) -> object:
    """Variables that are refused."""
    return row(number, what, Row(tuple(f"error: {line}" for line in told), env=env, code=code))


POOL = "pools.amd64"
ROWS = [
    file(1, "missing", None, ": not found in "),
    file(2, "empty", "", ": empty; needs version, fleet, aws, repositories, max_runners, pools"),
    file(2, "only comments", "# nothing\n---\n", ": empty; needs version, fleet"),
    file(3, "a tab", "version: 1\n\tfleet: main\n", ":2:1: not valid YAML (found character '\\t'); indent with spaces"),
    file(3, "a template left over", "fleet: @@X@@\n", ":1:8: not valid YAML (found character '@'); quote the value"),
    file(4, "duplicate key", BASE + BASE[BASE.index("  amd64:") :], ':12: duplicate key "amd64"; first at line 7'),
    file(5, "a list at the top", "- version: 1\n", ":1: expected a mapping, got a list"),
    file(6, "unknown key", changed(more="    maxx: 3\n"), f':12: {POOL}.maxx: unknown key; did you mean "max"?'),
    file(
        *(7, "wrong type", changed(("max: 20", "max: ten"))),
        f':11: {POOL}.max: expected a whole number 0..1000, got "ten"; write a number',
    ),
    file(8, "no", changed(("max: 20", "max: no")), f":11: {POOL}.max: expected a whole number 0..1000, got"),
    file(8, "octal", changed(("max: 20", "max: 010")), f':11: {POOL}.max: expected a whole number 0..1000, got "010"'),
    file(8, "1e3", changed(("max: 20", "max: 1e3")), f':11: {POOL}.max: expected a whole number 0..1000, got "1e3"'),
    file(8, "huge", changed(("max: 20", f"max: {'9' * 400}")), f":11: {POOL}.max: "),
    file(9, "negative", changed(("max: 20", "max: -1")), f":11: {POOL}.max: -1 is outside 0..1000"),
    file(9, "over a thousand", changed(("max: 20", "max: 1001")), f":11: {POOL}.max: 1001 is outside 0..1000"),
    file(
        *(10, "min_idle above max", changed(more="    registration: token\n    min_idle: 21\n")),
        f":13: {POOL}.min_idle: min_idle 21 > max 20; lower it, or raise max",
    ),
    unwise(
        *(11, "pools add up to more than the fleet", changed(("max_runners: 40", "max_runners: 19"))),
        ":5: max_runners: 19 is less than the pools' max together (20)",
    ),
    *(
        file(12, text, changed(more=f"    idle_timeout: {text}\n"), f':12: {POOL}.idle_timeout: "{text}" {told}')
        for text, told in (
            ("5", "has no unit; write 5m"),
            ("5 min", "is no duration; write 5m"),
            ("-1m", "is no duration; write a whole number and s, m, h or d"),
            ("0s", "is below 2m"),
            ("99d", "is outside 2m..1d"),
        )
    ),
    file(
        *(13, "idle_timeout below the lag of busy", changed(more="    idle_timeout: 30s\n")),
        f':12: {POOL}.idle_timeout: "30s" is below 2m: GitHub\'s busy flag lags up to 60s',
    ),
    file(
        *(14, "boot_timeout past the lifetime", changed(more="    boot_timeout: 1h\n    max_lifetime: 30m\n")),
        f":12: {POOL}.boot_timeout: boot_timeout 1h must be < max_lifetime 30m",
    ),
    *(
        file(16, wrong, changed(("arch: amd64", f"arch: {wrong}")), f":8: {POOL}.arch: {told}")
        for wrong, told in (
            ("x86", '"x86" is not amd64 or arm64; use amd64'),
            ('"AMD64 "', '"AMD64 " is not amd64 or arm64; use amd64'),
            ("arm", '"arm" is not amd64 or arm64; use arm64'),
        )
    ),
    unwise(
        *(17, "a type of the other architecture", changed(more="    instance_types: [m7g.large]\n")),
        f':12: {POOL}.instance_types[0]: "m7g.large" looks like arm64, and the pool is amd64',
    ),
    file(
        *(18, "template id malformed", changed(("name: runner-amd64", "id: lt-1"))),
        f':10: {POOL}.launch_template.id: expected lt- and 8 or 17 hexadecimal digits, got "lt-1"',
    ),
    file(
        *(18, "both id and name", changed(("{name", "{id: lt-0123abcd, name"))),
        f":10: {POOL}.launch_template: give id or name, not both",
    ),
    file(
        *(18, "neither id nor name", changed(("name: runner-amd64, ", ""))),
        f":10: {POOL}.launch_template: give id or name, got neither",
    ),
    unwise(
        *(20, "a version that moves", changed(("version: 3", "version: $Latest"))),
        f":10: {POOL}.launch_template.version: $Latest: pin a number; anyone who edits the template owns the fleet",
    ),
    file(
        *(22, "region misspelt", changed(("us-east-1", "us-east1"))),
        ':3: aws.region: "us-east1" is not an AWS region; did you mean us-east-1?',
    ),
    file(22, "region empty", changed(("us-east-1", '""')), ':3: aws.region: "" is not an AWS region'),
    *(
        file(23, wrong, changed(("acme/web", f'"{wrong}"')), f":4: repositories[1]: {told}")
        for wrong, told in (
            ("owner", 'expected owner/name or owner/*, got "owner"'),
            ("https://github.com/o/r.git", '"https://github.com/o/r.git": write o/r'),
            ("o/r.git", '"o/r.git": write o/r'),
            ("o/a b", 'expected owner/name or owner/*, got "o/a b"'),
            ("../r", 'expected owner/name or owner/*, got "../r"'),
            ("o/..", 'expected owner/name or owner/*, got "o/.."'),
            ("ö/r", 'expected owner/name or owner/*, got "ö/r"'),
            ("*", '"*" names no owner; write acme/* for all repositories of acme'),
            ("*/api", '"*/api" names no owner; write acme/* for all repositories of acme'),
            ("ac*/api", '"ac*/api" names no owner; write acme/* for all repositories of acme'),
            ("acme/[ab]*", 'expected owner/name or owner/*, got "acme/[ab]*"'),
            ("acme/*/x", 'expected owner/name or owner/*, got "acme/*/x"'),
        )
    ),
    file(24, "a repository twice", changed(("acme/web", "ACME/API")), ":4: repositories[1]: same as [0] (ACME/API)"),
    file(
        24,
        "a pattern twice",
        changed(("[acme/api", "[acme/*, ACME/*, acme/api")),
        ":4: repositories[1]: same as [0] (ACME/*)",
    ),
    file(
        *(23, "a pattern that YAML takes for an alias", changed(("acme/web", "*/web"))),
        ":4:27: not valid YAML (expected alphabetic or numeric character, but found '/'); quote what begins with * or &",
    ),
    *(
        file(26, f"shard {text}", changed(more=f"shard: {text}\n"), f":12: shard: {told}")
        for text, told in (
            ("3/2", '"3/2" is no shard of at most 64; write 2/8'),
            ("0/8", '"0/8" is no shard of at most 64; write 2/8'),
            ("2", 'expected a shard such as 2/8, got "2"'),
        )
    ),
    words(26, "a shard of too many", "auto --shard 1/65", '--shard: "1/65" is no shard of at most 64; write 2/8'),
    words(26, "a shard for the button", "up -a amd64 --shard 1/2", "--shard: is for auto, plan, status, not for up"),
    file(25, "no repositories", changed(("[acme/api, acme/web]", "[]")), ":4: repositories: empty; nothing to scale"),
    file(
        *(26, "1,001 repositories", changed(("acme/web", ", ".join(f"acme/r{n}" for n in range(1000))))),
        ":4: repositories: 1001 entries, more than 1000; split them over fleets",
    ),
    file(27, "no labels", changed((LABELS, "[]")), f":9: {POOL}.labels: empty; list what the jobs' runs-on asks for"),
    file(27, "an empty label", changed((LABELS, '[acme, ""]')), f":9: {POOL}.labels[1]: empty label; remove it"),
    file(27, "a comma", changed((LABELS, '["acme,big"]')), f':9: {POOL}.labels[0]: "acme,big" has a comma'),
    file(27, "101 labels", changed((LABELS, str([f"l{n}" for n in range(101)]))), f":9: {POOL}.labels: 101 entries"),
    file(
        *(27, "self-hosted only", changed((LABELS, "[self-hosted]"))),
        f":9: {POOL}.labels: only default labels: would serve every self-hosted job; add one of your own",
    ),
    file(
        *(28, "a hosted label", changed((LABELS, "[Ubuntu-Latest, acme]"))),
        f':9: {POOL}.labels[0]: "Ubuntu-Latest" is a GitHub-hosted label',
    ),
    unwise(
        *(29, "two pools with the same labels", changed(more=SECOND)),
        ":14: pools.other.labels: the same labels as pools.amd64, which gets the jobs first; make one differ",
    ),
    *(
        file(
            30, name[:6], changed(("  amd64:", f'  "{name}":')), f":7: pools{shown}: expected a name of 1 to 32 of a-z"
        )
        for name, shown in (
            ("a/b", '["a/b"]'),
            ("..", '[".."]'),
            ("x" * 200, '["xxxxxxxxxxxxxxxxxxxx..." (200 characters)]'),
        )
    ),
    file(
        30, "a command as a name", changed(("  amd64:", '  "::error::x":')), r':7: pools[":\x3aerror:\x3ax"]: expected'
    ),
    file(31, "aws: tag", changed(more='tags: {"aws:x": y}\n'), ':12: tags["aws:x"]: "aws:x" is reserved by AWS'),
    file(
        *(31, "the fleet's own tag", changed(more='tags: {"runner-scaler:fleet": y}\n')),
        ':12: tags["runner-scaler:fleet"]: "runner-scaler:fleet" is reserved',
    ),
    file(
        *(31, "41 tags", changed(more=f"tags: { ({f'k{n}': 'v' for n in range(41)}) }\n")),
        ":12: tags: 41 entries, more than 40",
    ),
    file(32, "aliases", "a: &a [x]\nb: [*a, *a]\n", ':1: anchors and aliases ("a") are refused; write it out'),
    file(32, "10 MB", "a" * 10_000_000, ": larger than 256 KB"),
    file(32, "nested deeply", "[" * 1000 + "]" * 1000, ":1: nested more than 32 levels deep"),
    file(33, "UTF-16", BASE.encode("utf-16"), ": UTF-16; save as UTF-8"),
    file(33, "UTF-16 without a mark", BASE.encode("utf-16-le"), r":1: the control character \x00 is no text"),
    file(33, "Latin-1", BASE.replace("main", "mäin").encode("latin-1"), ":2: not UTF-8; save as UTF-8"),
    file(33, "NUL", changed(("main", "ma\0in")), r":2: the control character \x00 is no text; remove it"),
    file(
        34,
        "a later version",
        changed(("version: 1\n", "version: 3\n"), more="new: 1\n"),
        ":1: version: version 3 is newer",
    ),
    inputs(
        35, "UP", {"mode": "UP"}, 'mode: "UP" is not auto, plan, up, down, kick, status, doctor, lint; did you mean up?'
    ),
    inputs(
        35, "destroy", {"mode": "destroy"}, 'mode: "destroy" is not auto, plan, up, down, kick, status, doctor, lint'
    ),
    words(35, "UP in a shell", "UP", 'unknown command "UP"; did you mean "up"?'),
    inputs(36, "up without what", {"mode": "up"}, "up: what to launch? give arch or pool"),
    *(
        inputs(36, wrong, {"mode": "up", "arch": "arm64", "count": wrong}, f'count: "{wrong}" is not an integer 1..50')
        for wrong in ("0", "-1", "1.5", "51", "5; rm -rf")
    ),
    inputs(38, "down without which", {"mode": "down"}, "down: which instance? give instance-id"),
    *(
        inputs(38, wrong, {"mode": "down", "instance-id": wrong}, f"instance-id: {told}")
        for wrong, told in (
            ("i-XYZ", '"i-XYZ" is not i- + 8 or 17 hexadecimal digits'),
            (f"{INSTANCE},i-0123abcd", f'"{INSTANCE},i-0123abcd" is several; give one instance at a time'),
            (f"{INSTANCE} ", f'"{INSTANCE} " is not i- + 8 or 17 hexadecimal digits'),
        )
    ),
    *(
        inputs(42, wrong, {"dry-run": wrong}, f'dry-run: "{wrong}"; write true or false')
        for wrong in ("yes", "True", "1")
    ),
    row(
        44,
        "the workflow's own token",
        Row(
            ("error: github-token: this is the workflow's own GITHUB_TOKEN, which no permission lets manage runners",),
            words=("action",),
            env={PREFIX + "WORKFLOW_TOKEN": "made-up"},
            code=3,
        ),
    ),
    environment(
        43,
        "token unset",
        {"GH_TOKEN": ""},
        "GH_TOKEN: empty; in a workflow: is the secret set in this repository",
        code=3,
    ),
    environment(43, "token masked", {"GH_TOKEN": "***"}, "GH_TOKEN: only asterisks: a masked value", code=3),
    environment(43, "token with a newline", {"GH_TOKEN": "ghs_abc\n"}, "GH_TOKEN: has a space, a line break", code=3),
    environment(
        51, "plain http", {"GITHUB_API_URL": "http://ghes.example"}, "GITHUB_API_URL: http:// refused; use https"
    ),
    environment(
        51, "a bad proxy", {"HTTPS_PROXY": "http://user:word@:x"}, "HTTPS_PROXY: not a proxy's URL (not shown)"
    ),
]

IN_THE_SANDBOX = {
    15: ["test_lint.py::test_max_lifetime_below_a_jobs_timeout_is_a_warning"],
    17: ["test_doctor.py::test_what_is_wrong_is_told_in_a_line_with_how_to_mend_it"],
    19: ["test_bad_answers.py::test_a_launch_template_that_is_not_in_the_region_is_named"],
    21: ["test_doctor.py::test_what_is_wrong_is_told_in_a_line_with_how_to_mend_it"],
    37: ["test_by_hand.py::test_up_beyond_the_cap_launches_what_fits_and_says_so"],
    39: ["test_by_hand.py::test_down_refuses_what_is_not_ours"],
    40: ["test_by_hand.py::test_down_refuses_a_busy_runner_without_force"],
    41: ["test_by_hand.py::test_down_of_what_is_already_gone_succeeds"],
    44: ["test_degraded.py::test_the_workflows_own_token_is_told_what_it_cannot_do"],
    45: ["test_bad_answers.py::test_a_token_that_github_refuses_is_told_why_in_a_line_of_its_own"],
    46: [
        "test_bad_answers.py::test_without_aws_credentials_a_line_says_how_to_come_by_some",
        "test_bad_answers.py::test_ambient_credentials_of_another_account_than_the_roles_are_refused",
        "test_bad_answers.py::test_a_clock_that_aws_does_not_share_is_told",
        "test_bad_answers.py::test_credentials_that_aws_refuses_are_told_how_to_mend",
        "test_degraded.py::test_a_role_that_does_not_trust_the_workflow_gives_exit_3_and_the_lines_to_paste",
    ],
    47: ["test_degraded.py::test_a_denied_put_ends_in_exit_3_and_no_launch_at_all"],
    48: [
        "test_degraded.py::test_what_could_not_be_seen_whole_is_left_alone",
        "test_bad_answers.py::test_a_row_that_cannot_be_read_makes_its_list_unseen",
    ],
    49: ["test_bad_answers.py::test_a_job_whose_date_cannot_be_is_served_with_a_warning"],
    50: [
        "test_bad_answers.py::test_odd_labels_are_data",
        "test_bad_answers.py::test_labels_that_are_null_fit_no_pool",
    ],
    52: ["test_end_to_end.py::test_a_watch_that_is_stopped_ends_cleanly"],
}
TESTS = [(number, test) for number, tests in IN_THE_SANDBOX.items() for test in tests]


@pytest.mark.parametrize("row", ROWS)
def test_bad_input_is_told_in_one_line_each_and_nothing_is_done(row: Row, tmp_path: Path) -> None:
    if row.config is not None:
        (tmp_path / "config.yaml").write_bytes(row.config.encode() if isinstance(row.config, str) else row.config)
    ran = command(row.words, {"GH_TOKEN": "made-up", PREFIX + "GITHUB_TOKEN": "made-up"} | row.env, tmp_path)
    said = ran.stderr.splitlines()
    assert ran.returncode == row.code, ran.stderr
    for told in row.told:
        assert [line for line in said if line.startswith(told)], said
    problems = [line for line in said if line.startswith(("error: ", "warning: "))]
    assert len(problems) == len(row.told)
    others = [line for line in said if line not in problems and not line.startswith("usage: ")]
    assert others == [f"{len(problems)} problem{'s' * (len(problems) > 1)} found. Nothing was changed."]
    assert all(line.isprintable() and len(line) < 400 for line in said)
    assert ran.stdout == ""


def command(words: tuple[str, ...], env: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the program as action.yml does, with nobody to talk to."""
    alone = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "GITHUB_API_URL": NOWHERE,
        "AWS_ENDPOINT_URL": NOWHERE,
    }
    alone |= {name: value for name, value in os.environ.items() if name.startswith("COVERAGE")}
    argv = [sys.executable, "-P", "-m", "scaler", *words]
    return subprocess.run(argv, env=alone | env, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_inside_actions_each_problem_is_an_annotation_at_its_line(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(changed(("max: 20", "max: '::warning::x'")))
    ran = command(("plan",), {"GH_TOKEN": "made-up", "GITHUB_ACTIONS": "true"}, tmp_path)
    (annotation,) = [line for line in ran.stdout.splitlines() if line.startswith("::")]
    assert annotation.startswith("::error ")
    assert "file=config.yaml" in annotation
    assert "line=11" in annotation
    assert ran.returncode == 2


@pytest.mark.parametrize(("number", "test"), TESTS)
def test_a_row_that_needs_the_world_is_a_test_in_the_sandbox(number: int, test: str) -> None:
    name, _, function = test.partition("::")
    tree = ast.parse((ROOT / "tests" / name).read_text())
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, number


def test_every_row_of_the_table_is_here() -> None:
    here = {int(str(getattr(param, "id", "")).split()[0]) for param in ROWS}
    assert here | IN_THE_SANDBOX.keys() == set(range(1, 53))
