"""Who fights whom, where and for how long: the description of one battle.

Every size follows from it (`feature`), every number of a unit from its type (`unit_type`). Made by
the table of SMAC's maps (`battle_map`) and by files (`scenario`); read by `world`.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

from dm2_dist.envs.skirmish.kernels.field import NUM_BASIC_ACTIONS
from dm2_dist.envs.skirmish.profile import Profile
from dm2_dist.envs.skirmish.terrain import Terrain
from dm2_dist.envs.skirmish.unit_type import Race, UnitType

Point = tuple[float, float]
OrderKind = Literal["attack_move", "attack_segment", "hunt", "hold"]


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

    kind: OrderKind
    points: tuple[Point, ...] = ()


@dataclass(frozen=True, slots=True)
class BattleMap:
    """One map.

    Attributes:
        name: what it is called; SMAC's name for SMAC's maps.
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
        """A, actions of one agent.

        Action 6 + k attacks enemy k or, given to a healer, treats agent k: with healers there are
        enough actions to name every agent.
        """
        healers = any(group.unit.heals for group in self.allies)
        return NUM_BASIC_ACTIONS + max(self.num_enemies, self.num_agents if healers else 0)

    @property
    def ally_race(self) -> Race:
        """Race of the team: "P", and with it shield features, if any of its units has a shield."""
        return _race(self.allies)

    @property
    def enemy_race(self) -> Race:
        """Race of the computer's side, by the same rule."""
        return _race(self.enemies)

    @property
    def ally_types(self) -> tuple[UnitType, ...]:
        """Kinds of units of the team, ordered as the agents and the ally type bits."""
        return tuple(sorted({group.unit for group in self.allies}, key=lambda unit: unit.rank))

    @property
    def num_type_bits(self) -> int:
        """Type bits of each unit: none if each side has one kind, else the larger number of kinds.

        All units have as many, so that the spare bits of the side with fewer kinds stay zero.
        """
        kinds = max(len(self.ally_types), len({group.unit for group in self.enemies}))
        return kinds if kinds > 1 else 0

    @property
    def forward(self) -> Point:
        """Where the team looks: the unit vector along x or y that points to the enemies best."""
        ahead_x = _mean(self.enemies, 0) - _mean(self.allies, 0)
        ahead_y = _mean(self.enemies, 1) - _mean(self.allies, 1)
        if abs(ahead_x) >= abs(ahead_y):
            return math.copysign(1.0, ahead_x), 0.0
        return 0.0, math.copysign(1.0, ahead_y)

    def with_profile(self, profile: Profile) -> BattleMap:
        """Return the same battle fought with the units of another set of game data."""

        def exchanged(groups: tuple[Group, ...]) -> tuple[Group, ...]:
            return tuple(
                dataclasses.replace(group, unit=profile.units[group.unit.name]) for group in groups
            )

        return dataclasses.replace(
            self,
            allies=exchanged(self.allies),
            enemies=exchanged(self.enemies),
            enemy_types=tuple(profile.units[unit.name] for unit in self.enemy_types),
        )


def _race(groups: tuple[Group, ...]) -> Race:
    return "P" if any(group.unit.shield > 0 for group in groups) else groups[0].unit.race


def _mean(groups: tuple[Group, ...], axis: int) -> float:
    return sum(group.count * group.point[axis] for group in groups) / sum(
        group.count for group in groups
    )
