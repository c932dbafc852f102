"""Garbage for a socket: broken greetings, broken frames, and messages that a broken peer may send.

Speaks just enough of ZeroMQ's wire protocol (ZMTP 3, mechanism NULL) to be let in: a real socket
would refuse to send most of this. Used by `launch.chaos_faults`.
"""

import random
import socket
from pathlib import Path

from dm2_dist.comms import codec, messages
from dm2_dist.comms.messages import Source

NAME = "garbler"
"""Whose name the messages bear; no role of a run is called so."""
_GREETING = b"\xff" + bytes(7) + b"\x01\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)
_LONG, _COMMAND, _MORE = 0x02, 0x04, 0x01
_TIMEOUT_SECONDS = 0.2


def send(path: Path, run_id: str, draw: random.Random) -> bool:
    """Connect to a Unix socket, send one piece of garbage, hang up.

    Args:
        path: where a role of the run listens.
        run_id: the run's name; some of the garbage knows it.
        draw: decides what is sent.

    Returns:
        Whether somebody read it to its end and hung up in turn.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_TIMEOUT_SECONDS)
        try:
            connection.connect(str(path))
            greeting, rest = streams(run_id, draw)
            connection.sendall(greeting)
            if rest:
                _await_ready(connection)
            connection.sendall(rest)
            connection.shutdown(socket.SHUT_WR)
            # Hanging up with unread answers would take back what the other side has not read yet.
            while connection.recv(4096):
                pass
        except OSError:
            return False
    return True


def streams(run_id: str, draw: random.Random) -> tuple[bytes, bytes]:
    """All bytes of one connection: a handshake, whole or broken, and what comes after it."""
    match draw.randrange(6):
        case 0:
            return draw.randbytes(draw.randrange(1, 200)), b""
        case 1:
            return _GREETING[: draw.randrange(64)], b""
        case 2:  # a frame that claims to be as long as no memory is
            size = draw.choice((2**31, 2**40, 2**63 - 1))
            return _hello(), bytes([_LONG]) + size.to_bytes(8, "big") + draw.randbytes(100)
        case 3:  # cut off in the middle of a frame
            whole = _frames(draw, message(run_id, draw))
            return _hello(), whole[: draw.randrange(1, len(whole))]
    return _hello(), b"".join(_frames(draw, message(run_id, draw)) for _ in range(20))


def message(run_id: str, draw: random.Random) -> bytes:
    """A header: noise, or something that was a message once."""
    if draw.randrange(4) == 0:
        return draw.randbytes(draw.choice((0, 1, 40, 4096, 4097, 300_000)))
    source = Source(name=NAME, incarnation=1)
    original = codec.pack(
        draw.choice(
            (
                messages.Open(protocol=messages.PROTOCOL, source=source, run_id=run_id),
                messages.Get(source=source, version=draw.choice((0, 10**9))),
                messages.Want(source=source),
                messages.Bye(source=source),
            )
        )
    )
    return mutated(original, draw)


def mutated(original: bytes, draw: random.Random) -> bytes:
    """A message with some bytes changed, or missing, or too many."""
    match draw.randrange(4):
        case 0:
            return original[: draw.randrange(len(original))]
        case 1:
            return original + draw.randbytes(draw.randrange(1, 50))
        case 2:
            return original
    spoilt = bytearray(original)
    for _ in range(draw.randrange(1, 4)):
        spoilt[draw.randrange(len(spoilt))] = draw.randrange(256)
    return bytes(spoilt)


def _await_ready(connection: socket.socket) -> None:
    """What comes before the other side has said READY is taken for a part of the handshake."""
    heard = b""
    while b"READY" not in heard:
        part = connection.recv(4096)
        if not part:
            return
        heard += part


def _hello() -> bytes:
    ready = b"\x05READY" + _field(b"Socket-Type", b"DEALER") + _field(b"Identity", NAME.encode())
    return _GREETING + bytes([_COMMAND, len(ready)]) + ready


def _field(name: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + len(value).to_bytes(4, "big") + value


def _frames(draw: random.Random, header: bytes) -> bytes:
    """One message: the header, and now and then more frames than anybody expects."""
    bodies = [draw.randbytes(draw.choice((0, 10, 1000))) for _ in range(draw.choice((0, 0, 1, 3)))]
    parts = [header, *bodies]
    encoded = b""
    for index, part in enumerate(parts):
        more = _MORE if index + 1 < len(parts) else 0
        if len(part) < 256:
            encoded += bytes([more, len(part)]) + part
        else:
            encoded += bytes([more | _LONG]) + len(part).to_bytes(8, "big") + part
    return encoded
