"""Files that a crash leaves whole: replaced in one step, or grown by whole lines.

Used wherever a run writes something down, mostly through `dm2_dist.run_directory`.
"""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from dm2_dist import child


def write_durably(path: Path, data: bytes) -> None:
    """Write a file and flush it to the disk; half of it may be there after an error."""
    with child.named(path), path.open("wb", buffering=0) as file:
        left = memoryview(data)
        while left:
            left = left[os.write(file.fileno(), left) :]
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk: what was renamed stays renamed."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with child.named(folder):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file so that readers and crashes see the old bytes or the new ones, never half."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write_durably(draft, data)
        os.rename(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def append_line(path: Path, record: dict[str, Any]) -> None:
    """Append one JSON object as a line; it begins a new one, whatever a crash left at the end."""
    line = json.dumps(record).encode() + b"\n"
    with child.named(path), path.open("a+b", buffering=0) as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else b"\n" + line
        while line:
            line = line[os.write(file.fileno(), line) :]


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All complete lines of a JSON-lines file; a line cut by a crash is left out."""
    records = []
    for line in path.read_bytes().split(b"\n") if path.exists() else ():
        with contextlib.suppress(ValueError):
            records.append(json.loads(line))
    return [record for record in records if isinstance(record, dict)]
