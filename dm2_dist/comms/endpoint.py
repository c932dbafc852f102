"""One place where sockets are made, given their options and moved frames through.

Used by `sockets`, whose classes give each kind of conversation its own small vocabulary.
"""

from collections.abc import Mapping
from typing import NamedTuple

import zmq

from dm2_dist.comms import security

Buffer = bytes | memoryview
Socket = zmq.Socket[bytes]
Options = Mapping[zmq.SocketOption, int]

LINGER_MILLISECONDS = 1000
"""How long the end of a process may wait for its last messages to leave."""
_ZERO_COPY_BYTES = 64 * 1024
"""Bodies above this are not copied; below, copying is cheaper than keeping the books of a loan."""
_MEBIBYTE = 1024 * 1024
_EVERYWHERE = {
    zmq.LINGER: LINGER_MILLISECONDS,
    # A peer that is gone without a word (a host that lost power) is noticed after ten seconds.
    zmq.HEARTBEAT_IVL: 2000,
    zmq.HEARTBEAT_TIMEOUT: 10_000,
    zmq.HEARTBEAT_TTL: 10_000,
    # A restarted learner must not wait for peers that have backed off for long.
    zmq.RECONNECT_IVL: 100,
    zmq.RECONNECT_IVL_MAX: 1000,
}
# High-water marks count messages per peer, not bytes. Trajectories are bounded by credits, and the
# marks towards the learner only catch a peer that ignores them. What flows back is answers: bounded
# by what was asked, so a peer that reads never reaches the mark. Publications beyond a few are
# better dropped than queued: they are versions of one state, and a beacon repairs the loss.
ROUTER = {
    zmq.SNDHWM: 1000,
    zmq.RCVHWM: 64,
    zmq.MAXMSGSIZE: 8 * _MEBIBYTE,
    zmq.ROUTER_MANDATORY: 1,
    zmq.ROUTER_HANDOVER: 1,
}
DEALER = {
    zmq.SNDHWM: 64,
    zmq.RCVHWM: 1000,
    zmq.MAXMSGSIZE: 64 * _MEBIBYTE,
    # Without a peer a send fails at once instead of queueing for whoever answers next.
    zmq.IMMEDIATE: 1,
}
PUBLISHER = {zmq.SNDHWM: 16, zmq.RCVHWM: 1000, zmq.MAXMSGSIZE: 4096, zmq.XPUB_VERBOSE: 1}
SUBSCRIBER = {zmq.SNDHWM: 16, zmq.RCVHWM: 16, zmq.MAXMSGSIZE: 64 * _MEBIBYTE}


class Frames(NamedTuple):
    """A message that was received: a header to unpack, and a body or None."""

    header: bytes
    body: Buffer | None


def context() -> zmq.Context[Socket]:
    """The process's context; a forked child gets its own."""
    return zmq.Context.instance()


def close_context() -> None:
    """Close every socket of this process; wait, at most the linger time, for the last messages.

    Call it at the end of a process: an exit without it abandons what was just sent.
    NOTE: TCP discards what a peer has not read yet when a socket is closed with unread messages
    of its own. A last word is a courtesy; whatever matters must have been answered before.
    """
    context().destroy(linger=LINGER_MILLISECONDS)


def open_socket(kind: int, options: Options) -> Socket:
    """A socket with the options that every socket has, and its own."""
    socket = context().socket(kind)
    for option, value in {**_EVERYWHERE, **options}.items():
        socket.setsockopt(option, value)
    return socket


def bind(kind: int, options: Options, address: str) -> Socket:
    """A socket that listens.

    Raises:
        AddressError: the address cannot be used.
    """
    security.check_bind(address)
    socket = open_socket(kind, options)
    socket.setsockopt(zmq.IPV6, int("[" in address))
    try:
        socket.bind(address)
    except zmq.ZMQError as error:
        socket.close(linger=0)
        raise security.explain(address, error.errno or 0) from error
    return socket


def connect(socket: Socket, address: str) -> None:
    """Let a socket connect to an address.

    Raises:
        AddressError: the address cannot be used.
    """
    security.check_connect(address)
    socket.setsockopt(zmq.IPV6, int("[" in address))
    try:
        socket.connect(address)
    except zmq.ZMQError as error:
        raise security.explain(address, error.errno or 0) from error


def address_of(socket: Socket) -> str:
    """The address that a socket is bound to, with the real port."""
    endpoint = socket.getsockopt(zmq.LAST_ENDPOINT)
    assert isinstance(endpoint, bytes)
    return endpoint.rstrip(b"\0").decode()


def receive(socket: Socket) -> list[zmq.Frame] | None:
    """The frames of the next message, or None when nothing waits."""
    try:
        return socket.recv_multipart(zmq.DONTWAIT, copy=False)
    except zmq.Again:
        return None


def to_frames(parts: list[zmq.Frame]) -> Frames | None:
    """A header and perhaps a body; None if there are other than one or two frames."""
    match parts:
        case [header]:
            return Frames(header.bytes, None)
        case [header, body]:
            # NOTE: small bodies share a receive buffer and lie at odd addresses; a copy is aligned.
            large = len(body) > _ZERO_COPY_BYTES
            return Frames(header.bytes, body.buffer if large else body.bytes)
    return None


def transmit(socket: Socket, parts: list[bytes], body: Buffer | None) -> bool:
    """Send all frames or none; False if there is nobody to take them."""
    frames: list[Buffer] = [*parts] if body is None else [*parts, body]
    zero_copy = body is not None and len(body) > _ZERO_COPY_BYTES
    try:
        socket.send_multipart(frames, zmq.DONTWAIT, copy=not zero_copy)
    except (zmq.Again, zmq.ZMQError) as error:
        if error.errno in (zmq.EAGAIN, zmq.EHOSTUNREACH):
            return False
        raise
    return True
