"""One run of a scaling measurement, started like any other and watched from outside.

What is read is what everybody can read: the counter files, the metrics that the processes serve,
and the system's books about processes. Called by `launch.scaling_bench`.
"""

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from dm2_dist import presets
from dm2_dist.comms import counter_file
from dm2_dist.config import RunConfig, flatten
from launch import roster
from launch.host import RunFailedError
from launch.roster import Roster

_START_SECONDS = 120.0
_SETTLE_SECONDS = 1.0
"""After the first tickets, before the measurement: parameters and leases are then in their turn."""
_END_SECONDS = 60.0
_POLL_SECONDS = 0.02
_HTTP_SECONDS = 10.0
_MEGABYTE = 2**20
_SAMPLE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")
_PHASE = re.compile(r'phase="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Point:
    """What a run with so many actors came to.

    env_steps_per_second: of all actors together, over whole tickets.
    start_seconds: from the command to the moment at which the last actor has handed over its first
        ticket; the battle is in it.
    actor_shares, learner_shares: phase -> share of the time; empty if nothing was finished.
    processor_seconds: role -> processor time per second of wall time, all its processes together.
    processor_microseconds_per_step: of the actors, for one env step.
    lag_versions: own lag, the mean of the learner's version minus the one that played; None before
        the first iteration is trained.
    pss_megabytes: of the launcher and everything below it; shared pages are dealt out.
    actor_uss_megabytes: mean memory that an actor has for itself alone.
    """

    env: str
    actors: int
    env_steps_per_second: float
    start_seconds: float
    actor_shares: dict[str, float]
    learner_shares: dict[str, float]
    processor_seconds: dict[str, float]
    processor_microseconds_per_step: float
    lag_versions: float | None
    pss_megabytes: float
    actor_uss_megabytes: float


@dataclass(slots=True)
class Reading:
    """The counters of one process since its start."""

    role: str
    env_steps: float = 0.0
    phases: dict[str, float] = field(default_factory=dict)
    lag_sum: float = 0.0
    lag_count: float = 0.0


def measure(config: RunConfig, actors: int, seconds: float, folder: Path) -> Point:
    """Run with so many actors and measure for `seconds` once all of them play.

    Args:
        config: of the run; it must last longer than the measurement.
        actors: processes that play.
        seconds: length of the measurement.
        folder: new folder of the run.

    Raises:
        RunFailedError: the run does not start, or does not live until the end.
    """
    started = time.monotonic()
    with _run(config, actors, folder) as process:
        _until_all_played(process, folder, actors)
        start_seconds = time.monotonic() - started
        time.sleep(_SETTLE_SECONDS)
        listed = roster.read(folder)
        if listed is None:
            raise RunFailedError(f"{folder} has no list of processes; see its logs")
        before, spent, since = _readings(listed), _processor(listed), time.monotonic()
        time.sleep(seconds)
        wall, worked = time.monotonic() - since, _processor(listed)
        after = _readings(listed)
        pss, uss = _memory(process.pid, listed)
    changes = [_change(old, after[name]) for name, old in before.items() if name in after]
    rate = rate_of(changes)
    processor = {role: (worked.get(role, 0.0) - spent[role]) / wall for role in spent}
    return Point(
        env=config.env,
        actors=actors,
        env_steps_per_second=rate,
        start_seconds=start_seconds,
        actor_shares=shares_of(changes, "actor"),
        learner_shares=shares_of(changes, "learner"),
        processor_seconds=processor,
        processor_microseconds_per_step=1e6 * processor.get("actor", 0.0) / rate if rate else 0.0,
        lag_versions=lag_of(list(after.values())),
        pss_megabytes=pss,
        actor_uss_megabytes=uss,
    )


def rate_of(changes: Sequence[Reading]) -> float:
    """Env steps/s of all actors: each one's steps over the time that its finished tickets took."""
    rates = [
        change.env_steps / sum(change.phases.values())
        for change in changes
        if change.role == "actor" and sum(change.phases.values()) > 0
    ]
    return sum(rates)


def shares_of(changes: Sequence[Reading], role: str) -> dict[str, float]:
    """Phase -> share of the time of all processes of a role; empty if they noted nothing."""
    total: dict[str, float] = {}
    for change in changes:
        if change.role == role:
            for phase, seconds in change.phases.items():
                total[phase] = total.get(phase, 0.0) + seconds
    whole = sum(total.values())
    return {phase: seconds / whole for phase, seconds in total.items()} if whole else {}


def lag_of(readings: Sequence[Reading]) -> float | None:
    """Mean lag over the iterations trained so far; None before the first."""
    count = sum(reading.lag_count for reading in readings)
    return sum(reading.lag_sum for reading in readings) / count if count else None


def read_metrics(role: str, text: str) -> Reading:
    """Pick what is needed from what a process serves at `/metrics`."""
    reading = Reading(role)
    for line in text.splitlines():
        found = _SAMPLE.fullmatch(line)
        if found is None:
            continue
        phase, value = _PHASE.search(found[2] or ""), float(found[3])
        match found[1]:
            case "dm2_actor_env_steps_total":
                reading.env_steps = value
            case "dm2_actor_phase_seconds_total" | "dm2_learner_phase_seconds_total" if phase:
                reading.phases[phase[1]] = value
            case "dm2_learner_policy_lag_versions_sum":
                reading.lag_sum = value
            case "dm2_learner_policy_lag_versions_count":
                reading.lag_count = value
    return reading


def flags_of(config: RunConfig) -> list[str]:
    """The words of a command line that give this configuration: its preset and what differs."""
    preset = presets.in_environment(presets.by_name(config.preset), config.env)
    words, base = ["--preset", config.preset, "--env", config.env], flatten(preset)
    for key, value in flatten(config).items():
        if value == base[key]:
            continue
        flag = f"--{key.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(flag if value else f"--{_negated(key)}")
        else:
            words += [flag, str(value)]
    return words


def _negated(key: str) -> str:
    section, _, leaf = key.replace("_", "-").rpartition(".")
    return f"{section}.no-{leaf}" if section else f"no-{leaf}"


@contextlib.contextmanager
def _run(config: RunConfig, actors: int, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A run in a process of its own, drained at the end; killed if it does not go."""
    words = ["--run-dir", str(folder), "--actors", str(actors), "--plain", "--metrics-port", "0"]
    command = [sys.executable, "-m", "launch.local", *words, *flags_of(config)]
    home = Path(__file__).resolve().parent.parent
    said = folder.with_name(f"{folder.name}.txt")
    with said.open("wb") as output:
        process = subprocess.Popen(command, cwd=home, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process
        if process.poll() is not None:
            raise _ended(said)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()  # its children notice and leave
            process.wait(_END_SECONDS)


def _until_all_played(process: "subprocess.Popen[bytes]", folder: Path, actors: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while _have_played(folder) < actors:
        if process.poll() is not None:
            raise _ended(folder.with_name(f"{folder.name}.txt"))
        if time.monotonic() > deadline:
            raise RunFailedError(
                f"not all of {actors} actors have played within {_START_SECONDS:.0f} s; "
                "measure fewer with --actors"
            )
        time.sleep(_POLL_SECONDS)


def _have_played(folder: Path) -> int:
    """Actors that have handed a ticket over."""
    played = 0
    for path in (folder / "ledger").glob("actor-*.cnt"):
        with contextlib.suppress(OSError, ValueError):
            played += min(counter_file.read_counters(path).produced) > 0
    return played


def _ended(said: Path) -> RunFailedError:
    lines = said.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
    return RunFailedError(f"the run that was to be measured has ended: {lines[-1]}")


def _readings(listed: Roster) -> dict[str, Reading]:
    """Address -> what it serves, of every actor and learner."""
    found = {}
    for row in json.loads(_get(f"http://{listed.metrics}/sd")):
        role = row["labels"]["role"]
        for address in row["targets"] if role in ("actor", "learner") else ():
            found[address] = read_metrics(role, _get(f"http://{address}/metrics"))
    return found


def _get(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=_HTTP_SECONDS) as answer:
            text: str = answer.read().decode()
            return text
    except OSError as error:
        raise RunFailedError(f"{url} does not answer ({error}); see the run's logs") from error


def _change(before: Reading, after: Reading) -> Reading:
    phases = {name: value - before.phases.get(name, 0.0) for name, value in after.phases.items()}
    return Reading(after.role, after.env_steps - before.env_steps, phases)


def _processor(listed: Roster) -> dict[str, float]:
    """Role -> processor seconds of all its processes since their start."""
    spent: dict[str, float] = {}
    for name, pid in listed.processes.items():
        role = name.rpartition("-")[0]
        with contextlib.suppress(psutil.Error):
            times = psutil.Process(pid).cpu_times()
            spent[role] = spent.get(role, 0.0) + times.user + times.system
    return spent


def _memory(launcher: int, listed: Roster) -> tuple[float, float]:
    """PSS of the whole run, and the mean USS of an actor, in megabytes."""
    process = psutil.Process(launcher)
    actors = {pid for name, pid in listed.processes.items() if name.startswith("actor-")}
    pss, uss = 0.0, []
    for one in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            told = one.memory_full_info()
            pss += getattr(told, "pss", told.uss) / _MEGABYTE
            if one.pid in actors:
                uss.append(told.uss / _MEGABYTE)
    return pss, sum(uss) / max(len(uss), 1)
