"""Processes with everything they started: their processor time, and their end. Linux only."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def processor_seconds(root: int) -> float:
    """Processor time of a process and all its living descendants, in seconds.

    Args:
        root: process id.
    """
    stats = _stats()
    return sum(stats[pid][1] for pid in _family(root, stats))


def end(process: subprocess.Popen[str], first: signal.Signals, patience: float) -> None:
    """Ask a process to leave; kill it and all that it started if it does not.

    Args:
        process: what to end.
        first: the signal that it understands.
        patience: seconds that it is given.
    """
    family = _family(process.pid, _stats())
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(first)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=patience)
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline and _alive(family):
        time.sleep(0.05)
    for pid in _alive(family):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait(timeout=patience)


_Stats = dict[int, tuple[int, float, int]]
"""By process id: the parent, processor seconds, and when it began, in ticks."""


def _stats() -> _Stats:
    table: _Stats = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            # The command's name is in parentheses and may hold anything.
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if fields[0] != "Z":
                spent = (int(fields[11]) + int(fields[12])) / _TICK
                table[int(entry.name)] = (int(fields[1]), spent, int(fields[19]))
    return table


def _family(root: int, stats: _Stats) -> dict[int, int]:
    """A process and its descendants, with when each began."""
    found = {root: stats[root][2]} if root in stats else {}
    grew = True
    while grew:
        below = {
            pid: began
            for pid, (parent, _, began) in stats.items()
            if parent in found and pid not in found
        }
        found |= below
        grew = bool(below)
    return found


def _alive(family: dict[int, int]) -> list[int]:
    """Those that still live; a number that was given to another process since does not count."""
    stats = _stats()
    return [pid for pid, began in family.items() if pid in stats and stats[pid][2] == began]
