"""The two halves of a run alone: actors that send nothing, and learners whose data is ready.

They are measured as a run has them: an actor on every core, and all K learners at the same time.
Used by `launch.pipeline_bench` and `launch.scaling_bench`.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path

from dm2_dist import demonstrations
from dm2_dist import ticket as tickets
from dm2_dist.config import RunConfig
from dm2_dist.envs import make
from launch import untrained

_UPDATES = 3
_BARRIER_SECONDS = 120.0

_barrier: Barrier | None = None


@dataclass(frozen=True, slots=True)
class Halves:
    """Speeds of the two halves alone, in env steps/s, and what is played in one iteration."""

    playing: float
    learning: float
    env_steps: int


def measure(config: RunConfig, folder: Path, cores: int, seconds: float) -> Halves:
    """Measure actors without learners, then learners without actors.

    Args:
        config: for dm2 with demonstrations.
        folder: where the learners' data is put.
        cores: actors that play at the same time.
        seconds: how long they play.
    """
    learning, env_steps = learners_alone(config, folder)
    return Halves(actors_alone(config, cores, seconds), learning, env_steps)


def actors_alone(config: RunConfig, cores: int, seconds: float) -> float:
    """Env steps/s of so many actors with untrained policies; nobody learns."""
    with _together(cores) as pool:
        return sum(pool.map(_play_for, [config] * cores, [seconds] * cores))


def learners_alone(config: RunConfig, folder: Path) -> tuple[float, int]:
    """Env steps/s of K learners on data that is ready, and the env steps of an iteration.

    Args:
        config: for dm2 with demonstrations.
        folder: where the data is put.
    """
    slices = untrained.one_iteration(config)
    data = folder / f"{config.algorithm}-iteration"
    untrained.write(config, data, slices)
    agents = range(len(slices))
    with _together(len(agents)) as pool:
        taken = list(pool.map(_update_time, [config] * len(agents), [data] * len(agents), agents))
    return _UPDATES * slices[0].env_steps / max(taken), slices[0].env_steps


@contextmanager
def _together(count: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that begin to measure at the same time."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        count, context, initializer=_share_barrier, initargs=(context.Barrier(count),)
    ) as pool:
        yield pool


def _share_barrier(barrier: Barrier) -> None:
    global _barrier  # noqa: PLW0603 - a process of a pool has no other place
    _barrier = barrier


def _wait_for_others() -> None:
    assert _barrier is not None
    _barrier.wait(_BARRIER_SECONDS)


def _play_for(config: RunConfig, seconds: float) -> float:
    """Env steps/s of one actor that plays training tickets and sends nothing."""
    policy = untrained.policies(config)
    from actors.actor import play

    spec = make.describe(config.env, config.map)
    size = min(config.collection.episodes_per_ticket, config.collection.episodes_per_iteration)
    battles = make.make_batch(config.env, config.map, size)
    every = tickets.train_tickets(config, 0, spec.num_agents)
    work = [ticket for ticket in every if len(ticket.seeds) == size]
    turn = 0

    def step() -> int:
        nonlocal turn
        turn += 1
        return play(work[turn % len(work)], policy, battles, lambda: None)[0].env_steps

    return _rate(step, seconds)


def _rate(step: Callable[[], int], seconds: float) -> float:
    """Units per second of `step`, which returns how many it did; the first call is not measured."""
    step()
    _wait_for_others()
    started, done = time.monotonic(), 0
    while (elapsed := time.monotonic() - started) < seconds:
        done += step()
    return done / elapsed


def _update_time(config: RunConfig, data: Path, agent: int) -> float:
    """Seconds of some updates of one agent, while the others update, too."""
    import torch

    from learners.independent import IndependentLearner

    torch.set_num_threads(config.learner_threads)
    torch.set_deterministic_debug_mode("error")
    spec = make.describe(config.env, config.map)
    demonstrated = None
    if config.uses_demonstrations:
        wanted = config.imitation.demonstration_episodes
        demonstrated = demonstrations.read_agent(Path(config.demonstrations), agent, wanted)
    learner = IndependentLearner(config, spec, agent, torch.device("cpu"), demonstrated)
    batch = demonstrations.read_agent(data, agent, config.collection.episodes_per_iteration)
    learner.update(batch, 0)
    _wait_for_others()
    started = time.monotonic()
    for iteration in range(1, 1 + _UPDATES):
        learner.update(batch, iteration)
    return time.monotonic() - started
