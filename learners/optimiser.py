"""Adam on one network, with its state as flat named tensors; steps that are not finite are skipped.

Moments exist from the start, as zeros, so that the state of a learner always has the same keys.
Nothing here reads a value back from the device: whether a step is skipped is decided there. Used by
`learners.independent` and `learners.imitation`.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import nn

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


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
        """Set up; `network` must be on its device already.

        Args:
            network: what is trained.
            learning_rate: Adam's step size.
            epsilon: Adam's epsilon.
            max_gradient_norm: clip of the norm over all parameters, or None.
        """
        self._parameters = dict(network.named_parameters())
        self._max_gradient_norm = max_gradient_norm
        self._adam = torch.optim.Adam(
            self._parameters.values(), lr=learning_rate, eps=epsilon, fused=True
        )
        for parameter in self._parameters.values():
            self._adam.state[parameter] = {
                "step": torch.zeros((), device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }

    def minimise(self, loss: torch.Tensor) -> Step:
        """One step down `loss`, float32 []."""
        self._adam.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        return self._step(loss.detach())

    def apply(self, gradients: Mapping[str, torch.Tensor], loss: torch.Tensor) -> Step:
        """One step down given gradients, by parameter name, of `loss`, float32 []."""
        for name, parameter in self._parameters.items():
            parameter.grad = gradients[name]
        return self._step(loss)

    def state(self) -> dict[str, torch.Tensor]:
        """Step and moments of every parameter, for instance `head.weight.exp_avg` (not copied)."""
        return {
            f"{name}.{moment}": self._adam.state[parameter][moment]
            for name, parameter in self._parameters.items()
            for moment in _MOMENTS
        }

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Copy what `state` returned back in."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])

    def _step(self, loss: torch.Tensor) -> Step:
        gradients = [p.grad for p in self._parameters.values() if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        # Zero times what is not finite is not a number.
        skipped = (loss * 0.0 + norm * 0.0).isnan().to(torch.float32)
        if self._max_gradient_norm is not None:
            nn.utils.clip_grads_with_norm_(self._parameters.values(), self._max_gradient_norm, norm)
        # Adam's own way out of a step, made for scaled losses: no moment and no counter moves.
        self._adam.found_inf = skipped  # type: ignore[attr-defined]
        self._adam.step()
        return Step(norm, skipped)
