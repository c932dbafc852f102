"""The three sets of game data that a battle can be played with.

A profile is the ten kinds of units with the constants that all kinds share. `LIBERTY` is the data
that SMAC's maps load; the others are there to compare with results that were obtained on other
numbers. Times are in game loops, lengths in map cells. Chosen by name (`by_name`); put into a map
by `BattleMap.with_profile`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dm2_dist.envs.skirmish import liberty, lotv, smaclite
from dm2_dist.envs.skirmish.unit_type import LOOPS_PER_SECOND, UnitType


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One set of game data.

    Attributes:
        name: what it is called.
        units: every kind of unit by its name.
        minimum_damage: what a hit takes from health at least, however thick the armour.
        cooldown_noise: bounds of the uniform random delay, in loops, added to every weapon cycle.
        missile_speed: cells that a missile flies in a loop; 0: missiles hit at once.
        range_slop: how far beyond its range a weapon still hits a target that walked away during
            the wind-up.
        shield_delay: loops without damage before a shield regenerates.
        shield_regeneration: shield points a loop.
        energy_regeneration: energy points a loop.
        heal_rate: health points that a healer restores in a loop.
        heal_cost: energy for one of these points.
        heal_start: energy needed to begin.
        heal_scan: edge-to-edge distance within which a computer healer looks for the hurt.
    """

    name: str
    units: Mapping[str, UnitType] = field(hash=False)
    minimum_damage: float = 0.5
    cooldown_noise: tuple[float, float] = (-1.0, 2.0)
    missile_speed: float = 18.75 / LOOPS_PER_SECOND
    range_slop: float = 1.0
    shield_delay: int = 10 * LOOPS_PER_SECOND
    shield_regeneration: float = 2.0 / LOOPS_PER_SECOND
    energy_regeneration: float = 0.5625 / LOOPS_PER_SECOND
    heal_rate: float = 9.0 / LOOPS_PER_SECOND
    heal_cost: float = 0.33
    heal_start: float = 5.0
    heal_scan: float = 6.0


LIBERTY = Profile(name="liberty", units={unit.name: unit for unit in liberty.UNIT_TYPES})
"""Wings of Liberty, the only data that SMAC's maps load; the default."""

LOTV = Profile(name="lotv", units={unit.name: unit for unit in lotv.UNIT_TYPES})
"""Legacy of the Void multiplayer as of version 4.10."""

SMACLITE = Profile(
    name="smaclite",
    units={unit.name: unit for unit in smaclite.UNIT_TYPES},
    minimum_damage=0.0,
    cooldown_noise=(0.0, 0.0),
    missile_speed=0.0,
    heal_cost=1 / 3,
)
"""SMAClite: 1.4 times faster movement and fire, with no noise, no missiles and no wind-up.

The range slop stays: a SMAClite attack that was decided on takes effect even if the target steps
out of range in the same loop.
"""


def by_name(name: str) -> Profile:
    """Return the profile of that name: liberty, lotv or smaclite.

    Raises:
        ValueError: there is none; the message names the three.
    """
    match name:
        case "liberty":
            return LIBERTY
        case "lotv":
            return LOTV
        case "smaclite":
            return SMACLITE
    raise ValueError(f"unknown profile {name!r}; profiles: liberty, lotv, smaclite")
