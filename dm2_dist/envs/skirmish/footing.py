"""Where walkers can get to on a ground plan.

Read by `scenario`, which refuses battles that could not be set up.
"""

from __future__ import annotations

import math

from dm2_dist.envs.skirmish.kernels.field import MAP_SIZE
from dm2_dist.envs.skirmish.matchup import Point
from dm2_dist.envs.skirmish.terrain import Terrain

Cell = tuple[int, int]

_DIAGONALS = ((1, 1), (1, -1), (-1, 1), (-1, -1))
_SAMPLES_PER_CELL = 4


def cell_of(point: Point) -> Cell:
    """Return the cell that a point lies in."""
    return math.floor(point[0]), math.floor(point[1])


def connected(plan: Terrain, start: Cell) -> frozenset[Cell]:
    """Return every cell that can be walked to from `start` over shared edges; none from a cliff."""
    found = {start} if plan.pathable(*start) else set()
    pending = list(found)
    while pending:
        x, y = pending.pop()
        for near in ((x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)):
            if near not in found and plan.pathable(*near):
                found.add(near)
                pending.append(near)
    return frozenset(found)


def first_cliff(plan: Terrain, start: Point, end: Point) -> Point | None:
    """Return the first point of a segment that is on a cliff or off the map, or None."""
    samples = max(1, math.ceil(math.dist(start, end) * _SAMPLES_PER_CELL))
    for index in range(samples + 1):
        part = index / samples
        at = (start[0] + part * (end[0] - start[0]), start[1] + part * (end[1] - start[1]))
        if not plan.pathable(*cell_of(at)):
            return at
    return None


def num_corners(plan: Terrain) -> int:
    """Count the convex corners of all cliffs: those that a walker can turn round."""
    return sum(
        plan.pathable(x + dx, y) and plan.pathable(x, y + dy) and plan.pathable(x + dx, y + dy)
        for x in range(MAP_SIZE)
        for y in range(MAP_SIZE)
        if not plan.pathable(x, y)
        for dx, dy in _DIAGONALS
    )
