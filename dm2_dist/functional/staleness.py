"""How far the policy that is trained has left the one that played, in three numbers.

With w = pi/mu of the action taken: the mean of |log w|, the fraction of rows whose ratio a cap cuts
off, and the effective sample size (sum w)^2 / (n sum w^2), which is 1 for data of the policy's own
and near 0 when a few rows outweigh all others (Kong 1992).
"""

from typing import NamedTuple

import torch

from dm2_dist.functional import ppo

_ROUNDING = 1e-3
"""Acting and training round differently; a ratio so little above its cap is at its cap."""


class Staleness(NamedTuple):
    """Over the rows that count, float32 [] each.

    mean_abs_log_ratio: mean of |log w|, in nats.
    capped_fraction: share of the rows with w above the cap.
    effective_sample_size: share of the rows that would tell as much if w were 1 everywhere.
    """

    mean_abs_log_ratio: torch.Tensor
    capped_fraction: torch.Tensor
    effective_sample_size: torch.Tensor


def measure(log_ratio: torch.Tensor, weight: torch.Tensor, cap: float) -> Staleness:
    """Measure rows of one iteration; finite for finite logarithms, however large.

    Args:
        log_ratio: float32 [...] log w of each action taken.
        weight: float32 [...] 1 where the row counts; dead rows have w = 1 and would flatter.
        cap: where the ratio is cut off.
    """
    assert log_ratio.shape == weight.shape, (log_ratio.shape, weight.shape)
    # The size does not change when all ratios are divided by the largest, and nothing overflows.
    counted = weight > 0.0
    largest = torch.where(counted, log_ratio, -torch.inf).max().clamp_min(-1e30)
    scaled = torch.where(counted, log_ratio - largest, -torch.inf).exp()
    size = scaled.sum().square() / (weight.sum() * scaled.square().sum()).clamp_min(
        torch.finfo(torch.float32).tiny
    )
    return Staleness(
        mean_abs_log_ratio=ppo.masked_mean(log_ratio.abs(), weight),
        capped_fraction=ppo.masked_mean(above(log_ratio.exp(), cap), weight),
        effective_sample_size=size,
    )


def above(ratio: torch.Tensor, cap: float) -> torch.Tensor:
    """1 where a ratio is above `cap` by more than rounding, else 0, float32 [...].

    Args:
        ratio: float32 [...] not capped.
        cap: where it is cut off.
    """
    return (ratio > cap * (1.0 + _ROUNDING)).to(ratio.dtype)
