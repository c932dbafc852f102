"""`dm2 bench`: what this machine does with each part, and with all of them together.

Every figure stands beside its limit, measured in the same run, because machines are noisy and
differ. Each part has a module of its own with a function `rows`, which runs in a fresh process here
so that no part disturbs the next; `simulator` and `scaling` have options of their own. What the
figures mean: docs/performance.md. Called by `launch.cli`.
"""

import json
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import tyro

from dm2_dist import presets
from dm2_dist.config import Algorithm, ConfigError, RunConfig
from dm2_dist.envs import make
from launch import (
    arguments,
    bench_report,
    host,
    machine,
    pipeline_bench,
    placement,
    simulator_bench,
    simulator_table,
    transport_bench,
)
from launch.bench_report import Report
from launch.bench_row import Row
from launch.pipeline_bench import Field
from launch.simulator_bench import SimulatorBench

Part = Literal["inference", "transport", "learner"]

PARTS: tuple[Part, ...] = ("inference", "transport", "learner")
"""Parts that are measured by a function `rows(config, seconds)` of a module of their own."""

_SHORT = 0.4
"""Part of its time that a part gets when all of them are measured."""


@dataclass(frozen=True)
class Bench:
    """Measure this machine: simulator, inference, transport, learner and the whole pipeline."""

    what: Annotated[
        Literal["all", "inference", "transport", "learner", "pipeline"], tyro.conf.Positional
    ] = "all"
    """Part to measure; `all` measures each of them and the simulator, for a shorter time. Two more
    parts have options of their own: `dm2 bench simulator --help` and `dm2 bench scaling --help`."""
    preset: str = "paper-5v6"
    """Preset to measure with; `dm2 presets` lists them."""
    algorithm: Literal["both", "dm2", "ippo"] = "both"
    """`dm2`, `ippo`, or both one after the other; parts that do not depend on it take dm2."""
    actors: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Actor processes of the pipeline; as many as `dm2 local` would start unless given."""
    seconds: float = 5.0
    """Seconds of a measurement; `all` takes 0.4 of them, and a whole run needs longer."""
    json: bool = False
    """One JSON object instead of a table."""


def main(words: Sequence[str]) -> int:
    """Measure and print; returns the exit code."""
    host.prepare_environment()
    before = machine.inspect()
    part, rest = _part_with_options(words)
    if part == "simulator":
        return _simulator(rest, before)
    if part == "scaling":
        from launch import scaling_bench

        return scaling_bench.main(rest)
    bench = arguments.parse(Bench, "dm2 bench", words)
    _check(bench)
    base = presets.by_name(bench.preset)
    try:
        rows, sentences = _measure(bench, base, before.cores)
    except (host.RunFailedError, transport_bench.BenchError) as error:
        print(f"dm2: {error}", file=sys.stderr)
        return 1
    report = Report(bench.what, before, rows, sentences)
    if bench.json:
        print(json.dumps(bench_report.as_json(report, base)))
    else:
        bench_report.show(report, base)
    return 0


def _part_with_options(words: Sequence[str]) -> tuple[str, list[str]]:
    """The part that has options of its own, wherever it stands, and the other words."""
    part = next((word for word in words if word in ("simulator", "scaling")), "")
    return part, [word for word in words if word != part]


def _check(bench: Bench) -> None:
    if bench.seconds <= 0:
        raise ConfigError(f"--seconds is {bench.seconds}; it must be greater than 0")
    if bench.actors is not None and bench.actors < 1:
        raise ConfigError(f"--actors is {bench.actors}; it must be at least 1")


def _measure(bench: Bench, base: RunConfig, cores: int) -> tuple[list[Row], list[str]]:
    short = bench.what == "all"
    seconds = bench.seconds * (_SHORT if short else 1.0)
    first: Algorithm = "ippo" if bench.algorithm == "ippo" else "dm2"
    config = replace(base, algorithm=first)
    rows: list[Row] = []
    if short:
        rows += _simulator_rows(base.map, seconds)
    for part in PARTS:
        if bench.what in ("all", part):
            rows += alone(part, config, seconds)
    if bench.what in ("all", "pipeline"):
        more, sentences = _pipeline(bench, base, cores, seconds)
        return rows + more, sentences
    return rows, []


def _pipeline(
    bench: Bench, base: RunConfig, cores: int, seconds: float
) -> tuple[list[Row], list[str]]:
    """Whole runs of every algorithm; in the short form of the default schedule alone."""
    rows: list[Row] = []
    sentences: list[str] = []
    algorithms: Sequence[Algorithm] = ("dm2", "ippo")
    for algorithm in algorithms if bench.algorithm == "both" else (bench.algorithm,):
        config = replace(base, algorithm=algorithm)
        agents = make.describe(config.env, config.map).num_agents
        actors = bench.actors or placement.choose(machine.inspect(), config, agents).actors
        schedules = (base.schedule,) if bench.what == "all" else pipeline_bench.SCHEDULES
        with host.sockets_folder() as folder:  # if we are killed, the next start removes it
            field = Field(folder, cores, actors)
            more, said = pipeline_bench.rows(config, field, seconds, schedules)
        rows += more
        sentences += said
    return rows, sentences


def alone(part: Part, config: RunConfig, seconds: float) -> list[Row]:
    """Measure a part in a process of its own.

    It imports its libraries only now, when the number of their threads has been set to one.

    Args:
        part: what to measure.
        config: what to measure with.
        seconds: length of a short measurement.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        return pool.submit(_rows, part, config, seconds).result()


def _rows(part: Part, config: RunConfig, seconds: float) -> list[Row]:
    match part:
        case "inference":
            from launch import inference_bench

            return inference_bench.rows(config, seconds)
        case "transport":
            return transport_bench.rows(config, seconds)
        case "learner":
            from launch import learner_bench

            return learner_bench.rows(config, seconds)


def _simulator(words: Sequence[str], before: machine.Machine) -> int:
    options = arguments.parse(SimulatorBench, "dm2 bench simulator", words)
    simulator_bench.check(options)
    speeds = simulator_bench.speeds(options)
    profiles = simulator_bench.profiles(options) if options.parts else {}
    if not options.json:
        simulator_table.show(speeds, profiles)
        return 0
    details = simulator_table.as_json(speeds, profiles)
    envelope = bench_report.as_json(Report("simulator", before, _speed_rows(speeds)), None)
    about = details["machine"] | envelope["machine"]
    print(json.dumps(details | envelope | {"machine": about}))
    return 0


def _speed_rows(speeds: Sequence[simulator_bench.Speed]) -> list[Row]:
    """Several cores beside as many times one core, where that was measured, too."""
    one = {(s.map_name, s.play): s.env_steps_per_second for s in speeds if s.cores == 1}
    rows = []
    for speed in speeds:
        single = one.get((speed.map_name, speed.play)) if speed.cores > 1 else None
        rows.append(
            Row(
                f"simulator, {speed.map_name}, {speed.play}, {speed.cores} x {speed.num_envs}",
                speed.env_steps_per_second,
                "env steps/s",
                single * speed.cores if single else None,
                f"{speed.cores} times one core" if single else "",
            )
        )
    return rows


def _simulator_rows(map_name: str, seconds: float) -> list[Row]:
    """The simulator on one core, beside the other parts: random legal play."""
    rows = []
    for size in (1, 64):
        options = SimulatorBench(map_name, "random", "1", num_envs=size, seconds=seconds)
        rate = simulator_bench.speeds(options)[0].env_steps_per_second
        rows.append(Row(f"simulator, {size} battles", rate, "env steps/s", None, ""))
    return rows
