from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from scaler.sandbox.clock import Clock
from scaler.sandbox.github.faults import Fault, FaultKind
from scaler.sandbox.github.settings import Settings
from scaler.sandbox.github.world import GitHubWorld
from scaler.sandbox.journal import Journal
from scaler.sandbox.scenario import Scenario, ScenarioError, load
from tests.github_site import MORNING


@pytest.fixture
def world() -> Iterator[GitHubWorld]:
    clock = Clock(MORNING, speed=0)
    clock.start()
    yield GitHubWorld(clock, Journal(clock))
    clock.stop()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "scenario.yaml"


def read(file: Path, text: str) -> Scenario:
    file.write_text(dedent(text))
    return load(file)


def states(world: GitHubWorld) -> dict[str, str]:
    return {job.name: job.conclusion or job.status for job in world.state.jobs.values()}


def test_everything_a_scenario_can_say(file: Path, world: GitHubWorld) -> None:
    """One file with every key; the AWS part is handed on as it stands."""
    scenario = read(
        file,
        """
        name: all of it
        organizations: [acme]
        repositories:
          - acme/api
          - {name: acme/web, private: false}
        groups:
          - {organization: acme, name: Default, visibility: private}
          - {organization: acme, name: builders, visibility: selected, repositories: [acme/api], allows_public: true}
        workflows:
          - repository: acme/api
            name: Autoscale
            path: .github/workflows/scale-it.yml
            jobs: [{name: scale, labels: [ubuntu-latest]}]
        github: {busy_lag: 30s, jit_idle_removal: 4m, idle_liars: [r1], deleted_job: continues, minimum_version: 2.329.0}
        events:
          - at: 30s
            push:
              id: first
              repository: acme/web
              workflow: CI
              event: pull_request
              branch: dev
              concurrency: ci
              cancel_in_progress: true
              jobs:
                - name: build
                  labels: [self-hosted, linux]
                  duration: 1m30s
                  conclusion: [failure, success]
                  environment: production
                  concurrency: db
                  group: builders
                - {name: test, labels: [self-hosted], count: 3, max_parallel: 2, needs: [build]}
                - {name: lint, labels: [ubuntu-latest], matrix: [3.11, 3.12]}
          - {at: 1m, approve: {run: first, environment: production, approved: false}}
          - {at: 1m, cancel: {run: first, job: lint (3.11)}}
          - {at: 2m, fault: {kind: status, method: GET, path: /runners$, value: 502, times: 3, skip: 1}}
          - {at: 2m, set: {jit_idle_removal: null, delete_believes: false}}
          - {at: 3m, cancel: {run: first}}
          - {after: first, delay: 10s, rerun: {run: first, failed: true}}
          - {at: 1h, clear_faults: true}
        aws: {boot: {delay: 40s}, capacity: [m7i.large]}
        """,
    )
    assert (scenario.name, scenario.last_event_at) == ("all of it", 3600)
    assert scenario.aws == {"boot": {"delay": "40s"}, "capacity": ["m7i.large"]}
    runs = scenario.schedule(world)
    settings = world.settings
    assert (settings.busy_lag, settings.jit_idle_removal, settings.idle_liars) == (30, 240, {"r1"})
    assert (settings.deleted_job, settings.minimum_version) == ("continues", "2.329.0")
    assert (world.repository("acme/api").private, world.repository("acme/web").private) == (True, False)
    autoscale = world.repository("acme/api").workflows["Autoscale"]
    assert autoscale.path == ".github/workflows/scale-it.yml"
    assert [spec.name for spec in autoscale.jobs or ()] == ["scale"]
    assert [(g.id, g.name, g.visibility, g.allows_public) for g in world.state.groups["acme"]] == [
        (1, "Default", "private", False),
        (2, "builders", "selected", True),
    ]
    assert runs == {}
    world.clock.advance(30)
    run = world.run(runs["first"])
    assert (run.event, run.branch, run.concurrency, run.workflow.name) == ("pull_request", "dev", "ci", "CI")
    assert run.specs[0].duration == 90
    assert run.specs[1].job_names == ("test (1)", "test (2)", "test (3)")
    assert states(world) == {"build": "waiting", "lint (3.11)": "queued", "lint (3.12)": "queued"}
    world.clock.advance(35)
    # The job was taken by GitHub's own runner at 35 s, so its cancel at 1 m ends it in mid-job.
    assert states(world)["lint (3.11)"] == "cancelled"
    assert states(world)["build"] == "failure"
    world.clock.advance(55)
    assert list(world.faults) == [Fault(FaultKind.STATUS, "/runners$", "GET", times=3, skip=1, value=502)]
    assert (settings.jit_idle_removal, settings.delete_believes) == (None, False)
    world.clock.advance(3600)
    assert list(world.faults) == []


def test_event_may_follow_the_end_of_a_run(file: Path, world: GitHubWorld) -> None:
    """A re-run comes once its run has ended, whenever that is; and only the first time it ends."""
    runs = read(
        file,
        """
        repositories: [acme/api]
        events:
          - {at: 0s, push: {id: ci, repository: acme/api, jobs: [{name: a, labels: [ubuntu-latest], conclusion: failure}]}}
          - {after: ci, delay: 10s, rerun: {run: ci, failed: true}}
        """,
    ).schedule(world)
    world.clock.advance(65)
    assert (world.run(runs["ci"]).phase, world.run(runs["ci"]).attempt) == ("completed", 1)
    world.clock.advance(10)
    assert (world.run(runs["ci"]).phase, world.run(runs["ci"]).attempt) == ("open", 2)
    world.clock.advance(600)
    assert (world.run(runs["ci"]).phase, world.run(runs["ci"]).attempt) == ("completed", 2)


def test_what_github_refuses_is_noted_and_goes_on(file: Path, world: GitHubWorld) -> None:
    """A cancel that comes too late is refused (409), as GitHub would; the other events happen."""
    read(
        file,
        """
        repositories: [acme/api]
        events:
          - {at: 0s, push: {id: ci, repository: acme/api, jobs: [{name: a, labels: [ubuntu-latest]}]}}
          - {at: 5m, cancel: {run: ci}}
          - {at: 5m, push: {repository: acme/api, jobs: []}}
        """,
    ).schedule(world)
    world.clock.advance(300)
    assert [e.facts["event"] for e in world.state.journal.of("scenario.refused")] == ["cancel"]
    assert len(world.state.runs) == 2


def test_name_is_the_files_unless_it_says_otherwise(file: Path) -> None:
    """A scenario needs nothing but events."""
    scenario = read(file, "events: []")
    assert (scenario.name, scenario.events, scenario.aws, scenario.last_event_at) == ("scenario", (), {}, 0)


PUSH = "{repository: acme/api, id: ci, jobs: [{name: a, labels: [x]}]}"


def case(name: str, text: str, error: str) -> object:
    return pytest.param(dedent(text), error, id=name)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        case("empty", "", ": is empty"),
        case("no yaml", "events: [", ":1: no YAML: expected the node content, but found '<stream end>'"),
        case("no mapping", "[]", ":1: expected a mapping, got a list"),
        case("no events", "name: x", ':1: "events" is missing'),
        case("unknown key", "events: []\nevent: []", ':2: event: unknown key; did you mean "events"?'),
        case("twice", "events: []\nevents: []", ":2: events: stands here twice"),
        case("events no list", "events: {}", ":1: events: expected a list, got a mapping"),
        case("repository", "repositories: [acme]\nevents: []", ":1: repositories[0]: expected owner/name, got 'acme'"),
        case(
            "private",
            "repositories: [{name: a/b, private: maybe}]\nevents: []",
            ":1: repositories[0].private: expected true or false, got 'maybe'",
        ),
        case(
            "group of no organization",
            "groups: [{organization: acme, name: x}]\nevents: []",
            ":1: groups[0].organization: 'acme' is not among the organizations",
        ),
        case(
            "visibility",
            "organizations: [acme]\ngroups: [{organization: acme, name: x, visibility: some}]\nevents: []",
            ":2: groups[0].visibility: expected one of all, selected, private, got 'some'",
        ),
        case(
            "setting",
            "github: {busy_leg: 3s}\nevents: []",
            ':1: github.busy_leg: unknown key; did you mean "busy_lag"?',
        ),
        case(
            "setting's value",
            "github: {deleted_job: explodes}\nevents: []",
            ":1: github.deleted_job: expected one of dies, continues, got 'explodes'",
        ),
        case(
            "duration",
            "events: [{at: soon, clear_faults: true}]",
            ":1: events[0].at: expected a duration such as 90s or 2m30s, got 'soon'",
        ),
        case("no time", "events: [{clear_faults: true}]", ':1: events[0]: expected one of "at" and "after"'),
        case(
            "no action",
            "events: [{at: 1s}]",
            ":1: events[0]: expected exactly one of push, cancel, rerun, approve, fault, clear_faults, set, got none",
        ),
        case(
            "two actions",
            "events: [{at: 1s, clear_faults: true, set: {}}]",
            "expected exactly one of push, cancel, rerun, approve, fault, clear_faults, set, got clear_faults, set",
        ),
        case(
            "delay without after",
            "events: [{at: 1s, delay: 1s, clear_faults: true}]",
            ':1: events[0].delay: goes with "after" only',
        ),
        case(
            "unknown repository",
            f"events: [{{at: 1s, push: {PUSH}}}]",
            ":1: events[0].push.repository: 'acme/api' is not among the repositories",
        ),
        case(
            "unknown run",
            "events: [{at: 1s, cancel: {run: ci}}]",
            ":1: events[0].cancel.run: no push above has the id 'ci'",
        ),
        case(
            "id twice",
            f"repositories: [acme/api]\nevents:\n- {{at: 1s, push: {PUSH}}}\n- {{at: 1s, push: {PUSH}}}",
            ":4: events[1].push.id: 'ci' is the id of a push above",
        ),
        case(
            "unknown job",
            f"repositories: [acme/api]\nevents:\n- {{at: 1s, push: {PUSH}}}\n- {{at: 1s, cancel: {{run: ci, job: b}}}}",
            ":4: events[1].cancel.job: 'ci' has no job 'b' (it has a)",
        ),
        case("fault", "events: [{at: 1s, fault: {kind: oops}}]", "events[0].fault.kind: expected one of status, html,"),
        case(
            "pattern",
            "events: [{at: 1s, fault: {kind: lost, path: '('}}]",
            ":1: events[0].fault.path: is no regular expression: missing ), unterminated subpattern at position 0",
        ),
        case(
            "times",
            "events: [{at: 1s, fault: {kind: lost, times: 0}}]",
            ":1: events[0].fault.times: expected a whole number of 1 or more, got '0'",
        ),
        case("name", "name: [x]\nevents: []", ":1: name: expected some text, got a list"),
        case("aws", "aws: []\nevents: []", ":1: aws: expected a mapping"),
    ],
)
def test_error_is_one_line_with_its_place(file: Path, text: str, error: str) -> None:
    """What is wrong, where, and what it should be."""
    with pytest.raises(ScenarioError) as raised:
        read(file, text)
    message = str(raised.value)
    assert message.startswith(str(file))
    assert error in message
    assert "\n" not in message


JOB_ERRORS = [
    ("{name: a}", '"labels" is missing'),
    ("{name: a, labels: []}", "labels: a job has at least one label"),
    ("{name: a, labels: x}", "labels: expected a list, got 'x'"),
    ("{name: a, labels: [x], needs: [b]}", "needs 'b', which is no job above"),
    ("{name: a, labels: [x], conclusion: maybe}", "conclusion: expected one of success, failure, cancelled, skipped"),
    ("{name: a, labels: [x], conclusion: []}", "conclusion: expected at least one conclusion"),
    ("{name: a, labels: [x], count: 2, matrix: [1]}", 'count: expected "matrix" or "count", not both'),
    ("{name: a, labels: [x], count: 0}", "count: expected a whole number of 1 or more, got '0'"),
    ("{name: a, labels: [x], duration: -5}", "duration: expected a duration such as 90s or 2m30s, got '-5'"),
    ("{name: a, labels: [x]}, {name: a, labels: [x]}", "there are two jobs named 'a'"),
]


@pytest.mark.parametrize(("jobs", "error"), JOB_ERRORS)
def test_error_in_a_job_is_named(file: Path, jobs: str, error: str) -> None:
    """The same for the jobs of a push."""
    text = f"repositories: [a/b]\nevents:\n- {{at: 0s, push: {{repository: a/b, jobs: [{jobs}]}}}}"
    with pytest.raises(ScenarioError) as raised:
        read(file, text)
    assert f"{file}:3: events[0].push.jobs[" in str(raised.value)
    assert error in str(raised.value)


def test_missing_file_is_an_error_of_one_line(file: Path) -> None:
    """The path is named."""
    with pytest.raises(ScenarioError, match="cannot be read"):
        load(file)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1.5", 1.5), ("90s", 90), ("2m30s", 150), ("1h", 3600), ("1d2h", 93600), ("0s", 0)],
)
def test_durations_are_seconds_or_have_units(file: Path, text: str, seconds: float) -> None:
    """Everywhere in the file."""
    assert read(file, f"events: [{{at: {text}, clear_faults: true}}]").last_event_at == seconds


def test_every_setting_can_be_set(file: Path, world: GitHubWorld) -> None:
    """No setting of the embedded GitHub is out of a scenario's reach, whatever its type."""
    values = {"float": "7s", "float | None": "7s", "bool": "false", "str | None": "2.0.0", "set[str]": "[a]"}
    values |= {"tuple[str, ...]": "[waiting, queued]", "int | None": "900"}
    lines = []
    for name, field in Settings.__dataclass_fields__.items():
        kind = str(field.type)
        value = re.findall(r"\w+", kind)[1] if kind.startswith("Literal") else values[kind]
        lines.append(f"{name}: {value}")
    read(file, f"github: {{{', '.join(lines)}}}\nevents: []").schedule(world)
    assert (world.settings.lease, world.settings.precedence) == (7.0, ("waiting", "queued"))
    assert world.settings.points_a_minute == 900
