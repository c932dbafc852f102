"""What the files of a run say, as far as they can be read: the one place where a report meets them.

Every value is checked here, so that a damaged file leaves a gap and a sentence, never a failure.
Fed by the run directory; read by `monitoring.report`.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from dm2_dist import demonstrations
from dm2_dist.demonstrations import DemonstrationsError
from dm2_dist.run_directory import RunDirectory, RunDirectoryError
from monitoring import report_restarts
from monitoring.report_restarts import Restarts
from monitoring.report_statistics import Floats

_POSITION = ("agent", "version", "env_steps", "wall_seconds")
"""Where a line of `metrics.jsonl` belongs; all else in it are its numbers."""

_LARGEST = 1e100
"""Numbers beyond it are no measurements, and could not be drawn."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One line of `evaluations.jsonl`; deviation: of the returns, None where it is not recorded."""

    env_steps: float
    win_rate: float
    return_mean: float
    episodes: int
    deviation: float | None


@dataclass(frozen=True, slots=True)
class Summary:
    """`summary.json`; what it does not say is None or empty."""

    finished: bool | None = None
    failure: str = ""
    env_steps: float | None = None
    iterations: float | None = None
    wall_seconds: float | None = None
    env_steps_per_second: float | None = None
    produced: int | None = None
    trained: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)
    error: int = 0
    restarts: Mapping[str, int] = field(default_factory=dict)
    time_share: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Level:
    """How good the demonstrators are, by the card of what they recorded."""

    win_rate: float
    return_mean: float
    episodes: int


@dataclass(frozen=True, slots=True)
class Run:
    """One run.

    name: of its folder.
    config: leaf values by dotted key, for instance `ppo.clip`.
    metrics: by name and agent, env steps [N] and values [N].
    problems: sentences about files that are missing or damaged.
    """

    name: str
    root: Path
    config: Mapping[str, Any]
    versions: Mapping[str, str]
    summary: Summary
    evaluations: tuple[Evaluation, ...]
    metrics: Mapping[str, Mapping[int, tuple[Floats, Floats]]]
    restarts: Restarts
    level: Level | None
    problems: tuple[str, ...]

    @property
    def outlived(self) -> bool:
        """Whether the run went on after its summary was written."""
        known = self.summary.env_steps
        return known is not None and _slowest(self.metrics) > known


def read(root: Path) -> Run:
    """Read a run directory.

    Raises:
        RunDirectoryError: there is no run.
    """
    directory, problems = RunDirectory(root), list[str]()
    files = (directory.config, directory.summary, directory.evaluations, directory.metrics)
    if not any(path.is_file() for path in files):
        raise RunDirectoryError(
            f"{root} holds no run: {directory.config.name} is missing; "
            "name the folder of a run, such as runs/NAME"
        )
    document = _document(directory.config, problems)
    config = dict(_flat(_table(document.get("config"))))
    summary = _summary(_document(directory.summary, problems))
    evaluations = tuple(_evaluations(_lines(directory.evaluations, problems)))
    metrics = _metrics(_lines(directory.metrics, problems))
    run = Run(
        name=root.absolute().name,
        root=root,
        config=config,
        versions={key: str(value) for key, value in _table(document.get("versions")).items()},
        summary=summary,
        evaluations=evaluations,
        metrics=metrics,
        restarts=report_restarts.read(directory.logs),
        level=_level(config, root, problems),
        problems=(),
    )
    if run.outlived:
        problems.append(
            "The curves go on after summary.json was written: the run was resumed and has not "
            "ended since, or is still going on."
        )
    return replace(run, problems=tuple(problems))


def _document(path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        why = "is missing"
        if path.name == "summary.json":
            why += ": the run is still going on, or was killed before it could write it"
        problems.append(f"{path.name} {why}.")
        return {}
    except (OSError, ValueError, RecursionError) as error:
        problems.append(f"{path.name} cannot be read: {error}.")
        return {}
    if not isinstance(found, dict):
        problems.append(f"{path.name} cannot be read: it holds no table of keys.")
        return {}
    return found


def _lines(path: Path, problems: list[str]) -> list[dict[str, Any]]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        problems.append(f"{path.name} is missing: nothing was written to it yet.")
        return []
    except OSError as error:
        problems.append(f"{path.name} cannot be read: {error.strerror}.")
        return []
    found, damaged = [], 0
    for line in filter(None, content.split(b"\n")):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if isinstance(record, dict):
            found.append(record)
        else:
            damaged += 1
    if damaged:
        problems.append(f"{path.name}: {damaged} damaged lines were left out.")
    return found


def number(value: object) -> float | None:
    """A number that can be drawn, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < _LARGEST else None


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _amounts(value: object) -> dict[str, int]:
    found = {key: number(amount) for key, amount in _table(value).items()}
    return {key: int(amount) for key, amount in found.items() if amount is not None and amount >= 0}


def _flat(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _summary(document: Mapping[str, Any]) -> Summary:
    ledger, shares = _table(document.get("ledger")), _table(document.get("time_share"))
    finished, produced = document.get("finished"), number(ledger.get("produced"))
    return Summary(
        finished=finished if isinstance(finished, bool) else None,
        failure=str(document.get("failure") or ""),
        env_steps=number(document.get("env_steps")),
        iterations=number(document.get("iterations")),
        wall_seconds=number(document.get("wall_seconds")),
        env_steps_per_second=number(document.get("env_steps_per_second")),
        produced=None if produced is None else max(int(produced), 0),
        trained=_amounts(ledger).get("trained", 0),
        dropped=_amounts(ledger.get("dropped")),
        lost=_amounts(ledger.get("lost")),
        error=int(number(ledger.get("error")) or 0),
        restarts=_amounts(document.get("restarts")),
        time_share={role: _shares(phases) for role, phases in shares.items()},
        parameters={k: str(v) for k, v in _table(document.get("parameters_sha256")).items()},
    )


def _shares(value: object) -> dict[str, float]:
    found = {phase: number(share) for phase, share in _table(value).items()}
    return {phase: share for phase, share in found.items() if share is not None and share >= 0}


def _evaluations(lines: list[dict[str, Any]]) -> Iterator[Evaluation]:
    keys = ("env_steps", "win_rate", "return_mean", "episodes")
    for line in sorted(lines, key=lambda line: number(line.get("env_steps")) or 0.0):
        values = [number(line.get(key)) for key in keys]
        steps, rate, mean, episodes = values
        if steps is None or rate is None or mean is None or episodes is None:
            continue
        if 0 <= rate <= 1 and episodes >= 1 and steps >= 0:
            deviation = number(line.get("return_std"))
            yield Evaluation(steps, rate, mean, int(episodes), deviation)


def _metrics(lines: list[dict[str, Any]]) -> dict[str, dict[int, tuple[Floats, Floats]]]:
    """By name and agent; of an iteration that was trained twice, the later line stands."""
    found: dict[str, dict[int, dict[float, float]]] = {}
    for line in lines:
        agent, steps = number(line.get("agent")), number(line.get("env_steps"))
        if agent is None or steps is None or steps < 0:
            continue
        for name, value in line.items():
            known = number(value) if name not in _POSITION else None
            if known is not None:
                found.setdefault(name, {}).setdefault(int(agent), {})[steps] = known
    return {
        name: {agent: _series(points) for agent, points in sorted(agents.items())}
        for name, agents in found.items()
    }


def _series(points: Mapping[float, float]) -> tuple[Floats, Floats]:
    ordered = np.array(sorted(points.items()), np.float64)
    return ordered[:, 0], ordered[:, 1]


def _slowest(metrics: Mapping[str, Mapping[int, tuple[Floats, Floats]]]) -> float:
    """Env steps at which the newest line of the slowest agent stands; 0 without lines."""
    newest: dict[int, float] = {}
    for series in metrics.values():
        for agent, (steps, _) in series.items():
            newest[agent] = max(float(steps[-1]), newest.get(agent, 0.0))
    return min(newest.values(), default=0.0)


def _level(config: Mapping[str, Any], root: Path, problems: list[str]) -> Level | None:
    named = config.get("demonstrations")
    if config.get("algorithm") != "dm2" or not isinstance(named, str) or not named:
        return None
    folder = Path(named)
    try:
        card = demonstrations.read_card(folder)
        level = Level(card.win_rate, float(np.mean(card.returns)), len(card.won))
        if not (math.isfinite(level.win_rate) and math.isfinite(level.return_mean)):
            raise DemonstrationsError("it holds no episodes")
    except (DemonstrationsError, TypeError, ValueError) as error:
        problems.append(f"The demonstrators' level is not known: {error}.")
        return None
    return level
