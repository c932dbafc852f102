"""The embedded simulator on request: `python skirmish.py MAP BATCH MODE CORES`.

Mode `step` plays recorded battles of random legal actions from beginning to end and starts them
afresh; only steps of unfinished battles count. Observations, available actions and state are part
of every step. To be run with the interpreter of the project.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable

import stopwatch

ROUNDS = 2
"""Resets of the recorded battles."""


def prepare(map_name: str, batch: int) -> tuple[Callable[[], int], dict[str, object]]:
    """Record the battles that are played again and again.

    Args:
        map_name: name of the map.
        batch: battles side by side.

    Returns:
        A function that plays one step of all battles and returns the environment steps, and what
        it is.
    """
    import numba

    from dm2_dist.envs.skirmish import SkirmishBatch
    from launch.recorded_battles import record, replay

    battles = SkirmishBatch(map_name, batch)
    recordings = [record(battles, "random", seed) for seed in range(ROUNDS)]
    steps = itertools.chain.from_iterable(
        replay(battles, recordings) for _ in itertools.repeat(None)
    )
    about = {"peer": "skirmish", "map": map_name, "batch": batch, "numba": numba.__version__}
    return lambda: next(steps), about


if __name__ == "__main__":
    stopwatch.serve(lambda: prepare(sys.argv[1], int(sys.argv[2])), sys.argv[4])
