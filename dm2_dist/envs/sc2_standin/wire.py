"""The bytes on the socket: a WebSocket, the server's side of it.

The game's clients send their binary messages in frames marked as text, which a library that decodes
text would refuse; hence these few functions of RFC 6455. Fed by `server`.
"""

from __future__ import annotations

import base64
import hashlib
import socket
import struct
import time
from typing import NamedTuple

PATH = "/sc2api"
"""Where the game listens; anything else is answered with 404."""

MAX_HEAD_BYTES = 16 * 1024
MAX_MESSAGE_BYTES = 64 * 1024 * 1024

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10


class WireError(RuntimeError):
    """The peer does not speak WebSocket, or too much of it."""


class Frame(NamedTuple):
    """One frame.

    Attributes:
        final: whether it ends its message.
        opcode: what it is.
        payload: its bytes, unmasked.
    """

    final: bool
    opcode: int
    payload: bytes


def accept_key(key: str) -> str:
    """Answer of the handshake to the client's key."""
    return base64.b64encode(hashlib.sha1(key.encode("latin-1") + _MAGIC).digest()).decode()


def unmask(payload: bytes, mask: bytes) -> bytes:
    """Exclusive or of the payload with its four-byte mask, repeated."""
    size = len(payload)
    stream = (mask * (size // 4 + 1))[:size]
    mixed = int.from_bytes(payload, "little") ^ int.from_bytes(stream, "little")
    return mixed.to_bytes(size, "little")


def frame_bytes(payload: bytes, opcode: int = _BINARY) -> bytes:
    """One final, unmasked frame, as a server sends it."""
    size = len(payload)
    if size < 126:
        head = bytes([0x80 | opcode, size])
    elif size < 1 << 16:
        head = struct.pack(">BBH", 0x80 | opcode, 126, size)
    else:
        head = struct.pack(">BBQ", 0x80 | opcode, 127, size)
    return head + payload


class Wire:
    """One connection, after its handshake."""

    def __init__(self, peer: socket.socket) -> None:
        """Take over a connected socket; its time-out bounds every wait."""
        self._peer = peer
        self._waiting = b""

    def handshake(self, *, ready: bool, seconds: float) -> bool:
        """Answer the HTTP request with which a connection begins.

        Args:
            ready: whether the game can be talked to yet; it answers 404 until then.
            seconds: how long the whole request may take.

        Returns:
            Whether the connection is a WebSocket now.

        Raises:
            OSError: the peer went away, or took too long.
            WireError: the request is no HTTP.
        """
        line, headers = self._read_head(time.monotonic() + seconds)
        key = headers.get("sec-websocket-key")
        if not ready or key is None or line.split(" ")[1:2] != [PATH]:
            self._peer.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return False
        self._peer.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept_key(key).encode() + b"\r\n\r\n"
        )
        return True

    def _read_head(self, deadline: float) -> tuple[str, dict[str, str]]:
        data = b""
        while b"\r\n\r\n" not in data:
            if len(data) > MAX_HEAD_BYTES:
                raise WireError("the HTTP request is too long")
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("the HTTP request did not arrive in time")
            self._peer.settimeout(left)
            piece = self._peer.recv(4096)
            if not piece:
                raise ConnectionError("the peer left before its HTTP request was complete")
            data += piece
        head, _, self._waiting = data.partition(b"\r\n\r\n")
        line, *rest = head.decode("latin-1").split("\r\n")
        pairs = (entry.partition(":") for entry in rest)
        return line, {name.strip().lower(): value.strip() for name, _, value in pairs}

    def receive(self, seconds: float) -> bytes | None:
        """Wait for the next message; pings are answered on the way.

        Args:
            seconds: longest silence of the peer.

        Returns:
            The message, or None once the peer has closed the connection.

        Raises:
            TimeoutError: nothing came for so long.
            WireError: what came is no WebSocket frame, or too large.
        """
        self._peer.settimeout(seconds)
        parts: list[bytes] = []
        size = 0
        while True:
            frame = self._frame()
            if frame is None or frame.opcode == _CLOSE:
                return None
            if frame.opcode == _PING:
                self._peer.sendall(frame_bytes(frame.payload, _PONG))
            elif frame.opcode in (_CONTINUATION, _TEXT, _BINARY):
                if (frame.opcode == _CONTINUATION) != bool(parts):
                    raise WireError("a fragment came out of turn")
                parts.append(frame.payload)
                size += len(frame.payload)
                if size > MAX_MESSAGE_BYTES:
                    raise WireError(f"a message is larger than {MAX_MESSAGE_BYTES} bytes")
                if frame.final:
                    return b"".join(parts)
            elif frame.opcode != _PONG:
                raise WireError(f"frames of kind {frame.opcode} do not exist")

    def send(self, payload: bytes) -> None:
        """Send one binary message."""
        self._peer.sendall(frame_bytes(payload))

    def _frame(self) -> Frame | None:
        """Read one frame; None if the peer has gone."""
        head = self._exactly(2)
        if head is None:
            return None
        final, opcode, masked = bool(head[0] & 0x80), head[0] & 0x0F, bool(head[1] & 0x80)
        size: int | None = head[1] & 0x7F
        if head[0] & 0x70 or (opcode >= _CLOSE and (not final or head[1] & 0x7F > 125)):
            raise WireError("a frame breaks the rules of the protocol")
        if size == 126:
            size = self._number(2)
        elif size == 127:
            size = self._number(8)
        if size is None:
            return None
        if size > MAX_MESSAGE_BYTES:
            raise WireError(f"a frame is larger than {MAX_MESSAGE_BYTES} bytes")
        mask = self._exactly(4) if masked else b""
        payload = self._exactly(size)
        if mask is None or payload is None:
            return None
        return Frame(final, opcode, unmask(payload, mask) if masked else payload)

    def _number(self, size: int) -> int | None:
        data = self._exactly(size)
        return None if data is None else int.from_bytes(data, "big")

    def _exactly(self, size: int) -> bytes | None:
        """Read so many bytes; None if the peer has gone before."""
        pieces = [self._waiting]
        have = len(self._waiting)
        while have < size:
            try:
                piece = self._peer.recv(max(size - have, 65536))
            except ConnectionError:
                return None
            if not piece:
                return None
            pieces.append(piece)
            have += len(piece)
        data = b"".join(pieces)
        self._waiting = data[size:]
        return data[:size]
