"""What the computer's units do: march, choose targets, chase, answer, call friends, find ways."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from dm2_dist.envs.skirmish import SkirmishBatch, battle_map
from dm2_dist.envs.skirmish.kernels import field

Stage = Callable[..., SkirmishBatch]
Drill = Callable[..., None]
Policy = Callable[[SkirmishBatch], npt.NDArray[np.int64]]

LEASH = 21.0
"""Edge-to-edge distance beyond which a target is given up."""

HELP_RADIUS = 4.0
"""Friends this near answer a call for help."""


def targets(batch: SkirmishBatch) -> list[int]:
    """Whom each of the computer's units is after, -1 for nobody."""
    aimed: list[int] = batch._battles.integer[0, field.TARGET, batch.num_agents :].tolist()
    return aimed


def gap(batch: SkirmishBatch, i: int, j: int) -> float:
    """Distance between the centres of two units."""
    dx = batch.unit_x[0, i] - batch.unit_x[0, j]
    dy = batch.unit_y[0, i] - batch.unit_y[0, j]
    return float(np.hypot(dx, dy))


def test_they_march_and_shoot_within_reach(stage: Stage, drill: Drill) -> None:
    batch = stage([("marine", 9, 16)], [("marine", 23, 16)], order="attack_move", to=[(9, 16)])
    start = batch.unit_x[0, 1]
    for _ in range(16):
        drill(batch)
    assert batch.unit_x[0, 1] == pytest.approx(start - 2.25, abs=1e-4)
    while batch.unit_health[0, 0] == 45:
        assert targets(batch) == [-1] or gap(batch, 0, 1) <= 5.75 + 0.15
        drill(batch)
    assert 5.4 < gap(batch, 0, 1) <= 5.75, "range 5 from edge to edge"
    assert batch.unit_health[0, 0] == 39


def test_they_go_to_a_random_point_of_a_segment(stage: Stage, drill: Drill) -> None:
    places = []
    for seed in range(12):
        batch = stage(
            [("marine", 30, 30)],
            [("marine", 8, 12)],
            order="attack_segment",
            to=[(4, 4), (16, 4)],
            loops=200,
            seed=seed,
        )
        drill(batch)
        assert batch.unit_y[0, 1] == pytest.approx(4, abs=0.5)
        places.append(batch.unit_x[0, 1])
    assert 3.5 < min(places) < 7
    assert 13 < max(places) < 16.5


def test_they_hunt_the_nearest_agent_wherever_it_is(stage: Stage, drill: Drill) -> None:
    batch = stage(
        [("marine", 2, 2), ("marine", 30, 30)], [("zergling", 20, 20)], order="hunt", loops=8
    )
    before = gap(batch, 1, 2)
    drill(batch)
    assert gap(batch, 1, 2) == pytest.approx(before - 2.9531 / 2, abs=1e-3)
    while batch.alive[0, 1]:
        drill(batch)
    before = gap(batch, 0, 2)
    drill(batch)
    assert gap(batch, 0, 2) < before


def test_they_hold_their_place_until_somebody_comes(stage: Stage, drill: Drill) -> None:
    batch = stage([("marine", 2, 16)], [("zealot", 20, 16)], order="hold")
    place = batch.unit_x[0, 1]
    for _ in range(50):
        drill(batch)
    assert batch.unit_x[0, 1] == place
    batch.unit_x[0, 0] = place - 5.5
    drill(batch)
    assert targets(batch) == [0]
    assert batch.unit_x[0, 1] < place


@pytest.mark.parametrize(
    ("unit", "body", "scan"),
    [("zealot", 0.5, 5.0), ("marauder", 0.5625, 6.0), ("spine_crawler", 0.875, 7.0)],
)
def test_they_notice_within_five_cells_or_their_range_from_edge_to_edge(
    stage: Stage, drill: Drill, unit: str, body: float, scan: float
) -> None:
    batch = stage([("marine", 10, 16)], [(unit, 20, 16)], order="hold")
    batch.unit_y[0] = 16
    batch.unit_x[0, 0] = batch.unit_x[0, 1] - (scan + body + 0.375) - 0.01
    drill(batch)
    assert targets(batch) == [-1]
    batch.unit_x[0, 0] += 0.02
    drill(batch)
    assert targets(batch) == [0]


def test_they_take_the_nearest_and_keep_whom_they_reach(stage: Stage, drill: Drill) -> None:
    batch = stage([("marine", 12, 16), ("marine", 12, 20)], [("marine", 16, 16)], order="hold")
    drill(batch)
    assert targets(batch) == [0]
    batch.unit_y[0, 1] = 17.0
    batch.unit_x[0, 1] = 15.0
    drill(batch)
    assert targets(batch) == [0], "nearer now, but the first is still within range"
    batch.unit_x[0, 0] = 8.0
    drill(batch)
    drill(batch)
    assert targets(batch) == [1], "the first is out of range"


def test_melee_units_spread_over_targets(stage: Stage, drill: Drill) -> None:
    batch = stage(
        [("zealot", 12, 15), ("zealot", 12, 18)],
        [("zergling", 16, 16 + 0.9 * place) for place in range(-3, 4)],
        order="attack_move",
        to=[(12, 16)],
    )
    for _ in range(60):
        batch.unit_shield[0, :2] = 50
        drill(batch)
    assert set(targets(batch)) == {0, 1}


def test_they_give_up_beyond_the_leash(stage: Stage, drill: Drill) -> None:
    batch = stage([("marine", 12, 16)], [("zealot", 16, 16)], order="hold")
    drill(batch)
    batch.unit_y[0] = 16
    reach = LEASH + 0.375 + 0.5
    batch.unit_x[0] = 2, 2 + reach - 0.1
    drill(batch)
    assert targets(batch) == [0], "chased, though out of scan range"
    batch.unit_x[0, 1] = 2 + reach + 0.1
    drill(batch)
    assert targets(batch) == [-1]


def test_who_is_shot_from_afar_answers_and_calls_friends(stage: Stage, drill: Drill) -> None:
    near, far = 16 + HELP_RADIUS - 0.3, 16 + HELP_RADIUS + 0.3
    batch = stage(
        [("stalker", 12, 16)],
        [("zealot", 19.0, 16), ("zealot", 19.0, near), ("zealot", 19.0, far)],
        order="hold",
    )
    loops = 0
    while batch.unit_shield[0, 1] == 50:
        drill(batch, 6)
        loops += 1
        assert loops < 20
    assert targets(batch) == [0, 0, -1]


def test_a_unit_calls_friends_again_after_two_seconds(stage: Stage, drill: Drill) -> None:
    batch = stage(
        [("marine", 10, 16)], [("spine_crawler", 16, 16), ("zealot", 20, 28)], order="hold"
    )
    batch.unit_x[0, 0] = batch.unit_x[0, 1] - 6.2
    first = None
    for loop in range(70):
        batch.unit_health[0, 0] = 45
        if first is not None and loop == first + 2:
            batch.unit_x[0, 2] = batch.unit_x[0, 1] + 2.5
            batch.unit_y[0, 2] = batch.unit_y[0, 1] + 1.5
        drill(batch, 6)
        if first is None and batch.unit_health[0, 1] < 300:
            first = loop
        if first is not None and targets(batch)[1] == 0:
            break
    assert first is not None
    assert first + 32 <= loop <= first + 32 + 17, "the next hit after 32 loops"


def test_a_ground_weapon_does_not_look_for_flyers(stage: Stage, drill: Drill) -> None:
    batch = stage(
        [("marine", 30, 30), ("medivac", 14, 16)],
        [("zealot", 16, 16), ("marine", 17, 16)],
        order="hold",
    )
    drill(batch)
    assert targets(batch) == [-1, 1]


@pytest.mark.parametrize("map_name", ["corridor", "2c_vs_64zg", "so_many_baneling", "6h_vs_8z"])
def test_all_find_their_way_to_a_team_that_waits(map_name: str, stop_play: Policy) -> None:
    batch = SkirmishBatch(map_name, 2, seed=5)
    batch.reset()
    k = batch.num_agents
    nearest = np.full((2, batch.num_enemies), np.inf)
    for _ in range(120):
        batch.unit_health[:, :k] = batch.unit_health[:, :k].max()
        batch.unit_shield[:, :k] = 1000.0
        batch.step(stop_play(batch))
        dx = batch.unit_x[:, k:, None] - batch.unit_x[:, None, :k]
        dy = batch.unit_y[:, k:, None] - batch.unit_y[:, None, :k]
        nearest = np.minimum(nearest, np.hypot(dx, dy).min(axis=2))
        if batch.finished.all():
            break
    assert nearest.max() < 3.0
    assert (batch.unit_shield[:, :k] < 1000).any(axis=1).all(), "and fight"


@pytest.mark.parametrize("map_name", sorted(set(battle_map.MAPS) - {"2s_vs_1sc"}))
def test_a_team_that_does_nothing_is_killed(
    map_name: str, stop_play: Policy, play_out: Callable[..., npt.NDArray[np.float64]]
) -> None:
    batch = SkirmishBatch(map_name, 8, seed=1)
    batch.reset()
    returns = play_out(batch, stop_play)
    assert batch.terminated.all()
    if map_name == "bane_vs_bane":
        # Banelings that are killed explode, and now and then that ends the battle.
        assert batch.won.mean() < 0.5
        return
    assert not batch.won.any()
    if "bane" not in map_name:
        assert not returns.any()


def test_nobody_comes_on_2s_vs_1sc(
    stop_play: Policy, play_out: Callable[..., npt.NDArray[np.float64]]
) -> None:
    batch = SkirmishBatch("2s_vs_1sc", 8, seed=1)
    batch.reset()
    returns = play_out(batch, stop_play)
    assert batch.truncated.all()
    assert not returns.any()
    assert (batch.unit_shield[:, :2] == 80).all()
