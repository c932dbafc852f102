"""Every value of a trajectory body, looked at once, in one compiled pass.

Comparisons of whole numbers alone: float32 values are judged by their bits, so nothing here
depends on rounding. The plain version that it is held to is beside its tests. Used by `slice_body`.
"""

from collections.abc import Mapping
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from numba import types

from dm2_dist.comms.refusal import Reason

FLAGS = ("available_actions", "alive", "terminated", "truncated", "won")
FLOATS = ("observation", "reward", "behaviour_log_prob")
FINDINGS: tuple[tuple[Reason, str], ...] = (
    (Reason.SCHEMA, "an episode is shorter than one step or longer than the limit"),
    (Reason.SCHEMA, "episode lengths do not add up to the action rows"),
    *((Reason.SCHEMA, f"{name} holds something other than 0 and 1") for name in FLAGS),
    (Reason.SCHEMA, "an episode ended both ways or neither"),
    *((Reason.NONFINITE, f"{name} holds a value that is not finite") for name in FLOATS),
    (Reason.SCHEMA, "behaviour_log_prob is above 0"),
    (Reason.ILLEGAL_ACTION, "there is no such action"),
    (Reason.ILLEGAL_ACTION, "an action was not available when it was taken"),
)
"""What `look` may find, in the order in which it looks; it returns 1 for the first of them."""
STRUCTURE = 8
"""The findings up to here are about lengths, flags and ends."""
(_LENGTH, _SUM, _FLAG, _ENDS, _FLOAT, _POSITIVE, _ACTION, _UNAVAILABLE) = 1, 2, 3, 8, 9, 12, 13, 14

_EXPONENT, _ONE_EXPONENT = np.int32(0x7F800000), np.int32(0x00800000)
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "_nrt": False}
_READ: dict[str, Any] = {"layout": "C", "readonly": True}
_SIGNATURE = types.int64(
    types.Array(types.uint8, 1, **_READ),
    types.Array(types.int32, 1, **_READ),
    types.Array(types.int64, 1, **_READ),
)


def _inner(function: Any) -> Any:
    """Compile a function into the kernel."""
    return numba.njit(forceinline=True, **_OPTIONS)(function)


@_inner
def _lengths(words: Any, plan: Any) -> int:
    total = 0
    for e in range(plan[3], plan[3] + plan[1]):
        if words[e] < 1 or words[e] > plan[4]:
            return _LENGTH
        total += words[e]
    return 0 if total == plan[0] else _SUM


@_inner
def _flags(octets: Any, plan: Any) -> int:
    rows = plan[0] + plan[1]
    for flag in range(5):
        count = rows * plan[2] if flag == 0 else rows if flag == 1 else plan[1]
        start, bits = plan[5 + flag], np.uint8(0)
        for i in range(count):  # of indices without a sign, none counts from the end
            bits |= octets[np.uint64(start + i)]
        if bits > 1:
            return _FLAG + flag
    return 0


@_inner
def _ends(octets: Any, plan: Any) -> int:
    for e in range(plan[1] * plan[10]):
        if octets[plan[7] + e] == octets[plan[8] + e]:
            return _ENDS
    return 0


@_inner
def _floats(words: Any, plan: Any) -> int:
    for number in range(3):
        start, count = plan[12 + number], plan[0]
        if number == 0:
            count = (plan[0] + plan[1]) * plan[11]
        bits = np.int32(0)
        for i in range(count):
            # Not finite: all bits of the exponent are set. One more sets the sign.
            bits |= np.int32((words[np.uint64(start + i)] & _EXPONENT) + _ONE_EXPONENT)
        if bits < 0:
            return _FLOAT + number
    # Of finite float32 the positive ones are ordered as their bits are; the others are below 0.
    for i in range(plan[14], plan[14] + plan[0]):
        if words[i] > plan[15]:
            return _POSITIVE
    return 0


@_inner
def _actions(octets: Any, words: Any, plan: Any) -> int:
    for i in range(plan[16], plan[16] + plan[0]):
        if octets[i] >= plan[2]:
            return _ACTION
    available, i = plan[5], plan[16]
    for e in range(plan[3], plan[3] + plan[1]):
        for _ in range(words[e]):
            if octets[available + octets[i]] == 0:
                return _UNAVAILABLE
            available += plan[2]
            i += 1
        available += plan[2]  # the final observation
    return 0


@numba.njit(_SIGNATURE, cache=True, nogil=True, **_OPTIONS)
def look(octets: Any, words: Any, plan: Any) -> int:
    """What is wrong with a body: the number in `FINDINGS`, from 1, of the first finding; or 0.

    Args:
        octets: uint8 [n] the body.
        words: int32 [n // 4] the same bytes.
        plan: int64 [17] of `plan_of`, for a body of this size.
    """
    found = _lengths(words, plan)
    if found == 0:
        found = _flags(octets, plan)
    if found == 0:
        found = _ends(octets, plan)
    if found == 0:
        found = _floats(words, plan)
    if found == 0:
        found = _actions(octets, words, plan)
    return found  # type: ignore[no-any-return]


def plan_of(
    offset: Mapping[str, int],
    rows: tuple[int, int],
    sizes: tuple[int, int, int],
    tolerance: float,
    *,
    whole: bool,
) -> npt.NDArray[np.int64]:
    """Where `look` has to look, int64 [17].

    Args:
        offset: array -> its first byte; those of float32 and int32 are multiples of 4.
        rows: R and E.
        sizes: O, A and the largest T_e.
        tolerance: the largest log-probability.
        whole: whether each episode must have ended.
    """
    observation_size, num_actions, episode_limit = sizes
    plan = np.array(
        [
            *(*rows, num_actions, offset["length"] // 4, episode_limit),
            *(offset[name] for name in FLAGS),
            *(whole, observation_size),
            *(offset[name] // 4 for name in FLOATS),
            np.float32(tolerance).view(np.int32),
            offset["action"],
        ],
        np.int64,
    )
    plan.flags.writeable = False
    return plan
