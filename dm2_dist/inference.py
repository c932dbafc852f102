"""The K policies of a team in NumPy, stacked, for processes that only play.

The same arithmetic as `networks.RecurrentNetwork` without torch: about a tenth of the memory and
none of the start-up time. Everything that depends on the parameters alone (scales and shifts of the
LayerNorms, one-hot inputs, constants of the gates) is folded once, when parameters arrive; few and
large products are left. Used by `actors.actor`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

_EPSILON = np.float32(1e-5)
_ONE = np.float32(1.0)


class Choice(NamedTuple):
    """Actions of a team.

    action: int64 [B, K]
    log_prob: float32 [B, K] log-probability of each under its policy.
    """

    action: I64
    log_prob: F32


class StackedPolicy:
    """K policies of the same shape that act together; holds parameters, never a core state."""

    def __init__(self, parameters: Sequence[Mapping[str, npt.NDArray[Any]]]) -> None:
        """Fold the parameters of the K policies.

        Args:
            parameters: [K] tensors by name, as `networks.RecurrentNetwork` names them.
        """
        stack = {
            name: np.stack([np.asarray(own[name], dtype=np.float32) for own in parameters])
            for name in parameters[0]
        }
        self.num_agents = len(parameters)
        self.num_actions, self.hidden_size = stack["head.weight"].shape[1:]
        self.input_size = stack["input_norm.weight"].shape[1]
        self.observation_size = self.input_size - self.num_actions - self.num_agents
        self._fold_input(stack)
        self._weight_2, self._bias_2 = _fold(stack, "norm_1", "hidden_2.weight", "hidden_2.bias")
        self._weight_head, self._bias_head = _fold(stack, "core_norm", "head.weight", "head.bias")
        self._fold_core(stack)
        self._mean = np.full((self.hidden_size, 1), 1.0 / self.hidden_size, dtype=np.float32)

    def step(
        self, observation: F32, last_action: npt.NDArray[np.integer[Any]], core_state: F32
    ) -> tuple[F32, F32]:
        """One environment step of B teams.

        Args:
            observation: float32 [B, K, O].
            last_action: integer [B, K], -1 at the start of an episode.
            core_state: float32 [B, K, H], zeros at the start of an episode.

        Returns:
            Logits, float32 [B, K, A], and the next core state, float32 [B, K, H].
        """
        hidden = self._standardised(self._first_layer(observation, last_action))
        hidden = np.matmul(hidden, self._weight_2)
        hidden += self._bias_2
        np.maximum(hidden, 0.0, out=hidden)
        next_state = self._core(self._standardised(hidden), core_state.swapaxes(0, 1))
        logits = np.matmul(self._standardised(next_state.copy()), self._weight_head)
        logits += self._bias_head
        return (
            np.ascontiguousarray(logits.swapaxes(0, 1)),
            np.ascontiguousarray(next_state.swapaxes(0, 1)),
        )

    def _fold_input(self, stack: dict[str, F32]) -> None:
        """Split the first layer by kind of input, so that no one-hot vector is ever built."""
        weight, self._bias_1 = _fold(stack, "input_norm", "hidden_1.weight", "hidden_1.bias")
        agents = np.arange(self.num_agents)
        size, actions = self.observation_size, self.num_actions
        # Centring commutes with the product: (x - mean(x)) W = x W - mean(x) 1 W.
        self._column_sum = weight.sum(axis=1, keepdims=True)
        self._weight_observation = np.ascontiguousarray(weight[:, :size])
        own_id = weight[agents, size + actions + agents]
        nothing = np.zeros_like(weight[:, :1])
        last = np.concatenate([weight[:, size : size + actions], nothing], axis=1)
        # Row -1 stands for "no last action"; the id is added to every row.
        self._last_action_and_id = last + own_id[:, None]
        self._agents = agents[:, None]

    def _fold_core(self, stack: dict[str, F32]) -> None:
        """Gates from (input, core state) in one product: r, z, n of the input, n of the state."""
        hidden = self.hidden_size
        weight_input, bias_input = _fold(stack, "norm_2", "core.weight_ih", "core.bias_ih")
        weight_core = stack["core.weight_hh"].swapaxes(1, 2)
        bias_core = stack["core.bias_hh"][:, None, :]
        gates = np.zeros((self.num_agents, 2 * hidden, 4 * hidden), dtype=np.float32)
        gates[:, :hidden, : 3 * hidden] = weight_input
        gates[:, hidden:, : 2 * hidden] = weight_core[:, :, : 2 * hidden]
        gates[:, hidden:, 3 * hidden :] = weight_core[:, :, 2 * hidden :]
        bias = np.concatenate([bias_input, bias_core[:, :, 2 * hidden :]], axis=2)
        bias[:, :, : 2 * hidden] += bias_core[:, :, : 2 * hidden]
        # sigmoid(x) = (1 + tanh(x / 2)) / 2: tanh has a vector kernel and cannot overflow.
        gates[:, :, : 2 * hidden] *= 0.5
        bias[:, :, : 2 * hidden] *= 0.5
        self._weight_core, self._bias_core = gates, bias

    def _first_layer(self, observation: F32, last_action: npt.NDArray[np.integer[Any]]) -> F32:
        """ReLU of the first layer after its LayerNorm, float32 [K, B, H]."""
        last = last_action.swapaxes(0, 1)
        own = observation.swapaxes(0, 1)
        num_ones = (last >= 0)[..., None] + _ONE
        total = own.sum(axis=2, keepdims=True) + num_ones
        square = np.einsum("kbo,kbo->kb", own, own)[..., None] + num_ones
        mean = total / np.float32(self.input_size)
        scale = _ONE / np.sqrt(square / np.float32(self.input_size) - mean * mean + _EPSILON)
        hidden: F32 = np.matmul(own, self._weight_observation)
        hidden += self._last_action_and_id[self._agents, last]
        hidden -= mean * self._column_sum
        hidden *= scale
        hidden += self._bias_1
        np.maximum(hidden, 0.0, out=hidden)
        return hidden

    def _standardised(self, hidden: F32) -> F32:
        """LayerNorm without scale and shift, float32 [K, B, H], in place."""
        hidden -= np.matmul(hidden, self._mean)
        variance = np.einsum("kbh,kbh->kb", hidden, hidden)[..., None]
        variance *= np.float32(1.0 / self.hidden_size)
        variance += _EPSILON
        hidden /= np.sqrt(variance, out=variance)
        return hidden

    def _core(self, inputs: F32, core_state: F32) -> F32:
        """GRU step (see `functional.gru`), float32 [K, B, H]."""
        size = self.hidden_size
        gates = np.matmul(np.concatenate([inputs, core_state], axis=2), self._weight_core)
        gates += self._bias_core
        reset_update = np.tanh(gates[..., : 2 * size])
        reset_update += _ONE
        reset_update *= np.float32(0.5)
        new = gates[..., 3 * size :]
        new *= reset_update[..., :size]
        new += gates[..., 2 * size : 3 * size]
        new = np.tanh(new)
        next_state: F32 = core_state - new
        next_state *= reset_update[..., size:]
        next_state += new
        return next_state


def sample(logits: F32, available: npt.NDArray[np.generic], uniforms: F64) -> Choice:
    """Draw one action per agent by inverting the cumulative distribution over its legal actions.

    Args:
        logits: float32 [B, K, A].
        available: [B, K, A] nonzero where the action is legal; at least one per agent.
        uniforms: float64 [B, K] in [0, 1).
    """
    shifted, cumulative = _distribution(logits, available)
    total = cumulative[..., -1:]
    action = (cumulative <= uniforms[..., None] * total).sum(axis=2)
    return _choice(shifted, total, np.minimum(action, _last_legal(cumulative)))


def greedy(logits: F32, available: npt.NDArray[np.generic]) -> Choice:
    """The most probable legal action of each agent, the first of equals.

    Args:
        logits: float32 [B, K, A].
        available: [B, K, A] nonzero where the action is legal; at least one per agent.
    """
    shifted, cumulative = _distribution(logits, available)
    return _choice(shifted, cumulative[..., -1:], shifted.argmax(axis=2))


def _distribution(logits: F32, available: npt.NDArray[np.generic]) -> tuple[F32, F64]:
    """Logits less their maximum, -inf if illegal, and their cumulative weights; [B, K, A] each."""
    shifted = np.where(available, logits, np.float32(-np.inf))
    shifted -= shifted.max(axis=2, keepdims=True)
    return shifted, np.exp(shifted).cumsum(axis=2, dtype=np.float64)


def _last_legal(cumulative: F64) -> I64:
    """First action at which all is summed, int64 [B, K]: rounding must not step past it."""
    last: I64 = (cumulative < cumulative[..., -1:]).sum(axis=2)
    return last


def _choice(shifted: F32, total: F64, action: I64) -> Choice:
    taken = np.take_along_axis(shifted, action[..., None], axis=2) - np.log(total)
    return Choice(action, taken[..., 0].astype(np.float32))


def _fold(stack: Mapping[str, F32], norm: str, weight: str, bias: str) -> tuple[F32, F32]:
    """Fold scale and shift of a LayerNorm into the layer after it.

    Returns:
        float32 [K, in, out] and float32 [K, 1, out].
    """
    scale, shift = stack[f"{norm}.weight"], stack[f"{norm}.bias"]
    weights = stack[weight].astype(np.float64)
    biases = stack[bias] + np.einsum("koi,ki->ko", weights, shift)
    folded = np.ascontiguousarray((weights * scale[:, None, :]).swapaxes(1, 2), dtype=np.float32)
    return folded, biases[:, None, :].astype(np.float32)
