"""The ten kinds of units with the numbers that SMAClite plays with.

SMAClite steps 16 ticks a second, but takes speeds and weapon periods in "Faster" seconds, which are
1.4 times shorter than the Normal seconds of its healing, energy and shields. A tick is a game loop
here, so that the same mixture results. Bodies collide with the radius that ranges are measured from
and reach full speed at once; hits have no wind-up and no travel. SMAClite has no hydralisk: its
numbers are those of Legacy of the Void, converted alike. Read by `profile`.
"""

from __future__ import annotations

from dataclasses import replace

from dm2_dist.envs.skirmish import lotv
from dm2_dist.envs.skirmish.liberty import cells_per_loop, loops
from dm2_dist.envs.skirmish.unit_type import LOOPS_PER_SECOND, UnitType

_ZERG_REGENERATION = 0.38 / LOOPS_PER_SECOND


def _converted(kind: UnitType, *, speed: float, period: float) -> UnitType:
    """Convert a kind of unit of Legacy of the Void.

    Args:
        kind: the unit.
        speed: cells in a Faster second.
        period: Faster seconds from one swing to the next.
    """
    return replace(
        kind,
        speed=cells_per_loop(speed),
        separation=kind.radius,
        health_regeneration=_ZERG_REGENERATION if kind.race == "Z" else 0.0,
        weapon=replace(kind.weapon, period=loops(period), damage_point=0.0, hit_delay=0.0),
    )


_BOMB = replace(
    lotv.BANELING.weapon, damage=80.0, bonus=0.0, bonus_against=None, structure_damage=None
)

MARINE = _converted(lotv.MARINE, speed=3.15, period=0.61)
MARAUDER = _converted(lotv.MARAUDER, speed=3.15, period=1.07)
MEDIVAC = replace(
    lotv.MEDIVAC, speed=cells_per_loop(3.5), separation=lotv.MEDIVAC.radius, acceleration=0.0
)
STALKER = _converted(lotv.STALKER, speed=4.13, period=1.34)
ZEALOT = _converted(lotv.ZEALOT, speed=3.15, period=0.86)
# It walks round cliffs like everybody else; path finding takes walkers of less than a cell.
COLOSSUS = replace(
    _converted(lotv.COLOSSUS, speed=3.15, period=1.07), climbs=False, separation=0.95
)
ZERGLING = _converted(lotv.ZERGLING, speed=4.13, period=0.497)
BANELING = replace(
    _converted(replace(lotv.BANELING, weapon=_BOMB), speed=3.15, period=1.0), blast_on_death=False
)
HYDRALISK = _converted(lotv.HYDRALISK, speed=3.15, period=0.59)
SPINE_CRAWLER = _converted(
    replace(lotv.SPINE_CRAWLER, radius=0.5, minimum_scan=10.0), speed=0.0, period=1.32
)

UNIT_TYPES = (
    MARINE,
    MARAUDER,
    MEDIVAC,
    STALKER,
    ZEALOT,
    COLOSSUS,
    ZERGLING,
    BANELING,
    HYDRALISK,
    SPINE_CRAWLER,
)
"""Every kind of unit."""
