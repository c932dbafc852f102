"""The three sets of game data, and maps that are played with them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from dm2_dist.envs.skirmish import MAPS, SkirmishBatch, feature, profile
from dm2_dist.envs.skirmish.feature import FeatureFlags
from dm2_dist.envs.skirmish.heuristic import ClosestTarget
from dm2_dist.envs.skirmish.lineup import roster
from dm2_dist.envs.skirmish.options import Options, RewardFlags
from dm2_dist.envs.skirmish.profile import LIBERTY, LOTV, SMACLITE, Profile

PROFILES = (LIBERTY, LOTV, SMACLITE)

KINDS = {
    "marine": (48, 3),
    "marauder": (51, 2),
    "medivac": (54, 4),
    "stalker": (74, 5),
    "zealot": (73, 6),
    "colossus": (4, 1),
    "zergling": (105, 8),
    "baneling": (9, 7),
    "hydralisk": (107, 9),
    "spine_crawler": (98, 10),
}

# name: health, shield, speed and period in seconds, damage of a swing on an unarmoured plain target
LIBERTY_DATA = {
    "marine": (45, 0, 2.25, 0.8608, 6),
    "marauder": (125, 0, 2.25, 1.5, 10),
    "stalker": (80, 80, 2.9531, 1.44, 10),
    "zealot": (100, 50, 2.25, 1.2, 16),
    "colossus": (200, 150, 2.25, 2.2, 40),
    "zergling": (35, 0, 2.9531, 0.696, 5),
    "baneling": (30, 0, 2.5, 0.833, 20),
    "hydralisk": (80, 0, 2.25, 0.83, 12),
    "spine_crawler": (300, 0, 0.0, 1.6, 25),
}


@pytest.mark.parametrize("data", PROFILES, ids=lambda data: data.name)
def test_profiles_have_the_same_ten_kinds(data: Profile) -> None:
    assert profile.by_name(data.name) is data
    assert {name: (unit.type_id, unit.rank) for name, unit in data.units.items()} == KINDS
    assert all(unit.name == name for name, unit in data.units.items())
    assert pickle.loads(pickle.dumps(data)) == data
    assert hash(data) == hash(pickle.loads(pickle.dumps(data)))


def test_unknown_profile_names_the_three() -> None:
    with pytest.raises(ValueError, match="unknown profile 'hots'; profiles: liberty, lotv, smacl"):
        profile.by_name("hots")


@pytest.mark.parametrize(("name", "expected"), LIBERTY_DATA.items())
def test_liberty_has_the_published_numbers(name: str, expected: tuple[float, ...]) -> None:
    unit = LIBERTY.units[name]
    weapon = unit.weapon
    found = (unit.health, unit.shield, 16 * unit.speed, weapon.period / 16)
    assert (*found, weapon.damage * weapon.hits) == pytest.approx(expected)


def test_what_legacy_of_the_void_changed() -> None:
    changed = {name for name in KINDS if LOTV.units[name] != LIBERTY.units[name]}
    assert changed == {"medivac", "stalker", "colossus", "hydralisk", "spine_crawler"}
    assert LOTV.units["hydralisk"].health == 90
    stalker, colossus = LOTV.units["stalker"].weapon, LOTV.units["colossus"].weapon
    assert (stalker.damage, stalker.bonus, stalker.period) == (13, 5, pytest.approx(1.87 * 16))
    assert (colossus.damage, colossus.bonus, colossus.bonus_against) == (10, 5, "light")
    assert (colossus.reach, colossus.period) == (7, 24)
    assert LOTV.units["medivac"].speed * 16 == 2.5


@pytest.mark.parametrize("name", sorted(KINDS))
def test_smaclite_moves_and_fires_about_1_4_times_as_fast(name: str) -> None:
    quick, real = SMACLITE.units[name], LOTV.units[name]
    assert quick.speed == pytest.approx(1.4 * real.speed, rel=0.11)  # its banelings are slower
    if not quick.heals and name != "baneling":
        assert real.weapon.period / quick.weapon.period == pytest.approx(1.4, rel=0.011)
    assert quick.separation == min(quick.radius, 0.95)
    assert quick.weapon.damage_point == quick.weapon.hit_delay == quick.acceleration == 0
    assert quick.health_regeneration == (0.38 / 16 if quick.race == "Z" else 0)


def test_what_else_smaclite_does_differently() -> None:
    baneling, spine = SMACLITE.units["baneling"], SMACLITE.units["spine_crawler"]
    assert (baneling.weapon.damage, baneling.weapon.bonus, baneling.blast_on_death) == (
        80,
        0,
        False,
    )
    assert LIBERTY.units["baneling"].blast_on_death
    assert (spine.radius, spine.scan_range) == (0.5, 10)
    assert not SMACLITE.units["colossus"].climbs
    assert (SMACLITE.minimum_damage, SMACLITE.missile_speed) == (0, 0)
    assert SMACLITE.cooldown_noise == (0, 0)
    same = ("shield_delay", "shield_regeneration", "energy_regeneration", "heal_rate")
    assert all(getattr(SMACLITE, name) == getattr(LIBERTY, name) for name in same)


def test_who_can_be_hit_and_healed() -> None:
    units = LIBERTY.units
    flyers = {name for name in units if units[name].weapon.can_hit(units["medivac"])}
    assert flyers == {"marine", "stalker", "hydralisk"}
    assert all(unit.weapon.can_hit(units["colossus"]) != unit.heals for unit in units.values())
    assert {name for name in units if units[name].healable} == {
        "marine",
        "marauder",
        "zealot",
        "zergling",
        "baneling",
        "hydralisk",
    }


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("data", PROFILES, ids=lambda data: data.name)
def test_map_with_a_profile_has_its_units_and_the_same_sizes(name: str, data: Profile) -> None:
    row = MAPS[name].with_profile(data)
    sides = row.allies + row.enemies
    assert all(group.unit is data.units[group.unit.name] for group in sides)
    assert all(unit is data.units[unit.name] for unit in row.enemy_types)
    assert feature.sizes(row, FeatureFlags()) == feature.sizes(MAPS[name], FeatureFlags())
    health = sum(group.count * (group.unit.health + group.unit.shield) for group in row.enemies)
    assert RewardFlags().max_reward(row) == 200 + 10 * row.num_enemies + health
    assert row.with_profile(LIBERTY) == MAPS[name]


@pytest.mark.parametrize("data", PROFILES, ids=lambda data: data.name)
@pytest.mark.parametrize("name", ["MMM2", "1c3s5z", "2s_vs_1sc", "bane_vs_bane", "6h_vs_8z"])
def test_every_kind_fights_with_every_profile(name: str, data: Profile) -> None:
    options = Options(profile=data.name, attack_any_distance=True)
    batch = SkirmishBatch(name, 2, seed=1, options=options)
    batch.reset()
    closest = ClosestTarget(batch, restricted=False)
    full = [unit.health for unit, _ in roster(batch.row)]
    while not batch.finished.all():
        batch.step(closest.actions())
        assert np.isfinite(batch.observation).all()
        assert (batch.unit_health <= full).all()
    assert (batch.unit_health == 0).any(axis=1).all()


@pytest.mark.parametrize(("data", "cells"), [("liberty", 1.125), ("smaclite", 1.575)])
def test_battles_are_played_with_the_profile(data: str, cells: float) -> None:
    batch = SkirmishBatch("3m", 1, seed=1, options=Options(profile=data))
    batch.reset()
    before = batch.unit_x[0, :3].copy()
    batch.step(np.full((1, 3), 5))  # west, where nobody is in the way
    assert before - batch.unit_x[0, :3] == pytest.approx(cells, abs=1e-4)
