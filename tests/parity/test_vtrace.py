import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dm2_dist.functional import gae, vtrace
from dm2_dist.functional.vtrace import Trace

CPU = torch.device("cpu")
LENGTH = np.array([4, 1, 7, 3], dtype=np.int32)
TERMINATED = np.array([True, False, False, True])
UNIT = st.floats(0.0, 1.0, width=32)


@st.composite
def episodes(draw):
    """Ragged episodes: (reward, value, ratio, length, terminated)."""
    ends = draw(st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=6))
    length = np.array([steps for steps, _ in ends], dtype=np.int32)
    terminated = np.array([ended for _, ended in ends])
    return (*arrays(length, draw(st.integers(0, 99))), length, terminated)


def arrays(length, seed=0):
    generator = np.random.default_rng(seed)
    num_rows = int(length.sum())
    reward = generator.normal(size=num_rows).astype(np.float32)
    value = generator.normal(size=num_rows + len(length)).astype(np.float32)
    ratio = np.exp(generator.normal(size=num_rows)).astype(np.float32)
    return reward, value, ratio


def corrected(reward, value, ratio, length, terminated, trace):
    tensors = map(torch.from_numpy, (reward, value, terminated, ratio))
    got = vtrace.corrected(*tensors, gae.index(length, CPU), trace)
    return vtrace.Corrected(*(tensor.numpy() for tensor in got))


def split(rows, observations, length):
    """Rows and observations of each episode."""
    row, observation = 0, 0
    for steps in length:
        yield slice(row, row + steps), observations[observation : observation + steps + 1]
        row += steps
        observation += steps + 1
    assert row == len(rows)


def paper(reward, value, ratio, length, terminated, trace):
    """Equation 1 as printed: v_s is V(x_s) plus a sum over t of discounted products of c.

    v_s = V(x_s) + sum_{t=s}^{n-1} gamma^{t-s} (prod_{i=s}^{t-1} c_i) delta_t V
    """
    target, advantage, one_step = [], [], []
    for (rows, own), ended in zip(split(reward, value, length), terminated, strict=True):
        r, w = reward[rows].astype(np.float64), ratio[rows].astype(np.float64)
        v = own.astype(np.float64).copy()
        if ended:
            v[-1] = 0.0
        n, gamma = len(r), trace.discount
        rho, c = np.minimum(trace.rho, w), trace.decay * np.minimum(trace.c, w)
        vs = v.copy()
        for s in range(n):
            for t in range(s, n):
                delta = rho[t] * (r[t] + gamma * v[t + 1] - v[t])
                vs[s] += gamma ** (t - s) * np.prod(c[s:t]) * delta
        target.extend(vs[:n])
        for t in range(n):
            plain = r[t] + gamma * v[t + 1] - v[t]
            advantage.append(plain + gamma * trace.decay * (vs[t + 1] - v[t + 1]))
            one_step.append(r[t] + gamma * vs[t + 1] - v[t])
    return map(np.array, (target, advantage, one_step))


@given(episodes(), UNIT, UNIT, st.floats(0.0, 3.0), UNIT)
@settings(max_examples=80, deadline=None)
def test_it_is_the_equation_of_the_paper(batch, discount, decay, rho, share):
    trace = Trace(discount, decay, rho, rho * share)
    for got, expected in zip(corrected(*batch, trace), paper(*batch, trace), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-4, rtol=1e-4)


@given(episodes(), UNIT, UNIT)
@settings(max_examples=60, deadline=None)
def test_on_policy_it_is_generalised_advantage_estimation(batch, discount, decay):
    reward, value, ratio, length, terminated = batch
    got = corrected(
        reward, value, np.ones_like(ratio), length, terminated, Trace(discount, decay, 1.0, 1.0)
    )
    index = gae.index(length, CPU)
    tensors = map(torch.from_numpy, (reward, value, terminated))
    expected = gae.advantages(*tensors, index, discount, decay).numpy()
    own = value[index.observation_row.numpy()]
    np.testing.assert_allclose(got.target - own, expected, atol=1e-5)
    np.testing.assert_allclose(got.advantage, expected, atol=1e-5)


@given(episodes(), UNIT)
@settings(max_examples=60, deadline=None)
def test_on_policy_with_lambda_one_it_is_the_bootstrapped_return(batch, discount):
    reward, value, ratio, length, terminated = batch
    got = corrected(
        reward, value, np.ones_like(ratio), length, terminated, Trace(discount, 1.0, 1.0, 1.0)
    )
    expected = []
    for (rows, own), ended in zip(split(reward, value, length), terminated, strict=True):
        following, returns = 0.0 if ended else own[-1], []
        for r in reward[rows][::-1]:
            following = r + discount * following
            returns.append(following)
        expected.extend(returns[::-1])
    np.testing.assert_allclose(got.target, expected, atol=1e-5)


@given(episodes(), UNIT, UNIT)
@settings(max_examples=30, deadline=None)
def test_without_trust_the_targets_are_the_values(batch, discount, decay):
    """Caps of zero, and a policy that would never have acted so: v = V either way."""
    reward, value, ratio, length, terminated = batch
    own = value[gae.index(length, CPU).observation_row.numpy()]
    capped = corrected(*batch, Trace(discount, decay, 0.0, 0.0))
    never = corrected(
        reward, value, np.zeros_like(ratio), length, terminated, Trace(discount, decay, 1.0, 1.0)
    )
    np.testing.assert_array_equal(capped.target, own)
    np.testing.assert_array_equal(never.target, own)


@given(episodes(), st.integers(0, 5), st.sampled_from([0.01, 0.5, 3.0, 100.0]))
@settings(max_examples=60, deadline=None)
def test_a_rows_own_ratio_is_not_in_its_advantage(batch, place, factor):
    """The surrogate weighs the row with it already; what precedes the row does change."""
    reward, value, ratio, length, terminated = batch
    row = place % len(reward)
    changed = ratio.copy()
    changed[row] *= factor
    trace = Trace(0.9, 0.95, 1.0, 1.0)
    before = corrected(reward, value, ratio, length, terminated, trace)
    after = corrected(reward, value, changed, length, terminated, trace)
    np.testing.assert_array_equal(before.advantage[row:], after.advantage[row:])
    np.testing.assert_array_equal(before.one_step_advantage[row:], after.one_step_advantage[row:])


@pytest.mark.parametrize("episode", range(4))
def test_a_decision_ignores_the_final_value_and_a_cut_bootstraps_from_it(episode):
    reward, value, ratio = arrays(LENGTH)
    ratio[:] = 1.0
    final = int((LENGTH[: episode + 1] + 1).sum()) - 1
    changed = value.copy()
    changed[final] += 1.0
    trace = Trace(0.9, 1.0, 1.0, 1.0)
    before = corrected(reward, value, ratio, LENGTH, TERMINATED, trace)
    after = corrected(reward, changed, ratio, LENGTH, TERMINATED, trace)
    last_row = int(LENGTH[: episode + 1].sum()) - 1
    for got, expected in zip(after, before, strict=True):
        difference = got[last_row] - expected[last_row]
        assert difference == pytest.approx(0.0 if TERMINATED[episode] else 0.9, abs=1e-5)


def test_no_product_crosses_from_one_episode_to_another():
    reward, value, ratio = arrays(LENGTH)
    changed = [array.copy() for array in (reward, value, ratio)]
    changed[0][5:12] += 3.0
    changed[1][7:15] -= 2.0
    changed[2][5:12] *= 2.0
    trace = Trace(0.99, 1.0, 2.0, 2.0)
    before = corrected(reward, value, ratio, LENGTH, TERMINATED, trace)
    after = corrected(*changed, LENGTH, TERMINATED, trace)
    others = np.r_[0:5, 12:15]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old[others], new[others])
        assert (old[5:12] != new[5:12]).all()


def test_an_episode_cut_in_two_bootstraps_from_the_value_at_the_cut():
    """Two unrolls of one battle are two episodes, of which the first was not decided."""
    reward, value, ratio = arrays(np.array([6], dtype=np.int32))
    pieces = np.array([4, 2], dtype=np.int32)
    at_the_cut = np.insert(value, 4, value[4])
    trace = Trace(0.9, 1.0, 1.0, 1.0)
    cut = corrected(reward, at_the_cut, ratio, pieces, np.array([False, True]), trace)
    whole = corrected(reward, value, ratio, np.array([6], dtype=np.int32), np.array([True]), trace)
    np.testing.assert_array_equal(cut.target[4:], whole.target[4:])
    alone = corrected(reward[:4], value[:5], ratio[:4], pieces[:1], np.array([False]), trace)
    np.testing.assert_array_equal(cut.target[:4], alone.target)


def test_a_trace_trusted_more_than_a_step_is_our_bug():
    with pytest.raises(AssertionError):
        corrected(*arrays(LENGTH), LENGTH, TERMINATED, Trace(0.9, 1.0, 1.0, 2.0))
