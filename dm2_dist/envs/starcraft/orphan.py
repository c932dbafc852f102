"""No process outlives its parent: a signal from the kernel, and a mark to find what escaped it.

The worker asks the kernel to be killed when the actor dies, and the game when the worker dies. All
of them carry one token in their environment, which is also in a record on disk, so that whoever
comes next finds and ends whatever is left, wherever it went. Linux gives the signal; elsewhere the
record alone does the work.
"""

import contextlib
import ctypes
import json
import logging
import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Collection
from pathlib import Path

import psutil

_LOG = logging.getLogger(__name__)
TOKEN = "DM2_GAME"
"""Environment variable that a game and all its processes carry."""
RECORD = "record.json"
_PR_SET_PDEATHSIG = 1
_POLL_SECONDS = 0.02


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent dies; at once if that has happened.

    Args:
        parent: pid that must be the parent.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def record(own: Path) -> str:
    """Write down that a game is about to start here; returns the token that it must carry."""
    token = secrets.token_hex(16)
    own.mkdir(parents=True, exist_ok=True)
    draft = own / f"{RECORD}.new"
    draft.write_text(json.dumps({"token": token}))
    draft.replace(own / RECORD)
    return token


def forget(own: Path) -> None:
    """The game that was recorded here has been seen off."""
    shutil.rmtree(own, ignore_errors=True)


def bearers(tokens: Collection[str]) -> list[psutil.Process]:
    """Living processes that carry one of the tokens."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(TOKEN) in tokens:
                found.append(process)
        except (psutil.Error, OSError):
            continue  # gone, a zombie, or somebody else's
    return found


def kill(tokens: Collection[str], patience: float = 5.0) -> list[int]:
    """Kill every process that carries one of the tokens, and see it gone.

    Args:
        tokens: of games that nobody needs any more.
        patience: seconds to wait for the kernel.

    Returns:
        The pids that were killed.
    """
    killed: dict[int, None] = {}
    deadline = time.monotonic() + patience
    while (left := bearers(tokens)) and time.monotonic() < deadline:
        for process in left:
            killed[process.pid] = None
            with contextlib.suppress(psutil.Error):
                process.kill()
        time.sleep(_POLL_SECONDS)  # whoever is their parent learns how they ended
    return list(killed)


def reap(shared: Path) -> list[int]:
    """End every game that is on record below a folder; nobody may be playing there.

    Returns:
        The pids that were killed; they had outlived their actors.
    """
    tokens = set()
    records = sorted(shared.glob(f"*/{RECORD}"))
    for path in records:
        try:
            tokens.add(str(json.loads(path.read_text())["token"]))
        except (OSError, ValueError, KeyError, TypeError):
            _LOG.warning("unreadable record=%s", path)
    killed = kill(tokens) if tokens else []
    if killed:
        _LOG.warning("reaped pids=%s", killed)
    for path in records:
        forget(path.parent)
    return killed
