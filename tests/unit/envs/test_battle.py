"""Battles as wholes: random numbers, obedience, orders that last."""

from __future__ import annotations

import numpy as np
import pytest

from dm2_dist.envs.skirmish import SkirmishBatch
from dm2_dist.envs.skirmish.kernels import draw
from dm2_dist.envs.skirmish.options import Options


def started(map_name: str, options: Options | None = None) -> SkirmishBatch:
    batch = SkirmishBatch(map_name, 1, options=options)
    batch.reset(np.array([0], np.uint64))
    return batch


def test_agents_never_choose_a_target_themselves() -> None:
    batch = started("3m")
    while not batch.finished[0]:
        batch.step(batch.alive.astype(np.int64))
        assert (batch.unit_health[0, 3:] == 45).all()
    assert batch.won[0] == 0


def test_an_attack_order_lasts_and_chases() -> None:
    batch = started("3m", Options(attack_any_distance=True, step_mul=60))
    batch.step(np.full((1, 3), 7))
    assert batch.unit_health[0, 4] < 45
    assert (batch.unit_x[0, :3] > 9.2).all(), "they walked towards the target"


def test_units_idle_once_their_target_has_died() -> None:
    batch = started("3m", Options(attack_any_distance=True))
    while batch.unit_health[0, 4] > 0:
        batch.unit_health[0, :3] = 45
        batch.step(np.full((1, 3), 7))
    batch.unit_health[0, :3] = 45
    others = batch.unit_health[0, [3, 5]].copy()
    place = batch.unit_x[0, :3].copy()
    for _ in range(6):
        batch.unit_health[0, :3] = 45
        batch.step(np.ones((1, 3), np.int64))
    assert np.array_equal(batch.unit_health[0, [3, 5]], others)
    assert batch.unit_x[0, :3] == pytest.approx(place, abs=0.3)


def test_units_that_kill_each_other_in_one_loop_both_die() -> None:
    batch = SkirmishBatch("3m", 1, options=Options(step_mul=1), opponents="policy")
    batch.reset()
    batch.unit_x[0] = [15, 15, 15, 18, 18, 18]
    batch.unit_y[0] = [14, 16, 18, 14, 16, 18]
    stop = np.ones((1, 3), np.int64)
    batch.step(stop, stop)
    batch.unit_health[0] = 1
    batch.step(np.array([[6, 7, 8]]), np.array([[6, 7, 8]]))
    batch.step(np.array([[6, 7, 8]]), np.array([[6, 7, 8]]))
    assert not batch.unit_health.any()
    assert batch.terminated[0] == 1
    assert batch.won[0] == 0
    assert batch.opponents is not None
    assert batch.opponents.won[0] == 0, "a draw"


def test_draws_are_uniform_and_depend_on_every_argument() -> None:
    key = np.uint64(7)
    draws = np.array([draw.uniform(key, 2, loop, unit) for loop in range(60) for unit in range(20)])
    assert np.unique(draws).size == draws.size
    assert 0 <= draws.min() < 0.01
    assert 0.99 < draws.max() < 1
    assert draws.mean() == pytest.approx(0.5, abs=0.03)
    assert draw.uniform(key, 1, 3, 4) != draw.uniform(key, 2, 3, 4)
    assert draw.uniform(np.uint64(8), 2, 3, 4) != draw.uniform(key, 2, 3, 4)
    many = {draw.derived_seed(seed, index) for seed in range(30) for index in range(30)}
    assert len(many) == 900
    assert all(0 <= word < 2**64 for word in many)
