import math

import numpy as np
import pytest
import torch
from torch import nn

from dm2_dist import networks
from dm2_dist.functional import categorical, episodes
from dm2_dist.sections import NetworkConfig
from dm2_dist.trajectory import Slice

OBSERVATION, ACTIONS, AGENTS, HIDDEN = 55, 12, 5, 64
INPUT = OBSERVATION + ACTIONS + AGENTS


@pytest.fixture
def policy():
    return networks.make_policy(INPUT, ACTIONS, NetworkConfig(), seed=0, agent=0)


@pytest.fixture
def critic():
    return networks.make_critic(INPUT, NetworkConfig(), seed=0, agent=0)


def shake(network):
    """Move every parameter off its initial value, so that no scale is one and no shift zero."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)


def plain(network, inputs, keep, core_state):
    """The network as a textbook would write it, one row at a time."""
    outputs = []
    for x, k in zip(inputs, keep, strict=True):
        hidden = network.norm_1(torch.relu(network.hidden_1(network.input_norm(x))))
        hidden = network.norm_2(torch.relu(network.hidden_2(hidden)))
        core_state = network.core(hidden, core_state * k)
        outputs.append(network.head(network.core_norm(core_state)))
    return torch.stack(outputs)


def test_a_policy_for_5m_vs_6m_has_35100_parameters(policy):
    assert sum(p.numel() for p in policy.parameters()) == 35_100


def test_hidden_layers_are_orthogonal_with_gain_sqrt_two(policy, critic):
    for network in (policy, critic):
        for layer in (network.hidden_1, network.hidden_2):
            values = torch.linalg.svdvals(layer.weight)
            torch.testing.assert_close(values, torch.full((HIDDEN,), math.sqrt(2.0)))


def test_stacked_recurrent_matrices_have_orthonormal_columns(policy, critic):
    for network in (policy, critic):
        for weight in (network.core.weight_ih, network.core.weight_hh):
            assert weight.shape == (3 * HIDDEN, HIDDEN)
            torch.testing.assert_close(weight.T @ weight, torch.eye(HIDDEN), atol=1e-5, rtol=0.0)


def test_heads_have_their_gain(policy, critic):
    values = torch.linalg.svdvals(policy.head.weight)
    torch.testing.assert_close(values, torch.full((ACTIONS,), 0.01))
    torch.testing.assert_close(torch.linalg.svdvals(critic.head.weight), torch.ones(1))


def test_biases_start_at_zero_and_norms_at_the_identity(policy, critic):
    for network in (policy, critic):
        for name, parameter in network.named_parameters():
            if "bias" in name:
                assert (parameter == 0.0).all(), name
            elif "norm" in name:
                assert (parameter == 1.0).all(), name


def test_a_fresh_policy_is_near_uniform_over_legal_actions(policy):
    generator = torch.Generator().manual_seed(1)
    inputs = networks.standardise(torch.rand(3, 20, INPUT, generator=generator))
    logits = policy.unroll(inputs, torch.ones(3, 20, 1), torch.zeros(20, HIDDEN))
    unavailable = torch.rand(3, 20, ACTIONS, generator=generator) < 0.5
    unavailable[..., 0] = False
    probability = categorical.log_probs(logits, unavailable).exp()
    uniform = (~unavailable) / (~unavailable).sum(-1, keepdim=True)
    assert float((probability - uniform).abs().max().detach()) < 0.02


def test_initialisation_depends_on_seed_purpose_and_agent_only():
    def heads(seed, agent):
        torch.rand(3)
        policy = networks.make_policy(INPUT, ACTIONS, NetworkConfig(), seed, agent)
        return policy.core.weight_hh.detach()

    assert torch.equal(heads(0, 0), heads(0, 0))
    assert not torch.equal(heads(0, 0), heads(0, 1))
    assert not torch.equal(heads(0, 0), heads(1, 0))
    critic = networks.make_critic(INPUT, NetworkConfig(), 0, 0)
    assert not torch.equal(heads(0, 0), critic.core.weight_hh)


def test_initialisation_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    networks.make_policy(INPUT, ACTIONS, NetworkConfig(), 0, 0)
    networks.make_discriminator(OBSERVATION, HIDDEN, 0, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_unroll_and_its_gradient_match_the_textbook_network(policy):
    shake(policy)
    generator = torch.Generator().manual_seed(2)
    inputs = torch.rand(6, 9, INPUT, generator=generator)
    keep = (torch.rand(6, 9, 1, generator=generator) > 0.2).float()
    core_state = torch.randn(9, HIDDEN, generator=generator)
    weight = torch.randn(6, 9, ACTIONS, generator=generator)
    results = []
    for function in (
        lambda: policy.unroll(networks.standardise(inputs), keep, core_state),
        lambda: plain(policy, inputs, keep, core_state),
    ):
        policy.zero_grad()
        outputs = function()
        (outputs * weight).mean().backward()
        results.append([outputs.detach(), *(p.grad.clone() for p in policy.parameters())])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_walk_equals_one_unroll_per_episode(policy):
    shake(policy)
    length = np.array([3, 7, 1, 7], dtype=np.int32)
    num_rows = int((length + 1).sum())
    inputs = networks.standardise(torch.rand(num_rows, INPUT))
    outputs, core_state = policy.walk(inputs, episodes.time_order(length))
    start = 0
    for steps in length + 1:
        rows = slice(start, start + int(steps))
        keep, zero = torch.ones(int(steps), 1, 1), torch.zeros(1, HIDDEN)
        expected = policy.unroll(inputs[rows, None], keep, zero)[:, 0].detach()
        torch.testing.assert_close(outputs[rows], expected, atol=1e-5, rtol=0.0)
        start += int(steps)
    assert core_state.shape == (num_rows, HIDDEN)


def make_slice():
    length = np.array([3, 2], dtype=np.int32)
    generator = np.random.default_rng(0)
    flags = np.ones(2, dtype=np.uint8)
    return Slice(
        observation=generator.random((7, 4), dtype=np.float32),
        available_actions=np.ones((7, 3), dtype=np.uint8),
        alive=np.ones(7, dtype=np.uint8),
        action=np.array([2, 0, 1, 1, 2], dtype=np.uint8),
        behaviour_log_prob=np.zeros(5, dtype=np.float32),
        reward=np.zeros(5, dtype=np.float32),
        length=length,
        terminated=flags,
        truncated=1 - flags,
        won=flags,
    )


def test_last_action_is_none_on_first_rows_and_the_previous_action_elsewhere():
    slice_ = make_slice()
    inputs = networks.network_input(slice_, agent=1, num_agents=2)
    last = inputs[:, 4:7]
    expected = [None, 2, 0, 1, None, 1, 2]
    for row, action in zip(last, expected, strict=True):
        assert row.sum() == (action is not None)
        assert action is None or row[action] == 1.0


def test_inputs_hold_own_observation_and_own_id():
    slice_ = make_slice()
    inputs = networks.network_input(slice_, agent=1, num_agents=2)
    assert inputs.shape == (7, 4 + 3 + 2)
    assert inputs.dtype == np.float32
    np.testing.assert_array_equal(inputs[:, :4], slice_.observation)
    np.testing.assert_array_equal(inputs[:, 7:], [[0.0, 1.0]] * 7)


def test_a_discriminator_starts_as_the_framework_would():
    discriminator = networks.make_discriminator(OBSERVATION, HIDDEN, seed=0, agent=0)
    for layer, fan_in in ((discriminator.hidden_1, 55), (discriminator.head, HIDDEN)):
        bound = 1.0 / math.sqrt(fan_in)
        reference = nn.Linear(fan_in, layer.out_features)
        for ours, theirs in zip(layer.parameters(), reference.parameters(), strict=True):
            assert ours.shape == theirs.shape
            assert float(ours.detach().abs().max()) <= bound
    spread = float(discriminator.hidden_1.weight.std().detach()) * math.sqrt(3 * 55)
    assert spread == pytest.approx(1.0, abs=0.05)


def test_core_state_carries_the_past(critic):
    inputs = networks.standardise(torch.rand(2, 1, INPUT))
    other = torch.stack([networks.standardise(torch.rand(1, INPUT)), inputs[1]])
    keep, zero = torch.ones(2, 1, 1), torch.zeros(1, HIDDEN)
    left, right = critic.unroll(inputs, keep, zero), critic.unroll(other, keep, zero)
    assert not torch.allclose(left[1], right[1])
