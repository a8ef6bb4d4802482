"""What people read: the log, the summary, the annotations, the exit code."""

from __future__ import annotations

from typing import Any

import pytest

from scaler.config import Config
from scaler.decide import decide
from scaler.exits import Exit, exit_code
from scaler.model import Memory, Outcome, Result, Snapshot, Tick, Unseen, Up, View
from scaler.report import ROWS, age_of, alerts, headline, lines, markdown, status
from tests.worlds import API, NOW, WEB, booting, config, idle, job, jobs, pool, span, unseen, working, world

CONFIG = config()


def tick(snapshot: Snapshot, *, result: Result | None = None, config: Config = CONFIG, **outcome: Any) -> Tick:
    """A tick of this world whose every command came to the same."""
    plan = decide(config, snapshot, Memory())
    outcomes = tuple(Outcome(command, result, **outcome) for command in plan.commands) if result else ()
    return Tick(snapshot, plan, outcomes)


SUMMARY = """\
### runner-scaler: fleet main

**2 queued, 1 running, 1 instances** · 2026-11-23 09:00:00 UTC

#### acme/api

| Job | Pool | Age | Verdict |
| --- | --- | --- | --- |
| job-2 |  | 12m00s | **no pool**: no pool carries all of \\[gpu, self-hosted\\]; nearest: pool amd64, which lacks "gpu" |
| job-900 |  | 1m00s | **running**: runs on main-1a2b3c-i-1 |

#### acme/web

| Job | Pool | Age | Verdict |
| --- | --- | --- | --- |
| job-1 | amd64 | 0m40s | **launching**: launching into slot 1 of pool amd64 |

#### Pool amd64: 1 of 4

| Instance | Scope | Age | Verdict |
| --- | --- | --- | --- |
| i-1 | acme/api | 20m00s | **busy**: runs "job-900" of acme/api |

#### Commands

| Command | Why | Outcome |
| --- | --- | --- |
| launch amd64/1 for acme/web | job "job-1" of acme/web is queued and no runner is free for it | planned |
"""


def test_the_summary_of_a_plan_is_a_table_per_repository_and_pool() -> None:
    planned = tick(world(job(1, repository=WEB, age="40s"), job(2, labels="self-hosted gpu", age="12m"), working()))
    assert markdown(planned, CONFIG) == SUMMARY


def test_names_from_outside_cannot_mark_up_the_summary() -> None:
    text = markdown(tick(world(job(name="a|b\n| <img src=x> `x` ::error::"))), CONFIG)
    assert "a\\|b\\\\n\\| &lt;img src=x&gt; \\`x\\`" in text
    assert "::error" not in text


def test_names_from_outside_cannot_give_commands_to_the_log() -> None:
    told = "\n".join(lines(tick(world(job(name="x\n::set-output name=a::b")))))
    assert not [line for line in told.splitlines() if line.strip().startswith("::")]


def test_a_long_table_is_cut_with_a_count() -> None:
    big = config(pool(max=1000), max_runners=1000)
    text = markdown(tick(world(jobs(2000)), config=big), big)
    assert f"… and {2000 - ROWS} more" in text
    assert len(text) < 500_000


def test_what_waits_comes_first_in_the_log() -> None:
    told = lines(tick(world(job(1), job(2, labels="self-hosted gpu"))))
    assert "no pool" in told[0]


def test_the_headline_counts_what_waits_runs_and_was_done() -> None:
    done = tick(world(job(2), working()), result=Result.DONE, instance_id="i-2")
    assert headline(done) == "1 queued, 1 running, 1 instances, 1 launched, 0 ended"


def test_the_headline_says_that_something_was_not_seen() -> None:
    assert headline(tick(world(unseen(View.RUNNERS, API)))).endswith("1 not seen")


def test_status_counts_per_pool() -> None:
    told = status(tick(world(working(), idle("i-2", since="1m", slot=1), booting("i-3", slot=2))), CONFIG)
    assert "pool amd64: 3 of 4 (1 busy, 1 idle, 1 booting)" in told


def test_jobs_that_nobody_serves_are_annotated_once_per_cause() -> None:
    found = alerts(tick(world(jobs(3, labels="self-hosted gpu"))))
    assert len(found) == 1
    assert found[0][0] == "warning"
    assert '"job-1" in acme/api and 2 more' in found[0][1]


def test_a_refusal_is_an_error_with_the_lines_to_paste() -> None:
    denied = tick(world(job()), result=Result.DENIED, detail="AWS: denied", remedy="Allow it.")
    assert alerts(denied) == [("error", "launch amd64/0 for acme/api: AWS: denied\nAllow it.")]


@pytest.mark.parametrize(("seconds", "shown"), [("0s", "0m00s"), ("40s", "0m40s"), ("722s", "12m02s"), ("3h", "3h00m")])
def test_ages(seconds: str, shown: str) -> None:
    assert age_of(NOW, NOW - span(seconds)) == shown


EXITS = [
    pytest.param(tick(world()), Exit.OK, id="nothing to do"),
    pytest.param(tick(world(job()), result=Result.DONE), Exit.OK, id="demand is being served"),
    pytest.param(tick(world(job(labels="gpu"))), Exit.OK, id="a job that nobody serves is a warning"),
    pytest.param(tick(world(jobs(5))), Exit.OK, id="a full pool, nobody has waited for long"),
    pytest.param(tick(world(jobs(5, age="11m"))), Exit.CAPPED, id="a job waited ten minutes for a full pool"),
    pytest.param(tick(world(job()), result=Result.NO_CAPACITY), Exit.OK, id="no capacity for a moment"),
    pytest.param(tick(world(job(age="11m")), result=Result.NO_CAPACITY), Exit.CAPPED, id="no capacity for long"),
    pytest.param(tick(world(asked=(Up("amd64", API, 9),)), result=Result.DONE), Exit.CAPPED, id="up beyond the cap"),
    pytest.param(tick(world(unseen(View.QUEUE, API))), Exit.DEGRADED, id="something was not seen"),
    pytest.param(tick(world(job()), result=Result.FAILED), Exit.DEGRADED, id="a command failed"),
    pytest.param(tick(world(job()), result=Result.REFUSED), Exit.INPUT, id="EC2 refuses the template"),
    pytest.param(tick(world(job()), result=Result.DENIED), Exit.CREDENTIALS, id="a permission is missing"),
    pytest.param(
        Tick(
            world(unseen(View.QUEUE, API)),
            decide(CONFIG, world(), Memory()),
            (),
            (Unseen(View.STATE, "", "", denied=True),),
        ),
        Exit.CREDENTIALS,
        id="credentials come before what was not seen",
    ),
]


@pytest.mark.parametrize(("ended", "code"), EXITS)
def test_the_exit_code_is_the_most_urgent_thing(ended: Tick, code: Exit) -> None:
    assert code is exit_code(ended)
