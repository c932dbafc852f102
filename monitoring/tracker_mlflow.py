"""MLflow: a file store in the run directory, unless MLFLOW_TRACKING_URI names another one."""

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

# Its newer versions report their use over the network, and want a database instead of files.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")

from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

from dm2_dist.run_directory import write_atomically

_EXPERIMENT = "dm2"
_PARAMETERS, _LENGTH = 100, 500
"""Parameters in one call, and characters of a value, that every version takes."""


class MlflowTracker:
    """One run of MLflow per run; a stretch that was resumed goes on in it."""

    def __init__(self) -> None:
        self._client: MlflowClient | None = None
        self._run = ""

    def start(self, config: Mapping[str, Any], run_id: str, directory: Path) -> None:
        """Make the run in the store, or find it again."""
        store = os.environ.get("MLFLOW_TRACKING_URI") or (directory / "mlruns").absolute().as_uri()
        self._client = client = MlflowClient(tracking_uri=store)
        path = directory / "id"
        if path.exists():
            self._run = path.read_text()
            client.update_run(self._run, status="RUNNING")
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", _EXPERIMENT)
        found = client.get_experiment_by_name(name)
        experiment = found.experiment_id if found is not None else client.create_experiment(name)
        self._run = client.create_run(experiment, run_name=run_id).info.run_id
        known = [Param(key, value[:_LENGTH]) for key, value in _flat("", config)]
        for begin in range(0, len(known), _PARAMETERS):
            client.log_batch(self._run, params=known[begin : begin + _PARAMETERS])
        write_atomically(path, self._run.encode())

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """One batch of metrics."""
        assert self._client is not None
        now = int(time.time() * 1000)
        metrics = [Metric(key, value, now, step) for key, value in values.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def close(self) -> None:
        """Say that the stretch is over."""
        if self._client is not None:
            self._client.set_terminated(self._run)


def _flat(prefix: str, config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """`ppo.clip_range` and so on."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{prefix}{key}.", value)
        else:
            yield f"{prefix}{key}", str(value)
