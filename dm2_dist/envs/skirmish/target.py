"""Who fights whom: targets, orders, and where each unit wants to go in this loop.

Agents do what they are told and nothing else. Computer units attack-move: they walk to a point,
take the nearest target in scan range, and turn on an attacker when their present target is out of
reach. Feeds `movement` and `combat`.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from dm2_dist.envs.skirmish.field import (
    ALIVE,
    ANCHORED,
    ARRIVAL,
    ATTACK,
    BODY,
    COOLDOWN,
    GOAL_X,
    GOAL_Y,
    HELP,
    IDLE,
    MARCH,
    MARCH_X,
    MARCH_Y,
    MOVE,
    MOVE_AMOUNT,
    MOVING,
    NUM_AGENTS,
    NUM_UNITS,
    ORDER,
    ORDER_X,
    ORDER_Y,
    RANGE,
    REACH,
    SCAN,
    SWING,
    TARGET,
    X,
    Y,
)
from dm2_dist.envs.skirmish.kernel import inner

LEASH = 21.0
"""Edge-to-edge distance beyond which a computer unit gives up its target."""

HELP_RADIUS = 4.0
"""Friends this near answer a call for help."""

HELP_LOOPS = 32
"""Loops between two calls for help of one unit."""

STEP_INSIDE = 0.01
"""How far inside its range a pursuer walks, lest rounding leave it just outside."""

Reals = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@inner
def squared_distance(real: Reals, i: int, j: int) -> float:
    """Squared distance between the centres of two units."""
    dx = real[X, j] - real[X, i]
    dy = real[Y, j] - real[Y, i]
    gap: float = dx * dx + dy * dy
    return gap


@inner
def drop_swing(real: Reals, integer: Integers, i: int) -> None:
    """Break off a swing before it takes effect: no hit, and the weapon is ready again."""
    if integer[SWING, i] >= 0:
        integer[SWING, i] = -1
        real[COOLDOWN, i] = 0.0


@inner
def give_orders(
    real: Reals, integer: Integers, number: Integers, weight: Reals, actions: Integers
) -> None:
    """Turn the agents' actions into orders.

    Args:
        real: float64 [R, U].
        integer: int64 [I, U].
        number: int64 [N].
        weight: float64 [W].
        actions: int64 [K] legal actions.
    """
    agents = number[NUM_AGENTS]
    for i in range(agents):
        action = actions[i]
        if integer[ALIVE, i] == 0:
            continue
        if action >= 6:
            target = agents + action - 6
            if integer[SWING, i] != target:
                drop_swing(real, integer, i)
            integer[ORDER, i] = ATTACK
            integer[TARGET, i] = target
            continue
        drop_swing(real, integer, i)
        integer[TARGET, i] = -1
        if action == 1:
            integer[ORDER, i] = IDLE
            continue
        integer[ORDER, i] = MOVE
        amount = weight[MOVE_AMOUNT]
        real[ORDER_X, i] = real[X, i] + amount * ((action == 4) - (action == 5))
        real[ORDER_Y, i] = real[Y, i] + amount * ((action == 2) - (action == 3))


@inner
def acquire(real: Reals, integer: Integers, trait: Reals, i: int, opponents: int) -> None:
    """Choose the target of computer unit `i` among units 0 to `opponents` - 1."""
    present = integer[TARGET, i]
    if present >= 0:
        bodies = trait[BODY, i] + trait[BODY, present]
        gap = squared_distance(real, i, present)
        if integer[ALIVE, present] == 0 or gap > (LEASH + bodies) ** 2:
            present = -1
        elif gap <= (trait[RANGE, i] + bodies) ** 2:
            return
    best = present
    nearest = np.inf
    for j in range(opponents):
        if integer[ALIVE, j] == 0:
            continue
        bodies = trait[BODY, i] + trait[BODY, j]
        gap = squared_distance(real, i, j)
        if gap > (trait[SCAN, i] + bodies) ** 2:
            continue
        # A unit that already chases someone lets go only for an attacker or for someone it can hit
        # at once.
        if present >= 0 and integer[TARGET, j] != i and gap > (trait[RANGE, i] + bodies) ** 2:
            continue
        edge = math.sqrt(gap) - trait[BODY, j]
        if edge < nearest:
            nearest = edge
            best = j
    integer[TARGET, i] = best


@inner
def respond(
    real: Reals, integer: Integers, number: Integers, loop: int, attacker: int, victim: int
) -> None:
    """Let a computer unit that was hit turn on its attacker and call its friends."""
    if integer[TARGET, victim] < 0:
        integer[TARGET, victim] = attacker
    if loop < integer[HELP, victim]:
        return
    integer[HELP, victim] = loop + HELP_LOOPS
    for j in range(number[NUM_AGENTS], number[NUM_UNITS]):
        if integer[ALIVE, j] == 1 and integer[TARGET, j] < 0:
            if squared_distance(real, victim, j) <= HELP_RADIUS * HELP_RADIUS:
                integer[TARGET, j] = attacker


@inner
def pursue(real: Reals, integer: Integers, trait: Reals, i: int, target: int) -> None:
    """Stand and fight if the target is within range, else walk towards it."""
    contact = trait[RANGE, i] + trait[BODY, i] + trait[BODY, target]
    if squared_distance(real, i, target) <= contact * contact:
        integer[ANCHORED, i] = 1
        return
    integer[MOVING, i] = 1
    real[GOAL_X, i] = real[X, target]
    real[GOAL_Y, i] = real[Y, target]
    real[REACH, i] = contact - STEP_INSIDE


@inner
def travel(real: Reals, integer: Integers, weight: Reals, i: int) -> None:
    """Walk to the point of a move or march order."""
    march = integer[ORDER, i] == MARCH
    dx = real[ORDER_X, i] - real[X, i]
    dy = real[ORDER_Y, i] - real[Y, i]
    near = weight[ARRIVAL] if march else 1e-6
    if dx * dx + dy * dy <= near * near:
        if not march:
            integer[ORDER, i] = IDLE
        return
    integer[MOVING, i] = 1
    real[GOAL_X, i] = real[ORDER_X, i]
    real[GOAL_Y, i] = real[ORDER_Y, i]
    real[REACH, i] = 0.0


@inner
def decide(real: Reals, integer: Integers, trait: Reals, number: Integers, weight: Reals) -> None:
    """Fix for every unit whether it stands and fights, walks somewhere, or idles in this loop.

    Args:
        real: float64 [R, U].
        integer: int64 [I, U].
        trait: float64 [F, U].
        number: int64 [N].
        weight: float64 [W].
    """
    for i in range(number[NUM_UNITS]):
        integer[MOVING, i] = 0
        integer[ANCHORED, i] = 0
        if integer[ALIVE, i] == 0:
            continue
        swing = integer[SWING, i]
        if swing >= 0:
            if integer[ALIVE, swing] == 1:
                integer[ANCHORED, i] = 1
                continue
            drop_swing(real, integer, i)
        order = integer[ORDER, i]
        if order == MARCH:
            acquire(real, integer, trait, i, number[NUM_AGENTS])
        target = integer[TARGET, i]
        if target >= 0 and integer[ALIVE, target] == 1:
            pursue(real, integer, trait, i, target)
            continue
        integer[TARGET, i] = -1
        if order == ATTACK:
            integer[ORDER, i] = IDLE
        elif order != IDLE:
            travel(real, integer, weight, i)


@inner
def march(integer: Integers, real: Reals, weight: Reals, i: int) -> None:
    """Give a computer unit its order at the start of a battle."""
    integer[ORDER, i] = MARCH
    real[ORDER_X, i] = weight[MARCH_X]
    real[ORDER_Y, i] = weight[MARCH_Y]
