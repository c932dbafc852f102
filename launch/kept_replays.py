"""Battles that are kept as replays while a frozen team plays them: for `--replays`.

A replay is written from what has just been played; nothing is played twice. Fed by
`launch.frozen_team`; shown by `dm2 replay`.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from dm2_dist.envs.skirmish import SkirmishBatch
from dm2_dist.envs.skirmish.replay import Recorder, Replay
from dm2_dist.envs.skirmish.replay_file import SUFFIX


class ReplaysError(Exception):
    """Replays cannot be kept there; the message names the folder and the mend."""


class RecordedBatch(SkirmishBatch):
    """A batch that writes its first battles down while they are played."""

    def __init__(self, map_name: str, num_envs: int, kept: int) -> None:
        """Prepare the battles.

        Args:
            map_name: name of the map, or path of a scenario.
            num_envs: B.
            kept: how many battles are written down, the first ones; at most B.
        """
        super().__init__(map_name, num_envs)
        self._kept = kept
        self._recorders: list[Recorder] = []

    def reset(self, seeds: npt.NDArray[np.uint64] | None = None) -> None:
        """Start B fresh battles, and forget what has been written down."""
        super().reset(seeds)
        self._recorders = [Recorder.start(self, env) for env in range(self._kept)]

    def step(
        self,
        actions: npt.NDArray[np.integer],
        opponent_actions: npt.NDArray[np.integer] | None = None,
    ) -> None:
        """Play one environment step in every unfinished battle, and write it down."""
        super().step(actions, opponent_actions)
        for recorder in self._recorders:
            recorder.add(actions, opponent_actions)

    def replays(self) -> list[Replay]:
        """The battles as far as they have been played, in the order of the batch."""
        return [recorder.finish() for recorder in self._recorders]


def check_free(folder: Path) -> None:
    """Refuse a folder that holds replays already: those of two teams would be mixed up.

    Raises:
        ReplaysError: it does, or it is no folder.
    """
    if folder.exists() and not folder.is_dir():
        raise ReplaysError(f"{folder} is not a folder; choose another --replays")
    if any(folder.glob(f"*{SUFFIX}")):
        raise ReplaysError(f"{folder} already holds replays; choose another --replays")


def write(folder: Path, replays: list[Replay]) -> None:
    """Write replays as `<number>-<outcome>.replay.json`; the folder is created if missing.

    Raises:
        ReplaysError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, kept in enumerate(replays):
            outcome = kept.document.outcome.ended.replace(" ", "-")
            kept.save(folder / f"{number:03}-{outcome}{SUFFIX}")
    except OSError as error:
        raise ReplaysError(
            f"{folder} cannot be written ({error.strerror}); choose another --replays"
        ) from error
