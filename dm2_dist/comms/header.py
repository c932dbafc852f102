"""Headers: one message as bytes and back.

A header is 8 bytes of BLAKE2b, then a msgpack map with the key `kind`: no bit is believed that was
not sent. What comes from outside is a checked message or refused. Used through `codec`.
"""

import functools
import hashlib
from collections.abc import Sequence
from typing import Any, Union

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

_SETTLE_CHUNK = 96
_ENCODER = msgspec.msgpack.Encoder()


def pack(message: Message) -> bytes:
    """Encode a header.

    Raises:
        ValueError: the header would exceed the limit that receivers enforce.
    """
    frame = seal(_ENCODER.encode(message))
    if len(frame) > HEADER_LIMIT and len(frame) > _header_limit((type(message),)):
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
    limit, decoder = _decoding(tuple(kinds))
    if len(frame) > limit:
        raise Refused(Reason.OVERSIZE, f"a header of {len(frame)} bytes; the limit is {limit}")
    header = frame[CHECK_BYTES:]
    if hashlib.blake2b(header, digest_size=CHECK_BYTES).digest() != frame[:CHECK_BYTES]:
        raise Refused(
            Reason.CORRUPT,
            f"a header of {len(frame)} bytes does not match its checksum: damaged on the way, or "
            "sent by another version of dm2-dist",
        )
    # NOTE: the decoder makes each item when it sees it, never room for as many as a prefix claims.
    try:
        return decoder.decode(header)
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError, RecursionError) as error:
        raise Refused(Reason.SCHEMA, f"not a message that belongs here: {error}") from error


def settle_messages(learner_incarnation: int, outcomes: Sequence[tuple[int, str]]) -> list[Settle]:
    """Split the outcomes for one peer into SETTLE messages whose headers stay within the limit."""
    return [
        Settle(
            learner_incarnation=learner_incarnation,
            outcomes=tuple(outcomes[start : start + _SETTLE_CHUNK]),
        )
        for start in range(0, len(outcomes), _SETTLE_CHUNK)
    ]


@functools.cache
def _decoding(kinds: tuple[type[Message], ...]) -> tuple[int, msgspec.msgpack.Decoder[Message]]:
    """The limit in bytes of headers of these kinds, and what decodes them."""
    choice: Any = Union[kinds]  # noqa: UP007  # the kinds are known only now
    return _header_limit(kinds), msgspec.msgpack.Decoder(choice)


def _header_limit(kinds: Sequence[type[Message]]) -> int:
    return HEADER_LIMIT if all(kind in TRAJECTORY_KINDS for kind in kinds) else CONTROL_LIMIT
