"""The command, and the one place that builds clients: `python -m scaler auto | plan | up | down | status | …`."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from scaler import report
from scaler.clocks import EVENTS, NotStartable, Workflow, own_workflow, shown
from scaler.config import Config, ConfigError, Pool, RegisterAt, load
from scaler.exits import Exit, exit_code
from scaler.inputs import Answered, Command, InputError, Inputs, parse
from scaler.kick import keep_alive, kick, own_inputs
from scaler.model import ApiError, Denied, Down, Launch, Outcome, Result, Scope, Tick, Up
from scaler.page import markdown
from scaler.problem import Problem
from scaler.publish import Publisher
from scaler.reconcile import RealClock, Reconciler, wait_online
from scaler.status import status
from scaler.text import quoted
from scaler.trend import Trend, then

STOPPED = "what was begun was finished, nothing new was begun; the next tick goes on"


def main(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Run one command; the exit code says what a person should know (docs: exit codes)."""
    try:
        inputs = parse(argv, env)
    except Answered as answered:
        print(answered.text)
        return Exit.OK
    except InputError as error:
        in_config = _config_problems(error.config_path)
        _complain(Publisher(env), (*error.problems, *in_config))
        if error.usage:
            print(error.usage, file=sys.stderr)
        return Exit.INPUT if in_config else error.code
    match inputs.command:
        case Command.SCHEMA:
            from scaler.schema import schema_text  # noqa: PLC0415 - loaded where it is needed: start-up time

            print(schema_text(), end="")
            return Exit.OK
        case Command.DEMO:
            from scaler.sandbox.demo.demo import run_demo  # noqa: PLC0415

            return run_demo(inputs.demo_args)
        case Command.KICK:
            return _kick(inputs, env)
        case _:
            return _run(inputs, env)


def _run(inputs: Inputs, env: Mapping[str, str]) -> int:
    publisher = Publisher(env, to_stderr=inputs.json == "-")
    try:
        config = _config(inputs, publisher)
        asked = _asked(inputs, config)
        if inputs.json not in (None, "-") and not Path(inputs.json or "").absolute().parent.is_dir():
            raise _input_error("json", f"no folder to write {quoted(inputs.json)} into")
    except (ConfigError, InputError) as error:
        _complain(publisher, error.problems)
        return error.code
    clock = RealClock()
    stopped = _stop_on_signals(clock)
    _log(inputs)
    try:
        session = _Session(config, inputs, env, publisher, clock)
        code = session.run(inputs, asked)
    except ApiError as error:
        return _refused(publisher, error)
    if stopped:
        print(f"stopped by {'SIGINT' if stopped[0] is Exit.INTERRUPTED else 'SIGTERM'}: {STOPPED}", file=sys.stderr)
        return stopped[0]
    return code


def _log(inputs: Inputs) -> None:
    logging.basicConfig(level=logging.INFO if inputs.verbose else logging.WARNING, format="%(message)s")
    for sdk in ("boto3", "botocore", "urllib3", "github"):
        # At DEBUG botocore prints whole request bodies, secrets included (RG-60).
        logging.getLogger(sdk).setLevel(logging.WARNING)


def _refused(publisher: Publisher, error: ApiError, otherwise: str = "nothing was changed") -> Exit:
    """What a party did not let us do: told with the lines to paste; the exit code that stands for it."""
    if isinstance(error, Denied | NotStartable):
        publisher.annotate([("error", "\n".join(filter(None, (str(error), error.remedy))))])
        return Exit.CREDENTIALS if isinstance(error, Denied) else Exit.INPUT
    publisher.annotate([("error", f"{error}; {otherwise}")])
    return Exit.DEGRADED


def _kick(inputs: Inputs, env: Mapping[str, str]) -> int:
    """One run of the scaler's workflow. It takes no config and no AWS."""
    from scaler.github_workflows import GitHubWorkflows  # noqa: PLC0415 - loaded where it is needed: start-up time

    publisher = Publisher(env)
    _log(inputs)
    publisher.mask(inputs.github_token)
    assert inputs.scaler is not None  # noqa: S101 - inputs refuse a kick of nobody
    workflows = GitHubWorkflows(inputs.github_token, inputs.github_api_url, RealClock())
    try:
        publisher.say([kick(workflows, Workflow(inputs.scaler, inputs.workflow, inputs.ref))])
    except ApiError as error:
        return _refused(publisher, error, "it may have been started all the same: the next clock goes on")
    return Exit.OK


def _complain(publisher: Publisher, problems: Sequence[Problem]) -> None:
    for problem in problems:
        publisher.problem(problem)
    print(f"{len(problems)} problem{'s' * (len(problems) != 1)} found. Nothing was changed.", file=sys.stderr)


def _config_problems(path: Path | None) -> tuple[Problem, ...]:
    """What is wrong with the config as well, so that a missing token does not hide it."""
    try:
        if path is not None:
            load(path)
    except ConfigError as error:
        return error.problems
    return ()


def _config(inputs: Inputs, publisher: Publisher) -> Config:
    config = load(inputs.config_path)
    for warning in config.warnings:
        publisher.problem(warning)
    if inputs.command is Command.PLAN:
        publisher.say([f"{config.path}: valid; {len(config.repositories)} repositories, {len(config.pools)} pools"])
    return replace(config, role=inputs.role or config.role, region=inputs.region or config.region)


def _stop_on_signals(clock: RealClock) -> list[Exit]:
    """On SIGINT or SIGTERM the current pair of effects is finished, and no new one begun."""
    stopped: list[Exit] = []

    def stop(number: int, _: object) -> None:
        stopped.append(Exit.INTERRUPTED if number == signal.SIGINT else Exit.TERMINATED)
        clock.stop()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    signal.set_wakeup_fd(clock.wakeup, warn_on_full_buffer=False)
    return stopped


# --- what was asked for by hand ------------------------------------------------------------------


def _asked(inputs: Inputs, config: Config) -> tuple[Up | Down, ...]:
    if inputs.command is Command.UP:
        return (Up(_pool(inputs, config).name, _scope(inputs, config), inputs.count),)
    if inputs.command is Command.DOWN and inputs.instance_id:
        return (Down(inputs.instance_id, inputs.force),)
    return ()


def _pool(inputs: Inputs, config: Config) -> Pool:
    if inputs.pool is not None:
        pool = config.pool(inputs.pool)
        if pool is None:
            raise _input_error("pool", f'config has no pool "{inputs.pool}"; it has {_names(config.pools)}')
        return pool
    pools = [pool for pool in config.pools if pool.arch == inputs.arch]
    if len(pools) != 1:
        found = f"{_names(pools)} have it; name one with --pool" if pools else f"the pools are {_names(config.pools)}"
        raise _input_error("arch", f"{inputs.arch} does not name one pool: {found}")
    return pools[0]


def _scope(inputs: Inputs, config: Config) -> Scope:
    if config.register_at is RegisterAt.ORGANIZATION and config.organization:
        return config.organization
    names = {repository.lower(): repository for repository in config.repositories}
    if inputs.repository is None:
        if len(names) == 1:
            return config.repositories[0]
        raise _input_error("repository", f"--repo is needed: runners register at one of {', '.join(names.values())}")
    if inputs.repository.lower() not in names:
        raise _input_error("repository", f'config has no repository "{inputs.repository}"; add it to repositories')
    return names[inputs.repository.lower()]


def _names(pools: Sequence[Pool]) -> str:
    return ", ".join(pool.name for pool in pools)


def _input_error(path: str, message: str) -> InputError:
    return InputError((Problem("", None, path, message),))


# --- running -------------------------------------------------------------------------------------


class _Session:
    """The clients of one process, and what each command does with them."""

    def __init__(
        self, config: Config, inputs: Inputs, env: Mapping[str, str], publisher: Publisher, clock: RealClock
    ) -> None:
        from scaler.act import Actor  # noqa: PLC0415 - the SDKs are loaded after all input was found good
        from scaler.aws_api import AwsApi  # noqa: PLC0415
        from scaler.credentials import account_of, session_for  # noqa: PLC0415
        from scaler.github_api import GitHubApi  # noqa: PLC0415
        from scaler.github_workflows import GitHubWorkflows  # noqa: PLC0415
        from scaler.names import runner_prefix  # noqa: PLC0415
        from scaler.observe import Observer  # noqa: PLC0415

        publisher.mask(inputs.github_token)
        publisher.mask(inputs.workflow_token)
        session = session_for(config.role, config.region, env, mask=publisher.mask)
        prefix = runner_prefix(config.fleet, account_of(config.role, session, config.region), config.region)
        self._config, self._publisher, self._clock = config, publisher, clock
        self._github = GitHubApi(inputs.github_token, inputs.github_api_url, clock)
        self._env = env
        self._itself = Workflow(inputs.scaler, inputs.workflow) if inputs.scaler else own_workflow(env)
        self._workflows = GitHubWorkflows(inputs.workflow_token or inputs.github_token, inputs.github_api_url, clock)
        cloud = AwsApi(config, session, clock)
        actor = Actor(config, self._github, cloud, mask=publisher.mask, clock=clock)
        self._reconciler = Reconciler(config, Observer(config, self._github, cloud, prefix), actor, clock)
        self._last: Tick | None = None
        self._trend: Trend | None = None
        self._outcomes: list[Outcome] = []

    def run(self, inputs: Inputs, asked: Sequence[Up | Down]) -> int:
        """One command, to its exit code."""
        left = False
        if inputs.command is Command.STATUS:
            self._last = self._reconciler.plan()
            self._publisher.say(status(self._last, self._config, self._clocks()))
            self._publisher.summary(markdown(self._last, self._config))
        elif inputs.command is Command.PLAN:
            self._tell(self._reconciler.plan())
        elif asked:
            self._tell(self._reconciler.by_hand(asked))
        elif inputs.run_for is None:
            self._tell(self._reconciler.tick())
        else:
            longest = max((pool.idle_timeout for pool in self._config.pools), default=timedelta())
            linger = inputs.linger if inputs.linger is not None else longest + 2 * inputs.every
            left = self._reconciler.watch(inputs.run_for, inputs.every, linger, self._tell)
        assert self._last is not None  # noqa: S101 - every branch set it
        code = self._see_to_next(inputs, exit_code(self._last), left=left)
        if inputs.wait and code in (Exit.OK, Exit.CAPPED):
            code = self._wait(code)
        return self._finish(inputs, self._last, code)

    def _see_to_next(self, inputs: Inputs, code: Exit, *, left: bool) -> Exit:
        """
        Keep the schedule alive, and hand over what is left to do to a next run.

        A watch without its credentials would be handed on for ever; without an answer the next clock heals it.
        """
        if self._itself is None:
            return code
        try:
            if inputs.keep_alive:
                keep_alive(self._workflows, self._itself)
            if inputs.hand_over and left and code is not Exit.CREDENTIALS:
                told = kick(self._workflows, self._itself, own_inputs(self._env))
                self._publisher.say([f"hand-over: {told}"])
        except (Denied, NotStartable) as error:
            return _refused(self._publisher, error)
        except ApiError as error:
            self._publisher.annotate([("warning", f"{error}; the next clock goes on")])
        return code

    def _clocks(self) -> list[str]:
        """When each clock last made the scaler's workflow run, as far as the token may see that."""
        if self._itself is None:
            return []
        try:
            ran = [(event, self._workflows.newest(self._itself, event)) for event in EVENTS]
            return shown(self._workflows.now(), self._itself, ran)
        except ApiError as error:
            return [f"not seen: clocks of {self._itself}: {error}"]

    def _tell(self, tick: Tick) -> None:
        self._last = tick
        self._trend = then(self._trend, tick)
        self._outcomes += [outcome for outcome in tick.outcomes if outcome.instance_id]
        self._publisher.say([report.headline(tick), *(f"  {line}" for line in report.lines(tick))])
        self._publisher.summary(markdown(tick, self._config, self._trend))

    def _wait(self, code: Exit) -> Exit:
        outcomes = [o for o in self._outcomes if o.result is Result.DONE and isinstance(o.command, Launch)]
        expected = [(o.command.scope, o.runner_name) for o in outcomes if isinstance(o.command, Launch)]
        limit = max((pool.boot_timeout for pool in self._config.pools), default=timedelta(minutes=10))
        missing = wait_online(self._clock, self._github, expected, limit)
        for scope, name in expected:
            state = "not online" if (scope, name) in missing else "online"
            self._publisher.say([f"runner {name} in {scope}: {state}"])
        return Exit.DEGRADED if missing else code

    def _finish(self, inputs: Inputs, last: Tick, code: Exit) -> int:
        if inputs.command is not Command.STATUS:  # which has said it all
            self._publisher.annotate(report.alerts(last))
        outputs = report.outputs(last, self._outcomes, self._config)
        self._publisher.outputs(outputs)
        if inputs.command in (Command.UP, Command.DOWN):
            self._publisher.say([f"{name}: {outputs[name]}" for name in ("instance-ids", "runner-names", "labels")])
        if inputs.json == "-":
            print(report.as_json(last))
        elif inputs.json:
            Path(inputs.json).write_text(report.as_json(last) + "\n", encoding="utf-8")
        return code


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:], os.environ))
    except ModuleNotFoundError as missing:
        print(
            f"error: the package {missing.name} is not installed; `scripts/setup.sh run` makes .venv with all of them"
        )
        sys.exit(Exit.UNEXPECTED)
