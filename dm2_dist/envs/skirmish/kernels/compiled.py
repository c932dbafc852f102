"""How the simulator's inner functions are compiled.

One place, so that every kernel is compiled the same way: no fast-math and no threads, hence the
same bits on every call.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from filelock import FileLock

COMPILE_SECONDS = 300.0
"""Longest wait for another process that compiles."""

Function = TypeVar("Function", bound=Callable[..., object])

# No kernel allocates an array, so none needs reference counts; counting them makes a step three
# times as slow.
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "_nrt": False}


def inner(function: Function) -> Function:
    """Compile a function that only other kernels call, into each place that calls it.

    Without that, handing over the arrays of a `World` costs more than what most kernels do.
    """
    return cast(Function, numba.njit(forceinline=True, **_OPTIONS)(function))


def apart(function: Function) -> Function:
    """Compile a function that kernels call now and then: once, whoever calls it."""
    return cast(Function, numba.njit(**_OPTIONS)(function))


def entry(function: Function) -> Function:
    """Compile a function that Python calls, and keep the machine code on disk.

    The cache on disk notices a change in the function's own file only, not in the kernels that it
    calls. Entry points therefore close over `source_digest()`, which is part of the cache key.
    """
    return cast(Function, numba.njit(cache=True, nogil=True, **_OPTIONS)(function))


def source_digest() -> int:
    """Return a number that changes whenever any module of the simulator does."""
    digest = hashlib.blake2b(digest_size=7)
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return int.from_bytes(digest.digest(), "big")


_compiled: set[tuple[int, str]] = set()


@contextmanager
def first_call(function: Callable[..., object], digest: int, variant: str) -> Iterator[None]:
    """Let one process compile an entry point while the others wait for its machine code.

    Many actors start at once; without this each of them would compile the same code.

    Args:
        function: an entry point.
        digest: the `source_digest()` that it closes over.
        variant: names the types of the arguments, for each of which it is compiled once.
    """
    if (digest, variant) in _compiled:
        yield
        return
    dispatcher: Any = function
    folder = Path(dispatcher.stats.cache_path)
    ready = folder / f"skirmish-{digest:014x}-{variant}-numba-{numba.__version__}.ready"
    if ready.exists():
        yield
    else:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "skirmish.lock", timeout=COMPILE_SECONDS):
            yield
            ready.touch()
    _compiled.add((digest, variant))
