"""On a GPU the host only hands out work: nothing inside the steps of an update waits for it."""

from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from dm2_dist import presets
from dm2_dist.envs import make
from launch import untrained
from learners import batch as batches
from learners import estimation
from learners.imitation import alive_rows
from learners.independent import IndependentLearner

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@contextmanager
def waiting_is_an_error():
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.fixture(scope="module")
def config():
    base = presets.by_name("paper-5v6")
    return replace(
        base,
        map="3m",
        algorithm="dm2",
        demonstrations="untrained",
        collection=replace(base.collection, episodes_per_iteration=8, episodes_per_ticket=8),
        imitation=replace(base.imitation, episodes_per_step=4, demonstration_episodes=8),
    )


@pytest.fixture(scope="module")
def slice_(config):
    return untrained.one_iteration(config)[0]


@pytest.fixture
def learner(config, slice_):
    spec = make.describe(config.env, config.map)
    made = IndependentLearner(config, spec, 0, torch.device("cuda"), slice_)
    made.update(slice_, 0)
    return made


@pytest.mark.parametrize("algorithm", ["ppo", "impala"])
def test_gradient_steps_do_not_wait(algorithm, config, slice_, learner):
    spec = make.describe(config.env, config.map)
    batch = batches.prepare(slice_, 0, spec.num_agents, config.chunk_length, torch.device("cuda"))
    walked = estimation.walk(learner.policy, learner.critic, batch)
    if algorithm == "ppo":
        tasks, _ = learner._tasks(batch, batch.reward, walked)
        once = partial(learner._ppo.epochs, tasks, 1)
    else:
        statistics = learner._statistics
        once = partial(learner._impala.update, batch, batch.reward, walked, statistics, 1)
    once()  # a shape that is new is recorded, for which the device is waited for
    with waiting_is_an_error():
        once()


def test_gradient_steps_of_the_discriminator_do_not_wait(slice_, learner):
    imitation = learner.imitation
    agent = alive_rows(slice_, torch.device("cuda"))
    generator = np.random.default_rng(0)
    for guard in (nullcontext(), waiting_is_an_error()):
        imitation._padded.load(agent.observation, list(imitation.draws(agent, generator, 3)))
        with guard:
            for _ in range(3):
                imitation._padded.take()
