"""Swings, missiles, damage, regeneration and death.

All hits of a loop land before anyone is buried: units that kill each other in one loop both die.
Fed by `target`; feeds `engine`.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from dm2_dist.envs.skirmish import draw
from dm2_dist.envs.skirmish.field import (
    ALIVE,
    ANCHORED,
    ARMOR,
    BODY,
    COOLDOWN,
    DAMAGE_POINT,
    HEALTH,
    HEALTH_MAX,
    HIT_DELAY,
    MISSILE,
    MOVING,
    NUM_AGENTS,
    NUM_UNITS,
    PENDING,
    PENDING_TARGET,
    PERIOD,
    QUIET,
    RANGE,
    REGENERATION,
    SHIELD,
    SHIELD_MAX,
    SWING,
    TARGET,
    WINDUP,
)
from dm2_dist.envs.skirmish.kernel import inner
from dm2_dist.envs.skirmish.target import drop_swing, respond, squared_distance
from dm2_dist.envs.skirmish.unit_type import (
    COOLDOWN_NOISE,
    MINIMUM_DAMAGE,
    MISSILE_SPEED,
    RANGE_SLOP,
    SHIELD_DELAY,
    SHIELD_REGENERATION,
)

Reals = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_NOISE_LOW = COOLDOWN_NOISE[0]
_NOISE_WIDTH = COOLDOWN_NOISE[1] - COOLDOWN_NOISE[0]


@inner
def hurt(real: Reals, integer: Integers, trait: Reals, j: int, damage: float) -> None:
    """Take one hit from shields first, then, less the armour, from health."""
    integer[QUIET, j] = 0
    absorbed = min(real[SHIELD, j], damage)
    real[SHIELD, j] -= absorbed
    rest = damage - absorbed
    if rest > 0.0:
        real[HEALTH, j] -= max(rest - trait[ARMOR, j], MINIMUM_DAMAGE)


@inner
def land(
    real: Reals,
    integer: Integers,
    trait: Reals,
    hit: Reals,
    number: Integers,
    loop: int,
    i: int,
    j: int,
) -> None:
    """Let a hit of unit `i` reach unit `j`; one on its way to a unit that has died is lost."""
    if integer[ALIVE, j] == 0:
        return
    hurt(real, integer, trait, j, hit[i, j])
    if j >= number[NUM_AGENTS]:
        respond(real, integer, number, loop, i, j)


@inner
def release(
    real: Reals, integer: Integers, trait: Reals, hit: Reals, number: Integers, loop: int, i: int
) -> None:
    """Let the swing of unit `i` take effect, unless the target has walked too far away."""
    j = integer[SWING, i]
    bodies = trait[BODY, i] + trait[BODY, j]
    gap = squared_distance(real, i, j)
    if gap > (trait[RANGE, i] + RANGE_SLOP + bodies) ** 2:
        drop_swing(real, integer, i)
        return
    integer[SWING, i] = -1
    if trait[MISSILE, i] > 0.0:
        integer[PENDING_TARGET, i] = j
        real[PENDING, i] = max(math.sqrt(gap) - bodies, 0.0) / MISSILE_SPEED
        return
    land(real, integer, trait, hit, number, loop, i, j)
    if trait[HIT_DELAY, i] > 0.0:
        integer[PENDING_TARGET, i] = j
        real[PENDING, i] = trait[HIT_DELAY, i]


@inner
def swing(real: Reals, integer: Integers, trait: Reals, seed: np.uint64, loop: int, i: int) -> None:
    """Begin a swing if the weapon is ready and the target in range."""
    j = integer[TARGET, i]
    if real[COOLDOWN, i] > 0.0 or j < 0 or integer[ALIVE, j] == 0:
        return
    contact = trait[RANGE, i] + trait[BODY, i] + trait[BODY, j]
    if squared_distance(real, i, j) > contact * contact:
        return
    integer[SWING, i] = j
    real[WINDUP, i] = trait[DAMAGE_POINT, i]
    noise = draw.uniform(seed, draw.COOLDOWN_DELAY, loop, i)
    real[COOLDOWN, i] = trait[PERIOD, i] + _NOISE_LOW + _NOISE_WIDTH * noise


@inner
def fight(
    real: Reals,
    integer: Integers,
    trait: Reals,
    hit: Reals,
    number: Integers,
    seed: np.uint64,
    loop: int,
) -> None:
    """Advance weapons by one loop: hits on their way, wind-ups, new swings.

    Args:
        real: float64 [R, U].
        integer: int64 [I, U].
        trait: float64 [F, U].
        hit: float64 [U, U].
        number: int64 [N].
        seed: seed of the battle.
        loop: loops since the start of the battle.
    """
    for i in range(number[NUM_UNITS]):
        pending = integer[PENDING_TARGET, i]
        if pending >= 0:
            real[PENDING, i] -= 1.0
            if integer[ALIVE, i] == 0 and trait[MISSILE, i] == 0.0:
                integer[PENDING_TARGET, i] = -1
            elif real[PENDING, i] <= 0.0:
                integer[PENDING_TARGET, i] = -1
                land(real, integer, trait, hit, number, loop, i, pending)
        if integer[ALIVE, i] == 0:
            continue
        real[COOLDOWN, i] = max(real[COOLDOWN, i] - 1.0, 0.0)
        if integer[SWING, i] >= 0:
            real[WINDUP, i] -= 1.0
        else:
            swing(real, integer, trait, seed, loop, i)
        if integer[SWING, i] >= 0 and real[WINDUP, i] <= 0.0:
            release(real, integer, trait, hit, number, loop, i)


@inner
def settle(real: Reals, integer: Integers, trait: Reals, number: Integers) -> None:
    """Bury the dead and let the living regenerate."""
    for i in range(number[NUM_UNITS]):
        if integer[ALIVE, i] == 0:
            continue
        if real[HEALTH, i] <= 0.0:
            integer[ALIVE, i] = 0
            integer[SWING, i] = -1
            integer[TARGET, i] = -1
            integer[MOVING, i] = 0
            integer[ANCHORED, i] = 0
            real[HEALTH, i] = 0.0
            real[SHIELD, i] = 0.0
            continue
        integer[QUIET, i] += 1
        if real[SHIELD, i] < trait[SHIELD_MAX, i] and integer[QUIET, i] > SHIELD_DELAY:
            real[SHIELD, i] = min(real[SHIELD, i] + SHIELD_REGENERATION, trait[SHIELD_MAX, i])
        if trait[REGENERATION, i] > 0.0:
            real[HEALTH, i] = min(real[HEALTH, i] + trait[REGENERATION, i], trait[HEALTH_MAX, i])
