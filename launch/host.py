"""What the launcher takes from this machine and gives back: ports, a folder, signals, a log.

Used by `launch.local_run`.
"""

import errno
import fcntl
import multiprocessing
import os
import re
import shutil
import signal
import site
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from dm2_dist import child, log_line
from dm2_dist.log_file import LimitsError
from dm2_dist.log_line import Origin
from dm2_dist.run_directory import RunDirectory
from monitoring import exporter

_PREFIX = "dm2-"
_LOCK = "launcher.lock"
_TORCH_CACHE = "TORCHINDUCTOR_CACHE_DIR"
_ABANDONED = re.compile(re.escape(_PREFIX) + r"[a-z0-9_]{8}")
"""What `tempfile.mkdtemp` makes of the prefix, and nothing else of ours."""

METRICS_PORT = 9400
"""Where `monitoring/prometheus.yml` looks for the head."""


class RunFailedError(Exception):
    """The run could not go on; the message says why and where to look."""


@dataclass(slots=True)
class Presses:
    """How often somebody asked us to end."""

    count: int = 0


@contextmanager
def interrupts() -> Iterator[Presses]:
    """Count Ctrl-C and SIGTERM instead of dying of them."""
    presses = Presses()

    def note(_signal: int, _frame: FrameType | None) -> None:
        presses.count += 1

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield presses
    finally:
        for number, handler in before.items():
            # Whoever pressed once may press again while this process tidies up and leaves.
            signal.signal(number, signal.SIG_IGN if presses.count else handler)


@contextmanager
def sockets_folder() -> Iterator[Path]:
    """A short-named private folder: a socket's path may have at most 107 bytes.

    It holds all that a run keeps in the temporary directory. Its lock lives as long as this
    process, so the next launcher can tell what a killed one left behind, and removes it.
    """
    _remove_abandoned(Path(tempfile.gettempdir()))
    folder, lock = _locked_folder()
    # NOTE: the process that actors are forked from listens on a socket, too. Its folder has no
    # public setting; left alone it would be one more that a killed launcher leaves behind.
    settings = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    settings["tempdir"] = str(folder)
    # Nothing is compiled by torch here, but it makes a folder for that as soon as it is set up.
    os.environ.setdefault(_TORCH_CACHE, str(folder))
    try:
        yield folder
    finally:
        settings.pop("tempdir", None)
        if os.environ[_TORCH_CACHE] == str(folder):
            del os.environ[_TORCH_CACHE]
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _locked_folder() -> tuple[Path, int]:
    """A new folder and the descriptor of its lock, which ends with this process, however it ends.

    A launcher that tidies up may take the folder in the moment before it is locked; then another
    one is made.
    """
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        try:
            lock = os.open(folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        except FileNotFoundError:
            continue
        if _lock(lock) and (folder / _LOCK).exists():
            return folder, lock
        os.close(lock)


def _lock(descriptor: int) -> bool:
    """Take the lock that is open here, without waiting; False if a living process has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_abandoned(temporary: Path) -> None:
    """Remove our folders of launchers that were killed; never one whose launcher lives.

    Folders that are not ours, hold no lock, or cannot be removed stay as they are; an empty one
    was abandoned before it could be locked.
    """
    for folder in temporary.glob(f"{_PREFIX}*"):
        if not _ABANDONED.fullmatch(folder.name):
            continue
        try:
            status = folder.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
                continue
            if not (folder / _LOCK).exists():
                folder.rmdir()  # refused by the system unless it is empty
                continue
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            if _lock(lock):
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)


def metrics_port(wanted: int | None) -> int:
    """The port for the head; the default gives way to a free one, an explicit one does not.

    Raises:
        RunFailedError: it cannot be had; the message says why.
    """
    interface = exporter.interface()
    for port in (METRICS_PORT if wanted is None else wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((interface, port))
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise RunFailedError(
                        f"{exporter.HOST}={interface} names no address of this machine "
                        f"({error.strerror}); set it to one, or leave it out for 127.0.0.1"
                    ) from error
                if wanted is None:
                    continue
                raise RunFailedError(
                    f"--metrics-port {port} cannot be used ({error.strerror}); "
                    "choose another, or 0 for any free one"
                ) from error
            return int(probe.getsockname()[1])
    raise RunFailedError(f"no free port for the metrics on {interface}")


def prepare_environment() -> None:
    """What children inherit: one thread per process for arithmetic, and where our packages are."""
    # CUDA's matrix products repeat bit for bit only with a fixed workspace.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Large tensors are made anew in every step; kept by the allocator, their pages stay mapped.
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(2**30))
    os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(2**32))
    for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA"):
        os.environ[f"{library}_NUM_THREADS"] = "1"
    here = str(Path(__file__).resolve().parent.parent)
    known = os.environ.get("PYTHONPATH", "")
    # NOTE: never a site-packages folder, which children find anyway: on PYTHONPATH it would come
    # before the standard library, and some packages bring a module `enum` of their own.
    if here not in [*known.split(os.pathsep), *site.getsitepackages()]:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [here, known]))


def log_to(directory: RunDirectory) -> None:
    """Keep the launcher's own log in the run directory.

    Raises:
        RunFailedError: the environment asks for logs of an impossible size.
        OSError: the file cannot be written.
    """
    try:
        child.log_to(directory.logs / "launcher.log", Origin("launcher"))
    except LimitsError as error:
        raise RunFailedError(str(error)) from error


def last_error(log: Path) -> str:
    """What the process that wrote this log died of, in its own words."""
    return log_line.last_cause(log) or f"no log at {log}"


def check_device(device: str) -> None:
    """Check that the device of a run is there.

    Raises:
        RunFailedError: it is not.
    """
    if device == "cpu":
        return
    import torch

    if not torch.cuda.is_available():
        raise RunFailedError("device is cuda but no CUDA device is there; choose --device cpu")
