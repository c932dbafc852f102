"""One unit as the game's raw interface reports it, for code that reads SMAC's unit messages.

Made on demand from the arrays of a batch; read through `environment.SkirmishEnv`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dm2_dist.envs.skirmish.batch import SkirmishBatch
from dm2_dist.envs.skirmish.battle_map import BattleMap
from dm2_dist.envs.skirmish.kernels.observation import SIGHT_RANGE
from dm2_dist.envs.skirmish.lineup import roster
from dm2_dist.envs.skirmish.unit_type import UnitType

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
        pos: where it stands; where it died.
        health: health points, 0 when dead.
        health_max: health points of a fresh unit.
        shield: shield points.
        shield_max: shield points of a fresh unit.
        energy: energy, 0 for units without any.
        energy_max: most energy that it can have.
        weapon_cooldown: loops until its weapon is ready.
        radius: body radius.
        cooldown_scale: constant by which the state divides the cooldown, or the energy.
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
    energy: float
    energy_max: float
    weapon_cooldown: float
    radius: float
    cooldown_scale: float


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What stays the same in all battles of a map: the kind and the type number of every unit.

    Attributes:
        units: [U] kinds, agents first.
        type_numbers: [U] type numbers; those of the agents are of the controllable copies.
        num_agents: K.
    """

    units: tuple[UnitType, ...]
    type_numbers: tuple[int, ...]
    num_agents: int


def catalogue(row: BattleMap) -> Catalogue:
    """List the kinds of units of a map."""
    units = tuple(unit for unit, _ in roster(row))
    controlled = {
        unit: FIRST_CONTROLLED_TYPE + row.ally_types.index(unit) for unit in row.ally_types
    }
    numbers = [controlled[unit] for unit in units[: row.num_agents]]
    numbers += [unit.type_id for unit in units[row.num_agents :]]
    return Catalogue(units, tuple(numbers), row.num_agents)


def views(batch: SkirmishBatch, listed: Catalogue, env: int) -> list[UnitView]:
    """List every unit of one battle, agents first, dead ones included."""
    x, y = batch.unit_x[env].tolist(), batch.unit_y[env].tolist()
    health, shield = batch.unit_health[env].tolist(), batch.unit_shield[env].tolist()
    energy, cooldown = batch.unit_energy[env].tolist(), batch.unit_cooldown[env].tolist()
    return [
        UnitView(
            tag=index + 1,
            owner=_ALLY if index < listed.num_agents else _ENEMY,
            unit_type=listed.type_numbers[index],
            name=unit.name,
            pos=Position(x[index], y[index]),
            health=health[index],
            health_max=unit.health,
            shield=shield[index],
            shield_max=unit.shield,
            energy=energy[index],
            energy_max=unit.energy_max,
            weapon_cooldown=cooldown[index],
            radius=unit.radius,
            cooldown_scale=unit.cooldown_scale,
        )
        for index, unit in enumerate(listed.units)
    ]


def visibility(agents: dict[int, UnitView], enemies: dict[int, UnitView]) -> npt.NDArray[np.bool_]:
    """Say which units each living agent sees; an agent does not list itself.

    Returns:
        bool [K, K + M].
    """
    units = [*agents.values(), *enemies.values()]
    seen = np.zeros((len(agents), len(units)), np.bool_)
    for i, unit in agents.items():
        for j, other in enumerate(units):
            apart = math.hypot(other.pos.x - unit.pos.x, other.pos.y - unit.pos.y)
            living = unit.health > 0 and other.health > 0
            seen[i, j] = i != j and living and apart < SIGHT_RANGE
    return seen
