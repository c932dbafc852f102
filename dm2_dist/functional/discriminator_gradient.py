"""Gradient of the discriminator loss, penalty included, in closed form.

The network is f(x) = w3 . h2 + b3, h2 = tanh(W2 h1 + b2), h1 = tanh(W1 x + b1), and its slope is

    g(x) = W1' u1,   u1 = s1 * v1,   v1 = W2' u2,   u2 = s2 * w3,   s1 = 1 - h1^2,   s2 = 1 - h2^2.

The loss is mean softplus(-f(expert)) + mean softplus(f(agent)) + weight * mean (|g(mixed)| - 1)^2.
Twice automatic differentiation of the penalty costs more than writing its few products out. A mixed
row is a convex combination of an expert row and an agent row, hence so is W1 x: it needs no product
of its own.
"""

from typing import NamedTuple

import torch

from dm2_dist.functional import activation, discriminator_tiles, gail
from dm2_dist.functional.discriminator_tiles import DiscriminatorParameters, Draw

__all__ = ["DiscriminatorParameters", "Draw", "logit", "loss_and_gradient", "whole"]

# A slope of exactly zero has no direction; the penalty then contributes no gradient.
_NORM_FLOOR = 1e-12


def logit(p: DiscriminatorParameters, observation: torch.Tensor) -> torch.Tensor:
    """f(x), float32 [n], of observations, float32 [n, O]."""
    h1 = activation.tanh_(torch.addmm(p.bias_1, observation, p.weight_1.t()))
    return _output(p, activation.tanh_(torch.addmm(p.bias_2, h1, p.weight_2.t())))


@torch.no_grad()
def loss_and_gradient(
    p: DiscriminatorParameters, draw: Draw, penalty_weight: float
) -> tuple[gail.DiscriminatorLoss, DiscriminatorParameters]:
    """The loss at `p` and its gradient.

    Args:
        p: parameters.
        draw: rows of both sides.
        penalty_weight: of the gradient penalty.
    """
    if draw.alpha.device.type == "cpu" and draw.alpha.dtype == torch.float32:
        return _in_tiles(p, draw, penalty_weight)
    return whole(p, draw, penalty_weight)


def _in_tiles(
    p: DiscriminatorParameters, draw: Draw, penalty_weight: float
) -> tuple[gail.DiscriminatorLoss, DiscriminatorParameters]:
    sums, penalty, gradient = discriminator_tiles.gradient(p, draw, penalty_weight)
    rows = torch.tensor([draw.expert_row.shape[0], draw.agent_row.shape[0]])
    (expert_loss, expert_logit, _), (agent_loss, agent_logit, _) = sums / rows[:, None]
    classification = expert_loss + agent_loss
    accuracy = sums[:, 2].sum() / rows.sum()
    total = classification + penalty_weight * penalty
    of_penalty = torch.tensor(penalty)
    fields = (total, classification, of_penalty, accuracy, expert_logit, agent_logit)
    return gail.DiscriminatorLoss(*torch.stack(fields).to(torch.float32).unbind()), gradient


@torch.no_grad()
def whole(
    p: DiscriminatorParameters, draw: Draw, penalty_weight: float
) -> tuple[gail.DiscriminatorLoss, DiscriminatorParameters]:
    """The same in whole-batch operations, for devices with a memory of their own.

    Args:
        p: parameters.
        draw: rows of both sides.
        penalty_weight: of the gradient penalty.
    """
    n, q = draw.expert_row.shape[0], draw.alpha.shape[0]
    observation = torch.cat([draw.expert[draw.expert_row], draw.agent[draw.agent_row]])
    before_1 = torch.addmm(p.bias_1, observation, p.weight_1.t())
    mixed_1 = before_1[n : n + q] + draw.alpha * (before_1[:q] - before_1[n : n + q])
    penalty = _penalty(p, mixed_1, penalty_weight)
    h1 = activation.tanh_(before_1)
    h2 = activation.tanh_(torch.addmm(p.bias_2, h1, p.weight_2.t()))
    logits = _output(p, h2)
    grad_logits = _logit_gradient(logits, n)
    grad_2 = grad_logits[:, None] * p.weight_3
    activation.tanh_backward(grad_2, h2, out=grad_2)
    grad_1 = grad_2 @ p.weight_2
    activation.tanh_backward(grad_1, h1, out=grad_1)
    weight_2 = penalty.weight_2.addmm_(grad_2.t(), h1)
    of_expert = penalty.mixed_1 * draw.alpha
    grad_1[:q] += of_expert
    grad_1[n : n + q] += penalty.mixed_1.sub_(of_expert)
    gradient = DiscriminatorParameters(
        weight_1=penalty.weight_1.addmm_(grad_1.t(), observation),
        bias_1=grad_1.sum(0),
        weight_2=weight_2,
        bias_2=penalty.bias_2 + grad_2.sum(0),
        weight_3=penalty.weight_3.addmm_(grad_logits[None], h2),
        bias_3=grad_logits.sum().view(1),
    )
    return _loss(logits, n, penalty.value, penalty_weight), gradient


class _Penalty(NamedTuple):
    """value: float32 [] without weight; the rest is the gradient of the weighted penalty.

    mixed_1: float32 [q, H] with respect to W1 x + b1 of the mixed rows.
    weight_1, weight_2, bias_2, weight_3: as in `DiscriminatorParameters`, without what flows
    through mixed_1.
    """

    value: torch.Tensor
    mixed_1: torch.Tensor
    weight_1: torch.Tensor
    weight_2: torch.Tensor
    bias_2: torch.Tensor
    weight_3: torch.Tensor


def _penalty(p: DiscriminatorParameters, mixed_1: torch.Tensor, weight: float) -> _Penalty:
    """The penalty on mixed rows.

    Args:
        p: parameters.
        mixed_1: float32 [q, H] W1 x + b1; overwritten.
        weight: of the penalty in the loss.
    """
    h1 = activation.tanh_(mixed_1)
    h2 = activation.tanh_(torch.addmm(p.bias_2, h1, p.weight_2.t()))
    s1, s2 = _slope(h1), _slope(h2)
    u2 = s2 * p.weight_3
    v1 = u2 @ p.weight_2
    u1 = s1 * v1
    g = u1 @ p.weight_1
    norm = g.norm(dim=-1, keepdim=True)
    excess = norm - gail.TARGET_GRADIENT_NORM
    grad_g = g.mul_((2.0 * weight / g.shape[0]) * excess / norm.clamp_min(_NORM_FLOOR))
    # Back through g, u1, v1, u2, then through the slopes (ds/dh = -2h) to h2 and h1.
    grad_u1 = grad_g @ p.weight_1.t()
    grad_v1 = grad_u1 * s1
    grad_u2 = grad_v1 @ p.weight_2.t()
    weight_2 = u2.t() @ grad_v1
    weight_3 = s2.mul_(grad_u2).sum(0, keepdim=True)
    grad_2 = grad_u2.mul_(u2).mul_(h2).mul_(-2.0)
    grad_h1 = grad_u1.mul_(v1).mul_(h1).mul_(-2.0).addmm_(grad_2, p.weight_2)
    return _Penalty(
        value=excess.square().mean(),
        mixed_1=grad_h1.mul_(s1),
        weight_1=u1.t() @ grad_g,
        weight_2=weight_2.addmm_(grad_2.t(), h1),
        bias_2=grad_2.sum(0),
        weight_3=weight_3,
    )


def _slope(hidden: torch.Tensor) -> torch.Tensor:
    """1 - h^2."""
    return hidden.square().neg_().add_(1.0)


def _output(p: DiscriminatorParameters, h2: torch.Tensor) -> torch.Tensor:
    return torch.addmv(p.bias_3, h2, p.weight_3[0])


def _logit_gradient(logits: torch.Tensor, num_expert: int) -> torch.Tensor:
    """Derivative of the classification loss, float32 [n + m]: (D - label) / rows of that side."""
    gradient = torch.sigmoid(logits)
    gradient[:num_expert].sub_(1.0).div_(num_expert)
    gradient[num_expert:].div_(logits.shape[0] - num_expert)
    return gradient


def _loss(
    logits: torch.Tensor, num_expert: int, penalty: torch.Tensor, penalty_weight: float
) -> gail.DiscriminatorLoss:
    expert, agent = logits[:num_expert], logits[num_expert:]
    classification = gail.classification_loss(expert, agent)
    right = (expert > 0.0).sum() + (agent < 0.0).sum()
    return gail.DiscriminatorLoss(
        total=classification + penalty_weight * penalty,
        classification=classification,
        penalty=penalty,
        accuracy=right / logits.shape[0],
        logit_expert_mean=expert.mean(),
        logit_agent_mean=agent.mean(),
    )
