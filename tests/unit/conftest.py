"""Joint episodes of a small team, as slices; nothing of them is played."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from dm2_dist.trajectory import Slice

OBSERVATION_SIZE, NUM_ACTIONS = 4, 3


def build_team_slices(lengths: Sequence[int], num_agents: int = 2, seed: int = 0) -> list[Slice]:
    """Give what each agent saw in episodes of these lengths, full of distinct numbers."""
    generator = np.random.default_rng(seed)
    length = np.array(lengths, dtype=np.int32)
    steps, episodes = int(length.sum()), len(lengths)
    reward = generator.normal(size=steps).astype(np.float32)
    won = generator.integers(0, 2, episodes).astype(np.uint8)
    return [
        Slice(
            observation=generator.normal(size=(steps + episodes, OBSERVATION_SIZE)).astype(
                np.float32
            ),
            available_actions=np.ones((steps + episodes, NUM_ACTIONS), dtype=np.uint8),
            alive=generator.integers(0, 2, steps + episodes).astype(np.uint8),
            action=generator.integers(0, NUM_ACTIONS, steps).astype(np.uint8),
            behaviour_log_prob=-generator.random(steps).astype(np.float32),
            reward=reward,
            length=length,
            terminated=won,
            truncated=(1 - won).astype(np.uint8),
            won=won,
        )
        for _ in range(num_agents)
    ]


@pytest.fixture(scope="session")
def team_slices() -> Callable[..., list[Slice]]:
    """Make slices: lengths of the episodes, number of agents, seed."""
    return build_team_slices
