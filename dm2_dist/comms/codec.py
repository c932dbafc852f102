"""Between Python values and frames: headers, trajectory bodies and parameter snapshots.

A frame from outside is either decoded into something fully checked or refused; nothing in between.
Header: 8 bytes of BLAKE2b, then a msgpack map with the key `kind`: no bit of a header is believed
that was not sent. Trajectory body: raw little-endian tensors end to end,
each at the next multiple of 64 bytes. Parameter body: safetensors. Feeds `actors.session` and
`learners.intake`.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy
import xxhash

from dm2_dist.comms.header import (
    CHECK_BYTES,
    CONTROL_LIMIT,
    HEADER_LIMIT,
    pack,
    seal,
    settle_messages,
    unpack,
)
from dm2_dist.comms.inspection import Expectation, check_slice
from dm2_dist.comms.messages import TensorSpec, Trajectory
from dm2_dist.comms.refusal import Reason, Refused
from dm2_dist.trajectory import ENTERING_FIELDS, SLICE_FIELDS, Slice, arrays_of, slice_of

__all__ = [
    "BODY_LIMIT",
    "CHECK_BYTES",
    "CONTROL_LIMIT",
    "HEADER_LIMIT",
    "PARAMETERS_LIMIT",
    "Expectation",
    "Reason",
    "Refused",
    "decode_parameters",
    "decode_slice",
    "digest_of",
    "encode_parameters",
    "encode_slice",
    "pack",
    "seal",
    "settle_messages",
    "unpack",
]

Buffer = bytes | memoryview

BODY_LIMIT = 4 * 1024 * 1024
"""Bytes of a trajectory body; below the socket's own limit, whose refusals nobody counts."""
PARAMETERS_LIMIT = 48 * 1024 * 1024
"""Bytes of a parameter snapshot."""
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
_DTYPE_NAMES = {name: dtype.name for name, dtype in _DTYPES.items()}
_ITEM_BYTES = {name: dtype.itemsize for name, dtype in _DTYPES.items()}
_PADDING = bytes(ALIGNMENT)
_PARAMETER_DTYPES = frozenset({"float32", "float64", "int32", "int64", "uint8", "bool"})


def digest_of(body: Buffer) -> str:
    """128-bit XXH3 of a body, hexadecimal: against damage; CURVE keeps out whoever means harm."""
    return xxhash.xxh3_128_hexdigest(body)


# --- trajectory bodies ---


def encode_slice(data: Slice) -> tuple[tuple[TensorSpec, ...], bytes, str]:
    """Lay a slice out as one body.

    Returns:
        What the header says of it (tensors), the body, and the body's digest.

    Raises:
        ValueError: the body would exceed the limit; the ticket holds too many episodes.
    """
    arrays = {
        name: np.ascontiguousarray(array, dtype=_DTYPES[name])
        for name, array in arrays_of(data).items()
    }
    specs, size = _layout({name: array.shape for name, array in arrays.items()})
    if size > BODY_LIMIT:
        raise ValueError(
            f"a trajectory of {size} bytes exceeds the limit of {BODY_LIMIT}; "
            "lower collection.episodes_per_ticket"
        )
    parts: list[Any] = []
    end = 0
    for spec, array in zip(specs, arrays.values(), strict=True):
        parts += (_PADDING[: spec.offset - end], array)
        end = spec.offset + array.nbytes
    body = b"".join(parts)
    return specs, body, digest_of(body)


def decode_slice(header: Trajectory, body: Buffer, expectation: Expectation) -> Slice:
    """Check a body completely and return read-only views into it.

    Raises:
        Refused: oversize, schema, corrupt, nonfinite or illegal_action.
    """
    if len(body) > BODY_LIMIT:
        raise Refused(Reason.OVERSIZE, f"a body of {len(body)} bytes; the limit is {BODY_LIMIT}")
    size = _check_tensors(header.tensors, expectation)
    if len(body) != size or digest_of(body) != header.digest:
        raise Refused(Reason.CORRUPT, f"body of {len(body)} bytes does not match its digest")
    frozen = memoryview(body).toreadonly()
    data = slice_of(
        {
            spec.name: np.ndarray(spec.shape, _DTYPES[spec.name], frozen, spec.offset)
            for spec in header.tensors
        }
    )
    check_slice(data, expectation)
    return data


def _layout(shapes: Mapping[str, tuple[int, ...]]) -> tuple[tuple[TensorSpec, ...], int]:
    """The one layout that given shapes have, and the size of its body in bytes."""
    specs = []
    end = 0
    for name, shape in shapes.items():
        offset = -(-end // ALIGNMENT) * ALIGNMENT
        specs.append(TensorSpec(name, _DTYPE_NAMES[name], shape, offset))
        end = offset + math.prod(shape) * _ITEM_BYTES[name]
    return tuple(specs), end


def _check_tensors(tensors: tuple[TensorSpec, ...], expectation: Expectation) -> int:
    """Check names, dtypes, shapes and offsets against the only layout allowed; return its size."""
    names = SLICE_FIELDS + (ENTERING_FIELDS if expectation.unroll_length else ())
    if tuple(spec.name for spec in tensors) != names:
        raise Refused(Reason.SCHEMA, "the tensors are not those of a slice, in order")
    steps, episodes = (tensors[names.index(name)].shape for name in ("action", "length"))
    if len(steps) != 1 or not expectation.fewest_steps <= steps[0] <= expectation.most_steps:
        raise Refused(
            Reason.SCHEMA, f"action has shape {steps} for {expectation.num_episodes} episodes"
        )
    most = steps[0] if expectation.unroll_length else expectation.num_episodes
    if len(episodes) != 1 or not expectation.num_episodes <= episodes[0] <= most:
        raise Refused(
            Reason.SCHEMA, f"length has shape {episodes} for {expectation.num_episodes} episodes"
        )
    specs, size = _layout(_shapes(steps[0], episodes[0], expectation))
    if tensors != specs:
        spec, wanted = next(pair for pair in zip(tensors, specs, strict=True) if pair[0] != pair[1])
        raise Refused(Reason.SCHEMA, f"{spec.name} is {spec}, not {wanted}")
    return size


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


# --- parameters ---


def encode_parameters(parameters: Mapping[str, npt.NDArray[Any]]) -> tuple[bytes, str]:
    """Encode named arrays of any shape as safetensors; returns the body and its digest.

    Raises:
        ValueError: the body would exceed the limit.
    """
    body = safetensors.numpy.save(
        {name: np.ascontiguousarray(array) for name, array in parameters.items()}
    )
    if len(body) > PARAMETERS_LIMIT:
        raise ValueError(f"a snapshot of {len(body)} bytes exceeds {PARAMETERS_LIMIT}")
    return body, digest_of(body)


def decode_parameters(body: Buffer, digest: str) -> dict[str, npt.NDArray[Any]]:
    """Check and decode a parameter snapshot.

    Raises:
        Refused: oversize, corrupt, schema (a dtype that no network has) or nonfinite.
    """
    if len(body) > PARAMETERS_LIMIT:
        raise Refused(Reason.OVERSIZE, f"a snapshot of {len(body)} bytes")
    if digest_of(body) != digest:
        raise Refused(Reason.CORRUPT, "the snapshot does not match its digest")
    try:
        parameters = safetensors.numpy.load(bytes(body))
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise Refused(Reason.CORRUPT, f"not safetensors: {error}") from error
    for name, array in parameters.items():
        if array.dtype.name not in _PARAMETER_DTYPES:
            raise Refused(Reason.SCHEMA, f"{name[:40]} is of dtype {array.dtype}")
        if not np.isfinite(array).all():
            raise Refused(Reason.NONFINITE, f"{name[:40]} holds a value that is not finite")
    return parameters
