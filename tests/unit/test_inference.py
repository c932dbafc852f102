import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dm2_dist import inference, networks
from dm2_dist.functional import categorical
from dm2_dist.inference import StackedPolicy
from dm2_dist.sections import NetworkConfig

OBSERVATION, ACTIONS, AGENTS, HIDDEN = 9, 6, 3, 64
INPUT = OBSERVATION + ACTIONS + AGENTS


@pytest.fixture(scope="module")
def policies():
    """Policies whose parameters have all left their initial values."""
    generator = torch.Generator().manual_seed(0)
    team = [networks.make_policy(INPUT, ACTIONS, NetworkConfig(), 0, k) for k in range(AGENTS)]
    with torch.no_grad():
        for policy in team:
            for parameter in policy.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
    return team


@pytest.fixture(scope="module")
def stacked(policies):
    return StackedPolicy([{n: p.numpy() for n, p in q.state_dict().items()} for q in policies])


def play(stacked, num_teams, steps, seed=0):
    """Observations, last actions and logits of whole episodes, time first."""
    generator = np.random.default_rng(seed)
    observation = generator.random((steps, num_teams, AGENTS, OBSERVATION), dtype=np.float32)
    observation[steps // 2 :, :, 0] = 0.0
    last_action = generator.integers(ACTIONS, size=(steps, num_teams, AGENTS))
    last_action[0] = -1
    core_state = np.zeros((num_teams, AGENTS, HIDDEN), dtype=np.float32)
    logits = np.empty((steps, num_teams, AGENTS, ACTIONS), dtype=np.float32)
    for t in range(steps):
        logits[t], core_state = stacked.step(observation[t], last_action[t], core_state)
    return observation, last_action, logits


@pytest.mark.parametrize("num_teams", [1, 3, 8])
def test_logits_equal_those_of_torch_over_whole_episodes(policies, stacked, num_teams):
    steps = 60
    observation, last_action, logits = play(stacked, num_teams, steps)
    for k, policy in enumerate(policies):
        inputs = np.zeros((steps, num_teams, INPUT), dtype=np.float32)
        inputs[..., :OBSERVATION] = observation[:, :, k]
        chosen = np.eye(ACTIONS + 1, dtype=np.float32)[last_action[:, :, k]][..., :ACTIONS]
        inputs[..., OBSERVATION : OBSERVATION + ACTIONS] = chosen
        inputs[..., OBSERVATION + ACTIONS + k] = 1.0
        expected = policy.unroll(
            networks.standardise(torch.from_numpy(inputs)),
            torch.ones(steps, num_teams, 1),
            torch.zeros(num_teams, HIDDEN),
        )
        np.testing.assert_allclose(logits[:, :, k], expected.detach().numpy(), atol=1e-5)


def test_shapes_and_dtypes(stacked):
    logits, core_state = stacked.step(
        np.zeros((2, AGENTS, OBSERVATION), np.float32),
        np.full((2, AGENTS), -1),
        np.zeros((2, AGENTS, HIDDEN), np.float32),
    )
    assert logits.shape == (2, AGENTS, ACTIONS)
    assert core_state.shape == (2, AGENTS, HIDDEN)
    assert logits.dtype == core_state.dtype == np.float32
    assert (stacked.num_agents, stacked.num_actions) == (AGENTS, ACTIONS)
    assert (stacked.hidden_size, stacked.observation_size) == (HIDDEN, OBSERVATION)


def test_a_step_neither_changes_nor_keeps_its_arguments(stacked):
    generator = np.random.default_rng(0)
    arguments = (
        generator.random((2, AGENTS, OBSERVATION), dtype=np.float32),
        generator.integers(-1, ACTIONS, size=(2, AGENTS)),
        generator.random((2, AGENTS, HIDDEN), dtype=np.float32),
    )
    kept = [array.copy() for array in arguments]
    first = [array.copy() for array in stacked.step(*arguments)]
    stacked.step(*(array + 1 for array in arguments[:1]), *arguments[1:])
    for array, copy in zip(arguments, kept, strict=True):
        np.testing.assert_array_equal(array, copy)
    for again, before in zip(stacked.step(*arguments), first, strict=True):
        np.testing.assert_array_equal(again, before)


def test_results_outlive_the_next_step(stacked):
    observation = np.ones((1, AGENTS, OBSERVATION), np.float32)
    nothing, zero = np.full((1, AGENTS), -1), np.zeros((1, AGENTS, HIDDEN), np.float32)
    logits, core_state = stacked.step(observation, nothing, zero)
    kept = logits.copy(), core_state.copy()
    stacked.step(0.5 * observation, nothing, core_state)
    np.testing.assert_array_equal(logits, kept[0])
    np.testing.assert_array_equal(core_state, kept[1])


def test_agents_act_on_their_own_parameters(stacked):
    same = np.ones((1, AGENTS, OBSERVATION), np.float32)
    logits, _ = stacked.step(
        same, np.full((1, AGENTS), -1), np.zeros((1, AGENTS, HIDDEN), np.float32)
    )
    assert not np.allclose(logits[0, 0], logits[0, 1])


def distribution(seed, num_teams=4):
    generator = np.random.default_rng(seed)
    logits = generator.normal(scale=3.0, size=(num_teams, AGENTS, ACTIONS)).astype(np.float32)
    available = (generator.random(logits.shape) < 0.5).astype(np.uint8)
    np.put_along_axis(available, generator.integers(ACTIONS, size=(num_teams, AGENTS, 1)), 1, 2)
    return logits, available, generator.random((num_teams, AGENTS))


@given(st.integers(0, 10_000))
@settings(deadline=None)
def test_samples_are_legal_and_carry_the_log_prob_of_torch(seed):
    logits, available, uniforms = distribution(seed)
    choice = inference.sample(logits, available, uniforms)
    assert choice.action.dtype == np.int64
    assert choice.log_prob.dtype == np.float32
    assert (np.take_along_axis(available, choice.action[..., None], 2) == 1).all()
    expected = categorical.evaluate(
        torch.from_numpy(logits), torch.from_numpy(available == 0), torch.from_numpy(choice.action)
    )
    np.testing.assert_allclose(choice.log_prob, expected.taken.numpy(), atol=2e-6)


def test_samples_invert_the_cumulative_distribution():
    logits, available, _ = distribution(3, num_teams=1)
    uniforms = (np.arange(20_000) + 0.5) / 20_000
    drawn = inference.sample(
        np.repeat(logits, 20_000, axis=0),
        np.repeat(available, 20_000, axis=0),
        np.repeat(uniforms[:, None], AGENTS, axis=1),
    ).action
    assert (np.diff(drawn, axis=0) >= 0).all()
    masked = np.where(available, np.exp(logits, dtype=np.float64), 0.0)[0]
    expected = masked / masked.sum(axis=1, keepdims=True)
    for k in range(AGENTS):
        frequency = np.bincount(drawn[:, k], minlength=ACTIONS) / 20_000
        np.testing.assert_allclose(frequency, expected[k], atol=1e-4)


@pytest.mark.parametrize("uniform", [0.0, 1.0 - 2.0**-53])
def test_extreme_uniforms_still_give_legal_actions(uniform):
    for seed in range(200):
        logits, available, uniforms = distribution(seed)
        choice = inference.sample(logits, available, np.full_like(uniforms, uniform))
        assert (np.take_along_axis(available, choice.action[..., None], 2) == 1).all()


def test_a_single_legal_action_is_taken_with_log_prob_exactly_zero():
    logits, available, uniforms = distribution(0)
    available[:] = 0
    available[..., 2] = 1
    for choice in (
        inference.sample(logits, available, uniforms),
        inference.greedy(logits, available),
    ):
        assert (choice.action == 2).all()
        assert (choice.log_prob == 0.0).all()


def test_greedy_takes_the_first_best_legal_action():
    logits = np.array([[[5.0, 1.0, 2.0, 2.0]]], dtype=np.float32)
    available = np.array([[[0, 1, 1, 1]]], dtype=np.uint8)
    choice = inference.greedy(logits, available)
    assert choice.action.item() == 2
    expected = 2.0 - np.log(np.exp([1.0, 2.0, 2.0]).sum())
    assert choice.log_prob.item() == pytest.approx(expected, abs=1e-6)


def test_inference_does_not_import_torch():
    script = "import sys, dm2_dist.inference; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0
