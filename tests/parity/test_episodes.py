import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dm2_dist.functional import episodes

LENGTHS = st.lists(st.integers(1, 7), min_size=1, max_size=6)


@given(LENGTHS)
@settings(deadline=None)
def test_rows_know_their_time_and_episode(lengths):
    length = np.array(lengths, dtype=np.int32)
    expected = [(e, t) for e, steps in enumerate(lengths) for t in range(steps)]
    got = zip(episodes.row_episode(length), episodes.row_time(length), strict=True)
    assert list(got) == expected


@given(LENGTHS)
@settings(deadline=None)
def test_time_order_makes_every_step_a_prefix_of_the_one_before(lengths):
    length = np.array(lengths, dtype=np.int32)
    order = episodes.time_order(length)
    episode, time = episodes.row_episode(length + 1), episodes.row_time(length + 1)
    assert sorted(order.row) == list(range(len(time)))
    start, previous = 0, None
    for t, count in enumerate(order.counts):
        rows = order.row[start : start + count]
        assert (time[rows] == t).all()
        if previous is not None:
            assert (episode[rows] == previous[:count]).all()
        start, previous = start + count, episode[rows]
    assert start == len(time)


@given(st.integers(1, 40), st.integers(1, 12))
@settings(deadline=None)
def test_chunks_hold_every_row_once_and_pad_only_the_last(num_rows, chunk_length):
    first = np.zeros(num_rows, dtype=bool)
    first[0] = True
    row = np.arange(num_rows) * 2
    chunks = episodes.cut(row, first, chunk_length)
    assert chunks.row.shape[0] == chunk_length
    assert (chunks.row.T[chunks.valid.T] == row).all()
    assert chunks.valid[:, :-1].all()
    assert chunks.first.sum() >= 1


@given(st.integers(1, 40), st.integers(1, 12), st.sets(st.integers(0, 39), max_size=6))
@settings(deadline=None)
def test_a_chunk_begins_wherever_an_episode_goes_on(num_rows, chunk_length, goes_on):
    first = np.zeros(num_rows, dtype=bool)
    resumed = np.isin(np.arange(num_rows), list(goes_on))
    row = np.arange(num_rows) * 2
    chunks = episodes.cut(row, first, chunk_length, resumed)
    assert chunks.row.shape[0] == chunk_length
    assert (chunks.row.T[chunks.valid.T] == row).all()
    assert chunks.valid[0].all()
    inside = np.isin(chunks.row[1:], row[resumed]) & chunks.valid[1:]
    assert not inside.any()
    runs = np.diff([0, *(g for g in sorted(goes_on) if 0 < g < num_rows), num_rows])
    assert chunks.row.shape[1] == sum(-(-run // chunk_length) for run in runs)
    # Padding repeats the last row before it, so it is never another episode's.
    last = chunks.valid.sum(axis=0) - 1
    expected = chunks.row[last, np.arange(last.size)]
    assert (np.where(chunks.valid, expected, chunks.row) == expected).all()


def test_nothing_that_goes_on_is_as_if_it_were_not_asked():
    row, first = np.arange(11), np.arange(11) % 5 == 0
    plain = episodes.cut(row, first, 4)
    for got, expected in zip(episodes.cut(row, first, 4, 0 * first != 0), plain, strict=True):
        np.testing.assert_array_equal(got, expected)


@given(LENGTHS)
@settings(deadline=None)
def test_the_walk_begins_with_the_episodes_that_it_names(lengths):
    length = np.array(lengths, dtype=np.int32)
    order = episodes.time_order(length)
    starts = np.cumsum(length + 1) - (length + 1)
    assert (order.row[: len(lengths)] == starts[order.episode]).all()


@pytest.mark.parametrize(
    ("alive", "expected"),
    [
        ([1, 1, 0, 0, 1, 1, 1], [0, 1, 4, 5, 6]),
        ([1, 0, 1, 0, 1, 0, 0], [0, 1, 2, 4]),
        ([1, 1, 1, 1, 1, 1, 1], [0, 1, 2, 3, 4, 5, 6]),
    ],
)
def test_rows_after_the_last_living_one_of_an_episode_are_left_out(alive, expected):
    length = np.array([4, 3], dtype=np.int32)
    got = episodes.rows_until_last_alive(length, np.array(alive, dtype=bool))
    assert got.tolist() == expected
