"""The last words of a run: what was reached, how fast, whether the books close, where files are.

Made from `summary.json` alone, so that `dm2 report` can say the same of an old run.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monitoring import wording

_FILES = {
    "report.html": "curves and tables, for a browser",
    "summary.json": "these numbers",
    "evaluations.jsonl": "win rate and return over env steps",
    "metrics.jsonl": "learning metrics of every iteration",
    "checkpoints": "policies, and all that is needed to resume",
    "config.json": "the resolved configuration",
    "trackers": "the same curves for TensorBoard, W&B or MLflow",
    "logs": "one file per process",
}

_PHASES = 4
"""The largest shares of time are named, the others only together."""


def summary_text(summary: Mapping[str, Any], run_directory: str) -> str:
    """The summary for people; names only the files that are there."""
    lines = [
        _headline(summary),
        f"  win rate  {wording.percent(summary['win_rate'])} at the end, "
        f"{wording.percent(summary['win_rate_best'])} at best",
        *_ledger(summary["ledger"]),
    ]
    lines += [_time(role, summary["time_share"].get(role, {})) for role in ("actor", "learner")]
    restarts = wording.counts(summary["restarts"])
    lines.append(f"  restarts  {restarts or 'none'}")
    if not summary["finished"]:
        lines.append(f"  go on     dm2 local --resume --run-dir {run_directory}")
    lines.append(f"  files     {run_directory}")
    present = [name for name in _FILES if (Path(run_directory) / name).exists()]
    lines += [f"            {name:18} {_FILES[name]}" for name in present]
    return "\n".join(lines)


def _headline(summary: Mapping[str, Any]) -> str:
    verb = "Finished" if summary["finished"] else "Stopped early"
    return (
        f"{verb}: {summary['env_steps']:,} env steps in {summary['iterations']:,} iterations, "
        f"{wording.duration(summary['wall_seconds'])} "
        f"({summary['env_steps_per_second']:,.0f} env steps/s)"
    )


def _ledger(ledger: Mapping[str, Any]) -> list[str]:
    dropped, lost = sum(ledger["dropped"].values()), sum(ledger["lost"].values())
    verdict = "the books close"
    if ledger["error"]:
        verdict = f"{ledger['error']:,} UNACCOUNTED FOR: this is a bug, keep the run directory"
    lines = [
        f"  ledger    {ledger['produced']:,} produced = {ledger['trained']:,} trained"
        f" + {dropped:,} dropped + {lost:,} lost",
        f"            {verdict}",
    ]
    causes = wording.counts({**ledger["dropped"], **ledger["lost"]})
    return lines + ([f"            {causes}"] if causes else [])


def _time(role: str, phases: Mapping[str, float]) -> str:
    parts: Sequence[tuple[str, float]] = sorted(
        wording.shares(phases).items(), key=lambda item: -item[1]
    )
    words = [f"{name} {wording.percent(share)}" for name, share in parts[:_PHASES] if share > 0]
    rest = sum(share for _, share in parts[_PHASES:])
    words += [f"others {wording.percent(rest)}"] if rest > 0 else []
    return f"  {role + 's':9} {', '.join(words) or 'no time spent'}"
