"""In which order the units of a map are counted, and where they stand at the start.

Read by `world`, which lays them out for the kernels.
"""

from __future__ import annotations

from dataclasses import replace

from dm2_dist.envs.skirmish import formation
from dm2_dist.envs.skirmish.kernels.field import MAP_SIZE
from dm2_dist.envs.skirmish.matchup import BattleMap, Group, Point
from dm2_dist.envs.skirmish.unit_type import UnitType

Placed = tuple[UnitType, Point]
"""A unit and its slot."""


def roster(row: BattleMap) -> list[Placed]:
    """Every unit with its slot.

    Agents come first, by (catalogue order, x, y) as SMAC numbers them, then enemies in creation
    order.
    """
    allies = formation.places(row.allies, row.forward, row.terrain)
    allies.sort(key=_order)
    return allies + formation.places(row.enemies, _opposite(row.forward), row.terrain)


def mirrored_roster(row: BattleMap) -> tuple[list[Placed], list[int]]:
    """Every unit as the enemies count and see them: themselves first, on the mirrored map.

    Returns:
        The units with their mirrored slots, and the place of each in `roster`.
    """
    units = [(unit, mirror(place, row.forward)) for unit, place in roster(row)]
    enemies = sorted(range(row.num_agents, len(units)), key=lambda index: _order(units[index]))
    order = enemies + _creation_order(row)
    return [units[index] for index in order], order


def swapped(row: BattleMap) -> BattleMap:
    """Return the map with the sides exchanged and mirrored."""
    enemy_types = row.enemy_types
    if set(enemy_types) != set(row.ally_types):
        enemy_types = row.ally_types
    return replace(
        row,
        allies=_mirror_groups(row.enemies, row.forward),
        enemies=_mirror_groups(row.allies, row.forward),
        enemy_types=enemy_types,
    )


def mirror(point: Point, forward: Point) -> Point:
    """Mirror a point at the middle of the map, along the axis on which the sides face."""
    if forward[0]:
        return MAP_SIZE - point[0], point[1]
    return point[0], MAP_SIZE - point[1]


def _mirror_groups(groups: tuple[Group, ...], forward: Point) -> tuple[Group, ...]:
    return tuple(replace(group, point=mirror(group.point, forward)) for group in groups)


def _creation_order(row: BattleMap) -> list[int]:
    """Place in the roster of every agent, in the order in which the agents are created."""
    created = formation.places(row.allies, row.forward, row.terrain)
    numbered = sorted(range(len(created)), key=lambda index: _order(created[index]))
    return [numbered.index(index) for index in range(len(created))]


def _order(unit: Placed) -> tuple[float, float, float]:
    return unit[0].rank, *unit[1]


def _opposite(forward: Point) -> Point:
    return -forward[0], -forward[1]
