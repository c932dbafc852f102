"""JaxMARL training on SMAX on request: `python train_jaxmarl.py ENVS MINIBATCHES CORES`.

Independent PPO in the shape of JaxMARL's own recurrent script: playing and learning are one jitted
function, one network is shared by all agents and by actor and critic (ours are ten networks), its
GRU is trained through the whole unroll. Layers, epochs and learning rate are ours. An iteration is
`ITERATION_ENV_STEPS` joint steps of 5m_vs_6m against the heuristic enemy, auto-reset.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import stopwatch
from ippo_settings import EPOCHS, ITERATION_ENV_STEPS, MAP


def prepare(num_envs: int, minibatches: int) -> tuple[Callable[[], int], dict[str, object]]:
    """Build one iteration; its first call compiles it.

    Args:
        num_envs: battles side by side; a divisor of `ITERATION_ENV_STEPS`.
        minibatches: gradient steps of an epoch; the streams are dealt to them at random.

    Returns:
        A function that plays and learns one iteration and returns its environment steps, and what
        it is.
    """
    import jax
    import jaxmarl
    from jaxmarl.environments.smax import HeuristicEnemySMAX, map_name_to_scenario
    from jaxmarl_ippo import Training

    length = ITERATION_ENV_STEPS // num_envs
    env = HeuristicEnemySMAX(scenario=map_name_to_scenario(MAP))
    training = Training(env, num_envs, length, minibatches)
    kept = training.begin()

    def iteration() -> int:
        nonlocal kept
        kept = jax.block_until_ready(training.iterate(*kept))
        return length * num_envs

    about = {
        "peer": "JaxMARL IPPO-RNN on SMAX",
        "version": f"jaxmarl {jaxmarl.__version__}, jax {jax.__version__}",
        "settings": (
            f"{num_envs} battles x {length} steps, {EPOCHS} epochs of {minibatches} minibatches, "
            "one network for all agents and for actor and critic, GRU through the whole unroll"
        ),
    }
    return iteration, about


if __name__ == "__main__":
    stopwatch.serve(lambda: prepare(int(sys.argv[1]), int(sys.argv[2])), sys.argv[3])
