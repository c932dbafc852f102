"""The figures of `launch.scaling_bench` as a picture: throughput and efficiency over actors."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from launch.host import RunFailedError
from monitoring.catalogue import ACTOR_PHASES

_PHASES = (*ACTOR_PHASES, "other")


def draw(tables: Sequence[dict[str, Any]], output: Path) -> None:
    """Draw one line of panels per environment; the file's ending decides the format.

    Args:
        tables: what `scaling_table.as_json` gives, one per environment.
        output: for instance `scaling.svg`.

    Raises:
        RunFailedError: no library to draw with, or the file cannot be written.
    """
    try:
        import matplotlib as mpl
    except ModuleNotFoundError as error:
        raise RunFailedError(
            f"{error.name} is missing; install dm2-dist with the extra [plot]"
        ) from error
    mpl.use("agg")
    mpl.rcParams["svg.hashsalt"] = "dm2"  # the same figures give the same file
    from matplotlib import pyplot as plt

    size = (11, 3.4 * len(tables))
    figure, axes = plt.subplots(len(tables), 2, figsize=size, layout="constrained", squeeze=False)
    for (left, right), table in zip(axes, tables, strict=True):
        _throughput(left, table)
        _shares(right, table)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"Date": None} if output.suffix == ".svg" else None
        figure.savefig(output, dpi=150, metadata=metadata)
    except (OSError, ValueError) as error:
        raise RunFailedError(f"{output} cannot be drawn: {error}") from error
    finally:
        plt.close(figure)


def _throughput(axis: Any, table: dict[str, Any]) -> None:
    """Measured env steps/s beside n times one actor and beside the machine's limit."""
    actors, values = _column(table, "actors"), _column(table, "env_steps_per_second")
    axis.plot(actors, values, marker="o", label="measured")
    if actors[0] == 1:
        axis.plot(actors, [values[0] * n for n in actors], ls=":", label="n times one actor")
    axis.plot(actors, _column(table, "limit"), ls="--", label="limit of this machine")
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.set_xticks(actors, [str(n) for n in actors])
    axis.set_xlabel("actors")
    axis.set_ylabel("env steps/s")
    axis.set_title(table["game"], fontsize=9)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)


def _shares(axis: Any, table: dict[str, Any]) -> None:
    """Where the actors' time goes, stacked to 1."""
    rows = table["points"]
    places = range(len(rows))
    bottom = [0.0] * len(rows)
    for place, phase in enumerate(_PHASES):  # one colour for a phase, in every panel
        heights = [row["actor_shares"].get(phase, 0.0) for row in rows]
        if max(heights) < 0.001:
            continue
        axis.bar(places, heights, bottom=bottom, color=f"C{place}", label=phase)
        bottom = [low + high for low, high in zip(bottom, heights, strict=True)]
    axis.set_xticks(places, [str(row["actors"]) for row in rows])
    axis.set_ylim(0, 1)
    axis.set_xlabel("actors")
    axis.set_ylabel("share of the actors' time")
    axis.set_title(table["settings"], fontsize=7)
    axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), reverse=True)


def _column(table: dict[str, Any], name: str) -> list[float]:
    return [row[name] for row in table["points"]]
