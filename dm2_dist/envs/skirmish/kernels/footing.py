"""Where units can stand, and how they slide along cliffs. Fed by `movement`."""

from __future__ import annotations

from dm2_dist.envs.skirmish.kernels.compiled import apart, inner
from dm2_dist.envs.skirmish.kernels.field import (
    CLIFF,
    GROUND,
    GROUND_LAYER,
    LAYER,
    MAP_SIZE,
    SEPARATION,
    X,
    Y,
)
from dm2_dist.envs.skirmish.kernels.layout import Reals, World


@inner
def standable(world: World, x: float, y: float, radius: float) -> bool:
    """Whether a disk at (x, y) has its centre and its four extremes on pathable cells."""
    if x < radius or y < radius or x >= MAP_SIZE - radius or y >= MAP_SIZE - radius:
        return False
    cell = world.cell
    code = cell[int(x), int(y)]
    if code == GROUND:
        return True
    return bool(
        code != CLIFF
        and cell[int(x + radius), int(y)] != CLIFF
        and cell[int(x - radius), int(y)] != CLIFF
        and cell[int(x), int(y + radius)] != CLIFF
        and cell[int(x), int(y - radius)] != CLIFF
    )


@inner
def step_out(real: Reals, world: World, i: int, dx: float, dy: float) -> bool:
    """Move a unit by (dx, dy) if no cliff is in the way; says whether it has moved."""
    x = real[X, i] + dx
    y = real[Y, i] + dy
    radius = world.trait[SEPARATION, i]
    if world.trait[LAYER, i] != GROUND_LAYER:
        # Nothing but the border of the map stops those who fly or climb.
        x = min(max(x, radius), MAP_SIZE - radius)
        y = min(max(y, radius), MAP_SIZE - radius)
    elif not standable(world, x, y, radius):
        return False
    real[X, i] = x
    real[Y, i] = y
    return True


@inner
def shift(real: Reals, world: World, i: int, dx: float, dy: float) -> bool:
    """Move a unit by (dx, dy), sliding along cliffs; says whether it has moved at all."""
    return step_out(real, world, i, dx, dy) or slide(real, world, i, dx, dy)


@apart
def slide(real: Reals, world: World, i: int, dx: float, dy: float) -> bool:
    """Move a unit that a cliff stops along one axis."""
    x = real[X, i]
    y = real[Y, i]
    radius = world.trait[SEPARATION, i]
    if dx != 0.0 and standable(world, x + dx, y, radius):
        real[X, i] = x + dx
        return True
    if dy != 0.0 and standable(world, x, y + dy, radius):
        real[Y, i] = y + dy
        return True
    return False
