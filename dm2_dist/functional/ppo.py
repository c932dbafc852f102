"""PPO with decoupled policies and clipped values (Schulman et al. 2017; Hilton et al. 2021).

Three policies: b (behaviour) played, q (proximal) is the policy at the start of the iteration, pi
is optimised. The objective is E[(q/b) min(r A, clip(r, 1 - eps, 1 + eps) A)] with r = pi/q; with
b = q it is plain PPO. Means run over rows of weight 1: the agent's living rows for the policy, all
rows for the value.
"""

from typing import NamedTuple

import torch
from torch import nn

from dm2_dist.functional import categorical, loss_kernels

_STD_EPSILON = 1e-5


class PolicyTargets(NamedTuple):
    """Constants of one iteration, all float32 of one shape [...].

    proximal_log_prob: log q of the action taken.
    behaviour_ratio: q/b, capped.
    advantage: normalised.
    weight: 1 where the row counts, else 0.
    """

    proximal_log_prob: torch.Tensor
    behaviour_ratio: torch.Tensor
    advantage: torch.Tensor
    weight: torch.Tensor


class PolicyLoss(NamedTuple):
    """Scalars, float32 []; `total` is what is minimised."""

    total: torch.Tensor
    surrogate: torch.Tensor
    entropy: torch.Tensor
    approx_kl: torch.Tensor
    clip_fraction: torch.Tensor


class ValueTargets(NamedTuple):
    """Constants of one iteration, all float32 of one shape [...], in normalised units.

    value: V of the critic at the start of the iteration.
    target: normalised return.
    weight: 1 where the row counts, else 0.
    """

    value: torch.Tensor
    target: torch.Tensor
    weight: torch.Tensor


def masked_mean(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mean of `values` [...] over the rows of `weight` [...] 1; zero if there is none."""
    return (values * weight).sum() / weight.sum().clamp_min(1.0)


def normalise_advantage(advantage: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mean 0 and (unbiased) standard deviation 1 over the rows that count.

    Args:
        advantage: float32 [...].
        weight: float32 [...] 1 where the row counts.
    """
    assert advantage.shape == weight.shape, (advantage.shape, weight.shape)
    centred = advantage - masked_mean(advantage, weight)
    variance = (centred.square() * weight).sum() / (weight.sum() - 1.0).clamp_min(1.0)
    return centred / (variance.sqrt() + _STD_EPSILON)


def behaviour_ratio(
    proximal_log_prob: torch.Tensor, behaviour_log_prob: torch.Tensor, maximum: float
) -> torch.Tensor:
    """min(q/b, maximum), float32 [...]: how much the data of a lagging policy counts.

    Args:
        proximal_log_prob: float32 [...] log q.
        behaviour_log_prob: float32 [...] log b.
        maximum: the cap that bounds the variance.
    """
    return (proximal_log_prob - behaviour_log_prob).exp().clamp_max(maximum)


def policy_loss(
    log_prob: torch.Tensor,
    entropy: torch.Tensor,
    targets: PolicyTargets,
    clip: float,
    entropy_coefficient: float,
) -> PolicyLoss:
    """The decoupled clipped surrogate, its entropy bonus, and diagnostics.

    Args:
        log_prob: float32 [...] log pi of the action taken.
        entropy: float32 [...] entropy of pi.
        targets: constants of the iteration, [...].
        clip: eps.
        entropy_coefficient: weight of the entropy bonus.
    """
    assert log_prob.shape == targets.weight.shape, (log_prob.shape, targets.weight.shape)
    log_ratio = log_prob - targets.proximal_log_prob
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1.0 - clip, 1.0 + clip)
    gain = torch.minimum(ratio * targets.advantage, clipped * targets.advantage)
    surrogate = -masked_mean(targets.behaviour_ratio * gain, targets.weight)
    mean_entropy = masked_mean(entropy, targets.weight)
    with torch.no_grad():
        outside = ((ratio - 1.0).abs() > clip).to(ratio.dtype)
        clip_fraction = masked_mean(outside, targets.weight)
        approx_kl = masked_mean(ratio - 1.0 - log_ratio, targets.weight)
    total = surrogate - entropy_coefficient * mean_entropy
    return PolicyLoss(total, surrogate.detach(), mean_entropy.detach(), approx_kl, clip_fraction)


def policy_gradient(
    logits: torch.Tensor,
    choices: categorical.Choices,
    targets: PolicyTargets,
    clip: float,
    entropy_coefficient: float,
) -> tuple[PolicyLoss, torch.Tensor]:
    """`policy_loss` of the policy that the logits describe, and its gradient, float32 [..., A].

    Args:
        logits: float32 [..., A], contiguous; not differentiated through.
        choices: what was legal and what was done.
        targets: constants of the iteration, [...].
        clip: eps.
        entropy_coefficient: weight of the entropy bonus.
    """
    if logits.device.type != "cpu":
        leaf = logits.detach().requires_grad_()
        taken, entropy = categorical.of_choices(leaf, choices)
        loss = policy_loss(taken, entropy, targets, clip, entropy_coefficient)
        (gradient,) = torch.autograd.grad(loss.total, leaf)
        return loss._replace(total=loss.total.detach()), gradient
    assert logits.shape[:-1] == targets.weight.shape, (logits.shape, targets.weight.shape)
    gradient, means = torch.empty_like(logits), torch.empty(4, dtype=torch.float64)
    num_actions = logits.shape[-1]
    loss_kernels.clipped_policy(
        logits.detach().view(-1, num_actions).numpy(),
        choices.unavailable.numpy(),
        choices.action.numpy(),
        choices.row.view(-1).numpy(),
        targets.proximal_log_prob.view(-1).numpy(),
        targets.behaviour_ratio.view(-1).numpy(),
        targets.advantage.view(-1).numpy(),
        targets.weight.view(-1).numpy(),
        clip,
        entropy_coefficient,
        torch.empty(num_actions).numpy(),
        gradient.view(-1, num_actions).numpy(),
        means.numpy(),
    )
    surrogate, entropy, divergence, outside = means.to(torch.float32).unbind()
    total = surrogate - entropy_coefficient * entropy
    return PolicyLoss(total, surrogate, entropy, divergence, outside), gradient


def huber(error: torch.Tensor, delta: float) -> torch.Tensor:
    """Huber's loss of errors [...]: e^2 / 2 up to |e| = delta, then delta * (|e| - delta / 2)."""
    return nn.functional.huber_loss(error, torch.zeros_like(error), reduction="none", delta=delta)


def value_loss(
    value: torch.Tensor, targets: ValueTargets, clip: float, huber_delta: float
) -> torch.Tensor:
    """Mean of the larger of the unclipped and the clipped Huber loss, float32 [].

    Args:
        value: float32 [...] V in normalised units.
        targets: constants of the iteration, [...].
        clip: eps, how far V may move from its value at the start of the iteration.
        huber_delta: width of the quadratic part.
    """
    assert value.shape == targets.weight.shape, (value.shape, targets.weight.shape)
    clipped = targets.value + (value - targets.value).clamp(-clip, clip)
    larger = torch.maximum(
        huber(targets.target - value, huber_delta), huber(targets.target - clipped, huber_delta)
    )
    return masked_mean(larger, targets.weight)


def value_gradient(
    value: torch.Tensor, targets: ValueTargets, clip: float, huber_delta: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """`value_loss`, float32 [], and its gradient, float32 [...].

    Args:
        value: float32 [...] V in normalised units, contiguous; not differentiated through.
        targets: constants of the iteration, [...].
        clip: eps, how far V may move from its value at the start of the iteration.
        huber_delta: width of the quadratic part.
    """
    if value.device.type != "cpu":
        leaf = value.detach().requires_grad_()
        loss = value_loss(leaf, targets, clip, huber_delta)
        (gradient,) = torch.autograd.grad(loss, leaf)
        return loss.detach(), gradient
    assert value.shape == targets.weight.shape, (value.shape, targets.weight.shape)
    gradient = torch.empty_like(value)
    mean = loss_kernels.clipped_value(
        value.detach().view(-1).numpy(),
        targets.value.view(-1).numpy(),
        targets.target.view(-1).numpy(),
        targets.weight.view(-1).numpy(),
        clip,
        huber_delta,
        gradient.view(-1).numpy(),
    )
    return torch.tensor(mean), gradient


def explained_variance(value: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """1 - Var[target - value] / Var[target], float32 []; zero if the targets are constant.

    Args:
        value: float32 [R].
        target: float32 [R].
    """
    variance = target.var(correction=0)
    explained = 1.0 - (target - value).var(correction=0) / variance
    return torch.where(variance > 0.0, explained, torch.zeros_like(explained))
