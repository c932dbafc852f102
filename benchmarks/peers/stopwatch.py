"""How a simulator is timed on request: one process that plays for as long as it is told.

The process says what it is in one line of JSON, then answers every number of seconds that it reads
with what it has played in them. So `compare` can let two simulators take turns. Standard library
only: the scripts that use it run in different interpreters.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

Play = Callable[[], int]
"""Plays some environment steps and returns how many count."""


def serve(prepare: Callable[[], tuple[Play, dict[str, Any]]], cores: str) -> None:
    """Warm up, then play for every number of seconds that standard input holds, until it ends.

    Args:
        prepare: imports and compiles; returns what plays, and what is measured: the first line of
            the answer.
        cores: numbers, with commas between them, of the cores that this process and its threads
            may use.
    """
    os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    # Some packages print when they are imported; only answers may reach whoever asks.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    play, about = prepare()
    for _ in range(2):  # JAX compiles again when a result is given back to it
        play()
    print(json.dumps(about), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(measure(play, float(line))), file=answers, flush=True)


def measure(play: Play, seconds: float) -> dict[str, float]:
    """Play for at least so many seconds; says how many steps, and how long it really took."""
    steps, processor, started = 0, time.process_time(), time.perf_counter()
    while (wall := time.perf_counter() - started) < seconds:
        steps += play()
    spent = time.process_time() - processor
    return {"env_steps": steps, "wall_seconds": wall, "processor_seconds": spent}
