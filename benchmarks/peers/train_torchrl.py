"""TorchRL training on request: `python train_torchrl.py COLLECTORS ENVS MINIBATCHES THREADS CORES`.

Independent clipped PPO with a policy and a critic of its own for each of the five agents, on the
embedded simulator through PettingZoo. The networks are two ReLU layers and a linear head, without
our GRU: less to compute, in the peer's favour. Illegal actions are masked. With COLLECTORS above
zero, so many processes play while the learner waits; with zero the learner plays itself.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

import stopwatch
from ippo_settings import (
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

GROUP = "ally"
"""TorchRL stacks agents of one name into a group, with the agents in the last batch dimension."""


def make_battle() -> Any:
    """One battle as TorchRL wants it: the action mask in one place only, no other infos to copy."""
    from pettingzoo.utils import BaseParallelWrapper
    from torchrl.envs import PettingZooWrapper

    from dm2_dist.envs.skirmish import parallel_env

    class WithoutInfos(BaseParallelWrapper):  # type: ignore[misc]
        """A battle whose infos are empty."""

        def reset(self, seed: int | None = None, options: Any = None) -> Any:
            """Start the next battle."""
            seen, infos = self.env.reset(seed=seed, options=options)
            return seen, {name: {} for name in infos}

        def step(self, actions: Any) -> Any:
            """One step."""
            *stepped, infos = self.env.step(actions)
            return *stepped, {name: {} for name in infos}

    return PettingZooWrapper(
        WithoutInfos(parallel_env(MAP)), use_mask=False, categorical_actions=True, done_on_any=True
    )


class Battles:
    """Makes several battles that step one after the other; travels to the collectors."""

    def __init__(self, num_envs: int) -> None:
        """Remember how many.

        Args:
            num_envs: battles.
        """
        self.num_envs = num_envs

    def __call__(self) -> Any:
        """Make them."""
        from torchrl.envs import SerialEnv

        return SerialEnv(self.num_envs, make_battle)


def make_networks() -> tuple[Any, Any]:
    """The five policies and the five critics, each five stacked as one module."""
    import torch
    from tensordict.nn import TensorDictModule
    from torchrl.modules import MaskedCategorical, MultiAgentMLP, ProbabilisticActor

    battle = make_battle()
    seen = battle.observation_spec[GROUP, "observation", "observation"].shape[-1]
    actions = battle.observation_spec[GROUP, "action_mask"].shape[-1]
    battle.close()

    def network(outputs: int) -> Any:
        return MultiAgentMLP(
            n_agent_inputs=seen,
            n_agent_outputs=outputs,
            n_agents=NUM_AGENTS,
            centralized=False,
            share_params=False,
            num_cells=[HIDDEN, HIDDEN],
            activation_class=torch.nn.ReLU,
        )

    observation = [(GROUP, "observation", "observation")]
    policy = ProbabilisticActor(
        TensorDictModule(network(actions), observation, [(GROUP, "logits")]),
        in_keys={"logits": (GROUP, "logits"), "mask": (GROUP, "action_mask")},
        out_keys=[(GROUP, "action")],
        distribution_class=MaskedCategorical,
        return_log_prob=True,
        log_prob_key=(GROUP, "log_prob"),
    )
    critic = TensorDictModule(network(1), observation, [(GROUP, "state_value")])
    return policy, critic


def make_loss(policy: Any, critic: Any) -> Any:
    """Clipped PPO of all five agents; nothing is shared, so the sum of their losses is separate."""
    from torchrl.objectives import ClipPPOLoss, ValueEstimators

    loss = ClipPPOLoss(
        actor_network=policy,
        critic_network=critic,
        clip_epsilon=CLIP,
        entropy_coeff=ENTROPY_COEFFICIENT,
        critic_coeff=VALUE_COEFFICIENT,
        normalize_advantage=True,
        normalize_advantage_exclude_dims=(1,),
    )
    names = {"reward": "reward", "action": "action", "sample_log_prob": "log_prob"}
    names |= {"done": "done", "terminated": "terminated", "value": "state_value"}
    loss.set_keys(**{key: (GROUP, name) for key, name in names.items()})
    loss.make_value_estimator(ValueEstimators.GAE, gamma=DISCOUNT, lmbda=GAE_LAMBDA)
    return loss


def prepare(
    collectors: int, num_envs: int, minibatches: int, threads: int
) -> tuple[Callable[[], int], dict[str, object]]:
    """Start TorchRL.

    Args:
        collectors: processes that play; 0: the process that learns plays too.
        num_envs: battles of each.
        minibatches: gradient steps of an epoch.
        threads: torch's threads in the process that learns.

    Returns:
        A function that plays and learns one iteration and returns its environment steps, and what
        it is.
    """
    warnings.simplefilter("ignore")
    import torch
    import torchrl
    from torchrl.collectors import Collector, MultiSyncCollector

    policy, critic = make_networks()
    loss = make_loss(policy, critic)
    make = Battles(num_envs)
    common: dict[str, Any] = {"frames_per_batch": ITERATION_ENV_STEPS, "total_frames": -1}
    if collectors:
        collector = MultiSyncCollector(
            [make] * collectors, policy, num_threads=threads, num_sub_threads=1, **common
        )
    else:
        collector = Collector(make, policy, **common)
    torch.set_num_threads(threads)
    batches = iter(collector)
    optimiser = torch.optim.Adam(loss.parameters(), lr=LEARNING_RATE, eps=1e-5, fused=True)

    def learn(batch: Any) -> None:
        order = torch.randperm(batch.shape[0])
        for rows in order.chunk(minibatches):
            losses = loss(batch if minibatches == 1 else batch[rows])
            total = losses["loss_objective"] + losses["loss_critic"] + losses["loss_entropy"]
            total.backward()
            torch.nn.utils.clip_grad_norm_(loss.parameters(), MAX_GRADIENT_NORM)
            optimiser.step()
            optimiser.zero_grad()

    def iteration() -> int:
        batch = next(batches)
        with torch.no_grad():
            loss.value_estimator(
                batch,
                params=loss.critic_network_params,
                target_params=loss.target_critic_network_params,
            )
        flat = batch.reshape(-1)
        for _ in range(EPOCHS):
            learn(flat)
        collector.update_policy_weights_()
        return int(batch.numel())

    about = {
        "peer": "TorchRL IPPO",
        "version": f"torchrl {torchrl.__version__}, torch {torch.__version__}",
        "settings": (
            f"{collectors} collectors x {num_envs} battles, {ITERATION_ENV_STEPS} env steps, "
            f"{EPOCHS} epochs of {minibatches} minibatches, {threads} learner threads, five "
            "policies and five critics as MLPs without a GRU (in the peer's favour)"
        ),
    }
    return iteration, about


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    numbers = [int(word) for word in sys.argv[1:5]]
    stopwatch.serve(lambda: prepare(*numbers), sys.argv[5])
