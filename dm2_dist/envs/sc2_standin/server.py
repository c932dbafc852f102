"""One client at a time on one port, until it leaves.

Fed by `__main__`; frames by `wire`, answers by `session`.
"""

from __future__ import annotations

import os
import socket
import sys
import time

from dm2_dist.envs.sc2_standin.fault import FaultPlan
from dm2_dist.envs.sc2_standin.protocol import StandInError
from dm2_dist.envs.sc2_standin.session import Session
from dm2_dist.envs.sc2_standin.wire import Wire, WireError

CLIENT_SECONDS = 600.0
"""How long to wait for a client."""

SILENCE_SECONDS = 3600.0
"""Longest silence of a client; then it is taken for dead."""

HANDSHAKE_SECONDS = 10.0
HANG_SECONDS = 86400.0
CRASH_STATUS = 139

_BACKLOG = 4
_GARBAGE = b"\xff\xff\xff\xffthis is no message"


def listen(host: str, port: int) -> socket.socket:
    """Take the port.

    Raises:
        StandInError: the port cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    door = socket.socket(family, socket.SOCK_STREAM)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        door.bind((host, port))
    except OSError as error:
        door.close()
        raise StandInError(
            f"port {port} of {host} cannot be listened on: {error.strerror}; choose another"
        ) from error
    door.listen(_BACKLOG)
    return door


def admit(door: socket.socket, ready_at: float) -> tuple[socket.socket, Wire]:
    """Wait for a client that completes the handshake; whoever does not is turned away.

    Args:
        door: the listening socket.
        ready_at: time from which on there is anything to talk to.

    Raises:
        StandInError: no client came.
    """
    deadline = time.monotonic() + CLIENT_SECONDS
    while (left := deadline - time.monotonic()) > 0:
        door.settimeout(left)
        try:
            peer, _ = door.accept()
        except TimeoutError:
            break
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire = Wire(peer)
        try:
            if wire.handshake(
                ready=time.monotonic() >= ready_at, seconds=min(left, HANDSHAKE_SECONDS)
            ):
                return peer, wire
        except (OSError, WireError) as error:
            print(f"turned a client away: {error}", file=sys.stderr, flush=True)
        peer.close()
    raise StandInError(f"no client came within {CLIENT_SECONDS:.0f} s")


def serve(peer: socket.socket, wire: Wire, session: Session, faults: FaultPlan) -> None:
    """Answer one client until it quits, leaves or falls silent.

    Raises:
        StandInError: the client does not speak the protocol.
    """
    try:
        while not session.quitting:
            message = wire.receive(SILENCE_SECONDS)
            if message is None:
                return
            _suffer(peer, faults, session.requests + 1)
            reply = session.reply(message)
            if faults.strikes_at("garbage_at", session.requests):
                reply = _GARBAGE
            wire.send(reply)
    except (ConnectionError, TimeoutError):
        return
    except WireError as error:
        raise StandInError(f"the client is no client of the game: {error}") from error


def _suffer(peer: socket.socket, faults: FaultPlan, request: int) -> None:
    """Fail before a request is answered, if that is the plan."""
    if faults.strikes_at("crash_at", request):
        print(f"a crash on order at request {request}", file=sys.stderr, flush=True)
        os._exit(CRASH_STATUS)
    if faults.strikes_at("hang_at", request):
        time.sleep(HANG_SECONDS)
    if faults.strikes_at("close_at", request):
        peer.close()
        time.sleep(HANG_SECONDS)
