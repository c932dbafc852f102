"""The global state: SMAC's definition, feature by feature.

Fed by `engine` after every step; the length is that counted in `feature`.
"""

from __future__ import annotations

from dm2_dist.envs.skirmish.kernels.compiled import inner
from dm2_dist.envs.skirmish.kernels.field import (
    ALIVE,
    ALLY_SHIELD,
    COOLDOWN,
    COOLDOWN_SCALE,
    ENEMY_SHIELD,
    ENERGY,
    ENERGY_SCALE,
    EPISODE_LIMIT,
    HEALTH,
    HEALTH_MAX,
    MAP_SIZE,
    NUM_ACTIONS,
    NUM_AGENTS,
    NUM_UNITS,
    SHIELD,
    SHIELD_SCALE,
    STATE_LAST_ACTION,
    STATE_TIMESTEP,
    TYPE_BIT,
    TYPE_BITS,
    X,
    Y,
)
from dm2_dist.envs.skirmish.kernels.layout import Features, Integers, Reals, World


@inner
def readiness(real: Reals, trait: Reals, j: int) -> float:
    """Give the weapon feature of an agent: its cooldown, or the energy of a healer."""
    if trait[ENERGY_SCALE, j] > 0.0:
        return float(real[ENERGY, j] / trait[ENERGY_SCALE, j])
    return float(real[COOLDOWN, j] / trait[COOLDOWN_SCALE, j])


@inner
def write_state(
    real: Reals,
    integer: Integers,
    world: World,
    last_action: Integers,
    steps: int,
    state: Features,
) -> None:
    """Write the global state.

    Args:
        real: float64 [R, U].
        integer: int64 [I, U].
        world: the map.
        last_action: int64 [K], -1 before the first step.
        steps: environment steps since the start.
        state: float32 [S], written.
    """
    trait = world.trait
    number = world.number
    agents = number[NUM_AGENTS]
    centre = MAP_SIZE / 2.0
    state[:] = 0.0
    at = 0
    for j in range(number[NUM_UNITS]):
        shields = number[ALLY_SHIELD if j < agents else ENEMY_SHIELD]
        begin = at
        at += (4 if j < agents else 3) + shields + number[TYPE_BITS]
        if integer[ALIVE, j] == 0:
            continue
        state[begin] = real[HEALTH, j] / trait[HEALTH_MAX, j]
        begin += 1
        if j < agents:
            state[begin] = readiness(real, trait, j)
            begin += 1
        state[begin] = (real[X, j] - centre) / MAP_SIZE
        state[begin + 1] = (real[Y, j] - centre) / MAP_SIZE
        if shields == 1:
            state[begin + 2] = real[SHIELD, j] / trait[SHIELD_SCALE, j]
        if number[TYPE_BITS] > 0:
            state[at - number[TYPE_BITS] + int(trait[TYPE_BIT, j])] = 1.0
    if number[STATE_LAST_ACTION] == 1:
        for i in range(agents):
            if last_action[i] >= 0:
                state[at + last_action[i]] = 1.0
            at += number[NUM_ACTIONS]
    if number[STATE_TIMESTEP] == 1:
        state[at] = steps / number[EPISODE_LIMIT]
