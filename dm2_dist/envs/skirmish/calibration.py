"""Measure the simulator: what simple play achieves on each map, beside what it does in the game.

The figures of docs/simulator.md come from `table`; `TARGETS` is what is known of the real game.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from dm2_dist.envs.skirmish.batch import SkirmishBatch
from dm2_dist.envs.skirmish.battle_map import MAPS
from dm2_dist.envs.skirmish.heuristic import ClosestTarget
from dm2_dist.envs.skirmish.kernels.field import MAP_SIZE
from dm2_dist.envs.skirmish.options import Options

Play = Literal["random", "stop", "closest", "closest, any distance", "kite", "alternate"]
Quantity = Literal["return_mean", "return_sd", "win_rate", "truncated"]

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one kind of play achieves on one map.

    Attributes:
        return_mean: mean return.
        return_sd: standard deviation of the return.
        win_rate: fraction of battles won.
        truncated: fraction of battles that ran into the time limit.
        steps: mean length in environment steps.
    """

    return_mean: float
    return_sd: float
    win_rate: float
    truncated: float
    steps: float


@dataclass(frozen=True, slots=True)
class Target:
    """What one kind of play achieves in the real game, as nearly as the simulator gets.

    The game's heuristic never wins corridor and 27m_vs_30m; their bounds allow for what is missed
    (docs/simulator.md).

    Attributes:
        map_name: name of the map.
        play: how the team plays.
        quantity: which figure of an `Outcome` is meant.
        low: least value that is accepted.
        high: greatest value that is accepted.
    """

    map_name: str
    play: Play
    quantity: Quantity
    low: float
    high: float


def _wins(map_name: str, low: float, high: float, play: Play = "closest, any distance") -> Target:
    return Target(map_name, play, "win_rate", low, high)


TARGETS = (
    Target("8m", "random", "return_mean", 1.6, 2.4),
    Target("8m", "random", "return_sd", 0.3, 0.65),
    _wins("2s3z", 0.75, 1.0),
    _wins("3s5z", 0.25, 0.6),
    _wins("10m_vs_11m", 0.03, 0.25),
    _wins("5m_vs_6m", 0.0, 0.03),
    _wins("corridor", 0.0, 0.04),
    _wins("3s_vs_5z", 0.0, 0.0),
    _wins("6h_vs_8z", 0.0, 0.0),
    _wins("27m_vs_30m", 0.0, 0.06),
    _wins("3s5z_vs_3s6z", 0.0, 0.0),
    _wins("MMM2", 0.0, 0.0),
    _wins("3s_vs_3z", 1.0, 1.0, "kite"),
    _wins("3s_vs_4z", 1.0, 1.0, "kite"),
    _wins("3s_vs_5z", 1.0, 1.0, "kite"),
    _wins("2s_vs_1sc", 0.8, 1.0, "alternate"),
)
"""What is known of the real game, with room for chance over 200 battles (docs/simulator.md)."""


def respects(target: Target, outcome: Outcome) -> bool:
    """Say whether a measurement, made with the map and the play of the target, agrees with it."""
    measured: float = getattr(outcome, target.quantity)
    return target.low <= measured <= target.high


def random_actions(batch: SkirmishBatch, generator: np.random.Generator) -> Integers:
    """Draw int64 [B, K] actions uniformly among the available ones."""
    listed = batch.available_actions
    drawn: Integers = np.where(listed > 0, generator.random(listed.shape), -1.0).argmax(axis=2)
    return drawn


class Kite:
    """Shoot while nobody is near and the weapon is ready, else walk away from the enemies."""

    def __init__(self, batch: SkirmishBatch) -> None:
        """Play on the given batch, which must have been reset."""
        self._batch = batch
        self._closest = ClosestTarget(batch)

    def actions(self) -> Integers:
        """Choose int64 [B, K] actions for the present situation."""
        batch, k = self._batch, self._batch.num_agents
        gap = _gaps(batch)
        points = (batch.unit_health + batch.unit_shield)[:, None, k:]
        listed = batch.available_actions[:, :, 6 : 6 + batch.num_enemies]
        in_reach: Flags = np.equal(listed, 1) & np.isfinite(gap)
        # The weak first, but two points more are worth a tenth of a cell less.
        worth = np.where(in_reach, points + 20.0 * np.where(in_reach, gap, 0.0), np.inf)
        chosen = np.where(in_reach.any(axis=2), 6 + worth.argmin(axis=2), self._closest.actions())
        nearest = gap.min(axis=2)
        reloading = (batch.unit_cooldown[:, :k] > 0) & (nearest < 7.0)
        chosen = np.where((nearest < 2.6) | reloading, _flight(batch), chosen)
        return np.where(batch.alive == 1, chosen, 0)


class Alternate:
    """Take turns: who is weak and under fire steps out of range, until the fire is on another.

    Once all are weak they rest out of range until their shields are full again; nobody yields while
    the team is clearly stronger. Made for a few stalkers against what cannot walk.
    """

    def __init__(
        self, batch: SkirmishBatch, *, weak: float = 45.0, away: float = 8.6, clearly: float = 1.5
    ) -> None:
        """Play on the given batch, which must have been reset.

        Args:
            batch: the battles.
            weak: health and shield points up to which an agent does not wait for the next hit.
            away: distance from the nearest enemy, in cells, that counts as out of range.
            clearly: times the enemies' health and shield points that make a team clearly stronger.
        """
        self._batch = batch
        self._weak = weak
        self._away = away
        self._clearly = clearly
        k = batch.num_agents
        self._full = batch.unit_shield[:, :k].copy()
        self._points = (batch.unit_health + batch.unit_shield)[:, :k]
        self._under_fire: Flags = np.zeros((batch.num_envs, k), np.bool_)
        self._resting: Flags = np.zeros((batch.num_envs, 1), np.bool_)

    def actions(self) -> Integers:
        """Choose int64 [B, K] actions for the present situation."""
        batch = self._batch
        listed: Flags = np.equal(batch.available_actions[:, :, 6:], 1)
        attack = np.where(listed.any(axis=2), 6 + listed.argmax(axis=2), _approach(batch))
        retreat = np.where(_gaps(batch).min(axis=2) < self._away, _flight(batch), 1)
        chosen = np.where(self._yielding(), retreat, attack)
        return np.where(batch.alive == 1, chosen, 0)

    def _yielding(self) -> Flags:
        """Who steps back or stays away, bool [B, K]."""
        batch, k = self._batch, self._batch.num_agents
        every = batch.unit_health + batch.unit_shield
        points = every[:, :k]
        hit: Flags = points < self._points
        self._points = points
        self._under_fire = np.where(hit.any(axis=1, keepdims=True), hit, self._under_fire)
        weak: Flags = points <= self._weak
        fresh: Flags = (batch.unit_shield[:, :k] >= self._full) | (points == 0)
        stronger: Flags = points.sum(axis=1, keepdims=True) > self._clearly * every[:, k:].sum(
            axis=1, keepdims=True
        )
        self._resting |= weak.all(axis=1, keepdims=True) & ~stronger
        self._resting &= ~fresh.all(axis=1, keepdims=True)
        return self._resting | (weak & self._under_fire & ~stronger)


_STRIDE = 1.48
"""Cells that a stalker walks in one environment step."""

_AT_EASE = 5.7
"""Distance from its target, in cells, at which an agent may attack with little to spare."""

_MOVES = np.array([(0.0, _STRIDE), (0.0, -_STRIDE), (_STRIDE, 0.0), (-_STRIDE, 0.0)])
"""North, south, east and west: actions 2 to 5."""


def _gaps(batch: SkirmishBatch) -> npt.NDArray[np.float64]:
    """Distance of every agent from every enemy, float64 [B, K, M]; infinite from the dead."""
    k = batch.num_agents
    dx = batch.unit_x[:, None, k:] - batch.unit_x[:, :k, None]
    dy = batch.unit_y[:, None, k:] - batch.unit_y[:, :k, None]
    return np.where(batch.unit_health[:, None, k:] > 0, np.hypot(dx, dy), np.inf)


def _approach(batch: SkirmishBatch) -> Integers:
    """Choose for every agent the available move that brings it best into attack range."""
    k = batch.num_agents
    places = np.stack([batch.unit_x, batch.unit_y], axis=-1)
    apart = places[:, None, None, k:] - (places[:, :k, None] + _MOVES)[:, :, :, None]
    living = np.greater(batch.unit_health[:, None, None, k:], 0)
    nearest = np.where(living, np.hypot(apart[..., 0], apart[..., 1]), np.inf).min(axis=-1)
    off = np.where(batch.available_actions[:, :, 2:6] == 1, np.abs(nearest - _AT_EASE), np.inf)
    moves: Integers = np.where(np.isfinite(off).any(axis=2), 2 + off.argmin(axis=2), 1)
    return moves


def _flight(batch: SkirmishBatch) -> Integers:
    """Choose for every agent the move that leads away from the enemies within two steps.

    Returns:
        int64 [B, K] available moves that keep clear of the border; 1 (stop) where there is none.
    """
    k = batch.num_agents
    places = np.stack([batch.unit_x, batch.unit_y], axis=-1)
    first = places[:, :k, None, None] + _MOVES[:, None]
    second = first + _MOVES
    inside = ((second > 1) & (second < MAP_SIZE - 1)).all(axis=-1)
    legal = np.equal(batch.available_actions[:, :, 2:6, None], 1)
    living = np.greater(batch.unit_health[:, None, None, None, k:], 0)
    score = -0.6 * np.hypot(*np.moveaxis(second - MAP_SIZE / 2, -1, 0))
    for spots in (first, second):
        apart = places[:, None, None, None, k:] - spots[..., None, :]
        nearest = np.where(living, np.hypot(apart[..., 0], apart[..., 1]), np.inf).min(axis=-1)
        score = score + nearest
    best = np.where(inside & legal, score, -np.inf).max(axis=3)
    moves: Integers = np.where(np.isfinite(best).any(axis=2), 2 + best.argmax(axis=2), 1)
    return moves


def measure(map_name: str, play: Play, episodes: int, seed: int) -> Outcome:
    """Play battles to their end.

    Args:
        map_name: name of the map, or path of a scenario.
        play: how the team plays.
        episodes: how many battles.
        seed: names the battles, and the actions of random play.

    Raises:
        UnknownMapError: no such map.
    """
    options = Options(attack_any_distance=play == "closest, any distance")
    batch = SkirmishBatch(map_name, episodes, seed, compute_state=False, options=options)
    batch.reset()
    generator = np.random.default_rng(seed)
    closest = ClosestTarget(batch, restricted=play == "closest")
    kite, alternate = Kite(batch), Alternate(batch)
    returns = np.zeros(episodes)
    while not batch.finished.all():
        match play:
            case "random":
                actions = random_actions(batch, generator)
            case "stop":
                actions = batch.alive.astype(np.int64)
            case "kite":
                actions = kite.actions()
            case "alternate":
                actions = alternate.actions()
            case _:
                actions = closest.actions()
        batch.step(actions)
        returns += batch.exact_reward
    return Outcome(
        float(returns.mean()),
        float(returns.std()),
        float(batch.won.mean()),
        float(batch.truncated.mean()),
        float(batch.episode_steps.mean()),
    )


def table(episodes: int = 400, seed: int = 1) -> str:
    """Write a Markdown table of what simple play achieves on every map."""
    plays: tuple[Play, ...] = ("random", "stop", "closest", "closest, any distance")
    lines = [
        "| map | random return (sd) | stop wins | stop times out | closest target wins "
        "| any distance wins |",
        "|---|---|---|---|---|---|",
    ]
    for name in MAPS:
        random, stop, closest, anywhere = (measure(name, play, episodes, seed) for play in plays)
        lines.append(
            f"| {name} | {random.return_mean:.2f} ({random.return_sd:.2f}) | {stop.win_rate:.1%} "
            f"| {stop.truncated:.1%} | {closest.win_rate:.1%} | {anywhere.win_rate:.1%} |"
        )
    return "\n".join(lines)
