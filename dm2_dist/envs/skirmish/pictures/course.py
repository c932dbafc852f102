"""The whole course of a played battle, loop by loop: what films and pages are made from.

Made by `Replay.simulate`; read by `film` and `page`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from dm2_dist.envs.skirmish.kernels import field
from dm2_dist.envs.skirmish.pictures import scene
from dm2_dist.envs.skirmish.pictures.scene import Floats, Outcome, Scene, Stage

Every = Literal["loop", "step"]

FASTER = 22.4
"""Game loops a second at the game speed "Faster", which is speed 1 of films and pages."""

MAX_FRAMES_PER_SECOND = {".gif": 50.0, ".mp4": 120.0}
"""Most pictures a second of a film, by its ending."""


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """A played battle.

    Attributes:
        stage: what stays the same; its view is where the battle takes place.
        loops: float32 [N + 1, T, U] the start and N game loops, rows as in `kernels.field`.
        returns: float64 [S + 1] sum of the rewards after each number of environment steps.
        ended: how the battle ended: "won", "lost", "draw" or "time is up"; empty if it did not.
    """

    stage: Stage
    loops: Floats
    returns: npt.NDArray[np.float64]
    ended: Outcome

    @property
    def num_loops(self) -> int:
        """N, game loops played."""
        return len(self.loops) - 1

    def framed(self) -> Course:
        """Return the same course with the view narrowed to where the battle takes place."""
        view = scene.battle_view(self.stage, self.loops)
        return dataclasses.replace(self, stage=dataclasses.replace(self.stage, view=view))

    def scene(self, at: float) -> Scene:
        """Build one scene.

        Args:
            at: game loops played, 0 to N; between two loops, living units are on their way.

        Raises:
            ValueError: there is no such loop.
        """
        if not 0 <= at <= self.num_loops:
            raise ValueError(f"the battle has the loops 0 to {self.num_loops}, not {at}")
        loop = math.floor(at)
        recent = self.loops[max(loop - scene.LOOKBACK, 0) : loop + 1]
        if at > loop:
            recent = recent.copy()
            ahead = self.loops[loop + 1]
            for row in (field.TRACE_X, field.TRACE_Y):
                recent[-1, row] += np.float32(at - loop) * (ahead[row] - recent[-1, row])
            recent[-1, field.TRACE_LEFT] -= np.float32(at - loop)
        return scene.of_loops(
            self.stage,
            recent,
            loop=loop,
            episode_return=float(self.returns[loop // self.stage.step_loops]),
            outcome=self.ended if loop == self.num_loops else "",
        )

    def scenes(self, every: Every = "loop") -> Iterator[Scene]:
        """Build the scene of the start and of each game loop, or of each environment step."""
        stride = 1 if every == "loop" else self.stage.step_loops
        for loop in range(0, self.num_loops + 1, stride):
            yield self.scene(loop)
