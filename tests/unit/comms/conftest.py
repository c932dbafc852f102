"""A valid slice of two episodes and the header that announces it."""

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from dm2_dist import trajectory
from dm2_dist.comms import slice_body
from dm2_dist.comms.inspection import Expectation
from dm2_dist.comms.messages import Source, Trajectory
from dm2_dist.trajectory import Slice

OBSERVATION_SIZE, A, LIMIT = 5, 4, 9
EXPECTATION = Expectation(
    observation_size=OBSERVATION_SIZE, num_actions=A, episode_limit=LIMIT, num_episodes=2
)


def build_slice(lengths: tuple[int, ...] = (3, 5), **changes: Any) -> Slice:
    rng = np.random.default_rng(7)
    steps, episodes = sum(lengths), len(lengths)
    rows = steps + episodes
    length = np.array(lengths, np.int32)
    action = rng.integers(0, A, steps).astype(np.uint8)
    available = rng.integers(0, 2, (rows, A)).astype(np.uint8)
    available[trajectory.action_rows(length), action] = 1
    truncated = (np.arange(episodes) % 2).astype(np.uint8)
    data = Slice(
        observation=rng.normal(size=(rows, OBSERVATION_SIZE)).astype(np.float32),
        available_actions=available,
        alive=rng.integers(0, 2, rows).astype(np.uint8),
        action=action,
        behaviour_log_prob=-rng.random(steps).astype(np.float32),
        reward=rng.random(steps).astype(np.float32),
        length=length,
        terminated=1 - truncated,
        truncated=truncated,
        won=1 - truncated,
    )
    fields = {name: getattr(data, name) for name in trajectory.SLICE_FIELDS}
    return Slice(**(fields | changes))


def build_message(data: Slice, **changes: Any) -> tuple[Trajectory, bytes]:
    tensors, body, digest = slice_body.encode_slice(data)
    header = Trajectory(
        source=Source(name="actor-0", incarnation=1),
        learner_incarnation=2,
        run_id="run",
        agent=1,
        sequence=0,
        iteration=4,
        index=3,
        versions=(3, 3, 3),
        tensors=tensors,
        digest=digest,
    )
    return msgspec.structs.replace(header, **changes), body


@pytest.fixture
def expectation() -> Expectation:
    return EXPECTATION


@pytest.fixture
def make_slice() -> Callable[..., Slice]:
    return build_slice


@pytest.fixture
def make_message() -> Callable[..., tuple[Trajectory, bytes]]:
    return build_message
