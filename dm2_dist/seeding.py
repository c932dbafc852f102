"""Counter-based random numbers: every draw is a function of a key, whoever drew before.

A key is a tuple of integers and words; `derive` folds it into 64 bits. Uniform draws hash (key,
counter) with the SplitMix64 finaliser (Steele, Lea, Flood 2014), vectorised over NumPy arrays.
"""

import hashlib

import numpy as np
import numpy.typing as npt

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)
MANTISSA = np.float64(2.0**-53)


def derive(*key: int | str) -> int:
    """Fold a key such as `(run_seed, "episode", 12)` into an unsigned 64-bit seed."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in key)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Scramble uint64 values of any shape with the SplitMix64 finaliser."""
    z = values + GOLDEN
    z = (z ^ (z >> np.uint64(30))) * MIX_1
    z = (z ^ (z >> np.uint64(27))) * MIX_2
    return z ^ (z >> np.uint64(31))


def uniform(seeds: npt.NDArray[np.uint64], counter: int, width: int) -> npt.NDArray[np.float64]:
    """Draw `width` uniforms in [0, 1) for each seed at one counter.

    Args:
        seeds: uint64 [B], one key per row.
        counter: the draw's position in the stream, for instance the environment step.
        width: W, draws per row, at most 2**16.

    Returns:
        float64 [B, W]
    """
    columns = np.arange(width, dtype=np.uint64)
    positions = (np.uint64(counter) << np.uint64(16)) | columns
    words = mix(mix(seeds)[:, None] ^ mix(positions)[None, :])
    return (words >> np.uint64(11)).astype(np.float64) * MANTISSA
