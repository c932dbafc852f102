"""`dm2 bench scaling`: what more actors bring, beside the ceilings of this machine.

Real runs, one for each number of actors, on the embedded simulator and on a stand-in for a slow
game that sleeps 10 ms per step. The learners' work is set small, so that the figures are those of
the system: leases, sockets, settlements, parameters. How one run is measured: `launch.scaling_run`;
the picture: `launch.scaling_picture`. Called by `launch.bench`.
"""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from dm2_dist import presets
from dm2_dist.config import ConfigError, RunConfig
from dm2_dist.envs import sleep
from launch import (
    arguments,
    bench_report,
    halves,
    host,
    machine,
    scaling_picture,
    scaling_run,
    scaling_table,
    simulator_bench,
)
from launch.bench_report import Report
from launch.scaling_run import Point

_MOST_ACTORS = 256
_PICTURES = (".svg", ".png", ".pdf")
_STEPS = 10**9  # more than any measurement plays
_CEILING_SECONDS = 2.0


@dataclass(frozen=True)
class ScalingBench:
    """Measure runs with more and more actors: throughput, efficiency, lag, memory, start-up."""

    env: Literal["both", "skirmish", "sleep"] = "both"
    """`skirmish`: the embedded simulator. `sleep`: stand-in for a slow game, 10 ms sleep per step,
    not StarCraft II."""
    actors: Annotated[str, tyro.conf.arg(metavar="N,...")] = "1,2,4,8,16,32"
    """Numbers of actors with commas between them."""
    map: Annotated[str, tyro.conf.arg(metavar="MAP")] = "3m"
    """Map that is played."""
    seconds: float = 6.0
    """Seconds that each run is measured, after its start."""
    picture: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """File for a picture of the figures (svg, png, pdf); needs the extra [plot]."""
    json: bool = False
    """One JSON object instead of a table."""


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What the parts do alone on this machine, in env steps/s.

    learners: K learners on ready data. simulator: all cores play random actions. playing: all cores
    play with policies, nobody learns or sends. one_core: the same on one core, one battle at a
    time without a pause. cores: that may be used.
    """

    learners: float
    simulator: float
    playing: float
    one_core: float
    cores: int


@dataclass(frozen=True, slots=True)
class Row:
    """A point beside its ceilings.

    efficiency: of n times one actor; None where no run with one actor was measured.
    limit: env steps/s that the machine allows, see `limit_of`; ratio: of it.
    """

    point: Point
    efficiency: float | None
    limit: float
    ratio: float


@dataclass(frozen=True, slots=True)
class Scaling:
    """All figures of one environment; megabytes_per_actor: growth of the memory of the whole run.

    pause_seconds: what a sleep of `sleep.PAUSE_SECONDS` takes here; 0 without one.
    """

    config: RunConfig
    ceilings: Ceilings
    pause_seconds: float
    rows: list[Row]
    megabytes_per_actor: float | None


def main(words: Sequence[str]) -> int:
    """Measure and print; returns the exit code."""
    options = arguments.parse(ScalingBench, "dm2 bench scaling", words)
    counts = actor_counts(options.actors)
    if options.seconds <= 0:
        raise ConfigError(f"--seconds is {options.seconds}; it must be greater than 0")
    if options.picture is not None and options.picture.suffix not in _PICTURES:
        raise ConfigError(f"--picture {options.picture} must end in .svg, .png or .pdf")
    games = ("skirmish", "sleep") if options.env == "both" else (options.env,)
    configs = [config_of(game, options.map) for game in games]
    host.prepare_environment()
    before = machine.inspect()
    try:
        measured = [measure(config, counts, options.seconds) for config in configs]
        tables = [scaling_table.as_json(scaling) for scaling in measured]
        rows = [row for scaling in measured for row in scaling_table.rows(scaling)]
        envelope = bench_report.as_json(Report("scaling", before, rows), None)
        if options.json:
            print(json.dumps(envelope | {"scaling": tables}), flush=True)
        for table in () if options.json else tables:
            scaling_table.show(table)
        if options.picture is not None:  # last: whatever is wrong with it, the figures are told
            scaling_picture.draw(tables, options.picture)
    except host.RunFailedError as error:
        print(f"dm2: {error}", file=sys.stderr)
        return 1
    return 0


def config_of(env: str, map_name: str) -> RunConfig:
    """The run that is measured: quickstart with one PPO epoch and no evaluations.

    Raises:
        ConfigError: the map cannot be played.
    """
    simulator_bench.map_names(map_name)
    base = presets.in_environment(presets.by_name("quickstart"), env)
    # Two rounds for 32 actors are open at any time, so that nobody waits for the slowest battle.
    episodes = 128 if env == "sleep" else 512
    return replace(
        base,
        map=map_name,
        max_env_steps=_STEPS,
        collection=replace(base.collection, episodes_per_iteration=episodes),
        ppo=replace(base.ppo, epochs=1),
        evaluation=replace(base.evaluation, interval_env_steps=_STEPS),
    )


def actor_counts(words: str) -> list[int]:
    """Read numbers of actors, such as `1,8,32`.

    Raises:
        ConfigError: something else.
    """
    counts = [int(word) if word.isdecimal() else 0 for word in words.split(",")]
    for word, count in zip(words.split(","), counts, strict=True):
        if not 1 <= count <= _MOST_ACTORS:
            raise ConfigError(f"--actors: {word!r} is not a number from 1 to {_MOST_ACTORS}")
    return sorted(set(counts))


def measure(config: RunConfig, counts: Sequence[int], seconds: float) -> Scaling:
    """Measure the ceilings, then a run for each number of actors.

    Raises:
        RunFailedError: a run did not start or did not live until its end.
    """
    with host.sockets_folder() as folder:  # if we are killed, the next start removes it
        ceilings, pause = ceilings_of(config, folder), pause_of(config)
        points = [
            scaling_run.measure(config, count, seconds, folder / f"run-{count}") for count in counts
        ]
    rows = [row_of(point, points[0], ceilings, pause) for point in points]
    first, last = points[0], points[-1]
    growth = None
    if last.actors > first.actors:
        growth = (last.pss_megabytes - first.pss_megabytes) / (last.actors - first.actors)
    return Scaling(config, ceilings, pause, rows, growth)


def ceilings_of(config: RunConfig, folder: Path) -> Ceilings:
    """Measure the parts alone; nothing in them sleeps."""
    awake = replace(config, env="skirmish")
    cores = machine.inspect().cores
    size = config.collection.episodes_per_ticket
    options = simulator_bench.SimulatorBench(
        config.map, "random", "all", num_envs=size, seconds=_CEILING_SECONDS
    )
    playing = halves.actors_alone(awake, cores, _CEILING_SECONDS)
    return Ceilings(
        learners=halves.learners_alone(awake, folder)[0],
        simulator=simulator_bench.speeds(options)[0].env_steps_per_second,
        playing=playing,
        one_core=playing / cores,
        cores=cores,
    )


def pause_of(config: RunConfig) -> float:
    """Seconds that the sleep of one step takes here, which is longer than what is asked for."""
    if config.env != "sleep":
        return 0.0
    naps, started = 20, time.monotonic()
    for _ in range(naps):
        time.sleep(sleep.PAUSE_SECONDS)
    return (time.monotonic() - started) / naps


def limit_of(actors: int, ceilings: Ceilings, pause_seconds: float) -> float:
    """Env steps/s of so many actors if the system itself cost nothing.

    Actors that do not sleep share the cores with the learners, and use no more cores than there
    are actors. Sleeping ones play a step in a pause and a step's own time, n at once, until the
    cores are full.
    """
    busy = min(actors, ceilings.cores) * ceilings.one_core
    alone = min(busy, 1.0 / (1.0 / ceilings.playing + 1.0 / ceilings.learners))
    if pause_seconds == 0.0:
        return alone
    return min(actors / (pause_seconds + 1.0 / ceilings.one_core), alone)


def row_of(point: Point, first: Point, ceilings: Ceilings, pause_seconds: float) -> Row:
    """Set a point beside the run with one actor, if `first` is that, and beside its ceiling."""
    limit, efficiency = limit_of(point.actors, ceilings, pause_seconds), None
    if first.actors == 1 and first.env_steps_per_second > 0:
        efficiency = point.env_steps_per_second / (point.actors * first.env_steps_per_second)
    return Row(point, efficiency, limit, point.env_steps_per_second / limit)
