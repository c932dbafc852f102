"""Ways to play a batch of battles, shared by the tests of the environments."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from dm2_dist.envs.skirmish import SkirmishBatch

Actions = npt.NDArray[np.int64]
Policy = Callable[[SkirmishBatch], Actions]


@pytest.fixture(scope="session")
def random_play() -> Callable[[int], Policy]:
    """Make a policy that draws uniformly among the available actions, from a seed."""

    def make(seed: int) -> Policy:
        generator = np.random.default_rng(seed)

        def act(batch: SkirmishBatch) -> Actions:
            listed = batch.available_actions
            return np.where(listed > 0, generator.random(listed.shape), -1.0).argmax(axis=2)

        return act

    return make


@pytest.fixture(scope="session")
def stop_play() -> Policy:
    """Living agents stop, dead ones do nothing."""
    return lambda batch: batch.alive.astype(np.int64)


@pytest.fixture(scope="session")
def play_out() -> Callable[[SkirmishBatch, Policy], npt.NDArray[np.float64]]:
    """Play every battle of a batch to its end; returns float64 [B] returns."""

    def run(batch: SkirmishBatch, policy: Policy) -> npt.NDArray[np.float64]:
        returns = np.zeros(batch.num_envs)
        for _ in range(batch.episode_limit):
            batch.step(policy(batch))
            returns += batch.exact_reward
        assert batch.finished.all()
        return returns

    return run
