"""Turns to start a game, and ports to start it on: what games of one machine must share.

Starting a game takes all of a processor and a gigabyte of reads, so only a few may start at once.
"""

import contextlib
import os
import random
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock

from dm2_dist.envs.interface import GameLost

_PATIENCE_SECONDS = 1800.0
_POLL_SECONDS = 0.1
PORTS = range(21_000, 32_000)
"""Below the range that systems take for outgoing connections."""
_TRIES = 200


@contextlib.contextmanager
def turn(shared: Path, turns: int, on_wait: Callable[[], None]) -> Iterator[None]:
    """Wait for one of the turns to start a game, and hold it. A turn ends with its holder.

    Args:
        shared: folder of the locks, the same for all who take turns.
        turns: how many may start at once.
        on_wait: called while waiting; may raise to give up.

    Raises:
        GameLost: no turn came up in half an hour.
    """
    shared.mkdir(parents=True, exist_ok=True)
    locks = [filelock.FileLock(shared / f"launch-{number}.lock") for number in range(turns)]
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not any(_acquired(lock) for lock in locks):
        if time.monotonic() > deadline:
            raise GameLost(f"no turn to start a game for {_PATIENCE_SECONDS:.0f} s")
        on_wait()
        time.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        for lock in locks:
            lock.release()


def _acquired(lock: filelock.BaseFileLock) -> bool:
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        return False
    return True


class Port:
    """A free port of 127.0.0.1 that no other game of this user takes while we hold it.

    number: the port.
    """

    def __init__(self) -> None:
        """Reserve one.

        Raises:
            GameLost: none is free.
        """
        folder = Path(tempfile.gettempdir()) / f"dm2-ports-{os.getuid()}"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            for number in random.SystemRandom().sample(PORTS, _TRIES):
                self._lock = filelock.FileLock(folder / f"{number}.lock")
                if _acquired(self._lock):
                    if _is_free(number):
                        self.number = number
                        return
                    self._lock.release()
        except OSError as error:
            raise GameLost(f"no port can be reserved in {folder} ({error.strerror})") from error
        raise GameLost(f"none of {_TRIES} ports of 127.0.0.1 that were tried is free")

    def release(self) -> None:
        """Let others have it."""
        self._lock.release()


def _is_free(number: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", number))
        except OSError:
            return False
        return True
