"""The gradient of the discriminator loss in operations on whole draws, with rows that do not count.

The mathematics is that of `functional.discriminator_gradient`. The numbers of rows lie on the
device, so that draws of different sizes are tensors of one shape: behind what counts come rows that
weigh nothing. For devices with a memory of their own; used by `learners.padded_imitation`.
"""

from typing import NamedTuple

import torch
from torch import nn

from dm2_dist.functional import activation, gail
from dm2_dist.functional.discriminator_tiles import DiscriminatorParameters

# A slope of exactly zero has no direction; the penalty then contributes no gradient.
_NORM_FLOOR = 1e-12


class PaddedDraw(NamedTuple):
    """Rows of one gradient step; what is behind the first `counts` of them must be finite.

    expert: float32 [n, O] the expert's observations.
    agent: float32 [m, O] the agent's.
    alpha: float32 [q, 1] share of the expert in mixed row i, which joins the i-th row of either
        side; q is at most min(n, m).
    counts: float32 [3] rows that count of the expert, of the agent, and mixed; at least 1 each.
    """

    expert: torch.Tensor
    agent: torch.Tensor
    alpha: torch.Tensor
    counts: torch.Tensor


@torch.no_grad()
def loss_and_gradient(
    p: DiscriminatorParameters, draw: PaddedDraw, penalty_weight: float
) -> tuple[gail.DiscriminatorLoss, DiscriminatorParameters]:
    """The loss at `p` and its gradient.

    Args:
        p: parameters.
        draw: rows of both sides.
        penalty_weight: of the gradient penalty.
    """
    n, q = draw.expert.shape[0], draw.alpha.shape[0]
    observation = torch.cat([draw.expert, draw.agent])
    share = _shares(draw)
    before_1 = torch.addmm(p.bias_1, observation, p.weight_1.t())
    mixed_1 = before_1[n : n + q] + draw.alpha * (before_1[:q] - before_1[n : n + q])
    penalty = _penalty(p, mixed_1, share.mixed, penalty_weight)
    h1 = activation.tanh_(before_1)
    h2 = activation.tanh_(torch.addmm(p.bias_2, h1, p.weight_2.t()))
    logits = torch.addmv(p.bias_3, h2, p.weight_3[0])
    # Derivative of the classification loss: (D - label) / rows of that side.
    grad_logits = torch.sigmoid(logits)
    grad_logits[:n].sub_(1.0)
    grad_logits *= share.sides
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
    return _loss(logits, draw, share, penalty.value, penalty_weight), gradient


class _Shares(NamedTuple):
    """What each row weighs in its mean: sides float32 [n + m], mixed float32 [q]."""

    sides: torch.Tensor
    mixed: torch.Tensor


def _shares(draw: PaddedDraw) -> _Shares:
    def share(side: int, rows: int) -> torch.Tensor:
        count = draw.counts[side]
        return (torch.arange(rows, device=count.device) < count) / count

    expert, agent = share(0, draw.expert.shape[0]), share(1, draw.agent.shape[0])
    return _Shares(torch.cat([expert, agent]), share(2, draw.alpha.shape[0]))


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


def _penalty(
    p: DiscriminatorParameters, mixed_1: torch.Tensor, share: torch.Tensor, weight: float
) -> _Penalty:
    """The penalty on mixed rows.

    Args:
        p: parameters.
        mixed_1: float32 [q, H] W1 x + b1; overwritten.
        share: float32 [q] of each row in the mean.
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
    factor = excess * (2.0 * weight * share[:, None]) / norm.clamp_min(_NORM_FLOOR)
    grad_g = g.mul_(factor)
    # Back through g, u1, v1, u2, then through the slopes (ds/dh = -2h) to h2 and h1.
    grad_u1 = grad_g @ p.weight_1.t()
    grad_v1 = grad_u1 * s1
    grad_u2 = grad_v1 @ p.weight_2.t()
    weight_2 = u2.t() @ grad_v1
    weight_3 = s2.mul_(grad_u2).sum(0, keepdim=True)
    grad_2 = grad_u2.mul_(u2).mul_(h2).mul_(-2.0)
    grad_h1 = grad_u1.mul_(v1).mul_(h1).mul_(-2.0).addmm_(grad_2, p.weight_2)
    return _Penalty(
        value=excess.square().squeeze(-1) @ share,
        mixed_1=grad_h1.mul_(s1),
        weight_1=u1.t() @ grad_g,
        weight_2=weight_2.addmm_(grad_2.t(), h1),
        bias_2=grad_2.sum(0),
        weight_3=weight_3,
    )


def _slope(hidden: torch.Tensor) -> torch.Tensor:
    """1 - h^2."""
    return hidden.square().neg_().add_(1.0)


def _loss(
    logits: torch.Tensor,
    draw: PaddedDraw,
    share: _Shares,
    penalty: torch.Tensor,
    penalty_weight: float,
) -> gail.DiscriminatorLoss:
    n = draw.expert.shape[0]
    of_expert, of_agent = share.sides[:n], share.sides[n:]
    expert, agent = logits[:n], logits[n:]
    softplus = nn.functional.softplus
    classification = softplus(-expert) @ of_expert + softplus(agent) @ of_agent
    count = draw.counts[:2]
    positive, negative = (expert > 0.0).to(expert.dtype), (agent < 0.0).to(agent.dtype)
    right = positive @ of_expert, negative @ of_agent
    return gail.DiscriminatorLoss(
        total=classification + penalty_weight * penalty,
        classification=classification,
        penalty=penalty,
        accuracy=torch.stack(right) @ count / count.sum(),
        logit_expert_mean=expert @ of_expert,
        logit_agent_mean=agent @ of_agent,
    )
