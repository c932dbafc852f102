"""The unchanging part of a map as arrays for the kernels.

Fed by the tables (`battle_map`, `unit_type`, `terrain`, `formation`) and the options; read by every
kernel.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dm2_dist.envs.skirmish import field, formation, terrain, unit_type
from dm2_dist.envs.skirmish.battle_map import BattleMap, Point
from dm2_dist.envs.skirmish.options import Options
from dm2_dist.envs.skirmish.unit_type import UnitType


class World(NamedTuple):
    """One map under one set of options.

    Attributes:
        trait: float64 [F, U] properties of every unit.
        hit: float64 [U, U] damage of one hit of unit i on unit j, before armour.
        cell: uint8 [32, 32] ground codes, indexed [x, y].
        height: uint8 [32, 32] terrain height bytes, indexed [x, y].
        number: int64 [N] sizes and switches.
        weight: float64 [W] lengths and rewards.
    """

    trait: npt.NDArray[np.float64]
    hit: npt.NDArray[np.float64]
    cell: npt.NDArray[np.uint8]
    height: npt.NDArray[np.uint8]
    number: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float64]


def build(row: BattleMap, options: Options, *, compute_state: bool) -> World:
    """Lay a map out for the kernels."""
    units = roster(row)
    return World(
        trait=_traits(row, units),
        hit=_hits([unit for unit, _ in units]),
        cell=_cells(row.terrain),
        height=_heights(row.terrain),
        number=_numbers(row, options, compute_state=compute_state),
        weight=_weights(row, options),
    )


def roster(row: BattleMap) -> list[tuple[UnitType, Point]]:
    """Every unit with its slot.

    Agents come first, by (catalogue order, x, y) as SMAC numbers them, then enemies in creation
    order.
    """
    allies = formation.places(row.allies, facing=1)
    allies.sort(key=lambda unit: (unit[0].rank, *unit[1]))
    return allies + formation.places(row.enemies, facing=-1)


def _traits(row: BattleMap, units: list[tuple[UnitType, Point]]) -> npt.NDArray[np.float64]:
    trait = np.zeros((field.NUM_TRAITS, len(units)))
    for index, (unit, place) in enumerate(units):
        bits = row.ally_types if index < row.num_agents else row.enemy_types
        column = {
            field.HEALTH_MAX: unit.health,
            field.SHIELD_MAX: unit.shield,
            field.ARMOR: unit.armor,
            field.SPEED: unit.speed,
            field.BODY: unit.radius,
            field.SEPARATION: unit.separation,
            field.RANGE: unit.weapon.reach,
            field.SCAN: unit.scan_range,
            field.PERIOD: unit.weapon.period,
            field.DAMAGE_POINT: unit.weapon.damage_point,
            field.MISSILE: unit.weapon.delivery == "missile",
            field.HIT_DELAY: unit.weapon.hit_delay,
            field.REGENERATION: unit_type.ZERG_REGENERATION if unit.race == "Z" else 0.0,
            field.COOLDOWN_SCALE: unit.cooldown_scale,
            field.SHIELD_SCALE: unit.shield or 1.0,
            field.TYPE_BIT: bits.index(unit) if row.num_type_bits else 0,
            field.SPAWN_X: place[0],
            field.SPAWN_Y: place[1],
            field.ENERGY_START: unit.energy,
        }
        for name, value in column.items():
            trait[name, index] = value
    return trait


def _hits(units: list[UnitType]) -> npt.NDArray[np.float64]:
    hit = np.empty((len(units), len(units)))
    for i, attacker in enumerate(units):
        weapon = attacker.weapon
        for j, target in enumerate(units):
            hit[i, j] = weapon.damage + weapon.bonus * (weapon.bonus_against in target.attributes)
    return hit


def _cells(plan: terrain.Terrain) -> npt.NDArray[np.uint8]:
    cell = np.full((terrain.MAP_SIZE, terrain.MAP_SIZE), field.CLIFF, dtype=np.uint8)
    for x, y in np.ndindex(cell.shape):
        if plan.pathable(x, y):
            around = [plan.pathable(x + dx, y + dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
            cell[x, y] = field.GROUND if all(around) else field.EDGE
    return cell


def _heights(plan: terrain.Terrain) -> npt.NDArray[np.uint8]:
    ground = _cells(plan) != field.CLIFF
    return np.where(ground, terrain.GROUND_HEIGHT, terrain.CLIFF_HEIGHT).astype(np.uint8)


def _numbers(row: BattleMap, options: Options, *, compute_state: bool) -> npt.NDArray[np.int64]:
    flags = options.features
    number = np.zeros(field.NUM_NUMBERS, dtype=np.int64)
    entries = {
        field.NUM_AGENTS: row.num_agents,
        field.NUM_UNITS: row.num_agents + row.num_enemies,
        field.NUM_ACTIONS: row.num_actions,
        field.EPISODE_LIMIT: row.episode_limit,
        field.STEP_LOOPS: options.step_mul,
        field.TYPE_BITS: row.num_type_bits,
        field.ALLY_SHIELD: row.ally_race == "P",
        field.ENEMY_SHIELD: row.enemy_race == "P",
        field.OBS_ALL_HEALTH: flags.obs_all_health,
        field.OBS_OWN_HEALTH: flags.own_health,
        field.OBS_LAST_ACTION: flags.obs_last_action,
        field.OBS_PATHING_GRID: flags.obs_pathing_grid,
        field.OBS_TERRAIN_HEIGHT: flags.obs_terrain_height,
        field.OBS_INSTEAD_OF_STATE: flags.obs_instead_of_state,
        field.OBS_TIMESTEP: flags.obs_timestep_number,
        field.STATE_LAST_ACTION: flags.state_last_action,
        field.STATE_TIMESTEP: flags.state_timestep_number,
        field.COMPUTE_STATE: compute_state,
        field.REWARD_SPARSE: options.rewards.reward_sparse,
        field.REWARD_ONLY_POSITIVE: options.rewards.reward_only_positive,
        field.ANY_DISTANCE: options.attack_any_distance,
    }
    for name, value in entries.items():
        number[name] = value
    return number


def _weights(row: BattleMap, options: Options) -> npt.NDArray[np.float64]:
    rewards = options.rewards
    march = row.order.points[0] if row.order.points else (0.0, 0.0)
    crowd = max(group.unit.separation for group in row.enemies) * math.sqrt(row.num_enemies)
    weight = np.zeros(field.NUM_WEIGHTS)
    entries = {
        field.MOVE_AMOUNT: options.move_amount,
        field.MARCH_X: march[0],
        field.MARCH_Y: march[1],
        field.ARRIVAL: crowd,
        field.REWARD_DEATH: rewards.reward_death_value,
        field.REWARD_WIN: rewards.reward_win,
        field.REWARD_DEFEAT: rewards.reward_defeat,
        field.REWARD_NEGATIVE: rewards.reward_negative_scale,
        field.REWARD_DIVISOR: row.max_reward / rewards.reward_scale_rate
        if rewards.reward_scale
        else 1.0,
    }
    for name, value in entries.items():
        weight[name] = value
    return weight
