"""What agents see and what they may do: SMAC's definitions, feature by feature.

Everything is computed in double precision from single-precision unit data and rounded to float32
once, as SMAC does with the numbers that the game reports. Fed by `engine` after every step; the
lengths are those counted in `feature`.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from dm2_dist.envs.skirmish.battle_map import NUM_BASIC_ACTIONS
from dm2_dist.envs.skirmish.feature import NUM_MOVES
from dm2_dist.envs.skirmish.field import (
    ALIVE,
    ALLY_SHIELD,
    CLIFF,
    ENEMY_SHIELD,
    EPISODE_LIMIT,
    HEALTH,
    HEALTH_MAX,
    MOVE_AMOUNT,
    NUM_ACTIONS,
    NUM_AGENTS,
    NUM_UNITS,
    OBS_ALL_HEALTH,
    OBS_LAST_ACTION,
    OBS_OWN_HEALTH,
    OBS_PATHING_GRID,
    OBS_TERRAIN_HEIGHT,
    OBS_TIMESTEP,
    SHIELD,
    SHIELD_SCALE,
    TYPE_BIT,
    TYPE_BITS,
    X,
    Y,
)
from dm2_dist.envs.skirmish.kernel import inner
from dm2_dist.envs.skirmish.terrain import MAP_SIZE

SIGHT_RANGE = 9.0
"""Centre-to-centre distance below which an agent sees a unit, whatever its kind."""

SHOOT_RANGE = 6.0
"""Centre-to-centre distance up to which an attack may be ordered, whatever the weapon."""

Reals = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Features = npt.NDArray[np.float32]


@inner
def inside(x: int, y: int) -> bool:
    """Whether cell (x, y) is on the map."""
    return 0 <= x < MAP_SIZE and 0 <= y < MAP_SIZE


@inner
def open_cell(cell: Bytes, x: float, y: float) -> bool:
    """Whether the cell of (x, y), truncated towards zero as in SMAC, is pathable."""
    column = int(x)
    row = int(y)
    return inside(column, row) and cell[column, row] != CLIFF


@inner
def list_actions(
    real: Reals, integer: Integers, cell: Bytes, number: Integers, weight: Reals, available: Bytes
) -> None:
    """Write which actions each agent has.

    Args:
        real: float64 [R, U].
        integer: int64 [I, U].
        cell: uint8 [32, 32].
        number: int64 [N].
        weight: float64 [W].
        available: uint8 [K, A], written.
    """
    agents = number[NUM_AGENTS]
    probe = weight[MOVE_AMOUNT] / 2.0
    for i in range(agents):
        available[i, :] = 0
        if integer[ALIVE, i] == 0:
            available[i, 0] = 1
            continue
        x = real[X, i]
        y = real[Y, i]
        available[i, 1] = 1
        available[i, 2] = open_cell(cell, x, y + probe)
        available[i, 3] = open_cell(cell, x, y - probe)
        available[i, 4] = open_cell(cell, x + probe, y)
        available[i, 5] = open_cell(cell, x - probe, y)
        for j in range(agents, number[NUM_UNITS]):
            dx = real[X, j] - x
            dy = real[Y, j] - y
            if integer[ALIVE, j] == 1 and dx * dx + dy * dy <= SHOOT_RANGE * SHOOT_RANGE:
                available[i, NUM_BASIC_ACTIONS + j - agents] = 1


@inner
def write_ground(
    real: Reals,
    cell: Bytes,
    height: Bytes,
    number: Integers,
    weight: Reals,
    i: int,
    row: Features,
    at: int,
) -> int:
    """Write pathing probes and terrain heights around agent `i`; returns the next free place."""
    x = int(real[X, i])
    y = int(real[Y, i])
    near = int(weight[MOVE_AMOUNT])
    far = int(2 * weight[MOVE_AMOUNT])
    columns = (x, x, x + far, x - far, x + near, x - near, x + near, x - near, x)
    rows = (y + far, y - far, y, y, y + near, y - near, y - near, y + near, y)
    if number[OBS_PATHING_GRID] == 1:
        for k in range(8):
            off_map = not inside(columns[k], rows[k])
            row[at + k] = 1.0 if off_map or cell[columns[k], rows[k]] != CLIFF else 0.0
        at += 8
    if number[OBS_TERRAIN_HEIGHT] == 1:
        for k in range(9):
            on_map = inside(columns[k], rows[k])
            row[at + k] = height[columns[k], rows[k]] / 255.0 if on_map else 1.0
        at += 9
    return at


@inner
def write_unit(
    real: Reals, trait: Reals, number: Integers, i: int, j: int, dist: float, row: Features, at: int
) -> int:
    """Write unit `j` as seen by agent `i`; returns the next free place."""
    row[at] = dist / SIGHT_RANGE
    row[at + 1] = (real[X, j] - real[X, i]) / SIGHT_RANGE
    row[at + 2] = (real[Y, j] - real[Y, i]) / SIGHT_RANGE
    at += 3
    if number[OBS_ALL_HEALTH] == 1:
        row[at] = real[HEALTH, j] / trait[HEALTH_MAX, j]
        at += 1
        if number[ALLY_SHIELD if j < number[NUM_AGENTS] else ENEMY_SHIELD] == 1:
            row[at] = real[SHIELD, j] / trait[SHIELD_SCALE, j]
            at += 1
    if number[TYPE_BITS] > 0:
        row[at + int(trait[TYPE_BIT, j])] = 1.0
        at += number[TYPE_BITS]
    return at


@inner
def write_own(real: Reals, trait: Reals, number: Integers, i: int, row: Features, at: int) -> None:
    """Write an agent's own health, shield and kind."""
    if number[OBS_OWN_HEALTH] == 1:
        row[at] = real[HEALTH, i] / trait[HEALTH_MAX, i]
        at += 1
        if number[ALLY_SHIELD] == 1:
            row[at] = real[SHIELD, i] / trait[SHIELD_SCALE, i]
            at += 1
    if number[TYPE_BITS] > 0:
        row[at + int(trait[TYPE_BIT, i])] = 1.0


@inner
def write_others(
    real: Reals,
    integer: Integers,
    trait: Reals,
    number: Integers,
    last_action: Integers,
    available: Bytes,
    i: int,
    row: Features,
    at: int,
) -> int:
    """Write all enemies and other agents as seen by agent `i`; returns the next free place."""
    agents = number[NUM_AGENTS]
    health = number[OBS_ALL_HEALTH]
    enemy_width = 4 + number[TYPE_BITS] + health * (1 + number[ENEMY_SHIELD])
    ally_width = 4 + number[TYPE_BITS] + health * (1 + number[ALLY_SHIELD])
    ally_width += number[OBS_LAST_ACTION] * number[NUM_ACTIONS]
    enemies_at: int = at
    allies_at: int = at + (number[NUM_UNITS] - agents) * enemy_width
    for j in range(number[NUM_UNITS]):
        if j == i:
            continue
        if j < agents:
            at = allies_at
            allies_at += ally_width
        else:
            at = enemies_at
            enemies_at += enemy_width
        if integer[ALIVE, j] == 0:
            continue
        dx = real[X, j] - real[X, i]
        dy = real[Y, j] - real[Y, i]
        gap = dx * dx + dy * dy
        if gap >= SIGHT_RANGE * SIGHT_RANGE:
            continue
        row[at] = 1.0 if j < agents else available[i, NUM_BASIC_ACTIONS + j - agents]
        end = write_unit(real, trait, number, i, j, math.sqrt(gap), row, at + 1)
        if number[OBS_LAST_ACTION] == 1 and j < agents and last_action[j] >= 0:
            row[end + last_action[j]] = 1.0
    return allies_at


@inner
def observe(
    real: Reals,
    integer: Integers,
    trait: Reals,
    cell: Bytes,
    height: Bytes,
    number: Integers,
    weight: Reals,
    last_action: Integers,
    available: Bytes,
    steps: int,
    observation: Features,
) -> None:
    """Write what every agent sees.

    Args:
        real: float64 [R, U].
        integer: int64 [I, U].
        trait: float64 [F, U].
        cell: uint8 [32, 32].
        height: uint8 [32, 32].
        number: int64 [N].
        weight: float64 [W].
        last_action: int64 [K], -1 before the first step.
        available: uint8 [K, A], already written.
        steps: environment steps since the start.
        observation: float32 [K, O], written.
    """
    for i in range(number[NUM_AGENTS]):
        row = observation[i]
        row[:] = 0.0
        if number[OBS_TIMESTEP] == 1:
            row[row.size - 1] = steps / number[EPISODE_LIMIT]
        if integer[ALIVE, i] == 0:
            continue
        for k in range(NUM_MOVES):
            row[k] = available[i, 2 + k]
        at = write_ground(real, cell, height, number, weight, i, row, NUM_MOVES)
        at = write_others(real, integer, trait, number, last_action, available, i, row, at)
        write_own(real, trait, number, i, row, at)
