import numpy as np
import pytest
import torch

from dm2_dist.functional import value_norm

CPU = torch.device("cpu")


@pytest.fixture
def returns():
    return 7.0 + 3.0 * torch.randn(500, generator=torch.Generator().manual_seed(0))


def test_without_data_normalisation_is_the_identity():
    statistics = value_norm.initial(CPU)
    values = torch.tensor([-2.0, 0.0, 5.0])
    assert torch.equal(value_norm.normalise(statistics, values), values)
    assert torch.equal(value_norm.denormalise(statistics, values), values)


def test_after_one_batch_the_debiased_moments_are_those_of_the_batch(returns):
    moments = value_norm.moments(value_norm.update(value_norm.initial(CPU), returns))
    assert float(moments.mean) == pytest.approx(float(returns.double().mean()), rel=1e-9)
    assert float(moments.std) == pytest.approx(float(returns.double().std(correction=0)), rel=1e-6)


def test_moments_match_a_loop_over_batches(returns):
    beta, statistics = value_norm.BETA, value_norm.initial(CPU)
    mean = square = weight = 0.0
    for batch in returns.split(100):
        statistics = value_norm.update(statistics, batch)
        mean = beta * mean + (1 - beta) * np.mean(batch.double().numpy())
        square = beta * square + (1 - beta) * np.mean(batch.double().numpy() ** 2)
        weight = beta * weight + (1 - beta)
    moments = value_norm.moments(statistics)
    assert float(moments.mean) == pytest.approx(mean / weight, rel=1e-12)
    assert float(moments.std) == pytest.approx(np.sqrt(square / weight - (mean / weight) ** 2))


def test_normalise_and_denormalise_are_inverses(returns):
    statistics = value_norm.update(value_norm.initial(CPU), returns)
    there = value_norm.normalise(statistics, returns)
    assert there.dtype == torch.float32
    torch.testing.assert_close(value_norm.denormalise(statistics, there), returns)


def test_variance_has_a_floor():
    statistics = value_norm.update(value_norm.initial(CPU), torch.full((10,), 3.0))
    assert float(value_norm.moments(statistics).std) == pytest.approx(0.1)
