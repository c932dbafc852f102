import subprocess
import sys
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dm2_dist import inference, networks, seeding
from dm2_dist.functional import categorical
from dm2_dist.inference import Players, StackedPolicy
from dm2_dist.inference_kernels import arithmetic, choice
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


# --- a team at its battles ---


def battles(num_teams, seed=0, dead=0.3, over=0.3):
    """What battles might show: some agents dead, some battles over."""
    generator = np.random.default_rng(seed)
    shape = (num_teams, AGENTS)
    alive = (generator.random(shape) >= dead).astype(np.uint8)
    available = (generator.random((*shape, ACTIONS)) < 0.5).astype(np.uint8)
    np.put_along_axis(available, generator.integers(ACTIONS, size=(*shape, 1)), 1, 2)
    available[alive == 0] = [1] + [0] * (ACTIONS - 1)
    return SimpleNamespace(
        observation=generator.random((*shape, OBSERVATION), dtype=np.float32) * alive[..., None],
        available_actions=available,
        alive=alive,
        finished=(generator.random(num_teams) < over).astype(np.uint8),
    )


def only(shown, battle):
    """One of the battles by itself."""
    return SimpleNamespace(**{n: a[battle : battle + 1].copy() for n, a in vars(shown).items()})


def seeds_of(num_teams):
    return seeding.mix(np.arange(num_teams, dtype=np.uint64))


def standardised(x):
    return (x - x.mean()) / np.sqrt(x.var() + 1e-5)


def plainly(parameters, k, observation, last_action, core_state):
    """One step of one agent, layer after layer as in the network: the version to agree with."""
    p = {name: tensor.astype(np.float64) for name, tensor in parameters.items()}

    def norm(name, x):
        return standardised(x) * p[f"{name}.weight"] + p[f"{name}.bias"]

    def layer(name, x):
        return p[f"{name}.weight"] @ x + p[f"{name}.bias"]

    one_hot = np.eye(ACTIONS + 1)[last_action][:ACTIONS]
    inputs = np.concatenate([observation, one_hot, np.eye(AGENTS)[k]])
    hidden = np.maximum(layer("hidden_1", norm("input_norm", inputs)), 0.0)
    hidden = np.maximum(layer("hidden_2", norm("norm_1", hidden)), 0.0)
    given = p["core.weight_ih"] @ norm("norm_2", hidden) + p["core.bias_ih"]
    kept = p["core.weight_hh"] @ core_state + p["core.bias_hh"]
    reset, update = 1.0 / (1.0 + np.exp(-(given + kept)[: 2 * HIDDEN].reshape(2, HIDDEN)))
    new = np.tanh(given[2 * HIDDEN :] + reset * kept[2 * HIDDEN :])
    state = (1.0 - update) * new + update * core_state
    return layer("head", norm("core_norm", state)), state


@pytest.mark.parametrize("greedy", [False, True])
@pytest.mark.parametrize("num_teams", [1, 6, 37])
def test_players_do_what_the_plain_networks_say(policies, stacked, num_teams, greedy):
    parameters = [{n: t.numpy() for n, t in policy.state_dict().items()} for policy in policies]
    shown = battles(num_teams, seed=num_teams, over=0.0)
    players = Players(stacked, shown, seeds_of(num_teams), greedy=greedy)
    core_state, last = np.zeros((num_teams, AGENTS, HIDDEN)), players.action.copy()
    for step in range(4):
        uniforms = seeding.uniform(seeds_of(num_teams), step, AGENTS)
        assert players.act(step) == num_teams
        for b, k in np.argwhere(shown.alive):
            logits, core_state[b, k] = plainly(
                parameters[k], k, shown.observation[b, k], last[b, k], core_state[b, k]
            )
            legal = np.where(shown.available_actions[b, k], logits, -np.inf)
            log_probs = legal - np.log(np.exp(legal).sum())
            probable = np.exp(log_probs).cumsum()
            expected = legal.argmax() if greedy else np.searchsorted(probable, uniforms[b, k])
            assert players.action[b, k] == expected
            assert players.log_prob[b, k] == pytest.approx(log_probs[expected], abs=1e-5)
        last = players.action.copy()
    np.testing.assert_allclose(players.core_state, core_state, atol=1e-5)


@given(st.integers(1, 40), st.integers(0, 10_000), st.booleans())
@settings(deadline=None, max_examples=30)
def test_not_a_bit_depends_on_the_other_battles(stacked, num_teams, seed, greedy):
    shown, seeds = battles(num_teams, seed), seeds_of(num_teams)
    together = Players(stacked, shown, seeds, greedy=greedy)
    alone = [
        Players(stacked, only(shown, b), seeds[b : b + 1].copy(), greedy=greedy)
        for b in range(num_teams)
    ]
    for step in range(3):
        together.act(step)
        for each in alone:
            each.act(step)
    for name in ("action", "log_prob", "core_state"):
        apart = np.concatenate([getattr(each, name) for each in alone])
        assert getattr(together, name).tobytes() == apart.tobytes()


def test_the_dead_wait_and_battles_that_are_over_rest(stacked):
    shown = battles(20, seed=4)
    over, dead = shown.finished == 1, shown.alive == 0
    players = Players(stacked, shown, seeds_of(20), greedy=False)
    assert players.act(0) == (~over).sum()
    assert (players.action[over] == -1).all()
    assert not players.core_state[over].any()
    waiting = dead & ~over[:, None]
    assert waiting.any()
    assert not players.action[waiting].any()
    assert not players.log_prob[waiting].any()
    assert not players.core_state[waiting].any()
    assert players.core_state[~dead & ~over[:, None]].any(axis=1).all()


@pytest.mark.parametrize("num_teams", [1, 64])
def test_a_step_allocates_nothing(stacked, num_teams):
    players = Players(stacked, battles(num_teams), seeds_of(num_teams), greedy=False)
    players.act(0)
    tracemalloc.start()
    try:
        for step in range(300):  # the interpreter keeps a few small objects for later
            players.act(step)
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for step in range(100):
            players.act(step)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 512
    assert peak - before < 2048, "Python's numbers and a frame, but no array"


@pytest.mark.parametrize("hidden_size", [16, 30])
def test_sizes_that_fill_no_vector(hidden_size):
    config = NetworkConfig(hidden_size=hidden_size)
    team = [networks.make_policy(INPUT, ACTIONS, config, 7, k) for k in range(AGENTS)]
    stacked = StackedPolicy([{n: p.numpy() for n, p in q.state_dict().items()} for q in team])
    generator = np.random.default_rng(1)
    observation = generator.random((5, AGENTS, OBSERVATION), dtype=np.float32)
    logits, _ = stacked.step(
        observation,
        np.full((5, AGENTS), -1),
        np.zeros((5, AGENTS, hidden_size), np.float32),
    )
    for k, policy in enumerate(team):
        inputs = np.zeros((1, 5, INPUT), dtype=np.float32)
        inputs[0, :, :OBSERVATION] = observation[:, k]
        inputs[..., OBSERVATION + ACTIONS + k] = 1.0
        expected = policy.unroll(
            networks.standardise(torch.from_numpy(inputs)),
            torch.ones(1, 5, 1),
            torch.zeros(5, hidden_size),
        )
        np.testing.assert_allclose(logits[:, k], expected.detach().numpy()[0], atol=1e-5)


def test_the_hyperbolic_tangent_is_good_to_float32():
    x = np.concatenate([np.linspace(-20, 20, 40_001), [-1e30, 0.0, 1e-30, 1e30]])
    found = np.array([arithmetic.squash(np.float32(each)) for each in x])
    np.testing.assert_allclose(found, np.tanh(x.astype(np.float32), dtype=np.float64), atol=4e-7)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**31))
@settings(deadline=None)
def test_draws_are_those_of_seeding(seed, step):
    expected = seeding.uniform(np.array([seed], np.uint64), step, AGENTS)[0]
    found = [choice.draw(np.uint64(seed), step, k) for k in range(AGENTS)]
    assert found == expected.tolist()


# --- the choice of an action ---


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
    chosen = inference.sample(logits, available, uniforms)
    assert chosen.action.dtype == np.int64
    assert chosen.log_prob.dtype == np.float32
    assert (np.take_along_axis(available, chosen.action[..., None], 2) == 1).all()
    expected = categorical.evaluate(
        torch.from_numpy(logits), torch.from_numpy(available == 0), torch.from_numpy(chosen.action)
    )
    np.testing.assert_allclose(chosen.log_prob, expected.taken.numpy(), atol=2e-6)


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
        chosen = inference.sample(logits, available, np.full_like(uniforms, uniform))
        assert (np.take_along_axis(available, chosen.action[..., None], 2) == 1).all()
        if uniform == 0.0:
            assert (chosen.action == available.argmax(axis=2)).all(), "the first legal one"


def test_a_single_legal_action_is_taken_with_log_prob_exactly_zero():
    logits, available, uniforms = distribution(0)
    available[:] = 0
    available[..., 2] = 1
    chosen = inference.sample(logits, available, uniforms)
    assert (chosen.action == 2).all()
    assert (chosen.log_prob == 0.0).all()


def test_greedy_takes_the_first_best_legal_action():
    logits = np.array([5.0, 1.0, 2.0, 2.0], dtype=np.float32)
    available = np.array([0, 1, 1, 1], dtype=np.uint8)
    action, log_prob = choice.choose(logits, available, True, 0.99, np.empty(4))
    assert action == 2
    expected = 2.0 - np.log(np.exp([1.0, 2.0, 2.0]).sum())
    assert log_prob == pytest.approx(expected, abs=1e-6)


def test_inference_does_not_import_torch():
    script = "import sys, dm2_dist.inference_kernels.joint_step; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0


def test_the_compiler_is_loaded_by_the_first_who_plays_and_not_by_an_import():
    script = "import sys, dm2_dist.inference; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0
