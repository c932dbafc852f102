"""`dm2 bench simulator`: what is counted, what is refused, and what is printed."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm2_dist.config import ConfigError
from dm2_dist.envs.skirmish import SkirmishBatch
from launch import simulator_bench, simulator_table, step_profile
from launch.recorded_battles import Recording, record, replay
from launch.simulator_bench import Job, SimulatorBench, Window
from launch.step_profile import Profile

JOB = Job("3m", "random", num_envs=4, windows=2, seconds=1.0)


def shown(batch: SkirmishBatch) -> list[np.ndarray]:
    arrays = (batch.observation, batch.state, batch.available_actions, batch.reward, batch.finished)
    return [array.copy() for array in arrays]


@pytest.fixture(scope="module")
def batch() -> SkirmishBatch:
    return SkirmishBatch("3m", 4)


@pytest.fixture(scope="module")
def recording(batch: SkirmishBatch) -> Recording:
    return record(batch, "random", seed=3)


@pytest.mark.parametrize("play", ["random", "heuristic"])
def test_a_recording_ends_with_its_last_battle_and_counts_unfinished_ones_only(play) -> None:
    batch = SkirmishBatch("3m", 4)
    recording = record(batch, play, seed=3)
    assert batch.finished.all()
    assert sum(recording.running) == batch.episode_steps.sum()
    assert recording.running[0] == 4
    assert recording.running[-1] > 0


def test_a_replay_is_the_recorded_battle(batch: SkirmishBatch) -> None:
    recording = record(batch, "random", seed=5)
    expected = shown(batch)
    steps = sum(replay(batch, [recording]))
    assert steps == batch.episode_steps.sum()
    assert all(np.array_equal(a, b) for a, b in zip(shown(batch), expected, strict=True))


def test_other_seeds_make_other_battles(batch: SkirmishBatch, recording: Recording) -> None:
    assert not np.array_equal(record(batch, "random", seed=4).seeds, recording.seeds)


@given(
    st.lists(
        st.lists(st.integers(0, 10**6), min_size=3, max_size=3),
        min_size=1,
        max_size=4,
    )
)
def test_processes_add_up_and_windows_do_not(steps: list[list[int]]) -> None:
    parts = [[Window(count, 0.5, 0.25) for count in process] for process in steps]
    speed = simulator_bench.summary(JOB, parts)
    together = sorted(sum(counts) / 0.5 for counts in zip(*steps, strict=True))
    assert speed.cores == len(steps)
    assert speed.env_steps_per_second == pytest.approx(together[1])
    assert (speed.lowest, speed.highest) == pytest.approx((together[0], together[2]))
    assert speed.per_processor_second == pytest.approx(
        sum(map(sum, steps)) / (0.25 * 3 * len(steps))
    )


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (SimulatorBench(cores="0"), "--cores: '0'"),
        (SimulatorBench(cores="some"), "--cores: 'some'"),
        (SimulatorBench(cores=str(10**6)), "--cores"),
        (SimulatorBench(maps="3m,nowhere"), "--maps: .*nowhere"),
        (SimulatorBench(num_envs=0), "--num-envs is 0"),
        (SimulatorBench(seconds=0.0), "--seconds is 0.0"),
        (SimulatorBench(windows=-1), "--windows is -1"),
    ],
)
def test_what_cannot_be_measured_is_refused_by_name(options: SimulatorBench, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        simulator_bench.check(options)


def test_cores_are_counted_once_and_maps_may_be_all() -> None:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert simulator_bench.core_counts("all,1,1") == sorted({1, usable})
    assert {"3m", "5m_vs_6m"} <= set(simulator_bench.map_names("all"))
    simulator_bench.check(SimulatorBench())


def test_the_table_adds_the_features_up(capsys: pytest.CaptureFixture[str]) -> None:
    shares = dict.fromkeys((*step_profile.PARTS, "other", "python"), 0.125)
    speed = simulator_bench.summary(JOB, [[Window(1000, 0.5, 0.5), Window(3000, 0.5, 0.5)]])
    simulator_table.show([speed], {("3m", "random"): Profile(2.0, shares, 1.1)})
    printed = capsys.readouterr().out
    assert "4,000" in printed  # the median of 2,000 and 6,000 steps/s
    assert "38%" in printed  # three parts of one eighth
    assert "1.10 to 1.10" in printed
