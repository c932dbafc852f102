"""Batches of battles: shapes, repeatability, independence, legality, endings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dm2_dist.envs.skirmish import SkirmishBatch, battle_map
from dm2_dist.envs.skirmish.options import Options

Policy = Callable[[SkirmishBatch], npt.NDArray[np.int64]]
Maker = Callable[[int], Policy]

ARRAYS = (
    "observation",
    "state",
    "available_actions",
    "alive",
    "reward",
    "terminated",
    "truncated",
    "won",
    "finished",
    "episode_steps",
)

maps = st.sampled_from(sorted(battle_map.MAPS))
seeds = st.integers(0, 2**64 - 1)


def snapshot(batch: SkirmishBatch, env: int) -> dict[str, npt.NDArray[np.generic]]:
    return {name: getattr(batch, name)[env].copy() for name in ARRAYS}


def hashed_actions(batch: SkirmishBatch, env: int, seed: int) -> npt.NDArray[np.int64]:
    """Choose legal actions of one battle from nothing but its seed and its own step."""
    generator = np.random.default_rng([seed % 2**32, int(batch.episode_steps[env])])
    draws = generator.random(batch.available_actions[env].shape)
    return np.where(batch.available_actions[env] > 0, draws, -1.0).argmax(axis=1)


def trace(map_name: str, all_seeds: list[int], env: int, steps: int) -> list[dict[str, object]]:
    batch = SkirmishBatch(map_name, len(all_seeds))
    batch.reset(np.array(all_seeds, np.uint64))
    shown: list[dict[str, object]] = [dict(snapshot(batch, env))]
    for _ in range(steps):
        batch.step(np.stack([hashed_actions(batch, e, s) for e, s in enumerate(all_seeds)]))
        shown.append(dict(snapshot(batch, env)))
    return shown


@pytest.mark.parametrize("name", battle_map.MAPS)
def test_shapes_and_dtypes(name: str) -> None:
    batch = SkirmishBatch(name, 3)
    batch.reset()
    b, k, a = 3, batch.num_agents, batch.num_actions
    expected = {
        "observation": (np.float32, (b, k, batch.observation_size)),
        "state": (np.float32, (b, batch.state_size)),
        "available_actions": (np.uint8, (b, k, a)),
        "alive": (np.uint8, (b, k)),
        "reward": (np.float32, (b,)),
        "terminated": (np.uint8, (b,)),
        "truncated": (np.uint8, (b,)),
        "won": (np.uint8, (b,)),
        "finished": (np.uint8, (b,)),
        "episode_steps": (np.int32, (b,)),
    }
    for array, (dtype, shape) in expected.items():
        assert getattr(batch, array).dtype == dtype, array
        assert getattr(batch, array).shape == shape, array


def test_arrays_are_rewritten_in_place(stop_play: Policy) -> None:
    batch = SkirmishBatch("3m", 2)
    before = {name: getattr(batch, name) for name in ARRAYS}
    batch.reset()
    batch.step(stop_play(batch))
    assert all(getattr(batch, name) is array for name, array in before.items())
    assert batch.episode_steps.tolist() == [1, 1]


@settings(max_examples=12, deadline=None)
@given(
    map_name=maps,
    seed=seeds,
    neighbours=st.lists(seeds, min_size=1, max_size=4),
    place=st.integers(0, 4),
)
def test_a_battle_does_not_depend_on_its_neighbours(
    map_name: str, seed: int, neighbours: list[int], place: int
) -> None:
    place = min(place, len(neighbours))
    crowd = [*neighbours[:place], seed, *neighbours[place:]]
    alone = trace(map_name, [seed], 0, 45)
    together = trace(map_name, crowd, place, 45)
    for t, (one, other) in enumerate(zip(alone, together, strict=True)):
        for name in ARRAYS:
            assert np.array_equal(one[name], other[name]), (t, name)  # type: ignore[arg-type]


def test_same_seed_same_battle_and_other_seed_other_battle() -> None:
    first, again, other = (trace("8m", [seed], 0, 30) for seed in (5, 5, 6))
    for name in ARRAYS:
        assert all(np.array_equal(a[name], b[name]) for a, b in zip(first, again, strict=True))  # type: ignore[arg-type]
    assert not np.array_equal(first[-1]["observation"], other[-1]["observation"])  # type: ignore[arg-type]


def test_resets_without_seeds_follow_the_constructor_seed() -> None:
    batches = [SkirmishBatch("3m", 2, seed) for seed in (1, 1, 2)]
    starts = []
    for batch in batches:
        batch.reset()
        first = batch.observation.copy()
        batch.reset()
        starts.append((first, batch.observation.copy()))
    assert np.array_equal(starts[0][0], starts[1][0])
    assert np.array_equal(starts[0][1], starts[1][1])
    assert not np.array_equal(starts[0][0], starts[0][1])
    assert not np.array_equal(starts[0][0][0], starts[0][0][1])
    assert not np.array_equal(starts[0][0], starts[2][0])


@settings(max_examples=25, deadline=None)
@given(map_name=maps, seed=seeds, data=st.data())
def test_unavailable_actions_are_refused_and_play_nothing(
    map_name: str, seed: int, data: st.DataObject
) -> None:
    batch = SkirmishBatch(map_name, 2)
    batch.reset(np.array([seed, 1], np.uint64))
    steps = data.draw(st.integers(0, 20))
    for _ in range(steps):
        batch.step(np.stack([hashed_actions(batch, env, seed) for env in range(2)]))
    running = np.flatnonzero(batch.finished == 0)
    if running.size == 0:
        return
    env = int(data.draw(st.sampled_from(running.tolist())))
    agent = data.draw(st.integers(0, batch.num_agents - 1))
    illegal = np.flatnonzero(batch.available_actions[env, agent] == 0).tolist()
    action = data.draw(st.sampled_from([*illegal, -1, batch.num_actions, 2**40]))
    actions = np.stack([hashed_actions(batch, e, seed) for e in range(2)])
    actions[env, agent] = action
    before = [snapshot(batch, e) for e in range(2)]
    with pytest.raises(
        ValueError, match=f"environment {env}: agent {agent} cannot perform action {action}$"
    ):
        batch.step(actions)
    for e in range(2):
        for name, value in snapshot(batch, e).items():
            assert np.array_equal(value, before[e][name]), name


@pytest.mark.parametrize(
    "actions", [np.zeros((2, 3), np.float64), np.zeros((2, 4), np.int64), np.zeros(6, np.int64)]
)
def test_actions_of_wrong_shape_or_kind_are_refused(actions: npt.NDArray[np.int64]) -> None:
    batch = SkirmishBatch("3m", 2)
    batch.reset()
    with pytest.raises(ValueError, match=r"actions must be integers \[2, 3\]"):
        batch.step(actions)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint64])
def test_any_integer_dtype_is_accepted(dtype: type[np.integer]) -> None:
    batch = SkirmishBatch("3m", 2)
    batch.reset()
    batch.step(np.ones((2, 3), dtype))
    assert batch.episode_steps.tolist() == [1, 1]


def test_wrong_use_is_refused() -> None:
    batch = SkirmishBatch("3m", 2)
    with pytest.raises(RuntimeError, match="before the first reset"):
        batch.step(np.ones((2, 3), np.int64))
    with pytest.raises(ValueError, match=r"seeds must be uint64 \[2\]"):
        batch.reset(np.zeros(2, np.int64))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="num_envs must be at least 1"):
        SkirmishBatch("3m", 0)


def test_finished_battles_are_frozen(stop_play: Policy) -> None:
    batch = SkirmishBatch("3m", 4)
    batch.reset()
    while not batch.finished.any():
        batch.step(stop_play(batch))
    env = int(np.flatnonzero(batch.finished)[0])
    before = snapshot(batch, env)
    actions = stop_play(batch)
    actions[env] = 7  # ignored: the battle is over
    for _ in range(3):
        running = batch.finished == 0
        actions[running] = stop_play(batch)[running]
        batch.step(actions)
    after = snapshot(batch, env)
    assert after["reward"] == 0
    assert all(np.array_equal(after[name], before[name]) for name in ARRAYS if name != "reward")
    assert batch.exact_reward[env] == 0
    batch.reset()
    assert not batch.finished.any()
    assert not batch.terminated.any()
    assert batch.alive.all()


def test_endings_by_verdict(slay: Callable[..., None]) -> None:
    batch = SkirmishBatch("3m", 4)
    batch.reset()
    slay(batch, 0, slice(0, 3))  # all agents die in this step
    slay(batch, 1, slice(3, 6))  # all enemies
    slay(batch, 2, slice(0, 6))  # everyone
    batch.step(np.ones((4, 3), np.int64))
    assert batch.terminated.tolist() == [1, 1, 1, 0]
    assert batch.won.tolist() == [0, 1, 0, 0]
    assert batch.truncated.tolist() == [0, 0, 0, 0]
    assert batch.finished.tolist() == [1, 1, 1, 0]
    full = (3 * 45 + 3 * 10) / (365 / 20)
    assert batch.exact_reward == pytest.approx([0, 20, full, 0])


def test_time_limit_truncates() -> None:
    batch = SkirmishBatch("3m", 1, options=Options(step_mul=1))
    batch.reset()
    for step in range(1, batch.episode_limit + 1):
        batch.step(np.ones((1, 3), np.int64))
        assert bool(batch.truncated[0]) == (step == batch.episode_limit)
    assert batch.terminated[0] == 0
    assert batch.finished[0] == 1
    assert batch.observation[0].any(), "the last observation of a truncated battle is real"


def test_battle_decided_in_the_last_step_is_not_truncated(slay: Callable[..., None]) -> None:
    batch = SkirmishBatch("3m", 1, options=Options(step_mul=1))
    batch.reset()
    for _ in range(batch.episode_limit - 1):
        batch.step(np.ones((1, 3), np.int64))
    slay(batch, 0, slice(3, 6))
    batch.step(np.ones((1, 3), np.int64))
    assert (batch.terminated[0], batch.truncated[0], batch.won[0]) == (1, 0, 1)


def test_state_can_be_left_out(random_play: Maker) -> None:
    bare, full = SkirmishBatch("8m", 2, compute_state=False), SkirmishBatch("8m", 2)
    policies = random_play(0), random_play(0)
    for batch, policy in zip((bare, full), policies, strict=True):
        batch.reset()
        for _ in range(5):
            batch.step(policy(batch))
    assert not bare.state.any()
    assert full.state.any()
    assert np.array_equal(bare.observation, full.observation)
