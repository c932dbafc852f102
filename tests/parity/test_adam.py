import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dm2_dist.functional import adam

WAYS = [adam.update, adam.update_by_operations]


def zeros(size):
    return adam.Flat(*torch.zeros(3, size), torch.zeros(()))


def gradients(size, number, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(number, size, generator=generator)


@settings(deadline=None, max_examples=30)
@given(
    size=st.sampled_from([1, 15, 1024, 1025, 5000]),
    steps=st.integers(1, 12),
    scale=st.sampled_from([1e-6, 1e-2, 1.0, 1e4]),
    max_norm=st.sampled_from([0.05, 10.0, math.inf]),
    epsilon=st.sampled_from([1e-8, 1e-5]),
    seed=st.integers(0, 1000),
)
@pytest.mark.parametrize("way", WAYS)
def test_steps_are_those_of_the_framework(way, size, steps, scale, max_norm, epsilon, seed):
    parameter = torch.nn.Parameter(torch.zeros(size))
    optimiser = torch.optim.Adam([parameter], lr=3e-3, eps=epsilon)
    flat, settings_ = zeros(size), adam.Settings(3e-3, epsilon, max_norm)
    for gradient in gradients(size, steps, scale, seed):
        norm, skipped = way(flat, gradient, torch.ones(()), settings_)
        parameter.grad = gradient.clone()
        expected = torch.nn.utils.clip_grad_norm_([parameter], max_norm)
        optimiser.step()
        torch.testing.assert_close(norm, expected, atol=0.0, rtol=1e-5)
        assert float(skipped) == 0.0
    state = optimiser.state[parameter]
    assert float(flat.step) == float(state["step"]) == steps
    torch.testing.assert_close(flat.parameters, parameter.detach(), atol=1e-6, rtol=1e-5)
    for ours, theirs in ((flat.first_moment, "exp_avg"), (flat.second_moment, "exp_avg_sq")):
        largest = float(state[theirs].abs().max())
        torch.testing.assert_close(ours, state[theirs], atol=1e-6 * largest, rtol=1e-5)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_what_is_not_finite_changes_nothing(way, bad, where):
    flat, settings_ = zeros(40), adam.Settings(1e-2, 1e-8, 1.0)
    way(flat, torch.ones(40), torch.ones(()), settings_)
    before = [tensor.clone() for tensor in flat]
    gradient = torch.ones(40)
    if where == "gradient":
        gradient[7] = bad
    loss = torch.tensor(bad if where == "loss" else 1.0)
    assert float(way(flat, gradient, loss, settings_)[1]) == 1.0
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(flat, before, strict=True))
