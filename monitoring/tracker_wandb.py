"""Weights & Biases: offline, in the run directory, unless WANDB_MODE says otherwise."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# It reads these when it is imported; reports of its own errors would go over the network.
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("WANDB_ERROR_REPORTING", "false")

import wandb

from dm2_dist.run_directory import write_atomically

_STEP = "env_steps"


class WandbTracker:
    """One run of W&B per run; a stretch that was resumed goes on under the same id."""

    def __init__(self) -> None:
        self._run: wandb.Run | None = None

    def start(self, config: Mapping[str, Any], run_id: str, directory: Path) -> None:
        """Offline unless WANDB_MODE is set; project dm2 unless WANDB_PROJECT is."""
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "dm2"),
            name=run_id,
            id=_identity(directory),
            resume="allow",
            mode=_mode(os.environ["WANDB_MODE"]),
            dir=directory,
            config=dict(config),
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_git=True,
                disable_code=True,
                x_disable_stats=True,
                x_disable_machine_info=True,
            ),
        )
        self._run.define_metric("*", step_metric=_STEP)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """One row; the env steps are a column, because agents may be a few iterations apart."""
        assert self._run is not None
        self._run.log({_STEP: step, **values})

    def close(self) -> None:
        """Finish the stretch."""
        if self._run is not None:
            self._run.finish()


def _mode(word: str) -> Any:
    """W&B says itself what is wrong with another word."""
    return word


def _identity(directory: Path) -> str:
    """This run's id at W&B, made once."""
    path = directory / "id"
    if not path.exists():
        write_atomically(path, secrets.token_hex(4).encode())
    return path.read_text()
