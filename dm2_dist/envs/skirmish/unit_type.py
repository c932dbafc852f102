"""What a kind of unit is, and the constants of the game that all kinds share.

Times are in game loops (16 to a Normal second, in which the game data are written), lengths in map
cells. The kinds themselves are in `liberty`; `world` lays them out for the kernels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

LOOPS_PER_SECOND = 16
"""Game loops in one Normal second."""

MISSILE_SPEED = 18.75 / LOOPS_PER_SECOND
"""Cells that a missile flies in one loop."""

RANGE_SLOP = 1.0
"""How far beyond its range a unit still hits a target that walked away during the wind-up."""

COOLDOWN_NOISE = (-1.0, 2.0)
"""Bounds of the uniform random delay, in loops, added to every weapon cycle."""

DEFAULT_SCAN_RANGE = 5.0
"""Edge-to-edge distance within which a computer unit looks for targets, or its weapon range."""

MINIMUM_DAMAGE = 0.5
"""What a hit takes from health at least, however thick the armour."""

SHIELD_DELAY = 10 * LOOPS_PER_SECOND
"""Loops without damage before a shield regenerates."""

SHIELD_REGENERATION = 2.0 / LOOPS_PER_SECOND
"""Shield points a loop."""

ZERG_REGENERATION = 0.2734 / LOOPS_PER_SECOND
"""Health points a loop, Zerg units only."""

Race = Literal["T", "P", "Z"]
Delivery = Literal["instant", "missile", "beam", "suicide", "heal"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weapon:
    """How a unit hurts (or heals) another.

    Attributes:
        damage: points of one hit.
        bonus: further points against a target that has the attribute `bonus_against`.
        bonus_against: attribute of the target, or None.
        hits: hits of one swing.
        hit_delay: loops between the hits of one swing.
        reach: range from edge to edge.
        period: loops from one swing to the next, before the random delay.
        damage_point: loops of wind-up before the swing takes effect.
        delivery: how the damage travels.
        splash: radius of the explosion; 0 hits the target only.
        structure_damage: points against structures if they differ, else None.
        hits_air: whether flying units can be hit.
    """

    damage: float
    bonus: float = 0.0
    bonus_against: str | None = None
    hits: int = 1
    hit_delay: float = 0.0
    reach: float
    period: float
    damage_point: float = 0.0
    delivery: Delivery = "instant"
    splash: float = 0.0
    structure_damage: float | None = None
    hits_air: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitType:
    """One kind of unit.

    Attributes:
        name: lower-case name.
        race: T, P or Z.
        type_id: number of the stock unit in the game's catalogue.
        rank: place in the catalogue order of the controllable copies, which numbers the agents of a
            mixed team.
        health: health points when fresh.
        shield: shield points when fresh.
        armor: points subtracted from every hit that reaches health.
        attributes: what bonus damage and healing depend on.
        speed: cells a loop.
        radius: body radius; ranges are measured between bodies.
        separation: radius within which other ground units are kept out.
        weapon: its weapon.
        cooldown_scale: the constant by which SMAC divides the cooldown (for a medivac, the energy).
        energy: energy when fresh.
        flies: whether it flies: collides with nothing and ignores cliffs.
        climbs: whether it walks over units and cliffs.
        structure: whether it is a building.
    """

    name: str
    race: Race
    type_id: int
    rank: int
    health: float
    shield: float = 0.0
    armor: float = 0.0
    attributes: frozenset[str] = field(default_factory=frozenset)
    speed: float
    radius: float
    separation: float
    weapon: Weapon
    cooldown_scale: float
    energy: float = 0.0
    flies: bool = False
    climbs: bool = False
    structure: bool = False

    @property
    def scan_range(self) -> float:
        """Edge-to-edge distance within which it notices targets when the computer plays it."""
        return max(DEFAULT_SCAN_RANGE, self.weapon.reach)
