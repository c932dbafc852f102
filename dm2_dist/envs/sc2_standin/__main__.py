"""The program in the game's place: `python -m dm2_dist.envs.sc2_standin -listen HOST -port PORT`.

It takes the game's own arguments and ignores those that it does not know, as the game does.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from dm2_dist.envs.sc2_standin import NOTICE, fault, protocol, server, version
from dm2_dist.envs.sc2_standin.fault import FaultPlan
from dm2_dist.envs.sc2_standin.protocol import StandInError
from dm2_dist.envs.sc2_standin.session import Session


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments that matter.

    Attributes:
        host: address to listen on.
        port: port to listen on.
        build: which build of the game to stand in for.
    """

    host: str = "127.0.0.1"
    port: int = 0
    build: int = 0


def parse(words: Sequence[str]) -> Arguments:
    """Read the arguments.

    Raises:
        StandInError: the port is missing, or a number is none.
    """
    given = {
        name: value for name, value in pairwise(words) if name in ("-listen", "-port", "--build")
    }
    port = _whole(given, "-port")
    if not 0 < port < 1 << 16:
        raise StandInError("name a port from 1 to 65535 to listen on: -port PORT")
    return Arguments(given.get("-listen", "127.0.0.1"), port, _whole(given, "--build"))


def _whole(given: dict[str, str], name: str) -> int:
    text = given.get(name, "0")
    if not text.isdigit():
        raise StandInError(f"{name} must be followed by a number, not {text!r}")
    return int(text)


def main(words: Sequence[str]) -> int:
    """Stand in for the game until the client leaves; returns the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    print(NOTICE, file=sys.stderr, flush=True)
    try:
        arguments = parse(words)
        faults = fault.read(os.environ)
        return _run(arguments, faults)
    except StandInError as error:
        print(f"sc2 stand-in: {error}", file=sys.stderr, flush=True)
        return 1


def _run(arguments: Arguments, faults: FaultPlan) -> int:
    if faults.strikes("exit_at_start"):
        raise StandInError("ended at the start, on order")
    stubborn = faults.strikes("stubborn")
    if stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    messages = protocol.load()
    if faults.strikes("delay_listen"):
        time.sleep(faults.value("delay_listen"))
    door = server.listen(arguments.host, arguments.port)
    ready_at = time.monotonic()
    if faults.strikes("not_found"):
        ready_at += faults.value("not_found")
    peer, wire = server.admit(door, ready_at)
    door.close()
    session = Session(messages, version.of_build(arguments.build), faults)
    server.serve(peer, wire, session, faults)
    if stubborn:
        time.sleep(server.HANG_SECONDS)
    peer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
