"""`dm2 bench inference`: what an actor does on one core, beside what it cannot do without.

Three things take turns on the same battles until the time is up: the actor as it is, the simulator
alone playing the same actions again, and the matrix products alone. All are measured in processor
time, so that other programs on the machine stretch none of them. Called by `launch.bench`.
"""

import functools
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dm2_dist import seeding
from dm2_dist.config import RunConfig
from dm2_dist.envs import make
from dm2_dist.ticket import RECORD, Ticket
from launch import untrained
from launch.bench_row import Row

if TYPE_CHECKING:
    from dm2_dist.envs.interface import BattleBatch
    from dm2_dist.inference import StackedPolicy
    from dm2_dist.trajectory import Slice

SIZES = (1, 8, 64)
"""Battles side by side."""
_EPISODES = 64  # of each size that are played over and over
_TURNS = 5


class _Played(NamedTuple):
    """A ticket that has been played: its seeds, uint64 [E], and actions, int64 [T, E, K]."""

    seeds: npt.NDArray[np.uint64]
    action: npt.NDArray[np.int64]
    env_steps: int


def rows(config: RunConfig, seconds: float) -> list[Row]:
    """Measure inference alone and a whole actor without its sockets, with 1, 8 and 64 battles.

    Args:
        config: whose game and networks; the policies are untrained.
        seconds: of processor time for each number of battles.

    Returns:
        Env steps/s and microseconds per env step, both in processor time of one core.
    """
    policy = untrained.policies(config)
    found: list[Row] = []
    for size in SIZES:
        found += _rows_of(config, policy, size, seconds)
    return found


def _rows_of(config: RunConfig, policy: "StackedPolicy", size: int, seconds: float) -> list[Row]:
    battles = make.make_batch("skirmish", config.map, size)
    played = [_play(policy, battles, ticket) for ticket in _tickets(size, policy.num_agents)]
    jobs: dict[str, Callable[[], int]] = {
        "actor": functools.partial(_play_all, policy, battles, size),
        "simulator": functools.partial(_replay_all, battles, played),
        "inference": _inference(policy, size),
        "products": _products(policy, size),
    }
    cost = _costs(jobs, seconds / _TURNS / len(jobs))
    limit = cost["simulator"] + cost["products"]
    limit_is = "simulator alone + matrix products alone"
    of, rate = f"{size} battles" if size > 1 else "1 battle", "env steps/s"
    inference, products = 1 / cost["inference"], 1 / cost["products"]
    per_step = "us per env step"
    return [
        Row(f"inference, {of}", inference, rate, products, "its matrix products alone"),
        Row(f"actor, {of}", 1 / cost["actor"], rate, 1 / limit, limit_is),
        Row(f"actor's time, {of}", 1e6 * cost["actor"], per_step, 1e6 * limit, limit_is),
    ]


def _costs(jobs: dict[str, Callable[[], int]], seconds: float) -> dict[str, float]:
    """Processor seconds per unit of each job; they take turns, and the first calls do not count."""
    spent, done = dict.fromkeys(jobs, 0.0), dict.fromkeys(jobs, 0)
    for job in jobs.values():
        job()
    for _ in range(_TURNS):
        for name, job in jobs.items():
            started = time.thread_time()
            while (elapsed := time.thread_time() - started) < seconds:
                done[name] += job()
            spent[name] += elapsed
    return {name: spent[name] / done[name] for name in jobs}


def _tickets(size: int, num_agents: int) -> list[Ticket]:
    versions = (0,) * num_agents
    seeds = [seeding.derive("bench", episode) for episode in range(_EPISODES)]
    return [
        Ticket(RECORD, 0, index, tuple(seeds[first : first + size]), versions, greedy=False)
        for index, first in enumerate(range(0, _EPISODES, size))
    ]


def _play_ticket(policy: "StackedPolicy", battles: "BattleBatch", ticket: Ticket) -> "list[Slice]":
    from actors.actor import play

    return play(ticket, policy, battles, _nothing)


def _nothing() -> None:
    """What an actor without connections does between two steps."""


def _play_all(policy: "StackedPolicy", battles: "BattleBatch", size: int) -> int:
    tickets = _tickets(size, policy.num_agents)
    return sum(_play_ticket(policy, battles, ticket)[0].env_steps for ticket in tickets)


def _play(policy: "StackedPolicy", battles: "BattleBatch", ticket: Ticket) -> _Played:
    slices = _play_ticket(policy, battles, ticket)
    length = slices[0].length
    action = np.zeros((int(length.max()), length.size, len(slices)), np.int64)
    ends = np.cumsum(length)
    for k, part in enumerate(slices):
        for episode, end in enumerate(ends):
            steps = length[episode]
            action[:steps, episode, k] = part.action[end - steps : end]
    return _Played(np.array(ticket.seeds, np.uint64), action, int(ends[-1]))


def _replay_all(battles: "BattleBatch", played: Sequence[_Played]) -> int:
    for each in played:
        battles.reset(each.seeds)
        for action in each.action:
            battles.step(action)
    return sum(each.env_steps for each in played)


def _inference(policy: "StackedPolicy", size: int) -> Callable[[], int]:
    """Steps of players all of whose agents live, in battles that never end."""
    from dm2_dist.inference import Players

    each = (size, policy.num_agents)
    generator = np.random.default_rng(0)
    shown: Any = SimpleNamespace(
        observation=generator.random((*each, policy.observation_size), dtype=np.float32),
        available_actions=np.ones((*each, policy.num_actions), np.uint8),
        alive=np.ones(each, np.uint8),
        finished=np.zeros(size, np.uint8),
    )
    players = Players(policy, shown, seeding.mix(np.arange(size, dtype=np.uint64)), greedy=False)
    return functools.partial(players.act, 0)


def _products(policy: "StackedPolicy", size: int) -> Callable[[], int]:
    """The matrix products of one step of K agents in `size` battles, and nothing else."""
    width = policy.hidden_size
    shapes = [(policy.input_size, width), (width, width)]
    shapes += [(width, 3 * width), (width, 3 * width), (width, policy.num_actions)]
    triples = [
        (
            np.ones((policy.num_agents, size, inputs), np.float32),
            np.ones((policy.num_agents, inputs, outputs), np.float32),
            np.empty((policy.num_agents, size, outputs), np.float32),
        )
        for inputs, outputs in shapes
    ]

    def step() -> int:
        for left, right, result in triples:
            np.matmul(left, right, out=result)
        return size

    return step
