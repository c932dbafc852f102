"""The first moment of a battle.

Fed by `engine`.
"""

from __future__ import annotations

import numpy as np

from dm2_dist.envs.skirmish.kernels import draw
from dm2_dist.envs.skirmish.kernels.compiled import apart, inner
from dm2_dist.envs.skirmish.kernels.field import (
    ALIVE,
    CONTROLLED,
    COOLDOWN,
    ENEMY_ORDER,
    ENERGY,
    ENERGY_START,
    HEALING,
    HEALTH,
    HEALTH_MAX,
    IDLE,
    JITTER,
    MARCH_TO_X,
    MARCH_TO_Y,
    MARCH_X,
    MARCH_Y,
    NUM_AGENTS,
    NUM_UNITS,
    ORDER,
    ORDER_X,
    ORDER_Y,
    OVERLAP,
    PENDING_TARGET,
    PREVIOUS,
    SHIELD,
    SHIELD_MAX,
    SPAWN_X,
    SPAWN_Y,
    STRIKE,
    SWING,
    TARGET,
    X,
    Y,
)
from dm2_dist.envs.skirmish.kernels.layout import Battles, Integers, Reals, Report, Side, World


@apart
def place_units(real: Reals, integer: Integers, world: World, seed: np.uint64) -> None:
    """Set every unit up at its slot, fresh."""
    trait = world.trait
    agents = world.number[NUM_AGENTS]
    jitter = world.weight[JITTER]
    real[:] = 0.0
    integer[:] = 0
    integer[OVERLAP, 0] = 1
    for i in range(world.number[NUM_UNITS]):
        # One shift of x for a whole side keeps the order in which its units are numbered.
        side = 0 if i < agents else agents
        shift_x = jitter * (2.0 * draw.uniform(seed, draw.PLACE, 0, side) - 1.0)
        shift_y = jitter * (2.0 * draw.uniform(seed, draw.PLACE, 1, i) - 1.0)
        real[X, i] = trait[SPAWN_X, i] + shift_x
        real[Y, i] = trait[SPAWN_Y, i] + shift_y
        real[HEALTH, i] = trait[HEALTH_MAX, i]
        real[SHIELD, i] = trait[SHIELD_MAX, i]
        real[ENERGY, i] = trait[ENERGY_START, i]
        integer[ALIVE, i] = 1
        integer[TARGET, i] = -1
        integer[SWING, i] = -1
        integer[PENDING_TARGET, i] = -1
        integer[STRIKE, i] = -1
        integer[HEALING, i] = -1


@apart
def order_enemies(real: Reals, integer: Integers, world: World, seed: np.uint64) -> None:
    """Give the computer's units their order at the start of a battle."""
    weight = world.weight
    part = draw.uniform(seed, draw.MARCH_POINT, 0, 0)
    for i in range(world.number[NUM_AGENTS], world.number[NUM_UNITS]):
        integer[ORDER, i] = IDLE if world.number[CONTROLLED] == 1 else world.number[ENEMY_ORDER]
        real[ORDER_X, i] = weight[MARCH_X] + part * (weight[MARCH_TO_X] - weight[MARCH_X])
        real[ORDER_Y, i] = weight[MARCH_Y] + part * (weight[MARCH_TO_Y] - weight[MARCH_Y])


@inner
def round_units(real: Reals) -> None:
    """Round what the game would report to single precision."""
    for row in (X, Y, HEALTH, SHIELD, COOLDOWN, ENERGY):
        values = real[row]
        for i in range(values.size):
            values[i] = np.float32(values[i])


@inner
def clear(battles: Battles, report: Report, b: int) -> None:
    """Forget the last battle."""
    battles.last_action[b, :] = -1
    battles.score[b] = 0.0
    report.reward[b] = 0.0
    report.terminated[b] = 0
    report.truncated[b] = 0
    report.won[b] = 0
    report.finished[b] = 0
    report.episode_steps[b] = 0


@inner
def begin(team: Side, opponents: Side | None, b: int) -> None:
    """Start battle `b` afresh."""
    world = team.world
    real = team.battles.real[b]
    integer = team.battles.integer[b]
    seed = team.battles.seed[b]
    place_units(real, integer, world, seed)
    order_enemies(real, integer, world, seed)
    round_units(real)
    for i in range(world.number[NUM_UNITS]):
        real[PREVIOUS, i] = real[HEALTH, i] + real[SHIELD, i]
    clear(team.battles, team.report, b)
    if opponents is not None:
        clear(opponents.battles, opponents.report, b)
