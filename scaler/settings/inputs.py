"""What was asked for: from a command line, or from the inputs of the action. One result, checked in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar

from scaler.clocks import own_workflow
from scaler.problem import Problem
from scaler.settings.command_line import Answered, Given, Unusable, read_line
from scaler.settings.input_table import INPUTS, MODES, PREFIX, Input
from scaler.settings.input_values import (
    api_url,
    app_id,
    boolean,
    branch,
    count,
    duration,
    fitting,
    instance_id,
    private_key,
    proxy,
    token,
    workflow_file,
)
from scaler.settings.schema import ARCH, AWS_REGION, AWS_ROLE, POOL_NAME, REPOSITORY_NAME
from scaler.settings.shard import Shard, shard
from scaler.text import nearest, quoted

__all__ = ["INPUTS", "MODES", "PREFIX", "Answered", "Command", "Input", "InputError", "Inputs", "parse"]

T = TypeVar("T")
GITHUB: Final = "https://api.github.com"
THE_JOBS_OWN: Final = (
    "this is the workflow's own GITHUB_TOKEN, which no permission lets manage runners; give a fine-grained token or a"
    " GitHub App's (README.md, step 3), as a secret"
)


class Command(StrEnum):
    """What to do."""

    AUTO = "auto"
    PLAN = "plan"
    UP = "up"
    DOWN = "down"
    KICK = "kick"
    STATUS = "status"
    DOCTOR = "doctor"
    LINT = "lint"
    SCHEMA = "schema"
    DEMO = "demo"


@dataclass(frozen=True, slots=True)
class AppKey:
    """A GitHub App: its id or client id, and a private key of it in PEM."""

    id: str
    private_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Inputs:
    """
    One request, checked as far as it can be without the config.

    `run_for` is None for a single tick, `linger` None for the default, `json` a file to write or "-" for
    standard output. `role` and `region` override the config. `scaler`, `workflow` and `ref` name the scaler's
    workflow for a kick; `workflow_token` is the job's own, for what that workflow does to itself: `hand_over` and
    `keep_alive`. `demo_args` are the demo's own to read.
    """

    command: Command
    config_path: Path = Path("config.yaml")
    arch: str | None = None
    pool: str | None = None
    count: int = 1
    repository: str | None = None
    wait: bool = False
    instance_id: str | None = None
    force: bool = False
    run_for: timedelta | None = None
    every: timedelta = timedelta(seconds=15)
    linger: timedelta | None = None
    hand_over: bool = False
    keep_alive: bool = False
    scaler: str | None = None
    workflow: str = "autoscale.yml"
    ref: str | None = None
    offline: bool = False
    json: str | None = None
    verbose: bool = False
    github_token: str = field(default="", repr=False)
    github_app: AppKey | None = None
    workflow_token: str = field(default="", repr=False)
    github_api_url: str = GITHUB
    role: str | None = None
    region: str | None = None
    shard: Shard | None = None
    demo_args: tuple[str, ...] = ()


class InputError(Exception):
    """The request cannot be served as it stands. `code` is 2, or 3 when the only faults are credentials'."""

    def __init__(
        self, problems: tuple[Problem, ...], code: int = 2, usage: str = "", config_path: Path | None = None
    ) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems
        self.code = code
        self.usage = usage
        self.config_path = config_path


def parse(argv: Sequence[str], env: Mapping[str, str]) -> Inputs:
    """
    Read a request from the command line (without the program's name) and the environment.

    Raises `InputError` with every problem at once, and `Answered` for --help and --version.
    """
    if tuple(argv) == ("action",):
        return _Request(_from_action(env), env).inputs()
    try:
        given = read_line(argv)
    except Unusable as unusable:
        problems = tuple(Problem("", None, path, message) for path, message in unusable.problems)
        raise InputError(problems, usage=unusable.usage) from None
    return _Request(given, env).inputs()


def _from_action(env: Mapping[str, str]) -> Given:
    """The action's inputs. A composite action hands over each one; empty is how it says "not given"."""
    values = {each.name: env.get(each.env, "") for each in INPUTS}
    mode = values["mode"] or "auto"
    if mode not in MODES:
        meant = nearest(mode, MODES)
        message = f"{quoted(mode)} is not {', '.join(MODES)}" + (f"; did you mean {meant}?" if meant else "")
        raise InputError((Problem("", None, "mode", message),))
    return Given(mode, values, {})


class _Request:
    """Turns the texts of one request into values, and collects what is wrong with them."""

    def __init__(self, given: Given, env: Mapping[str, str]) -> None:
        self._given = given
        self._env = env
        self._command = Command(given.command)
        self._in_action = "mode" in given.values
        self._problems: list[Problem] = []
        self._bad_credentials: list[Problem] = []

    def inputs(self) -> Inputs:
        """The whole request. A value that this command has no use for is still read: a slip is told at once."""
        force, wait = self._flag("force"), self._flag("wait")
        self._dry_run()
        result = Inputs(
            command=self._command,
            config_path=Path(self._given.values.get("config") or "config.yaml"),
            arch=self._read("arch", fitting(ARCH)),
            pool=self._read("pool", fitting(POOL_NAME)),
            count=self._read("count", count) or 1,
            repository=self._repository(),
            wait=wait,
            instance_id=self._read("instance-id", instance_id),
            force=force,
            run_for=self._read("for", duration("1s", "5d")),
            every=self._read("every", duration("1s", "1h")) or timedelta(seconds=15),
            linger=self._read("linger", duration("0s", "1d")),
            hand_over=self._flag("hand-over"),
            keep_alive=self._flag("keep-alive"),
            scaler=self._read("scaler", fitting(REPOSITORY_NAME)),
            workflow=self._read("workflow", workflow_file) or "autoscale.yml",
            ref=self._read("ref", branch),
            offline=self._flag("offline"),
            json=self._given.values.get("json") or None,
            verbose=self._flag("verbose"),
            github_token=self._token(),
            github_app=self._app(),
            workflow_token=self._given.values.get("workflow-token") or "",
            github_api_url=self._api_url(),
            role=self._read("role-to-assume", fitting(AWS_ROLE)),
            region=self._read("aws-region", fitting(AWS_REGION)),
            shard=self._read("shard", shard),
            demo_args=self._given.rest,
        )
        self._target()
        self._itself(result)
        if problems := (*self._problems, *self._bad_credentials):
            raise InputError(problems, code=2 if self._problems else 3, config_path=result.config_path)
        return result

    def _read(self, name: str, reader: Callable[[str], T]) -> T | None:
        text = self._given.values.get(name)
        return self._checked(self._called(name), text, reader) if text else None

    def _checked(self, called: str, text: str, reader: Callable[[str], T]) -> T | None:
        try:
            return reader(text)
        except ValueError as error:
            self._error(called, str(error))
            return None

    def _flag(self, name: str) -> bool:
        return self._read(name, boolean) or False

    def _called(self, name: str) -> str:
        """How the input is called where it came from: `--count` on a command line, `count` in the action."""
        return self._given.names.get(name, name)

    def _error(self, path: str, message: str) -> None:
        self._problems.append(Problem("", None, path, message))

    def _dry_run(self) -> None:
        """There is no dry flag behind this line: a dry `auto` is another command."""
        if self._flag("dry-run"):
            if self._command in (Command.UP, Command.DOWN):
                self._error("dry-run", f"mode {self._command} cannot be run dry; use mode plan, or set false")
            elif self._command is Command.AUTO:
                self._command = Command.PLAN

    def _target(self) -> None:
        """What `up` and `down` cannot do without."""
        given = {name for name in ("arch", "pool", "instance-id") if self._given.values.get(name)}
        arch, pool, instance = (
            ("arch", "pool", "instance-id") if self._in_action else ("-a ARCH", "-p POOL", "-i INSTANCE_ID")
        )
        if self._command is Command.UP and not {"arch", "pool"} & given:
            self._error("up", f"what to launch? give {arch} or {pool}")
        elif self._command is Command.UP and {"arch", "pool"} <= given:
            self._error("up", f"give {arch} or {pool}, not both")
        elif self._command is Command.DOWN and "instance-id" not in given:
            self._error("down", f"which instance? give {instance}")
        elif self._command is Command.KICK and not self._given.values.get("scaler"):
            self._error("kick", f"whom? give {'scaler' if self._in_action else '--scaler OWNER/NAME'}")

    def _itself(self, asked: Inputs) -> None:
        """What a workflow does to itself takes a workflow, and its token."""
        wanted = [name for name in ("hand-over", "keep-alive") if self._given.values.get(name) == "true"]
        if asked.hand_over and asked.run_for is None and not self._given.values.get("for"):
            self._error("hand-over", "there is no watch to hand over; give for, such as 50m")
        for name in wanted:
            if own_workflow(self._env) is None:
                self._error(name, "is for a workflow on a branch: GITHUB_WORKFLOW_REF names none; set false")
            elif not asked.workflow_token:
                problem = Problem("", None, "workflow-token", f"empty, and {name} needs it; leave it out, or set false")
                self._bad_credentials.append(problem)

    def _repository(self) -> str | None:
        """`--repo`, or GH_REPOSITORY (with or without the owner) and GH_OWNER, as in the original."""
        if self._command is not Command.UP or self._given.values.get("repository"):
            return self._read("repository", fitting(REPOSITORY_NAME))
        owner, name = self._env.get("GH_OWNER", ""), self._env.get("GH_REPOSITORY", "")
        if not name:
            return None
        if "/" not in name and not owner:
            self._error("GH_REPOSITORY", f"{quoted(name)} has no owner; write owner/name, or set GH_OWNER")
            return None
        if "/" in name and owner and name.partition("/")[0].lower() != owner.lower():
            self._error("GH_OWNER", f"{quoted(owner)} is not the owner in GH_REPOSITORY {quoted(name)}; unset one")
            return None
        return self._checked("GH_REPOSITORY", name if "/" in name else f"{owner}/{name}", fitting(REPOSITORY_NAME))

    def _token(self) -> str:
        if self._command in (Command.SCHEMA, Command.DEMO) or self._flag("offline"):
            return ""
        found = {"github-token": self._given.values.get("github-token")} if self._in_action else {}
        if self._app_given("github-app-id") or self._app_given("github-app-private-key"):
            if found.get("github-token"):
                self._error("github-token", "a token and an App are given; give one of them")
            else:
                return ""  # what the environment has beside an App is others'
        found |= {variable: self._env.get(variable) for variable in ("GH_TOKEN", "GITHUB_TOKEN")}
        called, text = next(((name, text) for name, text in found.items() if text), (next(iter(found)), ""))
        try:
            if text and text == self._given.values.get("workflow-token") and self._command is not Command.KICK:
                raise ValueError(THE_JOBS_OWN)
            return token(text)
        except ValueError as error:
            self._bad_credentials.append(Problem("", None, called, str(error)))
            return ""

    def _app_given(self, name: str) -> str:
        variable = name.upper().replace("-", "_").replace("GITHUB", "GH")
        return (self._given.values.get(name) if self._in_action else self._env.get(variable)) or ""

    def _app(self) -> AppKey | None:
        """The App's id and key: inputs of the action, GH_APP_ID and GH_APP_PRIVATE_KEY in a shell."""
        if self._command in (Command.SCHEMA, Command.DEMO):
            return None
        read: dict[str, str] = {}
        given = {name: self._app_given(name) for name in ("github-app-id", "github-app-private-key")}
        for (name, text), reader in zip(given.items(), (app_id, private_key), strict=True):
            called = name if self._in_action else name.upper().replace("-", "_").replace("GITHUB", "GH")
            try:
                if any(given.values()):
                    read[name] = reader(text) if text else ""
                    if not text:
                        raise ValueError("empty; an App takes its id and a private key of it")
            except ValueError as error:
                self._bad_credentials.append(Problem("", None, called, str(error)))
        return AppKey(*read.values()) if len(read) == 2 and all(read.values()) else None

    def _api_url(self) -> str:
        if self._command in (Command.SCHEMA, Command.DEMO):
            return GITHUB
        for variable in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            if text := self._env.get(variable):
                self._checked(variable, text, proxy)
        if text := self._given.values.get("github-api-url"):
            return self._checked("github-api-url", text, api_url) or GITHUB
        given = self._env.get("GITHUB_API_URL") or GITHUB
        return self._checked("GITHUB_API_URL", given, api_url) or GITHUB
