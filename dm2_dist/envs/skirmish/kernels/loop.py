"""One game loop of one battle: decide, move, fight, settle. Used by `engine` and `command`."""

from __future__ import annotations

import numpy as np

from dm2_dist.envs.skirmish.kernels.combat import fight, settle
from dm2_dist.envs.skirmish.kernels.compiled import apart, inner
from dm2_dist.envs.skirmish.kernels.field import BLASTS, BURST, HEALING, STRIKE, TRACED
from dm2_dist.envs.skirmish.kernels.layout import Battles, Integers, Reals, World
from dm2_dist.envs.skirmish.kernels.movement import move
from dm2_dist.envs.skirmish.kernels.target import decide


@apart
def forget(integer: Integers) -> None:
    """Wipe out what is written down of one loop."""
    for i in range(integer.shape[1]):
        integer[STRIKE, i] = -1
        integer[HEALING, i] = -1
        integer[BURST, i] = 0


@inner
def play_loop(
    real: Reals,
    integer: Integers,
    world: World,
    battles: Battles,
    order: Integers,
    seed: np.uint64,
    loop: int,
) -> None:
    """Play one loop.

    Args:
        real: float64 [R, U].
        integer: int64 [I, U].
        world: the map.
        battles: lends its scratch arrays.
        order: int64 [U] the units, as `movement.move` last sorted them.
        seed: seed of the battle.
        loop: loops since its start.
    """
    if world.number[TRACED] == 1 or world.number[BLASTS] == 1:
        forget(integer)
    decide(real, integer, world, battles.body)
    move(real, integer, world, battles.body, battles.near, order, seed, loop)
    fight(real, integer, world, seed, loop)
    settle(real, integer, world, battles.body, loop)
