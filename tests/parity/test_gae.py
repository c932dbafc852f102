import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dm2_dist.functional import gae

CPU = torch.device("cpu")
LENGTH = np.array([4, 1, 7, 3], dtype=np.int32)
TERMINATED = np.array([True, False, False, True])


def brute_force(reward, value, length, terminated, discount, gae_lambda):
    """A_t = sum_l (gamma lambda)^l delta_{t+l} by a double loop over each episode."""
    advantage = np.zeros(len(reward))
    row, observation = 0, 0
    for episode, steps in enumerate(length):
        r = reward[row : row + steps]
        v = value[observation : observation + steps + 1].astype(np.float64).copy()
        if terminated[episode]:
            v[steps] = 0.0
        for t in range(steps):
            for k in range(t, steps):
                delta = r[k] + discount * v[k + 1] - v[k]
                advantage[row + t] += (discount * gae_lambda) ** (k - t) * delta
        row += steps
        observation += steps + 1
    return advantage


def arrays(length, seed=0):
    generator = np.random.default_rng(seed)
    num_rows = int(length.sum())
    reward = generator.normal(size=num_rows).astype(np.float32)
    value = generator.normal(size=num_rows + len(length)).astype(np.float32)
    return reward, value


def estimate(reward, value, length, terminated, discount=0.99, gae_lambda=0.95):
    return gae.advantages(
        torch.from_numpy(reward),
        torch.from_numpy(value),
        torch.from_numpy(terminated),
        gae.index(length, CPU),
        discount,
        gae_lambda,
    ).numpy()


@given(
    st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=6),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
)
@settings(max_examples=60, deadline=None)
def test_advantages_match_a_double_loop(episodes, discount, gae_lambda):
    length = np.array([steps for steps, _ in episodes], dtype=np.int32)
    terminated = np.array([ended for _, ended in episodes])
    reward, value = arrays(length)
    expected = brute_force(reward, value, length, terminated, discount, gae_lambda)
    got = estimate(reward, value, length, terminated, discount, gae_lambda)
    np.testing.assert_allclose(got, expected, atol=2e-5)


def test_lambda_one_is_the_discounted_return_less_the_value():
    reward, value = arrays(LENGTH)
    got = estimate(reward, value, LENGTH, np.ones(4, dtype=bool), 0.9, 1.0)
    last = reward[LENGTH[0] - 1 - 1 :][:2]
    assert got[LENGTH[0] - 2] == pytest.approx(last[0] + 0.9 * last[1] - value[2], abs=1e-6)


def test_lambda_zero_is_the_temporal_difference():
    reward, value = arrays(LENGTH)
    got = estimate(reward, value, LENGTH, np.ones(4, dtype=bool), 0.9, 0.0)
    assert got[0] == pytest.approx(reward[0] + 0.9 * value[1] - value[0], abs=1e-6)


@pytest.mark.parametrize("episode", range(4))
def test_termination_ignores_the_final_value_and_truncation_bootstraps_from_it(episode):
    reward, value = arrays(LENGTH)
    final = int((LENGTH[: episode + 1] + 1).sum()) - 1
    changed = value.copy()
    changed[final] += 1.0
    difference = estimate(reward, changed, LENGTH, TERMINATED) - estimate(
        reward, value, LENGTH, TERMINATED
    )
    last_row = int(LENGTH[: episode + 1].sum()) - 1
    expected = 0.0 if TERMINATED[episode] else 0.99
    assert difference[last_row] == pytest.approx(expected, abs=1e-5)


def test_nothing_leaks_from_one_episode_to_another():
    reward, value = arrays(LENGTH)
    changed_reward, changed_value = reward.copy(), value.copy()
    changed_reward[5:12] += 3.0
    changed_value[7:15] -= 2.0
    before = estimate(reward, value, LENGTH, TERMINATED)
    after = estimate(changed_reward, changed_value, LENGTH, TERMINATED)
    others = np.r_[0:5, 12:15]
    np.testing.assert_array_equal(before[others], after[others])
    assert (before[5:12] != after[5:12]).all()


def test_an_episode_is_worth_the_same_alone_and_among_others():
    reward, value = arrays(LENGTH)
    together = estimate(reward, value, LENGTH, TERMINATED)
    alone = estimate(reward[5:12], value[7:15], LENGTH[2:3], TERMINATED[2:3])
    np.testing.assert_array_equal(together[5:12], alone)
