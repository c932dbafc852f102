"""The clock inside a simulator step changes nothing, counts every loop, and shares the step out."""

import numpy as np
import pytest

from dm2_dist.envs.skirmish import SkirmishBatch
from launch import step_profile
from launch.recorded_battles import Recording, record, replay
from launch.step_profile import Clock

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300),  # the engine is compiled for a second time
    pytest.mark.skipif(not step_profile.is_possible(), reason="no cycle counter on this processor"),
]


@pytest.fixture(scope="module")
def batch() -> SkirmishBatch:
    return SkirmishBatch("3m", 4)


@pytest.fixture(scope="module")
def recording(batch: SkirmishBatch) -> Recording:
    return record(batch, "random", seed=3)


@pytest.fixture(scope="module")
def clock(recording: Recording) -> Clock:
    return Clock()


def shown(batch: SkirmishBatch) -> list[np.ndarray]:
    arrays = (batch.observation, batch.state, batch.available_actions, batch.reward, batch.finished)
    return [array.copy() for array in arrays]


def test_the_clocked_engine_plays_the_same_battles_and_counts_every_loop(
    batch: SkirmishBatch, recording: Recording, clock: Clock
) -> None:
    steps = sum(replay(batch, [recording]))
    expected = shown(batch)
    clock.ticks[:] = 0
    with clock.inside():
        assert sum(replay(batch, [recording])) == steps
    assert all(np.array_equal(a, b) for a, b in zip(shown(batch), expected, strict=True))
    kernels = [kernel for part in step_profile.PARTS.values() for kernel in part]
    calls = dict(zip(kernels, clock.ticks[:-1, 1], strict=True))
    for kernel in ("decide", "move", "fight", "settle"):
        assert calls[kernel] == 8 * steps
    for kernel in ("list_actions", "observe", "write_state"):
        assert calls[kernel] == steps + batch.num_envs  # a reset shows its battle, too
    assert clock.ticks[-1, 1] == len(recording.actions) + 1


def test_outside_of_it_nothing_is_clocked(
    batch: SkirmishBatch, recording: Recording, clock: Clock
) -> None:
    before = clock.ticks.copy()
    sum(replay(batch, [recording]))
    assert np.array_equal(clock.ticks, before)


def test_the_shares_of_a_step_add_up(
    batch: SkirmishBatch, recording: Recording, clock: Clock
) -> None:
    profile = step_profile.measure(clock, lambda: sum(replay(batch, [recording])), 0.01)
    assert set(profile.shares) == {*step_profile.PARTS, "other", "python"}
    assert sum(profile.shares.values()) == pytest.approx(1.0)
    assert all(share > 0.0 for share in profile.shares.values())
    assert profile.microseconds > 0.0
    assert profile.stretch > 0.0
