"""What people read: the log, the status, the annotations, the exit code. The job summary has its own: test_page."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from scaler.decide import decide
from scaler.exits import Exit, exit_code
from scaler.model import JobStatus, Memory, Outcome, Result, Snapshot, Tick, Unseen, Up, View
from scaler.reporting.report import ALERTS, age_of, alerts, headline, lines
from scaler.reporting.status import ROWS, status
from scaler.settings.config import Config
from tests.worlds import API, NOW, WEB, booting, config, ghost, job, jobs, span, unseen, working, world

CONFIG = config()


def tick(snapshot: Snapshot, *, result: Result | None = None, config: Config = CONFIG, **outcome: Any) -> Tick:
    """A tick of this world whose every command came to the same."""
    plan = decide(config, snapshot, Memory())
    outcomes = tuple(Outcome(command, result, **outcome) for command in plan.commands) if result else ()
    return Tick(snapshot, plan, outcomes)


def test_names_from_outside_cannot_give_commands_to_the_log() -> None:
    told = "\n".join(lines(tick(world(job(name="x\n::set-output name=a::b")))))
    assert not [line for line in told.splitlines() if line.strip().startswith("::")]


def test_what_waits_comes_first_in_the_log() -> None:
    told = lines(tick(world(job(1), job(2, labels="self-hosted gpu"))))
    assert "no pool" in told[0]


def test_the_headline_counts_what_waits_runs_and_was_done() -> None:
    done = tick(world(job(2), working()), result=Result.DONE, instance_id="i-2")
    assert headline(done) == "1 queued, 1 running, 1 instance, 1 launched, 0 ended"


def test_the_headline_says_that_something_was_not_seen() -> None:
    assert headline(tick(world(unseen(View.RUNNERS, API)))).endswith("1 not seen")


STATUS = """\
fleet main: busy: 2 queued, 2 running, 2 instances · 2026-11-23 09:00:00 UTC
why jobs wait:
  12m00s  acme/api  job-2  no pool: no pool carries all of [gpu, self-hosted]; nearest: pool amd64, which lacks "gpu"
   0m40s  acme/web  job-1  launching: launching into slot 2 of pool amd64
jobs that run elsewhere:
  1m00s  acme/api  job-3  running: runs on macbook
pool amd64: 2 of 4 (1 busy, 1 booting)
  20m00s  acme/api  i-1  busy: runs "job-900" of acme/api
   1m00s  acme/api  i-2  booting: launched 1m00s ago, no runner online yet
pool arm64: 0 of 4 (nothing runs)
left behind:
    acme/api  main-1a2b3c-i-9  ghost: offline, and its instance is gone; deregistered if that is still so in 5m
costs: no price is set; 2 instances now, 48 instance-hours in a day like this
how to stop:
  end an instance: down -i INSTANCE_ID (with --force even if it runs a job)
  keep an instance: tag it runner-scaler:hold
  launch no more: max: 0 in its pool
  stop all: disable the workflow; instances end themselves"""


def test_status_answers_why_jobs_wait_what_runs_and_how_to_stop() -> None:
    seen = (job(1, repository=WEB, age="40s"), job(2, labels="self-hosted gpu", age="12m"), working())
    elsewhere = job(3, status=JobStatus.IN_PROGRESS, runner_name="macbook")
    told = status(tick(world(*seen, elsewhere, booting("i-2", slot=1), ghost())), CONFIG)
    assert "\n".join(told) == STATUS


def test_status_says_first_what_was_not_seen_with_the_lines_to_paste() -> None:
    blind = Unseen(View.QUEUE, API, "GitHub: 403", denied=True, remedy="Give it\nActions: read.")
    told = status(tick(replace(world(), unseen=(blind,))), CONFIG)
    assert told[:4] == [
        "fleet main: denied: 0 queued, 0 running, 0 instances, 1 not seen · 2026-11-23 09:00:00 UTC",
        "not seen: queue acme/api: GitHub: 403",
        "  Give it",
        "  Actions: read.",
    ]


def test_status_cuts_a_long_list_with_a_count() -> None:
    told = status(tick(world(jobs(ROWS + 7))), CONFIG)
    assert "  … and 7 more (all: --json)" in told


def test_a_handful_of_annotations_the_errors_first() -> None:
    lone = [job(n, labels=f"self-hosted gpu{n}") for n in range(9)]
    found = alerts(tick(world(*lone, unseen(View.RUNNERS, WEB, denied=True))))
    assert [level for level, _ in found] == ["error"] + ["warning"] * (ALERTS - 1)


def test_a_refusal_of_many_commands_is_one_annotation() -> None:
    denied = tick(world(jobs(3)), result=Result.DENIED, detail="AWS: denied", remedy="Allow it.")
    assert alerts(denied) == [("error", "launch amd64/0 for acme/api and 2 more: AWS: denied\nAllow it.")]


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
