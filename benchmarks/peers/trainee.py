"""A peer that trains on request, in a process of its own; every answer has a deadline."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import process_tree

HERE = Path(__file__).resolve().parent


class TrainingError(RuntimeError):
    """A training that cannot be measured; the message says why, in one sentence."""


@dataclass(frozen=True)
class Rate:
    """What a turn of training came to.

    Attributes:
        env_steps: joint environment steps that were played and trained on.
        wall_seconds: by the clock.
        processor_seconds: of all processes together.
    """

    env_steps: int
    wall_seconds: float
    processor_seconds: float

    @property
    def by_clock(self) -> float:
        """Environment steps a second."""
        return self.env_steps / self.wall_seconds

    @property
    def by_processor(self) -> float:
        """Environment steps for a second of processor time."""
        return self.env_steps / self.processor_seconds


class Trainee:
    """A training script that plays and learns when it is asked to.

    Attributes:
        about: `peer`, `version` and `settings`, as the script says.
        start_seconds: until it had started, compiled and trained for two iterations.
    """

    def __init__(self, python: str, script: str, words: Sequence[str], patience: float) -> None:
        """Start it and wait until it is warm.

        Args:
            python: interpreter of the peer's environment.
            script: its file, beside this one.
            words: the script's arguments.
            patience: seconds for the start and for every answer.

        Raises:
            TrainingError: there is no such interpreter, or it ended or was silent.
        """
        if not Path(python).exists():
            raise TrainingError(f"no interpreter {python}; README.md says how to make it")
        self._patience = patience
        self._errors: list[str] = []
        started = time.monotonic()
        self._process = subprocess.Popen(
            [python, str(HERE / script), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(HERE.parents[1]), "PYTHONUNBUFFERED": "1"},
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._answers: queue.Queue[str] = queue.Queue(maxsize=64)
        heard = (self._hear, self._process.stdout), (self._note, self._process.stderr)
        for target, stream in heard:
            threading.Thread(target=target, args=(stream,), daemon=True).start()
        try:
            self.about: dict[str, str] = self._answer()
        except TrainingError:
            self.close()
            raise
        self.start_seconds = time.monotonic() - started

    def turn(self, seconds: float) -> Rate:
        """Whole iterations for at least so many seconds.

        Raises:
            TrainingError: it ended or was silent.
        """
        before = process_tree.processor_seconds(self._process.pid)
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{seconds}\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise TrainingError(self._why("ended early")) from error
        answer = self._answer()
        spent = process_tree.processor_seconds(self._process.pid) - before
        return Rate(answer["env_steps"], answer["wall_seconds"], spent)

    def close(self) -> None:
        """End it and all that it started."""
        process_tree.end(self._process, signal.SIGTERM, 20.0)

    def _answer(self) -> dict[str, Any]:
        try:
            line = self._answers.get(timeout=self._patience)
        except queue.Empty:
            raise TrainingError(self._why(f"was silent for {self._patience:.0f} s")) from None
        if not line:
            raise TrainingError(self._why("ended early"))
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _why(self, what: str) -> str:
        last = self._errors[-1] if self._errors else "it wrote nothing"
        return f"it {what}; the last line of its errors: {last}"

    def _hear(self, stream: TextIO) -> None:
        for line in stream:
            self._answers.put(line)
        self._answers.put("")

    def _note(self, stream: TextIO) -> None:
        for line in stream:
            if line.strip():
                self._errors = [*self._errors[-20:], line.strip()]
