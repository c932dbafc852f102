"""`dm2 curves`: win rate and return over env steps, one line per run, as a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dm2_dist import demonstrations
from dm2_dist.config import RunConfig
from dm2_dist.envs import make
from dm2_dist.run_directory import RunDirectory, RunDirectoryError, read_lines

_PANELS = (("win_rate", "greedy win rate"), ("return_mean", "mean return"))


@dataclass(frozen=True, slots=True)
class Curve:
    """The evaluations of one run; demonstrators: win rate of what it imitates, None without."""

    label: str
    lines: list[dict[str, Any]]
    demonstrators: float | None


def read(root: Path) -> Curve:
    """The evaluations of a run directory.

    Raises:
        RunDirectoryError: no run there, or one without evaluations.
    """
    directory = RunDirectory(root)
    config = directory.read_config()
    lines = read_lines(directory.evaluations)
    if not lines:
        raise RunDirectoryError(f"{root} has no evaluations yet; let the run train first")
    name = make.describe(config.env, config.map).map_name
    label = f"{config.algorithm.upper()}, {name}, {config.schedule}, seed {config.seed}"
    return Curve(label, lines, _demonstrators(config))


def draw(curves: Sequence[Curve], output: Path) -> None:
    """Draw the curves; the file's ending decides the format (svg, png, pdf)."""
    import matplotlib as mpl

    mpl.use("agg")
    mpl.rcParams["svg.hashsalt"] = "dm2"  # the same curves give the same file
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(_PANELS), figsize=(10, 3.6), layout="constrained")
    for axis, (key, title) in zip(axes, _PANELS, strict=True):
        for curve in curves:
            steps = [line["env_steps"] / 1e6 for line in curve.lines]
            (drawn,) = axis.plot(steps, [line[key] for line in curve.lines], label=curve.label)
            if key == "win_rate" and curve.demonstrators is not None:
                axis.axhline(curve.demonstrators, color=drawn.get_color(), ls="--", lw=1)
                where = (steps[-1], curve.demonstrators)
                axis.annotate(
                    "demonstrators, as recorded", where, ha="right", va="bottom", fontsize=8
                )
        axis.set_xlabel("training env steps (millions)")
        axis.set_ylabel(title)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    axes[0].set_ylim(0, 1.02)
    axes[1].legend(fontsize=8, loc="lower right")
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=150, metadata={"Date": None} if output.suffix == ".svg" else None)
    plt.close(figure)


def _demonstrators(config: RunConfig) -> float | None:
    if not config.uses_demonstrations:
        return None
    try:
        return demonstrations.read_card(Path(config.demonstrations)).win_rate
    except demonstrations.DemonstrationsError:
        return None  # moved or deleted since; the curve itself stands
