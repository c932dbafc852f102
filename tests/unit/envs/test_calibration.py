"""Figures that tie the simulator to the real game, and skills that must pay.

The measured values and their sources are in docs/simulator.md.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from dm2_dist.envs.skirmish import SkirmishBatch, battle_map, calibration
from dm2_dist.envs.skirmish.heuristic import ClosestTarget
from dm2_dist.envs.skirmish.options import Options

Policy = Callable[[SkirmishBatch], npt.NDArray[np.int64]]
PlayOut = Callable[[SkirmishBatch, Policy], npt.NDArray[np.float64]]


def closest_target(
    map_name: str, play_out: PlayOut, *, restricted: bool
) -> tuple[float, npt.NDArray[np.float64], SkirmishBatch]:
    options = Options(attack_any_distance=not restricted)
    batch = SkirmishBatch(map_name, 200, seed=1, options=options)
    batch.reset()
    policy = ClosestTarget(batch, restricted=restricted)
    returns = play_out(batch, lambda _: policy.actions())
    return float(batch.won.mean()), returns, batch


def test_random_play_on_8m_returns_what_it_does_in_the_real_game(
    random_play: Callable[[int], Policy], play_out: PlayOut
) -> None:
    batch = SkirmishBatch("8m", 256, seed=1)
    batch.reset()
    returns = play_out(batch, random_play(1))
    assert 1.6 <= returns.mean() <= 2.4, "the real game: mean 1.99, sd 0.43"
    assert 0.3 <= returns.std() <= 0.65
    assert batch.won.sum() == 0
    quanta = returns / (6 * 20 / 640)
    hits = np.abs(quanta - np.round(quanta)) < 1e-9
    assert hits.mean() > 0.9, "marine hits, but for the rare kill"


@pytest.mark.parametrize("restricted", [True, False])
def test_closest_target_play_fails_on_5m_vs_6m(play_out: PlayOut, restricted: bool) -> None:
    win_rate, returns, _ = closest_target("5m_vs_6m", play_out, restricted=restricted)
    assert win_rate <= 0.03
    assert returns.mean() > 4, "it fights, though"


@pytest.mark.parametrize("map_name", ["3m", "8m"])
def test_closest_target_play_wins_its_share_of_even_battles(
    map_name: str, play_out: PlayOut
) -> None:
    win_rate, returns, batch = closest_target(map_name, play_out, restricted=False)
    assert 0.3 <= win_rate <= 0.95
    won = batch.won == 1
    assert returns[won] == pytest.approx(20.0, abs=1e-9), "the only error is that of the sum"
    assert (returns[~won] < 20).all()


def test_float32_rewards_of_a_won_marine_battle_sum_to_20(play_out: PlayOut) -> None:
    batch = SkirmishBatch("8m", 64, seed=3)
    batch.reset()
    policy = ClosestTarget(batch)
    total = np.zeros(64, np.float32)
    while not batch.finished.all():
        batch.step(policy.actions())
        total += batch.reward
    assert batch.won.sum() >= 5
    assert total[batch.won == 1] == pytest.approx(20.0, abs=1e-5)


@pytest.mark.parametrize("map_name", battle_map.PLAYABLE_MAPS)
def test_stopping_loses_everywhere(map_name: str, stop_play: Policy, play_out: PlayOut) -> None:
    batch = SkirmishBatch(map_name, 16, seed=1)
    batch.reset()
    returns = play_out(batch, stop_play)
    assert batch.terminated.all()
    assert not batch.won.any()
    assert not returns.any()


def test_focus_fire_from_a_standing_line_wins_3m(play_out: PlayOut) -> None:
    def wait_and_focus(batch: SkirmishBatch) -> npt.NDArray[np.int64]:
        health = np.where(batch.unit_health > 0, batch.unit_health, np.inf)[:, None, 3:]
        in_reach = batch.available_actions[:, :, 6:] == 1
        weakest = np.where(in_reach, health, np.inf).argmin(axis=2)
        started = (batch.unit_health[:, 3:] < 45).any(axis=1)[:, None]
        east = np.where(started & (batch.available_actions[:, :, 4] == 1), 4, 1)
        actions = np.where(in_reach.any(axis=2), 6 + weakest, east)
        return np.where(batch.alive == 1, actions, 0)

    batch = SkirmishBatch("3m", 64, seed=1)
    batch.reset()
    play_out(batch, wait_and_focus)
    assert batch.won.mean() >= 0.7


STEPS = {2: (0.0, 1.48), 3: (0.0, -1.48), 4: (1.48, 0.0), 5: (-1.48, 0.0)}


def flee(
    place: npt.NDArray[np.float64], foes: npt.NDArray[np.float64], legal: npt.NDArray[np.uint8]
) -> int:
    """Choose the move that leads away from the foes and the border within two steps."""
    best, best_score = 1, -np.inf
    for action in (a for a in STEPS if legal[a]):
        near = place + STEPS[action]
        for second in STEPS.values():
            far = near + second
            if not ((far > 1).all() and (far < 31).all()):
                continue
            score = sum(np.hypot(*(foes - spot).T).min() for spot in (near, far))
            score -= 0.6 * np.hypot(*(far - 16))
            if score > best_score:
                best, best_score = action, float(score)
    return best


def kite(batch: SkirmishBatch) -> npt.NDArray[np.int64]:
    """Shoot when the weapon is ready and nobody is near, else walk away."""
    k = batch.num_agents
    actions = np.zeros((batch.num_envs, k), np.int64)
    for env in range(batch.num_envs):
        places = np.stack([batch.unit_x[env], batch.unit_y[env]], axis=1)
        points = batch.unit_health[env] + batch.unit_shield[env]
        foes = places[k:][points[k:] > 0]
        for i in np.flatnonzero(batch.alive[env]) if foes.size else []:
            legal = batch.available_actions[env, i]
            gaps = np.hypot(*(places[k:] - places[i]).T)
            nearest = np.hypot(*(foes - places[i]).T).min()
            waiting = batch.unit_cooldown[env, i] > 0 and nearest < 7
            if nearest < 2.6 or waiting:
                actions[env, i] = flee(places[i], foes, legal)
            elif legal[6:].any():
                worth = np.where(legal[6:] == 1, points[k:] + 20 * gaps, np.inf)
                actions[env, i] = 6 + int(worth.argmin())
            else:
                actions[env, i] = 4 if legal[4] and foes[:, 0].min() > places[i, 0] else 1
    return actions


@pytest.mark.parametrize("map_name", ["3s_vs_3z", "3s_vs_5z"])
def test_kiting_stalkers_beat_zealots(map_name: str, play_out: PlayOut) -> None:
    batch = SkirmishBatch(map_name, 3, seed=1)
    batch.reset()
    returns = play_out(batch, kite)
    assert batch.won.all()
    assert (returns >= 20 - 1e-9).all()
    assert batch.alive.sum() >= 7


def test_measured_table_has_every_playable_map() -> None:
    rows = calibration.table(episodes=8, seconds=0.01).splitlines()
    assert [row.split("|")[1].strip() for row in rows[2:]] == list(battle_map.PLAYABLE_MAPS)
    outcome = calibration.measure("3m", "stop", episodes=4, seed=1)
    assert (outcome.return_mean, outcome.win_rate, outcome.truncated) == (0, 0, 0)
    assert calibration.env_steps_per_second("3m", 8, 0.01, seed=1) > 1000
