import torch

from dm2_dist.functional import activation

VALUES = torch.linspace(-30.0, 30.0, 100_001)


def test_tanh_is_accurate():
    torch.testing.assert_close(
        activation.tanh_(VALUES.clone()), torch.tanh(VALUES), atol=2e-7, rtol=0.0
    )


def test_derivatives_are_written_in_place():
    for function, backward in (
        (torch.tanh, activation.tanh_backward),
        (torch.sigmoid, activation.sigmoid_backward),
    ):
        leaf, gradient = VALUES.clone().requires_grad_(), torch.cos(VALUES)
        output = function(leaf)
        output.backward(gradient)
        backward(gradient, output.detach(), out=gradient)
        torch.testing.assert_close(gradient, leaf.grad)
