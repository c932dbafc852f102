"""The unchanging part of a map as arrays for the kernels.

Fed by the tables (`battle_map`, `profile`, `terrain`, `formation`, `route`) and the options; read
by every kernel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dm2_dist.envs.skirmish import formation, lineup, profile, route
from dm2_dist.envs.skirmish.kernels import field
from dm2_dist.envs.skirmish.kernels.layout import World
from dm2_dist.envs.skirmish.lineup import Placed
from dm2_dist.envs.skirmish.matchup import BattleMap, Point
from dm2_dist.envs.skirmish.options import Options
from dm2_dist.envs.skirmish.profile import Profile
from dm2_dist.envs.skirmish.terrain import Terrain
from dm2_dist.envs.skirmish.unit_type import UnitType

_DELIVERIES = {
    "instant": field.INSTANT,
    "missile": field.MISSILE,
    "beam": field.BEAM,
    "suicide": field.SUICIDE,
    "heal": field.TREATMENT,
}

_NO_ROUTES = route.Routes(np.full((1, 1), field.STRAIGHT, np.uint8), np.zeros((1, 2)))

_ORDERS = {
    "attack_move": field.MARCH,
    "attack_segment": field.MARCH,
    "hunt": field.HUNT,
    "hold": field.GUARD,
}


@dataclass(frozen=True, slots=True)
class Rule:
    """What a batch adds to map and options.

    Attributes:
        compute_state: whether the global state is kept up to date.
        controlled: whether actions are given for the enemies, instead of the computer's orders.
        zero_sum: whether the reward of controlled enemies is the team's, negated.
        traced: whether every game loop is written down.
    """

    compute_state: bool = True
    controlled: bool = False
    zero_sum: bool = False
    traced: bool = False


def build(row: BattleMap, options: Options, rule: Rule) -> World:
    """Lay a map out for the kernels, as the team sees it."""
    units = lineup.roster(row)
    cell = _cells(row.terrain)
    clearances = [
        unit.separation for unit, _ in units if unit.speed > 0 and not (unit.flies or unit.climbs)
    ]
    routes = route.plan(cell, max(clearances, default=0.0))
    ground = _Ground(cell, _heights(row.terrain))
    return _build(row, options, rule, units, np.arange(len(units)), ground, routes)


def build_mirrored(row: BattleMap, options: Options, rule: Rule) -> World:
    """Lay a map out as the enemies see it: mirrored, the enemies first."""
    ground = _Ground(_cells(row.terrain), _heights(row.terrain)).mirrored(row.forward)
    units, slot = lineup.mirrored_roster(row)
    return _build(lineup.swapped(row), options, rule, units, np.array(slot), ground, _NO_ROUTES)


class _Ground(NamedTuple):
    cell: npt.NDArray[np.uint8]
    height: npt.NDArray[np.uint8]

    def mirrored(self, forward: Point) -> _Ground:
        turned = (grid[::-1] if forward[0] else grid[:, ::-1] for grid in self)
        return _Ground(*(np.ascontiguousarray(grid) for grid in turned))


def _build(
    row: BattleMap,
    options: Options,
    rule: Rule,
    units: list[Placed],
    slot: npt.NDArray[np.int64],
    ground: _Ground,
    routes: route.Routes,
) -> World:
    data = profile.by_name(options.profile)
    number = _numbers(row, options, rule, data)
    number[field.ROUTED] = bool((routes.route != field.STRAIGHT).any())
    return World(
        trait=_traits(row, units),
        hit=_hits([unit for unit, _ in units]),
        cell=ground.cell,
        height=ground.height,
        refuge=_refuges(ground.cell),
        route=routes.route,
        corner=routes.corner,
        slot=slot.astype(np.int64),
        number=number,
        weight=_weights(row, options, data),
    )


def _traits(row: BattleMap, units: list[Placed]) -> npt.NDArray[np.float64]:
    trait = np.zeros((field.NUM_TRAITS, len(units)))
    widest = dict.fromkeys(range(3), 0.0)
    for unit, _ in units:
        widest[_layer(unit)] = max(widest[_layer(unit)], unit.separation)
    for index, (unit, place) in enumerate(units):
        bits = row.ally_types if index < row.num_agents else row.enemy_types
        heals = unit.weapon.delivery == "heal"
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
            field.DELIVERY: _DELIVERIES[unit.weapon.delivery],
            field.HIT_DELAY: unit.weapon.hit_delay,
            field.HITS: unit.weapon.hits,
            field.SPLASH: unit.weapon.splash,
            field.REGENERATION: unit.health_regeneration,
            field.COOLDOWN_SCALE: unit.cooldown_scale,
            field.SHIELD_SCALE: unit.shield or 1.0,
            field.TYPE_BIT: bits.index(unit) if row.num_type_bits else 0,
            field.SPAWN_X: place[0],
            field.SPAWN_Y: place[1],
            field.ENERGY_START: unit.energy,
            field.ENERGY_MAX: unit.energy_max,
            field.ENERGY_SCALE: unit.cooldown_scale if heals else 0.0,
            field.LAYER: _layer(unit),
            field.ACCELERATION: unit.acceleration,
            field.HEALER: heals,
            field.HEALABLE: "biological" in unit.attributes and not unit.structure,
            field.BLAST_ON_DEATH: unit.blast_on_death,
            field.ELBOW_ROOM: unit.separation + widest[_layer(unit)],
        }
        for name, value in column.items():
            trait[name, index] = value
    return trait


def _layer(unit: UnitType) -> int:
    if unit.flies:
        return field.AIR_LAYER
    return field.CLIMBER_LAYER if unit.climbs else field.GROUND_LAYER


def _hits(units: list[UnitType]) -> npt.NDArray[np.float64]:
    hit = np.empty((len(units), len(units)))
    for i, attacker in enumerate(units):
        for j, target in enumerate(units):
            hit[i, j] = _damage(attacker, target)
    return hit


def _damage(attacker: UnitType, target: UnitType) -> float:
    """Damage of one hit before armour, or `NO_HIT`."""
    weapon = attacker.weapon
    if weapon.delivery == "heal" or (target.flies and not weapon.hits_air):
        return field.NO_HIT
    if target.structure and weapon.structure_damage is not None:
        return weapon.structure_damage
    return weapon.damage + weapon.bonus * (weapon.bonus_against in target.attributes)


def _cells(plan: Terrain) -> npt.NDArray[np.uint8]:
    cell = np.full((field.MAP_SIZE, field.MAP_SIZE), field.CLIFF, dtype=np.uint8)
    for x, y in np.ndindex(cell.shape):
        if plan.pathable(x, y):
            around = [plan.pathable(x + dx, y + dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
            cell[x, y] = field.GROUND if all(around) else field.EDGE
    return cell


def _heights(plan: Terrain) -> npt.NDArray[np.uint8]:
    rows = [[plan.height(x, y) for y in range(field.MAP_SIZE)] for x in range(field.MAP_SIZE)]
    return np.array(rows, np.uint8)


def _refuges(cell: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Find the pathable cell nearest to each cell: where to walk to what stands on a cliff."""
    ground = np.argwhere(cell != field.CLIFF)
    every = np.argwhere(np.ones_like(cell))
    gap = ((every[:, None, :] - ground[None, :, :]) ** 2).sum(axis=2)
    nearest = ground[gap.argmin(axis=1)]
    return np.ascontiguousarray(nearest[:, 0] * field.MAP_SIZE + nearest[:, 1]).astype(np.int64)


def _numbers(row: BattleMap, options: Options, rule: Rule, data: Profile) -> npt.NDArray[np.int64]:
    flags = options.features
    kinds = {group.unit for group in row.allies + row.enemies}
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
        field.COMPUTE_STATE: rule.compute_state,
        field.REWARD_SPARSE: options.rewards.reward_sparse,
        field.REWARD_ONLY_POSITIVE: options.rewards.reward_only_positive,
        field.ANY_DISTANCE: options.attack_any_distance,
        field.HEALERS: any(group.unit.weapon.delivery == "heal" for group in row.allies),
        field.CONTROLLED: rule.controlled,
        field.ZERO_SUM: rule.zero_sum,
        field.TRACED: rule.traced,
        field.ENEMY_ORDER: _ORDERS[row.order.kind],
        field.SHIELD_DELAY: data.shield_delay,
        field.MIRROR_X: row.forward[0] != 0,
        field.REGENERATES: any(
            unit.shield or unit.energy_max or unit.health_regeneration for unit in kinds
        ),
        field.BLASTS: any(unit.blast_on_death for unit in kinds),
    }
    for name, value in entries.items():
        number[name] = value
    return number


def _weights(row: BattleMap, options: Options, data: Profile) -> npt.NDArray[np.float64]:
    rewards = options.rewards
    points = row.order.points or ((0.0, 0.0),)
    crowd = max(group.unit.separation for group in row.enemies) * math.sqrt(row.num_enemies)
    weight = np.zeros(field.NUM_WEIGHTS)
    entries = {
        field.MOVE_AMOUNT: options.move_amount,
        field.MARCH_X: points[0][0],
        field.MARCH_Y: points[0][1],
        field.MARCH_TO_X: points[-1][0],
        field.MARCH_TO_Y: points[-1][1],
        field.ARRIVAL: crowd,
        field.REWARD_DEATH: rewards.reward_death_value,
        field.REWARD_WIN: rewards.reward_win,
        field.REWARD_DEFEAT: rewards.reward_defeat,
        field.REWARD_NEGATIVE: rewards.reward_negative_scale,
        field.REWARD_DIVISOR: rewards.max_reward(row) / rewards.reward_scale_rate
        if rewards.reward_scale
        else 1.0,
        field.JITTER: formation.JITTER,
        field.NOISE_LOW: data.cooldown_noise[0],
        field.NOISE_WIDTH: data.cooldown_noise[1] - data.cooldown_noise[0],
        field.MISSILE_SPEED: data.missile_speed,
        field.MINIMUM_DAMAGE: data.minimum_damage,
        field.RANGE_SLOP: data.range_slop,
        field.SHIELD_REGENERATION: data.shield_regeneration,
        field.ENERGY_REGENERATION: data.energy_regeneration,
        field.HEAL_RATE: data.heal_rate,
        field.HEAL_COST: data.heal_cost,
        field.HEAL_START: data.heal_start,
        field.HEAL_SCAN: data.heal_scan,
    }
    for name, value in entries.items():
        weight[name] = value
    return weight
