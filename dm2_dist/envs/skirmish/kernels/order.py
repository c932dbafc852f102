"""What units are told: actions turned into orders, and what ends them.

Fed by `engine`; feeds `target`.
"""

from __future__ import annotations

from dm2_dist.envs.skirmish.kernels.compiled import inner
from dm2_dist.envs.skirmish.kernels.field import (
    ALIVE,
    ATTACK,
    COOLDOWN,
    HEAL,
    HEALABLE,
    HEALER,
    HEALTH,
    HEALTH_MAX,
    IDLE,
    MIRROR_X,
    MOVE,
    MOVE_AMOUNT,
    NO_HIT,
    NUM_BASIC_ACTIONS,
    ORDER,
    ORDER_X,
    ORDER_Y,
    SWING,
    TARGET,
    X,
    Y,
)
from dm2_dist.envs.skirmish.kernels.layout import Integers, Reals, World


@inner
def squared_distance(real: Reals, i: int, j: int) -> float:
    """Squared distance between the centres of two units."""
    dx = real[X, j] - real[X, i]
    dy = real[Y, j] - real[Y, i]
    gap: float = dx * dx + dy * dy
    return gap


@inner
def drop_swing(real: Reals, integer: Integers, i: int) -> None:
    """Break off a swing before it takes effect: no hit, and the weapon is ready again."""
    if integer[SWING, i] >= 0:
        integer[SWING, i] = -1
        real[COOLDOWN, i] = 0.0


@inner
def hurt_friend(real: Reals, integer: Integers, world: World, j: int) -> bool:
    """Whether unit `j` lives, can be healed and is hurt."""
    trait = world.trait
    return bool(
        integer[ALIVE, j] == 1
        and real[HEALTH, j] > 0.0
        and trait[HEALABLE, j] > 0.0
        and real[HEALTH, j] < trait[HEALTH_MAX, j]
    )


@inner
def give_order(
    real: Reals, integer: Integers, world: World, i: int, action: int, target: int, mirrored: bool
) -> None:
    """Turn one action into the order of unit `i`.

    A target that the unit cannot attack or heal is refused, as the game does: it goes on with what
    it did before.

    Args:
        real: float64 [R, U].
        integer: int64 [I, U].
        world: the map.
        i: unit that obeys.
        action: its action.
        target: unit that the action names, if it is an attack or a treatment.
        mirrored: whether the actions are those of a player who sees the map mirrored.
    """
    if action >= NUM_BASIC_ACTIONS:
        heals = world.trait[HEALER, i] > 0.0
        if heals:
            if not hurt_friend(real, integer, world, target):
                return
        elif world.hit[i, target] == NO_HIT:
            return
        if integer[SWING, i] != target:
            drop_swing(real, integer, i)
        integer[ORDER, i] = HEAL if heals else ATTACK
        integer[TARGET, i] = target
        return
    drop_swing(real, integer, i)
    integer[TARGET, i] = -1
    if action == 1:
        integer[ORDER, i] = IDLE
        return
    integer[ORDER, i] = MOVE
    amount_x = amount_y = world.weight[MOVE_AMOUNT]
    if mirrored:
        if world.number[MIRROR_X] == 1:
            amount_x = -amount_x
        else:
            amount_y = -amount_y
    real[ORDER_X, i] = real[X, i] + amount_x * ((action == 4) - (action == 5))
    real[ORDER_Y, i] = real[Y, i] + amount_y * ((action == 2) - (action == 3))


@inner
def give_orders(
    real: Reals,
    integer: Integers,
    world: World,
    actions: Integers,
    slot: Integers,
    mirrored: bool,
) -> None:
    """Turn the actions of one side into orders.

    Args:
        real: float64 [R, U].
        integer: int64 [I, U].
        world: the map.
        actions: int64 [K] legal actions of the side.
        slot: int64 [U] unit at each place of the side's own numbering, its own units first.
        mirrored: whether the side sees the map mirrored.
    """
    for k in range(actions.size):
        i = slot[k]
        if integer[ALIVE, i] == 0:
            continue
        action = actions[k]
        target = i
        if action >= NUM_BASIC_ACTIONS:
            first = 0 if world.trait[HEALER, i] > 0.0 else actions.size
            target = slot[first + action - NUM_BASIC_ACTIONS]
        give_order(real, integer, world, i, action, target, mirrored)
