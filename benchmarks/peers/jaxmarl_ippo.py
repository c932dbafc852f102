"""Independent PPO with a recurrent network in JAX, in the shape of JaxMARL's own training script.

Imported by `train_jaxmarl` once the cores are chosen, because XLA counts them when it is imported.
Arrays are [T, N, ...] with N = K * num_envs streams, one for each agent of each battle.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from ippo_settings import (
    CLIP,
    DISCOUNT,
    ENTROPY_COEFFICIENT,
    EPOCHS,
    GAE_LAMBDA,
    HIDDEN,
    LEARNING_RATE,
    MAX_GRADIENT_NORM,
    VALUE_COEFFICIENT,
)

Array = jax.Array


class World(NamedTuple):
    """What the battles are at between two steps.

    Attributes:
        state: of the battles.
        seen: float32 [N, O].
        first: bool [N], whether a battle begins.
        core: float32 [N, H], the GRU's state.
    """

    state: Any
    seen: Array
    first: Array
    core: Array


class Rows(NamedTuple):
    """What was played: `available` is bool [T, N, A], `seen` float32 [T, N, O], others [T, N]."""

    seen: Array
    first: Array
    available: Array
    action: Array
    log_prob: Array
    value: Array
    reward: Array
    over: Array


class Core(nn.Module):
    """One step of a GRU that forgets where a battle begins."""

    @nn.compact
    def __call__(self, core: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
        """State [N, H] and (inputs [N, H], first [N]) to state and output [N, H]."""
        inputs, first = step
        return nn.GRUCell(HIDDEN)(jnp.where(first[:, None], 0.0, core), inputs)


class ActorCritic(nn.Module):
    """Two ReLU layers, GRU, and a linear head each for the logits and the value."""

    num_actions: int

    @nn.compact
    def __call__(self, core: Array, seen: Array, first: Array) -> tuple[Array, Array, Array]:
        """State [N, H], seen [T, N, O], first [T, N] to state, logits [T, N, A], value [T, N]."""
        orthogonal = nn.initializers.orthogonal
        hidden = nn.relu(nn.Dense(HIDDEN, kernel_init=orthogonal(2.0**0.5))(seen))
        hidden = nn.relu(nn.Dense(HIDDEN, kernel_init=orthogonal(2.0**0.5))(hidden))
        over_time = nn.scan(Core, variable_broadcast="params", split_rngs={"params": False})
        core, hidden = over_time()(core, (hidden, first))
        logits = nn.Dense(self.num_actions, kernel_init=orthogonal(0.01))(hidden)
        return core, logits, nn.Dense(1)(hidden)[..., 0]


class Training:
    """Battles, network and optimiser of one training."""

    def __init__(self, env: Any, num_envs: int, length: int, minibatches: int) -> None:
        """Remember the sizes.

        Args:
            env: a battle of SMAX.
            num_envs: battles side by side.
            length: T, steps of an iteration.
            minibatches: gradient steps of an epoch.
        """
        self.env, self.num_envs, self.length = env, num_envs, length
        self.minibatches = minibatches
        self.streams = env.num_agents * num_envs
        self.network = ActorCritic(env.num_ally_actions)
        self.optimiser = optax.chain(
            optax.clip_by_global_norm(MAX_GRADIENT_NORM), optax.adam(LEARNING_RATE, eps=1e-5)
        )

    def begin(self) -> tuple[Any, World, Array]:
        """Learner, world and key before the first iteration."""
        seen, state = jax.vmap(self.env.reset)(jax.random.split(jax.random.key(0), self.num_envs))
        core = jnp.zeros((self.streams, HIDDEN))
        world = World(state, self._stack(seen), jnp.ones(self.streams, bool), core)
        first, seen_ = world.first[None], world.seen[None]
        parameters = self.network.init(jax.random.key(1), core, seen_, first)
        return (parameters, self.optimiser.init(parameters)), world, jax.random.key(2)

    @partial(jax.jit, static_argnums=0, donate_argnums=(1, 2))
    def iterate(self, learner: Any, world: World, key: Array) -> tuple[Any, World, Array]:
        """Play and learn one iteration."""
        key, for_play, for_learning = jax.random.split(key, 3)
        entering = world.core
        keys = jax.random.split(for_play, self.length)
        world, rows = jax.lax.scan(partial(self._step, learner[0]), world, keys)
        after = self.network.apply(learner[0], world.core, world.seen[None], world.first[None])
        advantage = _advantage(rows, after[2][0])
        epoch = partial(self._epoch, entering, rows, advantage)
        keys = jax.random.split(for_learning, EPOCHS)
        return jax.lax.scan(epoch, learner, keys)[0], world, key

    def _step(self, parameters: Any, world: World, key: Array) -> tuple[World, Rows]:
        draw, below = jax.random.split(key)
        available = self._stack(jax.vmap(self.env.get_avail_actions)(world.state)).astype(bool)
        core, logits, value = self.network.apply(
            parameters, world.core, world.seen[None], world.first[None]
        )
        log_probs = _legal(logits[0], available)
        action = jax.random.categorical(draw, log_probs)
        each = dict(zip(self.env.agents, action.reshape(-1, self.num_envs), strict=True))
        keys = jax.random.split(below, self.num_envs)
        seen, state, rewards, ended, _ = jax.vmap(self.env.step)(keys, world.state, each)
        over = jnp.tile(ended["__all__"], self.env.num_agents)
        log_prob = _of(log_probs, action)
        reward = self._stack(rewards)
        rows = Rows(world.seen, world.first, available, action, log_prob, value[0], reward, over)
        return World(state, self._stack(seen), over, core), rows

    def _epoch(
        self, entering: Array, rows: Rows, advantage: Array, learner: Any, key: Array
    ) -> tuple[Any, None]:
        def descend(learner: Any, dealt: Array) -> tuple[Any, None]:
            parameters, moments = learner
            some = Rows(*(array[:, dealt] for array in rows))
            gradient = jax.grad(self._loss)(parameters, entering[dealt], some, advantage[:, dealt])
            updates, moments = self.optimiser.update(gradient, moments)
            return (optax.apply_updates(parameters, updates), moments), None

        deal = jax.random.permutation(key, self.streams).reshape(self.minibatches, -1)
        return jax.lax.scan(descend, learner, deal)

    def _loss(self, parameters: Any, entering: Array, rows: Rows, advantage: Array) -> Array:
        _, logits, value = self.network.apply(parameters, entering, rows.seen, rows.first)
        log_probs = _legal(logits, rows.available)
        ratio = jnp.exp(_of(log_probs, rows.action) - rows.log_prob)
        scaled = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        clipped = jnp.clip(ratio, 1.0 - CLIP, 1.0 + CLIP)
        policy = -jnp.minimum(ratio * scaled, clipped * scaled).mean()
        target = rows.value + advantage
        near = rows.value + jnp.clip(value - rows.value, -CLIP, CLIP)
        critic = 0.5 * jnp.maximum((value - target) ** 2, (near - target) ** 2).mean()
        entropy = -(jnp.exp(log_probs) * log_probs).sum(-1).mean()
        return policy + VALUE_COEFFICIENT * critic - ENTROPY_COEFFICIENT * entropy

    def _stack(self, values: dict[str, Array]) -> Array:
        """Arrays [B, ...] by agent to one [K * B, ...]."""
        return jnp.concatenate([values[agent] for agent in self.env.agents])


def _legal(logits: Array, available: Array) -> Array:
    return jax.nn.log_softmax(jnp.where(available, logits, -1e10))


def _of(log_probs: Array, action: Array) -> Array:
    """Entries [...] of [..., A] at `action`."""
    return jnp.take_along_axis(log_probs, action[..., None], axis=-1)[..., 0]


def _advantage(rows: Rows, last: Array) -> Array:
    """Generalised advantage estimates, [T, N]."""

    def back(carry: tuple[Array, Array], row: tuple[Array, ...]) -> tuple[Any, Array]:
        ahead, following = carry
        value, reward, over = row
        goes_on = 1.0 - over
        delta = reward + DISCOUNT * following * goes_on - value
        ahead = delta + DISCOUNT * GAE_LAMBDA * goes_on * ahead
        return (ahead, value), ahead

    played = rows.value, rows.reward, rows.over.astype(jnp.float32)
    return jax.lax.scan(back, (jnp.zeros_like(last), last), played, reverse=True)[1]
