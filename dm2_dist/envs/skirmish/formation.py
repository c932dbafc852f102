"""Where the units of a group stand when a battle starts.

The game creates a group at one point and lets the engine spread it; exact places are not in the map
files. The model: a block of rows, as square as the number of units allows, centred on the point and
filled in creation order from the rear to the front. Where the ground does not hold the block, units
take the nearest free places of its grid. The gap between units is chosen so that simple play wins
as often as it does in the real game (docs/simulator.md). Read by `world`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from dm2_dist.envs.skirmish.matchup import Group, Point
from dm2_dist.envs.skirmish.terrain import Terrain
from dm2_dist.envs.skirmish.unit_type import UnitType

JITTER = 0.05
"""Largest random offset of a unit from its slot, along each axis."""

GAP = 0.27
"""Free space between neighbours of a block, in cells."""

_RINGS = 24
_SAMPLES_PER_CELL = 4


def places(
    groups: tuple[Group, ...], forward: Point, ground: Terrain
) -> list[tuple[UnitType, Point]]:
    """Give every unit of one side a slot, in creation order.

    Groups that share a point share one block.

    Args:
        groups: the groups of the side.
        forward: where the side looks: a unit vector along one axis. Two sides that look at each
            other are mirror images, so that neither stands better.
        ground: what can be stood on.

    Raises:
        ValueError: the ground around a point does not hold the group.
    """
    slots: dict[Point, Iterator[Point]] = {}
    units: list[tuple[UnitType, Point]] = []
    for group in groups:
        if group.point not in slots:
            sharing = [other for other in groups if other.point == group.point]
            slots[group.point] = _slots(sharing, forward, ground)
        for _ in range(group.count):
            slot = next(slots[group.point], None)
            if slot is None:
                raise ValueError(f"the ground around {group.point} does not hold all units")
            units.append((group.unit, slot))
    return units


def _slots(sharing: list[Group], forward: Point, ground: Terrain) -> Iterator[Point]:
    """Yield the places around the point of some groups that can be stood on."""
    centre = sharing[0].point
    count = sum(group.count for group in sharing)
    radius = max(_room(group.unit) for group in sharing)
    for slot in _grid(centre, count, 2 * radius + GAP, forward):
        if count == 1 or _reachable(ground, centre, slot, radius + JITTER):
            yield slot


def _room(unit: UnitType) -> float:
    """Radius that a unit takes up in a block; who stands above the others takes none of his own."""
    return 0.375 if unit.flies or unit.climbs else unit.separation


def _grid(centre: Point, count: int, spacing: float, forward: Point) -> Iterator[Point]:
    """Yield the places of a block from rear to front, then those around it, ring by ring."""
    width = math.ceil(math.sqrt(count))
    depth = math.ceil(count / width)
    block = [
        (row - (depth - 1) / 2, column - (width - 1) / 2)
        for row in range(depth)
        for column in range(width)
    ]
    around = [
        (row - (depth - 1) / 2, column - (width - 1) / 2)
        for row in range(-_RINGS, depth + _RINGS)
        for column in range(-_RINGS, width + _RINGS)
        if not (0 <= row < depth and 0 <= column < width)
    ]
    around.sort(key=lambda at: (max(abs(at[0]), abs(at[1])), math.hypot(*at), at))
    ahead_x, ahead_y = forward
    for ahead, across in block + around:
        x = ahead * ahead_x + across * abs(ahead_y)
        y = ahead * ahead_y + across * abs(ahead_x)
        yield centre[0] + x * spacing, centre[1] + y * spacing


def _reachable(ground: Terrain, centre: Point, slot: Point, radius: float) -> bool:
    """Whether a disk at the slot is on the ground, and so is the straight way from the centre."""
    x, y = slot
    rim = ((x + radius, y), (x - radius, y), (x, y + radius), (x, y - radius))
    samples = max(1, math.ceil(math.dist(centre, slot) * _SAMPLES_PER_CELL))
    way = (
        (
            centre[0] + (x - centre[0]) * part / samples,
            centre[1] + (y - centre[1]) * part / samples,
        )
        for part in range(samples + 1)
    )
    return all(ground.pathable(math.floor(at[0]), math.floor(at[1])) for at in (*rim, *way))
