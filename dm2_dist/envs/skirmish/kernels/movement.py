"""Walking: around units that stand, through friends that yield, never onto a cliff.

A walker sidesteps enemies and friends that stand and fight; whoever still overlaps afterwards is
pushed apart. Only units of one layer meet: those on the ground, those in the air, and the colossi,
which step over everything. Fed by `target`.
"""

from __future__ import annotations

import math

from dm2_dist.envs.skirmish.kernels.compiled import apart, inner
from dm2_dist.envs.skirmish.kernels.field import (
    ACCELERATION,
    ALIVE,
    ANCHORED,
    BODY,
    CLIFF,
    GOAL_X,
    GOAL_Y,
    GROUND,
    GROUND_LAYER,
    LAYER,
    MAP_SIZE,
    MELEE_RANGE,
    MOVING,
    NUM_AGENTS,
    NUM_UNITS,
    PACE,
    RANGE,
    REACH,
    ROUTED,
    SEPARATION,
    SIDE,
    SPEED,
    STRAIGHT,
    TARGET,
    X,
    Y,
)
from dm2_dist.envs.skirmish.kernels.layout import Integers, Reals, World

_TOUCH = 0.95
"""Part of the sum of two squared radii below which a sidestepping unit counts as bumping."""

SIDE_LOOPS = 24
"""Loops for which a unit remembers on which side it walks around an obstacle."""

SURROUND = 2.0
"""Distance from reaching its target within which a blocked melee unit looks for room around it."""

_PLACES = 18
"""Places around a target at which a melee unit looks for room."""

_INSIDE = 0.05
"""How far inside its range such a place is."""

NEAR = 0.6
"""Gap between two units, in cells, up to which one loop can bring them together."""

# A sidestep turns the way by 45, 90 or 135 degrees.
_ALONG = (math.sqrt(0.5), 0.0, -math.sqrt(0.5))
_ACROSS = (math.sqrt(0.5), 1.0, math.sqrt(0.5))


@inner
def standable(world: World, x: float, y: float, radius: float) -> bool:
    """Whether a disk at (x, y) has its centre and its four extremes on pathable cells."""
    if x < radius or y < radius or x >= MAP_SIZE - radius or y >= MAP_SIZE - radius:
        return False
    cell = world.cell
    code = cell[int(x), int(y)]
    if code == GROUND:
        return True
    return bool(
        code != CLIFF
        and cell[int(x + radius), int(y)] != CLIFF
        and cell[int(x - radius), int(y)] != CLIFF
        and cell[int(x), int(y + radius)] != CLIFF
        and cell[int(x), int(y - radius)] != CLIFF
    )


@inner
def shift(real: Reals, world: World, i: int, dx: float, dy: float) -> bool:
    """Move a unit by (dx, dy), sliding along cliffs; says whether it moved at all."""
    x = real[X, i]
    y = real[Y, i]
    radius = world.trait[SEPARATION, i]
    if world.trait[LAYER, i] != GROUND_LAYER:
        # Nothing but the border of the map stops those who fly or climb.
        real[X, i] = min(max(x + dx, radius), MAP_SIZE - radius)
        real[Y, i] = min(max(y + dy, radius), MAP_SIZE - radius)
        return True
    if standable(world, x + dx, y + dy, radius):
        real[X, i] = x + dx
        real[Y, i] = y + dy
        return True
    if dx != 0.0 and standable(world, x + dx, y, radius):
        real[X, i] = x + dx
        return True
    if dy != 0.0 and standable(world, x, y + dy, radius):
        real[Y, i] = y + dy
        return True
    return False


@inner
def find_near(real: Reals, integer: Integers, world: World, near: Integers) -> None:
    """List for every unit the others of its layer that it may touch in this loop.

    Args:
        real: float64 [R, U].
        integer: int64 [I, U].
        world: the map.
        near: int64 [U, U], written: entry 0 counts, the entries after it are unit numbers, rising.
    """
    trait = world.trait
    units = world.number[NUM_UNITS]
    for i in range(units):
        near[i, 0] = 0
    for i in range(units):
        if integer[ALIVE, i] == 0:
            continue
        x = real[X, i]
        y = real[Y, i]
        reach = trait[SEPARATION, i] + NEAR
        layer = trait[LAYER, i]
        for j in range(i + 1, units):
            dx = real[X, j] - x
            dy = real[Y, j] - y
            radii = reach + trait[SEPARATION, j]
            if dx * dx + dy * dy >= radii * radii:
                continue
            if integer[ALIVE, j] == 1 and trait[LAYER, j] == layer:
                near[i, 0] += 1
                near[i, near[i, 0]] = j
                near[j, 0] += 1
                near[j, near[j, 0]] = i


@inner
def obstacle(
    real: Reals, integer: Integers, world: World, near: Integers, i: int, dx: float, dy: float
) -> float:
    """Look for a unit that a step by (dx, dy) would bump into.

    Enemies and friends that stand and fight are obstacles; other friends yield.

    Returns:
        0 if the way is free, else a number whose sign says on which side of the way the obstacle is
        (positive: left).
    """
    trait = world.trait
    x = real[X, i]
    y = real[Y, i]
    agents = world.number[NUM_AGENTS]
    for place in range(1, near[i, 0] + 1):
        j = near[i, place]
        if integer[ANCHORED, j] == 0 and (i < agents) == (j < agents):
            continue
        ahead_x = real[X, j] - x
        ahead_y = real[Y, j] - y
        if ahead_x * dx + ahead_y * dy <= 0.0:
            continue
        gap = (ahead_x - dx) ** 2 + (ahead_y - dy) ** 2
        radii = trait[SEPARATION, i] + trait[SEPARATION, j]
        if gap < radii * radii * _TOUCH:
            side = dx * ahead_y - dy * ahead_x
            return side if side != 0.0 else 1.0
    return 0.0


@inner
def next_corner(real: Reals, world: World, i: int) -> int:
    """Look up the corner that unit `i` walks to on the way to its goal, or `STRAIGHT`."""
    last = MAP_SIZE - 1.0
    here = MAP_SIZE * int(real[X, i]) + int(real[Y, i])
    column = int(min(max(real[GOAL_X, i], 0.0), last))
    row = int(min(max(real[GOAL_Y, i], 0.0), last))
    return int(world.route[here, world.refuge[MAP_SIZE * column + row]])


@inner
def towards(real: Reals, i: int, length: float) -> tuple[float, float]:
    """Give the step of that length from unit `i` towards its goal."""
    dx = real[GOAL_X, i] - real[X, i]
    dy = real[GOAL_Y, i] - real[Y, i]
    scale = length / max(math.sqrt(dx * dx + dy * dy), 1e-6)
    return dx * scale, dy * scale


@inner
def pace(real: Reals, trait: Reals, i: int) -> float:
    """Say how far unit `i` can go in this loop."""
    if trait[ACCELERATION, i] > 0.0:
        real[PACE, i] = min(real[PACE, i] + trait[ACCELERATION, i], trait[SPEED, i])
        return float(real[PACE, i])
    return float(trait[SPEED, i])


@inner
def sidestep(
    real: Reals,
    integer: Integers,
    world: World,
    near: Integers,
    i: int,
    dx: float,
    dy: float,
    turn: float,
) -> bool:
    """Try to step past an obstacle, more and more across the way, on one side of it."""
    for attempt in range(3):
        step_x = _ALONG[attempt] * dx - turn * _ACROSS[attempt] * dy
        step_y = _ALONG[attempt] * dy + turn * _ACROSS[attempt] * dx
        if obstacle(real, integer, world, near, i, step_x, step_y) == 0.0:
            if shift(real, world, i, step_x, step_y):
                integer[SIDE, i] = SIDE_LOOPS if turn > 0.0 else -SIDE_LOOPS
                return True
    return False


@inner
def has_room(real: Reals, integer: Integers, world: World, i: int, x: float, y: float) -> bool:
    """Whether unit `i` could stand at (x, y), its friends that do not stand and fight apart."""
    trait = world.trait
    agents = world.number[NUM_AGENTS]
    if not standable(world, x, y, trait[SEPARATION, i]):
        return False
    for k in range(world.number[NUM_UNITS]):
        if k == i or integer[ALIVE, k] == 0 or trait[LAYER, k] != trait[LAYER, i]:
            continue
        if (k < agents) == (i < agents) and integer[ANCHORED, k] == 0:
            continue
        radii = trait[SEPARATION, i] + trait[SEPARATION, k]
        dx = real[X, k] - x
        dy = real[Y, k] - y
        if dx * dx + dy * dy < radii * radii * _TOUCH:
            return False
    return True


@apart
def surround(real: Reals, integer: Integers, world: World, i: int, j: int) -> float:
    """Look for room around unit `j` from which melee unit `i` can hit it.

    Unit `i` is blocked; the goal of its walk becomes the nearest free place, if there is one.

    Returns:
        The angle of that place off the bearing of unit `i`, counterclockwise; 0 if there is none.
    """
    trait = world.trait
    contact = trait[RANGE, i] + trait[BODY, i] + trait[BODY, j] - _INSIDE
    bearing = math.atan2(real[Y, i] - real[Y, j], real[X, i] - real[X, j])
    for place in range(1, _PLACES + 1):
        turn = 1.0 if place % 2 == 1 else -1.0
        angle = turn * (2.0 * math.pi / _PLACES) * ((place + 1) // 2)
        x = real[X, j] + contact * math.cos(bearing + angle)
        y = real[Y, j] + contact * math.sin(bearing + angle)
        if has_room(real, integer, world, i, x, y):
            real[GOAL_X, i] = x
            real[GOAL_Y, i] = y
            return angle
    return 0.0


@inner
def walk(real: Reals, integer: Integers, world: World, near: Integers, i: int) -> None:
    """Take one step towards the goal: straight, else around what is in the way."""
    goal_x = real[GOAL_X, i]
    goal_y = real[GOAL_Y, i]
    reach = real[REACH, i]
    if world.number[ROUTED] == 1 and world.trait[LAYER, i] == GROUND_LAYER:
        corner = next_corner(real, world, i)
        if corner != STRAIGHT:
            goal_x = world.corner[corner, 0]
            goal_y = world.corner[corner, 1]
            reach = 0.0
    dx = goal_x - real[X, i]
    dy = goal_y - real[Y, i]
    distance = math.sqrt(dx * dx + dy * dy)
    length = min(pace(real, world.trait, i), distance - reach)
    if length <= 0.0:
        return
    dx *= length / distance
    dy *= length / distance
    side = obstacle(real, integer, world, near, i, dx, dy)
    if side == 0.0:
        # The chosen side is remembered for a while, or two obstacles would bounce the unit between
        # them.
        memory = integer[SIDE, i]
        integer[SIDE, i] = memory - 1 if memory > 0 else min(memory + 1, 0)
        shift(real, world, i, dx, dy)
        return
    if integer[SIDE, i] == 0:
        integer[SIDE, i] = -1 if side > 0.0 else 1
    j = integer[TARGET, i]
    if j >= 0 and world.trait[RANGE, i] < MELEE_RANGE and distance < SURROUND + reach:
        angle = surround(real, integer, world, i, j)
        if angle != 0.0:
            integer[SIDE, i] = -1 if angle > 0.0 else 1
            step_x, step_y = towards(real, i, length)
            if obstacle(real, integer, world, near, i, step_x, step_y) == 0.0:
                shift(real, world, i, step_x, step_y)
                return
    turn = 1.0 if integer[SIDE, i] > 0 else -1.0
    if not sidestep(real, integer, world, near, i, dx, dy, turn):
        sidestep(real, integer, world, near, i, dx, dy, -turn)


@inner
def share_of_push(integer: Integers, trait: Reals, i: int, j: int) -> float:
    """Say which part of an overlap unit `i` has to make good; unit `j` does the rest."""
    if trait[SPEED, i] == 0.0:
        return 0.0
    if trait[SPEED, j] == 0.0:
        return 1.0
    if integer[ANCHORED, i] == integer[ANCHORED, j]:
        return 0.5
    return 0.0 if integer[ANCHORED, i] == 1 else 1.0


@inner
def separate(real: Reals, integer: Integers, world: World, near: Integers) -> None:
    """Push overlapping units apart; one that stands and fights stays, the other gives way."""
    trait = world.trait
    for i in range(world.number[NUM_UNITS]):
        for place in range(1, near[i, 0] + 1):
            j = near[i, place]
            if j < i:
                continue
            dx = real[X, j] - real[X, i]
            dy = real[Y, j] - real[Y, i]
            gap = dx * dx + dy * dy
            radii = trait[SEPARATION, i] + trait[SEPARATION, j]
            if gap >= radii * radii:
                continue
            distance = math.sqrt(gap)
            if distance < 1e-6:
                # Two centres on one spot have no direction of their own.
                dx = 0.0
                dy = 1.0
                distance = 1.0
                overlap = radii
            else:
                overlap = radii - distance
            share = share_of_push(integer, trait, i, j)
            dx *= overlap / distance
            dy *= overlap / distance
            if share > 0.0:
                shift(real, world, i, -share * dx, -share * dy)
            if share < 1.0:
                shift(real, world, j, (1.0 - share) * dx, (1.0 - share) * dy)


@inner
def move(real: Reals, integer: Integers, world: World, near: Integers, loop: int) -> None:
    """Let every walking unit take its step of this loop.

    Units step one after the other; the order turns round every loop, so that neither side is always
    first.

    Args:
        real: float64 [R, U].
        integer: int64 [I, U].
        world: the map.
        near: int64 [U, U] scratch.
        loop: loops since the start of the battle.
    """
    units = world.number[NUM_UNITS]
    find_near(real, integer, world, near)
    for turn in range(units):
        i = turn if loop % 2 == 0 else units - 1 - turn
        if integer[MOVING, i] == 1:
            walk(real, integer, world, near, i)
        else:
            real[PACE, i] = 0.0
    separate(real, integer, world, near)
