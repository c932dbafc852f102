"""Where the units of a group stand when a battle starts.

The game creates a group at one point and lets the engine spread it; exact places are not in the map
files. The model: disks packed on a hexagonal lattice around the point, nearest slot first, in
creation order. Read by `world`.
"""

from __future__ import annotations

import math

from dm2_dist.envs.skirmish.battle_map import Group, Point
from dm2_dist.envs.skirmish.unit_type import UnitType

JITTER = 0.05
"""Largest random offset of a unit from its slot, along each axis."""

_GAP = 2 * JITTER


def places(groups: tuple[Group, ...], facing: int) -> list[tuple[UnitType, Point]]:
    """Give every unit of one side a slot, in creation order.

    Groups that share a point share one lattice.

    Args:
        groups: the groups of the side.
        facing: +1 if the side looks east, -1 if it looks west. The two sides are mirror images, so
            that neither stands better.
    """
    taken: dict[Point, int] = {}
    units: list[tuple[UnitType, Point]] = []
    for group in groups:
        neighbours = [other for other in groups if other.point == group.point]
        spacing = 2 * max(other.unit.separation for other in neighbours) + _GAP
        slots = _lattice(group.point, sum(other.count for other in neighbours), spacing * facing)
        first = taken.get(group.point, 0)
        taken[group.point] = first + group.count
        units.extend((group.unit, slot) for slot in slots[first : first + group.count])
    return units


def _lattice(centre: Point, count: int, spacing: float) -> list[Point]:
    """Return the `count` points of a hexagonal lattice nearest to its centre, nearest first.

    Columns of the lattice run north, so that units of one column share their x and sorting by x
    keeps a fixed order. Of slots equally near, those of the middle column come first, then those in
    front. A negative spacing mirrors the lattice.
    """
    reach = math.ceil(math.sqrt(count)) + 1
    offsets = [
        (column * spacing * math.sqrt(3) / 2, (row + (column % 2) / 2) * spacing)
        for column in range(-reach, reach + 1)
        for row in range(-reach - 1, reach + 1)
    ]
    offsets.sort(
        key=lambda at: (
            round(math.hypot(*at), 6),
            round(abs(at[0]), 6),
            -at[0] / spacing,
            at[1] / spacing,
        )
    )
    return [(centre[0] + x, centre[1] + y) for x, y in offsets[:count]]
