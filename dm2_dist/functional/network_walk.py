"""The recurrent network along whole episodes, without gradient, on the CPU.

The same kernels as in `functional.network_gradient`, which has the mathematics; episodes differ in
length, so the rows of one time are a prefix of those before. Used by `dm2_dist.networks`.
"""

import numpy as np
import torch

from dm2_dist.functional import network_kernels as kernels
from dm2_dist.functional.network_gradient import Matrices


@torch.no_grad()
def walk(
    m: Matrices, inputs: torch.Tensor, counts: list[int], entering: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs, float32 [N, A], and core states after every row, [N, H], of whole episodes.

    One time after the other, so that what is between two products stays in the cache.

    Args:
        m: folded matrices.
        inputs: float32 [N, D] standardised, sorted by time, longest episode first
            (`episodes.time_order`).
        counts: rows at each time, non-increasing, sum N.
        entering: float32 [counts[0], H] core state before the rows of the first time, in their
            order; zero unless given.
    """
    most, hidden = counts[0], m.weight_2.shape[0]
    planes, gates, core = (torch.empty(n, most, hidden) for n in (3, 4, 3))
    scale, floor = torch.empty(2, most).numpy()
    row, keep = np.empty(hidden, np.float32), np.ones(most, np.float32)
    bias_1, bias_2, bias = m.bias_1.numpy(), m.bias_2.numpy(), m.bias_gates.numpy()
    after = inputs.new_empty(inputs.shape[0], hidden)
    outputs = inputs.new_empty(inputs.shape[0], m.weight_3.shape[0])
    before = inputs.new_zeros(most, hidden) if entering is None else entering.contiguous()
    parts = (torch.split(tensor, counts) for tensor in (inputs, after, outputs))
    for x, reached, y in zip(*parts, strict=True):
        count = x.shape[0]
        first, second, normed = planes[:, :count]
        gate, of_core = gates.view(most, 4, hidden)[:count], core.view(most, 3, hidden)[:count]
        torch.mm(x, m.weight_1.t(), out=first)
        kernels.relu_norm(first.numpy(), bias_1, scale[:count], floor[:count])
        torch.mm(first, m.weight_2.t(), out=second)
        kernels.relu_norm(second.numpy(), bias_2, scale[:count], floor[:count])
        flat = gate.view(count, -1)
        torch.mm(second, m.weight_input.t(), out=flat[:, : 3 * hidden])
        torch.mm(before[:count], m.weight_core.t(), out=of_core.view(count, -1))
        kernels.gru_step(
            gate.numpy(),
            of_core.numpy(),
            bias,
            before[:count].numpy(),
            keep[:count],
            reached.numpy(),
            normed.numpy(),
            scale[:count],
            row,
        )
        torch.addmm(m.bias_3, normed, m.weight_3.t(), out=y)
        before = reached
    return outputs, after
