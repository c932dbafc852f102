"""Trajectory bodies: raw little-endian tensors end to end, each at the next multiple of 64 bytes.

Given the numbers of action rows and episodes there is one layout, and it is kept once made. What
comes from outside is decoded into something fully checked or refused. Feeds `actors.session` and
`learners.intake`.
"""

import functools
import math
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dm2_dist.comms import inspection_kernels
from dm2_dist.comms.codec import BODY_LIMIT, Buffer, digest_of
from dm2_dist.comms.inspection import LOG_PROB_TOLERANCE, Expectation, check_pieces
from dm2_dist.comms.messages import TensorSpec, Trajectory
from dm2_dist.comms.refusal import Reason, Refused
from dm2_dist.trajectory import ENTERING_FIELDS, SLICE_FIELDS, Entering, Slice, arrays_of

ALIGNMENT = 64
_DTYPES: dict[str, np.dtype[Any]] = {
    "observation": np.dtype("<f4"),
    "available_actions": np.dtype("u1"),
    "alive": np.dtype("u1"),
    "action": np.dtype("u1"),
    "behaviour_log_prob": np.dtype("<f4"),
    "reward": np.dtype("<f4"),
    "length": np.dtype("<i4"),
    "terminated": np.dtype("u1"),
    "truncated": np.dtype("u1"),
    "won": np.dtype("u1"),
    "steps_before": np.dtype("<i4"),
    "return_before": np.dtype("<f4"),
    "previous_action": np.dtype("<i2"),
    "core_state": np.dtype("<f4"),
}
_U8, _I32 = np.dtype("u1"), np.dtype("<i4")
_PIECES = SLICE_FIELDS + ENTERING_FIELDS
_ACTION, _LENGTH = SLICE_FIELDS.index("action"), SLICE_FIELDS.index("length")
_PADDING = bytes(ALIGNMENT)
_KEPT_LAYOUTS = 1024


class Layout(NamedTuple):
    """Where the tensors of a body lie.

    specs: what a header says of them, in order.
    dtypes: of the tensors.
    padding: bytes before each tensor.
    size: bytes of the body.
    """

    specs: tuple[TensorSpec, ...]
    dtypes: tuple[np.dtype[Any], ...]
    padding: tuple[bytes, ...]
    size: int


def encode_slice(data: Slice) -> tuple[tuple[TensorSpec, ...], bytes, str]:
    """Lay a slice out as one body.

    Returns:
        What the header says of it (tensors), the body, and the body's digest.

    Raises:
        ValueError: the body would exceed the limit; the ticket holds too many episodes.
    """
    arrays = arrays_of(data)
    layout = _layout(tuple(arrays), tuple(array.shape for array in arrays.values()))
    if layout.size > BODY_LIMIT:
        raise ValueError(
            f"a trajectory of {layout.size} bytes exceeds the limit of {BODY_LIMIT}; "
            "lower collection.episodes_per_ticket"
        )
    parts: list[Any] = []
    for array, dtype, padding in zip(arrays.values(), layout.dtypes, layout.padding, strict=True):
        parts += (padding, np.ascontiguousarray(array, dtype))
    body = b"".join(parts)
    return layout.specs, body, digest_of(body)


def size_of(steps: int, episodes: int, expectation: Expectation) -> int:
    """Bytes of a body.

    Args:
        steps: action rows, of all episodes or pieces together.
        episodes: episodes or pieces.
        expectation: the other sizes.
    """
    shapes = _shapes(steps, episodes, expectation)
    return _layout(tuple(shapes), tuple(shapes.values())).size


def decode_slice(header: Trajectory, body: Buffer, expectation: Expectation) -> Slice:
    """Check a body completely and return read-only views into it.

    Raises:
        Refused: oversize, schema, corrupt, nonfinite or illegal_action.
    """
    if len(body) > BODY_LIMIT:
        raise Refused(Reason.OVERSIZE, f"a body of {len(body)} bytes; the limit is {BODY_LIMIT}")
    layout, plan = _check_tensors(header.tensors, expectation)
    if len(body) != layout.size or digest_of(body) != header.digest:
        raise Refused(Reason.CORRUPT, f"body of {len(body)} bytes does not match its digest")
    frozen, words = _aligned(body)
    octets = np.frombuffer(frozen, _U8)
    finding = inspection_kernels.look(octets, words, plan)
    if finding and (finding <= inspection_kernels.STRUCTURE or not expectation.unroll_length):
        raise Refused(*inspection_kernels.FINDINGS[finding - 1])
    arrays: list[Any] = [
        np.ndarray(spec.shape, dtype, frozen, spec.offset)
        for spec, dtype in zip(layout.specs, layout.dtypes, strict=True)
    ]
    data = Slice(*arrays[: len(SLICE_FIELDS)])
    if not expectation.unroll_length:
        return data
    entering = Entering(*arrays[len(SLICE_FIELDS) :])
    data = replace(data, entering=entering)
    check_pieces(data, entering, expectation)
    if finding:
        raise Refused(*inspection_kernels.FINDINGS[finding - 1])
    return data


def prepare() -> None:
    """Have the kernel's machine code loaded, or made, before there is work for it."""
    layout, plan = _expected(
        1, 1, Expectation(observation_size=1, num_actions=1, episode_limit=1, num_episodes=1)
    )
    frozen, words = _aligned(bytes(layout.size))
    inspection_kernels.look(np.frombuffer(frozen, _U8), words, plan)


def _aligned(body: Buffer) -> tuple[Buffer, npt.NDArray[np.int32]]:
    """A body that cannot be written to, and its words; copied if it lies at an odd address."""
    frozen: Buffer = body if isinstance(body, bytes) else memoryview(body).toreadonly()
    words: npt.NDArray[np.int32] = np.frombuffer(frozen, _I32, len(frozen) // 4)
    if not words.flags.aligned:
        return _aligned(bytes(frozen))
    return frozen, words


@functools.lru_cache(maxsize=_KEPT_LAYOUTS)
def _layout(names: tuple[str, ...], shapes: tuple[tuple[int, ...], ...]) -> Layout:
    """The one layout that given shapes have."""
    specs, padding = [], []
    end = 0
    for name, shape in zip(names, shapes, strict=True):
        dtype = _DTYPES[name]
        offset = -(-end // ALIGNMENT) * ALIGNMENT
        specs.append(TensorSpec(name, dtype.name, shape, offset))
        padding.append(_PADDING[: offset - end])
        end = offset + math.prod(shape) * dtype.itemsize
    dtypes = tuple(_DTYPES[name] for name in names)
    return Layout(tuple(specs), dtypes, tuple(padding), end)


@functools.lru_cache(maxsize=_KEPT_LAYOUTS)
def _expected(
    steps: int, episodes: int, expectation: Expectation
) -> tuple[Layout, npt.NDArray[np.int64]]:
    """The layout of so many action rows and episodes, and where the kernel finds the values."""
    shapes = _shapes(steps, episodes, expectation)
    layout = _layout(tuple(shapes), tuple(shapes.values()))
    plan = inspection_kernels.plan_of(
        {spec.name: spec.offset for spec in layout.specs},
        (steps, episodes),
        (expectation.observation_size, expectation.num_actions, expectation.episode_limit),
        LOG_PROB_TOLERANCE,
        whole=not expectation.unroll_length,
    )
    return layout, plan


def _check_tensors(
    tensors: tuple[TensorSpec, ...], expectation: Expectation
) -> tuple[Layout, npt.NDArray[np.int64]]:
    """Check what is announced against the only layout allowed; returns that and its plan.

    Only sizes within what is expected get as far as being remembered.
    """
    names = _PIECES if expectation.unroll_length else SLICE_FIELDS
    if tuple([spec.name for spec in tensors]) != names:
        raise Refused(Reason.SCHEMA, "the tensors are not those of a slice, in order")
    steps, episodes = tensors[_ACTION].shape, tensors[_LENGTH].shape
    if len(steps) != 1 or not expectation.fewest_steps <= steps[0] <= expectation.most_steps:
        raise Refused(
            Reason.SCHEMA, f"action has shape {steps} for {expectation.num_episodes} episodes"
        )
    most = steps[0] if expectation.unroll_length else expectation.num_episodes
    if len(episodes) != 1 or not expectation.num_episodes <= episodes[0] <= most:
        raise Refused(
            Reason.SCHEMA, f"length has shape {episodes} for {expectation.num_episodes} episodes"
        )
    layout, plan = _expected(steps[0], episodes[0], expectation)
    if tensors != layout.specs:
        pairs = zip(tensors, layout.specs, strict=True)
        spec, wanted = next(pair for pair in pairs if pair[0] != pair[1])
        raise Refused(Reason.SCHEMA, f"{spec.name} is {spec}, not {wanted}")
    return layout, plan


def _shapes(steps: int, episodes: int, expectation: Expectation) -> dict[str, tuple[int, ...]]:
    rows = steps + episodes
    shapes: dict[str, tuple[int, ...]] = {
        "observation": (rows, expectation.observation_size),
        "available_actions": (rows, expectation.num_actions),
        "alive": (rows,),
        "action": (steps,),
        "behaviour_log_prob": (steps,),
        "reward": (steps,),
        "length": (episodes,),
        "terminated": (episodes,),
        "truncated": (episodes,),
        "won": (episodes,),
    }
    if not expectation.unroll_length:
        return shapes
    return shapes | {
        "steps_before": (episodes,),
        "return_before": (episodes,),
        "previous_action": (episodes,),
        "core_state": (episodes, 2, expectation.hidden_size),
    }
