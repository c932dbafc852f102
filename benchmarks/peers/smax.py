"""SMAX (JaxMARL) on request, against its heuristic enemy: `python smax.py MAP BATCH MODE CORES`.

Many battles by `vmap`, many steps by `lax.scan`, one call into compiled code for a chunk of them:
the fastest way in which SMAX is used. In mode `step` the team draws among its legal actions (from
noise made beforehand) and a finished battle is replaced, as in training; mode `bare` is the least
that can be asked of it: `step_env` with the action "stop", no action masks, no new battles. XLA
computes the same for finished battles as for running ones, hence `bare` loses nothing by them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import stopwatch

STOP = 4
"""SMAX's number of the action "stop"."""

CHUNK_ENV_STEPS = 4096
"""Environment steps of one call, over all battles, if there are fewer battles than that."""


def prepare(map_name: str, batch: int, mode: str) -> tuple[Callable[[], int], dict[str, object]]:
    """Compile the chunk of steps that is played again and again.

    Args:
        map_name: scenario of SMAX.
        batch: battles side by side.
        mode: `step` or `bare`.

    Returns:
        A function that plays a chunk and returns its environment steps, and what it is.
    """
    import jax
    import jax.numpy as jnp
    import jaxmarl
    from jaxmarl.environments.smax import HeuristicEnemySMAX, map_name_to_scenario

    env = HeuristicEnemySMAX(scenario=map_name_to_scenario(map_name))
    length = max(CHUNK_ENV_STEPS // batch, 4)
    num_actions = env.num_ally_actions
    shape = (length, batch, env.num_agents, num_actions)
    noise = jax.random.uniform(jax.random.key(1), shape, minval=0.01)
    stop = {agent: jnp.full(batch, STOP) for agent in env.agents}

    def legal(state, draws):  # type: ignore[no-untyped-def]
        masks = jax.vmap(env.get_avail_actions)(state)
        return {
            agent: jnp.argmax(draws[:, k] * masks[agent], axis=-1)
            for k, agent in enumerate(env.agents)
        }

    def advance(carry, draws):  # type: ignore[no-untyped-def]
        key, state = carry
        key, below = jax.random.split(key)
        keys = jax.random.split(below, batch)
        if mode == "bare":
            seen, state, rewards, ended, _ = jax.vmap(env.step_env)(keys, state, stop)
        else:
            actions = legal(state, draws)
            seen, state, rewards, ended, _ = jax.vmap(env.step)(keys, state, actions)
        # What the policy would read is made part of the result, lest XLA leave it out.
        shown = sum(jnp.sum(value) for value in jax.tree.leaves((seen, rewards, ended)))
        return (key, state), shown

    chunk = jax.jit(lambda carry: jax.lax.scan(advance, carry, noise))
    first = jax.random.split(jax.random.key(0), batch)
    carry = (jax.random.key(2), jax.vmap(env.reset)(first)[1])

    def play() -> int:
        nonlocal carry
        carry, shown = chunk(carry)
        shown.block_until_ready()
        return length * batch

    versions = {"jax": jax.__version__, "jaxmarl": jaxmarl.__version__}
    return play, {"peer": "SMAX", "map": map_name, "batch": batch, "mode": mode, **versions}


if __name__ == "__main__":
    stopwatch.serve(lambda: prepare(sys.argv[1], int(sys.argv[2]), sys.argv[3]), sys.argv[4])
