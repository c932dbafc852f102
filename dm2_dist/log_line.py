"""One event as one line of a log: JSON in files, key=value on a terminal; and how to read it back.

Code says `_LOG.info("started name=%s pid=%s", name, pid)`. The words before the first key are the
event, the keys its fields; in a file the sentence stays in the line as well, so that `grep
'started name=actor-3'` finds it. Written through `dm2_dist.log_file`.
"""

import functools
import json
import logging
import math
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_TAIL_BYTES = 64 * 1024
_CONVERSION = re.compile(r"(?:([A-Za-z_]\w*)=)?%(?:%|[-#0 +]*\d*(?:\.\d+)?[A-Za-z])")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_TEXT = re.compile(r"(\S+ \S+) ([A-Z]+) \S+ (.*)")
"""A line of the first versions of the program, which had no JSON."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose lines these are: a role's name, `actor-3`, and the fencing token of its start."""

    role: str
    incarnation: int = 0


# --- one record as one line ---


class JsonLines(logging.Formatter):
    """One JSON object per record: time, level, role, incarnation, logger, event, fields, message.

    `exception` holds a traceback, `repeated` how often more the line would have been written.
    """

    def __init__(self, origin: Origin) -> None:
        super().__init__()
        self._origin = origin

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        event, fields = taken_apart(record)
        line: dict[str, Any] = {
            "time": _time(record.created),
            "level": record.levelname,
            "role": self._origin.role,
            "incarnation": self._origin.incarnation,
            "logger": record.name,
            "event": event,
            "fields": fields,
            "message": _sentence(record),
        }
        if repeated := getattr(record, "repeated", 0):
            line["repeated"] = repeated
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class KeyValueLines(logging.Formatter):
    """One line of text per record; of an exception only what it says, never a traceback."""

    def __init__(self, origin: Origin) -> None:
        super().__init__()
        self._origin = f"role={origin.role} incarnation={origin.incarnation}"

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end and without control characters."""
        text = f"{_time(record.created)} {record.levelname} {self._origin} {_sentence(record)}"
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            text += f" error={type(error).__name__}: {error}"
        return _CONTROL.sub(lambda found: ascii(found.group())[1:-1], text)


def taken_apart(record: logging.LogRecord) -> tuple[str, dict[str, Any]]:
    """The event of a record and its fields; numbers stay numbers, everything else is text."""
    template = str(record.msg)
    event, keys = _shape(template)
    arguments = record.args
    if not isinstance(arguments, tuple) or not arguments:
        return event, {}
    return event, {key: _plain(arguments[at]) for at, key in keys if at < len(arguments)}


@functools.lru_cache(maxsize=1024)
def _shape(template: str) -> tuple[str, tuple[tuple[int, str], ...]]:
    """The event in a template, and which of its arguments has which key."""
    event, keys, count = template, [], 0
    for found in _CONVERSION.finditer(template):
        if found.group().endswith("%%"):
            continue
        if count == 0:
            event = template[: found.start()]
        if found.group(1):
            keys.append((count, found.group(1)))
        count += 1
    return event.strip(" :,;(") or "message", tuple(keys)


def _plain(value: object) -> bool | int | float | str | None:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    return str(value)


def _sentence(record: logging.LogRecord) -> str:
    repeated = getattr(record, "repeated", 0)
    return f"{record.getMessage()} repeated={repeated}" if repeated else record.getMessage()


def _time(created: float) -> str:
    """UTC, to the millisecond."""
    whole, part = divmod(int(created * 1000), 1000)
    return f"{_second(whole)}.{part:03d}Z"


@functools.lru_cache(maxsize=2)
def _second(whole: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))


# --- reading ---


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a log; message: the event and its fields as one sentence."""

    level: str
    message: str
    event: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    exception: str = ""

    @property
    def cause(self) -> str:
        """What went wrong: the last line of the exception, or the sentence."""
        return self.exception.strip().rpartition("\n")[2] or self.message


def read(path: Path, last_bytes: int | None = None) -> Iterator[Line]:
    """The lines of a log that can be read, the oldest first, of this and of earlier versions.

    Args:
        path: of one file; none if it does not exist.
        last_bytes: how much of its end; all of it unless given.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        if last_bytes is not None:
            file.seek(max(path.stat().st_size - last_bytes, 0))
            if file.tell():
                file.readline()
        for line in file:
            if text := line.decode(errors="replace").strip():
                yield _line(text)


def text(path: Path) -> str:
    """A log for people: the sentences and the exceptions, without the rest; empty without a log."""
    return "\n".join(f"{line.message}\n{line.exception}".strip() for line in read(path))


def _line(text: str) -> Line:
    try:
        parts = json.loads(text) if text.startswith("{") else None
    except (ValueError, RecursionError):
        parts = None
    if not isinstance(parts, dict) or not isinstance(parts.get("fields", {}), dict):
        found = _TEXT.fullmatch(text)
        return Line(found[2], found[3]) if found else Line("", text)
    words = [str(parts.get(key, "")) for key in ("level", "message", "event", "exception")]
    return Line(words[0], words[1], words[2], parts.get("fields", {}), words[3])


def last_cause(path: Path) -> str:
    """What the process that wrote this log died of, as far as it could say; empty without a log.

    The last error since its start, or the last line if it told of none.
    """
    error = last = ""
    for line in read(path, _TAIL_BYTES):
        last = line.cause
        if line.event == "begin":
            error = ""
        elif line.level in ("ERROR", "CRITICAL"):
            error = line.cause
        elif not line.level:
            error = last  # the lines of a traceback in plain text
    return error or last
