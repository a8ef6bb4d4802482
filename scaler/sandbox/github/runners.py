"""
Runners' records: registration tokens, registration, JIT configurations, removal.

Sources: docs.github.com, REST "Self-hosted runners" and "Self-hosted runners reference"; actions/runner,
`ConfigurationManager.cs`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
from collections.abc import Sequence
from datetime import timedelta

from scaler.sandbox.github.runs import Runs
from scaler.sandbox.github.state import Group, Refused, Runner, RunnerToken, State

JIT_LENGTH = 4088
"""Characters of a JIT configuration, as seen at an organization: 8 short of SSM's standard tier."""


def version_of(text: str) -> tuple[int, ...]:
    """A runner version that compares: `2.329.0`."""
    return tuple(int(part) if part.isdigit() else 0 for part in text.split("."))


class Runners:
    """What happens to runners' records."""

    def __init__(self, state: State, runs: Runs) -> None:
        self._state = state
        self._runs = runs
        self._random = random.Random(20)  # made-up secrets that repeat from run to run

    def secret(self, prefix: str = "", length: int = 26) -> str:
        """A made-up secret."""
        return prefix + "".join(self._random.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", k=length))

    # --- looking up ------------------------------------------------------------------------------

    def of(self, scope: str) -> list[Runner]:
        """The records of a scope, by id."""
        return [r for r in self._state.runners.values() if r.scope.lower() == scope.lower()]

    def by_name(self, scope: str, name: str) -> Runner | None:
        """The record of that name (names are unique in a scope)."""
        return next((runner for runner in self.of(scope) if runner.name == name), None)

    def groups(self, scope: str) -> list[Group]:
        """The groups that runners of a scope may be in: a repository has just the default one."""
        if "/" in scope:
            return [Group(1, scope.partition("/")[0], "Default")]
        return self._state.groups[scope.lower()]

    # --- tokens ----------------------------------------------------------------------------------

    def mint_token(self, scope: str, *, removal: bool = False) -> tuple[str, RunnerToken]:
        """A token for registering (or removing) any number of runners for an hour."""
        expires = self._state.now() + timedelta(seconds=self._state.settings.token_life)
        token = RunnerToken(scope, "removal" if removal else "registration", expires)
        value = self.secret("A", 28)
        self._state.runner_tokens[value] = token
        self._state.journal.write("secret.minted", kind=token.kind, scope=scope)
        return value, token

    def check_version(self, version: str) -> None:
        """403 if the runner software is too old (docs.github.com: runner software updates)."""
        minimum = self._state.settings.minimum_version
        if minimum is not None and version_of(version) < version_of(minimum):
            raise Refused(403, f"Runner version v{version} is deprecated and cannot receive messages.")

    # --- registration ----------------------------------------------------------------------------

    def register(
        self,
        scope: str,
        token: str,
        name: str,
        labels: Sequence[str],
        *,
        group: str | None,
        ephemeral: bool,
        replace: bool,
        version: str,
    ) -> Runner:
        """What `config.sh --url --token` does."""
        self.check_version(version)
        known = self._state.runner_tokens.get(token)
        if known is None or known.kind != "registration" or known.scope.lower() != scope.lower():
            raise Refused(401, "Bad credentials: the token is not for this scope")
        if known.expires_at <= self._state.now():
            raise Refused(401, "Token expired")
        found = next((g for g in self.groups(scope) if g.name.lower() == (group or "Default").lower()), None)
        if found is None:
            raise Refused(404, f"Could not find any self-hosted runner group named {group!r}.")
        old = self.by_name(scope, name)
        if old is not None:
            if not replace:
                raise Refused(409, f"A runner exists with the same name {name}.")
            self.remove(old, by="replace")
        runner = self._add(scope, name, tuple(labels), found, ephemeral=ephemeral, jit=False)
        runner.os, runner.version = "linux", version
        return runner

    def mint_jit(
        self, scope: str, name: str, labels: Sequence[str], group: Group, server_url: str
    ) -> tuple[Runner, str]:
        """
        A JIT configuration: the offline record exists from now on, whether it is ever used or not.

        Labels are exactly those asked for, in lower case: there are no implicit ones.
        """
        if self.by_name(scope, name) is not None:
            raise Refused(409, f"Already exists - A runner with the name {name} already exists.")
        runner = self._add(scope, name, tuple(label.lower() for label in labels), group, ephemeral=True, jit=True)
        self._state.journal.write("secret.minted", kind="jit", **runner.facts())
        return runner, self._encoded(runner, server_url)

    def _add(
        self, scope: str, name: str, labels: tuple[str, ...], group: Group, *, ephemeral: bool, jit: bool
    ) -> Runner:
        if not name or len(name) > 64:
            raise Refused(422, "Runner name must be between 1 and 64 characters.")
        now = self._state.now()
        number = self._state.next_id("runner")
        credential = self.secret("C", 40)
        runner = Runner(number, scope, name, labels, group, ephemeral, jit, credential, now, offline_since=now)
        self._state.runners[number] = runner
        self._state.credentials[credential] = runner
        self._state.journal.write(
            "runner.registered",
            how="jit" if jit else "token",
            ephemeral=ephemeral,
            labels=list(labels),
            **runner.facts(),
        )
        self.watch_offline(runner)
        return runner

    def _encoded(self, runner: Runner, server_url: str) -> str:
        def pack(value: object) -> str:
            return base64.b64encode(json.dumps(value).encode()).decode()

        settings = {
            "agentId": str(runner.id),
            "agentName": runner.name,
            "serverUrl": server_url,
            "ephemeral": True,
            "poolId": runner.group.id,
        }
        members = {".runner": pack(settings), ".credentials": pack({"credential": runner.credential})}
        # The real one carries an RSA key there; padding of a made-up key's size stands for it.
        bare = len(json.dumps({**members, ".credentials_rsaparams": ""}))
        seed = hashlib.sha256(runner.credential.encode()).hexdigest()
        members[".credentials_rsaparams"] = (seed * 64)[: max(JIT_LENGTH * 3 // 4 - bare, 64)]
        return base64.b64encode(json.dumps(members).encode()).decode()

    # --- removal ---------------------------------------------------------------------------------

    def watch_offline(self, runner: Runner) -> None:
        """
        Arm the service's own clean-up of a runner that stays offline.

        Ephemeral ones go after 1 day, others after 14 (docs.github.com: self-hosted runners reference).
        """
        settings, since = self._state.settings, runner.offline_since
        limit = settings.ephemeral_removal if runner.ephemeral else settings.offline_removal

        def check() -> None:
            if not runner.removed and not runner.online and runner.offline_since == since:
                self.remove(runner, by="service")

        self._state.clock.after(limit, check)

    def delete(self, runner: Runner) -> None:
        """
        DELETE by the API: 422 while the runner has a job.

        With the lie it is not: where REST says `busy: false` in mid-job, DELETE answers 204 as well
        (github-aws-runners/terraform-aws-github-runner#5085).
        """
        settings = self._state.settings
        believed = runner.reports_busy(settings, self._state.now()) if settings.delete_believes else runner.busy
        if believed:
            raise Refused(422, f'Bad request - Runner "{runner.name}" is currently running a job and cannot be deleted')
        job = runner.job
        self.remove(runner, by="api")
        if job is not None and settings.deleted_job == "dies":
            runner.job = None
            self._state.journal.write("job.lost", runner=runner.name, why="runner deleted", **job.facts())
            self._runs.finish(job, "failure")

    def remove(self, runner: Runner, *, by: str) -> None:
        """Take the record away; the runner learns of it at its next contact (404)."""
        if runner.removed:
            return
        runner.removed = True
        runner.online = False
        self._state.runners.pop(runner.id, None)
        self._state.journal.write("runner.removed", by=by, **runner.facts())
        self._state.clock.changed()
