"""Elementwise parts of the recurrent network and its gradient on the CPU, one row at a time.

Every array is float32. H is the width of a row, M any number of rows, C the chunks of one time
step. Sums over rows are taken in blocks, so that their rounding error does not grow with M. Used by
`functional.network_gradient`.
"""

# Compiled kernels take arrays one by one, and are chains of loops that the compiler can vectorise.
# ruff: noqa: C901, PLR0912, PLR0913, PLR0917

import numpy as np
import numpy.typing as npt

from dm2_dist.functional.compiled import kernel, sigmoid, tanh

F32 = npt.NDArray[np.float32]

_BLOCK = 128
_NORM_EPSILON = np.float32(1e-5)
_ZERO, _ONE = np.float32(0.0), np.float32(1.0)


@kernel
def relu_norm(rows: F32, bias: F32, inverse_std: F32, floor: F32) -> None:
    """Overwrite rows with standardise(relu(rows + bias)).

    Args:
        rows: [M, H].
        bias: [H].
        inverse_std: [M] receives 1 / standard deviation of each row.
        floor: [M] receives what a zero became: an element passes gradient where it lies above.
    """
    width = rows.shape[1]
    size = np.float32(width)
    for i in range(rows.shape[0]):
        total = _ZERO
        for j in range(width):
            value = rows[i, j] + bias[j]
            value = _ZERO if value < _ZERO else value
            rows[i, j] = value
            total += value
        mean = total / size
        squares = _ZERO
        for j in range(width):
            centred = rows[i, j] - mean
            squares += centred * centred
        scale = _ONE / np.sqrt(squares / size + _NORM_EPSILON)
        inverse_std[i] = scale
        floor[i] = (_ZERO - mean) * scale
        for j in range(width):
            rows[i, j] = (rows[i, j] - mean) * scale


@kernel
def relu_norm_backward(
    gradient: F32, normed: F32, inverse_std: F32, floor: F32, bias: F32, block: F32
) -> None:
    """Overwrite the gradient of `relu_norm`'s output with that of its input.

    Args:
        gradient: [M, H].
        normed: [M, H] the output.
        inverse_std: [M] as written there.
        floor: [M] as written there.
        bias: [H] receives the gradient of the bias.
        block: [H] scratch.
    """
    width = gradient.shape[1]
    size = np.float32(width)
    bias[:] = _ZERO
    block[:] = _ZERO
    for i in range(gradient.shape[0]):
        mean, slope = _ZERO, _ZERO
        for j in range(width):
            mean += gradient[i, j]
            slope += gradient[i, j] * normed[i, j]
        mean /= size
        slope /= size
        scale, least = inverse_std[i], floor[i]
        for j in range(width):
            value = (gradient[i, j] - mean - normed[i, j] * slope) * scale
            value = value if normed[i, j] > least else _ZERO
            gradient[i, j] = value
            block[j] += value
        if i % _BLOCK == _BLOCK - 1:
            for j in range(width):
                bias[j] += block[j]
                block[j] = _ZERO
    for j in range(width):
        bias[j] += block[j]


@kernel
def gru_step(
    gates: F32,
    core: F32,
    bias: F32,
    before: F32,
    keep: F32,
    following: F32,
    normed: F32,
    inverse_std: F32,
    row: F32,
) -> None:
    """One step of the gated unit, and the LayerNorm of what comes out.

    Args:
        gates: [C, 4, H] the input's part of n, r, z, without bias; becomes n, r, z, c, where c is
            the core's part of n.
        core: [C, 3, H] the core's part of r, z, n, without bias.
        bias: [4, H] of n, r, z, c.
        before: [C, H] core state, already reset.
        keep: [C] 0 where the next row opens an episode.
        following: [C, H] receives the next row's core state, reset.
        normed: [C, H] receives standardise(h').
        inverse_std: [C] receives 1 / standard deviation.
        row: [H] scratch.
    """
    width = before.shape[1]
    size = np.float32(width)
    for i in range(before.shape[0]):
        for gate in range(1, 3):
            for j in range(width):
                total = gates[i, gate, j] + core[i, gate - 1, j] + bias[gate, j]
                gates[i, gate, j] = sigmoid(total)
        for j in range(width):
            gates[i, 3, j] = core[i, 2, j] + bias[3, j]
        for j in range(width):
            core_part = gates[i, 1, j] * gates[i, 3, j]
            row[j] = tanh(gates[i, 0, j] + bias[0, j] + core_part)
        for j in range(width):
            normed[i, j] = row[j] + gates[i, 2, j] * (before[i, j] - row[j])
        for j in range(width):
            gates[i, 0, j] = row[j]
        total = _ZERO
        for j in range(width):
            following[i, j] = normed[i, j] * keep[i]
            total += normed[i, j]
        mean = total / size
        squares = _ZERO
        for j in range(width):
            centred = normed[i, j] - mean
            squares += centred * centred
        scale = _ONE / np.sqrt(squares / size + _NORM_EPSILON)
        inverse_std[i] = scale
        for j in range(width):
            normed[i, j] = (normed[i, j] - mean) * scale


@kernel
def gru_step_backward(
    gates: F32,
    before: F32,
    normed: F32,
    inverse_std: F32,
    gradient: F32,
    carried: F32,
    direct: F32,
    keep: F32,
    bias: F32,
    row: F32,
    other: F32,
) -> None:
    """Gradient of `gru_step`, of its four gates before their nonlinearities.

    Args:
        gates: [C, 4, H] n, r, z, c; becomes their gradients.
        before: [C, H] core state, already reset.
        normed: [C, H] standardise(h').
        inverse_std: [C] as `gru_step` wrote it.
        gradient: [C, H] of `normed`; becomes that of h'.
        carried: [C, H] gradient of the next row's core state through its gates.
        direct: [C, H] the same, not through its gates; becomes this row's.
        keep: [C] 0 where the next row opens an episode.
        bias: [4, H] is increased by the gradient of n, r, z, c, summed over C.
        row: [H] scratch.
        other: [H] scratch.
    """
    width = before.shape[1]
    size = np.float32(width)
    for i in range(before.shape[0]):
        mean, slope = _ZERO, _ZERO
        for j in range(width):
            mean += gradient[i, j]
            slope += gradient[i, j] * normed[i, j]
        mean /= size
        slope /= size
        scale, kept = inverse_std[i], keep[i]
        for j in range(width):
            through_norm = (gradient[i, j] - mean - normed[i, j] * slope) * scale
            gradient[i, j] = through_norm + (carried[i, j] + direct[i, j]) * kept
        for j in range(width):
            direct[i, j] = gradient[i, j] * gates[i, 2, j]
        for j in range(width):
            slope_update = (_ONE - gates[i, 2, j]) * (before[i, j] - gates[i, 0, j])
            other[j] = direct[i, j] * slope_update
        for j in range(width):
            row[j] = (gradient[i, j] - direct[i, j]) * (_ONE - gates[i, 0, j] * gates[i, 0, j])
        for j in range(width):
            gates[i, 2, j] = other[j]
        for j in range(width):
            gates[i, 0, j] = row[j]
        for j in range(width):
            other[j] = row[j] * gates[i, 1, j]
        for j in range(width):
            row[j] = other[j] * gates[i, 3, j] * (_ONE - gates[i, 1, j])
        for j in range(width):
            gates[i, 1, j] = row[j]
        for j in range(width):
            gates[i, 3, j] = other[j]
        for gate in range(4):
            for j in range(width):
                bias[gate, j] += gates[i, gate, j]
