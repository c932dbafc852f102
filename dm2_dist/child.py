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

from dm2_dist import log_file
from dm2_dist.log_file import LimitsError, LogFile
from dm2_dist.log_line import Origin

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


def log_to(path: Path, origin: Origin) -> None:
    """Send every log line of this process to a file; a full disk loses lines and is told once.

    Args:
        path: of the file; its folder exists.
        origin: role and incarnation of this process.

    Raises:
        OSError: the file cannot be written.
        LimitsError: the environment asks for an impossible size.
    """

    def on_lost(error: OSError) -> None:
        tell(f"{explain(error)}; its lines are lost until then")

    handler = LogFile(path, origin, log_file.limits(os.environ), on_lost)
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)


def tell(sentence: str) -> None:
    """Say something on the terminal, because the log may be what is broken."""
    process = multiprocessing.current_process().name
    sys.stderr.write(f"{process}: {sentence}\n")
    sys.stderr.flush()


def begin(name: str, logs: Path, incarnation: int = 0) -> logging.Logger:
    """Prepare the process of role `name`, in this incarnation; returns its logger.

    What Python would print of a warning, or of an error in a thread, goes to the log. Ctrl-C, and
    the SIGTERM of a batch system, reach every process of the group; only the launcher acts on them.
    Without a log there is nobody to explain the end to: the process leaves.
    """
    try:
        log_to(logs / f"{name}.log", Origin(name, incarnation))
    except (OSError, LimitsError) as error:
        tell(explain(error) if isinstance(error, OSError) else str(error))
        raise SystemExit(HOPELESS) from None
    logging.captureWarnings(True)
    threading.excepthook = _note_failed_thread
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


def _note_failed_thread(failed: threading.ExceptHookArgs) -> None:
    """A traceback is for the log; who waits for the thread notices, and says so in one line."""
    if failed.exc_type is SystemExit or failed.exc_value is None:
        return
    name = failed.thread.name if failed.thread is not None else "unknown"
    found = (failed.exc_type, failed.exc_value, failed.exc_traceback)
    logging.getLogger(__name__).error("thread_failed name=%s", name, exc_info=found)


def _die_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(PARENT_DIED)
