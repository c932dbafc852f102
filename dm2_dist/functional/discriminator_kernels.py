"""Elementwise parts of the discriminator's gradient on the CPU, one row at a time.

Every array is float32 unless said; the names are those of `functional.discriminator_gradient`. A
tile holds e expert rows, then agent rows; its first q rows of either side are mixed in pairs. Used
by `functional.discriminator_tiles`.
"""

# Compiled kernels take arrays one by one.
# ruff: noqa: PLR0913, PLR0917

import numpy as np
import numpy.typing as npt

from dm2_dist.functional.compiled import kernel, tanh

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

_ZERO, _ONE, _TWO = np.float32(0.0), np.float32(1.0), np.float32(2.0)


@kernel
def first_layer(hidden: F32, num_expert: int, alpha: F32, bias: F32, mixed: F32) -> None:
    """Hidden units of the first layer, of rows and of mixed rows.

    Args:
        hidden: [e + a, H] W1 x; becomes tanh(W1 x + b1).
        num_expert: e.
        alpha: [q] share of the expert.
        bias: [H] b1.
        mixed: [q, H] receives the same of the mixed rows.
    """
    width = hidden.shape[1]
    for i in range(alpha.shape[0]):
        share = alpha[i]
        for j in range(width):
            agent = hidden[num_expert + i, j]
            mixed[i, j] = tanh(bias[j] + agent + share * (hidden[i, j] - agent))
    for i in range(hidden.shape[0]):
        for j in range(width):
            hidden[i, j] = tanh(hidden[i, j] + bias[j])


@kernel
def second_slope(hidden: F32, bias: F32, head: F32, slope: F32) -> None:
    """Of mixed rows: hidden [q, H] W2 h1 becomes h2; slope [q, H] receives u2 = (1 - h2^2) w3."""
    for i in range(hidden.shape[0]):
        for j in range(hidden.shape[1]):
            value = tanh(hidden[i, j] + bias[j])
            hidden[i, j] = value
            slope[i, j] = (_ONE - value * value) * head[j]


@kernel
def first_slope(through: F32, hidden: F32, slope: F32) -> None:
    """Of mixed rows: slope [q, H] receives u1 = (1 - h1^2) v1."""
    for i in range(hidden.shape[0]):
        for j in range(hidden.shape[1]):
            slope[i, j] = (_ONE - hidden[i, j] * hidden[i, j]) * through[i, j]


@kernel
def penalty(slope: F32, target: float, factor: float, floor: float) -> float:
    """Overwrite the slopes g [q, O] with the gradient factor * (|g| - target) g / |g|.

    Returns:
        The sum of (|g| - target)^2.
    """
    total = 0.0
    for i in range(slope.shape[0]):
        square = _ZERO
        for j in range(slope.shape[1]):
            square += slope[i, j] * slope[i, j]
        norm = np.sqrt(np.float64(square))
        excess = norm - target
        total += excess * excess
        scale = np.float32(factor * excess / (floor if norm < floor else norm))
        for j in range(slope.shape[1]):
            slope[i, j] *= scale
    return total


@kernel
def first_slope_backward(gradient: F32, through: F32, hidden: F32, of_through: F32) -> None:
    """Back through u1 = (1 - h1^2) v1 of mixed rows.

    Args:
        gradient: [q, H] of u1; becomes that of h1.
        through: [q, H] v1.
        hidden: [q, H] h1.
        of_through: [q, H] receives the gradient of v1.
    """
    for i in range(hidden.shape[0]):
        for j in range(hidden.shape[1]):
            value, unit = gradient[i, j], hidden[i, j]
            of_through[i, j] = value * (_ONE - unit * unit)
            gradient[i, j] = -_TWO * value * through[i, j] * unit


@kernel
def second_slope_backward(gradient: F32, slope: F32, hidden: F32, head: F32, bias: F32) -> None:
    """Back through u2 = (1 - h2^2) w3 and h2 = tanh(...) of mixed rows.

    Args:
        gradient: [q, H] of u2; becomes that of W2 h1 + b2.
        slope: [q, H] u2.
        hidden: [q, H] h2.
        head: [H] is increased by the gradient of w3.
        bias: [H] is increased by the gradient of b2.
    """
    for i in range(hidden.shape[0]):
        for j in range(hidden.shape[1]):
            value, unit = gradient[i, j], hidden[i, j]
            head[j] += value * (_ONE - unit * unit)
            value *= -_TWO * slope[i, j] * unit
            gradient[i, j] = value
            bias[j] += value


@kernel
def classify(
    hidden: F32,
    num_expert: int,
    share: F32,
    bias: F32,
    head: F32,
    head_bias: float,
    gradients: F32,
    sums: F64,
) -> None:
    """Second layer, logits and the way back to the second layer's input.

    Args:
        hidden: [e + a, H] W2 h1; becomes the gradient of W2 h1 + b2.
        num_expert: e.
        share: [2] one over the number of all expert rows and of all agent rows.
        bias: [H] b2.
        head: [H] w3.
        head_bias: b3.
        gradients: [4, H] its first rows are increased by the gradients of b2, w3 and (first
            element) b3.
        sums: float64 [2, 3] of the expert's rows and of the agent's: is increased by the
            classification loss, the logits, and how many of them have the right sign.
    """
    width = hidden.shape[1]
    for i in range(hidden.shape[0]):
        total = _ZERO
        for j in range(width):
            value = tanh(hidden[i, j] + bias[j])
            hidden[i, j] = value
            total += value * head[j]
        logit = total + np.float32(head_bias)
        small = np.exp(-abs(logit))
        probability = (_ONE if logit >= _ZERO else small) / (_ONE + small)
        side = 0 if i < num_expert else 1
        right = -logit if side else logit
        sums[side, 0] += np.log1p(small) + (_ZERO if right >= _ZERO else -right)
        sums[side, 1] += logit
        sums[side, 2] += _ONE if right > _ZERO else _ZERO
        if side:
            of_logit = share[1] * probability
        else:
            of_logit = -share[0] * ((small if logit >= _ZERO else _ONE) / (_ONE + small))
        gradients[2, 0] += of_logit
        for j in range(width):
            value = hidden[i, j]
            gradients[1, j] += of_logit * value
            hidden[i, j] = of_logit * head[j] * (_ONE - value * value)
        for j in range(width):
            gradients[0, j] += hidden[i, j]


@kernel
def first_layer_backward(
    gradient: F32,
    hidden: F32,
    num_expert: int,
    of_mixed: F32,
    mixed: F32,
    alpha: F32,
    bias: F32,
) -> None:
    """Back through tanh of the first layer; what reached a mixed row goes to both of its rows.

    Args:
        gradient: [e + a, H] of h1; becomes that of W1 x + b1.
        hidden: [e + a, H] h1.
        num_expert: e.
        of_mixed: [q, H] gradient of the mixed rows' h1; overwritten.
        mixed: [q, H] h1 of the mixed rows.
        alpha: [q] share of the expert.
        bias: [H] is increased by the gradient of b1.
    """
    width = hidden.shape[1]
    for i in range(hidden.shape[0]):
        for j in range(width):
            gradient[i, j] *= _ONE - hidden[i, j] * hidden[i, j]
    for i in range(alpha.shape[0]):
        share = alpha[i]
        for j in range(width):
            of_mixed[i, j] *= _ONE - mixed[i, j] * mixed[i, j]
        for j in range(width):
            gradient[i, j] += share * of_mixed[i, j]
        for j in range(width):
            gradient[num_expert + i, j] += (_ONE - share) * of_mixed[i, j]
    for i in range(hidden.shape[0]):
        for j in range(width):
            bias[j] += gradient[i, j]
