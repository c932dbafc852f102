"""What one iteration knows before its first gradient step: values, targets, advantages.

Three ways to treat data of an older policy, with q the policy at the start of the iteration and b
the one that played (docs/algorithm.md): `none` takes the data for q's own, `decoupled` weighs each
row with q/b, `vtrace` does that and corrects what follows the row too. Used by
`learners.independent` and `learners.impala`.
"""

from typing import NamedTuple

import torch

from dm2_dist import networks
from dm2_dist.functional import categorical, gae, ppo, staleness, value_norm, vtrace
from dm2_dist.sections import PPOConfig
from learners import batch as batches
from learners import finiteness


class Walk(NamedTuple):
    """Policy and critic over all observations of a batch, before any gradient step.

    log_prob: float32 [R] log q of each action taken.
    policy_core: float32 [N, H] the policy's core state after each observation; of pieces of
        episodes [N + E, H], with what entered them last.
    value: float32 [N] V in normalised units.
    critic_core: of the critic, likewise.
    """

    log_prob: torch.Tensor
    policy_core: torch.Tensor
    value: torch.Tensor
    critic_core: torch.Tensor


class Estimate(NamedTuple):
    """Constants of an iteration, float32 [R] each, in units of the reward.

    advantage: how much better the action was than the policy; not normalised.
    target: what the critic is to predict.
    ratio: how much each row counts in the policy's loss.
    """

    advantage: torch.Tensor
    target: torch.Tensor
    ratio: torch.Tensor


@torch.no_grad()
def walk(
    policy: networks.RecurrentNetwork, critic: networks.RecurrentNetwork, batch: batches.Batch
) -> Walk:
    """Walk both networks along the episodes, without gradient.

    Args:
        policy: q.
        critic: of the same agent.
        batch: one iteration.
    """
    row = batch.rows.observation_row
    logits, policy_core = policy.walk(batch.inputs, batch.order, batch.policy_memory)
    taken = categorical.evaluate(logits[row], batch.unavailable, batch.action).taken
    outputs, critic_core = critic.walk(batch.inputs, batch.order, batch.critic_memory)
    return Walk(taken, policy_core, outputs.squeeze(-1), critic_core)


def for_ppo(
    batch: batches.Batch,
    reward: torch.Tensor,
    walked: Walk,
    statistics: value_norm.ValueStatistics,
    config: PPOConfig,
) -> Estimate:
    """Advantages, targets and weights of PPO.

    Args:
        batch: one iteration.
        reward: float32 [R] what is maximised.
        walked: both networks on this batch.
        statistics: units of the critic.
        config: of PPO; says what is done about data of an older policy.
    """
    value = value_norm.denormalise(statistics, walked.value)
    log_prob, behaviour = walked.log_prob, batch.behaviour_log_prob
    ratio = ppo.behaviour_ratio(log_prob, behaviour, config.max_behaviour_ratio)
    if config.lag_correction == "vtrace":
        trace = vtrace.Trace(config.discount, config.gae_lambda, config.trace_rho, config.trace_c)
        traced = vtrace.corrected(
            reward, value, batch.terminated, (log_prob - behaviour).exp(), batch.rows, trace
        )
        return Estimate(traced.advantage, traced.target, ratio)
    advantage = gae.advantages(
        reward, value, batch.terminated, batch.rows, config.discount, config.gae_lambda
    )
    target = advantage + value[batch.rows.observation_row]
    weight = torch.ones_like(ratio) if config.lag_correction == "none" else ratio
    return Estimate(advantage, target, weight)


def units(statistics: value_norm.ValueStatistics, estimate: Estimate) -> value_norm.ValueStatistics:
    """The units of the critic with the targets of this iteration folded in, if all are finite."""
    return finiteness.newer(statistics, value_norm.update(statistics, estimate.target))


def metrics(
    batch: batches.Batch,
    walked: Walk,
    estimate: Estimate,
    statistics: value_norm.ValueStatistics,
    cap: float,
) -> dict[str, torch.Tensor]:
    """How good the critic and how stale the data is, float32 [] each; the agent's living rows.

    Args:
        batch: one iteration.
        walked: both networks on this batch.
        estimate: made of these.
        statistics: units of the critic when it was walked.
        cap: where the ratio q/b is cut off.
    """
    log_ratio = walked.log_prob - batch.behaviour_log_prob
    value = value_norm.denormalise(statistics, walked.value)[batch.rows.observation_row]
    measured = staleness.measure(log_ratio, batch.alive, cap)
    return {
        "explained_variance": ppo.explained_variance(value, estimate.target),
        "log_prob_mismatch": log_ratio.abs().max(),
        "behaviour_ratio_mean": ppo.masked_mean(estimate.ratio, batch.alive),
        "behaviour_log_ratio_mean": measured.mean_abs_log_ratio,
        "behaviour_ratio_capped_fraction": measured.capped_fraction,
        "effective_sample_size": measured.effective_sample_size,
    }
