"""Random numbers without a generator: each is a hash of the battle's seed and of what it is for.

So a draw depends on nothing that happened before it, and battles cannot influence each other.
"""

from __future__ import annotations

import numpy as np

from dm2_dist.envs.skirmish.kernels.compiled import inner

# What a draw is for.
PLACE = 1
COOLDOWN_DELAY = 2
MARCH_POINT = 3
TURN_ORDER = 4

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_MASK = (1 << 64) - 1
_UNIT = 1.0 / 9007199254740992.0  # 2**-53


@inner
def mix(word: np.uint64) -> np.uint64:
    """Scramble 64 bits (the finaliser of SplitMix64)."""
    word = (word ^ (word >> np.uint64(30))) * _FIRST
    word = (word ^ (word >> np.uint64(27))) * _SECOND
    return word ^ (word >> np.uint64(31))


@inner
def uniform(seed: np.uint64, purpose: int, loop: int, unit: int) -> float:
    """Draw from [0, 1), the same number for the same arguments."""
    key = (
        (np.uint64(purpose) << np.uint64(56)) ^ (np.uint64(loop) << np.uint64(16)) ^ np.uint64(unit)
    )
    word = mix(mix(seed + _GOLDEN) ^ (key * _GOLDEN))
    return np.float64(word >> np.uint64(11)) * _UNIT


def derived_seed(seed: int, index: int) -> int:
    """The `index`-th 64-bit seed of a sequence named by `seed`, for use outside the kernels."""
    return _python_mix(_python_mix(seed + int(_GOLDEN)) + (index + 1) * int(_GOLDEN))


def _python_mix(word: int) -> int:
    word &= _MASK
    word = ((word ^ (word >> 30)) * int(_FIRST)) & _MASK
    word = ((word ^ (word >> 27)) * int(_SECOND)) & _MASK
    return word ^ (word >> 31)
