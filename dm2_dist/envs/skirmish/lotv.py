"""The ten kinds of units with the numbers of Legacy of the Void multiplayer, version 4.10.

Only what differs from Liberty is written here. Read by `profile`.
"""

from __future__ import annotations

from dataclasses import replace

from dm2_dist.envs.skirmish import liberty
from dm2_dist.envs.skirmish.liberty import cells_per_loop, loops

MARINE = liberty.MARINE
MARAUDER = liberty.MARAUDER
MEDIVAC = replace(liberty.MEDIVAC, speed=cells_per_loop(2.5))
STALKER = replace(
    liberty.STALKER,
    weapon=replace(liberty.STALKER.weapon, damage=13, bonus=5, period=loops(1.87)),
)
ZEALOT = liberty.ZEALOT
COLOSSUS = replace(
    liberty.COLOSSUS,
    weapon=replace(
        liberty.COLOSSUS.weapon,
        damage=10,
        bonus=5,
        bonus_against="light",
        reach=7,
        period=loops(1.5),
    ),
)
ZERGLING = liberty.ZERGLING
BANELING = liberty.BANELING
HYDRALISK = replace(
    liberty.HYDRALISK,
    health=90,
    weapon=replace(liberty.HYDRALISK.weapon, period=loops(0.825)),
)
SPINE_CRAWLER = replace(
    liberty.SPINE_CRAWLER,
    weapon=replace(liberty.SPINE_CRAWLER.weapon, period=loops(1.85)),
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
