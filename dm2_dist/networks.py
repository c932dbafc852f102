"""Policy, critic and discriminator of one agent; nothing is shared between agents.

Policy and critic have the same body (DM2, appendix; MAPPO): LayerNorm -> two times (Linear, ReLU,
LayerNorm) -> GRU -> LayerNorm -> linear head. The scale and shift of every LayerNorm are folded
into the Linear that follows, which is exact and leaves only small tensors to differentiate.
`dm2_dist.inference` is the same policy in NumPy. Used by `learners.independent`.
"""

import math
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from dm2_dist import seeding, trajectory
from dm2_dist.functional import episodes, gru, network_gradient, network_walk
from dm2_dist.sections import NetworkConfig

Layer = TypeVar("Layer", bound=nn.Module)


def network_input(slice_: trajectory.Slice, agent: int, num_agents: int) -> trajectory.F32:
    """Own observation ++ one-hot own last action ++ one-hot agent id, float32 [N, O + A + K].

    The last action is all zeros on the first row of an episode, as it is when acting; on the first
    row of a piece that goes on it is the action before.

    Args:
        slice_: what the agent saw and did.
        agent: k, its index.
        num_agents: K.
    """
    num_rows, observation_size = slice_.observation.shape
    num_actions = slice_.available_actions.shape[1]
    inputs = np.zeros((num_rows, observation_size + num_actions + num_agents), dtype=np.float32)
    inputs[:, :observation_size] = slice_.observation
    next_row = trajectory.action_rows(slice_.length) + 1
    inputs[next_row, observation_size + slice_.action.astype(np.int64)] = 1.0
    if slice_.entering is not None:
        before = slice_.entering.previous_action.astype(np.int64)
        row = trajectory.starts(slice_.length)[before >= 0]
        inputs[row, observation_size + before[before >= 0]] = 1.0
    inputs[:, observation_size + num_actions + agent] = 1.0
    return inputs


def standardise(inputs: torch.Tensor) -> torch.Tensor:
    """LayerNorm without scale and shift, float32 [..., D]; for inputs a constant of the batch."""
    return nn.functional.layer_norm(inputs, inputs.shape[-1:])


class RecurrentNetwork(nn.Module):
    """A recurrent network over the rows of episodes; its outputs are logits or one value."""

    def __init__(
        self,
        input_size: int,
        output_size: int,
        config: NetworkConfig,
        head_gain: float,
        generator: torch.Generator,
    ) -> None:
        """Initialise: orthogonal matrices (gain sqrt 2, 1 in the GRU, `head_gain`), zero biases.

        Args:
            input_size: O + A + K.
            output_size: A for a policy, 1 for a critic.
            config: sizes.
            head_gain: gain of the head's initialisation.
            generator: source of every draw.
        """
        super().__init__()
        hidden = config.hidden_size
        self.input_norm = nn.LayerNorm(input_size)
        self.hidden_1 = _linear(input_size, hidden)
        self.norm_1 = nn.LayerNorm(hidden)
        self.hidden_2 = _linear(hidden, hidden)
        self.norm_2 = nn.LayerNorm(hidden)
        self.core = _without_values(nn.GRUCell(hidden, hidden, device="meta"))
        self.core_norm = nn.LayerNorm(hidden)
        self.head = _linear(hidden, output_size)
        self._workspaces: list[network_gradient.Workspace] = []
        gains = {
            self.hidden_1.weight: math.sqrt(2.0),
            self.hidden_2.weight: math.sqrt(2.0),
            self.core.weight_ih: 1.0,
            self.core.weight_hh: 1.0,
            self.head.weight: head_gain,
        }
        for weight, gain in gains.items():
            nn.init.orthogonal_(weight, gain, generator=generator)
        for bias in (self.hidden_1.bias, self.hidden_2.bias, self.head.bias):
            nn.init.zeros_(bias)
        nn.init.zeros_(self.core.bias_ih)
        nn.init.zeros_(self.core.bias_hh)

    def unroll(
        self, standardised: torch.Tensor, keep: torch.Tensor, core_state: torch.Tensor
    ) -> torch.Tensor:
        """Outputs over chunks, float32 [L, C, output_size].

        Args:
            standardised: float32 [L, C, O + A + K] inputs after `standardise`.
            keep: float32 [L, C, 1] 0 on the first row of an episode, which resets the core state.
            core_state: float32 [C, H] entering each chunk.

        On the CPU the gradient is in closed form and can be taken once.
        """
        if standardised.device.type == "cpu":
            matrices = self._matrices()
            return network_gradient.unroll(
                matrices, standardised, keep, core_state, self._workspaces
            )
        return self.unroll_by_operations(standardised, keep, core_state)

    def unroll_by_operations(
        self, standardised: torch.Tensor, keep: torch.Tensor, core_state: torch.Tensor
    ) -> torch.Tensor:
        """What `unroll` does on a device with a memory of its own; arguments as there."""
        return self._head(gru.unroll(self._encode(standardised), keep, core_state, self._core()))

    @torch.no_grad()
    def walk(
        self,
        standardised: torch.Tensor,
        order: episodes.TimeOrder,
        entering: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """All rows of episodes or of pieces of them, without gradient.

        Args:
            standardised: float32 [N, O + A + K] inputs of all observation rows after `standardise`.
            order: the order of the walk.
            entering: float32 [E, H] core state entering each piece; zero unless given.

        Returns:
            Outputs, float32 [N, output_size], and the core state after each row, float32 [N, H]; of
            pieces also the one entering each of them, behind those, so float32 [N + E, H].
        """
        row = torch.from_numpy(order.row).to(standardised.device)
        before = None
        if entering is not None:
            before = entering[torch.from_numpy(order.episode).to(standardised.device)]
        walk = self._walk_on_cpu if row.device.type == "cpu" else self._walk_by_operations
        # Rows sorted by time, put back in their place.
        outputs, core_state = (
            torch.empty_like(sorted_).index_copy_(0, row, sorted_)
            for sorted_ in walk(standardised[row], order.counts, before)
        )
        return outputs, core_state if entering is None else torch.cat([core_state, entering])

    def _walk_on_cpu(
        self, inputs: torch.Tensor, counts: list[int], entering: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return network_walk.walk(self._matrices(), inputs, counts, entering)

    def _walk_by_operations(
        self, inputs: torch.Tensor, counts: list[int], entering: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What `_walk_on_cpu` does on a device with a memory of its own."""
        after = gru.walk(self._encode(inputs), counts, self._core(), entering)
        return self._head(after), after

    def _encode(self, standardised: torch.Tensor) -> torch.Tensor:
        """Float32 [..., O + A + K] to [..., H]."""
        hidden = torch.relu_(_linear_after(self.input_norm, self.hidden_1, standardised))
        hidden = torch.relu_(_linear_after(self.norm_1, self.hidden_2, standardise(hidden)))
        return standardise(hidden)

    def _head(self, core_state: torch.Tensor) -> torch.Tensor:
        """Float32 [..., H] to [..., output_size]."""
        return _linear_after(self.core_norm, self.head, standardise(core_state))

    def _matrices(self) -> network_gradient.Matrices:
        """Everything folded, gates in the order that the closed form wants."""
        core, hidden = self._core(), self.core.hidden_size
        of_input, of_core = core.bias_input.view(3, hidden), core.bias_core.view(3, hidden)
        weight_3, bias_3 = _fold(self.core_norm, self.head.weight, self.head.bias)
        weight_1, bias_1 = _fold(self.input_norm, self.hidden_1.weight, self.hidden_1.bias)
        weight_2, bias_2 = _fold(self.norm_1, self.hidden_2.weight, self.hidden_2.bias)
        return network_gradient.Matrices(
            weight_1=weight_1,
            bias_1=bias_1,
            weight_2=weight_2,
            bias_2=bias_2,
            weight_input=core.weight_input.roll(hidden, 0),
            weight_core=core.weight_core,
            bias_gates=torch.cat([of_input[2:], of_input[:2] + of_core[:2], of_core[2:]]),
            weight_3=weight_3,
            bias_3=bias_3,
        )

    def _core(self) -> gru.GRUParameters:
        weight, bias = _fold(self.norm_2, self.core.weight_ih, self.core.bias_ih)
        return gru.GRUParameters(weight, self.core.weight_hh, bias, self.core.bias_hh)


def _fold(
    norm: nn.LayerNorm, weight: torch.Tensor, bias: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias that act on `standardise(x)` as the given ones act on `norm(x)`.

    W (g * x + b) + c = (W * g) x + (W b + c).
    """
    return weight * norm.weight, torch.addmv(bias, weight, norm.bias)


def _linear_after(
    norm: nn.LayerNorm, linear: nn.Linear, standardised: torch.Tensor
) -> torch.Tensor:
    """`linear(norm(x))`, given `standardise(x)`."""
    return nn.functional.linear(standardised, *_fold(norm, linear.weight, linear.bias))


class Discriminator(nn.Module):
    """Linear, tanh, Linear, tanh, Linear on the own observation; a high logit means expert."""

    def __init__(self, observation_size: int, hidden_size: int, generator: torch.Generator) -> None:
        """Initialise every tensor uniformly within 1 / sqrt(fan in), the framework's default.

        Args:
            observation_size: O.
            hidden_size: H.
            generator: source of every draw.
        """
        super().__init__()
        self.hidden_1 = _linear(observation_size, hidden_size)
        self.hidden_2 = _linear(hidden_size, hidden_size)
        self.head = _linear(hidden_size, 1)
        for layer in (self.hidden_1, self.hidden_2, self.head):
            bound = 1.0 / math.sqrt(layer.in_features)
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
            nn.init.uniform_(layer.bias, -bound, bound, generator=generator)

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        """The logit of "this is the expert", float32 [...], of observations, float32 [..., O]."""
        hidden = torch.tanh(self.hidden_1(observation))
        logit: torch.Tensor = self.head(torch.tanh(self.hidden_2(hidden)))
        return logit.squeeze(-1)


def _linear(num_inputs: int, num_outputs: int) -> nn.Linear:
    """A layer without values: its owner draws them, and the global generator stays untouched."""
    return _without_values(nn.Linear(num_inputs, num_outputs, device="meta"))


def _without_values(layer: Layer) -> Layer:
    """Give a layer of device `meta` memory; `to_empty` runs a slow detour for that device."""
    for name, parameter in list(layer.named_parameters(recurse=False)):
        setattr(layer, name, nn.Parameter(torch.empty(parameter.shape)))
    return layer


def make_policy(
    input_size: int, num_actions: int, config: NetworkConfig, seed: int, agent: int
) -> RecurrentNetwork:
    """Agent k's policy; its logits start near zero, so it starts near uniform.

    Args:
        input_size: O + A + K.
        num_actions: A.
        config: sizes and gain.
        seed: the run's seed.
        agent: k.
    """
    generator = _generator(seed, "policy", agent)
    return RecurrentNetwork(input_size, num_actions, config, config.policy_head_gain, generator)


def make_critic(input_size: int, config: NetworkConfig, seed: int, agent: int) -> RecurrentNetwork:
    """Agent k's critic, which sees what its policy sees.

    Args:
        input_size: O + A + K.
        config: sizes.
        seed: the run's seed.
        agent: k.
    """
    return RecurrentNetwork(input_size, 1, config, 1.0, _generator(seed, "critic", agent))


def make_discriminator(
    observation_size: int, hidden_size: int, seed: int, agent: int
) -> Discriminator:
    """Agent k's discriminator.

    Args:
        observation_size: O.
        hidden_size: H.
        seed: the run's seed.
        agent: k.
    """
    return Discriminator(observation_size, hidden_size, _generator(seed, "discriminator", agent))


def _generator(seed: int, purpose: str, agent: int) -> torch.Generator:
    # Torch takes signed 64-bit seeds only.
    return torch.Generator().manual_seed(seeding.derive(seed, purpose, agent) >> 1)
