"""TensorBoard: one event file per run, appended to by every stretch of it.

Only the messages and the record format of the package are used, not its writer: that begins a new
file at every start, where this one goes on exactly after the last line that was noted.
"""

import json
import os
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.summary.writer.record_writer import RecordWriter

from monitoring.tracker import Cursor

_FILE = "events.out.tfevents.0.dm2"
_PREFACE = 2
"""Records before the first value: the version of the format, and the configuration."""
_HEADER_BYTES, _CHECKS_BYTES = 8, 8


class TensorBoardTracker:
    """Scalars by env steps; show them with `tensorboard --logdir RUN`."""

    def __init__(self) -> None:
        self._file: BinaryIO | None = None

    def start(self, config: Mapping[str, Any], run_id: str, directory: Path) -> None:
        """Go on in the event file of this run: what was written but not noted is written again."""
        path = directory / _FILE
        self._file = open(path, "ab", buffering=0, opener=_no_link)
        keep = end_of_records(path, _PREFACE + Cursor.read(directory).total)
        os.ftruncate(self._file.fileno(), keep)
        if keep == 0:
            self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
            self._write(_text("configuration", f"# {run_id}", config))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """One event with all values."""
        found = [Summary.Value(tag=key, simple_value=value) for key, value in values.items()]
        self._write(Event(wall_time=time.time(), step=step, summary=Summary(value=found)))

    def close(self) -> None:
        """Let the file go; every event is in it already."""
        if self._file is not None:
            self._file.close()

    def _write(self, event: Event) -> None:
        assert self._file is not None
        RecordWriter(self._file).write(event.SerializeToString())


def _no_link(path: str, flags: int) -> int:
    """Open a file of ours, never one that it leads to."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o644)


def end_of_records(path: Path, most: int) -> int:
    """Where the first `most` whole records of an event file end, in bytes; fewer if there are."""
    size, end = path.stat().st_size, 0
    with path.open("rb") as file:
        for _ in range(most):
            header = file.read(_HEADER_BYTES)
            if len(header) < _HEADER_BYTES:
                break
            after = end + _HEADER_BYTES + _CHECKS_BYTES + struct.unpack("<Q", header)[0]
            if after > size:
                break
            end = after
            file.seek(end)
    return end


def _text(tag: str, title: str, document: Mapping[str, Any]) -> Event:
    """An event that TensorBoard shows on its page of texts."""
    lines = [title, "", *(f"    {line}" for line in json.dumps(document, indent=2).splitlines())]
    value = Summary.Value(
        tag=tag,
        metadata=SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text")),
        tensor=TensorProto(dtype=DT_STRING, string_val=["\n".join(lines).encode()]),
    )
    return Event(wall_time=time.time(), step=0, summary=Summary(value=[value]))
