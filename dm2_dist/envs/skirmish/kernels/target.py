"""Who fights whom: targets, orders, and where each unit wants to go in this loop.

Agents do what they are told and nothing else. Computer units attack-move: they walk to a point,
take the nearest target in scan range, and turn on an attacker when their present target is out of
reach; their healers go to the friend that is worst off. Feeds `movement` and `combat`.
"""

from __future__ import annotations

import math

import numpy as np

from dm2_dist.envs.skirmish.kernels.compiled import apart, inner
from dm2_dist.envs.skirmish.kernels.field import (
    AIM_X,
    AIM_Y,
    ALIVE,
    ANCHORED,
    ARRIVAL,
    ATTACK,
    BEAM,
    BODY,
    BODY_Y,
    DELIVERY,
    ENERGY,
    GOAL_X,
    GOAL_Y,
    HEAL,
    HEAL_SCAN,
    HEAL_START,
    HEALER,
    HEALTH,
    HEALTH_MAX,
    HERE_X,
    HUNT,
    IDLE,
    MAP_SIZE,
    MARCH,
    MELEE_RANGE,
    MOVE,
    MOVING,
    NO_HIT,
    NUM_AGENTS,
    NUM_UNITS,
    ORDER,
    ORDER_X,
    ORDER_Y,
    RANGE,
    REACH,
    SCAN,
    SPEED,
    STRIKERS,
    SWING,
    TARGET,
    X,
    Y,
)
from dm2_dist.envs.skirmish.kernels.layout import Integers, Reals, World
from dm2_dist.envs.skirmish.kernels.order import drop_swing, hurt_friend, squared_distance

LEASH = 21.0
"""Edge-to-edge distance beyond which a computer unit gives up its target."""

CROWDED = 1.0
"""Cells by which a target seems farther to a melee unit for each friend in mid-swing at it.

It sends those who wait behind a fight to look elsewhere.
"""

STEP_INSIDE = 0.01
"""How far inside its range a pursuer walks, lest rounding leave it just outside."""


@inner
def count_strikers(integer: Integers, world: World, body: Reals) -> None:
    """Write how many of the computer's units are in mid-swing at each agent."""
    agents = world.number[NUM_AGENTS]
    for j in range(agents):
        body[STRIKERS, j] = 0.0
    for k in range(agents, world.number[NUM_UNITS]):
        j = integer[SWING, k]
        if 0 <= j < agents:
            body[STRIKERS, j] += 1.0


@inner
def notices(world: World, body: Reals, i: int) -> bool:
    """Whether any living agent is within the scan range of unit `i`."""
    across = body[HERE_X]
    upright = body[BODY_Y]
    radii = world.trait[BODY]
    x = across[i]
    y = upright[i]
    scan = world.trait[SCAN, i] + radii[i]
    count = 0
    for j in range(world.number[NUM_AGENTS]):
        dx = across[j] - x
        dy = upright[j] - y
        reach = scan + radii[j]
        count += 1 if dx * dx + dy * dy <= reach * reach else 0
    return count > 0


@inner
def farness(real: Reals, world: World, body: Reals, i: int, j: int, gap: float) -> float:
    """Say how far agent `j` seems to computer unit `i`, at a squared distance of `gap`."""
    trait = world.trait
    within = gap <= (trait[RANGE, i] + trait[BODY, i] + trait[BODY, j]) ** 2
    if within and trait[DELIVERY, i] == BEAM and real[AIM_X, i] > 0.0:
        # A colossus goes on where its last beam fell, before it looks elsewhere.
        aside = math.hypot(real[X, j] - real[AIM_X, i], real[Y, j] - real[AIM_Y, i])
        return aside - 2.0 * MAP_SIZE
    far: float = math.sqrt(gap) - trait[BODY, j]
    if trait[RANGE, i] < MELEE_RANGE and not within:
        far += CROWDED * body[STRIKERS, j]
    return far


@inner
def acquire(real: Reals, integer: Integers, world: World, body: Reals, i: int) -> None:
    """Choose the target of computer unit `i` among the agents."""
    trait = world.trait
    present = integer[TARGET, i]
    if present >= 0:
        bodies = trait[BODY, i] + trait[BODY, present]
        gap = squared_distance(real, i, present)
        if integer[ALIVE, present] == 0 or gap > (LEASH + bodies) ** 2:
            present = -1
        elif gap <= (trait[RANGE, i] + bodies) ** 2:
            return
    if not notices(world, body, i):
        integer[TARGET, i] = present
        return
    best = present
    nearest = np.inf
    for j in range(world.number[NUM_AGENTS]):
        if integer[ALIVE, j] == 0 or world.hit[i, j] == NO_HIT:
            continue
        bodies = trait[BODY, i] + trait[BODY, j]
        gap = squared_distance(real, i, j)
        if gap > (trait[SCAN, i] + bodies) ** 2:
            continue
        far = farness(real, world, body, i, j, gap)
        if far < nearest:
            nearest = far
            best = j
    integer[TARGET, i] = best


@apart
def tend(real: Reals, integer: Integers, world: World, i: int) -> None:
    """Choose whom computer healer `i` treats: the worst off in reach of its scan, then nearest."""
    trait = world.trait
    present = integer[TARGET, i]
    if present >= 0 and hurt_friend(real, integer, world, present) and integer[SWING, i] == present:
        return
    integer[TARGET, i] = -1
    if real[ENERGY, i] < world.weight[HEAL_START]:
        return
    least = np.inf
    nearest = np.inf
    for j in range(world.number[NUM_AGENTS], world.number[NUM_UNITS]):
        if j == i or not hurt_friend(real, integer, world, j):
            continue
        gap = squared_distance(real, i, j)
        reach = world.weight[HEAL_SCAN] + trait[BODY, i] + trait[BODY, j]
        if gap > reach * reach:
            continue
        life = real[HEALTH, j] / trait[HEALTH_MAX, j]
        if life < least or (life == least and gap < nearest):
            least = life
            nearest = gap
            integer[TARGET, i] = j


@inner
def pursue(real: Reals, integer: Integers, trait: Reals, i: int, target: int) -> None:
    """Stand and act if the target is within range, else walk towards it."""
    contact = trait[RANGE, i] + trait[BODY, i] + trait[BODY, target]
    if squared_distance(real, i, target) <= contact * contact:
        integer[ANCHORED, i] = 1
        return
    integer[MOVING, i] = 1
    real[GOAL_X, i] = real[X, target]
    real[GOAL_Y, i] = real[Y, target]
    real[REACH, i] = contact - STEP_INSIDE


@apart
def chase_nearest(real: Reals, integer: Integers, world: World, i: int) -> None:
    """Walk towards the nearest living agent, however far."""
    nearest = np.inf
    for j in range(world.number[NUM_AGENTS]):
        gap = squared_distance(real, i, j)
        if integer[ALIVE, j] == 1 and gap < nearest:
            nearest = gap
            integer[MOVING, i] = 1
            real[GOAL_X, i] = real[X, j]
            real[GOAL_Y, i] = real[Y, j]
            real[REACH, i] = 0.0


@inner
def travel(real: Reals, integer: Integers, world: World, i: int) -> None:
    """Walk to the point of a move or march order."""
    march = integer[ORDER, i] == MARCH
    dx = real[ORDER_X, i] - real[X, i]
    dy = real[ORDER_Y, i] - real[Y, i]
    near = world.weight[ARRIVAL] if march else 1e-6
    if dx * dx + dy * dy <= near * near:
        if not march:
            integer[ORDER, i] = IDLE
        return
    integer[MOVING, i] = 1
    real[GOAL_X, i] = real[ORDER_X, i]
    real[GOAL_Y, i] = real[ORDER_Y, i]
    real[REACH, i] = 0.0


@inner
def swinging(real: Reals, integer: Integers, world: World, i: int) -> bool:
    """Whether unit `i` stands in a swing that is not over; a swing at the dead ends."""
    swing = integer[SWING, i]
    if swing < 0 or world.trait[HEALER, i] > 0.0:
        return False
    if integer[ALIVE, swing] == 1:
        return True
    drop_swing(real, integer, i)
    return False


@inner
def look(real: Reals, integer: Integers, world: World, body: Reals, i: int) -> int:
    """Bring the target of unit `i` up to date; returns it, -1 for none."""
    order = integer[ORDER, i]
    if order == HEAL:
        if not hurt_friend(real, integer, world, integer[TARGET, i]):
            integer[TARGET, i] = -1
    elif order >= MARCH:
        if world.trait[HEALER, i] > 0.0:
            tend(real, integer, world, i)
        else:
            acquire(real, integer, world, body, i)
    target = integer[TARGET, i]
    if target >= 0 and integer[ALIVE, target] == 0:
        target = -1
        integer[TARGET, i] = -1
    return int(target)


@inner
def go_on(real: Reals, integer: Integers, world: World, i: int) -> None:
    """Let a unit without a target follow its order."""
    order = integer[ORDER, i]
    if order in (ATTACK, HEAL):
        integer[ORDER, i] = IDLE
    elif order == HUNT:
        chase_nearest(real, integer, world, i)
    elif order in (MOVE, MARCH):
        travel(real, integer, world, i)


@inner
def decide(real: Reals, integer: Integers, world: World, body: Reals) -> None:
    """Fix for every unit whether it stands and acts, walks somewhere, or idles in this loop.

    Args:
        real: float64 [R, U].
        integer: int64 [I, U].
        world: the map.
        body: float64 [P, U].
    """
    count_strikers(integer, world, body)
    for i in range(world.number[NUM_UNITS]):
        integer[MOVING, i] = 0
        integer[ANCHORED, i] = 0
        if integer[ALIVE, i] == 0:
            continue
        if swinging(real, integer, world, i):
            integer[ANCHORED, i] = 1
            continue
        target = look(real, integer, world, body, i)
        if target >= 0:
            pursue(real, integer, world.trait, i, target)
        else:
            go_on(real, integer, world, i)
        if world.trait[SPEED, i] == 0.0:
            integer[ANCHORED, i] = 1
            integer[MOVING, i] = 0
