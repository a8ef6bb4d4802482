"""
action.yml, the workflows and the examples: one table of inputs, nothing in shell text, and the steps run for real.

What GitHub does with a composite action is in docs.github.com: "Metadata syntax reference" and "Workflow commands":
inputs are strings, no INPUT_* variables are set, bash runs as `bash --noprofile --norc -e -o pipefail`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from scaler.settings.inputs import INPUTS, MODES, PREFIX
from scripts import lint
from tests.runner_files import key_values

ROOT = Path(__file__).resolve().parents[1]
FILES = ["action.yml", *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob(".github/workflows/*.yml")))]
FILES += [str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("examples/*.yml"))]
WORKFLOWS = FILES[1:]
USERS = [name for name in WORKFLOWS if name.startswith("examples/") or name.endswith("/autoscale.yml")]
"""The workflows that users run; the others are for this repository (tests/test_hardening.py)."""


def load(name: str) -> dict[str, Any]:
    """Read a YAML file; `on` is a key and no boolean, as GitHub reads it."""
    document = yaml.safe_load((ROOT / name).read_text())
    assert isinstance(document, dict)
    return {"on" if key is True else key: value for key, value in document.items()}


ACTION = load("action.yml")
INSTALL, SCALE = ACTION["runs"]["steps"]


def jobs(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the jobs of a workflow; an action's steps count as one."""
    found = document.get("jobs") or {"runs": document["runs"]}
    return {name: {"steps": [], **body} for name, body in found.items()}


IMAGE_WORKFLOW = ".github/workflows/image.yml"
PROPOSES = {"contents": "write", "id-token": "write", "pull-requests": "write"}
"""What the proposal of a new image needs: a branch, the role, a pull request."""


def is_ours(uses: str) -> bool:
    return uses.startswith(("./", "org/runner-scaler@"))


# --- names -------------------------------------------------------------------------------------


def test_action_has_the_inputs_that_the_program_reads() -> None:
    declared = [(name, body["description"], body["default"]) for name, body in ACTION["inputs"].items()]
    assert declared == [(known.name, known.description, known.default) for known in INPUTS]


def test_every_input_reaches_the_program_through_its_variable() -> None:
    variables = {name: value for name, value in SCALE["env"].items() if name.startswith(PREFIX)}
    assert variables == {known.env: f"${{{{ inputs.{known.name} }}}}" for known in INPUTS}
    assert set(SCALE["env"]) - set(variables) == {"SCALER_PYTHON"}


def test_workflow_offers_every_mode() -> None:
    trigger = load(".github/workflows/autoscale.yml")["on"]["workflow_dispatch"]
    assert set(trigger["inputs"]["mode"]["options"]) == set(MODES) - {"kick"}  # the workflow is what a kick starts


def test_readme_names_every_input_and_output() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [name for kind in ("inputs", "outputs") for name in ACTION[kind] if f"`{name}`" not in readme] == []


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflows_give_only_inputs_that_the_action_has(name: str) -> None:
    for body in jobs(load(name)).values():
        for step in body["steps"]:
            if is_ours(step.get("uses", "")):
                assert set(step.get("with") or {}) <= set(ACTION["inputs"])
                assert "github-token" in step["with"]


# --- safety ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_no_expression_stands_in_shell_text(name: str) -> None:
    for body in jobs(load(name)).values():
        assert [step["run"] for step in body["steps"] if "${{" in step.get("run", "")] == []


def test_action_uses_no_other_action() -> None:
    assert [step for step in ACTION["runs"]["steps"] if "uses" in step] == []
    assert {step["shell"] for step in ACTION["runs"]["steps"]} == {"bash"}


def test_other_actions_are_pinned_to_one_commit_with_its_version() -> None:
    pins: dict[str, set[str]] = {}
    for name in FILES:
        for line in (ROOT / name).read_text().splitlines():
            if found := re.match(r"\s*(?:- )?uses:\s*(\S+)(.*)", line):
                uses, comment = found.groups()
                if not is_ours(uses):
                    action, _, commit = uses.partition("@")
                    assert re.fullmatch(r"[0-9a-f]{40}", commit), line
                    assert re.fullmatch(r"\s+# v\d+\.\d+\.\d+", comment), line
                    pins.setdefault(action, set()).add(commit + comment)
    assert "actions/checkout" in pins
    assert {action: found for action, found in pins.items() if len(found) > 1} == {}


def least(given: list[dict[str, str]]) -> dict[str, str]:
    """The permissions that a job needs for what it gives to our action (`given`, by step)."""
    if given and all(each.get("mode") == "kick" for each in given):
        return {}
    itself = any(each.get("hand-over") == "true" or each.get("keep-alive") == "true" for each in given)
    rest = {"id-token": "write", **({"actions": "write"} if itself else {})} if given else {}
    return {"contents": "read", **rest}


@pytest.mark.parametrize("name", USERS)
def test_workflows_ask_for_least(name: str) -> None:
    document = load(name)
    assert document["permissions"] == {}
    for body in jobs(document).values():
        scales = any(is_ours(step.get("uses", "")) for step in body["steps"])
        given = [step.get("with") or {} for step in body["steps"] if is_ours(step.get("uses", ""))]
        assert body.get("permissions", {}) == (PROPOSES if name == IMAGE_WORKFLOW else least(given))
        assert 0 < body["timeout-minutes"] <= 60
        for step in body["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False
        if scales:
            assert document.get("concurrency", {}).get("cancel-in-progress", False) is False


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflows_run_when_and_where_github_runs_them(name: str) -> None:
    """Schedules at the full hour are delayed and dropped most (docs: schedule); a retired image queues for ever."""
    document = load(name)
    trigger = document["on"]
    for schedule in trigger.get("schedule") or []:
        assert not {"0", "*", "30"} & set(schedule["cron"].split()[0].split(","))
        assert "workflow_dispatch" in trigger
    known = {"ubuntu-24.04"} if name in USERS else {"ubuntu-24.04", "ubuntu-24.04-arm", "ubuntu-22.04", "ubuntu-slim"}
    for body in jobs(document).values():
        image = body.get("runs-on")
        if image == "${{ matrix.image }}":
            assert set(body["strategy"]["matrix"]["image"]) <= known
        elif isinstance(image, str):
            assert image in known


def test_only_auto_waits_in_the_concurrency_group() -> None:
    """GitHub keeps one pending run of a group and cancels older ones (docs: "Control concurrency")."""
    group = load(".github/workflows/autoscale.yml")["concurrency"]["group"]
    assert group == (
        "${{ (github.event_name == 'schedule' || inputs.mode == 'auto') && 'autoscale' || github.run_id }}"
    )


def test_lock_files_pin_every_package_by_hash_and_name_no_host() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        text = (ROOT / name).read_text()
        packages = re.split(r"\n(?=[a-z])", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
        assert [package for package in packages if not re.match(r"\S+==\S+ .*\\\n\s+--hash=sha256:", package)] == []
        assert "://" not in text
    assert '"resolved"' not in (ROOT / "package-lock.json").read_text()


def test_nothing_is_installed_at_run_time_but_what_the_program_needs() -> None:
    """The original installed its type checker beside its credentials (RG-64)."""
    text = re.sub(r"^ +--hash=.*\n|^#.*\n", "", (ROOT / "requirements.txt").read_text(), flags=re.MULTILINE)
    asked_by = {
        name: set(re.findall(r"^ +#(?: via)? +(?!via$)([\w.-]+)", via, re.MULTILINE))
        for name, via in re.findall(r"^([\w.-]+)==.*\n((?: +#.*\n)*)", text, re.MULTILINE)
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted, development = (
        {re.split(r"[^\w.-]", each, maxsplit=1)[0].lower() for each in names}
        for names in (project["dependencies"], project["optional-dependencies"]["dev"])
    )
    assert {name for name, by in asked_by.items() if project["name"] in by} == wanted
    assert [name for name, by in asked_by.items() if not by or by - asked_by.keys() - {project["name"]}] == []
    assert development & asked_by.keys() == set()


# --- run for real ------------------------------------------------------------------------------


def run_step(step: Mapping[str, Any], cwd: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a `run:` step as the runner does: its text in a file, bash with -e and pipefail."""
    script = cwd.parent / "step.sh"
    script.write_text(step["run"])
    command = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", str(script)]
    return subprocess.run(command, cwd=cwd, env=dict(env), capture_output=True, text=True, check=False)


def outputs(file: Path) -> dict[str, str]:
    """What a step has written into its GITHUB_OUTPUT file."""
    return key_values(file.read_text()) if file.exists() else {}


@pytest.fixture
def job(tmp_path: Path) -> dict[str, str]:
    """Set up a job's environment, in a checkout that has files of the names of ours and of our packages."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("yaml", "pip", "venv", "github", "boto3", "sitecustomize"):
        (checkout / f"{name}.py").write_text(f"raise SystemExit('the checkout was run: {name}.py')")
    (checkout / "scaler").mkdir()
    (checkout / "scaler" / "__main__.py").write_text("raise SystemExit('the checkout was run: scaler')")
    (checkout / "scaler" / "__init__.py").touch()
    (tmp_path / "temp").mkdir()
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("RUNNER_", "GITHUB_", "PYTHON"))},
        "GITHUB_ACTIONS": "true",
        "GITHUB_ACTION_PATH": str(ROOT),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "GITHUB_WORKSPACE": str(checkout),
        "RUNNER_TEMP": str(tmp_path / "temp"),
    }


def without_python(tmp_path: Path) -> str:
    """Make a PATH on which there is no Python."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "cat", "cksum", "dirname", "mktemp", "rm", "sort", "tail", "touch", "tr"):
        (tools / name).symlink_to(shutil.which(name) or pytest.fail(f"{name} is needed"))
    return str(tools)


def test_install_step_gives_a_python_with_the_packages(job: dict[str, str]) -> None:
    checkout = Path(job["GITHUB_WORKSPACE"])
    done = run_step(INSTALL, checkout, job)
    assert (done.returncode, done.stderr) == (0, "")
    python = outputs(Path(job["GITHUB_OUTPUT"]))["python"]
    assert Path(python).is_relative_to(job["RUNNER_TEMP"])

    look = "import sys, scaler, boto3, github, yaml, github_action_utils; print(scaler.__file__, yaml.__file__)"
    seen = subprocess.run(
        [python, "-P", "-c", look],
        cwd=checkout,
        env={**job, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    scaler, yaml_file = seen.stdout.split()
    assert Path(scaler) == ROOT / "scaler" / "__init__.py"
    assert Path(yaml_file).is_relative_to(job["RUNNER_TEMP"])

    # A second step of the same job finds it there.
    made = (Path(python).parent.parent / "pyvenv.cfg").stat().st_mtime_ns
    assert run_step(INSTALL, checkout, job).returncode == 0
    assert (Path(python).parent.parent / "pyvenv.cfg").stat().st_mtime_ns == made


def test_install_step_says_in_one_line_that_python_is_missing(job: dict[str, str], tmp_path: Path) -> None:
    done = run_step(INSTALL, Path(job["GITHUB_WORKSPACE"]), {**job, "PATH": without_python(tmp_path)})
    assert done.returncode == 1
    assert done.stdout.startswith("::error title=runner-scaler::Python 3.11 or newer is needed")
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_python_is_found_in_the_tool_cache(tmp_path: Path) -> None:
    """The images keep Python at Python/<version>/<architecture>/bin; ubuntu-22.04's own is 3.10 (actions/runner-images)."""
    cache = tmp_path / "tools with space"
    programs = {"3.9.18": "exit 1", "3.11.4": "exit 126", "3.12.9": f'exec {sys.executable} "$@"'}
    for version, program in programs.items():
        binary = cache / "Python" / version / "x64" / "bin" / "python3"
        binary.parent.mkdir(parents=True)
        binary.write_text(f"#!/bin/sh\n{program}\n")
        binary.chmod(0o755)
    path = without_python(tmp_path)
    command = ["bash", "-c", f'source "{ROOT}/scripts/python.sh" && find_python']
    env = {"PATH": path, "RUNNER_TOOL_CACHE": str(cache)}
    found = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert Path(found.stdout.strip()).samefile(sys.executable)


def test_install_step_refuses_a_package_of_another_hash(job: dict[str, str], tmp_path: Path) -> None:
    action = tmp_path / "action"
    shutil.copytree(ROOT / "scripts", action / "scripts")
    (action / "requirements.txt").write_text(f"six==1.17.0 --hash=sha256:{'0' * 64}\n")
    done = run_step(INSTALL, Path(job["GITHUB_WORKSPACE"]), {**job, "GITHUB_ACTION_PATH": str(action)})
    assert done.returncode == 1
    assert "::error title=runner-scaler::The packages of requirements.txt could not be installed" in done.stdout
    assert outputs(Path(job["GITHUB_OUTPUT"])) == {}
    assert list(Path(job["RUNNER_TEMP"]).glob("*/complete")) == []


@pytest.mark.skipif(not (ROOT / "scaler" / "__main__.py").exists(), reason="the program is being written")
def test_bad_input_fails_the_step_with_an_annotation(job: dict[str, str]) -> None:
    """Exit code 2 is the user's to mend: every problem is named, in the input's own name."""
    values = {name: body["default"] for name, body in ACTION["inputs"].items()}
    values |= {"mode": "up", "count": "many", "github-token": "made-up", "github-api-url": "https://api.github.com"}
    env = {known.env: values[known.name] for known in INPUTS}
    done = run_step(SCALE, Path(job["GITHUB_WORKSPACE"]), {**job, **env, "SCALER_PYTHON": sys.executable})
    assert done.returncode == 2, done.stderr
    assert "::error" in done.stdout + done.stderr
    assert "many" in done.stdout + done.stderr
    assert "made-up" not in done.stdout + done.stderr


def test_scale_step_becomes_the_program_with_every_input_in_its_environment(
    job: dict[str, str], tmp_path: Path
) -> None:
    """The runner signals the process it started: `exec` makes that Python itself."""
    stand_in = tmp_path / "python"
    stand_in.write_text('#!/bin/sh\necho "$$ $PPID $*"\nenv\n')
    stand_in.chmod(0o755)
    values = {name: f"value of {name}; $(touch pwned) `touch pwned` \"'\n2" for name in ACTION["inputs"]}
    env = {}
    for name, text in SCALE["env"].items():
        used = text.removeprefix("${{ ").removesuffix(" }}")
        assert text == f"${{{{ {used} }}}}"
        env[name] = str(stand_in) if used == "steps.install.outputs.python" else values[used.removeprefix("inputs.")]
    done = run_step(SCALE, Path(job["GITHUB_WORKSPACE"]), {**job, **env})
    assert done.returncode == 0
    first, rest = done.stdout.split("\n", 1)
    _pid, parent, arguments = first.split(" ", 2)
    assert int(parent) == os.getpid()
    assert arguments == "-X utf8 -P -m scaler action"
    assert f"\nPYTHONPATH={ROOT}\n" in rest
    assert all(f"\n{name}={env[name]}" in "\n" + rest for name in env)
    assert not list(tmp_path.rglob("pwned"))


def test_every_piece_of_shell_is_linted() -> None:
    scripts = {str(path) for path in lint.shell_scripts(ROOT)}
    assert scripts >= {".ci/run", "packer/init-runner.sh", "scripts/install-action.sh"}
    blocks = [
        text for _, text in lint.run_blocks({"jobs": {"a": {"steps": [{"run": "echo ${{ x }}"}, {"uses": "b"}]}}})
    ]
    assert blocks == ["echo EXPRESSION\n"]
    assert len(list(lint.run_blocks(ACTION))) == 2


SHOWN = """
Some text.

```yaml
permissions: write-all
steps:
  - uses: acme/deploy@v1
  - run: echo ${{ github.event.issue.title }}
```

```yaml
version: 1
fleet: main
```
"""


def test_workflows_that_documents_show_are_linted_as_whole_ones(tmp_path: Path) -> None:
    """A reader copies them: what they say is held to what holds for ours."""
    (tmp_path / "README.md").write_text(SHOWN)
    (file,) = lint.write_snippets(tmp_path, tmp_path / "shown")
    zizmor = [str(lint.TOOLS / "zizmor"), "--offline", "--no-progress", "--persona=auditor", str(file)]
    found = subprocess.run(zizmor, capture_output=True, text=True, check=False)
    assert found.returncode != 0
    assert {"unpinned-uses", "template-injection", "excessive-permissions"} <= set(
        re.findall(r"\[([\w-]+)\]", found.stdout)
    )
    whole = SHOWN.replace("acme/deploy@v1", "acme/deploy@" + "0" * 40 + " # v1.0.0")
    whole = whole.replace("${{ github.event.issue.title }}", "hello").replace("write-all", "{}")
    (tmp_path / "README.md").write_text(whole)
    (file,) = lint.write_snippets(tmp_path, tmp_path / "shown")
    found = subprocess.run(zizmor, capture_output=True, text=True, check=False)
    assert "error" not in found.stdout, found.stdout
