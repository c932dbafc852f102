import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dm2_dist import seeding

WORDS = st.text("abcdefghij/_-", max_size=6)
KEYS = st.lists(st.one_of(st.integers(-(2**70), 2**70), WORDS), max_size=4).map(tuple)
SEEDS = arrays.arrays(np.uint64, st.integers(1, 5), elements=st.integers(0, 2**64 - 1))


@given(KEYS, KEYS)
def test_other_keys_give_other_seeds(first, second):
    assert (seeding.derive(*first) == seeding.derive(*second)) == (first == second)


@given(KEYS)
def test_seeds_fit_64_bits(key):
    assert 0 <= seeding.derive(*key) < 2**64


def test_numbers_and_words_are_different_keys():
    assert (
        len({seeding.derive(1), seeding.derive("1"), seeding.derive(1, ""), seeding.derive()}) == 4
    )


def test_seeds_never_change_between_releases():
    assert seeding.derive(0, "train", 0) == 1095274759145499651
    assert seeding.derive("action") == 8335056983956733296


def test_mix_is_the_published_splitmix64():
    golden = 0x9E3779B97F4A7C15
    states = np.array([0, golden, 2 * golden % 2**64], dtype=np.uint64)
    assert [hex(value) for value in seeding.mix(states)] == [
        "0xe220a8397b1dcdaf",
        "0x6e789e6aa1b965f4",
        "0x6c45d188009454f",
    ]


@given(SEEDS, st.integers(0, 2**40), st.integers(1, 8), st.integers(1, 8))
def test_a_draw_depends_on_seed_counter_and_column_alone(seeds, counter, width, more):
    draws = seeding.uniform(seeds, counter, width)
    wider = seeding.uniform(seeds, counter, width + more)
    assert draws.shape == (seeds.size, width)
    np.testing.assert_array_equal(wider[:, :width], draws)
    for row in range(seeds.size):
        alone = seeding.uniform(seeds[row : row + 1], counter, width)
        np.testing.assert_array_equal(alone[0], draws[row])


@given(SEEDS, st.integers(0, 2**40))
def test_draws_lie_between_zero_and_one(seeds, counter):
    draws = seeding.uniform(seeds, counter, 16)
    assert draws.dtype == np.float64
    assert ((draws >= 0.0) & (draws < 1.0)).all()


def test_no_two_positions_share_a_draw():
    seeds = np.array([seeding.derive(0, "episode", i) for i in range(20)], dtype=np.uint64)
    draws = np.stack([seeding.uniform(seeds, counter, 10) for counter in range(20)])
    assert np.unique(draws).size == draws.size


def test_draws_are_spread_evenly_along_every_axis():
    draws = np.stack(
        [seeding.uniform(np.arange(64, dtype=np.uint64), step, 64) for step in range(64)]
    )
    counts, _ = np.histogram(draws, bins=16, range=(0.0, 1.0))
    expected = draws.size / 16
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert chi_square < 37.7  # one in a thousand for 15 degrees of freedom
    for axes in [(0, 1), (0, 2), (1, 2)]:
        assert draws.mean(axis=axes) == pytest.approx(0.5, abs=0.025)
