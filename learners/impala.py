"""IMPALA's update: one pass over a batch by V-trace policy gradient, instead of PPO's epochs.

For actors that run free (Espeholt et al. 2018). Targets come from the networks at the start of the
iteration; every gradient step sees its part of the batch once and takes the ratio to the behaviour
policy anew. Works on the networks and optimisers that `learners.independent` owns.
"""

from typing import NamedTuple

import torch

from dm2_dist import networks
from dm2_dist.functional import categorical, policy_gradient, value_norm, vtrace
from dm2_dist.sections import ImpalaConfig
from learners import batch as batches
from learners import estimation, finiteness
from learners.estimation import Estimate, Walk
from learners.optimiser import Optimiser


class Networks(NamedTuple):
    """What is trained, each with its optimiser."""

    policy: networks.RecurrentNetwork
    policy_optimiser: Optimiser
    critic: networks.RecurrentNetwork
    critic_optimiser: Optimiser


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


def update(
    trained: Networks,
    batch: batches.Batch,
    reward: torch.Tensor,
    walked: Walk,
    statistics: value_norm.ValueStatistics,
    config: ImpalaConfig,
    seed: int,
) -> tuple[value_norm.ValueStatistics, dict[str, torch.Tensor]]:
    """One iteration.

    Args:
        trained: networks and optimisers, changed in place.
        batch: one iteration.
        reward: float32 [R] what is maximised.
        walked: both networks on this batch.
        statistics: units of the critic.
        config: of this algorithm.
        seed: keys how chunks are dealt to gradient steps.

    Returns:
        The new units, and metrics, float32 [] each, among them which steps were skipped.
    """
    with torch.no_grad():
        estimated = estimate(batch, reward, walked, statistics, config)
        metrics = estimation.metrics(batch, walked, estimated, statistics, config.policy_rho)
        newer = estimation.units(statistics, estimated)
        targets = normalised(estimated, newer)
    return newer, metrics | train(trained, batch, walked, targets, config, seed)


def train(
    trained: Networks,
    batch: batches.Batch,
    walked: Walk,
    targets: Targets,
    config: ImpalaConfig,
    seed: int,
) -> dict[str, torch.Tensor]:
    """One pass: every chunk of either network is in one gradient step.

    Args:
        trained: networks and optimisers, changed in place.
        batch: one iteration.
        walked: both networks on this batch, for the core states that enter the chunks.
        targets: constants of the iteration.
        config: of this algorithm.
        seed: keys how chunks are dealt to gradient steps.

    Returns:
        Metrics: means over the gradient steps, and which were skipped.
    """
    generator = torch.Generator().manual_seed(seed >> 1)
    acting = _deal(batch.policy, walked.policy_core, config.minibatches, generator)
    valuing = _deal(batch.critic, walked.critic_core, config.minibatches, generator)
    steps = [_policy_step(trained, batch, part, targets, config) for part in acting]
    steps += [_critic_step(trained, part, targets, config) for part in valuing]
    return finiteness.means(steps)


class _Part(NamedTuple):
    """Chunks of one gradient step; core_state: float32 [C, H] entering each of them."""

    unroll: batches.Unroll
    core_state: torch.Tensor


def _deal(
    unroll: batches.Unroll, core: torch.Tensor, number: int, generator: torch.Generator
) -> list[_Part]:
    """Deal the chunks at random to at most `number` parts; core: float32 [N, H]."""
    entering = unroll.entering(core)
    order = torch.randperm(entering.shape[0], generator=generator).to(entering.device)
    return [_Part(unroll.chunks(chosen), entering[chosen]) for chosen in order.chunk(number)]


def _policy_step(
    trained: Networks, batch: batches.Batch, part: _Part, targets: Targets, config: ImpalaConfig
) -> dict[str, torch.Tensor]:
    unroll = part.unroll
    row = unroll.action_row
    choices = categorical.Choices(batch.unavailable, batch.action, row)
    logits = trained.policy.unroll(unroll.inputs, unroll.keep, part.core_state)
    aims = policy_gradient.PolicyTargets(
        batch.behaviour_log_prob[row], targets.advantage[row], unroll.weight
    )
    loss, gradient = policy_gradient.policy_gradient(
        logits, choices, aims, config.policy_rho, config.entropy_coefficient
    )
    step = trained.policy_optimiser.descend(logits, gradient, loss.total)
    return {
        "policy_loss": loss.surrogate,
        "entropy": loss.entropy,
        "clip_fraction": loss.capped_fraction,
        "policy_gradient_norm": step.norm,
        "policy_skipped": step.skipped,
    }


def _critic_step(
    trained: Networks, part: _Part, targets: Targets, config: ImpalaConfig
) -> dict[str, torch.Tensor]:
    unroll = part.unroll
    value = trained.critic.unroll(unroll.inputs, unroll.keep, part.core_state).squeeze(-1)
    target, scale = targets.value[unroll.action_row], config.value_coefficient
    loss, gradient = policy_gradient.value_gradient(value.detach(), target, unroll.weight)
    step = trained.critic_optimiser.descend(value, scale * gradient, scale * loss)
    return {
        "value_loss": loss,
        "critic_gradient_norm": step.norm,
        "critic_skipped": step.skipped,
    }
