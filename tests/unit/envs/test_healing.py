"""What gives health, shields and energy back: healers, and time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dm2_dist.envs.skirmish import SkirmishBatch

Stage = Callable[..., SkirmishBatch]
Drill = Callable[..., None]
Slay = Callable[..., None]

FAR = [("marine", 30.0, 30.0)]
ENERGY = 0.5625 / 16
"""Energy that a medivac gains in a loop."""

HEAL = 9 / 16
"""Health that a medivac restores in a loop."""


def ward(stage: Stage, *others: tuple[str, float, float]) -> SkirmishBatch:
    """A medivac (the last agent) beside a marine (agent 0 without others)."""
    return stage([("marine", 10, 16), *others, ("medivac", 11, 16)], FAR)


def test_a_medivac_heals_nine_points_a_second_for_a_third_of_the_energy(
    stage: Stage, drill: Drill
) -> None:
    batch = ward(stage)
    batch.unit_health[0, 0] = 10
    drill(batch, 1, 6)
    assert batch.unit_health[0, 0] == pytest.approx(10 + HEAL)
    for _ in range(15):
        drill(batch, 1, 6)
    assert batch.unit_health[0, 0] == pytest.approx(19)
    assert batch.unit_energy[0, 1] == pytest.approx(50 - 9 * 0.33 + 16 * ENERGY, abs=1e-4)
    for _ in range(60):
        drill(batch, 1, 6)
    assert batch.unit_health[0, 0] == 45, "never more than full"


def test_healing_begins_with_five_points_of_energy_and_goes_on_with_any(
    stage: Stage, drill: Drill
) -> None:
    batch = ward(stage)
    batch.unit_health[0, 0] = 10
    batch.unit_energy[0, 1] = 5 - 2.5 * ENERGY
    healed = []
    for _ in range(60):
        drill(batch, 1, 6)
        healed.append(batch.unit_health[0, 0])
    assert healed[1] == 10, "too little to begin"
    assert healed[3] == pytest.approx(10 + HEAL)
    steps = np.diff([10, *healed])
    assert steps[3:28] == pytest.approx(HEAL, abs=1e-5), "down to nothing"
    assert batch.unit_energy[0, 1] < 5
    assert steps[-1] < HEAL, "then what it regains"


def test_energy_regenerates_up_to_two_hundred(stage: Stage, drill: Drill) -> None:
    batch = ward(stage)
    for _ in range(16):
        drill(batch)
    assert batch.unit_energy[0].tolist() == pytest.approx([0, 50.5625, 0], abs=1e-4)
    batch.unit_energy[0, 1] = 199.9
    for _ in range(16):
        drill(batch)
    assert batch.unit_energy[0, 1] == 200


@pytest.mark.parametrize("patient", ["stalker", "colossus"])
def test_only_biological_units_are_healed(stage: Stage, drill: Drill, patient: str) -> None:
    batch = ward(stage, (patient, 10, 14))
    names = [unit.name for unit in batch.row.ally_types]
    agent = names.index(patient)
    batch.unit_health[0, agent] = 40
    order = [1, 1, 1]
    order[names.index("medivac")] = 6 + agent
    for _ in range(20):
        drill(batch, *order)
    assert batch.unit_health[0, agent] == 40
    assert batch.unit_energy[0].max() > 50, "none was spent"


@pytest.mark.parametrize("hurt", [0, 2])
def test_a_medivac_does_not_heal_the_healthy_nor_another_medivac(
    stage: Stage, drill: Drill, hurt: int
) -> None:
    batch = ward(stage, ("medivac", 11, 18))
    batch.unit_health[0, 1:3] = 100
    if hurt == 0:
        batch.unit_health[0, 0] = 45
    drill(batch, 1, 1, 2)
    start = batch.unit_y[0, 2]
    for _ in range(10):
        if hurt == 0:
            drill(batch, 1, 1, 6)
        else:
            batch.step(np.array([[1, 7, 8]]), np.ones((1, 1), np.int64))
    assert batch.unit_health[0].tolist() == [45, 100, 100, 45]
    assert batch.unit_y[0, 2] > start + 0.5, "refused: it goes on with its move"


def test_treatments_of_medivacs_are_not_offered(stage: Stage, drill: Drill) -> None:
    batch = ward(stage, ("medivac", 11, 18))
    drill(batch)
    assert batch.available_actions[0, 1:].tolist() == [[0, 1, 1, 1, 1, 1, 1, 0, 0]] * 2


@pytest.mark.parametrize("unit", ["zergling", "baneling", "hydralisk", "spine_crawler"])
def test_zerg_regain_health_all_the_time(stage: Stage, drill: Drill, unit: str) -> None:
    batch = stage([(unit, 10, 16)], FAR)
    full = batch.unit_health[0, 0]
    batch.unit_health[0, 0] = 20
    for _ in range(16):
        drill(batch)
    assert batch.unit_health[0, 0] == pytest.approx(20.2734, abs=1e-4)
    batch.unit_health[0, 0] = full - 0.02
    for _ in range(16):
        drill(batch)
    assert batch.unit_health[0, 0] == full


@pytest.mark.parametrize("unit", ["marine", "marauder", "medivac", "stalker", "zealot", "colossus"])
def test_nobody_else_regains_health(stage: Stage, drill: Drill, unit: str) -> None:
    batch = stage([(unit, 10, 16), ("marine", 2, 2)], FAR)
    batch.unit_health[0, :2] = 20
    for _ in range(40):
        drill(batch)
    assert batch.unit_health[0, :2].tolist() == [20, 20]


@pytest.mark.parametrize(("unit", "full"), [("stalker", 80), ("zealot", 50), ("colossus", 150)])
def test_shields_come_back_after_ten_quiet_seconds(
    stage: Stage, drill: Drill, unit: str, full: float
) -> None:
    batch = stage([(unit, 10, 16)], FAR)
    batch.unit_shield[0, 0] = 30
    for _ in range(160):
        drill(batch)
    assert batch.unit_shield[0, 0] == 30
    for _ in range(16):
        drill(batch)
    assert batch.unit_shield[0, 0] == 32
    batch.unit_shield[0, 0] = full - 0.1
    for _ in range(3):
        drill(batch)
    assert batch.unit_shield[0, 0] == full


def test_a_hit_stops_the_shield_for_ten_seconds(stage: Stage, drill: Drill) -> None:
    batch = stage([("marine", 10, 16)], [("zealot", 14, 16)])
    batch.unit_shield[0, 1] = 20
    for _ in range(170):
        drill(batch)
    assert batch.unit_shield[0, 1] == 20 + 10 * 0.125
    for _ in range(2):
        drill(batch, 6)
    assert batch.unit_shield[0, 1] < 20
    left = batch.unit_shield[0, 1]
    for _ in range(158):
        drill(batch)
    assert batch.unit_shield[0, 1] == left


def test_the_computers_medivac_follows_the_march_and_heals_the_worst_off(
    stage: Stage, drill: Drill
) -> None:
    batch = stage(
        [("marine", 3, 16)],
        [("marauder", 24, 15), ("marine", 24, 16), ("marine", 24, 17), ("medivac", 25, 16)],
        order="attack_move",
        to=[(12, 16)],
    )
    batch.unit_health[0, 1:4] = [60, 20, 40]  # 48 %, 44 % and 89 % of what they could have
    energy = batch.unit_energy[0, 4]
    drill(batch)
    assert batch.unit_health[0, 1:4].tolist() == pytest.approx([60, 20 + HEAL, 40])
    assert batch.unit_energy[0, 4] < energy
    for _ in range(12):
        drill(batch)
    assert batch.unit_health[0, 2] > 25, "it stays with its patient"
    for _ in range(300):
        drill(batch)
    assert batch.unit_health[0, 1:4].tolist() == [125, 45, 45], "one after the other"
    assert batch.unit_x[0, 4] < 15, "it came along"


def test_a_medivac_does_not_bring_back_the_dead(stage: Stage, drill: Drill, slay: Slay) -> None:
    batch = ward(stage, ("marine", 4, 4))
    medivac = 2
    hurt = int(batch.unit_x[0, :2].argmax())
    order = [1, 1, 1]
    order[medivac] = 6 + hurt
    batch.unit_health[0, hurt] = 20
    drill(batch, *order)
    slay(batch, 0, hurt)
    drill(batch, *order)
    assert batch.alive[0, hurt] == 0
