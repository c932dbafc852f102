"""The unit tables of SMAC's state dictionary, computed from single units in plain Python.

Read by `environment`; the same numbers as in `global_state`, before they are rounded to float32.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dm2_dist.envs.skirmish.battle_map import BattleMap
from dm2_dist.envs.skirmish.kernels.field import MAP_SIZE
from dm2_dist.envs.skirmish.unit_type import UnitType
from dm2_dist.envs.skirmish.unit_view import UnitView


def tables(
    row: BattleMap, agents: dict[int, UnitView], enemies: dict[int, UnitView]
) -> dict[str, npt.NDArray[np.float64] | float]:
    """Compute the state features of every unit; zeros for the dead.

    Returns:
        `allies` float64 [K, nf] and `enemies` float64 [M, nf].
    """
    shields = row.ally_race == "P", row.enemy_race == "P"
    allied = [
        _features(
            unit,
            shields[0],
            _type_bits(unit, row.ally_types, row.num_type_bits),
            _readiness(unit) / unit.cooldown_scale,
        )
        for unit in agents.values()
    ]
    hostile = [
        _features(unit, shields[1], _type_bits(unit, row.enemy_types, row.num_type_bits))
        for unit in enemies.values()
    ]
    return {"allies": np.array(allied), "enemies": np.array(hostile)}


def _readiness(unit: UnitView) -> float:
    """Return the energy of a unit that has any, else the loops until its weapon is ready."""
    return unit.energy if unit.energy_max > 0 else unit.weapon_cooldown


def _type_bits(unit: UnitView, kinds: tuple[UnitType, ...], num_bits: int) -> list[float]:
    return [float(bit < len(kinds) and kinds[bit].name == unit.name) for bit in range(num_bits)]


def _features(
    unit: UnitView, has_shield: bool, type_bits: list[float], *readiness: float
) -> list[float]:
    centre = MAP_SIZE / 2
    values = [unit.health / unit.health_max, *readiness]
    values += [(unit.pos.x - centre) / MAP_SIZE, (unit.pos.y - centre) / MAP_SIZE]
    if has_shield:
        values.append(unit.shield / (unit.shield_max or 1.0))
    values += type_bits
    return values if unit.health > 0 else [0.0] * len(values)
