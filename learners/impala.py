"""IMPALA's update: one pass over a batch by V-trace policy gradient, instead of PPO's epochs.

For actors that run free (Espeholt et al. 2018). Targets come from the networks at the start of the
iteration; every gradient step sees its part of the batch once and takes the ratio to the behaviour
policy anew. Works on the networks and optimisers that `learners.independent` owns.
"""

from collections.abc import Sequence
from itertools import repeat
from typing import NamedTuple

import torch

from dm2_dist.functional import policy_gradient, value_norm, vtrace
from dm2_dist.sections import ImpalaConfig
from learners import batch as batches
from learners import estimation, finiteness
from learners.estimation import Estimate, Walk
from learners.optimiser import Networks
from learners.recorded_step import RecordedStep

_POLICY = ("policy_loss", "entropy", "clip_fraction", "policy_gradient_norm", "policy_skipped")
_CRITIC = ("value_loss", "critic_gradient_norm", "critic_skipped")


class Targets(NamedTuple):
    """Constants of an iteration, in normalised units.

    advantage: float32 [R] in units of the returns' standard deviation.
    value: float32 [R] what the critic is to predict.
    """

    advantage: torch.Tensor
    value: torch.Tensor


def estimate(
    batch: batches.Batch,
    reward: torch.Tensor,
    walked: Walk,
    statistics: value_norm.ValueStatistics,
    config: ImpalaConfig,
) -> Estimate:
    """One-step advantages on V-trace targets.

    Args:
        batch: one iteration.
        reward: float32 [R] what is maximised.
        walked: both networks on this batch.
        statistics: units of the critic.
        config: of this algorithm.
    """
    value = value_norm.denormalise(statistics, walked.value)
    ratio = (walked.log_prob - batch.behaviour_log_prob).exp()
    trace = vtrace.Trace(config.discount, config.decay, config.rho, config.c)
    traced = vtrace.corrected(reward, value, batch.terminated, ratio, batch.rows, trace)
    return Estimate(traced.one_step_advantage, traced.target, ratio.clamp_max(config.policy_rho))


def normalised(estimated: Estimate, statistics: value_norm.ValueStatistics) -> Targets:
    """In the units of `statistics`, which have seen this iteration's targets already."""
    return Targets(
        advantage=(estimated.advantage / value_norm.moments(statistics).std).to(
            estimated.advantage.dtype
        ),
        value=value_norm.normalise(statistics, estimated.target),
    )


class Steps:
    """Both kinds of gradient steps, kept from iteration to iteration.

    policy, critic: one step of either; `load` takes the tensors of a `batches.Task`.
    """

    def __init__(self, trained: Networks, config: ImpalaConfig, pads: bool) -> None:
        """Take no step yet.

        Args:
            trained: networks and optimisers, changed in place.
            config: of this algorithm.
            pads: see `RecordedStep`.
        """
        self._trained, self._config = trained, config
        # A chunk of zeros has weight 0 and finite losses.
        self.policy = RecordedStep(
            self._policy_step, (0, *repeat(1, 7)), trained.policy_optimiser.changed(), pads
        )
        self.critic = RecordedStep(
            self._critic_step, (0, *repeat(1, 4)), trained.critic_optimiser.changed(), pads
        )

    def update(
        self,
        batch: batches.Batch,
        reward: torch.Tensor,
        walked: Walk,
        statistics: value_norm.ValueStatistics,
        seed: int,
    ) -> tuple[value_norm.ValueStatistics, dict[str, torch.Tensor]]:
        """One iteration.

        Args:
            batch: one iteration.
            reward: float32 [R] what is maximised.
            walked: both networks on this batch.
            statistics: units of the critic.
            seed: keys how chunks are dealt to gradient steps.

        Returns:
            The new units, and metrics, float32 [] each, among them which steps were skipped.
        """
        with torch.no_grad():
            estimated = estimate(batch, reward, walked, statistics, self._config)
            cap = self._config.policy_rho
            metrics = estimation.metrics(batch, walked, estimated, statistics, cap)
            newer = estimation.units(statistics, estimated)
            targets = normalised(estimated, newer)
        return newer, metrics | self.one_pass(batch, walked, targets, seed)

    def one_pass(
        self, batch: batches.Batch, walked: Walk, targets: Targets, seed: int
    ) -> dict[str, torch.Tensor]:
        """One pass: every chunk of either network is in one gradient step.

        Args:
            batch: one iteration.
            walked: both networks on this batch, for the core states that enter the chunks.
            targets: constants of the iteration.
            seed: keys how chunks are dealt to gradient steps.

        Returns:
            Metrics: means over the gradient steps, and which were skipped.
        """
        number, generator = self._config.minibatches, torch.Generator().manual_seed(seed >> 1)
        unroll, row = batch.policy, batch.policy.action_row
        aims = (batch.behaviour_log_prob[row], targets.advantage[row], unroll.weight)
        done = (batch.unavailable[row], batch.action[row])
        entering = unroll.entering(walked.policy_core)
        acting = batches.Task(entering, (unroll.inputs, unroll.keep, *done, *aims))
        unroll = batch.critic
        values = (targets.value[unroll.action_row], unroll.weight)
        entering = unroll.entering(walked.critic_core)
        valuing = batches.Task(entering, (unroll.inputs, unroll.keep, *values))
        # Dealt before the first step: a copy from the host makes it wait for the device.
        policy_parts = acting.deal(number, generator)
        critic_parts = valuing.deal(number, generator)
        steps = _taken(self.policy, acting, policy_parts, _POLICY)
        return finiteness.means(steps + _taken(self.critic, valuing, critic_parts, _CRITIC))

    def _policy_step(self, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        core_state, inputs, keep, unavailable, action, *aims = tensors
        config, trained = self._config, self._trained
        logits = trained.policy.unroll(inputs, keep, core_state)
        loss, gradient = policy_gradient.policy_gradient(
            logits,
            batches.choices(unavailable, action),
            policy_gradient.PolicyTargets(*aims),
            config.policy_rho,
            config.entropy_coefficient,
        )
        step = trained.policy_optimiser.descend(logits, gradient, loss.total)
        return torch.stack([*loss[1:], *step])

    def _critic_step(self, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        core_state, inputs, keep, target, weight = tensors
        trained, scale = self._trained, self._config.value_coefficient
        value = trained.critic.unroll(inputs, keep, core_state).squeeze(-1)
        loss, gradient = policy_gradient.value_gradient(value.detach(), target, weight)
        step = trained.critic_optimiser.descend(value, scale * gradient, scale * loss)
        return torch.stack([loss, *step])


def _taken(
    step: RecordedStep, task: batches.Task, dealt: list[torch.Tensor], names: Sequence[str]
) -> list[dict[str, torch.Tensor]]:
    """One step on each part of the chunks; their numbers by name."""
    steps = []
    for chosen in dealt:
        step.load(task.chunks(chosen).tensors())
        steps.append(dict(zip(names, step.take().unbind(), strict=True)))
    step.unload()
    return steps
