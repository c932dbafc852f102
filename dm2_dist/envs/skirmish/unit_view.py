"""One unit as the game's raw interface reports it, for code that reads SMAC's unit messages.

Made on demand from the arrays of a batch; read through `environment.SkirmishEnv`.
"""

from __future__ import annotations

from dataclasses import dataclass

from dm2_dist.envs.skirmish.batch import SkirmishBatch
from dm2_dist.envs.skirmish.battle_map import BattleMap
from dm2_dist.envs.skirmish.unit_type import UnitType
from dm2_dist.envs.skirmish.world import roster

FIRST_CONTROLLED_TYPE = 2000
"""Type number of the first controllable copy of a unit; the real number depends on the build."""

_ALLY, _ENEMY = 1, 2


@dataclass(frozen=True, slots=True)
class Position:
    """A point of the map."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class UnitView:
    """One unit.

    Attributes:
        tag: number of the unit in the battle, never reused.
        owner: 1 for the team, 2 for the computer.
        unit_type: number of its kind.
        name: name of its kind.
        pos: where it stands.
        health: health points, 0 when dead.
        health_max: health points of a fresh unit.
        shield: shield points.
        shield_max: shield points of a fresh unit.
        weapon_cooldown: loops until its weapon is ready.
        radius: body radius.
        cooldown_scale: constant by which the state divides the cooldown.
    """

    tag: int
    owner: int
    unit_type: int
    name: str
    pos: Position
    health: float
    health_max: float
    shield: float
    shield_max: float
    weapon_cooldown: float
    radius: float
    cooldown_scale: float


def views(batch: SkirmishBatch, row: BattleMap, env: int) -> list[UnitView]:
    """List every unit of one battle, agents first, dead ones included."""
    return [
        UnitView(
            tag=index + 1,
            owner=_ALLY if index < row.num_agents else _ENEMY,
            unit_type=_type_number(row, unit, is_agent=index < row.num_agents),
            name=unit.name,
            pos=Position(float(batch.unit_x[env, index]), float(batch.unit_y[env, index])),
            health=float(batch.unit_health[env, index]),
            health_max=unit.health,
            shield=float(batch.unit_shield[env, index]),
            shield_max=unit.shield,
            weapon_cooldown=float(batch.unit_cooldown[env, index]),
            radius=unit.radius,
            cooldown_scale=unit.cooldown_scale,
        )
        for index, (unit, _) in enumerate(roster(row))
    ]


def type_numbers(row: BattleMap) -> list[int]:
    """Type number of every unit, agents first."""
    return [
        _type_number(row, unit, is_agent=index < row.num_agents)
        for index, (unit, _) in enumerate(roster(row))
    ]


def _type_number(row: BattleMap, unit: UnitType, *, is_agent: bool) -> int:
    return FIRST_CONTROLLED_TYPE + row.ally_types.index(unit) if is_agent else unit.type_id
