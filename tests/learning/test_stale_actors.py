"""3m learnt from actors that are eight versions behind.

`python tests/learning/test_stale_actors.py none 0` prints one training: method, then seed.
"""

import sys
from collections import deque

import numpy as np
import pytest
import torch

from actors.actor import play
from dm2_dist.config import RunConfig
from dm2_dist.envs import make
from dm2_dist.inference import StackedPolicy
from dm2_dist.sections import (
    CollectionConfig,
    EvaluationConfig,
    ImitationConfig,
    ImpalaConfig,
    NetworkConfig,
    PPOConfig,
)
from dm2_dist.ticket import evaluate_tickets, train_tickets
from learners.independent import IndependentLearner

LAG = 8
EPISODES = 32
ITERATIONS = 200
EVALUATED = 64
INTERVAL = 10
SEEDS = (0, 1, 2)


def configure(method, seed):
    """3m; `method` is impala, or what PPO does about lag. Equal steps: four quarters of a batch."""
    correction = "none" if method == "impala" else method  # impala never reads it
    return RunConfig(
        map="3m",
        algorithm="impala" if method == "impala" else "ippo",
        schedule="sync",
        seed=seed,
        collection=CollectionConfig(episodes_per_iteration=EPISODES, episodes_per_ticket=EPISODES),
        network=NetworkConfig(hidden_size=32),
        ppo=PPOConfig(
            lag_correction=correction, learning_rate=1e-3, epochs=1, minibatches=4, clip=0.2
        ),
        impala=ImpalaConfig(learning_rate=1e-3, minibatches=4, chunk_length=10),
        imitation=ImitationConfig(episodes_per_step=EPISODES),
        evaluation=EvaluationConfig(episodes=EVALUATED),
    )


def train(config, lag=LAG, iterations=ITERATIONS):
    """Win rates, greedy and of the training episodes, each [iterations / INTERVAL].

    Args:
        config: the run.
        lag: iteration i is played with version i - lag.
        iterations: how many.
    """
    torch.set_num_threads(1)
    spec = make.describe("skirmish", config.map)
    team = [
        IndependentLearner(config, spec, agent, torch.device("cpu"), None)
        for agent in range(spec.num_agents)
    ]
    battles = make.make_batch("skirmish", config.map, EPISODES)
    versions = deque([stack(team)], maxlen=lag + 1)
    greedy, sampled = [], []
    for iteration in range(iterations):
        (ticket,) = train_tickets(config, iteration, spec.num_agents)
        played = play(ticket, versions[0], battles, lambda: None)
        for learner, slice_ in zip(team, played, strict=True):
            learner.update(slice_, iteration)
        versions.append(stack(team))
        if (iteration + 1) % INTERVAL == 0:
            greedy.append(win_rate(config, versions[-1], battles))
            sampled.append(float(played[0].won.mean()))
    return greedy, sampled


def stack(team):
    return StackedPolicy([learner.snapshot() for learner in team])


def win_rate(config, policy, battles):
    """Share of `EVALUATED` greedy battles that are won."""
    tickets = evaluate_tickets(config, 0, battles.num_agents)
    won = [play(ticket, policy, battles, lambda: None)[0].won for ticket in tickets]
    return float(np.concatenate(won).mean())


def learnt(greedy):
    """Whether 3m was won at some time; medians of five, for single greedy policies fall back."""
    return max(np.median(greedy[i : i + 5]) for i in range(len(greedy) - 4)) > 0.8


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("method", ["vtrace", "impala"])
def test_most_seeds_learn_from_actors_that_are_eight_versions_behind(method):
    """Not all: at this lag one seed of three takes longer, see docs/algorithm.md."""
    greedy = [train(configure(method, seed))[0] for seed in SEEDS]
    assert max(rates[0] for rates in greedy) < 0.2
    assert sum(map(learnt, greedy)) >= 2


if __name__ == "__main__":
    for name, rates in zip(
        ("greedy", "sampled"), train(configure(sys.argv[1], int(sys.argv[2]))), strict=True
    ):
        print(name, *(f"{rate:.2f}" for rate in rates))
