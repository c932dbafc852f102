"""What an update that went wrong was made of: its batch and the state before it, on disk.

A folder `post_mortem/agent_<k>-iteration_<i>` of the run directory holds `batch.safetensors` (the
arrays of a slice), `state.safetensors` (what `IndependentLearner.load` takes) and `facts.json`.
With the run's `config.json` that repeats the update bit for bit, because an update is a function of
(state, batch, iteration). Written by `learners.loop`; a bounded number, of bounded size.
"""

import json
import logging
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors.numpy
import safetensors.torch
import torch

from dm2_dist.run_directory import sync_folder, write_durably
from dm2_dist.trajectory import Slice, arrays_of, slice_of

_LOG = logging.getLogger(__name__)
_KEPT = 4
_MOST_BYTES = 256 * 2**20
_BATCH, _STATE, _FACTS = "batch.safetensors", "state.safetensors", "facts.json"


class Update(NamedTuple):
    """What an update is a function of.

    state: safetensors bytes of the learner before it.
    batch: the agent's episodes.
    iteration: i.
    """

    state: bytes
    batch: Slice
    iteration: int


class PostMortems:
    """The saved updates of one agent: the newest few."""

    def __init__(self, folder: Path, agent: int) -> None:
        """Save into `folder`, which is made when it is needed."""
        self._folder, self._agent = folder, agent

    def save(self, update: Update, reason: str) -> str:
        """Save an update, in place of an older one if there are many; never raises for a disk.

        Args:
            update: what went wrong.
            reason: one sentence.

        Returns:
            Where it lies, or why it was not saved, to end a sentence with.
        """
        arrays = {
            name: np.ascontiguousarray(array) for name, array in arrays_of(update.batch).items()
        }
        batch = safetensors.numpy.save(arrays)
        size = len(batch) + len(update.state)
        if size > _MOST_BYTES:
            return f"the batch was not saved: {size} bytes are more than {_MOST_BYTES}"
        facts = {"agent": self._agent, "iteration": update.iteration, "reason": reason}
        files = {_BATCH: batch, _STATE: update.state, _FACTS: json.dumps(facts).encode()}
        path = self._folder / f"agent_{self._agent}-iteration_{update.iteration:08d}"
        try:
            self._write(path, files)
        except OSError as error:
            _LOG.warning("post_mortem_failed path=%s reason=%s", path, error.strerror)
            return f"the batch could not be saved to {path} ({error.strerror})"
        _LOG.warning("post_mortem path=%s reason=%s", path, reason)
        return f"the batch is kept in {path}"

    def _write(self, path: Path, files: dict[str, bytes]) -> None:
        self._folder.mkdir(exist_ok=True)
        draft = self._folder / f".draft-agent_{self._agent}"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        try:
            for name, data in files.items():
                write_durably(draft / name, data)
        except OSError:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        shutil.rmtree(path, ignore_errors=True)  # the same update, by a learner that was killed
        os.rename(draft, path)
        sync_folder(self._folder)
        saved = sorted(self._folder.glob(f"agent_{self._agent}-iteration_*"))
        for old in saved[:-_KEPT]:
            shutil.rmtree(old, ignore_errors=True)


def load(path: Path) -> tuple[dict[str, torch.Tensor], Slice, int]:
    """A saved update: the state to load, the batch and the iteration to call `update` with.

    Raises:
        OSError, KeyError, ValueError, SafetensorError: it is not whole.
    """
    state = safetensors.torch.load((path / _STATE).read_bytes())
    arrays = safetensors.numpy.load((path / _BATCH).read_bytes())
    facts = json.loads((path / _FACTS).read_bytes())
    return state, slice_of(arrays), int(facts["iteration"])
