"""The command: `python -m scaler auto | plan | up | down | status | …`. Loads what it needs when it needs it: start-up time."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from scaler.clock import RealClock
from scaler.clocks import Workflow
from scaler.exits import Exit
from scaler.model import ApiError
from scaler.problem import Problem
from scaler.reporting.publish import Publisher
from scaler.reporting.refused import refused
from scaler.settings.asking import asked_by_hand, input_error, of_shard
from scaler.settings.config import Config, ConfigError, load
from scaler.settings.inputs import Answered, Command, InputError, Inputs, parse
from scaler.text import quoted

if TYPE_CHECKING:
    from scaler.session import Session

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
            from scaler.settings.schema import schema_text  # noqa: PLC0415 - loaded where it is needed: start-up time

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
        asked = asked_by_hand(inputs, config)
        if inputs.json not in (None, "-") and not Path(inputs.json or "").absolute().parent.is_dir():
            raise input_error("json", f"no folder to write {quoted(inputs.json)} into")
    except (ConfigError, InputError) as error:
        _complain(publisher, error.problems)
        return error.code
    clock = RealClock()
    stopped = _stop_on_signals(clock)
    _log(inputs)
    looks = inputs.command in (Command.DOCTOR, Command.LINT)
    try:
        if looks:
            from scaler.checking.preflight import Preflight  # noqa: PLC0415

            code = Preflight(config, inputs, env, publisher, clock).run()
        else:
            code = _session(config, inputs, env, publisher, clock).run(inputs, asked)
    except ApiError as error:
        return refused(publisher, error)
    if stopped:
        told = "nothing was changed" if looks else STOPPED
        print(f"stopped by {'SIGINT' if stopped[0] is Exit.INTERRUPTED else 'SIGTERM'}: {told}", file=sys.stderr)
        return stopped[0]
    return code


def _session(config: Config, inputs: Inputs, env: Mapping[str, str], publisher: Publisher, clock: RealClock) -> Session:
    """The job's token is the first thing that is asked for: it comes while all the rest is loaded."""
    from scaler.aws.job_token import JobToken  # noqa: PLC0415

    token = JobToken.of(env) if config.role else None
    from scaler.session import Session  # noqa: PLC0415

    return Session(config, inputs, env, token, publisher, clock)


def _log(inputs: Inputs) -> None:
    logging.basicConfig(level=logging.INFO if inputs.verbose else logging.WARNING, format="%(message)s")
    for sdk in ("boto3", "botocore", "urllib3", "github"):
        # At DEBUG botocore prints whole request bodies, secrets included (RG-60).
        logging.getLogger(sdk).setLevel(logging.WARNING)


def _kick(inputs: Inputs, env: Mapping[str, str]) -> int:
    """One run of the scaler's workflow. It takes no config and no AWS."""
    from scaler.github.app import TO_KICK, credential_for  # noqa: PLC0415 - loaded where it is needed: start-up time
    from scaler.github.workflows import GitHubWorkflows  # noqa: PLC0415
    from scaler.kick import kick  # noqa: PLC0415

    publisher, clock = Publisher(env), RealClock()
    _log(inputs)
    assert inputs.scaler is not None  # noqa: S101 - inputs refuse a kick of nobody
    credential = credential_for(inputs, inputs.scaler, TO_KICK, clock, publisher.mask)
    workflows = GitHubWorkflows(credential, inputs.github_api_url, clock)
    try:
        publisher.say([kick(workflows, Workflow(inputs.scaler, inputs.workflow, inputs.ref))])
    except ApiError as error:
        return refused(publisher, error, "it may have been started all the same: the next clock goes on")
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
        patterns = f" and {', '.join(config.patterns)}" if config.patterns else ""
        counted = f"{len(config.repositories)} repositories{patterns}, {len(config.pools)} pools"
        publisher.say([f"{config.path}: valid; {counted}"])
    config = replace(config, role=inputs.role or config.role, region=inputs.region or config.region)
    return of_shard(config, inputs)


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


def _end(code: int) -> NoReturn:
    """End at once: idle threads, connections and modules are not worth an orderly end, which takes a tenth of a second."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(BrokenPipeError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    try:
        _end(main(sys.argv[1:], os.environ))
    except ModuleNotFoundError as missing:
        print(
            f"error: the package {missing.name} is not installed; `scripts/setup.sh run` makes .venv with all of them"
        )
        sys.exit(Exit.UNEXPECTED)
