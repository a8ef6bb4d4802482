"""
From a launched instance to its secret: mint, put, tag, in this order.

The instance waits for its secret, and a minted secret nobody waits for would be a ghost (D4).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from threading import Lock

from scaler.acting.letter import letter
from scaler.acting.pace import Limit, Pace
from scaler.model import (
    ApiError,
    Cloud,
    GitHub,
    HandOver,
    Instance,
    Launch,
    NameTaken,
    Outcome,
    Result,
    Scope,
    Secret,
)
from scaler.settings.config import Config, Pool, Registration

TRIES = 3
"""So often a scope's token is asked for in one tick; then what waits for it is left to the next."""


class HandOvers:
    """All hand-overs of one tick. Safe to be used by several threads."""

    def __init__(
        self, config: Config, github: GitHub, cloud: Cloud, pace: Pace, mask: Callable[[str], None], prefix: str
    ) -> None:
        """`prefix` begins the runners' names; `mask` is told every secret before its first use."""
        self._config = config
        self._github = github
        self._cloud = cloud
        self._pace = pace
        self._mask = mask
        self._prefix = prefix
        self._minting = Lock()
        self._tokens: dict[Scope, Secret] = {}
        self._failures: Counter[Scope] = Counter()
        self._failed: dict[Scope, ApiError] = {}

    def name(self, instance_id: str) -> str:
        """What an instance's runner is called."""
        return self._prefix + instance_id

    def look(self, instance_ids: tuple[str, ...]) -> Mapping[str, Instance]:
        """Instances as EC2 lists them now; none if it does not answer."""
        if not instance_ids:
            return {}
        self._pace.turn(Limit.DESCRIBE)
        try:
            return self._cloud.look(instance_ids)
        except ApiError:
            return {}  # as if not listed yet: the hand-over is harmless to a dead one, and put once

    def help(self, command: HandOver) -> Outcome:
        """Hand over what another tick launched, unless somebody has by now."""
        found = self.look((command.instance_id,)).get(command.instance_id)
        if found is not None and found.scope is not None:
            name = self.name(command.instance_id)
            return Outcome(command, Result.TAKEN, "another tick has handed it over", command.instance_id, name)
        return self.hand_over(command, command.instance_id)

    def hand_over(self, command: Launch | HandOver, instance_id: str) -> Outcome:
        """Give an instance its secret, once."""
        pool, scope, name = self._config.pool(command.pool), command.scope, self.name(instance_id)
        if pool is None:
            raise ValueError(f"no pool {command.pool}")
        group = self._config.runner_group if "/" not in scope else None
        # The turn comes before the minting: between a record and its put nobody else can hand over.
        self._pace.turn(Limit.PUT_PARAMETER)
        try:
            secret = self._secret(pool, scope, name, group)
        except NameTaken:
            return Outcome(command, Result.TAKEN, "another tick is handing it over", instance_id, name)
        try:
            ours = self._cloud.put_parameter(
                instance_id,
                letter(pool, self._github.registration_url(scope), name, group, secret),
                scope,
                secret.runner_id,
            )
        except ApiError:
            self._take_back(scope, secret)
            raise
        if not ours:
            self._take_back(scope, secret)
            return Outcome(command, Result.TAKEN, "another tick has handed it over", instance_id, name)
        try:
            self._pace.turn(Limit.TAG)
            self._cloud.tag(instance_id, "scope", scope)
        except ApiError as error:
            # EC2 may not know a new instance yet (AWS docs: eventual consistency). The next tick writes it.
            return Outcome(
                command, Result.DONE, f"handed over to {scope}; its tag follows ({error})", instance_id, name
            )
        return Outcome(command, Result.DONE, f"handed over to {scope}", instance_id, name)

    def _secret(self, pool: Pool, scope: Scope, name: str, group: str | None) -> Secret:
        if pool.registration is Registration.TOKEN:
            return self._token(scope)
        self._pace.turn(Limit.GITHUB_WRITE)
        return self._masked(self._github.jit_secret(scope, name, pool.labels, group))

    def _token(self, scope: Scope) -> Secret:
        """
        The scope's token of this tick: one is good for an hour and any number of runners.

        While one thread asks, those that want the same wait; where GitHub gives none they are not held up for long.
        """
        with self._minting:
            if scope not in self._tokens:
                if self._failures[scope] == TRIES:
                    raise self._failed[scope]
                self._pace.turn(Limit.GITHUB_WRITE)
                try:
                    self._tokens[scope] = self._masked(self._github.token_secret(scope))
                except ApiError as error:
                    self._failures[scope] += 1
                    self._failed[scope] = error
                    raise
            return self._tokens[scope]

    def _masked(self, secret: Secret) -> Secret:
        self._mask(secret.value)
        return secret

    def _take_back(self, scope: Scope, secret: Secret) -> None:
        """Delete the record that was minted here and will not be used; if that fails it is swept as a ghost."""
        if secret.runner_id is None:
            return
        try:
            self._pace.turn(Limit.GITHUB_WRITE)
            self._github.remove_runner(scope, secret.runner_id)
        except ApiError:
            return
