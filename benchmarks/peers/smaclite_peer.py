"""SMAClite on request: `python smaclite_peer.py MAP 1 step CORES`, in an environment that has it.

One battle by its Gymnasium interface, which is all it offers. A step is the available actions, a
draw among them for each agent (some microseconds of a millisecond), the step with its observations,
and the state; finished battles are replaced.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable

import stopwatch


def prepare(map_name: str) -> tuple[Callable[[], int], dict[str, object]]:
    """Start a battle.

    Args:
        map_name: name of the map in SMAC and SMAClite.

    Returns:
        A function that plays one step, and what it is.
    """
    import gymnasium
    import smaclite  # noqa: F401 - registers the maps

    env = gymnasium.make(f"smaclite/{map_name}-v0").unwrapped
    draw = random.Random(0)
    env.reset(seed=0)

    def play() -> int:
        legal = env.get_avail_actions()
        chosen = [draw.choice([a for a, may in enumerate(row) if may]) for row in legal]
        _, _, terminated, truncated, _ = env.step(chosen)
        env.get_state()
        if terminated or truncated:
            env.reset()
        return 1

    return play, {"peer": "SMAClite", "map": map_name, "batch": 1, "mode": "step"}


if __name__ == "__main__":
    stopwatch.serve(lambda: prepare(sys.argv[1]), sys.argv[4])
