"""How sure a curve is: intervals of win rates and of means, over episodes and over runs.

Pure functions on arrays. Used by `monitoring.report_curves` and `monitoring.report_comparison`.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""Maps [..., N, P] to [..., P]: one number for each point from those of N runs."""

Z95 = 1.959963984540054
"""Half the width of a 95 % interval in standard errors."""
_RESAMPLES = 1000


def wilson(rate: float, episodes: int) -> tuple[float, float]:
    """The 95 % score interval (Wilson 1927) of a win rate.

    Args:
        rate: fraction of the episodes that were won.
        episodes: how many were played, at least 1.

    Returns:
        Lower and upper bound, within 0 and 1 and around the rate.
    """
    share = Z95 * Z95 / episodes
    centre = (rate + share / 2) / (1 + share)
    half = math.sqrt(share * (rate * (1 - rate) + share / 4)) / (1 + share)
    return max(min(centre - half, rate), 0.0), min(max(centre + half, rate), 1.0)


def mean(values: Floats) -> Floats:
    """The mean over runs: [..., N, P] to [..., P]."""
    result: Floats = values.mean(axis=-2)
    return result


def interquartile_mean(values: Floats) -> Floats:
    """The mean of the middle half of the runs: [..., N, P] to [..., P].

    A quarter of the runs is cut off at either end; of a run that lies across the cut, the part
    inside counts.
    """
    count = values.shape[-2]
    edges = np.arange(count + 1) / count
    inside = np.diff(np.clip(edges, 0.25, 0.75))
    result: Floats = np.einsum("...np,n->...p", np.sort(values, axis=-2), inside / inside.sum())
    return result


def stratified_bootstrap(
    strata: Sequence[Floats], statistic: Statistic, seed: int = 0
) -> tuple[Floats, Floats]:
    """The 95 % percentile interval of a statistic over runs.

    Each stratum is drawn from anew, with replacement and as often as it has runs, so that every map
    keeps its share (Agarwal et al. 2021).

    Args:
        strata: for instance one per map, each [N_s, P] with the values of N_s runs.
        statistic: of all runs together.
        seed: of the draws; the same seed gives the same interval.

    Returns:
        Lower and upper bounds, [P] each.
    """
    generator = np.random.default_rng(seed)
    drawn = [
        runs[generator.integers(len(runs), size=(_RESAMPLES, len(runs)))]
        for runs in strata
        if len(runs)
    ]
    estimates = statistic(np.concatenate(drawn, axis=1))
    low, high = np.percentile(estimates, [2.5, 97.5], axis=0)
    return low, high


def common_grid(curves: Sequence[tuple[Floats, Floats]], points: int = 80) -> tuple[Floats, Floats]:
    """Curves of several runs at the same places, where all of them are known.

    Args:
        curves: x, ascending, and y of each run, at least one point each.
        points: how many places.

    Returns:
        x [P] and the values [N, P]; P is 0 where the curves share no place.
    """
    first = max(x[0] for x, _ in curves)
    last = min(x[-1] for x, _ in curves)
    if last < first:
        return np.empty(0), np.empty((len(curves), 0))
    grid = np.linspace(first, last, points if last > first else 1)
    return grid, np.stack([np.interp(grid, x, y) for x, y in curves])


def thinned(x: Floats, y: Floats, points: int, *, largest: bool = False) -> tuple[Floats, Floats]:
    """A curve of at most so many points: means of neighbours, or their largest.

    Args:
        x: [N] ascending.
        y: [N] finite.
        points: most points to keep, at least 1.
        largest: keep the largest value of each group, where peaks matter.
    """
    if len(x) <= points:
        return x, y
    starts = np.unique(np.linspace(0, len(x), points, endpoint=False).astype(np.int64))
    sizes = np.diff(np.append(starts, len(x)))
    values = np.maximum.reduceat(y, starts) if largest else np.add.reduceat(y, starts) / sizes
    return np.add.reduceat(x, starts) / sizes, values
