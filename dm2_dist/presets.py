"""Named configurations. A preset is a function; `by_name` is the one place that lists them."""

import difflib
import typing
from collections.abc import Callable
from dataclasses import replace
from typing import cast

from dm2_dist.config import ConfigError, Environment, RunConfig
from dm2_dist.sections import (
    CollectionConfig,
    EvaluationConfig,
    ImitationConfig,
    ImpalaConfig,
    PPOConfig,
)


def default() -> RunConfig:
    """The field defaults: moderate batches on any map."""
    return RunConfig()


def quickstart() -> RunConfig:
    """3m, learnt from nothing in a few minutes on two cores."""
    return RunConfig(
        preset="quickstart",
        map="3m",
        max_env_steps=200_000,
        collection=CollectionConfig(episodes_per_iteration=64, episodes_per_ticket=4),
        ppo=PPOConfig(epochs=10, clip=0.2),
        imitation=ImitationConfig(
            steps=40, episodes_per_step=32, demonstration_episodes=200, reward_coefficient=0.1
        ),
    )


def paper_5v6() -> RunConfig:
    """5m_vs_6m with the table of the paper and the batch of the released configuration.

    The paper names 1,024 episodes per iteration, its released configuration 256; this preset takes
    256, the paper's 10 million env steps and 32 evaluation episodes.
    """
    return RunConfig(
        preset="paper-5v6",
        map="5m_vs_6m",
        max_env_steps=10_000_000,
        collection=CollectionConfig(episodes_per_iteration=256),
        ppo=PPOConfig(epochs=10, clip=0.05),
        imitation=ImitationConfig(reward_coefficient=0.3),
        evaluation=EvaluationConfig(interval_env_steps=50_000, episodes=32),
    )


def paper_3sv4z() -> RunConfig:
    """3s_vs_4z with the table of the paper."""
    return replace(
        paper_5v6(),
        preset="paper-3sv4z",
        map="3s_vs_4z",
        collection=CollectionConfig(episodes_per_iteration=1024),
        ppo=PPOConfig(epochs=15, clip=0.2),
        imitation=ImitationConfig(reward_coefficient=0.05),
    )


def impala_3m() -> RunConfig:
    """3m by V-trace policy gradient, with actors that run free."""
    return RunConfig(
        preset="impala-3m",
        map="3m",
        algorithm="impala",
        schedule="async",
        max_env_steps=500_000,
        collection=CollectionConfig(episodes_per_iteration=32, episodes_per_ticket=4),
        impala=ImpalaConfig(learning_rate=1e-3, minibatches=4),
        imitation=ImitationConfig(episodes_per_step=32),
    )


def in_environment(config: RunConfig, env: str) -> RunConfig:
    """A preset for another environment, with what that environment dictates.

    Args:
        config: a preset.
        env: name of the environment; `smac` and `sleep` play one battle at a time, so their
            tickets hold one episode each.

    Raises:
        ConfigError: there is no such environment.
    """
    if env not in typing.get_args(Environment):
        raise ConfigError(f"env is {env!r}; choose skirmish, smac or sleep")
    collection = config.collection
    if env != "skirmish":
        collection = replace(collection, episodes_per_ticket=1)
    return replace(config, env=cast(Environment, env), collection=collection)


PRESETS: dict[str, Callable[[], RunConfig]] = {
    "default": default,
    "quickstart": quickstart,
    "paper-5v6": paper_5v6,
    "paper-3sv4z": paper_3sv4z,
    "impala-3m": impala_3m,
}


def by_name(name: str) -> RunConfig:
    """The preset called `name`.

    Raises:
        ConfigError: there is none; the message names the nearest.
    """
    if name in PRESETS:
        return PRESETS[name]()
    near = difflib.get_close_matches(name, PRESETS, n=2, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise ConfigError(f"unknown preset {name!r}; {hint}there are {', '.join(PRESETS)}")
