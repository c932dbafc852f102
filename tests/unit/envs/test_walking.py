"""How units move: how fast, through what, and past whom."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dm2_dist.envs.skirmish import SkirmishBatch
from dm2_dist.envs.skirmish.options import Options

Stage = Callable[..., SkirmishBatch]
Drill = Callable[..., None]

STOP, NORTH, SOUTH, EAST, WEST = 1, 2, 3, 4, 5
FAR = [("marine", 30.0, 22.0)]

SPEEDS = {
    "marine": 2.25,
    "marauder": 2.25,
    "stalker": 2.9531,
    "zealot": 2.25,
    "colossus": 2.25,
    "zergling": 2.9531,
    "baneling": 2.5,
    "hydralisk": 2.25,
    "spine_crawler": 0.0,
}


@pytest.mark.parametrize("unit", SPEEDS)
@pytest.mark.parametrize(
    ("action", "dx", "dy"),
    [(NORTH, 0, 1), (SOUTH, 0, -1), (EAST, 1, 0), (WEST, -1, 0), (STOP, 0, 0)],
)
def test_a_step_moves_eight_loops_at_full_speed(
    stage: Stage, drill: Drill, unit: str, action: int, dx: int, dy: int
) -> None:
    batch = stage([(unit, 16, 16)], FAR, loops=8)
    x, y = batch.unit_x[0, 0], batch.unit_y[0, 0]
    drill(batch, action)
    assert batch.unit_x[0, 0] == pytest.approx(x + dx * SPEEDS[unit] / 2, abs=1e-5)
    assert batch.unit_y[0, 0] == pytest.approx(y + dy * SPEEDS[unit] / 2, abs=1e-5)


def test_a_medivac_gathers_speed_and_starts_again_after_a_stop(stage: Stage, drill: Drill) -> None:
    batch = stage([("medivac", 4, 16), ("marine", 2, 10)], FAR)
    gain = 2.3125 / 16**2
    medivac = 1

    def stride(action: int) -> float:
        before = batch.unit_x[0, medivac]
        drill(batch, STOP, action)
        return float(batch.unit_x[0, medivac] - before)

    strides = [stride(EAST) for _ in range(30)]
    expected = [min(gain * (loop + 1), 2.75 / 16) for loop in range(30)]
    assert strides == pytest.approx(expected, abs=1e-5)
    assert stride(STOP) == 0
    assert stride(EAST) == pytest.approx(gain, abs=1e-5)


def test_a_move_order_ends_after_two_cells() -> None:
    batch = SkirmishBatch("3m", 1, options=Options(step_mul=16))
    batch.reset()
    x = batch.unit_x[0, :3].copy()
    batch.step(np.full((1, 3), WEST))
    assert batch.unit_x[0, :3] == pytest.approx(x - 2, abs=1e-5)


def test_walkers_stop_at_the_cliff_and_at_the_border(stage: Stage, drill: Drill) -> None:
    batch = stage([("marine", 3.0, 10.0)], FAR, ground="lane", loops=8)
    for _ in range(6):
        drill(batch, SOUTH if batch.available_actions[0, 0, SOUTH] else STOP)
    assert 8.375 <= batch.unit_y[0, 0] < 9.0
    assert batch.available_actions[0, 0, SOUTH] == 0
    for _ in range(6):
        drill(batch, WEST)
    assert batch.unit_x[0, 0] == pytest.approx(0.375, abs=0.2)


def test_walkers_slide_along_a_cliff_to_a_target_behind_it(stage: Stage, drill: Drill) -> None:
    batch = stage([("marine", 12, 9)], [("marine", 20, 22)], ground="octagon", loops=8)
    for _ in range(40):
        drill(batch, 6)
        if batch.unit_health[0, 1] < 45:
            break
    assert batch.unit_health[0, 1] < 45


@pytest.mark.parametrize(("unit", "crosses"), [("medivac", 1), ("colossus", 1), ("zealot", 0)])
def test_flyers_and_colossi_cross_cliffs(
    stage: Stage, drill: Drill, unit: str, crosses: int
) -> None:
    # The lane's cliff begins at y = 8; a move is offered while there is ground one cell ahead.
    batch = stage([(unit, 16, 9.1), ("marine", 2, 16)], FAR, ground="lane", loops=40)
    agent = int(batch.unit_x[0, :2].argmax())
    drill(batch, *(SOUTH if place == agent else STOP for place in range(2)))
    assert (batch.unit_y[0, agent] < 7.5) == crosses
    drill(batch, *(NORTH if place == agent else STOP for place in range(2)))
    assert batch.unit_y[0, agent] > 8.9, "and come back"


def test_ground_units_walk_around_each_other_but_under_flyers_and_colossi(
    stage: Stage, drill: Drill
) -> None:
    def track(obstacle: str) -> float:
        batch = stage([("marine", 10, 16)], [(obstacle, 13, 16), ("marine", 17.5, 16)])
        batch.unit_y[0] = 16
        off = 0.0
        for _ in range(45):
            drill(batch, EAST)
            off = max(off, abs(batch.unit_y[0, 0] - 16))
        assert batch.unit_x[0, 0] > 14, obstacle
        return off

    assert track("spine_crawler") > 0.9
    assert track("medivac") == 0
    assert track("colossus") == 0


def test_a_spine_crawler_is_not_pushed(stage: Stage, drill: Drill) -> None:
    batch = stage(
        [("spine_crawler", 16, 16), *(("zealot", 12.0, 14.0 + i) for i in range(5))],
        [("marine", 30, 16)],
    )
    crawler = 5
    place = batch.unit_x[0, crawler], batch.unit_y[0, crawler]
    batch.unit_x[0, :5] = place[0] - 0.4
    batch.unit_y[0, :5] = place[1] + np.linspace(-0.5, 0.5, 5)
    for loop in range(60):
        drill(batch, *(EAST if loop < 40 else WEST for _ in range(5)), NORTH)
    assert (batch.unit_x[0, crawler], batch.unit_y[0, crawler]) == place
    gaps = np.hypot(batch.unit_x[0, :5] - place[0], batch.unit_y[0, :5] - place[1])
    assert (gaps > 0.85 * (0.875 + 0.375)).all(), "they were pushed out"


@pytest.mark.parametrize("own", [True, False])
def test_a_spine_crawler_is_not_pushed_by_those_who_strike_it(
    stage: Stage, drill: Drill, own: bool
) -> None:
    sides = [("spine_crawler", 16, 16)], [("zealot", 12, 16), ("zealot", 12, 18)]
    batch = stage(*(sides if own else sides[::-1]))
    crawler, zealots = (0, [1, 2]) if own else (2, [0, 1])
    place = batch.unit_x[0, crawler], batch.unit_y[0, crawler]
    batch.unit_x[0, zealots] = place[0] - 0.9
    batch.unit_y[0, zealots] = place[1] + np.array([-0.5, 0.5])
    for _ in range(20):
        drill(batch, *([6] if own else [6, 6]), theirs=[6, 6] if own else [6])
    assert batch.unit_health[0, crawler] < 300
    assert (batch.unit_x[0, crawler], batch.unit_y[0, crawler]) == place
    gaps = np.hypot(batch.unit_x[0, zealots] - place[0], batch.unit_y[0, zealots] - place[1])
    assert (gaps > 0.85 * (0.875 + 0.375)).all(), "they gave way"


def test_living_units_hardly_overlap(
    random_play: Callable[[int], Callable[[SkirmishBatch], np.ndarray]],
) -> None:
    batch = SkirmishBatch("8m_vs_9m", 8)
    batch.reset()
    act = random_play(2)
    for _ in range(25):
        batch.step(act(batch))
        x, y = batch.unit_x, batch.unit_y
        gap = np.hypot(x[:, :, None] - x[:, None, :], y[:, :, None] - y[:, None, :])
        alive = batch.unit_health > 0
        pairs = alive[:, :, None] & alive[:, None, :] & ~np.eye(17, dtype=bool)
        assert gap[pairs].min() > 0.75 * 0.5
        assert (gap[pairs] > 0.75 * 0.95).mean() > 0.9
