"""When processes of a run died and were started again, from the launcher's log.

Read by `monitoring.report_source`; drawn by `monitoring.report_parts`.
"""

import datetime
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_MOST_BYTES = 32 * 2**20
"""Of each log file: the last ones are read."""

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)[.,]?(\d{1,6})?")
_ENDED = re.compile(r"\bended name=(\S+) exit_code=(-?\d+) restarting=True")
_SIGNALS = {6: "SIGABRT", 9: "SIGKILL", 11: "SIGSEGV", 15: "SIGTERM"}


@dataclass(frozen=True, slots=True)
class Restart:
    """A process that ended and was started again.

    seconds: since the log began.
    """

    seconds: float
    name: str
    cause: str


@dataclass(frozen=True, slots=True)
class Restarts:
    """All restarts; span: seconds that the log covers, 0 without a log."""

    events: tuple[Restart, ...]
    span: float


def read(logs: Path) -> Restarts:
    """Read the launcher's log, with its older parts; an unreadable one says nothing."""
    seconds, found = [], []
    for path in logs.glob("launcher.log*"):
        for line in _lines(path):
            text = _plain(line)
            at = _seconds(text)
            if at is None:
                continue
            seconds.append(at)
            if ended := _ENDED.search(text):
                name, code = ended.groups()
                found.append((at, name, _cause(int(code))))
    if not seconds:
        return Restarts((), 0.0)
    begin = min(seconds)
    events = (Restart(at - begin, name, cause) for at, name, cause in sorted(found))
    return Restarts(tuple(events), max(seconds) - begin)


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - _MOST_BYTES, 0))
            content = file.read(_MOST_BYTES)
    except OSError:
        return
    yield from content.decode(errors="replace").splitlines()


def _plain(line: str) -> str:
    """A line of either form, text or JSON, as `time event key=value ...`."""
    if not line.startswith("{"):
        return line
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(record, dict):
        return ""
    flat = {**record, **record["fields"]} if isinstance(record.get("fields"), dict) else record
    time, event = (str(flat.pop(key, "")) for key in ("time", "event"))
    order = ("name", "exit_code", "restarting")
    return " ".join([time, event, *(f"{key}={flat[key]}" for key in order if key in flat)])


def _seconds(text: str) -> float | None:
    found = _TIME.match(text)
    if found is None:
        return None
    day, clock, fraction = found.groups()
    try:
        moment = datetime.datetime.fromisoformat(f"{day}T{clock}")
    except ValueError:
        return None
    return moment.timestamp() + float(f"0.{fraction or 0}")


def _cause(code: int) -> str:
    if code < 0:
        return f"killed by {_SIGNALS.get(-code, f'signal {-code}')}"
    return f"exit code {code}"
