"""One game loop written down for pictures.

Fed by `engine` when somebody looks; read by `scene`.
"""

from __future__ import annotations

from dm2_dist.envs.skirmish.kernels.compiled import apart
from dm2_dist.envs.skirmish.kernels.field import (
    ALIVE,
    BURST,
    COOLDOWN,
    ENERGY,
    HEALING,
    HEALTH,
    NUM_UNITS,
    PENDING,
    PENDING_TARGET,
    SHIELD,
    STRIKE,
    TRACE_ALIVE,
    TRACE_BURST,
    TRACE_COOLDOWN,
    TRACE_ENERGY,
    TRACE_FLIGHT,
    TRACE_HEALING,
    TRACE_HEALTH,
    TRACE_LEFT,
    TRACE_SHIELD,
    TRACE_STRIKE,
    TRACE_X,
    TRACE_Y,
    X,
    Y,
)
from dm2_dist.envs.skirmish.kernels.layout import Features, Integers, Reals, World


@apart
def write_trace(real: Reals, integer: Integers, world: World, trace: Features) -> None:
    """Write one loop down.

    Args:
        real: float64 [R, U].
        integer: int64 [I, U].
        world: the map.
        trace: float32 [T, U], written.
    """
    for i in range(world.number[NUM_UNITS]):
        trace[TRACE_X, i] = real[X, i]
        trace[TRACE_Y, i] = real[Y, i]
        trace[TRACE_HEALTH, i] = real[HEALTH, i]
        trace[TRACE_SHIELD, i] = real[SHIELD, i]
        trace[TRACE_ENERGY, i] = real[ENERGY, i]
        trace[TRACE_ALIVE, i] = integer[ALIVE, i]
        trace[TRACE_STRIKE, i] = integer[STRIKE, i]
        trace[TRACE_FLIGHT, i] = integer[PENDING_TARGET, i]
        trace[TRACE_LEFT, i] = real[PENDING, i]
        trace[TRACE_HEALING, i] = integer[HEALING, i]
        trace[TRACE_BURST, i] = integer[BURST, i]
        trace[TRACE_COOLDOWN, i] = real[COOLDOWN, i]
