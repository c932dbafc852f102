"""The report of a run that nobody coordinates now, made from the files of its run directory.

It has the fields of the head's report (`launch.overview`), so that it is shown in the same way.
Used by `launch.watch`.
"""

from typing import Any

from dm2_dist.config import RunConfig
from dm2_dist.envs import make
from dm2_dist.run_directory import RunDirectory, RunDirectoryError, read_lines
from launch import overview

FINISHED = "finished"
STOPPED = "stopped"
FAILED = "failed"
CUT_OFF = "cut off"
"""States: all steps done; ended early in good order; given up; no end was written."""

_PLACES = ("agent", "version", "env_steps", "wall_seconds")
_NO_LEDGER = {"produced": 0, "trained": 0, "dropped": {}, "lost": {}, "error": 0}


def report(directory: RunDirectory) -> dict[str, Any]:
    """What the run came to.

    Raises:
        RunDirectoryError: there is no run, or a file of it cannot be read.
    """
    config = directory.read_config()
    try:
        evaluations = [line for line in read_lines(directory.evaluations) if "win_rate" in line]
        metrics = [line for line in read_lines(directory.metrics) if "version" in line]
        summary = directory.read_summary()
        return _report(directory, config, summary, evaluations, metrics)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunDirectoryError(
            f"the record in {directory.root} cannot be read ({type(error).__name__}: {error}); "
            f"see {directory.summary.name}, {directory.metrics.name} and "
            f"{directory.evaluations.name} there"
        ) from error


def _report(
    directory: RunDirectory,
    config: RunConfig,
    summary: dict[str, Any] | None,
    evaluations: list[dict[str, Any]],
    metrics: list[dict[str, Any]],
) -> dict[str, Any]:
    newest = evaluations[-1] if evaluations else {}
    lines = {int(line["agent"]): line for line in metrics}
    steps = min((int(line["env_steps"]) for line in lines.values()), default=0)
    iterations = min((int(line["version"]) for line in lines.values()), default=0)
    timed = [float(line.get("wall_seconds", 0.0)) for line in (newest, *lines.values())]
    wall = max(timed, default=0.0)
    if summary is not None and steps <= summary["env_steps"]:
        failure = str(summary.get("failure", ""))
        ended = FAILED if failure else STOPPED
        state = FINISHED if summary["finished"] else ended
        steps, iterations = int(summary["env_steps"]), int(summary["iterations"])
        wall = float(summary["wall_seconds"])
    else:  # killed, perhaps after it was resumed: the summary, if any, is of an earlier stretch
        state, failure = CUT_OFF, ""
    known = summary or {}
    return {
        "run_id": directory.root.absolute().name,
        "run_directory": str(directory.root),
        "map": _map_name(config),
        "algorithm": config.algorithm,
        "schedule": config.schedule,
        "preset": config.preset,
        "seed": config.seed,
        "state": state,
        "phase": "over",
        "failure": failure,
        "wall_seconds": wall,
        "env_steps": steps,
        "max_env_steps": config.max_env_steps,
        "env_steps_per_second": steps / wall if wall > 0 else 0.0,
        "seconds_left": None,
        "iterations": iterations,
        "lag": config.max_lag,
        "win_rate": newest.get("win_rate"),
        "win_rate_best": max((line["win_rate"] for line in evaluations), default=None),
        "return_mean": newest.get("return_mean"),
        "demonstrators": overview.demonstrators(config),
        "evaluations": evaluations,
        "actors": {
            "alive": 0,
            "playing": 0,
            "waiting": 0,
            "restarts": known.get("restarts", {}).get("actor", 0),
            "phases": known.get("time_share", {}).get("actor", {}),
        },
        "learners": [_learner(agent, lines[agent]) for agent in sorted(lines)],
        "ledger": {**known.get("ledger", _NO_LEDGER), "in_flight": 0, "in_doubt": 0},
        "tickets": {},
        "restarts": {"actor": 0, "learner": 0, "head": 0} | known.get("restarts", {}),
        "silent": {},
        "events": [failure] if failure else [],
        "time_share": {"actor": {}, "learner": {}} | known.get("time_share", {}),
    }


def _map_name(config: RunConfig) -> str:
    """Of a scenario, the name that stands in it; the game itself need not be on this machine."""
    return make.describe(config.env, config.map).map_name if config.plays_scenario else config.map


def _learner(agent: int, line: dict[str, Any]) -> dict[str, Any]:
    """`alive` is neither true nor false: nobody is expected."""
    return {
        "agent": agent,
        "alive": None,
        "version": int(line.get("version", 0)),
        "metrics": {name: value for name, value in line.items() if name not in _PLACES},
        "phases": {},
    }
