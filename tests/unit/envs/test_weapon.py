"""What each weapon does: to whom, how much, how soon, how often and from how far."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from dm2_dist.envs.skirmish import SkirmishBatch
from dm2_dist.envs.skirmish.lineup import roster

Stage = Callable[..., SkirmishBatch]
Drill = Callable[..., None]
Slay = Callable[..., None]

MISSILE = 18.75 / 16
"""Cells that a missile flies in a loop."""

# Centre-to-centre distance at which each attacker is put: its range and most of the bodies.
APART = {
    "marine": 5.0,
    "marauder": 6.0,
    "stalker": 6.0,
    "zealot": 0.9,
    "colossus": 6.0,
    "zergling": 0.8,
    "hydralisk": 5.0,
    "baneling": 0.8,
    "spine_crawler": 7.0,
}

# Damage of one hit on health: points and bonus less the armour.
DAMAGE = [
    ("marine", {"marine": 6, "marauder": 5, "stalker": 5, "spine_crawler": 4, "medivac": 5}),
    ("marauder", {"marine": 10, "marauder": 19, "stalker": 19, "zealot": 9, "spine_crawler": 18}),
    ("stalker", {"marine": 10, "zealot": 9, "stalker": 13, "colossus": 13, "spine_crawler": 12}),
    ("stalker", {"medivac": 13, "marauder": 13, "zergling": 10, "baneling": 10}),
    ("zealot", {"marine": 8, "stalker": 7, "marauder": 7, "spine_crawler": 6, "hydralisk": 8}),
    ("zergling", {"marine": 5, "zealot": 4, "stalker": 4, "colossus": 4, "spine_crawler": 3}),
    ("hydralisk", {"zealot": 11, "marine": 12, "medivac": 11, "spine_crawler": 10}),
    ("colossus", {"zergling": 20, "zealot": 19, "marauder": 19, "spine_crawler": 18}),
    ("baneling", {"zealot": 34, "marine": 35, "stalker": 19, "hydralisk": 35, "baneling": 20}),
    ("baneling", {"zergling": 35, "marauder": 19, "spine_crawler": 78, "colossus": 19}),
    ("spine_crawler", {"stalker": 29, "marine": 25, "zealot": 24, "colossus": 29}),
]
PAIRS = [(who, whom, points) for who, row in DAMAGE for whom, points in row.items()]

# Damage of one hit on a shield, which has no armour.
SHIELD_DAMAGE = [
    ("marine", "zealot", 6),
    ("stalker", "stalker", 14),
    ("stalker", "zealot", 10),
    ("zealot", "stalker", 8),
    ("zergling", "colossus", 5),
    ("hydralisk", "zealot", 12),
    ("colossus", "zealot", 20),
    ("baneling", "zealot", 35),
    ("baneling", "stalker", 20),
    ("spine_crawler", "stalker", 30),
    ("marauder", "stalker", 20),
]


def points(batch: SkirmishBatch) -> npt.NDArray[np.float64]:
    """Health and shield of every unit, float64 [U]."""
    return (batch.unit_health + batch.unit_shield)[0].copy()


def duel(stage: Stage, attacker: str, target: str, *, apart: float | None = None) -> SkirmishBatch:
    """Put an attacker and its target beside a marine each, who are far away."""
    gap = APART[attacker] if apart is None else apart
    if attacker in ("zealot", "zergling", "baneling"):
        gap += {"stalker": 0.1, "colossus": 0.5, "spine_crawler": 0.35}.get(target, 0.0)
    return stage(
        [(attacker, 12, 16), ("marine", 2, 2)], [(target, 12 + gap, 16), ("marine", 30, 30)]
    )


def attack(batch: SkirmishBatch, who: str) -> tuple[int, ...]:
    """Orders with which the attacker attacks enemy 0 and its fellow marine stands still."""
    units = [unit.name for unit, _ in roster(batch.row)[: batch.num_agents]]
    place = units.index(who) if who != "marine" else int(batch.unit_x[0, :2].argmax())
    return tuple(6 if place == agent else 1 for agent in range(2))


def first_hit(
    batch: SkirmishBatch, drill: Drill, who: str, *, within: int = 40
) -> tuple[int, float, float]:
    """Attack until the target is hit; returns the loop, and what shield and health have lost."""
    orders = attack(batch, who)
    for loop in range(within):
        shield, health = batch.unit_shield[0, 2], batch.unit_health[0, 2]
        drill(batch, *orders)
        lost = shield - batch.unit_shield[0, 2], health - batch.unit_health[0, 2]
        if sum(lost) > 0.1:
            return loop, *lost
    raise AssertionError(f"no hit within {within} loops")


@pytest.mark.parametrize(("attacker", "target", "expected"), PAIRS)
def test_a_hit_takes_its_damage_less_the_armor_from_health(
    stage: Stage, drill: Drill, attacker: str, target: str, expected: float
) -> None:
    batch = duel(stage, attacker, target)
    batch.unit_shield[0, 2] = 0
    _, shield, health = first_hit(batch, drill, attacker)
    assert (shield, health) == (0, pytest.approx(expected, abs=0.02))


@pytest.mark.parametrize(("attacker", "target", "expected"), SHIELD_DAMAGE)
def test_a_shield_takes_the_whole_damage(
    stage: Stage, drill: Drill, attacker: str, target: str, expected: float
) -> None:
    _, shield, health = first_hit(duel(stage, attacker, target), drill, attacker)
    assert (shield, health) == (expected, 0)


@pytest.mark.parametrize(("left", "expected"), [(3.0, 4.0), (7.0, 0.5), (7.9, 0.5), (8.0, 0.0)])
def test_what_a_shield_lets_through_loses_the_armor_and_hurts_by_half_a_point_at_least(
    stage: Stage, drill: Drill, left: float, expected: float
) -> None:
    batch = duel(stage, "zealot", "zealot")
    batch.unit_shield[0, 2] = left
    _, shield, health = first_hit(batch, drill, "zealot")
    assert (shield, health) == (left, pytest.approx(expected, abs=1e-6))


PERIODS = {
    "marine": 13.7728,
    "marauder": 24.0,
    "stalker": 23.04,
    "zealot": 19.2,
    "colossus": 35.2,
    "zergling": 11.136,
    "hydralisk": 13.28,
    "spine_crawler": 25.6,
}


@pytest.mark.parametrize("attacker", PERIODS)
def test_weapon_cycles_are_the_period_plus_minus_one_to_two_loops(
    stage: Stage, drill: Drill, attacker: str
) -> None:
    batch = duel(stage, attacker, "marauder")
    orders = attack(batch, attacker)
    hits: list[int] = []
    for loop in range(600):
        batch.unit_health[0, 2] = 125
        drill(batch, *orders)
        if batch.unit_health[0, 2] < 125 and (not hits or loop - hits[-1] > 6):
            hits.append(loop)
    gaps = np.diff(hits)
    period = PERIODS[attacker]
    assert gaps.size >= 15
    assert np.unique(gaps).size > 1, "noise"
    assert gaps.min() >= math.floor(period - 1)
    assert gaps.max() <= math.ceil(period + 2)
    assert period + 0.2 < gaps.mean() < period + 1.6, "half a loop of delay, rounded up"


@pytest.mark.parametrize(
    ("attacker", "loops"), [("zealot", 0), ("marine", 1), ("zergling", 3), ("baneling", 0)]
)
def test_an_instant_weapon_hits_after_its_damage_point(
    stage: Stage, drill: Drill, attacker: str, loops: int
) -> None:
    assert first_hit(duel(stage, attacker, "marauder"), drill, attacker)[0] == loops


@pytest.mark.parametrize(
    ("attacker", "wind_up"),
    [("stalker", 2.672), ("marauder", 0.0), ("hydralisk", 3.328), ("spine_crawler", 5.328)],
)
def test_a_missile_lands_later_the_farther_the_target(
    stage: Stage, drill: Drill, attacker: str, wind_up: float
) -> None:
    landed = []
    for apart in (2.0, 3.3, 4.6, 5.9):
        batch = duel(stage, attacker, "marine", apart=apart)
        who = int(batch.unit_x[0, :2].argmax())
        bodies = sum(unit.radius for unit, place in roster(batch.row) if 10 < place[0] < 25)
        gap = np.hypot(*(axis[0, 2] - axis[0, who] for axis in (batch.unit_x, batch.unit_y)))
        flight = (gap - bodies) / MISSILE
        landed.append(first_hit(batch, drill, attacker)[0])
        assert landed[-1] == math.ceil(wind_up) + math.ceil(flight)
    assert landed == sorted(set(landed))


def test_a_missile_outlives_its_shooter(stage: Stage, drill: Drill, slay: Slay) -> None:
    batch = duel(stage, "stalker", "marauder", apart=5.9)
    shooter = attack(batch, "stalker").index(6)
    for _ in range(5):
        drill(batch, *attack(batch, "stalker"))
    assert batch.unit_health[0, 2] == 125
    slay(batch, 0, shooter)
    drill(batch)
    assert batch.alive[0, shooter] == 0
    assert batch.unit_health[0, 2] == 125
    for _ in range(5):
        drill(batch)
    assert batch.unit_health[0, 2] == 125 - 13


def test_what_is_not_a_missile_dies_with_who_sent_it(
    stage: Stage, drill: Drill, slay: Slay
) -> None:
    batch = duel(stage, "zealot", "marauder")
    batch.step(np.array([attack(batch, "zealot")]), np.ones((1, 2), np.int64))
    assert batch.unit_health[0, 2] == 125 - 7
    slay(batch, 0, attack(batch, "zealot").index(6))
    for _ in range(10):
        drill(batch)
    assert batch.unit_health[0, 2] == 125 - 7, "the second hit never came"


def test_a_missile_to_a_target_that_has_died_is_lost(
    stage: Stage, drill: Drill, slay: Slay
) -> None:
    batch = duel(stage, "stalker", "marauder", apart=5.9)
    for _ in range(5):
        drill(batch, *attack(batch, "stalker"))
    slay(batch, 0, 2)
    before = points(batch)
    for _ in range(10):
        drill(batch)
    assert np.array_equal(points(batch), before)


def test_a_zealot_hits_twice_within_a_swing(stage: Stage, drill: Drill) -> None:
    batch = duel(stage, "zealot", "marauder")
    health = []
    for _ in range(16):
        drill(batch, *attack(batch, "zealot"))
        health.append(batch.unit_health[0, 2])
    hits = np.flatnonzero(np.diff([125, *health]))
    assert hits.tolist() == [0, math.ceil(0.28 * 16)]
    assert health[-1] == 125 - 2 * 7


def test_a_broken_off_swing_hits_nobody_and_leaves_the_weapon_ready(
    stage: Stage, drill: Drill
) -> None:
    batch = duel(stage, "spine_crawler", "marauder")
    orders = attack(batch, "spine_crawler")
    for _ in range(4):
        drill(batch, *orders)
    who = orders.index(6)
    assert batch.unit_cooldown[0, who] > 0
    drill(batch)
    assert batch.unit_cooldown[0, who] == 0
    for _ in range(20):
        drill(batch)
    assert batch.unit_health[0, 2] == 125


@pytest.mark.parametrize(("beyond", "hit"), [(0.9, True), (1.1, False)])
def test_a_target_that_leaves_during_the_wind_up_is_hit_within_a_cell_of_the_range(
    stage: Stage, drill: Drill, beyond: float, hit: bool
) -> None:
    batch = duel(stage, "spine_crawler", "marauder")
    orders = attack(batch, "spine_crawler")
    for _ in range(3):
        drill(batch, *orders)
    who = orders.index(6)
    batch.unit_x[0, 2] = batch.unit_x[0, who] + 7 + 0.875 + 0.5625 + beyond
    batch.unit_y[0, 2] = batch.unit_y[0, who]
    for _ in range(15):
        drill(batch, *orders)
    assert bool(batch.unit_health[0, 2] < 125) == hit


def test_a_colossus_sweeps_a_line_across_its_target_with_two_beams(
    stage: Stage, drill: Drill
) -> None:
    enemies = [
        ("zealot", 17.0, 16.0),
        ("zealot", 17.0, 17.6),  # its body touches the end of the line
        ("zealot", 17.0, 18.3),  # beyond the end
        ("zealot", 18.0, 16.0),  # behind
        ("medivac", 17.0, 15.6),  # above
    ]
    batch = stage([("colossus", 11, 16), ("zealot", 17, 14.9)], enemies)
    before = points(batch)
    history = []
    for _ in range(14):
        drill(batch, 6, 1)
        history.append(before - points(batch))
    lost = history[-1]
    assert lost.tolist() == [0, 0, 40, 40, 0, 0, 0], "friends and flyers are spared"
    steps = np.unique([row[2] for row in history])
    assert steps.tolist() == [0, 20, 40], "each beam once"
    assert [row[2] for row in history][:6] == [0] * 6, "wind-up, then a quarter of a second"


def test_a_baneling_hurts_every_enemy_around_it_and_dies(stage: Stage, drill: Drill) -> None:
    enemies = [
        ("marauder", 12.9, 16.0),
        ("zealot", 12.0, 18.6),  # its body is touched: 2.2 + 0.5
        ("zealot", 12.0, 13.2),  # out of reach
        ("spine_crawler", 14.7, 16.0),
        ("medivac", 12.0, 17.0),
    ]
    batch = stage([("baneling", 12, 16), ("marine", 11, 16)], enemies)
    before = points(batch)
    drill(batch, 1, 6)
    lost = before - points(batch)
    assert lost == pytest.approx([0, 30, 19, 35, 0, 78, 0], abs=0.02)
    assert batch.alive[0].tolist() == [1, 0]


def test_a_baneling_explodes_when_it_is_killed_and_kills_set_others_off(
    stage: Stage, drill: Drill, slay: Slay
) -> None:
    batch = stage(
        [("baneling", 10, 16), ("baneling", 26, 26), ("marine", 14.0, 16)],
        [("baneling", 11.8, 16), ("marine", 8.4, 16), ("marine", 26, 20)],
    )
    slay(batch, 0, 1)  # killed, not of its own will
    batch.unit_health[0, 3] = 15
    drill(batch)
    assert batch.alive[0].tolist() == [1, 0, 1]
    assert batch.unit_health[0].tolist() == pytest.approx([10, 0, 30, 0, 10, 45], abs=0.02)


@pytest.mark.parametrize("attacker", ["zealot", "marauder", "zergling", "spine_crawler"])
def test_a_ground_weapon_refuses_a_flyer_and_the_unit_goes_on(
    stage: Stage, drill: Drill, attacker: str
) -> None:
    batch = duel(stage, attacker, "medivac", apart=4.0)
    who = attack(batch, attacker).index(6)
    north = tuple(2 if agent == who else 1 for agent in range(2))
    drill(batch, *north)
    start = batch.unit_y[0, who]
    for _ in range(5):
        drill(batch, *attack(batch, attacker))
    assert batch.unit_health[0, 2] == 150
    speed = roster(batch.row)[who][0].speed
    assert batch.unit_y[0, who] == pytest.approx(start + 5 * speed, abs=1e-4), "still walking"
