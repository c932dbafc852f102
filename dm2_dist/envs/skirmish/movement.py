"""Walking: around units that stand, through friends that yield, never onto a cliff.

A walker sidesteps enemies and friends that stand and fight; whoever still overlaps afterwards is
pushed apart. Fed by `target`.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from dm2_dist.envs.skirmish.field import (
    ALIVE,
    ANCHORED,
    CLIFF,
    GOAL_X,
    GOAL_Y,
    GROUND,
    MOVING,
    NUM_AGENTS,
    NUM_UNITS,
    REACH,
    SEPARATION,
    SIDE,
    SPEED,
    X,
    Y,
)
from dm2_dist.envs.skirmish.kernel import inner
from dm2_dist.envs.skirmish.terrain import MAP_SIZE

Reals = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Cells = npt.NDArray[np.uint8]

_TOUCH = 0.95
"""Part of the sum of two squared radii below which a sidestepping unit counts as bumping."""

SIDE_LOOPS = 24
"""Loops for which a unit remembers on which side it walks around an obstacle."""

# A sidestep turns the way by 45, 90 or 135 degrees.
_ALONG = (math.sqrt(0.5), 0.0, -math.sqrt(0.5))
_ACROSS = (math.sqrt(0.5), 1.0, math.sqrt(0.5))


@inner
def standable(cell: Cells, x: float, y: float, radius: float) -> bool:
    """Whether a disk at (x, y) has its centre and its four extremes on pathable cells."""
    if x < radius or y < radius or x >= MAP_SIZE - radius or y >= MAP_SIZE - radius:
        return False
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
def shift(real: Reals, trait: Reals, cell: Cells, i: int, dx: float, dy: float) -> bool:
    """Move a unit by (dx, dy), sliding along cliffs; says whether it moved at all."""
    x = real[X, i]
    y = real[Y, i]
    radius = trait[SEPARATION, i]
    if standable(cell, x + dx, y + dy, radius):
        real[X, i] = x + dx
        real[Y, i] = y + dy
        return True
    if dx != 0.0 and standable(cell, x + dx, y, radius):
        real[X, i] = x + dx
        return True
    if dy != 0.0 and standable(cell, x, y + dy, radius):
        real[Y, i] = y + dy
        return True
    return False


@inner
def obstacle(
    real: Reals, integer: Integers, trait: Reals, number: Integers, i: int, dx: float, dy: float
) -> float:
    """Look for a unit that a step by (dx, dy) would bump into.

    Enemies and friends that stand and fight are obstacles; other friends yield.

    Returns:
        0 if the way is free, else a number whose sign says on which side of the way the obstacle is
        (positive: left).
    """
    x = real[X, i]
    y = real[Y, i]
    agents = number[NUM_AGENTS]
    for j in range(number[NUM_UNITS]):
        if j == i or integer[ALIVE, j] == 0:
            continue
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
def walk(
    real: Reals, integer: Integers, trait: Reals, cell: Cells, number: Integers, i: int
) -> None:
    """Take one step towards the goal: straight, else sideways, first on the side already chosen."""
    dx = real[GOAL_X, i] - real[X, i]
    dy = real[GOAL_Y, i] - real[Y, i]
    distance = math.sqrt(dx * dx + dy * dy)
    length = min(trait[SPEED, i], distance - real[REACH, i])
    if length <= 0.0:
        return
    dx *= length / distance
    dy *= length / distance
    side = obstacle(real, integer, trait, number, i, dx, dy)
    memory = integer[SIDE, i]
    if side == 0.0:
        # The chosen side is remembered for a while, or two obstacles would bounce the unit between
        # them.
        integer[SIDE, i] = memory - 1 if memory > 0 else min(memory + 1, 0)
        shift(real, trait, cell, i, dx, dy)
        return
    if memory == 0:
        memory = -1 if side > 0.0 else 1
    for attempt in range(6):
        along = _ALONG[attempt % 3]
        turn = 1.0 if (memory > 0) == (attempt < 3) else -1.0
        across = turn * _ACROSS[attempt % 3]
        step_x = along * dx - across * dy
        step_y = along * dy + across * dx
        if obstacle(real, integer, trait, number, i, step_x, step_y) == 0.0:
            if shift(real, trait, cell, i, step_x, step_y):
                integer[SIDE, i] = SIDE_LOOPS if turn > 0.0 else -SIDE_LOOPS
                return


@inner
def separate(real: Reals, integer: Integers, trait: Reals, cell: Cells, number: Integers) -> None:
    """Push overlapping units apart; one that stands and fights stays, the other gives way."""
    for i in range(number[NUM_UNITS] - 1):
        if integer[ALIVE, i] == 0:
            continue
        x = real[X, i]
        y = real[Y, i]
        radius = trait[SEPARATION, i]
        for j in range(i + 1, number[NUM_UNITS]):
            dx = real[X, j] - x
            dy = real[Y, j] - y
            gap = dx * dx + dy * dy
            radii = radius + trait[SEPARATION, j]
            if gap >= radii * radii or integer[ALIVE, j] == 0:
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
            share = 0.5
            if integer[ANCHORED, i] != integer[ANCHORED, j]:
                share = 0.0 if integer[ANCHORED, i] == 1 else 1.0
            dx *= overlap / distance
            dy *= overlap / distance
            if share > 0.0:
                shift(real, trait, cell, i, -share * dx, -share * dy)
                x = real[X, i]
                y = real[Y, i]
            if share < 1.0:
                shift(real, trait, cell, j, (1.0 - share) * dx, (1.0 - share) * dy)


@inner
def move(
    real: Reals, integer: Integers, trait: Reals, cell: Cells, number: Integers, loop: int
) -> None:
    """Let every walking unit take its step of this loop.

    Units step one after the other; the order turns round every loop, so that neither side is always
    first.

    Args:
        real: float64 [R, U].
        integer: int64 [I, U].
        trait: float64 [F, U].
        cell: uint8 [32, 32].
        number: int64 [N].
        loop: loops since the start of the battle.
    """
    units = number[NUM_UNITS]
    for turn in range(units):
        i = turn if loop % 2 == 0 else units - 1 - turn
        if integer[MOVING, i] == 1:
            walk(real, integer, trait, cell, number, i)
    separate(real, integer, trait, cell, number)
