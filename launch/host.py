"""What the launcher takes from this machine and gives back: ports, a folder, signals, a log.

Used by `launch.local_run`.
"""

import logging
import os
import re
import shutil
import signal
import site
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from dm2_dist.run_directory import RunDirectory

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
            signal.signal(number, handler)


@contextmanager
def sockets_folder() -> Iterator[Path]:
    """A short-named private folder: a socket's path may have at most 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="dm2-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def metrics_port(wanted: int | None) -> int:
    """The port for the head; the default gives way to a free one, an explicit one does not."""
    for port in (METRICS_PORT if wanted is None else wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                if wanted is None:
                    continue
                raise RunFailedError(
                    f"--metrics-port {port} cannot be used ({error.strerror}); "
                    "choose another, or 0 for any free one"
                ) from error
            return int(probe.getsockname()[1])
    raise RunFailedError("no free port for the metrics on 127.0.0.1")


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
    """Keep the launcher's own log in the run directory."""
    logging.basicConfig(
        filename=directory.logs / "launcher.log",
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        force=True,
    )


def last_error(log: Path) -> str:
    """The last line of a child's log: the exception it died of."""
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    if not lines:
        return f"no log at {log}"
    return re.sub(r"^\S+ \S+ [A-Z]+ \S+ ", "", lines[-1])
