"""A histogram of whole numbers. Used by `monitoring.metrics`."""

import bisect
import itertools
from collections.abc import Iterable, Sequence


class Histogram:
    """Numbers by bucket; total: their sum."""

    def __init__(self, bounds: Sequence[int]) -> None:
        """Count numbers up to each of `bounds`, ascending, and those above all."""
        self.total = 0
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)

    def extend(self, numbers: Iterable[int]) -> None:
        """Count these, too."""
        for number in numbers:
            self._counts[bisect.bisect_left(self._bounds, number)] += 1
            self.total += number

    def buckets(self) -> list[tuple[str, float]]:
        """Each upper bound, and how many numbers are at most that."""
        bounds = [*map(str, self._bounds), "+Inf"]
        return list(zip(bounds, itertools.accumulate(self._counts), strict=True))
