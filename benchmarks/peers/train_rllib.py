"""RLlib training on request: `python train_rllib.py RUNNERS ENVS MINIBATCHES THREADS CORES`.

PPO of RLlib's new API stack with five policies that share nothing, on the embedded simulator
through PettingZoo. The networks have our sizes: two ReLU layers, GRU and a linear head, twice for
each agent, trained through chunks of `CHUNK_LENGTH` steps; illegal actions are masked.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

import stopwatch
from ippo_settings import (
    CHUNK_LENGTH,
    CLIP,
    DISCOUNT,
    ENTROPY_COEFFICIENT,
    EPOCHS,
    GAE_LAMBDA,
    HIDDEN,
    ITERATION_ENV_STEPS,
    LEARNING_RATE,
    MAP,
    MAX_GRADIENT_NORM,
    NUM_AGENTS,
    VALUE_COEFFICIENT,
)


def make_module() -> type:
    """The class of an agent's policy and critic, with a GRU each."""
    import torch
    from ray.rllib.core.columns import Columns
    from ray.rllib.core.rl_module.apis.value_function_api import ValueFunctionAPI
    from ray.rllib.core.rl_module.torch import TorchRLModule
    from torch import nn

    class Body(nn.Module):  # type: ignore[misc]
        """Two ReLU layers and a GRU."""

        def __init__(self, num_inputs: int) -> None:
            super().__init__()
            self.layers = nn.Sequential(
                nn.Linear(num_inputs, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU()
            )
            self.core = nn.GRU(HIDDEN, HIDDEN, batch_first=True)

        def forward(self, seen: Any, state: Any) -> tuple[Any, Any]:
            """Float32 [B, T, O] and [B, H] to features [B, T, H] and state [B, H]."""
            features, state = self.core(self.layers(seen), state[None].contiguous())
            return features, state[0]

    class MaskedRecurrentModule(TorchRLModule, ValueFunctionAPI):  # type: ignore[misc]
        """A policy and a critic with nothing in common."""

        def setup(self) -> None:
            """Make the networks."""
            num_inputs = self.observation_space["observation"].shape[0]
            self.policy, self.critic = Body(num_inputs), Body(num_inputs)
            self.logits = nn.Linear(HIDDEN, self.action_space.n)
            self.value = nn.Linear(HIDDEN, 1)

        def get_initial_state(self) -> dict[str, Any]:
            """The state of both GRUs when a battle begins."""
            return {"policy": torch.zeros(HIDDEN), "critic": torch.zeros(HIDDEN)}

        def _forward(self, batch: dict[str, Any], **_: Any) -> dict[str, Any]:
            seen, state = batch[Columns.OBS], batch[Columns.STATE_IN]
            features, after = self.policy(seen["observation"], state["policy"])
            valued, critic_after = self.critic(seen["observation"], state["critic"])
            logits = self.logits(features).masked_fill(seen["action_mask"] == 0, -1e10)
            return {
                Columns.ACTION_DIST_INPUTS: logits,
                Columns.STATE_OUT: {"policy": after, "critic": critic_after},
                Columns.EMBEDDINGS: valued,
            }

        def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> Any:
            """Values, float32 [B, T]."""
            if embeddings is None:
                seen, state = batch[Columns.OBS], batch[Columns.STATE_IN]
                embeddings, _ = self.critic(seen["observation"], state["critic"])
            return self.value(embeddings).squeeze(-1)

    return MaskedRecurrentModule


def make_battle(_: Any) -> Any:
    """A battle as RLlib wants it, with spaces that can travel between its processes."""
    import gymnasium
    import numpy as np
    from ray.rllib.env.wrappers.pettingzoo_env import ParallelPettingZooEnv

    from dm2_dist.envs.skirmish import parallel_env

    battle = ParallelPettingZooEnv(parallel_env(MAP))
    one = battle.par_env.observation_space("ally_0")
    size, actions = one["observation"].shape, one["action_mask"].shape[0]
    seen = {
        "observation": gymnasium.spaces.Box(-np.inf, np.inf, size, np.float32),
        "action_mask": gymnasium.spaces.Box(0, 1, (actions,), np.int8),
    }
    names = battle.possible_agents
    spaces = {name: gymnasium.spaces.Dict(seen) for name in names}
    battle.observation_spaces = spaces
    battle.observation_space = gymnasium.spaces.Dict(spaces)
    battle.action_spaces = {name: gymnasium.spaces.Discrete(actions) for name in names}
    battle.action_space = gymnasium.spaces.Dict(battle.action_spaces)
    return battle


def prepare(
    runners: int, num_envs: int, minibatches: int, threads: int
) -> tuple[Callable[[], int], dict[str, object]]:
    """Start RLlib.

    Args:
        runners: processes that play; 0: the process that learns plays too.
        num_envs: battles of each.
        minibatches: gradient steps of an epoch.
        threads: torch's threads in the process that learns.

    Returns:
        A function that plays and learns one iteration and returns its environment steps, and what
        it is.
    """
    warnings.simplefilter("ignore")
    import ray
    import torch
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
    from ray.rllib.core.rl_module.rl_module import RLModuleSpec

    ray.init(
        num_cpus=max(runners, 1) + 1,
        include_dashboard=False,
        logging_level=logging.ERROR,
        log_to_driver=False,
    )
    torch.set_num_threads(threads)
    names = [f"ally_{number}" for number in range(NUM_AGENTS)]
    spec = RLModuleSpec(module_class=make_module(), model_config={"max_seq_len": CHUNK_LENGTH})
    config = (
        PPOConfig()
        .environment(env=register(), disable_env_checking=True)
        .multi_agent(policies=set(names), policy_mapping_fn=lambda name, *_, **__: name)
        .rl_module(rl_module_spec=MultiRLModuleSpec(rl_module_specs=dict.fromkeys(names, spec)))
        .env_runners(num_env_runners=runners, num_envs_per_env_runner=num_envs)
        .learners(num_learners=0)
        .training(
            train_batch_size_per_learner=ITERATION_ENV_STEPS,
            minibatch_size=ITERATION_ENV_STEPS // minibatches,
            num_epochs=EPOCHS,
            lr=LEARNING_RATE,
            gamma=DISCOUNT,
            lambda_=GAE_LAMBDA,
            clip_param=CLIP,
            entropy_coeff=ENTROPY_COEFFICIENT,
            vf_loss_coeff=VALUE_COEFFICIENT,
            vf_clip_param=float("inf"),
            use_kl_loss=False,
            grad_clip=MAX_GRADIENT_NORM,
            grad_clip_by="global_norm",
        )
    )
    algorithm = config.build_algo()

    def iteration() -> int:
        result = algorithm.train()
        return int(result["env_runners"]["num_env_steps_sampled"])

    about = {
        "peer": "RLlib PPO",
        "version": f"ray {ray.__version__}, torch {torch.__version__}",
        "settings": (
            f"{runners} env runners x {num_envs} battles, {ITERATION_ENV_STEPS} env steps, "
            f"{EPOCHS} epochs of {minibatches} minibatches, {threads} learner threads, five "
            f"policies and five critics with a GRU each, chunks of {CHUNK_LENGTH}"
        ),
    }
    return iteration, about


def register() -> str:
    """Make the battle known to RLlib; returns its name there."""
    from ray.tune.registry import register_env

    register_env(MAP, make_battle)
    return MAP


if __name__ == "__main__":
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    numbers = [int(word) for word in sys.argv[1:5]]
    stopwatch.serve(lambda: prepare(*numbers), sys.argv[5])
