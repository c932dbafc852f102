"""The policy gradient of an actor-critic whose actors lag (Espeholt et al. 2018, section 4.2).

With mu the behaviour policy and A the one-step advantage on V-trace targets, the losses are

    policy: -min(rho, pi/mu) A log pi - coefficient * entropy        (neither ratio nor A move)
    value:  (v - V)^2 / 2.

Means run over rows of weight 1. Used by `learners.impala`.
"""

from typing import NamedTuple

import torch

from dm2_dist.functional import categorical, loss_kernels, staleness
from dm2_dist.functional.ppo import masked_mean


class PolicyTargets(NamedTuple):
    """Constants, all float32 of one shape [...].

    behaviour_log_prob: log mu of the action taken.
    advantage: r_t + g_t v_{t+1} - V(x_t), in the units of the critic.
    weight: 1 where the row counts, else 0.
    """

    behaviour_log_prob: torch.Tensor
    advantage: torch.Tensor
    weight: torch.Tensor


class PolicyLoss(NamedTuple):
    """Scalars, float32 []; `total` is what is minimised.

    capped_fraction: share of the rows whose ratio was above its cap.
    """

    total: torch.Tensor
    surrogate: torch.Tensor
    entropy: torch.Tensor
    capped_fraction: torch.Tensor


def policy_loss(
    log_prob: torch.Tensor,
    entropy: torch.Tensor,
    targets: PolicyTargets,
    maximum: float,
    entropy_coefficient: float,
) -> PolicyLoss:
    """The loss at the policy pi, whose ratio to mu is taken anew at every step.

    Args:
        log_prob: float32 [...] log pi of the action taken.
        entropy: float32 [...] entropy of pi.
        targets: constants, [...].
        maximum: rho, the cap of the ratio.
        entropy_coefficient: weight of the entropy bonus.
    """
    assert log_prob.shape == targets.weight.shape, (log_prob.shape, targets.weight.shape)
    ratio = (log_prob.detach() - targets.behaviour_log_prob).exp()
    surrogate = -masked_mean(
        ratio.clamp_max(maximum) * targets.advantage * log_prob, targets.weight
    )
    mean_entropy = masked_mean(entropy, targets.weight)
    capped = masked_mean(staleness.above(ratio, maximum), targets.weight)
    total = surrogate - entropy_coefficient * mean_entropy
    return PolicyLoss(total, surrogate.detach(), mean_entropy.detach(), capped)


def policy_gradient(
    logits: torch.Tensor,
    choices: categorical.Choices,
    targets: PolicyTargets,
    maximum: float,
    entropy_coefficient: float,
) -> tuple[PolicyLoss, torch.Tensor]:
    """`policy_loss` of the policy that the logits describe, and its gradient, float32 [..., A].

    Args:
        logits: float32 [..., A], contiguous; not differentiated through.
        choices: what was legal and what was done.
        targets: constants, [...].
        maximum: rho, the cap of the ratio.
        entropy_coefficient: weight of the entropy bonus.
    """
    if logits.device.type != "cpu":
        leaf = logits.detach().requires_grad_()
        taken, entropy = categorical.of_choices(leaf, choices)
        loss = policy_loss(taken, entropy, targets, maximum, entropy_coefficient)
        (gradient,) = torch.autograd.grad(loss.total, leaf)
        return loss._replace(total=loss.total.detach()), gradient
    assert logits.shape[:-1] == targets.weight.shape, (logits.shape, targets.weight.shape)
    gradient, ratio = torch.empty_like(logits), torch.empty_like(targets.weight)
    means = torch.empty(2, dtype=torch.float64)
    num_actions = logits.shape[-1]
    loss_kernels.weighted_policy(
        logits.detach().view(-1, num_actions).numpy(),
        choices.unavailable.numpy(),
        choices.action.numpy(),
        choices.row.view(-1).numpy(),
        targets.behaviour_log_prob.view(-1).numpy(),
        targets.advantage.view(-1).numpy(),
        targets.weight.view(-1).numpy(),
        maximum,
        entropy_coefficient,
        torch.empty(num_actions).numpy(),
        gradient.view(-1, num_actions).numpy(),
        ratio.view(-1).numpy(),
        means.numpy(),
    )
    surrogate, entropy = means.to(torch.float32).unbind()
    capped = masked_mean(staleness.above(ratio, maximum), targets.weight)
    total = surrogate - entropy_coefficient * entropy
    return PolicyLoss(total, surrogate, entropy, capped), gradient


def value_loss(value: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mean of (v - V)^2 / 2, float32 [].

    Args:
        value: float32 [...] V in normalised units.
        target: float32 [...] v in normalised units.
        weight: float32 [...] 1 where the row counts.
    """
    assert value.shape == target.shape, (value.shape, target.shape)
    return masked_mean((target - value).square(), weight) / 2.0


def value_gradient(
    value: torch.Tensor, target: torch.Tensor, weight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """`value_loss`, float32 [], and its gradient, float32 [...]; arguments as there."""
    gradient = (value - target) * (weight / weight.sum().clamp_min(1.0))
    return value_loss(value, target, weight), gradient
