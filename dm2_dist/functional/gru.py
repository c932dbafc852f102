"""The unroll of a gated recurrent unit with its gradient in closed form (Cho et al. 2014).

    r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)        z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)
    n = tanh(W_in x + b_in + r * (W_hn h + b_hn))     h' = (1 - z) * n + z * h

where h is set to zero on the first row of an episode. Back-propagation is written out because
recording many small steps costs more than computing them: here all that does not depend on time is
one matrix product, gates lie in separate planes so that every elementwise kernel is contiguous, and
nothing is copied.
"""

from typing import Any, NamedTuple, cast

import torch
from torch.autograd.function import once_differentiable

from dm2_dist.functional import activation


class GRUParameters(NamedTuple):
    """Gates stacked in the order r, z, n.

    weight_input: float32 [3H, H].
    weight_core: float32 [3H, H].
    bias_input: float32 [3H].
    bias_core: float32 [3H].
    """

    weight_input: torch.Tensor
    weight_core: torch.Tensor
    bias_input: torch.Tensor
    bias_core: torch.Tensor


def project(inputs: torch.Tensor, parameters: GRUParameters) -> torch.Tensor:
    """The part of the three gates that does not depend on the core state.

    Args:
        inputs: float32 [M, H].
        parameters: of the unit.

    Returns:
        float32 [3, M, H]; r and z carry both of their biases, n only b_in.
    """
    num_rows, hidden = inputs.shape
    weight = parameters.weight_input.view(3, hidden, hidden)
    bias = parameters.bias_input.view(3, hidden).clone()
    bias[:2] += parameters.bias_core.view(3, hidden)[:2]
    gates = inputs.new_empty(3, num_rows, hidden)
    for gate in range(3):
        torch.addmm(bias[gate], inputs, weight[gate].t(), out=gates[gate])
    return gates


def step_(
    gates: torch.Tensor,
    candidate_core: torch.Tensor,
    core_state: torch.Tensor,
    p: GRUParameters,
    difference: torch.Tensor,
) -> torch.Tensor:
    """One step; overwrites `gates` with r, z, n and returns h - n, from which h' = n + z (h - n).

    Args:
        gates: float32 [3, C, H] this step's part of `project`.
        candidate_core: float32 [C, H] receives W_hn h + b_hn.
        core_state: float32 [C, H] h, already reset.
        p: parameters of the unit.
        difference: float32 [C, H] receives h - n.
    """
    hidden = core_state.shape[-1]
    weight = p.weight_core.view(3, hidden, hidden)
    gates[0].addmm_(core_state, weight[0].t())
    gates[1].addmm_(core_state, weight[1].t())
    torch.addmm(p.bias_core[2 * hidden :], core_state, weight[2].t(), out=candidate_core)
    gates[:2].sigmoid_()
    activation.tanh_(gates[2].addcmul_(gates[0], candidate_core))
    return torch.sub(core_state, gates[2], out=difference)


class _Unroll(torch.autograd.Function):
    """See `unroll`."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: torch.Tensor,
        keep: torch.Tensor,
        core_state: torch.Tensor,
        *p: torch.Tensor,
    ) -> torch.Tensor:
        parameters = GRUParameters(*p)
        length, num_chunks, hidden = inputs.shape
        gates = project(inputs.reshape(-1, hidden), parameters)
        gates = gates.view(3, length, num_chunks, hidden)
        before, candidate_core, difference, after = (torch.empty_like(inputs) for _ in range(4))
        for t in range(length):
            torch.mul(core_state, keep[t], out=before[t])
            step_(gates[:, t], candidate_core[t], before[t], parameters, difference[t])
            core_state = torch.addcmul(gates[2, t], gates[1, t], difference[t], out=after[t])
        ctx.save_for_backward(inputs, keep, gates, before, candidate_core, difference, *p)
        return after

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        inputs, keep, gates, before, candidate_core, difference, *p = ctx.saved_tensors
        parameters = GRUParameters(*p)
        length, num_chunks, hidden = inputs.shape
        weight = parameters.weight_core.view(3, hidden, hidden)
        grad_gates = torch.empty_like(gates)
        grad_candidate = torch.empty_like(before)
        grad_core = grad_output.new_zeros(num_chunks, hidden)
        scratch = torch.empty_like(grad_core)
        for t in range(length - 1, -1, -1):
            reset, update, new = gates[:, t].unbind(0)
            grad_reset, grad_update, grad_new = grad_gates[:, t].unbind(0)
            grad_core.add_(grad_output[t])
            torch.mul(grad_core, difference[t], out=scratch)
            activation.sigmoid_backward(scratch, update, grad_update)
            torch.mul(grad_core, update, out=scratch)
            torch.sub(grad_core, scratch, out=grad_core)
            activation.tanh_backward(grad_core, new, grad_new)
            torch.mul(grad_new, candidate_core[t], out=grad_core)
            activation.sigmoid_backward(grad_core, reset, grad_reset)
            torch.mul(grad_new, reset, out=grad_candidate[t])
            scratch.addmm_(grad_reset, weight[0]).addmm_(grad_update, weight[1])
            scratch.addmm_(grad_candidate[t], weight[2])
            torch.mul(scratch, keep[t], out=grad_core)
        rows = (grad_gates.view(3, -1, hidden), grad_candidate.view(-1, hidden))
        return (
            _input_gradient(rows[0], parameters).view_as(inputs),
            None,
            grad_core,
            *_parameter_gradients(*rows, inputs.reshape(-1, hidden), before.view(-1, hidden)),
        )


def _input_gradient(grad_gates: torch.Tensor, parameters: GRUParameters) -> torch.Tensor:
    """Gradient of the inputs, float32 [M, H], from that of the gates, float32 [3, M, H]."""
    hidden = grad_gates.shape[-1]
    weight = parameters.weight_input.view(3, hidden, hidden)
    gradient = grad_gates[0] @ weight[0]
    return gradient.addmm_(grad_gates[1], weight[1]).addmm_(grad_gates[2], weight[2])


def _parameter_gradients(
    grad_gates: torch.Tensor,
    grad_candidate: torch.Tensor,
    inputs: torch.Tensor,
    before: torch.Tensor,
) -> tuple[torch.Tensor, ...]:
    """Gradients in the order of `GRUParameters`.

    Args:
        grad_gates: float32 [3, M, H] before the nonlinearities.
        grad_candidate: float32 [M, H] of W_hn h + b_hn.
        inputs: float32 [M, H].
        before: float32 [M, H] core state entering each row, reset.
    """
    core = (grad_gates[0], grad_gates[1], grad_candidate)
    bias = grad_gates.sum(1)
    return (
        torch.cat([gate.t() @ inputs for gate in grad_gates]),
        torch.cat([gate.t() @ before for gate in core]),
        bias.flatten(),
        torch.cat([bias[0], bias[1], grad_candidate.sum(0)]),
    )


def unroll(
    inputs: torch.Tensor, keep: torch.Tensor, core_state: torch.Tensor, parameters: GRUParameters
) -> torch.Tensor:
    """Core state after every row of C chunks of L rows.

    Args:
        inputs: float32 [L, C, H].
        keep: float32 [L, C, 1] 0 on the first row of an episode, else 1.
        core_state: float32 [C, H] entering each chunk.
        parameters: of the unit.

    Returns:
        float32 [L, C, H]
    """
    assert keep.shape == (*inputs.shape[:2], 1), (keep.shape, inputs.shape)
    assert core_state.shape == inputs.shape[1:], (core_state.shape, inputs.shape)
    arguments = (inputs.contiguous(), keep, core_state, *parameters)
    return cast(torch.Tensor, _Unroll.apply(*arguments))  # type: ignore[no-untyped-call]


@torch.no_grad()
def walk(
    inputs: torch.Tensor,
    counts: list[int],
    parameters: GRUParameters,
    entering: torch.Tensor | None = None,
) -> torch.Tensor:
    """Core state after every row of episodes, without gradient.

    Args:
        inputs: float32 [N, H] rows sorted by time, longest episode first (`episodes.time_order`).
        counts: rows at each time, non-increasing, sum N.
        parameters: of the unit.
        entering: float32 [counts[0], H] core state before the rows of the first time, in their
            order; zero unless given.

    Returns:
        float32 [N, H] in the same order.
    """
    after = torch.empty_like(inputs)
    steps = torch.split(project(inputs, parameters), counts, dim=1)
    core_state = inputs.new_zeros(counts[0], inputs.shape[-1]) if entering is None else entering
    for gates, out in zip(steps, torch.split(after, counts), strict=True):
        before = core_state[: out.shape[0]]
        difference = step_(gates, torch.empty_like(out), before, parameters, torch.empty_like(out))
        core_state = torch.addcmul(gates[2], gates[1], difference, out=out)
    return after
