"""Gradient of the discriminator loss, penalty included, in closed form.

The network is f(x) = w3 . h2 + b3, h2 = tanh(W2 h1 + b2), h1 = tanh(W1 x + b1), and its slope is

    g(x) = W1' u1,   u1 = s1 * v1,   v1 = W2' u2,   u2 = s2 * w3,   s1 = 1 - h1^2,   s2 = 1 - h2^2.

The loss is mean softplus(-f(expert)) + mean softplus(f(agent)) + weight * mean (|g(mixed)| - 1)^2.
Twice automatic differentiation of the penalty costs more than writing its few products out. A mixed
row is a convex combination of an expert row and an agent row, hence so is W1 x: it needs no product
of its own.
"""

import torch

from dm2_dist.functional import activation, discriminator_tiles, gail
from dm2_dist.functional.discriminator_tiles import DiscriminatorParameters, Draw

__all__ = ["DiscriminatorParameters", "Draw", "logit", "loss_and_gradient"]


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
    sums, penalty, gradient = discriminator_tiles.gradient(p, draw, penalty_weight)
    rows = torch.tensor([draw.expert_row.shape[0], draw.agent_row.shape[0]])
    (expert_loss, expert_logit, _), (agent_loss, agent_logit, _) = sums / rows[:, None]
    classification = expert_loss + agent_loss
    accuracy = sums[:, 2].sum() / rows.sum()
    total = classification + penalty_weight * penalty
    of_penalty = torch.tensor(penalty)
    fields = (total, classification, of_penalty, accuracy, expert_logit, agent_logit)
    return gail.DiscriminatorLoss(*torch.stack(fields).to(torch.float32).unbind()), gradient


def _output(p: DiscriminatorParameters, h2: torch.Tensor) -> torch.Tensor:
    return torch.addmv(p.bias_3, h2, p.weight_3[0])
