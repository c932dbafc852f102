"""Headers: one message as bytes and back.

A header is 8 bytes of BLAKE2b, then a msgpack map with the key `kind`: no bit is believed that was
not sent. What comes from outside is a checked message or refused. Used through `codec`.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import msgpack
import msgspec

from dm2_dist.comms.messages import TRAJECTORY_KINDS, Message, Settle
from dm2_dist.comms.refusal import Reason, Refused

Buffer = bytes | memoryview

HEADER_LIMIT = 4 * 1024
"""Bytes of a header on the trajectory and parameter sockets."""
CONTROL_LIMIT = 256 * 1024
"""Bytes of a header on the control socket, where configurations and reports travel."""
CHECK_BYTES = 8
"""What stands before the map of a header: BLAKE2b of the map."""

_HEADER_ITEMS = 512
_CONTROL_ITEMS = 4096
_SETTLE_CHUNK = 96


def pack(message: Message) -> bytes:
    """Encode a header.

    Raises:
        ValueError: the header would exceed the limit that receivers enforce.
    """
    fields: dict[str, Any] = msgspec.to_builtins(message)
    frame = seal(msgpack.packb({"kind": message.kind, **fields}))
    if len(frame) > _header_limit((type(message),)):
        raise ValueError(f"a {message.kind} header of {len(frame)} bytes exceeds its limit")
    return frame


def seal(header: bytes) -> bytes:
    """A header frame: the bytes of a msgpack map behind their checksum."""
    return hashlib.blake2b(header, digest_size=CHECK_BYTES).digest() + header


def unpack(frame: Buffer, kinds: Sequence[type[Message]]) -> Message:
    """Decode a header that must be one of `kinds`; unknown extra fields are ignored.

    Raises:
        Refused: oversize, corrupt or schema.
    """
    limit = _header_limit(kinds)
    if len(frame) > limit:
        raise Refused(Reason.OVERSIZE, f"a header of {len(frame)} bytes; the limit is {limit}")
    header = frame[CHECK_BYTES:]
    if hashlib.blake2b(header, digest_size=CHECK_BYTES).digest() != frame[:CHECK_BYTES]:
        raise Refused(
            Reason.CORRUPT,
            f"a header of {len(frame)} bytes does not match its checksum: damaged on the way, or "
            "sent by another version of dm2-dist",
        )
    fields = _unpack_map(header, limit)
    kind = fields.get("kind")
    for candidate in kinds:
        if candidate.kind == kind:
            try:
                return msgspec.convert(fields, candidate)
            except (msgspec.ValidationError, RecursionError) as error:
                raise Refused(Reason.SCHEMA, f"{candidate.kind}: {error}") from error
    raise Refused(Reason.SCHEMA, f"unexpected kind {str(kind)[:40]!r}")


def settle_messages(learner_incarnation: int, outcomes: Sequence[tuple[int, str]]) -> list[Settle]:
    """Split the outcomes for one peer into SETTLE messages whose headers stay within the limit."""
    return [
        Settle(
            learner_incarnation=learner_incarnation,
            outcomes=tuple(outcomes[start : start + _SETTLE_CHUNK]),
        )
        for start in range(0, len(outcomes), _SETTLE_CHUNK)
    ]


def _header_limit(kinds: Sequence[type[Message]]) -> int:
    return HEADER_LIMIT if all(kind in TRAJECTORY_KINDS for kind in kinds) else CONTROL_LIMIT


def _unpack_map(frame: Buffer, limit: int) -> dict[Any, Any]:
    # NOTE: the decoder reserves room for the items a prefix announces, at every nesting level,
    # before it sees them: without the cap on items a few hundred bytes could claim gigabytes.
    size = len(frame)
    items = min(size, _HEADER_ITEMS if limit == HEADER_LIMIT else _CONTROL_ITEMS)
    try:
        value = msgpack.unpackb(
            frame,
            raw=False,
            strict_map_key=True,
            max_str_len=size,
            max_bin_len=size,
            max_array_len=items,
            max_map_len=items,
            max_ext_len=0,
        )
    except (ValueError, TypeError, RecursionError) as error:
        raise Refused(Reason.SCHEMA, f"not a msgpack map: {error}") from error
    if not isinstance(value, dict):
        raise Refused(Reason.SCHEMA, f"a header must be a map, not {type(value).__name__}")
    return value
