"""`dm2 bench`: what this machine does with each part, and with all of them together.

Every figure stands beside its limit, measured in the same run, because machines are noisy and
differ. What is measured and how: `launch.measurement`, and `launch.simulator_bench` for
`dm2 bench simulator`, which has options of its own. Called by `launch.cli`.
"""

import dataclasses
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.table import Table

from dm2_dist import presets
from dm2_dist.config import Algorithm, RunConfig
from launch import host, measurement, simulator_bench, simulator_table
from launch.measurement import Row
from launch.simulator_bench import SimulatorBench


@dataclass(frozen=True)
class Bench:
    """Measure this machine: simulator, inference, actors, learners and the whole pipeline."""

    what: Annotated[Literal["all", "inference", "learner", "pipeline"], tyro.conf.Positional] = (
        "all"
    )
    """Part to measure; `pipeline` includes actors and learners alone. `dm2 bench simulator` has
    options of its own."""
    preset: str = "paper-5v6"
    """Settings to measure with."""
    algorithm: Algorithm = "dm2"
    """`dm2` or `ippo`."""
    actors: int = 8
    """Actor processes of the pipeline."""
    seconds: float = 5.0
    """Length of the short measurements."""
    json: bool = False
    """One JSON object instead of a table."""


def main(words: Sequence[str]) -> int:
    """Measure and print; returns the exit code."""
    if words[:1] == ["simulator"]:
        return _simulator(words[1:])
    bench = tyro.cli(Bench, prog="dm2 bench", args=words)
    for library in ("OMP", "OPENBLAS", "MKL", "NUMBA"):
        os.environ[f"{library}_NUM_THREADS"] = "1"
    base = replace(presets.by_name(bench.preset), algorithm=bench.algorithm)
    rows: list[Row] = []
    if bench.what == "all":
        rows += _simulator_rows(base.map, bench.seconds)
    if bench.what in ("all", "inference"):
        rows += measurement.inference(base, bench.seconds)
    if bench.what in ("all", "learner", "pipeline"):
        with host.sockets_folder() as folder:  # if we are killed, the next start removes it
            config = measurement.with_demonstrations(base, folder)
            if bench.what == "learner":
                rows.append(measurement.learners_alone(config, folder))
            else:
                rows += measurement.pipeline(config, folder, bench.actors, bench.seconds)
    _print(rows, config=base, as_json=bench.json)
    return 0


def _simulator(words: Sequence[str]) -> int:
    options = tyro.cli(SimulatorBench, prog="dm2 bench simulator", args=words)
    simulator_bench.check(options)
    speeds = simulator_bench.speeds(options)
    profiles = simulator_bench.profiles(options) if options.parts else {}
    if options.json:
        print(json.dumps(simulator_table.as_json(speeds, profiles)))
    else:
        simulator_table.show(speeds, profiles)
    return 0


def _simulator_rows(map_name: str, seconds: float) -> list[Row]:
    """The simulator on one core, beside the other parts: random legal play."""
    rows = []
    for size in (1, 64):
        options = SimulatorBench(map_name, "random", "1", num_envs=size, seconds=seconds)
        rate = simulator_bench.speeds(options)[0].env_steps_per_second
        rows.append(Row(f"simulator, {size} battles", rate, "env steps/s", None, ""))
    return rows


def _print(rows: Sequence[Row], *, config: RunConfig, as_json: bool) -> None:
    if as_json:
        records = [dataclasses.asdict(row) | {"ratio": row.ratio} for row in rows]
        print(json.dumps({"preset": config.preset, "algorithm": config.algorithm, "rows": records}))
        return
    title = f"{config.preset} ({config.map}), {config.algorithm}, {os.cpu_count()} cores"
    table = Table("what", title=title)
    for column in ("value", "limit", "ratio"):
        table.add_column(column, justify="right")
    for row in rows:
        limit = f"{row.limit:,.0f} ({row.limit_is})" if row.limit else ""
        ratio = f"{row.ratio:.2f}" if row.ratio else ""
        table.add_row(row.name, f"{row.value:,.0f} {row.unit}", limit, ratio)
    Console().print(table)
