"""Faults that last: each is a generator that begins, says when to go on, and mends what it did.

A generator yields the seconds until it wants to be resumed; closing it mends at once. Held by
`launch.chaos_run`. Everything here happens to processes and sockets of one run on this machine.
"""

import ctypes
import os
import random
import signal
import socket
import time
from collections.abc import Generator, Sequence
from pathlib import Path

from launch import chaos_garbage

Lasting = Generator[float, None, None]
"""A fault that is going on."""
_STOPPED_SECONDS, _GOING_SECONDS = 0.2, 0.05
_GARBAGE_PAUSE_SECONDS = 0.02
_CUT_AGAIN_SECONDS = 0.2
_PIDFD_GETFD = 438
"""The number of this system call, which has no wrapper in the standard library."""
_CONNECTED = "03"


def stop(pid: int, seconds: float) -> Lasting:
    """Stop a process, as a full swap or a debugger does, and let it go on."""
    try:
        os.kill(pid, signal.SIGSTOP)
        yield seconds
    finally:
        _go_on(pid)


def slow(pid: int, seconds: float) -> Lasting:
    """Let a process run for a fifth of the time only."""
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            os.kill(pid, signal.SIGSTOP)
            yield _STOPPED_SECONDS
            os.kill(pid, signal.SIGCONT)
            yield _GOING_SECONDS
    finally:
        _go_on(pid)


def partition(pid: int, sockets: Sequence[Path], seconds: float) -> Lasting:
    """Cut a process off: its connections break, and nobody finds its sockets.

    Args:
        pid: the process that listens.
        sockets: where it listens.
        seconds: for how long.

    Raises:
        OSError: connections of other processes may not be touched here.
    """
    hidden = [(path, path.with_name(f"{path.name}.cut")) for path in sockets]
    end = time.monotonic() + seconds
    try:
        for path, aside in hidden:
            if path.exists():
                path.replace(aside)
        while time.monotonic() < end:
            cut(pid, sockets)
            yield _CUT_AGAIN_SECONDS
    finally:
        for path, aside in hidden:
            if path.exists():  # of a new incarnation, born in the middle of it
                aside.unlink(missing_ok=True)
            elif aside.exists():
                aside.replace(path)


def garble(sockets: Sequence[Path], run_id: str, draw: random.Random, seconds: float) -> Lasting:
    """Send garbage to sockets: what no peer says, and what a broken one may."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        chaos_garbage.send(draw.choice(sockets), run_id, draw)
        yield _GARBAGE_PAUSE_SECONDS


def cut(pid: int, sockets: Sequence[Path]) -> int:
    """Break the connections that a process accepted on its Unix sockets; returns how many.

    Raises:
        OSError: connections of other processes may not be touched here.
    """
    accepted = _accepted({str(path) for path in sockets}, pid)
    broken = 0
    handle = os.pidfd_open(pid)
    try:
        for descriptor in _descriptors(pid, accepted):
            own = _borrow(handle, descriptor)
            if own < 0:
                continue
            with socket.socket(fileno=own) as connection:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:  # broken already
                    continue
            broken += 1
    finally:
        os.close(handle)
    return broken


def _accepted(paths: set[str], pid: int) -> set[str]:
    """Inodes of the connected sockets that were accepted at these paths."""
    inodes = set()
    for line in Path(f"/proc/{pid}/net/unix").read_text().splitlines()[1:]:
        fields = line.split(maxsplit=7)
        if len(fields) == 8 and fields[5] == _CONNECTED and fields[7] in paths:
            inodes.add(fields[6])
    return inodes


def _descriptors(pid: int, inodes: set[str]) -> list[int]:
    links = {f"socket:[{inode}]" for inode in inodes}
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if os.readlink(entry) in links:
                found.append(int(entry.name))
        except FileNotFoundError:  # closed while we looked
            continue
    return found


def _borrow(handle: int, descriptor: int) -> int:
    """A descriptor of our own for a socket of another process; negative if it is closed already."""
    libc = ctypes.CDLL(None, use_errno=True)
    own = int(libc.syscall(_PIDFD_GETFD, handle, descriptor, 0))
    code = ctypes.get_errno()
    if own < 0 and code in {1, 38}:  # EPERM, ENOSYS
        raise OSError(code, os.strerror(code))
    return own


def _go_on(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        return
