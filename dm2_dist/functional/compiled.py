"""How the elementwise parts of the gradients are compiled for the CPU.

Chains of small tensor operations read and write memory more than they compute. A kernel does the
whole chain on a row while the row is in registers. Products of additions may be fused and sums may
be split into lanes, in an order that the machine code fixes: the same bits on every call. Numbers
that are not finite stay so. Feeds `functional.network_kernels`, `functional.loss_kernels`,
`functional.discriminator_kernels` and `functional.adam`.

NOTE: the machine code on disk is renewed when the file of a kernel or this file changes. Whatever
else a kernel calls must lie in one of the two.
"""

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np

_Function = TypeVar("_Function", bound=Callable[..., object])

_HALF = np.float32(0.5)
# Tanh as a quotient of polynomials: beyond the bound it is one to the last bit of a float32.
_TANH_BOUND = np.float32(7.905311)
_P1, _P3, _P5 = np.float32(4.89352456e-3), np.float32(6.37261929e-4), np.float32(1.48572236e-5)
_P7, _P9 = np.float32(5.12229709e-8), np.float32(-8.60467152e-11)
_P11, _P13 = np.float32(2.00018790e-13), np.float32(-2.76076848e-16)
_Q0, _Q2 = np.float32(4.89352519e-3), np.float32(2.26843463e-3)
_Q4, _Q6 = np.float32(1.18534706e-4), np.float32(1.19825839e-6)
# This file is compiled into every kernel, but machine code is looked up by the kernel's own name,
# place and file.
_CONTENT = f"{zlib.crc32(Path(__file__).read_bytes()):08x}"
# No kernel allocates, so none counts references.
_OPTIONS: dict[str, Any] = {
    "error_model": "numpy",
    "fastmath": {"contract", "reassoc"},
    "_nrt": False,
}


def inner(function: _Function) -> _Function:
    """Compile a function into each kernel that calls it."""
    return cast(_Function, numba.njit(forceinline=True, **_OPTIONS)(function))


def kernel(function: _Function) -> _Function:
    """Compile a function that Python calls, and keep the machine code on disk."""
    function.__qualname__ += f"_{_CONTENT}"
    return cast(_Function, numba.njit(cache=True, nogil=True, **_OPTIONS)(function))


@inner
def tanh(x: np.float32) -> np.float32:
    """Hyperbolic tangent, to 3e-7."""
    x = min(max(x, -_TANH_BOUND), _TANH_BOUND)
    s = x * x
    p = _P1 + s * (_P3 + s * (_P5 + s * (_P7 + s * (_P9 + s * (_P11 + s * _P13)))))
    return x * p / (_Q0 + s * (_Q2 + s * (_Q4 + s * _Q6)))


@inner
def sigmoid(x: np.float32) -> np.float32:
    """1 / (1 + exp(-x)), to 2e-7."""
    return _HALF * tanh(_HALF * x) + _HALF
