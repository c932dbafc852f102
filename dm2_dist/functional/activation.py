"""Squashing functions and their derivatives in place, as the closed-form gradients need them."""

import torch


def tanh_(values: torch.Tensor) -> torch.Tensor:
    """Hyperbolic tangent of values [...] in place, as 2 sigmoid(2x) - 1.

    The CPU kernel of the sigmoid is about eight times faster than that of tanh; the error stays
    below 2e-7.
    """
    return values.mul_(2.0).sigmoid_().mul_(2.0).sub_(1.0)


def sigmoid_backward(gradient: torch.Tensor, output: torch.Tensor, out: torch.Tensor) -> None:
    """Write gradient * output * (1 - output) to `out`, which may be `gradient`; [...] each."""
    torch.ops.aten.sigmoid_backward.grad_input(gradient, output, grad_input=out)


def tanh_backward(gradient: torch.Tensor, output: torch.Tensor, out: torch.Tensor) -> None:
    """Write gradient * (1 - output^2) to `out`, which may be `gradient`; [...] each."""
    torch.ops.aten.tanh_backward.grad_input(gradient, output, grad_input=out)
