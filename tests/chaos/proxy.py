"""A bad network between two ends of TCP: delay, jitter, cuts, torn messages, half-open connections.

It forwards whatever connects, and can be told to spoil it. Threads, not a process: a test moves it
while the run goes on.
"""

import contextlib
import random
import socket
import struct
import threading
import time
from collections.abc import Callable

CHUNK_BYTES = 16 * 1024
POLL_SECONDS = 0.05
RESET = struct.pack("ii", 1, 0)
"""Linger for zero seconds: closing sends RST."""


class Connection:
    """Two sockets, and a thread for each direction."""

    def __init__(self, proxy: "Proxy", near: socket.socket, far: socket.socket) -> None:
        self.proxy, self.ends = proxy, (near, far)
        self.stranded = False
        self.over = threading.Event()
        self.threads = [
            threading.Thread(target=self._carry, args=pair, daemon=True)
            for pair in ((near, far), (far, near))
        ]
        for thread in self.threads:
            thread.start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        source.settimeout(POLL_SECONDS)
        try:
            while not self.over.is_set():
                self._wait_while_dead()
                with contextlib.suppress(TimeoutError):
                    data = source.recv(CHUNK_BYTES)
                    if not data or not self._forward(data, sink):
                        break
        except OSError:
            pass
        self.close()

    def _forward(self, data: bytes, sink: socket.socket) -> bool:
        """Send it on, or half of it and no more."""
        time.sleep(self.proxy.lag())
        self._wait_while_dead()
        torn = self.proxy.takes_tear(len(data))
        # NOTE: the receiver's timeout is this socket's, too; a slow reader must not end us.
        view = memoryview(data[: len(data) // 2] if torn else data)
        while view and not self.over.is_set():
            with contextlib.suppress(TimeoutError):
                view = view[sink.send(view) :]
        return not torn

    def _wait_while_dead(self) -> None:
        """Neither end hears anything, not even a goodbye."""
        while (self.stranded or self.proxy.partitioned) and not self.over.is_set():
            time.sleep(POLL_SECONDS)

    def close(self) -> None:
        """Break it off with a RST on both sides."""
        if self.over.is_set():
            return
        self.over.set()
        for end in self.ends:
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            end.close()


class Proxy:
    """Listens on `address` and forwards to what `target` names when somebody connects.

    delay, jitter: seconds added to every chunk, the second at random.
    partitioned: while it is True nothing passes, and new connections get no answer.
    connections: those made so far.
    """

    def __init__(
        self,
        target: Callable[[], str | None],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        seed: int = 0,
    ) -> None:
        """Listen; port 0 takes a free one. `target` gives `tcp://HOST:PORT`, None if unknown."""
        self.delay = self.jitter = 0.0
        self.partitioned = False
        self.made = 0
        self.torn = 0
        self._target = target
        self._tear = 0
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._live: list[Connection] = []
        self._ending = threading.Event()
        self._listener = socket.create_server((host, port))
        self._listener.settimeout(POLL_SECONDS)
        self.host, self.port = self._listener.getsockname()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """What to connect to."""
        return f"tcp://{self.host}:{self.port}"

    def cut(self) -> int:
        """Reset every connection; returns how many there were."""
        with self._lock:
            live, self._live = self._live, []
        open_ones = [connection for connection in live if not connection.over.is_set()]
        for connection in open_ones:
            connection.close()
        return len(open_ones)

    def strand(self) -> int:
        """Leave every connection half-open: nothing passes any more and nobody is told."""
        with self._lock:
            open_ones = [c for c in self._live if not c.over.is_set() and not c.stranded]
            for connection in open_ones:
                connection.stranded = True
        return len(open_ones)

    def tear(self, size: int) -> None:
        """Cut the next chunk of at least `size` bytes in half, then the connection."""
        with self._lock:
            self._tear = size

    def close(self) -> None:
        """Stop listening and cut everything."""
        self._ending.set()
        self._thread.join(10)
        self._listener.close()
        with self._lock:
            live = list(self._live)
        for connection in live:
            connection.close()
            for thread in connection.threads:
                thread.join(10)

    def lag(self) -> float:
        """Seconds by which the next chunk is late."""
        if not self.delay and not self.jitter:
            return 0.0
        with self._lock:
            return self.delay + self.jitter * self._random.random()

    def takes_tear(self, size: int) -> bool:
        """Whether this chunk is the one to be torn."""
        with self._lock:
            if not 0 < self._tear <= size:
                return False
            self._tear = 0
            self.torn += 1
            return True

    def _accept(self) -> None:
        while not self._ending.is_set():
            if self.partitioned:
                time.sleep(POLL_SECONDS)
                continue
            try:
                near, _ = self._listener.accept()
            except TimeoutError:
                continue
            far = self._connect()
            if far is None:
                near.close()
                continue
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self.made += 1
                self._live.append(Connection(self, near, far))

    def _connect(self) -> socket.socket | None:
        target = self._target()
        if target is None:
            return None
        host, _, port = target.removeprefix("tcp://").rpartition(":")
        try:
            return socket.create_connection((host, int(port)), 5)
        except OSError:
            return None


def two_in_a_row(
    first: Callable[[], str | None], second: Callable[[], str | None], host: str = "127.0.0.1"
) -> tuple[Proxy, Proxy]:
    """Two proxies on a port and the next, as a learner needs them."""
    for _ in range(50):
        one = Proxy(first, host=host)
        try:
            return one, Proxy(second, host=host, port=one.port + 1)
        except OSError:
            one.close()
    raise AssertionError("no two free ports in a row")
