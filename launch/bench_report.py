"""What `dm2 bench` prints: a table and some sentences for people, one JSON object for programs."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from dm2_dist.config import RunConfig
from launch import machine as machines
from launch.bench_row import Row
from launch.machine import Machine


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """What was measured, and on what.

    Attributes:
        what: the part that was asked for.
        machine: where, as it was before anything was measured.
        rows: the measurements.
        sentences: which stage is the bottleneck, and what would move it.
    """

    what: str
    machine: Machine
    rows: Sequence[Row]
    sentences: Sequence[str] = ()


def as_json(report: Report, config: RunConfig | None) -> dict[str, Any]:
    """Everything, ready for `json.dumps`; every part of `dm2 bench` has this envelope.

    Args:
        report: what was measured.
        config: with which settings; None where they say nothing.
    """
    settings = {"preset": config.preset, "map": config.map} if config else {}
    return {
        "what": report.what,
        **settings,
        "machine": machines.describe(report.machine),
        "warnings": machines.warnings(report.machine),
        "rows": [dataclasses.asdict(row) | {"ratio": row.ratio} for row in report.rows],
        "bottlenecks": list(report.sentences),
    }


def show(report: Report, config: RunConfig) -> None:
    """Print the rows as a table, then the sentences."""
    console = Console()
    about = f"{report.machine.processor}, {report.machine.cores} usable cores"
    table = Table("what", title=f"{config.preset} ({config.map}); {about}")
    for column in ("value", "limit", "ratio"):
        table.add_column(column, justify="right")
    for row in report.rows:
        limit = f"{number(row.limit)} ({row.limit_is})" if row.limit else ""
        ratio = f"{row.ratio:.2f}" if row.ratio else ""
        table.add_row(row.name, f"{number(row.value)} {row.unit}", limit, ratio)
    console.print(table)
    for sentence in (*report.sentences, *machines.warnings(report.machine)):
        console.print(sentence, markup=False, highlight=False)


def number(value: float) -> str:
    """Three digits at least, for instance `12,345`, `12.3` or `0.123`."""
    size = abs(value)
    if size >= 100 or size == 0:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 1 else f"{value:.3g}"
