"""The arrays that the compiled code works on, in named groups.

Built by `world` and `batch`; read by every kernel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Features = npt.NDArray[np.float32]


class World(NamedTuple):
    """One map under one set of options.

    Attributes:
        trait: float64 [F, U] properties of every unit.
        hit: float64 [U, U] damage of one hit of unit i on unit j before armour, or `NO_HIT`.
        cell: uint8 [32, 32] ground codes, indexed [x, y].
        height: uint8 [32, 32] terrain height bytes, indexed [x, y].
        refuge: int64 [1024] the pathable cell nearest to each cell (32 x + y each).
        route: uint8 [1024, 1024] index of the corner to walk to next on the way between two cells,
            or `STRAIGHT`; [1, 1] on maps without obstacles.
        corner: float64 [C, 2] the corners.
        slot: int64 [U] the unit at each place of the side's own numbering, its own units first.
        number: int64 [N] sizes and switches.
        weight: float64 [W] lengths, rewards and the game's constants.
    """

    trait: Reals
    hit: Reals
    cell: Bytes
    height: Bytes
    refuge: Integers
    route: Bytes
    corner: Reals
    slot: Integers
    number: Integers
    weight: Reals


class Battles(NamedTuple):
    """What changes in B battles.

    Attributes:
        real: float64 [B, R, U], see `field`.
        integer: int64 [B, I, U], see `field`.
        seed: uint64 [B].
        last_action: int64 [B, K], -1 before the first step.
        score: float64 [B] reward of the last step before it is rounded.
        body: float64 [P, U] scratch: where the living are.
        near: int64 [U + 1] scratch: who is close to one of them.
        order: int64 [B, U] the units, sorted by x as far as that is kept up.
        trace: float32 [B, L, T, U] the loops of the last step; [B, 0, T, U] if nobody looks.
    """

    real: Reals
    integer: Integers
    seed: npt.NDArray[np.uint64]
    last_action: Integers
    score: Reals
    body: Reals
    near: Integers
    order: Integers
    trace: Features


class Report(NamedTuple):
    """What a batch shows of its battles; the arrays are described in `interface.BattleBatch`."""

    observation: Features
    state: Features
    available_actions: Bytes
    alive: Bytes
    reward: Features
    terminated: Bytes
    truncated: Bytes
    won: Bytes
    finished: Bytes
    episode_steps: npt.NDArray[np.int32]


class Side(NamedTuple):
    """How one side sees the battles, and what it does.

    Attributes:
        world: the map, its units numbered and placed as this side sees them.
        battles: the units as this side sees them; of the opponents' side only one battle, which is
            written afresh whenever something is to be shown.
        report: what is shown to this side.
    """

    world: World
    battles: Battles
    report: Report
