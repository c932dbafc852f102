"""One place where sockets are made, given their options and keys, and moved frames through.

Used by `sockets`, whose classes give each kind of conversation its own small vocabulary.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import zmq

from dm2_dist.comms import security
from dm2_dist.comms.gatekeeper import Gatekeeper
from dm2_dist.comms.keys import Keys, Role

Buffer = bytes | memoryview
Socket = zmq.Socket[bytes]
Options = Mapping[zmq.SocketOption, int]

LINGER_MILLISECONDS = 1000
"""How long the end of a process may wait for its last messages to leave."""
_ZERO_COPY_BYTES = 64 * 1024
"""Bodies above this are not copied; below, copying is cheaper than keeping the books of a loan."""
# As plain integers: operations of enumerations would cost more than the calls they are for.
_EVENTS, _POLLIN, _POLLOUT = int(zmq.EVENTS), int(zmq.POLLIN), int(zmq.POLLOUT)
_DONTWAIT = int(zmq.DONTWAIT)
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
    # A connection that does not say within ten seconds who it is, is closed.
    zmq.HANDSHAKE_IVL: 10_000,
    # Where keys are used, nobody comes in without a gatekeeper (ZeroMQ would let everybody in);
    # where they are not, the gatekeeper of the same process is not asked.
    zmq.ZAP_ENFORCE_DOMAIN: 1,
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
# NOTE: no heartbeats here. A subscriber that does not read for a while, because it is stopped or
# busy, is full after a few publications; then ZeroMQ reads no heartbeats either, breaks the
# connection off, and aborts the process (assertion `_input_stopped`) when the subscriber reads
# again. The kernel's own probes find a host that is gone; what was missed is asked for with GET.
_PROBED = {
    zmq.HEARTBEAT_IVL: 0,
    zmq.HEARTBEAT_TTL: 0,
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 10,
    zmq.TCP_KEEPALIVE_INTVL: 2,
    zmq.TCP_KEEPALIVE_CNT: 5,
}
PUBLISHER = {
    **_PROBED,
    zmq.SNDHWM: 16,
    zmq.RCVHWM: 1000,
    zmq.MAXMSGSIZE: 4096,
    zmq.XPUB_VERBOSE: 1,
}
SUBSCRIBER = {**_PROBED, zmq.SNDHWM: 16, zmq.RCVHWM: 16, zmq.MAXMSGSIZE: 64 * _MEBIBYTE}


class Frames(NamedTuple):
    """A message that was received: a header to unpack, and a body or None."""

    header: bytes
    body: Buffer | None


@dataclass(slots=True)
class _Process:
    """What this process is to others; there is one of it, as there is one context."""

    keys: Keys | None = None
    door: Gatekeeper | None = None


_PROCESS = _Process()


def use_keys(keys: Keys | None) -> None:
    """From now on, sockets on `tcp://` are encrypted and authenticated with these keys.

    Call it once, before the first socket; None goes back to no keys. Sockets on `ipc://` lie in a
    private folder and use none.
    """
    if _PROCESS.door is not None:
        _PROCESS.door.close()
    _PROCESS.keys, _PROCESS.door = keys, None


def refused_keys() -> dict[str, int]:
    """Connections that the door of this process refused so far, by reason."""
    return dict(_PROCESS.door.refused) if _PROCESS.door is not None else {}


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
    """A socket that listens; on `tcp://` only to those whose key is on the list, if keys are used.

    Raises:
        AddressError: the address cannot be used.
    """
    security.check_bind(address, encrypted=_PROCESS.keys is not None)
    socket = open_socket(kind, options)
    if _PROCESS.keys is not None and address.startswith("tcp://"):
        _lock(socket, _PROCESS.keys)
    socket.setsockopt(zmq.IPV6, int("[" in address))
    try:
        socket.bind(address)
    except zmq.ZMQError as error:
        socket.close(linger=0)
        raise security.explain(address, error.errno or 0) from error
    return socket


def _lock(socket: Socket, own: Keys) -> None:
    """Let a socket that is not yet bound accept only connections that the gatekeeper admits."""
    door = _PROCESS.door
    if door is None or door.closed or door.context is not context():
        _PROCESS.door = Gatekeeper(context(), own)
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt(zmq.CURVE_SECRETKEY, own.pair.secret)
    socket.setsockopt(zmq.ZAP_DOMAIN, own.role.encode())


def connect(socket: Socket, address: str, server: Role = Role.HEAD) -> None:
    """Let a socket connect to an address.

    Args:
        socket: has not been connected yet, or by this function.
        address: where the peer listens.
        server: what must listen there; if keys are used, its key is demanded on `tcp://`.

    Raises:
        AddressError: the address cannot be used.
        KeysError: the list of keys cannot be read any more.
    """
    security.check_connect(address)
    if address.startswith("tcp://"):
        security.check_remote(address, encrypted=_PROCESS.keys is not None)
        if _PROCESS.keys is not None:
            own = _PROCESS.keys
            socket.setsockopt(zmq.CURVE_SERVERKEY, own.server_key(server))
            socket.setsockopt(zmq.CURVE_PUBLICKEY, own.pair.public)
            socket.setsockopt(zmq.CURVE_SECRETKEY, own.pair.secret)
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
    """The frames of the next message, or None when nothing waits; also answers the door."""
    answer_door()
    return take(socket)


def answer_door() -> None:
    """Decide about those who knock at this process, if it has a door."""
    door = _PROCESS.door
    if door is not None and not door.closed:
        door.serve()


def readable(socket: Socket) -> bool:
    """Whether a message waits."""
    return bool(int(socket.getsockopt(_EVENTS)) & _POLLIN)


def writable(socket: Socket) -> bool:
    """Whether there is somebody to take a message."""
    return bool(int(socket.getsockopt(_EVENTS)) & _POLLOUT)


def take(socket: Socket) -> list[zmq.Frame] | None:
    """The frames of the next message, or None when nothing waits."""
    try:
        return socket.recv_multipart(_DONTWAIT, copy=False)
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
        socket.send_multipart(frames, _DONTWAIT, copy=not zero_copy)
    except (zmq.Again, zmq.ZMQError) as error:
        if error.errno in (zmq.EAGAIN, zmq.EHOSTUNREACH):
            return False
        raise
    return True


def encrypted(socket: Socket) -> bool:
    """Whether a socket uses keys."""
    return socket.getsockopt(zmq.MECHANISM) == zmq.CURVE
