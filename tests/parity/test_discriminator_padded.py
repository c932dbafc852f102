"""Rows that do not count change nothing, and what is left is the loss and its gradient."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dm2_dist.functional import discriminator_padded, gail
from dm2_dist.functional.discriminator_padded import PaddedDraw
from dm2_dist.functional.discriminator_tiles import DiscriminatorParameters

OBSERVATION, HIDDEN = 7, 5


def noise(generator, *shape):
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def parameters(generator):
    shapes = [(HIDDEN, OBSERVATION), (HIDDEN,), (HIDDEN, HIDDEN), (HIDDEN,), (1, HIDDEN), (1,)]
    return DiscriminatorParameters(*(0.6 * noise(generator, *shape) for shape in shapes))


def logit(p, x):
    h1 = torch.tanh(x @ p.weight_1.T + p.bias_1)
    return (torch.tanh(h1 @ p.weight_2.T + p.bias_2) @ p.weight_3.T + p.bias_3).squeeze(-1)


def by_automatic_differentiation(p, expert, agent, alpha, weight):
    p = DiscriminatorParameters(*(tensor.clone().requires_grad_() for tensor in p))
    q = alpha.shape[0]
    mixed = gail.interpolate(expert[:q], agent[:q], alpha).requires_grad_()
    (slope,) = torch.autograd.grad(logit(p, mixed).sum(), mixed, create_graph=True)
    of_expert, of_agent = logit(p, expert), logit(p, agent)
    classification = gail.classification_loss(of_expert, of_agent)
    penalty = gail.gradient_penalty(slope)
    (classification + weight * penalty).backward()
    right = (of_expert > 0.0).sum() + (of_agent < 0.0).sum()
    loss = gail.DiscriminatorLoss(
        total=classification + weight * penalty,
        classification=classification,
        penalty=penalty,
        accuracy=right / (expert.shape[0] + agent.shape[0]),
        logit_expert_mean=of_expert.mean(),
        logit_agent_mean=of_agent.mean(),
    )
    return loss, [tensor.grad for tensor in p]


sizes = st.integers(1, 40)
behind = st.integers(0, 9)


@settings(max_examples=40, deadline=None)
@given(sizes, sizes, behind, behind, st.sampled_from([0.0, 10.0]), st.integers(0, 99))
def test_gradient_matches_automatic_differentiation(n, m, more_n, more_m, weight, seed):
    generator = torch.Generator().manual_seed(seed)
    p, q = parameters(generator), min(n, m)
    expert = noise(generator, n + more_n, OBSERVATION)
    agent = noise(generator, m + more_m, OBSERVATION)
    room = min(n + more_n, m + more_m)
    alpha = torch.rand(room, 1, generator=generator, dtype=torch.float64)
    counts = torch.tensor([n, m, q], dtype=torch.float64)
    loss, gradient = discriminator_padded.loss_and_gradient(
        p, PaddedDraw(expert, agent, alpha, counts), weight
    )
    expected, gradients = by_automatic_differentiation(p, expert[:n], agent[:m], alpha[:q], weight)
    for name in gail.DiscriminatorLoss._fields:
        value, other = getattr(loss, name), getattr(expected, name).detach()
        assert float(value) == pytest.approx(float(other), abs=1e-6), name
    for ours, theirs in zip(gradient, gradients, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-6)
