"""Between Python values and frames: headers and parameter snapshots.

A frame from outside is either decoded into something fully checked or refused; nothing in between.
Header: 8 bytes of BLAKE2b, then a msgpack map with the key `kind`: no bit of a header is believed
that was not sent. Parameter body: safetensors. Trajectory bodies have a module of their own,
`slice_body`. Used by every role.
"""

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
from dm2_dist.comms.refusal import Reason, Refused

__all__ = [
    "BODY_LIMIT",
    "CHECK_BYTES",
    "CONTROL_LIMIT",
    "HEADER_LIMIT",
    "PARAMETERS_LIMIT",
    "Reason",
    "Refused",
    "decode_parameters",
    "digest_of",
    "encode_parameters",
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
_PARAMETER_DTYPES = frozenset({"float32", "float64", "int32", "int64", "uint8", "bool"})


def digest_of(body: Buffer) -> str:
    """128-bit XXH3 of a body, hexadecimal: against damage; CURVE keeps out whoever means harm."""
    return xxhash.xxh3_128_hexdigest(body)


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
