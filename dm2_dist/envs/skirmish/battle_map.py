"""The 23 maps of SMAC as data, and the one place that turns a name into a battle.

One row for each map. A name that ends in .toml or .json is the path of a scenario (`scenario`).
"""

from __future__ import annotations

import difflib

from dm2_dist.envs.skirmish import terrain
from dm2_dist.envs.skirmish.liberty import (
    BANELING,
    COLOSSUS,
    HYDRALISK,
    MARAUDER,
    MARINE,
    MEDIVAC,
    SPINE_CRAWLER,
    STALKER,
    ZEALOT,
    ZERGLING,
)
from dm2_dist.envs.skirmish.matchup import BattleMap, EnemyOrder, Group, Point
from dm2_dist.envs.skirmish.terrain import Terrain
from dm2_dist.envs.skirmish.unit_type import UnitType

__all__ = [
    "MAPS",
    "BattleMap",
    "EnemyOrder",
    "Group",
    "Point",
    "UnknownMapError",
    "find",
]


class UnknownMapError(ValueError):
    """There is no map of that name."""


Roster = tuple[tuple[int, UnitType], ...]

_WEST: Point = (9.0, 16.0)
_EAST: Point = (23.0, 16.0)
_MARCH = EnemyOrder("attack_move", (_WEST,))


def _groups(roster: Roster, point: Point) -> tuple[Group, ...]:
    return tuple(Group(unit, count, point) for count, unit in roster)


def _face_off(
    name: str,
    episode_limit: int,
    allies: Roster,
    enemies: Roster,
    *,
    ground: Terrain = terrain.LANE,
    enemy_types: tuple[UnitType, ...] = (),
) -> BattleMap:
    """Row of a map where the enemy walks from the east point to the team's west point."""
    return BattleMap(
        name,
        episode_limit,
        _groups(allies, _WEST),
        _groups(enemies, _EAST),
        _MARCH,
        ground,
        enemy_types,
    )


def _marines(name: str, episode_limit: int, allies: int, enemies: int) -> BattleMap:
    return _face_off(name, episode_limit, ((allies, MARINE),), ((enemies, MARINE),))


def _medics(
    name: str, episode_limit: int, allies: tuple[int, int, int], enemies: tuple[int, int, int]
) -> BattleMap:
    kinds = (MARINE, MARAUDER, MEDIVAC)
    sides = tuple(zip(allies, kinds, strict=True)), tuple(zip(enemies, kinds, strict=True))
    return _face_off(name, episode_limit, *sides, enemy_types=(MARAUDER, MARINE, MEDIVAC))


def _protoss(
    name: str, episode_limit: int, allies: tuple[int, int], enemies: tuple[int, int]
) -> BattleMap:
    kinds = (STALKER, ZEALOT)
    sides = tuple(zip(allies, kinds, strict=True)), tuple(zip(enemies, kinds, strict=True))
    # The enemy bits are the other way round than the allied ones, as in SMAC.
    return _face_off(name, episode_limit, *sides, enemy_types=(ZEALOT, STALKER))


def _kiting(name: str, episode_limit: int, zealots: int) -> BattleMap:
    return _face_off(
        name, episode_limit, ((3, STALKER),), ((zealots, ZEALOT),), ground=terrain.OPEN
    )


_COLOSSAL: Roster = ((1, COLOSSUS), (3, STALKER), (5, ZEALOT))

_MAP_ROWS = (
    _marines("3m", 60, 3, 3),
    _marines("8m", 120, 8, 8),
    _marines("25m", 150, 25, 25),
    _marines("5m_vs_6m", 70, 5, 6),
    _marines("8m_vs_9m", 120, 8, 9),
    _marines("10m_vs_11m", 150, 10, 11),
    _marines("27m_vs_30m", 180, 27, 30),
    _medics("MMM", 150, (7, 2, 1), (7, 2, 1)),
    _medics("MMM2", 180, (7, 2, 1), (8, 3, 1)),
    _protoss("2s3z", 120, (2, 3), (2, 3)),
    _protoss("3s5z", 150, (3, 5), (3, 5)),
    _protoss("3s5z_vs_3s6z", 170, (3, 5), (3, 6)),
    _kiting("3s_vs_3z", 150, 3),
    _kiting("3s_vs_4z", 200, 4),
    _kiting("3s_vs_5z", 250, 5),
    _face_off("1c3s5z", 180, _COLOSSAL, _COLOSSAL, enemy_types=(COLOSSUS, STALKER, ZEALOT)),
    BattleMap(
        "2m_vs_1z",
        150,
        (Group(MARINE, 1, (13.0, 12.0)), Group(MARINE, 1, (19.0, 12.0))),
        (Group(ZEALOT, 1, (16.0, 19.0)),),
        EnemyOrder("attack_segment", ((13.0, 12.0), (19.0, 12.0))),
        terrain.OCTAGON,
    ),
    BattleMap(
        "corridor",
        400,
        (Group(ZEALOT, 6, (19.0397, 19.1198)),),
        (Group(ZERGLING, 24, (27.91, 28.24)),),
        EnemyOrder("attack_move", ((4.47, 4.3298),)),
        terrain.CHOKE,
    ),
    BattleMap(
        "6h_vs_8z",
        150,
        (Group(HYDRALISK, 6, (14.5998, 9.49)),),
        (Group(ZEALOT, 8, (14.41, 16.7597)),),
        EnemyOrder("attack_move", ((14.5998, 9.49),)),
        terrain.PIT,
    ),
    BattleMap(
        "2s_vs_1sc",
        300,
        (Group(STALKER, 1, (11.1208, 10.338)), Group(STALKER, 1, (16.976, 10.3662))),
        (Group(SPINE_CRAWLER, 1, (13.92, 20.0397)),),
        EnemyOrder("hold"),
        terrain.KEEP,
    ),
    BattleMap(
        "so_many_baneling",
        100,
        (Group(ZEALOT, 7, (11.469, 12.0234)),),
        (Group(BANELING, 32, (27.91, 28.24)),),
        EnemyOrder("attack_move", ((4.47, 4.3298),)),
        terrain.RAVINE,
    ),
    BattleMap(
        "bane_vs_bane",
        200,
        (Group(ZERGLING, 20, (16.0, 11.0)), Group(BANELING, 4, (16.0, 8.0))),
        (Group(ZERGLING, 20, (16.0, 21.0)), Group(BANELING, 4, (16.0, 24.0))),
        EnemyOrder("attack_move", ((16.0, 8.0),)),
        terrain.PEDESTAL,
        enemy_types=(BANELING, ZERGLING),
    ),
    BattleMap(
        "2c_vs_64zg",
        400,
        (Group(COLOSSUS, 2, (16.0, 16.0)),),
        (Group(ZERGLING, 64, (16.0, 9.0)),),
        EnemyOrder("hunt"),
        terrain.PLATEAU,
    ),
)

MAPS: dict[str, BattleMap] = {row.name: row for row in _MAP_ROWS}
"""Every map by name."""


def find(name: str) -> BattleMap:
    """Return the map of that name, or the battle that a scenario file describes.

    Args:
        name: a map of SMAC, or the path of a file that ends in .toml or .json.

    Raises:
        UnknownMapError: there is no such map; the message names the nearest ones and all of them.
        ScenarioError: the file does not describe a battle; the message says why not.
    """
    if name.endswith((".toml", ".json")):
        # Few battles come from a file, and the parsers take as long to load as all tables.
        from dm2_dist.envs.skirmish import scenario

        return scenario.load(name)
    row = MAPS.get(name)
    if row is None:
        nearest = difflib.get_close_matches(name, MAPS, n=2, cutoff=0.5)
        guess = f"did you mean {' or '.join(nearest)}? " if nearest else ""
        raise UnknownMapError(
            f"unknown map {name!r}; {guess}known maps: {', '.join(MAPS)}, and paths that end in "
            ".toml or .json"
        )
    return row
