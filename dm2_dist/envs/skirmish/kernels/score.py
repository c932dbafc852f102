"""Who has won, and the reward of a step: SMAC's definitions.

Fed by `engine` after the loops of a step.
"""

from __future__ import annotations

from dm2_dist.envs.skirmish.kernels.compiled import inner
from dm2_dist.envs.skirmish.kernels.field import (
    ALIVE,
    HEALER,
    HEALERS,
    HEALTH,
    NUM_AGENTS,
    NUM_UNITS,
    PREVIOUS,
    REWARD_DEATH,
    REWARD_DEFEAT,
    REWARD_DIVISOR,
    REWARD_NEGATIVE,
    REWARD_ONLY_POSITIVE,
    REWARD_SPARSE,
    REWARD_WIN,
    SHIELD,
)
from dm2_dist.envs.skirmish.kernels.layout import Integers, Reals, World

UNDECIDED = 0
WIN = 1
LOSS = 2
DRAW = 3


@inner
def verdict(integer: Integers, world: World) -> int:
    """Say how the battle stands: `UNDECIDED`, `WIN`, `LOSS` or `DRAW`.

    Where the team has healers, a team of healers only has lost, before anything else is looked at,
    and a single healer left to the enemy does not count.
    """
    agents = world.number[NUM_AGENTS]
    alive = integer[ALIVE]
    allies = 0
    enemies = 0
    for i in range(agents):
        allies += alive[i]
    for i in range(agents, alive.size):
        enemies += alive[i]
    if world.number[HEALERS] == 1:
        healers = world.trait[HEALER]
        healing = 0
        hostile = 0
        for i in range(agents):
            healing += alive[i] * int(healers[i])
        for i in range(agents, alive.size):
            hostile += alive[i] * int(healers[i])
        if allies == healing:
            return LOSS
        if enemies == 1 and hostile == 1:
            return WIN
    if allies > 0:
        return UNDECIDED if enemies > 0 else WIN
    return LOSS if enemies > 0 else DRAW


@inner
def points(real: Reals, integer: Integers, world: World, outcome: int) -> float:
    """Compute the reward of a step and remember health and shields for the next one.

    Args:
        real: float64 [R, U].
        integer: int64 [I, U].
        world: the map.
        outcome: answer of `verdict`.

    Returns:
        The reward, scaled.
    """
    number = world.number
    weight = world.weight
    delta_enemy = 0.0
    delta_deaths = 0.0
    delta_ally = 0.0
    agents = number[NUM_AGENTS]
    for i in range(number[NUM_UNITS]):
        before = real[PREVIOUS, i]
        if before == 0.0:
            continue
        died = integer[ALIVE, i] == 0
        lost = before - real[HEALTH, i] - real[SHIELD, i]
        real[PREVIOUS, i] = real[HEALTH, i] + real[SHIELD, i]
        if i >= agents:
            delta_enemy += lost
            delta_deaths += weight[REWARD_DEATH] if died else 0.0
        else:
            delta_ally += weight[REWARD_NEGATIVE] * lost
            if died and number[REWARD_ONLY_POSITIVE] == 0:
                delta_deaths -= weight[REWARD_DEATH] * weight[REWARD_NEGATIVE]
    if number[REWARD_SPARSE] == 1:
        total = 1.0 * (outcome == WIN) - 1.0 * (outcome == LOSS)
    else:
        if number[REWARD_ONLY_POSITIVE] == 1:
            total = abs(delta_enemy + delta_deaths)
        else:
            total = delta_enemy + delta_deaths - delta_ally
        if outcome == WIN:
            total += weight[REWARD_WIN]
        elif outcome == LOSS:
            total += weight[REWARD_DEFEAT]
    scaled: float = total / weight[REWARD_DIVISOR]
    return scaled
