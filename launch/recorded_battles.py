"""Battles that are played once and then again and again, so that a step can be timed alone.

A battle is a function of its seed and its actions: playing it again needs no policy, no random
numbers and no look at the arrays. Used by `launch.simulator_bench` and `launch.step_profile`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from dm2_dist.envs.skirmish import SkirmishBatch

Play = Literal["random", "heuristic"]
"""Who plays the team: random legal actions, or the closest-target heuristic."""


@dataclass(frozen=True, slots=True)
class Recording:
    """Battles of a batch from their start until the last of them is over.

    Attributes:
        seeds: uint64 [B] for `reset`.
        actions: one integer array [B, K] for every step.
        running: unfinished battles before each of these steps.
    """

    seeds: npt.NDArray[np.uint64]
    actions: list[npt.NDArray[np.int64]]
    running: list[int]


def record(batch: "SkirmishBatch", play: Play, seed: int) -> Recording:
    """Play a batch to its end.

    Args:
        batch: the battles; finished afterwards.
        play: who plays the team.
        seed: names the battles and the random actions.
    """
    from dm2_dist.envs.skirmish import calibration
    from dm2_dist.envs.skirmish.heuristic import ClosestTarget

    generator = np.random.default_rng(seed)
    seeds = generator.integers(2**63, size=batch.num_envs, dtype=np.uint64)
    batch.reset(seeds)
    closest = ClosestTarget(batch)
    actions, running = [], []
    while not batch.finished.all():
        if play == "random":
            chosen = calibration.random_actions(batch, generator)
        else:
            chosen = closest.actions()
        actions.append(chosen)
        running.append(batch.num_envs - int(batch.finished.sum()))
        batch.step(chosen)
    return Recording(seeds, actions, running)


def replay(batch: "SkirmishBatch", recordings: Sequence[Recording]) -> Iterator[int]:
    """Play recorded battles again, one step of the batch at a time.

    Args:
        batch: a batch of the same map, size and options as the recorded one.
        recordings: what to play, one after the other.

    Yields:
        Environment steps of each step of the batch: battles that are over do not count.
    """
    for recording in recordings:
        batch.reset(recording.seeds)
        for actions, running in zip(recording.actions, recording.running, strict=True):
            batch.step(actions)
            yield running
