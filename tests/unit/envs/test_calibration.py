"""Figures that tie the simulator to the real game, and skills that must pay.

The measured values and their sources are in docs/simulator.md.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from dm2_dist.envs.skirmish import SkirmishBatch, battle_map, calibration
from dm2_dist.envs.skirmish.calibration import TARGETS, Alternate, Kite, Outcome, Target
from dm2_dist.envs.skirmish.heuristic import ClosestTarget
from dm2_dist.envs.skirmish.options import Options

Policy = Callable[[SkirmishBatch], npt.NDArray[np.int64]]
PlayOut = Callable[[SkirmishBatch, Policy], npt.NDArray[np.float64]]

QUICK = {"8m", "2s3z", "3s5z", "5m_vs_6m", "3s_vs_5z", "MMM2"}
"""Maps whose targets are measured in every run of the tests."""


def measured(target: Target) -> Outcome:
    return calibration.measure(target.map_name, target.play, 200, seed=1)


@pytest.mark.parametrize(
    "target",
    [
        pytest.param(
            target,
            id=f"{target.map_name}-{target.play}-{target.quantity}",
            marks=[] if target.map_name in QUICK else [pytest.mark.slow],
        )
        for target in TARGETS
    ],
)
def test_simple_play_achieves_what_it_does_in_the_real_game(target: Target) -> None:
    outcome = measured(target)
    assert calibration.respects(target, outcome), outcome


def test_a_measurement_respects_its_target_within_the_bounds() -> None:
    target = Target("3m", "random", "win_rate", 0.2, 0.4)
    for rate, agrees in ((0.19, False), (0.2, True), (0.4, True), (0.41, False)):
        outcome = Outcome(1.0, 1.0, rate, 0.3, 20.0)
        assert calibration.respects(target, outcome) == agrees


def test_random_play_on_8m_pays_in_hits_of_a_marine(
    random_play: Callable[[int], Policy], play_out: PlayOut
) -> None:
    batch = SkirmishBatch("8m", 256, seed=1)
    batch.reset()
    returns = play_out(batch, random_play(1))
    assert batch.won.sum() == 0
    quanta = returns / (6 * 20 / 640)
    hits = np.abs(quanta - np.round(quanta)) < 1e-9
    assert hits.mean() > 0.9, "marine hits, but for the rare kill"


@pytest.mark.parametrize("map_name", ["3m", "8m", "8m_vs_9m"])
def test_won_marine_battles_return_twenty(map_name: str) -> None:
    batch = SkirmishBatch(map_name, 200, seed=3)
    batch.reset()
    policy = ClosestTarget(batch)
    exact, total = np.zeros(200), np.zeros(200, np.float32)
    while not batch.finished.all():
        batch.step(policy.actions())
        exact += batch.exact_reward
        total += batch.reward
    won = batch.won == 1
    assert won.sum() >= 5
    assert exact[won] == pytest.approx(20.0, abs=1e-9), "the only error is that of the sum"
    assert total[won] == pytest.approx(20.0, abs=1e-5)
    assert (exact[~won] < 20).all()


def test_focus_fire_beats_closest_target_play_on_3m() -> None:
    batch = SkirmishBatch("3m", 200, seed=1)
    batch.reset()
    closest = ClosestTarget(batch)
    while not batch.finished.all():
        dx = batch.unit_x[:, None, 3:] - batch.unit_x[:, :3, None]
        dy = batch.unit_y[:, None, 3:] - batch.unit_y[:, :3, None]
        gaps = np.hypot(dx, dy).sum(axis=1, keepdims=True)
        in_reach = batch.available_actions[:, :, 6:] == 1
        # The weakest in reach; of equals the one that is nearest to the whole team.
        worth = batch.unit_health[:, None, 3:] + 0.01 * gaps
        weakest = 6 + np.where(in_reach, worth, np.inf).argmin(axis=2)
        actions = np.where(in_reach.any(axis=2), weakest, closest.actions())
        batch.step(np.where(batch.alive == 1, actions, 0))
    assert batch.won.mean() >= 0.8
    assert calibration.measure("3m", "closest", 200, seed=1).win_rate < 0.7


def test_two_kiting_stalkers_beat_a_zealot_without_loss(tmp_path: Path) -> None:
    path = tmp_path / "kiting.toml"
    path.write_text(
        """
name = "kiting"
episode_limit = 200
terrain = "open"

[[allies]]
unit = "stalker"
count = 2
point = [9, 16]

[[enemies]]
unit = "zealot"
count = 1
point = [23, 16]

[order]
kind = "attack_move"
points = [[9, 16]]
""",
        encoding="utf-8",
    )
    batch = SkirmishBatch(str(path), 40, seed=2)
    batch.reset()
    kite = Kite(batch)
    while not batch.finished.all():
        batch.step(kite.actions())
    assert batch.won.all()
    assert batch.alive.all()


@pytest.mark.parametrize("map_name", ["3s_vs_3z", "3s_vs_5z"])
def test_kiting_beats_zealots_that_closest_target_play_loses_to(map_name: str) -> None:
    kited = calibration.measure(map_name, "kite", 24, seed=1)
    closest = calibration.measure(map_name, "closest", 24, seed=1)
    assert (kited.win_rate, closest.win_rate) == (1.0, 0.0)
    assert kited.return_mean >= 20 - 1e-9


def test_taking_turns_beats_a_spine_crawler_that_closest_target_play_loses_to() -> None:
    batch = SkirmishBatch("2s_vs_1sc", 60, seed=1)
    batch.reset()
    alternate = Alternate(batch)
    while not batch.finished.all():
        batch.step(alternate.actions())
    assert batch.won.mean() > 0.7
    assert calibration.measure("2s_vs_1sc", "closest", 60, seed=1).win_rate == 0


@pytest.mark.parametrize("play", ["random", "stop", "closest", "closest, any distance", "kite"])
def test_every_play_is_legal_and_repeatable(play: calibration.Play) -> None:
    first, again = (calibration.measure("MMM", play, 4, seed=9) for _ in range(2))
    assert first == again
    assert 0 < first.steps <= 150


def test_same_seed_same_trajectory() -> None:
    def trajectory(seed: int) -> list[npt.NDArray[np.float32]]:
        options = Options(attack_any_distance=True)
        batch = SkirmishBatch("2s3z", 3, seed, options=options)
        batch.reset()
        policy = ClosestTarget(batch, restricted=False)
        shown = []
        for _ in range(60):
            batch.step(policy.actions())
            shown.append(np.concatenate([batch.state.ravel(), batch.observation.ravel()]))
        return shown

    first, again, other = trajectory(1), trajectory(1), trajectory(2)
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert not np.array_equal(first[-1], other[-1])


def test_stopping_is_worth_nothing_where_nobody_comes() -> None:
    outcome = calibration.measure("2s_vs_1sc", "stop", 8, seed=1)
    assert (outcome.return_mean, outcome.win_rate, outcome.truncated) == (0, 0, 1)
    assert outcome.steps == 300


def test_measured_table_has_every_map() -> None:
    rows = calibration.table(episodes=2).splitlines()
    assert [row.split("|")[1].strip() for row in rows[2:]] == list(battle_map.MAPS)
    assert {row.count("|") for row in rows} == {7}
    outcome = calibration.measure("3m", "stop", episodes=4, seed=1)
    assert (outcome.return_mean, outcome.win_rate, outcome.truncated) == (0, 0, 0)
