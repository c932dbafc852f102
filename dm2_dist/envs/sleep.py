"""A stand-in for a slow game: the embedded simulator, and a pause of 10 ms per environment step.

A game such as StarCraft II keeps a core busy elsewhere or waits for itself while an actor waits for
it. This one waits without computing, so that more actors than cores can be measured on one machine:
what is left is the system's own work. It says nothing about StarCraft II. Made by `make.make_batch`
for the environment `sleep`; measured with by `launch.scaling_bench`.
"""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt

from dm2_dist.envs.skirmish import SkirmishBatch

PAUSE_SECONDS = 0.010
"""Sleep of one environment step."""
LABEL = "stand-in for a slow game: 10 ms sleep per step, not StarCraft II"
"""Stands wherever a figure of this environment is shown."""


class SleepBatch(SkirmishBatch):
    """One battle of the embedded simulator whose every step sleeps first.

    What is played is the simulator's to the bit: the pause changes the time alone.
    """

    def __init__(
        self, map_name: str, num_envs: int = 1, pause_seconds: float = PAUSE_SECONDS
    ) -> None:
        """Prepare the battle; call `reset` before the first step.

        Args:
            map_name: name of the map, or path of a scenario (.toml or .json).
            num_envs: B; 1, because a slow game plays one battle at a time.
            pause_seconds: sleep of every step.

        Raises:
            UnknownMapError: no such map.
            ValueError: more than one battle.
        """
        if num_envs != 1:
            raise ValueError(f"env sleep plays one battle at a time, not {num_envs}")
        super().__init__(map_name, num_envs, compute_state=False)
        self._pause_seconds = pause_seconds

    def step(
        self,
        actions: npt.NDArray[np.integer],
        opponent_actions: npt.NDArray[np.integer] | None = None,
    ) -> None:
        """Sleep, then play one environment step; see `SkirmishBatch.step`."""
        time.sleep(self._pause_seconds)
        super().step(actions, opponent_actions)
