"""What agents see and what they may do: SMAC's definitions, feature by feature.

Everything is computed in double precision from single-precision unit data and rounded to float32
once, as SMAC does with the numbers that the game reports. Fed by `engine` after every step; the
lengths are those counted in `feature`.
"""

from __future__ import annotations

import math

from dm2_dist.envs.skirmish.kernels.compiled import apart, inner
from dm2_dist.envs.skirmish.kernels.field import (
    ALIVE,
    ALLY_SHIELD,
    CLIFF,
    ENEMY_SHIELD,
    EPISODE_LIMIT,
    HEALER,
    HEALTH,
    HEALTH_MAX,
    MAP_SIZE,
    MOVE_AMOUNT,
    NUM_ACTIONS,
    NUM_AGENTS,
    NUM_BASIC_ACTIONS,
    NUM_MOVES,
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
from dm2_dist.envs.skirmish.kernels.layout import Bytes, Features, Integers, Reals, World

SIGHT_RANGE = 9.0
"""Centre-to-centre distance below which an agent sees a unit, whatever its kind."""

SHOOT_RANGE = 6.0
"""Centre-to-centre distance up to which an attack may be ordered, whatever the weapon."""


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
def first_target(world: World, k: int) -> int:
    """Say which place of the side's numbering action 6 of agent `k` names.

    A healer's targets are its friends, everybody else's are the enemies.
    """
    return 0 if world.trait[HEALER, k] > 0.0 else int(world.number[NUM_AGENTS])


@inner
def list_targets(real: Reals, integer: Integers, world: World, i: int, available: Bytes) -> None:
    """Write whom agent `i` can attack or, being a healer, treat.

    As in SMAC, only distance counts: not what the weapon can do, nor whether a friend is hurt.

    Args:
        real: float64 [R, U].
        integer: int64 [I, U].
        world: the map.
        i: agent.
        available: uint8 [A], written.
    """
    first = first_target(world, i)
    last = world.number[NUM_AGENTS] if first == 0 else world.number[NUM_UNITS]
    last = min(last, first + available.size - NUM_BASIC_ACTIONS)
    x = real[X, i]
    y = real[Y, i]
    for j in range(first, last):
        dx = real[X, j] - x
        dy = real[Y, j] - y
        if integer[ALIVE, j] == 1 and dx * dx + dy * dy <= SHOOT_RANGE * SHOOT_RANGE:
            if first != 0 or world.trait[HEALER, j] == 0.0:
                available[NUM_BASIC_ACTIONS + j - first] = 1


@inner
def list_actions(real: Reals, integer: Integers, world: World, available: Bytes) -> None:
    """Write which actions each agent has.

    Args:
        real: float64 [R, U].
        integer: int64 [I, U].
        world: the map.
        available: uint8 [K, A], written.
    """
    cell = world.cell
    probe = world.weight[MOVE_AMOUNT] / 2.0
    for i in range(world.number[NUM_AGENTS]):
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
        list_targets(real, integer, world, i, available[i])


@apart
def write_ground(real: Reals, world: World, i: int, row: Features, at: int) -> int:
    """Write pathing probes and terrain heights around agent `i`; returns the next free place."""
    cell = world.cell
    number = world.number
    weight = world.weight
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
            row[at + k] = world.height[columns[k], rows[k]] / 255.0 if on_map else 1.0
        at += 9
    return at


@inner
def write_unit(
    real: Reals, world: World, i: int, j: int, dist: float, row: Features, at: int
) -> int:
    """Write unit `j` as seen by agent `i`; returns the next free place."""
    trait = world.trait
    number = world.number
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
def write_own(real: Reals, world: World, i: int, row: Features, at: int) -> None:
    """Write an agent's own health, shield and kind."""
    trait = world.trait
    number = world.number
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
    world: World,
    last_action: Integers,
    available: Bytes,
    i: int,
    row: Features,
    at: int,
) -> int:
    """Write all enemies and other agents as seen by agent `i`; returns the next free place."""
    number = world.number
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
        end = write_unit(real, world, i, j, math.sqrt(gap), row, at + 1)
        if number[OBS_LAST_ACTION] == 1 and j < agents and last_action[j] >= 0:
            row[end + last_action[j]] = 1.0
    return allies_at


@inner
def observe(
    real: Reals,
    integer: Integers,
    world: World,
    last_action: Integers,
    available: Bytes,
    steps: int,
    observation: Features,
) -> None:
    """Write what every agent sees.

    Args:
        real: float64 [R, U].
        integer: int64 [I, U].
        world: the map.
        last_action: int64 [K], -1 before the first step.
        available: uint8 [K, A], already written.
        steps: environment steps since the start.
        observation: float32 [K, O], written.
    """
    number = world.number
    for i in range(number[NUM_AGENTS]):
        row = observation[i]
        row[:] = 0.0
        if number[OBS_TIMESTEP] == 1:
            row[row.size - 1] = steps / number[EPISODE_LIMIT]
        if integer[ALIVE, i] == 0:
            continue
        for k in range(NUM_MOVES):
            row[k] = available[i, 2 + k]
        at = write_ground(real, world, i, row, NUM_MOVES)
        at = write_others(real, integer, world, last_action, available, i, row, at)
        write_own(real, world, i, row, at)
