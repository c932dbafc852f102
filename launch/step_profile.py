"""Where the time of a simulator step goes, found by a clock inside the compiled step.

The engine is compiled once more, from the same functions, with the processor's cycle counter read
before and after each of its parts. It plays the same battles as the shipped engine, so the shares
are those of whole battles, which timing the parts on copied moments would not give. The clock
itself costs little, because the processor reads it while it computes; `Profile.stretch` says how
much, and with it how exact the shares are. Used by `launch.simulator_bench`.
"""

import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core.dispatcher import Dispatcher
from numba.extending import intrinsic

from dm2_dist.envs.skirmish.kernels import engine

PARTS = {
    "decide": ("decide",),
    "move": ("move",),
    "fight": ("fight", "settle"),
    "actions": ("list_actions",),
    "observations": ("observe",),
    "state": ("write_state",),
}
"""The kernels of each part of a step."""

_KERNELS = tuple(kernel for kernels in PARTS.values() for kernel in kernels)
_WHOLE = len(_KERNELS)  # row of the compiled call
_WORD = ir.IntType(64)

# The stubs of numba know neither these options nor how intrinsics are called.
_njit: Any = numba.njit
_intrinsic: Any = intrinsic


@dataclass(frozen=True, slots=True)
class Profile:
    """Where the time of one environment step goes.

    Attributes:
        microseconds: processor time of one environment step of one battle as shipped, Python
            included.
        shares: fraction of the step in each of `PARTS`, in `other` (the rest of the compiled call:
            legality of the actions, orders, rounding, verdict, reward) and in `python` (all that
            surrounds that call). They add up to 1.
        stretch: processor time of the clocked step over that of the shipped step, whose shares may
            differ from these by as much as this differs from 1.
    """

    microseconds: float
    shares: dict[str, float]
    stretch: float


def is_possible() -> bool:
    """Whether this processor has a cycle counter that programs may read."""
    return platform.machine().lower() in {"x86_64", "amd64"}


def measure(clock: "Clock", play: Callable[[], int], seconds: float) -> Profile:
    """Let the shipped and the clocked engine take turns at the same battles.

    Args:
        clock: the clocked engine.
        play: plays the same recorded battles from beginning to end with `SkirmishBatch`, and
            returns the environment steps played.
        seconds: time for both together; each plays the battles at least once.

    Returns:
        Medians over the turns.
    """
    with clock.inside():
        play()
    shipped: list[float] = []
    clocked: list[float] = []
    shares: list[dict[str, float]] = []
    started = time.perf_counter()
    while not shipped or time.perf_counter() - started < seconds:
        before, steps = time.process_time(), play()
        shipped.append((time.process_time() - before) / steps)
        with clock.inside():
            clock.ticks[:] = 0
            before, first, steps = time.process_time(), clock.now(), play()
            shares.append(clock.shares(clock.now() - first))
            clocked.append((time.process_time() - before) / steps)
    medians = {name: statistics.median(turn[name] for turn in shares) for name in shares[0]}
    total = sum(medians.values())
    return Profile(
        microseconds=1e6 * statistics.median(shipped),
        shares={name: share / total for name, share in medians.items()},
        stretch=statistics.median(a / b for a, b in zip(clocked, shipped, strict=True)),
    )


class Clock:
    """The engine with the cycle counter read around its parts.

    Attributes:
        ticks: int64 [P, 2] cycles spent and calls made, by kernel; the last row is the whole
            compiled call.
    """

    def __init__(self) -> None:
        """Compile; takes about as long as the first step of the simulator on a new machine.

        Raises:
            RuntimeError: the processor has no cycle counter, the shipped engine has not been
                called yet, or it has lost one of the kernels of `PARTS`.
        """
        if not is_possible():
            raise RuntimeError(f"no cycle counter for programs on {platform.machine()}")
        self.ticks: npt.NDArray[np.int64] = np.zeros((_WHOLE + 1, 2), np.int64)
        self._compiled: dict[str, Any] = {}
        shipped: Any = engine._advance
        if not shipped.signatures:
            raise RuntimeError("reset a batch before clocking the engine, so that it is compiled")
        self._advance = self._around(self._with_clocks(shipped), _WHOLE)
        missing = [kernel for kernel in _KERNELS if kernel not in self._compiled]
        if missing:
            raise RuntimeError(f"the engine does not call {', '.join(missing)} by name any more")
        # Compiled by hand: `reset` looks for the machine code of an engine that has none on disk.
        star: Any = numba.types.StarArgTuple
        self._advance.compile((star.from_types(shipped.signatures[0]),))
        self.now: Callable[[], int] = _njit(_nrt=False)(_now)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Let every batch of this process use the clocked engine meanwhile."""
        shipped = engine._advance
        engine._advance = self._advance
        try:
            yield
        finally:
            engine._advance = shipped

    def shares(self, cycles: int) -> dict[str, float]:
        """Share out what `ticks` holds.

        Args:
            cycles: cycles from beginning to end, Python included.

        Returns:
            Fractions that add up to 1: each of `PARTS`, `other` and `python`.
        """
        spent = self.ticks[:, 0] / cycles
        parts = {
            name: float(sum(spent[_KERNELS.index(kernel)] for kernel in kernels))
            for name, kernels in PARTS.items()
        }
        parts["other"] = float(spent[_WHOLE]) - sum(parts.values())
        parts["python"] = 1.0 - float(spent[_WHOLE])
        return parts

    def _with_clocks(self, kernel: Any) -> Any:
        """Return a kernel that calls clocked versions of the kernels in `PARTS`."""
        name = kernel.py_func.__name__
        if name in self._compiled:
            return self._compiled[name]
        function: FunctionType = kernel.py_func
        called = {
            used: function.__globals__[used]
            for used in _names(function.__code__)
            if isinstance(function.__globals__.get(used), Dispatcher)
        }
        renewed = {used: self._with_clocks(inner) for used, inner in called.items()}
        result = kernel
        if any(renewed[used] is not called[used] for used in called):
            scope = {**function.__globals__, **renewed}
            closure = function.__closure__
            copy = FunctionType(function.__code__, scope, name, function.__defaults__, closure)
            result = _njit(**_options(kernel))(copy)
        if name in _KERNELS:
            result = self._around(result, _KERNELS.index(name))
        self._compiled[name] = result
        return result

    def _around(self, kernel: Any, row: int) -> Any:
        """Return the kernel with its cycles and calls added to a row of `ticks`."""
        address = self.ticks[row].ctypes.data

        def clocked(*arguments: Any) -> Any:
            before = _cycles()
            result = kernel(*arguments)
            _charge(address, _cycles() - before)
            return result

        return _njit(**_options(kernel))(clocked)


def _options(kernel: Any) -> dict[str, Any]:
    """How a kernel has been compiled."""
    return {key: kernel.targetoptions[key] for key in kernel.targetoptions if key != "nopython"}


def _now() -> int:
    return int(_cycles())


def _names(code: CodeType) -> set[str]:
    """The global names that a function may use, those of functions inside it included."""
    nested = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*(_names(inner) for inner in nested))


def _read_counter(_context: Any) -> Any:
    def generate(_target: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        kind = ir.FunctionType(_WORD, [])
        return builder.call(builder.module.declare_intrinsic("llvm.readcyclecounter", (), kind), [])

    return numba.types.int64(), generate


def _add_cycles(_context: Any, _address: Any, _cycles: Any) -> Any:
    def generate(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        row = builder.inttoptr(arguments[0], _WORD.as_pointer())
        for index, amount in enumerate((arguments[1], _WORD(1))):
            place = builder.gep(row, [_WORD(index)])
            builder.store(builder.add(builder.load(place), amount), place)
        return _target.get_dummy_value()

    return numba.types.none(numba.types.int64, numba.types.int64), generate


_cycles = _intrinsic(_read_counter)
_charge = _intrinsic(_add_cycles)
