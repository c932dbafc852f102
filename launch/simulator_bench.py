"""`dm2 bench simulator`: environment steps/s of the embedded simulator, and where the time goes.

Battles are played once and their actions kept; what is timed is playing them again, so that no
choice of actions is in the figures: resets and steps only, with observations, available actions and
state. Steps of battles that are over do not count. On several cores every core has a process with
battles of its own, all start together, and the rates of one window are added. Where the time of a
step goes: `launch.step_profile`. Called by `launch.bench`.
"""

import functools
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from itertools import chain, repeat
from multiprocessing.synchronize import Barrier
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dm2_dist.config import ConfigError
from launch.recorded_battles import Play, Recording, record, replay

if TYPE_CHECKING:
    from dm2_dist.envs.skirmish import SkirmishBatch
    from launch.step_profile import Profile

_ROUNDS = 2  # recordings of every batch
_BARRIER_SECONDS = 600.0
_barrier: Barrier | None = None


@dataclass(frozen=True)
class SimulatorBench:
    """Measure the embedded simulator: environment steps/s, and the share of each part of a step."""

    maps: str = "3m,8m,5m_vs_6m"
    """Maps or scenarios with commas between them, or `all` maps."""
    play: Literal["random", "heuristic", "both"] = "both"
    """Who plays the team: random legal actions, the closest-target heuristic, or each in turn."""
    cores: str = "1,all"
    """Numbers of processes with commas between them, each on a core of its own; `all` cores."""
    num_envs: int = 64
    """Battles of one process."""
    seconds: float = 2.0
    """Length of one measurement."""
    windows: int = 5
    """Windows of a measurement; their median is shown."""
    parts: bool = True
    """Find out the share of each part of a step, too; compiles for some ten seconds."""
    json: bool = False
    """One JSON object instead of a table."""


@dataclass(frozen=True, slots=True)
class Window:
    """What one process played in one window."""

    env_steps: int
    wall_seconds: float
    processor_seconds: float


@dataclass(frozen=True, slots=True)
class Job:
    """One kind of play on one map, and how long it is measured."""

    map_name: str
    play: Play
    num_envs: int
    windows: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Speed:
    """Speed of one kind of play on one map.

    Attributes:
        map_name: name of the map.
        play: who played the team.
        cores: processes, each on a core of its own.
        num_envs: battles of each process.
        env_steps_per_second: by the wall clock, all processes together; median of the windows.
        lowest: the slowest window.
        highest: the fastest window.
        per_processor_second: steps for a second of processor time, over all windows.
    """

    map_name: str
    play: Play
    cores: int
    num_envs: int
    env_steps_per_second: float
    lowest: float
    highest: float
    per_processor_second: float


def speeds(options: SimulatorBench) -> list[Speed]:
    """Measure every kind of play on every map, on each number of cores."""
    found = []
    context = multiprocessing.get_context("spawn")
    for cores in core_counts(options.cores):
        together = context.Barrier(cores)
        with ProcessPoolExecutor(cores, context, _share_barrier, (together,)) as pool:
            for job in _jobs(options):
                parts = list(pool.map(_play_windows, [job] * cores, range(cores)))
                found.append(summary(job, parts))
    return found


def profiles(options: SimulatorBench) -> dict[tuple[str, Play], "Profile"]:
    """Find the share of each part of a step, by map and play; empty where no clock can be read."""
    from launch import step_profile

    if not step_profile.is_possible():
        return {}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        jobs = list(_jobs(options))
        keys = [(job.map_name, job.play) for job in jobs]
        return dict(zip(keys, pool.submit(_profile, jobs).result(), strict=True))


def core_counts(words: str) -> list[int]:
    """Read numbers of cores, such as `1,all`.

    Raises:
        ConfigError: not a number, or more cores than there are.
    """
    most = len(_usable_cores())
    counts = []
    for word in words.split(","):
        count = most if word == "all" else int(word) if word.isdecimal() else 0
        if not 1 <= count <= most:
            raise ConfigError(f"--cores: {word!r} is neither `all` nor a number from 1 to {most}")
        counts.append(count)
    return sorted(set(counts))


def map_names(words: str) -> list[str]:
    """Read names of maps, such as `3m,8m` or `all`.

    Raises:
        ConfigError: there is no such map, or it cannot be played.
    """
    from dm2_dist.envs.skirmish import battle_map

    names = list(battle_map.MAPS) if words == "all" else words.split(",")
    try:
        for name in names:
            battle_map.find(name)
    except battle_map.UnknownMapError as error:
        raise ConfigError(f"--maps: {error}") from error
    return names


def machine() -> dict[str, Any]:
    """Say on what the figures were found."""
    import numba

    model = platform.processor()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
        model = names[0] if names else model
    return {
        "processor": model,
        "cores": len(_usable_cores()),
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "llvmlite": metadata.version("llvmlite"),
    }


def check(options: SimulatorBench) -> None:
    """Raise `ConfigError` if something is asked for that cannot be measured."""
    map_names(options.maps)
    core_counts(options.cores)
    for name in ("num_envs", "seconds", "windows"):
        if getattr(options, name) <= 0:
            words = name.replace("_", "-")
            raise ConfigError(f"--{words} is {getattr(options, name)}; it must be greater than 0")


def _jobs(options: SimulatorBench) -> Iterable[Job]:
    plays: Sequence[Play] = ("random", "heuristic") if options.play == "both" else (options.play,)
    for name in map_names(options.maps):
        for play in plays:
            yield Job(name, play, options.num_envs, options.windows, options.seconds)


def summary(job: Job, parts: Sequence[Sequence[Window]]) -> Speed:
    """Add the processes of each window up; `parts` holds the windows of every process."""
    rates = [
        sum(one.env_steps / one.wall_seconds for one in window)
        for window in zip(*parts, strict=True)
    ]
    windows = [window for part in parts for window in part]
    spent = sum(window.processor_seconds for window in windows)
    return Speed(
        map_name=job.map_name,
        play=job.play,
        cores=len(parts),
        num_envs=job.num_envs,
        env_steps_per_second=statistics.median(rates),
        lowest=min(rates),
        highest=max(rates),
        per_processor_second=sum(window.env_steps for window in windows) / spent,
    )


def _share_barrier(barrier: Barrier) -> None:
    global _barrier  # noqa: PLW0603 - a process of a pool has no other place
    _barrier = barrier


def _play_windows(job: Job, core: int) -> list[Window]:
    """Measure in one process, window by window, each begun together with the other processes."""
    assert _barrier is not None
    _pin(core)
    batch, recordings = _recorded(job, core)
    steps = chain.from_iterable(replay(batch, recordings) for _ in repeat(None))
    return [_window(steps, job.seconds / job.windows) for _ in range(job.windows)]


def _window(steps: Iterator[int], seconds: float) -> Window:
    assert _barrier is not None
    next(steps)
    _barrier.wait(_BARRIER_SECONDS)
    played, processor, started = 0, time.process_time(), time.perf_counter()
    while (wall := time.perf_counter() - started) < seconds:
        played += next(steps)
    return Window(played, wall, time.process_time() - processor)


def _recorded(job: Job, core: int) -> tuple["SkirmishBatch", list[Recording]]:
    from dm2_dist.envs.skirmish import SkirmishBatch

    batch = SkirmishBatch(job.map_name, job.num_envs)
    return batch, [record(batch, job.play, core * _ROUNDS + turn) for turn in range(_ROUNDS)]


def _profile(jobs: Sequence[Job]) -> list["Profile"]:
    from launch import step_profile

    _pin(0)
    found = []
    ready = [_recorded(job, 0) for job in jobs]  # the clock copies an engine that has been compiled
    clock = step_profile.Clock()
    for job, (batch, recordings) in zip(jobs, ready, strict=True):
        play = functools.partial(_play_once, batch, recordings)
        found.append(step_profile.measure(clock, play, job.seconds))
    return found


def _play_once(batch: "SkirmishBatch", recordings: Sequence[Recording]) -> int:
    return sum(replay(batch, recordings))


def _usable_cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _pin(index: int) -> None:
    """Keep this process on one of the cores that the whole bench may use."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {_ALL_CORES[index]})


_ALL_CORES = _usable_cores()
