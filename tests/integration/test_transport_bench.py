"""`dm2 bench transport` measures the product beside bare pyzmq, whatever the way to travel."""

from dataclasses import replace

import numpy as np
import pytest

from dm2_dist import presets
from dm2_dist.envs import make
from dm2_dist.trajectory import Slice
from launch import transport_bench
from launch.transport_bench import TRANSPORTS, BenchError

pytestmark = pytest.mark.integration

CONFIG = presets.by_name("paper-5v6")


def slice_of_a_ticket(length=20):
    """Episodes of one ticket, all of the same length, in which nothing happens."""
    spec, episodes = make.describe(CONFIG.env, CONFIG.map), CONFIG.collection.episodes_per_ticket
    steps = length * episodes
    rows = steps + episodes
    return Slice(
        observation=np.zeros((rows, spec.observation_size), np.float32),
        available_actions=np.ones((rows, spec.num_actions), np.uint8),
        alive=np.ones(rows, np.uint8),
        action=np.zeros(steps, np.uint8),
        behaviour_log_prob=np.full(steps, -1.0, np.float32),
        reward=np.zeros(steps, np.float32),
        length=np.full(episodes, length, np.int32),
        terminated=np.ones(episodes, np.uint8),
        truncated=np.zeros(episodes, np.uint8),
        won=np.zeros(episodes, np.uint8),
    )


def test_both_sides_move_messages_and_the_books_take_them():
    ours, bare = transport_bench.compare(CONFIG, slice_of_a_ticket(), "tcp, CURVE", 2.0)
    for pace in (ours, bare):
        assert pace.rate > 0
    assert ours.actor_seconds + ours.learner_seconds > 0


def test_the_ways_to_travel_are_the_ones_that_a_run_has():
    assert TRANSPORTS == {"ipc": False, "tcp": False, "tcp, CURVE": True}


def test_a_process_that_cannot_do_its_part_is_one_sentence():
    wrong = replace(CONFIG, map="8m")  # its learner refuses what was played on another map
    with pytest.raises(BenchError, match="a process of the bench"):
        transport_bench.compare(wrong, slice_of_a_ticket(), "ipc", 2.0)
