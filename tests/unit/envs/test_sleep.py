"""The stand-in for a slow game plays what the simulator plays, later."""

import dataclasses
import time

import numpy as np
import pytest

from dm2_dist import config as configuration
from dm2_dist import presets
from dm2_dist.config import ConfigError, RunConfig
from dm2_dist.envs import make, sleep
from dm2_dist.envs.interface import BattleBatch, GameBatch
from dm2_dist.envs.sleep import SleepBatch

SEEDS = np.array([17], np.uint64)
SHOWN = ("observation", "available_actions", "alive", "reward", "finished", "won", "episode_steps")


def test_the_pause_changes_nothing_that_is_played() -> None:
    plain, slow = make.make_batch("skirmish", "3m", 1), SleepBatch("3m", pause_seconds=0.0)
    plain.reset(SEEDS)
    slow.reset(SEEDS)
    draw = np.random.default_rng(3)
    while not plain.finished[0]:
        legal = plain.available_actions * draw.random(plain.available_actions.shape)
        for batch in (plain, slow):
            batch.step(legal.argmax(axis=2))
        for name in SHOWN:
            np.testing.assert_array_equal(getattr(plain, name), getattr(slow, name))


def test_every_step_sleeps_at_least_the_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    batch = make.make_batch("sleep", "3m", 1)
    batch.reset(SEEDS)
    assert slept == []
    for _ in range(3):
        batch.step(batch.available_actions.argmax(axis=2))
    assert slept == [0.010] * 3


def test_it_is_made_like_any_other_environment() -> None:
    batch = make.make_batch("sleep", "5m_vs_6m", 1)
    assert isinstance(batch, BattleBatch)
    assert not isinstance(batch, GameBatch)
    assert make.describe("sleep", "5m_vs_6m") == make.describe("skirmish", "5m_vs_6m")
    with pytest.raises(ValueError, match="one battle at a time, not 2"):
        make.make_batch("sleep", "3m", 2)


def test_a_run_of_it_plays_one_battle_per_ticket() -> None:
    config = presets.in_environment(presets.quickstart(), "sleep")
    assert (config.env, config.collection.episodes_per_ticket) == ("sleep", 1)
    assert configuration.from_json(configuration.to_json(config)) == config
    with pytest.raises(ConfigError, match="env is sleep, but a game plays one battle at a time"):
        dataclasses.replace(RunConfig(), env="sleep")


def test_the_label_says_what_it_is_not() -> None:
    assert sleep.LABEL == "stand-in for a slow game: 10 ms sleep per step, not StarCraft II"
    assert sleep.PAUSE_SECONDS == 0.010
