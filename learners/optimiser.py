"""Adam on one network, with its state as flat named tensors; steps that are not finite are skipped.

The parameters of the network become views of one tensor, so that a step is one pass over all of
them (`functional.adam`). Moments exist from the start, as zeros, so that the state of a learner
always has the same keys. Nothing here reads a value back from the device: whether a step is skipped
is decided there. Used by `learners.independent`, `learners.impala` and `learners.imitation`.
"""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import nn

from dm2_dist import networks
from dm2_dist.functional import adam

_ALIGNMENT = 16
"""Every parameter begins at a multiple of 64 bytes, as one with memory of its own would."""


class Step(NamedTuple):
    """One gradient step, float32 [] each.

    norm: of the gradient, before the clip.
    skipped: 1 if the loss or the norm was not finite, and so nothing was changed; else 0.
    """

    norm: torch.Tensor
    skipped: torch.Tensor


class Optimiser:
    """Adam for the parameters of one network, optionally with a global gradient-norm clip."""

    def __init__(
        self,
        network: nn.Module,
        learning_rate: float,
        epsilon: float,
        max_gradient_norm: float | None,
    ) -> None:
        """Set up; `network` must be on its device already, and its parameters are moved there.

        Args:
            network: what is trained; its parameters stay views of our memory.
            learning_rate: Adam's step size.
            epsilon: Adam's epsilon.
            max_gradient_norm: clip of the norm over all parameters, or None.
        """
        self._parameters = dict(network.named_parameters())
        norm = math.inf if max_gradient_norm is None else max_gradient_norm
        self._settings = adam.Settings(learning_rate, epsilon, norm)
        shapes = {name: parameter.shape for name, parameter in self._parameters.items()}
        size = sum(_room(shape) for shape in shapes.values())
        device = next(iter(self._parameters.values())).device
        parameters, self._gradient, first, second = torch.zeros(4, size, device=device)
        self._flat = adam.Flat(parameters, first, second, torch.zeros((), device=device))
        self._gradients = _views(self._gradient, shapes)
        self._first, self._second = _views(first, shapes), _views(second, shapes)
        for name, view in _views(parameters, shapes).items():
            view.copy_(self._parameters[name].detach())
            self._parameters[name].data = view

    def descend(self, outputs: torch.Tensor, gradient: torch.Tensor, loss: torch.Tensor) -> Step:
        """One step down `loss`, float32 [], given its gradient with respect to the outputs.

        Args:
            outputs: float32 [...] of the network, that can be differentiated.
            gradient: float32 [...] of `loss`.
            loss: float32 [], a constant.
        """
        # The network's own way back: the library's automatic differentiation, or a closed form.
        found = torch.autograd.grad([outputs], list(self._parameters.values()), [gradient])
        return self._step(found, loss)

    def apply(self, gradients: Mapping[str, torch.Tensor], loss: torch.Tensor) -> Step:
        """One step down given gradients, by parameter name, of `loss`, float32 []."""
        return self._step((gradients[name] for name in self._parameters), loss)

    def state(self) -> dict[str, torch.Tensor]:
        """Step and moments of every parameter, for instance `head.weight.exp_avg` (not copied).

        All steps are one number; each parameter has it under its own name.
        """
        tensors = {}
        for name in self._parameters:
            tensors[f"{name}.step"] = self._flat.step
            tensors[f"{name}.exp_avg"] = self._first[name]
            tensors[f"{name}.exp_avg_sq"] = self._second[name]
        return tensors

    def changed(self) -> tuple[torch.Tensor, ...]:
        """Everything that a step changes (not copied)."""
        return tuple(self._flat)

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Copy what `state` returned back in."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])

    def _step(self, gradients: Iterable[torch.Tensor], loss: torch.Tensor) -> Step:
        torch._foreach_copy_(list(self._gradients.values()), list(gradients))
        return Step(*adam.update(self._flat, self._gradient, loss, self._settings))


class Networks(NamedTuple):
    """Policy and critic of an agent, each with its optimiser."""

    policy: networks.RecurrentNetwork
    policy_optimiser: Optimiser
    critic: networks.RecurrentNetwork
    critic_optimiser: Optimiser


def _views(flat: torch.Tensor, shapes: Mapping[str, torch.Size]) -> dict[str, torch.Tensor]:
    """Tensors of these shapes one after the other in `flat`; what is between them stays zero."""
    views, start = {}, 0
    for name, shape in shapes.items():
        views[name] = flat[start : start + shape.numel()].view(shape)
        start += _room(shape)
    return views


def _room(shape: torch.Size) -> int:
    return math.ceil(shape.numel() / _ALIGNMENT) * _ALIGNMENT
