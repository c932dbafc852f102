"""Speeds of the parts and of the whole, each beside what limits it. Used by `launch.bench`."""

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dm2_dist import demonstrations, trajectory
from dm2_dist import ticket as tickets
from dm2_dist.config import RunConfig
from dm2_dist.envs import make
from dm2_dist.run_directory import RunDirectory, read_lines
from dm2_dist.trajectory import Slice

if TYPE_CHECKING:
    from dm2_dist.inference import StackedPolicy

_WARM_UP_ITERATIONS = 2
_MEASURED_ITERATIONS = 6


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement beside its limit; `limit_is` says in words what the limit is."""

    name: str
    value: float
    unit: str
    limit: float | None
    limit_is: str

    @property
    def ratio(self) -> float | None:
        """Value over limit."""
        return self.value / self.limit if self.limit else None


def inference(config: RunConfig, seconds: float) -> list[Row]:
    """Joint inference steps of K stacked policies on one core, beside its matrix products alone."""
    policy, rows = _untrained(config), []
    for size in (1, config.collection.episodes_per_ticket):
        rate = _rate(_inference_step(config, policy, size), seconds / 2)
        limit = _rate(_products(config, size), seconds / 2)
        name = f"inference, {size} battles"
        rows.append(Row(name, rate, "env steps/s", limit, "its matrix products alone"))
    return rows


def _inference_step(config: RunConfig, policy: "StackedPolicy", size: int) -> Callable[[], int]:
    spec = make.describe(config.env, config.map)
    shape = (size, spec.num_agents)
    observation = np.zeros((*shape, spec.observation_size), np.float32)
    last_action = np.zeros(shape, np.int64)
    core_state = np.zeros((*shape, policy.hidden_size), np.float32)

    def step() -> int:
        policy.step(observation, last_action, core_state)
        return size

    return step


def _products(config: RunConfig, size: int) -> Callable[[], int]:
    """The matrix products of one inference step, and nothing else."""
    spec, width = make.describe(config.env, config.map), config.network.hidden_size
    inputs = spec.observation_size + spec.num_actions + spec.num_agents
    shapes = [(inputs, width), (width, width), (width, 3 * width), (width, 3 * width)]
    shapes.append((width, spec.num_actions))
    pairs = [
        (
            np.ones((spec.num_agents, size, rows), np.float32),
            np.ones((spec.num_agents, rows, columns), np.float32),
        )
        for rows, columns in shapes
    ]

    def step() -> int:
        for left, right in pairs:
            np.matmul(left, right)
        return size

    return step


def pipeline(config: RunConfig, folder: Path, actors: int, seconds: float) -> list[Row]:
    """The whole system, beside the slower of its halves alone."""
    alone = actors_alone(config, seconds)
    learners = learners_alone(config, folder)
    rows = [alone, learners]
    halves = min(alone.value, learners.value)
    for schedule in ("sync", "pipelined"):
        rate = _run_rate(replace(config, schedule=schedule), folder / schedule, actors)
        name = f"pipeline, {schedule}, {actors} actors"
        rows.append(Row(name, rate, "env steps/s", halves, "the slower half alone"))
    return rows


def actors_alone(config: RunConfig, seconds: float) -> Row:
    """All cores play training tickets with untrained policies; nobody learns."""
    cores = os.cpu_count() or 1
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, mp_context=context) as pool:
        done = list(pool.map(_play_for, [config] * cores, [seconds] * cores))
    return Row(f"actors alone, {cores} cores", sum(done), "env steps/s", None, "")


def learners_alone(config: RunConfig, folder: Path) -> Row:
    """K learners update at the same time on data that is ready; nobody plays."""
    spec = make.describe(config.env, config.map)
    slices = _one_iteration(config)
    data = folder / "one_iteration"
    if not data.exists():
        demonstrations.write(data, _card(config, slices), slices)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(spec.num_agents, mp_context=context) as pool:
        agents = range(spec.num_agents)
        seconds = list(pool.map(_update_time, [config] * len(agents), [data] * len(agents), agents))
    rate = slices[0].env_steps / max(seconds)
    return Row(f"learners alone, K = {spec.num_agents}", rate, "env steps/s", None, "")


def _play_for(config: RunConfig, seconds: float) -> float:
    policy = _untrained(config)
    from actors.actor import play

    spec = make.describe(config.env, config.map)
    battles = make.make_batch(config.env, config.map, config.collection.episodes_per_ticket)
    work = [
        ticket
        for ticket in tickets.train_tickets(config, 0, spec.num_agents)
        if len(ticket.seeds) == config.collection.episodes_per_ticket
    ]
    turn = 0

    def step() -> int:
        nonlocal turn
        turn += 1
        return play(work[turn % len(work)], policy, battles, lambda: None)[0].env_steps

    return _rate(step, seconds)


def _update_time(config: RunConfig, data: Path, agent: int) -> float:
    """Seconds per update of one agent, while the others update, too."""
    import torch

    from learners.independent import IndependentLearner

    torch.set_num_threads(config.learner_threads)
    spec = make.describe(config.env, config.map)
    demonstrated = None
    if config.uses_demonstrations:
        wanted = config.imitation.demonstration_episodes
        demonstrated = demonstrations.read_agent(Path(config.demonstrations), agent, wanted)
    learner = IndependentLearner(config, spec, agent, torch.device("cpu"), demonstrated)
    batch = demonstrations.read_agent(data, agent, config.collection.episodes_per_iteration)
    learner.update(batch, 0)
    started = time.monotonic()
    for iteration in range(1, 4):
        learner.update(batch, iteration)
    return (time.monotonic() - started) / 3


def _run_rate(config: RunConfig, root: Path, actors: int) -> float:
    """Env steps/s of a real run after its first iterations, until its last commit."""
    per_iteration = _one_iteration(config)[0].env_steps
    steps = per_iteration * (_WARM_UP_ITERATIONS + _MEASURED_ITERATIONS)
    words = ["--run-dir", str(root), "--actors", str(actors), "--max-env-steps", str(steps)]
    words += ["--preset", config.preset, "--algorithm", config.algorithm, "--plain"]
    words += ["--schedule", config.schedule, "--metrics-port", "0"]
    if config.uses_demonstrations:
        words += ["--demonstrations", config.demonstrations]
    words += ["--evaluation.interval-env-steps", str(10**9)]
    command = [sys.executable, "-m", "launch.local", *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    lines = read_lines(RunDirectory(root).metrics)
    first = [line for line in lines if line["version"] == _WARM_UP_ITERATIONS]
    last = [line for line in lines if line["version"] == max(line["version"] for line in lines)]
    seconds = max(x["wall_seconds"] for x in last) - max(x["wall_seconds"] for x in first)
    return float((last[0]["env_steps"] - first[0]["env_steps"]) / seconds)


def with_demonstrations(config: RunConfig, folder: Path) -> RunConfig:
    """For dm2: demonstrations by untrained policies; the arithmetic does not care who made them."""
    if not config.uses_demonstrations:
        return config
    count = config.imitation.demonstration_episodes
    collection = replace(config.collection, episodes_per_iteration=count)
    slices = _one_iteration(replace(config, collection=collection))
    demonstrations.write(folder / "demonstrations", _card(config, slices), slices)
    return replace(config, demonstrations=str(folder / "demonstrations"))


def _one_iteration(config: RunConfig) -> list[Slice]:
    """What an untrained team sees in one iteration, one slice per agent."""
    from actors.actor import play

    spec, policy = make.describe(config.env, config.map), _untrained(config)
    played = []
    for ticket in tickets.train_tickets(config, 0, spec.num_agents):
        battles = make.make_batch(config.env, config.map, len(ticket.seeds))
        played.append(play(ticket, policy, battles, lambda: None))
    return [trajectory.concatenate([parts[k] for parts in played]) for k in range(spec.num_agents)]


def _untrained(config: RunConfig) -> "StackedPolicy":
    """The policies that a run with this configuration starts from."""
    import torch

    from dm2_dist.inference import StackedPolicy
    from learners.independent import IndependentLearner

    spec, plain = (
        make.describe(config.env, config.map),
        replace(config, algorithm="ippo", demonstrations=""),
    )
    agents = range(spec.num_agents)
    learners = [IndependentLearner(plain, spec, k, torch.device("cpu"), None) for k in agents]
    return StackedPolicy([learner.snapshot() for learner in learners])


def _rate(step: Callable[[], int], seconds: float) -> float:
    """Units per second of `step`, which returns how many it did; the first call is not measured."""
    step()
    started, done = time.monotonic(), 0
    while (elapsed := time.monotonic() - started) < seconds:
        done += step()
    return done / elapsed


def _card(config: RunConfig, slices: Sequence[Slice]) -> demonstrations.Card:
    spec, first = make.describe(config.env, config.map), slices[0]
    return demonstrations.Card(
        env=config.env,
        map=config.map,
        num_agents=spec.num_agents,
        observation_size=spec.observation_size,
        num_actions=spec.num_actions,
        episodes=first.num_episodes,
        greedy=False,
        run="bench",
        policies=("untrained",) * spec.num_agents,
        seeds=(),
        returns=tuple(float(value) for value in first.returns()),
        lengths=tuple(int(value) for value in first.length),
        won=tuple(bool(value) for value in first.won),
    )
