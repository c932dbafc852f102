"""The table of learners: one row each, and more columns where the terminal is wide.

Pure: rows of a report in, a renderable out. Used by `monitoring.panel`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from monitoring import wording
from monitoring.wording import Phases

WIDE = 104
"""Columns from which on the further numbers are shown."""


class _Column(NamedTuple):
    name: str
    metric: str
    form: str
    wide: bool = False


_COLUMNS = (
    _Column("loss", "policy_loss", "{:.3f}"),
    _Column("value", "value_loss", "{:.3f}", wide=True),
    _Column("entropy", "entropy", "{:.2f}"),
    _Column("KL", "approx_kl", "{:.4f}"),
    _Column("discr.", "discriminator_loss", "{:.3f}", wide=True),
    _Column("accuracy", "discriminator_accuracy", "{:.2f}"),
)


def render(
    report: Mapping[str, Any], phases: Mapping[int, Phases], space: int, width: int
) -> tuple[RenderableType, int]:
    """The table in at most `space` lines of `width` columns, and the lines it takes."""
    learners: Sequence[Mapping[str, Any]] = report["learners"]
    if not learners:
        over = report["phase"] == "over"
        return Text("no iteration" if over else "no learner is here yet", style="dim"), 1
    shown = list(learners)
    if len(learners) > space - 1:
        sick_first = sorted(learners, key=lambda learner: _health(report, learner))
        shown = sorted(sick_first[: max(1, space - 2)], key=lambda learner: int(learner["agent"]))
    columns = [column for column in _COLUMNS if _wanted(column, learners, width)]
    lags = width >= WIDE and any("lag_mean" in learner["metrics"] for learner in learners)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", expand=False)
    table.add_column("learner", min_width=8, no_wrap=True)
    table.add_column("version", justify="right", no_wrap=True)
    table.add_column("doing", min_width=18, no_wrap=True)
    for name in (*(column.name for column in columns), *(["lag (max)"] if lags else [])):
        table.add_column(name, min_width=7, justify="right", no_wrap=True)
    for learner in shown:
        metrics = learner["metrics"]
        cells = [
            Text(f"agent {learner['agent']}"),
            Text(f"{learner['version']:,}"),
            _doing(report, learner, phases.get(learner["agent"], {})),
            *(_number(metrics, column) for column in columns),
        ]
        table.add_row(*cells, *([_lag(metrics)] if lags else []))
    rest = len(learners) - len(shown)
    if not rest:
        return table, 1 + len(shown)
    return Group(table, Text(f"and {rest} more like these", style="dim")), 2 + len(shown)


def num_lines(report: Mapping[str, Any]) -> int:
    """How many lines the table takes where nothing is left out."""
    return 1 + len(report["learners"])


def _wanted(column: _Column, learners: Sequence[Mapping[str, Any]], width: int) -> bool:
    if column.metric.startswith("discriminator"):  # nobody has one unless somebody is imitated
        known = any(column.metric in learner["metrics"] for learner in learners)
        return known and (width >= WIDE or not column.wide)
    return width >= WIDE or not column.wide


def _health(report: Mapping[str, Any], learner: Mapping[str, Any]) -> int:
    """0 for a learner that is down, 1 for one that is silent, 2 for the others."""
    if not learner["alive"]:
        return 0
    return 1 if f"learner-{learner['agent']}" in report["silent"] else 2


def _doing(report: Mapping[str, Any], learner: Mapping[str, Any], phases: Phases) -> Text:
    if learner["alive"] is None:  # of a run that is over
        return Text("-", style="dim")
    if not learner["alive"] and report["state"] == "starting":
        return Text("not here yet", style="dim")
    silent = report["silent"].get(f"learner-{learner['agent']}")
    match _health(report, learner):
        case 0:
            return Text("down", style="bold red")
        case 1:
            return Text(f"silent {wording.duration(silent)}", style="bold yellow")
    return Text(wording.activity(phases))


def _number(metrics: Mapping[str, float], column: _Column) -> Text:
    if column.metric not in metrics:
        return Text("-", style="dim")
    value = metrics[column.metric]
    return Text(column.form.format(value), style="" if math.isfinite(value) else "bold red")


def _lag(metrics: Mapping[str, float]) -> Text:
    if "lag_mean" not in metrics:
        return Text("-", style="dim")
    return Text(f"{metrics['lag_mean']:.1f} ({metrics['lag_max']:.0f})")
