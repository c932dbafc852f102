"""What a kind of unit is.

Times are in game loops (16 to a Normal second, in which the game data are written), lengths in map
cells. The kinds themselves are in `liberty`, `lotv` and `smaclite`, the constants that all kinds
share in `profile`; `world` lays them out for the kernels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

LOOPS_PER_SECOND = 16
"""Game loops in one Normal second."""

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

    def can_hit(self, target: UnitType) -> bool:
        """Whether the weapon can be used on a unit of that kind: flyers need `hits_air`.

        Units on the ground can always be hit; the colossus, which weapons against flyers reach too,
        is one of them.
        """
        return self.delivery != "heal" and (self.hits_air or not target.flies)


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
        acceleration: cells a loop, gained in each loop; 0: full speed at once.
        health_regeneration: health points regained in each loop.
        energy: energy when fresh.
        energy_max: most energy that it can gather.
        minimum_scan: edge-to-edge distance within which it notices targets at least, when the
            computer plays it.
        blast_on_death: whether it explodes when it is killed too.
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
    acceleration: float = 0.0
    health_regeneration: float = 0.0
    energy: float = 0.0
    energy_max: float = 0.0
    minimum_scan: float = 5.0
    blast_on_death: bool = False
    flies: bool = False
    climbs: bool = False
    structure: bool = False

    @property
    def scan_range(self) -> float:
        """Edge-to-edge distance within which it notices targets when the computer plays it."""
        return max(self.minimum_scan, self.weapon.reach)

    @property
    def heals(self) -> bool:
        """Whether it restores health instead of hurting."""
        return self.weapon.delivery == "heal"

    @property
    def healable(self) -> bool:
        """Whether it can be healed: biological units, but no buildings."""
        return "biological" in self.attributes and not self.structure
