"""The sockets of the conversations, and waiting for them.

Nothing here starts a thread or blocks, except `Poller.wait`. A wrapper belongs to the thread that
made it. Sending returns whether the message was taken; receiving returns None when nothing waits.
Used by every role.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import zmq

from dm2_dist.comms import codec, endpoint
from dm2_dist.comms.connection import Connection
from dm2_dist.comms.endpoint import Buffer, Frames, Socket, close_context, context
from dm2_dist.comms.keys import Role
from dm2_dist.comms.mailbox import Mailbox
from dm2_dist.comms.messages import Message
from dm2_dist.comms.security import AddressError, check_connect

__all__ = [
    "AddressError",
    "Dealer",
    "Frames",
    "Mailbox",
    "PeerFrames",
    "Poller",
    "Publisher",
    "Router",
    "Subscriber",
    "check_connect",
    "close_context",
    "context",
]


class PeerFrames(NamedTuple):
    """A message and the routing identity of its sender.

    role: what the sender proved to be by its key; None where nothing is authenticated.
    """

    peer: bytes
    header: bytes
    body: Buffer | None
    role: str | None = None


class Pollable(Protocol):
    """Something whose readiness can be waited for."""

    def handles(self) -> Sequence[Socket | int]:
        """Sockets or file descriptors to watch."""


class Router:
    """The listening end of conversations: many peers, each answered by its routing identity.

    address: the address bound, with the real port.
    malformed: messages with neither one nor two frames; `recv` gives them an empty header, which
        no codec accepts, so that they count against their sender.
    """

    def __init__(self, address: str) -> None:
        """Listen on `ipc://PATH` or `tcp://127.0.0.1:PORT`; port 0 picks a free one.

        Raises:
            AddressError: the address cannot be used.
        """
        self._socket = endpoint.bind(zmq.ROUTER, endpoint.ROUTER, address)
        self.address = endpoint.address_of(self._socket)
        self.malformed = 0
        self._authenticates = endpoint.encrypted(self._socket)

    def recv(self) -> PeerFrames | None:
        """The next message, or None when nothing waits."""
        endpoint.answer_door()
        return self._take()

    def _take(self) -> PeerFrames | None:
        parts = endpoint.take(self._socket)
        if parts is None:
            return None
        peer = parts[0].bytes
        role = _role_of(parts[0]) if self._authenticates else None
        frames = endpoint.to_frames(parts[1:])
        if frames is None:
            self.malformed += 1
            return PeerFrames(peer, b"", None, role)
        return PeerFrames(peer, frames.header, frames.body, role)

    def waiting(self, limit: int) -> Iterator[PeerFrames]:
        """What waits, at most `limit` messages: a flood must not keep the owner from its work."""
        endpoint.answer_door()
        while limit > 0 and (received := self._take()) is not None:
            limit -= 1
            yield received

    def send(self, peer: bytes, message: Message, body: Buffer | None = None) -> bool:
        """Answer a peer; False if it is gone or does not read."""
        return endpoint.transmit(self._socket, [peer, codec.pack(message)], body)

    def handles(self) -> list[Socket | int]:
        """What a poll must watch."""
        return [self._socket]

    def close(self) -> None:
        """Close; what was just sent still leaves, within the linger time."""
        self._socket.close()


class Dealer:
    """The connecting end of one conversation."""

    def __init__(self, address: str, identity: bytes, server: Role = Role.HEAD) -> None:
        """Connect; the peer need not be there yet.

        Args:
            address: where the peer listens.
            identity: routing identity, `NAME.INCARNATION`; unique among the peer's correspondents.
            server: what must listen there; where keys are used, it has to prove it.

        Raises:
            AddressError: the address cannot be used.
        """
        self._socket = endpoint.open_socket(zmq.DEALER, endpoint.DEALER)
        self._socket.setsockopt(zmq.ROUTING_ID, identity)
        self._connected = False
        self._connection = Connection(self._socket, address, server)

    def reconnect(self, address: str) -> None:
        """Go on with a peer that listens elsewhere now; nothing is done if it is the same place.

        Raises:
            AddressError: the address cannot be used.
        """
        self._connection.move(address)

    @property
    def failure(self) -> str:
        """Why there has been no connection for ten seconds, in one sentence; "" if it may come."""
        return self._connection.given_up

    def take_connected(self) -> bool:
        """True once after every connection made, the first included.

        Whatever was on its way when the old connection broke is lost, in both directions and
        without any other sign, also when the peer was not restarted: introduce yourself again.
        """
        self._note_connections()
        # The connection is announced a moment before it can be written to.
        if not self._connected or not self._writable():
            return False
        self._connected = False
        return True

    def send(self, message: Message, body: Buffer | None = None) -> bool:
        """Send; False if there is no connection or the peer does not read."""
        frames = [codec.pack(message)]
        # NOTE: a send alone may overlook, for about a millisecond, that the peer can be written to.
        return endpoint.transmit(self._socket, frames, body) or (
            self._writable() and endpoint.transmit(self._socket, frames, body)
        )

    def recv(self) -> Frames | None:
        """The next message, or None."""
        parts = endpoint.receive(self._socket)
        if parts is None:
            self._note_connections()  # whoever waits for an answer comes here again and again
        return _frames_of(parts)

    def handles(self) -> list[Socket | int]:
        """What a poll must watch."""
        return [self._socket, self._connection.handle]

    def close(self) -> None:
        """Close; what was just sent still leaves, within the linger time."""
        self._connection.close()
        self._socket.close()

    def _writable(self) -> bool:
        return endpoint.writable(self._socket)

    def _note_connections(self) -> None:
        self._connection.keep()
        self._connected = self._connection.take_made() or self._connected


class Publisher:
    """The listening end of a broadcast of state.

    address: the address bound, with the real port.
    """

    def __init__(self, address: str) -> None:
        """Listen; see `Router`.

        Raises:
            AddressError: the address cannot be used.
        """
        self._socket = endpoint.bind(zmq.XPUB, endpoint.PUBLISHER, address)
        self.address = endpoint.address_of(self._socket)

    def publish(self, message: Message, body: Buffer | None = None) -> None:
        """Send to every subscriber that keeps up; others miss it."""
        endpoint.transmit(self._socket, [codec.pack(message)], body)

    def take_subscribed(self) -> bool:
        """True if somebody subscribed since the last call: a good moment for a beacon."""
        subscribed = False
        while (parts := endpoint.receive(self._socket)) is not None:
            subscribed = subscribed or parts[0].bytes[:1] == b"\x01"
        return subscribed

    def handles(self) -> list[Socket | int]:
        """What a poll must watch; `take_subscribed` must then be called."""
        return [self._socket]

    def close(self) -> None:
        """Close; what was just sent still leaves, within the linger time."""
        self._socket.close()


class Subscriber:
    """The connecting end of any number of broadcasts."""

    def __init__(self) -> None:
        """Subscribe to everything that the publishers connected later will send."""
        self._socket = endpoint.open_socket(zmq.SUB, endpoint.SUBSCRIBER)
        self._socket.setsockopt(zmq.SUBSCRIBE, b"")

    def connect(self, address: str) -> None:
        """Listen to one more publisher, a learner, which need not be there yet.

        Raises:
            AddressError: the address cannot be used.
        """
        endpoint.connect(self._socket, address, Role.LEARNER)

    def disconnect(self, address: str) -> None:
        """Stop listening to a publisher connected before."""
        self._socket.disconnect(address)

    def recv(self) -> Frames | None:
        """The next message, or None."""
        return _frames_of(endpoint.receive(self._socket))

    def drain(self, limit: int) -> list[Frames]:
        """What waits, oldest first, at most `limit` messages: the newest of each sender counts."""
        waiting: list[Frames] = []
        while len(waiting) < limit and (frames := self.recv()) is not None:
            waiting.append(frames)
        return waiting

    def handles(self) -> list[Socket | int]:
        """What a poll must watch."""
        return [self._socket]

    def close(self) -> None:
        """Close."""
        self._socket.close()


class Poller:
    """Waits for any of several wrappers."""

    def __init__(self) -> None:
        self._poller = zmq.Poller()
        self._owners: dict[Socket | int, Pollable] = {}

    def add(self, pollable: Pollable) -> None:
        """Watch a wrapper or mailbox."""
        for handle in pollable.handles():
            self._poller.register(handle, zmq.POLLIN)
            self._owners[handle] = pollable

    def remove(self, pollable: Pollable) -> None:
        """Stop watching; do this before closing."""
        for handle in pollable.handles():
            self._poller.unregister(handle)
            del self._owners[handle]

    def wait(self, timeout_seconds: float) -> set[Pollable]:
        """Those with something to receive; empty after `timeout_seconds` without any."""
        events = self._poller.poll(max(0, round(timeout_seconds * 1000)))
        return {self._owners[handle] for handle, _ in events}


def _frames_of(parts: list[zmq.Frame] | None) -> Frames | None:
    """A message of a wrong number of frames has an empty header, which no codec accepts."""
    return None if parts is None else endpoint.to_frames(parts) or Frames(b"", None)


def _role_of(frame: zmq.Frame) -> str | None:
    """What the authenticator called the sender of a frame; None if nobody was asked."""
    try:
        return str(frame.get("User-Id")) or None
    except zmq.ZMQError:
        return None
