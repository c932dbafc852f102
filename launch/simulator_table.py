"""What `dm2 bench simulator` prints: a table for people, one JSON object for programs."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from launch import simulator_bench
from launch.recorded_battles import Play
from launch.simulator_bench import Speed

if TYPE_CHECKING:
    from launch.step_profile import Profile

Profiles = Mapping[tuple[str, Play], "Profile"]

_COLUMNS = {
    "decide": ("decide",),
    "move": ("move",),
    "fight": ("fight",),
    "features": ("actions", "observations", "state"),
    "other": ("other",),
    "Python": ("python",),
}
"""Columns of the table and the parts of a step that they add up."""


def as_json(speeds: Sequence[Speed], profiles: Profiles) -> dict[str, Any]:
    """Give all figures, ready for `json.dumps`."""
    steps = [
        {"map_name": name, "play": play, **dataclasses.asdict(profile)}
        for (name, play), profile in profiles.items()
    ]
    return {
        "machine": simulator_bench.machine(),
        "speeds": [dataclasses.asdict(speed) for speed in speeds],
        "steps": steps,
    }


def show(speeds: Sequence[Speed], profiles: Profiles) -> None:
    """Print the speeds, and where the time of a step goes."""
    about = simulator_bench.machine()
    console = Console()
    console.print(_speed_table(speeds, f"{about['processor']}, numba {about['numba']}"))
    if not profiles:
        return
    console.print(_step_table(profiles))
    stretches = [profile.stretch for profile in profiles.values()]
    console.print(
        "Features are available actions, observations and state. The clock inside made a step "
        f"{min(stretches):.2f} to {max(stretches):.2f} times as long; "
        "the shares are exact to about that."
    )


def _speed_table(speeds: Sequence[Speed], title: str) -> Table:
    table = Table("map", "play", title=title)
    for column in ("cores", "battles", "env steps/s", "windows", "per CPU second"):
        table.add_column(column, justify="right")
    for speed in speeds:
        table.add_row(
            speed.map_name,
            speed.play,
            str(speed.cores),
            f"{speed.cores} x {speed.num_envs}",
            f"{speed.env_steps_per_second:,.0f}",
            f"{speed.lowest / 1000:.0f}k-{speed.highest / 1000:.0f}k",
            f"{speed.per_processor_second:,.0f}",
        )
    return table


def _step_table(profiles: Profiles) -> Table:
    table = Table("map", "play", title="One environment step of one battle on one core")
    for column in ("µs", *_COLUMNS):
        table.add_column(column, justify="right")
    for (name, play), profile in profiles.items():
        shares = [sum(profile.shares[part] for part in parts) for parts in _COLUMNS.values()]
        cells = [f"{share:.0%}" for share in shares]
        table.add_row(name, play, f"{profile.microseconds:.2f}", *cells)
    return table
