"""The battle as the opponents see it: mirrored, their own units first.

Mirrored, the opponents stand where the team stands, so that one policy can play both sides of a
symmetric map, and every feature, action and reward is computed by the code that serves the team.
Fed by `engine`.
"""

from __future__ import annotations

import numpy as np

from dm2_dist.envs.skirmish.kernels.compiled import apart
from dm2_dist.envs.skirmish.kernels.field import (
    ALIVE,
    COOLDOWN,
    ENERGY,
    HEALTH,
    MAP_SIZE,
    MIRROR_X,
    PREVIOUS,
    SHIELD,
    X,
    Y,
)
from dm2_dist.envs.skirmish.kernels.layout import Integers, Reals, World


@apart
def mirror(
    real: Reals, integer: Integers, world: World, mirrored_real: Reals, mirrored_integer: Integers
) -> None:
    """Write the units as the opponents see them.

    Args:
        real: float64 [R, U].
        integer: int64 [I, U].
        world: the map as the opponents see it.
        mirrored_real: float64 [R, U], written.
        mirrored_integer: int64 [I, U], written.
    """
    along_x = world.number[MIRROR_X] == 1
    for place in range(world.slot.size):
        i = world.slot[place]
        mirrored_real[X, place] = np.float32(MAP_SIZE - real[X, i]) if along_x else real[X, i]
        mirrored_real[Y, place] = real[Y, i] if along_x else np.float32(MAP_SIZE - real[Y, i])
        mirrored_real[HEALTH, place] = real[HEALTH, i]
        mirrored_real[SHIELD, place] = real[SHIELD, i]
        mirrored_real[COOLDOWN, place] = real[COOLDOWN, i]
        mirrored_real[ENERGY, place] = real[ENERGY, i]
        mirrored_real[PREVIOUS, place] = real[PREVIOUS, i]
        mirrored_integer[ALIVE, place] = integer[ALIVE, i]
