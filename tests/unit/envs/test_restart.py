"""One battle of a batch begins afresh while the others go on."""

import numpy as np
import pytest

from dm2_dist.envs.interface import RestartableBatch
from dm2_dist.envs.skirmish import SkirmishBatch

SHOWN = (
    "observation state available_actions alive reward terminated truncated won finished "
    "episode_steps unit_x unit_y unit_health unit_shield unit_cooldown exact_reward seeds"
).split()


def legal(batch, generator):
    """Random legal actions, integer [B, K]."""
    chance = generator.random(batch.available_actions.shape) * (batch.available_actions != 0)
    return chance.argmax(axis=2)


def shown(batch, env):
    return {name: getattr(batch, name)[env].copy() for name in SHOWN}


def same(left, right):
    for name, array in left.items():
        np.testing.assert_array_equal(array, right[name], err_msg=name)


@pytest.fixture
def batch():
    batch = SkirmishBatch("3m", 3)
    batch.reset(np.array([1, 2, 3], np.uint64))
    generator = np.random.default_rng(0)
    for _ in range(9):
        batch.step(legal(batch, generator))
    return batch


def test_a_restarted_battle_is_a_fresh_one_and_the_others_stay(batch):
    before = [shown(batch, env) for env in (0, 2)]
    batch.restart(1, 2**64 - 5)
    for env, kept in zip((0, 2), before, strict=True):
        same(shown(batch, env), kept)
    fresh = SkirmishBatch("3m", 1)
    fresh.reset(np.array([2**64 - 5], np.uint64))
    same(shown(fresh, 0), shown(batch, 1))


def test_all_battles_go_on_as_if_alone(batch):
    fresh, old = SkirmishBatch("3m", 1), SkirmishBatch("3m", 3)
    fresh.reset(np.array([77], np.uint64))
    old.reset(np.array([1, 2, 3], np.uint64))
    generator = np.random.default_rng(0)
    for _ in range(9):
        old.step(legal(old, generator))
    batch.restart(1, 77)
    for _ in range(60):
        actions = legal(batch, generator)
        batch.step(actions)
        same(shown(batch, 1), _stepped(fresh, actions[1:2]))
        # The one in the middle goes its own way there.
        alone = np.stack([actions[0], legal(old, generator)[1], actions[2]])
        old.step(alone)
        for env in (0, 2):
            same(shown(batch, env), shown(old, env))
    assert batch.finished.any()


def _stepped(batch, actions):
    batch.step(actions)
    return shown(batch, 0)


def test_a_finished_battle_can_be_restarted(batch):
    generator = np.random.default_rng(4)
    while not batch.finished[0]:
        batch.step(legal(batch, generator))
    batch.restart(0, 5)
    assert (batch.finished[0], batch.episode_steps[0]) == (0, 0)
    batch.step(legal(batch, generator))
    assert batch.episode_steps[0] == 1


def test_what_cannot_be_restarted_says_so(batch):
    assert isinstance(batch, RestartableBatch)
    with pytest.raises(RuntimeError, match="before the first reset"):
        SkirmishBatch("3m", 2).restart(0, 1)
    played = SkirmishBatch("3m", 2, opponents="policy")
    played.reset(np.array([1, 2], np.uint64))
    with pytest.raises(ValueError, match="start it with `reset`"):
        played.restart(0, 1)
