"""Where log lines go: a role's files of bounded size, or a terminal; without a flood.

Set up by `dm2_dist.child`, `launch.host` and `launch.roles`; the form of a line is in
`dm2_dist.log_line`.
"""

import logging
import math
import multiprocessing.util
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from dm2_dist.log_line import JsonLines, KeyValueLines, Origin

WINDOW_SECONDS = 1.0
"""Repeated warnings are counted for so long, then told in one line."""
_DIFFERENT = 10
"""Warnings of one kind that are written within a window, if each says something else."""
_KINDS = 1000
"""Kinds of warnings that are remembered within a window."""
_MEGABYTES, _FILES = 10, 3


class LimitsError(Exception):
    """The environment asks for logs of an impossible size; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How large one role's logs may become: `files` files of `size` bytes, the newest kept."""

    size: int = _MEGABYTES * 10**6
    files: int = _FILES


def limits(environment: Mapping[str, str]) -> Limits:
    """What DM2_LOG_MEGABYTES and DM2_LOG_FILES ask for.

    Raises:
        LimitsError: one of them is no such number.
    """
    found = []
    for name, default, least in (
        ("DM2_LOG_MEGABYTES", _MEGABYTES, 0.001),
        ("DM2_LOG_FILES", _FILES, 1),
    ):
        word = environment.get(name, "") or str(default)
        try:
            number = float(word)
        except ValueError:
            number = math.nan
        if not least <= number < 10**6:
            raise LimitsError(f"{name} is {word!r}; it must be a number of at least {least}")
        found.append(number)
    return Limits(int(found[0] * 10**6), int(found[1]))


# --- no flood ---


@dataclass(slots=True)
class _Kind:
    """Warnings of one template within a window; held: how many were not written, newest: of them.

    said: the sentences that were.
    """

    said: set[str] = field(default_factory=set)
    held: int = 0
    newest: logging.LogRecord | None = None


class Repetitions(logging.Filter):
    """Lets a warning through once per window, and a few different ones of a kind; counts the rest.

    The count follows as one line, `repeated=37`, when the window is over or the process ends.
    """

    def __init__(self, handler: logging.Handler) -> None:
        super().__init__()
        self._handler, self._lock = handler, threading.Lock()
        self._kinds: dict[tuple[str, int, str], _Kind] = {}
        # The processes of a run leave without `atexit`.
        multiprocessing.util.Finalize(None, self.tell, exitpriority=10)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written now."""
        if record.levelno < logging.WARNING or hasattr(record, "repeated"):
            return True
        name, sentence = (record.name, record.levelno, str(record.msg)), record.getMessage()
        with self._lock:
            if not self._kinds:
                timer = threading.Timer(WINDOW_SECONDS, self.tell)
                timer.daemon = True
                timer.start()
            if len(self._kinds) >= _KINDS:
                name = ("", 0, "")
            kind = self._kinds.setdefault(name, _Kind())
            if sentence not in kind.said and len(kind.said) < _DIFFERENT:
                kind.said.add(sentence)
                return True
            kind.held, kind.newest = kind.held + 1, record
            return False

    def tell(self) -> None:
        """End the window: write what was counted."""
        with self._lock:
            kinds, self._kinds = self._kinds, {}
        for kind in kinds.values():
            if kind.newest is not None:
                kind.newest.repeated = kind.held
                self._handler.handle(kind.newest)


# --- where lines go ---


class LogFile(logging.FileHandler):
    """A role's log in files of bounded size; a full disk loses lines and stops nothing.

    Args:
        path: of the newest file; older ones are PATH.1, PATH.2 and so on.
        origin: whose lines they are.
        limits: size and number of the files.
        on_lost: told once, with the reason, when lines cannot be written.
    """

    def __init__(
        self, path: Path, origin: Origin, limits: Limits, on_lost: Callable[[OSError], None]
    ) -> None:
        super().__init__(path, encoding="utf-8", errors="backslashreplace")
        self._limits, self._on_lost, self._told = limits, on_lost, False
        self._size = path.stat().st_size
        self.setFormatter(JsonLines(origin))
        self.addFilter(Repetitions(self))

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, in a new file if this one would become too large."""
        try:
            line = self.format(record) + "\n"
            if self._size and self._size + len(line) > self._limits.size:
                self._turn()
            assert self.stream is not None
            self.stream.write(line)
            self.flush()
            self._size += len(line)  # ASCII
        except Exception:
            self.handleError(record)

    def _turn(self) -> None:
        """Begin a new file; the oldest goes."""
        path = Path(self.baseFilename)
        names = [path, *(Path(f"{path}.{number}") for number in range(1, self._limits.files))]
        for older, newer in zip(names[:0:-1], names[-2::-1], strict=True):
            if newer.exists():
                newer.replace(older)
        if self._limits.files == 1:
            path.unlink(missing_ok=True)
        before, self.stream = self.stream, self._open()
        if before is not None:
            before.close()
        self._size = path.stat().st_size

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Say once that lines are lost."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._told:
            self._told = True
            error.filename = error.filename or self.baseFilename
            self._on_lost(error)


def console(stream: TextIO, origin: Origin) -> logging.Handler:
    """A handler that writes key=value lines to a terminal or a collector of logs."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(KeyValueLines(origin))
    handler.addFilter(Repetitions(handler))
    return handler
