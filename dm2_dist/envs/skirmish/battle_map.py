"""The 23 maps of SMAC as data: who fights whom, where, on which ground, and for how long.

One row for each map; every size follows from the row (`feature`), every number of a unit from its
type (`unit_type`).
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

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
from dm2_dist.envs.skirmish.terrain import Terrain
from dm2_dist.envs.skirmish.unit_type import Race, UnitType

Point = tuple[float, float]

NUM_BASIC_ACTIONS = 6
"""No-op, stop and four moves; action 6 + k attacks enemy k (a medivac heals ally k)."""


class UnknownMapError(ValueError):
    """There is no map of that name."""


class UnplayableMapError(UnknownMapError):
    """The map is known, but the simulator cannot play it yet."""


@dataclass(frozen=True, slots=True)
class Group:
    """Units of one kind created at one point."""

    unit: UnitType
    count: int
    point: Point


@dataclass(frozen=True, slots=True)
class EnemyOrder:
    """What the computer's units are told at the start.

    Attributes:
        kind: `attack_move` to the first point; `attack_segment`, to a random point between the two
            points; `hunt` the team wherever it is; `hold`, nothing.
        points: where to.
    """

    kind: Literal["attack_move", "attack_segment", "hunt", "hold"]
    points: tuple[Point, ...] = ()


@dataclass(frozen=True, slots=True)
class BattleMap:
    """One map.

    Attributes:
        name: its name in SMAC.
        episode_limit: environment steps after which an undecided battle is cut off.
        allies: groups of the team, in creation order.
        enemies: groups of the computer, in creation order.
        order: order of the computer's units.
        terrain: ground plan.
        enemy_types: the order of the enemy type bits; empty if units carry no type bits.
    """

    name: str
    episode_limit: int
    allies: tuple[Group, ...]
    enemies: tuple[Group, ...]
    order: EnemyOrder
    terrain: Terrain
    enemy_types: tuple[UnitType, ...] = ()

    @property
    def num_agents(self) -> int:
        """K, units of the team."""
        return sum(group.count for group in self.allies)

    @property
    def num_enemies(self) -> int:
        """Units of the computer."""
        return sum(group.count for group in self.enemies)

    @property
    def num_actions(self) -> int:
        """A, actions of one agent."""
        return NUM_BASIC_ACTIONS + self.num_enemies

    @property
    def ally_race(self) -> Race:
        """Race of the team."""
        return self.allies[0].unit.race

    @property
    def enemy_race(self) -> Race:
        """Race of the computer."""
        return self.enemies[0].unit.race

    @property
    def ally_types(self) -> tuple[UnitType, ...]:
        """Kinds of units of the team, ordered as the agents and the ally type bits."""
        return tuple(sorted({group.unit for group in self.allies}, key=lambda unit: unit.rank))

    @property
    def num_type_bits(self) -> int:
        """Type bits of each unit: none on maps where each side has one kind of unit."""
        return len(self.ally_types) if len(self.ally_types) > 1 else 0

    @property
    def max_reward(self) -> float:
        """Unscaled reward of a flawless battle: enemy health and shields, kills, win."""
        pool = sum(group.count * (group.unit.health + group.unit.shield) for group in self.enemies)
        return 200.0 + 10.0 * self.num_enemies + pool


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
        terrain.OCTAGON,
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

PLAYABLE_MAPS = ("3m", "8m", "5m_vs_6m", "8m_vs_9m", "3s_vs_3z", "3s_vs_4z", "3s_vs_5z")
"""Maps that the simulator plays."""


def find(name: str) -> BattleMap:
    """Return the map of that name.

    Raises:
        UnknownMapError: there is none; the message names the nearest ones and all of them.
    """
    row = MAPS.get(name)
    if row is None:
        nearest = difflib.get_close_matches(name, MAPS, n=2, cutoff=0.5)
        guess = f"did you mean {' or '.join(nearest)}? " if nearest else ""
        raise UnknownMapError(f"unknown map {name!r}; {guess}Known maps: {', '.join(MAPS)}")
    return row


def find_playable(name: str) -> BattleMap:
    """Return the map of that name if the simulator can play it.

    Raises:
        UnknownMapError: there is no such map.
        UnplayableMapError: the map exists, but cannot be played yet; the message names those that
            can.
    """
    row = find(name)
    if name not in PLAYABLE_MAPS:
        raise UnplayableMapError(
            f"map {name!r} cannot be played yet; playable maps: {', '.join(PLAYABLE_MAPS)}"
        )
    return row
