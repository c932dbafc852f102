"""Value normalisation by debiased running moments of the returns (Yu et al. 2022, MAPPO).

The critic predicts normalised returns. The moments are updated once per iteration, with the whole
batch, so every gradient step of an iteration aims at the same targets. Kept in float64: the moments
are small differences of large sums.
"""

from typing import NamedTuple

import torch

BETA = 0.99999
_VARIANCE_FLOOR = 1e-2
_DEBIAS_FLOOR = 1e-12


class ValueStatistics(NamedTuple):
    """Exponentially weighted sums, float64 [] each; divide by `debias` for means.

    mean: of the returns.
    mean_square: of their squares.
    debias: sum of the weights so far, 1 - BETA^n.
    """

    mean: torch.Tensor
    mean_square: torch.Tensor
    debias: torch.Tensor


class Moments(NamedTuple):
    """Debiased, float64 [] each: `std` is at least sqrt(1e-2)."""

    mean: torch.Tensor
    std: torch.Tensor


def initial(device: torch.device) -> ValueStatistics:
    """Statistics of no data."""
    return ValueStatistics(*(torch.zeros((), dtype=torch.float64, device=device) for _ in range(3)))


def update(statistics: ValueStatistics, returns: torch.Tensor) -> ValueStatistics:
    """Fold one batch in: each moment becomes BETA * old + (1 - BETA) * batch mean.

    Args:
        statistics: the moments so far.
        returns: float32 [R] unnormalised returns.
    """
    batch = returns.to(torch.float64)
    return ValueStatistics(
        mean=statistics.mean * BETA + batch.mean() * (1.0 - BETA),
        mean_square=statistics.mean_square * BETA + batch.square().mean() * (1.0 - BETA),
        debias=statistics.debias * BETA + (1.0 - BETA),
    )


def moments(statistics: ValueStatistics) -> Moments:
    """Debiased mean and floored standard deviation; 0 and 1 before the first update."""
    debias = statistics.debias.clamp_min(_DEBIAS_FLOOR)
    mean = statistics.mean / debias
    variance = (statistics.mean_square / debias - mean.square()).clamp_min(_VARIANCE_FLOOR)
    empty = statistics.debias == 0.0
    return Moments(mean, torch.where(empty, torch.ones_like(variance), variance).sqrt())


def normalise(statistics: ValueStatistics, returns: torch.Tensor) -> torch.Tensor:
    """Map returns, float32 [...], to (returns - mean) / std."""
    mean, std = moments(statistics)
    return ((returns - mean) / std).to(returns.dtype)


def denormalise(statistics: ValueStatistics, values: torch.Tensor) -> torch.Tensor:
    """Map values, float32 [...], to values * std + mean: the inverse of `normalise`."""
    mean, std = moments(statistics)
    return (values * std + mean).to(values.dtype)
