"""The K policies of a team, stacked, for processes that only play.

The same arithmetic as `networks.RecurrentNetwork` without torch: about a tenth of the memory and
none of the start-up time. Everything that depends on the parameters alone (scales and shifts of the
LayerNorms, one-hot inputs, constants of the gates) is folded once, when parameters arrive; what is
left of a step is one call of `inference_kernels.joint_step`. Used by the actors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from dm2_dist.envs.interface import BattleBatch
    from dm2_dist.inference_kernels.layout import Weights

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

NO_ACTION = -1
"""Last action at the start of an episode."""


class Choice(NamedTuple):
    """Actions of a team.

    action: int64 [B, K]
    log_prob: float32 [B, K] log-probability of each under its policy.
    """

    action: I64
    log_prob: F32


class StackedPolicy:
    """K policies of the same shape that act together; holds parameters, never a core state.

    A policy is used by one thread at a time.
    """

    def __init__(self, parameters: Sequence[Mapping[str, npt.NDArray[Any]]]) -> None:
        """Fold the parameters of the K policies.

        Args:
            parameters: [K] tensors by name, as `networks.RecurrentNetwork` names them.
        """
        # The compiler is loaded when somebody plays, not when an actor starts.
        from dm2_dist.inference_kernels import joint_step, layout

        stack = {
            name: np.stack([np.asarray(own[name], dtype=np.float32) for own in parameters])
            for name in parameters[0]
        }
        self.num_agents = len(parameters)
        self.num_actions, self.hidden_size = stack["head.weight"].shape[1:]
        self.input_size = stack["input_norm.weight"].shape[1]
        self.observation_size = self.input_size - self.num_actions - self.num_agents
        self.weights = _folded(stack)
        self.room = layout.make_room(self.weights, self.observation_size, self.num_actions)
        joint_step.make_ready(self.weights, self.room, self.num_actions)

    def step(
        self, observation: F32, last_action: npt.NDArray[np.integer[Any]], core_state: F32
    ) -> tuple[F32, F32]:
        """One environment step of B teams, all of whose agents live.

        Args:
            observation: float32 [B, K, O].
            last_action: integer [B, K], -1 at the start of an episode.
            core_state: float32 [B, K, H], zeros at the start of an episode.

        Returns:
            Logits, float32 [B, K, A], and the next core state, float32 [B, K, H].
        """
        from dm2_dist.inference_kernels import joint_step, layout

        size = last_action.shape[0]
        available = np.empty((size, self.num_agents, self.num_actions), np.uint8)
        alive, finished = np.ones((size, self.num_agents), np.uint8), np.zeros(size, np.uint8)
        memory = layout.make_memory(size, self.num_agents, self.hidden_size, self.num_actions)
        memory.core_state[:] = core_state
        memory.action[:] = last_action
        scene = layout.Scene(np.ascontiguousarray(observation), available, alive, finished)
        seeds = np.empty(0, np.uint64)
        joint_step.advance(self.weights, scene, memory, self.room, seeds, 0, joint_step.LOGITS_ONLY)
        return memory.logits, memory.core_state


class Players:
    """A team in B battles: what its agents remember from step to step, and what they do.

    action: int64 [B, K] rewritten in place by every step; -1 before the first.
    log_prob: float32 [B, K] log-probability of each action under its policy.
    core_state: float32 [B, K, H]
    """

    def __init__(
        self, policy: StackedPolicy, battles: BattleBatch, seeds: U64, *, greedy: bool
    ) -> None:
        """Sit down at battles that have just been reset.

        Args:
            policy: the K policies.
            battles: B battles; their arrays are read at every step.
            seeds: uint64 [B] of the draws of each battle.
            greedy: take the most probable action instead of sampling.
        """
        from dm2_dist.inference_kernels import joint_step, layout

        self._policy, self._seeds, self._advance = policy, seeds, joint_step.advance
        self._mode = joint_step.GREEDY if greedy else joint_step.SAMPLED
        self._scene = layout.Scene(
            battles.observation, battles.available_actions, battles.alive, battles.finished
        )
        self._memory = layout.make_memory(
            seeds.size, policy.num_agents, policy.hidden_size, policy.num_actions
        )
        self.action = self._memory.action
        self.log_prob = self._memory.log_prob
        self.core_state = self._memory.core_state

    def act(self, step: int) -> int:
        """Choose what every agent does next in the battles that are not over; allocates nothing.

        A dead agent does the only thing that it can, with certainty, and its memory rests.

        Args:
            step: environment steps played so far; with the seeds it keys the draws as
                `seeding.uniform` does.

        Returns:
            How many battles are not over.
        """
        policy = self._policy
        return self._advance(
            policy.weights, self._scene, self._memory, policy.room, self._seeds, step, self._mode
        )


def sample(logits: F32, available: npt.NDArray[np.generic], uniforms: F64) -> Choice:
    """Draw one action per agent by inverting the cumulative distribution over its legal actions.

    Args:
        logits: float32 [B, K, A].
        available: [B, K, A] nonzero where the action is legal; at least one per agent.
        uniforms: float64 [B, K] in [0, 1).
    """
    from dm2_dist.inference_kernels import joint_step

    choice = Choice(np.empty(uniforms.shape, np.int64), np.empty(uniforms.shape, np.float32))
    legal = np.ascontiguousarray(available != 0, dtype=np.uint8)
    joint_step.choose_all(
        np.ascontiguousarray(logits), legal, np.ascontiguousarray(uniforms), *choice
    )
    return choice


def _folded(stack: Mapping[str, F32]) -> Weights:
    """Everything that depends on the parameters alone."""
    from dm2_dist.inference_kernels.arithmetic import LANES
    from dm2_dist.inference_kernels.layout import Weights

    gates_input = _layer(*_fold(stack, "norm_2", "core.weight_ih", "core.bias_ih"))
    gates_core = _layer(stack["core.weight_hh"].swapaxes(1, 2), stack["core.bias_hh"])
    resets = stack["core.weight_hh"].shape[2] * 2
    # sigmoid(x) = (1 + tanh(x / 2)) / 2: one function, which cannot overflow, serves all gates.
    for gates in (gates_input, gates_core):
        gates[:, :, :resets] *= 0.5
    head = _layer(*_fold(stack, "core_norm", "head.weight", "head.bias"))
    return Weights(
        first=_first_layer(stack),
        second=_layer(*_fold(stack, "norm_1", "hidden_2.weight", "hidden_2.bias")),
        gates_input=gates_input,
        gates_core=gates_core,
        head=np.pad(head, ((0, 0), (0, 0), (0, -head.shape[2] % LANES))),
    )


def _first_layer(stack: Mapping[str, F32]) -> F32:
    """Split the first layer by kind of input (see `layout.Weights`)."""
    weight, bias = _fold(stack, "input_norm", "hidden_1.weight", "hidden_1.bias")
    num_agents, num_actions = weight.shape[0], stack["head.weight"].shape[1]
    agents, size = np.arange(num_agents), weight.shape[1] - num_actions - num_agents
    own_id = weight[agents, size + num_actions + agents][:, None]
    nothing = np.zeros_like(weight[:, :1])
    last_action = np.concatenate([weight[:, size : size + num_actions], nothing], axis=1)
    column_sum = weight.sum(axis=1, keepdims=True)
    rows = [bias[:, None], column_sum, last_action + own_id, weight[:, :size]]
    return np.ascontiguousarray(np.concatenate(rows, axis=1))


def _layer(weight: F32, bias: F32) -> F32:
    """Bias above weight, float32 [K, 1 + in, out]."""
    return np.ascontiguousarray(np.concatenate([bias[:, None], weight], axis=1))


def _fold(stack: Mapping[str, F32], norm: str, weight: str, bias: str) -> tuple[F32, F32]:
    """Fold scale and shift of a LayerNorm into the layer after it.

    Returns:
        float32 [K, in, out] and float32 [K, out].
    """
    scale, shift = stack[f"{norm}.weight"], stack[f"{norm}.bias"]
    weights = stack[weight].astype(np.float64)
    biases = stack[bias] + (weights @ shift[:, :, None])[:, :, 0]
    folded = (weights * scale[:, None, :]).swapaxes(1, 2).astype(np.float32)
    return folded, biases.astype(np.float32)
