"""`doctor` and `lint`: their clients, built here alone, and what is told. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from scaler.aws.job_token import JobToken
from scaler.checking.checks import Check, closing, ok, unseen, unwise, verdict
from scaler.checking.clocks_checked import judged
from scaler.checking.page import alerts, markdown
from scaler.clock import RealClock
from scaler.clocks import EVENTS
from scaler.model import ApiError
from scaler.observing.views import CONNECTIONS
from scaler.reporting.publish import Publisher
from scaler.settings.asking import own_or_named
from scaler.settings.config import Config, load
from scaler.settings.inputs import Command, Inputs

PATIENCE = timedelta(minutes=15)
"""What it may wait in all for GitHub's points of a minute: no look follows. Some 11,000 requests fit into it."""


class Preflight:
    """`doctor` and `lint`: a line for each thing that was looked at, as soon as it was. Nothing is changed."""

    def __init__(
        self, config: Config, inputs: Inputs, env: Mapping[str, str], publisher: Publisher, clock: RealClock
    ) -> None:
        from scaler.github.app import CONTENTS, credential_for, permissions_for  # noqa: PLC0415 - start-up time
        from scaler.github.look import GitHubLooker  # noqa: PLC0415

        publisher.mask(inputs.workflow_token)
        self._config, self._inputs, self._env, self._publisher = config, inputs, env, publisher
        self._clock = clock
        wanted = {**permissions_for(config), **(CONTENTS if inputs.command is Command.LINT else {})}
        self._credential = credential_for(inputs, config.home, wanted, self._clock, publisher.mask)
        self._github = GitHubLooker(self._credential, inputs.github_api_url, self._clock)
        self._threads = ThreadPoolExecutor(CONNECTIONS)
        self._checks: list[Check] = []

    def run(self) -> int:
        """Look, and tell what is worst; one that is stopped tells no more."""
        self._github.room(None, patience=PATIENCE.total_seconds())
        self._look()
        self._threads.shutdown(wait=False, cancel_futures=True)
        if not self._clock.stopping():
            self._publisher.say([closing(self._checks)])
            self._publisher.summary(markdown(f"{self._inputs.command} of fleet {self._config.fleet}", self._checks))
            if self._publisher.in_actions:  # a terminal has it all in its lines; a config's warnings stand at theirs
                self._publisher.annotate(alerts([check for check in self._checks if check.what != "config"]))
        return verdict(self._checks)

    def _look(self) -> None:
        warnings = [unwise("config", str(warning), "see README.md") for warning in self._config.warnings]
        self._tell(warnings or [ok("config", f"{self._config.path} is valid")])
        if self._inputs.command is Command.DOCTOR:
            self._doctor()
        elif not self._inputs.offline:
            from scaler.checking.lint import lint  # noqa: PLC0415

            self._tell(lint(self._config, self._github, self._threads))

    def _tell(self, checks: Iterable[Check]) -> None:
        for check in checks:
            if self._clock.stopping():
                return
            self._publisher.say([str(check)])
            self._checks.append(check)

    def _doctor(self) -> None:
        from scaler.aws.credentials import account_of, claims_of, session_for  # noqa: PLC0415
        from scaler.checking.doctor_github import look_at_github  # noqa: PLC0415
        from scaler.names import runner_prefix  # noqa: PLC0415

        config = self._config
        session, prefix = None, None
        try:
            session = session_for(
                config.role, config.region, self._env, JobToken.of(self._env), mask=self._publisher.mask
            )
            account = account_of(config.role, session, config.region)
            prefix = runner_prefix(config.fleet, account, config.region)
            self._tell([ok("AWS", f"credentials of account {account}")])
        except ApiError as error:
            self._tell([unseen("AWS", error)])
        self._tell(look_at_github(config, self._github, prefix, self._threads))
        if session is not None:
            from scaler.aws.look import AwsLook  # noqa: PLC0415
            from scaler.checking.doctor_aws import look_at_aws, look_at_role, look_at_trust  # noqa: PLC0415

            cloud = AwsLook(session, config.region)
            # The scaler's own role, whichever role looks at it.
            role = load(self._inputs.config_path).role
            if role:
                self._tell(look_at_role(config, role, cloud))
                if claims := claims_of(self._env, self._publisher.mask):
                    self._tell(look_at_trust(role, claims, cloud))
            self._tell(look_at_aws(config, cloud, self._github.heard()))
        self._tell(self._clocks())

    def _clocks(self) -> Iterator[Check]:
        """When each clock last ticked."""
        from scaler.github.workflows import GitHubWorkflows  # noqa: PLC0415

        itself = own_or_named(self._inputs, self._env)
        if itself is None:
            return
        credential = self._inputs.workflow_token or self._credential
        workflows = GitHubWorkflows(credential, self._inputs.github_api_url, self._clock)
        try:
            yield from judged(workflows.now(), itself, [(event, workflows.newest(itself, event)) for event in EVENTS])
        except ApiError as error:
            yield unseen(f"clocks of {itself}", error, "its token needs actions: read")
