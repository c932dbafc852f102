"""Swings, treatment, regeneration and death.

All hits of a loop land before anyone is buried: units that kill each other in one loop both die.
Fed by `target`; feeds `engine`.
"""

from __future__ import annotations

import numpy as np

from dm2_dist.envs.skirmish.kernels import draw
from dm2_dist.envs.skirmish.kernels.body import take_out
from dm2_dist.envs.skirmish.kernels.compiled import apart, inner
from dm2_dist.envs.skirmish.kernels.field import (
    ALIVE,
    ANCHORED,
    BLAST_ON_DEATH,
    BLASTS,
    BODY,
    BURST,
    COOLDOWN,
    DAMAGE_POINT,
    DYING,
    ENERGY,
    ENERGY_MAX,
    ENERGY_REGENERATION,
    HEAL_COST,
    HEAL_RATE,
    HEAL_START,
    HEALER,
    HEALING,
    HEALTH,
    HEALTH_MAX,
    MOVING,
    NOISE_LOW,
    NOISE_WIDTH,
    NUM_UNITS,
    PENDING_TARGET,
    PERIOD,
    QUIET,
    RANGE,
    REGENERATES,
    REGENERATION,
    SHIELD,
    SHIELD_DELAY,
    SHIELD_MAX,
    SHIELD_REGENERATION,
    SWING,
    TARGET,
    WINDUP,
)
from dm2_dist.envs.skirmish.kernels.layout import Integers, Reals, World
from dm2_dist.envs.skirmish.kernels.order import hurt_friend, squared_distance
from dm2_dist.envs.skirmish.kernels.strike import arrive, explode, release


@inner
def swing(real: Reals, integer: Integers, world: World, seed: np.uint64, loop: int, i: int) -> None:
    """Begin a swing if the weapon is ready and the target in range."""
    trait = world.trait
    j = integer[TARGET, i]
    if real[COOLDOWN, i] > 0.0 or j < 0 or integer[ALIVE, j] == 0:
        return
    contact = trait[RANGE, i] + trait[BODY, i] + trait[BODY, j]
    if squared_distance(real, i, j) > contact * contact:
        return
    integer[SWING, i] = j
    real[WINDUP, i] = trait[DAMAGE_POINT, i]
    noise = draw.uniform(seed, draw.COOLDOWN_DELAY, loop, i)
    real[COOLDOWN, i] = (
        trait[PERIOD, i] + world.weight[NOISE_LOW] + world.weight[NOISE_WIDTH] * noise
    )


@apart
def treat(real: Reals, integer: Integers, world: World, i: int) -> None:
    """Let healer `i` heal its target; it needs some energy to begin, and any to go on."""
    trait = world.trait
    j = integer[TARGET, i]
    going_on = integer[SWING, i] == j
    integer[SWING, i] = -1
    if j < 0 or not hurt_friend(real, integer, world, j) or integer[ANCHORED, i] == 0:
        return
    if real[ENERGY, i] < (1e-9 if going_on else world.weight[HEAL_START]):
        return
    cost = world.weight[HEAL_COST]
    amount = min(world.weight[HEAL_RATE], trait[HEALTH_MAX, j] - real[HEALTH, j])
    if cost > 0.0:
        amount = min(amount, real[ENERGY, i] / cost)
    real[HEALTH, j] += amount
    real[ENERGY, i] -= amount * cost
    integer[SWING, i] = j
    integer[HEALING, i] = j


@inner
def fight(real: Reals, integer: Integers, world: World, seed: np.uint64, loop: int) -> None:
    """Advance weapons by one loop: hits on their way, wind-ups, new swings, treatments.

    Args:
        real: float64 [R, U].
        integer: int64 [I, U].
        world: the map.
        seed: seed of the battle.
        loop: loops since the start of the battle.
    """
    trait = world.trait
    for i in range(world.number[NUM_UNITS]):
        if integer[PENDING_TARGET, i] >= 0:
            arrive(real, integer, world, loop, i)
        if integer[ALIVE, i] == 0:
            continue
        if trait[HEALER, i] > 0.0:
            treat(real, integer, world, i)
            continue
        real[COOLDOWN, i] = max(real[COOLDOWN, i] - 1.0, 0.0)
        if integer[SWING, i] >= 0:
            real[WINDUP, i] -= 1.0
        else:
            swing(real, integer, world, seed, loop, i)
        if integer[SWING, i] >= 0 and real[WINDUP, i] <= 0.0:
            release(real, integer, world, loop, i)


@apart
def blast(real: Reals, integer: Integers, world: World, loop: int) -> None:
    """Let the dying that explode do so, and those whom they kill that explode too."""
    again = True
    while again:
        again = False
        for i in range(world.number[NUM_UNITS]):
            if world.trait[BLAST_ON_DEATH, i] == 0.0 or integer[ALIVE, i] == 0:
                continue
            if real[HEALTH, i] <= 0.0 and integer[BURST, i] == 0:
                explode(real, integer, world, loop, i)
                again = True


@apart
def bury(real: Reals, integer: Integers, world: World, body: Reals) -> None:
    """Take those who have no health left out of the battle."""
    integer[DYING, 0] = 0
    for i in range(world.number[NUM_UNITS]):
        if integer[ALIVE, i] == 0 or real[HEALTH, i] > 0.0:
            continue
        integer[ALIVE, i] = 0
        integer[SWING, i] = -1
        integer[TARGET, i] = -1
        integer[MOVING, i] = 0
        integer[ANCHORED, i] = 0
        real[HEALTH, i] = 0.0
        real[SHIELD, i] = 0.0
        take_out(body, i)


@inner
def regenerate(real: Reals, integer: Integers, world: World) -> None:
    """Let shields, health and energy of the living grow back."""
    trait = world.trait
    weight = world.weight
    delay = world.number[SHIELD_DELAY]
    for i in range(world.number[NUM_UNITS]):
        if integer[ALIVE, i] == 0:
            continue
        integer[QUIET, i] += 1
        if real[SHIELD, i] < trait[SHIELD_MAX, i] and integer[QUIET, i] > delay:
            real[SHIELD, i] = min(
                real[SHIELD, i] + weight[SHIELD_REGENERATION], trait[SHIELD_MAX, i]
            )
        if trait[REGENERATION, i] > 0.0:
            real[HEALTH, i] = min(real[HEALTH, i] + trait[REGENERATION, i], trait[HEALTH_MAX, i])
        if trait[ENERGY_MAX, i] > 0.0:
            real[ENERGY, i] = min(
                real[ENERGY, i] + weight[ENERGY_REGENERATION], trait[ENERGY_MAX, i]
            )


@inner
def settle(real: Reals, integer: Integers, world: World, body: Reals, loop: int) -> None:
    """Bury the dead and let the living regenerate.

    Args:
        real: float64 [R, U].
        integer: int64 [I, U].
        world: the map.
        body: float64 [P, U].
        loop: loops since the start of the battle.
    """
    if integer[DYING, 0] == 1:
        if world.number[BLASTS] == 1:
            blast(real, integer, world, loop)
        bury(real, integer, world, body)
    if world.number[REGENERATES] == 1:
        regenerate(real, integer, world)
