"""What flies, flashes and fades in a battle: effects read out of its newest traced loops.

Fed by `scene`; drawn by `picture`, and by the page that `page` writes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dm2_dist.envs.skirmish.kernels import field
from dm2_dist.envs.skirmish.unit_type import UnitType

Floats = npt.NDArray[np.float32]

STRIKE_LOOPS = 3
"""Loops for which a shot or a blow stays visible."""

BEAM_LOOPS = 7
"""Loops in which a beam sweeps across its target."""

BURST_LOOPS = 8
"""Loops in which the ring of an explosion grows and fades."""

CORPSE_LOOPS = 24
"""Loops in which a corpse fades."""

BEAM_HALF_WIDTH = 1.25
"""How far a beam sweeps to either side of its target, in cells."""

_MOTION_LOOPS = 5
_STILL = 0.02
_MELEE_REACH = 1.0


class Strike(NamedTuple):
    """A hit that was let go `age` loops ago: a shot, a blow or the launch of a missile."""

    attacker: int
    target: int
    age: int


class Missile(NamedTuple):
    """A missile in flight at (x, y), `heading` radians counter-clockwise from east."""

    attacker: int
    target: int
    x: float
    y: float
    heading: float


class Beam(NamedTuple):
    """A beam that sweeps from (x0, y0) to (x1, y1) and was let go `age` loops ago."""

    attacker: int
    x0: float
    y0: float
    x1: float
    y1: float
    age: int


class Heal(NamedTuple):
    """A treatment in progress."""

    healer: int
    patient: int


class Burst(NamedTuple):
    """An explosion of the given radius around (x, y), `age` loops ago."""

    unit: int
    x: float
    y: float
    radius: float
    age: int


def is_melee(unit: UnitType) -> bool:
    """Whether a unit strikes with blows, not shots."""
    return unit.weapon.delivery == "instant" and unit.weapon.reach < _MELEE_REACH


def strikes(units: tuple[UnitType, ...], loops: Floats) -> tuple[Strike, ...]:
    """List the shots and blows that are still visible, oldest first.

    Args:
        units: [U] kinds.
        loops: float32 [N, T, U] newest loop last.
    """
    return tuple(
        Strike(unit, target, age)
        for unit, target, age in _events(loops, field.TRACE_STRIKE, STRIKE_LOOPS, least=0)
        if units[unit].weapon.delivery in ("instant", "missile")
    )


def missiles(units: tuple[UnitType, ...], missile_speed: float, now: Floats) -> tuple[Missile, ...]:
    """Place every missile on the line from its target to its attacker, as far as it has to go.

    Missiles fly from body edge to body edge.

    Args:
        units: [U] kinds.
        missile_speed: cells that a missile flies in one loop.
        now: float32 [T, U] one loop.
    """
    x, y = now[field.TRACE_X], now[field.TRACE_Y]
    flying: list[Missile] = []
    for unit in np.flatnonzero(now[field.TRACE_FLIGHT] >= 0).tolist():
        if units[unit].weapon.delivery != "missile":
            continue
        target = int(now[field.TRACE_FLIGHT, unit])
        back_x, back_y = float(x[unit] - x[target]), float(y[unit] - y[target])
        distance = math.hypot(back_x, back_y)
        way = max(float(now[field.TRACE_LEFT, unit]), 0.0) * missile_speed + units[target].radius
        share = min(way / distance, 1.0) if distance > 0 else 0.0
        at_x, at_y = float(x[target]) + share * back_x, float(y[target]) + share * back_y
        flying.append(Missile(unit, target, at_x, at_y, math.atan2(-back_y, -back_x)))
    return tuple(flying)


def beams(units: tuple[UnitType, ...], loops: Floats) -> tuple[Beam, ...]:
    """List the beams that still sweep; each swing lets go two, which cross the target both ways.

    Args:
        units: [U] kinds.
        loops: float32 [N, T, U] newest loop last.
    """
    swept: list[Beam] = []
    for unit, target, age in _events(loops, field.TRACE_STRIKE, BEAM_LOOPS, least=0):
        if units[unit].weapon.delivery != "beam":
            continue
        x, y = loops[-1 - age, field.TRACE_X], loops[-1 - age, field.TRACE_Y]
        at_x, at_y = float(x[target]), float(y[target])
        towards = math.atan2(at_y - float(y[unit]), at_x - float(x[unit]))
        along_x = -math.sin(towards) * BEAM_HALF_WIDTH
        along_y = math.cos(towards) * BEAM_HALF_WIDTH
        ends = at_x - along_x, at_y - along_y, at_x + along_x, at_y + along_y
        swept.append(Beam(unit, *ends, age))
        swept.append(Beam(unit, *ends[2:], *ends[:2], age))
    return tuple(swept)


def heals(now: Floats) -> tuple[Heal, ...]:
    """List the treatments of a loop.

    Args:
        now: float32 [T, U] one loop.
    """
    at_work = (now[field.TRACE_HEALING] >= 0) & (now[field.TRACE_ALIVE] > 0)
    return tuple(
        Heal(unit, int(now[field.TRACE_HEALING, unit])) for unit in np.flatnonzero(at_work).tolist()
    )


def bursts(units: tuple[UnitType, ...], loops: Floats) -> tuple[Burst, ...]:
    """List the explosions that still glow, oldest first.

    Args:
        units: [U] kinds.
        loops: float32 [N, T, U] newest loop last.
    """
    return tuple(
        Burst(
            unit,
            float(loops[-1 - age, field.TRACE_X, unit]),
            float(loops[-1 - age, field.TRACE_Y, unit]),
            units[unit].weapon.splash,
            age,
        )
        for unit, _, age in _events(loops, field.TRACE_BURST, BURST_LOOPS, least=1)
    )


def corpse_ages(loops: Floats) -> npt.NDArray[np.int32]:
    """Return int32 [U] how many loops each unit has been dead, at most `CORPSE_LOOPS`.

    Args:
        loops: float32 [N, T, U] newest loop last. A unit that is dead in all of them counts as dead
            for long.
    """
    dead = loops[::-1, field.TRACE_ALIVE] <= 0
    ages = np.where(dead.all(axis=0), CORPSE_LOOPS, np.argmin(dead, axis=0))
    return np.minimum(ages, CORPSE_LOOPS).astype(np.int32)


def headings(num_agents: int, loops: Floats) -> Floats:
    """Return float32 [U] where each unit looks, radians counter-clockwise from east.

    A unit looks at what it fights or heals, else where it walks, else at the nearest living
    opponent; without one, agents look east and enemies west.

    Args:
        num_agents: units of the team.
        loops: float32 [N, T, U] newest loop last.
    """
    now, then = loops[-1], loops[-min(len(loops), _MOTION_LOOPS)]
    x, y = now[field.TRACE_X], now[field.TRACE_Y]
    looking = _face_opponents(num_agents, now)
    walk_x, walk_y = x - then[field.TRACE_X], y - then[field.TRACE_Y]
    looking = np.where(np.hypot(walk_x, walk_y) > _STILL, np.arctan2(walk_y, walk_x), looking)
    for row in (field.TRACE_STRIKE, field.TRACE_HEALING):
        for unit, target, _ in _events(loops, row, _MOTION_LOOPS, least=0):
            if unit != target:
                looking[unit] = math.atan2(y[target] - y[unit], x[target] - x[unit])
    return looking.astype(np.float32)


def _face_opponents(num_agents: int, now: Floats) -> Floats:
    x, y, alive = now[field.TRACE_X], now[field.TRACE_Y], now[field.TRACE_ALIVE] > 0
    agent = np.arange(x.size) < num_agents
    dx, dy = x[None, :] - x[:, None], y[None, :] - y[:, None]
    opposed = (agent[:, None] != agent[None, :]) & alive[None, :]
    nearest = np.where(opposed, np.hypot(dx, dy), np.inf).argmin(axis=1)[:, None]
    facing = np.arctan2(
        np.take_along_axis(dy, nearest, axis=1), np.take_along_axis(dx, nearest, axis=1)
    )[:, 0]
    looking: Floats = np.where(opposed.any(axis=1), facing, np.where(agent, 0.0, math.pi))
    return looking


def _events(loops: Floats, row: int, ages: int, *, least: int) -> Iterator[tuple[int, int, int]]:
    """Yield (unit, value, age) where a row of the newest loops reaches `least`, oldest first."""
    for age in range(min(ages, len(loops)) - 1, -1, -1):
        values = loops[-1 - age, row]
        for unit in np.flatnonzero(values >= least).tolist():
            yield unit, int(values[unit]), age
