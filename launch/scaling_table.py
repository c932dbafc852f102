"""The figures of `launch.scaling_bench` as plain values and as tables for people."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table

from dm2_dist import ticket as tickets
from dm2_dist.config import RunConfig
from dm2_dist.envs import sleep
from launch.bench_row import Row

if TYPE_CHECKING:
    from launch.scaling_bench import Scaling

_GAMES = {"skirmish": "embedded simulator", "sleep": sleep.LABEL}
_COLUMNS = ("steps/s", "x one", "limit", "ratio", "start", "us/step", "cores", "lag", "PSS", "USS")
_LEGEND = (
    "steps/s: env steps of all actors. x one: beside n times one actor. limit: of this machine, if "
    "the system itself cost nothing. start: seconds until every actor has handed over its first "
    "ticket. us/step: processor time of an actor. cores: kept busy by the whole run. lag: in "
    "versions. PSS: MB of the whole run. USS: MB of one actor alone."
)


def rows(scaling: "Scaling") -> list[Row]:
    """One row for each number of actors, as every part of `dm2 bench` has them."""
    game = scaling.config.env
    return [
        Row(
            f"scaling, {game}, {row.point.actors} actors",
            row.point.env_steps_per_second,
            "env steps/s",
            row.limit,
            "this machine, if the system itself cost nothing",
        )
        for row in scaling.rows
    ]


def as_json(scaling: "Scaling") -> dict[str, Any]:
    """All figures of one environment as plain values."""
    points = [
        {"efficiency": row.efficiency, "limit": row.limit, "ratio": row.ratio} | asdict(row.point)
        for row in scaling.rows
    ]
    return {
        "env": scaling.config.env,
        "game": _GAMES[scaling.config.env],
        "settings": settings_of(scaling.config),
        "max_lag": scaling.config.max_lag,
        "ceilings": asdict(scaling.ceilings),
        "pause_seconds": scaling.pause_seconds,
        "pss_megabytes_per_actor": scaling.megabytes_per_actor,
        "points": points,
    }


def settings_of(config: RunConfig) -> str:
    """What is run, in one line."""
    return (
        f"{config.map}, {config.algorithm}, {config.schedule}, "
        f"{config.collection.episodes_per_iteration} episodes per iteration in "
        f"{tickets.tickets_per_iteration(config)} tickets, {config.ppo.epochs} PPO epoch"
    )


def show(figures: dict[str, Any]) -> None:
    """Print what `as_json` gives: the figures, where the time went, and the ceilings."""
    console = Console()
    title = f"{figures['game']}\n{figures['settings']}"
    table = Table("actors", title=title, box=box.SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    for column in _COLUMNS:
        table.add_column(column, justify="right")
    for row in figures["points"]:
        table.add_row(
            str(row["actors"]),
            f"{row['env_steps_per_second']:,.0f}",
            _ratio(row["efficiency"]),
            f"{row['limit']:,.0f}",
            _ratio(row["ratio"]),
            f"{row['start_seconds']:.1f}",
            f"{row['processor_microseconds_per_step']:,.0f}",
            f"{sum(row['processor_seconds'].values()):.2f}",
            "" if row["lag_versions"] is None else f"{row['lag_versions']:.2f}",
            f"{row['pss_megabytes']:.0f}",
            f"{row['actor_uss_megabytes']:.0f}",
        )
    console.print(table)
    console.print(_LEGEND, style="dim", highlight=False)
    for row in figures["points"]:
        actors, learners = _shares(row["actor_shares"]), _shares(row["learner_shares"])
        console.print(f"{row['actors']:>3} actors: {actors}; learners: {learners}")
    ceilings, growth = figures["ceilings"], figures["pss_megabytes_per_actor"]
    console.print(
        f"alone, in env steps/s: learners {ceilings['learners']:,.0f}, simulator with random play "
        f"{ceilings['simulator']:,.0f} and with policies {ceilings['playing']:,.0f} on "
        f"{ceilings['cores']} cores"
    )
    if figures["pause_seconds"]:
        console.print(f"a sleep takes {1e3 * figures['pause_seconds']:.2f} ms here")
    if growth is not None:
        console.print(f"{growth:.0f} MB of memory (PSS) per extra actor")


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.3f}"


def _shares(shares: dict[str, float]) -> str:
    named = [f"{phase} {100 * share:.1f} %" for phase, share in shares.items() if share >= 0.0005]
    return ", ".join(named) or "no iteration yet"
