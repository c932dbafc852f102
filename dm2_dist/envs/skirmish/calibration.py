"""Measure the simulator: what simple play achieves on each map, and how fast battles are stepped.

The figures of docs/simulator.md come from `table`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from dm2_dist.envs.skirmish.batch import SkirmishBatch
from dm2_dist.envs.skirmish.battle_map import PLAYABLE_MAPS
from dm2_dist.envs.skirmish.heuristic import ClosestTarget
from dm2_dist.envs.skirmish.options import Options

Play = Literal["random", "closest", "closest, any distance", "stop"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one kind of play achieves on one map.

    Attributes:
        return_mean: mean return.
        return_sd: standard deviation of the return.
        win_rate: fraction of battles won.
        truncated: fraction of battles that ran into the time limit.
        steps: mean length in environment steps.
    """

    return_mean: float
    return_sd: float
    win_rate: float
    truncated: float
    steps: float


def random_actions(batch: SkirmishBatch, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw int64 [B, K] actions uniformly among the available ones."""
    listed = batch.available_actions
    drawn: npt.NDArray[np.int64] = np.where(
        listed > 0, generator.random(listed.shape), -1.0
    ).argmax(axis=2)
    return drawn


def measure(map_name: str, play: Play, episodes: int, seed: int) -> Outcome:
    """Play battles to their end."""
    options = Options(attack_any_distance=play == "closest, any distance")
    batch = SkirmishBatch(map_name, episodes, seed, compute_state=False, options=options)
    batch.reset()
    generator = np.random.default_rng(seed)
    closest = ClosestTarget(batch, restricted=play == "closest")
    returns = np.zeros(episodes)
    while not batch.finished.all():
        match play:
            case "random":
                actions = random_actions(batch, generator)
            case "stop":
                actions = batch.alive.astype(np.int64)
            case _:
                actions = closest.actions()
        batch.step(actions)
        returns += batch.exact_reward
    return Outcome(
        float(returns.mean()),
        float(returns.std()),
        float(batch.won.mean()),
        float(batch.truncated.mean()),
        float(batch.episode_steps.mean()),
    )


def env_steps_per_second(map_name: str, num_envs: int, seconds: float, seed: int) -> float:
    """Measure random play on one core, in processor time, without the time to choose actions.

    Only steps of unfinished battles count; observations, available actions and the state are part
    of a step.
    """
    batch = SkirmishBatch(map_name, num_envs, seed)
    generator = np.random.default_rng(seed)
    batch.reset()
    batch.step(random_actions(batch, generator))
    spent, steps = 0.0, 0
    while spent < seconds:
        if batch.finished.all():
            batch.reset()
        actions = random_actions(batch, generator)
        running = num_envs - int(batch.finished.sum())
        before = time.process_time()
        batch.step(actions)
        spent += time.process_time() - before
        steps += running
    return steps / spent


def table(episodes: int = 400, seconds: float = 1.0, seed: int = 1) -> str:
    """Write a Markdown table of every playable map."""
    plays: tuple[Play, ...] = ("random", "stop", "closest", "closest, any distance")
    lines = [
        "| map | random return (sd) | stop wins | closest target wins "
        "| any distance wins | env steps/s |",
        "|---|---|---|---|---|---|",
    ]
    for name in PLAYABLE_MAPS:
        random, stop, closest, anywhere = (measure(name, play, episodes, seed) for play in plays)
        speed = env_steps_per_second(name, 64, seconds, seed)
        lines.append(
            f"| {name} | {random.return_mean:.2f} ({random.return_sd:.2f}) | {stop.win_rate:.1%} "
            f"| {closest.win_rate:.1%} | {anywhere.win_rate:.1%} | {speed:,.0f} |"
        )
    return "\n".join(lines)
