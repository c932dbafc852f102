"""The recurrent network over chunks and its whole gradient in closed form, on the CPU.

    x1 = LN(relu(W1 x + b1))    x2 = LN(relu(W2 x1 + b2))    h' = GRU(x2, h)    y = W3 LN(h') + b3

with every LayerNorm's scale and shift folded into the matrix that follows. Recording the operations
one by one and walking them back moves far more memory than the products need. Here the products are
the library's, and everything between two of them is one kernel of `functional.network_kernels`.
Used by `dm2_dist.networks`; on a device with a memory of its own `functional.gru` is used instead.
"""

from typing import Any, NamedTuple, cast

import torch
from torch.autograd.function import once_differentiable

from dm2_dist.functional import network_kernels as kernels


class Matrices(NamedTuple):
    """Matrices and biases after folding; also the shape of their gradient. Float32, on the CPU.

    weight_1: [H, D]
    bias_1: [H]
    weight_2: [H, H]
    bias_2: [H]
    weight_input: [3H, H] of the gates n, r, z.
    weight_core: [3H, H] of the gates r, z, n.
    bias_gates: [4, H] of n, r, z, c; c is the core's part of n.
    weight_3: [A, H]
    bias_3: [A]
    """

    weight_1: torch.Tensor
    bias_1: torch.Tensor
    weight_2: torch.Tensor
    bias_2: torch.Tensor
    weight_input: torch.Tensor
    weight_core: torch.Tensor
    bias_gates: torch.Tensor
    weight_3: torch.Tensor
    bias_3: torch.Tensor


class _Unroll(torch.autograd.Function):
    """See `unroll`."""

    @staticmethod
    def forward(
        ctx: Any,
        spaces: "list[Workspace]",
        inputs: torch.Tensor,
        keep: torch.Tensor,
        core_state: torch.Tensor,
        *matrices: torch.Tensor,
    ) -> torch.Tensor:
        space = spaces.pop() if spaces else Workspace(core_state.shape[1])
        outputs = forward(Matrices(*matrices), inputs, keep, core_state, space)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(inputs, keep, *matrices)
            ctx.spaces, ctx.space = spaces, space
        else:
            spaces.append(space)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        inputs, keep, *matrices = ctx.saved_tensors
        space, ctx.space = ctx.space, None
        assert space is not None, "the workspace holds one backward pass"
        of_matrices = backward(Matrices(*matrices), inputs, keep, gradient.contiguous(), space)
        ctx.spaces.append(space)
        return None, None, None, None, *of_matrices


def unroll(
    m: Matrices,
    inputs: torch.Tensor,
    keep: torch.Tensor,
    core_state: torch.Tensor,
    spaces: "list[Workspace]",
) -> torch.Tensor:
    """Outputs over chunks, float32 [L, C, A], that can be differentiated once by the matrices.

    Args:
        m: folded matrices.
        inputs: float32 [L, C, D] standardised.
        keep: float32 [L, C, 1] 0 on the first row of an episode.
        core_state: float32 [C, H] entering each chunk.
        spaces: workspaces that are free; one is borrowed until the backward pass.
    """
    assert keep.shape == (*inputs.shape[:2], 1), (keep.shape, inputs.shape)
    assert core_state.shape[0] == inputs.shape[1], (core_state.shape, inputs.shape)
    assert not inputs.requires_grad, "a constant of the batch"
    assert not core_state.requires_grad, "a constant of the batch"
    arguments = (spaces, inputs.contiguous(), keep.contiguous(), core_state, *m)
    return cast(torch.Tensor, _Unroll.apply(*arguments))  # type: ignore[no-untyped-call]


class Workspace:
    """What the forward pass leaves for the backward pass; memory is kept from call to call.

    After `resize`, with M = L * C rows in time order:
        normed_1, normed_2, normed_3: [M, H] outputs of the LayerNorms.
        gradient: [M, H] scratch.
        gates: [M, 4, H] n, r, z, c.
        before: [L + 1, C, H] core state entering each row, reset.
        core: [C, 3, H] scratch.
        scales: inverse standard deviations and floors of the first two norms, inverse standard
            deviation of the third, [M] each.
        rows: [2, H] scratch.
    """

    def __init__(self, hidden: int) -> None:
        self._hidden, self._capacity = hidden, (0, 0)

    def resize(self, length: int, num_chunks: int) -> None:
        """Make room for L * C rows; afterwards the contents are undefined."""
        rows, hidden = length * num_chunks, self._hidden
        if rows > self._capacity[0] or num_chunks > self._capacity[1]:
            self._capacity = (max(rows, self._capacity[0]), max(num_chunks, self._capacity[1]))
            most, chunks = self._capacity
            self._planes = [torch.empty(most, hidden) for _ in range(4)]
            self._gates = torch.empty(most, 4, hidden)
            self._before = torch.empty(most + chunks, hidden)
            self._core = torch.empty(chunks, 3, hidden)
            self._scales = torch.empty(5, most)
            self.rows = torch.empty(2, hidden).numpy()
        self.normed_1, self.normed_2, self.normed_3, self.gradient = (
            plane[:rows] for plane in self._planes
        )
        self.gates = self._gates[:rows]
        self.before = self._before[: rows + num_chunks].view(length + 1, num_chunks, hidden)
        self.core = self._core[:num_chunks]
        self.scales = [scale[:rows] for scale in self._scales.numpy()]


def forward(
    m: Matrices,
    inputs: torch.Tensor,
    keep: torch.Tensor,
    core_state: torch.Tensor,
    space: Workspace,
) -> torch.Tensor:
    """Outputs over chunks, float32 [L, C, A].

    Args:
        m: folded matrices.
        inputs: float32 [L, C, D] standardised, contiguous.
        keep: float32 [L, C, 1] 0 on the first row of an episode.
        core_state: float32 [C, H] entering each chunk.
        space: receives what `backward` needs.
    """
    length, num_chunks, size = inputs.shape
    hidden = core_state.shape[1]
    space.resize(length, num_chunks)
    scale_1, floor_1, scale_2, floor_2, scale_3 = space.scales
    torch.mm(inputs.view(-1, size), m.weight_1.t(), out=space.normed_1)
    kernels.relu_norm(space.normed_1.numpy(), m.bias_1.numpy(), scale_1, floor_1)
    torch.mm(space.normed_1, m.weight_2.t(), out=space.normed_2)
    kernels.relu_norm(space.normed_2.numpy(), m.bias_2.numpy(), scale_2, floor_2)
    flat = space.gates.view(-1, 4 * hidden)
    torch.mm(space.normed_2, m.weight_input.t(), out=flat[:, : 3 * hidden])
    torch.mul(core_state, keep[0], out=space.before[0])
    gates = space.gates.view(length, num_chunks, 4, hidden).numpy()
    normed = space.normed_3.view(length, num_chunks, hidden).numpy()
    scale, kept = scale_3.reshape(length, num_chunks), keep.view(length, num_chunks).numpy()
    before, core, bias = space.before.numpy(), space.core.numpy(), m.bias_gates.numpy()
    flat_core, weight_core = space.core.view(num_chunks, -1), m.weight_core.t()
    for t in range(length):
        torch.mm(space.before[t], weight_core, out=flat_core)
        following = min(t + 1, length - 1)  # what leaves the chunk is not used
        kernels.gru_step(
            gates[t],
            core,
            bias,
            before[t],
            kept[following],
            before[t + 1],
            normed[t],
            scale[t],
            space.rows[0],
        )
    return torch.addmm(m.bias_3, space.normed_3, m.weight_3.t()).view(length, num_chunks, -1)


def backward(
    m: Matrices,
    inputs: torch.Tensor,
    keep: torch.Tensor,
    gradient: torch.Tensor,
    space: Workspace,
) -> Matrices:
    """Gradient of the folded matrices; uses up what `forward` left.

    Args:
        m: the matrices that `forward` was given.
        inputs: float32 [L, C, D] the same.
        keep: float32 [L, C, 1] the same.
        gradient: float32 [L, C, A] of the outputs, contiguous.
        space: what `forward` left.
    """
    hidden = m.weight_2.shape[0]
    scale_1, floor_1, scale_2, floor_2, _ = space.scales
    of_outputs = gradient.view(-1, gradient.shape[-1])
    weight_3 = of_outputs.t() @ space.normed_3
    torch.mm(of_outputs, m.weight_3, out=space.gradient)
    bias_gates = _back_through_time(m, keep, space)
    flat = space.gates.view(-1, 4 * hidden)
    of_input, of_core = flat[:, : 3 * hidden], flat[:, hidden:]
    # A product with few rows and columns is faster with the wider of its results' sides inside.
    weight_input = (space.normed_2.t() @ of_input).t()
    weight_core = (space.before[:-1].view(-1, hidden).t() @ of_core).t()
    torch.mm(of_input, m.weight_input, out=space.gradient)
    bias_1, bias_2 = torch.empty(2, hidden)
    kernels.relu_norm_backward(
        space.gradient.numpy(),
        space.normed_2.numpy(),
        scale_2,
        floor_2,
        bias_2.numpy(),
        space.rows[0],
    )
    weight_2 = space.gradient.t() @ space.normed_1
    of_first = torch.mm(space.gradient, m.weight_2, out=space.normed_2)
    kernels.relu_norm_backward(
        of_first.numpy(),
        space.normed_1.numpy(),
        scale_1,
        floor_1,
        bias_1.numpy(),
        space.rows[0],
    )
    return Matrices(
        weight_1=of_first.t() @ inputs.view(-1, inputs.shape[-1]),
        bias_1=bias_1,
        weight_2=weight_2,
        bias_2=bias_2,
        weight_input=weight_input,
        weight_core=weight_core,
        bias_gates=bias_gates,
        weight_3=weight_3,
        bias_3=of_outputs.sum(0),
    )


def _back_through_time(m: Matrices, keep: torch.Tensor, space: Workspace) -> torch.Tensor:
    """Turn the gates into their gradients, last row first; returns that of their biases, [4, H]."""
    length, num_chunks, _ = keep.shape
    hidden = m.weight_2.shape[0]
    gates = space.gates.view(length, num_chunks, 4, hidden).numpy()
    normed = space.normed_3.view(length, num_chunks, hidden).numpy()
    gradient = space.gradient.view(length, num_chunks, hidden).numpy()
    scale, kept = (space.scales[4].reshape(length, num_chunks), keep.view(length, -1).numpy())
    before, of_core = space.before.numpy(), space.gates.view(length, num_chunks, -1)[..., hidden:]
    carried, direct = torch.zeros(2, num_chunks, hidden)
    carried_rows, direct_rows = carried.numpy(), direct.numpy()
    bias = torch.zeros(length, 4, hidden)
    for t in range(length - 1, -1, -1):
        kernels.gru_step_backward(
            gates[t],
            before[t],
            normed[t],
            scale[t],
            gradient[t],
            carried_rows,
            direct_rows,
            kept[min(t + 1, length - 1)],
            bias[t].numpy(),
            *space.rows,
        )
        if t:
            torch.mm(of_core[t], m.weight_core, out=carried)
    return bias.sum(0)
