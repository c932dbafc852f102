"""Bodies: where units are in each other's way.

Walking asks one question all the time: does this disk touch another? It is put to rows of
coordinates without a branch, so that the processor answers for several units at once. Units that
cannot touch are kept far apart in these rows: the dead lie far away, and every layer has a map of
its own. Fed by `engine` and `movement`.
"""

from __future__ import annotations

from dm2_dist.envs.skirmish.kernels.compiled import apart, inner
from dm2_dist.envs.skirmish.kernels.field import (
    ALIVE,
    ANCHORED,
    BODY_X,
    BODY_Y,
    HERE_X,
    LAYER,
    NUM_AGENTS,
    NUM_UNITS,
    SEPARATION,
    SOLID_LOOP,
    SOLID_X,
    X,
    Y,
)
from dm2_dist.envs.skirmish.kernels.layout import Integers, Reals, World

_AWAY = 1e6
"""Where the dead lie, one beside the other."""

_LAYER_SHIFT = 1e3
"""Distance between the maps of two layers."""


@inner
def lay_out(real: Reals, integer: Integers, world: World, body: Reals) -> None:
    """Write the rows for all units, at the start of an environment step.

    Args:
        real: float64 [R, U].
        integer: int64 [I, U].
        world: the map.
        body: float64 [P, U], written.
    """
    body[SOLID_LOOP, 0] = -1.0
    for i in range(world.number[NUM_UNITS]):
        body[HERE_X, i] = real[X, i]
        body[BODY_X, i] = real[X, i] + _LAYER_SHIFT * world.trait[LAYER, i]
        body[BODY_Y, i] = real[Y, i]
        if integer[ALIVE, i] == 0:
            take_out(body, i)


@inner
def take_out(body: Reals, i: int) -> None:
    """Lay a dead unit where nobody comes."""
    body[HERE_X, i] = _AWAY + _LAYER_SHIFT * i
    body[BODY_X, i] = body[HERE_X, i]


@apart
def lay_solids(integer: Integers, world: World, body: Reals, loop: int) -> None:
    """Write, for each side, the x of those who do not yield to it, if that is not done yet.

    Enemies do not, and friends that stand and fight.
    """
    if body[SOLID_LOOP, 0] == loop:
        return
    body[SOLID_LOOP, 0] = loop
    agents = world.number[NUM_AGENTS]
    for i in range(world.number[NUM_UNITS]):
        away = _AWAY + _LAYER_SHIFT * i
        stands = integer[ANCHORED, i] == 1
        body[SOLID_X, i] = body[BODY_X, i] if stands or i >= agents else away
        body[SOLID_X + 1, i] = body[BODY_X, i] if stands or i < agents else away


@inner
def follow(real: Reals, world: World, body: Reals, i: int) -> None:
    """Bring the rows up to date after unit `i` has moved."""
    x = real[X, i] + _LAYER_SHIFT * world.trait[LAYER, i]
    body[HERE_X, i] = real[X, i]
    body[BODY_X, i] = x
    body[BODY_Y, i] = real[Y, i]
    if body[SOLID_X, i] < _AWAY:
        body[SOLID_X, i] = x
    if body[SOLID_X + 1, i] < _AWAY:
        body[SOLID_X + 1, i] = x


@inner
def count_touched(
    world: World, body: Reals, row: int, i: int, x: float, y: float, share: float
) -> int:
    """Count the units that unit `i` would touch at (x, y).

    Args:
        world: the map.
        body: float64 [P, U].
        row: whom to look at: `BODY_X` for everyone, else `SOLID_X` and the number of its side.
        i: the unit; it does not touch itself.
        x: where it would be, in its layer.
        y: where it would be.
        share: part of the squared sum of the radii that counts as touching.
    """
    across = body[row]
    upright = body[BODY_Y]
    radii = world.trait[SEPARATION]
    radius = radii[i]
    count = 0
    for j in range(across.size):
        dx = across[j] - x
        dy = upright[j] - y
        reach = radii[j] + radius
        count += 1 if dx * dx + dy * dy < reach * reach * share else 0
    dx = across[i] - x
    dy = upright[i] - y
    own = 1 if dx * dx + dy * dy < 4.0 * radius * radius * share else 0
    return count - own


@inner
def sort_west_to_east(body: Reals, order: Integers) -> None:
    """Sort the units by their x, those on one x by their number.

    Insertion sort: the order of the last loop is nearly right.

    Args:
        body: float64 [P, U].
        order: int64 [U] the units in any order, sorted in place.
    """
    across = body[BODY_X]
    for place in range(1, order.size):
        i = order[place]
        to = place
        while to > 0:
            j = order[to - 1]
            if across[j] < across[i] or (across[j] == across[i] and j < i):
                break
            order[to] = j
            to -= 1
        order[to] = i
