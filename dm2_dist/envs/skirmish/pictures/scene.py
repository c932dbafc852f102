"""What there is to see of a battle in one game loop, as plain data.

A `Stage` is what stays the same in all loops of a battle, a `Scene` is one loop of it. Fed by a
batch's arrays; read by `picture` and `page`, so that neither knows how a battle is stored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from dm2_dist.envs.skirmish import lineup, profile
from dm2_dist.envs.skirmish.kernels import field
from dm2_dist.envs.skirmish.pictures import effect
from dm2_dist.envs.skirmish.pictures.effect import Beam, Burst, Heal, Missile, Strike
from dm2_dist.envs.skirmish.unit_type import LOOPS_PER_SECOND, UnitType

if TYPE_CHECKING:
    from dm2_dist.envs.skirmish.batch import SkirmishBatch
    from dm2_dist.envs.skirmish.matchup import BattleMap
    from dm2_dist.envs.skirmish.options import Options

Floats = npt.NDArray[np.float32]

LOOKBACK = effect.CORPSE_LOOPS
"""Loops before the present one that a scene looks at, for what fades."""

Outcome = Literal["won", "lost", "draw", "time is up", ""]
"""How a battle has ended; empty while it goes on."""

_MARGIN = 2.0
_LEAST_WIDTH, _LEAST_HEIGHT = 16.0, 9.0


class View(NamedTuple):
    """The part of the map that is shown, in cells: west, south, east and north edge."""

    west: float
    south: float
    east: float
    north: float


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """What stays the same in all loops of a battle.

    Attributes:
        map_name: name of the map.
        walkable: bool [32, 32] where there is ground, indexed [x, y]; the rest is cliff.
        view: part of the map that is shown.
        units: [U] kind of every unit, agents first, then enemies.
        num_agents: units of the team.
        missile_speed: cells that a missile flies in one loop.
        step_loops: game loops of one environment step.
    """

    map_name: str
    walkable: npt.NDArray[np.bool_]
    view: View
    units: tuple[UnitType, ...]
    num_agents: int
    missile_speed: float
    step_loops: int


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """One game loop of a battle.

    Attributes:
        stage: what stays the same.
        x: float32 [U] positions, to the east.
        y: float32 [U] positions, to the north.
        health: float32 [U] points, 0 when dead.
        shield: float32 [U] points.
        energy: float32 [U] points.
        alive: bool [U].
        heading: float32 [U] where each unit looks, radians counter-clockwise from east.
        dead_loops: int32 [U] loops since the death, at most `LOOKBACK`; 0 for the living.
        strikes: shots and blows that are still visible.
        missiles: missiles in flight.
        beams: beams that still sweep.
        heals: treatments.
        bursts: explosions that still glow.
        loop: game loops played.
        episode_return: sum of the rewards of the steps that are over.
        outcome: "won", "lost", "draw" or "time is up"; empty while the battle goes on.
    """

    stage: Stage
    x: Floats
    y: Floats
    health: Floats
    shield: Floats
    energy: Floats
    alive: npt.NDArray[np.bool_]
    heading: Floats
    dead_loops: npt.NDArray[np.int32]
    strikes: tuple[Strike, ...]
    missiles: tuple[Missile, ...]
    beams: tuple[Beam, ...]
    heals: tuple[Heal, ...]
    bursts: tuple[Burst, ...]
    loop: int
    episode_return: float
    outcome: Outcome = ""

    @property
    def step(self) -> int:
        """Environment steps played, the one in progress included."""
        return math.ceil(self.loop / self.stage.step_loops)

    def side(self, unit: int) -> int:
        """Return 0 for a unit of the agents' team, 1 for an enemy."""
        return int(unit >= self.stage.num_agents)

    @property
    def seconds(self) -> float:
        """Normal seconds of game time."""
        return self.loop / LOOPS_PER_SECOND


def make_stage(row: BattleMap, options: Options) -> Stage:
    """Describe what stays the same in the battles of a map.

    Args:
        row: the map, with the units of the options' profile: the attribute `row` of a batch.
        options: the simulator's options.
    """
    size = range(field.MAP_SIZE)
    walkable = np.array([[row.terrain.pathable(x, y) for y in size] for x in size])
    return Stage(
        map_name=row.name,
        walkable=walkable,
        view=ground_view(walkable),
        units=tuple(unit for unit, _ in lineup.roster(row)),
        num_agents=row.num_agents,
        missile_speed=profile.by_name(options.profile).missile_speed,
        step_loops=options.step_mul,
    )


def of_batch(stage: Stage, batch: SkirmishBatch, env: int, *, episode_return: float = 0.0) -> Scene:
    """Build the scene that a battle of a batch shows after its last step.

    Args:
        stage: the batch's stage.
        batch: the batch; with `trace=True` the scene has the effects of the last step.
        env: index of the battle.
        episode_return: sum of the rewards so far, which a batch does not keep.
    """
    return of_loops(
        stage,
        loops_of(batch, env),
        loop=int(batch.episode_steps[env]) * stage.step_loops,
        episode_return=episode_return,
        outcome=outcome(batch, env),
    )


def loops_of(batch: SkirmishBatch, env: int) -> Floats:
    """Return float32 [N, T, U] the traced loops of a battle's last step.

    Before the first step, and in a batch that is not traced, it is one loop without effects.
    """
    if batch.trace.shape[1] and batch.episode_steps[env] > 0:
        traced: Floats = batch.trace[env].copy()
        return traced
    loop = np.zeros((1, field.NUM_TRACES, batch.unit_x.shape[1]), np.float32)
    for row in (field.TRACE_STRIKE, field.TRACE_FLIGHT, field.TRACE_HEALING):
        loop[0, row] = -1
    loop[0, field.TRACE_X] = batch.unit_x[env]
    loop[0, field.TRACE_Y] = batch.unit_y[env]
    loop[0, field.TRACE_HEALTH] = batch.unit_health[env]
    loop[0, field.TRACE_SHIELD] = batch.unit_shield[env]
    loop[0, field.TRACE_ENERGY] = batch.unit_energy[env]
    loop[0, field.TRACE_ALIVE] = batch.unit_health[env] > 0
    loop[0, field.TRACE_COOLDOWN] = batch.unit_cooldown[env]
    return loop


def outcome(batch: SkirmishBatch, env: int) -> Outcome:
    """Say how a battle has ended; empty while it goes on."""
    if batch.won[env]:
        return "won"
    if batch.truncated[env]:
        return "time is up"
    if not batch.terminated[env]:
        return ""
    return "draw" if not np.any(batch.unit_health[env] > 0) else "lost"


def of_loops(
    stage: Stage, loops: Floats, *, loop: int, episode_return: float, outcome: Outcome = ""
) -> Scene:
    """Build the scene of a traced loop.

    Args:
        stage: the battle's stage.
        loops: float32 [N, T, U] the loop itself, last, after the loops before it; only the newest
            `LOOKBACK` of them count.
        loop: game loops played.
        episode_return: sum of the rewards so far.
        outcome: how the battle has ended, empty while it goes on.

    Raises:
        ValueError: `loops` has another shape.
    """
    expected = (field.NUM_TRACES, len(stage.units))
    if loops.ndim != 3 or loops.shape[0] < 1 or loops.shape[1:] != expected:
        raise ValueError(
            f"loops must be [N, {expected[0]}, {expected[1]}], not {list(loops.shape)}"
        )
    recent = loops[-LOOKBACK - 1 :]
    now = recent[-1].copy()
    return Scene(
        stage=stage,
        x=now[field.TRACE_X],
        y=now[field.TRACE_Y],
        health=now[field.TRACE_HEALTH],
        shield=now[field.TRACE_SHIELD],
        energy=now[field.TRACE_ENERGY],
        alive=now[field.TRACE_ALIVE] > 0,
        heading=effect.headings(stage.num_agents, recent),
        dead_loops=effect.corpse_ages(recent),
        strikes=effect.strikes(stage.units, recent),
        missiles=effect.missiles(stage.units, stage.missile_speed, now),
        beams=effect.beams(stage.units, recent),
        heals=effect.heals(now),
        bursts=effect.bursts(stage.units, recent),
        loop=loop,
        episode_return=episode_return,
        outcome=outcome,
    )


def ground_view(walkable: npt.NDArray[np.bool_]) -> View:
    """Return the box around the ground that can be walked on, with a cell of what surrounds it.

    Args:
        walkable: bool [32, 32] where there is ground, indexed [x, y].
    """
    size = float(walkable.shape[0])
    x, y = np.nonzero(walkable)
    if x.size == 0:
        return View(0.0, 0.0, size, size)
    west, south = max(float(x.min()) - 1, 0.0), max(float(y.min()) - 1, 0.0)
    east, north = min(float(x.max()) + 2, size), min(float(y.max()) + 2, size)
    return View(west, south, east, north)


def battle_view(stage: Stage, loops: Floats) -> View:
    """Return the part of the ground on which a battle takes place, at least 16 by 9 cells.

    It is no taller than wide where the ground is wide enough.

    Args:
        stage: the battle's stage.
        loops: float32 [N, T, U] traced loops of the battle.
    """
    reach = max(unit.radius for unit in stage.units) + _MARGIN
    x, y = loops[:, field.TRACE_X], loops[:, field.TRACE_Y]
    ground = ground_view(stage.walkable)
    south, north = _span(
        (float(y.min()) - reach, float(y.max()) + reach),
        _LEAST_HEIGHT,
        (ground.south, ground.north),
    )
    west, east = _span(
        (float(x.min()) - reach, float(x.max()) + reach),
        max(_LEAST_WIDTH, north - south),
        (ground.west, ground.east),
    )
    return View(west, south, east, north)


def _span(
    wanted: tuple[float, float], least: float, ends: tuple[float, float]
) -> tuple[float, float]:
    """Widen a range to a least width and shift it between two ends, as far as there is room."""
    width = max(wanted[1] - wanted[0], least)
    if width >= ends[1] - ends[0]:
        return ends
    low = (wanted[0] + wanted[1] - width) / 2
    low = min(max(low, ends[0]), ends[1] - width)
    return low, low + width
