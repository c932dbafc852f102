"""What every child process does first: log, leave interrupts to the launcher, die with it."""

import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from pathlib import Path

_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
PARENT_DIED = 70
"""Exit code of a child whose launcher vanished."""

LAUNCHERS_SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Signals that are for the launcher alone."""

HOPELESS = 78
"""Exit code of a child that would fail again in the same way: it is not worth a restart."""


def begin(name: str, logs: Path) -> logging.Logger:
    """Prepare the process of role `name`; returns its logger.

    Ctrl-C, and the SIGTERM of a batch system, reach every process of the group; only the launcher
    acts on them.
    """
    logging.basicConfig(
        filename=logs / f"{name}.log", level=logging.INFO, format=_FORMAT, force=True
    )
    for number in LAUNCHERS_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, LAUNCHERS_SIGNALS)
    parent = multiprocessing.parent_process()
    if parent is not None:
        watch = threading.Thread(target=_die_with, args=(parent.sentinel,), daemon=True)
        watch.start()
    logger = logging.getLogger(name)
    logger.info("begin pid=%s", os.getpid())
    return logger


def _die_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(PARENT_DIED)
