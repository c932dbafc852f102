"""Bodies: where units are in each other's way.

Walking asks one question all the time: does this disk touch another? It is put to rows of
coordinates without a branch, so that the processor answers for several units at once. Units that
cannot touch are kept far apart in these rows: the dead lie far away, and every layer has a map of
its own. Fed by `engine` and `movement`.
"""

from __future__ import annotations

from dm2_dist.envs.skirmish.kernels.compiled import inner
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
    SOLID,
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


@inner
def solid_row(world: World, i: int) -> int:
    """Give the row of those who do not yield to unit `i`."""
    return SOLID if i < world.number[NUM_AGENTS] else SOLID + 1


@inner
def note_solids(integer: Integers, world: World) -> None:
    """Write who yields to nobody of a side: its opponents, and friends that stand and fight.

    Args:
        integer: int64 [I, U].
        world: the map.
    """
    agents = world.number[NUM_AGENTS]
    for i in range(world.number[NUM_UNITS]):
        anchored = integer[ANCHORED, i]
        integer[SOLID, i] = anchored if i < agents else 1
        integer[SOLID + 1, i] = 1 if i < agents else anchored


@inner
def follow(real: Reals, world: World, body: Reals, i: int) -> None:
    """Bring the rows up to date after unit `i` has moved."""
    body[HERE_X, i] = real[X, i]
    body[BODY_X, i] = real[X, i] + _LAYER_SHIFT * world.trait[LAYER, i]
    body[BODY_Y, i] = real[Y, i]


@inner
def count_touched(
    integer: Integers, world: World, body: Reals, i: int, x: float, y: float, share: float
) -> tuple[int, int]:
    """Count the units that unit `i` would touch at (x, y).

    Args:
        integer: int64 [I, U].
        world: the map.
        body: float64 [P, U].
        i: the unit, which walks: it neither touches itself nor stands in its own way.
        x: where it would be, in its layer.
        y: where it would be.
        share: part of the squared sum of the radii that counts as touching.

    Returns:
        How many it would touch, and how many of them do not yield to it.
    """
    across = body[BODY_X]
    upright = body[BODY_Y]
    radii = world.trait[SEPARATION]
    solid = integer[solid_row(world, i)]
    radius = radii[i]
    count = 0
    hard = 0
    for j in range(across.size):
        dx = across[j] - x
        dy = upright[j] - y
        reach = radii[j] + radius
        count += 1 if dx * dx + dy * dy < reach * reach * share else 0
        hard += solid[j] if dx * dx + dy * dy < reach * reach * share else 0
    dx = across[i] - x
    dy = upright[i] - y
    own = 1 if dx * dx + dy * dy < 4.0 * radius * radius * share else 0
    return count - own, hard


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
