"""One step of Adam on all parameters of a network at once (Kingma and Ba 2015).

Parameters, gradient and moments lie end to end in one tensor each, so that the norm, its clip and
the step are one pass over memory instead of one for each operation and parameter. A step whose loss
or gradient norm is not finite changes nothing; that is decided on the device. Used by
`learners.optimiser`.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from dm2_dist.functional.compiled import kernel

F32 = npt.NDArray[np.float32]

_BETA_1, _BETA_2 = 0.9, 0.999
_CLIP_EPSILON = 1e-6
_BLOCK = 1024
_ZERO = np.float32(0.0)


class Settings(NamedTuple):
    """Of one optimiser.

    learning_rate: step size.
    epsilon: added to the denominator.
    max_norm: clip of the norm of the gradient; infinity for none.
    """

    learning_rate: float
    epsilon: float
    max_norm: float


class Flat(NamedTuple):
    """What a step changes.

    parameters, first_moment, second_moment: float32 [P].
    step: float32 [] steps taken.
    """

    parameters: torch.Tensor
    first_moment: torch.Tensor
    second_moment: torch.Tensor
    step: torch.Tensor


@torch.no_grad()
def update(
    flat: Flat, gradient: torch.Tensor, loss: torch.Tensor, settings: Settings
) -> tuple[torch.Tensor, torch.Tensor]:
    """Take one step, in place.

    Args:
        flat: parameters and moments.
        gradient: float32 [P] of `loss`.
        loss: float32 [].
        settings: of the optimiser.

    Returns:
        The norm of the gradient before the clip, and 1 if the step was skipped because the loss or
        that norm is not finite, else 0; float32 [] each.
    """
    if flat.parameters.device.type != "cpu":
        return update_by_operations(flat, gradient, loss, settings)
    report = torch.empty(2)
    _update(
        flat.parameters.numpy(),
        flat.first_moment.numpy(),
        flat.second_moment.numpy(),
        flat.step.view(1).numpy(),
        gradient.numpy(),
        loss.item(),
        settings.learning_rate,
        settings.epsilon,
        settings.max_norm,
        report.numpy(),
    )
    return report[0], report[1]


@torch.no_grad()
def update_by_operations(
    flat: Flat, gradient: torch.Tensor, loss: torch.Tensor, settings: Settings
) -> tuple[torch.Tensor, torch.Tensor]:
    """What `update` does on a device with a memory of its own; arguments as there."""
    norm = torch.linalg.vector_norm(gradient)
    finite = (loss * 0.0 + norm * 0.0) == 0.0
    scale = (settings.max_norm / (norm + _CLIP_EPSILON)).clamp_max(1.0)
    gradient = gradient * scale
    flat.step.add_(finite)
    first = torch.lerp(flat.first_moment, gradient, 1.0 - _BETA_1)
    second = torch.addcmul(flat.second_moment * _BETA_2, gradient, gradient, value=1.0 - _BETA_2)
    correction_1 = -torch.expm1(flat.step * math.log(_BETA_1))
    correction_2 = -torch.expm1(flat.step * math.log(_BETA_2))
    denominator = (second / correction_2).sqrt_().add_(settings.epsilon)
    newer = flat.parameters - settings.learning_rate / correction_1 * first / denominator
    for old, new in zip(flat[:3], (newer, first, second), strict=True):
        old.copy_(torch.where(finite, new, old))
    return norm, torch.logical_not(finite).to(torch.float32)


@kernel
def _update(  # noqa: PLR0913, PLR0917 - compiled kernels take arrays one by one
    parameters: F32,
    first: F32,
    second: F32,
    step: F32,
    gradient: F32,
    loss: float,
    learning_rate: float,
    epsilon: float,
    max_norm: float,
    report: F32,
) -> None:
    """See `update`; step: [1], report: [2] receives the norm and whether the step was skipped."""
    size = parameters.shape[0]
    total = 0.0
    for start in range(0, size, _BLOCK):
        block = _ZERO
        for j in range(start, min(start + _BLOCK, size)):
            block += gradient[j] * gradient[j]
        total += np.float64(block)
    norm = np.float32(np.sqrt(total))
    finite = np.isfinite(norm) and np.isfinite(loss)
    report[0] = norm
    report[1] = 0.0 if finite else 1.0
    if not finite:
        return
    step[0] += 1.0
    taken = np.float64(step[0])
    least = max_norm / (np.float64(norm) + _CLIP_EPSILON)
    scale = np.float32(least if least < 1.0 else 1.0)
    rate = np.float32(learning_rate / (1.0 - _BETA_1**taken))
    root = np.float32(1.0 / np.sqrt(1.0 - _BETA_2**taken))
    share_1, keep_2 = np.float32(1.0 - _BETA_1), np.float32(_BETA_2)
    share_2, floor = np.float32(1.0 - _BETA_2), np.float32(epsilon)
    for j in range(size):
        value = gradient[j] * scale
        first[j] += share_1 * (value - first[j])
        second[j] = keep_2 * second[j] + share_2 * (value * value)
        parameters[j] -= rate * first[j] / (np.sqrt(second[j]) * root + floor)
