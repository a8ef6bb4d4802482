"""
GitHub's runner, as far as workflows here use it: steps run as real processes, by the rules of its source.

What each rule rests on is at its place (actions/runner, below src/). A key that is not known here is an error, so
that nothing of a workflow is passed over.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from tests.expressions import Expressions, Status
from tests.runner_files import BadFile, key_values, lines_of

Conclusion = Literal["success", "failure", "cancelled", "skipped"]
Stub = Callable[["Job", Mapping[str, str]], Mapping[str, str]]

SUMMARY_LIMIT = 1024 * 1024
"""Bytes of a step's summary; a larger one is dropped with an error (CreateStepSummaryCommand, FileCommandManager.cs)."""
SHELLS = {
    None: ["bash", "-e"],
    "bash": ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail"],
}
"""Runner.Worker/Handlers/ScriptHandlerHelpers.cs; without `shell:` it is "sh"'s arguments with bash, if there is one."""
STEP = {"name", "id", "if", "run", "shell", "uses", "with", "env", "working-directory", "continue-on-error"}
STEP |= {"timeout-minutes"}
JOB = {"name", "runs-on", "timeout-minutes", "environment", "permissions", "steps", "needs", "if", "outputs", "env"}
JOB |= {"strategy", "concurrency", "continue-on-error", "uses"}
WORKFLOW = {"name", "run-name", "on", "concurrency", "permissions", "env", "jobs", "defaults"}


@dataclass(frozen=True, slots=True)
class Event:
    """What started a run. `inputs` are workflow_dispatch's, as given; their defaults are the workflow's."""

    name: str = "workflow_dispatch"
    inputs: Mapping[str, Any] = field(default_factory=dict)
    payload: Mapping[str, Any] = field(default_factory=dict)
    ref: str = "refs/heads/main"
    run_id: str = "4711"


@dataclass(frozen=True, slots=True)
class Site:
    """
    Where jobs run: the repository, its secrets, and the image that the runner is on.

    `checkout` is what actions/checkout gives. `actions` are the folders of the actions that are run for real, by what
    stands before the `@`; `stubs` stand for others', which are recorded either way. `image` is the environment that the
    runner itself has, `id_token` what it adds where the job may ask for tokens.
    """

    checkout: Path
    work: Path
    temp: Path
    image: Mapping[str, str]
    actions: Mapping[str, Path] = field(default_factory=dict)
    stubs: Mapping[str, Stub] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    id_token: Mapping[str, str] = field(default_factory=dict)
    repository: str = "acme/runner-scaler"
    api_url: str = "https://api.github.com"
    sigint_timeout: float = 7.5
    sigterm_timeout: float = 2.5
    stream_timeout: float = 5.0


@dataclass(frozen=True, slots=True)
class StepRan:
    """A step that was reached; a composite action's own steps come before it, their names behind its own."""

    name: str
    id: str
    outcome: Conclusion
    conclusion: Conclusion
    outputs: Mapping[str, str]
    code: int | None = None
    log: str = ""


@dataclass(frozen=True, slots=True)
class Annotation:
    """An error, warning or notice beside the run; `by` is the step's name, or "runner"."""

    level: str
    text: str
    properties: Mapping[str, str]
    by: str


@dataclass(slots=True)
class JobRan:
    """A finished job."""

    id: str
    conclusion: Conclusion = "success"
    steps: list[StepRan] = field(default_factory=list)
    outputs: dict[str, str] = field(default_factory=dict)
    annotations: list[Annotation] = field(default_factory=list)
    summaries: list[str] = field(default_factory=list)
    used: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def step(self, name: str) -> StepRan:
        """The step of that name or id."""
        (found,) = [step for step in self.steps if name in (step.id, step.name)]
        return found

    @property
    def log(self) -> str:
        """All that was said, secrets starred."""
        return "".join(step.log for step in self.steps)

    def told(self, level: str = "error", by: str | None = None) -> list[str]:
        """The annotations of a level, but for the runner's own, or those of one teller."""
        return [a.text for a in self.annotations if a.level == level and (a.by == by if by else a.by != "runner")]


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a workflow or an action; `on` is a key and no boolean, as GitHub reads it."""
    return read_yaml(path.read_text())


def read_yaml(text: str) -> dict[str, Any]:
    """As `load_yaml`, from a text."""
    document = yaml.safe_load(text)
    assert isinstance(document, dict)
    return {"on" if key is True else key: value for key, value in document.items()}


class Workflow:
    """A workflow file and an event, and what GitHub makes of them before a runner sees a job."""

    def __init__(self, document: Mapping[str, Any], event: Event, site: Site, expressions: Expressions) -> None:
        """`document` is the file, read."""
        _known(document, WORKFLOW, "workflow")
        self.document, self.event, self.site, self.expressions = document, event, site, expressions
        self.inputs = self._inputs()

    def _inputs(self) -> dict[str, Any]:
        """Of a dispatch, with the file's defaults; a boolean is one here (docs.github.com: contexts, `inputs`)."""
        if self.event.name != "workflow_dispatch":
            return {}
        declared = ((self.document["on"] or {}).get("workflow_dispatch") or {}).get("inputs") or {}
        assert self.event.inputs.keys() <= declared.keys(), "GitHub answers 422: Unexpected inputs provided"
        found: dict[str, Any] = {}
        for name, body in declared.items():
            empty = False if body.get("type") == "boolean" else ""
            found[name] = self.event.inputs.get(name, body.get("default", empty))
            if body.get("type") == "choice":
                assert found[name] in body["options"], f"{name}: GitHub's form offers {body['options']}"
        return found

    def github(self) -> dict[str, Any]:
        """The `github` context that every place has."""
        owner = self.site.repository.partition("/")[0]
        return {
            "event_name": self.event.name,
            "event": {"inputs": {k: _text(v) for k, v in self.inputs.items()}, **self.event.payload},
            "ref": self.event.ref,
            "ref_name": self.event.ref.removeprefix("refs/heads/").removeprefix("refs/tags/"),
            "repository": self.site.repository,
            "repository_owner": owner,
            "run_id": self.event.run_id,
            "run_attempt": "1",
            "run_number": "1",
            "workflow": self.document.get("name", ""),
            "workflow_ref": f"{self.site.repository}/.github/workflows/autoscale.yml@{self.event.ref}",
            "actor": "octocat",
            "sha": "0" * 40,
            "api_url": self.site.api_url,
            "server_url": "https://github.com",
            "token": "ghs_of_the_workflow",
        }

    @property
    def group(self) -> tuple[str, bool]:
        """The run's concurrency group ("" for none), and whether it ends the one that runs."""
        given = self.document.get("concurrency") or {}
        body = {"group": given} if isinstance(given, str) else given
        contexts = {"github": self.github(), "inputs": self.inputs}
        group = self.expressions.fill(str(body.get("group", "")), contexts).text
        cancel = body.get("cancel-in-progress", False)
        return group, cancel if isinstance(cancel, bool) else self.expressions.fill(cancel, contexts).truthy

    def run(self, needs: Mapping[str, JobRan] | None = None, only: Sequence[str] = ()) -> dict[str, JobRan]:
        """Run its jobs in order of their needs; `only` those named, with what `needs` says of others."""
        done = dict(needs or {})
        todo = [name for name in self.document["jobs"] if not only or name in only]
        while todo:
            ready = [name for name in todo if not any(other in todo for other in self.needs(name))]
            assert ready, f"these need each other: {todo}"
            for name in ready:
                done[name] = self._legs(name, done)
                todo.remove(name)
        return done

    def needs(self, name: str) -> list[str]:
        """The jobs that one waits for."""
        given = self.document["jobs"][name].get("needs") or []
        return [given] if isinstance(given, str) else given

    def _legs(self, name: str, done: Mapping[str, JobRan]) -> JobRan:
        """A job for each value of its matrix; together they are what `needs` sees."""
        legs = [self.job(name, done, leg).run() for leg in matrix(self.document["jobs"][name])]
        whole = legs[0]
        for other in legs[1:]:
            whole.steps += other.steps
            whole.annotations += other.annotations
            whole.summaries += other.summaries
            whole.used += other.used
            if other.conclusion != "success":
                whole.conclusion = other.conclusion
        return whole

    def job(self, name: str, needs: Mapping[str, JobRan] | None = None, leg: Mapping[str, Any] | None = None) -> Job:
        """One job, to be run, or to be cancelled while it runs."""
        return Job(self, name, {other: (needs or {})[other] for other in self.needs(name)}, leg or {})


def matrix(job: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The values of a job's matrix, one for each of its runs."""
    values = (job.get("strategy") or {}).get("matrix") or {}
    assert not {"include", "exclude"} & values.keys(), "not made here"
    return [dict(zip(values, leg, strict=True)) for leg in itertools.product(*values.values())]


class Job:
    """One job on a runner of its own."""

    def __init__(self, workflow: Workflow, name: str, needs: Mapping[str, JobRan], leg: Mapping[str, Any]) -> None:
        """Nothing is run yet."""
        self.site, self.workflow, self.body = workflow.site, workflow, workflow.document["jobs"][name]
        _known(self.body, JOB, f"job {name}")
        self.ran = JobRan(name)
        self.on_line: Callable[[str], None] = lambda _: None
        """Told every line that a step says, as it comes."""
        self.workspace = self.site.work / uuid.uuid4().hex[:8] / self.site.repository.partition("/")[2]
        self._expressions, self._needs, self._leg = workflow.expressions, needs, leg
        self._masks = [line for secret in self.site.secrets.values() for line in secret.splitlines() if line]
        self._env: dict[str, str] = {}
        self._path: list[str] = []
        self._steps: dict[str, dict[str, Any]] = {}
        self._groups: list[int] = []
        self._cancelled = threading.Event()
        self._process: subprocess.Popen[str] | None = None

    # --- from outside ----------------------------------------------------------------------------

    def cancel(self) -> None:
        """
        End the step that runs: SIGINT to its process alone, later SIGTERM, later its whole tree is killed.

        Runner.Sdk/ProcessInvoker.cs: 7.5 s and 2.5 s; the process is the shell, or what it has become by `exec`.
        """
        self._cancelled.set()
        process = self._process
        if process is not None:
            threading.Thread(target=self._end, args=(process,), daemon=True).start()

    def _end(self, process: subprocess.Popen[str]) -> None:
        for number, patience in (
            (signal.SIGINT, self.site.sigint_timeout),
            (signal.SIGTERM, self.site.sigterm_timeout),
        ):
            process.send_signal(number)
            try:
                process.wait(patience)
                return
            except subprocess.TimeoutExpired:
                continue
        _kill_group(process.pid)

    def _give_up(self, process: subprocess.Popen[str], heard: threading.Event) -> None:
        """What a step leaves running with its streams open is waited for 5 s (ProcessInvoker.cs)."""
        process.wait()
        if not heard.wait(self.site.stream_timeout):
            _kill_group(process.pid)

    def run(self) -> JobRan:
        """Run it; what it came to. What still runs after it is ended (Runner.Worker/JobExtension.cs, orphans)."""
        try:
            return self._run()
        finally:
            for group in self._groups:
                _kill_group(group)

    def _run(self) -> JobRan:
        status = self._status()
        if not self._holds(self.body.get("if", "success()"), status):
            self.ran.conclusion = "skipped"
            return self.ran
        assert "uses" not in self.body, "a reusable workflow has jobs of its own: run those"
        self.workspace.mkdir(parents=True)
        self._env = self._filled(self.workflow.document.get("env") or {}) | self._filled(self.body.get("env") or {})
        for number, step in enumerate(self.body["steps"]):
            self._step(step, number)
        self.ran.outputs = self._filled(self.body.get("outputs") or {})
        return self.ran

    def _status(self) -> Status:
        """What a job's `if` sees: `success()` if every job it needs succeeded."""
        conclusions = [need.conclusion for need in self._needs.values()]
        return Status(
            success=all(each == "success" for each in conclusions),
            failure="failure" in conclusions,
            cancelled=self._cancelled.is_set(),
        )

    # --- steps -----------------------------------------------------------------------------------

    def _step(self, step: Mapping[str, Any], number: int) -> None:
        """Runner.Worker/StepsRunner.cs."""
        _known(step, STEP, f"step {number} of {self.ran.id}")
        name = self._text(step.get("name") or step.get("uses") or "Run")
        cancelled = self._cancelled.is_set()
        going_well = self.ran.conclusion == "success" and not cancelled
        status = Status(going_well, self.ran.conclusion == "failure" and not cancelled, cancelled)
        if self._holds(step.get("if", "success()"), status):
            outcome, outputs = self._run_or_use(step, name)
        else:
            outcome, outputs = "skipped", {}
        goes_on = outcome == "failure" and self._true(step.get("continue-on-error", False))
        conclusion: Conclusion = "success" if goes_on else outcome
        if conclusion in ("failure", "cancelled") and self.ran.conclusion == "success":
            self.ran.conclusion = conclusion
        if "id" in step:
            self._steps[step["id"]] = {"outputs": outputs, "outcome": outcome, "conclusion": conclusion}
        if not self.ran.steps or self.ran.steps[-1].name != name or self.ran.steps[-1].id != step.get("id", ""):
            self.ran.steps.append(StepRan(name, step.get("id", ""), outcome, conclusion, outputs))
        else:
            self.ran.steps[-1] = replace(self.ran.steps[-1], conclusion=conclusion)

    def _run_or_use(self, step: Mapping[str, Any], name: str) -> tuple[Conclusion, dict[str, str]]:
        env = self._env | self._filled(step.get("env") or {}, env=self._env)
        if "run" in step:
            return self._script(step, name, step.get("id", ""), env, self._contexts(env))
        given = self._filled(step.get("with") or {}, env=env)
        uses = step["uses"]
        self.ran.used.append((uses, given))
        local = uses.startswith("./")
        ours = self.workspace / uses if local else self.site.actions.get(uses.partition("@")[0])
        if ours is not None:
            # The runner knows a local action by the path as it was given: <workspace>/./
            folder = f"{self.workspace}/{uses}" if local else str(ours)
            return self._composite(load_yaml(ours / "action.yml"), folder, given, name, env)
        stub = self.site.stubs.get(uses.partition("@")[0])
        return "success", dict(stub(self, given) if stub else {})

    def _composite(
        self, action: Mapping[str, Any], folder: str, given: Mapping[str, str], name: str, env: Mapping[str, str]
    ) -> tuple[Conclusion, dict[str, str]]:
        """
        A composite action: Runner.Worker/ActionRunner.cs and Handlers/CompositeActionHandler.cs.

        Its steps get no INPUT_* variables, which are set by the handlers of node and container actions alone; an input
        that it does not have is warned of; `required` is looked at by nobody; outputs are set also after a failure.
        """
        assert action["runs"]["using"] == "composite"
        declared = action.get("inputs") or {}
        unknown = [each for each in given if each.lower() not in {known.lower() for known in declared}]
        if unknown:
            said = f"Unexpected input(s) {quoted(unknown)}, valid inputs are [{quoted(declared)}]"
            self.ran.annotations.append(Annotation("warning", said, {}, "runner"))
        inputs = {each.lower(): value for each, value in given.items()}
        for each, body in declared.items():
            if each.lower() not in inputs:
                inputs[each.lower()] = self._filled({each: body.get("default", "")})[each]
        inner: dict[str, dict[str, Any]] = {}
        outcome: Conclusion = "success"
        for step in action["runs"]["steps"]:
            _known(step, STEP - {"timeout-minutes", "uses", "with", "if", "continue-on-error"}, f"a step of {name}")
            contexts = self._contexts(env, inputs=inputs, steps=inner, action_path=folder)
            own = dict(env) | {k: self._fill(v, contexts) for k, v in (step.get("env") or {}).items()}
            label = f"{name} / {step.get('name', 'Run')}"
            outcome, outputs = self._script(step, label, "", own, contexts | {"env": own})
            if "id" in step:
                inner[step["id"]] = {"outputs": outputs, "outcome": outcome, "conclusion": outcome}
            if outcome != "success":
                break
        contexts = self._contexts(env, inputs=inputs, steps=inner, action_path=folder)
        values = {key: self._fill(body["value"], contexts) for key, body in (action.get("outputs") or {}).items()}
        return outcome, values

    def _script(
        self,
        step: Mapping[str, Any],
        name: str,
        step_id: str,
        env: Mapping[str, str],
        contexts: Mapping[str, Any],
    ) -> tuple[Conclusion, dict[str, str]]:
        """A `run:`: its text in a file, run by the shell (Runner.Worker/Handlers/ScriptHandler.cs)."""
        files = _Files(self.site.temp)
        script = files.folder / f"{uuid.uuid4()}.sh"
        script.write_text(self._fill(step["run"], contexts))
        where = self.workspace / self._fill(step.get("working-directory", ""), contexts)
        whole = self._environment(env, files, contexts["github"].get("action_path", ""))
        with subprocess.Popen(
            [*SHELLS[step.get("shell")], str(script)],
            cwd=where,
            env=whole,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # so that its tree can be killed
        ) as process:
            self._process = process
            if self._cancelled.is_set():
                self.cancel()
            heard = threading.Event()
            self._groups.append(process.pid)
            threading.Thread(target=self._give_up, args=(process, heard), daemon=True).start()
            log = self._listen(process, name)
            heard.set()
        self._process, code = None, process.returncode
        outcome: Conclusion = "cancelled" if self._cancelled.is_set() else "success" if code == 0 else "failure"
        if outcome == "failure":
            self.ran.annotations.append(Annotation("error", f"Process completed with exit code {code}.", {}, "runner"))
        outputs, read = self._take(files)
        if not read and outcome == "success":
            outcome = "failure"
        self.ran.steps.append(StepRan(name, step_id, outcome, outcome, outputs, code, log))
        return outcome, outputs

    def _environment(self, env: Mapping[str, str], files: _Files, action_path: str) -> dict[str, str]:
        """The runner's own environment, then env, then what only the runner sets: nobody overrides GITHUB_*."""
        runner = {
            "RUNNER_OS": "Linux",
            "RUNNER_ARCH": "X64",
            "RUNNER_NAME": "GitHub Actions 1",
            "RUNNER_ENVIRONMENT": "github-hosted",
            "RUNNER_TEMP": str(self.site.temp),
            "RUNNER_WORKSPACE": str(self.workspace.parent),
            "RUNNER_TOOL_CACHE": self.site.image.get("RUNNER_TOOL_CACHE", "/opt/hostedtoolcache"),
        }
        github = {
            f"GITHUB_{name.upper()}": value
            for name, value in self.workflow.github().items()
            if isinstance(value, str) and name != "token"
        }
        github |= {"GITHUB_WORKSPACE": str(self.workspace), "GITHUB_JOB": self.ran.id, **files.env()}
        if action_path:
            github["GITHUB_ACTION_PATH"] = action_path
        whole = {**self.site.image, **env, **runner, **github, "GITHUB_ACTIONS": "true"}
        whole["PATH"] = ":".join([*reversed(self._path), whole["PATH"]])
        if self.permissions.get("id-token") == "write":
            whole |= self.site.id_token
        return {"CI": "true", **whole}

    @property
    def permissions(self) -> Mapping[str, str]:
        """What the job's token may do: the job's own statement, else the workflow's."""
        found = self.body.get("permissions", self.workflow.document.get("permissions"))
        return found if isinstance(found, dict) else {}

    # --- what a step says ------------------------------------------------------------------------

    def _listen(self, process: subprocess.Popen[str], name: str) -> str:
        """Read its lines: workflow commands are obeyed, secrets starred (Runner.Worker/ActionCommandManager.cs)."""
        assert process.stdout is not None
        log = []
        for line in process.stdout:
            command = re.match(r"\s*::([\w-]+)(?: ([^:]*(?::(?!:)[^:]*)*))?::(.*)", line)
            if command and command[1] == "add-mask":
                self._masks += [each for each in _unescaped(command[3]).splitlines() if each]
            elif command and command[1] in ("error", "warning", "notice"):
                pairs = [pair.partition("=") for pair in (command[2] or "").split(",") if pair]
                properties = {key.strip(): _unescaped(value) for key, _, value in pairs}
                said = self._starred(_unescaped(command[3]))
                self.ran.annotations.append(Annotation(command[1], said, properties, name))
                log.append(f"{command[1]}: {said}\n")
            else:
                log.append(self._starred(line))
            self.on_line(line)
        return "".join(log)

    def _starred(self, text: str) -> str:
        for mask in sorted(self._masks, key=len, reverse=True):
            text = text.replace(mask, "***")
        return text

    def _take(self, files: _Files) -> tuple[dict[str, str], bool]:
        """Read what a step has written into its files; whether all of it could be read (FileCommandManager.cs)."""
        outputs: dict[str, str] = {}
        read = True
        for command in ("output", "env", "state"):
            try:
                found = key_values(files.path(command).read_text(encoding="utf-8"))
            except BadFile as bad:
                told = f"Unable to process file command '{command}' successfully. {bad}"
                self.ran.annotations.append(Annotation("error", told, {}, "runner"))
                read = False
                continue
            if command == "output":
                outputs = found
            elif command == "env":
                self._env |= found
        for folder in lines_of(files.path("path").read_text(encoding="utf-8")):
            self._path = [each for each in self._path if each != folder] + [folder]
        summary = files.path("step_summary").read_bytes()
        if len(summary) > SUMMARY_LIMIT:
            told = f"$GITHUB_STEP_SUMMARY upload aborted, supports content up to a size of 1024k, got {len(summary) // 1024}k"
            self.ran.annotations.append(Annotation("error", told, {}, "runner"))
        elif summary:
            self.ran.summaries.append(self._starred(summary.decode()))
        return outputs, read

    # --- expressions -----------------------------------------------------------------------------

    @property
    def group(self) -> tuple[str, bool]:
        """The job's own concurrency group ("" for none), and whether it ends the one that runs."""
        given = self.body.get("concurrency") or {}
        assert isinstance(given, dict), "not made here"
        return self._text(str(given.get("group", ""))), given.get("cancel-in-progress", False)

    def _contexts(
        self,
        env: Mapping[str, str] | None = None,
        inputs: Mapping[str, Any] | None = None,
        steps: Mapping[str, Any] | None = None,
        action_path: str = "",
    ) -> dict[str, Any]:
        """What an expression of a step may name; inside of an action its own inputs and steps, and no secrets."""
        inside = inputs is not None
        github = {**self.workflow.github(), "workspace": str(self.workspace), "job": self.ran.id}
        return {
            "github": github | ({"action_path": action_path} if inside else {}),
            "inputs": inputs if inside else self.workflow.inputs,
            "env": self._env if env is None else env,
            "steps": steps if inside else self._steps,
            "secrets": {} if inside else {**self.site.secrets, "GITHUB_TOKEN": self.workflow.github()["token"]},
            "vars": self.site.variables,
            "needs": {n: {"result": ran.conclusion, "outputs": ran.outputs} for n, ran in self._needs.items()},
            "matrix": self._leg,
            "job": {"status": self.ran.conclusion},
            "runner": {"os": "Linux", "arch": "X64", "temp": str(self.site.temp), "environment": "github-hosted"},
        }

    def _fill(self, given: Any, contexts: Mapping[str, Any]) -> str:
        return self._expressions.fill(_text(given), contexts, self.workspace).text

    def _filled(self, given: Mapping[str, Any], env: Mapping[str, str] | None = None) -> dict[str, str]:
        contexts = self._contexts(env)
        return {name: self._fill(value, contexts) for name, value in given.items()}

    def _text(self, given: str) -> str:
        return self._fill(given, self._contexts())

    def _true(self, given: bool | str) -> bool:
        return given if isinstance(given, bool) else self._expressions.fill(given, self._contexts()).truthy

    def _holds(self, condition: str | bool, status: Status) -> bool:
        return self._expressions.holds(condition, self._contexts(), status, self.workspace)


class _Files:
    """The files by which a step speaks to the runner, new for each."""

    NAMES = ("output", "env", "path", "state", "step_summary")

    def __init__(self, temp: Path) -> None:
        self.folder = temp / "_runner_file_commands"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._suffix = uuid.uuid4()
        for name in self.NAMES:
            self.path(name).touch()

    def path(self, name: str) -> Path:
        return self.folder / f"{name}_{self._suffix}"

    def env(self) -> dict[str, str]:
        return {f"GITHUB_{name.upper()}": str(self.path(name)) for name in self.NAMES}


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _unescaped(text: str) -> str:
    """Runner.Common/ActionCommand.cs."""
    for code, meant in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, meant)
    return text


def _text(value: Any) -> str:
    """YAML's scalars as GitHub has them in places for text."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _known(given: Mapping[str, Any], known: set[str], where: str) -> None:
    assert given.keys() <= known, f"{where}: the runner here does not know {sorted(given.keys() - known)}"


def quoted(names: Iterable[str]) -> str:
    """'a', 'b'."""
    return ", ".join(f"'{name}'" for name in names)
