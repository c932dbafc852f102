"""Between Python values and frames: headers, trajectory bodies and parameter snapshots.

A frame from outside is either decoded into something fully checked or refused; nothing in between.
Header: 8 bytes of BLAKE2b, then a msgpack map with the key `kind`: no bit of a header is believed
that was not sent. Trajectory body: raw little-endian tensors end to end,
each at the next multiple of 64 bytes. Parameter body: safetensors. Feeds `actors.session` and
`learners.intake`.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

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
from dm2_dist.trajectory import SLICE_FIELDS, Slice

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
}
_PARAMETER_DTYPES = frozenset({"float32", "float64", "int32", "int64", "uint8", "bool"})


def digest_of(body: Buffer) -> str:
    """128-bit BLAKE2b of a body, hexadecimal."""
    return hashlib.blake2b(body, digest_size=16).hexdigest()


# --- trajectory bodies ---


def encode_slice(data: Slice) -> tuple[tuple[TensorSpec, ...], bytes, str]:
    """Lay a slice out as one body.

    Returns:
        What the header says of it (tensors), the body, and the body's digest.

    Raises:
        ValueError: the body would exceed the limit; the ticket holds too many episodes.
    """
    arrays = {
        name: np.ascontiguousarray(getattr(data, name), dtype=dtype)
        for name, dtype in _DTYPES.items()
    }
    specs, size = _layout({name: array.shape for name, array in arrays.items()})
    if size > BODY_LIMIT:
        raise ValueError(
            f"a trajectory of {size} bytes exceeds the limit of {BODY_LIMIT}; "
            "lower collection.episodes_per_ticket"
        )
    body = bytearray(size)
    for spec, array in zip(specs, arrays.values(), strict=True):
        body[spec.offset : spec.offset + array.nbytes] = array.tobytes()
    frame = bytes(body)
    return specs, frame, digest_of(frame)


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
    data = Slice(**{spec.name: _view(body, spec) for spec in header.tensors})
    check_slice(data, expectation)
    return data


def _layout(shapes: Mapping[str, tuple[int, ...]]) -> tuple[tuple[TensorSpec, ...], int]:
    """The one layout that given shapes have, and the size of its body in bytes."""
    specs = []
    end = 0
    for name, shape in shapes.items():
        offset = -(-end // ALIGNMENT) * ALIGNMENT
        specs.append(TensorSpec(name, _DTYPES[name].name, shape, offset))
        end = offset + int(np.prod(shape, dtype=np.int64)) * _DTYPES[name].itemsize
    return tuple(specs), end


def _check_tensors(tensors: tuple[TensorSpec, ...], expectation: Expectation) -> int:
    """Check names, dtypes, shapes and offsets against the only layout allowed; return its size."""
    if tuple(spec.name for spec in tensors) != SLICE_FIELDS:
        raise Refused(Reason.SCHEMA, "the tensors are not those of a slice, in order")
    episodes = expectation.num_episodes
    steps = tensors[SLICE_FIELDS.index("action")].shape
    if len(steps) != 1 or not episodes <= steps[0] <= episodes * expectation.episode_limit:
        raise Refused(Reason.SCHEMA, f"action has shape {steps} for {episodes} episodes")
    specs, size = _layout(_shapes(steps[0], expectation))
    for spec, wanted in zip(tensors, specs, strict=True):
        if spec != wanted:
            raise Refused(Reason.SCHEMA, f"{spec.name} is {spec}, not {wanted}")
    return size


def _shapes(steps: int, expectation: Expectation) -> dict[str, tuple[int, ...]]:
    episodes = expectation.num_episodes
    rows = steps + episodes
    return {
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


def _view(body: Buffer, spec: TensorSpec) -> npt.NDArray[Any]:
    count = int(np.prod(spec.shape, dtype=np.int64))
    view = np.frombuffer(body, _DTYPES[spec.name], count, spec.offset).reshape(spec.shape)
    view.flags.writeable = False
    return view


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
