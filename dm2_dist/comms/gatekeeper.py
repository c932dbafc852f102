"""The door of a listening process: whose key is on the list, and as what may it come in.

ZeroMQ asks, for every connection that has proved to own a key, a socket of this process (ZAP, its
authentication protocol), and passes the role that is answered on with every message. There is no
thread: `endpoint.receive` serves the door, so that it is open exactly as long as its process works.
The list is read anew when the file has changed; if it cannot be read, nobody new comes in.
"""

import logging
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import zmq
from zmq.utils import z85

from dm2_dist.comms import keys
from dm2_dist.comms.keys import Allowed, Keys, KeysError, Role

_LOG = logging.getLogger(__name__)
_ADDRESS = "inproc://zeromq.zap.01"
_VERSION = b"1.0"
_REQUEST_FRAMES = 9
"""Routing identity, empty, version, id, domain, address, identity, mechanism, key."""
_LOG_SECONDS = 60.0
_ADDRESSES_LIMIT = 256
_SERVED_AT_ONCE = 64
_EVENTS, _POLLIN = int(zmq.EVENTS), int(zmq.POLLIN)

ADMITTED: dict[Role, frozenset[Role]] = {
    Role.HEAD: frozenset({Role.ACTOR, Role.LEARNER, Role.LAUNCHER}),
    Role.LEARNER: frozenset({Role.ACTOR}),
    Role.ACTOR: frozenset(),
    Role.LAUNCHER: frozenset(),
}
"""Who listens -> who may connect."""


class Verdict(NamedTuple):
    """Who knocks, if it may come in.

    role: None if it may not.
    reason: `ok`, `malformed`, `no_list`, `unknown_key` or `wrong_role`; a closed set.
    """

    role: Role | None
    reason: str


def judge(mechanism: bytes, key: bytes, listener: Role, allowed: Allowed | None) -> Verdict:
    """Decide about a connection.

    Args:
        mechanism: how it authenticates; only `CURVE` counts.
        key: its public key, 32 raw bytes; ZeroMQ has made sure that it owns the secret half.
        listener: role of the process that it knocks at.
        allowed: the list; None if it cannot be read.
    """
    if mechanism != b"CURVE" or len(key) != 32:
        return Verdict(None, "malformed")
    if allowed is None:
        return Verdict(None, "no_list")
    public = z85.encode(key)
    for role, listed in allowed.items():
        if public in listed:
            admitted = role in ADMITTED[listener]
            return Verdict(role, "ok") if admitted else Verdict(None, "wrong_role")
    return Verdict(None, "unknown_key")


class Gatekeeper:
    """The one door of a process; belongs to a context.

    refused: connections refused so far, by reason; for the counter `dm2_keys_refused_total`.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], own: Keys) -> None:
        self.refused: Counter[str] = Counter()
        self.context = context
        self._keys = own
        self._lock = threading.Lock()
        self._logged: OrderedDict[str, float] = OrderedDict()
        self._stamp: tuple[int, int, int] | None = None
        self._allowed: Allowed | None = None
        self._socket = context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(_ADDRESS)

    @property
    def closed(self) -> bool:
        """Whether its context has been closed."""
        return bool(self._socket.closed)

    @property
    def handle(self) -> zmq.Socket[bytes]:
        """What a poll may watch to answer at once; without, an answer waits for the next turn."""
        return self._socket

    def serve(self) -> None:
        """Answer those who knock, a bounded number of them; never waits, never raises for them."""
        if not self._lock.acquire(blocking=False):
            return  # another thread is at it
        try:
            for _ in range(_SERVED_AT_ONCE):
                if not int(self._socket.getsockopt(_EVENTS)) & _POLLIN:
                    return
                self._answer(self._socket.recv_multipart(zmq.DONTWAIT))
        finally:
            self._lock.release()

    def close(self) -> None:
        """Let nobody in any more."""
        self._socket.close(linger=0)

    def _answer(self, request: Sequence[bytes]) -> None:
        if len(request) < 4:
            return
        address = request[5].decode(errors="replace") if len(request) > 5 else "unknown"
        verdict = Verdict(None, "malformed")
        if len(request) == _REQUEST_FRAMES and request[2] == _VERSION:
            verdict = judge(request[7], request[8], self._keys.role, self._list())
        if verdict.role is None:
            self._refuse(address, verdict.reason, request[-1])
        word = verdict.role.encode() if verdict.role is not None else b""
        code = b"200" if verdict.role is not None else b"400"
        # Whoever is refused is not told why.
        self._socket.send_multipart([*request[:2], _VERSION, request[3], code, b"", word, b""])

    def _refuse(self, address: str, reason: str, key: bytes) -> None:
        self.refused[reason] += 1
        now = time.monotonic()
        if now - self._logged.get(address, -_LOG_SECONDS) < _LOG_SECONDS:
            return
        self._logged[address] = now
        self._logged.move_to_end(address)
        while len(self._logged) > _ADDRESSES_LIMIT:
            self._logged.popitem(last=False)
        name = keys.fingerprint(z85.encode(key)) if len(key) == 32 else "none"
        _LOG.warning("key_refused address=%s reason=%s fingerprint=%s", address, reason, name)

    def _list(self) -> Allowed | None:
        path = self._keys.folder / keys.LIST
        try:
            found = path.stat()
            stamp = found.st_mtime_ns, found.st_ino, found.st_size
            if stamp != self._stamp:
                self._allowed = keys.read_allowed(self._keys.folder)
                self._stamp = stamp
        except (OSError, KeysError) as error:
            if self._allowed is not None or self._stamp is None:
                _LOG.error("the list of keys cannot be used, nobody new comes in: %s", error)
            self._allowed, self._stamp = None, (0, 0, 0)
        return self._allowed
