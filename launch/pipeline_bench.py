"""`dm2 bench pipeline`: whole runs, beside their halves alone.

The halves are those of `launch.halves`. A whole run is a real one, started with `dm2 local`. What
that says about the bottleneck: `launch.bottleneck`. Called by `launch.bench`.
"""

import math
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dm2_dist.config import RunConfig, Schedule
from dm2_dist.envs import make
from dm2_dist.run_directory import RunDirectory, read_lines
from launch import bottleneck, halves, host, untrained
from launch.bench_row import Row
from launch.bottleneck import Pace
from launch.halves import Halves

SCHEDULES: tuple[Schedule, ...] = ("sync", "pipelined", "async")
_WARM_UP_ITERATIONS = 2
_MEASURED_ITERATIONS = range(3, 13)
"""Fewest and most; in between, as many as take three times `seconds`."""
_RUN_SECONDS = 280.0
_OFFICIAL = {"dm2": 129.0, "ippo": 147.0}
"""env steps/s of the DM2 authors' code on two cores with a game that costs nothing."""
_OFFICIAL_IS = "the official code, measured once on another 2-core machine"
_OFFICIAL_PRESET = "paper-5v6"
_ENV_STEPS = "env steps/s"


@dataclass(frozen=True, slots=True)
class WholeRun:
    """A real run from its second iteration to its last commit.

    env_steps_per_second: by the wall clock; time_share: fractions by role and phase, of the whole
        run with its start.
    """

    env_steps_per_second: float
    time_share: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Field:
    """Where it is measured: a folder of its own, the usable cores, and the number of actors."""

    folder: Path
    cores: int
    actors: int


def rows(
    config: RunConfig, field: Field, seconds: float, schedules: tuple[Schedule, ...] = SCHEDULES
) -> tuple[list[Row], list[str]]:
    """Measure a configuration whole and in halves.

    Args:
        config: what to run; its schedule is replaced.
        field: where.
        seconds: length of a short measurement; a whole run takes about five times as long.
        schedules: to run with.

    Returns:
        The rows, and for every schedule a sentence on what limits it and what would move it.

    Raises:
        RunFailedError: a run ended badly, or not at all.
    """
    config = untrained.with_demonstrations(config, field.folder)
    ends = halves.measure(config, field.folder, field.cores, seconds)
    name, agents = config.algorithm, make.describe(config.env, config.map).num_agents
    found = [
        Row(f"actors alone, {name}, {field.cores} cores", ends.playing, _ENV_STEPS, None, ""),
        Row(f"learners alone, {name}, K = {agents}", ends.learning, _ENV_STEPS, None, ""),
    ]
    said, best = [], 0.0
    for schedule in schedules:
        whole = run(replace(config, schedule=schedule), field, iterations(ends, seconds), ends)
        pace = Pace(
            schedule=schedule,
            cores=field.cores,
            learners=agents,
            threads=config.learner_threads,
            on_gpu=config.device != "cpu",
            actors=field.actors,
            playing=ends.playing,
            learning=ends.learning,
            whole=whole.env_steps_per_second,
            time_share=whole.time_share,
        )
        label = f"pipeline, {name}, {schedule}, {field.actors} actors"
        slower = min(ends.playing, ends.learning)
        found.append(Row(label, pace.whole, _ENV_STEPS, slower, "the slower half alone"))
        said.append(f"{label}: {bottleneck.explain(pace).sentence}")
        best = max(best, pace.whole)
    if config.preset == _OFFICIAL_PRESET and name in _OFFICIAL:
        found.append(
            Row(f"pipeline, {name}, best", best, _ENV_STEPS, _OFFICIAL[name], _OFFICIAL_IS)
        )
    return found, said


def iterations(ends: Halves, seconds: float) -> int:
    """Iterations of a whole run to measure, so that they take about three times `seconds`."""
    wanted = math.ceil(3.0 * seconds * min(ends.playing, ends.learning) / ends.env_steps)
    return min(max(wanted, _MEASURED_ITERATIONS[0]), _MEASURED_ITERATIONS[-1])


def run(config: RunConfig, field: Field, measured: int, ends: Halves) -> WholeRun:
    """Start a run as a user would, and measure it after its first iterations.

    Raises:
        RunFailedError: it ended badly, or not within 280 seconds.
    """
    root = field.folder / f"{config.algorithm}-{config.schedule}"
    words = ["--run-dir", str(root), "--actors", str(field.actors), "--plain"]
    words += ["--max-env-steps", str(ends.env_steps * (_WARM_UP_ITERATIONS + measured))]
    words += ["--preset", config.preset, "--algorithm", config.algorithm]
    words += ["--schedule", config.schedule, "--metrics-port", "0"]
    if config.uses_demonstrations:
        words += ["--demonstrations", config.demonstrations]
    words += ["--evaluation.interval-env-steps", str(10**9)]
    command = [sys.executable, "-m", "launch.local", *words]
    what = f"the run with algorithm {config.algorithm} and schedule {config.schedule}"
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=_RUN_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise host.RunFailedError(
            f"{what} did not end within {_RUN_SECONDS:.0f} seconds; measure on an idle machine, "
            "or a smaller preset"
        ) from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise host.RunFailedError(f"{what} failed with exit code {done.returncode}: {last}")
    return WholeRun(steady_rate(read_lines(RunDirectory(root).metrics)), _time_share(root))


def steady_rate(lines: list[dict[str, Any]]) -> float:
    """Env steps/s from the lines of `metrics.jsonl`, without the first iterations.

    An iteration counts when its last learner has committed it.
    """
    last = max(line["version"] for line in lines)
    ends: list[tuple[int, float]] = []
    for version in (min(_WARM_UP_ITERATIONS, last - 1), last):
        at = [line for line in lines if line["version"] == version]
        ends.append((at[0]["env_steps"], max(line["wall_seconds"] for line in at)))
    (steps_before, before), (steps_after, after) = ends
    return float((steps_after - steps_before) / (after - before))


def _time_share(root: Path) -> Mapping[str, Mapping[str, float]]:
    summary = RunDirectory(root).read_summary() or {}
    shares: Mapping[str, Mapping[str, float]] = summary.get("time_share", {})
    return shares
