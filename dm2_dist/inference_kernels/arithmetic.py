"""Products, norms and gates of a few rows at once, in place and in a fixed order.

Nothing is allocated, and the functions are compiled apart: handing a few arrays over costs less
than compiling the same loops into every place. Used by `joint_step`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dm2_dist.envs.skirmish.kernels.compiled import apart, inner

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

LANES = 16
"""Partial sums of a row: as many float32 as the widest vectors hold, whatever the processor has."""
FIRST_CHOICE = 2
"""Row of the first layer at which the last actions begin."""

_EPSILON = np.float32(1e-5)
_ZERO, _HALF, _ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)

# tanh(x) = x P(x^2) / Q(x^2) for |x| < 8.5, fitted to a relative error of 1.2e-8; with the
# rounding of float32 3.5e-7.
_LARGEST = np.float32(8.5)
_P1, _P2 = np.float32(0.13413254916667938), np.float32(0.0035340352915227413)
_P3, _P4 = np.float32(2.125117498508189e-05), np.float32(1.4269396331201278e-08)
_Q1, _Q2 = np.float32(0.46746575832366943), np.float32(0.026022784411907196)
_Q3, _Q4 = np.float32(0.0003348878235556185), np.float32(8.145195238284941e-07)


@apart
def add_product(inputs: F32, weight: F32, outputs: F32, num_rows: int) -> None:
    """Add inputs x weight to the first rows of `outputs`, term after term in the order of inputs.

    Four rows share what is read of the weight.
    """
    row = 0
    while row + 4 <= num_rows:
        _add_to_four(inputs, weight, outputs, row)
        row += 4
    while row < num_rows:
        _add_to_one(inputs, weight, outputs, row)
        row += 1


@inner
def _add_to_four(inputs: F32, weight: F32, outputs: F32, i: int) -> None:
    whole = weight.shape[0] // 4 * 4
    for p in range(0, whole, 4):
        a0, a1, a2, a3 = inputs[i, p], inputs[i, p + 1], inputs[i, p + 2], inputs[i, p + 3]
        b0, b1 = inputs[i + 1, p], inputs[i + 1, p + 1]
        b2, b3 = inputs[i + 1, p + 2], inputs[i + 1, p + 3]
        c0, c1 = inputs[i + 2, p], inputs[i + 2, p + 1]
        c2, c3 = inputs[i + 2, p + 2], inputs[i + 2, p + 3]
        d0, d1 = inputs[i + 3, p], inputs[i + 3, p + 1]
        d2, d3 = inputs[i + 3, p + 2], inputs[i + 3, p + 3]
        for j in range(weight.shape[1]):
            w0, w1, w2, w3 = weight[p, j], weight[p + 1, j], weight[p + 2, j], weight[p + 3, j]
            outputs[i, j] = outputs[i, j] + a0 * w0 + a1 * w1 + a2 * w2 + a3 * w3
            outputs[i + 1, j] = outputs[i + 1, j] + b0 * w0 + b1 * w1 + b2 * w2 + b3 * w3
            outputs[i + 2, j] = outputs[i + 2, j] + c0 * w0 + c1 * w1 + c2 * w2 + c3 * w3
            outputs[i + 3, j] = outputs[i + 3, j] + d0 * w0 + d1 * w1 + d2 * w2 + d3 * w3
    for p in range(whole, weight.shape[0]):
        a0, b0, c0, d0 = inputs[i, p], inputs[i + 1, p], inputs[i + 2, p], inputs[i + 3, p]
        for j in range(weight.shape[1]):
            outputs[i, j] += a0 * weight[p, j]
            outputs[i + 1, j] += b0 * weight[p, j]
            outputs[i + 2, j] += c0 * weight[p, j]
            outputs[i + 3, j] += d0 * weight[p, j]


@inner
def _add_to_one(inputs: F32, weight: F32, outputs: F32, i: int) -> None:
    whole = weight.shape[0] // 4 * 4
    for p in range(0, whole, 4):
        a0, a1, a2, a3 = inputs[i, p], inputs[i, p + 1], inputs[i, p + 2], inputs[i, p + 3]
        for j in range(weight.shape[1]):
            w0, w1, w2, w3 = weight[p, j], weight[p + 1, j], weight[p + 2, j], weight[p + 3, j]
            outputs[i, j] = outputs[i, j] + a0 * w0 + a1 * w1 + a2 * w2 + a3 * w3
    for p in range(whole, weight.shape[0]):
        a0 = inputs[i, p]
        for j in range(weight.shape[1]):
            outputs[i, j] += a0 * weight[p, j]


@apart
def copy(source: F32, target: F32) -> None:
    """Fill a row with the beginning of another."""
    for j in range(target.size):
        target[j] = source[j]


@apart
def clear(outputs: F32, num_rows: int) -> None:
    """Set the first rows to 0."""
    for i in range(num_rows):
        for j in range(outputs.shape[1]):
            outputs[i, j] = _ZERO


@apart
def affine(inputs: F32, layer: F32, outputs: F32, num_rows: int) -> None:
    """Write bias + inputs x weight to the first rows of `outputs`; row 0 of a layer is its bias."""
    for i in range(num_rows):
        for j in range(layer.shape[1]):
            outputs[i, j] = layer[0, j]
    add_product(inputs, layer[1:], outputs, num_rows)


@inner
def _folded(lanes: F32) -> np.float32:
    """The sum of all lanes, in pairs."""
    half = LANES // 2
    while half > 0:
        for j in range(half):
            lanes[j] += lanes[j + half]
        half //= 2
    total: np.float32 = lanes[0]
    return total


@inner
def _total(values: F32, lanes: F32) -> np.float32:
    """The sum of a row."""
    for j in range(LANES):
        lanes[j] = _ZERO
    whole = values.size // LANES * LANES
    for start in range(0, whole, LANES):
        for j in range(LANES):
            lanes[j] += values[start + j]
    for j in range(whole, values.size):
        lanes[j - whole] += values[j]
    return _folded(lanes)


@inner
def _squares(values: F32, lanes: F32) -> np.float32:
    """The sum of the squares of a row."""
    for j in range(LANES):
        lanes[j] = _ZERO
    whole = values.size // LANES * LANES
    for start in range(0, whole, LANES):
        for j in range(LANES):
            lanes[j] += values[start + j] * values[start + j]
    for j in range(whole, values.size):
        lanes[j - whole] += values[j] * values[j]
    return _folded(lanes)


@apart
def standardise(rows: F32, num_rows: int, lanes: F32) -> None:
    """LayerNorm without scale and shift, in place."""
    width = np.float32(rows.shape[1])
    for i in range(num_rows):
        row = rows[i]
        mean = _total(row, lanes) / width
        for j in range(row.size):
            row[j] -= mean
        scale = _ONE / np.sqrt(_squares(row, lanes) / width + _EPSILON)
        for j in range(row.size):
            row[j] *= scale


@inner
def squash(x: np.float32) -> np.float32:
    """Hyperbolic tangent."""
    x = _LARGEST if x > _LARGEST else x
    x = -_LARGEST if x < -_LARGEST else x
    y = x * x
    above = (((_P4 * y + _P3) * y + _P2) * y + _P1) * y + _ONE
    below = (((_Q4 * y + _Q3) * y + _Q2) * y + _Q1) * y + _ONE
    return x * above / below


@apart
def finish_first_layer(
    observation: F32,
    action: I64,
    layer: F32,
    size: np.float32,
    hidden: F32,
    num_rows: int,
    lanes: F32,
) -> None:
    """From products with the observation to the ReLU of the first layer after its LayerNorm.

    No one-hot vector is built, and centring commutes with the product:
    (x - mean(x)) W = x W - mean(x) 1 W.
    """
    for i in range(num_rows):
        last = action[i]
        ones = _ONE
        if last >= 0:
            ones += _ONE
        else:
            last = layer.shape[0] - observation.shape[1] - FIRST_CHOICE - 1
        choice = FIRST_CHOICE + last
        mean = (_total(observation[i], lanes) + ones) / size
        variance = (_squares(observation[i], lanes) + ones) / size - mean * mean
        scale = _ONE / np.sqrt(variance + _EPSILON)
        for j in range(hidden.shape[1]):
            value = hidden[i, j] + layer[choice, j] - mean * layer[1, j]
            value = value * scale + layer[0, j]
            hidden[i, j] = value if value > _ZERO else _ZERO


@apart
def recur(gates: F32, core_gates: F32, core: F32, num_rows: int) -> None:
    """From the products of a GRU step (see `functional.gru`) to its core state, in place."""
    width = core.shape[1]
    for i in range(num_rows):
        for j in range(2 * width):
            # sigmoid(x) = (1 + tanh(x / 2)) / 2; the inner half is in the weights.
            gates[i, j] = _HALF + _HALF * squash(gates[i, j] + core_gates[i, j])
        for j in range(width):
            new = squash(gates[i, 2 * width + j] + gates[i, j] * core_gates[i, 2 * width + j])
            core[i, j] = new + gates[i, width + j] * (core[i, j] - new)


@apart
def rectify(rows: F32, num_rows: int) -> None:
    """ReLU of the first rows, in place."""
    for i in range(num_rows):
        for j in range(rows.shape[1]):
            rows[i, j] = rows[i, j] if rows[i, j] > _ZERO else _ZERO
