"""One connection that is kept up: says when it was made anew, and why it cannot be made.

ZeroMQ tries again by itself after a peer vanished, but not after one that refused us or sent
something that is no ZeroMQ: then a socket stays dumb for ever. Here such a connection is opened
anew, and what is wrong is kept as a sentence. Used by `sockets.Dealer`.
"""

import contextlib
import logging
import time

import zmq
from zmq.utils.monitor import parse_monitor_message

from dm2_dist.comms import endpoint, security
from dm2_dist.comms.endpoint import Socket
from dm2_dist.comms.keys import KeysError, Role

_LOG = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
"""How long after a refusal the connection is opened anew."""
PATIENCE_SECONDS = 10.0
"""How long a peer may break off greetings: a process that starts or is killed does, for moments."""

_FAILED = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)
_ENDS = zmq.EVENT_DISCONNECTED | zmq.EVENT_CONNECT_RETRIED
_WATCHED = _FAILED | _ENDS | zmq.EVENT_HANDSHAKE_SUCCEEDED


class Connection:
    """A connecting socket's one connection; belongs to the thread that owns the socket.

    address: where the peer listens.
    failure: why the newest attempt failed, in one sentence with the mend; "" while nothing is
        known to be wrong. Set within `PATIENCE_SECONDS`, cleared by a success.
    """

    def __init__(self, socket: Socket, address: str, server: Role) -> None:
        """Connect; the peer need not be there yet.

        Args:
            socket: a fresh connecting socket.
            address: where the peer listens.
            server: what must listen there.

        Raises:
            AddressError: the address cannot be used.
            KeysError: the list of keys cannot be read.
        """
        self.address = address
        self.failure = ""
        self._socket, self._server = socket, server
        self._made = False
        self._dead_since: float | None = None
        self._failing_since: float | None = None
        self._failed_at = 0.0
        self._refused = False
        self._left = ""
        self._monitor = socket.get_monitor_socket(_WATCHED)
        endpoint.connect(socket, address, server)

    @property
    def handle(self) -> Socket:
        """What a poll must watch beside the socket."""
        return self._monitor

    def move(self, address: str) -> None:
        """Go on with a peer that listens elsewhere now; nothing is done if it is the same place.

        Raises:
            AddressError: the address cannot be used.
            KeysError: the list of keys cannot be read.
        """
        if address == self.address:
            return
        self._disconnect()
        self.address, self._left = address, self.address
        self.failure, self._failing_since, self._dead_since = "", None, None
        endpoint.connect(self._socket, address, self._server)

    @property
    def given_up(self) -> str:
        """The failure, if the peer has said no for `PATIENCE_SECONDS`: a process may end with it.

        A peer that merely breaks off has said nothing: it may be down behind something that
        accepts connections in its place.
        """
        since = self._failing_since
        lasting = since is not None and time.monotonic() - since >= PATIENCE_SECONDS
        return self.failure if lasting and self._refused else ""

    def keep(self) -> None:
        """Take note of what happened, and open the connection anew if ZeroMQ has given it up."""
        now = time.monotonic()
        while self._waiting():
            event = parse_monitor_message(self._monitor.recv_multipart())
            if event["endpoint"].decode(errors="replace") != self._left:
                self._note(int(event["event"]), int(event["value"]), now)
        if self._dead_since is not None and now - self._dead_since >= RETRY_SECONDS:
            if not self.failure:  # it ended without a word: a message was none
                self._fail(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, 0, now)
            self._disconnect()
            try:
                endpoint.connect(self._socket, self.address, self._server)
                self._dead_since = None
            except KeysError as error:  # perhaps the list is just being copied
                self.failure, self._dead_since = str(error), now

    def take_made(self) -> bool:
        """True once after every connection made, the first included; call `keep` before."""
        made, self._made = self._made, False
        return made

    def close(self) -> None:
        """Stop watching; before the socket itself is closed."""
        # NOTE: the order matters. ZeroMQ's own thread blocks on a monitor that nobody reads.
        while self._waiting():
            self._monitor.recv_multipart()
        self._socket.disable_monitor()
        self._monitor.close(linger=0)

    def _waiting(self) -> bool:
        return endpoint.readable(self._monitor)

    def _note(self, event: int, value: int, now: float) -> None:
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._made, self.failure, self._refused = True, "", False
            self._dead_since, self._failing_since = None, None
        elif event == zmq.EVENT_CONNECT_RETRIED:
            self._dead_since = None
        elif event == zmq.EVENT_DISCONNECTED:
            self._dead_since = now  # until we hear that it is being tried again
        elif event & _FAILED:
            self._fail(event, value, now)

    def _fail(self, event: int, value: int, now: float) -> None:
        encrypted = endpoint.encrypted(self._socket)
        if self._failing_since is None or now - self._failed_at > PATIENCE_SECONDS / 2:
            self._failing_since, self._refused = now, False  # it has to do with no other
        since, self._failed_at = self._failing_since, now
        sentence = security.explain_handshake(self.address, event, value, encrypted=encrypted)
        # A peer that refuses may close before its reason has been read: what it once said stands.
        self._refused = self._refused or bool(sentence)
        if not sentence and self._refused:
            return
        if not sentence and now - since >= PATIENCE_SECONDS:
            sentence = security.explain_silence(self.address, encrypted=encrypted)
        if sentence and sentence != self.failure:
            _LOG.warning("no_connection reason=%s", sentence)
        self.failure = sentence or self.failure

    def _disconnect(self) -> None:
        # What ZeroMQ has given up is no longer known to it.
        with contextlib.suppress(zmq.ZMQError):
            self._socket.disconnect(self.address)
