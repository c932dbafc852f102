"""The exchange of `actors.conversation` in bare pyzmq: the limit that the wire is measured against.

Same frames, same window, a small answer for the same number of messages, same security; nothing is
encoded, checked or booked. Used by `launch.transport_roles` alone.
"""

import time
from collections import Counter

import zmq

from dm2_dist.comms.keys import KeyPair

_WAIT_MILLISECONDS = 100
_SILENCE_SECONDS = 20.0
_READY = b"ready"


class SilentError(Exception):
    """The other side of a bare exchange does not answer."""


class BareLearner:
    """A ROUTER that answers every few messages of a peer.

    address: the address bound, with the real port.
    """

    def __init__(self, address: str, keys: KeyPair | None, answer: bytes, grant: int) -> None:
        """Listen; with `keys`, encrypted, and whoever knows the public half may come in.

        Args:
            address: `ipc://PATH` or `tcp://127.0.0.1:PORT`; port 0 picks a free one.
            keys: of the listening side.
            answer: what is sent to a peer after each `grant` of its messages.
            grant: as for `BareActor`.
        """
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.RCVTIMEO, _WAIT_MILLISECONDS)
        if keys is not None:
            self._socket.setsockopt(zmq.CURVE_SERVER, 1)
            self._socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)
        self._socket.bind(address)
        self.address: str = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._answer, self._grant = answer, grant
        self._owed: Counter[bytes] = Counter()

    def serve(self) -> bool:
        """Take one message; False if none came within a tenth of a second."""
        try:
            peer, *_ = self._socket.recv_multipart()
        except zmq.Again:
            return False
        self._owed[peer] += 1
        if self._owed[peer] == self._grant:
            self._owed[peer] = 0
            self._socket.send_multipart([peer, self._answer])
        return True


class BareActor:
    """A DEALER that keeps a window of messages on the wire."""

    def __init__(
        self, address: str, server: bytes | None, frames: list[bytes], window: int, grant: int
    ):
        """Connect and wait for a first answer.

        Args:
            address: of the `BareLearner`.
            server: its public key; None where nothing is encrypted.
            frames: one message.
            window: messages that may be under way.
            grant: messages that one answer stands for.

        Raises:
            SilentError: nobody answers.
        """
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        self._socket.setsockopt(zmq.RCVTIMEO, int(1000 * _SILENCE_SECONDS))
        self._socket.setsockopt(zmq.SNDTIMEO, int(1000 * _SILENCE_SECONDS))
        if server is not None:
            public, secret = zmq.curve_keypair()
            self._socket.setsockopt(zmq.CURVE_SERVERKEY, server)
            self._socket.setsockopt(zmq.CURVE_PUBLICKEY, public)
            self._socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
        self._socket.connect(address)
        self._frames, self._window, self._grant = frames, window, grant
        for _ in range(grant):
            self._socket.send_multipart([_READY])
        self._answered()
        self._under_way = 0

    def exchange(self, seconds: float) -> int:
        """Send for so long; returns the messages that were answered.

        Raises:
            SilentError: nobody answers any more.
        """
        done = 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            while self._under_way < self._window:
                self._socket.send_multipart(self._frames)
                self._under_way += 1
            self._answered()
            self._under_way -= self._grant
            done += self._grant
        return done

    def _answered(self) -> None:
        try:
            self._socket.recv_multipart()
        except zmq.Again as error:
            raise SilentError(f"no answer for {_SILENCE_SECONDS:.0f} s") from error
