"""What a tracker is, and what it is fed: the run record, line by line, each exactly once.

TensorBoard, Weights & Biases and MLflow keep curves of many runs. Each has a module of its own with
one class; `monitoring.tracker_process` feeds them from the files that the head writes. So nothing
waits for a tracker, and one that is chosen later gets the whole history.
"""

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from dm2_dist.run_directory import RunDirectory, RunDirectoryError, write_atomically

NAMES = ("tensorboard", "wandb", "mlflow")
"""The trackers that there are; each is also the name of the extra that installs it."""
FOLDER = "trackers"
"""Of the run directory; each tracker has a folder of its own in it."""
_CURSOR = "cursor.json"
_LINES = 1000
"""Taken from each file of the record in one turn."""


class Tracker(Protocol):
    """Somewhere to keep a run's curves. Whatever it raises switches it off, and nothing else."""

    def start(self, config: Mapping[str, Any], run_id: str, directory: Path) -> None:
        """Begin, or go on with what `directory` holds of this run.

        Args:
            config: the run's configuration, nested.
            run_id: name of the run directory.
            directory: of this tracker alone; `Cursor.read` tells what was logged before.
        """

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Keep a few values.

        Args:
            step: training env steps; grows within one key, not over all of them.
            values: finite numbers by key, `agent_0/entropy`; all keys share the part before `/`.
        """

    def close(self) -> None:
        """Write what is still in memory."""


def make(name: str) -> Tracker:
    """The tracker of this name; imports its package.

    Raises:
        ImportError: the package is not installed, or cannot be imported.
    """
    match name:
        case "tensorboard":
            from monitoring.tracker_tensorboard import TensorBoardTracker

            return TensorBoardTracker()
        case "wandb":
            from monitoring.tracker_wandb import WandbTracker

            return WandbTracker()
        case "mlflow":
            from monitoring.tracker_mlflow import MlflowTracker

            return MlflowTracker()
    raise ValueError(f"no tracker is called {name!r}")


@dataclass(frozen=True, slots=True)
class Cursor:
    """How many lines of the record a tracker has logged, by file."""

    metrics: int = 0
    evaluations: int = 0

    @property
    def total(self) -> int:
        """Calls of `log` so far."""
        return self.metrics + self.evaluations

    @classmethod
    def read(cls, directory: Path) -> "Cursor":
        """Where a tracker left off; the beginning if it has left nothing."""
        try:
            found = json.loads((directory / _CURSOR).read_text())
            return cls(int(found["metrics"]), int(found["evaluations"]))
        except (OSError, ValueError, KeyError, TypeError):
            return cls()

    def write(self, directory: Path) -> None:
        """Keep it; a crash leaves this one or the one before."""
        line = {"metrics": self.metrics, "evaluations": self.evaluations}
        write_atomically(directory / _CURSOR, json.dumps(line).encode())


class Follower:
    """The whole lines of a growing file of JSON objects.

    The file may be replaced by one without the line that a crash tore; torn lines do not count.
    """

    def __init__(self, path: Path, done: int) -> None:
        """Follow from line `done` on, counted from 0."""
        self._path = path
        self._inode, self._offset = 0, 0
        self._skip = self.count = done

    def news(self, most: int = _LINES) -> Iterator[dict[str, Any]]:
        """What was not returned before; `count` grows by one for each.

        Args:
            most: lines; the rest comes next time.
        """
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        with file:
            found = os.fstat(file.fileno())
            inode = found.st_ino
            if inode != self._inode or found.st_size < self._offset:
                self._inode, self._offset, self._skip = inode, 0, self.count
            file.seek(self._offset)
            for raw in file:
                if most <= 0 or not raw.endswith(b"\n"):
                    return
                self._offset += len(raw)
                line = _object(raw)
                if line is None:
                    continue
                if self._skip:
                    self._skip -= 1
                    continue
                self.count += 1
                most -= 1
                yield line


def _object(raw: bytes) -> dict[str, Any] | None:
    with contextlib.suppress(ValueError):
        found = json.loads(raw)
        return found if isinstance(found, dict) else None
    return None


def series(line: Mapping[str, Any]) -> tuple[int, dict[str, float]]:
    """Step and values of a line of the record, by key: `agent_0/entropy`, `evaluation/win_rate`."""
    group = f"agent_{line['agent']}" if "agent" in line else "evaluation"
    values = {
        f"{group}/{name}": float(value)
        for name, value in line.items()
        if name not in ("agent", "env_steps") and _is_finite(value)
    }
    step = line.get("env_steps", 0)
    return int(step) if _is_finite(step) else 0, values


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


class Feed:
    """One tracker and its place in the record of a run."""

    def __init__(self, name: str, tracker: Tracker, directory: RunDirectory) -> None:
        """Make the tracker's folder and start it where it left off.

        Raises:
            RunDirectoryError: the folder may lead out of the run.
        """
        self.name, self._tracker = name, tracker
        self._folder = directory.root / FOLDER / name
        self._folder.mkdir(parents=True, exist_ok=True)
        # Below, W&B keeps links of its own.
        for folder in (directory.root / FOLDER, self._folder):
            if folder.is_symlink():
                raise RunDirectoryError(f"{folder} is a link, which may lead out of the run")
        self.cursor = Cursor.read(self._folder)
        tracker.start(_config(directory), directory.root.name, self._folder)
        self._metrics = Follower(directory.metrics, self.cursor.metrics)
        self._evaluations = Follower(directory.evaluations, self.cursor.evaluations)

    def turn(self) -> int:
        """Log what is new, then note it; returns the number of lines."""
        before = self.cursor.total
        for line in self._metrics.news():
            self._tracker.log(*series(line))
        for line in self._evaluations.news():
            self._tracker.log(*series(line))
        self.cursor = replace(
            self.cursor, metrics=self._metrics.count, evaluations=self._evaluations.count
        )
        if self.cursor.total > before:
            self.cursor.write(self._folder)
        return self.cursor.total - before

    def close(self) -> None:
        """Log the rest and let the tracker write it."""
        while self.turn():
            pass
        self._tracker.close()


def _config(directory: RunDirectory) -> dict[str, Any]:
    document = json.loads(directory.config.read_text())
    config: dict[str, Any] = document["config"]
    return config
