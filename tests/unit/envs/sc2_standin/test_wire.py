from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dm2_dist.envs.sc2_standin import wire
from dm2_dist.envs.sc2_standin.wire import Wire, WireError

SECONDS = 5.0
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Ends(NamedTuple):
    client: socket.socket
    server: Wire


@contextmanager
def connected() -> Iterator[Ends]:
    client, server = socket.socketpair()
    client.settimeout(SECONDS)
    with client, server:
        yield Ends(client, Wire(server))


def client_frame(
    payload: bytes, opcode: int, *, final: bool = True, mask: bytes = b"mask"
) -> bytes:
    size = len(payload)
    first = (0x80 if final else 0) | opcode
    if size < 126:
        head = bytes([first, 0x80 | size])
    elif size < 1 << 16:
        head = struct.pack(">BBH", first, 0x80 | 126, size)
    else:
        head = struct.pack(">BBQ", first, 0x80 | 127, size)
    return head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))


def sent(client: socket.socket, data: bytes) -> threading.Thread:
    """Send from a thread: more than a socket's buffer would block."""
    thread = threading.Thread(target=client.sendall, args=(data,))
    thread.start()
    return thread


def read_exactly(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += client.recv(size - len(data))
    return data


@settings(max_examples=60, deadline=None)
@given(
    pieces=st.lists(st.binary(max_size=300), min_size=1, max_size=4),
    mask=st.binary(min_size=4, max_size=4),
    opcode=st.sampled_from([TEXT, BINARY]),
    pings=st.booleans(),
)
def test_a_message_arrives_however_it_is_cut(
    pieces: list[bytes], mask: bytes, opcode: int, pings: bool
) -> None:
    data = b""
    for index, piece in enumerate(pieces):
        last = index == len(pieces) - 1
        kind = opcode if index == 0 else 0
        data += client_frame(piece, kind, final=last, mask=mask)
        if pings and not last:
            data += client_frame(b"?", PING)
    with connected() as ends:
        thread = sent(ends.client, data)
        assert ends.server.receive(SECONDS) == b"".join(pieces)
        thread.join(SECONDS)
        for _ in range(len(pieces) - 1 if pings else 0):
            assert read_exactly(ends.client, 3) == bytes([0x80 | PONG, 1]) + b"?"


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536, 200_000])
def test_every_length_has_its_header(size: int) -> None:
    payload = bytes(index % 251 for index in range(size))
    with connected() as ends:
        thread = sent(ends.client, client_frame(payload, TEXT))
        assert ends.server.receive(SECONDS) == payload
        thread.join(SECONDS)
    framed = wire.frame_bytes(payload)
    assert framed[0] == 0x80 | BINARY
    assert framed.endswith(payload)
    header = len(framed) - size
    assert header == (2 if size < 126 else 4 if size < 1 << 16 else 10)


def test_two_messages_in_one_piece_are_two() -> None:
    with connected() as ends:
        ends.client.sendall(client_frame(b"one", TEXT) + client_frame(b"two", TEXT))
        assert [ends.server.receive(SECONDS), ends.server.receive(SECONDS)] == [b"one", b"two"]


@pytest.mark.parametrize("end", [client_frame(b"\x03\xe8", CLOSE), b"", client_frame(b"x", 1)[:3]])
def test_a_client_that_leaves_ends_the_messages(end: bytes) -> None:
    with connected() as ends:
        ends.client.sendall(end)
        ends.client.shutdown(socket.SHUT_WR)
        assert ends.server.receive(SECONDS) is None


def test_silence_is_not_waited_for_without_limit() -> None:
    with connected() as ends, pytest.raises(TimeoutError):
        ends.server.receive(0.05)


@pytest.mark.parametrize(
    "data",
    [
        client_frame(b"x", 3),
        client_frame(b"x", 0),
        client_frame(b"x", TEXT, final=False) + client_frame(b"y", TEXT),
        client_frame(b"x", PING, final=False),
        bytes([0xC1, 0x80]) + b"mask",
        struct.pack(">BBQ", 0x81, 0xFF, wire.MAX_MESSAGE_BYTES + 1),
    ],
)
def test_what_breaks_the_rules_is_refused(data: bytes) -> None:
    with connected() as ends:
        ends.client.sendall(data)
        with pytest.raises(WireError):
            ends.server.receive(SECONDS)


def upgrade(path: str = wire.PATH, key: str | None = "dGhlIHNhbXBsZSBub25jZQ==") -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: here", "Upgrade: websocket"]
    lines += [] if key is None else [f"Sec-WebSocket-Key: {key}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def test_the_handshake_answers_the_key_of_the_standard() -> None:
    with connected() as ends:
        ends.client.sendall(upgrade() + client_frame(b"first", TEXT))
        assert ends.server.handshake(ready=True, seconds=SECONDS)
        answer = ends.client.recv(4096)
        assert answer.startswith(b"HTTP/1.1 101 ")
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer
        assert ends.server.receive(SECONDS) == b"first"


@pytest.mark.parametrize(
    ("request_bytes", "ready"),
    [(upgrade("/elsewhere"), True), (upgrade(key=None), True), (upgrade(), False)],
)
def test_anything_but_the_game_is_not_found(request_bytes: bytes, ready: bool) -> None:
    with connected() as ends:
        ends.client.sendall(request_bytes)
        assert not ends.server.handshake(ready=ready, seconds=SECONDS)
        assert ends.client.recv(4096).startswith(b"HTTP/1.1 404 ")


def test_a_head_without_end_is_refused() -> None:
    with connected() as ends:
        thread = sent(ends.client, b"GET /" + b"x" * 2 * wire.MAX_HEAD_BYTES)
        with pytest.raises(WireError, match="too long"):
            ends.server.handshake(ready=True, seconds=SECONDS)
        thread.join(SECONDS)


def test_a_head_that_stays_away_is_not_waited_for() -> None:
    with connected() as ends, pytest.raises(TimeoutError):
        ends.server.handshake(ready=True, seconds=0.05)
