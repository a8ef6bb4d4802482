"""What was asked for by hand, in the config's terms: which pool, which scope. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from scaler.clocks import Workflow, own_workflow
from scaler.model import Down, Scope, Up, matches
from scaler.problem import Problem
from scaler.settings.config import Config, Pool, RegisterAt
from scaler.settings.inputs import Command, InputError, Inputs
from scaler.settings.shard import WHOLE


def asked_by_hand(inputs: Inputs, config: Config) -> tuple[Up | Down, ...]:
    """The demands of `up` and `down`. Raises `InputError` for what the config does not know."""
    if inputs.github_app and len(config.owners) > 1:
        told = f"an App's token is for one owner, and config has repositories of {', '.join(config.owners)}"
        raise input_error("github-app-id", f"{told}; make a fleet for each, or give a token that sees them all")
    if inputs.command is Command.UP:
        return (Up(_pool(inputs, config).name, _scope(inputs, config), inputs.count),)
    if inputs.command is Command.DOWN and inputs.instance_id:
        return (Down(inputs.instance_id, inputs.force),)
    return ()


def _pool(inputs: Inputs, config: Config) -> Pool:
    if inputs.pool is not None:
        pool = config.pool(inputs.pool)
        if pool is None:
            raise input_error("pool", f'config has no pool "{inputs.pool}"; it has {_names(config.pools)}')
        return pool
    pools = [pool for pool in config.pools if pool.arch == inputs.arch]
    if len(pools) != 1:
        found = f"{_names(pools)} have it; name one with --pool" if pools else f"the pools are {_names(config.pools)}"
        raise input_error("arch", f"{inputs.arch} does not name one pool: {found}")
    return pools[0]


def _scope(inputs: Inputs, config: Config) -> Scope:
    if config.register_at is RegisterAt.ORGANIZATION and config.organization:
        return config.organization
    names = {repository.lower(): repository for repository in config.repositories}
    if inputs.repository is None:
        if len(names) == 1 and not config.patterns:
            return config.repositories[0]
        those = ", ".join((*names.values(), *config.patterns))
        raise input_error("repository", f"--repo is needed: runners register at one of {those}")
    if inputs.repository.lower() in names:
        return names[inputs.repository.lower()]
    if any(matches(pattern, inputs.repository) for pattern in config.patterns):
        return inputs.repository
    raise input_error("repository", f'config has no repository "{inputs.repository}"; add it to repositories')


def _names(pools: Sequence[Pool]) -> str:
    return ", ".join(pool.name for pool in pools)


def of_shard(config: Config, inputs: Inputs) -> Config:
    """
    The config as a part of a fleet. What is asked for by hand, and a look without a shard, are of the whole.

    Raises `InputError` for a fleet that cannot be shared.
    """
    given = inputs.shard or (config.shard if inputs.command in (Command.AUTO, Command.PLAN) else WHOLE)
    total = sum(pool.max for pool in config.pools)
    if given == WHOLE:
        return replace(config, shard=WHOLE)
    if config.register_at is RegisterAt.ORGANIZATION:
        why = "needs register_at: repository; an organization's runners serve all shards' jobs, and no shard sees them all"
    elif config.max_runners < total:
        why = (
            f"max_runners {config.max_runners} is less than the pools' max together ({total}), which no shard can count"
        )
        why += "; raise it, or lower theirs"
    else:
        return replace(config, shard=given)
    raise input_error("shard" if inputs.shard else f"{config.path}: shard", why)


def input_error(path: str, message: str) -> InputError:
    """One thing that is wrong with an input."""
    return InputError((Problem("", None, path, message),))


def own_or_named(inputs: Inputs, env: Mapping[str, str]) -> Workflow | None:
    """The scaler's workflow: the one that was named, else the one that this process is a job of."""
    return Workflow(inputs.scaler, inputs.workflow) if inputs.scaler else own_workflow(env)
