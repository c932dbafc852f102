import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm2_dist import trajectory

LENGTHS = st.lists(st.integers(1, 6), min_size=1, max_size=5)


@given(LENGTHS)
def test_rows_are_those_of_episodes_laid_end_to_end(lengths):
    length = np.array(lengths, dtype=np.int32)
    action_rows, starts, row = [], [], 0
    for steps in lengths:
        starts.append(row)
        action_rows += range(row, row + steps)
        row += steps + 1
    assert trajectory.action_rows(length).tolist() == action_rows
    assert trajectory.starts(length).tolist() == starts


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


# --- pieces of episodes ---


def with_past(part, seed=0):
    """The same rows as pieces, every second of which goes on."""
    generator = np.random.default_rng(seed)
    number = part.num_episodes
    goes_on = np.arange(number) % 2 == 1
    entering = trajectory.Entering(
        steps_before=(3 * goes_on).astype(np.int32),
        return_before=(generator.random(number) * goes_on).astype(np.float32),
        previous_action=np.where(goes_on, 2, -1).astype(np.int16),
        core_state=generator.random((number, 2, 5)).astype(np.float32),
    )
    flags = np.zeros(number, np.uint8)
    flags[-1] = 1
    return dataclasses.replace(part, entering=entering, terminated=flags, truncated=0 * flags)


def same(left, right):
    left, right = trajectory.arrays_of(left), trajectory.arrays_of(right)
    assert tuple(left) == tuple(right)
    for name, array in left.items():
        np.testing.assert_array_equal(array, right[name])


@given(LENGTHS)
def test_a_slice_is_its_arrays(team_slices, lengths):
    whole = team_slices(lengths)[0]
    assert tuple(trajectory.arrays_of(whole)) == trajectory.SLICE_FIELDS
    same(trajectory.slice_of(trajectory.arrays_of(whole)), whole)
    pieces = with_past(whole)
    same(trajectory.slice_of(trajectory.arrays_of(pieces)), pieces)
    arrays = trajectory.arrays_of(pieces)
    del arrays["core_state"]
    with pytest.raises(KeyError):
        trajectory.slice_of(arrays)


@given(LENGTHS, LENGTHS)
def test_pieces_laid_end_to_end_keep_their_past(team_slices, first, second):
    parts = [with_past(team_slices(first)[0], 1), with_past(team_slices(second)[0], 2)]
    whole = trajectory.concatenate(parts)
    for name in trajectory.ENTERING_FIELDS:
        joined = [getattr(part.entering, name) for part in parts]
        np.testing.assert_array_equal(getattr(whole.entering, name), np.concatenate(joined))
    assert whole.num_started == sum(part.num_started for part in parts)


def test_whole_episodes_and_pieces_do_not_mix(team_slices):
    whole = team_slices([2, 3])[0]
    with pytest.raises(AssertionError, match="mix"):
        trajectory.concatenate([whole, with_past(whole)])


def test_returns_of_pieces_count_what_came_before(team_slices):
    whole = team_slices([2, 3, 1])[0]
    pieces = with_past(whole)
    expected = whole.returns() + pieces.entering.return_before
    np.testing.assert_allclose(pieces.returns(), expected, rtol=1e-6)
    assert pieces.ended.tolist() == [False, False, True]
    assert pieces.num_started == 2
    assert (whole.ended.all(), whole.num_started) == (True, 3)
