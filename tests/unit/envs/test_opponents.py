"""The other side, played by a policy: what it sees, does, earns and is refused."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from dm2_dist.envs.skirmish import SkirmishBatch, battle_map, feature
from dm2_dist.envs.skirmish.feature import FeatureFlags
from dm2_dist.envs.skirmish.formation import JITTER
from dm2_dist.envs.skirmish.kernels import field
from dm2_dist.envs.skirmish.lineup import mirror, roster, swapped
from dm2_dist.envs.skirmish.options import Options

Integers = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]

SYMMETRIC = (
    "3m",
    "8m",
    "25m",
    "MMM",
    "2s3z",
    "3s5z",
    "3s_vs_3z",
    "1c3s5z",
    "bane_vs_bane",
)
"""Maps on which ground and points are mirror images; the kinds may differ (3s_vs_3z)."""

EQUAL = tuple(name for name in SYMMETRIC if name != "3s_vs_3z")
"""Maps on which both sides have the same units."""


@dataclass(frozen=True, slots=True)
class View:
    """The battles as one side sees them, its own units first.

    Attributes:
        listed: uint8 [B, N, A] available actions.
        x: float64 [B, U] mirrored for the opponents.
        y: float64 [B, U].
        health: float64 [B, U].
        full: float64 [U] health of fresh units.
        heals: bool [U].
    """

    listed: npt.NDArray[np.uint8]
    x: Reals
    y: Reals
    health: Reals
    full: Reals
    heals: npt.NDArray[np.bool_]


def views(batch: SkirmishBatch) -> tuple[View, View]:
    """Both sides of a batch that policies play."""
    theirs = batch.opponents
    assert theirs is not None
    units = [unit for unit, _ in roster(batch.row)]
    full = np.array([unit.health for unit in units])
    heals = np.array([unit.heals for unit in units])
    x, y, at = batch.unit_x, batch.unit_y, theirs.unit_at
    along_x = batch.row.forward[0] != 0
    turned_x = np.float32(32 - x) if along_x else x
    turned_y = y if along_x else np.float32(32 - y)
    return (
        View(batch.available_actions, x, y, batch.unit_health, full, heals),
        View(
            theirs.available_actions,
            turned_x[:, at],
            turned_y[:, at],
            batch.unit_health[:, at],
            full[at],
            heals[at],
        ),
    )


def nearest(view: View) -> Integers:
    """Attack (heal) the nearest that may be attacked (is hurt), else walk to the nearest."""
    k, actions = view.listed.shape[1], view.listed.shape[2]
    chosen = np.ones(view.listed.shape[:2], np.int64)
    for i in range(k):
        first = 0 if view.heals[i] else k
        last = k if view.heals[i] else view.x.shape[1]
        dx, dy = (axis[:, first:last] - axis[:, i : i + 1] for axis in (view.x, view.y))
        worth = view.health[:, first:last] > 0
        if view.heals[i]:
            worth &= (view.health[:, :k] < view.full[:k]) & ~view.heals[:k]
        gap = np.where(worth, np.hypot(dx, dy), np.inf)
        target = gap.argmin(axis=1)[:, None]
        ahead, across = (np.take_along_axis(axis, target, 1)[:, 0] for axis in (dx, dy))
        walk = np.where(
            np.abs(ahead) >= np.abs(across),
            np.where(ahead > 0, 4, 5),
            np.where(across > 0, 2, 3),
        )
        attack = np.minimum(6 + target[:, 0], actions - 1)
        rows = np.arange(len(walk))
        order = np.where(view.listed[rows, i, attack] == 1, attack, walk)
        order = np.where(np.isfinite(gap.min(axis=1)), order, 1)
        chosen[:, i] = np.where(view.listed[rows, i, order] == 1, order, 1)
    return np.where(view.listed[:, :, 0] == 1, 0, chosen)


def played(map_name: str, num_envs: int, seed: int = 1) -> SkirmishBatch:
    """Both sides play `nearest` to the end."""
    batch = SkirmishBatch(map_name, num_envs, seed, opponents="policy")
    batch.reset()
    while not batch.finished.all():
        own, theirs = views(batch)
        batch.step(nearest(own), nearest(theirs))
    return batch


def drawn(listed: npt.NDArray[np.uint8], generator: np.random.Generator) -> Integers:
    return np.where(listed > 0, generator.random(listed.shape), -1.0).argmax(axis=2)


@pytest.mark.parametrize("map_name", battle_map.MAPS)
def test_sizes_are_those_of_a_team_in_their_place(map_name: str) -> None:
    row = battle_map.MAPS[map_name]
    batch = SkirmishBatch(map_name, 2, opponents="policy")
    batch.reset()
    theirs = batch.opponents
    assert theirs is not None
    medics = any(group.unit.heals for group in row.enemies)
    actions = 6 + max(row.num_agents, row.num_enemies if medics else 0)
    assert (theirs.num_agents, theirs.num_enemies) == (row.num_enemies, row.num_agents)
    assert theirs.num_actions == actions
    sizes = feature.sizes(swapped(row), FeatureFlags())
    assert (theirs.observation_size, theirs.state_size) == (sizes.observation, sizes.state)
    m = row.num_enemies
    shapes = {
        "observation": (np.float32, (2, m, sizes.observation)),
        "state": (np.float32, (2, sizes.state)),
        "available_actions": (np.uint8, (2, m, actions)),
        "alive": (np.uint8, (2, m)),
        "reward": (np.float32, (2,)),
        "won": (np.uint8, (2,)),
    }
    for name, (dtype, shape) in shapes.items():
        array = getattr(theirs, name)
        assert (array.dtype, array.shape) == (dtype, shape), name
    assert sorted(theirs.unit_at.tolist()) == list(range(row.num_agents + m))
    assert theirs.alive.all()
    assert theirs.available_actions[:, :, 1].all()


@pytest.mark.parametrize("map_name", EQUAL)
def test_at_the_start_of_a_symmetric_map_both_sides_see_the_same(map_name: str) -> None:
    batch = SkirmishBatch(map_name, 16, 3, opponents="policy")
    batch.reset()
    theirs = batch.opponents
    assert theirs is not None
    own, other = views(batch)
    assert np.abs(own.x - other.x).max() <= 2 * JITTER + 1e-6
    assert np.abs(own.y - other.y).max() <= 2 * JITTER + 1e-6
    k = batch.num_agents
    ally = feature.sizes(batch.row, FeatureFlags()).state_ally
    rows = batch.state[:, : k * ally].reshape(16, k, ally)
    others = theirs.state[:, : k * ally].reshape(16, k, ally)
    assert np.abs(rows - others).max() <= 2 * JITTER / 32 + 1e-6
    if not batch.row.num_type_bits:
        assert np.abs(batch.state - theirs.state).max() <= 2 * JITTER / 32 + 1e-6


@pytest.mark.parametrize("map_name", EQUAL)
def test_neither_side_of_a_symmetric_map_is_favoured(map_name: str) -> None:
    batch = played(map_name, 200)
    assert batch.opponents is not None
    won, lost = int(batch.won.sum()), int(batch.opponents.won.sum())
    decided = won + lost
    assert decided > 20
    # Four standard deviations of won - lost if both are equally likely.
    assert abs(won - lost) <= 4 * math.sqrt(decided), (won, lost)


@pytest.mark.parametrize("map_name", ["3m", "MMM", "2s3z", "bane_vs_bane"])
def test_what_one_side_wins_the_other_loses(map_name: str) -> None:
    batch = played(map_name, 32)
    assert batch.opponents is not None
    assert batch.won.any()
    assert batch.opponents.won.any()
    assert not (batch.won & batch.opponents.won).any()
    if map_name != "MMM":
        wiped = (batch.unit_health[:, : batch.num_agents] == 0).all(axis=1)
        standing = (batch.unit_health[:, batch.num_agents :] > 0).any(axis=1)
        assert np.array_equal(batch.opponents.won == 1, wiped & standing)
    own, theirs = batch.exact_reward, batch.opponents.exact_reward
    assert own.shape == theirs.shape


@pytest.mark.parametrize("map_name", ["3m", "MMM", "2s3z", "corridor", "5m_vs_6m"])
def test_zero_sum_rewards_are_negated(map_name: str) -> None:
    batch = SkirmishBatch(map_name, 8, 2, opponents="policy", opponent_reward="zero_sum")
    batch.reset()
    assert batch.opponents is not None
    seen = 0.0
    for _ in range(60):
        own, theirs = views(batch)
        batch.step(nearest(own), nearest(theirs))
        assert np.array_equal(batch.opponents.exact_reward, -batch.exact_reward)
        assert np.array_equal(batch.opponents.reward, -batch.reward)
        seen += float(np.abs(batch.exact_reward).sum())
    assert seen > 1


@pytest.mark.parametrize("map_name", ["3m", "MMM", "2s3z", "corridor", "5m_vs_6m", "bane_vs_bane"])
def test_own_rewards_pay_for_what_the_team_suffers(map_name: str) -> None:
    batch = SkirmishBatch(map_name, 16, 2, opponents="policy")
    batch.reset()
    assert batch.opponents is not None
    k = batch.num_agents
    units = [unit for unit, _ in roster(batch.row)[:k]]
    largest = 200 + sum(10 + unit.health + unit.shield for unit in units)
    before = (batch.unit_health + batch.unit_shield)[:, :k]
    for _ in range(120):
        own, theirs = views(batch)
        running = batch.finished == 0
        batch.step(nearest(own), nearest(theirs))
        now = (batch.unit_health + batch.unit_shield)[:, :k]
        died = ((before > 0) & (now == 0)).sum(axis=1)
        points = np.abs((before - now).sum(axis=1) + 10 * died) + 200.0 * batch.opponents.won
        expected = np.where(running, points * 20 / largest, 0)
        assert batch.opponents.exact_reward == pytest.approx(expected, abs=1e-9)
        assert np.array_equal(
            batch.opponents.reward, batch.opponents.exact_reward.astype(np.float32)
        )
        before = now
    assert batch.opponents.won.any()


def test_an_illegal_action_names_the_opponent() -> None:
    batch = SkirmishBatch("3m", 2, opponents="policy")
    batch.reset()
    stop = np.ones((2, 3), np.int64)
    wrong = stop.copy()
    wrong[1, 2] = 0
    with pytest.raises(ValueError, match=r"^environment 1: opponent 2 cannot perform action 0$"):
        batch.step(stop, wrong)
    with pytest.raises(ValueError, match=r"^environment 1: agent 2 cannot perform action 0$"):
        batch.step(wrong, wrong)
    assert batch.episode_steps.tolist() == [0, 0]


def test_opponent_actions_are_asked_for_exactly_when_a_policy_plays_them() -> None:
    stop = np.ones((2, 3), np.int64)
    computer, policy = SkirmishBatch("3m", 2), SkirmishBatch("3m", 2, opponents="policy")
    for batch in (computer, policy):
        batch.reset()
    assert computer.opponents is None
    with pytest.raises(ValueError, match=r"make it with opponents='policy'"):
        computer.step(stop, stop)
    with pytest.raises(ValueError, match=r"need actions too: step\(own, theirs\)"):
        policy.step(stop)
    with pytest.raises(ValueError, match=r"opponent_actions must be integers \[2, 3\]"):
        policy.step(stop, np.ones((2, 4), np.int64))
    with pytest.raises(ValueError, match=r"opponent_actions must be integers \[2, 3\]"):
        policy.step(stop, np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"opponents must be 'computer' or 'policy', not 'human'"):
        SkirmishBatch("3m", 2, opponents="human")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="opponent_reward must be 'own' or 'zero_sum'"):
        SkirmishBatch("3m", 2, opponents="policy", opponent_reward="none")  # type: ignore[arg-type]


def exchanged(map_name: str, folder: Path) -> str:
    """Write the swapped battle as a scenario; returns its path.

    The mirrored ground is drawn cell by cell.
    """
    row = battle_map.MAPS[map_name]

    def pathable(x: int, y: int) -> bool:
        return (
            row.terrain.pathable(31 - x, y) if row.forward[0] else row.terrain.pathable(x, 31 - y)
        )

    def groups(side: tuple[battle_map.Group, ...]) -> list[dict[str, object]]:
        return [
            {
                "unit": group.unit.name,
                "count": group.count,
                "point": list(mirror(group.point, row.forward)),
            }
            for group in side
        ]

    types = swapped(row).enemy_types
    content = {
        "name": "exchanged",
        "episode_limit": row.episode_limit,
        "rows": [
            "".join("." if pathable(x, 31 - line) else "#" for x in range(32)) for line in range(32)
        ],
        "allies": groups(row.enemies),
        "enemies": groups(row.allies),
        "order": {"kind": "hold"},
    }
    if types and row.num_type_bits:
        content["enemy_types"] = [unit.name for unit in types]
    path = folder / f"{map_name}.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return str(path)


def freeze(team: SkirmishBatch) -> None:
    """Let steps of a batch change no unit: no speed, no reach, no collisions, no regeneration."""
    trait = team._world.trait
    for name in (field.SPEED, field.BODY, field.RANGE, field.REGENERATION, field.ENERGY_MAX):
        trait[name] = 0
    trait[field.LAYER] = 100 + np.arange(trait.shape[1])


def put_in(team: SkirmishBatch, batch: SkirmishBatch) -> None:
    """Put the units of a batch, as its opponents see them, into another."""
    assert batch.opponents is not None
    at = batch.opponents.unit_at
    along_x = batch.row.forward[0] != 0
    team.unit_x[:] = np.float32(32 - batch.unit_x[:, at]) if along_x else batch.unit_x[:, at]
    team.unit_y[:] = batch.unit_y[:, at] if along_x else np.float32(32 - batch.unit_y[:, at])
    team.unit_health[:] = batch.unit_health[:, at]
    team.unit_shield[:] = batch.unit_shield[:, at]
    team.unit_energy[:] = batch.unit_energy[:, at]
    team.unit_cooldown[:] = batch.unit_cooldown[:, at] + 1  # a loop will pass
    team._battles.integer[:, field.ALIVE] = batch.unit_health[:, at] > 0


@pytest.mark.parametrize("map_name", sorted(battle_map.MAPS))
def test_opponents_see_what_a_team_in_their_place_would_see(map_name: str, tmp_path: Path) -> None:
    flags = FeatureFlags(
        obs_last_action=True,
        obs_pathing_grid=True,
        obs_timestep_number=True,
        state_timestep_number=True,
    )
    batch = SkirmishBatch(map_name, 2, 4, options=Options(features=flags), opponents="policy")
    team = SkirmishBatch(
        exchanged(map_name, tmp_path),
        2,
        options=Options(features=flags, step_mul=1),
        opponents="policy",
    )
    freeze(team)
    batch.reset()
    team.reset()
    theirs, mirrored = batch.opponents, team.opponents
    assert theirs is not None
    assert mirrored is not None
    generator = np.random.default_rng(7)
    for _ in range(25):
        opposing = drawn(theirs.available_actions, generator)
        batch.step(drawn(batch.available_actions, generator), opposing)
        if batch.finished.any():
            break
        team.available_actions[:] = 1
        mirrored.available_actions[:] = 1
        put_in(team, batch)
        team.step(opposing, np.ones((2, mirrored.num_agents), np.int64))
        assert np.array_equal(theirs.available_actions, team.available_actions)
        assert np.array_equal(theirs.alive, team.alive)
        assert np.array_equal(theirs.observation, team.observation)
        assert np.array_equal(theirs.state, team.state)
    assert batch.episode_steps.min() > 5
