"""Compiled entry points for one battle that is played through a raw interface.

`engine` plays environment steps: actions in, features out. A game server is spoken to otherwise:
single units are given commands, and any number of game loops passes. The same kernels do it, so the
battle is the same, bit for bit. Fed by `raw_battle`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from dm2_dist.envs.skirmish.kernels.body import lay_out
from dm2_dist.envs.skirmish.kernels.compiled import entry, first_call, inner, source_digest
from dm2_dist.envs.skirmish.kernels.field import (
    ALIVE,
    DYING,
    HEALTH,
    MOVE,
    NUM_BASIC_ACTIONS,
    NUM_UNITS,
    ORDER,
    ORDER_X,
    ORDER_Y,
    PREVIOUS,
    SHIELD,
)
from dm2_dist.envs.skirmish.kernels.layout import Battles, Integers, World
from dm2_dist.envs.skirmish.kernels.loop import play_loop
from dm2_dist.envs.skirmish.kernels.order import give_order
from dm2_dist.envs.skirmish.kernels.start import order_enemies, place_units, round_units

STOP = 1
TARGET_UNIT = NUM_BASIC_ACTIONS
"""Kinds of commands, numbered as the actions that they stand for; a move names a point."""
MOVE_TO = 2


@inner
def count_living(integer: Integers, world: World) -> int:
    """Count the units that are left, of both sides."""
    living = 0
    for i in range(world.number[NUM_UNITS]):
        living += integer[ALIVE, i]
    return living


Begin = Callable[[World, Battles], int]
Command = Callable[[World, Battles, int, int, int, float, float], int]
Play = Callable[[World, Battles, int, int], int]


class _Entries(NamedTuple):
    begin: Begin
    command: Command
    play: Play


def _compiled(digest: int) -> _Entries:
    """Make the entry points; the digest of the sources becomes part of their keys in the cache."""

    @entry
    def begin(world: World, battles: Battles) -> int:
        assert digest >= 0
        real = battles.real[0]
        integer = battles.integer[0]
        place_units(real, integer, world, battles.seed[0])
        order_enemies(real, integer, world, battles.seed[0])
        round_units(real)
        for i in range(world.number[NUM_UNITS]):
            real[PREVIOUS, i] = real[HEALTH, i] + real[SHIELD, i]
        return 0

    @entry
    def command(
        world: World, battles: Battles, i: int, kind: int, target: int, x: float, y: float
    ) -> int:
        assert digest >= 0
        real = battles.real[0]
        integer = battles.integer[0]
        if kind == MOVE_TO:
            # A move by hand: stop, then go to the point, where an action goes by a fixed amount.
            give_order(real, integer, world, i, STOP, i, False)
            integer[ORDER, i] = MOVE
            real[ORDER_X, i] = x
            real[ORDER_Y, i] = y
        else:
            give_order(real, integer, world, i, kind, target, False)
        return 0

    @entry
    def play(world: World, battles: Battles, first: int, loops: int) -> int:
        assert digest >= 0
        real = battles.real[0]
        integer = battles.integer[0]
        seed = battles.seed[0]
        lay_out(real, integer, world, battles.body)
        integer[DYING, 0] = 1  # whoever was left without health from outside is buried too
        played = 0
        for loop in range(first, first + loops):
            play_loop(real, integer, world, battles, battles.order[0], seed, loop)
            played += 1
            if count_living(integer, world) == 0:
                break
        round_units(real)
        return played

    return _Entries(begin, command, play)


_DIGEST = source_digest()
_entries = _compiled(_DIGEST)


def begin(world: World, battles: Battles) -> None:
    """Start the battle afresh from its seed."""
    with first_call(_entries.begin, _DIGEST, "raw-begin"):
        _entries.begin(world, battles)


def command(
    world: World, battles: Battles, unit: int, kind: int, target: int, point: tuple[float, float]
) -> None:
    """Give one living unit a command.

    One that its weapon cannot carry out changes nothing, as for an action.

    Args:
        world: the map.
        battles: one battle, changed in place.
        unit: who obeys.
        kind: `STOP`, `MOVE_TO` or `TARGET_UNIT`.
        target: the unit that is attacked or, by a healer, treated.
        point: where a move leads.
    """
    with first_call(_entries.command, _DIGEST, "raw-command"):
        _entries.command(world, battles, unit, kind, target, *point)


def play(world: World, battles: Battles, first: int, loops: int) -> int:
    """Let game loops pass, or fewer if nobody is left.

    Args:
        world: the map.
        battles: one battle, changed in place.
        first: loops since the start of the battle.
        loops: loops to play.

    Returns:
        The loops played.
    """
    with first_call(_entries.play, _DIGEST, "raw-play"):
        return _entries.play(world, battles, first, loops)
