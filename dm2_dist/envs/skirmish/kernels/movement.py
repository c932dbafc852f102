"""Walking: around units that stand, through friends that yield, never onto a cliff.

A walker sidesteps enemies and friends that stand and fight; whoever still overlaps afterwards is
pushed apart. Only units of one layer meet: those on the ground, those in the air, and the colossi,
which step over everything. Fed by `target`.
"""

from __future__ import annotations

import math

import numpy as np

from dm2_dist.envs.skirmish.kernels import draw
from dm2_dist.envs.skirmish.kernels.body import (
    count_touched,
    follow,
    note_solids,
    sort_west_to_east,
)
from dm2_dist.envs.skirmish.kernels.compiled import apart, inner
from dm2_dist.envs.skirmish.kernels.detour import TOUCH, find_solids, go_around, obstacle
from dm2_dist.envs.skirmish.kernels.field import (
    ACCELERATION,
    ANCHORED,
    BODY_X,
    BODY_Y,
    ELBOW_ROOM,
    GOAL_X,
    GOAL_Y,
    GROUND_LAYER,
    LAYER,
    LINE_RADIUS,
    LINE_X,
    LINE_Y,
    MAP_SIZE,
    MOVING,
    NUM_AGENTS,
    NUM_UNITS,
    OVERLAP,
    PACE,
    REACH,
    ROUTED,
    SEPARATION,
    SIDE,
    SPEED,
    STRAIGHT,
    X,
    Y,
)
from dm2_dist.envs.skirmish.kernels.footing import shift, slide, step_out
from dm2_dist.envs.skirmish.kernels.layout import Integers, Reals, World

SOFTNESS = 0.9
"""Part of the squared sum of two radii below which units are pushed apart: bodies give a little."""


@inner
def next_corner(real: Reals, world: World, i: int) -> int:
    """Look up the corner that unit `i` walks to on the way to its goal, or `STRAIGHT`."""
    last = MAP_SIZE - 1.0
    here = MAP_SIZE * int(real[X, i]) + int(real[Y, i])
    column = int(min(max(real[GOAL_X, i], 0.0), last))
    row = int(min(max(real[GOAL_Y, i], 0.0), last))
    return int(world.route[here, world.refuge[MAP_SIZE * column + row]])


@inner
def pace(real: Reals, trait: Reals, i: int) -> float:
    """Say how far unit `i` can go in this loop."""
    if trait[ACCELERATION, i] > 0.0:
        real[PACE, i] = min(real[PACE, i] + trait[ACCELERATION, i], trait[SPEED, i])
        return float(real[PACE, i])
    return float(trait[SPEED, i])


@inner
def walk(
    real: Reals,
    integer: Integers,
    world: World,
    body: Reals,
    near: Integers,
    i: int,
) -> None:
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
    scale = length / distance
    dx *= scale
    dy *= scale
    x = body[BODY_X, i] + dx
    y = body[BODY_Y, i] + dy
    touched, blocked = count_touched(integer, world, body, i, x, y, TOUCH)
    if touched > 0:
        integer[OVERLAP, 0] = 1
        side = 0.0
        if blocked > 0:
            find_solids(integer, world, body, near, i, length)
            side = obstacle(world, body, near, i, dx, dy)
        if side != 0.0:
            go_around(real, integer, world, body, near, i, dx, dy, side)
            follow(real, world, body, i)
            return
    # The chosen side is remembered for a while, or two obstacles would bounce the unit between
    # them.
    memory = integer[SIDE, i]
    integer[SIDE, i] = memory - 1 if memory > 0 else min(memory + 1, 0)
    if not step_out(real, world, i, dx, dy):
        integer[OVERLAP, 0] = 1
        slide(real, world, i, dx, dy)
    follow(real, world, body, i)


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


@apart
def push(real: Reals, integer: Integers, world: World, body: Reals, i: int, j: int) -> None:
    """Push two units that overlap apart; one that stands and fights stays, the other yields."""
    integer[OVERLAP, 0] = 1
    dx = body[BODY_X, j] - body[BODY_X, i]
    dy = body[BODY_Y, j] - body[BODY_Y, i]
    gap = math.sqrt(dx * dx + dy * dy)
    distance = gap
    if gap < 1e-6:
        # Two centres on one spot have no direction of their own.
        dx = 0.0
        dy = 1.0
        distance = 1.0
        gap = 0.0
    share = share_of_push(integer, world.trait, i, j)
    scale = (world.trait[SEPARATION, i] + world.trait[SEPARATION, j] - gap) / distance
    dx *= scale
    dy *= scale
    if share > 0.0:
        shift(real, world, i, -share * dx, -share * dy)
        follow(real, world, body, i)
    if share < 1.0:
        shift(real, world, j, (1.0 - share) * dx, (1.0 - share) * dy)
        follow(real, world, body, j)


@inner
def line_up(world: World, body: Reals, place: int, i: int) -> None:
    """Copy the body of unit `i` to its place in the line."""
    body[LINE_X, place] = body[BODY_X, i]
    body[LINE_Y, place] = body[BODY_Y, i]
    body[LINE_RADIUS, place] = world.trait[SEPARATION, i]


@apart
def separate(
    real: Reals,
    integer: Integers,
    world: World,
    body: Reals,
    order: Integers,
    westward: bool,
) -> None:
    """Push overlapping units apart, and note whether there was anything to push.

    Units are looked at from west to east, or from east to west, each with those who are
    near enough on this axis to touch it. Small overlaps are left alone: crowds would never come to
    rest.
    """
    integer[OVERLAP, 0] = 0
    sort_west_to_east(body, order)
    across = body[LINE_X]
    upright = body[LINE_Y]
    radius = body[LINE_RADIUS]
    units = order.size
    last = units - 1
    for place in range(units):
        line_up(world, body, place, order[last - place if westward else place])
    for first in range(last):
        i = order[last - first if westward else first]
        elbow_room = world.trait[ELBOW_ROOM, i]
        for second in range(first + 1, units):
            dx = across[second] - across[first]
            if abs(dx) >= elbow_room:
                break
            dy = upright[second] - upright[first]
            radii = radius[first] + radius[second]
            if dx * dx + dy * dy < radii * radii * SOFTNESS:
                j = order[last - second if westward else second]
                push(real, integer, world, body, min(i, j), max(i, j))
                line_up(world, body, first, i)
                line_up(world, body, second, j)


@inner
def whose_turn(turn: int, agents: int, units: int, coins: int) -> int:
    """Say which unit steps at a turn: which side begins, and with whom, is tossed for."""
    i = turn
    if coins & 1:
        enemies = units - agents
        i = turn + agents if turn < enemies else turn - enemies
    if coins & 2:
        i = agents - 1 - i if i < agents else units - 1 - (i - agents)
    return i


@inner
def move(
    real: Reals,
    integer: Integers,
    world: World,
    body: Reals,
    near: Integers,
    order: Integers,
    seed: np.uint64,
    loop: int,
) -> None:
    """Let every walking unit take its step of this loop.

    Units step one after the other. Three coins are tossed for every loop, so that neither side, no
    unit and no direction has an advantage.

    Args:
        real: float64 [R, U].
        integer: int64 [I, U].
        world: the map.
        body: float64 [P, U].
        near: int64 [U + 1] scratch.
        order: int64 [U] the units in any order, sorted here.
        seed: seed of the battle.
        loop: loops since the start of the battle.
    """
    units = world.number[NUM_UNITS]
    agents = world.number[NUM_AGENTS]
    note_solids(integer, world)
    coins = int(8.0 * draw.uniform(seed, draw.TURN_ORDER, loop, 0))
    for turn in range(units):
        i = whose_turn(turn, agents, units, coins)
        if integer[MOVING, i] == 1:
            walk(real, integer, world, body, near, i)
        else:
            real[PACE, i] = 0.0
    if integer[OVERLAP, 0] == 1:
        separate(real, integer, world, body, order, coins >= 4)
