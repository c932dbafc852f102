"""Draws and the choice of a legal action, one agent at a time. Used by `joint_step`."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from dm2_dist import seeding
from dm2_dist.envs.skirmish.kernels.compiled import inner

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
U8 = npt.NDArray[np.uint8]

_SHIFT_1, _SHIFT_2, _SHIFT_3 = np.uint64(30), np.uint64(27), np.uint64(31)
_COLUMN_BITS, _LOW_BITS = np.uint64(16), np.uint64(11)
_GOLDEN, _MIX_1, _MIX_2 = seeding.GOLDEN, seeding.MIX_1, seeding.MIX_2
_MANTISSA = seeding.MANTISSA


@inner
def _scramble(word: np.uint64) -> np.uint64:
    """`seeding.mix` of one word."""
    word = word + _GOLDEN
    word = (word ^ (word >> _SHIFT_1)) * _MIX_1
    word = (word ^ (word >> _SHIFT_2)) * _MIX_2
    return word ^ (word >> _SHIFT_3)


@inner
def draw(seed: np.uint64, step: int, k: int) -> float:
    """Element k of `seeding.uniform` for one seed, at the counter `step`."""
    position = (np.uint64(step) << _COLUMN_BITS) | np.uint64(k)
    word = _scramble(_scramble(seed) ^ _scramble(position))
    return np.float64(word >> _LOW_BITS) * _MANTISSA


@inner
def choose(
    logits: F32, available: U8, greedy: bool, uniform: float, weight: F64
) -> tuple[int, np.float32]:
    """Choose a legal action: the most probable one, or by inverting the cumulative distribution.

    Returns:
        The action, and its log-probability among the legal ones.
    """
    best = -1
    for a in range(logits.size):
        if available[a] != 0 and (best < 0 or logits[a] > logits[best]):
            best = a
    total = 0.0
    for a in range(logits.size):
        weight[a] = math.exp(np.float64(logits[a] - logits[best])) if available[a] != 0 else 0.0
        total += weight[a]
    taken = best
    if not greedy:
        reached = 0.0
        for a in range(logits.size):
            reached += weight[a]
            if weight[a] > 0.0:
                taken = a
            if reached > uniform * total:
                break
    return taken, np.float32(np.float64(logits[taken] - logits[best]) - math.log(total))
