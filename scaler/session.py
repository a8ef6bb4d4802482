"""The clients of one process, built here alone, and what each command does with them. Loaded when all input was found good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from scaler.act import Actor
from scaler.clock import RealClock
from scaler.clocks import EVENTS, NotStartable, shown
from scaler.exits import Exit, exit_code
from scaler.kick import keep_alive, kick, own_inputs
from scaler.model import ApiError, Denied, Down, Launch, Outcome, Result, Tick, Up
from scaler.names import runner_prefix
from scaler.observe import Observer
from scaler.observing.views import CONNECTIONS
from scaler.reconcile import Reconciler, wait_online
from scaler.reporting import report
from scaler.reporting.page import markdown
from scaler.reporting.publish import Publisher
from scaler.reporting.refused import refused
from scaler.reporting.status import status
from scaler.reporting.trend import Trend, then
from scaler.settings.asking import own_or_named
from scaler.settings.config import Config
from scaler.settings.inputs import Command, Inputs
from scaler.text import safe

if TYPE_CHECKING:
    from scaler.aws.job_token import JobToken


class Session:
    """The clients of one process, and what each command does with them."""

    def __init__(
        self,
        config: Config,
        inputs: Inputs,
        env: Mapping[str, str],
        token: JobToken | None,
        publisher: Publisher,
        clock: RealClock,
    ) -> None:
        """`token` is the job's own, on its way."""
        # Imports where they are: one SDK is loaded while the other's first answer comes. Never two at once, for
        # Python runs one thread at a time.
        from scaler.aws.api import AwsApi  # noqa: PLC0415
        from scaler.aws.credentials import account_of, session_for  # noqa: PLC0415

        def sign_in() -> tuple[AwsApi, str]:
            session = session_for(config.role, config.region, env, token, mask=publisher.mask)
            return AwsApi(config, session, clock), account_of(config.role, session, config.region)

        publisher.mask(inputs.workflow_token)
        with ThreadPoolExecutor(1) as thread:
            signing_in = thread.submit(sign_in)
            from scaler.github.api import GitHubApi  # noqa: PLC0415
            from scaler.github.app import credential_for, permissions_for  # noqa: PLC0415
            from scaler.github.workflows import GitHubWorkflows  # noqa: PLC0415

            cloud, account = signing_in.result()
        prefix = runner_prefix(config.fleet, account, config.region)
        self._config, self._publisher, self._clock = config, publisher, clock
        credential = credential_for(inputs, config.home, permissions_for(config), clock, publisher.mask)
        self._github = GitHubApi(credential, inputs.github_api_url, clock, config.sharers)
        self._env = env
        self._itself = own_or_named(inputs, env)
        self._workflows = GitHubWorkflows(inputs.workflow_token or credential, inputs.github_api_url, clock)
        actor = Actor(config, self._github, cloud, mask=publisher.mask, clock=clock)
        self._reconciler = Reconciler(
            config, Observer(config, self._github, cloud, prefix, max(CONNECTIONS // config.sharers, 1)), actor, clock
        )
        self._last: Tick | None = None
        self._patterns: tuple[str, ...] = ()
        self._trend: Trend | None = None
        self._outcomes: list[Outcome] = []

    def run(self, inputs: Inputs, asked: Sequence[Up | Down]) -> int:
        """One command, to its exit code."""
        left = False
        if inputs.command is Command.STATUS:
            self._last = self._reconciler.plan()
            self._say_patterns(self._last)
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
            return refused(self._publisher, error)
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

    def _say_patterns(self, tick: Tick) -> None:
        """What patterns stand for, when that is new."""
        self._publisher.say(
            [f"repositories: {safe(each)}" for each in tick.snapshot.patterns if each not in self._patterns]
        )
        self._patterns = tick.snapshot.patterns

    def _tell(self, tick: Tick) -> None:
        self._last = tick
        self._trend = then(self._trend, tick)
        self._outcomes += [outcome for outcome in tick.outcomes if outcome.instance_id]
        self._say_patterns(tick)
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
