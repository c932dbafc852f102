"""What every child process does first: log, leave interrupts to the launcher, die with it.

And what all of them say when a file cannot be used: one sentence.
"""

import contextlib
import errno
import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
PARENT_DIED = 70
"""Exit code of a child whose launcher vanished."""

LAUNCHERS_SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Signals that are for the launcher alone."""

HOPELESS = 78
"""Exit code of a child that would fail again in the same way: it is not worth a restart."""

_MENDS = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "the quota is used up; free some space or raise it",
    errno.EROFS: "mount it writable, or choose another --run-dir",
    errno.EACCES: "grant the rights, or choose another --run-dir",
    errno.EPERM: "grant the rights, or choose another --run-dir",
    errno.ENOENT: "bring the run directory back, or start a new run",
    errno.ENOTDIR: "bring the run directory back, or start a new run",
    errno.EIO: "the device fails; bring the run directory to another one",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "the machine has too many open files; close some",
    errno.ENOMEM: "the machine is out of memory; free some",
}


def explain(error: OSError) -> str:
    """One sentence that names the file, what is wrong with it, and the mend."""
    what, mend = error.strerror or str(error), _MENDS.get(error.errno or 0, "")
    if error.errno == errno.ENOSPC and _no_inodes(error.filename):
        what, mend = "No inodes left on device", "delete some files"
    if error.filename is None:
        return f"{what}; {mend}" if mend else what
    return f"{error.filename} cannot be used: {what}" + (f"; {mend}" if mend else "")


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """Give the errors of a descriptor the name of its file, for `explain`."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def _no_inodes(name: object) -> bool:
    try:
        found = os.statvfs(Path(str(name)).parent)
    except OSError:
        return False
    return found.f_files > 0 and found.f_favail == 0


class _LogFile(logging.FileHandler):
    """A log that a full disk does not stop; the process says once that lines are lost."""

    told = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self.told:
            self.told = True
            error.filename = error.filename or self.baseFilename
            tell(f"{explain(error)}; its lines are lost until then")


def tell(sentence: str) -> None:
    """Say something on the terminal, because the log may be what is broken."""
    process = multiprocessing.current_process().name
    sys.stderr.write(f"{process}: {sentence}\n")
    sys.stderr.flush()


def begin(name: str, logs: Path) -> logging.Logger:
    """Prepare the process of role `name`; returns its logger.

    Ctrl-C, and the SIGTERM of a batch system, reach every process of the group; only the launcher
    acts on them. Without a log there is nobody to explain the end to: the process leaves.
    """
    try:
        handler = _LogFile(logs / f"{name}.log")
    except OSError as error:
        tell(explain(error))
        raise SystemExit(HOPELESS) from None
    logging.basicConfig(handlers=[handler], level=logging.INFO, format=_FORMAT, force=True)
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
