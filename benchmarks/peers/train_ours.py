"""The project's training, one short run for each turn; measured from what it writes down."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import process_tree
from ippo_settings import EPOCHS, MAP, NUM_AGENTS
from trainee import Rate, TrainingError

ROOT = Path(__file__).resolve().parents[2]

WARM_ITERATIONS = 2
"""Iterations before the measurement begins: start-up, first compilations, a pipeline that fills."""


def arguments(actors: int, episodes_per_ticket: int) -> list[str]:
    """What `launch.local` is told.

    Args:
        actors: actor processes.
        episodes_per_ticket: battles that an actor plays side by side.
    """
    return [
        *("--plain", "--preset", "paper-5v6", "--map", MAP, "--algorithm", "ippo"),
        *("--schedule", "pipelined", "--actors", str(actors), "--ppo.epochs", str(EPOCHS)),
        *("--collection.episodes-per-ticket", str(episodes_per_ticket)),
        *("--max-env-steps", "1000000000", "--evaluation.interval-env-steps", "1000000000"),
    ]


def turn(python: str, told: list[str], seconds: float, iterations: int, patience: float) -> Rate:
    """Train from nothing for a while.

    Args:
        python: interpreter of the project.
        told: `arguments`.
        seconds: length of the measurement, at least; it ends with an iteration.
        iterations: iterations of the measurement, at least.
        patience: seconds until the run is given up.

    Raises:
        TrainingError: the run ended early or was too slow; the message says which.
    """
    with tempfile.TemporaryDirectory(prefix="dm2-train-") as folder:
        run = Path(folder) / "run"
        command = [python, "-m", "launch.local", "--run-dir", str(run), *told]
        with (Path(folder) / "output").open("w+") as output:
            process = subprocess.Popen(
                command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, text=True
            )
            try:
                return _watch(process, run / "metrics.jsonl", seconds, iterations, patience)
            except TrainingError as error:
                output.seek(0)
                last = output.read().strip().splitlines()[-1:]
                raise TrainingError(f"our run {error}: {' '.join(last)}") from error
            finally:
                process_tree.end(process, signal.SIGINT, 20.0)


def _watch(
    process: subprocess.Popen[str], lines: Path, seconds: float, iterations: int, patience: float
) -> Rate:
    deadline = time.monotonic() + patience
    begun: tuple[int, int, float, float] | None = None
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise TrainingError(f"ended early with exit code {process.returncode}")
        known = _newest(lines)
        if known is not None:
            spent = process_tree.processor_seconds(process.pid)
            version, env_steps, wall = known
            if begun is None and version >= WARM_ITERATIONS:
                begun = (version, env_steps, wall, spent)
            elif begun is not None and version >= begun[0] + iterations:
                passed = wall - begun[2]
                if passed >= seconds:
                    return Rate(env_steps - begun[1], passed, spent - begun[3])
        time.sleep(0.05)
    raise TrainingError(f"did not get so far within {patience:.0f} s")


def _newest(lines: Path) -> tuple[int, int, float] | None:
    """The newest iteration that all agents have trained: its number, env steps and wall seconds."""
    if not os.path.exists(lines):
        return None
    by_version: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for line in lines.read_text().splitlines(keepends=True):
        if line.endswith("\n"):
            facts = json.loads(line)
            by_version[facts["version"]].append((facts["env_steps"], facts["wall_seconds"]))
    whole = [version for version, agents in by_version.items() if len(agents) >= NUM_AGENTS]
    if not whole:
        return None
    version = max(whole)
    return version, by_version[version][0][0], max(wall for _, wall in by_version[version])
