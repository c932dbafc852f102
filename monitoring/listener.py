"""A small HTTP listener: reads what is wanted, says what it is told, in as little time as can be.

Who asks at once is answered at once, by the thread that listens; a thread of its own is only for
who takes his time. Of a request only the first line matters, so there is no parser for the rest.
Used by `monitoring.exporter`.
"""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple

_LOG = logging.getLogger(__name__)

CONNECTION_SECONDS = 10.0
"""A client that says nothing for so long is cut off; it would keep a thread."""
REQUESTS_AT_ONCE = 16
"""Connections beyond these are closed at once: each keeps a thread."""
_AT_ONCE_SECONDS = 0.005
"""So long the listening thread itself waits for a client, and all others behind him."""
_BACKLOG = 64
_HEAD_BYTES = 16_384
"""A longer request is not read to its end."""


class Reply(NamedTuple):
    """An HTTP answer before it is sent."""

    status: HTTPStatus
    content_type: str
    body: bytes


def plain(status: HTTPStatus, text: str) -> Reply:
    """An answer of one line."""
    return Reply(status, "text/plain; charset=utf-8", f"{text}\n".encode())


class Listener:
    """Answers until `close`, in daemon threads that sleep unless a request is there.

    address: where it listens.
    """

    def __init__(self, address: tuple[str, int], answer: Callable[[str], Reply]) -> None:
        """Listen.

        Args:
            address: host of this machine, and port; 0 takes a free one.
            answer: from the path of a GET to what is said.

        Raises:
            OSError: this is no place to listen.
        """
        self._answer = answer
        self._stopping = False
        self._free = threading.BoundedSemaphore(REQUESTS_AT_ONCE)
        self._socket = socket.create_server(address, backlog=_BACKLOG)
        self.address: tuple[str, int] = self._socket.getsockname()
        self._thread = threading.Thread(target=self._listen, name="exporter", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening and free the port; a second call does nothing."""
        if not self._thread.is_alive():
            return
        self._stopping = True
        with contextlib.suppress(OSError):  # a connection of our own wakes the thread
            socket.create_connection(self.address, CONNECTION_SECONDS).close()
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        """Wait for connections without polling."""
        while not self._stopping:
            try:
                connection, _ = self._socket.accept()
            except OSError as error:  # for instance too many open files; that may pass
                _LOG.warning("exporter cannot accept reason=%s", error)
                time.sleep(_AT_ONCE_SECONDS)
                continue
            self._receive(_Visit(connection, self._say))

    def _receive(self, visit: "_Visit") -> None:
        if visit.goes_on(_AT_ONCE_SECONDS):
            return
        if not self._free.acquire(blocking=False):
            visit.end()
            return
        try:
            threading.Thread(target=self._wait_for, args=(visit,), daemon=True).start()
        except RuntimeError:  # no more threads
            self._free.release()
            visit.end()

    def _wait_for(self, visit: "_Visit") -> None:
        try:
            visit.goes_on(CONNECTION_SECONDS)
        finally:
            visit.end()
            self._free.release()

    def _say(self, head: bytes) -> bytes:
        """The answer to a request, whatever it is; a failure is a bug, told and logged."""
        words = head.partition(b"\n")[0].decode("latin-1").split()
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return _encode(plain(HTTPStatus.BAD_REQUEST, "this is no HTTP request"))
        if words[0] != "GET":
            return _encode(plain(HTTPStatus.METHOD_NOT_ALLOWED, "only GET is understood"))
        try:
            return _encode(self._answer(words[1]))
        except Exception as error:
            _LOG.exception("exporter request failed path=%s", words[1][:80])
            text = f"{type(error).__name__}: {error}"
            return _encode(plain(HTTPStatus.INTERNAL_SERVER_ERROR, text))


class _Visit:
    """One connection: one request and its answer."""

    def __init__(self, connection: socket.socket, say: Callable[[bytes], bytes]) -> None:
        self._connection, self._say = connection, say
        self._head = b""
        self._unsent: memoryview | None = None

    def goes_on(self, patience: float) -> bool:
        """Read and answer, as far as the client lets us in so many seconds; True if it is over."""
        deadline = time.monotonic() + patience
        try:
            while not self._is_asked():
                part = self._before(deadline).recv(_HEAD_BYTES)
                self._head += part
                if not part:
                    self.end()
                    return True
            if self._unsent is None:
                self._unsent = memoryview(self._say(self._head))
            while self._unsent:
                self._unsent = self._unsent[self._before(deadline).send(self._unsent) :]
        except TimeoutError:
            return False
        except OSError as error:  # hanging up is the client's own business
            _LOG.debug("exporter client is gone reason=%s", error)
        self.end()
        return True

    def end(self) -> None:
        """Hang up."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)
        self._connection.close()

    def _is_asked(self) -> bool:
        ended = b"\n\r\n" in self._head or b"\n\n" in self._head
        return ended or len(self._head) >= _HEAD_BYTES

    def _before(self, deadline: float) -> socket.socket:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        return self._connection


def _encode(answer: Reply) -> bytes:
    head = (
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}\r\n"
        f"Content-Type: {answer.content_type}\r\n"
        f"Content-Length: {len(answer.body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + answer.body
