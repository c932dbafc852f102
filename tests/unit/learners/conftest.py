from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dm2_dist.config import RunConfig
from dm2_dist.inference import StackedPolicy, sample
from dm2_dist.sections import CollectionConfig, ImitationConfig, NetworkConfig, PPOConfig
from dm2_dist.trajectory import Slice
from learners.independent import IndependentLearner

AGENTS, ACTIONS, OBSERVATION = 2, 4, 5
SPEC = SimpleNamespace(num_agents=AGENTS, num_actions=ACTIONS, observation_size=OBSERVATION)


@dataclass
class Toy:
    """Two agents see a cue of 0 or 1 and are paid for action 1 + cue; some die on the way.

    Action 0 is the no-op of the dead. `remember` shows the cue on the first observation only.
    """

    remember: bool = False
    deaths: bool = True

    def play(self, parameters, num_episodes, seed):
        """One slice per agent, played by the given policies."""
        policy = StackedPolicy(parameters)
        generator = np.random.default_rng(seed)
        played = [self._episode(policy, generator) for _ in range(num_episodes)]
        length = np.array([len(reward) for *_, reward in played], dtype=np.int32)
        reward = np.concatenate([reward for *_, reward in played]).astype(np.float32)
        terminated = generator.random(num_episodes) < 0.7
        joint = [np.concatenate(arrays) for arrays in zip(*(p[:5] for p in played), strict=True)]
        observation, available, alive, action, log_prob = joint
        return [
            Slice(
                observation=observation[:, k].copy(),
                available_actions=available[:, k].copy(),
                alive=alive[:, k].copy(),
                action=action[:, k].copy(),
                behaviour_log_prob=log_prob[:, k].copy(),
                reward=reward,
                length=length,
                terminated=terminated.astype(np.uint8),
                truncated=(~terminated).astype(np.uint8),
                won=terminated.astype(np.uint8),
            )
            for k in range(AGENTS)
        ]

    def _episode(self, policy, generator):
        steps = int(generator.integers(3, 10))
        death = generator.integers(2, 14, size=AGENTS) if self.deaths else np.full(AGENTS, 99)
        observation = generator.random((steps + 1, AGENTS, OBSERVATION), dtype=np.float32)
        cue = generator.integers(2, size=(steps + 1, AGENTS))
        observation[..., 0] = cue
        if self.remember:
            observation[1:, :, 0] = 0.5
            cue[:] = cue[0]
        alive = (np.arange(steps + 1)[:, None] < death).astype(np.uint8)
        observation *= alive[..., None]
        available = np.zeros((steps + 1, AGENTS, ACTIONS), dtype=np.uint8)
        available[..., 0] = 1 - alive
        available[..., 1:] = alive[..., None]
        last_action = np.full((1, AGENTS), -1)
        core_state = np.zeros((1, AGENTS, policy.hidden_size), dtype=np.float32)
        action = np.zeros((steps, AGENTS), dtype=np.uint8)
        log_prob = np.zeros((steps, AGENTS), dtype=np.float32)
        for t in range(steps):
            logits, core_state = policy.step(observation[None, t], last_action, core_state)
            choice = sample(logits, available[None, t], generator.random((1, AGENTS)))
            last_action = choice.action
            action[t], log_prob[t] = choice.action[0], choice.log_prob[0]
        reward = ((action == 1 + cue[:-1]) & (alive[:-1] == 1)).mean(axis=1)
        return observation, available, alive, action, log_prob, reward


def make_config(algorithm="ippo", **ppo):
    return RunConfig(
        algorithm=algorithm,
        demonstrations="there" if algorithm == "dm2" else "",
        network=NetworkConfig(hidden_size=16),
        ppo=PPOConfig(**({"chunk_length": 4, "epochs": 2} | ppo)),
        collection=CollectionConfig(episodes_per_iteration=16),
        imitation=ImitationConfig(episodes_per_step=4, steps=5, hidden_size=16),
    )


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """As learners do; small tensors on many threads are slow."""
    torch.set_num_threads(1)


@pytest.fixture
def toy():
    return Toy()


@pytest.fixture
def remembering_toy():
    return Toy(remember=True, deaths=False)


@pytest.fixture
def configure():
    """Make a small configuration; keywords go to its PPO section."""
    return make_config


@pytest.fixture
def make_learner():
    """Make a learner of the toy on the CPU."""

    def make(config, agent=0, demonstrations=None, device="cpu"):
        return IndependentLearner(config, SPEC, agent, torch.device(device), demonstrations)

    return make


@pytest.fixture
def make_team(make_learner):
    """Make both learners of a configuration."""

    def make(config, demonstrations=(None, None)):
        return [make_learner(config, k, demonstrations[k]) for k in range(AGENTS)]

    return make


@pytest.fixture
def batches(toy, make_team, configure):
    """Episodes of both agents, played by fresh policies."""
    return toy.play([learner.snapshot() for learner in make_team(configure())], 16, seed=1)
