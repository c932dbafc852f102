"""Losses and gradients in one pass against automatic differentiation of the definition."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dm2_dist.functional import categorical, policy_gradient, ppo
from dm2_dist.functional.categorical import Choices

ACTION_ROWS = 50


def problem(shape, actions, seed, spread=1.0, alive=0.7):
    """Logits [*shape, A], choices in a longer table, and positive weights of some rows."""
    generator = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(*shape, actions, generator=generator)
    unavailable = torch.rand(ACTION_ROWS, actions, generator=generator) < 0.5
    action = torch.randint(actions, (ACTION_ROWS,), generator=generator)
    unavailable[torch.arange(ACTION_ROWS), action] = False
    row = torch.randint(ACTION_ROWS, shape, generator=generator)
    weight = (torch.rand(shape, generator=generator) < alive).float()
    return logits, Choices(unavailable, action, row), weight, generator


def taken(logits, choices):
    return categorical.of_choices(logits, choices).taken


def noise(weight, generator, size):
    return size * torch.randn(weight.shape, generator=generator)


def double(targets):
    return type(targets)(*(target.double() for target in targets))


def derivative(loss, inputs):
    (gradient,) = torch.autograd.grad(loss, inputs)
    return gradient.float()


def assert_close(ours, theirs):
    torch.testing.assert_close(ours, theirs.detach().float(), atol=1e-5, rtol=1e-5)


SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 30))
CASES = {
    "shape": SHAPES,
    "actions": st.sampled_from([1, 2, 5, 12, 17]),
    "seed": st.integers(0, 10_000),
    "spread": st.sampled_from([0.0, 1.0, 6.0]),
    "alive": st.sampled_from([0.0, 0.6, 1.0]),
    "moved": st.sampled_from([0.0, 0.05, 0.5]),
    "coefficient": st.sampled_from([0.0, 0.01, 1.0]),
}


def ppo_targets(logits, choices, weight, generator, moved):
    proximal = taken(logits, choices) + noise(weight, generator, moved)
    ratio = torch.rand(weight.shape, generator=generator) + 0.5
    return ppo.PolicyTargets(proximal, ratio, noise(weight, generator, 1.0), weight)


@settings(deadline=None, max_examples=60)
@given(clip=st.sampled_from([0.05, 0.2]), **CASES)
def test_the_clipped_policy(*, shape, actions, seed, spread, alive, moved, coefficient, clip):
    logits, choices, weight, generator = problem(shape, actions, seed, spread, alive)
    targets = ppo_targets(logits, choices, weight, generator, moved)
    loss, gradient = ppo.policy_gradient(logits, choices, targets, clip, coefficient)
    leaf = logits.double().requires_grad_()
    of_pi = categorical.of_choices(leaf, choices)
    expected = ppo.policy_loss(*of_pi, double(targets), clip, coefficient)
    for name, ours, theirs in zip(loss._fields, loss, expected, strict=True):
        # At the clip itself either side of it is right.
        if name != "clip_fraction" or moved > 0.0:
            assert_close(ours, theirs)
    assert_close(gradient, derivative(expected.total, leaf))
    assert not gradient[weight == 0.0].any()
    assert not gradient[choices.unavailable[choices.row]].any()


def test_rows_of_every_kind_are_among_the_cases():
    logits, choices, weight, generator = problem((9, 30), 5, 0)
    targets = ppo_targets(logits, choices, weight, generator, 0.5)
    ratio = (taken(logits, choices) - targets.proximal_log_prob).exp()
    for outside in (ratio > 1.2, ratio < 0.8, (ratio > 0.8) & (ratio < 1.2)):
        for gains in (targets.advantage > 0, targets.advantage < 0):
            assert (outside & gains & (weight > 0)).any()


@settings(deadline=None, max_examples=60)
@given(maximum=st.sampled_from([0.7, 1.0, 5.0]), **CASES)
def test_the_weighted_policy(*, shape, actions, seed, spread, alive, moved, coefficient, maximum):
    logits, choices, weight, generator = problem(shape, actions, seed, spread, alive)
    behaviour = taken(logits, choices) + noise(weight, generator, moved)
    targets = policy_gradient.PolicyTargets(behaviour, noise(weight, generator, 1.0), weight)
    arguments = (maximum, coefficient)
    loss, gradient = policy_gradient.policy_gradient(logits, choices, targets, *arguments)
    leaf = logits.double().requires_grad_()
    of_pi = categorical.of_choices(leaf, choices)
    expected = policy_gradient.policy_loss(*of_pi, double(targets), *arguments)
    for ours, theirs in zip(loss, expected, strict=True):
        assert_close(ours, theirs)
    assert_close(gradient, derivative(expected.total, leaf))
    assert not gradient[weight == 0.0].any()


@settings(deadline=None, max_examples=60)
@given(
    shape=SHAPES,
    seed=st.integers(0, 10_000),
    clip=st.sampled_from([0.05, 0.5]),
    delta=st.sampled_from([0.3, 1.0, 10.0]),
    alive=st.sampled_from([0.0, 0.6, 1.0]),
)
def test_the_values(shape, seed, clip, delta, alive):
    generator = torch.Generator().manual_seed(seed)
    value, start, target = torch.randn(3, *shape, generator=generator)
    weight = (torch.rand(shape, generator=generator) < alive).float()
    targets = ppo.ValueTargets(start, target, weight)
    loss, gradient = ppo.value_gradient(value, targets, clip, delta)
    leaf = value.double().requires_grad_()
    expected = ppo.value_loss(leaf, double(targets), clip, delta)
    assert_close(loss, expected)
    assert_close(gradient, derivative(expected, leaf))
    loss, gradient = policy_gradient.value_gradient(value, target, weight)
    expected = policy_gradient.value_loss(leaf, target.double(), weight.double())
    assert_close(loss, expected)
    assert_close(gradient, derivative(expected, leaf))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["logits", "proximal_log_prob", "advantage", "behaviour_ratio"])
def test_a_number_that_is_not_finite_shows_in_the_loss(bad, where):
    logits, choices, weight, generator = problem((4, 6), 3, 1, alive=1.0)
    targets = ppo_targets(logits, choices, weight, generator, 0.1)
    targets.advantage[2, 3] = -1.0
    if where == "logits":
        logits[2, 3, choices.action[choices.row[2, 3]]] = bad
    else:
        getattr(targets, where)[2, 3] = -bad if where == "proximal_log_prob" else bad
    loss, _ = ppo.policy_gradient(logits, choices, targets, 0.2, 0.01)
    assert not loss.total.isfinite()


@pytest.mark.parametrize("where", ["value", "start", "target"])
def test_a_value_that_is_not_a_number_shows_in_the_loss(where):
    tensors = {name: torch.zeros(7) for name in ("value", "start", "target")}
    tensors[where][4] = torch.nan
    targets = ppo.ValueTargets(tensors["start"], tensors["target"], torch.ones(7))
    assert ppo.value_gradient(tensors["value"], targets, 0.2, 1.0)[0].isnan()


def test_a_single_legal_action_moves_nothing():
    logits, choices, weight, generator = problem((5, 8), 4, 2, alive=1.0)
    only = torch.ones_like(choices.unavailable)
    only[torch.arange(ACTION_ROWS), choices.action] = False
    choices = choices._replace(unavailable=only)
    targets = ppo_targets(logits, choices, weight, generator, 0.3)
    loss, gradient = ppo.policy_gradient(logits, choices, targets, 0.2, 0.5)
    assert float(loss.entropy) == 0.0
    assert not gradient.any()


def test_the_same_bits_every_time():
    logits, choices, weight, generator = problem((9, 30), 12, 3)
    targets = ppo_targets(logits, choices, weight, generator, 0.3)
    first, second = (ppo.policy_gradient(logits, choices, targets, 0.1, 0.01) for _ in range(2))
    assert torch.equal(first[1], second[1])
    assert torch.equal(torch.stack(first[0]), torch.stack(second[0]))
