import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dm2_dist import trajectory

LENGTHS = st.lists(st.integers(1, 6), min_size=1, max_size=5)


@given(LENGTHS)
def test_rows_are_those_of_episodes_laid_end_to_end(lengths):
    length = np.array(lengths, dtype=np.int32)
    action_rows, first_rows, row = [], [], 0
    for steps in lengths:
        first_rows += [True] + [False] * steps
        action_rows += range(row, row + steps)
        row += steps + 1
    assert trajectory.action_rows(length).tolist() == action_rows
    assert trajectory.first_rows(length).tolist() == first_rows


@given(LENGTHS)
def test_returns_are_the_sums_of_each_episode(team_slices, lengths):
    part = team_slices(lengths)[0]
    start, sums = 0, []
    for steps in lengths:
        sums.append(part.reward[start : start + steps].sum(dtype=np.float64))
        start += steps
    assert part.returns().dtype == np.float32
    np.testing.assert_allclose(part.returns(), sums, rtol=1e-5, atol=1e-6)


def test_returns_do_not_lose_digits_in_a_long_batch(team_slices):
    part = team_slices([1] * 20_000)[0]
    np.testing.assert_allclose(part.returns(), part.reward, rtol=1e-6, atol=1e-9)


@given(LENGTHS, LENGTHS)
def test_slices_laid_end_to_end_keep_their_rows(team_slices, first, second):
    parts = [team_slices(first, seed=1)[0], team_slices(second, seed=2)[0]]
    whole = trajectory.concatenate(parts)
    assert whole.num_episodes == len(first) + len(second)
    assert whole.env_steps == sum(first) + sum(second)
    for name in trajectory.SLICE_FIELDS:
        joined, left, right = (getattr(part, name) for part in (whole, *parts))
        assert joined.dtype == left.dtype
        np.testing.assert_array_equal(joined[: len(left)], left)
        np.testing.assert_array_equal(joined[len(left) :], right)


def test_a_single_slice_is_its_own_concatenation(team_slices):
    part = team_slices([2, 3])[0]
    whole = trajectory.concatenate([part])
    for name in trajectory.SLICE_FIELDS:
        np.testing.assert_array_equal(getattr(whole, name), getattr(part, name))
