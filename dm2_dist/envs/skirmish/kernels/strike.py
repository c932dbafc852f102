"""Hits: how they travel, whom they reach, what they do, and how the computer's units answer.

Fed by `combat`.
"""

from __future__ import annotations

import math

from dm2_dist.envs.skirmish.kernels.compiled import apart, inner
from dm2_dist.envs.skirmish.kernels.field import (
    AIM_ACROSS_X,
    AIM_ACROSS_Y,
    AIM_X,
    AIM_Y,
    ALIVE,
    ARMOR,
    BEAM,
    BODY,
    BURST,
    CONTROLLED,
    DELIVERY,
    DYING,
    HEALTH,
    HELP,
    HIT_DELAY,
    HITS,
    MINIMUM_DAMAGE,
    MISSILE,
    MISSILE_SPEED,
    NO_HIT,
    NUM_AGENTS,
    NUM_UNITS,
    PENDING,
    PENDING_HITS,
    PENDING_TARGET,
    QUIET,
    RANGE,
    RANGE_SLOP,
    SHIELD,
    SPLASH,
    STRIKE,
    SUICIDE,
    SWING,
    TARGET,
    X,
    Y,
)
from dm2_dist.envs.skirmish.kernels.layout import Integers, Reals, World
from dm2_dist.envs.skirmish.kernels.order import drop_swing, squared_distance

HELP_RADIUS = 4.0
"""Friends this near answer a call for help."""

HELP_LOOPS = 32
"""Loops between two calls for help of one unit."""

BEAM_DELAY = 4.0
"""Loops from the release of a colossus's swing to its first beam: 0.25 s."""

BEAM_REACH = 1.25
"""Half the length, in cells, of the line that a beam sweeps across its target."""

BEAM_RADIUS = 0.15
"""Half the width of that line."""


@inner
def hurt(real: Reals, integer: Integers, world: World, j: int, damage: float) -> None:
    """Take one hit from shields first, then, less the armour, from health."""
    integer[QUIET, j] = 0
    absorbed = min(real[SHIELD, j], damage)
    real[SHIELD, j] -= absorbed
    rest = damage - absorbed
    if rest > 0.0:
        real[HEALTH, j] -= max(rest - world.trait[ARMOR, j], world.weight[MINIMUM_DAMAGE])
        if real[HEALTH, j] <= 0.0:
            integer[DYING, 0] = 1


@apart
def respond(
    real: Reals, integer: Integers, world: World, loop: int, attacker: int, victim: int
) -> None:
    """Let a computer unit that was hit turn on its attacker and call its friends."""
    if integer[TARGET, victim] < 0 and world.hit[victim, attacker] != NO_HIT:
        integer[TARGET, victim] = attacker
    if loop < integer[HELP, victim]:
        return
    integer[HELP, victim] = loop + HELP_LOOPS
    for j in range(world.number[NUM_AGENTS], world.number[NUM_UNITS]):
        if integer[ALIVE, j] == 0 or integer[TARGET, j] >= 0 or world.hit[j, attacker] == NO_HIT:
            continue
        if squared_distance(real, victim, j) <= HELP_RADIUS * HELP_RADIUS:
            integer[TARGET, j] = attacker


@inner
def land(real: Reals, integer: Integers, world: World, loop: int, i: int, j: int) -> None:
    """Let a hit of unit `i` reach unit `j`; one on its way to a unit that has died is lost."""
    if integer[ALIVE, j] == 0:
        return
    hurt(real, integer, world, j, world.hit[i, j])
    if j >= world.number[NUM_AGENTS] and world.number[CONTROLLED] == 0:
        respond(real, integer, world, loop, i, j)


@apart
def explode(real: Reals, integer: Integers, world: World, loop: int, i: int) -> None:
    """Hit every opponent of unit `i` whose body its explosion touches."""
    integer[BURST, i] = 1
    agents = world.number[NUM_AGENTS]
    for j in range(world.number[NUM_UNITS]):
        if (i < agents) == (j < agents) or integer[ALIVE, j] == 0 or world.hit[i, j] == NO_HIT:
            continue
        reach = world.trait[SPLASH, i] + world.trait[BODY, j]
        if squared_distance(real, i, j) <= reach * reach:
            land(real, integer, world, loop, i, j)


@apart
def sweep(real: Reals, integer: Integers, world: World, loop: int, i: int) -> None:
    """Hit every opponent that touches the line which the beam of unit `i` draws."""
    agents = world.number[NUM_AGENTS]
    across_x = real[AIM_ACROSS_X, i]
    across_y = real[AIM_ACROSS_Y, i]
    for j in range(world.number[NUM_UNITS]):
        if (i < agents) == (j < agents) or integer[ALIVE, j] == 0 or world.hit[i, j] == NO_HIT:
            continue
        dx = real[X, j] - real[AIM_X, i]
        dy = real[Y, j] - real[AIM_Y, i]
        along = min(max(dx * across_x + dy * across_y, -BEAM_REACH), BEAM_REACH)
        dx -= along * across_x
        dy -= along * across_y
        reach = BEAM_RADIUS + world.trait[BODY, j]
        if dx * dx + dy * dy <= reach * reach:
            land(real, integer, world, loop, i, j)


@inner
def aim(real: Reals, i: int, j: int) -> None:
    """Lay the line of a beam across unit `j`, at right angles to the way from unit `i`."""
    dx = real[X, j] - real[X, i]
    dy = real[Y, j] - real[Y, i]
    distance = math.sqrt(dx * dx + dy * dy)
    real[AIM_X, i] = real[X, j]
    real[AIM_Y, i] = real[Y, j]
    real[AIM_ACROSS_X, i] = -dy / distance if distance > 0.0 else 1.0
    real[AIM_ACROSS_Y, i] = dx / distance if distance > 0.0 else 0.0


@inner
def send(integer: Integers, real: Reals, i: int, j: int, loops: float, hits: float) -> None:
    """Put hits on their way to unit `j`."""
    integer[PENDING_TARGET, i] = j
    integer[PENDING_HITS, i] = int(hits)
    real[PENDING, i] = loops


@inner
def release(real: Reals, integer: Integers, world: World, loop: int, i: int) -> None:
    """Let the swing of unit `i` take effect, unless the target has walked too far away."""
    trait = world.trait
    j = integer[SWING, i]
    bodies = trait[BODY, i] + trait[BODY, j]
    gap = squared_distance(real, i, j)
    if gap > (trait[RANGE, i] + world.weight[RANGE_SLOP] + bodies) ** 2:
        drop_swing(real, integer, i)
        return
    integer[SWING, i] = -1
    integer[STRIKE, i] = j
    delivery = trait[DELIVERY, i]
    if delivery == SUICIDE:
        real[HEALTH, i] = 0.0
        real[SHIELD, i] = 0.0
        integer[DYING, 0] = 1
        explode(real, integer, world, loop, i)
    elif delivery == BEAM:
        aim(real, i, j)
        send(integer, real, i, j, BEAM_DELAY, trait[HITS, i])
    elif delivery == MISSILE and world.weight[MISSILE_SPEED] > 0.0:
        flight = max(math.sqrt(gap) - bodies, 0.0) / world.weight[MISSILE_SPEED]
        send(integer, real, i, j, flight, 1.0)
    else:
        land(real, integer, world, loop, i, j)
        if trait[HITS, i] > 1.0:
            send(integer, real, i, j, trait[HIT_DELAY, i], trait[HITS, i] - 1.0)


@inner
def arrive(real: Reals, integer: Integers, world: World, loop: int, i: int) -> None:
    """Advance the hits of unit `i` that are on their way; only missiles outlive who sent them."""
    delivery = world.trait[DELIVERY, i]
    real[PENDING, i] -= 1.0
    if integer[ALIVE, i] == 0 and delivery != MISSILE:
        integer[PENDING_TARGET, i] = -1
        return
    if real[PENDING, i] > 0.0:
        return
    j = integer[PENDING_TARGET, i]
    integer[PENDING_HITS, i] -= 1
    real[PENDING, i] += world.trait[HIT_DELAY, i]
    if integer[PENDING_HITS, i] <= 0:
        integer[PENDING_TARGET, i] = -1
    if delivery == BEAM:
        sweep(real, integer, world, loop, i)
    else:
        land(real, integer, world, loop, i, j)
