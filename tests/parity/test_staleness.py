import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dm2_dist.functional import staleness

LOG_RATIOS = st.lists(st.tuples(st.floats(-5.0, 5.0), st.booleans()), min_size=1, max_size=20)


def measure(pairs, cap=2.0):
    log_ratio, counts = zip(*pairs, strict=True)
    weight = torch.tensor(counts, dtype=torch.float32)
    got = staleness.measure(torch.tensor(log_ratio, dtype=torch.float32), weight, cap)
    return staleness.Staleness(*map(float, got))


@given(LOG_RATIOS)
def test_the_three_numbers_by_hand(pairs):
    counted = [log_ratio for log_ratio, counts in pairs if counts]
    got = measure(pairs)
    if not counted:
        assert got == (0.0, 0.0, 0.0)
        return
    ratios = [math.exp(log_ratio) for log_ratio in counted]
    size = sum(ratios) ** 2 / (len(ratios) * sum(ratio**2 for ratio in ratios))
    assert got.effective_sample_size == pytest.approx(size, rel=1e-4)
    mean = sum(map(abs, counted)) / len(counted)
    assert got.mean_abs_log_ratio == pytest.approx(mean, rel=1e-4, abs=1e-6)
    near = any(abs(ratio - 2.0) < 0.01 for ratio in ratios)
    share = sum(ratio > 2.0 for ratio in ratios) / len(ratios)
    assert near or got.capped_fraction == pytest.approx(share, rel=1e-5)


def test_data_of_its_own_is_worth_all_of_itself():
    assert measure([(0.0, True)] * 7 + [(3.0, False)]) == (0.0, 0.0, pytest.approx(1.0))


def test_one_row_that_outweighs_all_others_is_worth_one_row():
    """A ratio of e^300 is more than a float32 holds."""
    got = measure([(300.0, True), *[(0.0, True)] * 9])
    assert got.effective_sample_size == pytest.approx(0.1)
    assert got.capped_fraction == pytest.approx(0.1)
    assert measure([(-300.0, True), (-300.0, True)]).effective_sample_size == pytest.approx(1.0)


def test_rounding_is_not_above_a_cap_of_one():
    assert measure([(1e-5, True), (-1e-5, True)], cap=1.0).capped_fraction == 0.0
    assert measure([(0.01, True), (-0.01, True)], cap=1.0).capped_fraction == 0.5
