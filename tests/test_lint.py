"""`lint`: what workflows ask for, against the pools that there are; and the config alone."""

from __future__ import annotations

import pytest

from scaler.checking.lint import runs_on
from scaler.sandbox.github.faults import Fault, FaultKind
from tests.conftest import Ran, World

CI = ".github/workflows/ci.yml"
SERVED = "jobs: {build: {runs-on: [self-hosted, X64, acme], timeout-minutes: 60}}"


def lint(world: World, text: str = SERVED, *, repository: str = "acme/api") -> Ran:
    """Lint with one workflow in a repository."""
    world.box.github.repository(repository).files[CI] = text
    return world.scaler("lint", env={"AWS_ENDPOINT_URL": "http://127.0.0.1:1"})


def test_jobs_that_pools_serve_are_ok(world: World) -> None:
    ran = lint(world)
    assert ran.code == 0, ran.said
    assert "ok        workflows of acme/api: 1 files: every job" in ran.out
    assert "ok        workflows of acme/web: 0 files" in ran.out
    assert world.box.aws_server.calls == []


def test_a_label_that_nobody_has_is_told_with_the_nearest_pool(world: World) -> None:
    ran = lint(world, "jobs: {train: {runs-on: [self-hosted, gpu]}}")
    assert ran.code == 2
    told = f"wrong     acme/api {CI} job train: no pool carries all of [gpu, self-hosted]; nearest: pool amd64, which lacks"
    assert told in ran.out


def test_a_label_that_another_runner_has_is_no_matter_of_ours(world: World) -> None:
    runners = world.box.github.runners
    runners.mint_jit("acme/api", "beast", ["self-hosted", "gpu"], runners.groups("acme/api")[0], "")
    ran = lint(world, "jobs: {train: {runs-on: [self-hosted, gpu]}}")
    assert ran.code == 0, ran.said
    assert "[gpu, self-hosted] is served by a runner that is not this fleet's" in ran.out


@pytest.mark.parametrize(
    ("lifetime", "given", "told"),
    [
        pytest.param(
            "1h", "timeout-minutes: 90", "timeout-minutes: 90, and pool amd64 ends its machines after 1h", id="longer"
        ),
        pytest.param(
            "1h", "name: x", "no timeout-minutes, so 360, and pool amd64 ends its machines after 1h", id="none"
        ),
        pytest.param("1h", "timeout-minutes: 60", "", id="as long"),
        pytest.param("6h", "name: x", "", id="none, and a machine that lives for six hours"),
        pytest.param("1h", "timeout-minutes: '${{ matrix.t }}'", "", id="computed"),
    ],
)
def test_max_lifetime_below_a_jobs_timeout_is_a_warning(world: World, lifetime: str, given: str, told: str) -> None:
    world.amend("    max: 5\n  arm64", f"    max: 5\n    max_lifetime: {lifetime}\n  arm64")
    ran = lint(world, f"jobs: {{build: {{runs-on: [self-hosted, x64, acme], {given}}}}}")
    assert ran.code == 0
    found = [line for line in ran.out.splitlines() if line.startswith("unwise")]
    assert [line for line in found if f"acme/api {CI} job build: {told}" in line] == (found if told else [])
    assert bool(found) is bool(told)


@pytest.mark.parametrize(
    "text",
    [
        "jobs: {a: {runs-on: ubuntu-24.04}, b: {runs-on: '${{ inputs.where }}'}, c: {uses: ./x.yml}}",
        "jobs: [1, 2]",
        "just text",
        "jobs: {a: {runs-on: {group: big}}, b: nothing, c: {runs-on: [1, 2]}, d: {}}",
        "on: {push: }\njobs: {a: {runs-on: [self-hosted, '${{ matrix.x }}'], strategy: {matrix: '${{ fromJSON(x) }}'}}}",
    ],
)
def test_what_cannot_be_told_is_passed_over(world: World, text: str) -> None:
    assert lint(world, text).code == 0


def test_a_file_that_is_no_yaml_and_one_too_large_do_not_stop_the_rest(world: World) -> None:
    world.box.github.repository("acme/web").files[CI] = "x" * 300_000
    ran = lint(world, "jobs: {a: [}")
    assert ran.code == 4
    assert "not valid YAML" in ran.out
    assert f"acme/web: {CI} is larger than 256 KB" in ran.out


def test_a_repository_whose_files_may_not_be_read_says_which_permission(world: World) -> None:
    world.box.github.add_token("github_pat_x", "pat", {"metadata": "read", "actions": "read"}, ["acme/api", "acme/web"])
    ran = world.scaler("lint", env={"GH_TOKEN": "github_pat_x"})
    assert ran.code == 3
    assert ran.out.count("the token needs Contents: read for this") == 2


def test_without_an_answer_it_is_not_seen(world: World) -> None:
    world.box.github.fault(Fault(FaultKind.STATUS, path=r".*/contents/.*", value=502, times=None))
    assert lint(world).code == 4


def test_offline_it_looks_at_the_config_alone_and_needs_no_token(world: World) -> None:
    alone = {"GH_TOKEN": "", "GITHUB_API_URL": "http://127.0.0.1:1"}
    ran = world.scaler("lint", "--offline", env=alone)
    assert (ran.code, ran.out.splitlines()[-1]) == (0, "1 ok, 0 unwise, 0 wrong, 0 not seen. Nothing was changed.")
    world.amend("max_runners: 10", "max_runners: 9")
    ran = world.scaler("lint", "--offline", env=alone)
    assert ran.code == 0
    assert "unwise    config: " in ran.out
    world.amend("fleet:", "fleeet:")
    assert world.scaler("lint", "--offline", env=alone).code == 2


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        ({"runs-on": "Big"}, [{"big"}]),
        ({"runs-on": ["a", "B"]}, [{"a", "b"}]),
        ({"runs-on": {"group": "g", "labels": ["a", "b"]}}, [{"a", "b"}]),
        ({"runs-on": {"labels": "a"}}, [{"a"}]),
        ({"runs-on": ["a", "${{ matrix.x }}"], "strategy": {"matrix": {"x": ["b", "c"]}}}, [{"a", "b"}, {"a", "c"}]),
        ({"runs-on": "${{matrix.x}}", "strategy": {"matrix": {"x": [["a", "b"], "c"]}}}, [{"a", "b"}, {"c"}]),
        ({"runs-on": "${{ matrix.x }}", "strategy": {"matrix": {"include": [{"x": "b"}]}}}, []),
        ({"runs-on": "a-${{ matrix.x }}", "strategy": {"matrix": {"x": ["b"]}}}, []),
        ({}, []),
    ],
)
def test_what_runs_on_comes_to(job: dict[str, object], expected: list[set[str]]) -> None:
    assert list(runs_on(job)) == [frozenset(labels) for labels in expected]
