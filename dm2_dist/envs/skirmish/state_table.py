"""The unit tables of SMAC's state dictionary, computed from single units in plain Python.

Read by `environment`; the same numbers as in `global_state`, before they are rounded to float32.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dm2_dist.envs.skirmish.battle_map import BattleMap
from dm2_dist.envs.skirmish.terrain import MAP_SIZE
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
    kinds = (row.ally_types, row.enemy_types) if row.num_type_bits else ((), ())
    allied = [
        _features(unit, shields[0], kinds[0], unit.weapon_cooldown / unit.cooldown_scale)
        for unit in agents.values()
    ]
    hostile = [_features(unit, shields[1], kinds[1]) for unit in enemies.values()]
    return {"allies": np.array(allied), "enemies": np.array(hostile)}


def _features(
    unit: UnitView, has_shield: bool, kinds: tuple[UnitType, ...], *cooldown: float
) -> list[float]:
    centre = MAP_SIZE / 2
    values = [unit.health / unit.health_max, *cooldown]
    values += [(unit.pos.x - centre) / MAP_SIZE, (unit.pos.y - centre) / MAP_SIZE]
    if has_shield:
        values.append(unit.shield / unit.shield_max)
    values += [float(kind.name == unit.name) for kind in kinds]
    return values if unit.health > 0 else [0.0] * len(values)
