"""The ten kinds of units, with the numbers of the Liberty game data.

The maps of SMAC load the Liberty data only, so these are not the numbers of later expansions.
Rows of `battle_map` name these objects; `profile` exchanges them for those of another set of data.
"""

from __future__ import annotations

from dm2_dist.envs.skirmish.unit_type import LOOPS_PER_SECOND, UnitType, Weapon


def loops(seconds: float) -> float:
    """Convert seconds to game loops."""
    return seconds * LOOPS_PER_SECOND


def cells_per_loop(cells_per_second: float) -> float:
    """Convert a speed from cells a second to cells a loop."""
    return cells_per_second / LOOPS_PER_SECOND


_ZERG_REGENERATION = 0.2734 / LOOPS_PER_SECOND
_LIGHT_BIOLOGICAL = frozenset({"light", "biological"})
_ARMORED_MECHANICAL = frozenset({"armored", "mechanical"})

MARINE = UnitType(
    name="marine",
    race="T",
    type_id=48,
    rank=3,
    health=45,
    attributes=_LIGHT_BIOLOGICAL,
    speed=cells_per_loop(2.25),
    radius=0.375,
    separation=0.375,
    cooldown_scale=15,
    weapon=Weapon(damage=6, reach=5, period=loops(0.8608), damage_point=loops(0.05), hits_air=True),
)
MARAUDER = UnitType(
    name="marauder",
    race="T",
    type_id=51,
    rank=2,
    health=125,
    armor=1,
    attributes=frozenset({"armored", "biological"}),
    speed=cells_per_loop(2.25),
    radius=0.5625,
    separation=0.5,
    cooldown_scale=25,
    weapon=Weapon(
        damage=10,
        bonus=10,
        bonus_against="armored",
        reach=6,
        period=loops(1.5),
        delivery="missile",
    ),
)
MEDIVAC = UnitType(
    name="medivac",
    race="T",
    type_id=54,
    rank=4,
    health=150,
    armor=1,
    attributes=_ARMORED_MECHANICAL,
    speed=cells_per_loop(2.75),
    radius=0.75,
    separation=0.75,
    cooldown_scale=200,
    energy=50,
    energy_max=200,
    acceleration=2.3125 / LOOPS_PER_SECOND**2,
    flies=True,
    weapon=Weapon(damage=9 / LOOPS_PER_SECOND, reach=4, period=1, delivery="heal"),
)
STALKER = UnitType(
    name="stalker",
    race="P",
    type_id=74,
    rank=5,
    health=80,
    shield=80,
    armor=1,
    attributes=_ARMORED_MECHANICAL,
    speed=cells_per_loop(2.9531),
    radius=0.625,
    separation=0.625,
    cooldown_scale=35,
    weapon=Weapon(
        damage=10,
        bonus=4,
        bonus_against="armored",
        reach=6,
        period=loops(1.44),
        damage_point=loops(0.167),
        delivery="missile",
        hits_air=True,
    ),
)
ZEALOT = UnitType(
    name="zealot",
    race="P",
    type_id=73,
    rank=6,
    health=100,
    shield=50,
    armor=1,
    attributes=_LIGHT_BIOLOGICAL,
    speed=cells_per_loop(2.25),
    radius=0.5,
    separation=0.375,
    cooldown_scale=22,
    weapon=Weapon(damage=8, hits=2, hit_delay=loops(0.28), reach=0.1, period=loops(1.2)),
)
COLOSSUS = UnitType(
    name="colossus",
    race="P",
    type_id=4,
    rank=1,
    health=200,
    shield=150,
    armor=1,
    attributes=frozenset({"armored", "mechanical", "massive"}),
    speed=cells_per_loop(2.25),
    radius=1.0,
    separation=0.75,
    cooldown_scale=24,
    climbs=True,
    weapon=Weapon(
        damage=20, hits=2, reach=6, period=loops(2.2), damage_point=loops(0.083), delivery="beam"
    ),
)
ZERGLING = UnitType(
    name="zergling",
    race="Z",
    type_id=105,
    rank=8,
    health=35,
    attributes=_LIGHT_BIOLOGICAL,
    speed=cells_per_loop(2.9531),
    radius=0.375,
    separation=0.375,
    cooldown_scale=11,
    health_regeneration=_ZERG_REGENERATION,
    weapon=Weapon(damage=5, reach=0.1, period=loops(0.696), damage_point=loops(0.167)),
)
BANELING = UnitType(
    name="baneling",
    race="Z",
    type_id=9,
    rank=7,
    health=30,
    attributes=frozenset({"biological"}),
    speed=cells_per_loop(2.5),
    radius=0.375,
    separation=0.375,
    cooldown_scale=1,
    blast_on_death=True,
    health_regeneration=_ZERG_REGENERATION,
    weapon=Weapon(
        damage=20,
        bonus=15,
        bonus_against="light",
        reach=0.25,
        period=loops(0.833),
        delivery="suicide",
        splash=2.2,
        structure_damage=80,
    ),
)
HYDRALISK = UnitType(
    name="hydralisk",
    race="Z",
    type_id=107,
    rank=9,
    health=80,
    attributes=_LIGHT_BIOLOGICAL,
    speed=cells_per_loop(2.25),
    radius=0.625,
    separation=0.5,
    cooldown_scale=10,
    health_regeneration=_ZERG_REGENERATION,
    weapon=Weapon(
        damage=12,
        reach=5,
        period=loops(0.83),
        damage_point=loops(0.208),
        delivery="missile",
        hits_air=True,
    ),
)
SPINE_CRAWLER = UnitType(
    name="spine_crawler",
    race="Z",
    type_id=98,
    rank=10,
    health=300,
    armor=2,
    attributes=frozenset({"armored", "biological"}),
    speed=0.0,
    radius=0.875,
    separation=0.875,
    cooldown_scale=15,
    health_regeneration=_ZERG_REGENERATION,
    structure=True,
    weapon=Weapon(
        damage=25,
        bonus=5,
        bonus_against="armored",
        reach=7,
        period=loops(1.6),
        damage_point=loops(0.333),
        delivery="missile",
    ),
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
"""Every kind of unit of the 23 maps."""
