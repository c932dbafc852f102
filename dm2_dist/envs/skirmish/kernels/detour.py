"""Ways around whoever stands in the way. Fed by `movement`."""

from __future__ import annotations

import math

from dm2_dist.envs.skirmish.kernels.body import count_touched, solid_row
from dm2_dist.envs.skirmish.kernels.compiled import apart, inner
from dm2_dist.envs.skirmish.kernels.field import (
    BODY,
    BODY_X,
    BODY_Y,
    GOAL_X,
    GOAL_Y,
    MELEE_RANGE,
    NUM_AGENTS,
    RANGE,
    REACH,
    SEPARATION,
    SIDE,
    TARGET,
    X,
    Y,
)
from dm2_dist.envs.skirmish.kernels.footing import shift, standable
from dm2_dist.envs.skirmish.kernels.layout import Integers, Reals, World

TOUCH = 0.95
"""Part of the squared sum of two radii below which a walker counts as bumping."""

SIDE_LOOPS = 24
"""Loops for which a unit remembers on which side it walks around an obstacle."""

SURROUND = 2.0
"""Distance from reaching its target within which a blocked melee unit looks for room around it."""

_PLACES = 18
"""Places around a target at which a melee unit looks for room."""

# Sine and cosine of the turn to each of them, the nearest first, left and right in turn.
_TURNS = tuple(
    (1 - 2 * (place % 2)) * 2 * math.pi / _PLACES * (place // 2 + 1) for place in range(_PLACES)
)
_SINE = tuple(math.sin(turn) for turn in _TURNS)
_COSINE = tuple(math.cos(turn) for turn in _TURNS)

_INSIDE = 0.05
"""How far inside its range such a place is."""

# A sidestep turns the way by 45, 90 or 135 degrees.
_ALONG = (math.sqrt(0.5), 0.0, -math.sqrt(0.5))
_ACROSS = (math.sqrt(0.5), 1.0, math.sqrt(0.5))


@inner
def hand(world: World, i: int) -> float:
    """Say which side a unit tries first where both are alike: mirror images mirror each other."""
    return 1.0 if i < world.number[NUM_AGENTS] else -1.0


@inner
def find_solids(
    integer: Integers, world: World, body: Reals, near: Integers, i: int, length: float
) -> None:
    """List whom unit `i` could bump into with one step: enemies, friends that stand and fight.

    Other friends yield.

    Args:
        integer: int64 [I, U].
        world: the map.
        body: float64 [P, U].
        near: int64 [U + 1], written: entry 0 counts, the entries after it are unit numbers, rising.
        i: the walker.
        length: of its step.
    """
    across = body[BODY_X]
    upright = body[BODY_Y]
    radii = world.trait[SEPARATION]
    solid = integer[solid_row(world, i)]
    count = 0
    for j in range(across.size):
        dx = across[j] - across[i]
        dy = upright[j] - upright[i]
        reach = radii[i] + radii[j] + length
        # Written in any case and counted where it holds: a branch would be guessed wrong too often.
        near[count + 1] = j
        count += solid[j] if dx * dx + dy * dy < reach * reach else 0
    near[0] = count


@inner
def obstacle(world: World, body: Reals, near: Integers, i: int, dx: float, dy: float) -> float:
    """Look for a unit ahead that a step by (dx, dy) would bump into.

    Args:
        world: the map.
        body: float64 [P, U].
        near: int64 [U + 1] from `find_solids`.
        i: the walker.
        dx: step.
        dy: step.

    Returns:
        0 if the way is free, else a number whose sign says on which side of the way the obstacle is
        (positive: left).
    """
    radii = world.trait[SEPARATION]
    for place in range(1, near[0] + 1):
        j = near[place]
        ahead_x = body[BODY_X, j] - body[BODY_X, i]
        ahead_y = body[BODY_Y, j] - body[BODY_Y, i]
        reach = radii[i] + radii[j]
        if (ahead_x - dx) ** 2 + (ahead_y - dy) ** 2 >= reach * reach * TOUCH:
            continue
        if ahead_x * dx + ahead_y * dy > 0.0:
            side = dx * ahead_y - dy * ahead_x
            return float(side) if side != 0.0 else hand(world, i)
    return 0.0


@apart
def sidestep(
    real: Reals,
    integer: Integers,
    world: World,
    body: Reals,
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
        if obstacle(world, body, near, i, step_x, step_y) == 0.0 and shift(
            real, world, i, step_x, step_y
        ):
            integer[SIDE, i] = SIDE_LOOPS if turn > 0.0 else -SIDE_LOOPS
            return True
    return False


@apart
def surround(real: Reals, integer: Integers, world: World, body: Reals, i: int, j: int) -> float:
    """Look for room around unit `j` from which melee unit `i` can hit it.

    Unit `i` is blocked; the goal of its walk becomes the nearest free place, if there is one.

    Returns:
        1 if that place is counterclockwise off the bearing of unit `i`, -1 if it is clockwise, 0 if
        there is none.
    """
    trait = world.trait
    contact = trait[RANGE, i] + trait[BODY, i] + trait[BODY, j] - _INSIDE
    from_x = real[X, i] - real[X, j]
    from_y = real[Y, i] - real[Y, j]
    scale = contact / max(math.sqrt(from_x * from_x + from_y * from_y), 1e-6)
    layer = body[BODY_X, i] - real[X, i]
    first = hand(world, i)
    for place in range(_PLACES):
        sine = first * _SINE[place]
        x = real[X, j] + scale * (_COSINE[place] * from_x - sine * from_y)
        y = real[Y, j] + scale * (sine * from_x + _COSINE[place] * from_y)
        if not standable(world, x, y, trait[SEPARATION, i]):
            continue
        _, blocked = count_touched(integer, world, body, i, x + layer, y, TOUCH)
        if blocked == 0:
            real[GOAL_X, i] = x
            real[GOAL_Y, i] = y
            return first if place % 2 == 0 else -first
    return 0.0


@inner
def seek_room(
    real: Reals,
    integer: Integers,
    world: World,
    body: Reals,
    near: Integers,
    i: int,
    length: float,
) -> bool:
    """Let a blocked melee unit close to its target step towards room around it, if it can."""
    j = integer[TARGET, i]
    if j < 0 or world.trait[RANGE, i] >= MELEE_RANGE:
        return False
    dx = real[GOAL_X, i] - real[X, i]
    dy = real[GOAL_Y, i] - real[Y, i]
    reach = SURROUND + real[REACH, i]
    if dx * dx + dy * dy >= reach * reach:
        return False
    turn = surround(real, integer, world, body, i, j)
    if turn == 0.0:
        return False
    integer[SIDE, i] = -1 if turn > 0.0 else 1
    dx = real[GOAL_X, i] - real[X, i]
    dy = real[GOAL_Y, i] - real[Y, i]
    scale = length / max(math.sqrt(dx * dx + dy * dy), 1e-6)
    if obstacle(world, body, near, i, dx * scale, dy * scale) != 0.0:
        return False
    shift(real, world, i, dx * scale, dy * scale)
    return True


@apart
def go_around(
    real: Reals,
    integer: Integers,
    world: World,
    body: Reals,
    near: Integers,
    i: int,
    dx: float,
    dy: float,
    side: float,
) -> None:
    """Step past an obstacle: a melee unit towards room around its target, else sideways.

    A sidestep is first tried on the side that the unit has already chosen.
    """
    if integer[SIDE, i] == 0:
        integer[SIDE, i] = -1 if side > 0.0 else 1
    if seek_room(real, integer, world, body, near, i, math.sqrt(dx * dx + dy * dy)):
        return
    turn = 1.0 if integer[SIDE, i] > 0 else -1.0
    if not sidestep(real, integer, world, body, near, i, dx, dy, turn):
        sidestep(real, integer, world, body, near, i, dx, dy, -turn)
