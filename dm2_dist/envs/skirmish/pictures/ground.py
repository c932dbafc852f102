"""The outline of the ground that can be walked on: closed curves with soft corners.

Pure geometry on the cells of a map; drawn by `picture` and by the page that `page` writes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Point = tuple[float, float]
Curve = tuple[Point, ...]

_CUTS = (0.5, 0.2)  # cells from a corner at which it is cut, at most


def outlines(walkable: npt.NDArray[np.bool_]) -> tuple[Curve, ...]:
    """Trace the borders between ground and cliff.

    Fill the curves by the even-odd rule to get the ground.

    Args:
        walkable: bool [N, N] where there is ground, indexed [x, y].

    Returns:
        Closed curves of points (x, y) in cells. Ground at the border of the map goes on for a cell
        beyond it, so that no curve runs along the border.
    """
    wider = np.pad(np.pad(walkable, 1, mode="edge"), 1, constant_values=False)
    following: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for x, y in np.argwhere(wider).tolist():
        # The border of a cell, counter-clockwise, so that the ground lies to the left.
        sides = (
            ((x, y), (x + 1, y), (x, y - 1)),
            ((x + 1, y), (x + 1, y + 1), (x + 1, y)),
            ((x + 1, y + 1), (x, y + 1), (x, y + 1)),
            ((x, y + 1), (x, y), (x - 1, y)),
        )
        for start, end, beyond in sides:
            if not wider[beyond]:
                following.setdefault(start, []).append(end)
    curves = []
    while following:
        curve = _follow(following)
        curves.append(_soften([(x - 2.0, y - 2.0) for x, y in curve]))
    return tuple(curves)


def _follow(following: dict[tuple[int, int], list[tuple[int, int]]]) -> list[tuple[int, int]]:
    """Take one closed walk out of the sides that are left; corners only, in order."""
    start = min(following)
    walk = [start]
    while True:
        here = walk[-1]
        there = following[here].pop()
        if not following[here]:
            del following[here]
        if there == start:
            break
        walk.append(there)
    around = zip(walk[-1:] + walk[:-1], walk, walk[1:] + walk[:1], strict=True)
    return [
        here
        for before, here, after in around
        if (here[0] - before[0], here[1] - before[1]) != (after[0] - here[0], after[1] - here[1])
    ]


def _soften(corners: list[Point]) -> Curve:
    """Cut the corners of a closed outline, then the corners that this leaves."""
    points = corners
    for reach in _CUTS:
        cut: list[Point] = []
        for here, after in zip(points, points[1:] + points[:1], strict=True):
            dx, dy = after[0] - here[0], after[1] - here[1]
            length = (dx * dx + dy * dy) ** 0.5
            share = min(reach / length, 0.5) if length > 0 else 0.0
            cut.append((here[0] + share * dx, here[1] + share * dy))
            cut.append((after[0] - share * dx, after[1] - share * dy))
        points = cut
    return tuple((round(x, 3), round(y, 3)) for x, y in points)
